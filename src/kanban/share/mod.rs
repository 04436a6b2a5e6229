//! What processors share in Firestore (`state.store = "firestore"`), so that any of them may go on with a partition where
//! another one ended, without a lost, doubled or reordered decision.
//!
//! Every partition has one document that says who decides on it, and through which signals it is decided: its head. All that
//! is written of the partition is written together with its head, and only if the head is as this node left it. Who takes
//! the partition writes the head first; from then on whatever the one before still tries is refused as a whole. So there is
//! one fence for any number of governors, whose documents nobody needs to presume anything of.
//!
//! `document` says what is in the documents, `waits` where the signals stand that wait, `round` what one write consists
//! of; all three are pure. `holding` is what is known of a partition that is held. `sharer` goes round, `take` and `write` are its two ways over `reach` to Firestore and back, `port`
//! is its way into the journal.

pub mod document;
mod holding;
mod marks;
mod port;
mod reach;
mod round;
mod sharer;
mod take;
#[cfg(test)]
mod tests;
mod waits;
mod write;

pub use marks::Marks;
pub use port::Lanes;
pub use reach::Ending;
pub use sharer::{Ask, Check, Failed, Sharer};
