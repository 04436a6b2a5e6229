//! Firestore, until it answers: what fails is tried again, and told.

use std::cell::Cell;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::document::Unreadable;
use super::failed::Failed;
use super::marks::Marks;
use crate::limits::SHARE_EVERY;
use crate::net::backoff::Backoff;
use crate::net::firestore::{Document, Firestore, Trouble, Version, Write};
use crate::ring::Switch;

/// When to give up.
#[derive(Clone, Debug)]
pub struct Ending {
    /// The line drains: what does not go well within a while is left.
    pub drain: Switch,
    /// At once.
    pub abandon: Switch,
}

/// Firestore, as the sharer reaches it.
pub struct Reach {
    firestore: Firestore,
    marks: Marks,
    ending: Ending,
    /// Since when the line drains.
    draining: Cell<Option<Instant>>,
}

/// At the end, what does not go well is tried for so long.
const DRAIN: Duration = Duration::from_secs(5);

impl Reach {
    pub fn new(firestore: Firestore, marks: Marks, ending: Ending) -> Self {
        Self { firestore, marks, ending, draining: Cell::new(None) }
    }

    /// Whether everything is to be left as it is.
    pub fn is_abandoned(&self) -> bool {
        self.ending.abandon.is_on()
    }

    /// One write, tried once.
    pub async fn commit(&self, writes: Vec<Write>) -> Result<Vec<Option<Version>>, Trouble> {
        self.firestore.commit(writes).await
    }

    /// Documents that may be large together.
    pub async fn get_all(&self, paths: &[String]) -> Result<Vec<Option<Document>>, Failed> {
        let mut found = Vec::with_capacity(paths.len());
        let mut rest = paths;
        let mut count = rest.len();
        let mut backoff = Backoff::default();
        while !rest.is_empty() {
            let (asked, later) = rest.split_at(count.min(rest.len()));
            let names: Vec<&str> = asked.iter().map(String::as_str).collect();
            match self.firestore.get(&names).await {
                Ok(documents) => {
                    found.extend(documents);
                    rest = later;
                }
                Err(trouble) => {
                    // An answer may be too large.
                    count = (count / 2).max(1);
                    self.bear(trouble, &mut backoff).await?;
                }
            }
        }
        Ok(found)
    }

    /// Documents; asked for until they come.
    pub async fn get(&self, documents: &[&str]) -> Result<Vec<Option<Document>>, Failed> {
        let mut backoff = Backoff::default();
        loop {
            match self.firestore.get(documents).await {
                Ok(documents) => {
                    self.went_well();
                    return Ok(documents);
                }
                Err(trouble) => self.bear(trouble, &mut backoff).await?,
            }
        }
    }

    /// Tells that there is no trouble any more.
    pub fn went_well(&self) {
        self.marks.trouble.tell(None);
    }

    /// Tells of trouble, and waits a while.
    pub async fn bear(&self, trouble: Trouble, backoff: &mut Backoff) -> Result<(), Failed> {
        if trouble != Trouble::Stale {
            self.marks.failed.publish(self.marks.failed.read() + 1);
            self.marks.trouble.tell(Some(&trouble.to_string()));
        }
        backoff.wait(false, || self.ends()).await;
        if self.ends() { Err(Failed::Ending) } else { Ok(()) }
    }

    /// What cannot be read is not gone on with, and told until somebody mends it.
    pub async fn readable<T>(&self, read: Result<T, Unreadable>) -> Result<T, Failed> {
        match read {
            Ok(read) => Ok(read),
            Err(error) => {
                self.marks.trouble.tell(Some(&error.to_string()));
                sleep(SHARE_EVERY).await;
                Err(Failed::Store(error.to_string()))
            }
        }
    }

    /// Whether to give up on what does not go well.
    fn ends(&self) -> bool {
        if self.ending.drain.is_on() && self.draining.get().is_none() {
            self.draining.set(Some(Instant::now()));
        }
        self.ending.abandon.is_on() || self.draining.get().is_some_and(|since| since.elapsed() > DRAIN)
    }
}
