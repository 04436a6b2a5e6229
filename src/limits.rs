//! Every bound of the program, with its reason. What a user must choose is in the configuration instead.

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
