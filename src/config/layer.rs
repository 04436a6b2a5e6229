//! The keys, as they may stand in a file, a variable or a flag. One layer is read alone, so that each value still
//! knows where it was written; [`super::Layers`] then looks through them in the order of precedence.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, Unexpected};
use toml::Spanned;
use toml::de::DeTable;

use crate::alert::{GroupBy, Importance};
use crate::limits::{
    ACTION_TOTAL, DEDUP_SIGNALS_MIN, GIVE_UP_HOURS_MAX, HEARTBEAT_SECONDS_MAX, LOG_WRAPS_MAX, PARTITIONS_MAX,
    PREFETCH_MAX, SEGMENT_MIB_MAX, SPANS_MAX,
};
pub use crate::place::Number;
use crate::place::{ConfigError, Kind, Text};
use crate::signature::Scheme;

/// A key that may be set here.
pub type Key<T> = Option<Spanned<T>>;

/// What every key has that names a file or a directory: an empty one would stand for the directory that the process was
/// started in.
#[derive(Clone, Debug)]
pub struct FilePath(pub PathBuf);

impl<'de> Deserialize<'de> for FilePath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let path = PathBuf::deserialize(deserializer)?;
        if path.as_os_str().as_encoded_bytes().trim_ascii().is_empty() {
            return Err(D::Error::invalid_value(Unexpected::Str(""), &"a path that is not empty"));
        }
        Ok(Self(path))
    }
}

/// Any number, and any but 0.
pub type Count = Number<0, { u32::MAX }>;
/// Seconds within which a source sends something: less would be the noise of one pause.
pub type HeartbeatSeconds = Number<5, HEARTBEAT_SECONDS_MAX>;
pub type Positive = Number<1, { u32::MAX }>;
/// Seconds of one try of an action.
pub type TrySeconds = Number<1, { seconds(ACTION_TOTAL) }>;
pub type Partitions = Number<1, { PARTITIONS_MAX as u32 }>;
pub type Partition = Number<0, { PARTITIONS_MAX as u32 - 1 }>;
pub type Prefetch = Number<1, { PREFETCH_MAX as u32 }>;

#[expect(clippy::cast_possible_truncation, reason = "a minute")]
const fn seconds(duration: Duration) -> u32 {
    duration.as_secs() as u32
}

/// When another value of a key holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applies {
    /// When the configuration is read anew.
    AtOnce,
    /// When the node is started.
    AtStart,
}

/// Tables of keys, and when another value of such a key holds.
const SECTIONS: [(&str, Applies); 24] = [
    ("node", Applies::AtStart),
    ("ingress", Applies::AtStart),
    ("admin", Applies::AtStart),
    ("kanban", Applies::AtStart),
    ("dedup", Applies::AtStart),
    ("dead_letters", Applies::AtStart),
    ("entitlement", Applies::AtOnce),
    ("rate_limit", Applies::AtStart),
    ("governor", Applies::AtOnce),
    ("alerts", Applies::AtOnce),
    ("policy", Applies::AtOnce),
    ("receipt", Applies::AtStart),
    ("log", Applies::AtStart),
    ("logging", Applies::AtOnce),
    ("logging.syslog", Applies::AtOnce),
    ("opentelemetry", Applies::AtOnce),
    ("opentelemetry.tls", Applies::AtOnce),
    ("prometheus", Applies::AtOnce),
    ("prometheus.remote_write_tls", Applies::AtOnce),
    ("reload", Applies::AtStart),
    ("tap", Applies::AtOnce),
    ("operator", Applies::AtOnce),
    ("state", Applies::AtStart),
    ("rabbitmq", Applies::AtStart),
];
/// The same of lists of tables.
const LISTS: [(&str, Applies); 10] = [
    ("source", Applies::AtOnce),
    ("source.key", Applies::AtOnce),
    ("action", Applies::AtOnce),
    ("channel", Applies::AtOnce),
    ("alerts.route", Applies::AtOnce),
    ("admin.token", Applies::AtOnce),
    ("admin.peers", Applies::AtStart),
    ("policy.tenant", Applies::AtOnce),
    ("rabbitmq.key", Applies::AtOnce),
    ("logging.file", Applies::AtOnce),
];

/// The names of all tables of keys.
pub fn sections() -> impl Iterator<Item = &'static str> {
    SECTIONS.into_iter().map(|(section, _)| section)
}

/// The names of all lists of tables.
pub fn lists() -> impl Iterator<Item = &'static str> {
    LISTS.into_iter().map(|(list, _)| list)
}

pub fn is_section(key: &str) -> bool {
    sections().any(|section| section == key)
}

pub fn is_list(key: &str) -> bool {
    lists().any(|list| list == key)
}

/// When another value of a key in this table, or list of tables, holds.
pub fn section_applies(section: &str) -> Applies {
    let known = SECTIONS.into_iter().chain(LISTS).find(|(known, _)| *known == section);
    known.map_or(Applies::AtStart, |(_, applies)| applies)
}

/// When another value of this key holds; it is written without the names of tables in lists. The innermost table says it.
pub fn applies(key: &str) -> Applies {
    let is_in = |section: &str| key.strip_prefix(section).is_some_and(|rest| rest.starts_with('.'));
    let innermost =
        sections().chain(lists()).filter(|section| is_in(section)).max_by_key(|section| section.len());
    innermost.map_or(Applies::AtStart, section_applies)
}

impl Layer {
    /// Reads one layer.
    ///
    /// # Errors
    /// The first key that is unknown, and the first value that is none of its key.
    pub fn read(text: &Text) -> Result<Self, ConfigError> {
        // What is no TOML says so, and not what could be found of it.
        DeTable::parse(text.as_str()).map_err(|error| text.complaint(&error))?;
        // The reader would take a list for a table, its values in the order of the fields.
        for value in text.values() {
            let key = value.key.as_str();
            let expected = match (&value.kind, value.is_element) {
                (Kind::List, false) | (Kind::Table, true) if is_list(key) => continue,
                (Kind::Table, false) if is_section(key) => continue,
                _ if is_list(key) => format!("a list of tables, written [[{key}]]"),
                _ if is_section(key) => format!("a table, written [{key}]"),
                _ => continue,
            };
            let error = text.must_be(value, &expected);
            // A variable cannot hold one.
            let hint = if text.is_file() { None } else { list_hint(key) };
            return Err(match hint {
                Some(hint) => error.hint(hint),
                None => error,
            });
        }
        toml::from_str(text.as_str()).map_err(|error| text.complaint(&error))
    }
}

/// What to do instead of setting a list of tables in a variable.
pub fn list_hint(key: &str) -> Option<String> {
    let secret = match key {
        "admin.token" => Some("token_env"),
        "source" | "source.key" | "action" => Some("secret_env"),
        _ => None,
    };
    let list = is_list(key).then(|| format!("write [[{key}]] into a file; no variable sets it"))?;
    let secret = secret.map(|secret| format!(", but its `{secret}` may name one that holds the secret"));
    Some(list + &secret.unwrap_or_default())
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Layer {
    pub node: Node,
    pub ingress: Ingress,
    pub admin: Admin,
    pub kanban: Kanban,
    pub dedup: Dedup,
    pub dead_letters: DeadLetters,
    pub entitlement: Entitlement,
    pub rate_limit: RateLimit,
    pub governor: Governor,
    pub policy: Policy,
    pub receipt: Receipt,
    pub log: Log,
    pub logging: Logging,
    pub opentelemetry: OpenTelemetry,
    pub prometheus: Prometheus,
    pub reload: Reload,
    pub tap: Tap,
    pub operator: Operator,
    pub state: State,
    pub source: Vec<Spanned<Source>>,
    pub action: Vec<Spanned<Action>>,
    pub channel: Vec<Spanned<Channel>>,
    pub alerts: AlertKeys,
    pub rabbitmq: RabbitMq,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Node {
    pub name: Key<String>,
    pub origin: Key<String>,
    pub profile: Key<Profile>,
    pub role: Key<NodeRole>,
    pub data_dir: Key<FilePath>,
    pub core_dumps: Key<bool>,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// Missing secrets under `data_dir` are created at the start.
    Dev,
    Staging,
    Prod,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum NodeRole {
    All,
    Edge,
    Processor,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Ingress {
    pub listen: Key<String>,
    pub threads: Key<Number<0, { u16::MAX as u32 }>>,
    pub idle_seconds: Key<Positive>,
    pub connection_seconds: Key<Positive>,
    pub trusted_proxies: Key<Vec<Spanned<String>>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Admin {
    pub listen: Key<String>,
    pub token: Vec<Spanned<Token>>,
    pub peers: Vec<Spanned<PeerKeys>>,
}

/// A different node of the line.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PeerKeys {
    pub name: Spanned<String>,
    pub url: Spanned<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Token {
    pub name: Spanned<String>,
    pub person: Key<String>,
    pub role: Spanned<TokenRole>,
    pub token_file: Key<FilePath>,
    pub token_env: Key<String>,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum TokenRole {
    Viewer,
    Operator,
    Admin,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Kanban {
    pub backend: Key<Backend>,
    pub segment_mib: Key<Number<4, SEGMENT_MIB_MAX>>,
    pub low_water_mib: Key<Positive>,
    pub waiting_mib: Key<Positive>,
    pub governors: Key<Positive>,
    pub backlog_mib: Key<Positive>,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Backend {
    Journal,
    Rabbitmq,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Dedup {
    pub signals: Key<Number<DEDUP_SIGNALS_MIN, { u32::MAX }>>,
    pub hours: Key<Positive>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DeadLetters {
    pub retention_days: Key<Positive>,
    pub retention_count: Key<Positive>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Entitlement {
    #[serde(rename = "default")]
    pub assumed: Key<Entitled>,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Entitled {
    Active,
    Required,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RateLimit {
    pub per_second: Key<Positive>,
    pub burst: Key<Positive>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Governor {
    pub boot_timeout_seconds: Key<Positive>,
    pub quota: Key<Count>,
    pub quota_window_seconds: Key<Positive>,
    pub mailbox: Key<Count>,
    pub breaker_failures: Key<Positive>,
    pub breaker_reset_seconds: Key<Positive>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    pub packs: Key<Vec<Spanned<FilePath>>>,
    pub tenant: Vec<Spanned<PolicyTenant>>,
}

/// The packs of tenants that go by their own.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyTenant {
    pub tenants: Vec<Spanned<String>>,
    pub packs: Vec<Spanned<FilePath>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Receipt {
    pub secret_file: Key<FilePath>,
    pub secret_env: Key<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    pub key_file: Key<FilePath>,
    pub key_env: Key<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Logging {
    pub level: Key<String>,
    pub stderr_level: Key<String>,
    pub format: Key<LogFormat>,
    pub file: Vec<Spanned<LogFile>>,
    pub syslog: LogSyslog,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogFile {
    pub path: Spanned<FilePath>,
    pub content: Key<LogContent>,
    pub receipts: Key<LogReceipts>,
    pub max_bytes: Key<Number<1024, { u32::MAX }>>,
    pub max_files: Key<Number<1, LOG_WRAPS_MAX>>,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum LogContent {
    All,
    Audit,
    Tls,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum LogReceipts {
    All,
    Acts,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogSyslog {
    pub transport: Key<SyslogTransport>,
    pub address: Key<String>,
    pub facility: Key<String>,
    pub app_name: Key<String>,
    pub framing: Key<SyslogFraming>,
    pub ca_file: Key<FilePath>,
    pub cert_file: Key<FilePath>,
    pub key_file: Key<FilePath>,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum SyslogTransport {
    Unix,
    Udp,
    Tcp,
    Tls,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum SyslogFraming {
    OctetCounting,
    Lf,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    Auto,
    Text,
    Json,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OpenTelemetry {
    pub log: Key<bool>,
    pub endpoints: Key<Vec<String>>,
    pub protocol: Key<OtlpProtocol>,
    pub sample_ratio: Key<f64>,
    pub trust_traceparent: Key<bool>,
    pub slow_ms: Key<Count>,
    pub batch_size: Key<Number<1, SPANS_MAX>>,
    pub max_queue_size: Key<Number<1, SPANS_MAX>>,
    pub delay_ms: Key<Positive>,
    pub timeout_ms: Key<Positive>,
    pub tls: ClientTls,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Prometheus {
    pub remote_write_url: Key<String>,
    pub remote_write_version: Key<Number<1, 2>>,
    pub interval_seconds: Key<Positive>,
    pub bearer_token_file: Key<FilePath>,
    pub bearer_token_env: Key<String>,
    pub username: Key<String>,
    pub password_file: Key<FilePath>,
    pub password_env: Key<String>,
    pub external_labels: Key<BTreeMap<String, Spanned<String>>>,
    pub remote_write_tls: ClientTls,
}

/// How a client that speaks TLS is trusted, and trusts.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClientTls {
    pub ca_file: Key<FilePath>,
    pub cert_file: Key<FilePath>,
    pub key_file: Key<FilePath>,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
pub enum OtlpProtocol {
    #[serde(rename = "http/protobuf")]
    Http,
    #[serde(rename = "grpc")]
    Grpc,
}

/// What viewers see of signals.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tap {
    pub allowed: Key<bool>,
    pub mask: Key<Vec<Spanned<String>>>,
}

/// What operators may order.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Operator {
    pub needs_second: Key<Vec<Spanned<String>>>,
}

/// How the configuration is read anew.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Reload {
    pub watch_seconds: Key<Count>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct State {
    pub store: Key<Store>,
    /// Of the store `firestore`; it may stand beside `embedded`, so that a file serves both.
    pub project: Key<String>,
    pub database: Key<String>,
    /// A service account's key.
    pub credentials_file: Key<FilePath>,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Store {
    Embedded,
    Firestore,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    pub name: Spanned<String>,
    pub scheme: Spanned<Scheme>,
    pub secret_file: Key<FilePath>,
    pub secret_env: Key<String>,
    #[serde(default)]
    pub key: Vec<Spanned<NamedKey>>,
    pub tenant: Key<String>,
    pub sku: Key<String>,
    pub tolerance_seconds: Key<Count>,
    pub heartbeat_seconds: Key<HeartbeatSeconds>,
    #[serde(default)]
    pub control: bool,
    pub binary: Key<bool>,
}

/// A key beside others: of a source, or of messages.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NamedKey {
    pub name: Spanned<String>,
    pub secret_file: Key<FilePath>,
    pub secret_env: Key<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Action {
    pub name: Spanned<String>,
    pub kind: Spanned<ActionKind>,
    pub timeout_seconds: Key<TrySeconds>,
    pub delivery: Key<Delivery>,
    pub give_up_after_hours: Key<Number<1, GIVE_UP_HOURS_MAX>>,
    pub url: Key<String>,
    pub secret_file: Key<FilePath>,
    pub secret_env: Key<String>,
    pub allow_private: Key<bool>,
    pub ca_file: Key<FilePath>,
    pub body: Key<String>,
    pub content_type: Key<String>,
    pub headers: Key<BTreeMap<String, Spanned<String>>>,
    pub exchange: Key<String>,
    pub routing_key: Key<String>,
}

/// Who waits for the outcome of an action.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Delivery {
    /// Its governor.
    Await,
    /// Nobody: it is tried for hours.
    Background,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum ActionKind {
    Log,
    Webhook,
    Amqp,
}

/// How people are told of alerts.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Channel {
    pub name: Spanned<String>,
    pub kind: Spanned<ChannelKind>,
    pub timeout_seconds: Key<TrySeconds>,
    pub give_up_after_hours: Key<Number<1, 168>>,
    pub allow_private: Key<bool>,
    pub ca_file: Key<FilePath>,
    pub url: Key<String>,
    pub routing_key_file: Key<FilePath>,
    pub routing_key_env: Key<String>,
    pub webhook_url_file: Key<FilePath>,
    pub webhook_url_env: Key<String>,
    pub callback_secret_file: Key<FilePath>,
    pub callback_secret_env: Key<String>,
    pub token_file: Key<FilePath>,
    pub token_env: Key<String>,
    pub channel: Key<String>,
    pub smtp: Key<String>,
    pub password_file: Key<FilePath>,
    pub password_env: Key<String>,
    pub account: Key<String>,
    pub from: Key<String>,
    pub to: Key<Vec<Spanned<String>>>,
    pub monthly_max: Key<Positive>,
    pub secret_file: Key<FilePath>,
    pub secret_env: Key<String>,
    pub urls: Key<Vec<Spanned<String>>>,
    pub bearer_token_file: Key<FilePath>,
    pub bearer_token_env: Key<String>,
    pub path: Key<FilePath>,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum ChannelKind {
    PagerDuty,
    Slack,
    Email,
    Sms,
    Webhook,
    Alertmanager,
    Log,
    File,
}

/// Who is told of what.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AlertKeys {
    pub critical: Key<Vec<Spanned<String>>>,
    pub warning: Key<Vec<Spanned<String>>>,
    pub info: Key<Vec<Spanned<String>>>,
    pub group_by: Key<Vec<Spanned<GroupBy>>>,
    pub group_wait_seconds: Key<GroupWait>,
    pub group_interval_seconds: Key<GroupInterval>,
    pub repeat_hours: Key<RepeatHours>,
    pub external_url: Key<String>,
    pub dead_letters_per_minute: Key<Count>,
    pub severity: Key<BTreeMap<String, Spanned<KindSeverity>>>,
    pub route: Vec<Spanned<RouteKeys>>,
}

/// How long alerts of one group are collected, how long until the group is told again when it changed, and when it did not.
pub type GroupWait = Number<0, 3600>;
pub type GroupInterval = Number<1, 86_400>;
pub type RepeatHours = Number<1, 720>;

/// A way that goes before the list of a severity.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RouteKeys {
    pub when: Spanned<String>,
    pub channels: Spanned<Vec<Spanned<String>>>,
    pub group_wait_seconds: Key<GroupWait>,
    pub group_interval_seconds: Key<GroupInterval>,
    pub repeat_hours: Key<RepeatHours>,
    /// A week at most.
    pub escalate_after_minutes: Key<Number<1, 10_080>>,
    pub escalate_to: Key<Vec<Spanned<String>>>,
    pub quiet_hours: Key<String>,
}

/// How urgent alerts of one kind are, or that there are none.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum KindSeverity {
    Info,
    Warning,
    Critical,
    Off,
}

impl KindSeverity {
    pub fn importance(self) -> Option<Importance> {
        match self {
            Self::Info => Some(Importance::Info),
            Self::Warning => Some(Importance::Warning),
            Self::Critical => Some(Importance::Critical),
            Self::Off => None,
        }
    }
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RabbitMq {
    pub hosts: Key<Vec<String>>,
    pub vhost: Key<String>,
    pub username: Key<String>,
    pub password_file: Key<FilePath>,
    pub password_env: Key<String>,
    pub tls: Key<bool>,
    pub ca_file: Key<FilePath>,
    pub queue: Key<String>,
    pub partitions: Key<Partitions>,
    pub consume: Key<Vec<Partition>>,
    pub prefetch: Key<Prefetch>,
    pub durable: Key<bool>,
    pub queue_type: Key<QueueType>,
    pub group_size: Key<Number<1, 99>>,
    pub adopt: Key<bool>,
    pub key: Vec<Spanned<NamedKey>>,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum QueueType {
    Quorum,
    Classic,
}
