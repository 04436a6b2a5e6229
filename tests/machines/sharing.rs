//! Processors that take partitions from one another: whatever they and the shared store go through, every signal is decided
//! once, in order, on the state that the one before has left.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use gemba::net::firestore::{Presumes, Value};
use gemba::sharing::partition_of;

use crate::firestore_fake::{Fake, Fault};
use crate::history::History;
use crate::ledger::{journal_of, oracles};
use crate::line::{Machine, Sender, section, wait_until};
use crate::node::free_ports;
use crate::program::command;
use crate::rabbit::Broker;
use crate::targets::{Does, Target};

/// A line whose processors share their state.
pub struct Shared {
    pub broker: Broker,
    pub fake: Fake,
    pub partitions: u16,
    more: String,
    variables: Vec<(&'static str, &'static str)>,
}

impl Shared {
    pub fn start(partitions: u16, more: &str) -> Option<Self> {
        let broker = Broker::start()?;
        let fake = Fake::start_at(free_ports(1));
        // As long as the test, as everything about it.
        let address: &'static str = fake.address().leak();
        let variables = vec![("FIRESTORE_EMULATOR_HOST", address)];
        Some(Self { broker, fake, partitions, more: more.to_owned(), variables })
    }

    fn rabbit(&self) -> String {
        section(&self.broker, &format!("partitions = {}\nprefetch = 100\n", self.partitions))
    }

    pub fn edge(&self, name: &str) -> Machine {
        Machine::start("edge", name, &self.rabbit())
    }

    pub fn processor(&self, name: &str) -> Machine {
        self.processor_with(name, &[])
    }

    pub fn processor_with(&self, name: &str, variables: &[(&'static str, &'static str)]) -> Machine {
        let config = format!("{}[state]\nstore = \"firestore\"\n{}", self.rabbit(), self.more);
        Machine::start_with("processor", name, &config, &[&self.variables, variables].concat())
    }

    /// Waits until everything that edges have answered for is decided and shared. `edges` are their names.
    pub fn wait_until_shared(&self, sender: &Sender, edges: &[&str]) {
        wait_until("everything is shared", || {
            let heads = self.fake.documents("partitions/");
            let through = |edge: &str, partition: u16| -> i64 {
                let head = heads.get(&format!("partitions/tai2030.signals.{partition}"));
                let Some(Value::Map(positions)) = head.map(|head| &head.fields["positions"]) else {
                    return 0;
                };
                let of = positions.iter().find(|(name, _)| name.starts_with(&format!("{edge}.")));
                match of {
                    Some((_, Value::Integer(through))) => *through,
                    _ => 0,
                }
            };
            sender.ledger.acked.iter().all(|acked| {
                let partition = partition_of(&acked.tenant, self.partitions);
                through(edges[acked.edge], partition) >= i64::try_from(acked.seq).unwrap()
            })
        });
    }

    /// Waits until every partition is held and nothing waits or is under way in any governor.
    pub fn wait_until_settled(&self, processors: &[&Machine]) {
        let nothing_waits = |processor: &&Machine| {
            let governors = processor.node().ask("/v1/governors?limit=1000").json();
            let mut governors = governors["governors"].as_array().unwrap().iter();
            governors.all(|governor| governor["in_flight_action"].is_null() && governor["mailbox_depth"] == 0)
        };
        wait_until("nothing is under way", || {
            let held: f64 = processors.iter().map(|processor| held(processor)).sum();
            held == f64::from(self.partitions) && processors.iter().all(nothing_waits)
        });
    }

    /// Ends everything and reads its history.
    pub fn history(&self, sender: &Sender, processors: &mut [&mut Machine]) -> History {
        for processor in processors.iter_mut() {
            processor.terminate();
        }
        let dirs: Vec<PathBuf> = processors.iter().map(|processor| processor.data()).collect();
        let dirs: Vec<&Path> = dirs.iter().map(PathBuf::as_path).collect();
        let history = History::of(&dirs, self.partitions);
        history.check(&sender.ledger.acked, &sender.ledger.unknown);
        for dir in dirs {
            // Each of them may have decided any of the signals.
            let taken =
                journal_of(dir).into_iter().map(|taken| format!("unknown {} {}\n", taken.tenant, taken.id));
            oracles(dir, &taken.collect::<String>());
        }
        self.fake.assert_nobody_stale_wrote();
        self.assert_everything_is_fenced();
        history
    }
}

impl Shared {
    /// Whatever is written of a partition is written together with its head, as its writer knew it.
    fn assert_everything_is_fenced(&self) {
        for commit in self.fake.commits().iter().filter(|commit| commit.code == 0) {
            let head = |partition: i64| format!("partitions/tai2030.signals.{partition}");
            let fences = |partition: i64| {
                let mut writes = commit.writes.iter();
                writes.any(|write| {
                    let known = matches!(write.presumes, Some(Presumes::Version(_) | Presumes::Absent));
                    write.document == head(partition) && known
                })
            };
            for write in &commit.writes {
                let partition = match (&write.change, write.document.split_once('/').unwrap()) {
                    (_, ("processors", _)) => continue,
                    (_, ("partitions", name)) => name.split('.').nth(2).unwrap().parse().unwrap(),
                    (_, ("governors", name)) => {
                        let tenant = name.split_once(':').unwrap().0;
                        partition_of(tenant, self.partitions).into()
                    }
                    _ => panic!("{write:?}"),
                };
                assert!(fences(partition), "{} was written without its partition's head", write.document);
            }
        }
    }
}

pub fn held(machine: &Machine) -> f64 {
    machine.node().metric("gemba_state_held_partitions")
}

#[test]
fn what_one_processor_has_decided_the_next_one_goes_on_from() {
    let Some(line) = Shared::start(2, "") else { return };
    let mut edge = line.edge("edge-1");
    let mut sender = Sender::new(10);
    let mut first = line.processor("processor-1");
    for _ in 0..10 {
        assert!(sender.batch(0, &edge, 50));
    }
    line.wait_until_shared(&sender, &["edge-1"]);
    assert_eq!(held(&first), 2.0);
    let mut second = line.processor("processor-2");
    for _ in 0..10 {
        assert!(sender.batch(0, &edge, 50));
    }
    first.kill();
    for _ in 0..10 {
        assert!(sender.batch(0, &edge, 50));
    }
    line.wait_until_shared(&sender, &["edge-1"]);
    assert_eq!(held(&second), 2.0);
    first.up();
    for _ in 0..10 {
        assert!(sender.batch(0, &edge, 50));
    }
    line.wait_until_shared(&sender, &["edge-1"]);
    edge.terminate();
    line.history(&sender, &mut [&mut first, &mut second]);
}

#[test]
fn a_processor_that_joins_is_given_its_share() {
    let Some(line) = Shared::start(4, "") else { return };
    let mut edge = line.edge("edge-1");
    let mut sender = Sender::new(16);
    let mut first = line.processor("processor-1");
    assert!(sender.batch(0, &edge, 200));
    line.wait_until_shared(&sender, &["edge-1"]);
    assert_eq!(held(&first), 4.0);
    let mut second = line.processor("processor-2");
    wait_until("each has its half", || {
        sender.batch(0, &edge, 40);
        std::thread::sleep(Duration::from_millis(100));
        (held(&first), held(&second)) == (2.0, 2.0)
    });
    line.wait_until_shared(&sender, &["edge-1"]);
    assert_eq!(first.node().metric("gemba_state_lost_partitions_total"), 0.0, "they are given, not taken");
    edge.terminate();
    line.history(&sender, &mut [&mut first, &mut second]);
}

#[test]
fn a_processor_that_stood_still_finds_its_partitions_taken_and_steps_back() {
    let Some(line) = Shared::start(2, "") else { return };
    let mut edge = line.edge("edge-1");
    let mut sender = Sender::new(10);
    let mut first = line.processor("processor-1");
    assert!(sender.batch(0, &edge, 100));
    line.wait_until_shared(&sender, &["edge-1"]);
    let mut second = line.processor("processor-2");
    // In the middle of the work.
    for _ in 0..10 {
        assert!(sender.batch(0, &edge, 50));
    }
    first.node().signal("STOP");
    for _ in 0..10 {
        assert!(sender.batch(0, &edge, 50));
    }
    wait_until("the other one has taken over", || held(&second) == 2.0);
    line.wait_until_shared(&sender, &["edge-1"]);
    first.node().signal("CONT");
    for _ in 0..10 {
        assert!(sender.batch(0, &edge, 50));
        std::thread::sleep(Duration::from_millis(100));
    }
    line.wait_until_shared(&sender, &["edge-1"]);
    edge.terminate();
    line.history(&sender, &mut [&mut first, &mut second]);
}

#[test]
fn a_store_that_fails_in_every_way_costs_time_and_no_decision() {
    let Some(line) = Shared::start(2, "") else { return };
    let mut edge = line.edge("edge-1");
    let mut sender = Sender::new(10);
    let mut processors = [line.processor("processor-1"), line.processor("processor-2")];
    let faults = [
        Fault::Abort,
        Fault::Unavailable,
        Fault::ApplyThenFail,
        Fault::ApplyThenDrop,
        Fault::Slow(Duration::from_millis(1500)),
        Fault::DeadlineAfter,
        Fault::DeadlineBefore,
    ];
    for fault in faults {
        for _ in 0..5 {
            assert!(sender.batch(0, &edge, 20));
        }
        line.fake.next(fault);
        line.fake.next_get(Fault::Unavailable);
        std::thread::sleep(Duration::from_millis(300));
    }
    // The process goes on as it was while the store is away; what it would decide waits.
    line.fake.stop();
    for _ in 0..10 {
        assert!(sender.batch(0, &edge, 20));
        std::thread::sleep(Duration::from_millis(200));
    }
    wait_until("it is told", || {
        processors.iter().any(|processor| {
            let ready = processor.node().ask("/readyz").json();
            let stages = ready["stages"].as_array().unwrap();
            stages.iter().any(|stage| stage["stage"] == "state" && stage["ok"] == false)
        })
    });
    line.fake.start_again();
    line.wait_until_shared(&sender, &["edge-1"]);
    edge.terminate();
    let [first, second] = &mut processors;
    line.history(&sender, &mut [first, second]);
}

#[test]
fn what_the_broker_waits_for_too_long_is_given_again_and_decided_once() {
    let Some(line) = Shared::start(1, "") else { return };
    // Half an hour, and looked at once a minute, if nothing else is said.
    for setting in ["consumer_timeout, 3000", "channel_tick_interval, 500"] {
        line.broker.ctl(&["eval", &format!("application:set_env(rabbit, {setting}).")]);
    }
    let mut edge = line.edge("edge-1");
    let mut sender = Sender::new(4);
    let mut processor = line.processor("processor-1");
    assert!(sender.batch(0, &edge, 20));
    line.wait_until_shared(&sender, &["edge-1"]);
    line.fake.stop();
    assert!(sender.batch(0, &edge, 20));
    // The broker takes back what is not acknowledged.
    wait_until("it is timed out", || processor.node().metric("gemba_broker_reconnects_total") > 0.0);
    assert!(sender.batch(0, &edge, 20));
    line.fake.start_again();
    line.wait_until_shared(&sender, &["edge-1"]);
    wait_until("all is acknowledged", || {
        processor.node().metric("gemba_broker_unacknowledged_messages") == 0.0
    });
    assert!(processor.node().metric("gemba_broker_repeated_messages_total") > 0.0);
    edge.terminate();
    line.history(&sender, &mut [&mut processor]);
}

#[test]
fn a_directory_keeps_the_way_in_which_its_state_is_kept() {
    let Some(line) = Shared::start(1, "") else { return };
    let mut processor = Machine::start("processor", "processor-1", &line.rabbit());
    processor.terminate();
    let config = format!(
        "[node]\nname = \"processor-1\"\nprofile = \"dev\"\nrole = \"processor\"\n{}[state]\nstore = \"firestore\"\n",
        line.rabbit()
    );
    std::fs::write(processor.home.path().join("gemba.toml"), config).unwrap();
    let mut command = command(processor.home.path());
    let output =
        command.arg("serve").env("GEMBA_CONFIG", "gemba.toml").envs(line.variables.clone()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let why = "holds what a node with the role `processor` has left; this one has the role `processor with shared state`";
    assert!(!output.status.success() && said.contains(why), "{said}");
}

/// A processor that decides on the only partition, and one that has just joined it.
struct Pair {
    line: Shared,
    edge: Machine,
    sender: Sender,
    first: Machine,
    second: Machine,
}

impl Pair {
    fn start() -> Option<Self> {
        let line = Shared::start(1, "")?;
        let (edge, mut sender) = (line.edge("edge-1"), Sender::new(1));
        let first = line.processor("processor-1");
        assert!(sender.batch(0, &edge, 3));
        line.wait_until_shared(&sender, &["edge-1"]);
        let second = line.processor("processor-2");
        wait_until("it is connected", || second.node().metric("gemba_broker_connected") == 1.0);
        Some(Self { line, edge, sender, first, second })
    }

    /// The first one comes back, more is decided, and the history of both is whole.
    fn goes_on(mut self) {
        self.first.up();
        assert!(self.sender.batch(0, &self.edge, 3));
        self.line.wait_until_shared(&self.sender, &["edge-1"]);
        self.edge.terminate();
        self.line.history(&self.sender, &mut [&mut self.first, &mut self.second]);
    }
}

#[test]
fn an_order_counts_at_whoever_decides_and_goes_with_the_partition() {
    let Some(mut pair) = Pair::start() else { return };
    let Pair { line, edge, sender, first, second } = &mut pair;
    let order = |processor: &Machine, verb: &str| {
        processor.order(&format!("/v1/governors/t0-0/sku-0/{verb}"), r#"{"reason":"a drill"}"#)
    };
    let refused = order(second, "halt");
    assert_eq!(refused.status, 409, "{refused:?}");
    assert!(refused.text().contains("partition 0 is decided on by another processor"), "{}", refused.text());
    assert_eq!(second.node().ask("/v1/governors/t0-0/sku-0").status, 404);
    let done = order(first, "halt");
    assert_eq!(done.status, 200, "{done:?}");
    let shown =
        |processor: &Machine| processor.node().ask("/v1/governors/t0-0/sku-0").json()["state"].clone();
    assert_eq!(shown(first), "halted");
    assert!(sender.batch(0, edge, 3));
    line.wait_until_shared(sender, &["edge-1"]);
    let dead = |processor: &Machine| processor.node().metric("gemba_dead_letters_total{cause=\"us\"}");
    wait_until("what came is a dead letter", || dead(first) >= 1.0);
    // It was answered, so it is shared.
    first.kill();
    wait_until("the other one decides", || held(second) == 1.0);
    assert_eq!(shown(second), "halted");
    assert_eq!(order(second, "resume").status, 200);
    assert_eq!(shown(second), "stable");
    pair.goes_on();
}

/// What is told of a governor goes with its partition. A processor that starts again and takes it again calls nobody twice; of one that
/// dies, the one that follows it tells, and tells of the end, too, though no signal comes any more.
#[test]
fn an_alert_goes_with_its_partition() {
    let target = Target::start(|_| Does::Answer(200));
    let config = format!(
        "[[channel]]\nname = \"hook\"\nkind = \"webhook\"\nurl = \"{}\"\nallow_private = true\n\
         secret_env = \"HOOK_SECRET\"\n[alerts]\ninfo = [\"hook\"]\ngroup_wait_seconds = 0\ngroup_interval_seconds = 1\n",
        target.url()
    );
    let Some(line) = Shared::start(1, &config) else { return };
    let (mut edge, mut sender) = (line.edge("edge-1"), Sender::new(1));
    let secret = [("HOOK_SECRET", "whsec_BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=")];
    let mut first = line.processor_with("processor-1", &secret);
    assert!(sender.batch(0, &edge, 3));
    line.wait_until_shared(&sender, &["edge-1"]);
    let order = |processor: &Machine, verb: &str| {
        let done = processor.order(&format!("/v1/governors/t0-0/sku-0/{verb}"), r#"{"reason":"a drill"}"#);
        assert_eq!(done.status, 200, "{done:?}");
    };
    let told = || -> Vec<(String, String)> {
        let bodies = target.seen();
        let bodies =
            bodies.iter().map(|seen| serde_json::from_slice::<serde_json::Value>(&seen.body).unwrap());
        let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
        bodies.map(|body| (text(&body["status"]), text(&body["externalURL"]))).collect()
    };
    let alerts =
        |processor: &Machine| processor.node().ask("/v1/alerts").json()["alerts"].as_array().unwrap().clone();
    order(&first, "halt");
    wait_until("somebody is called", || told().len() == 1);
    wait_until("the outcome is known", || alerts(&first)[0]["state"] == "notified");
    first.terminate();
    first.up();
    wait_until("it decides again", || held(&first) == 1.0);
    wait_until("its governor tells again", || alerts(&first)[0]["ends_ms"].is_null());
    assert_eq!(told().len(), 1, "nobody is called twice");
    let second = line.processor_with("processor-2", &secret);
    wait_until("it is connected", || second.node().metric("gemba_broker_connected") == 1.0);
    first.kill();
    wait_until("the other one tells of it", || told().len() == 2);
    let shown = alerts(&second);
    assert_eq!((shown.len(), &shown[0]["kind"]), (1, &"halt".into()), "{shown:?}");
    order(&second, "resume");
    wait_until("the end is told", || told().len() == 3);
    let statuses: Vec<_> = told().into_iter().map(|(status, _)| status).collect();
    assert_eq!(statuses, ["firing", "firing", "resolved"]);
    first.up();
    wait_until("it knows that another one decides", || {
        let [alert] = &alerts(&first)[..] else { return false };
        alert["state"] == "notified" && !alert["ends_ms"].is_null()
    });
    edge.terminate();
    let mut second = second;
    line.history(&sender, &mut [&mut first, &mut second]);
}

/// A processor that dies before the one that joined has counted for the first time is followed, too.
#[test]
fn who_has_just_joined_follows_who_dies_at_once() {
    let Some(mut pair) = Pair::start() else { return };
    let Pair { first, second, .. } = &mut pair;
    first.kill();
    wait_until("the other one decides", || held(second) == 1.0);
    pair.goes_on();
}

/// Acts on every signal of the type `page.now`.
const PACK: &str = r#"
name = "test"
[memory]
pages = { kind = "count", types = ["page.now"], window_seconds = 86400 }
[[rule]]
id = "page"
types = ["page.now"]
when = "memory.pages > 0.0"
decide = "act"
action = "page"
reason = "now"
"#;

/// A webhook action and a pack that asks for it.
pub fn acting(target: &Target) -> (tempfile::TempDir, String) {
    let dir = tempfile::tempdir().unwrap();
    let pack = dir.path().join("policy.toml");
    std::fs::write(&pack, PACK).unwrap();
    let config = format!(
        "[policy]\npacks = [\"{}\"]\n[governor]\nquota = 100000\n[[action]]\nname = \"page\"\nkind = \"webhook\"\n\
         url = \"{}\"\nallow_private = true\n",
        pack.display(),
        target.url()
    );
    (dir, config)
}

/// How often the target carried something out under each name; what it refuses is tried again.
pub fn calls(target: &Target, refuses: fn(usize) -> bool) -> HashMap<String, usize> {
    let mut calls = HashMap::new();
    for (_, request) in target.seen().into_iter().enumerate().filter(|(number, _)| !refuses(*number)) {
        *calls.entry(request.header("idempotency-key").to_owned()).or_default() += 1;
    }
    calls
}

/// Whether the target refuses its call of this number.
fn refuses(number: usize) -> bool {
    number % 7 == 5
}

#[test]
fn edges_and_processors_are_killed_and_every_action_has_one_outcome() {
    let target = Target::start(|number| match number % 7 {
        _ if refuses(number) => Does::Answer(503),
        3 => Does::Late(Duration::from_millis(300)),
        _ => Does::Answer(200),
    });
    let (_dir, acting) = acting(&target);
    let Some(line) = Shared::start(3, &acting) else { return };
    let mut edges = [line.edge("edge-a"), line.edge("edge-b")];
    let names = ["edge-a", "edge-b"];
    let mut processors = [line.processor("processor-1"), line.processor("processor-2")];
    let mut sender = Sender::new(24).acting_every(9);
    let mut random = 11_u64;
    for round in 0..12 {
        for step in 0..15 {
            sender.batch(step % 2, &edges[step % 2], 20);
            std::thread::sleep(Duration::from_millis(20));
        }
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        match (random >> 40) % 5 {
            0 => line.fake.next(Fault::Abort),
            1 => line.fake.next(Fault::ApplyThenDrop),
            2 => line.fake.next(Fault::Unavailable),
            _ => {}
        }
        std::thread::sleep(Duration::from_millis((random >> 32) % 1200));
        let machine = match round % 4 {
            0 => &mut processors[0],
            1 => &mut edges[0],
            2 => &mut processors[1],
            _ => &mut edges[1],
        };
        machine.kill();
        machine.up();
    }
    line.wait_until_shared(&sender, &names);
    // Whoever dies is followed, though no signal comes any more.
    line.wait_until_settled(&[&processors[0], &processors[1]]);
    for edge in &mut edges {
        edge.terminate();
    }
    let [first, second] = &mut processors;
    let history = line.history(&sender, &mut [first, second]);
    let actions = history.check_actions(&calls(&target, refuses));
    println!(
        "machines: {} acked, {} unknown, {actions} actions, {} calls, 12 kills, {} commits",
        sender.ledger.acked.len(),
        sender.ledger.unknown.len(),
        target.seen().len(),
        line.fake.commits().len(),
    );
}
