//! Every request that is no request: the exact status, a problem where there is a request to answer, and nothing
//! taken.

use std::collections::BTreeSet;
use std::net::Shutdown;

use crate::http::{exchange, read_answer};
use crate::node::{Node, signal};
use crate::wire::{Probe, assert_problem, chunked, connect, raw, rest, send, signed};

const POST: &str = "POST /v1/signals HTTP/1.1";
const JSON: &str = "content-type: application/json";
const BODY_MAX: usize = 256 * 1024;

/// The signal that no case may bring in, and the headers that would.
struct Bad {
    body: String,
    length: String,
    signature: String,
}

impl Bad {
    fn new(node: &Node) -> Self {
        let body = signal("acme", "vm", "bad");
        let length = format!("content-length: {}", body.len());
        let signature = format!("x-signature: {}", node.sign(body.as_bytes()));
        Self { body, length, signature }
    }

    /// Everything right but `line` and the headers added.
    fn with(&self, line: &str, headers: &[&str]) -> Vec<u8> {
        let all = [&[self.length.as_str(), self.signature.as_str()], headers].concat();
        raw(line, &all, self.body.as_bytes())
    }

    fn chunked(&self, headers: &[&str]) -> Vec<u8> {
        let all = [&[self.signature.as_str(), JSON, "transfer-encoding: chunked"], headers].concat();
        raw(POST, &all, &chunked(self.body.as_bytes()))
    }
}

#[test]
fn every_bad_head_has_its_status_and_changes_nothing() {
    let node = Node::start();
    let bad = Bad::new(&node);
    let mut probe = Probe::new(&node);
    let long = "x".repeat(1024);
    let table: Vec<(&str, u16, Vec<u8>)> = vec![
        ("unknown path", 404, bad.with("POST /v1/nothing HTTP/1.1", &[JSON])),
        ("a path below signals", 404, bad.with("POST /v1/signals/ HTTP/1.1", &[JSON])),
        ("the root", 404, bad.with("POST / HTTP/1.1", &[JSON])),
        ("operators' path", 404, bad.with("POST /metrics HTTP/1.1", &[JSON])),
        ("unknown source", 404, bad.with("POST /v1/sources/nobody HTTP/1.1", &[JSON])),
        ("no source", 404, bad.with("POST /v1/sources/ HTTP/1.1", &[JSON])),
        ("GET", 405, raw("GET /v1/signals HTTP/1.1", &[], b"")),
        ("PUT", 405, bad.with("PUT /v1/signals HTTP/1.1", &[JSON])),
        ("DELETE", 405, bad.with("DELETE /v1/sources/signals HTTP/1.1", &[JSON])),
        ("no content type", 415, bad.with(POST, &[])),
        ("unknown content type", 415, bad.with(POST, &["content-type: text/plain"])),
        ("form", 415, bad.with(POST, &["content-type: application/x-www-form-urlencoded"])),
        ("gzip", 415, bad.with(POST, &[JSON, "content-encoding: gzip"])),
        ("long query", 414, bad.with(&format!("POST /v1/signals?{long} HTTP/1.1"), &[JSON])),
        ("long path", 414, bad.with(&format!("POST /{long} HTTP/1.1"), &[JSON])),
        ("17 KiB of headers", 431, bad.with(POST, &[JSON, &format!("x-long: {}", "x".repeat(17 * 1024))])),
    ];
    for (name, status, request) in table {
        let answer = exchange(node.ingress, &request);
        assert_eq!(answer.status, status, "{name}: {answer:?}");
        assert_problem(name, &answer);
        assert_eq!(answer.header("allow"), (status == 405).then_some("POST"), "{name}");
        probe.nothing_was_taken(name);
    }
    probe.only_probes_are_counted(0);
}

#[test]
fn what_is_no_http_is_refused_and_the_connection_closed() {
    let node = Node::start();
    let bad = Bad::new(&node);
    let mut probe = Probe::new(&node);
    let many: Vec<String> = (0..61).map(|number| format!("x-{number}: 1")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).chain([JSON]).collect();
    let good = bad.with(POST, &[JSON]);
    let replaced = |from: &str, to: &str| {
        let text = String::from_utf8(good.clone()).unwrap();
        assert!(text.contains(from), "{from}");
        text.replacen(from, to, 1).into_bytes()
    };
    let table: Vec<(&str, u16, Vec<u8>)> = vec![
        ("65 headers", 431, bad.with(POST, &many)),
        ("70 KiB of headers", 431, bad.with(POST, &[JSON, &format!("x-long: {}", "x".repeat(70 * 1024))])),
        ("a URL of 10 KiB", 414, bad.with(&format!("POST /v1/{} HTTP/1.1", "x".repeat(10 * 1024)), &[JSON])),
        ("CL and TE", 400, bad.chunked(&[&bad.length])),
        ("TE and CL", 400, raw(POST, &[&bad.length, "transfer-encoding: chunked"], b"0\r\n\r\n")),
        ("TE that is not chunked", 400, bad.with(POST, &[JSON, "transfer-encoding: gzip"])),
        ("gzip inside of chunked", 400, bad.with(POST, &[JSON, "transfer-encoding: gzip, chunked"])),
        ("TE twice", 400, bad.chunked(&["transfer-encoding: chunked"])),
        ("two lengths", 400, bad.with(POST, &[JSON, "content-length: 3"])),
        ("a length with a sign", 400, replaced("content-length: ", "content-length: +")),
        ("a length in hex", 400, replaced("content-length: ", "content-length: 0x")),
        ("bare LF behind the request line", 400, replaced("HTTP/1.1\r\n", "HTTP/1.1\n")),
        ("bare LF behind a header", 400, replaced("host: localhost\r\n", "host: localhost\n")),
        ("bare LF at the end of the head", 400, replaced("\r\n\r\n", "\r\n\n")),
        ("bare LFs alone", 400, String::from_utf8(good.clone()).unwrap().replace("\r\n", "\n").into_bytes()),
        ("a fragment", 400, bad.with("POST /v1/signals#x HTTP/1.1", &[JSON])),
        ("a fragment behind a query", 400, bad.with("POST /v1/signals?a#x HTTP/1.1", &[JSON])),
        ("a target that is not ASCII", 400, bad.with("POST /v1/signals?\u{e9} HTTP/1.1", &[JSON])),
        ("a user in the target", 400, bad.with("POST http://user@localhost/v1/signals HTTP/1.1", &[JSON])),
        ("obs-fold", 400, replaced("host: localhost\r\n", "host: localhost\r\n folded\r\n")),
        ("space before the colon", 400, replaced("host:", "host :")),
        ("no colon", 400, replaced("host: localhost", "host localhost")),
        ("a byte NUL", 400, replaced("localhost", "local\0host")),
        ("bad method", 400, bad.with("PO(ST /v1/signals HTTP/1.1", &[JSON])),
        ("bad version", 400, bad.with("POST /v1/signals HTTP/1.2", &[JSON])),
        ("no version", 400, bad.with("POST /v1/signals", &[JSON])),
        ("TLS", 400, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n".to_vec()),
    ];
    for (name, status, request) in table {
        let mut socket = connect(node.ingress);
        send(&mut socket, &request);
        let answer = read_answer(&mut socket).unwrap_or_else(|| panic!("{name}: no answer"));
        assert_eq!(answer.status, status, "{name}: {answer:?}");
        assert_problem(name, &answer);
        assert_eq!(answer.header("connection"), Some("close"), "{name}: {answer:?}");
        assert_eq!(rest(&mut socket), b"", "{name}: nothing behind it is answered");
        probe.nothing_was_taken(name);
    }
    probe.only_probes_are_counted(0);
}

#[test]
fn a_bare_line_feed_in_a_later_request_of_a_connection_is_refused_too() {
    let node = Node::start();
    let first = signed(&node, signal("acme", "vm", "first").as_bytes());
    let bad = Bad::new(&node).with(POST, &[JSON]);
    let bad = String::from_utf8(bad).unwrap().replacen("localhost\r\n", "localhost\n", 1);
    let mut socket = connect(node.ingress);
    send(&mut socket, &[first.as_slice(), bad.as_bytes()].concat());
    assert_eq!(read_answer(&mut socket).unwrap().status, 202);
    assert_eq!(read_answer(&mut socket).unwrap().status, 400);
    assert_eq!(rest(&mut socket), b"");
    assert_eq!(node.ask("/v1/signals/acme/bad").status, 404);
}

#[test]
fn a_body_that_is_too_long_is_refused_before_it_is_read() {
    let node = Node::start();
    let mut probe = Probe::new(&node);
    for length in [BODY_MAX as u64 + 1, 1 << 40, u64::MAX - 2] {
        let head = raw(POST, &[JSON, "x-signature: 00", &format!("content-length: {length}")], b"");
        let mut socket = connect(node.ingress);
        send(&mut socket, &head);
        let answer = read_answer(&mut socket).expect("an answer to the head alone");
        assert_eq!(answer.status, 413, "{length}");
        assert_problem("declared", &answer);
        assert_eq!(rest(&mut socket), b"", "the connection is closed");
    }
    let long = vec![b' '; BODY_MAX + 1];
    let signature = format!("x-signature: {}", node.sign(&long));
    let head = [JSON, "transfer-encoding: chunked", signature.as_str()];
    let answer = exchange(node.ingress, &raw(POST, &head, &chunked(&long)));
    assert_eq!(answer.status, 413, "{answer:?}");
    assert_problem("chunked", &answer);
    probe.nothing_was_taken("too long");

    let mut fits = signal("acme", "vm", "fits").into_bytes();
    fits.resize(BODY_MAX, b' ');
    let answer = exchange(node.ingress, &signed(&node, &fits));
    assert_eq!(answer.status, 202, "a body of exactly the limit is taken: {}", answer.text());
}

#[test]
fn a_lie_about_the_length_takes_nothing() {
    let node = Node::start();
    let bad = Bad::new(&node);
    let mut probe = Probe::new(&node);

    let longer = format!("content-length: {}", bad.body.len() + 1);
    let mut socket = connect(node.ingress);
    send(&mut socket, &raw(POST, &[&longer, JSON, &bad.signature], bad.body.as_bytes()));
    socket.shutdown(Shutdown::Write).unwrap();
    let answer = String::from_utf8(rest(&mut socket)).unwrap();
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400"), "{answer}");
    probe.nothing_was_taken("a body that breaks off");

    let shorter = format!("content-length: {}", bad.body.len() - 1);
    let mut socket = connect(node.ingress);
    send(
        &mut socket,
        &raw(POST, &[&shorter, JSON, &bad.signature], &[bad.body.as_bytes(), b"\r\n\r\n"].concat()),
    );
    assert_eq!(read_answer(&mut socket).unwrap().status, 401, "the signature is not of the first part");
    assert_eq!(read_answer(&mut socket).unwrap().status, 400, "the rest is no request");
    assert_eq!(rest(&mut socket), b"");
    probe.nothing_was_taken("a body that goes on");

    for (name, framed) in [
        ("no size", b"zz\r\n".as_slice()),
        ("a size without end", b"fffffffffffffffffffff\r\n"),
        ("a chunk longer than its size", b"2\r\nabc\r\n0\r\n\r\n"),
        ("bare LF behind a size", b"2\nab\r\n0\r\n\r\n"),
    ] {
        let head = [JSON, "transfer-encoding: chunked", bad.signature.as_str()];
        let answer = exchange(node.ingress, &raw(POST, &head, framed));
        assert_eq!(answer.status, 400, "{name}: {answer:?}");
        assert_problem(name, &answer);
        probe.nothing_was_taken(name);
    }
    probe.only_probes_are_counted(0);
}

#[test]
fn every_signature_failure_has_the_same_answer() {
    let node = Node::start();
    let bad = Bad::new(&node);
    let mut probe = Probe::new(&node);
    let right = bad.signature.strip_prefix("x-signature: ").unwrap();
    let other = node.sign(b"another body");
    let (long, not_hex) = (format!("{right}00"), right.replace(|c: char| c.is_ascii_digit(), "g"));
    let spaced = format!("{right} {right}");
    let flipped = format!("{}{}", if right.starts_with('0') { "1" } else { "0" }, &right[1..]);
    let table: [(&str, &[&str]); 10] = [
        ("missing", &[]),
        ("empty", &[""]),
        ("short", &[&right[2..]]),
        ("over-long", &[&long]),
        ("very long", &[&"0".repeat(8 * 1024)]),
        ("not hex", &[&not_hex]),
        ("of another body", &[&other]),
        ("a bit flipped", &[&flipped]),
        ("two in one", &[&spaced]),
        ("twin headers", &[right, right]),
    ];
    let mut answers = BTreeSet::new();
    for (name, signatures) in table {
        let mut headers = vec![JSON.to_owned(), bad.length.clone()];
        headers.extend(signatures.iter().map(|signature| format!("x-signature: {signature}")));
        let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
        let answer = exchange(node.ingress, &raw(POST, &headers, bad.body.as_bytes()));
        assert_eq!(answer.status, 401, "{name}: {answer:?}");
        assert_problem(name, &answer);
        let same = answer.headers.iter().filter(|(name, _)| name != "date").cloned().collect::<Vec<_>>();
        answers.insert((same, answer.body));
        probe.nothing_was_taken(name);
    }
    let unsigned = b"not even JSON";
    let length = format!("content-length: {}", unsigned.len());
    let answer = exchange(node.ingress, &raw(POST, &[JSON, &length, "x-signature: 00"], unsigned));
    assert_eq!(answer.status, 401, "nothing is parsed before its signature held");
    assert_eq!(answers.len(), 1, "{answers:#?}");
    probe.only_probes_are_counted(0);
}
