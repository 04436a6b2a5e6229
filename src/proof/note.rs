//! Signed notes and checkpoints (C2SP signed-note v1.0.0, tlog-checkpoint v1.0.0), Ed25519 (type 0x01).

use aws_lc_rs::digest::{Context, SHA256};
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use data_encoding::BASE64;

use super::tree::Hash;

const ED25519_TYPE: u8 = 0x01;

/// Signs notes; the one that stands for a hardware module later.
pub trait Signer: Send {
    /// The key's name: the origin of the log.
    fn name(&self) -> &str;
    /// The raw Ed25519 public key.
    fn public_key(&self) -> [u8; 32];
    /// The raw Ed25519 signature of `text`.
    fn sign(&self, text: &[u8]) -> [u8; 64];
}

/// A key in this process. Prints only its name.
pub struct LocalSigner {
    name: Box<str>,
    pair: Ed25519KeyPair,
}

impl std::fmt::Debug for LocalSigner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LocalSigner").field("name", &self.name).finish_non_exhaustive()
    }
}

/// The seed is no key, or the name cannot stand in a note.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadSigner {
    /// The seed of an Ed25519 key has 32 bytes.
    #[error("the log's key is not 32 bytes")]
    Seed,
    /// A note separates by spaces, `+` and lines.
    #[error("the log's origin must not be empty, nor hold spaces, `+` or control characters")]
    Name,
}

impl LocalSigner {
    /// The key with this seed of 32 bytes, under the name that stands in the notes.
    ///
    /// # Errors
    /// [`BadSigner`].
    pub fn new(name: &str, seed: &[u8]) -> Result<Self, BadSigner> {
        let bad = |c: char| c.is_whitespace() || c.is_control() || c == '+';
        if name.is_empty() || name.contains(bad) {
            return Err(BadSigner::Name);
        }
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| BadSigner::Seed)?;
        Ok(Self { name: name.into(), pair })
    }
}

impl Signer for LocalSigner {
    fn name(&self) -> &str {
        &self.name
    }

    fn public_key(&self) -> [u8; 32] {
        let mut key = [0; 32];
        key.copy_from_slice(self.pair.public_key().as_ref());
        key
    }

    fn sign(&self, text: &[u8]) -> [u8; 64] {
        let mut signature = [0; 64];
        signature.copy_from_slice(self.pair.sign(text).as_ref());
        signature
    }
}

fn key_id(name: &str, public_key: &[u8; 32]) -> [u8; 4] {
    let mut context = Context::new(&SHA256);
    context.update(name.as_bytes());
    context.update(&[b'\n', ED25519_TYPE]);
    context.update(public_key);
    let mut id = [0; 4];
    id.copy_from_slice(&context.finish().as_ref()[..4]);
    id
}

/// The verifier key as text: name, key id, type and key.
#[must_use]
pub fn vkey(signer: &dyn Signer) -> String {
    let public_key = signer.public_key();
    let id = faster_hex::hex_string(&key_id(signer.name(), &public_key));
    format!("{}+{id}+{}", signer.name(), BASE64.encode(&[&[ED25519_TYPE], public_key.as_slice()].concat()))
}

/// A signed checkpoint for a tree of `size` leaves.
#[must_use]
pub fn checkpoint(signer: &dyn Signer, size: u64, root: &Hash) -> String {
    let name = signer.name();
    let text = format!("{name}\n{size}\n{}\n", BASE64.encode(root));
    let id = key_id(name, &signer.public_key());
    let signature = BASE64.encode(&[id.as_slice(), &signer.sign(text.as_bytes())].concat());
    format!("{text}\n\u{2014} {name} {signature}\n")
}

/// Size and root that a checkpoint of this key states; `None` when it is not one.
#[must_use]
pub fn verify_checkpoint(name: &str, public_key: &[u8; 32], note: &str) -> Option<(u64, Hash)> {
    let (text, signatures) = note.split_at_checked(note.rfind("\n\n")? + 1)?;
    let line = format!("\u{2014} {name} ");
    let encoded = signatures.lines().find_map(|signature| signature.strip_prefix(&line))?;
    let signature = decode(encoded)?;
    let (id, signature) = signature.split_at_checked(4)?;
    if id != key_id(name, public_key) {
        return None;
    }
    UnparsedPublicKey::new(&ED25519, public_key).verify(text.as_bytes(), signature).ok()?;
    let mut lines = text.lines();
    if lines.next()? != name {
        return None;
    }
    let size = lines.next()?;
    if size.len() > 1 && size.starts_with('0') || !size.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let root = decode(lines.next()?)?;
    Some((size.parse().ok()?, root.try_into().ok()?))
}

/// Whether a note has a signature line of this name and key; it may not hold.
#[must_use]
pub fn names_key(name: &str, public_key: &[u8; 32], note: &str) -> bool {
    let line = format!("\u{2014} {name} ");
    let encoded = note.lines().filter_map(|signature| signature.strip_prefix(&line));
    encoded.filter_map(decode).any(|signature| signature.starts_with(&key_id(name, public_key)))
}

/// The bytes of a text in base64, if it is the one spelling of them: `BASE64` takes padding in the middle too.
fn decode(text: &str) -> Option<Vec<u8>> {
    BASE64.decode(text.as_bytes()).ok().filter(|bytes| BASE64.encode(bytes) == text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_verifies_and_any_changed_character_does_not() {
        let signer = LocalSigner::new("gemba.local/dev", &[7; 32]).unwrap();
        let note = checkpoint(&signer, 42, &[9; 32]);
        let verify = |note: &str| verify_checkpoint("gemba.local/dev", &signer.public_key(), note);
        assert_eq!(verify(&note), Some((42, [9; 32])));
        for (at, character) in note.char_indices().filter(|(_, c)| c.is_ascii_alphanumeric()) {
            let other = if character == 'A' { "B" } else { "A" };
            let mut changed = note.clone();
            changed.replace_range(at..=at, other);
            assert_ne!(verify(&changed), Some((42, [9; 32])), "character {at}");
        }
    }

    #[test]
    fn an_independent_reader_takes_the_checkpoint() {
        use signed_note::{Note, StandardVerifier as Ed25519NoteVerifier, VerifierList};
        let signer = LocalSigner::new("gemba.local/dev", &[7; 32]).unwrap();
        let note = Note::from_bytes(checkpoint(&signer, 42, &[9; 32]).as_bytes()).unwrap();
        let verifier = Ed25519NoteVerifier::new(&vkey(&signer)).unwrap();
        let (signatures, _) = note.verify(&VerifierList::new(vec![Box::new(verifier)])).unwrap();
        assert_eq!(signatures.len(), 1);
    }

    #[test]
    fn a_tile_log_reader_takes_the_checkpoint() {
        let signer = LocalSigner::new("gemba.local/dev", &[7; 32]).unwrap();
        let note = checkpoint(&signer, 42, &[9; 32]);
        let text = &note[..=note.find("\n\n").unwrap()];
        let read = tlog_tiles::Checkpoint::from_bytes(text.as_bytes()).unwrap();
        assert_eq!((read.origin(), read.size(), read.extension()), ("gemba.local/dev", 42, ""));
        assert_eq!(read.hash().0, [9; 32]);
    }

    #[test]
    fn a_signature_has_one_spelling() {
        let signer = LocalSigner::new("gemba.local/dev", &[7; 32]).unwrap();
        let note = checkpoint(&signer, 42, &[9; 32]);
        let (head, encoded) = note.trim_end().rsplit_once(' ').unwrap();
        let bytes = BASE64.decode(encoded.as_bytes()).unwrap();
        let (front, back) = bytes.split_at(2);
        let other = format!("{head} {}{}\n", BASE64.encode(front), BASE64.encode(back));
        assert_eq!(verify_checkpoint("gemba.local/dev", &signer.public_key(), &other), None);
    }

    #[test]
    fn names_that_break_a_note_are_refused() {
        for name in ["", "a b", "a+b", "a\nb"] {
            assert_eq!(LocalSigner::new(name, &[7; 32]).unwrap_err(), BadSigner::Name);
        }
        assert_eq!(LocalSigner::new("a", &[7; 31]).unwrap_err(), BadSigner::Seed);
    }
}
