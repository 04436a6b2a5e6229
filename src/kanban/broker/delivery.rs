//! What a delivery holds. Pure.

use bytes::Bytes;
use lapin::BasicProperties;
use lapin::types::AMQPValue;
use xxhash_rust::xxh3::xxh3_64;

use super::message::{self, CONTENT_TYPE, Origin, Span};
use crate::event::Seq;
use crate::limits::BODY_BYTES_MAX;
use crate::signal::{Assurance, Fingerprint, Provenance, Severity, Signal, Text};

/// What an edge wrote; `None` for anything else.
#[must_use]
pub fn read(
    properties: &BasicProperties,
    body: &Bytes,
    before: Option<&'static Provenance>,
) -> Option<(Origin, Vec<(Seq, Signal)>)> {
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
    let origin = Origin {
        edge: std::str::from_utf8(edge.as_bytes()).ok()?.into(),
        partition: u16::try_from(*partition).ok()?,
        span: Span { after: number("gemba-after")?, through: number("gemba-through")? },
    };
    let signals = message::open(&origin, body, before).ok()?;
    Some((origin, signals))
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
    let headers = properties.headers().as_ref().map(lapin::types::FieldTable::inner);
    match headers.and_then(|headers| headers.get("x-delivery-count")) {
        Some(AMQPValue::LongLongInt(count)) => u64::try_from(*count).unwrap_or_default(),
        Some(AMQPValue::LongInt(count)) => u64::try_from(*count).unwrap_or_default(),
        Some(AMQPValue::ShortInt(count)) => u64::try_from(*count).unwrap_or_default(),
        Some(AMQPValue::ShortShortInt(count)) => u64::try_from(*count).unwrap_or_default(),
        _ => 0,
    }
}

/// Something that no edge wrote, in the form of a signal: so that it becomes a case that can be looked at.
#[must_use]
pub fn foreign(properties: &BasicProperties, body: &Bytes) -> Signal {
    const NOBODY: &str = "unknown";
    let body = body.slice(..body.len().min(BODY_BYTES_MAX));
    let digest = xxh3_64(&body);
    let named = properties.message_id().as_ref().map(|id| id.as_str().to_owned());
    let named =
        named.filter(|id| (1..=128).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic()));
    let id = named.unwrap_or_else(|| format!("foreign-{digest:016x}"));
    let provenance = Provenance::intern("rabbitmq", "none", Assurance::D);
    Signal {
        identity: Fingerprint::of(provenance, NOBODY, &id, &body),
        id: Text::Owned(id.into()),
        tenant: Text::Owned(NOBODY.into()),
        sku: Text::Owned(NOBODY.into()),
        kind: Text::Owned("foreign".into()),
        severity: Severity::Info,
        provenance,
        digest,
        body,
    }
}
