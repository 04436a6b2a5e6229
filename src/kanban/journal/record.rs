//! How one event is written. Pure: bytes in, bytes out.
//!
//! A record is `kind u8 | fields | body`, little-endian, without a checksum of its own: the frame around it has one
//! (see [`super::frame`]). A signal's names are spans of its body, so they are stored as places, not as copies.
//! Where a signal came from is stored once per frame and change, as a provenance record that counts as no event.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use bytes::Bytes;
use strum::FromRepr;
#[cfg(test)]
use strum::VariantArray;

use crate::alert::Alarm;
use crate::codec::Reader;
use crate::event::{
    ActionId, Astray, Command, EdgeName, Failure, JournalId, Kind, Outcome, Position, Reconfigured, Replay,
    Resend, RulesText, Seq, Stray, Subject, Timer, TimerKind, Tries, Verb, VerbName, Words,
};
use crate::limits::{
    ADOPTED_BYTES_MAX, ALARM_BYTES_MAX, BODY_BYTES_MAX, FACTS_BYTES_MAX, HALTED_RULES_BYTES_MAX,
    PARTITIONS_MAX,
};
use crate::manifest::{Manifest, is_sequence};
use crate::sharing::{Adopt, Hold, Shared, partition_number};
use crate::signal::{Assurance, Identified, Illegal, Provenance, Rule, Severity, Signal, Text, Unchecked};
use crate::trace::TraceContext;

/// What a record is. The numbers are stored and never change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromRepr)]
#[cfg_attr(test, derive(VariantArray))]
#[repr(u8)]
pub enum RecordKind {
    /// Where the signals behind it came from; no event.
    Provenance = 0,
    Signal = 1,
    /// An outcome whose action is named by its number alone.
    Outcome = 2,
    Timer = 3,
    Command = 4,
    Replay = 5,
    Rules = 6,
    Stray = 7,
    Position = 8,
    /// An outcome whose action is named by a journal's id and a number.
    NamedOutcome = 9,
    Hold = 10,
    Adopt = 11,
    Shared = 12,
    /// A replay that sends an action again.
    Resend = 13,
    Reconfigured = 14,
    Alarm = 15,
    Manifest = 16,
    /// Rules that are void unless those of the event that they name hold.
    RulesMadeFrom = 17,
    /// A replay that sends an action which was never ordered.
    FirstSend = 18,
}

// Flags of an outcome.
const MAYBE_TWICE: u8 = 1;
const FAILED: u8 = 2;
const WITHHELD: u8 = 4;
const TRIED: u8 = 8;
/// At its end stands the event that ordered it.
const ORDERED: u8 = 16;

/// Beside a signal's severity: the trace that it belongs to follows.
const TRACED: u8 = 0x80;
/// The same: the sender's own number of it follows.
const NUMBERED: u8 = 0x40;

/// A span's place is a `u32`; this one says that the text itself follows.
const OWNED: u32 = u32::MAX;

/// Why bytes are not a record of this version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    #[error("not a record that this version knows")]
    Unknown,
    #[error("a record holds what this version does not allow: {0}")]
    Illegal(#[from] Illegal),
}

/// Appends records to a frame's payload; remembers the provenance that holds.
#[derive(Debug, Default)]
pub struct Encoder {
    provenance: Option<&'static Provenance>,
}

impl Encoder {
    pub fn append(&mut self, out: &mut Vec<u8>, kind: &Kind) {
        match kind {
            Kind::Signal(signal) => self.signal(out, signal),
            Kind::Outcome(event) => outcome(out, event),
            Kind::Timer(timer) => {
                out.push(RecordKind::Timer as u8);
                subject(out, &timer.subject);
                out.push(timer.kind as u8);
                out.extend_from_slice(&timer.armed.0.to_le_bytes());
            }
            Kind::Command(event) => command(out, event),
            Kind::Replay(event) => {
                replay(out, event);
                // As any other; what stands before it makes it no event of its own.
                self.signal(out, &event.signal);
            }
            Kind::Rules(rules) => {
                match rules.base() {
                    None => out.push(RecordKind::Rules as u8),
                    Some(base) => {
                        out.push(RecordKind::RulesMadeFrom as u8);
                        out.extend_from_slice(&base.0.to_le_bytes());
                    }
                }
                long(out, &rules.actor);
                long(out, &rules.reason);
                bytes(out, rules.text().as_bytes());
            }
            Kind::Reconfigured(change) => {
                out.push(RecordKind::Reconfigured as u8);
                long(out, &change.actor);
                long(out, &change.reason);
                bytes(out, change.changes().as_bytes());
            }
            Kind::Alarm(alarm) => {
                out.push(RecordKind::Alarm as u8);
                bytes(out, &alarm.to_json());
            }
            Kind::Manifest(manifest) => {
                out.push(RecordKind::Manifest as u8);
                manifest.write(out);
            }
            Kind::Stray(stray) => {
                out.extend_from_slice(&[RecordKind::Stray as u8, stray.why as u8]);
                self.signal(out, &stray.signal);
            }
            Kind::Position(Position { edge, partition, through }) => {
                out.push(RecordKind::Position as u8);
                short(out, edge);
                out.extend_from_slice(&partition.to_le_bytes());
                out.extend_from_slice(&through.0.to_le_bytes());
            }
            Kind::Hold(Hold { partition, term }) => {
                out.push(RecordKind::Hold as u8);
                out.extend_from_slice(&partition.to_le_bytes());
                out.extend_from_slice(&term.to_le_bytes());
            }
            Kind::Adopt(adopt) => {
                out.push(RecordKind::Adopt as u8);
                subject(out, &adopt.subject);
                bytes(out, adopt.row());
            }
            Kind::Shared(shared) => {
                out.push(RecordKind::Shared as u8);
                out.extend_from_slice(&shared.through.0.to_le_bytes());
                let lost = u16::try_from(shared.lost.len());
                let lost = lost.unwrap_or_else(|_| unreachable!("there are fewer partitions"));
                out.extend_from_slice(&lost.to_le_bytes());
                for partition in &shared.lost {
                    out.extend_from_slice(&partition.to_le_bytes());
                }
            }
        }
    }

    pub fn signal(&mut self, out: &mut Vec<u8>, signal: &Signal) {
        if !self.provenance.is_some_and(|held| std::ptr::eq(held, signal.provenance)) {
            out.push(RecordKind::Provenance as u8);
            out.push(signal.provenance.assurance as u8);
            out.push(signal.provenance.identified as u8);
            short(out, &signal.provenance.source);
            short(out, &signal.provenance.key);
            self.provenance = Some(signal.provenance);
        }
        let traced = if signal.trace().is_some() { TRACED } else { 0 };
        let numbered = if signal.sequence().is_some() { NUMBERED } else { 0 };
        let flags = signal.severity as u8 | traced | numbered;
        let mut head = [RecordKind::Signal as u8, flags, 0, 0, 0, 0, 0, 0, 0, 0];
        head[2..].copy_from_slice(&signal.digest.to_le_bytes());
        out.extend_from_slice(&head);
        if let Some(trace) = signal.trace() {
            out.extend_from_slice(&trace.to_bytes());
        }
        if let Some(sequence) = signal.sequence() {
            out.extend_from_slice(&sequence.to_le_bytes());
        }
        for name in signal.texts() {
            match name {
                Text::Span { at, len } => {
                    let [a, b, c, d] = at.to_le_bytes();
                    out.extend_from_slice(&[a, b, c, d, *len]);
                }
                Text::Owned(text) => {
                    out.extend_from_slice(&OWNED.to_le_bytes());
                    short(out, text);
                }
            }
        }
        bytes(out, signal.body());
    }
}

fn outcome(out: &mut Vec<u8>, outcome: &Outcome) {
    let ActionId { journal, seq } = outcome.action;
    if journal == JournalId(0) {
        out.push(RecordKind::Outcome as u8);
    } else {
        out.push(RecordKind::NamedOutcome as u8);
        out.extend_from_slice(&journal.0.to_le_bytes());
    }
    subject(out, &outcome.subject);
    out.extend_from_slice(&seq.0.to_le_bytes());
    let withheld = outcome.result.as_ref().is_err_and(|failure| !failure.asked);
    let flags = [
        (outcome.maybe_twice, MAYBE_TWICE),
        (outcome.result.is_err(), FAILED),
        (withheld, WITHHELD),
        (outcome.tries.is_some(), TRIED),
        (outcome.by.is_some(), ORDERED),
    ];
    out.push(flags.into_iter().filter(|(holds, _)| *holds).map(|(_, flag)| flag).sum());
    if let Err(failure) = &outcome.result {
        long(out, &failure.reason);
    }
    if let Some(tries) = &outcome.tries {
        bytes(out, tries.as_str().as_bytes());
    }
    if let Some(by) = outcome.by {
        out.extend_from_slice(&by.0.to_le_bytes());
    }
}

fn command(out: &mut Vec<u8>, command: &Command) {
    out.push(RecordKind::Command as u8);
    subject(out, &command.subject);
    let number = if let Verb::Quota(number) = command.verb { number } else { 0 };
    out.push(command.verb.name() as u8);
    out.extend_from_slice(&number.to_le_bytes());
    if let Verb::Discard(case) = command.verb {
        out.extend_from_slice(&case.0.to_le_bytes());
    }
    long(out, &command.actor);
    long(out, &command.reason);
}

fn replay(out: &mut Vec<u8>, replay: &Replay) {
    let kind = match &replay.resend {
        None => RecordKind::Replay,
        Some(resend) if resend.never_ordered => RecordKind::FirstSend,
        Some(_) => RecordKind::Resend,
    };
    out.push(kind as u8);
    out.extend_from_slice(&replay.case.0.to_le_bytes());
    long(out, &replay.actor);
    long(out, &replay.reason);
    if let Some(resend) = &replay.resend {
        // Of what was never ordered the record's kind tells.
        let Resend { action, name, pack, rule, content_hash, because, never_ordered: _ } = &**resend;
        out.extend_from_slice(&action.journal.0.to_le_bytes());
        out.extend_from_slice(&action.seq.0.to_le_bytes());
        for words in [name, pack, rule] {
            long(out, words);
        }
        out.extend_from_slice(content_hash);
        long(out, because);
    }
}

// What has a length is bounded by its type, far below what the length can say: nothing is cut here.

fn short(out: &mut Vec<u8>, text: &str) {
    let len = u8::try_from(text.len()).unwrap_or_else(|_| unreachable!("a name is bounded by its type"));
    out.push(len);
    out.extend_from_slice(text.as_bytes());
}

fn long(out: &mut Vec<u8>, words: &Words) {
    let len = u16::try_from(words.len()).unwrap_or_else(|_| unreachable!("words are bounded by their type"));
    out.extend_from_slice(&len.to_le_bytes());
    out.extend_from_slice(words.as_bytes());
}

fn bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    let len = u32::try_from(bytes.len()).unwrap_or_else(|_| unreachable!("a body is bounded by its type"));
    out.extend_from_slice(&len.to_le_bytes());
    out.extend_from_slice(bytes);
}

fn subject(out: &mut Vec<u8>, subject: &Subject) {
    short(out, &subject.tenant);
    short(out, &subject.sku);
}

/// Reads the records of one frame; the signals share its bytes.
#[derive(Debug)]
pub struct Decoder {
    payload: Bytes,
    at: usize,
    provenance: Option<&'static Provenance>,
}

impl Decoder {
    #[must_use]
    pub fn new(payload: Bytes) -> Self {
        Self { payload, at: 0, provenance: None }
    }

    /// The next event, `None` at the end of the frame.
    ///
    /// # Errors
    /// [`Unreadable`]; the checksum held, so a newer version wrote it or this one has a fault. Then nothing more is read.
    pub fn next_kind(&mut self) -> Result<Option<Kind>, Unreadable> {
        let reader = Reader::new(self.payload.get(self.at..).unwrap_or_default());
        let mut record = Record { payload: &self.payload, reader, provenance: &mut self.provenance };
        let kind = record.kind()?;
        self.at = self.payload.len() - record.reader.rest().len();
        Ok(kind)
    }

    /// Lends the provenance of the frame before, so that a replay interns once.
    #[must_use]
    pub fn after(mut self, before: Option<&'static Provenance>) -> Self {
        self.provenance = before;
        self
    }

    #[must_use]
    pub fn provenance(&self) -> Option<&'static Provenance> {
        self.provenance
    }
}

/// What is left of a frame; `reader` reads `payload`.
struct Record<'a> {
    payload: &'a Bytes,
    reader: Reader<'a>,
    provenance: &'a mut Option<&'static Provenance>,
}

impl<'a> Record<'a> {
    fn kind(&mut self) -> Result<Option<Kind>, Unreadable> {
        loop {
            if self.reader.is_empty() {
                return Ok(None);
            }
            return Ok(Some(match self.record_kind()? {
                RecordKind::Provenance => {
                    self.read_provenance()?;
                    continue;
                }
                RecordKind::Signal => Kind::Signal(self.signal()?),
                RecordKind::Outcome => Kind::Outcome(Box::new(self.outcome(JournalId(0))?)),
                RecordKind::NamedOutcome => {
                    let journal = JournalId(self.read(Reader::u64)?);
                    Kind::Outcome(Box::new(self.outcome(journal)?))
                }
                RecordKind::Timer => Kind::Timer(Box::new(self.timer()?)),
                RecordKind::Command => Kind::Command(Box::new(self.command()?)),
                RecordKind::Replay => Kind::Replay(Box::new(self.replay(None)?)),
                RecordKind::Resend => Kind::Replay(Box::new(self.replay(Some(false))?)),
                RecordKind::FirstSend => Kind::Replay(Box::new(self.replay(Some(true))?)),
                RecordKind::Rules => Kind::Rules(Arc::new(self.rules()?)),
                RecordKind::RulesMadeFrom => {
                    let base = self.seq()?;
                    Kind::Rules(Arc::new(self.rules()?.made_from(base)))
                }
                RecordKind::Reconfigured => Kind::Reconfigured(Arc::new(self.reconfigured()?)),
                RecordKind::Alarm => Kind::Alarm(Arc::new(self.alarm()?)),
                RecordKind::Manifest => Kind::Manifest(Box::new(self.read(Manifest::read)?)),
                RecordKind::Stray => Kind::Stray(Box::new(self.stray()?)),
                RecordKind::Position => Kind::Position(self.position()?),
                RecordKind::Hold => Kind::Hold(self.hold()?),
                RecordKind::Adopt => Kind::Adopt(Box::new(self.adopt()?)),
                RecordKind::Shared => Kind::Shared(Box::new(self.shared()?)),
            }));
        }
    }

    fn record_kind(&mut self) -> Result<RecordKind, Unreadable> {
        self.read(|record| RecordKind::from_repr(record.u8()?))
    }

    fn read_provenance(&mut self) -> Result<(), Unreadable> {
        let assurance = self.read(|record| Assurance::from_repr(record.u8()?))?;
        let identified = self.read(|record| Identified::from_repr(record.u8()?))?;
        let (source, key) = (self.short()?, self.short()?);
        let same = self.provenance.is_some_and(|held| {
            (&*held.source, &*held.key) == (source, key)
                && (held.assurance, held.identified) == (assurance, identified)
        });
        if !same {
            *self.provenance = Some(Provenance::intern_known(source, key, assurance, identified)?);
        }
        Ok(())
    }

    fn signal(&mut self) -> Result<Signal, Unreadable> {
        let provenance = self.provenance.ok_or(Unreadable::Unknown)?;
        let flags = self.read(Reader::u8)?;
        let severity = Severity::from_repr(flags & !(TRACED | NUMBERED)).ok_or(Unreadable::Unknown)?;
        let digest = self.read(Reader::u64)?;
        let trace = match flags & TRACED {
            0 => None,
            _ => Some(self.read(|record| TraceContext::from_bytes(record.chunk()?))?),
        };
        let sequence = match flags & NUMBERED {
            0 => None,
            _ => Some(self.read(|record| record.u64().filter(|number| is_sequence(*number)))?),
        };
        let [id, tenant, sku, kind] = [self.text()?, self.text()?, self.text()?, self.text()?];
        let body = self.shared_bytes("body", BODY_BYTES_MAX)?;
        let mut signal = Unchecked { body, id, tenant, sku, kind, severity, provenance, digest }.check()?;
        signal.set_trace(trace);
        signal.set_sequence(sequence);
        Ok(signal)
    }

    fn outcome(&mut self, journal: JournalId) -> Result<Outcome, Unreadable> {
        let subject = self.subject()?;
        let action = ActionId { journal, seq: self.seq()? };
        let flags = self.read(Reader::u8)?;
        let result = match flags & FAILED {
            0 => Ok(()),
            _ => Err(Failure { reason: self.words("reason")?, asked: flags & WITHHELD == 0 }),
        };
        let tries = match flags & TRIED {
            0 => None,
            _ => Some(Tries::new(self.facts("tries")?)?),
        };
        let by = match flags & ORDERED {
            0 => None,
            _ => Some(self.seq()?),
        };
        Ok(Outcome { subject, action, by, result, maybe_twice: flags & MAYBE_TWICE != 0, tries })
    }

    fn timer(&mut self) -> Result<Timer, Unreadable> {
        let subject = self.subject()?;
        let kind = self.read(|record| TimerKind::from_repr(record.u8()?))?;
        Ok(Timer { subject, kind, armed: self.seq()? })
    }

    fn command(&mut self) -> Result<Command, Unreadable> {
        let subject = self.subject()?;
        let verb = self.read(|record| VerbName::from_repr(record.u8()?))?;
        let number = self.read(Reader::u32)?;
        let verb = match verb {
            VerbName::Halt => Verb::Halt,
            VerbName::Resume => Verb::Resume,
            VerbName::Entitle => Verb::Entitle,
            VerbName::Revoke => Verb::Revoke,
            VerbName::Quota => Verb::Quota(number),
            VerbName::Discard => Verb::Discard(self.seq()?),
        };
        Ok(Command { subject, verb, actor: self.words("actor")?, reason: self.words("reason")? })
    }

    /// Of one that sends an action, whether that was `never_ordered`.
    fn replay(&mut self, never_ordered: Option<bool>) -> Result<Replay, Unreadable> {
        let case = self.seq()?;
        let (actor, reason) = (self.words("actor")?, self.words("reason")?);
        let resend = never_ordered.map(|never| self.resend(never)).transpose()?.map(Box::new);
        Ok(Replay { case, signal: self.enclosed()?, actor, reason, resend })
    }

    fn resend(&mut self, never_ordered: bool) -> Result<Resend, Unreadable> {
        let action = ActionId { journal: JournalId(self.read(Reader::u64)?), seq: self.seq()? };
        let (name, pack, rule) = (self.words("action")?, self.words("pack")?, self.words("rule")?);
        let content_hash = self.read(Reader::array)?;
        let because = self.words("because")?;
        Ok(Resend { action, name, pack, rule, content_hash, because, never_ordered })
    }

    fn stray(&mut self) -> Result<Stray, Unreadable> {
        let why = self.read(|record| Astray::from_repr(record.u8()?))?;
        Ok(Stray { why, signal: self.enclosed()? })
    }

    /// A signal that another record brings along.
    fn enclosed(&mut self) -> Result<Signal, Unreadable> {
        let mut kind = self.record_kind()?;
        if kind == RecordKind::Provenance {
            self.read_provenance()?;
            kind = self.record_kind()?;
        }
        if kind == RecordKind::Signal { self.signal() } else { Err(Unreadable::Unknown) }
    }

    fn position(&mut self) -> Result<Position, Unreadable> {
        let edge = EdgeName::read(self.short()?)?;
        let partition = self.partition()?;
        Ok(Position { edge, partition, through: self.seq()? })
    }

    fn rules(&mut self) -> Result<RulesText, Unreadable> {
        let (actor, reason) = (self.words("actor")?, self.words("reason")?);
        let text = self.shared_bytes("rules", HALTED_RULES_BYTES_MAX)?;
        let text = str::from_utf8(&text).map_err(|_| Unreadable::Unknown)?;
        Ok(RulesText::new(text.into(), actor, reason)?)
    }

    fn reconfigured(&mut self) -> Result<Reconfigured, Unreadable> {
        let (actor, reason) = (self.words("actor")?, self.words("reason")?);
        Ok(Reconfigured::new(self.facts("changes")?, actor, reason)?)
    }

    fn alarm(&mut self) -> Result<Alarm, Unreadable> {
        let stored = self.shared_bytes("alarm", ALARM_BYTES_MAX)?;
        Alarm::from_json(&stored).map_err(|_| Unreadable::Unknown)
    }

    /// What a receipt keeps as it is.
    fn facts(&mut self, field: &'static str) -> Result<Box<str>, Unreadable> {
        let facts = self.shared_bytes(field, FACTS_BYTES_MAX)?;
        str::from_utf8(&facts).map(Into::into).map_err(|_| Unreadable::Unknown)
    }

    fn hold(&mut self) -> Result<Hold, Unreadable> {
        Ok(Hold { partition: self.partition()?, term: self.read(Reader::u64)? })
    }

    fn adopt(&mut self) -> Result<Adopt, Unreadable> {
        let subject = self.subject()?;
        Ok(Adopt::new(subject, self.shared_bytes("row", ADOPTED_BYTES_MAX)?)?)
    }

    fn shared(&mut self) -> Result<Shared, Unreadable> {
        let through = self.seq()?;
        let count = self.read(|record| record.u16().filter(|count| *count <= PARTITIONS_MAX))?;
        let lost = (0..count).map(|_| self.partition()).collect::<Result<_, _>>()?;
        Ok(Shared { through, lost })
    }

    /// What is cut off, or is a number of nothing, is not a record of this version.
    fn read<T>(&mut self, read: impl FnOnce(&mut Reader<'a>) -> Option<T>) -> Result<T, Unreadable> {
        read(&mut self.reader).ok_or(Unreadable::Unknown)
    }

    fn seq(&mut self) -> Result<Seq, Unreadable> {
        self.read(Reader::u64).map(Seq)
    }

    fn partition(&mut self) -> Result<u16, Unreadable> {
        Ok(partition_number(self.read(Reader::u16)?)?)
    }

    /// Bytes of the frame, under their length.
    fn shared_bytes(&mut self, field: &'static str, most: usize) -> Result<Bytes, Unreadable> {
        let found = self.read(Reader::u32)? as usize;
        if found > most {
            return Err(Illegal { field, rule: Rule::AtMost(most), found }.into());
        }
        let bytes = self.read(|record| record.bytes(found))?;
        Ok(self.payload.slice_ref(bytes))
    }

    fn text(&mut self) -> Result<Text, Unreadable> {
        match self.read(Reader::u32)? {
            OWNED => Ok(Text::Owned(self.short()?.into())),
            at => Ok(Text::Span { at, len: self.read(Reader::u8)? }),
        }
    }

    fn short(&mut self) -> Result<&'a str, Unreadable> {
        self.read(|record| {
            let len = record.u8()?;
            record.text(len.into())
        })
    }

    fn words(&mut self, field: &'static str) -> Result<Words, Unreadable> {
        let text = self.read(|record| {
            let len = record.u16()?;
            record.text(len.into())
        })?;
        Ok(Words::read(field, text)?)
    }

    fn subject(&mut self) -> Result<Subject, Unreadable> {
        Ok(Subject::read(self.short()?, self.short()?)?)
    }
}
