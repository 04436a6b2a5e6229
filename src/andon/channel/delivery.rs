//! How a notice is delivered, whatever the kind of its channel.

use std::collections::BTreeSet;
use std::pin::Pin;

use tokio::time::Instant;

use crate::alert::{Notice, NoticeId};
use crate::net::retry::Miss;

/// A notice on its way, and what of it has been delivered.
#[derive(Clone, Debug, PartialEq)]
pub struct Delivery {
    pub notice: Notice,
    /// Notices that end with it: its own, or those that it was made of.
    pub covers: Vec<NoticeId>,
    done: BTreeSet<Box<str>>,
}

impl Delivery {
    #[must_use]
    pub fn new(notice: Notice) -> Self {
        Self { covers: vec![notice.id.clone()], notice, done: BTreeSet::new() }
    }

    /// One notice instead of several.
    #[must_use]
    pub fn of_several(notice: Notice, covers: Vec<NoticeId>) -> Self {
        Self { notice, covers, done: BTreeSet::new() }
    }

    /// It stands for several notices.
    #[must_use]
    pub fn is_digest(&self) -> bool {
        self.covers.len() > 1
    }

    /// A part, such as a recipient, is not served again by a later try.
    pub fn finish(&mut self, part: &str) {
        self.done.insert(part.into());
    }

    #[must_use]
    pub fn is_finished(&self, part: &str) -> bool {
        self.done.contains(part)
    }
}

/// A notice was delivered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Delivered {
    /// What the next notice of its group needs.
    pub reference: Option<String>,
    /// What counts against the rate of the channel.
    pub calls: u32,
    /// What is paid for.
    pub messages: u32,
}

impl Delivered {
    /// By one call, without a reference.
    #[must_use]
    pub fn once() -> Self {
        Self { reference: None, calls: 1, messages: 1 }
    }
}

/// One try.
pub type Delivering<'a> = Pin<Box<dyn Future<Output = Result<Delivered, Miss>> + 'a>>;

/// How one kind of channel delivers. A try is dropped soon after `until`; what it has marked as finished stays so.
pub trait Deliver {
    fn deliver<'a>(&'a self, delivery: &'a mut Delivery, until: Instant) -> Delivering<'a>;
}
