//! What a service manager is told, and the files that deploy the node.

use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::node::{Node, PATIENCE, signal};
use crate::program::PROGRAM;
use crate::tools::missing;

const JSON: &str = "application/json";

/// A service manager that listens.
struct Manager {
    socket: UnixDatagram,
    heard: Vec<String>,
}

impl Manager {
    fn listening(socket: UnixDatagram) -> Self {
        socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        Self { socket, heard: Vec::new() }
    }

    /// The next state; false where none comes for a moment.
    fn hear(&mut self) -> bool {
        let mut bytes = [0; 4096];
        let heard = self.socket.recv(&mut bytes);
        if let Ok(length) = heard {
            self.heard.push(String::from_utf8(bytes[..length].to_vec()).unwrap());
        }
        heard.is_ok()
    }

    /// Waits for a state that begins so; which of those that were heard it is.
    fn wait_for(&mut self, state: &str, after: usize) -> usize {
        let until = Instant::now() + PATIENCE;
        loop {
            let found = self.heard[after..].iter().position(|heard| heard.starts_with(state));
            if let Some(at) = found {
                return after + at;
            }
            assert!(Instant::now() < until, "{state} was never told, but {:?}", self.heard);
            self.hear();
        }
    }

    /// States of this kind that come meanwhile, beside those that wait to be heard.
    fn count(&mut self, state: &str, meanwhile: Duration) -> usize {
        while self.hear() {}
        let (from, until) = (self.heard.len(), Instant::now() + meanwhile);
        while Instant::now() < until {
            self.hear();
        }
        self.heard[from..].iter().filter(|heard| heard.starts_with(state)).count()
    }
}

#[test]
fn a_service_manager_is_told_of_start_reload_life_and_end() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("notify");
    let mut manager = Manager::listening(UnixDatagram::bind(&path).unwrap());
    let variables = [("NOTIFY_SOCKET", path.to_str().unwrap()), ("WATCHDOG_USEC", "1000000")];
    let mut node = Node::start_in(dir.path(), &variables);
    let ready = manager.wait_for("READY=1\nSTATUS=", 0);
    assert!(!manager.heard[..ready].iter().any(|heard| heard.contains("READY=1")));
    // It lives: twice in a watchdog's time.
    let lives = manager.wait_for("WATCHDOG=1", ready);
    manager.wait_for("WATCHDOG=1", lives + 1);
    node.signal("HUP");
    let reloading = manager.wait_for("RELOADING=1\nMONOTONIC_USEC=", ready);
    manager.wait_for("READY=1", reloading);
    let before = manager.heard.len();
    assert!(node.terminate().success());
    manager.wait_for("STOPPING=1", before);
}

#[test]
fn an_abstract_name_is_one_and_a_manager_that_is_gone_costs_nothing() {
    let name = format!("gemba-test-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let mut manager = Manager::listening(UnixDatagram::bind_addr(&address).unwrap());
    let node = Node::start_with(&[("NOTIFY_SOCKET", &format!("@{name}")), ("WATCHDOG_USEC", "200000")]);
    let ready = manager.wait_for("READY=1", 0);
    manager.wait_for("WATCHDOG=1", ready);
    drop(manager);
    assert_eq!(node.post(JSON, signal("acme", "vm", "s-1").as_bytes()).status, 202);
    node.decided("acme", "s-1");
    // Nor does one that was never there.
    let node = Node::start_with(&[("NOTIFY_SOCKET", "/nowhere/at/all"), ("WATCHDOG_USEC", "200000")]);
    assert_eq!(node.post(JSON, signal("acme", "vm", "s-1").as_bytes()).status, 202);
}

/// A thread that hangs keeps the whole node from being taken for alive.
#[cfg(feature = "faults")]
#[test]
fn a_node_of_which_a_thread_hangs_gives_no_sign_of_life() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("notify");
    let mut manager = Manager::listening(UnixDatagram::bind(&path).unwrap());
    let variables = [
        ("NOTIFY_SOCKET", path.to_str().unwrap()),
        ("WATCHDOG_USEC", "1000000"),
        ("GEMBA_PLANT", "shard-hangs"),
    ];
    let mut node = Node::start_in(dir.path(), &variables);
    let ready = manager.wait_for("READY=1", 0);
    manager.wait_for("WATCHDOG=1", ready);
    assert_eq!(node.post(JSON, signal("acme", "vm", "s-1").as_bytes()).status, 202);
    let told = node.wait_for("a thread does not turn");
    assert!(told.contains("shard-"), "{told}");
    assert_eq!(manager.count("WATCHDOG=1", Duration::from_secs(3)), 0);
    node.kill();
}

#[cfg(not(feature = "faults"))]
#[test]
fn signs_of_life_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("notify");
    let mut manager = Manager::listening(UnixDatagram::bind(&path).unwrap());
    let variables = [("NOTIFY_SOCKET", path.to_str().unwrap()), ("WATCHDOG_USEC", "400000")];
    let _node = Node::start_in(dir.path(), &variables);
    manager.wait_for("READY=1", 0);
    let until = Instant::now() + PATIENCE;
    let mut lived = 0;
    while lived < 20 {
        assert!(Instant::now() < until, "{lived} signs of life");
        lived += manager.count("WATCHDOG=1", Duration::from_secs(1));
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn systemd_finds_no_fault_with_the_unit() {
    let dir: PathBuf = Path::new(PROGRAM).ancestors().nth(2).unwrap().join("systemd");
    let analyze = dir.join("usr/bin/systemd-analyze");
    if !analyze.exists() {
        return missing("systemd-analyze", "tests/systemd/install").unwrap_or_default();
    }
    let unit = std::fs::read_to_string(root().join("config/deploy/gemba.service")).unwrap();
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("gemba.service");
    assert!(unit.contains("ExecStart=/usr/bin/gemba "));
    std::fs::write(&path, unit.replace("/usr/bin/gemba ", &format!("{PROGRAM} "))).unwrap();
    let libraries = [
        "usr/lib/x86_64-linux-gnu/systemd",
        "lib/x86_64-linux-gnu/systemd",
        "usr/lib/x86_64-linux-gnu",
        "lib/x86_64-linux-gnu",
    ];
    let libraries: Vec<String> = libraries.iter().map(|path| dir.join(path).display().to_string()).collect();
    let mut command = Command::new(analyze);
    command.env("LD_LIBRARY_PATH", libraries.join(":")).arg("verify").arg(&path);
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{said}");
}

#[test]
fn what_the_container_is_built_of_is_there() {
    let text = std::fs::read_to_string(root().join("config/deploy/Containerfile")).unwrap();
    let copied =
        text.lines().filter_map(|line| line.strip_prefix("COPY ")).filter(|line| !line.starts_with("--from"));
    let mut count = 0;
    for line in copied {
        let (sources, _) = line.rsplit_once(' ').unwrap();
        for source in sources.split(' ') {
            assert!(root().join(source).exists(), "{source}");
            count += 1;
        }
    }
    assert!(count >= 5);
    let version = text.lines().find_map(|line| line.strip_prefix("FROM docker.io/library/rust:")).unwrap();
    let manifest = std::fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let needed =
        manifest.lines().find_map(|line| line.strip_prefix("rust-version = \"")?.strip_suffix('"')).unwrap();
    assert!(version.starts_with(needed), "{version} and {needed}");
}
