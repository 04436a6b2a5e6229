//! The threads that take requests: one listener each, restarted alone when one panics.

use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};

use super::serve::ServeError;
use super::settings::Settings;
use super::supervisor::{Restarts, TooOften};
use super::wiring::IngressEnds;
use crate::clock;
use crate::ingress::rate::Buckets;
use crate::ingress::stage as ingress;
use crate::kaizen::Recorder;
use crate::net::listen::listen;
use crate::ring::{Crowd, Switch};

/// What one thread starts with.
pub type Start = (ingress::Plan, IngressEnds, Recorder);

/// Listens, and plans one thread for each of `ends`; all on one port.
pub fn plan(
    settings: &Settings,
    mut address: SocketAddr,
    ends: Vec<IngressEnds>,
    (drain, abandon, crowd): (&Switch, &Switch, &Crowd),
    recorder: &mut impl FnMut() -> Result<Recorder, ServeError>,
) -> Result<(Vec<Start>, SocketAddr), ServeError> {
    let buckets = Buckets::new(settings.rate_per_second, settings.rate_burst);
    let threads = ends.len();
    let mut plans = Vec::new();
    for ends in ends {
        // Port 0 is any free one: the same for all threads.
        let listener = listen(address, true, "ingress.listen")?;
        let in_listener = |source| ServeError::Stage { stage: "ingress".into(), source };
        address = listener.local_addr().map_err(in_listener)?;
        let plan = ingress::Plan {
            listener,
            sources: Arc::clone(&settings.sources),
            buckets: Arc::clone(&buckets),
            crowd: crowd.clone(),
            threads,
            idle_seconds: settings.idle_seconds,
            connection_seconds: settings.connection_seconds,
            trusted_proxies: settings.trusted_proxies.clone(),
            drain: drain.clone(),
            abandon: abandon.clone(),
        };
        plans.push((plan, ends, recorder()?));
    }
    Ok((plans, address))
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
            }
        }
    }
}
