//! What is told to others while the line runs: traces and samples, each to the receivers that are configured now.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::desk::Desk;
use super::live::Telemetry;
use super::remote_write::{self, RemoteWrite};
use super::traces::{self, Traces};
use crate::kaizen::{Collector, Sampling};
use crate::ring::Current;

/// Which signals are traced, for all who tell of them.
pub struct Tracing {
    pub sampling: Current<Option<Sampling>>,
    journal: u64,
    decides: bool,
}

impl Tracing {
    /// By what is configured at the start: an action that is ordered again leaves before the telemetry task first looks.
    /// `journal` is the journal's id, from which traces are named; signals are decided on here, or not.
    #[must_use]
    pub fn new(journal: u64, decides: bool, telemetry: &Telemetry) -> Self {
        let tracing = Self { sampling: Current::new(Arc::new(None)), journal, decides };
        tracing.follow(telemetry.traces.as_deref());
        tracing
    }

    fn follow(&self, plan: Option<&traces::Plan>) {
        let sampling = plan.map(|plan| plan.sampling(self.journal, self.decides));
        self.sampling.replace(Arc::new(sampling));
    }
}

/// Tells of the line as long as the runtime works.
pub struct Telling {
    tracing: Tracing,
    collector: Rc<RefCell<Collector>>,
    desk: Desk,
    traces: RefCell<Option<Rc<Traces>>>,
    remote_write: RefCell<Option<Rc<RemoteWrite>>>,
}

/// How often is looked whether other receivers are configured.
const LOOK: Duration = Duration::from_millis(100);

/// Work without an end.
type Forever = Pin<Box<dyn Future<Output = ()>>>;

impl Telling {
    #[must_use]
    pub fn new(tracing: Tracing, collector: &Rc<RefCell<Collector>>, desk: &Desk) -> Rc<Self> {
        let (traces, remote_write) = (RefCell::default(), RefCell::default());
        Rc::new(Self { tracing, collector: Rc::clone(collector), desk: desk.clone(), traces, remote_write })
    }

    /// Goes by what is configured, for ever.
    pub async fn tell(self: Rc<Self>, telemetry: Current<Telemetry>) {
        let updates = telemetry.updates();
        let (mut plans, mut tracing, mut writing): (_, Forever, Forever) =
            ((None, None), Box::pin(std::future::pending()), Box::pin(std::future::pending()));
        loop {
            if let Some(changed) = updates.take() {
                let Telemetry { traces, remote_write, configuration: _ } = &*changed;
                if !is_same(plans.0.as_ref(), traces.as_ref()) {
                    drop(tracing);
                    tracing = self.trace_by(traces.as_ref()).await;
                }
                if !is_same(plans.1.as_ref(), remote_write.as_ref()) {
                    drop(writing);
                    writing = self.write_by(remote_write.as_ref()).await;
                }
                plans = (traces.clone(), remote_write.clone());
            }
            tokio::select! {
                () = &mut tracing => return,
                () = &mut writing => return,
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    }

    /// Spans that the receivers of before did not take go to them for a last time.
    async fn trace_by(&self, plan: Option<&Arc<traces::Plan>>) -> Forever {
        self.tracing.follow(plan.map(|plan| &**plan));
        self.end_traces().await;
        let traces = plan.map(Traces::new);
        self.traces.replace(traces.clone());
        let collector = Rc::clone(&self.collector);
        Box::pin(async move {
            match traces {
                Some(traces) => {
                    let ((), ()) = tokio::join!(Rc::clone(&traces).gather(collector), traces.send());
                }
                None => std::future::pending().await,
            }
        })
    }

    async fn write_by(&self, plan: Option<&Arc<remote_write::Plan>>) -> Forever {
        self.end_samples().await;
        let remote_write = plan.map(|plan| {
            let desk = self.desk.clone();
            RemoteWrite::new(plan, Box::new(move |taking| desk.show(taking)))
        });
        self.remote_write.replace(remote_write.clone());
        Box::pin(async move {
            match remote_write {
                Some(remote_write) => {
                    let ((), ()) = tokio::join!(Rc::clone(&remote_write).gather(), remote_write.send());
                }
                None => std::future::pending().await,
            }
        })
    }

    async fn end_traces(&self) {
        let traces = self.traces.take();
        if let Some(traces) = traces {
            traces.end(&self.collector).await;
        }
    }

    async fn end_samples(&self) {
        let remote_write = self.remote_write.take();
        if let Some(remote_write) = remote_write {
            remote_write.end().await;
        }
    }

    /// The last of it, each as long as an end may wait.
    pub async fn end(&self) {
        tokio::join!(self.end_traces(), self.end_samples());
    }
}

fn is_same<T>(one: Option<&Arc<T>>, other: Option<&Arc<T>>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => Arc::ptr_eq(one, other),
        (one, other) => one.is_none() && other.is_none(),
    }
}
