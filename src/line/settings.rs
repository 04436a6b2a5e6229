//! What the line is built from: configuration and secrets, checked.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;

use crate::ingress::stage::Source;
use crate::jidoka::rules::Rules;
use crate::kanban::dedup;
use crate::operator::Tokens;

/// Everything that [`super::serve`] needs.
#[derive(Debug)]
pub struct Settings {
    /// Name of the transparency log.
    pub origin: String,
    pub data_dir: PathBuf,
    pub listen: SocketAddr,
    pub admin_listen: SocketAddr,
    pub ingress_threads: usize,
    pub shards: usize,
    pub tokens: Tokens,
    pub sources: Arc<Vec<Source>>,
    /// Signals per second and tenant, and at once; `None` is no limit.
    pub rate: Option<(NonZeroU32, u32)>,
    pub rules: Rules,
    pub dedup: dedup::Settings,
    pub segment_bytes: u64,
    pub low_water_bytes: u64,
    /// Secret of the receipts' HMAC.
    pub receipt_secret: zeroize::Zeroizing<Vec<u8>>,
    /// Seed of the log's Ed25519 key.
    pub log_seed: zeroize::Zeroizing<Vec<u8>>,
}
