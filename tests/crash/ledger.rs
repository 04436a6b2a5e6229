//! What the clients know: which units were sent, what was answered, what was not.

use std::collections::{HashMap, VecDeque};
use std::fmt::Write as _;
use std::sync::Mutex;

use crate::http::Answer;

/// Signals that are sent, and answered, as one.
#[derive(Debug)]
pub struct Unit {
    pub signals: Vec<Signal>,
    pub content_type: &'static str,
    pub body: Vec<u8>,
}

#[derive(Clone, Debug)]
pub struct Signal {
    pub tenant: String,
    pub sku: String,
    pub id: String,
    /// An action is taken on it.
    pub acts: bool,
}

#[derive(Default)]
struct Entry {
    unit: Option<std::sync::Arc<Unit>>,
    /// Number of its first signal.
    acked: Option<u64>,
    times_sent: u32,
    duplicate: bool,
    /// Signals that were acked up to it.
    place: u64,
}

#[derive(Default)]
struct State {
    entries: Vec<Entry>,
    /// Numbers that were promised, and to which unit.
    numbers: HashMap<u64, usize>,
    newest: u64,
    /// Acked, and not yet looked at.
    unverified: VecDeque<usize>,
    counts: Counts,
    violations: Vec<String>,
}

#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    /// Signals acked, each once.
    pub acked: u64,
    /// Units without an answer that were sent again, and of those the ones that had been taken.
    pub resent: u64,
    pub resent_taken: u64,
    /// Units that were sent again although they were acked.
    pub repeated: u64,
    pub verified: u64,
}

/// A unit on its way, and the highest number that was promised before it was sent.
#[derive(Clone, Copy, Debug)]
pub struct Sent {
    pub unit: usize,
    floor: u64,
}

/// What was promised of a unit.
#[derive(Clone, Copy, Debug)]
pub struct Promise {
    pub unit: usize,
    /// Number of its first signal.
    pub first: u64,
    /// Signals that were acked after it.
    pub acked_since: u64,
}

#[derive(Default)]
pub struct Ledger(Mutex<State>);

impl Ledger {
    pub fn enter(&self, unit: Unit) -> usize {
        let mut state = self.0.lock().unwrap();
        state.entries.push(Entry { unit: Some(unit.into()), ..Entry::default() });
        state.entries.len() - 1
    }

    pub fn unit(&self, unit: usize) -> std::sync::Arc<Unit> {
        std::sync::Arc::clone(self.0.lock().unwrap().entries[unit].unit.as_ref().unwrap())
    }

    /// Call it before the first byte leaves.
    pub fn sends(&self, unit: usize) -> Sent {
        let mut state = self.0.lock().unwrap();
        let entry = &mut state.entries[unit];
        entry.times_sent += 1;
        if entry.acked.is_some() {
            state.counts.repeated += 1;
        } else if entry.times_sent > 1 {
            state.counts.resent += 1;
        }
        Sent { unit, floor: state.newest }
    }

    /// Holds a 202 against everything that was promised before.
    pub fn answered(&self, sent: Sent, answer: &Answer) {
        let mut state = self.0.lock().unwrap();
        let json = answer.json();
        let count = state.entries[sent.unit].unit.as_ref().unwrap().signals.len() as u64;
        let number = |key: &str| json[key].as_u64();
        let (first, last, duplicates) = if count == 1 {
            let seq = number("seq").unwrap();
            (seq, seq, u64::from(json["duplicate"].as_bool() == Some(true)))
        } else {
            (number("first_seq").unwrap(), number("last_seq").unwrap(), number("duplicates").unwrap_or(0))
        };
        let entry = &state.entries[sent.unit];
        let (before, sent_before) = (entry.acked, entry.times_sent > 1);
        let known = duplicates == count;
        let wrong = if duplicates != 0 && !known {
            Some("a unit was taken in half".to_owned())
        } else if last - first + 1 != count {
            Some(format!("{count} signals have the numbers {first} to {last}"))
        } else if before.is_some_and(|before| before != first || !known) {
            Some(format!("first promised {before:?}, then {first}, duplicate: {known}"))
        } else if known && !sent_before {
            Some("a unit that was never sent before was called a duplicate".to_owned())
        } else if !known && first <= sent.floor {
            Some(format!("taken as {first} after {} had been promised", sent.floor))
        } else {
            (first..=last)
                .find_map(|seq| state.numbers.get(&seq).filter(|other| **other != sent.unit))
                .map(|other| format!("numbers {first} to {last} were promised to unit {other}"))
        };
        if let Some(wrong) = wrong {
            state.violations.push(format!("unit {}: {wrong}: {json}", sent.unit));
        }
        if before.is_some() {
            return;
        }
        state.entries[sent.unit].acked = Some(first);
        state.entries[sent.unit].duplicate = known;
        state.numbers.extend((first..=last).map(|seq| (seq, sent.unit)));
        state.newest = state.newest.max(last);
        state.unverified.push_back(sent.unit);
        state.counts.acked += count;
        state.entries[sent.unit].place = state.counts.acked;
        state.counts.resent_taken += u64::from(known);
    }

    pub fn violates(&self, what: String) {
        self.0.lock().unwrap().violations.push(what);
    }

    pub fn violations(&self) -> Vec<String> {
        self.0.lock().unwrap().violations.clone()
    }

    pub fn counts(&self) -> Counts {
        self.0.lock().unwrap().counts
    }

    /// Units without an answer, in the order in which they were made.
    pub fn unknown(&self) -> Vec<usize> {
        let state = self.0.lock().unwrap();
        let unknown = |(index, entry): (usize, &Entry)| entry.acked.is_none().then_some(index);
        state.entries.iter().enumerate().filter_map(unknown).collect()
    }

    /// One of the `among` units that were acked last.
    pub fn acked_lately(&self, among: usize, choice: usize) -> Option<usize> {
        let state = self.0.lock().unwrap();
        let from = state.entries.len().saturating_sub(among);
        let acked = |index: &usize| state.entries[*index].acked.is_some();
        let acked: Vec<usize> = (from..state.entries.len()).filter(acked).collect();
        acked.get(choice % acked.len().max(1)).copied()
    }

    /// The next acked unit that was not looked at.
    pub fn next_unverified(&self) -> Option<Promise> {
        let state = self.0.lock().unwrap();
        let unit = *state.unverified.front()?;
        let entry = &state.entries[unit];
        Some(Promise { unit, first: entry.acked.unwrap(), acked_since: state.counts.acked - entry.place })
    }

    pub fn verified(&self, unit: usize) {
        let mut state = self.0.lock().unwrap();
        assert_eq!(state.unverified.pop_front(), Some(unit));
        state.counts.verified += state.entries[unit].unit.as_ref().unwrap().signals.len() as u64;
    }

    /// Everything acked is to be looked at again.
    pub fn look_again(&self) {
        let mut state = self.0.lock().unwrap();
        let acked = |index: &usize| state.entries[*index].acked.is_some();
        state.unverified = (0..state.entries.len()).filter(acked).collect();
    }

    /// Every acked signal on which an action is taken.
    pub fn acting(&self) -> Vec<Signal> {
        let state = self.0.lock().unwrap();
        let acked = state.entries.iter().filter(|entry| entry.acked.is_some());
        let signals = acked.flat_map(|entry| entry.unit.as_ref().unwrap().signals.iter());
        signals.filter(|signal| signal.acts).cloned().collect()
    }

    /// The clients' log in the checker's form.
    pub fn log(&self) -> String {
        let state = self.0.lock().unwrap();
        let mut text = String::new();
        for entry in &state.entries {
            for (seq, signal) in (entry.acked.unwrap_or(0)..).zip(&entry.unit.as_ref().unwrap().signals) {
                let (tenant, id) = (&signal.tenant, &signal.id);
                let _infallible = match entry.acked {
                    Some(_) => writeln!(text, "acked {tenant} {id} {seq} {}", u8::from(entry.duplicate)),
                    None => writeln!(text, "unknown {tenant} {id}"),
                };
            }
        }
        text
    }
}
