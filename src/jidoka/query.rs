//! What operators ask of a shard. Each turn answers a bounded part of it, so that no client of the operator plane can stop
//! decisions (promise P5).

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::oneshot;

use super::alerts::{AlertDesk, AlertsAsked, AlertsSeen};
use super::breaker::Breaker;
pub use super::directory::{Among, Page};
use super::governor::{Effects, Governor};
use super::inbox::Inbox;
use super::roster::Roster;
use super::rules::Rules;
use crate::alert::{Callback, MeantAlert};
use crate::event::{Event, Kind, Replay, Seq, Subject, UnixMillis};
use crate::limits::{GOVERNORS_LISTED_MAX, QUERIES_LANE};
use crate::ring::Receiver;
use crate::view::{DryRun, GovernorView, HaltView, Transition};

/// A question to a shard. It is answered when the shard has stepped every event up to a number.
#[derive(Debug)]
pub struct Query {
    pub after: Seq,
    pub question: Question,
}

/// What is asked, and whom to answer.
#[derive(Debug)]
pub enum Question {
    /// Nothing but that the number was stepped.
    Passed {
        answer: oneshot::Sender<()>,
    },
    One {
        subject: Subject,
        answer: oneshot::Sender<Option<GovernorView>>,
    },
    Many {
        page: Page,
        answer: oneshot::Sender<Vec<GovernorView>>,
    },
    /// What a replay would do now.
    DryRun {
        replay: Box<Replay>,
        now: UnixMillis,
        answer: oneshot::Sender<DryRun>,
    },
    /// Which alerts somebody means. Of the shard that has them.
    Meant {
        callback: Arc<Callback>,
        answer: oneshot::Sender<Vec<MeantAlert>>,
    },
    /// Of the same shard.
    Alerts {
        asked: AlertsAsked,
        answer: oneshot::Sender<AlertsSeen>,
    },
}

impl Question {
    fn is_given_up(&self) -> bool {
        match self {
            Self::Passed { answer } => answer.is_closed(),
            Self::One { answer, .. } => answer.is_closed(),
            Self::Many { answer, .. } => answer.is_closed(),
            Self::DryRun { answer, .. } => answer.is_closed(),
            Self::Meant { answer, .. } => answer.is_closed(),
            Self::Alerts { answer, .. } => answer.is_closed(),
        }
    }
}

/// What is asked of a shard, and the page that is put together now.
#[derive(Debug)]
pub struct Queries {
    lane: Receiver<Query>,
    /// Questions that wait for an event.
    early: Vec<Query>,
    listing: Option<Listing>,
}

/// What queries are answered from.
#[derive(Clone, Copy, Debug)]
pub struct Shown<'a> {
    pub roster: &'a Roster,
    pub rules: &'a Rules,
    pub alerts: Option<&'a AlertDesk>,
}

/// A page that is being put together.
#[derive(Debug)]
struct Listing {
    page: Page,
    found: Vec<GovernorView>,
    answer: oneshot::Sender<Vec<GovernorView>>,
}

/// Governors that one turn shows: some ten microseconds' work.
const SLICE: usize = 64;

impl Queries {
    pub fn new(lane: Receiver<Query>) -> Self {
        Self { lane, early: Vec::new(), listing: None }
    }

    /// Whether something is to be answered, or about to be: everything up to `taken` will be stepped.
    pub fn has_work(&self, taken: Seq) -> bool {
        !self.lane.is_empty() || self.listing.is_some() || self.early.iter().any(|query| query.after <= taken)
    }

    /// Answers one slice of what is asked.
    pub fn answer(&mut self, inbox: &Inbox, shown: Shown<'_>) {
        if self.lane.is_empty() && self.early.is_empty() && self.listing.is_none() {
            return;
        }
        let stepped = inbox.stepped();
        let mut left = SLICE;
        while left > 0 {
            if let Some(listing) = self.listing.take() {
                left = self.go_on(listing, left, shown);
                continue;
            }
            let Some(question) = self.next_question(stepped) else { return };
            // Who asked may have gone; then nobody wants the answer.
            match question {
                Question::Passed { answer } => {
                    let _gone = answer.send(());
                    left -= 1;
                }
                Question::One { subject, answer } => {
                    let governor = shown.governor(&subject.tenant, &subject.sku);
                    let _gone = answer.send(governor.map(|governor| shown.view(governor)));
                    left -= 1;
                }
                Question::Many { page, answer } => {
                    self.listing = Some(Listing { page, found: Vec::new(), answer });
                }
                Question::DryRun { replay, now, answer } => {
                    let _gone = answer.send(shown.dry_run(*replay, now));
                    left = left.saturating_sub(SLICE / 8);
                }
                Question::Meant { callback, answer } => {
                    let meant = shown.alerts.map(|alerts| alerts.meant_by(&callback)).unwrap_or_default();
                    let _gone = answer.send(meant);
                    left = left.saturating_sub(SLICE / 8);
                }
                Question::Alerts { asked, answer } => {
                    let seen = shown.alerts.map(|alerts| alerts.seen(&asked)).unwrap_or_default();
                    let _gone = answer.send(seen);
                    left = left.saturating_sub(SLICE / 2);
                }
            }
        }
    }

    /// The next question that may be answered; those that come too early wait.
    fn next_question(&mut self, stepped: Seq) -> Option<Question> {
        self.early.retain(|query| !query.question.is_given_up());
        if let Some(due) = self.early.iter().position(|query| query.after <= stepped) {
            return Some(self.early.remove(due).question);
        }
        while let Some(query) = self.lane.pop() {
            if query.after <= stepped {
                return Some(query.question);
            }
            // Who finds no place here hears that there is no answer.
            if self.early.len() < QUERIES_LANE {
                self.early.push(query);
            }
        }
        None
    }

    /// Adds to a page, and hands it over when it is whole. Returns how many governors the turn may still show.
    fn go_on(&mut self, mut listing: Listing, left: usize, shown: Shown<'_>) -> usize {
        let limit = listing.page.limit.min(GOVERNORS_LISTED_MAX);
        let (mut seen, mut last) = (0, None);
        for governor in shown.roster.page(&listing.page, left) {
            seen += 1;
            last = Some((governor.tenant().into(), governor.sku().into()));
            if is_among(governor, &listing.page.among) {
                listing.found.push(shown.view(governor));
            }
            if listing.found.len() >= limit {
                break;
            }
        }
        if seen < left || listing.found.len() >= limit || listing.answer.is_closed() {
            let _gone = listing.answer.send(listing.found);
        } else {
            listing.page.after = last;
            self.listing = Some(listing);
        }
        left - seen.max(1)
    }
}

fn is_among(governor: &Governor, among: &Among) -> bool {
    match among {
        Among::All => true,
        Among::Halted => governor.is_halted_by_operator(),
        Among::ActingOn(target) => governor.out().any(|(intent, _)| *intent.name == **target),
    }
}

impl Shown<'_> {
    fn governor(&self, tenant: &str, sku: &str) -> Option<&Governor> {
        self.roster.get(self.roster.find(tenant, sku)?)
    }

    /// Steps a copy of the governor, and forgets it.
    fn dry_run(&self, replay: Replay, now: UnixMillis) -> DryRun {
        let does = if replay.resend.is_some() { "resend" } else { "decide" };
        let subject = Subject::from(&replay.signal);
        let mut effects = Effects::default();
        let mut bytes = Vec::new();
        let copy = self.governor(&subject.tenant, &subject.sku).and_then(|governor| {
            governor.encode(&mut bytes);
            Governor::decode(&bytes).ok()
        });
        let seq = copy.as_ref().map_or(replay.case, Governor::last_seq).next();
        let mut governor =
            copy.unwrap_or_else(|| Governor::new(&subject, seq, now, self.rules, &mut effects));
        let before = governor.state();
        governor.step(
            Event { seq, time: now, kind: Kind::Replay(Box::new(replay)) },
            self.rules,
            &mut effects,
        );
        let transitions = effects.drafts.iter().map(|draft| Transition {
            receipt_type: draft.gist.kind.into_str(),
            state_before: draft.gist.before.into_str(),
            state_after: draft.gist.after.into_str(),
            pack: draft.policy.as_ref().map(|policy| policy.pack.clone()),
            rule: draft.policy.as_ref().map(|policy| policy.rule.clone()),
            reason: draft.reason.as_deref().map(Into::into),
        });
        DryRun {
            does,
            state_before: before.into_str(),
            state_after: governor.state().into_str(),
            waits: governor.waiting() > 0 && effects.drafts.iter().all(|draft| draft.gist.id.ordinal > 0),
            actions: effects.requests.iter().map(|request| (*request.intent.name).into()).collect(),
            transitions: transitions.collect(),
        }
    }

    /// Each halt that holds it up, the widest first, then those of targets that its rules ask for.
    fn halts_of(&self, governor: &Governor) -> Vec<HaltView> {
        let halts = &self.rules.halts;
        let mut views: Vec<HaltView> = halts.all_of_tenant(governor.tenant()).map(HaltView::from).collect();
        if let Some((order, since)) = governor.halt_order().zip(governor.halted_since()) {
            let (who, reason) = ((*order.actor).into(), (*order.reason).into());
            views.push(HaltView { scope: "governor", name: None, who, reason, since_ms: since.0 });
        }
        let packs = self.rules.policies.of(governor.tenant()).packs();
        let asks = |target: &str| {
            let actions =
                packs.iter().flat_map(|pack| pack.rules.iter()).filter_map(|rule| rule.action.as_ref());
            actions.into_iter().any(|(name, _)| **name == *target)
        };
        let targets = halts.targets().filter(|halt| halt.scope.name().is_some_and(asks));
        views.extend(targets.map(HaltView::from));
        views
    }

    fn view(&self, governor: &Governor) -> GovernorView {
        let halts = self.halts_of(governor);
        let mut out = BTreeMap::new();
        for (intent, _) in governor.out() {
            *out.entry((*intent.name).into()).or_default() += 1;
        }
        GovernorView {
            tenant: governor.tenant().into(),
            sku: governor.sku().into(),
            state: governor.state().into_str(),
            quota_remaining: governor.quota_remaining(self.rules),
            in_flight_action: governor.in_flight().map(|intent| intent.action.to_string()),
            breaker: match governor.breaker() {
                Breaker::Closed { .. } => "healthy",
                Breaker::Open => "halted",
                Breaker::HalfOpen => "testing",
            },
            deliveries: governor.deliveries(),
            mailbox_depth: governor.waiting(),
            last_seq: governor.last_seq().0,
            halt: halts.iter().find(|halt| halt.scope != "target").cloned(),
            halts,
            out,
        }
    }
}
