//! Senders as the contract wants them: each remembers what it sent and what it was told, sends again what it was not
//! told of, and expects the first answer then.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;
use gemba::event::{Ack, Arrival, Seq};
use gemba::ring::{Full, Receiver, Sender};
use gemba::signal::{Assurance, Provenance, Severity, Signal, Signals, Text, Unchecked};
use xxhash_rust::xxh3::xxh3_64;

use crate::oracles::{self, Acked, Name};
use crate::plan::{ACT, DENY, Plan, RESEND_WITHIN_MILLIS, SEEN, UNFIT};
use crate::rng::Rng;

/// The client's ends of the two lanes of one ingress thread.
pub struct PortEnds {
    pub arrivals: Sender<Arrival>,
    pub acks: Receiver<Ack>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Fresh,
    InFlight,
    Unknown,
    Done,
}

/// One request.
#[derive(Clone, Debug)]
struct Unit {
    signals: Vec<Signal>,
    state: State,
    first_sent: Option<Moment>,
    /// Says something else under an id that has this number.
    conflicts_with: Option<Seq>,
}

/// When something was sent or told, in milliseconds of simulated time.
#[derive(Clone, Copy, Debug)]
struct Moment(u64);

pub struct Clients {
    rng: Rng,
    units: Vec<Unit>,
    in_flight: Vec<VecDeque<usize>>,
    /// Last number that a lane was told of a fresh signal.
    last_fresh: Vec<Seq>,
    places: usize,
    first: HashMap<Name, (Seq, Moment)>,
    pub known: oracles::Clients,
    pub answers: u64,
}

fn name(signal: &Signal) -> Name {
    (signal.tenant().to_owned(), signal.id().to_owned())
}

fn signal(tenant: u64, sku: u64, id: &str, kind: &str, severity: Severity, extra: u64) -> Signal {
    let (tenant, sku) = (format!("t{tenant}"), format!("k{sku}"));
    let padding = "x".repeat(usize::try_from(extra % 400).unwrap_or(0));
    let body = format!(r#"{{"id":"{id}","data":{{"amount":{extra}}},"padding":"{padding}"}}"#);
    let body = Bytes::from(body);
    Unchecked {
        digest: xxh3_64(&body),
        id: Text::Owned(id.into()),
        tenant: Text::Owned(tenant.into()),
        sku: Text::Owned(sku.into()),
        kind: Text::Owned(kind.into()),
        severity,
        provenance: Provenance::intern("signals", "k1", Assurance::C).unwrap(),
        body,
    }
    .check()
    .unwrap()
}

impl Moment {
    /// Too long ago to be sent again.
    fn is_past(self, now: Self) -> bool {
        now.0 - self.0 > RESEND_WITHIN_MILLIS
    }
}

impl Clients {
    pub fn new(plan: &Plan, mut rng: Rng) -> Self {
        let mut units = Vec::new();
        let mut made = 0;
        for _ in 0..plan.units {
            let count = if rng.chance(plan.batches) { 1 + rng.below(6) } else { 1 };
            let signals = (0..count).map(|_| {
                made += 1;
                let kind = match rng.below(20) {
                    0 => "gemba.entitlement.active",
                    1 => "gemba.entitlement.revoked",
                    2..=9 => ACT,
                    10 => DENY,
                    11 => UNFIT,
                    _ => SEEN,
                };
                let severity = rng.pick(&[Severity::Info, Severity::Warning, Severity::Critical]);
                let (tenant, sku) = (rng.below(plan.tenants), rng.below(plan.skus));
                let mut signal = signal(tenant, sku, &format!("s-{made}"), kind, severity, rng.below(1000));
                signal.set_sequence(Some(made));
                signal
            });
            let signals = signals.collect();
            units.push(Unit { signals, state: State::Fresh, first_sent: None, conflicts_with: None });
        }
        Self {
            rng,
            units,
            in_flight: vec![VecDeque::new(); plan.ports],
            last_fresh: vec![Seq(0); plan.ports],
            places: plan.lanes[0],
            first: HashMap::new(),
            known: oracles::Clients::default(),
            answers: 0,
        }
    }

    /// Sends something, if there is anything to send.
    pub fn send(&mut self, port: usize, ends: &mut PortEnds, millis: u64) {
        if self.in_flight[port].len() >= self.places {
            return;
        }
        let Some(at) = self.choose(millis) else { return };
        let unit = &mut self.units[at];
        let mut signals = unit.signals.clone();
        let signals =
            if signals.len() == 1 { Signals::One(signals.remove(0)) } else { Signals::Batch(signals) };
        if let Err(Full(_)) = ends.arrivals.push(Arrival::Signals(signals, None)) {
            return;
        }
        if unit.state != State::Done {
            unit.state = State::InFlight;
        }
        unit.first_sent.get_or_insert(Moment(millis));
        self.in_flight[port].push_back(at);
    }

    fn choose(&mut self, millis: u64) -> Option<usize> {
        let now = Moment(millis);
        for unit in &mut self.units {
            let old = unit.first_sent.is_some_and(|first| first.is_past(now));
            if old && matches!(unit.state, State::Unknown | State::Fresh) {
                // Given up: the journal may have it or not.
                unit.state = State::Done;
                self.known.unknown.extend(unit.signals.iter().map(name));
            }
        }
        let unknown = self.units.iter().position(|unit| unit.state == State::Unknown);
        if unknown.is_some() && self.rng.chance(7000) {
            return unknown;
        }
        if self.rng.chance(1000) {
            return self.repeat(now);
        }
        let fresh = self.units.iter().position(|unit| unit.state == State::Fresh);
        fresh.or(unknown)
    }

    /// Something that was answered already, as it was or with another content.
    fn repeat(&mut self, now: Moment) -> Option<usize> {
        let at = self.rng.index(self.units.len());
        let unit = self.units[at].clone();
        let [only] = unit.signals.as_slice() else { return None };
        let (seq, when) = *self.first.get(&name(only))?;
        if unit.conflicts_with.is_some() || when.is_past(now) {
            return None;
        }
        if self.rng.chance(5000) {
            return Some(at);
        }
        let mut other = only.clone();
        other.digest ^= 1;
        self.units.push(Unit {
            signals: vec![other],
            state: State::Done,
            first_sent: Some(now),
            conflicts_with: Some(seq),
        });
        Some(self.units.len() - 1)
    }

    /// Takes the answers that have come; the text says what is wrong with one.
    pub fn listen(&mut self, port: usize, ends: &mut PortEnds, millis: u64) -> Result<(), String> {
        while let Some(ack) = ends.acks.pop() {
            let at = self.in_flight[port].pop_front();
            let at = at.ok_or_else(|| format!("O2: an answer that nobody waits for: {ack:?}"))?;
            self.answers += 1;
            self.answered(port, at, &ack, millis)?;
        }
        Ok(())
    }

    fn answered(&mut self, port: usize, at: usize, ack: &Ack, millis: u64) -> Result<(), String> {
        let unit = &mut self.units[at];
        let names: Vec<Name> = unit.signals.iter().map(name).collect();
        match (ack, unit.conflicts_with) {
            (Ack::Refused(_), None) => {
                if unit.state == State::InFlight {
                    unit.state = State::Fresh;
                    self.known.refused.extend(names);
                }
            }
            (Ack::Refused(_), Some(_)) => {}
            (Ack::OutOfOrder | Ack::NotOwned, _) => unreachable!("nothing comes over a broker"),
            (Ack::Conflict { seq, .. }, Some(expected)) if *seq == expected => {}
            (Ack::Durable { first, last, duplicates }, None) => {
                unit.state = State::Done;
                let exact = *duplicates == 0 || names.len() == 1;
                if exact && last.0 - first.0 + 1 != names.len() as u64 {
                    return Err(format!("O2: {names:?} got the numbers {first} to {last}"));
                }
                if *duplicates == 0 {
                    if *first <= self.last_fresh[port] {
                        let before = self.last_fresh[port];
                        return Err(format!("O4: {names:?} got {first} after {before} on one lane"));
                    }
                    self.last_fresh[port] = *last;
                }
                for (offset, name) in names.into_iter().enumerate() {
                    let seq = exact.then(|| Seq(first.0 + offset as u64));
                    if let Some(((before, _), seq)) = self.first.get(&name).zip(seq)
                        && (*before != seq || *duplicates == 0)
                    {
                        return Err(format!("O2: {name:?} was {before} and is {ack:?} now"));
                    }
                    if let Some(seq) = seq {
                        let moment = Moment(millis);
                        self.first.entry(name.clone()).or_insert((seq, moment));
                    }
                    self.known.acked.push(Acked { name, seq });
                }
            }
            (ack, expected) => {
                return Err(format!("O2: {names:?} (conflict expected: {expected:?}) is answered {ack:?}"));
            }
        }
        Ok(())
    }

    /// The line is gone: what was under way is unknown.
    pub fn cut_off(&mut self) {
        for lane in &mut self.in_flight {
            for at in lane.drain(..) {
                let unit = &mut self.units[at];
                if unit.state == State::InFlight {
                    unit.state = State::Unknown;
                    self.known.unknown.extend(unit.signals.iter().map(name));
                }
            }
        }
    }

    /// Nothing is left to send or to wait for.
    pub fn is_done(&self) -> bool {
        self.in_flight.iter().all(VecDeque::is_empty)
            && self.units.iter().all(|unit| unit.state == State::Done)
    }
}
