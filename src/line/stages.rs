//! The threads of one run of the line: started in the order of the way back, from the scribe to ingress, so that each
//! finds whom it hands to; ended in the order of the way.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use secrecy::ExposeSecret as _;

use super::desk::Known;
use super::health::Health;
use super::recovery::{self, Opened, RecoveryError};
use super::serve::{Addresses, ServeError};
use super::settings::Settings;
use super::supervisor::Restarts;
use super::threads::{self, Stop};
use super::wiring::{Gauge, Wiring, wire, wire_log_writer};
use super::{cores, ingress_threads, outbound};
use crate::andon::log::{Log, ReceiptKey, SEGMENT_BYTES};
use crate::andon::stage as scribe;
use crate::clock;
use crate::disk::Disk;
use crate::event::{Feed, Order, RulesText, Seq};
use crate::ingress::stage as ingress;
use crate::jidoka::governor::Governor;
use crate::jidoka::rules::{Compiled, RulesSource};
use crate::jidoka::stage::{self as shard, Stumble};
use crate::jidoka::store::{Embedded, Keeper};
use crate::kaizen::{Collector, Recorder};
use crate::kanban::dedup::{Background, Dedup};
use crate::kanban::stage as journal;
use crate::net::listen::listen;
use crate::proof::note::LocalSigner;
use crate::ring::{Crowd, Idle, Mark, Sleeper, Switch};

/// What a run begins with.
pub struct Start<'a> {
    pub settings: &'a Settings,
    pub disk: &'a Arc<dyn Disk>,
    /// Where to listen; after a restart, the ports that were found the first time.
    pub addresses: Addresses,
    /// Events that are not decided on again.
    pub parked: HashSet<Seq>,
    pub drain: Switch,
    pub restarts: Arc<Mutex<Restarts>>,
}

/// How a run came to its end.
pub enum Ending {
    Drained,
    Failed(ServeError),
    /// A stage behind the journal; the line can be taken up again.
    Panicked {
        stage: String,
        at: Option<Seq>,
    },
}

/// What a thread tells the one that started it.
enum Told {
    /// The journal is replayed and takes signals.
    Ready,
    Ended {
        stage: String,
        result: Result<(), ServeError>,
    },
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
    pub addresses: Addresses,
    /// What the ingress threads start with once the journal is ready.
    waiting_ingress: Vec<ingress_threads::Start>,
    ingress: Vec<JoinHandle<()>>,
    journal: JoinHandle<()>,
    shards: Vec<JoinHandle<()>>,
    scribe: JoinHandle<()>,
    log_writer: JoinHandle<()>,
    keeper: JoinHandle<()>,
    outbound: JoinHandle<()>,
}

impl Line {
    /// Takes up what is on disk and starts every stage but ingress, which waits for the journal.
    #[expect(
        clippy::too_many_lines,
        reason = "one list of who gets what; in parts it would be harder to follow"
    )]
    pub fn start(start: Start<'_>) -> Result<Self, ServeError> {
        let Start { settings, disk, addresses, parked, drain, restarts } = start;
        let threads = settings.ingress_threads + settings.shards + 3;
        let idle = Idle::sharing(threads, cores::available().len());
        let Wiring { journal: journal_end, shards, scribe: scribe_end, keeper, ingress, outbound, gauges } =
            wire(settings.ingress_threads, settings.shards, idle);
        let depths: Arc<[Gauge]> = gauges.into();
        let mut collector = Collector::new().ok_or(ServeError::Histograms)?;
        let mut recorder = || collector.recorder().ok_or(ServeError::Histograms);

        let signer = LocalSigner::new(&settings.origin, settings.log_seed.expose())?;
        let key = ReceiptKey::new(settings.receipt_secret.expose_secret());
        let store = Embedded::open(&recovery::state_dir(&settings.data_dir)).map_err(RecoveryError::from)?;
        let log_dir = recovery::log_dir(&settings.data_dir);
        let log = Log::open(Arc::clone(disk), &log_dir, Box::new(signer), key, SEGMENT_BYTES, clock::wall());
        let log = log.map_err(RecoveryError::from)?;
        let (reader, followups) = (log.reader(), store.followups());
        let cases = store.cases();
        let Opened { store, governors, watermark, rules: stored, log, logged } =
            recovery::open(Box::new(store), log)?;
        let configured = settings.rulebook.configured().to_text();
        let compiled = Arc::new(Compiled::default());
        let holding = stored.clone().unwrap_or_else(RulesSource::before_any);
        let rules = compiled.of(&holding);
        let rules = rules.map_err(|source| RecoveryError::Rules { seq: watermark, source })?;
        compiled.hold(watermark, &rules);
        let newest = logged.iter().map(|id| id.seq).max();

        let (tell, told) = mpsc::channel();
        let stops = Stops::new(drain);
        let zero = || Mark::new(0);
        let marks = journal::Marks {
            durable: zero(),
            written: zero(),
            settled: Mark::new(watermark.0),
            disk_low: zero(),
            drain: stops.drain.clone(),
        };
        let scribe_marks =
            scribe::Marks { size: zero(), written: zero(), checkpoint: Mark::new(clock::wall().0) };
        let health = Health {
            journal: marks.clone(),
            checkpoint: scribe_marks.checkpoint.clone(),
            written: vec![("journal", marks.written.clone()), ("log", scribe_marks.written.clone())],
            ready: Switch::new(),
            began: zero(),
        };

        let (writer_end, scribe_writer) = wire_log_writer(&scribe_end.1);
        let (batches, written, sleeper) = writer_end;
        let stop = stops.log_writer.clone();
        let log_writer = spawn("log-writer", &tell, move || {
            threads::log_writer(batches, written, &sleeper, &stop);
            Ok(())
        })?;
        let stage = scribe::Stage::new(log, logged, scribe_end.0, scribe_marks, recorder()?);
        let stage = stage.writing_by(scribe_writer);
        let (sleeper, stop) = (scribe_end.1, stops.scribe.clone());
        let scribe = spawn("scribe", &tell, move || Ok(threads::scribe(stage, &sleeper, &stop)?))?;

        let keeper_stage = Keeper::new(store, keeper.0, watermark, marks.settled.clone());
        let (sleeper, stop) = (keeper.1, stops.keeper.clone());
        let keeper = spawn("store", &tell, move || Ok(threads::keeper(keeper_stage, &sleeper, &stop)?))?;

        let mut states = Vec::new();
        let mut shard_threads = Vec::new();
        let owned = by_shard(governors, shards.len());
        let crowd = Crowd::new(shards.len());
        for (number, ((lanes, sleeper), governors)) in shards.into_iter().zip(owned).enumerate() {
            let shard_marks = shard::Marks { decided: zero(), states: std::array::from_fn(|_| zero()) };
            states.push(shard_marks.states.clone());
            let stage = shard::Stage::new(
                number,
                (Arc::clone(&rules), Arc::clone(&compiled)),
                governors,
                lanes,
                shard_marks,
                recorder()?,
            )
            .parking(parked.clone())
            .telling(crowd.of(number));
            let stop = stops.shards.clone();
            shard_threads.push(spawn(&format!("shard-{number}"), &tell, move || {
                threads::shard(stage, &sleeper, &stop);
                Ok(())
            })?);
        }

        let dedup_dir = recovery::dedup_dir(&settings.data_dir);
        let dedup = Dedup::open(Arc::clone(disk), &dedup_dir, settings.dedup, Background::Thread);
        let dedup = dedup.map_err(RecoveryError::from)?;
        let plan = JournalPlan {
            disk: Arc::clone(disk),
            settings: (settings.data_dir.clone(), settings.segment_bytes, settings.low_water_bytes),
            dedup,
            watermark,
            newest,
            rules: (stored, configured),
            compiled: Arc::clone(&compiled),
            lanes: journal_end.0,
            marks,
            recorder: recorder()?,
            began: health.began.clone(),
            ready: tell.clone(),
        };
        let (sleeper, stop) = (journal_end.1, stops.journal.clone());
        let journal = spawn("journal", &tell, move || abort_on_panic(|| plan.run(&sleeper, &stop)))?;

        let (waiting_ingress, at) = ingress_threads::plan(
            settings,
            addresses.ingress,
            ingress,
            (&stops.drain, &stops.abandon, &crowd),
            &mut recorder,
        )?;
        let listener = listen(addresses.admin, false, "admin.listen")?;
        let in_listener = |source| ServeError::Stage { stage: "outbound".into(), source };
        let addresses = Addresses { ingress: at, admin: listener.local_addr().map_err(in_listener)? };
        let sources = settings.sources.iter().map(|source| (source.name.clone(), source.keyring.assurance()));
        let busy = zero();
        let plan = outbound::Plan {
            listener,
            drain: stops.drain.clone(),
            tokens: settings.tokens.clone(),
            ends: outbound,
            targets: Arc::clone(&settings.targets),
            known: Known {
                reader,
                followups,
                cases,
                sources: sources.collect(),
                gauges: Arc::clone(&depths),
                health: health.clone(),
                states,
                restarts: Arc::clone(&restarts),
                rulebook: Arc::clone(&settings.rulebook),
                compiled,
            },
            collector,
            busy: busy.clone(),
            stop: stops.outbound.clone(),
        };
        let outbound = spawn("outbound", &tell, move || {
            outbound::run(plan).map_err(|source| ServeError::Stage { stage: "outbound".into(), source })
        })?;
        Ok(Self {
            told,
            tell,
            stops,
            health,
            busy,
            depths,
            restarts,
            addresses,
            waiting_ingress,
            ingress: Vec::new(),
            journal,
            shards: shard_threads,
            scribe,
            log_writer,
            keeper,
            outbound,
        })
    }

    /// Watches the stages until the line shall end or one of them does; `ready` when signals are taken.
    pub fn run(&mut self, ready: &mut dyn FnMut()) -> Ending {
        while !self.stops.drain.is_on() {
            match self.told.recv_timeout(Duration::from_millis(100)) {
                Ok(Told::Ready) => {
                    if let Err(error) = self.open_ingress() {
                        return Ending::Failed(error);
                    }
                    self.health.ready.turn_on();
                    ready();
                }
                Ok(Told::Ended { result: Ok(()), .. }) if self.stops.drain.is_on() => {}
                Ok(Told::Ended { result: Err(ServeError::Panicked { stage, at }), .. }) => {
                    return Ending::Panicked { stage, at };
                }
                Ok(Told::Ended { stage, result }) => {
                    return Ending::Failed(result.err().unwrap_or(ServeError::Ended { stage }));
                }
                Err(mpsc::RecvTimeoutError::Timeout) => {}
                Err(mpsc::RecvTimeoutError::Disconnected) => self.stops.drain.turn_on(),
            }
        }
        Ending::Drained
    }

    /// Signals are taken from here on.
    fn open_ingress(&mut self) -> Result<(), ServeError> {
        let cores = cores::available();
        for (number, (plan, ends, recorder)) in self.waiting_ingress.drain(..).enumerate() {
            let core = cores.get(number % cores.len().max(1)).copied();
            let name = format!("ingress-{number}");
            let stage = name.clone();
            let restarts = Arc::clone(&self.restarts);
            self.ingress.push(spawn(&name, &self.tell, move || {
                if let Some(core) = core {
                    cores::pin(core);
                }
                let ends = ingress::Ends::new(ends.arrivals, ends.acks, ends.bell, ends.acked, recorder);
                ingress_threads::run(&plan, &ends, &stage, &restarts)
            })?);
        }
        Ok(())
    }

    /// Stops accepting, finishes, syncs, signs the last checkpoint.
    pub fn end(self) -> Result<(), ServeError> {
        self.waiting_ingress.into_iter().for_each(drop);
        self.ingress.into_iter().for_each(join);
        // What was ordered is carried out and its outcome journalled, if that does not take long.
        let settle = clock::now() + SETTLE;
        while clock::now() < settle
            && (self.busy.read() > 0 || self.depths.iter().any(|(_, depth)| depth() > 0))
        {
            std::thread::sleep(Duration::from_millis(5));
        }
        self.stops.journal.finish.turn_on();
        join(self.journal);
        self.stops.shards.finish.turn_on();
        self.shards.into_iter().for_each(join);
        self.stops.scribe.finish.turn_on();
        join(self.scribe);
        self.stops.log_writer.finish.turn_on();
        join(self.log_writer);
        self.stops.keeper.finish.turn_on();
        join(self.keeper);
        self.stops.outbound.turn_on();
        join(self.outbound);
        drop(self.tell);
        for told in self.told.try_iter() {
            if let Told::Ended { result: Err(error), .. } = told {
                return Err(error);
            }
        }
        Ok(())
    }

    /// Ends every stage at once, as a crash would, but waits for them.
    pub fn abandon(self) {
        self.stops.abandon.turn_on();
        self.stops.outbound.turn_on();
        self.waiting_ingress.into_iter().for_each(drop);
        let rest = [self.journal, self.scribe, self.log_writer, self.keeper, self.outbound];
        self.ingress.into_iter().chain(self.shards).chain(rest).for_each(join);
    }
}

/// Actions under way may take so long at the end.
const SETTLE: Duration = Duration::from_secs(5);

/// What the journal's thread is given.
struct JournalPlan {
    disk: Arc<dyn Disk>,
    /// Data directory, bytes of a segment, low-water mark.
    settings: (std::path::PathBuf, u64, u64),
    dedup: Dedup,
    watermark: Seq,
    /// Newest event that the log has a receipt of.
    newest: Option<Seq>,
    /// Texts of the rules at the watermark, if there are any, and of the configured ones.
    rules: (Option<Box<str>>, Box<str>),
    compiled: Arc<Compiled>,
    lanes: journal::Lanes,
    marks: journal::Marks,
    recorder: Recorder,
    began: Mark,
    ready: mpsc::Sender<Told>,
}

impl JournalPlan {
    /// Reads the journal, hands on what is not decided, says that it is ready, and writes until it is stopped.
    fn run(self, sleeper: &Sleeper, stop: &Stop) -> Result<(), ServeError> {
        let Self {
            disk,
            settings,
            mut dedup,
            watermark,
            newest,
            rules,
            compiled,
            mut lanes,
            marks,
            recorder,
            ..
        } = self;
        let (data_dir, segment_bytes, low_water_bytes) = settings;
        let shards = lanes.shards.len();
        let mut hand =
            |shard: usize, feed| recovery::hand(&mut lanes.shards[shard], feed, &|| stop.abandon.is_on());
        let replayed =
            recovery::replay(&disk, &data_dir, watermark, &mut dedup, shards, &compiled, &mut hand)?;
        let end = replayed.end;
        recovery::check_end(&data_dir, &end, watermark, newest)?;
        self.began.publish(end.last.0);
        for shard in 0..shards {
            hand(shard, Feed::Through(end.last));
            hand(shard, Feed::Live);
        }
        let writer = recovery::write_on(&disk, &data_dir, segment_bytes, true, end, clock::wall())?;
        // Nobody listens only when the line ends already.
        let _ending = self.ready.send(Told::Ready);
        let place = journal::Place { disk, data_dir, low_water_bytes };
        let mut stage = journal::Stage::new(place, writer, dedup, lanes, marks, recorder, clock::now());
        let (stored, configured) = rules;
        let holding = replayed.rules.map(|rules| rules.text.clone()).or(stored);
        if holding.as_ref() != Some(&configured) {
            let (actor, reason) = ("configuration".into(), "start".into());
            stage.begin_with(Order::Rules(Arc::new(RulesText { text: configured, actor, reason })));
        }
        Ok(threads::journal(stage, sleeper, stop)?)
    }
}

/// The journal's memory of what it promised is gone with it: only a new process may go on.
fn abort_on_panic<T>(run: impl FnOnce() -> T) -> T {
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(value) => value,
        Err(_) => std::process::abort(),
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

fn spawn(
    name: &str,
    tell: &mpsc::Sender<Told>,
    run: impl FnOnce() -> Result<(), ServeError> + Send + 'static,
) -> Result<JoinHandle<()>, ServeError> {
    let (tell, stage) = (tell.clone(), name.to_owned());
    let thread = std::thread::Builder::new().name(name.into()).spawn(move || {
        let result = catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
            let at = panic.downcast_ref::<Stumble>().map(|stumble| stumble.at);
            Err(ServeError::Panicked { stage: stage.clone(), at })
        });
        // Nobody listens only when the line ends already.
        let _ending = tell.send(Told::Ended { stage, result });
    });
    thread.map_err(|source| ServeError::Stage { stage: name.into(), source })
}

fn join(thread: JoinHandle<()>) {
    // How it ended was told on the channel.
    let _told = thread.join();
}
