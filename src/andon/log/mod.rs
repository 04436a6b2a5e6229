//! The transparency log on disk: frames of receipts in segments, one signed checkpoint and one sync per frame
//! (promise P4). A checkpoint leaves this module only after its frame is synced.
//!
//! Recovery reads the last segment, since each segment begins with the tree's right edge: drops a torn last frame,
//! recomputes the root, compares it with the last signed checkpoint, and refuses to go on where they differ. The last
//! frame may be in the page cache only, after a failed sync or a kill; it is written again before anything builds on it.

mod batch;
mod chain;
mod error;
pub mod frame;
mod index;
mod reader;
mod recent;
mod salts;
mod sealed;
mod search;
pub mod segment;
mod tail;
mod walk;
mod writer;

pub use batch::ReceiptKey;
pub use error::LogError;
pub use reader::{LoggedReceipt, Reader};
pub use sealed::Sealed;
pub use search::SearchPage;
pub use walk::{LogWalk, LoggedBatch};
pub use writer::{Log, SEGMENT_BYTES};
