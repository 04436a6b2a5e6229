//! The outbound runtime: everything that waits on others. It carries out orders and serves the operator plane; it
//! may stall without stalling the line.

use std::cell::RefCell;
use std::io::{self, Write as _};
use std::net::TcpListener;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;
use tokio::sync::oneshot;

use super::health::Health;
use super::supervisor::Restarts;
use super::wiring::{Gauge, OutboundEnds};
use crate::andon::log::Reader;
use crate::clock;
use crate::event::{Arrival, Failure, Outcome, Seq, Subject};
use crate::jidoka::query::{self as shard, Page};
use crate::jidoka::stage::Order;
use crate::jidoka::store::Followups;
use crate::kaizen::{Collector, Counter, Gauges};
use crate::kanban::stage as journal;
use crate::kanban::stage::shard_of;
use crate::operator::{self, Filter, Line, Reply, Tokens, Unavailable};
use crate::receipt::{ReceiptId, ReceiptType, StateName};
use crate::ring::{Full, Mark, Sender, Switch};
use crate::signal::{Assurance, Fingerprint};
use crate::view::{GovernorView, SignalStatus, StageHealth};

/// What the runtime is given.
pub struct Plan {
    pub listener: TcpListener,
    pub tokens: Tokens,
    pub ends: OutboundEnds,
    pub reader: Reader,
    pub followups: Followups,
    /// Names and assurance of the sources, to find a signal by its id.
    pub sources: Vec<(Box<str>, Assurance)>,
    pub collector: Collector,
    pub gauges: Arc<[Gauge]>,
    pub health: Health,
    pub states: Vec<[Mark; 6]>,
    /// How often the line started again.
    pub restarts: Arc<Mutex<Restarts>>,
    /// Orders that are being carried out.
    pub busy: Mark,
    /// Turned on when the system asks the process to end.
    pub drain: Switch,
    pub stop: Switch,
}

/// Runs until `stop`.
///
/// # Errors
/// When the runtime cannot be set up.
pub fn run(plan: Plan) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build_local(tokio::runtime::LocalOptions::default())?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::from_std(plan.listener)?;
        let OutboundEnds { orders, bell, ordered, outcomes, journal, ordered_by: _, shards } = plan.ends;
        let desk = Rc::new(Desk {
            journal: RefCell::new(journal),
            shards: shards.into_iter().map(RefCell::new).collect(),
            reader: plan.reader,
            followups: plan.followups,
            sources: plan.sources,
            collector: Rc::new(RefCell::new(plan.collector)),
            gauges: plan.gauges,
            health: plan.health,
            states: plan.states,
            restarts: plan.restarts,
        });
        let line: Rc<dyn Line> = Rc::clone(&desk) as Rc<dyn Line>;
        let serving = tokio::task::spawn_local(operator::serve(
            listener,
            Rc::new(plan.tokens),
            line,
            plan.stop.clone(),
        ));
        let listening = tokio::task::spawn_local(ask_to_end(end_signals()?, plan.drain));
        let collecting = tokio::task::spawn_local(collect(Rc::clone(&desk)));
        let mut actions = Actions { outcomes, succeeded: 0, failed: 0, desk, stop: plan.stop.clone() };
        let mut orders = orders;
        while !plan.stop.is_on() {
            let mut took = 0;
            for lane in &mut orders {
                while let Some(order) = lane.pop() {
                    plan.busy.publish(1);
                    actions.carry_out(&order).await;
                    took += 1;
                }
            }
            actions.done(took);
            plan.busy.publish(0);
            bell.announce_sleep();
            if orders.iter().all(crate::ring::Receiver::is_empty) {
                let look_again = Duration::from_millis(100);
                let _rang_or_not = tokio::time::timeout(look_again, ordered.notified()).await;
            }
            bell.awake();
        }
        collecting.abort();
        listening.abort();
        serving.abort();
        Ok(())
    })
}

/// What asks a process to end: SIGTERM, and SIGINT from a terminal.
fn end_signals() -> io::Result<[tokio::signal::unix::Signal; 2]> {
    use tokio::signal::unix::{SignalKind, signal};
    Ok([signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?])
}

/// The first time, the line drains; the second time, the process ends at once, as after a crash.
async fn ask_to_end([mut terminate, mut interrupt]: [tokio::signal::unix::Signal; 2], drain: Switch) {
    loop {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        if drain.is_on() {
            std::process::exit(EXIT_UNDRAINED);
        }
        drain.turn_on();
    }
}

/// Exit code of a line that was not allowed to drain.
const EXIT_UNDRAINED: i32 = 3;

async fn collect(desk: Rc<Desk>) {
    let mut second = tokio::time::interval(Duration::from_secs(1));
    loop {
        second.tick().await;
        desk.collector.borrow_mut().collect();
    }
}

/// Carries out orders and reports how they ended.
struct Actions {
    outcomes: Sender<Arrival>,
    succeeded: u64,
    failed: u64,
    desk: Rc<Desk>,
    stop: Switch,
}

#[derive(Serialize)]
struct LogLine<'a> {
    action_id: String,
    action: &'a str,
    tenant: &'a str,
    sku: &'a str,
    signal_id: &'a str,
    r#type: &'a str,
    time: u64,
}

impl Actions {
    /// The `log` action: one line of JSON on standard output.
    async fn carry_out(&mut self, order: &Order) {
        let (intent, signal) = (&order.intent, &order.intent.signal);
        crate::fault::point("K13");
        let line = LogLine {
            action_id: intent.action.to_string(),
            action: &intent.name,
            tenant: signal.tenant(),
            sku: signal.sku(),
            signal_id: signal.id(),
            r#type: signal.kind(),
            time: intent.time.0,
        };
        let mut text = serde_json::to_vec(&line).unwrap_or_default();
        text.push(b'\n');
        let result = io::stdout().lock().write_all(&text);
        match result {
            Ok(()) => self.succeeded += 1,
            Err(_) => self.failed += 1,
        }
        crate::fault::point("K14");
        let outcome = Outcome {
            subject: Subject { tenant: signal.tenant().into(), sku: signal.sku().into() },
            action: intent.action,
            result: result.map_err(|error| Failure::asked(error.to_string())),
            maybe_twice: order.maybe_twice,
        };
        let mut arrival = Arrival::Outcome(Box::new(outcome));
        while let Err(Full(back)) = self.outcomes.push(arrival) {
            if self.stop.is_on() {
                return;
            }
            arrival = back;
            self.outcomes.ring();
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    fn done(&mut self, took: u64) {
        if took > 0 {
            self.outcomes.ring();
            let mut collector = self.desk.collector.borrow_mut();
            collector.add(Counter::ActionsSuccessful, std::mem::take(&mut self.succeeded));
            collector.add(Counter::ActionsFailed, std::mem::take(&mut self.failed));
        }
    }
}

/// What the operator plane sees of the line.
struct Desk {
    journal: RefCell<Sender<journal::Query>>,
    shards: Vec<RefCell<Sender<shard::Query>>>,
    reader: Reader,
    followups: Followups,
    sources: Vec<(Box<str>, Assurance)>,
    collector: Rc<RefCell<Collector>>,
    gauges: Arc<[Gauge]>,
    health: Health,
    states: Vec<[Mark; 6]>,
    restarts: Arc<Mutex<Restarts>>,
}

/// A stage that does not answer an operator by then is busy or gone.
const ANSWER: Duration = Duration::from_secs(5);

async fn answered<T>(answer: oneshot::Receiver<T>) -> Result<T, Unavailable> {
    match tokio::time::timeout(ANSWER, answer).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(_)) | Err(_) => Err(Unavailable),
    }
}

fn ask<Q>(lane: &RefCell<Sender<Q>>, query: Q) -> Result<(), Unavailable> {
    let mut lane = lane.borrow_mut();
    lane.push(query).map_err(|Full(_)| Unavailable)?;
    lane.ring();
    Ok(())
}

/// What the log knows of one signal.
fn status(reader: &Reader, followups: &Followups, seq: Seq) -> Result<SignalStatus, Unavailable> {
    let mut receipts = Vec::new();
    let mut dead = false;
    let later = followups.of(seq).map_err(|_| Unavailable)?;
    for event in std::iter::once(seq).chain(later) {
        for found in reader.receipts_of(event).map_err(|_| Unavailable)? {
            let fields = found.stored.fields();
            if fields.signal_seq == Some(seq) {
                dead |= fields.kind == ReceiptType::DeadletterSignal;
                receipts.push(found.id.to_string());
            }
        }
    }
    let status = match (receipts.is_empty(), dead) {
        (true, _) => "accepted",
        (false, true) => "dead_lettered",
        (false, false) => "decided",
    };
    Ok(SignalStatus { status, seq: seq.0, receipts })
}

impl Line for Desk {
    fn signal(&self, tenant: &str, id: &str) -> Reply<Option<SignalStatus>> {
        let (send, answer) = oneshot::channel();
        let identities = self
            .sources
            .iter()
            .map(|(source, assurance)| Fingerprint::new(source, *assurance, tenant, id, b""))
            .collect();
        let asked = ask(&self.journal, journal::Query { identities, answer: send });
        let (reader, followups) = (self.reader.clone(), self.followups.clone());
        Box::pin(async move {
            asked?;
            match answered(answer).await? {
                None => Ok(None),
                Some(seq) => status(&reader, &followups, seq).map(Some),
            }
        })
    }

    fn receipt(&self, id: ReceiptId) -> Reply<Option<Vec<u8>>> {
        let found =
            self.reader.receipt(id).map(|found| found.map(|found| found.json)).map_err(|_| Unavailable);
        Box::pin(std::future::ready(found))
    }

    fn governor(&self, subject: Subject) -> Reply<Option<GovernorView>> {
        let (send, answer) = oneshot::channel();
        let shard = shard_of(&subject.tenant, self.shards.len());
        let asked = match self.shards.get(shard) {
            Some(lane) => ask(lane, shard::Query::One { subject, answer: send }),
            None => Err(Unavailable),
        };
        Box::pin(async move {
            asked?;
            answered(answer).await
        })
    }

    fn governors(&self, filter: Filter) -> Reply<Vec<GovernorView>> {
        let page = Page {
            tenant: filter.tenant.map(Into::into),
            after: filter.after.map(|(tenant, sku)| (tenant.into(), sku.into())),
            limit: filter.limit,
        };
        let mut answers = Vec::new();
        for lane in &self.shards {
            let (send, answer) = oneshot::channel();
            answers.push(ask(lane, shard::Query::Many { page: page.clone(), answer: send }).map(|()| answer));
        }
        Box::pin(async move {
            let mut governors = Vec::new();
            for answer in answers {
                governors.extend(answered(answer?).await?);
            }
            governors.sort_unstable_by(|a, b| (&a.tenant, &a.sku).cmp(&(&b.tenant, &b.sku)));
            governors.truncate(page.limit);
            Ok(governors)
        })
    }

    fn health(&self) -> Vec<StageHealth> {
        self.health.stages()
    }

    #[expect(clippy::cast_precision_loss, reason = "a metric is a float")]
    fn metrics(&self) -> String {
        let mut gauges = Gauges::default();
        let mut waiting = 0;
        for (name, depth) in &*self.gauges {
            let depth = depth();
            if name.starts_with("arrivals") || name.starts_with("events") {
                waiting += depth;
            }
            gauges.set("gemba_ring_depth", &[("ring", name.as_str())], depth as f64);
        }
        gauges.set("queue_depth", &[], waiting as f64);
        for state in StateName::ALL {
            let count: u64 = self.states.iter().map(|states| states[state as usize].read()).sum();
            gauges.set("gemba_governors", &[("state", state.as_str())], count as f64);
        }
        gauges.set("system_status", &[], self.health.status());
        let age = clock::wall().0.saturating_sub(self.health.checkpoint.read()) as f64 / 1000.0;
        gauges.set("gemba_checkpoint_age_seconds", &[], age);
        let restarts = self.restarts.lock().unwrap_or_else(PoisonError::into_inner).total();
        gauges.set("gemba_restarts", &[], restarts as f64);
        for (what, mark) in &self.health.written {
            gauges.set("gemba_disk_written_bytes", &[("file", what)], mark.read() as f64);
        }
        self.collector.borrow().render(&gauges)
    }
}
