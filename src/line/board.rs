//! The board's view of the line: what it publishes, with rates and latencies of the last seconds.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::health::Health;
use crate::alert::AlertCount;
use crate::board_view::{
    BoardAlert, BoardAlertCount, BoardChannel, BoardLane, BoardLatency, BoardNode, BoardStage, BoardTarget,
    BoardView, BoardWork,
};
use crate::clock::{self, Instant};
use crate::improvement::{NodeLook, Spread, is_failure};
use crate::jidoka::alerts::AlertsSeen;
use crate::kaizen::{Collector, Counter, Metric, Readings, Stage};
use crate::limits::{ARRIVALS_LANE, DRAFTS_LANE, EVENTS_LANE, INTENTS_LANE};
use crate::view::{AlertView, ChannelToldView, HaltView};

/// Remembers what was counted before, to tell what happens now.
#[derive(Default)]
pub struct BoardWatch {
    /// What was counted, the oldest first: one a second.
    counted: VecDeque<Counted>,
    /// How long things took until then, the oldest first: one in ten seconds.
    taken: VecDeque<(Instant, [Spread; LATENCIES.len()])>,
    latency: BTreeMap<&'static str, BoardLatency>,
    checkpoint: Option<Signed>,
    /// What counts as a change, as it was last, and since when.
    calm: Option<(u64, BoardView)>,
}

/// Counts at one moment.
#[derive(Clone, Copy)]
struct Counted {
    at: Instant,
    accepted: u64,
    refused: u64,
    journalled: u64,
    decided: u64,
    receipts: u64,
    actions: u64,
}

/// The last checkpoint: its mark, and the wall clock's time of it.
#[derive(Clone, Copy)]
struct Signed {
    mark: u64,
    wall: u64,
}

/// What is timed, under the board's names.
const LATENCIES: [(&str, Stage); 3] =
    [("request", Stage::Whole), ("journal", Stage::Fsync), ("decide", Stage::DecideWait)];
const SECOND: Duration = Duration::from_secs(1);
/// Rates are means of so many seconds.
const RATE_SECONDS: usize = 5;
/// Latencies are those since the older of two moments that are this far apart.
const LATENCY_WINDOW: Duration = Duration::from_secs(10);
/// After so long without a look, what was counted before says nothing about now.
const FORGOTTEN: Duration = Duration::from_secs(30);
/// The lanes between two stages: their name, the capacity of one, and the count of what passes them.
type Between = (&'static str, usize, fn(&Counted) -> u64);

const LANES: [Between; 4] = [
    ("arrivals", ARRIVALS_LANE, |counted| counted.journalled),
    ("events", EVENTS_LANE, |counted| counted.decided),
    ("drafts", DRAFTS_LANE, |counted| counted.receipts),
    ("intents", INTENTS_LANE, |counted| counted.actions),
];

/// The first open alerts: a critical one is not pushed out by later ones of less weight.
fn alerts(seen: &AlertsSeen) -> Vec<BoardAlert> {
    seen.list.alerts.iter().filter(|alert| alert.ended_ms.is_none()).map(alert).collect()
}

/// All open alerts, whether they are shown or not.
fn alert_counts(seen: &AlertsSeen) -> BTreeMap<&'static str, BoardAlertCount> {
    let mut counts = BTreeMap::<_, BoardAlertCount>::new();
    for AlertCount { importance, silenced, count, .. } in &seen.counts {
        let of = counts.entry(importance.into_str()).or_default();
        of.open += count;
        of.silenced += if *silenced { *count } else { 0 };
    }
    counts
}

fn alert(alert: &AlertView) -> BoardAlert {
    let channel =
        |told: &ChannelToldView| BoardChannel { channel: told.channel.clone(), state: told.state.into() };
    BoardAlert {
        id: alert.id.as_str().into(),
        kind: alert.kind.into(),
        name: alert.name.clone(),
        severity: alert.severity.into(),
        state: alert.state.into(),
        silenced: alert.silenced,
        tenant: alert.tenant.clone(),
        sku: alert.sku.clone(),
        message: alert.message.clone(),
        since_ms: alert.since_ms,
        members: alert.members.into(),
        end_known: alert.end_known,
        acknowledged_by: alert.acknowledged_by.clone(),
        route: alert.route.clone().unwrap_or_default(),
        channels: alert.channels.iter().map(channel).collect(),
        receipt: Some(alert.receipt.clone()),
    }
}

impl BoardWatch {
    /// One look at the line.
    pub fn look(
        &mut self,
        (node, health): (&NodeLook, &Health),
        collector: &Collector,
        readings: &Readings,
        (seen, halts): (&AlertsSeen, Vec<HaltView>),
    ) -> BoardView {
        let now = clock::now();
        let counted = Counted::new(now, health, collector);
        self.remember(counted, collector);
        let status = health.node();
        let stage = |stage: crate::view::StageHealth| {
            (stage.stage.into(), BoardStage { ok: stage.ok, reason: stage.reason.map(Into::into) })
        };
        let by_label = |metric| by_label(readings, metric);
        let waiting = by_label(Metric::TargetWaiting);
        let targets = by_label(Metric::TargetBreaker).into_iter().map(|(name, breaker)| {
            let waiting = waiting.get(&name).copied().unwrap_or_default();
            (name, BoardTarget { breaker: condition(breaker), waiting })
        });
        let mut view = BoardView {
            node: BoardNode {
                name: status.name,
                role: status.role.into(),
                version: (*node.version).into(),
                ready: status.ready,
                condition: if health.status() > 0.0 { "degraded" } else { "healthy" },
                started: collector.begun().0,
            },
            time: clock::wall().0,
            changed: 0,
            stages: status.stages.into_iter().map(stage).collect(),
            lanes: self.lanes(&counted, &by_label(Metric::RingDepth)),
            latency: self.latency.clone(),
            governors: by_label(Metric::Governors),
            targets: targets.collect(),
            dead_letters: by_label(Metric::DeadLettersOpen),
            work: BoardWork {
                durable_seq: status.durable_seq,
                accepted_per_second: self.per_second(&counted, |counted| counted.accepted),
                refused_per_second: self.per_second(&counted, |counted| counted.refused),
                waiting_bytes: one(readings, Metric::WaitingBytes),
                disk_free_bytes: one(readings, Metric::DiskFree),
                restarts: one(readings, Metric::Restarts),
                checkpoint: self.checkpoint(health),
            },
            alerts: alerts(seen),
            alert_counts: alert_counts(seen),
            silences: seen.silences.clone(),
            halts,
            broker: status.broker,
            state: status.state,
        };
        view.changed = self.changed(&view);
        view
    }

    /// Takes up what was counted, where a second has passed since it was last.
    fn remember(&mut self, counted: Counted, collector: &Collector) {
        let since = |at: Instant| counted.at.saturating_duration_since(at);
        if self.counted.back().is_some_and(|last| since(last.at) > FORGOTTEN) {
            self.counted.clear();
            self.taken.clear();
        }
        if self.counted.back().is_some_and(|last| since(last.at) < SECOND) {
            return;
        }
        self.counted.push_back(counted);
        if self.counted.len() > RATE_SECONDS + 1 {
            self.counted.pop_front();
        }
        let took = LATENCIES.map(|(_, stage)| Spread::new(collector.took(stage)));
        if let Some((_, before)) = self.taken.front() {
            self.latency = LATENCIES
                .iter()
                .zip(took.iter().zip(before))
                .filter_map(|((name, _), (now, before))| Some((*name, latency(&now.since(before))?)))
                .collect();
        }
        if self.taken.back().is_none_or(|(at, _)| since(*at) >= LATENCY_WINDOW) {
            self.taken.push_back((counted.at, took));
        }
        if self.taken.len() > 2 {
            self.taken.pop_front();
        }
    }

    /// Mean of the last seconds; none before the second look.
    fn per_second(&self, now: &Counted, of: fn(&Counted) -> u64) -> Option<u64> {
        let then = self.counted.front()?;
        let passed = u64::try_from(now.at.saturating_duration_since(then.at).as_millis()).ok()?;
        (passed >= 500).then(|| of(now).saturating_sub(of(then)) * 1000 / passed)
    }

    fn lanes(&self, counted: &Counted, depths: &BTreeMap<Box<str>, u64>) -> BTreeMap<Box<str>, BoardLane> {
        let mut lanes = BTreeMap::new();
        for (name, capacity, passed) in LANES {
            let is_of = |lane: &str| lane.rsplit_once('-').is_some_and(|(of, _)| of == name);
            let of = depths.iter().filter(|(lane, _)| is_of(lane)).map(|(_, depth)| *depth);
            let (count, depth) = of.fold((0, 0), |(count, sum), depth| (count + 1, sum + depth));
            if count > 0 {
                let per_second = self.per_second(counted, passed);
                let capacity = count * capacity as u64;
                lanes.insert(name.into(), BoardLane { depth, capacity, per_second });
            }
        }
        lanes
    }

    /// The wall clock's time of the last checkpoint. It is worked out once: the two clocks do not keep the same step.
    fn checkpoint(&mut self, health: &Health) -> Option<u64> {
        let mark = health.checkpoint.as_ref()?.read();
        if self.checkpoint.is_none_or(|signed| signed.mark != mark) {
            let wall = clock::wall().0.saturating_sub(clock::millis().saturating_sub(mark));
            self.checkpoint = Some(Signed { mark, wall });
        }
        self.checkpoint.map(|signed| signed.wall)
    }

    /// When what people are called for last changed.
    fn changed(&mut self, view: &BoardView) -> u64 {
        let breaker =
            |target: &BoardTarget| BoardTarget { breaker: target.breaker, ..BoardTarget::default() };
        // A reason may have a number in it that moves.
        let kind = |stage: &BoardStage| BoardStage {
            ok: stage.ok,
            reason: stage.reason.as_ref().map(|_| "".into()),
        };
        let calm = BoardView {
            node: view.node.clone(),
            stages: view.stages.iter().map(|(name, stage)| (name.clone(), kind(stage))).collect(),
            targets: view.targets.iter().map(|(name, target)| (name.clone(), breaker(target))).collect(),
            alerts: view.alerts.clone(),
            alert_counts: view.alert_counts.clone(),
            halts: view.halts.clone(),
            ..BoardView::default()
        };
        match &self.calm {
            Some((since, before)) if *before == calm => *since,
            Some(_) | None => {
                self.calm = Some((view.time, calm));
                view.time
            }
        }
    }
}

impl Counted {
    fn new(at: Instant, health: &Health, collector: &Collector) -> Self {
        let mut counted = Self {
            at,
            accepted: collector.counted(Counter::Accepted),
            refused: 0,
            journalled: health.durable().0,
            decided: collector.tenants().others().events,
            receipts: collector.counted(Counter::Receipts),
            actions: collector.counted(Counter::ActionsSuccessful)
                + collector.counted(Counter::ActionsFailed),
        };
        counted.decided += collector.tenants().named().map(|(_, tally)| tally.events).sum::<u64>();
        for counter in Counter::ALL {
            if let (Metric::Signals, [result]) = counter.series()
                && is_failure(result)
            {
                counted.refused += collector.counted(counter);
            }
        }
        counted
    }
}

/// None of what did not happen.
fn latency(took: &Spread) -> Option<BoardLatency> {
    let at = |per_mille| took.quantile(per_mille) / 1000;
    (took.count() > 0).then(|| BoardLatency { p50: at(500), p99: at(990), p999: at(999) })
}

/// As `gemba_target_breaker` numbers them.
fn condition(breaker: u64) -> &'static str {
    match breaker {
        0 => "healthy",
        1 => "testing",
        _ => "halted",
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "what is read here was a count before it was a float"
)]
fn whole(value: f64) -> u64 {
    value as u64
}

fn by_label(readings: &Readings, metric: Metric) -> BTreeMap<Box<str>, u64> {
    let labelled = |reading: &crate::kaizen::Reading| {
        reading.labels.first().map(|label| (label.clone(), whole(reading.value)))
    };
    readings.of(metric).filter_map(labelled).collect()
}

fn one(readings: &Readings, metric: Metric) -> u64 {
    readings.of(metric).next().map_or(0, |reading| whole(reading.value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::Importance::{Critical, Info};

    #[test]
    fn open_alerts_are_counted_whether_they_are_shown_or_not() {
        let count = |state, importance, silenced, count| AlertCount { state, importance, silenced, count };
        let counts = vec![
            count("open", Info, false, 24_000),
            count("open", Critical, true, 1),
            count("notified", Critical, false, 2),
        ];
        let counts = alert_counts(&AlertsSeen { counts, ..AlertsSeen::default() });
        let of = |open, silenced| BoardAlertCount { open, silenced };
        assert_eq!(counts, [("critical", of(3, 1)), ("info", of(24_000, 0))].into());
    }
}
