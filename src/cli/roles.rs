//! What a node's role needs, in the line's terms: keys of receipts and log, the broker, the shared state.

use secrecy::ExposeSecret as _;

use super::audit_files::audit;
use super::parts::parts;
use super::targets::broker;
use crate::config::{self, Config, ConfigError, NodeRole, QueueType, Secrets};
use crate::kanban::broker::mac::Keys;
use crate::kanban::broker::topology::{Kind, Topology};
use crate::line::live::Live;
use crate::line::settings::{Link, LogSeed, ProofKeys, Role, Sharing};
use crate::net::firestore::{Credentials, Endpoint, Firestore, ServiceAccount, Site};
use crate::ring::Current;

/// Everything that a start would refuse.
pub fn check(config: &Config, secrets: &Secrets) -> Result<(), ConfigError> {
    let live = parts(config, secrets)?.live();
    role(config, secrets, &live)?;
    config.firestore.clone().map(sharing).transpose()?;
    Ok(())
}

/// Read once now, so that a start says what is wrong with it.
pub fn sharing(firestore: config::Firestore) -> Result<Sharing, ConfigError> {
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
pub fn role(config: &Config, secrets: &Secrets, live: &Live) -> Result<Role, ConfigError> {
    let keys = config.proof.as_ref().map(|proof| proof_keys(proof, config, secrets)).transpose()?;
    let configured = config.broker.as_ref().zip(live.message_keys.clone());
    let link = configured.map(|(broker, keys)| link(broker, secrets, keys)).transpose()?;
    match (config.role, keys, link) {
        (NodeRole::All, Some(keys), _) => Ok(Role::All(keys)),
        (NodeRole::Edge, _, Some(link)) => Ok(Role::Edge(link)),
        (NodeRole::Processor, Some(keys), Some(link)) => Ok(Role::Processor(keys, link)),
        _ => unreachable!("the configuration has what its role needs"),
    }
}

fn proof_keys(proof: &config::Proof, config: &Config, secrets: &Secrets) -> Result<ProofKeys, ConfigError> {
    let seed = secrets.get(&proof.log_key)?;
    let log_seed = LogSeed::from_hex(seed.expose_secret()).ok_or_else(|| {
        ConfigError::new(&proof.log_key.place, "the log's signing key: it is not 32 bytes in hex")
            .hint(proof.log_key.advice())
    })?;
    Ok(ProofKeys { receipt_secret: secrets.get(&proof.receipt_secret)?, log_seed, audit: audit(config) })
}

fn link(configured: &config::Broker, secrets: &Secrets, keys: Current<Keys>) -> Result<Link, ConfigError> {
    let queues = &configured.queues;
    Ok(Link {
        keys,
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
