//! Why the broker, or the store of shared state, does not do what it should, for those who look, and logged once when it
//! changes.

use std::sync::{Arc, Mutex, PoisonError};

/// What is wrong now; cheap to clone.
#[derive(Clone, Debug)]
pub struct Trouble {
    of: Peer,
    now: Arc<Mutex<Option<Box<str>>>>,
}

/// Who is in trouble.
#[derive(Clone, Copy, Debug)]
enum Peer {
    Broker,
    SharedState,
}

impl Trouble {
    #[must_use]
    pub fn of_broker() -> Self {
        Self { of: Peer::Broker, now: Arc::default() }
    }

    #[must_use]
    pub fn of_shared_state() -> Self {
        Self { of: Peer::SharedState, now: Arc::default() }
    }

    /// From here on this is wrong, or nothing.
    pub fn tell(&self, trouble: Option<&str>) {
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        if now.as_deref() == trouble {
            return;
        }
        match (self.of, trouble) {
            (Peer::Broker, Some(reason)) => {
                tracing::warn!(target: "gemba::kanban", reason, "the broker cannot be used");
            }
            (Peer::Broker, None) => tracing::info!(target: "gemba::kanban", "the broker is connected"),
            (Peer::SharedState, Some(reason)) => {
                tracing::warn!(target: "gemba::kanban", reason, "the shared state cannot be used");
            }
            (Peer::SharedState, None) => {
                tracing::info!(target: "gemba::kanban", "the shared state can be used");
            }
        }
        *now = trouble.map(Into::into);
    }

    #[must_use]
    pub fn now(&self) -> Option<Box<str>> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
