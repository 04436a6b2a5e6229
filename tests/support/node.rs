//! A running node in a directory of its own, on ports of its own.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::http::{Answer, exchange, try_exchange};
use super::program::{Dead, Process, command};

pub struct Node {
    pub dir: PathBuf,
    pub ingress: SocketAddr,
    pub admin: SocketAddr,
    /// From the start of the process until it took signals.
    pub recovery: Duration,
    data: PathBuf,
    process: Process,
    /// Keeps the directory until the node is gone.
    owned: Option<tempfile::TempDir>,
}

/// What should happen has not happened by then, and never will: a start, an end, a decision, a counter. Far longer than any of it
/// takes on a machine that other tests keep busy.
pub const PATIENCE: Duration = Duration::from_mins(2);

impl Node {
    /// Starts a node in a new directory, with the built-in configuration.
    pub fn start() -> Self {
        let owned = tempfile::tempdir().unwrap();
        let mut node = Self::start_in(owned.path(), &[]);
        node.owned = Some(owned);
        node
    }

    /// Starts a node in a new directory, with `variables` over the built-in configuration.
    pub fn start_with(variables: &[(&str, &str)]) -> Self {
        let owned = tempfile::tempdir().unwrap();
        let mut node = Self::start_in(owned.path(), variables);
        node.owned = Some(owned);
        node
    }

    /// Starts a node on what `dir` holds.
    pub fn start_in(dir: &Path, variables: &[(&str, &str)]) -> Self {
        Self::start_with_stdout(dir, variables, Stdio::null())
    }

    /// The same; its standard output goes elsewhere.
    pub fn start_with_stdout(dir: &Path, variables: &[(&str, &str)], stdout: impl Into<Stdio>) -> Self {
        let mut command = command(dir);
        command.arg("serve").envs(variables.iter().copied()).stdout(stdout);
        Self::start_command(dir, command)
    }

    /// Starts a node with a command that runs `gemba serve`, and whose standard error is a pipe.
    pub fn start_command(dir: &Path, command: Command) -> Self {
        let mut process = Process::spawn(command, PATIENCE);
        let Some(line) = process.wait_for(READY) else { never_said(READY, &process) };
        Self::of(process, &line, dir, &dir.join("data"))
    }

    /// The node that a process has become, by the `line` that has [`READY`].
    pub fn of(process: Process, line: &str, dir: &Path, data: &Path) -> Self {
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        Self {
            dir: dir.to_owned(),
            // A processor's signals come from the broker.
            ingress: address(line, "signals").unwrap_or(nowhere),
            admin: address(line, "operators").unwrap(),
            recovery: process.age(),
            data: data.to_owned(),
            process,
            owned: None,
        }
    }

    /// Starts a node whose standard error goes elsewhere, on ports that were free a moment ago.
    pub fn start_unheard(dir: &Path, variables: &[(&str, &str)], stderr: impl Into<Stdio>) -> Self {
        let [ingress, admin] = [free_address(), free_address()];
        let mut command = command(dir);
        command
            .arg("serve")
            .envs(variables.iter().copied())
            .env("GEMBA_INGRESS__LISTEN", ingress.to_string())
            .env("GEMBA_ADMIN__LISTEN", admin.to_string())
            .stderr(stderr);
        Self::quiet(Process::spawn(command, PATIENCE), [ingress, admin], dir, &dir.join("data"))
    }

    /// The node that a process becomes, which may say nothing of it.
    pub fn quiet(
        mut process: Process,
        [ingress, admin]: [SocketAddr; 2],
        dir: &Path,
        secrets: &Path,
    ) -> Self {
        let until = Instant::now() + PATIENCE;
        while !is_ready(admin) {
            assert!(!process.has_ended(), "the node has ended: {:#?}", process.everything_said());
            assert!(Instant::now() < until, "the node is not ready");
            std::thread::sleep(Duration::from_millis(5));
        }
        let (recovery, dir, data) = (process.age(), dir.to_owned(), secrets.to_owned());
        Self { data, dir, ingress, admin, recovery, process, owned: None }
    }

    /// Waits for a line on standard error that has `words` in it.
    pub fn wait_for(&mut self, words: &str) -> String {
        self.process.wait_for(words).unwrap_or_else(|| never_said(words, &self.process))
    }

    /// All of standard error, once the process has ended.
    pub fn everything_said(&mut self) -> String {
        self.process.everything_said().join("\n")
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.data.join(name)
    }

    pub fn secret(&self, name: &str) -> String {
        std::fs::read_to_string(self.file(name)).unwrap().trim_end().to_owned()
    }

    /// Posts `body`, signed, to the default source.
    pub fn post(&self, content_type: &str, body: &[u8]) -> Answer {
        let signature = self.sign(body);
        self.request(
            "POST",
            "/v1/signals",
            &[("content-type", content_type), ("x-signature", &signature)],
            body,
        )
    }

    /// Hex HMAC-SHA256 under the default source's secret.
    pub fn sign(&self, body: &[u8]) -> String {
        let key =
            aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, self.secret("signals.secret").as_bytes());
        faster_hex::hex_string(aws_lc_rs::hmac::sign(&key, body).as_ref())
    }

    pub fn request(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        exchange(self.ingress, &request(method, path, headers, body))
    }

    /// A request to a node that may be starting again.
    pub fn try_request(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Option<Answer> {
        try_exchange(self.ingress, &request(method, path, headers, body))
    }

    /// Waits until the node says that it is ready.
    pub fn wait_until_ready(&self) {
        let until = Instant::now() + PATIENCE;
        while !is_ready(self.admin) {
            assert!(Instant::now() < until, "the node is not ready");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Asks the operator plane with the first token.
    pub fn ask(&self, path: &str) -> Answer {
        self.try_ask(path).expect("an answer")
    }

    /// The same of a node that may have ended.
    pub fn try_ask(&self, path: &str) -> Option<Answer> {
        let token = self.secret("admin.token");
        let request = format!(
            "GET {path} HTTP/1.1\r\nhost: gemba\r\nauthorization: Bearer {token}\r\nconnection: close\r\n\r\n"
        );
        try_exchange(self.admin, request.as_bytes())
    }

    /// Waits until a signal has been decided; its status.
    pub fn decided(&self, tenant: &str, id: &str) -> serde_json::Value {
        let until = Instant::now() + PATIENCE;
        loop {
            let answer = self.ask(&format!("/v1/signals/{tenant}/{id}"));
            assert_eq!(answer.status, 200, "{answer:?}");
            let status = answer.json();
            if status["status"] != "accepted" {
                return status;
            }
            assert!(Instant::now() < until, "not decided: {status}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// What `/metrics` says of one series.
    pub fn metric(&self, series: &str) -> f64 {
        let text = self.ask("/metrics").text();
        let line = text.lines().find(|line| line.split(' ').next() == Some(series));
        line.unwrap_or_else(|| panic!("no series {series} in\n{text}"))
            .split(' ')
            .nth(1)
            .unwrap()
            .parse()
            .unwrap()
    }

    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Resident memory of the process.
    pub fn rss_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    }

    /// SIGTERM, and how the process ended.
    pub fn terminate(&mut self) -> ExitStatus {
        self.signal("TERM");
        self.ended()
    }

    /// The same of a node that may end otherwise, or not at all.
    pub fn terminated(mut self) -> Dead {
        self.signal("TERM");
        self.process.dead()
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.process.kill();
        self.ended();
    }

    /// The same, and what it said.
    pub fn killed(self) -> Dead {
        self.process.killed(Duration::ZERO)
    }

    pub fn signal(&self, name: &str) {
        self.process.signal(name);
    }

    /// Whether the process has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        self.process.has_ended()
    }

    pub fn ended(&mut self) -> ExitStatus {
        self.process.ended().expect("the node did not end")
    }

    /// Waits for its end, if it ends.
    pub fn dead(mut self) -> Dead {
        self.process.dead()
    }
}

fn never_said(words: &str, process: &Process) -> ! {
    panic!("the node never said {words:?}, but: {:#?}", process.said())
}

fn is_ready(admin: SocketAddr) -> bool {
    let request = b"GET /readyz HTTP/1.1\r\nhost: gemba\r\nconnection: close\r\n\r\n";
    try_exchange(admin, request).is_some_and(|answer| answer.status == 200)
}

fn request(method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut request =
        format!("{method} {path} HTTP/1.1\r\nhost: gemba\r\ncontent-length: {}\r\n", body.len());
    for (name, value) in headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    request.push_str("\r\n");
    [request.as_bytes(), body].concat()
}

/// An address of this machine on which nobody listens.
pub fn free_address() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], free_ports(1)))
}

/// The first of so many ports in a row on which nobody listens. They are below those that the system gives to connections,
/// and each is given once: between this and the listener nobody else takes it.
pub fn free_ports(count: u16) -> u16 {
    const FIRST: u32 = 10_000;
    const ROOM: u32 = 20_000;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    // Other tests of this machine begin elsewhere.
    let begin = std::process::id().wrapping_mul(331) % ROOM;
    loop {
        let at = NEXT.fetch_add(u32::from(count), Ordering::Relaxed);
        let port = u16::try_from(FIRST + (begin + at) % ROOM).unwrap();
        if (port..port + count).all(|port| TcpListener::bind(("127.0.0.1", port)).is_ok()) {
            return port;
        }
    }
}

/// What a node logs when it takes signals.
pub const READY: &str = "the node takes signals";

/// An address in the line that has [`READY`], in either format.
fn address(line: &str, plane: &str) -> Option<SocketAddr> {
    let (json, text) = (format!("\"{plane}\":\"http://"), format!(" {plane}=http://"));
    let rest = line.split(&json).nth(1).or_else(|| line.split(&text).nth(1))?;
    Some(rest.split(['"', ' ']).next().unwrap().parse().unwrap())
}

/// A signal as a sender would write it.
pub fn signal(tenant: &str, sku: &str, id: &str) -> String {
    format!(
        r#"{{"id":"{id}","tenant":"{tenant}","sku":"{sku}","type":"cost.usage","data":{{"spend":81.25}}}}"#
    )
}
