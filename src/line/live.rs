//! What may change while the line runs. Whoever uses a part looks it up; a reload replaces all parts that changed at once,
//! and a line that is taken up again begins with what holds.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::digest::{SHA256, digest};
use serde_json::Value;

use super::{remote_write, traces};
use crate::andon::channel::Channels;
use crate::config::ExpectedSource;
use crate::ingress::callback::CallbackSource;
use crate::ingress::stage::Source;
use crate::jidoka::action::Targets;
use crate::jidoka::rules::RulesSource;
use crate::kanban::broker::mac::Keys;
use crate::limits::FACTS_BYTES_MAX;
use crate::operator::{BoardSessions, Tokens};
use crate::place::ConfigError;
use crate::ring::{Current, Mark};
use crate::tapped::TapRules;
use crate::view::{ConfigView, SettingChange};

/// The parts that a reload replaces. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Live {
    /// Who may send, and with which keys.
    pub sources: Current<Vec<Source>>,
    /// Channels that may call back, each with its key.
    pub callbacks: Current<Vec<CallbackSource>>,
    /// Sources whose silence is an alert.
    pub expected_sources: Current<Vec<ExpectedSource>>,
    /// Who may ask and order.
    pub tokens: Current<Tokens>,
    /// Who has shown a token to the board. A reload that withdraws the token ends the session.
    pub sessions: BoardSessions,
    /// Where actions go.
    pub targets: Current<Targets>,
    /// How people are told.
    pub channels: Current<Channels>,
    /// Targets over a connection that the start left file descriptors for.
    pub target_room: Mark,
    pub rulebook: Current<Rulebook>,
    pub telemetry: Current<Telemetry>,
    /// Whether viewers may look at signals, and what they do not see.
    pub tap: Current<TapRules>,
    /// What messages of the broker are vouched for with, where this node takes or sends any.
    pub message_keys: Option<Current<Keys>>,
}

impl Live {
    /// To find a signal by its id.
    #[must_use]
    pub fn source_names(&self) -> Vec<Box<str>> {
        self.sources.get().iter().map(|source| source.name.clone()).collect()
    }
}

/// What is told to others of the line.
#[derive(Clone, Debug)]
pub struct Telemetry {
    /// Which signals are traced; `None`: nothing is.
    pub traces: Option<Arc<traces::Plan>>,
    /// Where samples are sent; `None`: they are only scraped.
    pub remote_write: Option<Arc<remote_write::Plan>>,
    /// SHA-256 of the effective configuration, in hex; secrets are named in it and do not stand in it.
    pub configuration: String,
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

    /// What the files say now, checked. Nothing is configured by it.
    ///
    /// # Errors
    /// The first thing that is wrong, with its place.
    pub fn look(&self) -> Result<RulesSource, ConfigError> {
        let source = (self.read)()?;
        source.clone().compile()?;
        Ok(source)
    }

    /// Has these rules be configured.
    pub fn configure(&self, source: RulesSource) {
        *self.configured.lock().unwrap_or_else(PoisonError::into_inner) = source;
    }
}

impl std::fmt::Debug for Rulebook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rulebook").finish_non_exhaustive()
    }
}

/// What a node is told, and how it is told anew.
pub trait Configuration: fmt::Debug + Send + Sync {
    /// Reads everything again and checks it; nothing holds yet.
    ///
    /// # Errors
    /// Everything that was found to be wrong.
    fn read(self: Arc<Self>) -> Result<Box<dyn Prepared>, Vec<ConfigError>>;

    /// The same for who only looks: files that changed are still to be read.
    ///
    /// # Errors
    /// Everything that was found to be wrong.
    fn look(self: Arc<Self>) -> Result<Box<dyn Prepared>, Vec<ConfigError>>;

    /// Whether a file is another one than when it was read last; such a change is told once. A look at each file's state.
    fn has_changed(&self) -> bool;

    /// What holds.
    fn view(&self) -> ConfigView;

    /// Names what holds, for `If-Match` (RFC 9110, section 13.1.1).
    fn tag(&self) -> String;
}

/// A configuration that was read, and is right.
pub trait Prepared: Send {
    /// What holds otherwise as soon as it is committed.
    fn changes(&self) -> &[SettingChange];

    /// Keys whose new values wait for the next start.
    fn waits(&self) -> &[String];

    /// SHA-256 of all keys and rules, in hex; no secret is in it.
    fn sha256(&self) -> String;

    /// SHA-256 of all secrets, which is never shown.
    fn secrets_digest(&self) -> [u8; 32];

    /// The rules that it asks for.
    fn rulebook(&self) -> &Arc<Rulebook>;

    /// From here on it holds.
    fn commit(self: Box<Self>);
}

/// What a receipt tells of changes: as many of them as it has room for, and how many there are more.
pub fn facts(changes: &[SettingChange], needs_restart: &[String]) -> Box<str> {
    let whole = changes.iter().map(|change| in_receipt(&serde_json::json!(change))).collect::<Vec<_>>();
    let hash = digest(&SHA256, Value::from(whole).to_string().as_bytes());
    let hash = faster_hex::hex_string(hash.as_ref());
    let tell = |told: &[Value]| {
        let (more, needs_restart) = (changes.len() - told.len(), needs_restart.len());
        let told = serde_json::json!({"changes": told, "more": more, "needs_restart": needs_restart, "sha256": hash});
        told.to_string()
    };
    // Who may do what comes first; where room ends, a change has no values.
    let is_right = |change: &&SettingChange| {
        ["admin.token", "source", "rabbitmq.key"].iter().any(|of| change.key.starts_with(of))
    };
    let (rights, others): (Vec<&SettingChange>, Vec<&SettingChange>) = changes.iter().partition(is_right);
    let mut all = Vec::new();
    for SettingChange { key, old, new } in rights.into_iter().chain(others) {
        all.push(serde_json::json!({"key": key, "new": in_receipt(new), "old": in_receipt(old)}));
        if tell(&all).len() > FACTS_BYTES_MAX {
            all.pop();
            all.push(serde_json::json!({"key": key}));
        }
        if tell(&all).len() > FACTS_BYTES_MAX {
            all.pop();
        }
    }
    tell(&all).into()
}

/// Numbers that are not whole stand in a receipt as they are written: there are several ways to write one.
fn in_receipt(value: &Value) -> Value {
    match value {
        Value::Number(number) if number.is_f64() => number.to_string().into(),
        Value::Array(all) => all.iter().map(in_receipt).collect(),
        Value::Object(all) => all.iter().map(|(key, value)| (key.clone(), in_receipt(value))).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}
