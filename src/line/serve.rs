//! Starts the line, keeps it running, ends it in order.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use secrecy::ExposeSecret as _;

use super::health::Health;
use super::recovery::{self, Opened, RecoveryError};
use super::settings::Settings;
use super::wiring::{Gauge, IngressEnds, Wiring, wire};
use super::{cores, outbound, threads};
use crate::andon::log::{Log, LogError, ReceiptKey, SEGMENT_BYTES};
use crate::andon::stage as scribe;
use crate::clock;
use crate::disk::{DataLock, Disk, RealDisk};
use crate::event::Feed;
use crate::ingress::rate::{Buckets, Leases};
use crate::ingress::stage as ingress;
use crate::jidoka::stage as shard;
use crate::jidoka::store::{Embedded, Keeper, StoreError};
use crate::kaizen::Collector;
use crate::kanban::dedup::Dedup;
use crate::kanban::stage::{self as journal, Fatal};
use crate::net::listen::{ListenError, listen};
use crate::proof::note::{BadSigner, LocalSigner};
use crate::ring::{Idle, Mark, Switch};

/// Why the line could not start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error("{path}: {source}")]
    DataDir { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Listen(#[from] ListenError),
    #[error(transparent)]
    Signer(#[from] BadSigner),
    #[error(transparent)]
    Recovery(#[from] RecoveryError),
    #[error("the journal stopped: {0}")]
    Journal(#[from] Fatal),
    #[error("the transparency log stopped: {0}")]
    Log(#[from] LogError),
    #[error("the state store stopped: {0}")]
    Store(#[from] StoreError),
    #[error("{stage} could not run: {source}")]
    Stage { stage: String, source: io::Error },
    #[error("{stage} panicked")]
    Panicked { stage: String },
    #[error("{stage} ended before it was told to")]
    Ended { stage: String },
    #[error("the histograms cannot be made")]
    Histograms,
    #[error("{stage} panicked for the {count}th time within {within:?}; the line was drained")]
    Restarts { stage: String, count: usize, within: Duration },
}

impl ServeError {
    /// What the operator can do.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Recovery(RecoveryError::Journal(damage)) => damage.hint(),
            Self::Listen(_) => Some("another process may listen there; choose another address"),
            _ => None,
        }
    }
}

/// Where the line can be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addresses {
    pub ingress: SocketAddr,
    pub admin: SocketAddr,
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

/// Switches that end the stages one after the other, so that each finds the work of the one before.
#[derive(Clone, Default)]
struct Stops {
    drain: Switch,
    journal: Switch,
    shards: Switch,
    scribe: Switch,
    keeper: Switch,
    outbound: Switch,
}

/// Runs the line until `drain` is turned on, then ends it in order. `ready` is called when signals are taken.
pub fn serve(settings: Settings, drain: Switch, ready: impl FnOnce(&Addresses)) -> Result<(), ServeError> {
    let data_dir = settings.data_dir.clone();
    let in_data_dir = |source| ServeError::DataDir { path: data_dir.clone(), source };
    std::fs::create_dir_all(&settings.data_dir).map_err(in_data_dir)?;
    let _lock = DataLock::take(&settings.data_dir).map_err(in_data_dir)?;
    let mut line = Line::start(settings, drain.clone())?;
    let mut ready = Some(ready);
    let mut first_error = None;
    while !drain.is_on() {
        match line.told.recv_timeout(Duration::from_millis(100)) {
            Ok(Told::Ready) => {
                line.open_ingress()?;
                line.health.ready.turn_on();
                if let Some(ready) = ready.take() {
                    ready(&line.addresses);
                }
            }
            Ok(Told::Ended { result: Ok(()), .. }) if drain.is_on() => {}
            Ok(Told::Ended { stage, result }) => {
                first_error = Some(result.err().unwrap_or(ServeError::Ended { stage }));
                drain.turn_on();
            }
            Err(mpsc::RecvTimeoutError::Timeout) => {}
            Err(mpsc::RecvTimeoutError::Disconnected) => drain.turn_on(),
        }
    }
    let ended = line.end();
    first_error.map_or(ended, Err)
}

struct Line {
    told: mpsc::Receiver<Told>,
    tell: mpsc::Sender<Told>,
    stops: Stops,
    health: Health,
    busy: Mark,
    depths: Arc<[Gauge]>,
    /// What the ingress threads start with once the journal is ready.
    waiting_ingress: Vec<(ingress::Plan, IngressEnds)>,
    addresses: Addresses,
    ingress: Vec<JoinHandle<()>>,
    journal: JoinHandle<()>,
    shards: Vec<JoinHandle<()>>,
    scribe: JoinHandle<()>,
    keeper: JoinHandle<()>,
    outbound: JoinHandle<()>,
}

impl Line {
    fn start(settings: Settings, drain: Switch) -> Result<Self, ServeError> {
        let disk: Arc<dyn Disk> = Arc::new(RealDisk);
        let cores = cores::available();
        let threads = settings.ingress_threads + settings.shards + 3;
        let wiring = wire(settings.ingress_threads, settings.shards, Idle::sharing(threads, cores.len()));
        let Wiring { journal: journal_end, shards, scribe: scribe_end, keeper, ingress, outbound, gauges } =
            wiring;
        let gauges: Arc<[Gauge]> = gauges.into();
        let mut collector = Collector::new().ok_or(ServeError::Histograms)?;
        let mut recorder = || collector.recorder().ok_or(ServeError::Histograms);

        let signer = LocalSigner::new(&settings.origin, settings.log_seed.expose())?;
        let key = ReceiptKey::new(settings.receipt_secret.expose_secret());
        let store = Embedded::open(&recovery::state_dir(&settings.data_dir)).map_err(RecoveryError::from)?;
        let log_dir = recovery::log_dir(&settings.data_dir);
        let log = Log::open(Arc::clone(&disk), &log_dir, Box::new(signer), key, SEGMENT_BYTES, clock::wall());
        let log = log.map_err(RecoveryError::from)?;
        let (reader, followups) = (log.reader(), store.followups());
        let Opened { store, governors, watermark, log, logged } = recovery::open(Box::new(store), log)?;
        let newest = logged.iter().map(|id| id.seq).max();

        let stops = Stops { drain, ..Stops::default() };
        let (tell, told) = mpsc::channel();
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
        };

        let stage = scribe::Stage::new(log, logged, scribe_end.0, scribe_marks, recorder()?);
        let (sleeper, stop) = (scribe_end.1, stops.scribe.clone());
        let scribe = spawn("scribe", &tell, move || Ok(threads::scribe(stage, &sleeper, &stop)?))?;

        let keeper_stage = Keeper::new(store, keeper.0, watermark, marks.settled.clone());
        let (sleeper, stop) = (keeper.1, stops.keeper.clone());
        let keeper = spawn("store", &tell, move || Ok(threads::keeper(keeper_stage, &sleeper, &stop)?))?;

        let mut owned: Vec<Vec<_>> = shards.iter().map(|_| Vec::new()).collect();
        for governor in governors {
            let shard = journal::shard_of(governor.tenant(), owned.len());
            owned[shard].push(governor);
        }
        let mut states = Vec::new();
        let mut shard_threads = Vec::new();
        for (number, ((lanes, sleeper), governors)) in shards.into_iter().zip(owned).enumerate() {
            let shard_marks = shard::Marks { decided: zero(), states: std::array::from_fn(|_| zero()) };
            states.push(shard_marks.states.clone());
            let stage =
                shard::Stage::new(number, settings.rules.clone(), governors, lanes, shard_marks, recorder()?);
            let stop = stops.shards.clone();
            shard_threads.push(spawn(&format!("shard-{number}"), &tell, move || {
                threads::shard(stage, &sleeper, &stop);
                Ok(())
            })?);
        }

        let journal = {
            let (mut lanes, sleeper) = journal_end;
            let recorder = recorder()?;
            let (tell_ready, stop, marks) = (tell.clone(), stops.journal.clone(), marks.clone());
            let mut dedup = Dedup::new(settings.dedup);
            let (data_dir, segment_bytes) = (settings.data_dir.clone(), settings.segment_bytes);
            let low_water_bytes = settings.low_water_bytes;
            spawn("journal", &tell, move || {
                let shards = lanes.shards.len();
                let mut hand = |shard: usize, feed| recovery::hand(&mut lanes.shards[shard], feed);
                let end = recovery::replay(&disk, &data_dir, watermark, &mut dedup, shards, &mut hand)?;
                recovery::check_end(&data_dir, &end, watermark, newest)?;
                for shard in &mut lanes.shards {
                    recovery::hand(shard, Feed::Through(end.last));
                    recovery::hand(shard, Feed::Live);
                }
                let writer = recovery::write_on(&disk, &data_dir, segment_bytes, true, end, clock::wall())?;
                // Nobody listens only when the line ends already.
                let _ending = tell_ready.send(Told::Ready);
                let place = journal::Place { disk, data_dir, low_water_bytes };
                let stage = journal::Stage::new(place, writer, dedup, lanes, marks, recorder, clock::now());
                Ok(threads::journal(stage, &sleeper, &stop)?)
            })?
        };

        let sources = settings.sources.iter().map(|source| (source.name.clone(), source.keyring.assurance()));
        let sources = sources.collect();
        let (waiting_ingress, at) = plan_ingress(&settings, ingress, &stops.drain, &mut recorder)?;
        let admin_listener = listen(settings.admin_listen, false, "admin.listen")?;
        let in_listener = |source| ServeError::Stage { stage: "outbound".into(), source };
        let addresses = Addresses { ingress: at, admin: admin_listener.local_addr().map_err(in_listener)? };
        let busy = zero();
        let plan = outbound::Plan {
            listener: admin_listener,
            drain: stops.drain.clone(),
            tokens: settings.tokens,
            ends: outbound,
            reader,
            followups,
            sources,
            collector,
            gauges: Arc::clone(&gauges),
            health: health.clone(),
            states,
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
            depths: gauges,
            waiting_ingress,
            addresses,
            ingress: Vec::new(),
            journal,
            shards: shard_threads,
            scribe,
            keeper,
            outbound,
        })
    }

    /// Signals are taken from here on.
    fn open_ingress(&mut self) -> Result<(), ServeError> {
        let cores = cores::available();
        for (number, (plan, ends)) in self.waiting_ingress.drain(..).enumerate() {
            let core = cores.get(number % cores.len().max(1)).copied();
            let name = format!("ingress-{number}");
            let stage = name.clone();
            self.ingress.push(spawn(&name, &self.tell, move || {
                if let Some(_core) = core {
                    cores::pin(_core)
                }
                let ends = ingress::Ends::new(ends.arrivals, ends.acks, ends.bell, ends.acked);
                ingress::run(plan, &Rc::clone(&ends)).map_err(|source| ServeError::Stage { stage, source })
            })?);
        }
        Ok(())
    }

    /// Stops accepting, finishes, syncs, signs the last checkpoint.
    fn end(self) -> Result<(), ServeError> {
        self.waiting_ingress.into_iter().for_each(drop);
        self.ingress.into_iter().for_each(join);
        // What was ordered is carried out and its outcome journalled, if that does not take long.
        let settle = clock::now() + SETTLE;
        while clock::now() < settle
            && (self.busy.read() > 0 || self.depths.iter().any(|(_, depth)| depth() > 0))
        {
            std::thread::sleep(Duration::from_millis(5));
        }
        self.stops.journal.turn_on();
        join(self.journal);
        self.stops.shards.turn_on();
        self.shards.into_iter().for_each(join);
        self.stops.scribe.turn_on();
        join(self.scribe);
        self.stops.keeper.turn_on();
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
}

/// Actions under way may take so long at the end.
const SETTLE: Duration = Duration::from_secs(5);

fn plan_ingress(
    settings: &Settings,
    ends: Vec<IngressEnds>,
    drain: &Switch,
    recorder: &mut impl FnMut() -> Result<crate::kaizen::Recorder, ServeError>,
) -> Result<(Vec<(ingress::Plan, IngressEnds)>, SocketAddr), ServeError> {
    let buckets = Buckets::new(settings.rate_per_second, settings.rate_burst);
    let threads = ends.len();
    let mut plans = Vec::new();
    // Port 0 is any free one: the same for all threads.
    let mut address = settings.listen;
    for ends in ends {
        let listener = listen(address, true, "ingress.listen")?;
        let in_listener = |source| ServeError::Stage { stage: "ingress".into(), source };
        address = listener.local_addr().map_err(in_listener)?;
        let plan = ingress::Plan {
            listener,
            sources: Arc::clone(&settings.sources),
            leases: Leases::new(Arc::clone(&buckets)),
            threads,
            recorder: recorder()?,
            drain: drain.clone(),
        };
        plans.push((plan, ends));
    }
    Ok((plans, address))
}

fn spawn(
    name: &str,
    tell: &mpsc::Sender<Told>,
    run: impl FnOnce() -> Result<(), ServeError> + Send + 'static,
) -> Result<JoinHandle<()>, ServeError> {
    let (tell, stage) = (tell.clone(), name.to_owned());
    let thread = std::thread::Builder::new().name(name.into()).spawn(move || {
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run))
            .unwrap_or_else(|_| Err(ServeError::Panicked { stage: stage.clone() }));
        // Nobody listens only when the line ends already.
        let _ending = tell.send(Told::Ended { stage, result });
    });
    thread.map_err(|source| ServeError::Stage { stage: name.into(), source })
}

fn join(thread: JoinHandle<()>) {
    // How it ended was told on the channel.
    let _told = thread.join();
}
