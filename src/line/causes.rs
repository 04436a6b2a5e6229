//! Causes that concern the node: a target, a stage, the disk, restarts, dead letters. Each is looked at once a second, and what is open
//! is compared with what holds; so neither a cause nor its end is lost by a restart.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use super::desk::Desk;
use crate::alert::{Alarm, AlertCause, AlertLabels, CauseKind, Raise};
use crate::clock::{self, Instant};
use crate::jidoka::alerts::AlertsSeen;
use crate::limits::CAUSES_OF_NODE_MAX;

/// What holds, and what was told of it.
#[derive(Debug, Default)]
pub struct Causes {
    /// Told by this process, by kind and name; not told again before it is over.
    told: BTreeSet<(CauseKind, Box<str>)>,
    /// Since when a stage is not ready.
    unready: BTreeMap<Box<str>, Instant>,
    /// Restarts so far, and when the last one was seen.
    restarts: Option<(u64, Option<Instant>)>,
    /// Dead letters so far, once a second.
    dead: VecDeque<(Instant, u64)>,
}

/// A stage may be away for a moment: a start, a reconnection.
const UNREADY_FOR: Duration = Duration::from_secs(5);
/// After so long without another one, a restart is over.
const RESTART_FOR: Duration = Duration::from_mins(10);
const MINUTE: Duration = Duration::from_mins(1);

/// A cause that holds now.
type Holds = BTreeMap<(CauseKind, Box<str>), String>;

impl Causes {
    /// What is to be journalled now.
    pub fn look(&mut self, desk: &Desk, seen: &AlertsSeen, dead_letters_per_minute: u32) -> Vec<Alarm> {
        let now = clock::now();
        let mut holds = Holds::new();
        self.stages(desk, now, &mut holds);
        targets(desk, &mut holds);
        self.restarts(desk, now, &mut holds);
        self.dead_letters(desk, now, dead_letters_per_minute, &mut holds);
        disk(desk, &mut holds);
        for halt in desk.halts() {
            holds.insert((CauseKind::Halt, halt.scope.to_string().into()), halt.to_string());
        }
        let mut alarms = Vec::new();
        for ((kind, name), message) in &holds {
            let is_open = seen.open_of_node.iter().any(|(open, of)| open == kind && of == name);
            // One that an operator closed is told again when it holds anew.
            let has_room = self.told.len() < CAUSES_OF_NODE_MAX;
            if has_room && self.told.insert((*kind, name.clone())) && !is_open {
                alarms.push(raise(*kind, name, message));
            }
        }
        let over =
            |kind: CauseKind, name: &str| is_looked_at(kind) && !holds.contains_key(&(kind, name.into()));
        for (kind, name) in seen.open_of_node.iter().filter(|(kind, name)| over(*kind, name)) {
            alarms.push(Alarm::End(AlertCause { kind: *kind, subject: None, name: name.clone() }));
        }
        self.told.retain(|told| holds.contains_key(told));
        alarms
    }

    fn stages(&mut self, desk: &Desk, now: Instant, holds: &mut Holds) {
        let health = desk.health();
        if health.journal.drain.is_on() {
            return;
        }
        let stages = health.stages();
        self.unready.retain(|name, _| stages.iter().any(|stage| !stage.ok && *stage.stage == **name));
        for stage in stages.into_iter().filter(|stage| !stage.ok) {
            let since = *self.unready.entry((*stage.stage).into()).or_insert(now);
            if now.saturating_duration_since(since) < UNREADY_FOR {
                continue;
            }
            let kind = match &*stage.stage {
                "broker" => CauseKind::BrokerAway,
                "state" => CauseKind::SharedStateAway,
                _ => CauseKind::StageNotReady,
            };
            let why = stage.reason.as_deref().unwrap_or("it is not ready");
            holds.insert((kind, (*stage.stage).into()), format!("stage {}: {why}", stage.stage));
        }
    }

    fn restarts(&mut self, desk: &Desk, now: Instant, holds: &mut Holds) {
        let count = desk.restarts();
        let (known, last) = self.restarts.get_or_insert((0, None));
        if count > *known {
            (*known, *last) = (count, Some(now));
        }
        if last.is_some_and(|last| now.saturating_duration_since(last) < RESTART_FOR) {
            let message =
                format!("the line was taken up again after a failure, {count} times since the start");
            holds.insert((CauseKind::Restart, "".into()), message);
        }
    }

    fn dead_letters(&mut self, desk: &Desk, now: Instant, most: u32, holds: &mut Holds) {
        let count = desk.dead_letters_so_far();
        self.dead.push_back((now, count));
        while self.dead.len() > 2
            && self.dead.get(1).is_some_and(|(at, _)| now.saturating_duration_since(*at) >= MINUTE)
        {
            self.dead.pop_front();
        }
        let before = self.dead.front().map_or(count, |(_, count)| *count);
        let within = count.saturating_sub(before);
        if most > 0 && within > u64::from(most) {
            let message = format!("{within} signals became dead letters within a minute");
            holds.insert((CauseKind::DeadLetters, "".into()), message);
        }
    }
}

/// Kinds whose end is seen here, of causes of the node.
fn is_looked_at(kind: CauseKind) -> bool {
    match kind {
        CauseKind::TargetBreaker
        | CauseKind::DeadLetters
        | CauseKind::StageNotReady
        | CauseKind::Restart
        | CauseKind::DiskLow
        | CauseKind::BrokerAway
        | CauseKind::SharedStateAway
        | CauseKind::Halt => true,
        CauseKind::Rule
        | CauseKind::GovernorBreaker
        | CauseKind::QuotaExhausted
        | CauseKind::ChannelFailing
        | CauseKind::Test => false,
    }
}

fn targets(desk: &Desk, holds: &mut Holds) {
    for watch in desk.targets().borrow().iter().filter(|watch| watch.breaker() > 0) {
        let waiting = watch.waiting();
        let message = format!("target `{}` fails: its breaker is open, {waiting} actions wait", watch.name);
        holds.insert((CauseKind::TargetBreaker, (*watch.name).into()), message);
    }
}

fn disk(desk: &Desk, holds: &mut Holds) {
    let health = desk.health();
    let (free, low) = (health.journal.disk_free.read(), health.low_water_bytes);
    if free > 0 && free < low.saturating_mul(2) {
        let message =
            format!("{} MiB of disk are free; below {} MiB signals are refused", free >> 20, low >> 20);
        holds.insert((CauseKind::DiskLow, "".into()), message);
    }
}

fn raise(kind: CauseKind, name: &str, message: &str) -> Alarm {
    let cause = AlertCause { kind, subject: None, name: name.into() };
    let (importance, labels) = (kind.importance(), AlertLabels::default());
    Alarm::Raise(Box::new(Raise {
        cause,
        importance,
        message: message.into(),
        member: None,
        labels,
        minutes: 0,
    }))
}
