//! Between the shards and the targets: takes orders from their lanes at once, whatever hangs, hands them to the
//! executor, and brings outcomes to the journal. How many are under way stands on a mark that a drain watches.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use crate::event::{Arrival, Outcome};
use crate::jidoka::action::{Executor, LineMarks, Targets, Watch};
use crate::jidoka::governor::ActionRequest;
use crate::kaizen::{Collector, Counter, Metric, Readings};
use crate::net::backoff::random;
use crate::ring::{Bell, Current, Full, Mark, Receiver, Sender, Switch, Updates};

/// What orders come on, and where outcomes go.
pub struct Lanes {
    pub orders: Vec<Receiver<ActionRequest>>,
    pub bell: Arc<Bell>,
    pub ordered: Arc<Notify>,
    pub outcomes: Sender<Arrival>,
}

/// Carries out orders and reports how they ended.
pub struct Actions {
    executor: Executor,
    targets: Updates<Targets>,
    watches: Watches,
    collector: Rc<RefCell<Collector>>,
}

/// What may be seen of the targets that there are now.
pub type Watches = Rc<RefCell<Vec<Rc<Watch>>>>;

/// Without orders and outcomes the loop looks again after so long, for an order to end.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

impl Actions {
    #[must_use]
    pub fn new(targets: &Current<Targets>, line: LineMarks, collector: Rc<RefCell<Collector>>) -> Self {
        let tracer = collector.borrow_mut().tracer();
        let executor = Executor::new(random).tracing(tracer).following(line);
        let (targets, watches) = (targets.updates(), Rc::default());
        let mut actions = Self { executor, targets, watches, collector };
        actions.look_at_targets();
        actions
    }

    /// What the operator plane may see of the targets.
    #[must_use]
    pub fn watches(&self) -> Watches {
        Rc::clone(&self.watches)
    }

    /// Goes on with other targets, if others hold now.
    fn look_at_targets(&mut self) {
        if let Some(targets) = self.targets.take() {
            targets.equip(&mut self.executor);
            self.watches.replace(self.executor.watches());
        }
    }

    /// Runs until `stop`.
    pub async fn run(mut self, lanes: Lanes, busy: Mark, stop: Switch) {
        let collector = Rc::clone(&self.collector);
        let Lanes { mut orders, bell, ordered, outcomes } = lanes;
        let mut report = Report { outcomes, collector, stop, rang: true };
        while !report.stop.is_on() {
            // Said before the lanes are empty, so that nothing is ever in neither place.
            busy.publish(u64::MAX);
            self.look_at_targets();
            let executor = &mut self.executor;
            executor.look_at_line();
            for lane in &mut orders {
                while let Some(order) = lane.pop() {
                    executor.submit(order);
                    while let Some(outcome) = executor.ended() {
                        report.outcome(outcome).await;
                    }
                }
            }
            while let Some(outcome) = executor.ended() {
                report.outcome(outcome).await;
            }
            report.ring();
            busy.publish(executor.under_way() as u64);
            bell.announce_sleep();
            if orders.iter().all(Receiver::is_empty) {
                tokio::select! {
                    biased;
                    outcome = executor.next() => report.outcome(outcome).await,
                    () = ordered.notified() => {}
                    () = tokio::time::sleep(LOOK_AGAIN) => {}
                }
            }
            bell.awake();
        }
    }
}

/// Brings outcomes to the journal.
struct Report {
    outcomes: Sender<Arrival>,
    collector: Rc<RefCell<Collector>>,
    stop: Switch,
    /// Nothing was pushed since the bell was rung.
    rang: bool,
}

impl Report {
    async fn outcome(&mut self, outcome: Outcome) {
        let counter =
            if outcome.result.is_ok() { Counter::ActionsSuccessful } else { Counter::ActionsFailed };
        self.collector.borrow_mut().add(counter, 1);
        let mut arrival = Arrival::Outcome(Box::new(outcome));
        while let Err(Full(back)) = self.outcomes.push(arrival) {
            if self.stop.is_on() {
                return;
            }
            arrival = back;
            self.outcomes.ring();
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        self.rang = false;
    }

    fn ring(&mut self) {
        if !std::mem::replace(&mut self.rang, true) {
            self.outcomes.ring();
        }
    }
}

/// Where the targets stand.
pub fn read(watches: &[Rc<Watch>], readings: &mut Readings) {
    for watch in watches.iter().filter(|watch| watch.is_shown()) {
        readings.count(Metric::TargetBreaker, &[&*watch.name], watch.breaker().into());
        readings.count(Metric::TargetWaiting, &[&*watch.name], watch.waiting() as u64);
    }
}
