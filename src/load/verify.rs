//! Did the server keep its word? Asks the operator plane for every accepted signal: it must be there with the seq
//! that was promised (P1), decided once (P2), with its receipt in the log (P4).

use std::collections::VecDeque;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::client::{Course, Traffic, Wait};
use super::h1;
use super::ledger::{Ledger, Unit};
use crate::clock;
use crate::ring::Mark;

/// Connections to the operator plane, which serves 64; and requests under way on each.
const CONNECTIONS: usize = 16;
const DEPTH: usize = 4;
/// A signal may take so long until it is decided, and the plane so long until it answers at all.
const PATIENCE_NANOS: u64 = 30_000_000_000;
const ASK_AGAIN_NANOS: u64 = 50_000_000;
/// Failures that are told in full.
const EXAMPLES_MAX: usize = 10;

/// What became of the accepted signals.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Verification {
    pub signals: u64,
    pub decided: u64,
    pub dead_lettered: u64,
    /// Not known to the server.
    pub lost: u64,
    pub other_seq: u64,
    /// More than one decision, or more than one outcome.
    pub decided_twice: u64,
    /// Decided without a receipt, or still undecided after 30 s.
    pub without_receipt: u64,
    /// The operator plane gave no usable answer.
    pub unanswered: u64,
    /// The run was told to stop before it was asked for.
    pub not_asked: u64,
    /// Accepted, but beyond what the run remembers.
    pub not_remembered: u64,
    pub seconds: f64,
    /// The first failures, in words.
    pub failures: Vec<String>,
}

impl Verification {
    #[must_use]
    pub fn passed(&self) -> bool {
        self.lost + self.other_seq + self.decided_twice + self.without_receipt + self.unanswered == 0
    }
}

/// Where and as whom to ask.
#[derive(Clone, Debug)]
pub struct Desk {
    pub address: SocketAddr,
    pub host: String,
    pub token: String,
}

impl Desk {
    /// What stands behind the path of every question.
    #[must_use]
    pub fn head(&self) -> Vec<u8> {
        let Self { host, token, .. } = self;
        format!(" HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {token}\r\n\r\n").into_bytes()
    }
}

/// Asks for every signal of `ledger`. Says, too, whether the node is gone.
pub fn verify(
    course: Arc<Course>,
    ledger: Ledger,
    desk: &Desk,
    progress: Mark,
) -> io::Result<(Verification, bool)> {
    let begun = clock::nanos();
    let batch = course.plan.signals(0).end;
    let found = Verification { not_remembered: ledger.forgotten * batch, ..Verification::default() };
    let mut asker = Asker {
        course,
        units: Box::new(ledger.into_units()),
        unit: None,
        all_asked: false,
        later: VecDeque::new(),
        head: desk.head(),
        answered_at: begun,
        given_up: false,
        found,
        progress,
    };
    let wire = h1::drive(&mut asker, desk.address, CONNECTIONS, DEPTH, false)?;
    let mut found = asker.conclude(wire.gone);
    found.seconds = std::time::Duration::from_nanos(clock::nanos() - begun).as_secs_f64();
    Ok((found, wire.gone))
}

/// A signal whose fate is asked for.
#[derive(Clone, Copy, Debug)]
struct Promise {
    signal: u64,
    seq: u64,
    first_asked: u64,
}

/// A question under way.
#[derive(Debug)]
enum Question {
    Signal(Promise),
    /// Of which kinds are the receipts? Only asked where there are several.
    Receipts {
        promise: Promise,
        status: Status,
        at: usize,
        decisions: u32,
        outcomes: u32,
    },
}

/// The plane's answer about one signal.
#[derive(Debug, Deserialize)]
struct Status {
    status: Fate,
    seq: u64,
    receipts: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Fate {
    Accepted,
    Decided,
    DeadLettered,
}

#[derive(Deserialize)]
struct Receipt {
    receipt_type: String,
}

struct Asker {
    course: Arc<Course>,
    units: Box<dyn Iterator<Item = Unit>>,
    /// The unit that is being asked for, and which of its signals is next.
    unit: Option<(Unit, u64)>,
    all_asked: bool,
    /// To be asked again, or further, not before their time; earliest first.
    later: VecDeque<(u64, Question)>,
    head: Vec<u8>,
    answered_at: u64,
    given_up: bool,
    found: Verification,
    progress: Mark,
}

impl Asker {
    fn next_promise(&mut self, now: u64) -> Option<Promise> {
        let (unit, index) = match self.unit.take() {
            Some(unit) => unit,
            None => (self.units.next()?, 0),
        };
        let signals = self.course.plan.signals(unit.request);
        let signal = signals.start + index;
        if signal + 1 < signals.end {
            self.unit = Some((unit, index + 1));
        }
        self.found.signals += 1;
        Some(Promise { signal, seq: unit.seq + index, first_asked: now })
    }

    fn name(&self, signal: u64) -> String {
        let mut name = Vec::new();
        self.course.template.tenant(&mut name, self.course.plan.tenant(signal));
        name.push(b'/');
        self.course.template.id(&mut name, signal);
        String::from_utf8_lossy(&name).into_owned()
    }

    fn fail(&mut self, promise: Promise, count: fn(&mut Verification) -> &mut u64, why: &str) {
        *count(&mut self.found) += 1;
        if self.found.failures.len() < EXAMPLES_MAX {
            let name = self.name(promise.signal);
            self.found.failures.push(format!("{name}, accepted as seq {}: {why}", promise.seq));
        }
    }

    fn again(&mut self, question: Question, now: u64) {
        self.later.push_back((now + ASK_AGAIN_NANOS, question));
    }

    fn heard_of_signal(&mut self, promise: Promise, now: u64, status: u16, body: &[u8]) {
        let waited = now.saturating_sub(promise.first_asked) > PATIENCE_NANOS;
        match status {
            200 => match serde_json::from_slice(body) {
                Ok(status) => self.judge(promise, status, now, waited),
                Err(error) => {
                    let why = format!("its answer cannot be read: {error}");
                    self.fail(promise, |f| &mut f.unanswered, &why);
                }
            },
            404 => self.fail(promise, |f| &mut f.lost, "the server does not know it"),
            429 | 503 if !waited => self.again(Question::Signal(promise), now),
            _ => self.fail(promise, |f| &mut f.unanswered, &format!("the operator plane answered {status}")),
        }
    }

    fn judge(&mut self, promise: Promise, status: Status, now: u64, waited: bool) {
        if status.seq != promise.seq {
            let why = format!("it is there as seq {}", status.seq);
            return self.fail(promise, |f| &mut f.other_seq, &why);
        }
        match (status.status, status.receipts.len()) {
            (Fate::Accepted, _) if !waited => self.again(Question::Signal(promise), now),
            (Fate::Accepted, _) => self.fail(promise, |f| &mut f.without_receipt, "undecided after 30 s"),
            (_, 0) => self.fail(promise, |f| &mut f.without_receipt, "decided without a receipt"),
            (fate, 1) => self.fulfilled(fate),
            _ => {
                let question = Question::Receipts { promise, status, at: 0, decisions: 0, outcomes: 0 };
                self.later.push_front((now, question));
            }
        }
    }

    fn fulfilled(&mut self, fate: Fate) {
        match fate {
            Fate::DeadLettered => self.found.dead_lettered += 1,
            Fate::Decided | Fate::Accepted => self.found.decided += 1,
        }
    }

    fn heard_of_receipt(&mut self, question: Question, now: u64, answer: u16, body: &[u8]) {
        let Question::Receipts { promise, status, at, mut decisions, mut outcomes } = question else {
            return;
        };
        let waited = now.saturating_sub(promise.first_asked) > PATIENCE_NANOS;
        if matches!(answer, 429 | 503) && !waited {
            return self.again(Question::Receipts { promise, status, at, decisions, outcomes }, now);
        }
        let receipt = if answer == 200 { serde_json::from_slice::<Receipt>(body).ok() } else { None };
        let Some(Receipt { receipt_type }) = receipt else {
            let why = format!("its receipt {} was answered {answer}", status.receipts[at]);
            return self.fail(promise, |f| &mut f.without_receipt, &why);
        };
        match receipt_type.as_str() {
            "action_successful" | "action_failed" => outcomes += 1,
            "observed" | "policy_denied" | "action_generated" | "quota_exceeded" | "deferred_dropped"
            | "deadletter_signal" | "entitlement" => decisions += 1,
            // The rest tells of the governor, not of the signal.
            _ => {}
        }
        if at + 1 < status.receipts.len() {
            let question = Question::Receipts { promise, status, at: at + 1, decisions, outcomes };
            self.later.push_front((now, question));
        } else if decisions > 1 || outcomes > 1 {
            let why = format!("decided twice, by {}", status.receipts.join(", "));
            self.fail(promise, |f| &mut f.decided_twice, &why);
        } else {
            self.fulfilled(status.status);
        }
    }

    /// What could not be asked any more counts as unanswered, if it was not for us that the asking ended.
    fn conclude(mut self, gone: bool) -> Verification {
        let now = clock::nanos();
        let mut left = self.later.len() as u64;
        while self.next_promise(now).is_some() {
            left += 1;
        }
        if self.course.stop.is_ordered() {
            self.found.signals -= left;
            self.found.not_asked = left;
        } else if self.given_up || gone {
            self.found.unanswered += left;
            let why = "the operator plane does not answer any more; is --admin-url right?";
            self.found.failures.push(why.to_owned());
        }
        self.found
    }
}

impl Traffic for Asker {
    type Sent = Question;

    fn take(&mut self, now: u64) -> Result<Question, Wait> {
        if self.given_up || self.course.stop.is_ordered() {
            return Err(Wait::Answers);
        }
        if let Some((at, _)) = self.later.front()
            && *at <= now
            && let Some((_, question)) = self.later.pop_front()
        {
            return Ok(question);
        }
        match (self.next_promise(now), self.later.front()) {
            (Some(promise), _) => Ok(Question::Signal(promise)),
            (None, Some((at, _))) => Err(Wait::Until(*at)),
            (None, None) => {
                self.all_asked = true;
                Err(Wait::Answers)
            }
        }
    }

    fn write(&mut self, sent: &Question, out: &mut Vec<u8>) {
        match sent {
            Question::Signal(Promise { signal, .. }) => {
                out.extend_from_slice(b"GET /v1/signals/");
                self.course.template.tenant(out, self.course.plan.tenant(*signal));
                out.push(b'/');
                self.course.template.id(out, *signal);
            }
            Question::Receipts { status, at, .. } => {
                // Writing to a vector cannot fail.
                let _infallible = write!(out, "GET /v1/receipts/{}", status.receipts[*at]);
            }
        }
        out.extend_from_slice(&self.head);
    }

    fn answered(&mut self, sent: Question, now: u64, status: u16, body: &[u8]) {
        self.answered_at = now;
        match sent {
            Question::Signal(promise) => self.heard_of_signal(promise, now, status, body),
            receipts @ Question::Receipts { .. } => self.heard_of_receipt(receipts, now, status, body),
        }
    }

    fn lost(&mut self, sent: Question) {
        self.again(sent, clock::nanos());
    }

    fn is_over(&self, _now: u64) -> bool {
        self.given_up || self.course.stop.is_ordered() || (self.all_asked && self.later.is_empty())
    }

    fn drain_nanos(&self) -> u64 {
        self.course.drain_nanos()
    }

    fn tick(&mut self, now: u64) {
        self.progress.publish(self.found.signals);
        self.given_up |= now.saturating_sub(self.answered_at) > PATIENCE_NANOS;
    }
}
