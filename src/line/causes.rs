//! Causes that concern the node: a target, a channel, a stage, the disk, restarts, dead letters, certificates, silent sources. Each is
//! looked at once a second, and what is open is compared with what holds; so neither a cause nor its end is lost by a restart.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::desk::Desk;
use super::unwritable::Unwritable;
use crate::alert::{Alarm, AlertCause, AlertLabels, CauseKind, Raise};
use crate::andon::channel::ChannelWatch;
use crate::clock::{self, Instant};
use crate::config::ExpectedSource;
use crate::event::UnixMillis;
use crate::jidoka::alerts::AlertsSeen;
use crate::limits::{
    ALARM_AGAIN, CAUSES_OF_NODE_MAX, CERTIFICATE_ALERTED, CHANNEL_FAILING_MINUTES, TLS_FILES_LOOK,
};
use crate::net::client_tls::{OwnCertificate, own_certificates};
use crate::printable::with_noun;

/// What holds, and what was told of it.
#[derive(Debug, Default)]
pub struct Causes {
    /// Told by this process, by kind and name: not opened again before it is over.
    told: BTreeMap<(CauseKind, Box<str>), Told>,
    /// More causes hold than may, and that was said.
    is_full: bool,
    /// Since when a stage is not ready.
    unready: BTreeMap<Box<str>, Instant>,
    /// Restarts so far, and when the last one was seen.
    restarts: Option<(u64, Option<Instant>)>,
    /// Dead letters so far, once a second.
    dead: VecDeque<(Instant, u64)>,
    /// When this process looked first, and what the last one left.
    began: Option<(Instant, Option<Unwritable>)>,
    /// Sources whose silence is an alert, as this process has heard of them.
    heard: BTreeMap<Box<str>, SourceHeard>,
    /// Certificates were looked at then, and these end soon.
    certificates: Option<(Instant, Vec<Ending>)>,
    /// Since when nothing arrives that a channel tells.
    stuck: BTreeMap<Box<str>, Instant>,
}

/// What was told of a cause, and when.
#[derive(Debug)]
struct Told {
    message: String,
    at: Instant,
}

/// A stage may be away for a moment: a start, a reconnection.
const UNREADY_FOR: Duration = Duration::from_secs(5);
/// After so long without another one, a restart is over.
const RESTART_FOR: Duration = Duration::from_mins(10);
/// A process that could not write has ended, so it is over when the next one has written for so long.
const UNWRITABLE_FOR: Duration = Duration::from_mins(10);
const MINUTE: Duration = Duration::from_mins(1);
/// A receiver may be away for a moment, or ask for a pause.
const STUCK_FOR: Duration = Duration::from_mins(5);
/// After a start, a source is waited for as long as its heartbeat, and not longer than this: a node that is started anew more often
/// than a source sends would never tell of it.
const HEARD_AFRESH_FOR: Duration = Duration::from_hours(1);

/// The newest signal of a source.
#[derive(Clone, Copy, Debug)]
struct SourceHeard {
    /// By the journal's time; `None` where nothing is known of the source.
    newest: Option<UnixMillis>,
    /// When this process saw it first.
    at: Instant,
    /// It came before this process.
    is_of_before: bool,
}

impl SourceHeard {
    fn hear(&mut self, newest: Option<UnixMillis>, now: Instant) {
        if self.newest != newest {
            *self = Self { newest, at: now, is_of_before: false };
        }
    }

    /// How silent the source is. The journal's time may have stepped; the process counts what really passed.
    fn silence(&self, time: UnixMillis, now: Instant) -> Option<Silence> {
        self.newest.map(|newest| Silence {
            by_journal: Duration::from_millis(time.0.saturating_sub(newest.0)),
            by_process: now.saturating_duration_since(self.at),
            is_since_start: self.is_of_before,
        })
    }
}

/// For how long nothing came from a source.
#[derive(Clone, Copy, Debug)]
struct Silence {
    by_journal: Duration,
    by_process: Duration,
    /// Nothing came since the process began.
    is_since_start: bool,
}

/// A channel where notifications wait since its tries fail.
#[derive(Debug)]
struct StuckChannel {
    name: Box<str>,
    waiting: usize,
    /// Why the last try failed.
    why: Box<str>,
}

impl StuckChannel {
    fn of(watch: &ChannelWatch) -> Option<Self> {
        let why = watch.why().filter(|_| watch.waiting() > 0)?;
        Some(Self { name: (*watch.name).into(), waiting: watch.waiting(), why })
    }
}

/// A certificate that ends soon: its file, and what is told of it.
type Ending = (Box<str>, String);

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
        self.unwritable(desk, now, &mut holds);
        self.certificates(now, &mut holds);
        self.silent_sources(desk, (now, seen), &mut holds);
        let watches = desk.channel_watches();
        self.channels(watches.borrow().iter().filter_map(|watch| StuckChannel::of(watch)), now, &mut holds);
        leave_out_what_is_off(&mut holds, seen);
        self.compare(&holds, &seen.open_of_node, now)
    }

    /// What is to be told of what holds, where this is open.
    fn compare(&mut self, holds: &Holds, open: &[(CauseKind, Box<str>)], now: Instant) -> Vec<Alarm> {
        let mut alarms = Vec::new();
        self.told.retain(|told, _| holds.contains_key(told));
        let mut untold = None;
        for (of, message) in holds {
            let (kind, name) = of;
            let (is_open, is_full) = (open.contains(of), self.told.len() >= CAUSES_OF_NODE_MAX);
            match self.told.get_mut(of) {
                // Its values are other ones. One that an operator closed is told again when it holds anew.
                Some(told) if is_open && told.message != *message => {
                    if now.saturating_duration_since(told.at) >= ALARM_AGAIN {
                        *told = Told { message: message.clone(), at: now };
                        alarms.push(raise(*kind, name, message));
                    }
                }
                Some(_) => {}
                None if is_full => untold = Some(of),
                None => {
                    if !is_open {
                        alarms.push(raise(*kind, name, message));
                    }
                    self.told.insert(of.clone(), Told { message: message.clone(), at: now });
                }
            }
        }
        if let Some((kind, name)) = untold
            && !self.is_full
        {
            tracing::warn!(
                target: "gemba::andon",
                kind = <&str>::from(*kind),
                name = &**name,
                limit = CAUSES_OF_NODE_MAX,
                "more holds of this node than it tells of: further causes are no alerts"
            );
        }
        self.is_full = untold.is_some();
        let is_over = |of: &&(CauseKind, Box<str>)| is_looked_at(of.0) && !holds.contains_key(*of);
        for (kind, name) in open.iter().filter(is_over) {
            alarms.push(Alarm::End(AlertCause::of_node(*kind, name)));
        }
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

    fn unwritable(&mut self, desk: &Desk, now: Instant, holds: &mut Holds) {
        let (began, left) = self.began.get_or_insert_with(|| (now, desk.unwritable().read()));
        let Some(Unwritable { what, reason, .. }) = left else { return };
        if now.saturating_duration_since(*began) < UNWRITABLE_FOR {
            holds.insert(
                (what.cause(), "".into()),
                format!("the node ended since it could not write: {reason}"),
            );
        } else {
            desk.unwritable().remove();
            *left = None;
        }
    }

    fn certificates(&mut self, now: Instant, holds: &mut Holds) {
        let is_old = |(looked, _): &(Instant, _)| now.saturating_duration_since(*looked) >= TLS_FILES_LOOK;
        if self.certificates.as_ref().is_none_or(is_old) {
            let wall = clock::wall();
            let ends = |own: &OwnCertificate| own.facts.ends_within(wall, CERTIFICATE_ALERTED);
            let told = |OwnCertificate { file, whom, facts }: OwnCertificate| {
                let until = facts.not_after;
                let message = format!("the certificate of this node for {whom} ends at {until}: renew it");
                (file.display().to_string().into(), message)
            };
            let ending = own_certificates().into_iter().filter(ends).map(told).collect();
            self.certificates = Some((now, ending));
        }
        for (file, message) in self.certificates.iter().flat_map(|(_, ending)| ending) {
            holds.insert((CauseKind::CertificateExpiring, file.clone()), message.clone());
        }
    }

    fn silent_sources(&mut self, desk: &Desk, (now, seen): (Instant, &AlertsSeen), holds: &mut Holds) {
        let health = desk.health();
        if health.journal.drain.is_on() {
            return;
        }
        let up =
            self.began.as_ref().map_or(Duration::ZERO, |(began, _)| now.saturating_duration_since(*began));
        let time = health.journal.clock.time.read();
        let expected = desk.expected_sources();
        self.heard.retain(|name, _| expected.iter().any(|source| source.name == *name));
        for ExpectedSource { name, every } in &*expected {
            let is_open =
                seen.open_of_node.iter().any(|(kind, of)| *kind == CauseKind::HeartbeatMissed && of == name);
            let newest = health.journal.sources.newest_of(name);
            let began = SourceHeard { newest, at: now, is_of_before: true };
            let heard = self.heard.entry(name.clone()).or_insert(began);
            heard.hear(newest, now);
            let silent = heard.silence(UnixMillis(time), now);
            if is_missed(*every, silent, up, is_open) {
                let seconds = every.as_secs();
                let message = format!("nothing was accepted from source `{name}` for {seconds} s");
                holds.insert((CauseKind::HeartbeatMissed, name.clone()), message);
            }
        }
    }

    /// People hear of a channel that tells nothing long before it gives up. The end is not seen here: its next notification that arrives
    /// ends it, or an hour in which this is not told again. So it is one alert with that of a notification that was given up.
    fn channels(&mut self, stuck: impl Iterator<Item = StuckChannel>, now: Instant, holds: &mut Holds) {
        let before = std::mem::take(&mut self.stuck);
        for StuckChannel { name, waiting, why } in stuck {
            let since = before.get(&name).copied().unwrap_or(now);
            let lasts = now.saturating_duration_since(since);
            self.stuck.insert(name.clone(), since);
            if lasts >= STUCK_FOR {
                let message = format!(
                    "no notification of channel `{name}` has arrived for {} minutes, {}: {why}",
                    lasts.as_secs() / 60,
                    with_noun(waiting as u64, "notification waits", "notifications wait")
                );
                holds.insert((CauseKind::ChannelFailing, name), message);
            }
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
            let message = format!(
                "{} within a minute",
                with_noun(within, "signal became a dead letter", "signals became dead letters")
            );
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
        | CauseKind::Halt
        | CauseKind::CertificateExpiring
        | CauseKind::LogUnwritable
        | CauseKind::StoreUnwritable
        | CauseKind::JournalUnwritable
        | CauseKind::HeartbeatMissed => true,
        CauseKind::Rule
        | CauseKind::GovernorBreaker
        | CauseKind::QuotaExhausted
        | CauseKind::ChannelFailing
        | CauseKind::Test
        | CauseKind::SequenceGap => false,
    }
}

/// Whether a source that sends something `every` so often is silent. It is so only where the journal's time and this process's own say
/// it: a clock that steps makes no source silent. Where nothing is known of it, the node waits for it as long as it is `up`. What is
/// open stays so until something comes: a restart neither ends it nor tells of it again.
fn is_missed(every: Duration, silent: Option<Silence>, up: Duration, is_open: bool) -> bool {
    match silent {
        Some(Silence { by_journal, by_process, is_since_start }) => {
            let waits = if is_since_start { every.min(HEARD_AFRESH_FOR) } else { every };
            by_journal >= every && (is_open || by_process >= waits)
        }
        None => is_open || up >= every,
    }
}

/// A kind that is off is told of to nobody: a cause of it that holds when the kind is switched on is told then. One that is open ends
/// as it would have.
fn leave_out_what_is_off(holds: &mut Holds, seen: &AlertsSeen) {
    holds.retain(|of, _| !seen.off.contains(&of.0) || seen.open_of_node.contains(of));
}

fn targets(desk: &Desk, holds: &mut Holds) {
    for watch in desk.targets().borrow().iter().filter(|watch| watch.breaker() > 0) {
        let waiting = watch.waiting();
        let message = format!(
            "target `{}` fails: its breaker is open, {}",
            watch.name,
            with_noun(waiting as u64, "action waits", "actions wait")
        );
        holds.insert((CauseKind::TargetBreaker, (*watch.name).into()), message);
    }
}

fn disk(desk: &Desk, holds: &mut Holds) {
    let health = desk.health();
    if let Some(message) = disk_low(health.journal.free_bytes(), health.low_water_bytes) {
        holds.insert((CauseKind::DiskLow, "".into()), message);
    }
}

/// What is told of so much free space; nothing where it is enough, or not known yet.
fn disk_low(free: Option<u64>, low: u64) -> Option<String> {
    let free = free.filter(|free| *free < low.saturating_mul(2))?;
    Some(format!("{} MiB of disk are free; below {} MiB signals are refused", free >> 20, low >> 20))
}

fn raise(kind: CauseKind, name: &str, message: &str) -> Alarm {
    let cause = AlertCause::of_node(kind, name);
    let source = (kind == CauseKind::HeartbeatMissed).then(|| name.into());
    let (importance, labels) = (kind.importance(), AlertLabels { source, ..AlertLabels::default() });
    let minutes = if kind == CauseKind::ChannelFailing { CHANNEL_FAILING_MINUTES } else { 0 };
    Alarm::Raise(Box::new(Raise {
        cause,
        importance,
        message: message.into(),
        member: None,
        labels,
        minutes,
    }))
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};
    use std::sync::Arc;

    use super::super::alert_orders::AlertLine;
    use super::super::alerting::compare;
    use super::*;
    use crate::alert::{AlertEffects, Alerts, Routes, RoutesSource};
    use crate::event::Seq;
    use crate::halt::HaltScope;
    use crate::jidoka::alerts::{AlertsAsked, NoticeLane};
    use crate::operator::Refused;

    #[test]
    fn a_source_is_silent_as_the_journal_and_the_process_know_it() {
        let seconds = Duration::from_secs;
        // How long it was silent by the journal and by the process, and whether it sent to this process; how long the node is up,
        // whether the alert is open; whether it is missed.
        let table = [
            (Some((59, 3600, true)), 3600, false, false),
            (Some((60, 60, true)), 3600, false, true),
            // The clock stepped ahead.
            (Some((64, 5, true)), 3600, false, false),
            (Some((172_800, 59, true)), 3600, false, false),
            (Some((172_800, 60, true)), 3600, false, true),
            // It was silent before the start, too.
            (Some((3600, 5, false)), 5, false, false),
            (Some((3600, 60, false)), 60, false, true),
            (Some((3600, 0, false)), 0, true, true),
            (Some((0, 0, true)), 3600, true, false),
            (None, 59, false, false),
            (None, 60, false, true),
            (None, 0, true, true),
        ];
        for (silent, up, is_open, expected) in table {
            let silence = silent.map(|(journal, process, sent)| Silence {
                by_journal: seconds(journal),
                by_process: seconds(process),
                is_since_start: !sent,
            });
            let found = is_missed(seconds(60), silence, seconds(up), is_open);
            assert_eq!(found, expected, "silent {silent:?}, up {up}, open {is_open}");
        }
    }

    #[test]
    fn a_halt_of_a_tenant_is_a_cause_of_that_tenant() {
        let tenant = |scope: HaltScope| {
            let cause = AlertCause::of_node(CauseKind::Halt, &scope.to_string());
            cause.tenant().map(str::to_owned)
        };
        assert_eq!(tenant(HaltScope::Tenant("acme".into())).as_deref(), Some("acme"));
        assert_eq!((tenant(HaltScope::Line), tenant(HaltScope::Target("acme".into()))), (None, None));
    }

    fn holding(causes: &[(CauseKind, &str, &str)]) -> Holds {
        causes.iter().map(|(kind, name, message)| ((*kind, (*name).into()), (*message).into())).collect()
    }

    /// A line whose shard steps what was journalled when somebody asks for it, and no sooner.
    struct Lagging {
        alerts: RefCell<Alerts>,
        journal: RefCell<VecDeque<(Seq, Arc<Alarm>)>>,
        next: Cell<u64>,
    }

    impl AlertLine for Lagging {
        async fn ask_alerts(&self, after: Seq, _: AlertsAsked) -> Result<AlertsSeen, Refused> {
            let routes = Routes::compile(RoutesSource::default()).unwrap();
            while let Some((seq, alarm)) = self.journal.borrow_mut().pop_front_if(|(seq, _)| *seq <= after) {
                let at = (seq, UnixMillis(seq.0 * 1000));
                self.alerts.borrow_mut().step(at, &alarm, &routes, &mut AlertEffects::default());
            }
            Ok(AlertsSeen { open_of_node: self.alerts.borrow().open_of_node(), ..AlertsSeen::default() })
        }

        async fn alarm(&self, alarm: Arc<Alarm>) -> Result<Seq, Refused> {
            let seq = Seq(self.next.get() + 1);
            self.next.set(seq.0);
            self.journal.borrow_mut().push_back((seq, alarm));
            Ok(seq)
        }

        fn notices(&self) -> Result<NoticeLane, Refused> {
            Err(Refused::Unavailable)
        }

        fn journal_time(&self) -> UnixMillis {
            UnixMillis(0)
        }
    }

    #[test]
    fn a_cause_that_comes_again_while_its_end_is_on_its_way_is_open_again() {
        let line = Lagging {
            alerts: RefCell::new(Alerts::new("origin/", "n-1")),
            journal: RefCell::default(),
            next: Cell::new(0),
        };
        let low = holding(&[(CauseKind::DiskLow, "", "1 MiB")]);
        let (mut causes, mut after, now) = (Causes::default(), Seq(0), clock::now());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            for holds in [&low, &Holds::new(), &low, &Holds::new(), &low, &low] {
                compare(&line, &mut causes, &mut after, |causes, seen| {
                    causes.compare(holds, &seen.open_of_node, now)
                })
                .await
                .unwrap();
            }
            let seen = line.ask_alerts(Seq(u64::MAX), AlertsAsked::default()).await.unwrap();
            assert_eq!(seen.open_of_node, [(CauseKind::DiskLow, "".into())]);
        });
    }

    #[test]
    fn an_open_cause_has_its_newest_values_once_a_minute_and_a_closed_one_stays_closed() {
        let (mut causes, begin) = (Causes::default(), clock::now());
        let open = [(CauseKind::DiskLow, Box::from(""))];
        let mut told = Vec::new();
        for second in 0..180u32 {
            let message = format!("{} MiB", 900 - second);
            let now = begin + Duration::from_secs(second.into());
            let is_open: &[_] = if second == 0 { &[] } else { &open };
            for alarm in causes.compare(&holding(&[(CauseKind::DiskLow, "", &message)]), is_open, now) {
                let Alarm::Raise(raise) = alarm else { panic!("{alarm:?}") };
                told.push((second, raise.message.to_string()));
            }
        }
        let told: Vec<_> = told.iter().map(|(second, message)| (*second, &**message)).collect();
        assert_eq!(told, [(0, "900 MiB"), (60, "840 MiB"), (120, "780 MiB")]);
        // What does not change is not told again, and neither is what an operator closed.
        let later = begin + Duration::from_hours(1);
        assert_eq!(causes.compare(&holding(&[(CauseKind::DiskLow, "", "780 MiB")]), &open, later), []);
        assert_eq!(causes.compare(&holding(&[(CauseKind::DiskLow, "", "1 MiB")]), &[], later), []);
    }

    #[test]
    fn beyond_the_bound_causes_are_not_told_until_others_are_over() {
        let names: Vec<String> = (0..CAUSES_OF_NODE_MAX + 3).map(|number| format!("{number:04}")).collect();
        let all: Vec<_> = names.iter().map(|name| (CauseKind::TargetBreaker, &**name, "m")).collect();
        let (mut causes, now) = (Causes::default(), clock::now());
        assert_eq!(causes.compare(&holding(&all), &[], now).len(), CAUSES_OF_NODE_MAX);
        assert!(causes.is_full);
        let raised = causes.compare(&holding(&all[2..]), &[], now);
        assert_eq!((raised.len(), causes.is_full), (2, true));
        assert_eq!(causes.compare(&holding(&all[3..]), &[], now).len(), 1);
        assert!(!causes.is_full);
    }

    #[test]
    fn a_full_disk_is_low_and_one_that_was_not_looked_at_is_not() {
        let low = 256 << 20;
        for (free, is_low) in
            [(None, false), (Some(0), true), (Some(2 * low - 1), true), (Some(2 * low), false)]
        {
            assert_eq!(disk_low(free, low).is_some(), is_low, "{free:?}");
        }
    }

    #[test]
    fn a_kind_that_is_switched_on_tells_of_what_holds() {
        let (mut causes, now) = (Causes::default(), clock::now());
        let mut look = |off: &[CauseKind], open: &[(CauseKind, Box<str>)]| {
            let seen = AlertsSeen { off: off.to_vec(), open_of_node: open.to_vec(), ..AlertsSeen::default() };
            let mut holds = holding(&[(CauseKind::DiskLow, "", "1 MiB")]);
            leave_out_what_is_off(&mut holds, &seen);
            causes.compare(&holds, &seen.open_of_node, now)
        };
        let off = [CauseKind::DiskLow];
        assert_eq!(look(&off, &[]), []);
        assert!(matches!(&look(&[], &[])[..], [Alarm::Raise(_)]));
        let open = [(CauseKind::DiskLow, Box::from(""))];
        assert_eq!(look(&[], &open), []);
        // One that is open when its kind is switched off ends when it is over.
        assert_eq!(look(&off, &open), []);
        assert_eq!(look(&off, &[]), [], "an operator closed it");
        assert!(matches!(&look(&[], &[])[..], [Alarm::Raise(_)]), "and it is on again");
    }

    #[test]
    fn a_channel_that_tells_nothing_for_five_minutes_is_told_of_until_it_does() {
        let (mut causes, begin) = (Causes::default(), clock::now());
        let open = [(CauseKind::ChannelFailing, Box::from("chat"))];
        let mut told = Vec::new();
        for second in 0..=600u32 {
            let now = begin + Duration::from_secs(second.into());
            // It works between the third and the fourth second, and from the 500th on.
            let is_stuck = second != 3 && second < 500;
            let stuck = StuckChannel { name: "chat".into(), waiting: 2, why: "it answered 500".into() };
            let mut holds = Holds::new();
            causes.channels(is_stuck.then_some(stuck).into_iter(), now, &mut holds);
            let is_open: &[_] = if told.is_empty() { &[] } else { &open };
            for alarm in causes.compare(&holds, is_open, now) {
                let Alarm::Raise(raise) = alarm else { panic!("its end is told by others: {alarm:?}") };
                assert_eq!((&*raise.cause.name, raise.minutes), ("chat", CHANNEL_FAILING_MINUTES));
                told.push((second, raise.message.to_string()));
            }
        }
        let seconds: Vec<u32> = told.iter().map(|(second, _)| *second).collect();
        assert_eq!(seconds, [304, 364, 424, 484], "so its hour begins anew");
        assert_eq!(
            told[0].1,
            "no notification of channel `chat` has arrived for 5 minutes, 2 notifications wait: it answered 500"
        );
    }

    #[test]
    fn a_node_that_is_often_started_anew_tells_of_a_source_that_seldom_sends() {
        let day = Duration::from_hours(24);
        let silence = |by_process| Silence { by_journal: day, by_process, is_since_start: true };
        assert!(!is_missed(day, Some(silence(Duration::from_mins(59))), day, false));
        assert!(is_missed(day, Some(silence(HEARD_AFRESH_FOR)), HEARD_AFRESH_FOR, false));
    }

    #[test]
    fn what_passed_since_the_newest_signal_is_counted_by_the_process() {
        let at = clock::now();
        let mut heard = SourceHeard { newest: Some(UnixMillis(5)), at, is_of_before: true };
        let later = |seconds| at + Duration::from_secs(seconds);
        heard.hear(Some(UnixMillis(5)), later(1));
        let silence = heard.silence(UnixMillis(60_005), later(2)).unwrap();
        assert_eq!((silence.by_journal.as_secs(), silence.by_process.as_secs()), (60, 2));
        assert!(silence.is_since_start);
        heard.hear(Some(UnixMillis(6)), later(3));
        let silence = heard.silence(UnixMillis(60_006), later(4)).unwrap();
        assert_eq!((silence.by_process.as_secs(), silence.is_since_start), (1, false));
        let never = SourceHeard { newest: None, at, is_of_before: true };
        assert!(never.silence(UnixMillis(60_006), later(4)).is_none());
    }
}
