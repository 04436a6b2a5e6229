//! Examples beside the rules: a signal and a state, and what the pack must decide. `gemba policy test` runs them.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;

use super::memory::{Entry, Kind, Memory};
use super::pack::{Declared, Rule};
use super::{Decision, Pack, PolicySet, Question, Room};
use crate::event::UnixMillis;
use crate::place::{ConfigError, Place};
use crate::receipt::StateName;
use crate::rfc3339;
use crate::signal::{Assurance, Fingerprint, Provenance, Severity, Signal, Text, is_name};

/// As it stands in the pack.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExampleText {
    signal: SignalText,
    expect: Expected,
    /// The rule that decides, or `none`; without it, this one if it decides so.
    rule: Option<String>,
    /// RFC 3339.
    now: Option<String>,
    /// What the memories held before the signal.
    #[serde(default)]
    memory: BTreeMap<String, f64>,
    #[serde(default)]
    governor: GovernorText,
    #[serde(default)]
    source: SourceText,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SignalText {
    #[serde(rename = "type")]
    kind: String,
    id: Option<String>,
    tenant: Option<String>,
    sku: Option<String>,
    severity: Option<Severities>,
    time: Option<String>,
    data: Option<toml::Value>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Severities {
    Info,
    Warning,
    Critical,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct GovernorText {
    degraded: Option<bool>,
    quota_remaining: Option<u32>,
    failures: Option<u32>,
    testing: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct SourceText {
    name: Option<String>,
    key: Option<String>,
    assurance: Option<Classes>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
enum Classes {
    A,
    B,
    C,
}

/// What an example says must come out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Expected {
    Act,
    Deny,
    Observe,
    /// A policy dead letter.
    Error,
}

impl Expected {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Act => "act",
            Self::Deny => "deny",
            Self::Observe => "observe",
            Self::Error => "error",
        }
    }
}

/// A checked example.
#[derive(Debug)]
pub struct Example {
    pub place: Place,
    pub expect: Expected,
    /// `none`: no rule.
    rule: Option<Box<str>>,
    signal: Signal,
    now: UnixMillis,
    /// By place among the pack's memories.
    memory: Vec<(usize, f64)>,
    governor: GovernorText,
}

/// What came out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    pub decided: Expected,
    /// The rule that decided or failed.
    pub rule: Option<Box<str>>,
    /// Why it failed, where it did.
    pub detail: Option<Arc<str>>,
    pub passed: bool,
}

/// Noon of a Wednesday.
const NOON: UnixMillis = UnixMillis(1_767_787_200_000);

impl Example {
    pub(super) fn check(read: ExampleText, place: Place, memories: &[Declared]) -> Result<Self, ConfigError> {
        let wrong = |what: String| ConfigError::new(&place, what);
        let mut memory = Vec::new();
        for (name, value) in &read.memory {
            let at = memories.iter().position(|declared| *declared.name == **name);
            memory.push((at.ok_or_else(|| wrong(format!("the pack declares no memory `{name}`")))?, *value));
        }
        let now = match &read.now {
            None => NOON,
            Some(text) => {
                let time = rfc3339::parse(text);
                let time = time.ok_or_else(|| wrong(format!("`now` is no RFC 3339 time: {text:?}")))?;
                UnixMillis(u64::try_from(time.timestamp_millis()).unwrap_or_default())
            }
        };
        let signal = signal(&read).map_err(wrong)?;
        let rule = read.rule.map(String::into_boxed_str);
        Ok(Self { place, expect: read.expect, rule, signal, now, memory, governor: read.governor })
    }

    /// Asks the pack.
    #[must_use]
    pub fn run(&self, of: &Rule, pack: &Arc<Pack>) -> Outcome {
        let set = PolicySet::new(vec![Arc::clone(pack)]);
        let degraded = self.governor.degraded.unwrap_or_default();
        let question = Question {
            signal: &self.signal,
            now: self.now,
            state: if degraded { StateName::Degraded } else { StateName::Stable },
            entitled: !degraded,
            quota_remaining: self.governor.quota_remaining.unwrap_or(1000),
            testing: self.governor.testing.unwrap_or_default(),
            failures: self.governor.failures.unwrap_or_default(),
        };
        let mut memory = Some(Box::new(Memory::default()));
        for (at, value) in &self.memory {
            if let (Some(memory), Some(declared)) = (&mut memory, pack.memories.get(*at)) {
                self.remember(memory, declared, *value);
            }
        }
        let (decided, rule, detail) = match set.decide(&question, &mut memory, &mut Room::default()) {
            Ok(Decision::Observe(ruling)) => {
                (Expected::Observe, ruling.map(|ruling| ruling.policy.rule.clone()), None)
            }
            Ok(Decision::Deny(ruling)) => (Expected::Deny, Some(ruling.policy.rule.clone()), None),
            Ok(Decision::Act(ruling, _)) => (Expected::Act, Some(ruling.policy.rule.clone()), None),
            Err(unfit) => (Expected::Error, Some(unfit.policy.rule.clone()), Some(unfit.detail)),
        };
        let own = self.expect.as_str() == of.verdict.as_str();
        let by_whom = match &self.rule {
            Some(wanted) => rule.as_deref().unwrap_or("none") == &**wanted,
            None if own => rule.as_deref() == Some(&*of.id),
            None => true,
        };
        Outcome { passed: decided == self.expect && by_whom, decided, rule, detail }
    }

    /// Whether the rule that it stands beside is meant to hold.
    #[must_use]
    pub fn fires(&self, of: &Rule) -> bool {
        match &self.rule {
            Some(wanted) => *wanted == of.id,
            None => self.expect.as_str() == of.verdict.as_str(),
        }
    }

    /// What the pack is asked about.
    #[must_use]
    pub fn signal(&self) -> &Signal {
        &self.signal
    }

    fn remember(&self, memory: &mut Memory, declared: &Declared, value: f64) {
        let times = if declared.kind == Kind::Count { value } else { 1.0 };
        let entry = Entry {
            id: declared.id,
            kind: declared.kind,
            window_millis: declared.window_millis,
            value: if declared.kind == Kind::Count { 1.0 } else { value },
        };
        let mut left = times;
        while left >= 1.0 && times <= COUNT_MAX {
            memory.write(&entry, self.now);
            left -= 1.0;
        }
    }
}

/// A count that an example may begin with.
const COUNT_MAX: f64 = 1_000_000.0;

/// The signal as ingress would have made it, with what is left out filled in.
fn signal(read: &ExampleText) -> Result<Signal, String> {
    let SignalText { kind, id, tenant, sku, severity, time, data } = &read.signal;
    let name = |given: &Option<String>| given.clone().unwrap_or_else(|| "example".into());
    let (id, tenant, sku) = (name(id), name(tenant), name(sku));
    if !is_name(&tenant) || !is_name(&sku) {
        return Err("`tenant` and `sku` are names: 1 to 64 of a-z, 0-9, dot, underscore and dash".into());
    }
    let data = data.as_ref().map(serde_json::to_value).transpose();
    let data = data.map_err(|error| format!("`data` cannot be written as JSON: {error}"))?;
    let mut body = serde_json::json!({"id": id, "tenant": tenant, "sku": sku, "type": kind});
    for (field, value) in [("time", time.clone().map(Into::into)), ("data", data)] {
        if let (Some(value), Some(object)) = (value, body.as_object_mut()) {
            object.insert(field.into(), value);
        }
    }
    let source = &read.source;
    let assurance = match source.assurance.unwrap_or(Classes::B) {
        Classes::A => Assurance::A,
        Classes::B => Assurance::B,
        Classes::C => Assurance::C,
    };
    let own = |text: &str| Text::Owned(text.into());
    Ok(Signal {
        body: body.to_string().into(),
        id: own(&id),
        tenant: own(&tenant),
        sku: own(&sku),
        kind: own(kind),
        severity: match severity.unwrap_or(Severities::Info) {
            Severities::Info => Severity::Info,
            Severities::Warning => Severity::Warning,
            Severities::Critical => Severity::Critical,
        },
        provenance: Provenance::intern(
            source.name.as_deref().unwrap_or("signals"),
            source.key.as_deref().unwrap_or("default"),
            assurance,
        ),
        identity: Fingerprint([0; 16]),
        digest: 0,
    })
}
