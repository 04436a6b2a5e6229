//! How a notice is delivered, whatever the kind of its channel.

use std::collections::BTreeSet;
use std::pin::Pin;

use tokio::time::Instant;

use super::meter::CallMeter;
use super::text::digest_summary;
use crate::alert::{Notice, NoticeId};
use crate::net::retry::Miss;

/// A notice on its way, and what of it has been delivered.
#[derive(Clone, Debug, PartialEq)]
pub struct Delivery {
    pub notice: Notice,
    /// Notices that end with it: its own, or those that it was made of.
    pub covers: Vec<NoticeId>,
    /// Alerts of each of them: how many fire, and how many are over.
    pub counts: Vec<(u32, u32)>,
    is_digest: bool,
    done: BTreeSet<Box<str>>,
    /// Somebody may have heard it by a try.
    is_maybe_heard: bool,
}

impl Delivery {
    #[must_use]
    pub fn new(notice: Notice) -> Self {
        let (covers, counts) = (vec![notice.id.clone()], vec![(notice.firing, notice.resolved)]);
        Self { covers, counts, notice, is_digest: false, done: BTreeSet::new(), is_maybe_heard: false }
    }

    /// One notice instead of several, of which these parts are done. Of some of it somebody may have heard.
    #[must_use]
    pub fn of_several(
        notice: Notice,
        covers: Vec<NoticeId>,
        counts: Vec<(u32, u32)>,
        done: BTreeSet<Box<str>>,
        is_maybe_heard: bool,
    ) -> Self {
        let mut digest = Self { notice, covers, counts, is_digest: true, done, is_maybe_heard };
        digest.summarize();
        digest
    }

    fn summarize(&mut self) {
        self.notice.summary = digest_summary(&self.notice, self.covers.len()).into();
    }

    /// It was made of several notices.
    #[must_use]
    pub fn is_digest(&self) -> bool {
        self.is_digest
    }

    /// Leaves out notices that it was made of, and gives them.
    pub fn leave_out(&mut self, is_left_out: impl Fn(&NoticeId) -> bool) -> Vec<NoticeId> {
        if !self.covers.iter().any(&is_left_out) {
            return Vec::new();
        }
        let mut left_out = Vec::new();
        let all = std::mem::take(&mut self.covers).into_iter().zip(std::mem::take(&mut self.counts));
        for (id, counts) in all {
            if is_left_out(&id) {
                left_out.push(id);
                self.notice.firing = self.notice.firing.saturating_sub(counts.0);
                self.notice.resolved = self.notice.resolved.saturating_sub(counts.1);
            } else {
                self.covers.push(id);
                self.counts.push(counts);
            }
        }
        if self.is_digest {
            self.summarize();
        }
        left_out
    }

    /// Parts that are done of both.
    #[must_use]
    pub fn done_of_both(&self, other: &Self) -> BTreeSet<Box<str>> {
        self.done.intersection(&other.done).cloned().collect()
    }

    /// The same parts are done of both.
    #[must_use]
    pub fn has_same_done(&self, other: &Self) -> bool {
        self.done == other.done
    }

    /// A part, such as a recipient, was served, and is not again by a later try.
    pub fn finish(&mut self, part: &str) {
        self.pass_over(part);
        self.is_maybe_heard = true;
    }

    /// A part cannot be served, and is not tried again.
    pub fn pass_over(&mut self, part: &str) {
        self.done.insert(part.into());
    }

    /// Some part of it is done, so the channel works for others.
    #[must_use]
    pub fn is_partly_done(&self) -> bool {
        !self.done.is_empty()
    }

    /// A part was missed.
    pub fn missed(&mut self, miss: &Miss) {
        if miss.may_be_taken() {
            self.is_maybe_heard = true;
        }
    }

    /// Somebody may have heard it by a try.
    #[must_use]
    pub fn is_maybe_heard(&self) -> bool {
        self.is_maybe_heard
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
    /// It stands open at the receiver until it is closed.
    pub opens: bool,
}

/// One try.
pub type Delivering<'a> = Pin<Box<dyn Future<Output = Result<Delivered, Miss>> + 'a>>;

/// How one kind of channel delivers. A try is dropped soon after `until`; what it has marked as finished stays so. What it sends is
/// counted before it is sent: a try is one call, and of further ones, and of what is paid for, it tells the meter.
pub trait Deliver {
    fn deliver<'a>(
        &'a self,
        delivery: &'a mut Delivery,
        meter: &'a CallMeter,
        until: Instant,
    ) -> Delivering<'a>;
}
