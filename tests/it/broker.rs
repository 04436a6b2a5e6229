//! `amqp` actions against a real RabbitMQ: what is confirmed is in the queue, what the broker cannot place has failed,
//! and a broker that is gone or silent costs deadlines, not the node.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use lapin::options::{BasicGetOptions, QueueDeclareOptions};
use lapin::types::FieldTable;

use crate::actions::{ask_for, ended, node, reason};

const PASSWORD: &str = "a password of 24 bytes or more";

/// A broker of its own; gone with the test.
struct Broker {
    dir: tempfile::TempDir,
    port: u16,
}

impl Broker {
    /// `None` where RabbitMQ is not installed.
    fn start() -> Option<Self> {
        if !Path::new("/usr/lib/rabbitmq/bin/rabbitmq-server").exists() {
            eprintln!("skipped: RabbitMQ is not there; tests/broker/install installs it");
            return None;
        }
        let broker = Self { dir: tempfile::tempdir().unwrap(), port: three_free_ports() };
        std::fs::write(broker.password(), PASSWORD).unwrap();
        std::fs::set_permissions(broker.password(), std::fs::Permissions::from_mode(0o600)).unwrap();
        broker.run("start");
        Some(broker)
    }

    fn run(&self, script: &str) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/broker").join(script);
        let ran = Command::new(path).arg(self.dir.path()).arg(self.port.to_string()).status();
        assert!(ran.unwrap().success(), "tests/broker/{script}");
    }

    fn password(&self) -> PathBuf {
        self.dir.path().join("password")
    }

    /// What the broker's process is told.
    fn signal(&self, name: &str) {
        let pid = std::fs::read_to_string(self.dir.path().join("pid")).unwrap();
        assert!(Command::new("kill").args(["-s", name, pid.trim()]).status().unwrap().success());
    }

    fn section(&self) -> String {
        format!(
            "[rabbitmq]\nhosts = [\"127.0.0.1:{}\"]\nusername = \"gemba\"\npassword_file = \"{}\"\n",
            self.port,
            self.password().display()
        )
    }

    /// Does something on a channel of its own.
    fn with<T>(&self, act: impl AsyncFnOnce(lapin::Channel) -> T) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let password = PASSWORD.replace(' ', "%20");
            let uri = format!("amqp://gemba:{password}@127.0.0.1:{}/%2f", self.port);
            let connection = lapin::Connection::connect(&uri, lapin::ConnectionProperties::default()).await;
            let connection = connection.unwrap();
            act(connection.create_channel().await.unwrap()).await
        })
    }

    fn declare(&self, queue: &str) {
        self.with(async |channel| {
            let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
            channel.queue_declare(queue.into(), options, FieldTable::default()).await.unwrap();
        });
    }

    /// Takes everything out of a queue: ids, delivery modes, bodies.
    fn take(&self, queue: &str) -> Vec<(String, u8, serde_json::Value)> {
        self.with(async |channel| {
            let mut taken = Vec::new();
            let options = BasicGetOptions { no_ack: true };
            while let Some(message) = channel.basic_get(queue.into(), options).await.unwrap() {
                let properties = &message.delivery.properties;
                taken.push((
                    properties.message_id().as_ref().unwrap().to_string(),
                    properties.delivery_mode().unwrap(),
                    serde_json::from_slice(&message.delivery.data).unwrap(),
                ));
            }
            taken
        })
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.run("stop");
    }
}

/// The first of three ports in a row that nobody has.
fn three_free_ports() -> u16 {
    loop {
        let first = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = first.local_addr().unwrap().port();
        let free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
        if port < u16::MAX - 2 && free(port + 1) && free(port + 2) {
            return port;
        }
    }
}

fn action(name: &str, exchange: &str, routing_key: &str) -> String {
    format!(
        "[[action]]\nname = \"{name}\"\nkind = \"amqp\"\nexchange = \"{exchange}\"\n\
         routing_key = \"{routing_key}\"\ntimeout_seconds = 2\n"
    )
}

#[test]
fn a_broker_confirms_returns_stops_and_comes_back() {
    let Some(broker) = Broker::start() else { return };
    broker.declare("actions");
    let actions = [
        action("publish", "", "actions"),
        action("unroutable", "", "no-such-queue"),
        action("astray", "no-such-exchange", "actions"),
        broker.section(),
    ];
    let dir = tempfile::tempdir().unwrap();
    let mut node = node(dir.path(), &actions.concat());

    ask_for(&node, "publish", "s-1");
    let receipt = ended(&node, "s-1");
    assert_eq!(receipt["receipt_type"], "action_successful", "{receipt}");
    let taken = broker.take("actions");
    let (id, mode, body) = &taken[0];
    assert_eq!((taken.len(), id.as_str(), *mode), (1, receipt["action_id"].as_str().unwrap(), 2));
    assert_eq!((&body["type"], &body["data"]["signal"]["id"]), (&"gemba.action".into(), &"s-1".into()));

    // What cannot be placed fails alone, beside others that can.
    for number in 0..20 {
        ask_for(&node, "publish", &format!("p-{number}"));
        if number < 3 {
            ask_for(&node, "unroutable", &format!("u-{number}"));
            ask_for(&node, "astray", &format!("a-{number}"));
        }
    }
    for number in 0..20 {
        assert_eq!(ended(&node, &format!("p-{number}"))["receipt_type"], "action_successful");
    }
    for number in 0..3 {
        let why = "target `unroutable`: the broker knows no queue for it: the message was returned";
        assert_eq!(reason(&ended(&node, &format!("u-{number}"))), why);
        let why = "target `astray`: the broker answered 404";
        assert_eq!(reason(&ended(&node, &format!("a-{number}"))), why);
    }
    assert_eq!(broker.take("actions").len(), 20);

    // A broker that says nothing: the try ends, and a later one finds it awake.
    broker.signal("STOP");
    ask_for(&node, "publish", "s-2");
    std::thread::sleep(Duration::from_secs(5));
    broker.signal("CONT");
    let receipt = ended(&node, "s-2");
    assert_eq!(receipt["receipt_type"], "action_successful", "{receipt}");
    let again = broker.take("actions");
    let key = receipt["action_id"].as_str().unwrap();
    assert!(!again.is_empty() && again.iter().all(|(id, _, _)| id == key), "{again:?}");

    // A broker that is gone: the action ends with its deadline.
    broker.run("stop");
    let begun = Instant::now();
    ask_for(&node, "publish", "s-3");
    std::thread::sleep(Duration::from_secs(45));
    let receipt = ended(&node, "s-3");
    let why = reason(&receipt);
    assert!(why.starts_with("target `publish`: the broker cannot be reached"), "{why}");
    assert!((40..63).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());

    // And when it is back, publishing goes on by itself.
    broker.run("start");
    ask_for(&node, "publish", "s-4");
    let receipt = ended(&node, "s-4");
    assert_eq!(receipt["receipt_type"], "action_successful", "{receipt}");
    let told = broker.take("actions");
    assert!(told.iter().any(|(id, _, _)| id == receipt["action_id"].as_str().unwrap()), "{told:?}");
    assert!(node.terminate().success());
    assert!(!node.everything_said().contains(PASSWORD));
}

#[test]
fn a_broker_short_of_memory_is_not_published_to() {
    let Some(broker) = Broker::start() else { return };
    broker.declare("actions");
    let dir = tempfile::tempdir().unwrap();
    let node = node(dir.path(), &[action("publish", "", "actions"), broker.section()].concat());
    ask_for(&node, "publish", "s-1");
    assert_eq!(ended(&node, "s-1")["receipt_type"], "action_successful");
    let before = node.rss_bytes();
    broker.run("block");
    // The broker blocks a connection that publishes: the first try finds out.
    for number in 0..200 {
        ask_for(&node, "publish", &format!("b-{number}"));
    }
    std::thread::sleep(Duration::from_secs(6));
    let grown = node.rss_bytes().saturating_sub(before);
    assert!(grown < 64 * 1024 * 1024, "{grown} bytes more");
    broker.run("unblock");
    for number in 0..200 {
        let receipt = ended(&node, &format!("b-{number}"));
        assert_eq!(receipt["receipt_type"], "action_successful", "{receipt}");
    }
    let ids = broker.take("actions").into_iter().map(|(id, _, _)| id);
    assert_eq!(ids.collect::<std::collections::HashSet<String>>().len(), 201);
}
