//! Which few parts cause most of the delay, the waiting and the failures: each ranking marks the fewest that make 80 %, and
//! one of all is named as the first to change.

use serde::Serialize;
use strum::{EnumCount, VariantArray};

use super::advice::advice;
use super::look::{Look, NodeLook, is_failure};
use super::numbers::{float, number, seconds, share};
use super::recording::Recording;
use crate::variants::array;

/// What is ranked, and by what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, EnumCount, VariantArray)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Stages by what each adds to the way of a signal.
    StageDelay,
    /// Lanes by what waits in them.
    LaneWaiting,
    TenantWaiting,
    TenantFailures,
    RuleDecisions,
    RuleFailures,
    TargetTime,
    TargetFailures,
    /// Results of signals that were refused.
    Refusals,
}

impl Kind {
    pub const ALL: [Self; Self::COUNT] = array(Self::VARIANTS);

    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::StageDelay => "Stages by delay of a signal",
            Self::LaneWaiting => "Lanes by what waits in them",
            Self::TenantWaiting => "Tenants by waiting",
            Self::TenantFailures => "Tenants by dead letters",
            Self::RuleDecisions => "Rules by decisions",
            Self::RuleFailures => "Rules by failures",
            Self::TargetTime => "Targets by time",
            Self::TargetFailures => "Targets by failures",
            Self::Refusals => "Refusals by result",
        }
    }

    /// An amount as people read it.
    #[must_use]
    pub fn shown(self, amount: f64) -> String {
        match self {
            Self::StageDelay | Self::TenantWaiting | Self::TargetTime => seconds(amount),
            Self::LaneWaiting
            | Self::TenantFailures
            | Self::RuleDecisions
            | Self::RuleFailures
            | Self::TargetFailures
            | Self::Refusals => number(amount),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Item {
    pub name: String,
    /// Seconds, or a number.
    pub amount: f64,
    pub share: f64,
    /// One of the fewest that make 80 %.
    pub vital: bool,
    /// What else tells something about it.
    pub detail: String,
}

/// The items of one kind, largest first.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Ranking {
    pub kind: Kind,
    pub items: Vec<Item>,
}

/// The first to change.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct First {
    pub kind: Kind,
    pub name: String,
    pub reason: String,
    pub advice: &'static str,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    pub node: NodeLook,
    pub seconds: f64,
    pub signals_per_second: f64,
    /// Failures of all that was sent.
    pub failure_share: f64,
    /// Nothing came: there is nothing to rank.
    pub idle: bool,
    pub first: Option<First>,
    pub rankings: Vec<Ranking>,
}

/// The few that make this much are marked.
const VITAL: f64 = 0.8;
/// Failures beyond this share come first.
const FAILURES_COME_FIRST: f64 = 0.01;
/// And what waits beyond this mean depth comes before what takes long.
const WAITING_COMES_FIRST: f64 = 1.0;
/// A target that takes this long for a try, in seconds, comes before the stages.
const SLOW_TARGET: f64 = 1.0;

impl Ranking {
    /// Of name, amount and detail; what is nothing is left out.
    #[must_use]
    pub fn new(kind: Kind, items: impl IntoIterator<Item = (String, f64, String)>) -> Self {
        let mut items: Vec<_> = items.into_iter().filter(|(_, amount, _)| *amount > 0.0).collect();
        items.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        let whole: f64 = items.iter().map(|(_, amount, _)| amount).sum();
        let mut before = 0.0;
        let items = items.into_iter().map(|(name, amount, detail)| {
            // In fractions, four times 20 % are a little less than 80 %.
            let vital = before < VITAL - 1e-9;
            let share = share(amount, whole);
            before += share;
            Item { name, amount, share, vital, detail }
        });
        Self { kind, items: items.collect() }
    }
}

impl Report {
    #[must_use]
    pub fn new(recording: &Recording) -> Self {
        let totals = &recording.totals;
        let window = float(totals.elapsed_milliseconds.max(1)) / 1000.0;
        let tried = totals.results.values().sum::<u64>() + totals.targets.values().map(tries).sum::<u64>();
        let failure_share = share(float(totals.failures()), float(tried)).min(1.0);
        let rankings: Vec<Ranking> = Kind::ALL.map(|kind| rank(kind, totals, window)).into();
        let idle = totals.is_idle();
        let first = (!idle).then(|| first(totals, &rankings, failure_share)).flatten();
        let rankings = rankings.into_iter().filter(|ranking| !ranking.items.is_empty()).collect();
        Self {
            node: totals.node.clone(),
            seconds: window,
            signals_per_second: float(totals.accepted()) / window,
            failure_share,
            idle,
            first,
            rankings,
        }
    }
}

fn tries(target: &super::look::TargetLook) -> u64 {
    target.successes + target.failures
}

fn rank(kind: Kind, totals: &Look, window: f64) -> Ranking {
    let tenants = || {
        let named = totals.tenants.iter().map(|(name, tenant)| (name.clone(), tenant));
        named.chain(std::iter::once(("(all other tenants)".to_owned(), &totals.other_tenants)))
    };
    let rule = |rule: &super::look::RuleLook| format!("{}/{}", rule.pack, rule.rule);
    match kind {
        Kind::StageDelay => {
            let stages = totals.stages.iter().filter(|(name, _)| *name != "whole");
            Ranking::new(
                kind,
                stages.map(|(name, stage)| {
                    let p99 = seconds(float(stage.took.quantile(990)) / 1e9);
                    let busy = stage.took.seconds() * float(stage.sampled) / window;
                    (
                        name.clone(),
                        stage.took.mean(),
                        format!("p99 {p99}; {} s a second in all", number(busy)),
                    )
                }),
            )
        }
        Kind::LaneWaiting => Ranking::new(
            kind,
            totals.lanes.iter().map(|(name, lane)| {
                let depth = float(lane.waited_milliseconds) / 1000.0 / window;
                (name.clone(), depth, format!("{} now", lane.depth))
            }),
        ),
        Kind::TenantWaiting => Ranking::new(
            kind,
            tenants().map(|(name, tenant)| {
                (name, float(tenant.waited_milliseconds) / 1000.0, format!("{} events", tenant.events))
            }),
        ),
        Kind::TenantFailures => Ranking::new(
            kind,
            tenants()
                .map(|(name, tenant)| (name, float(tenant.failures), format!("{} events", tenant.events))),
        ),
        Kind::RuleDecisions => Ranking::new(
            kind,
            totals
                .rules
                .iter()
                .map(|of| (rule(of), float(of.decisions), format!("{} failures", of.failures))),
        ),
        Kind::RuleFailures => Ranking::new(
            kind,
            totals
                .rules
                .iter()
                .map(|of| (rule(of), float(of.failures), format!("{} decisions", of.decisions))),
        ),
        Kind::TargetTime => Ranking::new(
            kind,
            totals.targets.iter().map(|(name, target)| {
                let mean = seconds(target.took.mean());
                (name.clone(), target.took.seconds(), format!("{} tries, {mean} each", target.tries))
            }),
        ),
        Kind::TargetFailures => Ranking::new(
            kind,
            totals.targets.iter().map(|(name, target)| {
                let (failures, away) = (target.failures, target.turned_away);
                let detail = format!(
                    "of {} actions; {away} turned away, {} of {} tries failed",
                    tries(target),
                    target.failed_tries,
                    target.tries
                );
                (name.clone(), float(failures), detail)
            }),
        ),
        Kind::Refusals => Ranking::new(
            kind,
            totals
                .results
                .iter()
                .filter(|(name, _)| is_failure(name))
                .map(|(name, count)| (name.clone(), float(*count), String::new())),
        ),
    }
}

/// What fails comes before what waits, what waits before what takes long: failed work is lost, waiting says where work is
/// more than can be done, and the longest stage matters where neither is.
fn first(totals: &Look, rankings: &[Ranking], failure_share: f64) -> Option<First> {
    let top = |kind: Kind| rankings.iter().find(|ranking| ranking.kind == kind)?.items.first();
    let name = |kind: Kind, item: &Item, reason: String| First {
        kind,
        advice: advice(kind, &item.name),
        name: item.name.clone(),
        reason,
    };
    let percent = |share: f64| format!("{:.0} %", share * 100.0);
    if failure_share >= FAILURES_COME_FIRST {
        let failing = [Kind::TargetFailures, Kind::Refusals, Kind::RuleFailures, Kind::TenantFailures];
        let causes = failing.into_iter().filter_map(|kind| Some((kind, top(kind)?)));
        // Of those with as many, the first of the list: a rule fails where its target does.
        let worst = causes.reduce(|worst, next| if next.1.amount > worst.1.amount { next } else { worst });
        if let Some((kind, item)) = worst {
            let of = percent(item.share);
            let all = percent(failure_share);
            let reason = format!(
                "{all} of all work fails, and it has {of} of what fails there ({} failures)",
                number(item.amount)
            );
            return Some(name(kind, item, reason));
        }
    }
    if let Some(lane) = top(Kind::LaneWaiting).filter(|lane| lane.amount >= WAITING_COMES_FIRST) {
        let reason = format!(
            "{} wait in it on average, {} of all that waits",
            number(lane.amount),
            percent(lane.share)
        );
        return Some(name(Kind::LaneWaiting, lane, reason));
    }
    let each = |target: &Item| totals.targets.get(&target.name).map_or(0.0, |target| target.took.mean());
    if let Some(target) = top(Kind::TargetTime).filter(|target| each(target) >= SLOW_TARGET) {
        let (each, share) = (seconds(each(target)), percent(target.share));
        let reason = format!("each of its tries takes {each}; it makes {share} of the time of all targets");
        return Some(name(Kind::TargetTime, target, reason));
    }
    let stage = top(Kind::StageDelay)?;
    let reason =
        format!("it makes {} of the way of a signal ({})", percent(stage.share), seconds(stage.amount));
    Some(name(Kind::StageDelay, stage, reason))
}
