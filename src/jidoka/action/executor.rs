//! Drives the calls. One value owns the queues of all targets; each call with its tries is a task. Nothing here waits
//! for a target: an order is started, queued, or turned away at once.
//!
//! An order's time begins when it comes, not when its turn does. Tenants take turns, so its time may be over while it waits;
//! then it is turned away, and its governor hears of it before it gives up by itself. That holds for orders in the background, too,
//! while their target is halted, by its breaker or by an operator, and while it is configured no more: they rest, and their time runs.
//!
//! What the line says (halts, that the node ends) is looked at each time before anything of the background is called: who was
//! answered that a halt holds sees no call begin after that.

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
use super::uncalled::{Uncalled, shortened};
use crate::clock;
use crate::event::{Failure, Outcome, Seq, Subject, Tries, UnixMillis};
use crate::jidoka::governor::ActionRequest;
use crate::jidoka::halts::Halts;
use crate::jidoka::rules::{Compiled, Rules};
use crate::kaizen::Tracer;
use crate::limits::ACTION_TOTAL;
use crate::net::retry::Miss;
use crate::ring::{Mark, Switch};
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
    line: Option<LineMarks>,
    /// What operators stopped.
    halts: Halts,
    /// The event since which the rules hold that these halts are of.
    halts_since: Option<Seq>,
    /// The rules that hold are of a moment of the start's replay: halts of after it are not known yet.
    is_behind: bool,
    /// The node ends: nothing more of the background is called.
    is_draining: bool,
}

/// What the line says to those who carry out its orders.
pub struct LineMarks {
    /// The journal's time, in milliseconds since 1970.
    pub time: Mark,
    /// The node ends.
    pub drain: Switch,
    /// The rules that hold, where signals are decided.
    pub rules: Option<Arc<Compiled>>,
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
    /// Whose turn the next call is, where both wait.
    is_turn_of_backlog: bool,
    /// An operator halted it.
    is_halted: bool,
    /// It is left out, and rules that were made with it may still have ordered something of it.
    is_leaving: bool,
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
            line: None,
            halts: Halts::default(),
            halts_since: None,
            is_behind: false,
            is_draining: false,
        }
    }

    /// Tells of actions of traced signals, and of all that fail.
    #[must_use]
    pub fn tracing(mut self, tracer: Tracer) -> Self {
        self.tracer = Some(Rc::new(tracer));
        self
    }

    /// Goes by what the line says.
    #[must_use]
    pub fn following(mut self, line: LineMarks) -> Self {
        self.line = Some(line);
        self
    }

    /// Goes on by what the line says now. To be called again and again, for orders end by its time.
    pub fn look_at_line(&mut self) {
        let Some(LineMarks { time, drain, rules }) = &self.line else { return };
        let (time, drains) = (UnixMillis(time.read()), drain.is_on());
        // In this order: what holds once it is live is of no moment before.
        self.is_behind = rules.as_ref().is_some_and(|compiled| !compiled.is_live());
        let holding = self.rules();
        self.follow(time);
        if drains {
            self.drain();
        }
        if let Some((since, rules)) = holding.filter(|(since, _)| self.halts_since != Some(*since)) {
            self.halt(&rules.halts);
            self.halts_since = Some(since);
        }
    }

    /// The rules that hold, and since when.
    fn rules(&self) -> Option<(Seq, Arc<Rules>)> {
        self.line.as_ref()?.rules.as_ref()?.holding()
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
    /// began. One that is left out takes what the rules of before order of it, until other targets are configured and no rules that
    /// hold know it; what it has in the background rests.
    pub fn equip(&mut self, bounds: Bounds, targets: Vec<Equipped>) {
        let holding = self.rules();
        for lane in &mut self.targets {
            let is_known =
                holding.as_ref().is_some_and(|(_, rules)| rules.source.has_action(&lane.watch.name));
            lane.is_leaving = lane.watch.is_configured.replace(false) || lane.is_leaving && is_known;
        }
        for Equipped { name, carry, timeout, calls_max } in targets {
            let known = self.targets.iter_mut().find(|lane| lane.watch.name == name);
            if let Some(lane) = known {
                lane.watch.gate.borrow_mut().rebound(bounds);
                (lane.carry, lane.timeout, lane.calls_max) = (carry, timeout, calls_max);
                lane.watch.is_configured.set(true);
                lane.is_leaving = false;
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
            let mut lane = Lane {
                watch,
                carry,
                timeout,
                calls_max,
                calls: 0,
                waiting,
                backlog,
                is_turn_of_backlog: false,
                is_halted: false,
                is_leaving: false,
            };
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
        let (in_background, until) = (order.give_up.is_some(), end_of(&order, self.time, now));
        let waiting = Waiting::new(order, until);
        let Some(target) = self.targets.iter().position(|lane| lane.takes(&waiting.order)) else {
            return self.settled.push_back(failed(waiting, &Uncalled::Gone));
        };
        // What is over keeps no place from it.
        self.end_overdue(target, now);
        let lane = &mut self.targets[target];
        // A start orders all again that waited, and all that was called.
        let beyond = if waiting.order.is_again { lane.calls_max } else { 0 };
        if in_background {
            for away in lane.backlog.push(waiting, beyond) {
                let outcome = lane.uncalled(away, &Uncalled::NoPlace(lane.backlog.len()));
                self.settled.push_back(outcome);
            }
            return self.fill(target, now);
        }
        let open = lane.watch.gate.borrow().look(now);
        if let Err(shut) = open {
            let outcome = lane.uncalled(waiting, &lane.halted(shut));
            self.settled.push_back(outcome);
        } else if lane.calls < lane.calls_max && lane.waiting.is_empty() {
            self.start(target, waiting);
        } else {
            for away in lane.waiting.push(waiting, beyond) {
                let outcome = lane.uncalled(away, &Uncalled::NoPlace(lane.waiting.len()));
                self.settled.push_back(outcome);
            }
            lane.count();
        }
    }

    /// Calls what waits for a target, as far as it may.
    fn fill(&mut self, target: usize, now: Instant) {
        self.look_at_line();
        self.end_overdue(target, now);
        let begins_background = self.begins_background();
        while let Some(lane) = self.targets.get_mut(target)
            && let Some(waiting) = lane.pop(now, begins_background)
        {
            // Of a gate that has shut, every one that a governor waits for is turned away.
            self.start(target, waiting);
        }
        if let Some(lane) = self.targets.get(target) {
            lane.count();
        }
    }

    /// Whether anything of the background is called at all.
    fn begins_background(&self) -> bool {
        !self.is_draining && !self.is_behind
    }

    /// An outcome that is there already.
    pub fn ended(&mut self) -> Option<Outcome> {
        let now = Instant::now();
        for target in 0..self.targets.len() {
            self.end_overdue(target, now);
            if self.targets[target].backlog.is_due(now) {
                self.fill(target, now);
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
            let begins = self.begins_background();
            let wakes = self.targets.iter().filter_map(|lane| lane.wakes(now, begins)).min();
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
            self.settled.push_back(lane.uncalled(waiting, &Uncalled::NoTurn));
        }
        while let Some(waiting) = lane.backlog.ended(now) {
            self.settled.push_back(lane.uncalled(waiting, &Uncalled::Over));
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
            let outcome = lane.uncalled(waiting, &Uncalled::Unfit(why));
            return self.settled.push_back(outcome);
        }
        let now = Instant::now();
        let entered = lane.watch.gate.borrow_mut().enter(now);
        let pass = match entered {
            Ok(pass) => pass,
            Err(shut) => {
                let outcome = lane.uncalled(waiting, &lane.halted(shut));
                return self.settled.push_back(outcome);
            }
        };
        lane.calls += 1;
        let call = Call {
            pass,
            age: age(&waiting, self.time.time(now)),
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
        self.fill(target, now);
        outcome
    }
}

impl Lane {
    /// Nothing has to do with it any more.
    fn is_over(&self) -> bool {
        !self.watch.is_configured.get()
            && !self.is_leaving
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

    /// Whether it takes this order. What is sent from a dead letter, or ordered again by a start, goes where it is configured and
    /// nowhere else.
    fn takes(&self, order: &ActionRequest) -> bool {
        let is_decided_now = !order.is_again && order.intent.action.seq == order.intent.by;
        let is_there = self.watch.is_configured.get() || self.is_leaving && is_decided_now;
        is_there && self.watch.name == order.intent.name
    }

    /// The next order to call. Those that governors wait for and those in the background, if these may begin, take turns, so that
    /// neither keep the others from the target.
    fn pop(&mut self, now: Instant, begins_background: bool) -> Option<Waiting> {
        if self.calls >= self.calls_max {
            return None;
        }
        let is_background = begins_background
            && !self.rests()
            && (self.is_turn_of_backlog || self.waiting.is_empty())
            && self.watch.gate.borrow().look(now).is_ok()
            && self.backlog.is_due(now);
        self.is_turn_of_backlog = !is_background;
        if is_background { self.backlog.pop(now) } else { self.waiting.pop(now) }
    }

    /// When there is something to do for it, where no call that ends says so.
    fn wakes(&self, now: Instant, begins_background: bool) -> Option<Instant> {
        let is_waiting = begins_background && !self.rests() && !self.backlog.is_empty();
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

    /// Of an order that is not called, or not called again.
    fn uncalled(&self, waiting: Waiting, why: &Uncalled) -> Outcome {
        let outcome = failed(waiting, why);
        let mut tally = self.watch.tally.borrow_mut();
        tally.turned_away += u64::from(outcome.result.as_ref().is_err_and(|failure| !failure.asked));
        tally.ended(false);
        outcome
    }

    fn halted(&self, shut: Shut) -> Uncalled {
        let failures = self.watch.gate.borrow().bounds().failures;
        let next = match shut {
            Shut::For(left) => format!("the next probe is in {} s", left.as_millis().div_ceil(1000)),
            Shut::Testing => "a probe is under way".to_owned(),
        };
        Uncalled::Halted(format!("is halted after {failures} failures in a row; {next}"))
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
    /// How long ago it was ordered, when the call began.
    age: Duration,
    watch: Rc<Watch>,
    carry: Rc<dyn Carry>,
    timeout: Duration,
    random: fn() -> u64,
    tracer: Option<Rc<Tracer>>,
}

impl Call {
    async fn run(&self, waiting: &Waiting, tried: &mut Tried) -> (Result<Result<(), Failure>, Later>, Word) {
        crate::fault::point("K13");
        let tracer = self.tracer.as_deref();
        let mut trail = tracer.map(|tracer| Trail::new(tracer, &self.watch.name, &waiting.order));
        let result = self.tries(waiting, trail.as_mut(), tried).await;
        crate::fault::point("K14");
        if let Some(trail) = trail {
            trail.end(waiting.since, result.0.as_ref().ok().and_then(|result| result.as_ref().err()));
        }
        result
    }

    async fn tries(
        &self,
        waiting: &Waiting,
        mut trail: Option<&mut Trail<'_>>,
        told: &mut Tried,
    ) -> (Result<Result<(), Failure>, Later>, Word) {
        let (order, name) = (&waiting.order, &self.watch.name);
        let left = || waiting.until.saturating_duration_since(Instant::now());
        if left().is_zero() {
            let why = if order.give_up.is_some() { Uncalled::Over } else { Uncalled::NoTurn };
            return (Ok(Err(why.ends(waiting))), Word::Nothing);
        }
        let (first, mut tries) = (clock::now(), 0);
        loop {
            tries += 1;
            let trace = trail.as_ref().and_then(|trail| trail.trace_of(tries));
            let begun = clock::now();
            let tried = self.one(order, trace, left()).await;
            told.add(self.age + (begun - first), clock::now() - begun, tried.as_ref().err().map(Miss::why));
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

/// When the time of an order is over.
fn end_of(order: &ActionRequest, time: TimeAnchor, now: Instant) -> Instant {
    order.give_up.map_or(now + ACTION_TOTAL, |give_up| time.instant(give_up))
}

/// How long ago an order was given; of one that was given again, by the journal, whose time that is.
fn age(Waiting { order, since, .. }: &Waiting, time: UnixMillis) -> Duration {
    if order.is_again {
        Duration::from_millis(time.0.saturating_sub(order.intent.time.0))
    } else {
        clock::now().saturating_duration_since(*since)
    }
}

/// Of an order that is not called, or not called again.
fn failed(waiting: Waiting, why: &Uncalled) -> Outcome {
    let failure = why.ends(&waiting);
    outcome(&waiting.order, Err(failure), waiting.tried.told())
}

fn outcome(order: &ActionRequest, result: Result<(), Failure>, tries: Option<Tries>) -> Outcome {
    let (subject, action) = (Subject::from(&order.intent.signal), order.intent.action);
    // What was not called ran no second time.
    let maybe_twice = order.maybe_twice && result.as_ref().err().is_none_or(|failure| failure.asked);
    Outcome { subject, action, by: Some(order.intent.by), result, maybe_twice, tries }
}

#[cfg(test)]
mod tests;
