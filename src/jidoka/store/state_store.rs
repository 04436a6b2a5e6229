//! What a store of governors does.

use super::cases::Retention;
use super::changes::Changes;
use super::error::StoreError;
use crate::event::{Seq, UnixMillis};
use crate::jidoka::governor::Governor;

/// A place for governors. The embedded store is one; a remote one versions its rows.
pub trait StateStore: Send {
    /// Hands every governor to `visit`. Events up to the watermark it returns need not be replayed; 0 is a new store.
    fn load(&self, visit: &mut dyn FnMut(Governor)) -> Result<Loaded, StoreError>;

    /// Makes `changes` durable, atomically with the watermark: every governor's events up to it are in its row.
    /// After an error the store takes no further commit; open it again.
    fn commit(&mut self, changes: &Changes, watermark: Seq) -> Result<(), StoreError>;

    /// Removes some of the closed dead letters that need not be kept at `now`. Returns whether there may be more of them.
    fn retire(&mut self, retention: Retention, now: UnixMillis) -> Result<bool, StoreError>;
}

/// What a store knows beside its governors.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    pub watermark: Seq,
    /// Entries that the transparency log had when this was committed, all of them durable; 0 in a new store.
    pub log_size: u64,
    /// The rules that hold at the watermark: from which event on, and their text; `None` in a new store, and in one of a version before rules were
    /// journalled.
    pub rules: Option<(Seq, Box<str>)>,
    /// Partitions that the node held at the watermark.
    pub held: Vec<u16>,
    /// Rows of the alerts, by their keys.
    pub alerts: Vec<(String, Vec<u8>)>,
}
