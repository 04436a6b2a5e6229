//! What operators ask of a shard. Each turn answers a bounded part of it, so that no client of the operator plane can stop
//! decisions (promise P5). Pages may go through every governor of the shard: they are put together in turns, after the questions that
//! are answered at once, so that who looks delays no order.

use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
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
        answer: oneshot::Sender<Result<DryRun, DecisionPanicked>>,
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

/// A replay of the case would not be decided: a mistake of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the decision on it fails: discard it, or replay it with a version of the program that decides on it"
)]
pub struct DecisionPanicked;

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

/// What is asked of a shard, and the pages that are put together now.
#[derive(Debug)]
pub struct Queries {
    lane: Receiver<Query>,
    /// Questions that wait for an event.
    early: Vec<Query>,
    /// The next one in front.
    listings: VecDeque<Listing>,
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
/// Of these, so many are left to pages, however much else is asked.
const LISTED_SLICE: usize = SLICE / 4;

impl Queries {
    pub fn new(lane: Receiver<Query>) -> Self {
        Self { lane, early: Vec::new(), listings: VecDeque::new() }
    }

    /// Whether something is to be answered, or about to be: everything up to `taken` will be stepped.
    pub fn has_work(&self, taken: Seq) -> bool {
        !self.lane.is_empty()
            || !self.listings.is_empty()
            || self.early.iter().any(|query| query.after <= taken)
    }

    /// Answers one slice of what is asked.
    pub fn answer(&mut self, inbox: &Inbox, shown: Shown<'_>) {
        if self.lane.is_empty() && self.early.is_empty() && self.listings.is_empty() {
            return;
        }
        let stepped = inbox.stepped();
        let mut left = SLICE - LISTED_SLICE;
        while left > 0
            && let Some(question) = self.next_question(stepped)
        {
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
                    self.begin(Listing { page, found: Vec::new(), answer });
                    left -= 1;
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
                    let routes = &shown.rules.routes;
                    let seen = shown.alerts.map(|alerts| alerts.seen(&asked, routes)).unwrap_or_default();
                    let _gone = answer.send(seen);
                    left = left.saturating_sub(SLICE / 2);
                }
            }
        }
        left += LISTED_SLICE;
        while left > 0
            && let Some(listing) = self.listings.pop_front()
        {
            left = self.go_on(listing, left, shown);
        }
    }

    /// Who finds no place hears that there is no answer.
    fn begin(&mut self, listing: Listing) {
        if self.listings.len() >= QUERIES_LANE {
            self.listings.retain(|listing| !listing.answer.is_closed());
        }
        if self.listings.len() < QUERIES_LANE {
            self.listings.push_back(listing);
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

    /// Adds to a page, and hands it over when it is whole; else the others come first. Returns how many governors the turn may still
    /// show.
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
            self.listings.push_back(listing);
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

    /// Steps a copy of the governor, and forgets it. Where the decision fails, only the copy is half changed.
    fn dry_run(&self, replay: Replay, now: UnixMillis) -> Result<DryRun, DecisionPanicked> {
        catch_unwind(AssertUnwindSafe(|| self.step_copy(replay, now))).map_err(|_panic| DecisionPanicked)
    }

    fn step_copy(&self, replay: Replay, now: UnixMillis) -> DryRun {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Feed;
    use crate::jidoka::policy::{Pack, PolicySet};
    use crate::jidoka::store::Kept;
    use crate::ring::{Bell, Mark, Sender, lane, weighed_lane};

    /// More governors than some turns show.
    const GOVERNORS: usize = SLICE * 50;

    struct Shard {
        roster: Roster,
        rules: Rules,
        inbox: Inbox,
        queries: Queries,
        asks: Sender<Query>,
    }

    impl Shard {
        fn new(governors: usize) -> Self {
            let (bell, mark) = (|| Arc::new(Bell::new(|| {})), || Mark::new(0));
            let (asks, asked) = lane(QUERIES_LANE, bell());
            let (_, events) = weighed_lane::<Feed>(1, 1 << 10, bell());
            let (rules, mut effects) = (Rules::default(), Effects::default());
            let mut roster = Roster::new(std::array::from_fn(|_| mark()), mark());
            for number in 0..governors {
                let subject = Subject::read("acme", &format!("vm-{number:06}")).unwrap();
                let governor = Governor::new(&subject, Seq(1), UnixMillis(0), &rules, &mut effects);
                roster.admit(governor, Kept::default());
            }
            let (inbox, queries) = (Inbox::new(events), Queries::new(asked));
            Self { roster, rules, inbox, queries, asks }
        }

        fn ask<T>(&mut self, question: impl FnOnce(oneshot::Sender<T>) -> Question) -> oneshot::Receiver<T> {
            let (answer, told) = oneshot::channel();
            let query = Query { after: Seq(0), question: question(answer) };
            assert!(self.asks.push(query).is_ok());
            told
        }

        fn list(&mut self, among: Among) -> oneshot::Receiver<Vec<GovernorView>> {
            self.ask(|answer| Question::Many { page: Page { among, limit: 5, ..Page::default() }, answer })
        }

        fn turn(&mut self) {
            let shown = Shown { roster: &self.roster, rules: &self.rules, alerts: None };
            self.queries.answer(&self.inbox, shown);
        }
    }

    #[test]
    fn who_looks_through_all_governors_delays_no_other_question() {
        let mut shard = Shard::new(GOVERNORS);
        let nowhere = || Among::ActingOn("nope".into());
        let mut looks: Vec<_> = (0..3).map(|_| shard.list(nowhere())).collect();
        shard.turn();
        // The order of an operator waits for such an answer.
        let mut passed = shard.ask(|answer| Question::Passed { answer });
        let mut alerts = shard.ask(|answer| Question::Alerts { asked: AlertsAsked::default(), answer });
        let mut page = shard.list(Among::All);
        shard.turn();
        assert!(passed.try_recv().is_ok() && alerts.try_recv().is_ok());
        for _ in 0..looks.len() {
            assert!(page.try_recv().is_err());
            shard.turn();
        }
        assert_eq!(page.try_recv().unwrap().len(), 5, "others come in between");
        // However much else is asked, they go on.
        for _ in 0..GOVERNORS {
            let _told: Vec<_> =
                (0..SLICE - LISTED_SLICE).map(|_| shard.ask(|answer| Question::Passed { answer })).collect();
            shard.turn();
        }
        assert!(looks.iter_mut().all(|look| look.try_recv().is_ok_and(|found| found.is_empty())));
    }

    #[test]
    fn pages_beyond_the_bound_have_no_answer_and_who_has_gone_makes_room() {
        let mut shard = Shard::new(GOVERNORS);
        let look = |shard: &mut Shard| {
            let told = shard.list(Among::Halted);
            shard.turn();
            told
        };
        let gone: Vec<_> = (0..QUERIES_LANE).map(|_| look(&mut shard)).collect();
        drop(gone);
        let waiting: Vec<_> = (0..QUERIES_LANE).map(|_| look(&mut shard)).collect();
        let beyond = look(&mut shard).try_recv();
        assert!(beyond.is_err_and(|error| error == oneshot::error::TryRecvError::Closed));
        while shard.queries.has_work(Seq(0)) {
            shard.turn();
        }
        assert!(waiting.into_iter().all(|mut told| told.try_recv().is_ok()));
    }

    #[test]
    fn a_dry_run_whose_decision_panics_is_an_answer_and_no_end_of_the_shard() {
        let text = "name = 'p'\n[[rule]]\nid = 'r'\ntypes = ['t']\nwhen = 'true'\ndecide = 'deny'\nreason = 'no'\n\
                    [[rule.example]]\nsignal = { type = 't' }\nexpect = 'deny'\n";
        let pack = Arc::new(Pack::parse("p.toml", text).unwrap());
        let signal = pack.rules[0].examples[0].steps[0].signal.clone();
        let mut shard = Shard::new(1);
        let mut dry_run = |policies: PolicySet| {
            shard.rules.policies.everyone = Arc::new(policies);
            let (actor, reason) = ("dry run".into(), "nothing is changed".into());
            let replay =
                Box::new(Replay { case: Seq(7), signal: signal.clone(), actor, reason, resend: None });
            let mut told = shard.ask(|answer| Question::DryRun { replay, now: UnixMillis(0), answer });
            shard.turn();
            told.try_recv().unwrap().map(|would| would.transitions.len())
        };
        let policies = || PolicySet::new(vec![Arc::clone(&pack)]);
        assert_eq!(dry_run(policies()), Ok(2));
        assert_eq!(dry_run(policies().without_packs()), Err(DecisionPanicked));
        assert_eq!(dry_run(policies()), Ok(2));
    }
}
