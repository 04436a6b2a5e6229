//! The journal, decided anew from its first event.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use gemba::event::{Astray, Event, Kind, RulesText, Seq};
use gemba::jidoka::governor::{Effects, Governor, key};
use gemba::jidoka::rules::{self, Compiled, Rules};
use gemba::kanban::journal::record::Decoder;
use gemba::kanban::journal::{self, Damage, End, scan};
use gemba::line::recovery::journal_dir;
use gemba::manifest::Manifest;
use gemba::receipt::canonical::{Fields, context};
use gemba::receipt::{Draft, ReceiptId, ReceiptType};
use gemba::sharing::Shared;
use gemba::signal::{Fingerprint, Signal};
use xxhash_rust::xxh3::xxh3_128;

use super::cases::Cases;
use super::manifests::Counted;
use super::tenure::{Tenure, Withheld};
use super::{Evidence, Failure, Name, Receipt, violation};

/// What the journal says.
#[derive(Default)]
pub struct Decided {
    pub events: u64,
    pub signals: HashMap<Name, Seq>,
    pub replays: HashSet<Seq>,
    /// How often the rules changed.
    pub rules: u64,
    /// Everything that operators brought in.
    pub orders: HashSet<Seq>,
    pub governors: HashMap<String, Governor>,
    /// By governor, in order, each with the event that caused it.
    pub receipts: HashMap<String, Vec<(Seq, Receipt)>>,
    pub ids: HashSet<ReceiptId>,
    /// How far the stored row of each governor has come.
    pub rows: HashMap<String, Seq>,
    /// Events that the line gave up on: deciding on them panicked.
    parked: HashSet<Seq>,
    identities: HashMap<Fingerprint, Seq>,
    last: Seq,
    /// Last event of each governor up to the store's watermark.
    below_watermark: HashMap<String, Seq>,
    /// What holds where the journal is read; at first what held before rules were journalled.
    holding: Arc<Rules>,
    compiled: Compiled,
    /// The event since which it holds.
    holding_since: Seq,
    /// The rules that hold at the store's watermark, and since which event.
    at_watermark: Option<(Seq, Box<str>)>,
    cases: Cases,
    /// Signals and replays that are to be settled here, by their numbers, with their tenants.
    brought: HashMap<Seq, Box<str>>,
    tenure: Tenure,
}

impl From<Damage> for Failure {
    fn from(damage: Damage) -> Self {
        match damage {
            Damage::Io { .. } | Damage::Uncertain { .. } => Self::Unreadable(damage.to_string()),
            _ => Self::Violation { oracle: "O1", detail: damage.to_string() },
        }
    }
}

pub fn decide(evidence: &Evidence<'_>) -> Result<Decided, Failure> {
    let dir = journal_dir(evidence.data_dir);
    // Its actions are named by it.
    let named = journal::lineage(&**evidence.disk, &dir)?;
    let compiled = named.map(|lineage| Compiled::new(lineage.id)).unwrap_or_default();
    let mut decided = Decided { parked: parked(evidence)?, compiled, ..Decided::default() };
    for (key, row) in &evidence.stored.rows {
        let key = String::from_utf8_lossy(key).into_owned();
        match Governor::decode(row) {
            Ok(governor) => drop(decided.rows.insert(key, governor.last_seq())),
            Err(damage) => return violation("O5", format!("the stored governor {key:?} {damage}")),
        }
    }
    let mut counted = Counted::default();
    let end = scan(&**evidence.disk, &dir, |header, records, path, offset| {
        let mut decoder = Decoder::new(records);
        let mut seq = header.first;
        loop {
            let kind = decoder.next_kind();
            let Some(kind) = kind.map_err(|why| Damage::Record { path: path.to_owned(), offset, why })?
            else {
                return Ok::<(), Failure>(());
            };
            let event = Event { seq, time: header.time, kind };
            counted.take(&event)?;
            decided.take(evidence, event)?;
            seq = seq.next();
        }
    })?;
    decided.close(evidence, &end)?;
    Ok(decided)
}

fn twice(signal: &Signal, first: Seq, second: Seq) -> Result<(), Failure> {
    let name = format!("{}/{}", signal.tenant(), signal.id());
    violation("O2", format!("{name} is {first} and {second}"))
}

fn parked(evidence: &Evidence<'_>) -> Result<HashSet<Seq>, Failure> {
    let path = journal_dir(evidence.data_dir).join("parked");
    let unreadable = |why: &dyn std::fmt::Display| Failure::Unreadable(format!("{}: {why}", path.display()));
    let text = match gemba::disk::read(&**evidence.disk, &path, 1 << 20) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(HashSet::new()),
        Err(error) => return Err(unreadable(&error)),
    };
    let text = String::from_utf8(text).map_err(|error| unreadable(&error))?;
    text.lines().map(|line| line.parse().map(Seq).map_err(|error| unreadable(&error))).collect()
}

impl Decided {
    fn take(&mut self, evidence: &Evidence<'_>, event: Event) -> Result<(), Failure> {
        let seq = event.seq;
        if seq <= self.last {
            return violation("O4", format!("number {seq} stands behind {} in the journal", self.last));
        }
        self.last = seq;
        self.events += 1;
        match &event.kind {
            Kind::Rules(text) => {
                self.orders.insert(seq);
                return self.switch(evidence, &event, text);
            }
            Kind::Reconfigured(change) => {
                self.orders.insert(seq);
                return self.receipts(&key("", ""), seq, &[rules::reconfigured(&event, change)]);
            }
            Kind::Signal(signal) => {
                if let Some(first) = self.identities.insert(signal.identity, seq)
                    && !self.comes_again(first)
                {
                    return twice(signal, first, seq);
                }
                self.signals.insert((signal.tenant().to_owned(), signal.id().to_owned()), seq);
            }
            Kind::Replay(_) => {
                self.orders.insert(seq);
                self.replays.insert(seq);
            }
            Kind::Command(_) => drop(self.orders.insert(seq)),
            Kind::Stray(stray) => {
                // Of two signals of one id, the other one has the identity.
                if stray.why != Astray::Conflict
                    && let Some(first) = self.identities.insert(stray.signal.identity, seq)
                {
                    return twice(&stray.signal, first, seq);
                }
            }
            Kind::Position(_) => return Ok(()),
            Kind::Manifest(manifest) => return self.count(&event, manifest),
            Kind::Hold(hold) => {
                self.hold(hold.partition);
                return Ok(());
            }
            Kind::Shared(shared) => return self.share(evidence, shared),
            // The governor that it names steps it; what the alerts make of it is not looked at here.
            Kind::Outcome(_) | Kind::Timer(_) | Kind::Adopt(_) | Kind::Alarm(_) => {}
        }
        let (tenant, sku) = event.subject().unwrap_or_default();
        let holds = self.tenure.holds(tenant);
        if self.tenure.is_shared() && holds.is_none() {
            // Whose governor is elsewhere is seen, and changes none here.
            return match &event.kind {
                Kind::Stray(_) => self.set_apart(event),
                _ => Ok(()),
            };
        }
        if matches!(&event.kind, Kind::Signal(_) | Kind::Replay(_)) {
            self.brought.insert(seq, tenant.into());
        }
        let Some(subject) = event.kind.governor() else { return Ok(()) };
        let key = key(tenant, sku).into_string();
        if seq <= evidence.stored.watermark {
            self.below_watermark.insert(key.clone(), seq);
        }
        let mut effects = Effects::default();
        if let Kind::Adopt(adopt) = &event.kind {
            let adopted = Governor::adopted(adopt.row(), seq, event.time, &self.holding);
            match adopted {
                Ok(governor) => drop(self.governors.insert(key.clone(), governor)),
                Err(damage) => return violation("O5", format!("the adopted governor {key:?} {damage}")),
            }
            return self.stored_is(evidence, &key, seq);
        }
        let governor = match self.governors.remove(&key) {
            Some(governor) => governor,
            None => Governor::new(&subject, seq, event.time, &self.holding, &mut effects),
        };
        let governor = self.governors.entry(key.clone()).or_insert(governor);
        let waited = governor.waiting();
        if self.parked.contains(&seq) {
            governor.park(event, &self.holding, &mut effects);
        } else {
            governor.step(event, &self.holding, &mut effects);
        }
        // What waited already may have come under rules that let more wait.
        if governor.waiting() > self.holding.mailbox.max(waited) {
            return violation("O7", format!("{} signals wait in {key:?}", governor.waiting()));
        }
        if holds.is_none() && seq <= self.rows.get(&key).copied().unwrap_or_default() {
            self.cases.change(&effects.cases);
        }
        let is_forgotten = governor.is_forgotten();
        self.stored_is(evidence, &key, seq)?;
        if is_forgotten {
            // Its row may be gone.
            self.below_watermark.remove(&key);
        }
        let generated = |draft: &&Draft| draft.gist.kind == ReceiptType::ActionGenerated;
        if effects.drafts.iter().filter(generated).count() != effects.requests.len() {
            return violation("O8", format!("event {seq} orders other actions than it receipts"));
        }
        if let Some(partition) = holds {
            self.tenure.withhold(partition, seq, key, effects);
            return Ok(());
        }
        self.receipts(&key, seq, &effects.drafts)
    }

    fn hold(&mut self, partition: u16) {
        self.tenure.hold(partition);
        self.lose(&[partition]);
    }

    /// An hour that is over has a receipt.
    fn count(&mut self, event: &Event, manifest: &Manifest) -> Result<(), Failure> {
        let draft = manifest.ends.then(|| rules::manifest(event, &manifest.hour));
        draft.map_or(Ok(()), |draft| self.receipts(&key("", ""), event.seq, &[draft]))
    }

    /// Whether a signal may be in the journal a second time: what it was decided first is void, or it waited for it in a
    /// governor that was elsewhere since.
    fn comes_again(&self, first: Seq) -> bool {
        self.tenure.is_shared() && !self.ids.contains(&ReceiptId { seq: first, ordinal: 0 })
    }

    /// If a row was stored behind this event, it is the governor of now.
    fn stored_is(&self, evidence: &Evidence<'_>, key: &str, seq: Seq) -> Result<(), Failure> {
        if self.rows.get(key) != Some(&seq) {
            return Ok(());
        }
        let mut state = Vec::new();
        self.governors.get(key).into_iter().for_each(|governor| governor.encode(&mut state));
        if evidence.stored.rows.get(key.as_bytes()) == Some(&state) {
            return Ok(());
        }
        violation("O5", format!("the stored {key:?} is not what its events up to {seq} give"))
    }

    fn share(&mut self, evidence: &Evidence<'_>, shared: &Shared) -> Result<(), Failure> {
        for Withheld { by, governor, effects, .. } in self.tenure.release(shared) {
            if by <= evidence.stored.watermark {
                self.cases.change(&effects.cases);
            }
            self.receipts(&governor, by, &effects.drafts)?;
        }
        self.lose(&shared.lost);
        Ok(())
    }

    /// What was known of these partitions is void, or another node's.
    fn lose(&mut self, lost: &[u16]) {
        let tenure = &self.tenure;
        let is_lost = |key: &str| {
            let tenant = key.split('\0').next().unwrap_or_default();
            tenure.partition(tenant).is_some_and(|partition| lost.contains(&partition))
        };
        self.governors.retain(|key, _| !is_lost(key));
        self.below_watermark.retain(|key, _| !is_lost(key));
        let ids = &self.ids;
        self.brought
            .retain(|seq, tenant| !is_lost(tenant) || ids.contains(&ReceiptId { seq: *seq, ordinal: 0 }));
    }

    fn set_apart(&mut self, event: Event) -> Result<(), Failure> {
        let Some(subject) = event.kind.governor() else { return Ok(()) };
        let (key, seq) = (key(&subject.tenant, &subject.sku).into_string(), event.seq);
        let mut effects = Effects::default();
        let mut governor = Governor::new(&subject, seq, event.time, &self.holding, &mut effects);
        governor.step(event, &self.holding, &mut effects);
        self.cases.change(&effects.cases);
        self.receipts(&key, seq, &effects.drafts)
    }

    /// From here on other rules hold.
    fn switch(&mut self, evidence: &Evidence<'_>, event: &Event, said: &RulesText) -> Result<(), Failure> {
        let rules = match self.compiled.of(said.text()) {
            Ok(rules) => rules,
            Err(error) => return violation("O1", format!("the rules of event {}: {error}", event.seq)),
        };
        if said.is_void_under(self.holding_since) {
            let void = rules::void(event, said, self.holding_since);
            return self.receipts(&key("", ""), event.seq, &[void]);
        }
        self.rules += 1;
        if event.seq <= evidence.stored.watermark {
            self.at_watermark = Some((event.seq, said.text().into()));
        }
        let drafts = rules.receipts(&self.holding, event, said);
        (self.holding, self.holding_since) = (rules, event.seq);
        self.receipts(&key("", ""), event.seq, &drafts)
    }

    fn receipts(&mut self, key: &str, cause: Seq, drafts: &[Draft]) -> Result<(), Failure> {
        for draft in drafts {
            let mut text = Vec::with_capacity(512);
            context(&Fields::from(draft), &mut text);
            if !self.ids.insert(draft.gist.id) {
                return violation("O2", format!("{} is made twice", draft.gist.id));
            }
            let receipt = Receipt { id: draft.gist.id, context: xxh3_128(&text) };
            self.receipts.entry(key.to_owned()).or_default().push((cause, receipt));
        }
        Ok(())
    }

    /// Events of this governor up to here are in the store, so their receipts must be in the log. What concerns the node
    /// has no row of its own.
    pub fn applied(&self, evidence: &Evidence<'_>, governor: &str) -> Seq {
        match self.rows.get(governor) {
            Some(applied) => *applied,
            None if *governor == *key("", "") => evidence.stored.watermark,
            None => Seq(0),
        }
    }

    fn close(&self, evidence: &Evidence<'_>, end: &End) -> Result<(), Failure> {
        if end.segments.first().is_some_and(|first| first.index > 0) {
            let why = "the journal's first segments were given back: it cannot be decided from the start";
            return Err(Failure::Unreadable(why.to_owned()));
        }
        let watermark = evidence.stored.watermark;
        if watermark > end.last {
            let detail = format!("the state knows {watermark}, the journal ends at {}", end.last);
            return violation("O1", detail);
        }
        if evidence.stored.rules != self.at_watermark {
            return violation("O5", format!("the stored rules are not those that hold at {watermark}"));
        }
        self.cases.compare(&evidence.stored.cases)?;
        for (key, applied) in &self.rows {
            let known = self.governors.get(key).is_some_and(|governor| *applied <= governor.last_seq());
            // A lost partition's rows go with the next commit.
            if !known && !self.tenure.is_shared() {
                return violation("O5", format!("the stored {key:?} knows {applied}, the journal does not"));
            }
        }
        for (key, last) in &self.below_watermark {
            if self.rows.get(key).is_none_or(|applied| applied < last) {
                return violation(
                    "O5",
                    format!("{key:?}: event {last} is below the watermark, not in its row"),
                );
            }
        }
        let waiting: usize = self.governors.values().map(Governor::waiting).sum();
        // A replay is settled as a signal is, under its own number.
        let is_settled = |seq: &&Seq| self.ids.contains(&ReceiptId { seq: **seq, ordinal: 0 });
        let settled = self.brought.keys().filter(is_settled).count();
        let unshared = self.tenure.unshared();
        let unshared = self.brought.keys().filter(|seq| unshared.contains_key(seq)).count();
        if settled + unshared + waiting != self.brought.len() {
            let detail = format!(
                "{} signals and replays, {settled} settled, {unshared} decided and not shared, {waiting} waiting",
                self.brought.len()
            );
            return violation("O8", detail);
        }
        if self.tenure.is_shared() {
            // Whoever takes its partitions goes on with the rest.
            return Ok(());
        }
        if evidence.ended && watermark < self.last {
            return violation(
                "O9",
                format!("the state has passed {watermark} and not {} after the end", self.last),
            );
        }
        if evidence.ended && waiting > 0 {
            return violation("O9", format!("{waiting} signals still wait after the end"));
        }
        Ok(())
    }
}
