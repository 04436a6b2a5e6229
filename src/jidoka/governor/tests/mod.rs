//! A governor under a hand-driven journal.

mod codec;
mod model;
mod promises;
mod table;

use std::time::Duration;

use bytes::Bytes;

use super::{Effects, Governor};
use crate::event::{
    ActionId, Command, Event, Kind, Outcome, Seq, Subject, Timer, TimerKind, UnixMillis, Verb,
};
use crate::jidoka::rules::{EntitlementDefault, Rules};
use crate::receipt::Draft;
use crate::signal::{Assurance, Fingerprint, Provenance, Severity, Signal, Text};

pub(super) const START: u64 = 1_700_000_000_000;

pub(super) fn rules() -> Rules {
    Rules {
        log_types: ["act.now".into()].into_iter().collect(),
        quota: 2,
        mailbox: 2,
        breaker_failures: 2,
        ..Rules::default()
    }
}

pub(super) fn subject() -> Subject {
    Subject { tenant: "acme".into(), sku: "vm".into() }
}

/// A signal whose names are spans of its body, but for the type.
pub(super) fn signal(subject: &Subject, id: &str, kind: &str, severity: Severity) -> Signal {
    let text = format!(r#"{{"id":"{id}","tenant":"{}","sku":"{}"}}"#, subject.tenant, subject.sku);
    let span = |part: &str| {
        let at = text.find(&format!(":\"{part}\"")).unwrap() + 2;
        Text::Span { at: u32::try_from(at).unwrap(), len: u8::try_from(part.len()).unwrap() }
    };
    Signal {
        id: span(id),
        tenant: span(&subject.tenant),
        sku: span(&subject.sku),
        kind: Text::Owned(kind.into()),
        severity,
        provenance: Provenance::intern("signals", "k1", Assurance::C),
        identity: Fingerprint([7; 16]),
        digest: 42,
        body: Bytes::from(text),
    }
}

/// What can happen, in short.
#[derive(Clone, Debug)]
pub(super) enum Op {
    Signal(&'static str, Severity),
    /// The outcome of the action in flight, or of none.
    Done(Result<(), &'static str>),
    /// The outcome of an action that is not in flight.
    Stray(Result<(), &'static str>),
    /// The timer that runs, or none.
    Fire(TimerKind),
    /// A timer that was cancelled.
    Stale(TimerKind),
    Order(Verb),
}

pub(super) const STRAY: ActionId = ActionId(Seq(0));

/// One governor and the journal in front of it.
pub(super) struct Line {
    pub(super) governor: Governor,
    pub(super) rules: Rules,
    pub(super) effects: Effects,
    pub(super) seq: Seq,
    pub(super) time: UnixMillis,
}

impl Line {
    pub(super) fn new(rules: Rules) -> Self {
        let mut effects = Effects::default();
        let governor = Governor::new(&subject(), Seq(1), UnixMillis(START), &rules, &mut effects);
        Self { governor, rules, effects, seq: Seq(0), time: UnixMillis(START) }
    }

    pub(super) fn booting() -> Self {
        Self::new(Rules { entitlement: EntitlementDefault::Required, ..rules() })
    }

    /// The event that `op` is now, one second after the last.
    pub(super) fn event(&mut self, op: &Op) -> Event {
        self.seq = self.seq.next();
        self.time = self.time.plus_seconds(1);
        let subject = subject();
        let outcome = |subject, action, result: Result<(), &str>| {
            let result = result.map_err(Into::into);
            Kind::Outcome(Box::new(Outcome { subject, action, result, maybe_twice: false }))
        };
        let kind = match op {
            Op::Signal(kind, severity) => {
                Kind::Signal(signal(&subject, &format!("id-{}", self.seq), kind, *severity))
            }
            Op::Done(result) => {
                let action = self.governor.in_flight().map_or(STRAY, |intent| intent.action);
                outcome(subject, action, *result)
            }
            Op::Stray(result) => outcome(subject, STRAY, *result),
            Op::Fire(kind) => {
                let armed =
                    self.governor.timers().find(|arm| arm.kind == *kind).map_or(Seq(0), |arm| arm.armed);
                Kind::Timer(Box::new(Timer { subject, kind: *kind, armed }))
            }
            Op::Stale(kind) => Kind::Timer(Box::new(Timer { subject, kind: *kind, armed: Seq(0) })),
            Op::Order(verb) => {
                let (actor, reason) = ("root".into(), "a drill".into());
                Kind::Command(Box::new(Command { subject, verb: *verb, actor, reason }))
            }
        };
        Event { seq: self.seq, time: self.time, kind }
    }

    /// One event; the drafts it brought.
    pub(super) fn feed(&mut self, op: &Op) -> Vec<Draft> {
        let event = self.event(op);
        self.effects.clear();
        self.governor.step(event, &self.rules, &mut self.effects);
        std::mem::take(&mut self.effects.drafts)
    }

    pub(super) fn all(mut self, ops: &[Op]) -> Self {
        for op in ops {
            self.feed(op);
        }
        self
    }
}

pub(super) const SEE: Op = Op::Signal("see.this", Severity::Info);
pub(super) const ACT: Op = Op::Signal("act.now", Severity::Info);
pub(super) const OK: Op = Op::Done(Ok(()));
pub(super) const ERROR: Op = Op::Done(Err("refused"));
pub(super) const ACTIVE: Op = Op::Signal("gemba.entitlement.active", Severity::Info);
pub(super) const REVOKED: Op = Op::Signal("gemba.entitlement.revoked", Severity::Info);

pub(super) fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}
