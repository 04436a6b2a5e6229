//! One run of the line, in any role: what brings signals, the journal, what follows it, and the outbound runtime. Started
//! from behind, so that each finds whom it hands to; ended in the order of the way.

use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use super::bodies::Bodies;
use super::broker::Broker;
use super::deciding::{Deciding, Recovered};
use super::desk::{Decided, Known};
use super::error::ServeError;
use super::front::{self, Front, Shared};
use super::health::Health;
use super::ingress_threads::Connections;
use super::journal_thread::{JournalPlan, Seen, StartMarks, abort_on_panic};
use super::publishing::Publishing;
use super::recovery::{self, RecoveryError};
use super::running::{Ending, Joining, Told, join, spawn, watch};
use super::service::Service;
use super::settings::{Link, ProofKeys, Role};
use super::start::{Addresses, Start};
use super::supervisor::Restarts;
use super::telling::Tracing;
use super::threads::Stop;
use super::unwritable::UnwritableNote;
use super::wiring::{DecidingEnds, Gauge, IngressEnds, Wiring, wire};
use super::{cores, identity, measured, outbound, sharing};
use crate::andon::audit::AuditLag;
use crate::andon::channel::SentPath;
use crate::clock;
use crate::event::{JournalId, Seq};
use crate::ingress::callback::lane as callback_lane;
use crate::kaizen::{Collector, Heartbeat};
use crate::kanban::dedup::{Background, Dedup};
use crate::kanban::journal_clock;
use crate::kanban::share;
use crate::kanban::stage as journal;
use crate::kanban::tenure::Tenure;
use crate::net::listen::listen;
use crate::ring::{Crowd, Idle, Mark, Switch};

/// Ends the parts one after the other, so that each finds the work of the one before; or all at once.
struct Stops {
    drain: Switch,
    /// Leave everything: the line is taken up from the journal.
    abandon: Switch,
    journal: Switch,
    outbound: Switch,
}

/// What follows the journal.
enum Follower {
    Deciding(Deciding),
    Publishing(Publishing),
}

/// What the rest of the line needs to know of what follows the journal.
struct Follows {
    follower: Follower,
    /// Events up to here need not be handed on.
    watermark: Seq,
    seen: Option<Seen>,
    decided: Option<Decided>,
    broker: Option<Broker>,
    /// When the last checkpoint was signed, and how much the log has written.
    log: Option<(Mark, Mark)>,
    audit: Option<AuditLag>,
    /// Of a processor that shares its state.
    state: Option<share::Marks>,
    shared: Shared,
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
    follower: Follower,
    outbound: JoinHandle<()>,
    service: Service,
}

impl Line {
    #[expect(
        clippy::too_many_lines,
        reason = "one list of who gets what; in parts it would be harder to follow"
    )]
    /// Takes up what is on disk and starts every part but what brings signals and the publisher, which wait for the journal.
    pub fn start(start: &Start<'_>) -> Result<Self, ServeError> {
        let &Start { settings, disk, addresses, orders, budget, ref restarts, .. } = start;
        start.go_on()?;
        let shards = settings.deciding_shards();
        // The journal and what is behind it: a publisher, or shards, scribe and store.
        let threads = front::threads(settings) + if shards == 0 { 2 } else { shards + 3 };
        let Wiring { journal: (mut lanes, sleeper), deciding, mut ingress, outbound, gauges } =
            wire(front::threads(settings), shards, Idle::sharing(threads, cores::processors()));
        let depths: Arc<[Gauge]> = gauges.into();
        let lineage = recovery::lineage(&**disk, &settings.data_dir)?;
        let tracing = Tracing::new(lineage.id.0, shards > 0, &settings.live.telemetry.get());
        let mut collector = Collector::new().ok_or(ServeError::Histograms)?.tracing(tracing.sampling.clone());
        let (tell, told) = mpsc::channel();
        let stops = Stops {
            drain: orders.drain.clone(),
            abandon: Switch::new(),
            journal: Switch::new(),
            outbound: Switch::new(),
        };
        let zero = || Mark::new(0);
        let (busy, read) = (zero(), zero());
        let marks = journal::Marks {
            crowd: Crowd::new(shards, settings.room),
            durable: zero(),
            written: zero(),
            settled: zero(),
            disk_low: zero(),
            disk_free: Mark::new(u64::MAX),
            backlog_full: zero(),
            clock: journal_clock::Marks::default(),
            sources: journal::SourceTimes::default(),
            drain: stops.drain.clone(),
        };
        let Follows { follower, watermark, seen, decided, broker, log, audit, state, shared } =
            match &settings.role {
                Role::Edge(link) => {
                    by_publishing(start, link, lineage.id, (&mut lanes, &marks), collector.heartbeat())?
                }
                Role::All(keys) | Role::Processor(keys, _) => {
                    let link = (&stops, &busy, &tell);
                    by_deciding(
                        start,
                        (keys, lineage.id),
                        (deciding, &mut ingress),
                        &marks,
                        link,
                        &mut collector,
                    )?
                }
            };
        let (callback, callbacks) = callback_lane();
        let connections = Connections::new(settings.http_threads(), budget.connections);
        let mut written = vec![("journal", marks.written.clone())];
        written.extend(log.as_ref().map(|(_, written)| ("log", written.clone())));
        let dedup_dir = recovery::dedup_dir(&settings.data_dir);
        let dedup = Dedup::open(Arc::clone(disk), &dedup_dir, settings.dedup, Background::Thread);
        let dedup = dedup.map_err(RecoveryError::from)?;
        let health = Health {
            name: settings.name.as_str().into(),
            role: settings.role.as_str(),
            journal: marks.clone(),
            checkpoint: log.map(|(checkpoint, _)| checkpoint),
            audit,
            written,
            identities: dedup.archive_memory(),
            low_water_bytes: settings.bounds.low_water_bytes,
            ready: Switch::new(),
            began: zero(),
            broker: broker.clone(),
            state: state.clone(),
            connections,
        };
        let plan = JournalPlan {
            disk: Arc::clone(disk),
            data_dir: settings.data_dir.clone(),
            lineage,
            bounds: settings.bounds,
            kept_for: settings.dedup.horizon(),
            dedup,
            watermark,
            seen,
            lanes,
            marks,
            recorder: collector.recorder().ok_or(ServeError::Histograms)?,
            start: StartMarks { read: read.clone(), began: health.began.clone() },
            tenure: state.as_ref().map(|marks| {
                Tenure::new(u16::try_from(marks.terms.len()).unwrap_or(u16::MAX), marks.changed.clone())
            }),
            has_all_of_sources: settings.has_all_of_sources(),
            ready: tell.clone(),
        };
        let stop = Stop { finish: stops.journal.clone(), abandon: stops.abandon.clone() };
        let journal = spawn("journal", &tell, move || abort_on_panic(|| plan.run(&sleeper, &stop)))?;

        let (front, at) = Front::plan(
            settings,
            disk,
            (addresses.ingress, &health.connections, callback),
            ingress,
            (&stops.drain, &stops.abandon, &health.journal.crowd, &health.journal.clock.time),
            (broker, shared),
            &mut collector,
        )?;
        let listener = listen(addresses.admin, "admin.listen")?;
        let in_listener = |source| ServeError::Stage { stage: "outbound".into(), source };
        let addresses = Addresses { ingress: at, admin: listener.local_addr().map_err(in_listener)? };
        let heartbeat = collector.heartbeat();
        let service = Service::new(orders.service.clone(), collector.beats(), read);
        let plane = outbound::Plane {
            listener,
            tokens: settings.live.tokens.clone(),
            collector,
            stop: stops.outbound.clone(),
            clock: health.journal.clock.clone(),
            telemetry: settings.live.telemetry.clone(),
            tracing,
            heartbeat,
            service: orders.service.clone(),
        };
        let plan = outbound::Plan {
            reload: Arc::clone(&orders.reload),
            ends: outbound,
            targets: settings.live.targets.clone(),
            watch: settings.watch,
            known: Known {
                live: settings.live.clone(),
                configuration: Arc::clone(&settings.configuration),
                node: measured::node(settings),
                gauges: Arc::clone(&depths),
                health: health.clone(),
                restarts: Arc::clone(restarts),
                peers: Arc::clone(&settings.admin.peers),
                bodies: Bodies::new(Arc::clone(disk), &settings.data_dir),
                unwritable: UnwritableNote::of(disk, &settings.data_dir),
                sent: SentPath::of(disk, &settings.data_dir),
                decided,
            },
            callbacks,
            busy: busy.clone(),
        };
        let outbound = spawn("outbound", &tell, move || outbound::run(plane, plan))?;
        let restarts = Arc::clone(restarts);
        Ok(Self {
            told,
            tell,
            stops,
            health,
            busy,
            depths,
            restarts,
            addresses,
            front,
            journal,
            follower,
            outbound,
            service,
        })
    }

    #[must_use]
    pub fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// Watches the stages until the line shall end or one of them does; `ready` when it works.
    pub fn run(&mut self, mut ready: impl FnMut()) -> Ending {
        let Self { told, tell, stops, health, restarts, front, follower, service, .. } = self;
        let is_ready = health.ready.clone();
        let look = || if is_ready.is_on() { service.look_at_threads() } else { service.look_at_start() };
        watch(told, &stops.drain, look, |positions| {
            if let Follower::Publishing(publishing) = follower {
                publishing.open(tell)?;
            }
            front.open(positions, tell, restarts)?;
            health.ready.turn_on();
            ready();
            Ok(())
        })
    }

    /// Stops accepting, finishes, syncs; the last checkpoint is signed before it ends.
    pub fn end(self) -> Result<(), ServeError> {
        let Self { told, tell, stops, busy, depths, front, .. } = self;
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
        stops.journal.turn_on();
        joining.join(self.journal);
        match self.follower {
            Follower::Deciding(deciding) => deciding.end(&mut joining),
            Follower::Publishing(publishing) => publishing.end(settle, &mut joining),
        }
        stops.outbound.turn_on();
        joining.join(self.outbound);
        drop(tell);
        joining.result()
    }

    /// Ends every stage at once, as a crash would, but waits for them.
    pub fn abandon(self) {
        self.stops.abandon.turn_on();
        self.stops.outbound.turn_on();
        self.front.abandon();
        join(self.journal);
        match self.follower {
            Follower::Deciding(deciding) => deciding.abandoned(),
            Follower::Publishing(publishing) => publishing.abandon(),
        }
        join(self.outbound);
    }
}

/// How long actions under way may take at the end, or the broker to confirm what there is: with the drain before it less than
/// the ten seconds after which `docker stop` kills.
const SETTLE: Duration = Duration::from_secs(4);
const _: () = assert!(SETTLE.as_secs() + crate::limits::DRAIN_SECONDS as u64 <= 8);

/// At an edge.
fn by_publishing(
    start: &Start<'_>,
    link: &Link,
    journal: JournalId,
    ends: (&mut journal::Lanes, &journal::Marks),
    heartbeat: Heartbeat,
) -> Result<Follows, ServeError> {
    let (publishing, marks, watermark) = Publishing::plan(start, link, journal, ends, heartbeat)?;
    Ok(Follows {
        follower: Follower::Publishing(publishing),
        watermark,
        seen: None,
        decided: None,
        broker: Some(Broker::Publisher(marks)),
        log: None,
        audit: None,
        state: None,
        shared: None,
    })
}

/// Where signals are decided.
fn by_deciding(
    start: &Start<'_>,
    (keys, journal): (&ProofKeys, JournalId),
    (ends, ingress): (DecidingEnds, &mut Vec<IngressEnds>),
    marks: &journal::Marks,
    (stops, busy, tell): (&Stops, &Mark, &mpsc::Sender<Told>),
    collector: &mut Collector,
) -> Result<Follows, ServeError> {
    let settings = start.settings;
    let recovered = Recovered::open(start, keys, journal)?;
    let shared = match (&settings.sharing, &settings.role) {
        (Some(sharing), Role::Processor(_, link)) => ingress.pop().map(|end| {
            let name = identity::named(&settings.name, journal);
            let switches = (&stops.drain, &stops.abandon, busy.clone());
            let held = recovered.held();
            sharing::plan((sharing, link), name, held, end, ends.shards.len(), switches)
        }),
        _ => None,
    };
    let (shared, state, tenures, asks) = match shared.transpose()? {
        Some(sharing::Ends { marks, tenures, asks, sharer, asked }) => {
            (Some((sharer, asked)), Some(marks), tenures, Some(asks))
        }
        None => (None, None, Vec::new(), None),
    };
    let (watermark, seen) = (recovered.watermark(), recovered.seen(settings));
    let log = (recovered.marks.checkpoint.clone(), recovered.marks.written.clone());
    let audit = recovered.audit_lag();
    let elsewhere = sharing::Elsewhere(asks.zip(state.clone()));
    let line = (marks, &stops.abandon, tell);
    let (deciding, decided) = recovered.start(start, ends, line, (tenures, elsewhere), collector)?;
    Ok(Follows {
        follower: Follower::Deciding(deciding),
        watermark,
        seen: Some(seen),
        decided: Some(decided),
        broker: front::broker_marks(settings),
        log: Some(log),
        audit: Some(audit),
        state,
        shared,
    })
}
