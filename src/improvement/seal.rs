//! A recording as a file that cannot be changed unseen: canonical JSON (RFC 8785) with an Ed25519 signature. Only the very
//! bytes that were written are read again.

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use serde::{Deserialize, Serialize};

use super::recording::{FORMAT, Recording};

/// What the file holds.
#[derive(Debug, Serialize, Deserialize)]
struct Sealed {
    recording: Recording,
    signature: Signature,
}

#[derive(Debug, Serialize, Deserialize)]
struct Signature {
    algorithm: String,
    public_key: String,
    value: String,
}

/// What baselines are signed with. It signs nothing else: a receipt's key vouches for decisions.
pub struct BaselineKey(Ed25519KeyPair);

/// Why a file is no baseline that can be trusted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unsealed {
    #[error("it is not a baseline: {0}")]
    Unreadable(String),
    #[error("its form is {0}, and this version of gemba reads {FORMAT}")]
    Format(u64),
    #[error("it was changed after it was recorded: its signature does not hold")]
    Changed,
    #[error("it is signed with the key {0}, which is not trusted here")]
    Foreign(String),
}

const ALGORITHM: &str = "ed25519";
/// What is signed begins with it, so that the signature is worth nothing elsewhere.
const CONTEXT: &[u8] = b"gemba baseline v1\n";

impl std::fmt::Debug for BaselineKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("BaselineKey").field(&self.public()).finish()
    }
}

impl BaselineKey {
    /// From 64 hex digits.
    #[must_use]
    pub fn from_hex(hex: &[u8]) -> Option<Self> {
        let mut seed = zeroize::Zeroizing::new([0; 32]);
        faster_hex::hex_decode(hex.trim_ascii(), &mut *seed).ok()?;
        Ed25519KeyPair::from_seed_unchecked(&*seed).ok().map(Self)
    }

    /// The public key, in hex.
    #[must_use]
    pub fn public(&self) -> String {
        faster_hex::hex_string(self.0.public_key().as_ref())
    }
}

/// The file of a recording.
///
/// # Errors
/// When the recording has no canonical form.
pub fn seal(recording: Recording, key: &BaselineKey) -> Result<Vec<u8>, serde_json::Error> {
    let value = faster_hex::hex_string(key.0.sign(&signed(&recording)?).as_ref());
    let signature = Signature { algorithm: ALGORITHM.into(), public_key: key.public(), value };
    let mut file = serde_jcs::to_vec(&Sealed { recording, signature })?;
    file.push(b'\n');
    Ok(file)
}

/// The recording in a file, if one of the `trusted` keys signed just this file.
///
/// # Errors
/// [`Unsealed`].
pub fn open(file: &[u8], trusted: &[String]) -> Result<Recording, Unsealed> {
    let unreadable = |error: serde_json::Error| Unsealed::Unreadable(error.to_string());
    let value: serde_json::Value = serde_json::from_slice(file).map_err(unreadable)?;
    if let Some(other) = value.pointer("/recording/format").and_then(serde_json::Value::as_u64)
        && other != FORMAT
    {
        return Err(Unsealed::Format(other));
    }
    let sealed: Sealed = serde_json::from_value(value).map_err(unreadable)?;
    let mut again = serde_jcs::to_vec(&sealed).map_err(unreadable)?;
    again.push(b'\n');
    let Sealed { recording, signature } = sealed;
    let bytes = |hex: &str| {
        let mut bytes = vec![0; hex.len() / 2];
        faster_hex::hex_decode(hex.as_bytes(), &mut bytes).ok()?;
        Some(bytes)
    };
    let (Some(key), Some(value)) = (bytes(&signature.public_key), bytes(&signature.value)) else {
        return Err(Unsealed::Changed);
    };
    let message = signed(&recording).map_err(unreadable)?;
    let holds = UnparsedPublicKey::new(&ED25519, key).verify(&message, &value).is_ok();
    if again != file || signature.algorithm != ALGORITHM || !holds {
        return Err(Unsealed::Changed);
    }
    if !trusted.contains(&signature.public_key) {
        return Err(Unsealed::Foreign(signature.public_key));
    }
    Ok(recording)
}

fn signed(recording: &Recording) -> Result<Vec<u8>, serde_json::Error> {
    Ok([CONTEXT, &serde_jcs::to_vec(recording)?].concat())
}
