//! One thread's sender: takes requests from the plan when they are due, judges the answers, keeps the books. It
//! does no I/O on sockets; [`super::h1`] and [`super::h2`] carry its requests.
//!
//! Without a rate the loop is closed: a connection sends its next request when it has its answer. With a rate it is
//! open: the schedule says when each request starts, and latency counts from there even when it had to wait.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;

use super::LoadError;
use super::ledger::{Ending, Ledger, Log, Recent, Unit};
use super::plan::{Kind, Plan};
use super::request::Template;
use super::shape::Schedule;
use super::stop::Stop;
use super::tally::{Tally, Verdict};
use crate::clock;
use crate::ring::Mark;

/// What drives sockets asks this for requests and gives it the answers. Times are [`clock::nanos`].
pub trait Traffic {
    /// A request under way.
    type Sent;

    /// The connections stand: the run begins now.
    fn begin(&mut self, _now: u64) {}
    /// The next request, if it is due.
    fn take(&mut self, now: u64) -> Result<Self::Sent, Wait>;
    /// Appends its bytes; asked again if the server closed before it took the request.
    fn write(&mut self, sent: &Self::Sent, out: &mut Vec<u8>);
    fn answered(&mut self, sent: Self::Sent, now: u64, status: u16, body: &[u8]);
    /// The connection broke: nobody knows what became of the request.
    fn lost(&mut self, sent: Self::Sent);
    /// Nothing will be due any more, unless an answer still under way brings it.
    fn is_over(&self, now: u64) -> bool;
    /// How long answers that are under way are waited for once it is over.
    fn drain_nanos(&self) -> u64;
    /// Called every [`TICK_NANOS`] or so.
    fn tick(&mut self, now: u64);
}

pub const TICK_NANOS: u64 = 50_000_000;
/// Answers that are under way at the end may take so long: more than the line lets a request wait for its journal.
pub const DRAIN_NANOS: u64 = 12_000_000_000;
/// And so long where the run was told to stop.
const DRAIN_STOPPED_NANOS: u64 = 1_000_000_000;

/// Why there is no request now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    Until(u64),
    /// Until answers come, or for ever.
    Answers,
}

/// What all threads of a run share.
#[derive(Debug)]
pub struct Course {
    pub plan: Plan,
    pub template: Template,
    /// `None` is a closed loop.
    pub schedule: Option<Schedule>,
    pub duration: Duration,
    /// Threads; each takes every so-many-th request.
    pub threads: u64,
    /// Whether an answer must name the signal and its seq, since someone will ask for it.
    pub strict: bool,
    /// The run ends before its time.
    pub stop: Stop,
}

impl Course {
    #[must_use]
    pub fn drain_nanos(&self) -> u64 {
        if self.stop.is_ordered() { DRAIN_STOPPED_NANOS } else { DRAIN_NANOS }
    }
}

/// One thread's part of a run.
#[derive(Debug)]
pub struct Share {
    /// Number of the thread.
    pub index: u64,
    pub tally: Tally,
    pub ledger: Option<Ledger>,
    pub log: Option<Log>,
    /// Where the accepted signals are shown.
    pub progress: Mark,
}

/// One thread's sender.
#[derive(Debug)]
pub struct Client {
    course: Arc<Course>,
    tally: Tally,
    ledger: Option<Ledger>,
    recent: Recent,
    log: Option<Log>,
    next: u64,
    origin: u64,
    ends_at: u64,
    unix_seconds: u64,
    progress: Mark,
    id: Vec<u8>,
}

/// A request under way.
#[derive(Clone, Copy, Debug)]
pub struct Sent {
    kind: Kind,
    /// Number of the request whose body is sent.
    number: u64,
    /// Intended start, or real start in a closed loop.
    started: u64,
    /// Of a duplicate: the seq of its first acceptance.
    seq: u64,
}

/// The server's 202.
#[derive(Debug, Deserialize)]
struct Taken<'a> {
    #[serde(borrow)]
    signal_id: Option<Cow<'a, str>>,
    seq: Option<u64>,
    #[serde(default)]
    duplicate: bool,
    count: Option<u64>,
    first_seq: Option<u64>,
    last_seq: Option<u64>,
    #[serde(default)]
    duplicates: u64,
}

/// What a 202 says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Acceptance {
    seq: u64,
    duplicate: bool,
}

impl Client {
    #[must_use]
    pub fn new(course: Arc<Course>, share: Share) -> Self {
        let Share { index, tally, ledger, log, progress } = share;
        Self {
            course,
            tally,
            ledger,
            recent: Recent::default(),
            log,
            next: index,
            origin: 0,
            ends_at: u64::MAX,
            unix_seconds: clock::wall().0 / 1000,
            progress,
            id: Vec::new(),
        }
    }

    #[must_use]
    pub fn template(&self) -> &Template {
        &self.course.template
    }

    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.course.stop.is_ordered()
    }

    /// Ends the books. Of a run that ended early nobody says what was due.
    pub fn finish(mut self, early: bool) -> (Tally, Option<Ledger>) {
        self.tally.lasted = clock::nanos().saturating_sub(self.origin);
        if let Some(schedule) = self.course.schedule.as_ref().filter(|_| !early) {
            self.tally.unsent = schedule.requests().saturating_sub(self.next).div_ceil(self.course.threads);
        }
        self.flush_log();
        (self.tally, self.ledger)
    }

    fn judge(&mut self, sent: &Sent, status: u16, body: &[u8]) -> (Verdict, Option<Acceptance>) {
        match (sent.kind, status) {
            (_, 429 | 503) => (Verdict::Shed, None),
            (Kind::BadSignature, 401) | (Kind::Malformed, 422) => (Verdict::Refused, None),
            // A bare 202 is enough for a server that only measures its HTTP.
            (Kind::Valid, 202) if body.is_empty() && !self.course.strict => (Verdict::Accepted, None),
            (_, 202) => {
                let acceptance = self.acceptance(sent, body);
                let verdict = match (sent.kind, acceptance) {
                    (Kind::Valid, Some(Acceptance { duplicate: false, .. })) => Verdict::Accepted,
                    (Kind::Duplicate, Some(Acceptance { duplicate: true, seq })) if seq == sent.seq => {
                        Verdict::Duplicate
                    }
                    _ => Verdict::Wrong,
                };
                (verdict, acceptance)
            }
            _ => (Verdict::Wrong, None),
        }
    }

    /// Reads a 202; `None` where it does not speak of this request, whole.
    fn acceptance(&mut self, sent: &Sent, body: &[u8]) -> Option<Acceptance> {
        let taken: Taken<'_> = serde_json::from_slice(body).ok()?;
        let signals = self.course.plan.signals(sent.number);
        let count = signals.end - signals.start;
        if count > 1 {
            let (first, last) = (taken.first_seq?, taken.last_seq?);
            let whole = taken.count == Some(count) && last.checked_sub(first) == Some(count - 1);
            let duplicate = taken.duplicates == count;
            return (whole && (duplicate || taken.duplicates == 0))
                .then_some(Acceptance { seq: first, duplicate });
        }
        self.id.clear();
        self.course.template.id(&mut self.id, signals.start);
        let same = taken.signal_id?.as_bytes() == self.id;
        same.then_some(Acceptance { seq: taken.seq?, duplicate: taken.duplicate })
    }

    fn note(&mut self, sent: &Sent, ending: Ending) {
        let Some(log) = &mut self.log else { return };
        if let Err(error) = log.note(&self.course.plan, &self.course.template, sent.number, ending) {
            self.give_up_log(error);
        }
    }

    fn flush_log(&mut self) {
        if let Some(Err(error)) = self.log.as_mut().map(Log::flush) {
            self.give_up_log(error);
        }
    }

    /// Without the log that it was asked for, the run is worth nothing to a harness: it ends.
    fn give_up_log(&mut self, error: LoadError) {
        self.log = None;
        self.course.stop.log_failed(error);
    }
}

impl Traffic for Client {
    type Sent = Sent;

    fn begin(&mut self, now: u64) {
        let nanos = u64::try_from(self.course.duration.as_nanos()).unwrap_or(u64::MAX / 2);
        (self.origin, self.ends_at) = (now, now.saturating_add(nanos));
    }

    fn take(&mut self, now: u64) -> Result<Sent, Wait> {
        if now >= self.ends_at || self.course.stop.is_ordered() {
            return Err(Wait::Answers);
        }
        let started = match &self.course.schedule {
            None => now,
            Some(schedule) => {
                let intended = self.origin + schedule.intended(self.next).ok_or(Wait::Answers)?;
                if intended > now {
                    return Err(Wait::Until(intended));
                }
                intended
            }
        };
        let number = self.next;
        self.next += self.course.threads;
        self.tally.sent += 1;
        let kind = self.course.plan.kind(number);
        if kind == Kind::Duplicate {
            // Before anything is accepted there is nothing to repeat: then it is new.
            return Ok(match self.recent.pick(&self.course.plan, number) {
                Some(unit) => Sent { kind, number: unit.request, started, seq: unit.seq },
                None => Sent { kind: Kind::Valid, number, started, seq: 0 },
            });
        }
        Ok(Sent { kind, number, started, seq: 0 })
    }

    fn write(&mut self, sent: &Sent, out: &mut Vec<u8>) {
        let course = &*self.course;
        course.template.write(out, &course.plan, sent.number, sent.kind, self.unix_seconds);
    }

    fn answered(&mut self, sent: Sent, now: u64, status: u16, body: &[u8]) {
        let (verdict, acceptance) = self.judge(&sent, status, body);
        let signals = self.course.plan.signals(sent.number);
        let count = signals.end - signals.start;
        let took = now.saturating_sub(sent.started);
        self.tally.answered(verdict, status, took, now.saturating_sub(self.origin), count);
        match (verdict, acceptance) {
            (Verdict::Wrong, _) => self.tally.tell(sent.kind, status, body),
            (Verdict::Accepted, Some(Acceptance { seq, .. })) => {
                let unit = Unit { request: sent.number, seq };
                self.recent.push(unit);
                if let Some(ledger) = &mut self.ledger {
                    ledger.push(unit);
                }
            }
            _ => {}
        }
        self.note(
            &sent,
            match acceptance {
                Some(Acceptance { seq, duplicate }) => Ending::Acked { seq, duplicate },
                None => Ending::Refused { status },
            },
        );
    }

    fn lost(&mut self, sent: Sent) {
        self.tally.unknown += 1;
        self.note(&sent, Ending::Unknown);
    }

    fn is_over(&self, now: u64) -> bool {
        let scheduled = |schedule: &Schedule| schedule.intended(self.next).is_some();
        now >= self.ends_at
            || self.course.stop.is_ordered()
            || !self.course.schedule.as_ref().is_none_or(scheduled)
    }

    fn drain_nanos(&self) -> u64 {
        self.course.drain_nanos()
    }

    fn tick(&mut self, _now: u64) {
        self.unix_seconds = clock::wall().0 / 1000;
        self.progress.publish(self.tally.accepted);
        self.flush_log();
    }
}
