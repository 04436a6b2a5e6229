//! The outbound runtime: everything that waits on others. It carries out orders and serves the operator plane; it
//! may stall without stalling the line.

use std::cell::RefCell;
use std::io;
use std::net::TcpListener;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;

use super::actions;
use super::desk::{Desk, Known};
use super::edge_desk::{self, EdgeDesk};
use super::wiring::OutboundEnds;
use crate::jidoka::action::Targets;
use crate::kaizen::Collector;
use crate::kanban::stage as journal;
use crate::operator::{self, Line, Refused, Said, Tokens, Unavailable};
use crate::ring::{Mark, Sender, Switch};

/// What the operator plane of every role is given.
pub struct Plane {
    pub listener: TcpListener,
    pub tokens: Tokens,
    pub collector: Collector,
    /// Turned on when the system asks the process to end.
    pub drain: Switch,
    pub stop: Switch,
}

/// What is done beside it where something is decided.
pub struct Plan {
    pub ends: OutboundEnds,
    pub targets: Arc<Targets>,
    pub known: Known,
    /// Orders that are being carried out.
    pub busy: Mark,
}

/// Carries out orders and serves operators until `stop`.
///
/// # Errors
/// When the runtime cannot be set up.
pub fn run(plane: Plane, plan: Plan) -> io::Result<()> {
    on_runtime(async {
        let OutboundEnds { orders, bell, ordered, outcomes, operators } = plan.ends;
        let Plane { listener, tokens, collector, drain, stop } = plane;
        let collector = Rc::new(RefCell::new(collector));
        let actions = actions::Actions::new(&plan.targets, Rc::clone(&collector));
        let desk = Desk::new(plan.known, operators, actions.watches(), Rc::clone(&collector));
        let serving = serve(listener, tokens, Rc::new(desk.clone()), collector, drain, &stop)?;
        let reloading = tokio::task::spawn_local(reload_on_hangup(desk, hangups()?));
        let lanes = actions::Lanes { orders, bell, ordered, outcomes };
        actions.run(lanes, plan.busy, stop).await;
        serving.into_iter().chain([reloading]).for_each(|task| task.abort());
        Ok(())
    })
}

/// Serves the operators of an edge until `stop`.
///
/// # Errors
/// When the runtime cannot be set up.
pub fn run_edge(plane: Plane, known: edge_desk::Known, journal: Sender<journal::Query>) -> io::Result<()> {
    on_runtime(async {
        let Plane { listener, tokens, collector, drain, stop } = plane;
        let collector = Rc::new(RefCell::new(collector));
        let desk = EdgeDesk::new(known, journal, Rc::clone(&collector));
        let serving = serve(listener, tokens, Rc::new(desk), collector, drain, &stop)?;
        let mut hangups = hangups()?;
        while !stop.is_on() {
            tokio::select! {
                _ = hangups.recv() => say("an edge has no policy packs to read anew"),
                () = tokio::time::sleep(LOOK) => {}
            }
        }
        for task in serving {
            task.abort();
        }
        Ok(())
    })
}

/// Orders to end are heard within this.
const LOOK: Duration = Duration::from_millis(50);

fn on_runtime(work: impl Future<Output = io::Result<()>>) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build_local(tokio::runtime::LocalOptions::default())?;
    let ended = runtime.block_on(work);
    // A name that is still being looked up holds nobody up.
    runtime.shutdown_background();
    ended
}

/// The operator plane, the system's orders to end, and the merging of what the threads recorded.
fn serve(
    listener: TcpListener,
    tokens: Tokens,
    line: Rc<dyn Line>,
    collector: Rc<RefCell<Collector>>,
    drain: Switch,
    stop: &Switch,
) -> io::Result<Vec<JoinHandle<()>>> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let plane = operator::serve(listener, Rc::new(tokens), line, stop.clone());
    Ok(vec![
        tokio::task::spawn_local(plane),
        tokio::task::spawn_local(ask_to_end(end_signals()?, drain)),
        tokio::task::spawn_local(collect(collector)),
    ])
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

fn hangups() -> io::Result<tokio::signal::unix::Signal> {
    tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup())
}

/// SIGHUP reads the policy packs anew, as a daemon's does its configuration.
async fn reload_on_hangup(desk: Desk, mut hangups: tokio::signal::unix::Signal) {
    while hangups.recv().await.is_some() {
        let said = Said { actor: "SIGHUP".into(), reason: "the packs are read anew".into() };
        match desk.reload(said).await {
            Ok(Ok(None)) => say("the policy packs are as they were"),
            Ok(Ok(Some((ordered, _)))) => say(&format!("new rules hold from event {} on", ordered.seq)),
            Ok(Err(Refused::Wrong(what) | Refused::Conflict(what))) => {
                say(&format!("the rules stay as they were: {what}"));
            }
            Ok(Err(Refused::Missing(what))) => say(what),
            Err(Unavailable) => say("the line does not take new rules now; send the signal again"),
        }
    }
}

fn say(line: &str) {
    anstream::eprintln!("{line}");
}

async fn collect(collector: Rc<RefCell<Collector>>) {
    let mut second = tokio::time::interval(Duration::from_secs(1));
    loop {
        second.tick().await;
        collector.borrow_mut().collect();
    }
}
