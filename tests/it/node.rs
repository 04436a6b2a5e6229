//! A running node in a directory of its own, on ports of its own.

use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, mpsc};
use std::time::{Duration, Instant};

use crate::http::{Answer, exchange, try_exchange};

pub struct Node {
    pub dir: PathBuf,
    pub ingress: SocketAddr,
    pub admin: SocketAddr,
    child: Child,
    lines: Mutex<mpsc::Receiver<String>>,
    said: Vec<String>,
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
    pub fn start_command(dir: &Path, mut command: Command) -> Self {
        let mut child = command.spawn().unwrap();
        // The command holds its end of a pipe.
        drop(command);
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                // Nobody listens any more only when the test is over.
                let _over = sender.send(line);
            }
        });
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut node = Self {
            dir: dir.to_owned(),
            ingress: nowhere,
            admin: nowhere,
            child,
            lines: Mutex::new(lines),
            said: Vec::new(),
            owned: None,
        };
        let line = node.wait_for(READY);
        // A processor's signals come from the broker.
        node.ingress = address(&line, "signals").unwrap_or(nowhere);
        node.admin = address(&line, "operators").unwrap();
        node
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
        let child = command.spawn().unwrap();
        drop(command);
        let (_, lines) = mpsc::channel();
        let (dir, lines) = (dir.to_owned(), Mutex::new(lines));
        let mut node = Self { dir, ingress, admin, child, lines, said: Vec::new(), owned: None };
        let until = Instant::now() + PATIENCE;
        let request = b"GET /readyz HTTP/1.1\r\nhost: gemba\r\nconnection: close\r\n\r\n";
        while try_exchange(admin, request).is_none_or(|answer| answer.status != 200) {
            assert!(Instant::now() < until, "the node is not ready");
            assert!(node.child.try_wait().unwrap().is_none(), "the node has ended");
            std::thread::sleep(Duration::from_millis(5));
        }
        node
    }

    /// Waits for a line on standard error that has `words` in it.
    pub fn wait_for(&mut self, words: &str) -> String {
        let until = Instant::now() + PATIENCE;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            match self.lines.get_mut().unwrap().recv_timeout(left) {
                Ok(line) => {
                    self.said.push(line.clone());
                    if line.contains(words) {
                        return line;
                    }
                }
                Err(mpsc::RecvTimeoutError::Timeout | mpsc::RecvTimeoutError::Disconnected) => {
                    panic!("the node never said {words:?}, but: {:#?}", self.said)
                }
            }
        }
    }

    /// All of standard error, once the process has ended.
    pub fn everything_said(&mut self) -> String {
        self.said.extend(self.lines.get_mut().unwrap().iter());
        self.said.join("\n")
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.dir.join("data").join(name)
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
    #[cfg(feature = "faults")]
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
    #[cfg(feature = "faults")]
    pub fn wait_until_ready(&self) {
        let until = Instant::now() + PATIENCE;
        let request = b"GET /readyz HTTP/1.1\r\nhost: gemba\r\nconnection: close\r\n\r\n";
        while try_exchange(self.admin, request).is_none_or(|answer| answer.status != 200) {
            assert!(Instant::now() < until, "the node is not ready");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Asks the operator plane with the first token.
    pub fn ask(&self, path: &str) -> Answer {
        let token = self.secret("admin.token");
        let request = format!(
            "GET {path} HTTP/1.1\r\nhost: gemba\r\nauthorization: Bearer {token}\r\nconnection: close\r\n\r\n"
        );
        exchange(self.admin, request.as_bytes())
    }

    /// The same of a node that may have ended.
    #[cfg(feature = "faults")]
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
        self.child.id()
    }

    /// Resident memory of the process.
    pub fn rss_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    }

    /// SIGTERM, and how the process ended.
    pub fn terminate(&mut self) -> ExitStatus {
        self.signal("TERM");
        self.ended()
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &pid]).status().unwrap().success());
    }

    /// Whether the process has ended by itself.
    #[cfg(feature = "faults")]
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    pub fn ended(&mut self) -> ExitStatus {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < until, "the node did not end");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
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

impl Drop for Node {
    fn drop(&mut self) {
        // It may have ended already.
        let _killed = self.child.kill();
        let _reaped = self.child.wait();
    }
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

/// The program.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_gemba");

/// What should have ended has not by then.
const ENDS_WITHIN: Duration = Duration::from_mins(1);

/// A command, and how it ends: what waits for a file that never comes fails the test.
pub fn ends(mut command: Command) -> (Option<i32>, String) {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let until = Instant::now() + ENDS_WITHIN;
    while child.try_wait().unwrap().is_none() {
        if Instant::now() >= until {
            child.kill().unwrap();
            panic!("{command:?} does not end");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let output = child.wait_with_output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

/// The program in `dir`, with free ports and nothing of the caller's environment that concerns it.
pub fn command(dir: &Path) -> Command {
    command_of(PROGRAM, dir)
}

/// The same for a program that runs it.
pub fn command_of(program: &str, dir: &Path) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        let shown = name.to_string_lossy();
        if shown.starts_with("GEMBA_") || shown.starts_with("TAI2030_") {
            command.env_remove(name);
        }
    }
    command
        .current_dir(dir)
        .env("GEMBA_INGRESS__LISTEN", "127.0.0.1:0")
        .env("GEMBA_ADMIN__LISTEN", "127.0.0.1:0")
        .env("GEMBA_KANBAN__LOW_WATER_MIB", "1")
        // The table of identities is touched at random: a large one would hide what a test looks for in memory.
        .env("GEMBA_DEDUP__SIGNALS", "20000")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    command
}

/// A signal as a sender would write it.
pub fn signal(tenant: &str, sku: &str, id: &str) -> String {
    format!(
        r#"{{"id":"{id}","tenant":"{tenant}","sku":"{sku}","type":"cost.usage","data":{{"spend":81.25}}}}"#
    )
}
