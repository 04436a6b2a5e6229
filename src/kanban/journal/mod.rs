//! The journal: the only truth of a node. Everything else (states, identities, receipts) is derived from it and can
//! be rebuilt. Append-only segments of checksummed frames; one writer; recovery by the tail rule of [`mod@scan`].

pub mod frame;
mod kept;
pub mod lookup;
mod open_frame;
pub mod record;
pub mod repair;
pub mod scan;
pub mod segment;
pub mod tail;
#[cfg(test)]
pub(super) mod tests;
pub mod writer;

pub use scan::{Damage, End, lineage, recover, scan, segments};
pub use segment::{Lineage, Spares};
pub use tail::Tail;
pub use writer::{WriteError, Writer};
