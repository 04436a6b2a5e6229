//! A real RabbitMQ for tests, with a directory, a node name and ports of its own.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use lapin::options::{BasicGetOptions, QueueDeclareOptions};
use lapin::types::FieldTable;

use super::node::free_ports;
use super::tools::missing;

pub const PASSWORD: &str = "a password of 24 bytes or more";

/// A broker of its own; gone with the test.
pub struct Broker {
    pub dir: tempfile::TempDir,
    pub port: u16,
}

impl Broker {
    /// `None` where RabbitMQ is not installed.
    pub fn start() -> Option<Self> {
        Self::start_with(|_| String::new())
    }

    /// The same, with more configuration, which is told the directory.
    pub fn start_with(more: impl FnOnce(&Path) -> String) -> Option<Self> {
        if !Path::new("/usr/lib/rabbitmq/bin/rabbitmq-server").exists() {
            return missing("RabbitMQ", "tests/broker/install");
        }
        let broker = Self { dir: tempfile::tempdir().unwrap(), port: free_ports(3) };
        std::fs::write(broker.password(), PASSWORD).unwrap();
        std::fs::set_permissions(broker.password(), std::fs::Permissions::from_mode(0o600)).unwrap();
        let more = more(broker.dir.path());
        if !more.is_empty() {
            std::fs::write(broker.dir.path().join("more.conf"), more).unwrap();
        }
        broker.run("start");
        Some(broker)
    }

    /// One more node of the cluster that begins with this one.
    pub fn joined(&self) -> Self {
        self.joined_with(|_| String::new())
    }

    /// The same, with more configuration, which is told the directory.
    pub fn joined_with(&self, more: impl FnOnce(&Path) -> String) -> Self {
        let broker = Self { dir: tempfile::tempdir().unwrap(), port: free_ports(3) };
        std::fs::write(broker.password(), PASSWORD).unwrap();
        std::fs::set_permissions(broker.password(), std::fs::Permissions::from_mode(0o600)).unwrap();
        let seed = format!("{} {}\n", self.dir.path().display(), self.port);
        std::fs::write(broker.dir.path().join("cluster"), seed).unwrap();
        std::fs::write(broker.dir.path().join("more.conf"), more(broker.dir.path())).unwrap();
        broker.run("start");
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/broker/join");
        let ports = [broker.port, self.port].map(|port| port.to_string());
        assert!(
            Command::new(path).arg(broker.dir.path()).args(ports).status().unwrap().success(),
            "tests/broker/join"
        );
        broker
    }

    pub fn run(&self, script: &str) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/broker").join(script);
        let ran = Command::new(path).arg(self.dir.path()).arg(self.port.to_string()).status();
        assert!(ran.unwrap().success(), "tests/broker/{script}");
    }

    pub fn password(&self) -> PathBuf {
        self.dir.path().join("password")
    }

    /// What the broker's process is told.
    pub fn signal(&self, name: &str) {
        let pid = std::fs::read_to_string(self.dir.path().join("pid")).unwrap();
        assert!(Command::new("kill").args(["-s", name, pid.trim()]).status().unwrap().success());
    }

    pub fn section(&self) -> String {
        format!(
            "[rabbitmq]\nhosts = [\"127.0.0.1:{}\"]\nusername = \"gemba\"\npassword_file = \"{}\"\n",
            self.port,
            self.password().display()
        )
    }

    /// Does something on a channel of its own.
    pub fn with<T>(&self, act: impl AsyncFnOnce(lapin::Channel) -> T) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let password = PASSWORD.replace(' ', "%20");
            let uri = format!("amqp://gemba:{password}@127.0.0.1:{}/%2f", self.port);
            let connection = lapin::Connection::connect(&uri, lapin::ConnectionProperties::default()).await;
            let connection = connection.unwrap();
            act(connection.create_channel().await.unwrap()).await
        })
    }

    pub fn declare(&self, queue: &str) {
        self.with(async |channel| {
            let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
            channel.queue_declare(queue.into(), options, FieldTable::default()).await.unwrap();
        });
    }

    /// Tells the broker something by its own command.
    pub fn ctl(&self, arguments: &[&str]) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/broker/ctl");
        let ran = Command::new(path).arg(self.dir.path()).arg(self.port.to_string()).args(arguments).status();
        assert!(ran.unwrap().success(), "rabbitmqctl {arguments:?}");
    }

    /// What the broker tells of itself by its own command.
    pub fn listed(&self, arguments: &[&str]) -> Vec<serde_json::Value> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/broker/ctl");
        let mut command = Command::new(path);
        command.arg(self.dir.path()).arg(self.port.to_string()).args(arguments).args(["--formatter", "json"]);
        let output = command.output().unwrap();
        assert!(output.status.success(), "rabbitmqctl {arguments:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Messages that wait in a queue.
    pub fn messages(&self, queue: &str) -> u32 {
        self.with(async |channel| {
            let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
            channel.queue_declare(queue.into(), options, FieldTable::default()).await.unwrap().message_count()
        })
    }

    /// Takes everything out of a queue: ids, delivery modes, bodies.
    pub fn take(&self, queue: &str) -> Vec<(String, u8, serde_json::Value)> {
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
