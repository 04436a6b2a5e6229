//! Drives the calls. One value owns the queues of all targets; each call with its tries is a task. Nothing here waits
//! for a target: an order is started, queued, or turned away at once.
//!
//! An order's time begins when it comes, not when its turn does. Tenants take turns, so its time may be over while it waits;
//! then it is turned away, and its governor hears of it before it gives up by itself. That holds for orders in the background, too,
//! while their target is halted, by its breaker or by an operator, and while it is configured no more: they rest, and their time runs.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::panic::resume_unwind;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;

use super::carry::Carry;
use super::gate::{Bounds, Gate, Pass, Shut};
use super::queue::{Queue, Waiting};
use super::retry;
use super::tally::TargetTally;
use super::time_anchor::TimeAnchor;
use super::trail::Trail;
use super::tries::Tried;
use crate::clock;
use crate::event::{Failure, Outcome, Subject, Tries, UnixMillis};
use crate::jidoka::governor::ActionRequest;
use crate::jidoka::halts::Halts;
use crate::kaizen::Tracer;
use crate::limits::{ACTION_TOTAL, REASON_BYTES_MAX};
use crate::net::retry::Miss;
use crate::trace::TraceContext;

/// Carries out orders, each on its target.
pub struct Executor {
    random: fn() -> u64,
    targets: Vec<Lane>,
    calls: JoinSet<Ended>,
    /// Outcomes of orders that were turned away.
    settled: VecDeque<Outcome>,
    tracer: Option<Rc<Tracer>>,
    /// By which orders in the background end.
    time: TimeAnchor,
    /// What operators stopped.
    halts: Halts,
    /// The node ends: nothing more of the background is called.
    is_draining: bool,
}

/// What others may see of a target.
#[derive(Debug)]
pub struct Watch {
    pub name: Arc<str>,
    gate: RefCell<Gate>,
    waiting: Cell<usize>,
    tally: RefCell<TargetTally>,
    is_configured: Cell<bool>,
}

impl Watch {
    /// What became of its actions.
    pub fn tally(&self) -> TargetTally {
        self.tally.borrow().clone()
    }

    /// Its breaker: 0 healthy, 1 testing, 2 halted. One that is configured no more is not called.
    pub fn breaker(&self) -> u8 {
        if self.is_configured.get() { self.gate.borrow().state(Instant::now()) } else { 0 }
    }

    /// Orders that wait for it, also those that rest.
    pub fn waiting(&self) -> usize {
        self.waiting.get()
    }

    /// Whether there is something to show of it: it is configured, or orders rest that were for it.
    pub fn is_shown(&self) -> bool {
        self.is_configured.get() || self.waiting.get() > 0
    }
}

/// A target and what waits for it.
struct Lane {
    watch: Rc<Watch>,
    carry: Rc<dyn Carry>,
    timeout: Duration,
    calls_max: usize,
    calls: usize,
    waiting: Queue,
    /// Those in the background.
    backlog: Queue,
    /// An operator halted it.
    is_halted: bool,
}

/// A target as it is configured, and how it is called.
pub struct Equipped {
    pub name: Arc<str>,
    pub carry: Rc<dyn Carry>,
    pub timeout: Duration,
    pub calls_max: usize,
}

struct Ended {
    target: usize,
    pass: Pass,
    word: Word,
    ends: CallEnd,
}

/// What comes of a call.
enum CallEnd {
    Outcome(Outcome),
    /// The target missed it, for this reason; it is called again after this time.
    Later(Box<Waiting>, Duration, String),
}

/// What a call says about its target, in the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Word {
    Well,
    Failing,
    /// It refused this action: it is there, which is what a probe asks, and no more is known.
    Answers,
    /// It was not asked.
    Nothing,
}

impl Executor {
    pub fn new(random: fn() -> u64) -> Self {
        let (calls, settled) = (JoinSet::new(), VecDeque::new());
        Self {
            random,
            targets: Vec::new(),
            calls,
            settled,
            tracer: None,
            time: TimeAnchor::new(Instant::now(), UnixMillis(0)),
            halts: Halts::default(),
            is_draining: false,
        }
    }

    /// Tells of actions of traced signals, and of all that fail.
    #[must_use]
    pub fn tracing(mut self, tracer: Tracer) -> Self {
        self.tracer = Some(Rc::new(tracer));
        self
    }

    /// The journal's time, by which orders in the background end. To be told before they come, and again and again.
    pub fn follow(&mut self, time: UnixMillis) {
        let now = Instant::now();
        if self.time.is_far_from(now, time) {
            self.time = TimeAnchor::new(now, time);
            let until = |order: &ActionRequest| end_of(order, self.time, now);
            self.targets.iter_mut().for_each(|lane| lane.backlog.end_at(until));
        }
    }

    /// These halts hold from here on: what they hold up of the background rests.
    pub fn halt(&mut self, halts: &Halts) {
        if self.halts != *halts {
            self.halts = halts.clone();
            self.targets.iter_mut().for_each(|lane| lane.halt(halts));
        }
    }

    /// The node ends: calls under way may end, and nothing more of the background is called. A start orders it again.
    pub fn drain(&mut self) {
        self.is_draining = true;
    }

    /// Goes on with these targets. One that was there keeps its breaker and what waits for it; calls that are under way end as they
    /// began. One that is left out takes no new orders, and what it has in the background rests.
    pub fn equip(&mut self, bounds: Bounds, targets: Vec<Equipped>) {
        self.targets.iter_mut().for_each(|lane| lane.watch.is_configured.set(false));
        for Equipped { name, carry, timeout, calls_max } in targets {
            let known = self.targets.iter_mut().find(|lane| lane.watch.name == name);
            if let Some(lane) = known {
                lane.watch.gate.borrow_mut().rebound(bounds);
                (lane.carry, lane.timeout, lane.calls_max) = (carry, timeout, calls_max);
                lane.watch.is_configured.set(true);
                continue;
            }
            let watch = Rc::new(Watch {
                name,
                gate: RefCell::new(Gate::new(bounds, Instant::now())),
                waiting: Cell::new(0),
                tally: RefCell::default(),
                is_configured: Cell::new(true),
            });
            let (waiting, backlog) = (Queue::default(), Queue::default());
            let mut lane =
                Lane { watch, carry, timeout, calls_max, calls: 0, waiting, backlog, is_halted: false };
            lane.halt(&self.halts);
            // Calls know their target by its place.
            match self.targets.iter_mut().find(|lane| lane.is_over()) {
                Some(over) => *over = lane,
                None => self.targets.push(lane),
            }
        }
    }

    /// What others may see of the targets that are configured, or whose orders rest; see [`Watch::is_shown`].
    pub fn watches(&self) -> Vec<Rc<Watch>> {
        self.targets.iter().map(|lane| Rc::clone(&lane.watch)).collect()
    }

    /// Orders that have no outcome yet, and outcomes that nobody took. What waits in the background can wait longer: a start orders
    /// it again.
    pub fn under_way(&self) -> usize {
        let waiting: usize = self.targets.iter().map(|lane| lane.waiting.len()).sum();
        waiting + self.calls.len() + self.settled.len()
    }

    /// Takes an order. Its outcome comes from [`Executor::next`] or [`Executor::ended`].
    pub fn submit(&mut self, order: ActionRequest) {
        let now = Instant::now();
        let named = |lane: &Lane| lane.watch.is_configured.get() && lane.watch.name == order.intent.name;
        let Some(target) = self.targets.iter().position(named) else {
            let why = format!("no action `{}` is configured", order.intent.name);
            return self.settled.push_back(outcome(&order, Err(Failure::withheld(why)), None));
        };
        let in_background = order.give_up.is_some();
        let until = end_of(&order, self.time, now);
        let waiting = Waiting::new(order, until);
        // What is over keeps no place from it.
        self.end_overdue(target, now);
        let lane = &mut self.targets[target];
        if in_background {
            for away in lane.backlog.push(waiting) {
                let outcome = lane.no_place(away);
                self.settled.push_back(outcome);
            }
            return self.advance(target, now);
        }
        let open = lane.watch.gate.borrow().look(now);
        if let Err(shut) = open {
            let outcome = lane.turned_away(&waiting.order, &halted(lane.watch.gate.borrow().bounds(), shut));
            self.settled.push_back(outcome);
        } else if lane.calls < lane.calls_max && lane.waiting.is_empty() {
            self.start(target, waiting);
        } else {
            for away in lane.waiting.push(waiting) {
                let why = format!("has {} orders waiting for it already", lane.waiting.len());
                self.settled.push_back(lane.turned_away(&away.order, &why));
            }
            lane.count();
        }
    }

    /// Calls what waits in the background of a target, as far as it may.
    fn advance(&mut self, target: usize, now: Instant) {
        self.end_overdue(target, now);
        while !self.is_draining
            && let Some(lane) = self.targets.get_mut(target)
            && lane.may_call(now)
            && let Some(waiting) = lane.backlog.pop(now)
        {
            self.start(target, waiting);
        }
        if let Some(lane) = self.targets.get(target) {
            lane.count();
        }
    }

    /// An outcome that is there already.
    pub fn ended(&mut self) -> Option<Outcome> {
        let now = Instant::now();
        for target in 0..self.targets.len() {
            self.end_overdue(target, now);
            if self.targets[target].backlog.is_due(now) {
                self.advance(target, now);
            }
        }
        let settled = self.settled.pop_front();
        settled.or_else(|| self.calls.try_join_next().and_then(|joined| self.joined(joined)))
    }

    /// The next outcome; never, while nothing is under way. May be given up at any time.
    pub async fn next(&mut self) -> Outcome {
        loop {
            if let Some(outcome) = self.ended() {
                return outcome;
            }
            let now = Instant::now();
            let wakes = self.targets.iter().filter_map(|lane| lane.wakes(now, self.is_draining)).min();
            // Who waits, waits behind calls; or, in the background, for a time.
            let ended = match (wakes, self.calls.is_empty()) {
                (Some(wakes), true) => {
                    tokio::time::sleep_until(wakes).await;
                    continue;
                }
                (Some(wakes), false) => tokio::time::timeout_at(wakes, self.calls.join_next()).await,
                (None, _) => Ok(self.calls.join_next().await),
            };
            match ended {
                Ok(Some(joined)) => {
                    if let Some(outcome) = self.joined(joined) {
                        return outcome;
                    }
                }
                Ok(None) => std::future::pending().await,
                Err(_) => {}
            }
        }
    }

    /// Turns away whose time is over.
    fn end_overdue(&mut self, target: usize, now: Instant) {
        let lane = &mut self.targets[target];
        while let Some(waiting) = lane.waiting.ended(now) {
            self.settled.push_back(lane.turned_away(&waiting.order, &no_room()));
        }
        while let Some(waiting) = lane.backlog.ended(now) {
            self.settled.push_back(lane.given_up(waiting));
        }
        lane.count();
    }

    fn joined(&mut self, joined: Result<Ended, JoinError>) -> Option<Outcome> {
        match joined {
            Ok(ended) => self.land(ended),
            // A mistake of ours ends the runtime, and the supervisor takes the line up again.
            Err(error) if error.is_panic() => resume_unwind(error.into_panic()),
            Err(_) => None,
        }
    }

    fn start(&mut self, target: usize, waiting: Waiting) {
        let lane = &mut self.targets[target];
        // Before it could be a probe: no signal keeps a target halted.
        if let Some(why) = lane.carry.unfit(&waiting.order) {
            let outcome = lane.unfit(waiting, &why);
            return self.settled.push_back(outcome);
        }
        let entered = lane.watch.gate.borrow_mut().enter(Instant::now());
        let pass = match entered {
            Ok(pass) => pass,
            Err(shut) => {
                let why = halted(lane.watch.gate.borrow().bounds(), shut);
                return self.settled.push_back(lane.turned_away(&waiting.order, &why));
            }
        };
        lane.calls += 1;
        let call = Call {
            pass,
            watch: Rc::clone(&lane.watch),
            carry: Rc::clone(&lane.carry),
            timeout: lane.timeout,
            random: self.random,
            tracer: self.tracer.clone().filter(|tracer| tracer.sampling().is_some()),
        };
        let mut waiting = waiting;
        self.calls.spawn_local(async move {
            let mut tried = std::mem::take(&mut waiting.tried);
            let (result, word) = call.run(&waiting, &mut tried).await;
            let ends = match result {
                Ok(result) => CallEnd::Outcome(outcome(&waiting.order, result, tried.told())),
                Err(Later { after, why }) => {
                    (waiting.tried, waiting.calls) = (tried, waiting.calls.saturating_add(1));
                    let pause = retry::background_pause(waiting.calls, after, (call.random)());
                    CallEnd::Later(Box::new(waiting), pause, why)
                }
            };
            Ended { target, pass, word, ends }
        });
    }

    /// A call ended: the gate learns how, and whoever is next takes its turn.
    fn land(&mut self, Ended { target, pass, word, ends }: Ended) -> Option<Outcome> {
        let lane = &mut self.targets[target];
        lane.calls -= 1;
        if word == Word::Nothing {
            lane.watch.tally.borrow_mut().turned_away += 1;
        }
        let now = Instant::now();
        let why = match &ends {
            CallEnd::Outcome(outcome) => {
                lane.watch.tally.borrow_mut().ended(outcome.result.is_ok());
                outcome.result.as_ref().err().map(|failure| failure.reason.to_string())
            }
            CallEnd::Later(_, _, why) => Some(why.clone()),
        };
        let succeeded = match word {
            Word::Well => Some(true),
            Word::Failing => Some(false),
            Word::Answers => pass.probe.then_some(true),
            Word::Nothing => pass.probe.then_some(false),
        };
        if let Some(succeeded) = succeeded {
            let shut = lane.watch.gate.borrow_mut().leave(pass, succeeded, now, (self.random)());
            tell_of_gate(&lane.watch.name, pass, shut, succeeded, why.as_deref());
        }
        let outcome = match ends {
            CallEnd::Outcome(outcome) => Some(outcome),
            CallEnd::Later(mut waiting, pause, _) => {
                waiting.until = end_of(&waiting.order, self.time, now);
                let at = (now + pause).min(waiting.until);
                lane.backlog.put_back(*waiting, at);
                None
            }
        };
        while let Some(lane) = self.targets.get_mut(target).filter(|lane| lane.calls < lane.calls_max) {
            let Some(waiting) = lane.waiting.pop(now) else { break };
            lane.count();
            // Of a gate that has shut, every one of them is turned away.
            self.start(target, waiting);
        }
        self.advance(target, now);
        outcome
    }
}

impl Lane {
    /// Nothing has to do with it any more.
    fn is_over(&self) -> bool {
        !self.watch.is_configured.get()
            && self.calls == 0
            && self.waiting.is_empty()
            && self.backlog.is_empty()
    }

    fn halt(&mut self, halts: &Halts) {
        self.is_halted = halts.of_target(&self.watch.name).is_some();
        self.backlog.rest(halts.clone());
    }

    /// Whether what waits in the background of it is called at all.
    fn rests(&self) -> bool {
        self.is_halted || !self.watch.is_configured.get()
    }

    fn may_call(&self, now: Instant) -> bool {
        !self.rests() && self.calls < self.calls_max && self.watch.gate.borrow().look(now).is_ok()
    }

    /// When there is something to do for it, where no call that ends says so.
    fn wakes(&self, now: Instant, is_draining: bool) -> Option<Instant> {
        let is_waiting = !is_draining && !self.rests() && !self.backlog.is_empty();
        let next = match self.watch.gate.borrow().look(now) {
            Ok(()) => self.backlog.wakes(),
            Err(Shut::For(left)) => Some(now + left),
            // Its probe ends.
            Err(Shut::Testing) => None,
        };
        let next = next.filter(|_| is_waiting && self.calls < self.calls_max);
        [self.waiting.first_ends(), self.backlog.first_ends(), next].into_iter().flatten().min()
    }

    fn count(&self) {
        self.watch.waiting.set(self.waiting.len() + self.backlog.len());
    }

    /// Of an order in the background whose time is over.
    fn given_up(&self, waiting: Waiting) -> Outcome {
        let name = &self.watch.name;
        match waiting.calls {
            0 if waiting.order.maybe_twice => {
                let why = format!("target `{name}` was not called again before its time was over");
                self.missed(waiting, why)
            }
            0 => self.turned_away(&waiting.order, OVER),
            calls => {
                let why =
                    format!("target `{name}` took it in none of {calls} calls before its time was over");
                self.missed(waiting, why)
            }
        }
    }

    /// Of an order in the background that has to make room for others.
    fn no_place(&self, waiting: Waiting) -> Outcome {
        let (name, others) = (&self.watch.name, self.backlog.len());
        match waiting.calls {
            0 => self.turned_away(&waiting.order, &format!("has {others} orders waiting for it already")),
            calls => {
                let why = format!(
                    "target `{name}` took it in none of {calls} calls and has {others} orders waiting for it already"
                );
                self.missed(waiting, why)
            }
        }
    }

    /// Of an order in the background that the target may have been asked for.
    fn missed(&self, Waiting { order, tried, .. }: Waiting, why: String) -> Outcome {
        self.watch.tally.borrow_mut().ended(false);
        outcome(&order, Err(Failure::asked(shortened(why))), tried.told())
    }

    /// Of an order about which nothing can be said to the target, or nothing any more since the configuration changed.
    fn unfit(&self, waiting: Waiting, why: &str) -> Outcome {
        let name = &self.watch.name;
        match waiting.calls {
            0 => self.turned_away(&waiting.order, &format!("was not asked: {why}")),
            calls => {
                let why =
                    format!("target `{name}` took it in none of {calls} calls and is not asked again: {why}");
                self.missed(waiting, why)
            }
        }
    }

    fn turned_away(&self, order: &ActionRequest, why: &str) -> Outcome {
        let mut tally = self.watch.tally.borrow_mut();
        tally.turned_away += 1;
        tally.ended(false);
        let why = format!("target `{}` {why}", self.watch.name);
        outcome(order, Err(Failure::withheld(shortened(why))), None)
    }
}

/// Says when a target is halted, and when it is not any more.
fn tell_of_gate(action: &str, pass: Pass, shut: bool, succeeded: bool, reason: Option<&str>) {
    match (pass.probe, shut) {
        (false, true) => {
            tracing::warn!(target: "gemba::jidoka", action, reason, "the target of an action is halted: it failed too often");
        }
        (true, true) => {
            tracing::debug!(target: "gemba::jidoka", action, reason, "the probe of a halted target failed");
        }
        (true, false) if succeeded => {
            tracing::info!(target: "gemba::jidoka", action, "the target of an action answers again");
        }
        (true | false, false) => {}
    }
}

/// The target missed an order of the background, which is not over.
struct Later {
    after: Option<Duration>,
    why: String,
}

/// One call: an order and all its tries; of the background, one of them.
struct Call {
    pass: Pass,
    watch: Rc<Watch>,
    carry: Rc<dyn Carry>,
    timeout: Duration,
    random: fn() -> u64,
    tracer: Option<Rc<Tracer>>,
}

impl Call {
    async fn run(
        &self,
        Waiting { order, until, since, .. }: &Waiting,
        tried: &mut Tried,
    ) -> (Result<Result<(), Failure>, Later>, Word) {
        crate::fault::point("K13");
        let mut trail = self.tracer.as_deref().map(|tracer| Trail::new(tracer, &self.watch.name, order));
        let result = self.tries((order, *since), *until, trail.as_mut(), tried).await;
        crate::fault::point("K14");
        if let Some(trail) = trail {
            trail.end(*since, result.0.as_ref().ok().and_then(|result| result.as_ref().err()));
        }
        result
    }

    async fn tries(
        &self,
        (order, since): (&ActionRequest, clock::Instant),
        until: Instant,
        mut trail: Option<&mut Trail<'_>>,
        told: &mut Tried,
    ) -> (Result<Result<(), Failure>, Later>, Word) {
        let left = || until.saturating_duration_since(Instant::now());
        let name = &self.watch.name;
        if left().is_zero() {
            let why = if order.give_up.is_some() { OVER.to_owned() } else { no_room() };
            let why = format!("target `{name}` {why}");
            return (Ok(Err(Failure::withheld(why))), Word::Nothing);
        }
        let mut tries = 0;
        loop {
            tries += 1;
            let trace = trail.as_ref().and_then(|trail| trail.trace_of(tries));
            let begun = clock::now();
            let tried = self.one(order, trace, left()).await;
            told.add(begun - since, clock::now() - begun, tried.as_ref().err().map(Miss::why));
            if let Some(trail) = &mut trail {
                trail.tried(begun, tried.as_ref().err());
            }
            let (why, after, word) = match tried {
                Ok(()) => return (Ok(Ok(())), Word::Well),
                Err(Miss::Final { why }) => (why, None, Word::Failing),
                Err(Miss::Refused { why }) => (why, None, Word::Answers),
                Err(Miss::Again { why, after, .. }) if order.give_up.is_some() => {
                    return (Err(Later { after, why: shortened(why) }), Word::Failing);
                }
                Err(Miss::Again { why, after, .. }) => {
                    // A probe asks once; whoever comes after it asks the next time.
                    let pause =
                        (!self.pass.probe).then(|| retry::pause(tries, after, (self.random)(), left()));
                    (why, pause.flatten(), Word::Failing)
                }
            };
            let failed = |more: &str| {
                let times = if tries == 1 { String::new() } else { format!(" (tried {tries} times)") };
                (Ok(Err(Failure::asked(shortened(format!("target `{name}`: {why}{times}{more}"))))), word)
            };
            let Some(pause) = after else { return failed("") };
            tokio::time::sleep(pause).await;
            if !self.watch.gate.borrow().holds(self.pass) {
                return failed("; it was halted meanwhile");
            }
        }
    }

    async fn one(
        &self,
        order: &ActionRequest,
        trace: Option<TraceContext>,
        left: Duration,
    ) -> Result<(), Miss> {
        let patience = self.timeout.min(left);
        let begun = Instant::now();
        let until = begun + patience;
        let carried = tokio::time::timeout_at(until, self.carry.carry(order, trace, until)).await;
        self.watch.tally.borrow_mut().tried(begun.elapsed(), matches!(carried, Ok(Ok(()))));
        match carried {
            Ok(result) => result,
            // What is left of the action's time says nothing of the target.
            Err(_) if patience < self.timeout && order.give_up.is_some() => {
                Err(Miss::again("no answer before its time was over"))
            }
            Err(_) if patience < self.timeout => {
                Err(Miss::again(format!("no answer in its {} s", ACTION_TOTAL.as_secs())))
            }
            Err(_) => Err(Miss::again(format!("no answer within {:.1} s", patience.as_secs_f64()))),
        }
    }
}

fn halted(bounds: Bounds, shut: Shut) -> String {
    let failures = bounds.failures;
    match shut {
        Shut::For(left) => format!(
            "is halted after {failures} failures in a row; the next probe is in {} s",
            left.as_millis().div_ceil(1000)
        ),
        Shut::Testing => format!("is halted after {failures} failures in a row; a probe is under way"),
    }
}

/// Of an order in the background.
const OVER: &str = "was not called before its time was over";

/// When the time of an order is over.
fn end_of(order: &ActionRequest, time: TimeAnchor, now: Instant) -> Instant {
    order.give_up.map_or(now + ACTION_TOTAL, |give_up| time.instant(give_up))
}

fn no_room() -> String {
    format!("had no room within {} s", ACTION_TOTAL.as_secs())
}

fn outcome(order: &ActionRequest, result: Result<(), Failure>, tries: Option<Tries>) -> Outcome {
    let (subject, action) = (Subject::from(&order.intent.signal), order.intent.action);
    Outcome { subject, action, by: Some(order.intent.by), result, maybe_twice: order.maybe_twice, tries }
}

fn shortened(mut why: String) -> String {
    why.truncate(why.floor_char_boundary(REASON_BYTES_MAX));
    why
}

#[cfg(test)]
mod tests;
