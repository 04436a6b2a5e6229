//! What a delivery holds. Pure.

use aws_lc_rs::digest;
use bytes::Bytes;
use faster_hex::hex_string;
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable, ShortString};
use xxhash_rust::xxh3::xxh3_64;

use super::mac::{Keys, Statement, Unproven};
use super::message::{CONTENT_TYPE, MESSAGE_MAX, Origin, Span};
use crate::event::{Astray, EdgeName, Seq};
use crate::limits::BODY_BYTES_MAX;
use crate::sharing::partition_number;
use crate::signal::{Assurance, Provenance, Rule, Severity, Signal, Text, Unchecked};

/// Where a message of `partition`'s queue comes from, if one who has a key wrote it for there. Nothing of its body is read.
///
/// # Errors
/// Why it cannot be decided on.
pub fn prove(
    (properties, body): (&BasicProperties, &[u8]),
    partition: u16,
    keys: &Keys,
) -> Result<Origin, Astray> {
    if body.len() > MESSAGE_MAX {
        return Err(Astray::TooLong);
    }
    let origin = origin(properties).ok_or(Astray::Foreign)?;
    verify(properties, keys, Statement::Signals(&origin, body))?;
    if origin.partition == partition { Ok(origin) } else { Err(Astray::Misrouted) }
}

/// Whether the nudge comes from one who has a key.
///
/// # Errors
/// Why it is none.
pub fn prove_nudge(properties: &BasicProperties, partition: u16, keys: &Keys) -> Result<(), Astray> {
    verify(properties, keys, Statement::Nudge(partition))
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the enum is not ours")]
fn verify(properties: &BasicProperties, keys: &Keys, statement: Statement<'_>) -> Result<(), Astray> {
    let headers = properties.headers().as_ref().map(FieldTable::inner);
    let text = |name: &str| match headers?.get(name)? {
        AMQPValue::LongString(text) => Some(text.as_bytes()),
        _ => None,
    };
    keys.verify(statement, text(KEY), text(MAC)).map_err(|why| match why {
        Unproven::Unsigned => Astray::Unsigned,
        Unproven::UnknownKey => Astray::UnknownKey,
        Unproven::WrongMac => Astray::WrongMac,
    })
}

/// Headers of whatever is believed: the name of a key, and the MAC under it.
pub const KEY: &str = "gemba-key";
pub const MAC: &str = "gemba-mac";

/// Adds key and MAC of what is said.
pub fn vouch(headers: &mut FieldTable, keys: &Keys, statement: Statement<'_>) {
    let (key, mac) = keys.sign(statement);
    headers.insert(KEY.into(), AMQPValue::LongString(key.into()));
    headers.insert(MAC.into(), AMQPValue::LongString(mac.into()));
}

/// What its headers say.
#[expect(clippy::wildcard_enum_match_arm, reason = "the enum is not ours")]
fn origin(properties: &BasicProperties) -> Option<Origin> {
    if properties.content_type().as_ref().is_none_or(|content| content.as_str() != CONTENT_TYPE) {
        return None;
    }
    let headers = properties.headers().as_ref()?.inner();
    let number = |name: &str| match headers.get(name)? {
        AMQPValue::LongLongInt(number) => u64::try_from(*number).ok().map(Seq),
        _ => None,
    };
    let AMQPValue::LongString(edge) = headers.get("gemba-edge")? else { return None };
    let AMQPValue::LongInt(partition) = headers.get("gemba-partition")? else { return None };
    Some(Origin {
        edge: EdgeName::read(std::str::from_utf8(edge.as_bytes()).ok()?).ok()?,
        partition: partition_number(u16::try_from(*partition).ok()?).ok()?,
        span: Span { after: number("gemba-after")?, through: number("gemba-through")? },
    })
}

/// A message that says nothing but that whoever is given it has the partition's turn.
pub const NUDGE: &str = "gemba.nudge";

/// Whether it is a [`NUDGE`].
#[must_use]
pub fn is_nudge(properties: &BasicProperties) -> bool {
    properties.kind().as_ref().is_some_and(|kind| kind.as_str() == NUDGE)
}

/// How often it was delivered before, as quorum queues count it.
#[must_use]
pub fn deliveries(properties: &BasicProperties) -> u64 {
    let headers = properties.headers().as_ref().map(FieldTable::inner);
    match headers.and_then(|headers| headers.get("x-delivery-count")) {
        Some(AMQPValue::LongLongInt(count)) => u64::try_from(*count).unwrap_or_default(),
        Some(AMQPValue::LongInt(count)) => u64::try_from(*count).unwrap_or_default(),
        Some(AMQPValue::ShortInt(count)) => u64::try_from(*count).unwrap_or_default(),
        Some(AMQPValue::ShortShortInt(count)) => u64::try_from(*count).unwrap_or_default(),
        _ => 0,
    }
}

/// What cannot be decided on, in the form of a signal, so that it becomes a case that can be looked at. Of what is too long
/// for one, the beginning is kept; the id names the SHA-256 of the whole.
#[must_use]
pub fn foreign(properties: &BasicProperties, whole: &Bytes) -> Signal {
    const NOBODY: &str = "unknown";
    let hash = digest::digest(&digest::SHA256, whole);
    let named = properties.message_id().as_ref().map(ShortString::as_str);
    let named = named.filter(|id| whole.len() <= BODY_BYTES_MAX && !id.contains(' '));
    let named = named.filter(|id| Rule::Printable.check("id", id.as_bytes()).is_ok());
    let id = named.map_or_else(|| format!("foreign-{}", hex_string(hash.as_ref())), str::to_owned);
    let text = |text: &str| Text::Owned(text.into());
    let signal = Provenance::intern("rabbitmq", "none", Assurance::D).and_then(|provenance| {
        let unchecked = Unchecked {
            id: text(&id),
            tenant: text(NOBODY),
            sku: text(NOBODY),
            kind: text("foreign"),
            severity: Severity::Info,
            provenance,
            digest: xxh3_64(whole),
            body: whole.slice(..whole.len().min(BODY_BYTES_MAX)),
        };
        unchecked.check()
    });
    signal.unwrap_or_else(|illegal| unreachable!("every part of it was chosen to be legal: {illegal}"))
}
