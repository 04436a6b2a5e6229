//! Examples beside the rules: one signal or a sequence of them, a state, and what the pack must decide.

use std::collections::BTreeMap;

use serde::Deserialize;
use strum::IntoStaticStr;

use crate::alert::Importance;
use crate::event::UnixMillis;
use crate::expression::duration_millis;
use crate::limits::{EXAMPLE_SIGNALS_MAX, EXAMPLE_TIMES_MAX};
use crate::place::{ConfigError, Place};
use crate::rfc3339;
use crate::signal::{Assurance, Provenance, Severity, Signal, Text, Unchecked};

/// As it stands in the pack.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExampleText {
    signal: Option<SignalText>,
    /// Several, in their order; `expect` and `rule` are of the last.
    signals: Option<Vec<SignalText>>,
    expect: Expected,
    /// The rule that decides, or `none`; without it, this one if it decides so.
    rule: Option<String>,
    /// The alert that the last signal raises.
    expect_alert: Option<ExpectedAlert>,
    expect_message: Option<String>,
    /// Whether the alert of the rule beside the example, open from the begin on, is over by the last signal.
    expect_resolved: Option<bool>,
    /// RFC 3339; of a sequence, when it begins.
    now: Option<String>,
    /// What the memories held before the first signal.
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
    /// In a sequence: how long after its begin, as `duration()` reads it.
    at: Option<String>,
    /// In a sequence: sent this often.
    times: Option<u32>,
    /// In a sequence, of all but the last.
    expect: Option<Expected>,
    rule: Option<String>,
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
pub struct GovernorText {
    pub degraded: Option<bool>,
    pub quota_remaining: Option<u32>,
    pub failures: Option<u32>,
    pub testing: Option<bool>,
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, IntoStaticStr)]
#[strum(serialize_all = "snake_case", const_into_str)]
#[serde(rename_all = "lowercase")]
pub enum Expected {
    Act,
    Deny,
    Observe,
    /// A policy dead letter.
    Error,
}

/// The alert that an example expects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, IntoStaticStr)]
#[strum(serialize_all = "snake_case", const_into_str)]
#[serde(rename_all = "lowercase")]
pub enum ExpectedAlert {
    None,
    Info,
    Warning,
    Critical,
}

impl From<Option<Importance>> for ExpectedAlert {
    fn from(raised: Option<Importance>) -> Self {
        match raised {
            None => Self::None,
            Some(Importance::Info) => Self::Info,
            Some(Importance::Warning) => Self::Warning,
            Some(Importance::Critical) => Self::Critical,
        }
    }
}

/// A checked example.
#[derive(Debug)]
pub struct Example {
    pub place: Place,
    /// In the order of their times; never empty.
    pub steps: Vec<SentSignal>,
    pub now: UnixMillis,
    /// By place among the pack's memories.
    pub memory: Vec<(usize, f64)>,
    pub governor: GovernorText,
    /// Of the last signal.
    pub expect_alert: Option<ExpectedAlert>,
    pub expect_message: Option<Box<str>>,
    pub expect_resolved: Option<bool>,
}

/// One signal of an example.
#[derive(Debug)]
pub struct SentSignal {
    pub signal: Signal,
    pub now: UnixMillis,
    pub times: u32,
    /// Nothing: whatever is decided, as long as it fits.
    pub expect: Option<Expected>,
    /// `none`: no rule.
    pub rule: Option<Box<str>>,
}

/// Noon of a Wednesday.
const NOON: UnixMillis = UnixMillis(1_767_787_200_000);

impl Example {
    pub fn check(read: ExampleText, place: Place, memories: &[&str]) -> Result<Self, ConfigError> {
        let wrong = |what: String| ConfigError::new(&place, what);
        let mut memory = Vec::new();
        for (name, value) in &read.memory {
            let at = memories.iter().position(|declared| declared == name);
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
        let steps = steps(&read, now).map_err(wrong)?;
        Ok(Self {
            steps,
            now,
            memory,
            governor: read.governor,
            expect_alert: read.expect_alert,
            expect_message: read.expect_message.map(Into::into),
            expect_resolved: read.expect_resolved,
            place,
        })
    }

    /// The type of the signal that `expect` is about.
    pub fn kind(&self) -> &str {
        self.steps.last().map_or("", |step| step.signal.kind())
    }

    /// Whether a signal of one of these types comes before the one that `expect` is about.
    pub fn sends_before(&self, types: &[Box<str>]) -> bool {
        let before = self.steps.split_last().map_or(&[][..], |(_, before)| before);
        before.iter().any(|step| types.is_empty() || types.iter().any(|kind| **kind == *step.signal.kind()))
    }
}

/// The signals with their times.
fn steps(read: &ExampleText, begin: UnixMillis) -> Result<Vec<SentSignal>, String> {
    let rule = || read.rule.as_deref().map(Into::into);
    let several = match (&read.signal, &read.signals) {
        (Some(one), None) => {
            if one.at.is_some() || one.times.is_some() || one.expect.is_some() || one.rule.is_some() {
                return Err("`at`, `times`, `expect` and `rule` of a signal belong into `signals`".into());
            }
            let signal = signal(one, &read.source)?;
            return Ok(vec![SentSignal {
                signal,
                now: begin,
                times: 1,
                expect: Some(read.expect),
                rule: rule(),
            }]);
        }
        (None, Some(several)) => several,
        (Some(_), Some(_)) | (None, None) => {
            return Err("an example has either `signal` or `signals`".into());
        }
    };
    if !(1..=EXAMPLE_SIGNALS_MAX).contains(&several.len()) {
        return Err(format!("`signals` has 1 to {EXAMPLE_SIGNALS_MAX} signals"));
    }
    let mut steps: Vec<SentSignal> = Vec::with_capacity(several.len());
    for (at, each) in several.iter().enumerate() {
        let last = at + 1 == several.len();
        let number = at + 1;
        let now = match each.at.as_deref().map(duration_millis) {
            Some(Some(after)) => UnixMillis(begin.0.saturating_add(after)),
            Some(None) => {
                return Err(format!("`at` of signal {number} is no duration from 0 on, such as '1h30m'"));
            }
            None => {
                return Err(format!(
                    "`at` of signal {number} is missing: how long after the first, as '25h'"
                ));
            }
        };
        if last && (each.expect.is_some() || each.rule.is_some()) {
            return Err("`expect` and `rule` of the last signal are those of the example".into());
        }
        let times = each.times.unwrap_or(1);
        if !(1..=EXAMPLE_TIMES_MAX).contains(&times) || (last && times > 1) {
            return Err(format!("`times` of signal {number} is 1 to {EXAMPLE_TIMES_MAX}, and 1 of the last"));
        }
        let signal = signal(each, &read.source)?;
        if let Some(before) = steps.last() {
            if now < before.now {
                return Err(format!("signal {number} comes before the one before it: `at` never goes back"));
            }
            if (before.signal.tenant(), before.signal.sku()) != (signal.tenant(), signal.sku()) {
                return Err("the signals of an example are of one `tenant` and `sku`: memories are".into());
            }
        }
        let (expect, rule) = if last {
            (Some(read.expect), rule())
        } else {
            (each.expect, each.rule.as_deref().map(Into::into))
        };
        steps.push(SentSignal { signal, now, times, expect, rule });
    }
    Ok(steps)
}

/// The signal as ingress would have made it, with what is left out filled in.
fn signal(read: &SignalText, source: &SourceText) -> Result<Signal, String> {
    let SignalText { kind, id, tenant, sku, severity, time, data, .. } = read;
    let name = |given: &Option<String>| given.clone().unwrap_or_else(|| "example".into());
    let (id, tenant, sku) = (name(id), name(tenant), name(sku));
    if let Some(time) = time.as_ref().filter(|time| rfc3339::parse(time).is_none()) {
        return Err(format!("`time` is no RFC 3339 time: {time:?}"));
    }
    let data = data.as_ref().map(serde_json::to_value).transpose();
    let data = data.map_err(|error| format!("`data` cannot be written as JSON: {error}"))?;
    let mut body = serde_json::json!({"id": id, "tenant": tenant, "sku": sku, "type": kind});
    for (field, value) in [("time", time.clone().map(Into::into)), ("data", data)] {
        if let (Some(value), Some(object)) = (value, body.as_object_mut()) {
            object.insert(field.into(), value);
        }
    }
    let assurance = match source.assurance.unwrap_or(Classes::B) {
        Classes::A => Assurance::A,
        Classes::B => Assurance::B,
        Classes::C => Assurance::C,
    };
    let own = |text: &str| Text::Owned(text.into());
    let (from, key) = (source.name.as_deref(), source.key.as_deref());
    let provenance = Provenance::intern(from.unwrap_or("signals"), key.unwrap_or("default"), assurance);
    let signal = Unchecked {
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
        provenance: provenance.map_err(|illegal| illegal.to_string())?,
        digest: 0,
    };
    signal.check().map_err(|illegal| illegal.to_string())
}
