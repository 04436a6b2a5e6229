//! Requests as bytes, and the proof that a node took nothing.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::http::Answer;
use crate::node::{Node, PATIENCE, signal};

/// A request of these lines and this body; only `host` is added.
pub fn raw(line: &str, headers: &[&str], body: &[u8]) -> Vec<u8> {
    let mut request = format!("{line}\r\nhost: localhost\r\n");
    for header in headers {
        request.push_str(header);
        request.push_str("\r\n");
    }
    request.push_str("\r\n");
    [request.as_bytes(), body].concat()
}

/// A body in chunks.
pub fn chunked(body: &[u8]) -> Vec<u8> {
    let mut framed = Vec::new();
    for chunk in body.chunks(16 * 1024) {
        framed.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        framed.extend_from_slice(chunk);
        framed.extend_from_slice(b"\r\n");
    }
    framed.extend_from_slice(b"0\r\n\r\n");
    framed
}

/// A whole signed request for the default source.
pub fn signed(node: &Node, body: &[u8]) -> Vec<u8> {
    let signature = format!("x-signature: {}", node.sign(body));
    let length = format!("content-length: {}", body.len());
    raw("POST /v1/signals HTTP/1.1", &[&length, "content-type: application/json", &signature], body)
}

pub fn connect(address: SocketAddr) -> TcpStream {
    let socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
    socket
}

/// Sends `bytes`, as far as the server takes them.
pub fn send(socket: &mut TcpStream, bytes: &[u8]) {
    // A server that has answered may close before it has taken everything.
    let _partly = socket.write_all(bytes);
}

/// Everything that comes until the server closes.
pub fn rest(socket: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    // A reset ends it as well as an orderly close; what came before it stays.
    let _closed = socket.read_to_end(&mut bytes);
    bytes
}

/// An error's body is a problem of RFC 9457 that repeats the status.
pub fn assert_problem(name: &str, answer: &Answer) {
    assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{name}: {answer:?}");
    let problem = answer.json();
    assert_eq!(problem["status"].as_u64(), Some(answer.status.into()), "{name}: {problem}");
    for field in ["type", "title", "detail"] {
        assert!(problem[field].as_str().is_some_and(|text| !text.is_empty()), "{name}: {problem}");
    }
}

/// Counts what a node takes. Every accepted unit spends numbers of the journal, so two probes with neighbouring
/// numbers prove that the journal took nothing between them.
pub struct Probe<'n> {
    node: &'n Node,
    last: u64,
    sent: u32,
}

impl<'n> Probe<'n> {
    pub fn new(node: &'n Node) -> Self {
        let mut probe = Self { node, last: 0, sent: 0 };
        probe.last = probe.send();
        probe
    }

    fn send(&mut self) -> u64 {
        self.sent += 1;
        let body = signal("probe", "vm", &format!("p-{}", self.sent));
        let answer = self.node.post("application/json", body.as_bytes());
        assert_eq!(answer.status, 202, "{}", answer.text());
        answer.json()["seq"].as_u64().unwrap()
    }

    /// So many were taken by somebody else.
    pub fn skip(&mut self, others: u64) {
        self.last += others;
    }

    /// Nothing was taken since the last probe, and no signal `acme`/`bad` is known.
    pub fn nothing_was_taken(&mut self, name: &str) {
        let seq = self.send();
        assert_eq!(seq, self.last + 1, "{name}: the journal took something");
        self.last = seq;
        assert_eq!(self.node.ask("/v1/signals/acme/bad").status, 404, "{name}");
    }

    /// The counter of accepted signals stands at the number of probes and of `others`.
    pub fn only_probes_are_counted(&self, others: u32) {
        let expected = f64::from(self.sent + others);
        let until = Instant::now() + PATIENCE;
        loop {
            let counted = self.node.metric("gemba_signals_total{result=\"accepted\"}");
            assert!(counted <= expected, "{counted} signals are counted, {expected} were sent");
            if counted.total_cmp(&expected).is_eq() {
                return;
            }
            assert!(Instant::now() < until, "{counted} signals are counted, {expected} were sent");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}
