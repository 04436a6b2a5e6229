//! A campaign: a shuffled list of ways to die, over a few directories, and what came of it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::checker::check;
use crate::home::Home;
use crate::ledger::Counts;
use crate::node::Node;
use crate::program::Dead;
use crate::rng::Rng;
use crate::traffic::Clients;
use crate::verify::{self, Gone};

/// The kill points, and how often each may be passed before it kills.
const POINTS: [(&str, u64); 17] = [
    ("K1", 20),
    ("K2", 200),
    ("K3", 200),
    ("K4", 200),
    ("K5", 200),
    ("K6", 200),
    ("K7", 150),
    ("K8", 150),
    ("K9", 150),
    ("K10", 150),
    ("K11", 300),
    ("K12", 30),
    ("K13", 30),
    ("K14", 30),
    ("K15", 8),
    ("K16", 8),
    ("K17", 2),
];
/// Kills before a new directory is begun.
const KILLS_PER_HOME: usize = 16;
/// A point that is not passed often enough by then was not reached.
const REACHED_WITHIN: Duration = Duration::from_secs(10);
/// Files whose content stands in no other.
const SECRETS: [&str; 4] = ["signals.secret", "admin.token", "receipt.secret", "log.key"];
/// A memory of identities so short that segments are released.
const FORGETFUL: &str = "[dedup]\nsignals = 6000\n";
/// Younger signals are found by their id: all but those that may be on their way now.
const MEMORY: u64 = 4000;

#[derive(Clone, Debug)]
pub struct Plan {
    pub seed: u64,
    pub blind: usize,
    pub chains: usize,
    pub per_point: usize,
    /// A bug to plant.
    pub plant: Option<&'static str>,
}

#[derive(Clone, Copy, Debug)]
enum Death {
    Blind,
    /// Up to five kills while it starts.
    Chain,
    At(&'static str, u64),
}

#[derive(Debug, Default)]
struct Tally {
    blind: u64,
    in_recovery: u64,
    /// Runs that should have ended at a point, and those that did.
    points: BTreeMap<&'static str, (u64, u64)>,
    recoveries: Vec<Duration>,
    checked: u64,
}

pub struct Campaign {
    plan: Plan,
    rng: Rng,
    tally: Tally,
    counts: Counts,
    violations: Vec<String>,
}

impl Campaign {
    pub fn new(plan: Plan) -> Self {
        let rng = Rng::new(plan.seed);
        Self { plan, rng, tally: Tally::default(), counts: Counts::default(), violations: Vec::new() }
    }

    /// Ends early when a promise was broken.
    pub fn run(&mut self) {
        println!("crash: {:?}", self.plan);
        let mut deaths = self.deaths();
        let mut forgetful = false;
        while !deaths.is_empty() && self.violations.is_empty() {
            let rest = deaths.split_off(deaths.len().min(KILLS_PER_HOME));
            self.home(&deaths, forgetful);
            forgetful = !forgetful;
            deaths = rest;
        }
    }

    fn deaths(&mut self) -> Vec<Death> {
        let mut deaths = vec![Death::Blind; self.plan.blind];
        deaths.extend(vec![Death::Chain; self.plan.chains]);
        for (point, most) in POINTS {
            for _ in 0..self.plan.per_point {
                deaths.push(Death::At(point, 1 + self.rng.below(most)));
            }
        }
        for index in (1..deaths.len()).rev() {
            deaths.swap(index, self.rng.index(index + 1));
        }
        // Segments are released only in a directory whose node forgets.
        deaths.sort_by_key(|death| matches!(death, Death::At("K17", _)));
        deaths
    }

    /// A directory's life.
    fn home(&mut self, deaths: &[Death], forgetful: bool) {
        let owned = tempfile::tempdir().unwrap();
        let needs_release = deaths.iter().any(|death| matches!(death, Death::At("K17", _)));
        let forgetful = forgetful || needs_release;
        let mut home = Home::new(owned.path(), if forgetful { FORGETFUL } else { "" });
        home.memory = if forgetful { MEMORY } else { u64::MAX };
        // The first start makes the secrets, which the clients must know.
        home.start().terminate();
        if let Some(plant) = self.plan.plant {
            home.variable("GEMBA_PLANT", plant);
        }
        let clients = Clients::new(&home.secret("signals.secret"));
        let mut over = false;
        for death in deaths {
            self.life(&mut home, &clients, *death);
            over = !clients.ledger.violations().is_empty();
            if over {
                break;
            }
        }
        if !over {
            self.last_life(&mut home, &clients);
        }
        let found = clients.ledger.violations();
        if !found.is_empty() && self.plan.plant.is_none() {
            std::fs::write(owned.path().join("clients.log"), clients.ledger.log()).unwrap();
            println!("crash: the directory is kept in {}", owned.keep().display());
        }
        self.violations.extend(found.into_iter().take(20));
        let counts = clients.ledger.counts();
        self.counts.acked += counts.acked;
        self.counts.resent += counts.resent;
        self.counts.resent_taken += counts.resent_taken;
        self.counts.repeated += counts.repeated;
        self.counts.verified += counts.verified;
    }

    /// One start, what it owes from before, new signals, and its death.
    fn life(&mut self, home: &mut Home, clients: &Clients, death: Death) {
        if matches!(death, Death::Chain) {
            for _ in 0..2 + self.rng.below(4) {
                let usual = self.usual_recovery();
                let after = usual.mul_f64(f64::from(u16::try_from(self.rng.below(1300)).unwrap()) / 1000.0);
                let dead = home.spawn(None, &[]).killed(after);
                self.tally.in_recovery += 1;
                if !dead.killed() {
                    clients.ledger.violates(format!("a starting node ended by itself: {dead:?}"));
                }
            }
        }
        let fault = match death {
            Death::At(point, count) => Some(format!("{point}:{count}")),
            Death::Blind | Death::Chain => None,
        };
        let node = match home.try_start(fault.as_deref(), &[]) {
            Ok(node) => node,
            Err(dead) => return self.died(clients, death, &dead),
        };
        self.tally.recoveries.push(node.recovery);
        if let Err(Gone) = Self::settle(home, clients, &node) {
            let dead = node.dead();
            return self.died(clients, death, &dead);
        }
        self.signals(clients, death, node);
    }

    fn settle(home: &Home, clients: &Clients, node: &Node) -> Result<(), Gone> {
        verify::resend(clients, node)?;
        verify::decided(clients, node, &home.secret("admin.token"), home.memory)
    }

    fn signals(&mut self, clients: &Clients, death: Death, mut node: Node) {
        let stop = AtomicBool::new(false);
        let at = node.ingress;
        let mut rng = self.rng.fork();
        let life = match death {
            Death::At(..) => REACHED_WITHIN,
            Death::Blind | Death::Chain => Duration::from_millis(20 + self.rng.below(800)),
        };
        let dead = std::thread::scope(|scope| {
            scope.spawn(|| clients.drive(at, &mut rng, &stop));
            let until = Instant::now() + life;
            while Instant::now() < until && !node.has_ended() {
                std::thread::sleep(Duration::from_millis(2));
            }
            let dead = node.killed();
            stop.store(true, Ordering::Relaxed);
            dead
        });
        self.died(clients, death, &dead);
    }

    /// Counts the death as what it was.
    fn died(&mut self, clients: &Clients, death: Death, dead: &Dead) {
        let expected = match death {
            Death::At(point, _) => {
                let (runs, reached) = self.tally.points.entry(point).or_default();
                *runs += 1;
                *reached += u64::from(dead.at_point());
                dead.at_point() || dead.killed()
            }
            Death::Blind | Death::Chain => {
                self.tally.blind += u64::from(dead.killed());
                dead.killed()
            }
        };
        if !expected {
            clients.ledger.violates(format!("the node ended by itself: {dead:?}"));
        }
    }

    /// Everything is settled, the node ends in order, and the checker looks at what it left.
    fn last_life(&mut self, home: &mut Home, clients: &Clients) {
        let node = match home.try_start(None, &[]) {
            Ok(node) => node,
            Err(dead) => return clients.ledger.violates(format!("the node did not start: {dead:?}")),
        };
        self.tally.recoveries.push(node.recovery);
        let settled = Self::settle(home, clients, &node);
        let dead = node.terminated();
        if settled.is_err() || !dead.status.is_some_and(|status| status.success()) {
            return clients.ledger.violates(format!("the last node ended by itself: {dead:?}"));
        }
        verify::actions(home, &clients.ledger);
        // Of a journal whose beginning was released the checker cannot decide everything again.
        if home.memory == u64::MAX {
            if let Err(found) =
                check(home.data(), &home.dir.join("clients.log"), &clients.ledger.log(), &SECRETS)
            {
                clients.ledger.violates(found);
            }
            self.tally.checked += 1;
        }
    }

    fn usual_recovery(&self) -> Duration {
        let mut sorted = self.tally.recoveries.clone();
        sorted.sort();
        sorted.get(sorted.len() / 2).copied().unwrap_or(Duration::from_millis(300))
    }

    pub fn violations(&self) -> &[String] {
        &self.violations
    }

    /// Points that no run reached, though some should have.
    pub fn never_reached(&self) -> Vec<&'static str> {
        let never = self.tally.points.iter().filter(|(_, (_, reached))| *reached == 0);
        never.map(|(point, _)| *point).collect()
    }

    pub fn report(&self) {
        let Tally { blind, in_recovery, points, recoveries, checked } = &self.tally;
        println!(
            "crash: {blind} blind kills, {in_recovery} kills while starting, {checked} directories checked"
        );
        for (point, (runs, reached)) in points {
            let short = if reached < runs { ", the others never came there" } else { "" };
            println!("crash: {point}: reached in {reached} of {runs} runs{short}");
        }
        let Counts { acked, resent, resent_taken, repeated, verified } = self.counts;
        println!(
            "crash: {acked} signals acked, {verified} looked at again; {resent} units without an answer sent again, \
             {resent_taken} of them had been taken; {repeated} repetitions"
        );
        let mut sorted = recoveries.clone();
        sorted.sort();
        if let Some(last) = sorted.last() {
            let at = |percent: usize| sorted[(sorted.len() - 1) * percent / 100];
            println!("crash: {} recoveries: p50 {:?}, p99 {:?}, max {last:?}", sorted.len(), at(50), at(99));
        }
    }
}
