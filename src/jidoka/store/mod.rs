//! What the governors know, kept so that a restart replays only the journal's end. A segment of the journal is
//! given back only when the store has seen it; from then on the two belong together.
//!
//! A signal that waits is a row of its own: it is written when it comes and removed when it goes, however often its
//! governor changes in between.
//!
//! A commit is atomic: rows, follow-ups and watermark together or not at all. The caller owes one order: a row may
//! be committed only when the receipts of its last event are durable, because a replay skips what a row has
//! already applied.

mod case_edit;
mod case_lists;
mod case_view;
mod cases;
mod certain;
mod changes;
mod embedded;
mod error;
mod join;
mod keeper;
mod state_store;

pub use cases::{Cases, Retention};
pub use certain::make_certain;
pub use changes::{Changes, Commit, Followup, Kept};
pub use embedded::{Embedded, Followups};
pub use error::StoreError;
#[cfg(feature = "inside")]
pub use join::join;
pub use keeper::{Keeper, Port, Retiring};
pub use state_store::{Loaded, StateStore};
