//! The whole configuration: one value of each key, from the strongest layer that sets it.

use std::ffi::OsString;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use super::actions::{Action, ActionKind};
use super::alerts::AlertSettings;
use super::broker::Broker;
use super::channels::Channel;
use super::effective::Effective;
use super::ingress::Connections;
use super::layer::{Backend, Entitled, FilePath, Key, Layer, LogContent, NodeRole, Positive, Profile};
use super::layers::{Layers, Set, name};
use super::logging::{LogFile, Logging};
use super::opentelemetry::OpenTelemetry;
use super::operator::NeedsSecond;
use super::packs::Policy;
use super::peers::PeerNode;
use super::prometheus::Prometheus;
use super::secret::{SecretRef, Written};
use super::sources::{ExpectedSource, Source};
use super::state::Firestore;
use super::tokens::Token;
use crate::place::{ConfigError, Place};
use crate::tapped::TapRules;

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
    /// Other nodes that may be asked.
    pub peers: Vec<PeerNode>,
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
    /// Where people are told of alerts, the built-in one included; none on an edge.
    pub channels: Vec<Channel>,
    /// Who is told of what.
    pub alerts: AlertSettings,
    /// Where `amqp` actions are published, and what stands between edges and processors; see [`Self::broker_in_use`].
    pub broker: Option<Broker>,
    /// Where processors share their state.
    pub firestore: Option<Firestore>,
    pub sources: Vec<Source>,
    /// Sources whose silence is an alert; none on an edge.
    pub expected_sources: Vec<ExpectedSource>,
    /// What receipts and log are signed with; an edge has neither.
    pub proof: Option<Proof>,
    /// The process' memory, with its keys, may be dumped when it crashes, and read by others of its user.
    pub core_dumps: bool,
    pub logging: Logging,
    /// `None`: nothing is traced.
    pub opentelemetry: Option<OpenTelemetry>,
    /// `None`: samples are scraped, not sent.
    pub prometheus: Option<Prometheus>,
    /// What viewers see of signals.
    pub tap: TapRules,
    /// Orders that need two persons.
    pub needs_second: Vec<NeedsSecond>,
    /// How often is looked whether a file changed; `None`: never.
    pub watch: Option<Duration>,
    /// What sets nothing and was probably meant to.
    pub warnings: Vec<ConfigError>,
    /// What is set, flat.
    pub effective: Effective,
}

impl Config {
    /// The broker, where this node has something to say to it. A node with the role `all` and without an `amqp` action has not: one
    /// file serves every role.
    #[must_use]
    pub fn broker_in_use(&self) -> Option<&Broker> {
        let publishes = || self.actions.iter().any(|action| matches!(action.kind, ActionKind::Amqp { .. }));
        self.broker.as_ref().filter(|_| self.role != NodeRole::All || publishes())
    }
}

impl Config {
    /// In production, critical alerts of which nobody is called.
    #[must_use]
    pub fn unheard_alerts(&self) -> Option<ConfigError> {
        let is_told = |name: &String| {
            let mut channels = self.channels.iter();
            channels.any(|channel| channel.name == *name && channel.kind.reaches_people())
        };
        let critical = &self.alerts.routes.critical;
        let is_heard = self.profile != Profile::Prod || self.role == NodeRole::Edge;
        if is_heard || critical.iter().any(is_told) {
            return None;
        }
        let place = self.alerts.critical_place.clone();
        let place = place.unwrap_or_else(|| Place::named("alerts.critical"));
        Some(
            ConfigError::new(
                &place,
                "nobody is called for critical alerts: they go to the log and to files alone",
            )
            .hint("configure a [[channel]] that reaches people, and name it in `alerts.critical`"),
        )
    }
}

/// What receipts and log are signed with.
#[derive(Clone, Debug)]
pub struct Proof {
    pub receipt_secret: SecretRef,
    pub log_key: SecretRef,
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

impl Config {
    /// Whether `key` is another one in `new`, and is one on which the meaning of others rests: a node must be started for those.
    #[must_use]
    pub fn rests_on(&self, new: &Self, key: &str) -> bool {
        match key {
            "node.role" => self.role != new.role,
            "node.profile" => self.profile != new.profile,
            "node.data_dir" => self.data_dir != new.data_dir,
            _ => false,
        }
    }

    /// How long identities are remembered: at least as long as a signature can be repeated, from one end of its tolerance to the
    /// other.
    #[must_use]
    pub fn identities_kept_for(&self) -> Duration {
        let repeatable = self.sources.iter().map(|source| 2 * source.tolerance);
        repeatable.fold(self.dedup_horizon, Duration::max)
    }

    /// What holds once `new` was read while the node runs: of keys that only a start takes, the values stay.
    #[must_use]
    pub fn reloaded(&self, new: Self) -> Self {
        let effective = self.effective.reloaded(&new.effective);
        let broker = self.broker.clone().map(|held| match new.broker {
            Some(new) => Broker { keys: new.keys, ..held },
            None => held,
        });
        // A file that follows the log is opened with the log.
        let is_audit = |file: &&LogFile| file.content == LogContent::Audit;
        let follows =
            |file: &LogFile| self.logging.files.iter().filter(is_audit).any(|audit| audit.path == file.path);
        let others = new.logging.files.iter().filter(|file| !is_audit(file) && !follows(file));
        let files = others.chain(self.logging.files.iter().filter(is_audit)).cloned().collect();
        Self {
            tokens: new.tokens,
            entitled: new.entitled,
            governor: new.governor,
            policy: new.policy,
            actions: new.actions,
            channels: new.channels,
            alerts: new.alerts,
            sources: new.sources,
            expected_sources: new.expected_sources,
            logging: Logging { files, ..new.logging },
            opentelemetry: new.opentelemetry,
            prometheus: new.prometheus,
            tap: new.tap,
            needs_second: new.needs_second,
            warnings: new.warnings,
            broker,
            effective,
            ..self.clone()
        }
    }
}

impl Layers {
    pub fn config(&self, variable: &dyn Fn(&str) -> Option<OsString>) -> Result<Config, ConfigError> {
        let role = self.role()?;
        let logging = self.logging()?;
        let name = self.or(|l| &l.node.name, "node.name", "dev".into()).map(name)?;
        let origin = self.or(|l| &l.node.origin, "node.origin", "gemba.local".into()).map(origin)?;
        let profile = self.or(|l| &l.node.profile, "node.profile", Profile::Prod).value;
        let data_dir = self.or(|l| &l.node.data_dir, "node.data_dir", FilePath("data".into())).value.0;
        let per_second = self.number(|l| &l.rate_limit.per_second, 1000);
        let default_file = |file: &str| (profile == Profile::Dev).then(|| data_dir.join(file));
        let default_file: &dyn Fn(&str) -> Option<PathBuf> = &default_file;
        let tokens = self.tokens(default_file)?;
        let sources = match role.value {
            NodeRole::All | NodeRole::Edge => self.sources(default_file, variable)?,
            // Its signals were verified where they were accepted.
            NodeRole::Processor => Vec::new(),
        };
        // An edge decides on nothing, so it needs neither what actions are signed with nor the packs.
        let decides = role.value != NodeRole::Edge;
        let (mut actions, mut policy) = (self.actions(default_file)?, self.policy()?);
        let mut channels = self.channels()?;
        let mut alerts = self.alerts(&channels)?;
        let mut expected_sources = self.expected_sources()?;
        if !decides {
            expected_sources.clear();
            (actions, policy) = (Vec::new(), Policy::default());
            (channels, alerts) = (Vec::new(), AlertSettings::default());
        }
        if role.value != NodeRole::All {
            for channel in &mut channels {
                channel.callback_secret = None;
            }
        }
        let (listen, admin_listen) = self.addresses(role.value)?;
        Ok(Config {
            listen,
            ingress_threads: self.number(|l| &l.ingress.threads, 0) as usize,
            connections: self.connections()?,
            admin_listen,
            peers: self.peers(&name)?,
            tokens,
            segment_bytes: mib(self.number(|l| &l.kanban.segment_mib, 64)),
            low_water_bytes: mib(self.number(|l| &l.kanban.low_water_mib, 256)),
            waiting_bytes: mib(self.number(|l| &l.kanban.waiting_mib, 256)),
            governors: self.number(|l| &l.kanban.governors, 1_000_000),
            backlog_bytes: self.find(|l| &l.kanban.backlog_mib).map(|set| mib(set.value.0)),
            dedup_signals: self.number(|l| &l.dedup.signals, 2_000_000) as usize,
            dedup_horizon: Duration::from_hours(self.number(|l| &l.dedup.hours, 96).into()),
            dead_letter_age: days(self.number(|l| &l.dead_letters.retention_days, 30)),
            dead_letter_count: self.number(|l| &l.dead_letters.retention_count, 100_000),
            entitled: self.or(|l| &l.entitlement.assumed, "entitlement.default", Entitled::Active).value,
            rate_per_second: NonZeroU32::new(per_second).unwrap_or(NonZeroU32::MIN),
            rate_burst: self.number(|l| &l.rate_limit.burst, per_second),
            governor: self.governor(),
            policy,
            broker: self.broker(profile, &role, &actions, default_file)?,
            firestore: self.state(profile, &role, variable)?,
            actions,
            channels,
            alerts,
            sources,
            expected_sources,
            proof: decides.then(|| self.proof(default_file, variable)).transpose()?,
            role: role.value,
            core_dumps: self.or(|l| &l.node.core_dumps, "node.core_dumps", false).value,
            logging,
            opentelemetry: self.opentelemetry(profile, variable)?,
            prometheus: self.prometheus(profile, &name)?,
            tap: self.tap(profile)?,
            needs_second: self.needs_second(),
            watch: Some(self.number(|l| &l.reload.watch_seconds, 0))
                .filter(|seconds| *seconds > 0)
                .map(|seconds| Duration::from_secs(seconds.into())),
            warnings: Vec::new(),
            effective: Effective::default(),
            name,
            origin,
            profile,
            data_dir,
        })
    }

    /// The role decides where the signals come from and go to, so the backend has nothing else to say.
    fn role(&self) -> Result<Set<NodeRole>, ConfigError> {
        let role = self.or(|l| &l.node.role, "node.role", NodeRole::All);
        let backend = self.find(|l| &l.kanban.backend);
        match backend.as_ref().map(|set| (set.value, role.value)) {
            Some((Backend::Rabbitmq, NodeRole::All)) => {
                let place = backend.map_or(role.place, |set| set.place);
                return Err(ConfigError::new(
                    &place,
                    "a node with the role `all` has nothing to send to a broker",
                )
                .hint("give it the role `edge` or `processor`, or leave the backend `journal`"));
            }
            Some((Backend::Journal, NodeRole::Edge | NodeRole::Processor)) => {
                let place = backend.map_or(role.place, |set| set.place);
                return Err(ConfigError::new(&place, "edges and processors have the backend `rabbitmq`"));
            }
            Some(_) | None => {}
        }
        Ok(role)
    }

    fn proof(
        &self,
        default_file: &dyn Fn(&str) -> Option<PathBuf>,
        variable: &dyn Fn(&str) -> Option<OsString>,
    ) -> Result<Proof, ConfigError> {
        Ok(Proof {
            receipt_secret: self.secret(
                (self.find(|l| &l.receipt.secret_file), self.find(|l| &l.receipt.secret_env)),
                variable("TAI2030_SIGNING_KEY").is_some().then_some("TAI2030_SIGNING_KEY"),
                default_file("receipt.secret"),
                ("the receipts' secret", "receipt.secret_file", Written::Hex),
            )?,
            log_key: self.secret(
                (self.find(|l| &l.log.key_file), self.find(|l| &l.log.key_env)),
                None,
                default_file("log.key"),
                ("the log's signing key", "log.key_file", Written::Hex),
            )?,
        })
    }

    /// Where the two planes listen.
    fn addresses(&self, role: NodeRole) -> Result<(SocketAddr, SocketAddr), ConfigError> {
        let data = self.address(|l| &l.ingress.listen, "ingress.listen", "127.0.0.1:8080")?;
        let admin = self.address(|l| &l.admin.listen, "admin.listen", "127.0.0.1:9090")?;
        // A processor has no data plane, and port 0 is another one each time.
        let [one, other] = [data, admin].map(|address| address.ip().to_canonical());
        // A socket on [::] takes IPv4, too.
        let holds = |all: IpAddr, one: IpAddr| all.is_unspecified() && (all.is_ipv6() || one.is_ipv4());
        let meet = data.port() == admin.port() && (one == other || holds(one, other) || holds(other, one));
        if meet && data.port() != 0 && role != NodeRole::Processor {
            let set = self.find(|l| &l.admin.listen).or_else(|| self.find(|l| &l.ingress.listen));
            let place = set.map_or_else(|| Place::named("admin.listen"), |set| set.place);
            return Err(ConfigError::new(
                &place,
                if data == admin {
                    format!("`ingress.listen` and `admin.listen` are both {data}")
                } else {
                    format!("`ingress.listen` is {data} and `admin.listen` {admin}: one holds the other")
                },
            )
            .hint("give each plane an address of its own"));
        }
        Ok((data, admin))
    }

    fn address(
        &self,
        key: impl Fn(&Layer) -> &Key<String>,
        name: &str,
        default: &str,
    ) -> Result<SocketAddr, ConfigError> {
        self.or(key, name, default.to_owned()).map(|text| {
            text.parse().map_err(|_| format!("`{text}` is not an address and port, such as {default}"))
        })
    }

    fn governor(&self) -> Governor {
        let seconds = |key: &dyn Fn(&Layer) -> &Key<Positive>, default| {
            Duration::from_secs(self.number(key, default).into())
        };
        Governor {
            boot_timeout: seconds(&|l| &l.governor.boot_timeout_seconds, 30),
            quota: self.number(|l| &l.governor.quota, 1000),
            quota_window: seconds(&|l| &l.governor.quota_window_seconds, 60),
            mailbox: self.number(|l| &l.governor.mailbox, 1024) as usize,
            breaker_failures: self.number(|l| &l.governor.breaker_failures, 5),
            breaker_reset: seconds(&|l| &l.governor.breaker_reset_seconds, 60),
        }
    }
}

fn origin(text: String) -> Result<String, String> {
    let fits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'+');
    if fits { Ok(text) } else { Err(format!("`{text}` is no origin: printable, without space and `+`")) }
}

fn mib(count: u32) -> u64 {
    u64::from(count) << 20
}

fn days(count: u32) -> Duration {
    Duration::from_hours(24 * u64::from(count))
}
