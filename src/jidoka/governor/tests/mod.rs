//! A governor under a hand-driven journal.

mod adopt;
mod codec;
mod model;
mod promises;
mod table;

use std::sync::LazyLock;
use std::time::Duration;

use bytes::Bytes;

use super::{Effects, Governor};
use crate::event::{
    ActionId, Astray, Command, Event, Failure, JournalId, Kind, Outcome, Replay, Seq, Stray, Subject, Timer,
    TimerKind, UnixMillis, Verb,
};
use crate::jidoka::rules::{ActionSource, EntitlementDefault, Rules, RulesSource};
use crate::receipt::Draft;
use crate::signal::{Assurance, Fingerprint, Provenance, Severity, Signal, Text, Unchecked};

pub(super) const START: u64 = 1_700_000_000_000;

/// A rule for each way to decide, one that cannot be evaluated, and a memory.
const PACK: &str = r#"
name = "drill"
[memory]
seen = { kind = "count", types = ["see.this", "act.now"], window_seconds = 60 }
[[rule]]
id = "act"
types = ["act.now"]
when = "memory.seen >= 1.0"
decide = "act"
action = "notify"
reason = "it is to be done"
[[rule]]
id = "deny"
types = ["deny.this"]
when = "true"
decide = "deny"
reason = "it must not be"
[[rule]]
id = "bad"
types = ["bad.this"]
when = "signal.data.missing > 1.0"
decide = "deny"
reason = "never said"
"#;

const TOLD: &str = r#"
name = "told"
[[rule]]
id = "tell"
types = ["tell.this"]
when = "true"
decide = "act"
action = "tell"
reason = "somebody is to know"
"#;

/// Signals of the type `tell.this` cause an action in the background, which has so long.
pub(super) const TOLD_WITHIN_SECONDS: u32 = 600;

pub(super) fn rules() -> Rules {
    static RULES: LazyLock<Rules> = LazyLock::new(|| {
        let source = RulesSource { quota: 2, mailbox: 2, breaker_failures: 2, ..RulesSource::default() };
        let tell = ActionSource::Background { name: "tell".into(), background_seconds: TOLD_WITHIN_SECONDS };
        let source = RulesSource { actions: vec!["notify".into(), tell], ..source };
        source.with_pack("drill.toml", PACK).with_pack("told.toml", TOLD).compile().unwrap()
    });
    RULES.clone()
}

pub(super) fn subject() -> Subject {
    Subject::read("acme", "vm").unwrap()
}

/// A signal whose names are spans of its body, but for the type.
pub(super) fn signal(subject: &Subject, id: &str, kind: &str, severity: Severity) -> Signal {
    let text = format!(r#"{{"id":"{id}","tenant":"{}","sku":"{}"}}"#, subject.tenant, subject.sku);
    let span = |part: &str| {
        let at = text.find(&format!(":\"{part}\"")).unwrap() + 2;
        Text::Span { at: u32::try_from(at).unwrap(), len: u8::try_from(part.len()).unwrap() }
    };
    let unchecked = Unchecked {
        id: span(id),
        tenant: span(&subject.tenant),
        sku: span(&subject.sku),
        kind: Text::Owned(kind.into()),
        severity,
        provenance: Provenance::intern("signals", "k1", Assurance::C).unwrap(),
        digest: 42,
        body: Bytes::from(text),
    };
    let mut signal = unchecked.check().unwrap();
    signal.identity = Fingerprint([7; 16]);
    signal
}

/// What can happen, in short.
#[derive(Clone, Debug)]
pub(super) enum Op {
    Signal(&'static str, Severity),
    /// A dead letter of this type comes again.
    Replay(&'static str),
    /// The outcome of the action in flight, or of none.
    Done(Result<(), &'static str>),
    /// The target of the action in flight, or of none, was not asked.
    Withheld,
    /// The outcome of an action that is not in flight.
    Stray(Result<(), &'static str>),
    /// The outcome of one of those that are out, or of none.
    Out(u8, Result<(), &'static str>),
    /// The outcome of an earlier order of one of those that are out, or of none.
    OutBefore(u8, Result<(), &'static str>),
    /// The timer that runs, or none.
    Fire(TimerKind),
    /// A timer that was cancelled.
    Stale(TimerKind),
    Order(Verb),
    /// A signal that came over the broker and cannot be decided on.
    Astray(Astray),
}

pub(super) const STRAY: ActionId = action(0);

/// What the governor under test calls an action.
pub(super) const fn action(by: u64) -> ActionId {
    ActionId { journal: JournalId(0), seq: Seq(by) }
}

/// The case of every replay and discard.
pub(super) const CASE: Seq = Seq(0);

/// One governor and the journal in front of it.
pub(super) struct Line {
    pub(super) governor: Governor,
    pub(super) rules: Rules,
    pub(super) effects: Effects,
    pub(super) seq: Seq,
    /// Events so far; they name the signals.
    pub(super) count: u64,
    pub(super) time: UnixMillis,
}

impl Line {
    pub(super) fn new(rules: Rules) -> Self {
        let mut effects = Effects::default();
        let governor = Governor::new(&subject(), Seq(1), UnixMillis(START), &rules, &mut effects);
        Self { governor, rules, effects, seq: Seq(0), count: 0, time: UnixMillis(START) }
    }

    pub(super) fn booting() -> Self {
        Self::new(Rules { entitlement: EntitlementDefault::Required, ..rules() })
    }

    /// The event that `op` is now, one second after the last.
    pub(super) fn event(&mut self, op: &Op) -> Event {
        self.seq = self.seq.next();
        self.count += 1;
        self.time = self.time.plus_seconds(1);
        let subject = subject();
        let outcome = |subject, (action, by), result: Result<(), Failure>| {
            Kind::Outcome(Box::new(Outcome { subject, action, by, result, maybe_twice: false, tries: None }))
        };
        let in_flight =
            self.governor.out().next().map_or((STRAY, None), |(intent, _)| (intent.action, Some(intent.by)));
        let kind = match op {
            Op::Signal(kind, severity) => {
                Kind::Signal(signal(&subject, &format!("id-{}", self.count), kind, *severity))
            }
            Op::Replay(kind) => {
                let signal = signal(&subject, "id-0", kind, Severity::Info);
                let (actor, reason) = ("root".into(), "the cause is gone".into());
                Kind::Replay(Box::new(Replay { case: CASE, signal, actor, reason, resend: None }))
            }
            Op::Done(result) => outcome(subject, in_flight, result.map_err(Failure::asked)),
            Op::Withheld => outcome(subject, in_flight, Err(Failure::withheld("the target is halted"))),
            Op::Stray(result) => outcome(subject, (STRAY, None), result.map_err(Failure::asked)),
            Op::Out(which, result) => outcome(subject, self.out(*which), result.map_err(Failure::asked)),
            Op::OutBefore(which, result) => {
                let (action, _) = self.out(*which);
                outcome(subject, (action, Some(Seq(0))), result.map_err(Failure::asked))
            }
            Op::Fire(kind) => {
                let armed = match kind {
                    TimerKind::Idle => self.governor.last_seq(),
                    _ => self.governor.timers().find(|arm| arm.kind == *kind).map_or(Seq(0), |arm| arm.armed),
                };
                Kind::Timer(Box::new(Timer { subject, kind: *kind, armed }))
            }
            Op::Stale(kind) => Kind::Timer(Box::new(Timer { subject, kind: *kind, armed: Seq(0) })),
            Op::Astray(why) => {
                let signal = signal(&subject, &format!("id-{}", self.count), "see.this", Severity::Info);
                Kind::Stray(Box::new(Stray { signal, why: *why }))
            }
            Op::Order(verb) => {
                let (actor, reason) = ("root".into(), "a drill".into());
                Kind::Command(Box::new(Command { subject, verb: *verb, actor, reason }))
            }
        };
        Event { seq: self.seq, time: self.time, kind }
    }

    fn out(&self, which: u8) -> (ActionId, Option<Seq>) {
        let out: Vec<_> = self.governor.out().collect();
        let one = out.get(usize::from(which) % out.len().max(1));
        one.map_or((STRAY, None), |(intent, _)| (intent.action, Some(intent.by)))
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
pub(super) const DENIED: Op = Op::Signal("deny.this", Severity::Info);
pub(super) const UNFIT: Op = Op::Signal("bad.this", Severity::Info);
pub(super) const OK: Op = Op::Done(Ok(()));
pub(super) const ERROR: Op = Op::Done(Err("refused"));
pub(super) const ACTIVE: Op = Op::Signal("gemba.entitlement.active", Severity::Info);
pub(super) const REVOKED: Op = Op::Signal("gemba.entitlement.revoked", Severity::Info);

pub(super) fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}
