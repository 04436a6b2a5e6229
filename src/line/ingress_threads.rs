//! The threads that take requests: each is restarted alone when it panics; one more accepts for all of them.

use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::mpsc;

use super::error::ServeError;
use super::settings::DataPlane;
use super::supervisor::{Restarts, TooOften};
use super::wiring::IngressEnds;
use crate::clock;
use crate::ingress::acceptor::{Accepted, Acceptor, Thread};
use crate::ingress::callback::{CallbackAsked, CallbackSource};
use crate::ingress::rate::Buckets;
use crate::ingress::stage::{self as ingress, Source};
use crate::kaizen::{Collector, Metric, Readings, Recorder};
use crate::net::listen::listen;
use crate::ring::{Crowd, Current, Mark, Occupancy, Switch};

/// Channels that may call back, and where what they say goes.
pub type Callbacks = (Current<Vec<CallbackSource>>, mpsc::Sender<CallbackAsked>);

/// What one thread starts with.
pub struct Start {
    pub plan: ingress::Plan,
    pub ends: IngressEnds,
    pub accepted: mpsc::Receiver<Accepted>,
    pub recorder: Recorder,
}

/// Listens, and plans one thread for each of `ends` and the one that accepts for them.
pub fn plan(
    (settings, sources, callbacks): (&DataPlane, &Current<Vec<Source>>, &Callbacks),
    address: SocketAddr,
    ends: Vec<IngressEnds>,
    (drain, abandon, crowd, time): (&Switch, &Switch, &Crowd, &Mark),
    connections: &Connections,
    collector: &mut Collector,
) -> Result<(Vec<Start>, Acceptor, SocketAddr), ServeError> {
    let listener = listen(address, "ingress.listen")?;
    let in_listener = |source| ServeError::Stage { stage: "ingress".into(), source };
    let address = listener.local_addr().map_err(in_listener)?;
    let buckets = Buckets::new(settings.rate_per_second, settings.rate_burst);
    let threads = ends.len();
    let (mut starts, mut ways) = (Vec::new(), Vec::new());
    for (ends, open) in ends.into_iter().zip(&connections.open) {
        let (way, accepted) = Thread::new(open.clone());
        ways.push(way);
        let plan = ingress::Plan {
            connections_max: connections.max,
            sources: sources.clone(),
            callbacks: callbacks.clone(),
            buckets: Arc::clone(&buckets),
            crowd: crowd.clone(),
            time: time.clone(),
            threads,
            idle_seconds: settings.idle_seconds,
            connection_seconds: settings.connection_seconds,
            trusted_proxies: settings.trusted_proxies.clone(),
            drain: drain.clone(),
            abandon: abandon.clone(),
        };
        starts.push(Start {
            plan,
            ends,
            accepted,
            recorder: collector.recorder().ok_or(ServeError::Histograms)?,
        });
    }
    let acceptor = Acceptor {
        listener,
        threads: ways,
        seats: (connections.max / threads) as u64,
        drain: drain.clone(),
        abandon: abandon.clone(),
    };
    Ok((starts, acceptor, address))
}

/// Connections of the data plane.
#[derive(Clone, Debug)]
pub struct Connections {
    /// By ingress thread.
    pub open: Vec<Occupancy>,
    /// That all threads together may hold.
    pub max: usize,
}

impl Connections {
    #[must_use]
    pub fn new(threads: usize, max: usize) -> Self {
        Self { open: (0..threads).map(|_| Occupancy::new()).collect(), max }
    }

    pub fn read(&self, readings: &mut Readings) {
        let open: u64 = self.open.iter().map(Occupancy::count).sum();
        readings.count(Metric::Connections, &[], open);
        readings.count(Metric::ConnectionsMax, &[], self.max as u64);
    }
}

/// Runs one ingress thread, again and again if it panics and that is allowed.
pub fn run(
    plan: &ingress::Plan,
    ends: &Rc<ingress::Ends>,
    stage: &str,
    restarts: &Mutex<Restarts>,
) -> Result<(), ServeError> {
    loop {
        match catch_unwind(AssertUnwindSafe(|| ingress::run(plan, ends))) {
            Ok(ended) => return ended.map_err(|source| ServeError::Stage { stage: stage.into(), source }),
            Err(_panic) => {
                let allowed = restarts.lock().unwrap_or_else(PoisonError::into_inner).allow(clock::now());
                allowed.map_err(|TooOften| ServeError::TooOften { stage: stage.into() })?;
                tracing::warn!(target: "gemba::ingress", stage, "an ingress thread panicked: it starts again alone");
            }
        }
    }
}
