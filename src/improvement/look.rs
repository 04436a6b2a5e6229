//! What a node has measured since it started: the answer of `GET /v1/kaizen`. All of it only grows, so that two looks
//! subtract to what happened between them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::spread::Spread;

/// Since the node started; or, of a window, between two looks.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Look {
    pub node: NodeLook,
    /// How long it measured.
    pub elapsed_milliseconds: u64,
    pub stages: BTreeMap<String, StageLook>,
    pub lanes: BTreeMap<String, LaneLook>,
    /// Signals by result, as `gemba_signals_total` has them.
    pub results: BTreeMap<String, u64>,
    /// Dead letters by whose they are to mend.
    pub dead_letters: BTreeMap<String, u64>,
    pub rules: Vec<RuleLook>,
    pub targets: BTreeMap<String, TargetLook>,
    /// Those with the most events.
    pub tenants: BTreeMap<String, TenantLook>,
    /// All others.
    pub other_tenants: TenantLook,
}

/// What may be why two recordings differ.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeLook {
    pub name: String,
    pub role: String,
    pub version: String,
    /// When it began to count, in milliseconds since 1970: a different one is a different run.
    pub started_milliseconds: u64,
    /// SHA-256 of the effective configuration, which names secrets and holds none.
    pub configuration: String,
    /// SHA-256 of the rules that hold, and the event from which they do.
    pub policy: Option<String>,
    pub policy_since: Option<u64>,
    pub machine: Machine,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    pub processor: String,
    /// Processors that the node may use.
    pub processors: u64,
    pub memory_bytes: u64,
    pub kernel: String,
    /// Kind of the file system of the data directory.
    pub file_system: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StageLook {
    /// One in this many is measured.
    pub sampled: u64,
    pub took: Spread,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaneLook {
    /// What waits in it now.
    pub depth: u64,
    /// Sum of depth times milliseconds, looked at once a second.
    pub waited_milliseconds: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleLook {
    pub pack: String,
    pub rule: String,
    pub decisions: u64,
    /// Actions that it asked for and that failed, and signals that it could not decide.
    pub failures: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetLook {
    pub successes: u64,
    pub failures: u64,
    /// Calls over the wire, with those that were made again.
    pub tries: u64,
    pub failed_tries: u64,
    /// Actions that were turned away: the target is halted, or had no room.
    pub turned_away: u64,
    /// What waits for it now.
    pub waiting: u64,
    /// How long each try took.
    pub took: Spread,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TenantLook {
    pub events: u64,
    /// Sum over its events, from the journal's stamp to their step.
    pub waited_milliseconds: u64,
    /// Dead letters.
    pub failures: u64,
}

impl Look {
    /// What happened since `earlier`, a look at the same run.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let less = |now: &BTreeMap<String, u64>, then: &BTreeMap<String, u64>| {
            now.iter().map(|(name, count)| (name.clone(), minus(*count, then.get(name).copied()))).collect()
        };
        Self {
            node: self.node.clone(),
            elapsed_milliseconds: minus(self.elapsed_milliseconds, Some(earlier.elapsed_milliseconds)),
            stages: each(&self.stages, &earlier.stages, StageLook::since),
            lanes: each(&self.lanes, &earlier.lanes, LaneLook::since),
            results: less(&self.results, &earlier.results),
            dead_letters: less(&self.dead_letters, &earlier.dead_letters),
            rules: self.rules.iter().map(|rule| rule.since(&earlier.rules)).collect(),
            targets: each(&self.targets, &earlier.targets, TargetLook::since),
            tenants: each(&self.tenants, &earlier.tenants, TenantLook::since),
            other_tenants: self.other_tenants.since(&earlier.other_tenants),
        }
    }

    /// Signals that were accepted.
    #[must_use]
    pub fn accepted(&self) -> u64 {
        self.results.get("accepted").copied().unwrap_or_default()
    }

    /// Signals that were refused but for a sender's own repetition, dead letters, and actions that failed.
    #[must_use]
    pub fn failures(&self) -> u64 {
        let refused = self.results.iter().filter(|(name, _)| is_failure(name)).map(|(_, count)| *count);
        let dead = self.dead_letters.values().copied();
        let failed = self.targets.values().map(|target| target.failures);
        refused.chain(dead).chain(failed).sum()
    }

    /// Whether nothing came.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        let events = self.tenants.values().map(|tenant| tenant.events).sum::<u64>();
        self.results.values().sum::<u64>() + events + self.other_tenants.events == 0
    }
}

/// A sender that repeats a signal is told that it is known: that is no failure.
pub fn is_failure(result: &str) -> bool {
    !matches!(result, "accepted" | "duplicate")
}

fn minus(now: u64, then: Option<u64>) -> u64 {
    now.saturating_sub(then.unwrap_or_default())
}

fn each<T: Default>(
    now: &BTreeMap<String, T>,
    then: &BTreeMap<String, T>,
    since: fn(&T, &T) -> T,
) -> BTreeMap<String, T> {
    let nothing = T::default();
    now.iter().map(|(name, now)| (name.clone(), since(now, then.get(name).unwrap_or(&nothing)))).collect()
}

impl StageLook {
    fn since(&self, earlier: &Self) -> Self {
        Self { sampled: self.sampled, took: self.took.since(&earlier.took) }
    }
}

impl LaneLook {
    fn since(&self, earlier: &Self) -> Self {
        let waited_milliseconds = minus(self.waited_milliseconds, Some(earlier.waited_milliseconds));
        Self { depth: self.depth, waited_milliseconds }
    }
}

impl RuleLook {
    fn since(&self, earlier: &[Self]) -> Self {
        let before = earlier.iter().find(|before| before.pack == self.pack && before.rule == self.rule);
        Self {
            decisions: minus(self.decisions, before.map(|before| before.decisions)),
            failures: minus(self.failures, before.map(|before| before.failures)),
            ..self.clone()
        }
    }
}

impl TargetLook {
    fn since(&self, earlier: &Self) -> Self {
        Self {
            successes: minus(self.successes, Some(earlier.successes)),
            failures: minus(self.failures, Some(earlier.failures)),
            tries: minus(self.tries, Some(earlier.tries)),
            failed_tries: minus(self.failed_tries, Some(earlier.failed_tries)),
            turned_away: minus(self.turned_away, Some(earlier.turned_away)),
            waiting: self.waiting,
            took: self.took.since(&earlier.took),
        }
    }
}

impl TenantLook {
    fn since(&self, earlier: &Self) -> Self {
        Self {
            events: minus(self.events, Some(earlier.events)),
            waited_milliseconds: minus(self.waited_milliseconds, Some(earlier.waited_milliseconds)),
            failures: minus(self.failures, Some(earlier.failures)),
        }
    }
}
