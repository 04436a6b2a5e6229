//! What the line is built from: configuration and secrets, checked.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use secrecy::{ExposeSecret as _, SecretBox, SecretSlice};

use crate::ingress::stage::Source;
use crate::jidoka::action::Targets;
use crate::jidoka::rules::RulesSource;
use crate::kanban::dedup;
use crate::operator::Tokens;
use crate::place::ConfigError;

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
    /// Signals per second and tenant.
    pub rate_per_second: NonZeroU32,
    /// Signals of one tenant at once.
    pub rate_burst: u32,
    pub rulebook: Arc<Rulebook>,
    /// Where actions go.
    pub targets: Arc<Targets>,
    pub dedup: dedup::Settings,
    pub segment_bytes: u64,
    pub low_water_bytes: u64,
    /// Secret of the receipts' HMAC.
    pub receipt_secret: SecretSlice<u8>,
    pub log_seed: LogSeed,
}

/// The configured rules, and how to read them anew.
pub struct Rulebook {
    read: Box<Reread>,
    /// As they were read last, without error.
    configured: Mutex<RulesSource>,
}

type Reread = dyn Fn() -> Result<RulesSource, ConfigError> + Send + Sync;

impl Rulebook {
    #[must_use]
    pub fn new(configured: RulesSource, read: Box<Reread>) -> Self {
        Self { read, configured: Mutex::new(configured) }
    }

    /// What holds where the journal says nothing else.
    #[must_use]
    pub fn configured(&self) -> RulesSource {
        self.configured.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads the files again, and checks what they say. What was configured stays so on an error.
    ///
    /// # Errors
    /// The first thing that is wrong, with its place.
    pub fn reread(&self) -> Result<RulesSource, ConfigError> {
        let source = (self.read)()?;
        source.clone().compile()?;
        *self.configured.lock().unwrap_or_else(PoisonError::into_inner) = source.clone();
        Ok(source)
    }
}

impl std::fmt::Debug for Rulebook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rulebook").finish_non_exhaustive()
    }
}

/// Seed of the log's Ed25519 key: 32 bytes.
#[derive(Debug)]
pub struct LogSeed(SecretBox<[u8; 32]>);

impl LogSeed {
    /// From 64 hex digits.
    #[must_use]
    pub fn from_hex(hex: &[u8]) -> Option<Self> {
        let mut seed = Box::new([0; 32]);
        faster_hex::hex_decode(hex, &mut *seed).ok()?;
        Some(Self(SecretBox::new(seed)))
    }

    #[must_use]
    pub fn expose(&self) -> &[u8; 32] {
        self.0.expose_secret()
    }
}
