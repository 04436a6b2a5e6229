//! What each source sends, hour by hour, counted in the order of the journal: by the journal's thread as it numbers signals, and from
//! the journal's records at a start. Both ways give the same. What is counted of an hour that is not over is written again into each
//! segment, so that no segment is kept for it alone.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use hashbrown::HashMap;

use super::journal::Writer;
use crate::alert::{Alarm, AlertCause, AlertLabels, CauseKind, Raise};
use crate::event::{Kind, Seq, UnixMillis, Words};
use crate::limits::{SEQUENCE_GAP_MINUTES, SOURCES_COUNTED_MAX};
use crate::manifest::{Manifest, NumberRange, SequenceFindings, SequenceRestart, SourceHour};
use crate::names::Provenance;
use crate::signal::Signal;

/// When the newest signal of each source was accepted, by the journal's time. Published once a second.
#[derive(Clone, Debug, Default)]
pub struct SourceTimes(Arc<Mutex<BTreeMap<Box<str>, UnixMillis>>>);

impl SourceTimes {
    /// `None` where nothing is known of the source.
    #[must_use]
    pub fn newest_of(&self, source: &str) -> Option<UnixMillis> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(source).copied()
    }
}

/// The hours of all sources.
#[derive(Debug)]
pub struct SourceLedger {
    hours: Vec<Kept>,
    /// Where the hour of each provenance stands, by the provenance's address: each is interned.
    places: HashMap<usize, usize>,
    /// The provenance that was asked for last.
    recent: Option<(usize, usize)>,
    /// When the first hour ends.
    next_end: UnixMillis,
    /// The segment in which all hours are known to be written.
    written: Option<u64>,
    /// The sender's own numbers are compared.
    compares: bool,
}

#[derive(Debug)]
struct Kept {
    hour: SourceHour,
    /// The segment that has all of it.
    segment: u64,
}

/// No hour ends.
const NEVER: UnixMillis = UnixMillis(u64::MAX);

impl Default for SourceLedger {
    fn default() -> Self {
        Self {
            hours: Vec::new(),
            places: HashMap::new(),
            recent: None,
            next_end: NEVER,
            written: None,
            compares: true,
        }
    }
}

impl SourceLedger {
    /// Compares no numbers of senders: some of a source's signals are decided on another node.
    pub fn stop_comparing(&mut self) {
        self.compares = false;
        self.hours.iter_mut().for_each(|kept| kept.hour.stop_comparing());
    }

    /// Takes in an event of the journal that stands in this segment.
    #[inline]
    pub fn take(&mut self, (seq, time): (Seq, UnixMillis), kind: &Kind, segment: u64) {
        match kind {
            Kind::Signal(signal) => self.take_signal((seq, time), signal, segment),
            Kind::Alarm(alarm) => self.take_alarm(time, alarm, segment),
            Kind::Manifest(manifest) => self.take_manifest(time, manifest, segment),
            Kind::Outcome(_)
            | Kind::Timer(_)
            | Kind::Command(_)
            | Kind::Replay(_)
            | Kind::Rules(_)
            | Kind::Reconfigured(_)
            | Kind::Stray(_)
            | Kind::Position(_)
            | Kind::Hold(_)
            | Kind::Adopt(_)
            | Kind::Shared(_) => {}
        }
    }

    fn take_signal(&mut self, (seq, time): (Seq, UnixMillis), signal: &Signal, segment: u64) {
        if let Some(at) = self.place(signal.provenance, time, segment) {
            self.hours[at].hour.count_signal(seq, time, signal.sequence());
        }
    }

    fn take_alarm(&mut self, time: UnixMillis, alarm: &Alarm, segment: u64) {
        if let Alarm::Raise(raise) = alarm
            && raise.cause.kind == CauseKind::HeartbeatMissed
            && let Some(at) = self.find_or_begin(&raise.cause.name, time, segment)
        {
            self.hours[at].hour.miss_heartbeat();
        }
    }

    fn take_manifest(&mut self, time: UnixMillis, Manifest { hour, ends }: &Manifest, segment: u64) {
        let at = self.find(hour.source());
        let mut hour = if *ends { hour.clone().next(time) } else { Some(hour.clone()) };
        if let Some(hour) = hour.as_mut().filter(|_| !self.compares) {
            hour.stop_comparing();
        }
        match (at, hour) {
            (Some(at), Some(hour)) => self.hours[at] = Kept { hour, segment },
            (None, Some(hour)) => self.begin(hour, segment),
            (Some(at), None) => {
                self.hours.remove(at);
                (self.places, self.recent) = (HashMap::new(), None);
            }
            (None, None) => {}
        }
        self.look_for_next_end();
    }

    /// Where the hour of a signal's source stands; `None` where there are as many as are counted.
    fn place(&mut self, provenance: &'static Provenance, time: UnixMillis, segment: u64) -> Option<usize> {
        let address = std::ptr::from_ref(provenance).addr();
        if let Some((recent, at)) = self.recent
            && recent == address
        {
            return Some(at);
        }
        let at = match self.places.get(&address) {
            Some(at) => *at,
            None => self.find_or_begin(&provenance.source, time, segment)?,
        };
        self.places.insert(address, at);
        self.recent = Some((address, at));
        Some(at)
    }

    fn find(&self, source: &str) -> Option<usize> {
        self.hours.iter().position(|kept| kept.hour.source() == source)
    }

    fn find_or_begin(&mut self, source: &str, time: UnixMillis, segment: u64) -> Option<usize> {
        if let Some(at) = self.find(source) {
            return Some(at);
        }
        if self.hours.len() >= SOURCES_COUNTED_MAX {
            return None;
        }
        let mut hour = SourceHour::new(source, time);
        if !self.compares {
            hour.stop_comparing();
        }
        self.begin(hour, segment);
        Some(self.hours.len() - 1)
    }

    fn begin(&mut self, hour: SourceHour, segment: u64) {
        self.next_end = self.next_end.min(hour.until());
        self.hours.push(Kept { hour, segment });
    }

    fn look_for_next_end(&mut self) {
        self.next_end = self.hours.iter().map(|kept| kept.hour.until()).min().unwrap_or(NEVER);
    }

    /// What is to be journalled, in this order, where hours are over at `now`. What is journalled comes back by
    /// [`SourceLedger::take`], and the next hours begin.
    pub fn end_hours(&self, now: UnixMillis) -> Vec<Kind> {
        let mut events = Vec::new();
        if now < self.next_end {
            return events;
        }
        for Kept { hour, .. } in self.hours.iter().filter(|kept| kept.hour.until() <= now) {
            let missing = irregular(hour);
            events.push(Kind::Manifest(Box::new(Manifest { hour: hour.clone(), ends: true })));
            events.extend(missing.map(|alarm| Kind::Alarm(Arc::new(alarm))));
        }
        events
    }

    /// Writes down how far hours are counted, where the segment does not have all of them.
    pub fn write(&mut self, writer: &mut Writer) {
        let segment = writer.segment();
        if self.written == Some(segment) {
            return;
        }
        for kept in self.hours.iter_mut().filter(|kept| kept.segment != segment) {
            writer.append(&Kind::Manifest(Box::new(Manifest { hour: kept.hour.clone(), ends: false })));
            kept.segment = segment;
        }
        self.written = Some(segment);
    }

    /// Whether older segments may go.
    #[must_use]
    pub fn is_kept(&self, writer: &Writer) -> bool {
        self.hours.is_empty() || self.written == Some(writer.segment())
    }

    /// Tells others when each source was heard of last.
    pub fn publish(&self, times: &SourceTimes) {
        let mut told = times.0.lock().unwrap_or_else(PoisonError::into_inner);
        for hour in self.hours.iter().map(|kept| &kept.hour) {
            let Some(newest) = hour.newest_at() else { continue };
            match told.get_mut(hour.source()) {
                Some(known) => *known = newest,
                None => _ = told.insert(hour.source().into(), newest),
            }
        }
    }
}

/// Numbers of a source's senders that did not come within their hour, or that do not go on as they did before, are a cause.
fn irregular(hour: &SourceHour) -> Option<Alarm> {
    let (source, kind) = (hour.source(), CauseKind::SequenceGap);
    let message = irregularities(source, &hour.findings());
    (!message.is_empty()).then(|| {
        Alarm::Raise(Box::new(Raise {
            cause: AlertCause::of_node(kind, source),
            importance: kind.importance(),
            message: Words::from(message),
            member: None,
            labels: AlertLabels { source: Some(source.into()), ..AlertLabels::default() },
            minutes: SEQUENCE_GAP_MINUTES,
        }))
    })
}

/// A sender that begins with 0 or 1 after its start is as usual, and is told by the manifest alone.
fn irregularities(source: &str, found: &SequenceFindings) -> String {
    const NAMED: usize = 3;
    let SequenceFindings { gaps, more_gaps, restarts, more_restarts, behind: _, ahead, newest_ahead } = found;
    let mut told = Vec::new();
    if !gaps.is_empty() {
        let name = |NumberRange { first, last }: &NumberRange| {
            if first == last { first.to_string() } else { format!("{first} to {last}") }
        };
        let named: Vec<String> = gaps.iter().take(NAMED).map(name).collect();
        let beside = gaps.len().saturating_sub(NAMED) as u64 + more_gaps;
        let beside = if beside > 0 { format!(" and {beside} more gaps") } else { String::new() };
        told.push(format!("signals of source `{source}` did not come: {}{beside}", named.join(", ")));
    }
    let restarts: Vec<&SequenceRestart> = restarts.iter().filter(|restart| restart.first > 1).collect();
    if !restarts.is_empty() || *more_restarts > 0 {
        let name = |restart: &&SequenceRestart| format!("with {} after {}", restart.first, restart.after);
        let mut named: Vec<String> = restarts.iter().take(NAMED).map(name).collect();
        let beside = restarts.len().saturating_sub(NAMED) as u64 + more_restarts;
        if beside > 0 {
            named.push(format!("{beside} more times"));
        }
        let named = named.join(", ");
        told.push(format!(
            "the numbers of source `{source}` began anew {named}: what was lost between is not known"
        ));
    }
    if let Some(newest) = newest_ahead {
        let (signals, have) =
            if *ahead == 1 { ("signal", "has a number") } else { ("signals", "have numbers") };
        told.push(format!(
            "{ahead} {signals} of source `{source}` {have} too far ahead to go on with, the newest {newest}"
        ));
    }
    told.join("; ")
}

#[cfg(test)]
mod tests;
