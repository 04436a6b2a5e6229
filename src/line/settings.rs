//! What the line is built from: configuration and secrets, checked.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretBox, SecretSlice};

use super::live::{Configuration, Live};
use crate::andon::audit::AuditPlan;
use crate::descriptors;
use crate::ingress::client_address::TrustedProxies;
use crate::jidoka::store::Retention;
use crate::kanban::broker::mac::Keys;
use crate::kanban::broker::topology::Topology;
use crate::kanban::dedup;
use crate::net::amqp::Broker;
use crate::net::firestore::Firestore;
use crate::place::ConfigError;
use crate::ring::{Current, Room};
use crate::view::PeerView;

/// How much the journal may take.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    pub segment_bytes: u64,
    /// Below this much free space, signals are refused.
    pub low_water_bytes: u64,
    /// Beyond this much that is kept, signals are refused.
    pub backlog_bytes: Option<u64>,
}

/// How signals are taken over HTTP.
#[derive(Debug)]
pub struct DataPlane {
    pub listen: SocketAddr,
    pub threads: usize,
    /// How long a connection may be without a request, and how long it lives, in seconds.
    pub idle_seconds: u32,
    pub connection_seconds: u32,
    /// Who is believed about its clients' addresses.
    pub trusted_proxies: TrustedProxies,
    /// Signals per second and tenant.
    pub rate_per_second: NonZeroU32,
    /// Signals of one tenant at once.
    pub rate_burst: u32,
}

/// How operators are served.
#[derive(Debug)]
pub struct AdminPlane {
    pub listen: SocketAddr,
    /// Whom they may ask for what this node does not know.
    pub peers: Arc<[PeerView]>,
}

/// Everything that [`super::serve`] needs.
#[derive(Debug)]
pub struct Settings {
    pub name: String,
    pub role: Role,
    /// Name of the transparency log.
    pub origin: String,
    pub data_dir: PathBuf,
    pub data_plane: DataPlane,
    pub shards: usize,
    pub admin: AdminPlane,
    pub live: Live,
    /// How often is looked whether a file of the configuration changed; `None`: never.
    pub watch: Option<Duration>,
    /// What the parts of it were made of, and how it is read anew.
    pub configuration: Arc<dyn Configuration>,
    pub dedup: dedup::Settings,
    pub bounds: Bounds,
    /// Memory that tenants share.
    pub room: Room,
    /// How long closed dead letters are kept.
    pub retention: Retention,
    /// Where processors share their state.
    pub sharing: Option<Sharing>,
}

impl Settings {
    /// What a data directory of this node holds: neither another role nor another way to keep the state goes on with it.
    #[must_use]
    pub fn leaves(&self) -> &'static str {
        match (&self.role, &self.sharing) {
            (Role::Processor(..), Some(_)) => "processor with shared state",
            (role, _) => role.as_str(),
        }
    }

    /// Threads that take requests.
    #[must_use]
    pub fn http_threads(&self) -> usize {
        match self.role {
            Role::All(_) | Role::Edge(_) => self.data_plane.threads,
            Role::Processor(..) => 0,
        }
    }

    /// How many partitions there are, where their state is shared.
    #[must_use]
    pub fn shared_partitions(&self) -> Option<u16> {
        match (&self.role, &self.sharing) {
            (Role::Processor(_, link), Some(_)) => Some(link.topology.partitions),
            (Role::All(_) | Role::Edge(_) | Role::Processor(..), _) => None,
        }
    }

    /// Shards that decide here.
    #[must_use]
    pub fn deciding_shards(&self) -> usize {
        match self.role {
            Role::All(_) | Role::Processor(..) => self.shards,
            Role::Edge(_) => 0,
        }
    }

    /// Whether no other node decides on signals of the same sources.
    #[must_use]
    pub fn has_all_of_sources(&self) -> bool {
        match &self.role {
            Role::All(_) | Role::Edge(_) => true,
            Role::Processor(_, link) => {
                self.sharing.is_none() && link.consumed.len() == usize::from(link.topology.partitions)
            }
        }
    }

    /// What the node needs file descriptors for.
    #[must_use]
    pub fn needs(&self) -> descriptors::Needs {
        let (ingress_threads, targets) = (self.http_threads(), self.live.targets.get());
        descriptors::Needs {
            inherited: descriptors::open_now(),
            // Signals, operators with actions, and the broker.
            runtimes: ingress_threads + 3,
            targets: targets.remote(),
            ingress_threads,
            broker: targets.broker.is_some() || !matches!(self.role, Role::All(_)),
            shared_state: self.sharing.is_some(),
        }
    }
}

/// Which part of the line this node runs.
#[derive(Debug)]
pub enum Role {
    /// All of it; there is no broker.
    All(ProofKeys),
    /// Up to the journal; what is accepted goes to the broker.
    Edge(Link),
    /// From the journal on; what is decided comes from the broker.
    Processor(ProofKeys, Link),
}

/// What receipts and log are signed with, and where receipts are written beside the log.
#[derive(Debug)]
pub struct ProofKeys {
    /// Secret of the receipts' HMAC.
    pub receipt_secret: SecretSlice<u8>,
    pub log_seed: LogSeed,
    /// Files that have the receipts.
    pub audit: Vec<AuditPlan>,
}

impl Role {
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::All(_) => "all",
            Self::Edge(_) => "edge",
            Self::Processor(..) => "processor",
        }
    }
}

/// The broker between edges and processors.
#[derive(Clone, Debug)]
pub struct Link {
    pub broker: Broker,
    pub topology: Topology,
    /// What messages are vouched for with.
    pub keys: Current<Keys>,
    /// Partitions that a processor takes from.
    pub consumed: Vec<u16>,
    pub prefetch: u16,
    /// A processor goes on where another one decided before.
    pub adopt: bool,
}

/// How the shared state is reached, anew at each start of the line: a connection belongs to one.
pub struct Sharing(pub Box<Open>);

type Open = dyn Fn() -> Result<Firestore, ConfigError> + Send + Sync;

impl Sharing {
    /// # Errors
    /// When the credentials cannot be read, or no connection could ever be made.
    pub fn open(&self) -> Result<Firestore, ConfigError> {
        (self.0)()
    }
}

impl std::fmt::Debug for Sharing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sharing").finish_non_exhaustive()
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
