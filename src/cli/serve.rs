//! `gemba serve`: from the configuration to a running line.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use secrecy::{ExposeSecret as _, SecretSlice};

use super::output::Failure;
use super::targets::{broker, targets};
use super::{Configured, rules};
use crate::config::{self, Config, ConfigError, NodeRole, QueueType, SchemeName, TokenRole};
use crate::ingress::client_address::TrustedProxies;
use crate::ingress::stage::Source;
use crate::kanban::broker::topology::{Kind, Topology};
use crate::kanban::dedup;
use crate::line::settings::{Link, LogSeed, ProofKeys, Role, Settings, Sharing};
use crate::line::{self, Bounds, Notice, ServeError};
use crate::net::firestore::{Credentials, Endpoint, Firestore, ServiceAccount, Site};
use crate::operator::{self, Token, Tokens};
use crate::ring::Switch;
use crate::signal::Fixed;
use crate::signature::{Keyring, Scheme};

#[derive(Args, Debug)]
pub struct Serve {
    #[command(flatten)]
    configured: Configured,
    /// Part of the line to run: all, edge or processor
    #[arg(long)]
    role: Option<String>,
}

impl Serve {
    pub fn run(self) -> Result<(), Failure> {
        let config = self.configured.load(self.role)?;
        for (what, path) in config.create_secrets()? {
            say(&format!("made {what}: {}", path.display()));
        }
        let settings = settings(&config)?;
        let tell = |notice: Notice<'_>| match notice {
            Notice::Ready(addresses) => say(&format!(
                "gemba {} `{}`: signals {}, operators on http://{}, data in {}",
                env!("CARGO_PKG_VERSION"),
                config.name,
                match (addresses.ingress, &config.broker) {
                    (Some(address), _) => format!("on http://{address}"),
                    (None, Some(broker)) => format!("from the broker's queue {}", broker.queues.name),
                    (None, None) => "from nowhere".to_owned(),
                },
                addresses.admin,
                settings.data_dir.display(),
            )),
            Notice::Restarting { stage, at: Some(seq) } => {
                say(&format!("{stage} panicked at event {seq}; the line is taken up from the journal"));
            }
            Notice::Restarting { stage, at: None } => {
                say(&format!("{stage} panicked; the line is taken up from the journal"));
            }
            Notice::Parked(seq) => {
                say(&format!("event {seq} panicked twice; its signal becomes a dead letter"));
            }
        };
        line::serve(&settings, &Switch::new(), tell).map_err(Failure::from)?;
        say(match settings.role {
            Role::Edge(_) => "drained: everything accepted is durable",
            Role::All(_) | Role::Processor(..) => "drained: everything accepted is durable and receipted",
        });
        Ok(())
    }
}

impl From<ServeError> for Failure {
    fn from(error: ServeError) -> Self {
        let failure = match &error {
            ServeError::Listen(_) | ServeError::Signer(_) => Self::usage(error.to_string()),
            ServeError::TooOften { .. } => Self::check(error.to_string()),
            _ => Self::io(&error),
        };
        match error.hint() {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}

fn say(line: &str) {
    anstream::eprintln!("{line}");
}

/// Reads the secrets and puts everything into the line's terms.
pub fn settings(config: &Config) -> Result<Settings, Failure> {
    let cores = line::cores().len();
    let token = |token: &config::Token| {
        let role = match token.role {
            TokenRole::Viewer => operator::Role::Viewer,
            TokenRole::Operator => operator::Role::Operator,
            TokenRole::Admin => operator::Role::Admin,
        };
        Ok(Token::new(&token.name, role, token.secret.read()?.expose_secret()))
    };
    let tokens = config.tokens.iter().map(token).collect::<Result<_, ConfigError>>()?;
    let sources = config.sources.iter().map(source).collect::<Result<_, ConfigError>>()?;
    Ok(Settings {
        name: config.name.clone(),
        role: role(config)?,
        origin: format!("{}/{}", config.origin, config.name),
        data_dir: config.data_dir.clone(),
        listen: config.listen,
        admin_listen: config.admin_listen,
        ingress_threads: if config.ingress_threads == 0 { cores } else { config.ingress_threads },
        idle_seconds: config.connections.idle_seconds,
        connection_seconds: config.connections.age_seconds,
        trusted_proxies: TrustedProxies::new(config.connections.trusted_proxies.clone()),
        shards: cores.div_ceil(2),
        tokens: Tokens::new(tokens),
        sources: Arc::new(sources),
        rate_per_second: config.rate_per_second,
        rate_burst: config.rate_burst,
        rulebook: Arc::new(rules::rulebook(config)?),
        targets: Arc::new(targets(config)?),
        dedup: dedup::Settings {
            capacity: config.dedup_signals,
            // At least as long as a signature can be repeated: from one end of its tolerance to the other.
            horizon_millis: (config.sources.iter().map(|source| 2 * millis(source.tolerance)))
                .fold(millis(config.dedup_horizon), u64::max),
        },
        bounds: Bounds {
            segment_bytes: config.segment_bytes,
            low_water_bytes: config.low_water_bytes,
            backlog_bytes: config.backlog_bytes,
        },
        sharing: config.firestore.clone().map(sharing).transpose()?,
        say,
    })
}

/// Read once now, so that a start says what is wrong with it.
fn sharing(firestore: config::Firestore) -> Result<Sharing, ConfigError> {
    let open = move || {
        let endpoint = match &firestore.credentials {
            config::Credentials::Emulator(host) => Endpoint::Emulator(host.clone()),
            config::Credentials::Machine => Endpoint::Google(Credentials::metadata()),
            config::Credentials::KeyFile(file) => {
                let account = ServiceAccount::parse(file.read()?.expose_secret());
                let account = account.map_err(|why| ConfigError::new(&file.place, why.to_string()))?;
                Endpoint::Google(Credentials::ServiceAccount(account))
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
fn role(config: &Config) -> Result<Role, ConfigError> {
    let keys = config.proof.as_ref().map(proof_keys).transpose()?;
    let link = config.broker.as_ref().filter(|_| config.role != NodeRole::All).map(link).transpose()?;
    match (config.role, keys, link) {
        (NodeRole::All, Some(keys), _) => Ok(Role::All(keys)),
        (NodeRole::Edge, _, Some(link)) => Ok(Role::Edge(link)),
        (NodeRole::Processor, Some(keys), Some(link)) => Ok(Role::Processor(keys, link)),
        _ => unreachable!("the configuration has what its role needs"),
    }
}

fn proof_keys(proof: &config::Proof) -> Result<ProofKeys, ConfigError> {
    let seed = proof.log_key.read()?;
    let log_seed = LogSeed::from_hex(seed.expose_secret()).ok_or_else(|| {
        ConfigError::new(&proof.log_key.place, "the log's signing key: it is not 32 bytes in hex")
            .hint("make one: (umask 077; openssl rand -hex 32 > FILE)")
    })?;
    Ok(ProofKeys { receipt_secret: proof.receipt_secret.read()?, log_seed })
}

fn link(configured: &config::Broker) -> Result<Link, ConfigError> {
    let queues = &configured.queues;
    Ok(Link {
        broker: broker(configured)?,
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

fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn source(source: &config::Source) -> Result<Source, ConfigError> {
    Ok(Source {
        name: source.name.as_str().into(),
        keyring: keyring(source)?,
        fixed: Fixed {
            tenant: source.tenant.as_deref().map(Into::into),
            sku: source.sku.as_deref().map(Into::into),
            control: source.control,
        },
    })
}

/// The keys of a source.
pub fn keyring(source: &config::Source) -> Result<Keyring, ConfigError> {
    let read = |key: &config::SourceKey| Ok((key.name.clone(), key.secret.read()?));
    let secrets =
        source.keys.iter().map(read).collect::<Result<Vec<(String, SecretSlice<u8>)>, ConfigError>>()?;
    let secrets: Vec<(&str, &[u8])> =
        secrets.iter().map(|(name, secret)| (name.as_str(), secret.expose_secret())).collect();
    let scheme = match source.scheme {
        SchemeName::StandardWebhooks => Scheme::StandardWebhooks,
        _ => Scheme::Hmac,
    };
    Keyring::new(&source.name, scheme, &secrets, source.tolerance.as_secs())
        .map_err(|why| ConfigError::new(&source.place, format!("source `{}`: {why}", source.name)))
}

/// The data directory that a command about a stopped node means.
pub fn data_dir(configured: &Configured, given: Option<PathBuf>) -> Result<PathBuf, Failure> {
    match given {
        Some(dir) => Ok(dir),
        None => Ok(configured.load(None)?.data_dir),
    }
}
