//! `gemba serve`: from the configuration to a running line.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;

use super::configured::Configured;
use super::output::Failure;
use super::parts::parts;
use super::reloader::Reloader;
use super::roles::{role, sharing};
use super::telemetry::{self, Destinations};
use super::{audit_files, privacy};
use crate::andon::log::LogError;
use crate::config::{Config, ConfigError, Missing, PeerNode, Secrets};
use crate::disk::{self, Closed, NotPrivate, RealDisk};
use crate::ingress::client_address::TrustedProxies;
use crate::jidoka::store::Retention;
use crate::kanban::dedup;
use crate::limits::DIAGNOSTICS_LAST;
use crate::line::live::{Configuration, Live};
use crate::line::recovery::RecoveryError;
use crate::line::settings::{AdminPlane, DataPlane, Role, Settings};
use crate::line::{self, Addresses, Bounds, Ended, Notice, ServeError, SystemOrders};
use crate::logging;
use crate::ring::Room;
use crate::view::PeerView;

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
        let config = self.configured.load(self.role.clone())?;
        logging::configure(telemetry::log_settings(&config));
        let mut destinations = Destinations::new();
        telemetry::log_files(&config, &|_: &str| None, &mut destinations)?;
        logging::send_to(destinations.values().cloned().collect());
        telemetry::syslog_receiver(&config, &|_: &str| None, &mut destinations)?;
        logging::send_to(destinations.values().cloned().collect());
        audit_files::look_at(&config.logging.files, config.role)?;
        self.run_with(&config, destinations, orders).map_err(Failure::logged)
    }

    fn run_with(
        self,
        config: &Config,
        destinations: Destinations,
        orders: &SystemOrders,
    ) -> Result<(), Failure> {
        let secrets = read_secrets(config)?;
        let parts = parts(config, &secrets)?;
        let reloader =
            Reloader::new(self.configured, self.role, (config.clone(), secrets.clone()), parts, destinations);
        let reloader = Arc::new(reloader);
        let settings = settings(config, &secrets, reloader.live().clone(), reloader)?;
        run(config, &settings, orders)
    }
}

/// Makes the secrets that are missing, where they may be made, and reads all.
fn read_secrets(config: &Config) -> Result<Secrets, Failure> {
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
    Ok(secrets)
}

fn run(config: &Config, settings: &Settings, orders: &SystemOrders) -> Result<(), Failure> {
    let tell = |notice: Notice<'_>| match notice {
        Notice::Ready(addresses) => {
            tell_of_start(config, addresses);
            orders.service.ready("takes signals");
        }
        Notice::Restarting { stage, at } => {
            tracing::warn!(
                target: "gemba::line",
                stage,
                seq = at.map(|seq| seq.0),
                "a stage panicked: the line is taken up from the journal"
            );
            orders.service.status(&format!("{stage} panicked: the line is taken up from the journal"));
        }
        Notice::Parked(seq) => tracing::error!(
            target: "gemba::jidoka",
            seq = seq.0,
            "deciding on an event panicked twice: its signal becomes a dead letter"
        ),
    };
    let ended = line::serve(settings, orders, tell).map_err(Failure::from)?;
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
    logging::flush(DIAGNOSTICS_LAST);
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
            | ServeError::Audit(_)
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
fn settings(
    config: &Config,
    secrets: &Secrets,
    live: Live,
    configuration: Arc<dyn Configuration>,
) -> Result<Settings, ConfigError> {
    let cores = line::processors();
    let peer =
        |PeerNode { name, url }: &PeerNode| PeerView { name: name.as_str().into(), url: url.as_str().into() };
    Ok(Settings {
        name: config.name.clone(),
        role: role(config, secrets, &live)?,
        origin: format!("{}/{}", config.origin, config.name),
        data_dir: config.data_dir.clone(),
        data_plane: DataPlane {
            listen: config.listen,
            threads: if config.ingress_threads == 0 { cores } else { config.ingress_threads },
            idle_seconds: config.connections.idle_seconds,
            connection_seconds: config.connections.age_seconds,
            trusted_proxies: TrustedProxies::new(config.connections.trusted_proxies.clone()),
            rate_per_second: config.rate_per_second,
            rate_burst: config.rate_burst,
        },
        admin: AdminPlane { listen: config.admin_listen, peers: config.peers.iter().map(peer).collect() },
        live,
        watch: config.watch,
        configuration,
        shards: cores.div_ceil(2),
        dedup: dedup::Settings {
            capacity: config.dedup_signals,
            horizon_millis: config.identities_kept_for().as_millis().try_into().unwrap_or(u64::MAX),
        },
        room: Room { bytes: config.waiting_bytes, governors: config.governors.into() },
        bounds: Bounds {
            segment_bytes: config.segment_bytes,
            low_water_bytes: config.low_water_bytes,
            backlog_bytes: config.backlog_bytes,
        },
        retention: Retention { age: config.dead_letter_age, count: config.dead_letter_count.into() },
        sharing: config.firestore.clone().map(sharing).transpose()?,
    })
}

/// The data directory that a command about a stopped node means.
pub fn data_dir(configured: &Configured, given: Option<PathBuf>) -> Result<PathBuf, Failure> {
    match given {
        Some(dir) => Ok(dir),
        None => Ok(configured.load(None)?.data_dir),
    }
}
