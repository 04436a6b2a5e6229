//! The outbound runtime: everything that waits on others. It carries out orders and serves the operator plane; it
//! may stall without stalling the line.

use std::cell::RefCell;
use std::io;
use std::net::TcpListener;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc};

use super::alert_orders::AlertLine as _;
use super::desk::{Desk, Known};
use super::error::ServeError;
use super::live::Telemetry;
use super::tasks::Tasks;
use super::telling::{Telling, Tracing};
use super::wiring::{Gauge, OutboundEnds};
use super::{actions, alerting, callbacks};
use crate::clock;
use crate::ingress::callback::CallbackAsked;
use crate::jidoka::action::{LineMarks, Targets};
use crate::kaizen::{Collector, Heartbeat};
use crate::kanban::journal_clock;
use crate::operator::{self, BoardSessions, Line, Refused, Said, Tokens};
use crate::ring::{Current, Mark, Switch};
use crate::service_manager::ServiceManager;

/// What the operator plane of every role is given.
pub struct Plane {
    pub listener: TcpListener,
    pub tokens: Current<Tokens>,
    pub collector: Collector,
    pub stop: Switch,
    /// What is seen of the journal's clock.
    pub clock: journal_clock::Marks,
    pub telemetry: Current<Telemetry>,
    pub tracing: Tracing,
    pub heartbeat: Heartbeat,
    pub service: ServiceManager,
}

/// What is done beside it.
pub struct Plan {
    /// The system's orders to read the configuration anew.
    pub reload: Arc<Notify>,
    pub ends: OutboundEnds,
    pub targets: Current<Targets>,
    /// How often is looked whether a file of the configuration changed; `None`: never.
    pub watch: Option<Duration>,
    pub known: Known,
    /// What channels call back with.
    pub callbacks: mpsc::Receiver<CallbackAsked>,
    /// Orders that are being carried out.
    pub busy: Mark,
}

/// Carries out orders and serves operators until `stop`.
///
/// # Errors
/// When the runtime cannot be set up, or a task beside it ended.
pub fn run(plane: Plane, plan: Plan) -> Result<(), ServeError> {
    on_runtime(async {
        let OutboundEnds { orders, bell, ordered, outcomes, operators } = plan.ends;
        let Plane { listener, tokens, collector, stop, clock, telemetry, tracing, heartbeat, service } =
            plane;
        let collector = Rc::new(RefCell::new(collector));
        let line = LineMarks {
            time: clock.time.clone(),
            drain: plan.known.health.journal.drain.clone(),
            rules: plan.known.decided.as_ref().map(|decided| Arc::clone(&decided.compiled)),
        };
        let actions = actions::Actions::new(&plan.targets, line, Rc::clone(&collector));
        let (ready, gauges) = (plan.known.health.ready.clone(), Arc::clone(&plan.known.gauges));
        let sessions = plan.known.live.sessions.clone();
        let channels = plan.known.live.channels.clone();
        let desk = Desk::new(plan.known, operators, actions.watches(), Rc::clone(&collector));
        let collecting = (Rc::clone(&collector), heartbeat, gauges);
        let mut tasks = serve(listener, (tokens, sessions), Rc::new(desk.clone()), collecting, &stop)?;
        tasks.start("clock", tell_of_clock(clock));
        tasks.start("looks", end_forgotten_looks(desk.clone()));
        tasks.start("reload", reload_on_order(desk.clone(), ready, (plan.reload, plan.watch), service));
        if let Ok(notices) = desk.notices() {
            tasks.start("causes", alerting::watch(desk.clone(), channels.clone()));
            let telling = alerting::tell(desk.clone(), notices, channels, desk.channel_watches());
            tasks.start("notices", telling);
            tasks.start("callbacks", callbacks::take(desk.clone(), plan.callbacks));
        }
        let telling = Telling::new(tracing, &collector, &desk);
        tasks.start("telemetry", Rc::clone(&telling).tell(telemetry));
        let lanes = actions::Lanes { orders, bell, ordered, outcomes };
        let ended = tasks.beside(actions.run(lanes, plan.busy, stop)).await;
        telling.end().await;
        ended
    })
}

/// How often is looked whether the line is ready.
const LOOK: Duration = Duration::from_millis(50);

fn on_runtime(work: impl Future<Output = Result<(), ServeError>>) -> Result<(), ServeError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build_local(tokio::runtime::LocalOptions::default())
        .map_err(failed)?;
    let ended = runtime.block_on(work);
    // A name that is still being looked up holds nobody up.
    runtime.shutdown_background();
    ended
}

fn failed(source: io::Error) -> ServeError {
    ServeError::Stage { stage: "outbound".into(), source }
}

/// The operator plane, and the merging of what the threads recorded.
fn serve(
    listener: TcpListener,
    access: (Current<Tokens>, BoardSessions),
    line: Rc<dyn Line>,
    (collector, heartbeat, gauges): (Rc<RefCell<Collector>>, Heartbeat, Arc<[Gauge]>),
    stop: &Switch,
) -> Result<Tasks, ServeError> {
    let plane = operator::serve(listener, access, line, stop.clone()).map_err(failed)?;
    let mut tasks = Tasks::new(stop.clone());
    tasks.start("operator", plane);
    tasks.start("collect", collect(collector, heartbeat, gauges));
    Ok(tasks)
}

/// SIGHUP reads the configuration anew, as a daemon's does; so does a file of it that changed, where files are watched. An
/// order that comes before the line is ready waits for it.
async fn reload_on_order(
    desk: Desk,
    ready: Switch,
    (order, watch): (Arc<Notify>, Option<Duration>),
    service: ServiceManager,
) {
    while !ready.is_on() {
        tokio::time::sleep(LOOK).await;
    }
    loop {
        // No token has such a name.
        let actor = tokio::select! {
            () = order.notified() => "SIGHUP",
            () = file_changes(&desk, watch) => "a changed file",
        };
        service.reloading();
        let said = Said { actor: actor.into(), reason: "the configuration is read anew".into() };
        match desk.reload_next(said).await {
            // What holds, and what is refused, is told where that is found.
            Ok(_) | Err(Refused::Invalid(_)) => {}
            Err(
                why @ (Refused::Unavailable
                | Refused::Missing(_)
                | Refused::Forbidden(_)
                | Refused::Conflict(_)
                | Refused::Stale(_)
                | Refused::NotOwned(_)
                | Refused::Wrong(_)),
            ) => tracing::warn!(
                target: "gemba::config",
                actor,
                reason = %why,
                hint = "send SIGHUP again, or use `gemba reload`",
                "the configuration was not read anew"
            ),
        }
        service.ready("takes signals");
    }
}

/// Waits until a file of the configuration is another one.
async fn file_changes(desk: &Desk, watch: Option<Duration>) {
    let Some(watch) = watch else { return std::future::pending().await };
    loop {
        tokio::time::sleep(watch).await;
        if desk.has_changed_files().await {
            return;
        }
    }
}

async fn end_forgotten_looks(desk: Desk) {
    let mut second = tokio::time::interval(Duration::from_secs(1));
    loop {
        second.tick().await;
        desk.end_forgotten_looks();
    }
}

/// Says when the wall clock is not followed any more, and when it is again.
async fn tell_of_clock(seen: journal_clock::Marks) {
    let mut second = tokio::time::interval(Duration::from_secs(1));
    let (mut told, mut known) = (false, 0);
    loop {
        second.tick().await;
        let (doubt, doubts) = (seen.doubt(), seen.doubts());
        match doubt {
            Some(doubt) if !told => {
                tracing::warn!(target: "gemba::kanban", reason = %doubt, "the wall clock is not followed");
            }
            None if told => {
                tracing::info!(target: "gemba::kanban", "the wall clock and the journal's time agree again");
            }
            None if doubts > known => tracing::warn!(
                target: "gemba::kanban",
                "the wall clock was far from the journal's time for a moment"
            ),
            Some(_) | None => {}
        }
        (told, known) = (doubt.is_some(), doubts);
    }
}

/// Merges what the threads recorded, and looks how much waits in the lanes.
async fn collect(collector: Rc<RefCell<Collector>>, mut heartbeat: Heartbeat, gauges: Arc<[Gauge]>) {
    let mut second = tokio::time::interval(Duration::from_secs(1));
    let mut looked = clock::now();
    for ticks in 0u64.. {
        second.tick().await;
        heartbeat.turn(clock::now());
        crate::fault::stumble("collect", ticks);
        let mut collector = collector.borrow_mut();
        collector.collect();
        let now = clock::now();
        for (name, depth) in gauges.iter() {
            collector.lane(name, depth() as u64, now.saturating_duration_since(looked));
        }
        looked = now;
    }
}
