//! Every bound of the program, with its reason. What a user must choose is in the configuration instead.

use std::time::Duration;

/// Longest tenant or SKU name, in bytes (interface contract).
pub const NAME_BYTES_MAX: usize = 64;
/// Longest signal id and type, in bytes (interface contract).
pub const ID_BYTES_MAX: usize = 128;
/// JSON nesting that a signal may have; serde_json alone would stop at 128.
pub const JSON_DEPTH_MAX: usize = 32;
/// JSON values in one signal, so that the twin-key check stays cheap.
pub const JSON_NODES_MAX: usize = 10_000;
/// Keys in one JSON object.
pub const JSON_KEYS_MAX: usize = 1_000;
/// Signals in one batch: one batch is one unit in the journal and in the answer.
pub const BATCH_SIGNALS_MAX: usize = 1_000;
/// Request body in bytes. Standard Webhooks advises under 20 KB; a batch of 1,000 short signals fits.
pub const BODY_BYTES_MAX: usize = 256 * 1024;
/// Bodies that may wait in one governor's mailbox, in bytes: 1,024 signals of 1 KiB, or the four largest.
pub const MAILBOX_BYTES_MAX: usize = 1024 * 1024;
/// An action without an outcome by then counts as failed. Above the 60 s that all tries of an action may take
/// together, so that the executor's own verdict normally comes first.
pub const ACTION_DEADLINE: Duration = Duration::from_secs(90);
/// Timers that one governor may have armed: one of each kind.
pub const TIMERS_PER_GOVERNOR: usize = 4;
/// The state store's block cache. Rows are read at start and otherwise only by operators.
pub const STORE_CACHE_BYTES: u64 = 8 * 1024 * 1024;
/// The state store's own journal, at least 64 MiB by its rules; it is read again at each start.
pub const STORE_JOURNAL_BYTES: u64 = 128 * 1024 * 1024;
/// One keyspace's unsorted writes; there are three keyspaces.
pub const STORE_MEMTABLE_BYTES: u64 = 16 * 1024 * 1024;
/// Later receipts shown for one signal. Usually there is one, a late outcome may make it two.
pub const FOLLOWUPS_MAX: usize = 256;
