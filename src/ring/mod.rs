//! How threads hand work to each other: bounded lanes with one producer and one consumer, a bell that wakes a
//! sleeping consumer once per batch, marks that publish a number, values that are replaced, tides that tasks wait for, and the crowd of those who must wait. The only module with atomics.
//!
//! A lane is crossbeam's `ArrayQueue`, so nothing here needs `unsafe` and a stage that panics cannot leave a slot
//! half written: a value is either in the queue or with one of the two ends. Both ends are lent to a stage by the
//! thread that runs it, so a restarted stage finds its work (promise P7).
//!
//! Model-checked with loom in `tests/loom`, which compiles these files with `--cfg loom`.

mod bell;
#[cfg(not(loom))]
mod crowd;
#[cfg(not(loom))]
mod current;
mod lane;
mod mark;
mod sync;
#[cfg(not(loom))]
mod tide;
mod weighed;

pub use bell::{Bell, Idle, Sleeper};
#[cfg(not(loom))]
pub use crowd::{Corner, Crowd, Over, Room, Spent, Used};
#[cfg(not(loom))]
pub use current::{Current, Updates};
pub use lane::{Full, Receiver, Sender, lane};
pub use mark::{Mark, Occupancy, Seat, Switch};
#[cfg(not(loom))]
pub use tide::Tide;
pub use weighed::{Weigh, WeighedReceiver, WeighedSender, weighed_lane};
