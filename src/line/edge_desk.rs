//! What the operator plane sees of an edge: what it has accepted, and how it does. Whatever is decided is decided
//! elsewhere, so there is nothing to order here.

use std::cell::RefCell;
use std::future::ready;
use std::rc::Rc;
use std::sync::{Arc, Mutex};

use tokio::sync::oneshot;

use super::desk::{answered, send};
use super::health::Health;
use super::settings::Settings;
use super::supervisor::Restarts;
use super::wiring::{Gauge, lanes};
use crate::case::{Case, CaseFilter, CaseId, Found};
use crate::event::{Seq, Subject, Verb};
use crate::kaizen::{Collector, Gauges};
use crate::kanban::stage as journal;
use crate::operator::{Again, Answered, Filter, Line, Refused, Reply, Said, Unavailable};
use crate::receipt::ReceiptId;
use crate::ring::Sender;
use crate::signal::Fingerprint;
use crate::view::{DryRun, GovernorView, NodeStatus, Ordered, RulesView, SignalStatus, StageHealth};

/// What is known of an edge outside its threads.
pub struct Known {
    sources: Vec<Box<str>>,
    depths: Arc<[Gauge]>,
    health: Health,
    restarts: Arc<Mutex<Restarts>>,
}

impl Known {
    #[must_use]
    pub fn new(
        settings: &Settings,
        depths: &Arc<[Gauge]>,
        health: &Health,
        restarts: &Arc<Mutex<Restarts>>,
    ) -> Self {
        Self {
            sources: settings.source_names(),
            depths: Arc::clone(depths),
            health: health.clone(),
            restarts: Arc::clone(restarts),
        }
    }
}

/// The desk of an edge.
pub struct EdgeDesk {
    known: Known,
    journal: Rc<RefCell<Sender<journal::Query>>>,
    collector: Rc<RefCell<Collector>>,
}

impl EdgeDesk {
    #[must_use]
    pub fn new(known: Known, journal: Sender<journal::Query>, collector: Rc<RefCell<Collector>>) -> Self {
        Self { known, journal: Rc::new(RefCell::new(journal)), collector }
    }
}

const ELSEWHERE: &str = "this node is an edge: ask the processor of this tenant";

fn elsewhere<T: 'static>() -> Answered<T> {
    Box::pin(ready(Ok(Err(Refused::Missing(ELSEWHERE)))))
}

fn nothing<T: 'static>(nothing: T) -> Reply<T> {
    Box::pin(ready(Ok(nothing)))
}

impl Line for EdgeDesk {
    fn signal(&self, tenant: &str, id: &str) -> Reply<Option<SignalStatus>> {
        let sources = &self.known.sources;
        let identities = sources.iter().map(|source| Fingerprint::of_id(source, tenant, id)).collect();
        let journal = Rc::clone(&self.journal);
        Box::pin(async move {
            let (tell, answer) = oneshot::channel();
            send(&journal, journal::Query { identities, answer: tell })?;
            let seq = answered(answer).await?;
            Ok(seq.map(|seq| SignalStatus { status: "accepted", seq: seq.0, receipts: Vec::new() }))
        })
    }

    fn receipt(&self, _: ReceiptId) -> Reply<Option<Vec<u8>>> {
        nothing(None)
    }

    fn governor(&self, _: Subject) -> Reply<Option<GovernorView>> {
        nothing(None)
    }

    fn governors(&self, _: Filter) -> Reply<Vec<GovernorView>> {
        nothing(Vec::new())
    }

    fn command(&self, _: Subject, _: Verb, _: Said) -> Answered<(Ordered, GovernorView)> {
        elsewhere()
    }

    fn dead_letters(&self, _: CaseFilter, _: Seq, _: usize) -> Reply<Found> {
        nothing(Found { count: Some(0), ..Found::default() })
    }

    fn dead_letter(&self, _: CaseId) -> Reply<Option<(Case, bytes::Bytes)>> {
        nothing(None)
    }

    fn dry_run(&self, _: CaseId) -> Answered<DryRun> {
        elsewhere()
    }

    fn replay(&self, _: CaseId, _: Said, _: Again) -> Answered<Ordered> {
        elsewhere()
    }

    fn discard(&self, _: CaseId, _: Said) -> Answered<Ordered> {
        elsewhere()
    }

    fn rules(&self) -> Reply<RulesView> {
        Box::pin(ready(Err(Unavailable)))
    }

    fn reload(&self, _: Said) -> Answered<Option<(Ordered, RulesView)>> {
        elsewhere()
    }

    fn status(&self) -> NodeStatus {
        self.known.health.node()
    }

    fn health(&self) -> Vec<StageHealth> {
        self.known.health.stages()
    }

    fn metrics(&self) -> String {
        let mut gauges = Gauges::default();
        lanes(&self.known.depths, &self.known.restarts, &mut gauges);
        self.known.health.gauges(&mut gauges);
        self.collector.borrow().render(&gauges)
    }
}
