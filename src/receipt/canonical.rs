//! A receipt in its two forms: the canonical JSON that is hashed, signed and shown (RFC 8785), and the compact bytes
//! that are stored.
//!
//! The log commits to the bytes of the JSON. They are not stored but rendered anew from the compact form by the
//! renderer of the version that the record names; the stored commitment proves at each read that the same bytes came
//! out (decision record 0002). So a renderer, once released, is frozen: golden vectors pin it.

use super::{About, Draft, Earlier, Gist, Policy, ReceiptId, ReceiptType, StateName};
use crate::codec::Reader;
use crate::ids::{ActionId, JournalId, Seq, UnixMillis};
use crate::signal::Assurance;

/// Version of the renderer and of the compact form.
pub const VERSION: u8 = 3;

/// Everything that a receipt says, before it is hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fields<'a> {
    /// What every receipt says.
    pub gist: Gist,
    /// The rule that decided.
    pub policy: Option<Policy<&'a str>>,
    /// What the rule has read, as canonical JSON.
    pub facts: Option<&'a str>,
    /// Cause or reason, in words.
    pub reason: Option<&'a str>,
    /// The signal that is settled.
    pub signal: Option<Earlier<&'a str>>,
    /// Empty, as the SKU, where the receipt is about the node itself; then neither is shown, nor are the states.
    pub tenant: &'a str,
    /// Empty where the tenant is.
    pub sku: &'a str,
    /// Source, key id and assurance of the signal.
    pub origin: Option<(&'a str, &'a str, Assurance)>,
}

impl<'a> From<&'a Draft> for Fields<'a> {
    fn from(Draft { gist, policy, facts, reason, about }: &'a Draft) -> Self {
        let (signal, tenant, sku, origin) = match about {
            About::Signal(signal) => {
                let from = signal.provenance;
                let origin = Some((&*from.source, &*from.key, from.assurance));
                let named = Earlier { id: signal.id(), hash: signal.hash() };
                (Some(named), signal.tenant(), signal.sku(), origin)
            }
            About::Governor { tenant, sku, signal, trace: _ } => {
                let signal = signal.as_ref().map(|Earlier { id, hash }| Earlier { id: &**id, hash: *hash });
                (signal, &**tenant, &**sku, None)
            }
            About::Node => (None, "", "", None),
        };
        let policy = policy.as_deref().map(|Policy { pack, rule, content_hash }| Policy {
            pack: &**pack,
            rule: &**rule,
            content_hash: *content_hash,
        });
        let (facts, reason) = (facts.as_deref(), reason.as_deref());
        Self { gist: *gist, policy, facts, reason, signal, tenant, sku, origin }
    }
}

/// What a receipt gains when it is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Logged<'a> {
    /// SHA-256 of the [`context`].
    pub hash: &'a [u8; 32],
    /// HMAC-SHA256 of the receipt.
    pub signature: &'a [u8; 32],
    /// Drawn for this receipt: its entry tells nothing about it.
    pub salt: &'a [u8; 16],
    /// Names the HMAC's key, in hex.
    pub key_id: &'a str,
    /// The place of its entry in the log, from 0.
    pub log_index: u64,
    /// The log's name, which its checkpoints begin with.
    pub log_origin: &'a str,
}

/// Appends the context: the bytes that `hash` is taken of.
pub fn context(fields: &Fields<'_>, out: &mut Vec<u8>) {
    render(fields, None, out);
}

/// Appends the whole receipt, as it is served.
pub fn receipt(fields: &Fields<'_>, logged: &Logged<'_>, out: &mut Vec<u8>) {
    render(fields, Some(logged), out);
}

/// Keys in sorted order; the context is the same object without what the log added.
fn render(fields: &Fields<'_>, logged: Option<&Logged<'_>>, out: &mut Vec<u8>) {
    let Fields { gist, policy, facts, reason, signal, tenant, sku, origin } = fields;
    let Gist { id, time, kind, before, after, success, action, signal_seq } = gist;
    out.extend_from_slice(br#"{"action_id":"#);
    match action {
        Some(ActionId { journal, seq }) => {
            out.extend_from_slice(b"\"a-");
            encode_hex(out, &journal.0.to_be_bytes());
            out.push(b'-');
            encode_hex(out, &seq.0.to_be_bytes());
            out.push(b'"');
        }
        None => null(out),
    }
    out.extend_from_slice(br#","assurance":"#);
    match origin {
        Some((_, _, assurance)) => {
            out.extend_from_slice(&[b'"', b'A' + *assurance as u8, b'"']);
        }
        None => null(out),
    }
    out.extend_from_slice(br#","facts":"#);
    out.extend_from_slice(facts.unwrap_or("null").as_bytes());
    if let Some(logged) = logged {
        hex(out, br#","hash":""#, logged.hash);
        member(out, br#","key_id":"#, Some(logged.key_id));
        number(out, br#","log_index":"#, logged.log_index);
        member(out, br#","log_origin":"#, Some(logged.log_origin));
    }
    out.extend_from_slice(br#","policy":"#);
    match policy {
        Some(Policy { pack, rule, content_hash }) => {
            hex(out, br#"{"content_hash":""#, content_hash);
            member(out, br#","pack":"#, Some(pack));
            member(out, br#","rule":"#, Some(rule));
            out.push(b'}');
        }
        None => null(out),
    }
    member(out, br#","reason":"#, *reason);
    out.extend_from_slice(br#","receipt_id":"#);
    quoted_id(out, b"r-", id.seq.0, Some(id.ordinal));
    member(out, br#","receipt_type":"#, Some(kind.into_str()));
    if let Some(logged) = logged {
        hex(out, br#","salt":""#, logged.salt);
    }
    number(out, br#","seq":"#, id.seq.0);
    match signal {
        Some(Earlier { hash, .. }) => hex(out, br#","signal_hash":""#, hash),
        None => out.extend_from_slice(br#","signal_hash":null"#),
    }
    member(out, br#","signal_id":"#, signal.map(|Earlier { id, .. }| id));
    match signal_seq {
        Some(seq) => number(out, br#","signal_seq":"#, seq.0),
        None => out.extend_from_slice(br#","signal_seq":null"#),
    }
    if let Some(logged) = logged {
        hex(out, br#","signature":""#, logged.signature);
    }
    let of_governor = !tenant.is_empty();
    member(out, br#","sku":"#, of_governor.then_some(sku));
    member(out, br#","source":"#, origin.map(|(source, _, _)| source));
    member(out, br#","source_key":"#, origin.map(|(_, key, _)| key));
    let has_states = of_governor && !kind.is_of_alert();
    member(out, br#","state_after":"#, has_states.then_some(after.into_str()));
    member(out, br#","state_before":"#, has_states.then_some(before.into_str()));
    out.extend_from_slice(if *success { br#","success":true"# } else { br#","success":false"# });
    member(out, br#","tenant":"#, of_governor.then_some(tenant));
    number(out, br#","timestamp":"#, time.0);
    out.push(b'}');
}

fn null(out: &mut Vec<u8>) {
    out.extend_from_slice(b"null");
}

fn quoted_id(out: &mut Vec<u8>, prefix: &[u8], seq: u64, ordinal: Option<u8>) {
    out.push(b'"');
    out.extend_from_slice(prefix);
    encode_hex(out, &seq.to_be_bytes());
    if let Some(ordinal) = ordinal {
        out.push(b'-');
        encode_hex(out, &[ordinal]);
    }
    out.push(b'"');
}

fn hex(out: &mut Vec<u8>, key: &[u8], bytes: &[u8]) {
    out.extend_from_slice(key);
    encode_hex(out, bytes);
    out.push(b'"');
}

fn encode_hex(out: &mut Vec<u8>, bytes: &[u8]) {
    let at = out.len();
    out.resize(at + 2 * bytes.len(), 0);
    // The room is exactly what is needed.
    let _exact = faster_hex::hex_encode(bytes, &mut out[at..]);
}

fn number(out: &mut Vec<u8>, key: &[u8], value: u64) {
    out.extend_from_slice(key);
    // RFC 8785 numbers are doubles; larger ones would be read differently.
    debug_assert!(value <= 1 << 53);
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

fn member(out: &mut Vec<u8>, key: &[u8], value: Option<&str>) {
    out.extend_from_slice(key);
    match value {
        Some(text) => string(out, text),
        None => null(out),
    }
}

/// Appends a string of canonical JSON.
///
/// RFC 8785, 3.2.2.2: the two-letter escapes, `\u00xx` for other controls, everything else as it is.
pub fn string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let plain = |byte: u8| byte >= 0x20 && byte != b'"' && byte != b'\\';
    if text.bytes().all(plain) {
        out.extend_from_slice(text.as_bytes());
    } else {
        for byte in text.bytes() {
            match byte {
                b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
                0x08 => out.extend_from_slice(br"\b"),
                0x09 => out.extend_from_slice(br"\t"),
                0x0a => out.extend_from_slice(br"\n"),
                0x0c => out.extend_from_slice(br"\f"),
                0x0d => out.extend_from_slice(br"\r"),
                0..=0x1f => {
                    out.extend_from_slice(br"\u00");
                    encode_hex(out, &[byte]);
                }
                _ => out.push(byte),
            }
        }
    }
    out.push(b'"');
}

const SUCCESS: u16 = 1;
const ACTION: u16 = 2;
const REASON: u16 = 4;
const SIGNAL_SEQ: u16 = 8;
/// The signal's number is the receipt's own.
const SAME_SEQ: u16 = 16;
/// Id and hash.
const SIGNAL: u16 = 32;
const ORIGIN: u16 = 64;
const POLICY: u16 = 128;
const FACTS: u16 = 256;

/// Appends the compact form.
pub fn store(fields: &Fields<'_>, out: &mut Vec<u8>) {
    let Fields { gist, policy, facts, reason, signal, tenant, sku, origin } = fields;
    let Gist { id, time, kind, before, after, success, action, signal_seq } = gist;
    let same = *signal_seq == Some(id.seq);
    let other = signal_seq.filter(|_| !same);
    let mut flags = 0;
    for (holds, flag) in [
        (*success, SUCCESS),
        (action.is_some(), ACTION),
        (reason.is_some(), REASON),
        (other.is_some(), SIGNAL_SEQ),
        (same, SAME_SEQ),
        (signal.is_some(), SIGNAL),
        (origin.is_some(), ORIGIN),
        (policy.is_some(), POLICY),
        (facts.is_some(), FACTS),
    ] {
        flags |= if holds { flag } else { 0 };
    }
    let states = (*before as u8) << 4 | *after as u8;
    let [low, high] = flags.to_le_bytes();
    out.extend_from_slice(&[VERSION, low, high, *kind as u8, states, id.ordinal]);
    out.extend_from_slice(&id.seq.0.to_le_bytes());
    out.extend_from_slice(&time.0.to_le_bytes());
    text(out, tenant);
    text(out, sku);
    if let Some(action) = action {
        out.extend_from_slice(&action.journal.0.to_le_bytes());
        out.extend_from_slice(&action.seq.0.to_le_bytes());
    }
    if let Some(seq) = other {
        out.extend_from_slice(&seq.0.to_le_bytes());
    }
    if let Some(Earlier { id, hash }) = signal {
        text(out, id);
        out.extend_from_slice(hash);
    }
    if let Some((source, key, assurance)) = origin {
        out.push(*assurance as u8);
        text(out, source);
        text(out, key);
    }
    if let Some(reason) = reason {
        text(out, reason);
    }
    if let Some(Policy { pack, rule, content_hash }) = policy {
        out.extend_from_slice(content_hash);
        text(out, pack);
        text(out, rule);
    }
    if let Some(facts) = facts {
        text(out, facts);
    }
}

fn text(out: &mut Vec<u8>, text: &str) {
    let len = u16::try_from(text.len()).unwrap_or(u16::MAX);
    out.extend_from_slice(&len.to_le_bytes());
    out.extend_from_slice(text.as_bytes().get(..usize::from(len)).unwrap_or_default());
}

/// The type that a compact form says; `None` when the bytes are not one of this version.
#[must_use]
pub fn kind(bytes: &[u8]) -> Option<ReceiptType> {
    match bytes {
        [VERSION, _, _, kind, ..] => ReceiptType::from_repr(*kind),
        _ => None,
    }
}

/// Reads the compact form; `None` when the bytes are not one of this version.
#[must_use]
pub fn load(bytes: &[u8]) -> Option<Fields<'_>> {
    let mut reader = Reader::new(bytes);
    let (version, flags) = (reader.u8()?, reader.u16()?);
    let [kind, states, ordinal] = reader.array()?;
    if version != VERSION || flags >= FACTS << 1 {
        return None;
    }
    let holds = |flag| flags & flag != 0;
    let seq = Seq(reader.u64()?);
    let time = UnixMillis(reader.u64()?);
    let (tenant, sku) = (read_text(&mut reader)?, read_text(&mut reader)?);
    let action = if holds(ACTION) {
        Some(ActionId { journal: JournalId(reader.u64()?), seq: Seq(reader.u64()?) })
    } else {
        None
    };
    let signal_seq = if holds(SAME_SEQ) {
        Some(seq)
    } else if holds(SIGNAL_SEQ) {
        Some(Seq(reader.u64()?))
    } else {
        None
    };
    let signal = if holds(SIGNAL) {
        Some(Earlier { id: read_text(&mut reader)?, hash: reader.array()? })
    } else {
        None
    };
    let origin = if holds(ORIGIN) {
        let assurance = Assurance::from_repr(reader.u8()?)?;
        Some((read_text(&mut reader)?, read_text(&mut reader)?, assurance))
    } else {
        None
    };
    let reason = if holds(REASON) { Some(read_text(&mut reader)?) } else { None };
    let policy = if holds(POLICY) {
        Some(Policy {
            content_hash: reader.array()?,
            pack: read_text(&mut reader)?,
            rule: read_text(&mut reader)?,
        })
    } else {
        None
    };
    let facts = if holds(FACTS) { Some(read_text(&mut reader)?) } else { None };
    reader.is_empty().then_some(())?;
    let gist = Gist {
        id: ReceiptId { seq, ordinal },
        time,
        kind: ReceiptType::from_repr(kind)?,
        before: StateName::from_repr(states >> 4)?,
        after: StateName::from_repr(states & 15)?,
        success: holds(SUCCESS),
        action,
        signal_seq,
    };
    Some(Fields { gist, policy, facts, reason, signal, tenant, sku, origin })
}

fn read_text<'a>(reader: &mut Reader<'a>) -> Option<&'a str> {
    let len = usize::from(reader.u16()?);
    reader.text(len)
}

#[cfg(test)]
mod tests;
