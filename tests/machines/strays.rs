//! What stands in the queues and is no edge's signal, or was set aside: it becomes a dead letter and is seen.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;

use gemba::event::{EdgeName, Seq};
use gemba::kanban::broker::delivery::{NUDGE, vouch};
use gemba::kanban::broker::mac::{Keys, Statement};
use gemba::kanban::broker::message::{CONTENT_TYPE, Draft, Origin, Span, checksum};
use gemba::signal::{Assurance, Provenance, Severity, Text, Unchecked};
use lapin::BasicProperties;
use lapin::options::BasicPublishOptions;
use lapin::types::{AMQPValue, FieldTable};

use crate::line::{Machine, Sender, section, wait_until};
use crate::rabbit::{Broker, PASSWORD};

fn cases(processor: &Machine) -> Vec<serde_json::Value> {
    processor.node().ask("/v1/deadletters").json()["deadletters"].as_array().unwrap().clone()
}

fn publish(broker: &Broker, queue: &str, id: &str, body: &[u8]) {
    put(broker, queue, BasicProperties::default().with_message_id(id.into()), body);
}

#[test]
fn what_no_edge_wrote_and_what_was_set_aside_is_a_dead_letter() {
    let Some(broker) = Broker::start() else { return };
    let rabbit = section(&broker, "");
    let mut edge = Machine::start("edge", "edge-1", &rabbit);
    wait_until("it is connected", || edge.node().metric("gemba_broker_connected") == 1.0);
    // Nobody consumes yet: what comes becomes too old, and the broker sets it aside.
    broker.ctl(&["set_policy", "old", "^tai2030.signals$", r#"{"message-ttl":500}"#, "--apply-to", "queues"]);
    let mut sender = Sender::new(1);
    assert!(sender.batch(0, &edge, 3));
    wait_until("it is set aside", || broker.messages("tai2030.signals.deadletter") == 1);
    broker.ctl(&["clear_policy", "old"]);
    publish(&broker, "tai2030.signals", "hello-1", b"hello");
    publish(&broker, "tai2030.signals", "", &vec![0xff; 300_000]);
    let mut processor = Machine::start("processor", "processor-1", &rabbit);
    wait_until("all of it is there", || cases(&processor).len() == 5);
    let found = cases(&processor);
    let of = |tenant: &str| found.iter().filter(|case| case["tenant"] == tenant).collect::<Vec<_>>();
    assert_eq!((of("t0-0").len(), of("unknown").len()), (3, 2), "{found:?}");
    for case in of("t0-0") {
        assert_eq!(case["cause"], "us", "{case}");
        assert_eq!(case["detail"], "the broker set it aside", "{case}");
    }
    for case in of("unknown") {
        assert_eq!(case["cause"], "sender", "{case}");
        let detail = if case["signal_id"] == "hello-1" {
            "it stood in a queue of the broker and no edge wrote it"
        } else {
            "it is longer than an edge's messages are; its beginning is kept"
        };
        assert_eq!(case["detail"], detail, "{case}");
    }
    // What comes behind it is decided, and the queues are empty.
    assert!(sender.batch(0, &edge, 2));
    let last = sender.ledger.acked.last().unwrap().clone();
    wait_until("it is decided", || {
        let answer = processor.node().ask(&format!("/v1/signals/{}/{}", last.tenant, last.id));
        answer.status == 200 && answer.json()["status"] == "decided"
    });
    assert_eq!(processor.node().metric("gemba_broker_missing_signals"), 0.0);
    edge.terminate();
    processor.terminate();
    // Its last acknowledgements reach the queues after its end.
    wait_until("the queues are empty", || {
        ["tai2030.signals", "tai2030.signals.deadletter"].iter().all(|queue| broker.messages(queue) == 0)
    });
}

#[test]
fn one_id_with_two_bodies_from_two_edges_is_decided_once_and_the_other_is_a_dead_letter() {
    let Some(broker) = Broker::start() else { return };
    let rabbit = section(&broker, "");
    let mut edges = [Machine::start("edge", "edge-a", &rabbit), Machine::start("edge", "edge-b", &rabbit)];
    let mut processor = Machine::start("processor", "processor-1", &rabbit);
    let signal = |kind: &str, id: &str| {
        format!(r#"{{"id":"{id}","tenant":"acme","sku":"vm","type":"{kind}"}}"#).into_bytes()
    };
    // Both edges hold the same signal: it was sent again after an answer was lost.
    for edge in &edges {
        assert_eq!(edge.node().post("application/json", &signal("same.here", "twin")).status, 202);
    }
    for (edge, kind) in edges.iter().zip(["one.kind", "other.kind"]) {
        assert_eq!(edge.node().post("application/json", &signal(kind, "conflict")).status, 202);
    }
    wait_until("the conflict is seen", || cases(&processor).len() == 1);
    let case = cases(&processor).remove(0);
    assert_eq!((case["signal_id"].as_str(), case["cause"].as_str()), (Some("conflict"), Some("sender")));
    assert_eq!(processor.node().decided("acme", "twin")["receipts"].as_array().unwrap().len(), 1);
    wait_until("all is acknowledged", || {
        processor.node().metric("gemba_broker_unacknowledged_messages") == 0.0
    });
    for machine in edges.iter_mut().chain([&mut processor]) {
        machine.terminate();
    }
}

/// The key that edges and processors share here: the `dev` profile derives it from the broker's password.
fn shared() -> Keys {
    Keys::derived("tai2030.signals", PASSWORD.as_bytes()).unwrap()
}

fn origin_of(edge: &str, after: u64, through: u64) -> Origin {
    let span = Span { after: Seq(after), through: Seq(through) };
    Origin { edge: EdgeName::read(edge).unwrap(), partition: 0, span }
}

/// The body of a message as an edge would write it, of one signal of each number.
fn body_of(origin: &Origin, numbers: &[u64]) -> Vec<u8> {
    let mut draft = Draft::default();
    for number in numbers {
        let id = format!("x-{number}");
        let body = format!(r#"{{"id":"{id}","tenant":"acme","sku":"vm","type":"see.this"}}"#);
        let text = |text: &str| Text::Owned(text.into());
        let signal = Unchecked {
            id: text(&id),
            tenant: text("acme"),
            sku: text("vm"),
            kind: text("see.this"),
            severity: Severity::Info,
            provenance: Provenance::intern("signals", "default", Assurance::C).unwrap(),
            digest: *number,
            body: body.into(),
        };
        draft.push(Seq(*number), &signal.check().unwrap());
    }
    draft.seal(origin)
}

/// The headers that say where it comes from.
fn headers_of(origin: &Origin) -> FieldTable {
    let number = |seq: Seq| AMQPValue::LongLongInt(i64::try_from(seq.0).unwrap());
    let mut headers = FieldTable::default();
    headers.insert("gemba-edge".into(), AMQPValue::LongString((*origin.edge).into()));
    headers.insert("gemba-partition".into(), AMQPValue::LongInt(origin.partition.into()));
    headers.insert("gemba-after".into(), number(origin.span.after));
    headers.insert("gemba-through".into(), number(origin.span.through));
    headers
}

fn signed(origin: &Origin, body: &[u8], keys: &Keys) -> BasicProperties {
    let mut headers = headers_of(origin);
    vouch(&mut headers, keys, Statement::Signals(origin, body));
    BasicProperties::default().with_content_type(CONTENT_TYPE.into()).with_headers(headers)
}

fn unsigned(headers: FieldTable) -> BasicProperties {
    BasicProperties::default().with_content_type(CONTENT_TYPE.into()).with_headers(headers)
}

fn put(broker: &Broker, queue: &str, properties: BasicProperties, body: &[u8]) {
    broker.with(async |channel| {
        let options = BasicPublishOptions::default();
        channel
            .basic_publish("".into(), queue.into(), options, body, properties)
            .await
            .unwrap()
            .await
            .unwrap();
        channel.close(200, "done".into()).await.unwrap();
    });
}

#[test]
fn what_comes_too_early_waits_and_what_never_comes_is_told_and_left_behind() {
    let Some(broker) = Broker::start() else { return };
    let mut processor = Machine::start("processor", "processor-1", &section(&broker, ""));
    wait_until("it is connected", || processor.node().metric("gemba_broker_connected") == 1.0);
    let publish = |after, numbers: &[u64]| {
        let origin = origin_of("edge-x.0123456789abcdef", after, *numbers.last().unwrap());
        let body = body_of(&origin, numbers);
        put(&broker, "tai2030.signals", signed(&origin, &body, &shared()), &body);
    };
    // The first, the fourth, the third, the second: and all of it in order.
    publish(0, &[3, 4]);
    publish(9, &[10]);
    publish(6, &[9]);
    publish(4, &[5, 6]);
    let taken = || processor.taken().into_iter().map(|taken| taken.id).collect::<Vec<_>>();
    wait_until("all is taken", || taken().len() == 6);
    assert_eq!(taken(), ["x-3", "x-4", "x-5", "x-6", "x-9", "x-10"]);
    assert_eq!(processor.node().metric("gemba_broker_missing_signals"), 0.0);
    // Ten to nineteen never come.
    publish(19, &[20, 21]);
    wait_until("it is left behind", || taken().len() == 8);
    assert_eq!(taken()[6..], ["x-20", "x-21"]);
    assert_eq!(processor.node().metric("gemba_broker_missing_signals"), 9.0);
    // And what comes twice counts once.
    publish(6, &[9]);
    publish(21, &[22]);
    wait_until("it goes on", || taken().len() == 9);
    wait_until("all is acknowledged", || {
        processor.node().metric("gemba_broker_unacknowledged_messages") == 0.0
    });
    processor.terminate();
}

/// Somebody took a queue's messages and put them back in another order: none of them is lost, however far back it stands.
#[test]
fn what_stands_behind_more_messages_than_are_taken_in_is_reached() {
    let Some(broker) = Broker::start() else { return };
    let rabbit = section(&broker, "prefetch = 6\n");
    let mut processor = Machine::start("processor", "processor-1", &rabbit);
    wait_until("it is connected", || processor.node().metric("gemba_broker_connected") == 1.0);
    processor.terminate();
    for number in std::iter::once(1).chain((2..=12).rev()) {
        let origin = origin_of("edge-x.0123456789abcdef", number - 1, number);
        let body = body_of(&origin, &[number]);
        put(&broker, "tai2030.signals", signed(&origin, &body, &shared()), &body);
    }
    processor.up();
    let taken = || processor.taken().into_iter().map(|taken| taken.id).collect::<Vec<_>>();
    wait_until("all is taken", || taken().len() == 12);
    assert_eq!(taken(), (1..=12).map(|number| format!("x-{number}")).collect::<Vec<_>>());
    assert_eq!(processor.node().metric("gemba_broker_missing_signals"), 0.0);
    processor.terminate();
}

/// Dead letters, by what is said of them.
fn details(processor: &Machine) -> BTreeMap<String, usize> {
    let mut details = BTreeMap::new();
    for case in cases(processor) {
        *details.entry(case["detail"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    details
}

#[test]
fn the_right_to_publish_forges_nothing() {
    let Some(broker) = Broker::start() else { return };
    let rabbit = section(&broker, "");
    let mut edge = Machine::start("edge", "edge-1", &rabbit);
    let mut processor = Machine::start("processor", "processor-1", &rabbit);
    wait_until("it is connected", || processor.node().metric("gemba_broker_connected") == 1.0);
    let queue = "tai2030.signals";
    let origin = origin_of("edge-x.0123456789abcdef", 0, 2);
    let body = body_of(&origin, &[1, 2]);
    let secret = b"another key of 24 bytes.".as_slice();
    let name = |name: &str| gemba::signal::Name::read("key", name).unwrap();
    // What is not one of the line's is one dead letter, however often it is put there; so each has a body of its own.
    let own = |number| body_of(&origin, &[number]);
    // Without a MAC, under a key of one's own, and under one's own key with the right name.
    put(&broker, queue, unsigned(headers_of(&origin)), &own(11));
    let unknown = Keys::new(queue, (name("mine"), secret), []);
    put(&broker, queue, signed(&origin, &own(12), &unknown), &own(12));
    let wrong = Keys::new(queue, (name("dev"), secret), []);
    put(&broker, queue, signed(&origin, &own(13), &wrong), &own(13));
    // What an edge wrote, with somebody else's header or body, and what it wrote for another line.
    let mut headers = headers_of(&origin_of("edge-x.0123456789abcdef", 0, 9));
    vouch(&mut headers, &shared(), Statement::Signals(&origin, &own(14)));
    put(&broker, queue, unsigned(headers), &own(14));
    put(&broker, queue, signed(&origin, &body, &shared()), &own(15));
    let other_line = Keys::derived("another.queue", PASSWORD.as_bytes()).unwrap();
    put(&broker, queue, signed(&origin, &own(16), &other_line), &own(16));
    // A nudge that nobody vouches for.
    put(&broker, queue, BasicProperties::default().with_type(NUDGE.into()), b"");
    // What is longer than a frame of the journal, and an edge's name that would have to be cut inside a character.
    let long = vec![b'x'; 2_500_000];
    put(&broker, queue, signed(&origin, &long, &shared()), &long);
    let mut headers = headers_of(&origin);
    let name = format!("{}é", "e".repeat(254));
    headers.insert("gemba-edge".into(), AMQPValue::LongString(name.as_str().into()));
    put(&broker, queue, unsigned(headers), &own(17));
    // With the right key, but of another partition, and with a tenant of 100 bytes.
    let elsewhere = Origin { partition: 7, ..origin.clone() };
    let moved = body_of(&elsewhere, &[1, 2]);
    put(&broker, queue, signed(&elsewhere, &moved, &shared()), &moved);
    let other = origin_of("edge-y.0123456789abcdef", 0, 1);
    let mut illegal = body_of(&other, &[1]);
    let at = illegal.windows(5).position(|bytes| bytes == b"\x04acme").unwrap();
    illegal.splice(at..at + 5, [[100].as_slice(), &[b'a'; 100]].concat());
    let crc = checksum(&other, &illegal);
    illegal[4..8].copy_from_slice(&crc.to_le_bytes());
    put(&broker, queue, signed(&other, &illegal, &shared()), &illegal);
    // It stands for what it held: what the edge wrote behind it has its turn at once.
    let next = origin_of("edge-y.0123456789abcdef", 1, 2);
    let behind = body_of(&next, &[2]);
    put(&broker, queue, signed(&next, &behind, &shared()), &behind);
    wait_until("what stands behind it is decided", || {
        processor.node().ask("/v1/signals/acme/x-2").json()["status"] == "decided"
    });

    wait_until("all of it is there", || cases(&processor).len() >= 11);
    let count = |cause: &str| {
        processor.node().metric(&format!("gemba_broker_rejected_messages_total{{cause=\"{cause}\"}}"))
    };
    let expected = [
        ("unsigned", 2.0),
        ("unknown_key", 1.0),
        ("wrong_mac", 4.0),
        ("too_long", 1.0),
        ("foreign", 1.0),
        ("misrouted", 1.0),
        ("unreadable", 1.0),
        ("poison", 0.0),
    ];
    for (cause, messages) in expected {
        assert_eq!(count(cause), messages, "{cause}: {:?}", details(&processor));
    }
    assert!(cases(&processor).iter().all(|case| case["tenant"] == "unknown"), "{:?}", cases(&processor));
    // What is long is known by its digest, and what an edge sends is decided beside all of it, by the next process, too.
    for restarts in [false, true] {
        if restarts {
            processor.kill();
            processor.up();
        }
        let mut sender = Sender::new(1);
        sender.skip(if restarts { 3 } else { 0 });
        assert!(sender.batch(0, &edge, 3));
        sender.wait_until_taken(&[&processor]);
    }
    wait_until("all is acknowledged", || {
        processor.node().metric("gemba_broker_unacknowledged_messages") == 0.0
    });
    // And what an edge really wrote is taken once, however often it is put there again.
    for _ in 0..3 {
        put(&broker, queue, signed(&origin, &body, &shared()), &body);
    }
    wait_until("it is decided", || {
        processor.node().ask("/v1/signals/acme/x-1").json()["status"] == "decided"
    });
    assert_eq!(processor.node().decided("acme", "x-1")["receipts"].as_array().unwrap().len(), 1);
    assert_eq!(cases(&processor).len(), 11);
    edge.terminate();
    processor.terminate();
    // Its last acknowledgements reach the queue after its end.
    wait_until("the queue is empty", || broker.messages(queue) == 0);
}

#[test]
fn a_key_of_messages_is_replaced_while_signals_flow() {
    let Some(broker) = Broker::start() else { return };
    let dir = tempfile::tempdir().unwrap();
    let key = |name: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, format!("{name:-<40}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        format!("[[rabbitmq.key]]\nname = \"{name}\"\nsecret_file = \"{}\"\n", path.display())
    };
    let [old, new, none] = ["old", "new", "none"].map(key);
    let with = |keys: &[&String]| section(&broker, &keys.iter().map(|key| key.as_str()).collect::<String>());
    let mut edges = [
        Machine::start("edge", "edge-a", &with(&[&old])),
        Machine::start("edge", "edge-b", &with(&[&new, &old])),
    ];
    let mut processor = Machine::start("processor", "processor-1", &with(&[&old, &new]));
    let mut sender = Sender::new(4);
    for round in 0..6 {
        assert!(sender.batch(round % 2, &edges[round % 2], 20));
    }
    // Where the old one goes, while both run.
    edges[0].reload("edge", "edge-a", &with(&[&new, &old]));
    for round in 0..6 {
        assert!(sender.batch(round % 2, &edges[round % 2], 20));
    }
    sender.wait_until_taken(&[&processor]);
    processor.reload("processor", "processor-1", &with(&[&new]));
    edges[1].reload("edge", "edge-b", &with(&[&new]));
    for round in 0..6 {
        assert!(sender.batch(round % 2, &edges[round % 2], 20));
    }
    sender.wait_until_taken(&[&processor]);
    assert_eq!(cases(&processor).len(), 0);
    edges[0].reload("edge", "edge-a", &with(&[&old]));
    assert!(Sender::new(4).batch(3, &edges[0], 1));
    wait_until("the old key is none any more", || cases(&processor).len() == 1);
    let mut stranger = Machine::start("edge", "edge-c", &with(&[&none]));
    assert!(Sender::new(4).batch(2, &stranger, 1));
    wait_until("it is seen", || cases(&processor).len() == 2);
    assert!(cases(&processor)[0]["detail"].as_str().unwrap().contains("`rabbitmq.key` differs"));
    assert_eq!(processor.node().metric("gemba_broker_rejected_messages_total{cause=\"unknown_key\"}"), 2.0);
    for machine in edges.iter_mut().chain([&mut stranger, &mut processor]) {
        machine.terminate();
    }
}
