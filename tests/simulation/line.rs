//! One process: the real stages on the simulated disk, started by the real recovery, each given its turns in an order
//! that the seed draws.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use gemba::andon::log::{Log, LogError, ReceiptKey};
use gemba::andon::stage as scribe;
use gemba::clock::{Instant, Look};
use gemba::disk::{Disk, Disposer, make_dir};
use gemba::event::{
    Ack, Arrival, Command, Failure, Feed, JournalId, Note, Order, Outcome, Reconfigured, Replay, RulesText,
    Seq, Subject, UnixMillis, Verb,
};
use gemba::framed_log::FrameSeed;
use gemba::jidoka::governor::ActionRequest;
use gemba::jidoka::rules::{Compiled, RulesSource};
use gemba::jidoka::stage as shard;
use gemba::jidoka::store::{self, Commit, Keeper, StoreError};
use gemba::kaizen::Collector;
use gemba::kanban::dedup::{ArchiveError, Background, Dedup};
use gemba::kanban::journal::{Damage, Lineage, WriteError};
use gemba::kanban::journal_clock::{self, Begin, JournalClock};
use gemba::kanban::stage::{self as journal, Fatal, Ordered, Turn, shard_of};
use gemba::limits::COMMITS_LANE;
use gemba::line::recovery::{self, Opened, RecoveryError, Replayed};
use gemba::proof::note::{LocalSigner, vkey};
use gemba::ring::{Bell, Crowd, Full, Mark, Receiver, Room, Sender, Switch, Tide, lane, weighed_lane};
use tokio::sync::oneshot;

use crate::clients::PortEnds;
use crate::disk::SimDisk;
use crate::plan::Plan;
use crate::rng::Rng;
use crate::store::SimStore;

/// Nothing of it is there when the first process starts.
pub const DATA_DIR: &str = "/var/lib/data";
const ORIGIN: &str = "gemba.local/simulation";
const SEED: [u8; 32] = [7; 32];
/// Of the journal, so that every seed runs the same twice.
pub const LINEAGE: Lineage = Lineage { id: JournalId(7), seed: FrameSeed::from_bytes(*b"the simulation's") };
/// Small, so that most removals take several pieces.
const DISPOSED_PIECE_BYTES: u64 = 700;

/// The log's public key, as its readers know it.
pub fn log_vkey() -> String {
    vkey(&LocalSigner::new(ORIGIN, &SEED).unwrap())
}

/// Time as the stages are given it.
#[derive(Clone, Copy, Debug)]
pub struct Time {
    pub base: Instant,
    pub millis: u64,
    /// How far the wall clock has jumped, in milliseconds, and how far it ever had.
    pub jumped: i64,
    pub jumped_most: i64,
    /// How wrong it looks besides, and until when.
    pub wrong: i64,
    pub wrong_until: u64,
    /// How often the machine was booted.
    pub boots: u64,
}

/// When a simulation begins, in milliseconds since 1970: half a minute before an hour is over, so that manifests are made.
const BEGUN: u64 = 1_700_002_770_000;
/// How far the journal's time may be ahead of where the wall clock ever stood for long.
const AHEAD_MAX: u64 = 61_000;

impl Time {
    pub fn now(&self) -> Instant {
        self.base + std::time::Duration::from_millis(self.millis)
    }

    pub fn wall(&self) -> UnixMillis {
        UnixMillis((BEGUN + self.millis).saturating_add_signed(self.jumped + self.wrong))
    }

    pub fn look(&self) -> Look {
        Look { wall: self.wall().0 * 1000, boot: (1000 + self.millis) * 1000 }
    }

    fn boot_id(&self) -> Box<str> {
        format!("boot-{}", self.boots).into()
    }
}

/// Why a process ended.
#[derive(Debug)]
pub enum Stopped {
    /// As faults make a process end.
    Fault(String),
    /// The program refuses what is on disk.
    Refused(String),
}

impl From<RecoveryError> for Stopped {
    fn from(error: RecoveryError) -> Self {
        let text = error.to_string();
        match error {
            RecoveryError::Journal(Damage::Io { .. } | Damage::Uncertain { .. })
            | RecoveryError::Io { .. }
            | RecoveryError::Write(_)
            | RecoveryError::Archive(ArchiveError::Io { .. })
            | RecoveryError::Store(StoreError::Io { .. })
            | RecoveryError::Log(
                LogError::Io { .. } | LogError::Uncertain { .. } | LogError::Broken { .. },
            ) => Self::Fault(text),
            _ => Self::Refused(text),
        }
    }
}

impl From<LogError> for Stopped {
    fn from(error: LogError) -> Self {
        RecoveryError::Log(error).into()
    }
}

impl From<StoreError> for Stopped {
    fn from(error: StoreError) -> Self {
        RecoveryError::Store(error).into()
    }
}

impl From<Fatal> for Stopped {
    fn from(error: Fatal) -> Self {
        Self::Fault(error.to_string())
    }
}

impl From<WriteError> for Stopped {
    fn from(error: WriteError) -> Self {
        Self::Fault(error.to_string())
    }
}

/// What the actions' target has seen; it outlives every process.
#[derive(Debug, Default)]
pub struct Target {
    pub calls: Vec<(Seq, bool)>,
}

/// Everything behind the journal.
pub struct Behind {
    shards: Vec<shard::Stage>,
    scribe: scribe::Stage,
    keeper: Keeper,
    orders: Vec<Receiver<ActionRequest>>,
    outcomes: Sender<Arrival>,
    /// Actions that were carried out, and when their outcome is told.
    under_way: VecDeque<(u64, Outcome)>,
    failing: u64,
    silent: u64,
    clock: journal_clock::Marks,
}

impl Behind {
    /// One turn of one of these stages.
    pub fn turn(&mut self, rng: &mut Rng, time: &Time, target: &mut Target) -> Result<(), Stopped> {
        match rng.below(8) {
            0..=3 => {
                let at = rng.index(self.shards.len());
                self.shards[at].turn(time.now(), UnixMillis(self.clock.time.read()));
            }
            4..=5 => drop(self.scribe.turn(time.now())?),
            6 => drop(self.keeper.turn()?),
            _ => self.carry_out(rng, time, target),
        }
        Ok(())
    }

    fn carry_out(&mut self, rng: &mut Rng, time: &Time, target: &mut Target) {
        let at = rng.index(self.orders.len());
        if let Some(ActionRequest { intent, maybe_twice, .. }) = self.orders[at].pop() {
            target.calls.push((intent.action.seq, maybe_twice));
            if !rng.chance(self.silent) {
                let signal = &intent.signal;
                let subject = Subject::from(signal);
                let result = match rng.chance(self.failing) {
                    true if rng.chance(3000) => Err(Failure::withheld("the target's breaker stands open")),
                    true => Err(Failure::asked("the target refused")),
                    false => Ok(()),
                };
                let tries = Some(gemba::event::Tries::new("{\"count\":1}".into()).unwrap());
                let (action, by) = (intent.action, Some(intent.by));
                let outcome = Outcome { subject, action, by, result, maybe_twice, tries };
                self.under_way.push_back((time.millis + rng.below(200), outcome));
            }
        }
        while let Some((_, outcome)) = self.under_way.pop_front_if(|(due, _)| *due <= time.millis) {
            if let Err(Full(Arrival::Outcome(outcome))) =
                self.outcomes.push(Arrival::Outcome(Box::new(outcome)))
            {
                self.under_way.push_front((time.millis, *outcome));
                break;
            }
        }
    }

    /// No event, no signal waits, and no action is out.
    fn is_at_rest(&self) -> bool {
        let governors = self.shards.iter().flat_map(shard::Stage::governors);
        let mut governors =
            governors.filter(|governor| governor.waiting() > 0 || governor.out().next().is_some());
        governors.next().is_none()
            && self.under_way.is_empty()
            && self.shards.iter().all(shard::Stage::is_done)
    }
}

/// A running line.
pub struct Line {
    journal: journal::Stage,
    /// The journal's last turn found nothing to do.
    idle: bool,
    disposer: Disposer,
    pub behind: Behind,
    pub ports: Vec<PortEnds>,
    operator: Sender<Ordered>,
    /// Operators who wait for the number of their order.
    asked: Vec<oneshot::Receiver<Seq>>,
    /// The rules that hold.
    compiled: Arc<Compiled>,
    /// What time it was in truth and in the journal, in milliseconds.
    seen: Option<(u64, u64)>,
}

fn new_rules(rules: &RulesSource) -> RulesText {
    let (actor, reason) = ("root".into(), "simulated".into());
    RulesText::new(rules.to_text(), actor, reason).unwrap()
}

fn command(subject: Subject, verb: Verb) -> Order {
    let (actor, reason) = ("root".into(), "simulated".into());
    Order::Command(Box::new(Command { subject, verb, actor, reason }))
}

/// Removes what was set aside, as the program's thread does.
pub fn disposer(disk: &SimDisk) -> Disposer {
    let data_dir = Path::new(DATA_DIR);
    let dirs = vec![recovery::journal_dir(data_dir), recovery::dedup_dir(data_dir)];
    Disposer::new(disk.shared(), dirs, DISPOSED_PIECE_BYTES)
}

fn mark() -> Mark {
    Mark::new(0)
}

/// Both ends of all lanes, as small as the plan wants them.
struct Lanes {
    journal: journal::Lanes,
    shards: Vec<shard::Lanes>,
    scribe: Vec<scribe::Port>,
    keeper: Vec<store::Port>,
    clients: Vec<PortEnds>,
    orders: Vec<Receiver<ActionRequest>>,
    outcomes: Sender<Arrival>,
    operator: Sender<Ordered>,
}

fn wire(plan: &Plan) -> Lanes {
    let bell = Arc::new(Bell::new(|| {}));
    let bell = || Arc::clone(&bell);
    let [arrivals, events, drafts, orders, inner] = plan.lanes;
    let (mut ports, mut clients) = (Vec::new(), Vec::new());
    for _ in 0..plan.ports {
        let (sender, taken) = lane(arrivals, bell());
        let (acks, answers) = lane::<Ack>(arrivals, bell());
        ports.push(journal::Port { arrivals: taken, acks });
        clients.push(PortEnds { arrivals: sender, acks: answers });
    }
    let (outcomes, taken_outcomes) = lane(inner, bell());
    let (operator, ordered) = lane(2, bell());
    let mut lanes = Lanes {
        journal: journal::Lanes {
            ports,
            inner: vec![taken_outcomes],
            orders: ordered,
            shards: Vec::new(),
            follower: None,
            queries: lane(1, bell()).1,
        },
        shards: Vec::new(),
        scribe: Vec::new(),
        keeper: Vec::new(),
        clients,
        orders: Vec::new(),
        outcomes,
        operator,
    };
    for _ in 0..plan.shards {
        let (feed, taken_feed) = weighed_lane::<Feed>(events, 64 << 20, bell());
        let (notes, taken_notes) = lane::<Note>(drafts, bell());
        let (order, taken_orders) = lane(orders, bell());
        let (fired, taken_fired) = lane(inner, bell());
        let (commits, taken_commits) = lane::<Commit>(COMMITS_LANE, bell());
        let durable = mark();
        lanes.journal.shards.push(feed);
        lanes.journal.inner.push(taken_fired);
        lanes.scribe.push(scribe::Port { notes: taken_notes, durable: durable.clone() });
        lanes.keeper.push(store::Port { commits: taken_commits, durable });
        lanes.orders.push(taken_orders);
        lanes.shards.push(shard::Lanes {
            events: taken_feed,
            notes,
            orders: order,
            arrivals: fired,
            commits,
            queries: lane(1, bell()).1,
        });
    }
    lanes
}

impl Line {
    /// As the program starts: state and log, journal, and only then signals.
    #[expect(clippy::too_many_lines, reason = "one order of steps, as the program has it")]
    pub fn start(
        plan: &Plan,
        disk: &SimDisk,
        store: &SimStore,
        time: &mut Time,
        rng: &mut Rng,
        target: &mut Target,
    ) -> Result<Self, Stopped> {
        let shared: Arc<dyn Disk> = disk.shared();
        let data_dir = Path::new(DATA_DIR);
        let made = make_dir(&*shared, data_dir);
        made.map_err(|source| RecoveryError::Io { path: data_dir.to_owned(), source })?;
        let signer = Box::new(LocalSigner::new(ORIGIN, &SEED).unwrap());
        let log_dir = recovery::log_dir(data_dir);
        let key = ReceiptKey::new(&[1; 32]);
        let log = Log::open(disk.shared(), &log_dir, signer, key, plan.log_segment_bytes, time.wall())?;
        let Opened { store, governors, watermark, rules: stored, log, logged, .. } =
            recovery::open(data_dir, Box::new(store.clone()), log)?;
        let compiled = Arc::new(Compiled::new(LINEAGE.id));
        let configured = plan.rules.to_text();
        let (since, holding) = stored.clone().unwrap_or_else(|| (Seq(0), RulesSource::before_any()));
        let rules = compiled.of(&holding);
        let rules = rules.map_err(|source| RecoveryError::Rules { seq: watermark, source })?;
        compiled.hold(since, &rules);
        let newest = logged.iter().map(|id| id.seq).max();
        disk.note(|| {
            format!("state through {watermark}, {} governors, {} receipts", governors.len(), log.size())
        });

        let mut collector = Collector::new().unwrap();
        let mut recorder = || collector.recorder().unwrap();
        let lanes = wire(plan);
        let crowd = Crowd::new(plan.shards, Room { bytes: 256 << 20, governors: plan.governors });
        let marks = journal::Marks {
            crowd: crowd.clone(),
            durable: mark(),
            written: mark(),
            settled: Mark::new(watermark.0),
            disk_low: mark(),
            disk_free: mark(),
            backlog_full: mark(),
            clock: journal_clock::Marks::default(),
            sources: journal::SourceTimes::default(),
            drain: Switch::new(),
        };
        let scribe_marks = scribe::Marks { size: mark(), written: mark(), checkpoint: mark() };
        let mut owned: Vec<Vec<_>> = (0..plan.shards).map(|_| Vec::new()).collect();
        for governor in governors {
            owned[shard_of(governor.tenant(), plan.shards)].push(governor);
        }
        let shards = lanes.shards.into_iter().zip(owned).enumerate().map(|(number, (lanes, governors))| {
            let settled = marks.settled.clone();
            let marks = shard::Marks { decided: mark(), states: std::array::from_fn(|_| mark()), settled };
            let rules = (Arc::clone(&rules), Arc::clone(&compiled));
            shard::Stage::new(number, rules, governors, lanes, marks, recorder())
                .under_rules_since(since)
                .telling(crowd.of(number))
        });
        let mut behind = Behind {
            shards: shards.collect(),
            scribe: scribe::Stage::new(log, logged, lanes.scribe, scribe_marks.clone(), recorder()),
            keeper: Keeper::new(
                store,
                lanes.keeper,
                watermark,
                &[],
                (Tide::of(marks.settled.clone()), scribe_marks.size.clone()),
            ),
            orders: lanes.orders,
            outcomes: lanes.outcomes,
            under_way: VecDeque::new(),
            failing: plan.actions_failing,
            silent: plan.actions_silent,
            clock: marks.clock.clone(),
        };

        let mut journal_lanes = lanes.journal;
        let dedup_dir = recovery::dedup_dir(data_dir);
        let dedup = Dedup::open(Arc::clone(&shared), &dedup_dir, plan.dedup, Background::Inline);
        let mut dedup = dedup.map_err(RecoveryError::from)?;
        let mut stopped = None;
        let mut hand = |shard: usize, feed: Feed| {
            let mut feed = feed;
            while stopped.is_none() {
                let Err(Full(back)) = journal_lanes.shards[shard].push(feed) else { return };
                feed = back;
                time.millis += rng.below(30);
                stopped = behind.turn(rng, time, target).err();
            }
        };
        let replayed = recovery::replay(
            &shared,
            data_dir,
            watermark,
            &mut dedup,
            (plan.shards, Some(&compiled)),
            &mut hand,
            &|_| false,
        )?;
        let Replayed { end, rules, positions, sources } = replayed;
        recovery::check_end(data_dir, &end, watermark, newest)?;
        disk.note(|| format!("journal through {}, epoch {}, closed {}", end.last, end.epoch.0, end.closed));
        for shard in 0..plan.shards {
            hand(shard, Feed::Through(end.last));
            hand(shard, Feed::Live);
        }
        if let Some(stopped) = stopped {
            return Err(stopped);
        }
        // The others do not wait for the journal's new epoch.
        for _ in 0..rng.below(60) {
            time.millis += rng.below(30);
            behind.turn(rng, time, target)?;
        }
        let kept_for = plan.dedup.horizon();
        let begin = Begin { last: end.time, boot_id: Some(time.boot_id()), kept_for, look: time.look() };
        let clock =
            JournalClock::begin(&shared, &recovery::journal_dir(data_dir), begin, marks.clock.clone());
        let (bytes, now) = (plan.segment_bytes, clock.now());
        let writer = recovery::write_on(&shared, data_dir, bytes, false, end, LINEAGE, now)?;
        let (data_dir, low_water_bytes) = (PathBuf::from(DATA_DIR), plan.low_water_bytes);
        let place = journal::Place { disk: shared, data_dir, low_water_bytes, backlog_bytes: None };
        let mut journal =
            journal::Stage::new(place, (writer, clock), dedup, journal_lanes, marks, recorder(), time.now())
                .after(positions)
                .counting(sources);
        let holding = rules.map(|rules| rules.text().into()).or(stored.map(|(_, text)| text));
        if holding.as_ref() != Some(&configured) {
            journal.begin_with(Order::Rules(Arc::new(new_rules(&plan.rules))));
        }
        let (operator, asked) = (lanes.operator, Vec::new());
        let disposer = disposer(disk);
        let seen = None;
        Ok(Self {
            journal,
            idle: false,
            disposer,
            behind,
            ports: lanes.clients,
            operator,
            asked,
            compiled,
            seen,
        })
    }

    pub fn turn_journal(&mut self, time: &Time) -> Result<Turn, Stopped> {
        let turn = self.journal.turn(time.now(), time.look())?;
        let stamp = self.behind.clock.time.read();
        if let Some((then, before)) = self.seen.replace((time.millis, stamp)) {
            let least = before + (time.millis - then) * 9 / 10;
            assert!(stamp + 2 >= least, "O10: the journal's time stands still: {stamp}, not {least}");
        }
        let most = (BEGUN + time.millis).saturating_add_signed(time.jumped_most) + AHEAD_MAX;
        assert!(stamp <= most, "O10: the journal's time is ahead: {stamp}, not {most}");
        self.idle = turn == Turn::Idle;
        Ok(turn)
    }

    /// Removes a piece of what nobody needs; an error of it stops nothing.
    pub fn dispose(&mut self) {
        let _tried_again = self.disposer.step();
    }

    /// An operator orders something.
    pub fn command(&mut self, plan: &Plan, store: &SimStore, rng: &mut Rng) {
        let open = store.open_cases();
        let order = match rng.below(11) {
            10 => {
                let (actor, reason) = ("root".into(), "simulated".into());
                let change = Reconfigured::new(r#"{"changes":[]}"#.into(), actor, reason);
                Order::Reconfigured(Arc::new(change.unwrap()))
            }
            0..=1 if !plan.other_rules.is_empty() => {
                let rules = new_rules(&plan.other_rules[rng.index(plan.other_rules.len())]);
                // Void where others that are under way come first.
                let (since, _) = self.compiled.holding().unwrap();
                Order::Rules(Arc::new(rules.made_from(since)))
            }
            2..=5 if !open.is_empty() => {
                let (case, signal, resend) = open[rng.index(open.len())].clone();
                if rng.chance(7000) {
                    let (actor, reason) = ("root".into(), "simulated".into());
                    // As it was decided, or decided on anew.
                    let resend = resend.filter(|_| rng.chance(7000));
                    Order::Replay(Box::new(Replay { case: case.0, signal, actor, reason, resend }))
                } else {
                    let subject = Subject::from(&signal);
                    command(subject, Verb::Discard(case.0))
                }
            }
            _ => {
                let (tenant, sku) = (rng.below(plan.tenants), rng.below(plan.skus));
                let subject = Subject::read(&format!("t{tenant}"), &format!("k{sku}")).unwrap();
                let verbs =
                    [Verb::Halt, Verb::Resume, Verb::Resume, Verb::Entitle, Verb::Revoke, Verb::Quota(3)];
                command(subject, rng.pick(&verbs))
            }
        };
        let (answer, asked) = oneshot::channel();
        // A full lane refuses the operator.
        if self.operator.push(Ordered { order, answer }).is_ok() {
            self.asked.push(asked);
        }
    }

    /// Numbers that operators were told since they were asked for last.
    pub fn told(&mut self) -> Vec<Seq> {
        let mut told = Vec::new();
        self.asked.retain_mut(|asked| match asked.try_recv() {
            Ok(seq) => {
                told.push(seq);
                false
            }
            Err(oneshot::error::TryRecvError::Empty) => true,
            Err(oneshot::error::TryRecvError::Closed) => false,
        });
        told
    }

    /// Whether nothing is under way anywhere.
    pub fn is_at_rest(&self) -> bool {
        self.idle && !self.journal.has_work() && self.behind.is_at_rest()
    }

    /// Ends in order, as the program does: journal, shards, scribe, store.
    pub fn end(mut self, time: &mut Time, rng: &mut Rng, target: &mut Target) -> Result<(), Stopped> {
        while self.turn_journal(time)? != Turn::Idle {
            self.behind.turn(rng, time, target)?;
        }
        while !self.journal.finish() {
            self.behind.turn(rng, time, target)?;
        }
        self.journal.close()?;
        let mut behind = self.behind;
        loop {
            let mut worked = false;
            for shard in &mut behind.shards {
                worked |= shard.turn(time.now(), UnixMillis(behind.clock.time.read())) || !shard.is_done();
            }
            for orders in &mut behind.orders {
                while orders.pop().is_some() {}
            }
            worked |= behind.scribe.turn(time.now())?;
            behind.scribe.commit()?;
            worked |= behind.keeper.turn()?;
            if !worked && !behind.keeper.has_work() && !behind.keeper.is_waiting() {
                return Ok(());
            }
        }
    }
}
