//! What processors share in Firestore (`state.store = "firestore"`), so that any of them may go on with a partition where
//! another one ended, without a lost, doubled or reordered decision.
//!
//! Every partition has one document that says who decides on it, and through which signals it is decided: its head. All that
//! is written of the partition is written together with its head, and only if the head is as this node left it. Who takes
//! the partition writes the head first; from then on whatever the one before still tries is refused as a whole. So there is
//! one fence for any number of governors, whose documents nobody needs to presume anything of.
//!
//! `document` says what is in the documents, `waits` where the signals stand that wait, `round` what one write consists of; all
//! three are pure. `holding` is what is known of a partition that is held, `held` are all of them. `reach` is the way to
//! Firestore, until it answers; `lookup` reads over it, and `fenced_store` writes. `port` is the way into the journal. `sharer`
//! joins them and goes round.

pub mod document;
mod failed;
mod fenced_store;
mod held;
mod holding;
mod lookup;
mod marks;
mod port;
mod reach;
mod round;
mod sharer;
#[cfg(test)]
mod tests;
mod waits;

pub use failed::Failed;
pub use marks::Marks;
pub use port::Lanes;
pub use reach::Ending;
pub use sharer::{Ask, Sharer};
