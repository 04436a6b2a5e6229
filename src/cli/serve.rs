//! `gemba serve`: from the configuration to a running line.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use clap::Args;
use secrecy::{ExposeSecret as _, SecretSlice};

use super::configured::Configured;
use super::output::Failure;
use super::targets::{broker, targets};
use super::{privacy, rules};
use crate::andon::log::LogError;
use crate::config::{
    self, Config, ConfigError, LogFormat, MessageKey, Missing, NodeRole, QueueType, Secrets, TokenRole,
};
use crate::diagnostics;
use crate::disk::{self, Closed, NotPrivate, RealDisk};
use crate::ingress::client_address::TrustedProxies;
use crate::ingress::stage::Source;
use crate::jidoka::store::Retention;
use crate::kanban::broker::mac::Keys;
use crate::kanban::broker::topology::{Kind, Topology};
use crate::kanban::dedup;
use crate::limits::DIAGNOSTICS_LAST;
use crate::line::recovery::RecoveryError;
use crate::line::settings::{DataPlane, Link, LogSeed, ProofKeys, Role, Settings, Sharing};
use crate::line::{self, Addresses, Bounds, Ended, Notice, ServeError, SystemOrders};
use crate::logging::{self, Format};
use crate::net::firestore::{Credentials, Endpoint, Firestore, ServiceAccount, Site};
use crate::operator::{self, Token, Tokens};
use crate::ring::Room;
use crate::signal::{Fixed, Name};
use crate::signature::Keyring;

#[derive(Args, Debug)]
pub struct Serve {
    #[command(flatten)]
    configured: Configured,
    /// Part of the line to run: all, edge or processor
    #[arg(long)]
    role: Option<String>,
}

impl Serve {
    pub fn run(self, orders: &SystemOrders) -> Result<(), Failure> {
        let config = self.configured.load(self.role)?;
        logging::configure(logging::Settings {
            filter: config.logging.filter.clone(),
            format: match config.logging.format {
                LogFormat::Auto => Format::of_stderr(),
                LogFormat::Text => Format::Text,
                LogFormat::Json => Format::Json,
            },
        });
        run(&config, orders).map_err(Failure::logged)
    }
}

fn run(config: &Config, orders: &SystemOrders) -> Result<(), Failure> {
    if config.core_dumps {
        privacy::open_memory();
    }
    keep_private(&config.data_dir)?;
    has_log_key(config)?;
    for (what, path) in config.create_secrets().map_err(Failure::io)? {
        tracing::info!(target: "gemba::config", what, path = %path.display(), "a secret was made");
    }
    let secrets = config.read_secrets(Missing::Refuse)?;
    warn(config, &secrets);
    let settings = settings(config, &secrets)?;
    let tell = |notice: Notice<'_>| match notice {
        Notice::Ready(addresses) => tell_of_start(config, addresses),
        Notice::Restarting { stage, at } => tracing::warn!(
            target: "gemba::line",
            stage,
            seq = at.map(|seq| seq.0),
            "a stage panicked: the line is taken up from the journal"
        ),
        Notice::Parked(seq) => tracing::error!(
            target: "gemba::jidoka",
            seq = seq.0,
            "deciding on an event panicked twice: its signal becomes a dead letter"
        ),
    };
    let ended = line::serve(&settings, orders, tell).map_err(Failure::from)?;
    match (ended, &settings.role) {
        (Ended::WhileStarting, _) => {
            tracing::info!(target: "gemba::line", "ended while starting: nothing was taken, the next start goes on");
        }
        (Ended::Drained, Role::Edge(_)) => {
            tracing::info!(target: "gemba::line", "drained: everything accepted is durable");
        }
        (Ended::Drained, Role::All(_) | Role::Processor(..)) => {
            tracing::info!(target: "gemba::line", "drained: everything accepted is durable, every decision has its receipt");
        }
    }
    diagnostics::flush(DIAGNOSTICS_LAST);
    Ok(())
}

fn tell_of_start(config: &Config, addresses: &Addresses) {
    // A processor's signals come from the broker.
    let queue = config.broker.as_ref().filter(|_| addresses.ingress.is_none());
    tracing::info!(
        target: "gemba::line",
        version = env!("CARGO_PKG_VERSION"),
        name = config.name,
        signals = addresses.ingress.map(|address| format!("http://{address}")),
        queue = queue.map(|broker| broker.queues.name.as_str()),
        operators = format!("http://{}", addresses.admin),
        data_dir = %config.data_dir.display(),
        "the node takes signals"
    );
}

/// A key that is made in place of a lost one would make the log seem damaged.
pub fn has_log_key(config: &Config) -> Result<(), Failure> {
    let log_dir = line::log_dir(&config.data_dir);
    let Some(key) = config.lost_log_key(&log_dir) else { return Ok(()) };
    let what = format!("{} is missing, and {} was signed with it", key.display(), log_dir.display());
    Err(Failure::usage(what).hint(line::LOG_KEY))
}

impl From<ServeError> for Failure {
    fn from(error: ServeError) -> Self {
        let failure = match &error {
            ServeError::Listen(_)
            | ServeError::Signer(_)
            | ServeError::Descriptors(_)
            | ServeError::Clock
            | ServeError::BeginsNow { .. }
            | ServeError::Recovery(RecoveryError::Log(LogError::OtherKey { .. }))
            | ServeError::Odd { .. } => Self::usage(error.to_string()),
            ServeError::TooOften { .. } => Self::check(error.to_string()),
            ServeError::DataDir { .. }
            | ServeError::Role { .. }
            | ServeError::Recovery(_)
            | ServeError::Journal(_)
            | ServeError::Log(_)
            | ServeError::Store(_)
            | ServeError::Publisher(_)
            | ServeError::Sharing(_)
            | ServeError::Shared(_)
            | ServeError::Stage { .. }
            | ServeError::Panicked { .. }
            | ServeError::Ended { .. }
            | ServeError::ToldToEnd
            | ServeError::Illegal(_)
            | ServeError::Histograms => Self::io(&error),
        };
        match error.hint() {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}

/// Makes the data directory where there is none, and closes it to others.
#[expect(clippy::wildcard_enum_match_arm, reason = "the enum is not ours")]
fn keep_private(data_dir: &Path) -> Result<(), Failure> {
    let failed = |error: std::io::Error| match error.kind() {
        ErrorKind::AlreadyExists | ErrorKind::NotADirectory => {
            Failure::usage(format!("{}: `node.data_dir` is not a directory", data_dir.display()))
                .hint("name a directory, or a path at which one can be made")
        }
        _ => Failure::io(format!("{}: {error}", data_dir.display())),
    };
    disk::make_dir(&RealDisk, data_dir).map_err(failed)?;
    for closed in disk::keep_private(data_dir)? {
        match closed {
            Closed::Dir { mode } => tracing::warn!(
                target: "gemba::disk",
                path = %data_dir.display(),
                mode = format!("{mode:04o}"),
                "the data directory was open to others and is closed now"
            ),
            Closed::Below { count, first } => tracing::warn!(
                target: "gemba::disk",
                count,
                first = %first.display(),
                "files and directories were open to others and are closed now"
            ),
        }
    }
    Ok(())
}

impl From<NotPrivate> for Failure {
    fn from(error: NotPrivate) -> Self {
        let failure = match &error {
            NotPrivate::Io { .. } => Self::io(&error),
            NotPrivate::Foreign { .. } | NotPrivate::Open { .. } | NotPrivate::Shared { .. } => {
                Self::usage(error.to_string())
            }
        };
        match error.hint() {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}

/// Says what works and should not stay so.
fn warn(config: &Config, secrets: &Secrets) {
    for warning in config.warnings.iter().chain(&secrets.warnings) {
        let ConfigError { place, what, hint } = warning;
        tracing::warn!(target: "gemba::config", %place, reason = what, hint, "this should not stay so");
    }
}

/// Puts everything into the line's terms.
pub fn settings(config: &Config, secrets: &Secrets) -> Result<Settings, Failure> {
    let cores = line::processors();
    let token = |token: &config::Token| {
        let role = match token.role {
            TokenRole::Viewer => operator::Role::Viewer,
            TokenRole::Operator => operator::Role::Operator,
            TokenRole::Admin => operator::Role::Admin,
        };
        Ok(Token::new(&token.name, role, secrets.get(&token.secret)?.expose_secret()))
    };
    let tokens = config.tokens.iter().map(token).collect::<Result<_, ConfigError>>()?;
    let sources = config
        .sources
        .iter()
        .map(|source| self::source(source, secrets))
        .collect::<Result<_, ConfigError>>()?;
    Ok(Settings {
        name: config.name.clone(),
        role: role(config, secrets)?,
        origin: format!("{}/{}", config.origin, config.name),
        data_dir: config.data_dir.clone(),
        data_plane: DataPlane {
            listen: config.listen,
            threads: if config.ingress_threads == 0 { cores } else { config.ingress_threads },
            idle_seconds: config.connections.idle_seconds,
            connection_seconds: config.connections.age_seconds,
            trusted_proxies: TrustedProxies::new(config.connections.trusted_proxies.clone()),
            sources: Arc::new(sources),
            rate_per_second: config.rate_per_second,
            rate_burst: config.rate_burst,
        },
        admin_listen: config.admin_listen,
        shards: cores.div_ceil(2),
        tokens: Tokens::new(tokens),
        rulebook: Arc::new(rules::rulebook(config)?),
        targets: Arc::new(targets(config, secrets)?),
        dedup: dedup::Settings {
            capacity: config.dedup_signals,
            // At least as long as a signature can be repeated: from one end of its tolerance to the other.
            horizon_millis: (config.sources.iter().map(|source| 2 * millis(source.tolerance)))
                .fold(millis(config.dedup_horizon), u64::max),
        },
        room: Room { bytes: config.waiting_bytes, governors: config.governors.into() },
        bounds: Bounds {
            segment_bytes: config.segment_bytes,
            low_water_bytes: config.low_water_bytes,
            backlog_bytes: config.backlog_bytes,
        },
        retention: Retention { age: config.dead_letter_age, count: config.dead_letter_count.into() },
        sharing: config.firestore.clone().map(sharing).transpose()?,
        configuration: fingerprint(config),
    })
}

/// Two nodes of one version have the same if they are configured alike. Of a secret it knows where it is kept.
fn fingerprint(config: &Config) -> String {
    faster_hex::hex_string(digest(&SHA256, format!("{config:?}").as_bytes()).as_ref())
}

/// Read once now, so that a start says what is wrong with it.
fn sharing(firestore: config::Firestore) -> Result<Sharing, ConfigError> {
    let open = move || {
        let endpoint = match &firestore.credentials {
            config::Credentials::Emulator(host) => Endpoint::Emulator(host.clone()),
            config::Credentials::Machine => Endpoint::google(Credentials::metadata()),
            config::Credentials::KeyFile(file) => {
                let account = ServiceAccount::parse(file.read()?.expose_secret());
                let account = account.map_err(|why| ConfigError::new(&file.place, why.to_string()))?;
                Endpoint::google(Credentials::ServiceAccount(account))
            }
        };
        let config::Firestore { project, database, place, .. } = &firestore;
        let site = Site { project: project.clone(), database: database.clone(), endpoint };
        Firestore::new(site).map_err(|why| ConfigError::new(place, why.to_string()))
    };
    open()?;
    Ok(Sharing(Box::new(open)))
}

/// What the node does, with what, and over which queues.
fn role(config: &Config, secrets: &Secrets) -> Result<Role, ConfigError> {
    let keys = config.proof.as_ref().map(|proof| proof_keys(proof, secrets)).transpose()?;
    let configured = config.broker.as_ref().filter(|_| config.role != NodeRole::All);
    let link = configured.map(|broker| link(broker, secrets)).transpose()?;
    match (config.role, keys, link) {
        (NodeRole::All, Some(keys), _) => Ok(Role::All(keys)),
        (NodeRole::Edge, _, Some(link)) => Ok(Role::Edge(link)),
        (NodeRole::Processor, Some(keys), Some(link)) => Ok(Role::Processor(keys, link)),
        _ => unreachable!("the configuration has what its role needs"),
    }
}

fn proof_keys(proof: &config::Proof, secrets: &Secrets) -> Result<ProofKeys, ConfigError> {
    let seed = secrets.get(&proof.log_key)?;
    let log_seed = LogSeed::from_hex(seed.expose_secret()).ok_or_else(|| {
        ConfigError::new(&proof.log_key.place, "the log's signing key: it is not 32 bytes in hex")
            .hint(proof.log_key.advice())
    })?;
    Ok(ProofKeys { receipt_secret: secrets.get(&proof.receipt_secret)?, log_seed })
}

fn link(configured: &config::Broker, secrets: &Secrets) -> Result<Link, ConfigError> {
    let queues = &configured.queues;
    Ok(Link {
        keys: message_keys(configured, secrets)?,
        broker: broker(configured, secrets)?,
        topology: Topology {
            name: queues.name.clone(),
            partitions: queues.partitions,
            durable: queues.durable,
            kind: match queues.kind {
                QueueType::Quorum => Kind::Quorum { group_size: queues.group_size },
                QueueType::Classic => Kind::Classic,
            },
        },
        consumed: queues.consumed.clone(),
        prefetch: queues.prefetch,
        adopt: queues.adopt,
    })
}

/// What messages are vouched for with. In the `dev` profile, which alone may have no key, it is derived from what both sides
/// have: the broker's password.
fn message_keys(configured: &config::Broker, secrets: &Secrets) -> Result<Keys, ConfigError> {
    let line = &configured.queues.name;
    let named = |key: &MessageKey| {
        let name = Name::read("key", &key.name);
        let name = name.map_err(|illegal| ConfigError::new(&key.secret.place, illegal.to_string()))?;
        Ok::<_, ConfigError>((name, secrets.get(&key.secret)?))
    };
    let read = configured.keys.iter().map(named).collect::<Result<Vec<_>, _>>()?;
    let mut keys = read.iter().map(|(name, secret)| (name.clone(), secret.expose_secret()));
    if let Some(first) = keys.next() {
        return Ok(Keys::new(line, first, keys));
    }
    let password = secrets.get(&configured.password)?;
    Keys::derived(line, password.expose_secret())
        .map_err(|illegal| ConfigError::new(&configured.password.place, illegal.to_string()))
}

fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn source(source: &config::Source, secrets: &Secrets) -> Result<Source, ConfigError> {
    let fixed = Fixed {
        tenant: source.tenant.as_deref().map(Into::into),
        sku: source.sku.as_deref().map(Into::into),
        control: source.control,
        binary: source.binary,
    };
    Ok(Source::new(&source.name, keyring(source, secrets)?, fixed))
}

/// The keys of a source.
pub fn keyring(source: &config::Source, secrets: &Secrets) -> Result<Keyring, ConfigError> {
    let read = |key: &config::SourceKey| Ok((key.name.clone(), secrets.get(&key.secret)?));
    let keys =
        source.keys.iter().map(read).collect::<Result<Vec<(String, SecretSlice<u8>)>, ConfigError>>()?;
    let keys: Vec<(&str, &[u8])> =
        keys.iter().map(|(name, secret)| (name.as_str(), secret.expose_secret())).collect();
    // Each alone first, so that an error names the one that is wrong.
    for (key, named) in source.keys.iter().zip(&keys) {
        Keyring::new(&source.name, source.scheme, &[*named], source.tolerance.as_secs())
            .map_err(|why| key.secret.wrong(why).hint(key.secret.advice()))?;
    }
    let keyring = Keyring::new(&source.name, source.scheme, &keys, source.tolerance.as_secs())
        .map_err(|why| ConfigError::new(&source.place, format!("source `{}`: {why}", source.name)))?;
    Ok(if source.binary { keyring.knowing_bodies() } else { keyring })
}

/// The data directory that a command about a stopped node means.
pub fn data_dir(configured: &Configured, given: Option<PathBuf>) -> Result<PathBuf, Failure> {
    match given {
        Some(dir) => Ok(dir),
        None => Ok(configured.load(None)?.data_dir),
    }
}
