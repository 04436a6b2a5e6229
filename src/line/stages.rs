//! The threads of one run of the line: started in the order of the way back, from the scribe to ingress, so that each
//! finds whom it hands to; ended in the order of the way.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use secrecy::ExposeSecret as _;

use super::desk::{Decided, Known};
use super::front::{self, Front};
use super::health::Health;
use super::ingress_threads::Connections;
use super::journal_thread::{Behind, JournalPlan, abort_on_panic};
use super::recovery::{self, Opened, RecoveryError};
use super::running::{Ending, Joining, Run, Told, join, spawn, watch};
use super::serve::{Addresses, ServeError, SystemOrders};
use super::settings::{ProofKeys, Role, Settings};
use super::supervisor::Restarts;
use super::threads::{self, Stop};
use super::wiring::{Gauge, Wiring, wire, wire_log_writer};
use super::{cores, identity, outbound, sharing};
use crate::andon::log::{Log, ReceiptKey, SEGMENT_BYTES};
use crate::andon::stage as scribe;
use crate::clock;
use crate::descriptors::Budget;
use crate::disk::{Disk, make_dir};
use crate::event::Seq;
use crate::jidoka::governor::Governor;
use crate::jidoka::rules::{Compiled, RulesSource};
use crate::jidoka::stage as shard;
use crate::jidoka::store::{self, Embedded, Keeper, Retiring};
use crate::kaizen::Collector;
use crate::kanban::dedup::{Background, Dedup};
use crate::kanban::journal_clock;
use crate::kanban::stage as journal;
use crate::kanban::tenure::Tenure;
use crate::net::listen::listen;
use crate::proof::note::LocalSigner;
use crate::ring::{Crowd, Idle, Mark, Switch, Tide};

/// What a run begins with.
pub struct Start<'a> {
    pub settings: &'a Settings,
    pub disk: &'a Arc<dyn Disk>,
    /// Where to listen; after a restart, the ports that were found the first time.
    pub addresses: Addresses,
    /// Events that are not decided on again.
    pub parked: HashSet<Seq>,
    pub orders: &'a SystemOrders,
    pub budget: Budget,
    pub restarts: Arc<Mutex<Restarts>>,
}

impl Start<'_> {
    /// Between the steps of a long start: shall it go on?
    pub fn go_on(&self) -> Result<(), ServeError> {
        if self.orders.drain.is_on() { Err(ServeError::ToldToEnd) } else { Ok(()) }
    }
}

/// Ends the stages one after the other, so that each finds the work of the one before; or all at once.
struct Stops {
    drain: Switch,
    /// Leave everything: the line is taken up from the journal.
    abandon: Switch,
    journal: Stop,
    shards: Stop,
    scribe: Stop,
    log_writer: Stop,
    keeper: Stop,
    outbound: Switch,
}

impl Stops {
    fn new(drain: Switch) -> Self {
        let abandon = Switch::new();
        let stop = || Stop { finish: Switch::new(), abandon: abandon.clone() };
        Self {
            drain,
            journal: stop(),
            shards: stop(),
            scribe: stop(),
            log_writer: stop(),
            keeper: stop(),
            outbound: Switch::new(),
            abandon,
        }
    }
}

/// A run of the line.
pub struct Line {
    told: mpsc::Receiver<Told>,
    tell: mpsc::Sender<Told>,
    stops: Stops,
    health: Health,
    busy: Mark,
    depths: Arc<[Gauge]>,
    restarts: Arc<Mutex<Restarts>>,
    addresses: Addresses,
    front: Front,
    journal: JoinHandle<()>,
    shards: Vec<JoinHandle<()>>,
    scribe: JoinHandle<()>,
    log_writer: JoinHandle<()>,
    keeper: JoinHandle<()>,
    outbound: JoinHandle<()>,
}

impl Line {
    /// Takes up what is on disk and starts every stage but what brings signals, which waits for the journal.
    #[expect(
        clippy::too_many_lines,
        reason = "one list of who gets what; in parts it would be harder to follow"
    )]
    pub fn start(start: &Start<'_>, keys: &ProofKeys) -> Result<Self, ServeError> {
        let &Start { settings, disk, addresses, ref parked, orders, budget, ref restarts } = start;
        start.go_on()?;
        let threads = front::threads(settings) + settings.shards + 3;
        let idle = Idle::sharing(threads, cores::processors());
        let Wiring { journal: journal_end, shards, scribe: scribe_end, keeper, ingress, outbound, gauges } =
            wire(front::threads(settings), settings.shards, idle);
        let depths: Arc<[Gauge]> = gauges.into();
        let mut collector = Collector::new().ok_or(ServeError::Histograms)?;
        let mut recorder = || collector.recorder().ok_or(ServeError::Histograms);

        let signer = LocalSigner::new(&settings.origin, keys.log_seed.expose())?;
        let key = ReceiptKey::new(keys.receipt_secret.expose_secret());
        let state_dir = recovery::state_dir(&settings.data_dir);
        make_dir(&**disk, &state_dir)
            .map_err(|source| ServeError::DataDir { path: state_dir.clone(), source })?;
        store::make_certain(&**disk, &state_dir).map_err(RecoveryError::from)?;
        let store = Embedded::open(&state_dir).map_err(RecoveryError::from)?;
        start.go_on()?;
        let log_dir = recovery::log_dir(&settings.data_dir);
        let log = Log::open(Arc::clone(disk), &log_dir, Box::new(signer), key, SEGMENT_BYTES, clock::wall());
        let log = log.map_err(RecoveryError::from)?;
        start.go_on()?;
        let (reader, followups) = (log.reader(), store.followups());
        let cases = store.cases();
        let Opened { store, governors, watermark, rules: stored, held, log, logged } =
            recovery::open(&settings.data_dir, Box::new(store), log)?;
        start.go_on()?;
        let configured = settings.rulebook.configured().to_text();
        let lineage = recovery::lineage(&**disk, &settings.data_dir)?;
        let compiled = Arc::new(Compiled::new(lineage.id));
        let holding = stored.clone().unwrap_or_else(RulesSource::before_any);
        let rules = compiled.of(&holding);
        let rules = rules.map_err(|source| RecoveryError::Rules { seq: watermark, source })?;
        compiled.hold(watermark, &rules);
        let newest = logged.iter().map(|id| id.seq).max();

        let (tell, told) = mpsc::channel();
        let stops = Stops::new(orders.drain.clone());
        let zero = || Mark::new(0);
        let busy = zero();
        let mut ingress = ingress;
        let shared = match (&settings.sharing, &settings.role) {
            (Some(sharing), Role::Processor(_, link)) => ingress.pop().map(|end| {
                let name = identity::named(&settings.name, lineage.id);
                let switches = (&stops.drain, &stops.abandon, busy.clone());
                sharing::plan((sharing, link), name, &held, end, shards.len(), switches, settings.say)
            }),
            _ => None,
        };
        let (shared, state, tenures, asks) = match shared.transpose()? {
            Some(sharing::Ends { marks, tenures, asks, sharer, asked }) => {
                (Some((sharer, asked)), Some(marks), tenures, Some(asks))
            }
            None => (None, None, Vec::new(), None),
        };
        let crowd = Crowd::new(shards.len(), settings.room);
        let marks = journal::Marks {
            crowd: crowd.clone(),
            durable: zero(),
            written: zero(),
            settled: Mark::new(watermark.0),
            disk_low: zero(),
            backlog_full: zero(),
            clock: journal_clock::Marks::default(),
            drain: stops.drain.clone(),
        };
        let settled = Tide::of(marks.settled.clone());
        let scribe_marks =
            scribe::Marks { size: zero(), written: zero(), checkpoint: Mark::new(clock::millis()) };
        let broker = front::broker_marks(settings, settings.say);
        let connections = Connections::new(settings.http_threads(), budget.connections);
        let health = Health {
            name: settings.name.as_str().into(),
            role: settings.role.as_str(),
            journal: marks.clone(),
            checkpoint: Some(scribe_marks.checkpoint.clone()),
            written: vec![("journal", marks.written.clone()), ("log", scribe_marks.written.clone())],
            ready: Switch::new(),
            began: zero(),
            broker: broker.clone(),
            state: state.clone(),
            connections,
        };

        let (writer_end, scribe_writer) = wire_log_writer(&scribe_end.1);
        let (batches, written, sleeper) = writer_end;
        let stop = stops.log_writer.clone();
        let log_writer = spawn("log-writer", &tell, move || {
            threads::log_writer(batches, written, &sleeper, &stop);
            Ok(())
        })?;
        let stage = scribe::Stage::new(log, logged, scribe_end.0, scribe_marks.clone(), recorder()?);
        let stage = stage.writing_by(scribe_writer);
        let (sleeper, stop) = (scribe_end.1, stops.scribe.clone());
        let scribe = spawn("scribe", &tell, move || Ok(threads::scribe(stage, &sleeper, &stop)?))?;

        let keeper_stage =
            Keeper::new(store, keeper.0, watermark, &held, (settled.clone(), scribe_marks.size.clone()))
                .retiring(Retiring::new(settings.retention, marks.clock.time.clone()));
        let (sleeper, stop) = (keeper.1, stops.keeper.clone());
        let keeper = spawn("store", &tell, move || Ok(threads::keeper(keeper_stage, &sleeper, &stop)?))?;

        let mut states = Vec::new();
        let mut shard_threads = Vec::new();
        let owned = by_shard(governors, shards.len());
        let mut tenures = tenures.into_iter();
        for (number, ((lanes, sleeper), governors)) in shards.into_iter().zip(owned).enumerate() {
            let shard_marks = shard::Marks {
                decided: zero(),
                states: std::array::from_fn(|_| zero()),
                settled: marks.settled.clone(),
            };
            states.push(shard_marks.states.clone());
            let mut stage = shard::Stage::new(
                number,
                (Arc::clone(&rules), Arc::clone(&compiled)),
                governors,
                lanes,
                shard_marks,
                recorder()?,
            )
            .parking(parked.clone())
            .telling(crowd.of(number));
            if let Some(tenure) = tenures.next() {
                stage = stage.sharing(tenure);
            }
            let (stop, time) = (stops.shards.clone(), marks.clock.time.clone());
            shard_threads.push(spawn(&format!("shard-{number}"), &tell, move || {
                threads::shard(stage, &time, &sleeper, &stop);
                Ok(())
            })?);
        }

        let dedup_dir = recovery::dedup_dir(&settings.data_dir);
        let dedup = Dedup::open(Arc::clone(disk), &dedup_dir, settings.dedup, Background::Thread);
        let dedup = dedup.map_err(RecoveryError::from)?;
        let plan = JournalPlan {
            disk: Arc::clone(disk),
            data_dir: settings.data_dir.clone(),
            lineage,
            bounds: settings.bounds,
            kept_for: settings.dedup.horizon(),
            dedup,
            watermark,
            behind: Some(Behind { newest, stored, configured, compiled: Arc::clone(&compiled) }),
            lanes: journal_end.0,
            marks,
            recorder: recorder()?,
            began: health.began.clone(),
            tenure: state.as_ref().map(|marks| {
                Tenure::new(u16::try_from(marks.terms.len()).unwrap_or(u16::MAX), marks.changed.clone())
            }),
            ready: tell.clone(),
        };
        let (sleeper, stop) = (journal_end.1, stops.journal.clone());
        let journal = spawn("journal", &tell, move || abort_on_panic(|| plan.run(&sleeper, &stop)))?;

        let (front, at) = Front::plan(
            settings,
            disk,
            (addresses.ingress, &health.connections),
            ingress,
            (&stops.drain, &stops.abandon, &crowd, &health.journal.clock.time),
            (broker, shared),
            &mut recorder,
        )?;
        let listener = listen(addresses.admin, "admin.listen")?;
        let in_listener = |source| ServeError::Stage { stage: "outbound".into(), source };
        let addresses = Addresses { ingress: at, admin: listener.local_addr().map_err(in_listener)? };
        let plane = outbound::Plane {
            listener,
            tokens: settings.tokens.clone(),
            collector,
            stop: stops.outbound.clone(),
            clock: health.journal.clock.clone(),
        };
        let plan = outbound::Plan {
            reload: Arc::clone(&orders.reload),
            ends: outbound,
            targets: Arc::clone(&settings.targets),
            known: Known {
                sources: settings.source_names(),
                gauges: Arc::clone(&depths),
                health: health.clone(),
                restarts: Arc::clone(restarts),
                decided: Some(Decided {
                    reader,
                    followups,
                    cases,
                    states,
                    rulebook: Arc::clone(&settings.rulebook),
                    compiled,
                    elsewhere: sharing::Elsewhere(asks.zip(state)),
                    settled,
                }),
            },
            busy: busy.clone(),
        };
        let outbound = spawn("outbound", &tell, move || outbound::run(plane, plan))?;
        Ok(Self {
            told,
            tell,
            stops,
            health,
            busy,
            depths,
            restarts: Arc::clone(restarts),
            addresses,
            front,
            journal,
            shards: shard_threads,
            scribe,
            log_writer,
            keeper,
            outbound,
        })
    }
}

impl Run for Line {
    fn addresses(&self) -> Addresses {
        self.addresses
    }

    fn run(&mut self, ready: &mut dyn FnMut()) -> Ending {
        let Self { told, tell, stops, health, restarts, front, .. } = self;
        watch(told, &stops.drain, |positions| {
            front.open(positions, tell, restarts)?;
            health.ready.turn_on();
            ready();
            Ok(())
        })
    }

    /// The last checkpoint is signed before it ends.
    fn end(self: Box<Self>) -> Result<(), ServeError> {
        let Self { told, tell, stops, busy, depths, front, .. } = *self;
        let mut joining = Joining::new(&told, &stops.abandon);
        front.end(&mut joining);
        // What was ordered is carried out and its outcome journalled, if that does not take long.
        let settle = clock::now() + SETTLE;
        while clock::now() < settle
            && !stops.abandon.is_on()
            && (busy.read() > 0 || depths.iter().any(|(_, depth)| depth() > 0))
        {
            joining.look();
            std::thread::sleep(Duration::from_millis(5));
        }
        stops.journal.finish.turn_on();
        joining.join(self.journal);
        stops.shards.finish.turn_on();
        self.shards.into_iter().for_each(|shard| joining.join(shard));
        stops.scribe.finish.turn_on();
        joining.join(self.scribe);
        stops.log_writer.finish.turn_on();
        joining.join(self.log_writer);
        stops.keeper.finish.turn_on();
        joining.join(self.keeper);
        stops.outbound.turn_on();
        joining.join(self.outbound);
        drop(tell);
        joining.result()
    }

    fn abandon(self: Box<Self>) {
        self.stops.abandon.turn_on();
        self.stops.outbound.turn_on();
        self.front.abandon();
        let rest = [self.journal, self.scribe, self.log_writer, self.keeper, self.outbound];
        self.shards.into_iter().chain(rest).for_each(join);
    }
}

/// How long actions under way may take at the end: with the drain before it less than the ten seconds after which
/// `docker stop` kills.
const SETTLE: Duration = Duration::from_secs(4);
const _: () = assert!(SETTLE.as_secs() + crate::limits::DRAIN_SECONDS as u64 <= 8);

fn by_shard(governors: Vec<Governor>, shards: usize) -> Vec<Vec<Governor>> {
    let mut owned: Vec<Vec<Governor>> = std::iter::repeat_with(Vec::new).take(shards).collect();
    for governor in governors {
        let shard = journal::shard_of(governor.tenant(), shards);
        owned[shard].push(governor);
    }
    owned
}
