//! `[rabbitmq]`: how the broker is reached, for `amqp` actions and for the roles `edge` and `processor`; and the queues
//! between these two.

use std::net::IpAddr;
use std::path::PathBuf;

use toml::Spanned;

use super::actions::{Action, ActionKind};
use super::layer::{Key, Layer, NodeRole, Number, Partition, Profile, QueueType, RabbitMq, Store};
use super::layers::{Layers, Set, name, optional, place_of, set, twice};
use super::secret::{Chooser, SecretRef, Written};
use crate::limits::{MESSAGE_KEYS_MAX, SHARED_PREFETCH};
use crate::place::{ConfigError, Place};

/// How the broker is reached.
#[derive(Clone, Debug)]
pub struct Broker {
    /// Host and port of each node.
    pub hosts: Vec<(String, u16)>,
    pub vhost: String,
    pub username: String,
    pub password: SecretRef,
    /// `None`: the connection is not encrypted.
    pub tls: Option<Tls>,
    pub queues: Queues,
    /// What edges and processors vouch for their messages with: the first signs, all verify. Without one, in the `dev`
    /// profile, it is derived from the password.
    pub keys: Vec<MessageKey>,
}

/// A key of messages.
#[derive(Clone, Debug)]
pub struct MessageKey {
    pub name: String,
    pub secret: SecretRef,
}

/// How an encrypted connection is trusted.
#[derive(Clone, Debug)]
pub struct Tls {
    pub place: Place,
    /// Roots beside the system's, in PEM.
    pub ca_file: Option<(PathBuf, Place)>,
}

/// The queues between edges and processors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Queues {
    pub name: String,
    pub partitions: u16,
    /// Those that a processor takes from.
    pub consumed: Vec<u16>,
    /// Messages that a processor holds unacknowledged, for each partition.
    pub prefetch: u16,
    pub durable: bool,
    pub kind: QueueType,
    /// Replicas of a quorum queue; `None` leaves it to the broker.
    pub group_size: Option<u16>,
    /// A processor may go on where another one has decided before.
    pub adopt: bool,
}

/// The port of AMQP, where a host says none; and over TLS.
const AMQP_PORT: u16 = 5672;
const AMQPS_PORT: u16 = 5671;
/// The user that RabbitMQ has after its installation, and that user's password; it is let in from the same machine alone.
const GUEST: &str = "guest";
/// The longest name of a queue, what is put behind it included.
const QUEUE_BYTES_MAX: usize = 200;

impl Layers {
    pub(super) fn broker(
        &self,
        profile: Profile,
        role: &Set<NodeRole>,
        actions: &[Action],
        default_file: &dyn Fn(&str) -> Option<PathBuf>,
    ) -> Result<Option<Broker>, ConfigError> {
        let Some(place) = self.written() else { return no_broker(role, actions) };
        let missing = |key: &str| ConfigError::new(&place, format!("`rabbitmq.{key}` is missing"));
        let tls = self.tls()?;
        let port = if tls.is_some() { AMQPS_PORT } else { AMQP_PORT };
        let hosts = self.find(|layer| &layer.rabbitmq.hosts).ok_or_else(|| missing("hosts"))?;
        let hosts = hosts.map(|hosts| hosts_of(&hosts, port))?;
        let username = self.find(|layer| &layer.rabbitmq.username).ok_or_else(|| missing("username"))?.value;
        let file = self.find(|layer| &layer.rabbitmq.password_file);
        let variable = self.find(|layer| &layer.rabbitmq.password_env);
        // In development, a RabbitMQ as it is after its installation.
        let usual = if username == GUEST { default_file("rabbitmq.password") } else { None };
        let is_usual = file.is_none() && variable.is_none();
        if is_usual && usual.is_none() {
            return Err(missing("password_file").hint("`rabbitmq.password_env` names a variable instead"));
        }
        let what = ("the broker's password", "rabbitmq.password_file", Written::Hex);
        let password = self.secret((file, variable), None, usual, what)?;
        let chosen_by = if is_usual { Chooser::PeerAtFirst(GUEST) } else { Chooser::Peer };
        let password = SecretRef { chosen_by, ..password };
        let vhost = self.find(|layer| &layer.rabbitmq.vhost).map_or_else(|| "/".to_owned(), |set| set.value);
        let (queues, keys) = (self.queues(profile)?, self.message_keys(profile, role, &place)?);
        Ok(Some(Broker { hosts, vhost, username, password, tls, queues, keys }))
    }

    fn message_keys(
        &self,
        profile: Profile,
        role: &Set<NodeRole>,
        section: &Place,
    ) -> Result<Vec<MessageKey>, ConfigError> {
        let mut keys: Vec<MessageKey> = Vec::new();
        for (text, table) in self.tables(|layer| &layer.rabbitmq.key) {
            let key = table.get_ref();
            let name = set(text, &key.name).map(name)?;
            if keys.iter().any(|other| other.name == name) {
                return Err(twice(text, &key.name));
            }
            let kept = (optional(text, key.secret_file.as_ref()), optional(text, key.secret_env.as_ref()));
            let what = format!("the key `{name}` of messages");
            let secret = self.secret(kept, None, None, (&what, "rabbitmq.key.secret_file", Written::Hex));
            let secret = secret.map_err(|error| ConfigError { place: place_of(text, table), ..error })?;
            keys.push(MessageKey { name, secret });
        }
        if keys.len() > MESSAGE_KEYS_MAX {
            let what = format!("{} keys of messages; there are at most {MESSAGE_KEYS_MAX}", keys.len());
            return Err(ConfigError::new(section, what));
        }
        if keys.is_empty() && role.value != NodeRole::All && profile != Profile::Dev {
            let what = "`rabbitmq.key` is missing: without a key that edges and processors share, whoever may publish \
                        to the queues could have anything decided";
            return Err(ConfigError::new(section, what).hint(
                "make one: (umask 077; openssl rand -hex 32 > /etc/gemba/messages.key), give every edge and \
                 processor the same, and write [[rabbitmq.key]] with `name` and `secret_file`",
            ));
        }
        Ok(keys)
    }

    /// Where the section begins to be written.
    fn written(&self) -> Option<Place> {
        fn at<T>(key: Option<&Spanned<T>>) -> Option<std::ops::Range<usize>> {
            key.map(Spanned::span)
        }
        self.0.iter().find_map(|(text, layer)| {
            let RabbitMq {
                hosts,
                vhost,
                username,
                password_file,
                password_env,
                tls,
                ca_file,
                queue,
                partitions,
                consume,
                prefetch,
                durable,
                queue_type,
                group_size,
                adopt,
                key,
            } = &layer.rabbitmq;
            let keys = [
                at(hosts.as_ref()),
                at(vhost.as_ref()),
                at(username.as_ref()),
                at(password_file.as_ref()),
                at(password_env.as_ref()),
                at(tls.as_ref()),
                at(ca_file.as_ref()),
                at(queue.as_ref()),
                at(partitions.as_ref()),
                at(consume.as_ref()),
                at(prefetch.as_ref()),
                at(durable.as_ref()),
                at(queue_type.as_ref()),
                at(group_size.as_ref()),
                at(adopt.as_ref()),
                at(key.first()),
            ];
            keys.into_iter().flatten().min_by_key(|span| span.start).map(|span| text.place(&span))
        })
    }

    fn tls(&self) -> Result<Option<Tls>, ConfigError> {
        let tls = self.or(|layer| &layer.rabbitmq.tls, "rabbitmq.tls", false);
        let ca_file = self.find(|layer| &layer.rabbitmq.ca_file);
        match (tls.value, ca_file) {
            (true, ca_file) => {
                Ok(Some(Tls { place: tls.place, ca_file: ca_file.map(|set| (set.value.0, set.place)) }))
            }
            (false, None) => Ok(None),
            (false, Some(ca_file)) => {
                Err(ConfigError::new(&ca_file.place, "`ca_file` means nothing without `rabbitmq.tls = true`"))
            }
        }
    }

    fn small<const LEAST: u32, const MOST: u32>(
        &self,
        key: impl Fn(&Layer) -> &Key<Number<LEAST, MOST>>,
        default: u16,
    ) -> u16 {
        self.find(key).map_or(default, |set| small(set.value))
    }

    fn queues(&self, profile: Profile) -> Result<Queues, ConfigError> {
        let name = self.or(|layer| &layer.rabbitmq.queue, "rabbitmq.queue", "tai2030.signals".into());
        let partitions = self.small(|layer| &layer.rabbitmq.partitions, 1);
        // What is shared once a second is acknowledged once a second.
        let shares =
            self.or(|layer| &layer.state.store, "state.store", Store::Embedded).value == Store::Firestore;
        let usual = match profile {
            _ if shares => SHARED_PREFETCH,
            Profile::Dev => 10,
            Profile::Staging => 50,
            Profile::Prod => 100,
        };
        let prefetch = self.small(|layer| &layer.rabbitmq.prefetch, usual);
        let consume = self.find(|layer| &layer.rabbitmq.consume);
        let durable = self.or(|layer| &layer.rabbitmq.durable, "rabbitmq.durable", true);
        let usual = if durable.value { QueueType::Quorum } else { QueueType::Classic };
        let kind = self.or(|layer| &layer.rabbitmq.queue_type, "rabbitmq.queue_type", usual);
        if kind.value == QueueType::Quorum && !durable.value {
            return Err(ConfigError::new(&durable.place, "a quorum queue is durable")
                .hint("for development, write `queue_type = \"classic\"` with it"));
        }
        let group_size = self.find(|layer| &layer.rabbitmq.group_size);
        if let Some(group_size) = group_size.as_ref().filter(|_| kind.value == QueueType::Classic) {
            return Err(ConfigError::new(&group_size.place, "a classic queue has no group of replicas"));
        }
        Ok(Queues {
            name: name.map(queue_name)?,
            partitions,
            consumed: consume.map_or_else(
                || Ok((0..partitions).collect()),
                |consume| consume.map(|consumed| consumed_of(consumed, partitions)),
            )?,
            prefetch,
            durable: durable.value,
            kind: kind.value,
            group_size: group_size.map(|set| small(set.value)),
            adopt: self.or(|layer| &layer.rabbitmq.adopt, "rabbitmq.adopt", false).value,
        })
    }
}

fn no_broker(role: &Set<NodeRole>, actions: &[Action]) -> Result<Option<Broker>, ConfigError> {
    let hint = "name one in a section [rabbitmq], with `hosts`";
    if role.value != NodeRole::All {
        return Err(ConfigError::new(&role.place, "this role needs a broker").hint(hint));
    }
    let orphan = actions.iter().find(|action| matches!(action.kind, ActionKind::Amqp { .. }));
    match orphan {
        None => Ok(None),
        Some(Action { name, place, .. }) => {
            Err(ConfigError::new(place, format!("action `{name}` has no broker")).hint(hint))
        }
    }
}

/// The ranges of [`RabbitMq`]'s numbers end below this.
fn small<const LEAST: u32, const MOST: u32>(number: Number<LEAST, MOST>) -> u16 {
    const { assert!(MOST <= u16::MAX as u32) }
    u16::try_from(number.0).unwrap_or(u16::MAX)
}

fn queue_name(text: String) -> Result<String, String> {
    let fits = !text.is_empty()
        && text.len() <= QUEUE_BYTES_MAX
        && !text.starts_with("amq.")
        && text.bytes().all(|byte| byte.is_ascii_graphic());
    if fits {
        Ok(text)
    } else {
        Err(format!("`{text}` is no queue of ours: 1 to {QUEUE_BYTES_MAX} printable characters, not `amq.…`"))
    }
}

fn consumed_of(consumed: Vec<Partition>, partitions: u16) -> Result<Vec<u16>, String> {
    let mut consumed: Vec<u16> = consumed.into_iter().map(small).collect();
    consumed.sort_unstable();
    consumed.dedup();
    match consumed.last() {
        None => Err("a processor that takes from no partition has nothing to do".into()),
        Some(last) if *last >= partitions => Err(format!(
            "there is no partition {last}: `rabbitmq.partitions` is {partitions}, the first is 0"
        )),
        Some(_) => Ok(consumed),
    }
}

fn hosts_of(hosts: &[String], port: u16) -> Result<Vec<(String, u16)>, String> {
    if hosts.is_empty() {
        return Err("no host is named".into());
    }
    hosts.iter().map(|host| host_of(host, port)).collect()
}

/// `host`, `host:port`, `[address]`, `[address]:port`.
fn host_of(text: &str, usual: u16) -> Result<(String, u16), String> {
    let wrong = || format!("`{text}` is no host and port, such as rabbit-1.example.com:{AMQP_PORT}");
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !text.ends_with(']') => (host, port.parse().map_err(|_| wrong())?),
        _ => (text, usual),
    };
    let host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(address) => address.parse::<IpAddr>().map_err(|_| wrong())?.to_string(),
        None => host.to_owned(),
    };
    let named = host.parse::<IpAddr>().is_ok()
        || (!host.is_empty()
            && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte)));
    if named { Ok((host, port)) } else { Err(wrong()) }
}
