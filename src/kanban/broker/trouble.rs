//! Why the broker, or the store of shared state, does not do what it should, for those who look, and said aloud once when
//! it changes.

use std::sync::{Arc, Mutex, PoisonError};

/// What is wrong now; cheap to clone.
#[derive(Clone, Debug)]
pub struct Trouble {
    /// What the end of a trouble says.
    over: &'static str,
    now: Arc<Mutex<Option<Box<str>>>>,
    say: fn(&str),
}

impl Trouble {
    #[must_use]
    pub fn of_broker(say: fn(&str)) -> Self {
        Self { over: "the broker is connected", now: Arc::default(), say }
    }

    #[must_use]
    pub fn of_shared_state(say: fn(&str)) -> Self {
        Self { over: "Firestore answers again", now: Arc::default(), say }
    }

    /// From here on this is wrong, or nothing.
    pub fn tell(&self, trouble: Option<&str>) {
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        if now.as_deref() == trouble {
            return;
        }
        match trouble {
            Some(what) => (self.say)(what),
            None => (self.say)(self.over),
        }
        *now = trouble.map(Into::into);
    }

    /// Says what happened once.
    pub fn note(&self, what: &str) {
        (self.say)(what);
    }

    #[must_use]
    pub fn now(&self) -> Option<Box<str>> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
