//! The configuration: flags over environment over file over defaults, each value checked where it was written.
//!
//! Every layer is read alone into `layer::Layer`; the value of a key is that of the first layer which sets it.
//! A wrong key or value stops the start with its place and what would be right. Secrets are named here and read in
//! [`secret`].

mod access;
mod actions;
mod broker;
mod environment;
pub mod file;
mod ingress;
mod layer;
mod layers;
mod logging;
pub mod secret;
mod secrets;
mod state;
#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::Spanned;

use crate::limits::CONFIG_BYTES_MAX;
use crate::place::{self, Text};
pub use crate::place::{ConfigError, Place};
use crate::signature::Scheme;
pub use actions::{Action, ActionKind, Webhook};
pub use broker::{Broker, MessageKey, Queues, Tls};
pub use ingress::Connections;
pub use layer::{Entitled, LogFormat, NodeRole, Profile, QueueType, TokenRole};
use layer::{FilePath, Layer};
use layers::Layers;
pub use logging::Logging;
use secret::{Kept, SecretRef};
pub use secrets::{Missing, Secrets};
pub use state::{Credentials, Firestore};

/// What applies when no file is named.
pub const BUILT_IN: &str = include_str!("../../config/dev.toml");

/// The packs that the built-in configuration names.
const BUILT_IN_PACKS: [(&str, &str); 4] = [
    ("config/policies/cost_governance.toml", include_str!("../../config/policies/cost_governance.toml")),
    ("config/policies/permission_drift.toml", include_str!("../../config/policies/permission_drift.toml")),
    ("config/policies/change_management.toml", include_str!("../../config/policies/change_management.toml")),
    ("config/policies/compliance_audit.toml", include_str!("../../config/policies/compliance_audit.toml")),
];

/// Values given on the command line.
#[derive(Clone, Debug, Default)]
pub struct Flags {
    pub role: Option<String>,
    pub data_dir: Option<PathBuf>,
}

/// Everything that a node is told, checked; the secrets are only named.
#[derive(Clone, Debug)]
pub struct Config {
    pub name: String,
    pub role: NodeRole,
    pub origin: String,
    pub profile: Profile,
    pub data_dir: PathBuf,
    pub listen: SocketAddr,
    /// 0 is one for each core.
    pub ingress_threads: usize,
    pub connections: Connections,
    pub admin_listen: SocketAddr,
    pub tokens: Vec<Token>,
    pub segment_bytes: u64,
    pub low_water_bytes: u64,
    /// What signals that wait for their decision, or for the outcome of their action, may take of memory.
    pub waiting_bytes: u64,
    /// Governors of the whole node.
    pub governors: u32,
    /// What an edge holds for the broker at most; `None` until the disk is low.
    pub backlog_bytes: Option<u64>,
    pub dedup_signals: usize,
    pub dedup_horizon: Duration,
    /// How long closed dead letters are kept: so long, and so many.
    pub dead_letter_age: Duration,
    pub dead_letter_count: u32,
    pub entitled: Entitled,
    pub rate_per_second: NonZeroU32,
    pub rate_burst: u32,
    pub governor: Governor,
    pub policy: Policy,
    pub actions: Vec<Action>,
    /// Where `amqp` actions are published, and what stands between edges and processors.
    pub broker: Option<Broker>,
    /// Where processors share their state.
    pub firestore: Option<Firestore>,
    pub sources: Vec<Source>,
    /// No file was named, so the packs are built in too.
    pub is_built_in: bool,
    /// What receipts and log are signed with; an edge has neither.
    pub proof: Option<Proof>,
    /// The process' memory, with its keys, may be dumped when it crashes, and read by others of its user.
    pub core_dumps: bool,
    pub logging: Logging,
    /// What sets nothing and was probably meant to.
    pub warnings: Vec<ConfigError>,
}

/// What receipts and log are signed with.
#[derive(Clone, Debug)]
pub struct Proof {
    pub receipt_secret: SecretRef,
    pub log_key: SecretRef,
}

#[derive(Clone, Debug)]
pub struct Token {
    pub name: String,
    pub role: TokenRole,
    pub secret: SecretRef,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Governor {
    pub boot_timeout: Duration,
    pub quota: u32,
    pub quota_window: Duration,
    pub mailbox: usize,
    pub breaker_failures: u32,
    pub breaker_reset: Duration,
}

/// Which packs hold for whom.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    pub packs: Vec<PackFile>,
    /// Tenants that go by packs of their own.
    pub tenants: Vec<(String, Vec<PackFile>)>,
}

/// A policy pack, by its file.
#[derive(Clone, Debug)]
pub struct PackFile {
    pub path: PathBuf,
    pub place: Place,
}

#[derive(Clone, Debug)]
pub struct Source {
    pub name: String,
    pub scheme: Scheme,
    pub keys: Vec<SourceKey>,
    pub tenant: Option<String>,
    pub sku: Option<String>,
    pub tolerance: Duration,
    pub control: bool,
    /// CloudEvents in binary mode are taken; only with a fixed tenant.
    pub binary: bool,
    pub place: Place,
}

#[derive(Clone, Debug)]
pub struct SourceKey {
    pub name: String,
    pub secret: SecretRef,
}

/// Reads the configuration from `file`, or the built-in one, under `variables` and `flags`.
///
/// # Errors
/// The first thing that is wrong, with its place.
pub fn load(
    file: Option<&Path>,
    variables: impl Iterator<Item = (OsString, OsString)>,
    flags: &Flags,
) -> Result<Config, ConfigError> {
    let text = match file {
        None => Text::file("config/dev.toml (built in)", BUILT_IN.to_owned()),
        Some(path) => {
            let shown = path.display().to_string();
            let text = file::streamed_text(path, CONFIG_BYTES_MAX)
                .map_err(|error| ConfigError::new(&Place::named(&shown), error.to_string()))?;
            Text::file(&shown, text)
        }
    };
    let variables: Vec<_> = variables.collect();
    let mut layers = flags.layers()?;
    layers.extend(environment::layers(&variables)?);
    let layer = Layer::read(&text)?;
    layers.push((text, layer));
    let variable = |name: &str| {
        let set = variables.iter().find(|(set, _)| set == name);
        set.map(|(_, value)| value.clone()).filter(|value| !value.is_empty())
    };
    let config = Config { is_built_in: file.is_none(), ..Layers(layers).config(&variable)? };
    let is_named = |name: &str| {
        config.secrets().any(|secret| matches!(&secret.kept, Kept::Variable(kept) if kept == name))
    };
    let warnings = environment::warnings(&variables, is_named);
    Ok(Config { warnings, ..config })
}

impl Flags {
    fn layers(&self) -> Result<Vec<(Text, Layer)>, ConfigError> {
        let mut layers = Vec::new();
        if let Some(role) = &self.role {
            let text = Text::variable("--role", format!("[node]\nrole = {}\n", place::quoted(role)));
            let layer = Layer::read(&text)?;
            layers.push((text, layer));
        }
        // A path need not be UTF-8, which TOML is.
        if let Some(data_dir) = &self.data_dir {
            let mut layer = Layer::default();
            layer.node.data_dir = Some(Spanned::new(0..0, FilePath(data_dir.clone())));
            layers.push((Text::variable("--data-dir", String::new()), layer));
        }
        Ok(layers)
    }
}

impl PackFile {
    /// The pack's text, from its file or, under the built-in configuration, built in where no file of this name is.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn read(&self, is_built_in: bool) -> Result<String, ConfigError> {
        match file::text(&self.path, CONFIG_BYTES_MAX) {
            Ok(text) => Ok(text),
            Err(error) => {
                let own = BUILT_IN_PACKS.iter().find(|(name, _)| is_built_in && Path::new(name) == self.path);
                let what = || format!("the policy pack {} cannot be read: {error}", self.path.display());
                own.map(|(_, text)| (*text).to_owned()).ok_or_else(|| ConfigError::new(&self.place, what()))
            }
        }
    }
}

impl Config {
    /// The log's signing key, where its file is not there and `log_dir` holds a log that was signed with it.
    #[must_use]
    pub fn lost_log_key(&self, log_dir: &Path) -> Option<&Path> {
        let Kept::File(key) = &self.proof.as_ref()?.log_key.kept else { return None };
        let is_segment = |entry: std::fs::DirEntry| entry.path().extension().is_some_and(|end| end == "log");
        let holds_log = || std::fs::read_dir(log_dir).is_ok_and(|dir| dir.flatten().any(is_segment));
        (!key.exists() && holds_log()).then_some(key)
    }

    /// In the dev profile, makes the secrets that are missing; says what and where.
    ///
    /// # Errors
    /// When one cannot be written.
    pub fn create_secrets(&self) -> io::Result<Vec<(String, PathBuf)>> {
        if self.profile != Profile::Dev {
            return Ok(Vec::new());
        }
        let mut created = Vec::new();
        for secret in self.secrets() {
            if let Some(path) = secret.create(&self.data_dir)? {
                created.push((secret.what.clone(), path));
            }
        }
        Ok(created)
    }
}
