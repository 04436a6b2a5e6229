//! What is shown of a node: what happened between two looks, and how it does at the second. Its fields are the keys of
//! `gemba top --json`.

use std::collections::BTreeMap;

use serde::Serialize;

use super::answers::{Answers, BrokerAnswer, HaltAnswer, PartitionAnswer, SharedAnswer};
use crate::improvement::{Look, Spread, TenantLook, float};
use crate::kaizen::{Metric, Stage};

#[derive(Clone, Debug, Serialize)]
pub struct TopView {
    pub node: TopNode,
    /// Rates are of this long.
    pub window_seconds: f64,
    /// All kinds together, as `gemba kaizen` counts them.
    pub failures_per_second: f64,
    pub waiting: TopWaiting,
    pub signals: Vec<TopResult>,
    pub lanes: Vec<TopLane>,
    pub stages: Vec<TopStage>,
    /// Those with the most events a second first.
    pub tenants: Vec<TopTenant>,
    pub other_tenants: TopTenant,
    pub rules: Vec<TopRule>,
    pub targets: Vec<TopTarget>,
    pub dead_letters: TopDeadLetters,
    /// Governors by state; empty where none decide.
    pub governors: BTreeMap<String, u64>,
    pub disk_free_bytes: Option<u64>,
    pub distributed: TopDistributed,
}

#[derive(Clone, Debug, Serialize)]
pub struct TopNode {
    pub name: String,
    pub role: String,
    pub version: String,
    pub up_seconds: f64,
    pub ready: bool,
    /// Why it is not ready, or what is doubted.
    pub reasons: Vec<String>,
    /// Tenants, targets and the line that operators halted.
    pub halts: Vec<HaltAnswer>,
}

#[derive(Clone, Debug, Serialize)]
pub struct TopWaiting {
    /// Taken, and not yet handed to their governor.
    pub signals: Option<u64>,
    pub bytes: Option<u64>,
}

#[derive(Clone, Debug, Serialize)]
pub struct TopResult {
    pub result: String,
    pub per_second: f64,
}

/// All lanes of one kind.
#[derive(Clone, Debug, Serialize)]
pub struct TopLane {
    pub lane: String,
    pub lanes: u64,
    /// What waits now in all of them.
    pub depth: u64,
    /// And on average.
    pub mean_depth: f64,
    /// The lane with the most waiting, where any waits.
    pub deepest: Option<String>,
    /// What goes through all of them; null where that is not measured.
    pub per_second: Option<f64>,
}

#[derive(Clone, Debug, Serialize)]
pub struct TopStage {
    pub stage: String,
    pub per_second: f64,
    /// Null where nothing was measured.
    pub p50_seconds: Option<f64>,
    pub p99_seconds: Option<f64>,
}

#[derive(Clone, Debug, Serialize)]
pub struct TopTenant {
    pub tenant: String,
    pub events_per_second: f64,
    /// Mean wait of an event, to its decision.
    pub waited_seconds: f64,
    pub failures_per_second: f64,
}

#[derive(Clone, Debug, Serialize)]
pub struct TopRule {
    pub pack: String,
    pub rule: String,
    pub decisions_per_second: f64,
    pub failures_per_second: f64,
}

#[derive(Clone, Debug, Serialize)]
pub struct TopTarget {
    pub target: String,
    /// `healthy`, `testing` or `halted`; null where the node does not say.
    pub breaker: Option<&'static str>,
    pub waiting: u64,
    /// Actions that ended, well or not.
    pub per_second: f64,
    pub failures_per_second: f64,
    /// Of one try.
    pub p50_seconds: Option<f64>,
    pub p99_seconds: Option<f64>,
}

#[derive(Clone, Debug, Serialize)]
pub struct TopDeadLetters {
    /// By whose they are to mend.
    pub open: BTreeMap<String, u64>,
    pub per_second: f64,
}

/// What only a node of several has.
#[derive(Clone, Debug, Serialize)]
pub struct TopDistributed {
    pub broker: Option<BrokerAnswer>,
    pub partitions: Vec<PartitionAnswer>,
    pub state: Option<SharedAnswer>,
}

/// Name of the row of all tenants that are not told apart.
pub const OTHER_TENANTS: &str = "(all other tenants)";
/// Lanes in the order of the line; others follow.
const LANES: [&str; 4] = ["arrivals", "events", "drafts", "intents"];

impl TopView {
    /// Of two looks at one run of a node.
    #[must_use]
    pub fn new(earlier: &Answers, now: &Answers) -> Self {
        let window = now.look.since(&earlier.look);
        let over = Over(float(window.elapsed_milliseconds.max(1)) / 1000.0);
        let metrics = &now.metrics;
        let receipts = metrics.value(Metric::Receipts);
        let receipts = receipts.map(|now| now - earlier.metrics.value(Metric::Receipts).unwrap_or_default());
        let dead: u64 = window.dead_letters.values().sum();
        Self {
            node: node(now),
            window_seconds: over.0,
            failures_per_second: over.rate(window.failures()),
            waiting: TopWaiting {
                signals: metrics.value(Metric::QueueDepth).map(whole),
                bytes: metrics.value(Metric::WaitingBytes).map(whole),
            },
            signals: results(&window, over),
            lanes: lanes(&window, over, receipts),
            stages: stages(&window, over),
            tenants: tenants(&window, over),
            other_tenants: tenant(OTHER_TENANTS, &window.other_tenants, over),
            rules: rules(&window, over),
            targets: targets(&window, over, &metrics.by_label(Metric::TargetBreaker)),
            dead_letters: TopDeadLetters {
                open: counts(&metrics.by_label(Metric::DeadLettersOpen)),
                per_second: over.rate(dead),
            },
            governors: counts(&metrics.by_label(Metric::Governors)),
            disk_free_bytes: metrics.value(Metric::DiskFree).map(whole),
            distributed: TopDistributed {
                partitions: now
                    .status
                    .broker
                    .as_ref()
                    .map_or_else(Vec::new, |broker| broker.partitions.clone()),
                broker: now.status.broker.clone(),
                state: now.status.state.clone(),
            },
        }
    }
}

/// A window of so many seconds.
#[derive(Clone, Copy)]
struct Over(f64);

impl Over {
    fn rate(self, count: u64) -> f64 {
        float(count) / self.0
    }
}

fn node(now: &Answers) -> TopNode {
    let of = &now.look.node;
    let reasons = now.status.stages.iter();
    let reasons = reasons.filter_map(|stage| Some(format!("{}: {}", stage.stage, stage.reason.as_deref()?)));
    TopNode {
        name: of.name.clone(),
        role: of.role.clone(),
        version: of.version.clone(),
        up_seconds: float(now.look.elapsed_milliseconds) / 1000.0,
        ready: now.status.ready,
        reasons: reasons.collect(),
        halts: now.status.halts.clone(),
    }
}

fn results(window: &Look, over: Over) -> Vec<TopResult> {
    // What is well comes first.
    let place =
        |result: &str| ["accepted", "duplicate"].iter().position(|first| *first == result).unwrap_or(2);
    let mut results: Vec<_> = window.results.iter().collect();
    results.sort_by_key(|(result, _)| place(result));
    let result = |(result, count): (&String, &u64)| TopResult {
        result: result.clone(),
        per_second: over.rate(*count),
    };
    results.into_iter().map(result).collect()
}

fn lanes(window: &Look, over: Over, receipts: Option<f64>) -> Vec<TopLane> {
    let mut kinds: Vec<(TopLane, u64)> = Vec::new();
    for (name, lane) in &window.lanes {
        let kind = kind_of_lane(name);
        let mean_depth = float(lane.waited_milliseconds) / 1000.0 / over.0;
        let at = kinds.iter().position(|(known, _)| known.lane == kind).unwrap_or_else(|| {
            let per_second = through(kind, window, over, receipts);
            let new =
                TopLane { lane: kind.into(), lanes: 0, depth: 0, mean_depth: 0.0, deepest: None, per_second };
            kinds.push((new, 0));
            kinds.len() - 1
        });
        let Some((known, most)) = kinds.get_mut(at) else { continue };
        known.lanes += 1;
        known.depth += lane.depth;
        known.mean_depth += mean_depth;
        if lane.depth > *most {
            *most = lane.depth;
            known.deepest = Some(name.clone());
        }
    }
    let place = |lane: &TopLane| LANES.iter().position(|kind| *kind == lane.lane).unwrap_or(LANES.len());
    kinds.sort_by_key(|(lane, _)| place(lane));
    kinds.into_iter().map(|(lane, _)| lane).collect()
}

/// A lane's name without the number of its thread.
fn kind_of_lane(name: &str) -> &str {
    match name.rsplit_once('-') {
        Some((kind, number)) if number.bytes().all(|byte| byte.is_ascii_digit()) => kind,
        Some(_) | None => name,
    }
}

/// What goes through the lanes of a kind, as the stages after them count it.
fn through(kind: &str, window: &Look, over: Over, receipts: Option<f64>) -> Option<f64> {
    let stage = |stage: Stage| {
        let stage = window.stages.get(stage.into_str())?;
        Some(over.rate(stage.took.count() * stage.sampled))
    };
    match kind {
        "arrivals" => stage(Stage::LaneWait),
        "events" => stage(Stage::Decide),
        "drafts" => receipts.map(|receipts| receipts.max(0.0) / over.0),
        "intents" => {
            let targets = window.targets.values();
            Some(over.rate(targets.map(|target| target.successes + target.failures).sum()))
        }
        _ => None,
    }
}

fn stages(window: &Look, over: Over) -> Vec<TopStage> {
    let mut stages: Vec<_> = window.stages.iter().collect();
    let place =
        |name: &str| Stage::ALL.iter().position(|stage| stage.into_str() == name).unwrap_or(Stage::ALL.len());
    stages.sort_by_key(|(name, _)| place(name));
    let stage = |(name, stage): (&String, &crate::improvement::StageLook)| TopStage {
        stage: name.clone(),
        per_second: over.rate(stage.took.count() * stage.sampled),
        p50_seconds: quantile(&stage.took, 500),
        p99_seconds: quantile(&stage.took, 990),
    };
    stages.into_iter().map(stage).collect()
}

fn tenants(window: &Look, over: Over) -> Vec<TopTenant> {
    let tenants = window.tenants.iter();
    let mut tenants: Vec<_> = tenants.map(|(name, of)| tenant(name, of, over)).collect();
    tenants.sort_by(|a, b| b.events_per_second.total_cmp(&a.events_per_second));
    tenants
}

fn tenant(name: &str, of: &TenantLook, over: Over) -> TopTenant {
    TopTenant {
        tenant: name.into(),
        events_per_second: over.rate(of.events),
        waited_seconds: float(of.waited_milliseconds) / 1000.0 / float(of.events.max(1)),
        failures_per_second: over.rate(of.failures),
    }
}

fn rules(window: &Look, over: Over) -> Vec<TopRule> {
    let rules = window.rules.iter().map(|of| TopRule {
        pack: of.pack.clone(),
        rule: of.rule.clone(),
        decisions_per_second: over.rate(of.decisions),
        failures_per_second: over.rate(of.failures),
    });
    let mut rules: Vec<_> = rules.collect();
    rules.sort_by(|a, b| {
        let by_rate = b.decisions_per_second.total_cmp(&a.decisions_per_second);
        by_rate.then_with(|| (&a.pack, &a.rule).cmp(&(&b.pack, &b.rule)))
    });
    rules
}

fn targets(window: &Look, over: Over, breakers: &BTreeMap<&str, f64>) -> Vec<TopTarget> {
    let targets = window.targets.iter().map(|(name, of)| TopTarget {
        target: name.clone(),
        breaker: breakers.get(&**name).and_then(|state| breaker(*state)),
        waiting: of.waiting,
        per_second: over.rate(of.successes + of.failures),
        failures_per_second: over.rate(of.failures),
        p50_seconds: quantile(&of.took, 500),
        p99_seconds: quantile(&of.took, 990),
    });
    targets.collect()
}

/// As `gemba_target_breaker` numbers them.
fn breaker(state: f64) -> Option<&'static str> {
    match whole(state) {
        0 => Some("healthy"),
        1 => Some("testing"),
        2 => Some("halted"),
        _ => None,
    }
}

fn quantile(took: &Spread, per_mille: u64) -> Option<f64> {
    (took.count() > 0).then(|| float(took.quantile(per_mille)) / 1e9)
}

fn counts(values: &BTreeMap<&str, f64>) -> BTreeMap<String, u64> {
    values.iter().map(|(name, value)| ((*name).to_owned(), whole(*value))).collect()
}

/// A metric that counts things.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a cast ends at the bounds")]
fn whole(value: f64) -> u64 {
    value as u64
}
