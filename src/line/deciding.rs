//! What follows the journal where signals are decided: the shards, the scribe with its writer, and the store. Taken up from
//! disk, then started in the order of the way back, so that each finds whom it hands to; ended in the order of the way.

use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;

use secrecy::ExposeSecret as _;

use super::desk::Decided;
use super::error::ServeError;
use super::journal_thread::Seen;
use super::recovery::{self, Opened, RecoveryError};
use super::running::{Joining, Told, join, spawn};
use super::settings::{ProofKeys, Settings};
use super::sharing::Elsewhere;
use super::start::Start;
use super::threads::{self, Stop};
use super::wiring::{DecidingEnds, wire_log_writer};
use crate::andon::audit::{AuditFollower, AuditLag};
use crate::andon::log::{Log, Reader, ReceiptKey, SEGMENT_BYTES};
use crate::andon::stage as scribe;
use crate::clock;
use crate::disk::make_dir;
use crate::event::{JournalId, Seq};
use crate::jidoka::alerts::{AlertDesk, NoticeLane};
use crate::jidoka::governor::Governor;
use crate::jidoka::ownership::PartitionOwnership;
use crate::jidoka::rules::{Compiled, Rules, RulesSource};
use crate::jidoka::stage as shard;
use crate::jidoka::store::{self, Cases, Embedded, Followups, Keeper, Retiring};
use crate::jidoka::tap::Taps;
use crate::kaizen::Collector;
use crate::kanban::stage as journal;
use crate::proof::note::LocalSigner;
use crate::ring::{Mark, Switch, Tide};
use crate::sharing::HeldPartitions;

/// What was decided before, as it is on disk.
pub struct Recovered {
    opened: Opened,
    rules: Arc<Rules>,
    compiled: Arc<Compiled>,
    reader: Reader,
    followups: Followups,
    cases: Cases,
    /// What the scribe will tell.
    pub marks: scribe::Marks,
    audit: Vec<AuditFollower>,
    alerts: AlertDesk,
    notices: NoticeLane,
}

/// The threads of a run.
pub struct Deciding {
    shards: (Vec<JoinHandle<()>>, Stop),
    scribe: (JoinHandle<()>, Stop),
    log_writer: (JoinHandle<()>, Stop),
    keeper: (JoinHandle<()>, Stop),
    audit: (Vec<JoinHandle<()>>, Stop),
}

impl Recovered {
    /// Takes up state and log.
    pub fn open(start: &Start<'_>, keys: &ProofKeys, journal: JournalId) -> Result<Self, ServeError> {
        let Start { settings, disk, .. } = start;
        let signer = LocalSigner::new(&settings.origin, keys.log_seed.expose())?;
        let key = ReceiptKey::new(keys.receipt_secret.expose_secret());
        let state_dir = recovery::state_dir(&settings.data_dir);
        make_dir(&***disk, &state_dir)
            .map_err(|source| ServeError::DataDir { path: state_dir.clone(), source })?;
        store::make_certain(&***disk, &state_dir).map_err(RecoveryError::from)?;
        let store = Embedded::open(&state_dir).map_err(RecoveryError::from)?;
        start.go_on()?;
        let log_dir = recovery::log_dir(&settings.data_dir);
        let log = Log::open(Arc::clone(disk), &log_dir, Box::new(signer), key, SEGMENT_BYTES, clock::wall());
        let log = log.map_err(RecoveryError::from)?;
        start.go_on()?;
        let (reader, followups, cases) = (log.reader(), store.followups(), store.cases());
        let opened = recovery::open(&settings.data_dir, Box::new(store), log)?;
        start.go_on()?;
        let compiled = Arc::new(Compiled::new(journal));
        let (since, holding) = opened.rules.clone().unwrap_or_else(|| (Seq(0), RulesSource::before_any()));
        let rules = compiled.of(&holding);
        let rules = rules.map_err(|source| RecoveryError::Rules { seq: opened.watermark, source })?;
        compiled.hold(since, &rules);
        let zero = || Mark::new(0);
        let marks = scribe::Marks { size: zero(), written: zero(), checkpoint: Mark::new(clock::millis()) };
        let audit = keys.audit.iter().map(|plan| {
            let data_dir = (Arc::clone(disk), settings.data_dir.as_path());
            let mut follower = AuditFollower::new(plan.clone(), reader.clone(), marks.size.clone(), data_dir);
            follower.resume().map(|()| follower)
        });
        let audit = audit.collect::<Result<_, _>>()?;
        let notices = NoticeLane::default();
        let origin = settings.origin.strip_suffix(&settings.name).unwrap_or(&settings.origin);
        let held = settings.shared_partitions().map(|all| HeldPartitions::new(all, &opened.held));
        let alerts = AlertDesk::new((origin, &settings.name), &opened.alerts, held, notices.clone());
        let alerts = alerts.map_err(|(key, why)| RecoveryError::Alert { path: state_dir, key, why })?;
        Ok(Self { opened, rules, compiled, reader, followups, cases, marks, audit, alerts, notices })
    }

    /// Events up to here are in the state.
    #[must_use]
    pub fn watermark(&self) -> Seq {
        self.opened.watermark
    }

    /// Partitions that were held at the watermark.
    #[must_use]
    pub fn held(&self) -> &[u16] {
        &self.opened.held
    }

    /// What it has seen of the journal.
    #[must_use]
    pub fn seen(&self, settings: &Settings) -> Seen {
        Seen {
            newest: self.opened.logged.iter().map(|id| id.seq).max(),
            stored: self.opened.rules.as_ref().map(|(_, text)| text.clone()),
            configured: settings.live.rulebook.get().configured(),
            compiled: Arc::clone(&self.compiled),
        }
    }

    /// How far audit files are behind the log.
    #[must_use]
    pub fn audit_lag(&self) -> AuditLag {
        AuditLag::new(self.marks.size.clone(), &self.audit)
    }

    /// Starts the threads; `tenures` has one for each shard where the state is shared. Returns what operators may see.
    pub fn start(
        self,
        start: &Start<'_>,
        ends: DecidingEnds,
        (marks, abandon, tell): (&journal::Marks, &Switch, &mpsc::Sender<Told>),
        (tenures, elsewhere): (Vec<PartitionOwnership>, Elsewhere),
        collector: &mut Collector,
    ) -> Result<(Deciding, Decided), ServeError> {
        let Self {
            opened,
            rules,
            compiled,
            reader,
            followups,
            cases,
            marks: scribe_marks,
            audit,
            alerts,
            notices,
        } = self;
        let mut alerts = Some(alerts);
        let Opened { store, governors, watermark, held, log, logged, rules: stored, alerts: _ } = opened;
        let rules_since = stored.map_or(Seq(0), |(since, _)| since);
        let settings = start.settings;
        // One half for the thread, one for who ends it.
        let stop = || {
            let stop = Stop { finish: Switch::new(), abandon: abandon.clone() };
            (stop.clone(), stop)
        };

        let DecidingEnds { shards, scribe: (ports, sleeper), keeper } = ends;
        let ((batches, written, writer_sleeper), writer) = wire_log_writer(&sleeper);
        let (ended, told) = stop();
        let heartbeat = collector.heartbeat();
        let log_writer = spawn("log-writer", tell, move || {
            threads::log_writer(batches, written, heartbeat, &writer_sleeper, &told);
            Ok(())
        })?;
        let log_writer = (log_writer, ended);
        let stage = scribe::Stage::new(
            log,
            logged,
            ports,
            scribe_marks.clone(),
            collector.recorder().ok_or(ServeError::Histograms)?,
        );
        let stage = stage.writing_by(writer);
        let (ended, told) = stop();
        let scribe = spawn("scribe", tell, move || Ok(threads::scribe(stage, &sleeper, &told)?))?;
        let scribe = (scribe, ended);

        let (ended, told) = stop();
        let audit = audit.into_iter().map(|follower| {
            let told = told.clone();
            spawn("audit", tell, move || {
                threads::audit(follower, &told);
                Ok(())
            })
        });
        let audit = (audit.collect::<Result<_, _>>()?, ended);

        let (ports, sleeper) = keeper;
        let settled = Tide::of(marks.settled.clone());
        let keeper =
            Keeper::new(store, ports, watermark, &held, (settled.clone(), scribe_marks.size.clone()))
                .retiring(Retiring::new(settings.retention, marks.clock.time.clone()));
        let (ended, told) = stop();
        let heartbeat = collector.heartbeat();
        let keeper = spawn("store", tell, move || Ok(threads::keeper(keeper, heartbeat, &sleeper, &told)?))?;
        let keeper = (keeper, ended);

        let (ended, told) = stop();
        let (mut shard_threads, mut states) = (Vec::new(), Vec::new());
        let taps = Taps::default();
        let owned = by_shard(governors, shards.len());
        let mut tenures = tenures.into_iter();
        for (number, ((lanes, sleeper), governors)) in shards.into_iter().zip(owned).enumerate() {
            let shard_marks = shard::Marks {
                decided: Mark::new(0),
                states: std::array::from_fn(|_| Mark::new(0)),
                settled: marks.settled.clone(),
            };
            states.push(shard_marks.states.clone());
            let rules = (Arc::clone(&rules), Arc::clone(&compiled));
            let mut stage = shard::Stage::new(
                number,
                rules,
                governors,
                lanes,
                shard_marks,
                collector.recorder().ok_or(ServeError::Histograms)?,
            )
            .under_rules_since(rules_since)
            .parking(start.parked.clone())
            .tapped(taps.spout())
            .telling(marks.crowd.of(number));
            if number == journal::ALERTS_SHARD
                && let Some(alerts) = alerts.take()
            {
                stage = stage.alerting(alerts);
            }
            if let Some(tenure) = tenures.next() {
                stage = stage.sharing(tenure);
            }
            let (told, time) = (told.clone(), marks.clock.time.clone());
            shard_threads.push(spawn(&format!("shard-{number}"), tell, move || {
                threads::shard(stage, &time, &sleeper, &told);
                Ok(())
            })?);
        }
        let decided =
            Decided { reader, followups, cases, states, compiled, elsewhere, settled, taps, notices };
        Ok((Deciding { shards: (shard_threads, ended), scribe, log_writer, keeper, audit }, decided))
    }
}

impl Deciding {
    /// Each ends when it has finished the work of the one before.
    pub fn end(self, joining: &mut Joining<'_>) {
        let (shards, stop) = self.shards;
        stop.finish.turn_on();
        for shard in shards {
            joining.join(shard);
        }
        for (thread, stop) in [self.scribe, self.log_writer, self.keeper] {
            stop.finish.turn_on();
            joining.join(thread);
        }
        let (files, stop) = self.audit;
        stop.finish.turn_on();
        for file in files {
            joining.join(file);
        }
    }

    /// Waits for threads that were abandoned.
    pub fn abandoned(self) {
        let rest = [self.scribe, self.log_writer, self.keeper].map(|(thread, _)| thread);
        self.shards.0.into_iter().chain(rest).chain(self.audit.0).for_each(join);
    }
}

fn by_shard(governors: Vec<Governor>, shards: usize) -> Vec<Vec<Governor>> {
    let mut owned: Vec<Vec<Governor>> = std::iter::repeat_with(Vec::new).take(shards).collect();
    for governor in governors {
        let shard = journal::shard_of(governor.tenant(), shards);
        owned[shard].push(governor);
    }
    owned
}
