//! One seed: a chain of processes on one disk, each ended by a kill, a cut, a fault or in order, and looked at by the
//! oracles after each end; then everything heals, and what is pending must finish.

use std::path::Path;
use std::sync::Arc;

use gemba::disk::Disk;
use gemba::event::{Event, Seq};
use gemba::framed_log::Header as _;
use gemba::kanban::journal::record::Decoder;
use gemba::kanban::journal::{Damage, scan};
use gemba::line::recovery::journal_dir;

use crate::clients::Clients;
use crate::disk::{Death, Faults, Fuse, Refusal, SimDisk};
use crate::line::{self, DATA_DIR, Line, Stopped, Target, Time, log_vkey};
use crate::oracles::{self, Evidence, Failure, Summary};
use crate::plan::Plan;
use crate::rng::Rng;
use crate::store::SimStore;

/// What came of one seed.
#[derive(Debug)]
pub struct Report {
    pub trace: u64,
    pub summary: Summary,
    pub processes: u64,
    pub cuts: u64,
    pub answers: u64,
    pub recycled: u64,
    pub millis: u64,
}

/// What is wrong, and what happened before.
#[derive(Debug)]
pub struct Found {
    pub what: String,
    pub story: Vec<String>,
}

struct World {
    plan: Plan,
    rng: Rng,
    disk: SimDisk,
    store: SimStore,
    clients: Clients,
    target: Target,
    time: Time,
    processes: u64,
    cuts: u64,
}

/// Turns within which a healed line must have finished.
const HEAL_TURNS: u64 = 200_000;
/// Starts that the healed line may need; one is enough unless a fault was still on its way.
const HEAL_STARTS: u64 = 3;

pub fn run(seed: u64) -> Result<Report, Found> {
    let mut world = World::new(seed);
    let summary = world.outcome()?;
    Ok(Report {
        trace: world.disk.trace(),
        summary,
        processes: world.processes,
        cuts: world.cuts,
        answers: world.clients.answers,
        recycled: world.disk.recycled(),
        millis: world.time.millis,
    })
}

/// Every event that the journal of a seed holds at its end.
pub fn journal(seed: u64) -> Result<Vec<Event>, Found> {
    let mut world = World::new(seed);
    world.outcome()?;
    let mut events = Vec::new();
    let dir = journal_dir(Path::new(DATA_DIR));
    let scanned = scan(&world.disk.whole_history(), &dir, |header, records, path, offset| {
        let mut decoder = Decoder::new(records);
        let mut seq = header.first;
        loop {
            let kind = decoder.next_kind();
            let kind = kind.map_err(|why| Damage::Record { path: path.to_owned(), offset, why })?;
            let Some(kind) = kind else { return Ok::<(), Damage>(()) };
            events.push(Event { seq, time: header.time, kind });
            seq = seq.next();
        }
    });
    scanned.map(|_| events).map_err(|damage| Found { what: damage.to_string(), story: Vec::new() })
}

impl World {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let plan = Plan::draw(&mut rng);
        let disk = SimDisk::new(rng.fork(), plan.capacity);
        Self {
            store: SimStore::new(disk.clone()),
            clients: Clients::new(&plan, rng.fork()),
            target: Target::default(),
            time: Time {
                base: gemba::clock::now(),
                millis: 0,
                jumped: 0,
                jumped_most: 0,
                wrong: 0,
                wrong_until: 0,
                boots: 1,
            },
            processes: 0,
            cuts: 0,
            disk,
            rng,
            plan,
        }
    }

    fn outcome(&mut self) -> Result<Summary, Found> {
        let outcome = self.suffer().and_then(|()| self.heal());
        let outcome = self.disk.broken_promise().map_or(outcome, Err);
        outcome.map_err(|what| Found { what, story: self.disk.story() })
    }

    /// Phase 1: safety, whatever happens.
    fn suffer(&mut self) -> Result<(), String> {
        for _ in 0..self.plan.processes {
            let others = self.plan.other_rules.len();
            if others > 0 && self.rng.chance(self.plan.reconfigured) {
                let at = self.rng.index(others);
                self.plan.rules = self.plan.other_rules[at].clone();
            }
            self.disk.set_faults(self.plan.faults);
            self.processes += 1;
            let fuse = self.fuse();
            self.disk.set_fuse(Some(fuse));
            match self.start()? {
                Some(line) => self.live(line)?,
                None => self.die()?,
            }
            if self.rng.chance(self.plan.rot) {
                self.rot()?;
            }
        }
        Ok(())
    }

    /// Half of the deaths are anywhere, half in an operation that makes a difference.
    fn fuse(&mut self) -> Fuse {
        if self.plan.seen_and_gone {
            return if self.death() == Some(Death::Kill) {
                if self.rng.chance(5000) {
                    // It ends by itself then.
                    let extension = self.rng.pick(&["journal", "log"]);
                    let after = self.rng.below(if extension == "log" { 8 } else { 40 });
                    self.disk.set_refusal(Some(Refusal { extension, after }));
                    return Fuse { name: None, operations: u64::MAX };
                }
                let name = Some(self.rng.pick(&["sync", "sync", "sync_dir"]));
                Fuse { name, operations: self.rng.below(25) }
            } else if self.rng.chance(7000) {
                // The state has passed something, and little else was written.
                Fuse { name: Some("commit"), operations: 1 + self.rng.below(4) }
            } else {
                Fuse { name: None, operations: self.rng.below(100) }
            };
        }
        let names = ["sync", "sync_dir", "rename", "create", "write", "commit", "truncate"];
        let name = self.rng.chance(5000).then(|| self.rng.pick(&names));
        let early = self.rng.chance(self.plan.early_deaths);
        let operations = match (early, name) {
            (true, Some(_)) => self.rng.below(5),
            (true, None) => self.rng.below(60),
            (false, Some("sync" | "write" | "commit")) => self.rng.below(150),
            (false, Some(_)) => self.rng.below(20),
            (false, None) => self.rng.below(2000),
        };
        Fuse { name, operations: operations * self.plan.patience }
    }

    /// How this process must die, where the plan says so.
    fn death(&self) -> Option<Death> {
        let death = if self.processes.is_multiple_of(2) { Death::Kill } else { Death::Cut };
        self.plan.seen_and_gone.then_some(death)
    }

    fn start(&mut self) -> Result<Option<Line>, String> {
        let Self { plan, disk, store, time, rng, target, .. } = self;
        match Line::start(plan, disk, store, time, rng, target) {
            Ok(line) => Ok(Some(line)),
            Err(stopped) => self.excuse(stopped).map(|()| None),
        }
    }

    /// A process may end by a fault that was injected, and by nothing else.
    fn excuse(&self, stopped: Stopped) -> Result<(), String> {
        match stopped {
            Stopped::Fault(why) if self.disk.injected() > 0 => {
                self.disk.note(|| format!("ends: {why}"));
                Ok(())
            }
            Stopped::Fault(why) => Err(format!("stopped without a fault: {why}")),
            Stopped::Refused(why) => Err(format!("refused to start: {why}")),
        }
    }

    /// A process' life up to its end.
    fn live(&mut self, mut line: Line) -> Result<(), String> {
        for _ in 0..=self.rng.below(self.plan.turns) {
            let result = self.turn(&mut line);
            self.promises()?;
            if let Err(stopped) = result {
                self.excuse(stopped)?;
                return self.die_with(Some(line));
            }
            self.listen(&mut line)?;
        }
        if self.rng.chance(self.plan.orderly) {
            let Self { time, rng, target, .. } = self;
            return match line.end(time, rng, target) {
                Ok(()) => {
                    self.disk.note(|| "ends in order".to_owned());
                    self.die()
                }
                Err(stopped) => {
                    self.excuse(stopped)?;
                    self.die()
                }
            };
        }
        self.die_with(Some(line))
    }

    fn turn(&mut self, line: &mut Line) -> Result<(), Stopped> {
        self.time.millis += self.disk.take_elapsed_millis();
        if self.time.millis >= self.time.wrong_until {
            self.time.wrong = 0;
        }
        match self.rng.below(16) {
            0..=4 => {
                let port = self.rng.index(line.ports.len());
                self.clients.send(port, &mut line.ports[port], self.time.millis);
            }
            5..=8 => drop(line.turn_journal(&self.time)?),
            9..=14 => line.behind.turn(&mut self.rng, &self.time, &mut self.target)?,
            _ => self.happen(line),
        }
        Ok(())
    }

    /// What happens beside the line.
    fn happen(&mut self, line: &mut Line) {
        self.time.millis += self.rng.pick(&[0, 1, 5, 20, 100, 1000, 5000]);
        if self.rng.chance(self.plan.clock_jumps) {
            let jump = self.rng.pick(&[-10_000, -1000, 1000, 10_000]);
            self.time.jumped += jump;
            self.time.jumped_most = self.time.jumped_most.max(self.time.jumped);
            self.disk.note(|| format!("the clock jumps by {jump} ms"));
        }
        if self.rng.chance(self.plan.clock_wrong) {
            self.time.wrong = self.rng.pick(&[-3_600_000, 86_400_000]);
            self.time.wrong_until = self.time.millis + self.rng.pick(&[10, 1000, 20_000]);
            self.disk.note(|| format!("the clock looks wrong by {} ms", self.time.wrong));
        }
        if self.rng.chance(self.plan.disk_full) {
            let all = self.plan.capacity;
            let low = all - self.plan.low_water_bytes / 2;
            let filler = self.rng.pick(&[0, low, all]);
            self.disk.set_filler(filler);
            self.disk.note(|| format!("others take {filler} bytes, {} are free", self.disk.free()));
        }
        if self.rng.chance(5000) {
            line.dispose();
        }
        if self.rng.chance(self.plan.commands) {
            line.command(&self.plan, &self.store, &mut self.rng);
        }
    }

    fn listen(&mut self, line: &mut Line) -> Result<(), String> {
        for (port, ends) in line.ports.iter_mut().enumerate() {
            self.clients.listen(port, ends, self.time.millis)?;
        }
        self.clients.known.ordered.extend(line.told());
        Ok(())
    }

    fn die_with(&mut self, line: Option<Line>) -> Result<(), String> {
        if let Some(mut line) = line {
            // An answer that was given may have been on the wire.
            if self.rng.chance(5000) {
                self.listen(&mut line)?;
            }
        }
        self.die()
    }

    fn die(&mut self) -> Result<(), String> {
        self.clients.cut_off();
        let drawn = if self.rng.chance(self.plan.cuts) { Death::Cut } else { Death::Kill };
        let death = self.death().unwrap_or(drawn);
        self.cuts += u64::from(death == Death::Cut);
        self.disk.end_process(death);
        if death == Death::Cut {
            // A machine that boots takes the time from where it is right.
            self.time.boots += 1;
            self.time.wrong = 0;
        }
        self.time.millis += self.rng.pick(&[10, 1000]);
        if self.rng.chance(self.plan.disk_full * 50) {
            self.disk.set_filler(0);
        }
        self.promises()?;
        self.look(false).map(|_| ())
    }

    fn promises(&self) -> Result<(), String> {
        self.disk.broken_promise().map_or(Ok(()), Err)
    }

    fn look(&self, ended: bool) -> Result<Summary, String> {
        let disk: Arc<dyn Disk> = self.disk.whole_history().shared();
        let stored = self.store.contents();
        let vkey = log_vkey();
        let evidence = Evidence {
            disk: &disk,
            data_dir: Path::new(DATA_DIR),
            stored: &stored,
            clients: &self.clients.known,
            vkey: ended.then_some(&vkey),
            every_checkpoint: false,
            ended,
        };
        match oracles::check(&evidence) {
            Ok(summary) => Ok(summary),
            // A process that died young has left nothing to look at.
            Err(Failure::Unreadable(_)) if !ended => Ok(Summary::default()),
            Err(failure) => Err(failure.to_string()),
        }
    }

    /// Rot of what is vouched for must be refused. It is put right again afterwards, as from a backup.
    fn rot(&mut self) -> Result<(), String> {
        let copy = self.disk.whole_history();
        let mut frames = Vec::new();
        let present = self.disk.present();
        let scanned = scan(&copy, &journal_dir(Path::new(DATA_DIR)), |header, _, path, offset| {
            frames.push((path.to_owned(), offset, header.frame_bytes() as u64));
            Ok::<(), Damage>(())
        });
        frames.pop();
        frames.retain(|(path, _, _)| present.contains(path));
        if scanned.is_err() || frames.is_empty() {
            return Ok(());
        }
        let newest = frames.len().saturating_sub(3);
        let at = if self.rng.chance(5000) { newest } else { self.rng.index(frames.len()) };
        let (path, offset, bytes) = frames[at].clone();
        let (offset, bit) = (offset + self.rng.below(bytes), u32::try_from(self.rng.below(8)).unwrap());
        self.disk.note(|| format!("bit {bit} of {}:{offset} rots", path.display()));
        self.disk.rot(&path, offset, bit);
        self.disk.set_faults(Faults::default());
        self.disk.set_fuse(None);
        self.disk.set_refusal(None);
        self.disk.set_filler(0);
        let Self { plan, disk, store, time, rng, target, .. } = self;
        let started = Line::start(plan, disk, store, time, rng, target);
        match started {
            Err(Stopped::Refused(why)) if why.contains(&path.display().to_string()) => {}
            Err(stopped) => return Err(format!("O1: rot of {}:{offset}: {stopped:?}", path.display())),
            Ok(_) => return Err(format!("O1: rot of {}:{offset} was not noticed", path.display())),
        }
        self.disk.rot(&path, offset, bit);
        self.disk.end_process(Death::Kill);
        self.look(false).map(|_| ())
    }

    /// Phase 2: nothing fails any more, and everything that is pending finishes.
    fn heal(&mut self) -> Result<Summary, String> {
        self.disk.set_faults(Faults::default());
        self.disk.set_refusal(None);
        self.disk.set_filler(0);
        (self.plan.disk_full, self.plan.commands, self.plan.actions_silent) = (0, 0, 0);
        self.disk.note(|| "heals".to_owned());
        let mut line = None;
        for _ in 0..HEAL_STARTS {
            self.processes += 1;
            self.disk.set_fuse(None);
            line = self.start()?;
            if line.is_some() {
                break;
            }
            self.die()?;
        }
        let mut line = line.ok_or("O9: the healed line does not start")?;
        let mut turns = 0;
        while !(self.clients.is_done() && line.is_at_rest()) {
            turns += 1;
            self.time.millis += 20;
            if turns > HEAL_TURNS {
                return Err(format!("O9: pending after {turns} turns"));
            }
            let result = self.turn(&mut line);
            result.map_err(|stopped| format!("the healed line stops: {stopped:?}"))?;
            self.promises()?;
            self.listen(&mut line)?;
        }
        let Self { time, rng, target, .. } = self;
        let ended = line.end(time, rng, target);
        ended.map_err(|stopped| format!("the healed line does not end: {stopped:?}"))?;
        self.all_is_removed()?;
        self.disk.end_process(Death::Cut);
        let summary = self.look(true)?;
        self.called()?;
        Ok(summary)
    }

    /// What was set aside goes, whatever happened to it before.
    fn all_is_removed(&mut self) -> Result<(), String> {
        let mut disposer = line::disposer(&self.disk);
        while disposer.step().map_err(|error| format!("O9: what is not needed cannot be removed: {error}"))? {
        }
        let gone = |path: &std::path::PathBuf| path.extension().is_some_and(|extension| extension == "gone");
        match self.disk.present().into_iter().find(gone) {
            Some(path) => Err(format!("O9: {} was not removed", path.display())),
            None => Ok(()),
        }
    }

    /// Calls at the target: an action is called again only with the warning that it may be.
    fn called(&self) -> Result<(), String> {
        let mut seen = std::collections::HashSet::new();
        for (action, maybe_twice) in &self.target.calls {
            if !seen.insert(*action) && !maybe_twice {
                return Err(format!("O2: action {action} was called twice without a warning"));
            }
        }
        let journalled: std::collections::HashSet<Seq> = self.journalled()?;
        match seen.iter().find(|action| !journalled.contains(action)) {
            Some(action) => {
                Err(format!("O3: action {action} was called and its signal is not in the journal"))
            }
            None => Ok(()),
        }
    }

    fn journalled(&self) -> Result<std::collections::HashSet<Seq>, String> {
        let mut seqs = std::collections::HashSet::new();
        let dir = journal_dir(Path::new(DATA_DIR));
        let scanned = scan(&self.disk.whole_history(), &dir, |header, _, _, _| {
            seqs.extend((header.first.0..=header.last().0).map(Seq));
            Ok::<(), Damage>(())
        });
        scanned.map(|_| seqs).map_err(|damage| damage.to_string())
    }
}
