//! What a governor knows, as bytes: versioned, little endian, one encoding per state of knowledge (so that equal
//! hashes mean equal governors, oracle O5). Signals that wait stand behind what else it knows, each as it is written by
//! itself, so that a store need not write them again with every change. Reading takes any bytes and panics on none.

use std::sync::Arc;

use bytes::Bytes;

use super::alarms::{self, GovernorAlarms};
use super::armed::Armed;
use super::deliveries::Deliveries;
use super::effects::Intent;
use super::known::{Known, key};
use super::mailbox::Held;
use super::quota::Quota;
use super::state::{Flight, Halted, HaltedBy, State};
use crate::codec;
use crate::event::{ActionId, JournalId, Seq, UnixMillis, Words};
use crate::halt::HaltOrder;
use crate::jidoka::breaker::Breaker;
use crate::jidoka::policy::Memory;
use crate::limits::{BODY_BYTES_MAX, REASON_BYTES_MAX};
use crate::receipt::Policy;
use crate::signal::{
    Assurance, Fingerprint, Identified, Illegal, Provenance, Rule, Severity, Signal, Text, Unchecked,
};
use crate::trace::TraceContext;

const VERSION: u8 = 6;
/// Before actions went out in the background.
const WITHOUT_DELIVERIES: u8 = 5;
/// Before governors told of themselves.
const WITHOUT_ALARMS: u8 = 4;
/// Beside a halt by an operator: who ordered it stands at its end, and why.
const ORDERED: u8 = 0x80;
/// Beside an assurance class: the signal is known by its body.
const BY_BODY: u8 = 0x80;
/// Beside an assurance class: the trace that the signal belongs to stands at its end.
const TRACED: u8 = 0x40;

/// Why bytes are not a governor.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    #[error("ends early, in {field}")]
    Short { field: &'static str },
    #[error("has {count} bytes too many")]
    Trailing { count: usize },
    #[error("is version {found}, and this program reads versions {WITHOUT_ALARMS} to {VERSION}")]
    Version { found: u8 },
    #[error("has no meaning for {found} in {field}")]
    Tag { field: &'static str, found: u8 },
    #[error("has a {field} that is not one")]
    Text { field: &'static str },
    #[error("has an illegal value: {0}")]
    Illegal(#[from] Illegal),
    #[error("contradicts itself")]
    Inconsistent,
}

/// Appends what a governor knows but for the signals that wait, of which it says only how many there are.
pub fn encode(known: &Known, out: &mut Vec<u8>) {
    out.push(VERSION);
    put_text(out, known.tenant());
    put_text(out, known.sku());
    put_u64(out, known.last_seq.0);
    put_u64(out, known.last_signal.0);
    out.push(u8::from(known.entitled) | u8::from(known.forgotten) << 1);
    put_breaker(out, known.breaker);
    put_quota(out, known.quota);
    put_state(out, &known.state);
    let at = out.len();
    out.extend_from_slice(&[0; 2]);
    if let Some(memory) = &known.memory {
        memory.encode(out);
    }
    // At most `MEMORIES_MAX` cells of some 300 bytes.
    let len = u16::try_from(out.len() - at - 2).unwrap_or(u16::MAX);
    out[at..at + 2].copy_from_slice(&len.to_le_bytes());
    let alarms = alarms::encode(known.alarms.as_deref());
    put_len(out, alarms.len());
    out.extend_from_slice(&alarms);
    let deliveries = known.deliveries.as_deref();
    // At most `DELIVERIES_MAX`.
    out.push(u8::try_from(deliveries.map_or(0, Deliveries::len)).unwrap_or(u8::MAX));
    deliveries.iter().flat_map(|deliveries| deliveries.iter()).for_each(|flight| put_flight(out, flight));
}

/// Appends a signal that waits as `Reader::held` reads it.
pub fn encode_held(held: &Held, out: &mut Vec<u8>) {
    put_u64(out, held.seq.0);
    put_u64(out, held.accepted.0);
    encode_signal(out, &held.signal);
}

fn put_u32(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&value.to_le_bytes());
}

fn put_u64(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(&value.to_le_bytes());
}

/// Counts and lengths: all bounded far below 4 GiB.
fn put_len(out: &mut Vec<u8>, len: usize) {
    put_u32(out, u32::try_from(len).unwrap_or(u32::MAX));
}

/// A name: tenant, SKU, signal id, type, source, key.
fn put_text(out: &mut Vec<u8>, text: &str) {
    debug_assert!(u8::try_from(text.len()).is_ok(), "a name of {} bytes", text.len());
    out.push(u8::try_from(text.len()).unwrap_or(u8::MAX));
    out.extend_from_slice(text.as_bytes());
}

fn put_words(out: &mut Vec<u8>, words: &str) {
    put_len(out, words.len());
    out.extend_from_slice(words.as_bytes());
}

fn put_armed(out: &mut Vec<u8>, armed: Armed) {
    put_u64(out, armed.by.0);
    put_u64(out, armed.due.0);
}

fn put_breaker(out: &mut Vec<u8>, breaker: Breaker) {
    match breaker {
        Breaker::Closed { failures } => {
            out.push(0);
            put_u32(out, failures);
        }
        Breaker::Open => out.push(1),
        Breaker::HalfOpen => out.push(2),
    }
}

fn put_quota(out: &mut Vec<u8>, quota: Quota) {
    match quota {
        Quota::Full => out.push(0),
        Quota::Open { remaining, window } => {
            out.push(1);
            put_u32(out, remaining);
            put_armed(out, window);
        }
    }
}

fn put_state(out: &mut Vec<u8>, state: &State) {
    out.push(state.name() as u8);
    match state {
        State::Boot(boot) => {
            put_armed(out, boot.timer);
            put_len(out, boot.mailbox.len());
        }
        State::ActionPending(pending) => {
            put_flight(out, &pending.flight);
            put_len(out, pending.mailbox.len());
        }
        State::Stable | State::QuotaExhausted | State::Degraded => {}
        State::Halted(halted) => {
            put_u64(out, halted.since.0);
            match &halted.by {
                HaltedBy::Breaker { reset } => {
                    out.push(0);
                    put_armed(out, *reset);
                }
                HaltedBy::Operator { flight, order } => {
                    let ordered = if order.is_some() { ORDERED } else { 0 };
                    out.push(if flight.is_some() { 2 } else { 1 } | ordered);
                    if let Some(flight) = flight {
                        put_flight(out, flight);
                    }
                    if let Some(order) = order {
                        put_words(out, &order.actor);
                        put_words(out, &order.reason);
                    }
                }
            }
        }
    }
}

fn put_flight(out: &mut Vec<u8>, flight: &Flight) {
    let intent = &flight.intent;
    put_u64(out, intent.action.journal.0);
    put_u64(out, intent.action.seq.0);
    put_u64(out, intent.by.0);
    put_text(out, &intent.name);
    put_u64(out, intent.time.0);
    encode_signal(out, &intent.signal);
    put_armed(out, flight.deadline);
    put_u64(out, intent.accepted.0);
    out.extend_from_slice(&intent.policy.content_hash);
    put_text(out, &intent.policy.pack);
    put_text(out, &intent.policy.rule);
    put_words(out, &intent.reason);
}

/// Appends a signal as [`decode_signal`] reads it.
pub fn encode_signal(out: &mut Vec<u8>, signal: &Signal) {
    put_len(out, signal.body().len());
    out.extend_from_slice(signal.body());
    for text in signal.texts() {
        match text {
            Text::Span { at, len } => {
                out.push(0);
                put_u32(out, *at);
                out.push(*len);
            }
            Text::Owned(text) => {
                out.push(1);
                put_text(out, text);
            }
        }
    }
    out.push(signal.severity as u8);
    put_text(out, &signal.provenance.source);
    put_text(out, &signal.provenance.key);
    let by_body = match signal.provenance.identified {
        Identified::ById => 0,
        Identified::ByBody => BY_BODY,
    };
    let traced = if signal.trace().is_some() { TRACED } else { 0 };
    out.push(signal.provenance.assurance as u8 | by_body | traced);
    out.extend_from_slice(&signal.identity.0);
    put_u64(out, signal.digest);
    if let Some(trace) = signal.trace() {
        out.extend_from_slice(&trace.to_bytes());
    }
}

/// # Errors
/// [`Damage`] when the bytes are not exactly one signal.
pub fn decode_signal(bytes: &[u8]) -> Result<Signal, Damage> {
    let mut from = Reader::new(bytes);
    let signal = from.signal()?;
    from.end()?;
    Ok(signal)
}

/// Reads any bytes.
pub struct Reader<'a> {
    from: codec::Reader<'a>,
}

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { from: codec::Reader::new(bytes) }
    }

    /// Nothing may be left.
    pub fn end(&self) -> Result<(), Damage> {
        let count = self.from.rest().len();
        if count == 0 { Ok(()) } else { Err(Damage::Trailing { count }) }
    }

    fn bytes(&mut self, count: usize, field: &'static str) -> Result<&'a [u8], Damage> {
        self.from.bytes(count).ok_or(Damage::Short { field })
    }

    fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], Damage> {
        self.from.array().ok_or(Damage::Short { field })
    }

    fn u8(&mut self, field: &'static str) -> Result<u8, Damage> {
        self.from.u8().ok_or(Damage::Short { field })
    }

    fn u32(&mut self, field: &'static str) -> Result<u32, Damage> {
        self.from.u32().ok_or(Damage::Short { field })
    }

    fn u64(&mut self, field: &'static str) -> Result<u64, Damage> {
        self.from.u64().ok_or(Damage::Short { field })
    }

    fn seq(&mut self, field: &'static str) -> Result<Seq, Damage> {
        self.u64(field).map(Seq)
    }

    fn millis(&mut self, field: &'static str) -> Result<UnixMillis, Damage> {
        self.u64(field).map(UnixMillis)
    }

    /// What a governor knows, and how many signals wait and follow.
    pub fn known(&mut self) -> Result<(Known, usize), Damage> {
        let found = self.u8("version")?;
        if !(WITHOUT_ALARMS..=VERSION).contains(&found) {
            return Err(Damage::Version { found });
        }
        let tenant = self.name("tenant")?;
        let sku = self.name("sku")?;
        let (last_seq, last_signal) = (self.seq("last_seq")?, self.millis("last_signal")?);
        let flags = self.u8("entitled")?;
        if flags > 3 {
            return Err(Damage::Tag { field: "entitled", found: flags });
        }
        let (breaker, quota) = (self.breaker()?, self.quota()?);
        let (state, lacks) = self.state()?;
        let known = Known {
            key: key(tenant, sku),
            split: u8::try_from(tenant.len()).unwrap_or(u8::MAX),
            last_seq,
            last_signal,
            entitled: flags & 1 != 0,
            forgotten: flags & 2 != 0,
            breaker,
            quota,
            state,
            memory: self.memory()?,
            alarms: if found == WITHOUT_ALARMS { None } else { self.alarms()? },
            deliveries: if found <= WITHOUT_DELIVERIES { None } else { self.deliveries()? },
        };
        Ok((known, lacks))
    }

    fn text(&mut self, field: &'static str) -> Result<&'a str, Damage> {
        let len = self.u8(field)?;
        std::str::from_utf8(self.bytes(usize::from(len), field)?).map_err(|_| Damage::Text { field })
    }

    /// A tenant's or a SKU's name.
    fn name(&mut self, field: &'static str) -> Result<&'a str, Damage> {
        let name = self.text(field)?;
        Ok(Rule::Name.check(field, name.as_bytes())?)
    }

    fn armed(&mut self, field: &'static str) -> Result<Armed, Damage> {
        Ok(Armed { by: self.seq(field)?, due: self.millis(field)? })
    }

    fn breaker(&mut self) -> Result<Breaker, Damage> {
        match self.u8("breaker")? {
            0 => Ok(Breaker::Closed { failures: self.u32("breaker")? }),
            1 => Ok(Breaker::Open),
            2 => Ok(Breaker::HalfOpen),
            found => Err(Damage::Tag { field: "breaker", found }),
        }
    }

    fn quota(&mut self) -> Result<Quota, Damage> {
        match self.u8("quota")? {
            0 => Ok(Quota::Full),
            1 => Ok(Quota::Open { remaining: self.u32("quota")?, window: self.armed("quota")? }),
            found => Err(Damage::Tag { field: "quota", found }),
        }
    }

    /// The state, and how many signals wait in it.
    fn state(&mut self) -> Result<(State, usize), Damage> {
        let state = match self.u8("state")? {
            0 => {
                let boot = State::boot(self.armed("boot timer")?);
                return Ok((boot, self.u32("mailbox")? as usize));
            }
            1 => State::Stable,
            2 => {
                let pending = State::pending(self.flight()?);
                return Ok((pending, self.u32("mailbox")? as usize));
            }
            3 => State::QuotaExhausted,
            4 => State::Degraded,
            5 => State::Halted(Halted { since: self.millis("halted since")?, by: self.halted_by()? }),
            found => return Err(Damage::Tag { field: "state", found }),
        };
        Ok((state, 0))
    }

    fn memory(&mut self) -> Result<Option<Box<Memory>>, Damage> {
        let len = self.from.u16().ok_or(Damage::Short { field: "memory" })?;
        let memory =
            Memory::decode(self.bytes(len.into(), "memory")?).ok_or(Damage::Text { field: "memory" })?;
        Ok((memory.cells() > 0).then(|| Box::new(memory)))
    }

    fn alarms(&mut self) -> Result<Option<Box<GovernorAlarms>>, Damage> {
        let len = self.u32("alarms")? as usize;
        if len == 0 {
            return Ok(None);
        }
        let alarms = alarms::decode(self.bytes(len, "alarms")?).ok_or(Damage::Text { field: "alarms" })?;
        Ok(Some(Box::new(alarms)))
    }

    fn deliveries(&mut self) -> Result<Option<Box<Deliveries>>, Damage> {
        let mut deliveries = None;
        for _ in 0..self.u8("deliveries")? {
            // As many as were written have room.
            if Deliveries::put(&mut deliveries, self.flight()?).is_some() {
                return Err(Damage::Inconsistent);
            }
        }
        Ok(deliveries)
    }

    fn halted_by(&mut self) -> Result<HaltedBy, Damage> {
        match self.u8("halted by")? {
            0 => Ok(HaltedBy::Breaker { reset: self.armed("breaker reset")? }),
            found => {
                let flight = match found & !ORDERED {
                    1 => None,
                    2 => Some(Box::new(self.flight()?)),
                    _ => return Err(Damage::Tag { field: "halted by", found }),
                };
                let order = if found & ORDERED == 0 {
                    None
                } else {
                    let (actor, reason) = (self.words("halted by")?, self.words("halted for")?);
                    Some(Box::new(HaltOrder { actor, reason }))
                };
                Ok(HaltedBy::Operator { flight, order })
            }
        }
    }

    fn words(&mut self, field: &'static str) -> Result<Words, Damage> {
        let len = self.u32(field)? as usize;
        if len > REASON_BYTES_MAX {
            return Err(Damage::Text { field });
        }
        let text = str::from_utf8(self.bytes(len, field)?).map_err(|_| Damage::Text { field })?;
        Ok(Words::read(field, text)?)
    }

    fn flight(&mut self) -> Result<Flight, Damage> {
        let action = ActionId { journal: JournalId(self.u64("action")?), seq: self.seq("action")? };
        let by = self.seq("action")?;
        let name = self.text("action name")?.into();
        let (time, signal) = (self.millis("action time")?, self.signal()?);
        let deadline = self.armed("action deadline")?;
        let accepted = self.seq("accepted")?;
        let policy = Policy {
            content_hash: self.array("content hash")?,
            pack: self.text("pack")?.into(),
            rule: self.text("rule")?.into(),
        };
        let reason = Arc::from(&*self.words("reason")?);
        let intent = Intent { action, name, by, policy: Arc::new(policy), reason, time, accepted, signal };
        Ok(Flight { intent, deadline })
    }

    pub fn held(&mut self) -> Result<Held, Damage> {
        Ok(Held { seq: self.seq("mailbox")?, accepted: self.seq("mailbox")?, signal: self.signal()? })
    }

    fn signal(&mut self) -> Result<Signal, Damage> {
        let len = self.u32("body")? as usize;
        if len > BODY_BYTES_MAX {
            return Err(Damage::Text { field: "body" });
        }
        let body = Bytes::copy_from_slice(self.bytes(len, "body")?);
        let texts = ["signal id", "signal tenant", "signal sku", "signal type"];
        let [id, tenant, sku, kind] = texts.map(|field| self.signal_text(field));
        let (id, tenant, sku, kind) = (id?, tenant?, sku?, kind?);
        let (severity, (provenance, traced)) = (self.severity()?, self.provenance()?);
        let identity = Fingerprint(self.array("identity")?);
        let digest = self.u64("digest")?;
        let mut signal = Unchecked { body, id, tenant, sku, kind, severity, provenance, digest }.check()?;
        signal.identity = identity;
        if traced {
            let trace = TraceContext::from_bytes(&self.array("trace")?);
            signal.set_trace(Some(trace.ok_or(Damage::Text { field: "trace" })?));
        }
        Ok(signal)
    }

    fn signal_text(&mut self, field: &'static str) -> Result<Text, Damage> {
        match self.u8(field)? {
            0 => Ok(Text::Span { at: self.u32(field)?, len: self.u8(field)? }),
            1 => Ok(Text::Owned(self.text(field)?.into())),
            found => Err(Damage::Tag { field, found }),
        }
    }

    fn severity(&mut self) -> Result<Severity, Damage> {
        let found = self.u8("severity")?;
        Severity::from_repr(found).ok_or(Damage::Tag { field: "severity", found })
    }

    /// Where a signal came from, and whether its trace follows.
    fn provenance(&mut self) -> Result<(&'static Provenance, bool), Damage> {
        let (source, key) = (self.text("source")?, self.text("key")?);
        let byte = self.u8("assurance")?;
        let wrong = Damage::Tag { field: "assurance", found: byte };
        let assurance = Assurance::from_repr(byte & !(BY_BODY | TRACED)).ok_or(wrong)?;
        let identified = if byte & BY_BODY == 0 { Identified::ById } else { Identified::ByBody };
        if assurance == Assurance::D && identified == Identified::ById {
            return Err(Damage::Tag { field: "assurance", found: byte });
        }
        let provenance = Provenance::intern_known(source, key, assurance, identified)?;
        Ok((provenance, byte & TRACED != 0))
    }
}
