//! The time limits of a connection, which are real: all cases run at once.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::ops::Range;
use std::time::{Duration, Instant};

use socket2::{Domain, SockAddr, Socket, Type};

use crate::h2::{DATA, END_HEADERS, END_STREAM, Frames, HEADERS, block, frame};
use crate::http::read_answer;
use crate::node::{Node, signal};
use crate::wire::{assert_problem, connect, raw, rest, send, signed};

const POST: &str = "POST /v1/signals HTTP/1.1";
const JSON: &str = "content-type: application/json";

/// Each case with the seconds within which the node must end it.
type Case = (&'static str, Range<u64>, fn(&Node));

#[test]
fn whoever_dawdles_is_cut_off_and_nobody_else() {
    let node = Node::start_with(&[("GEMBA_INGRESS__IDLE_SECONDS", "25")]);
    let cases: [Case; 14] = [
        ("silence", 9..20, silence),
        ("half an HTTP/2 preface", 9..20, half_a_preface),
        ("an HTTP/2 connection without a request", 9..40, http2_without_a_request),
        ("half a frame of HTTP/2 after an answer", 9..20, half_a_frame_after_an_answer),
        ("half a header block of HTTP/2", 9..20, half_a_header_block),
        ("a frame of HTTP/2 that dribbles", 9..20, a_frame_that_dribbles),
        ("a head that dribbles", 9..20, a_head_that_dribbles),
        ("a second head that dribbles", 9..20, a_second_head_that_dribbles),
        ("a body that dribbles", 2..13, a_body_that_dribbles),
        ("a body that stops", 2..13, a_body_that_stops),
        ("a slow body that keeps the pace", 3..25, a_slow_body_that_keeps_the_pace),
        ("a body that keeps the pace for too long", 14..25, a_body_that_keeps_the_pace_for_too_long),
        ("an idle connection", 24..37, an_idle_connection),
        ("a client that takes no answers", 9..30, a_client_that_takes_no_answers),
    ];
    std::thread::scope(|scope| {
        let running: Vec<_> = cases
            .map(|(name, allowed, case)| {
                let node = &node;
                let timed = scope.spawn(move || {
                    let begun = Instant::now();
                    case(node);
                    begun.elapsed()
                });
                (name, allowed, timed)
            })
            .into_iter()
            .collect();
        let mut number = 0;
        while running.iter().any(|(_, _, timed)| !timed.is_finished()) {
            number += 1;
            let asked = Instant::now();
            let body = signal("acme", "vm", &format!("meanwhile-{number}"));
            assert_eq!(node.post("application/json", body.as_bytes()).status, 202);
            assert!(asked.elapsed() < Duration::from_secs(5), "others are served meanwhile");
            std::thread::sleep(Duration::from_millis(100));
        }
        for (name, allowed, timed) in running {
            let took = timed.join().unwrap_or_else(|_| panic!("{name}"));
            assert!(allowed.contains(&took.as_secs()), "{name}: cut off after {took:?}, not {allowed:?} s");
        }
    });
    assert_eq!(node.ask("/v1/signals/acme/bad").status, 404);
}

/// Sends so many of the bytes every so often until the node answers or closes; what it said.
fn dribble(socket: &mut TcpStream, bytes: &[u8], at_once: usize, pause: Duration) -> Vec<u8> {
    socket.set_read_timeout(Some(pause)).unwrap();
    let mut said = [0; 4096];
    for piece in bytes.chunks(at_once) {
        if socket.write_all(piece).is_err() {
            return Vec::new();
        }
        match socket.read(&mut said) {
            Ok(count) => return said[..count].to_vec(),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => return Vec::new(),
        }
    }
    panic!("{} bytes were waited for", bytes.len());
}

const PAUSE: Duration = Duration::from_millis(250);

fn silence(node: &Node) {
    assert_eq!(rest(&mut connect(node.ingress)), b"");
}

fn half_a_preface(node: &Node) {
    let mut socket = connect(node.ingress);
    send(&mut socket, b"PRI * HTTP/2");
    assert_eq!(rest(&mut socket), b"");
}

fn http2_without_a_request(node: &Node) {
    let mut socket = connect(node.ingress);
    send(&mut socket, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0");
    rest(&mut socket);
}

/// A connection of HTTP/2 that had one request.
fn http2_after_an_answer(node: &Node, id: &str) -> Frames {
    let mut frames = Frames::on(connect(node.ingress), b"");
    let body = signal("acme", "vm", id);
    send(&mut frames.socket, &frame(HEADERS, END_HEADERS, 1, &block(&node.sign(body.as_bytes()))));
    send(&mut frames.socket, &frame(DATA, END_STREAM, 1, body.as_bytes()));
    while frames.next().is_some_and(|(kind, flags, ..)| kind != DATA || flags & END_STREAM == 0) {}
    frames
}

fn half_a_frame_after_an_answer(node: &Node) {
    let mut frames = http2_after_an_answer(node, "before-half-a-frame");
    send(&mut frames.socket, &frame(HEADERS, END_HEADERS, 3, &[0; 100])[..50]);
    rest(&mut frames.socket);
}

fn half_a_header_block(node: &Node) {
    let mut frames = http2_after_an_answer(node, "before-half-a-block");
    send(&mut frames.socket, &frame(HEADERS, 0, 3, &block("00")));
    rest(&mut frames.socket);
}

fn a_frame_that_dribbles(node: &Node) {
    let mut frames = http2_after_an_answer(node, "before-a-slow-frame");
    let slow = frame(HEADERS, END_HEADERS, 3, &block(&"0".repeat(64)));
    dribble(&mut frames.socket, &slow, 1, PAUSE);
}

fn a_head_that_dribbles(node: &Node) {
    let request = signed(node, signal("acme", "vm", "bad").as_bytes());
    let said = dribble(&mut connect(node.ingress), &request, 1, PAUSE);
    assert_eq!(String::from_utf8_lossy(&said), "", "there is no request to answer");
}

fn a_second_head_that_dribbles(node: &Node) {
    let request = signed(node, signal("acme", "vm", "before-the-second").as_bytes());
    let mut socket = connect(node.ingress);
    send(&mut socket, &request);
    assert_eq!(read_answer(&mut socket).unwrap().status, 202);
    assert_eq!(dribble(&mut socket, &request, 1, PAUSE), b"");
}

fn a_body_that_dribbles(node: &Node) {
    let body = "x".repeat(1000);
    let mut socket = connect(node.ingress);
    send(&mut socket, &raw(POST, &[JSON, "x-signature: 00", "content-length: 1000"], b""));
    let said = dribble(&mut socket, body.as_bytes(), 1, PAUSE);
    assert!(said.starts_with(b"HTTP/1.1 408 "), "{}", String::from_utf8_lossy(&said));
}

fn a_body_that_stops(node: &Node) {
    let body = signal("acme", "vm", "bad");
    let signature = format!("x-signature: {}", node.sign(body.as_bytes()));
    let longer = format!("content-length: {}", body.len() + 1);
    let mut socket = connect(node.ingress);
    send(&mut socket, &raw(POST, &[JSON, &signature, &longer], body.as_bytes()));
    let answer = read_answer(&mut socket).expect("an answer");
    assert_eq!(answer.status, 408);
    assert_problem("a body that stops", &answer);
    assert_eq!(answer.header("connection"), Some("close"));
    assert_eq!(rest(&mut socket), b"");
}

/// What the node says to a signed body of so many bytes that comes at three kibibytes in two seconds.
fn trickle(node: &Node, bytes: usize) -> String {
    let mut body = signal("acme", "vm", "slow");
    body.push_str(&" ".repeat(bytes - body.len()));
    let signature = format!("x-signature: {}", node.sign(body.as_bytes()));
    let mut socket = connect(node.ingress);
    send(&mut socket, &raw(POST, &[JSON, &signature, &format!("content-length: {bytes}")], b""));
    String::from_utf8_lossy(&dribble(&mut socket, body.as_bytes(), 384, PAUSE)).into_owned()
}

fn a_slow_body_that_keeps_the_pace(node: &Node) {
    let said = trickle(node, 6 * 1024);
    assert!(said.starts_with("HTTP/1.1 202 "), "{said}");
}

fn a_body_that_keeps_the_pace_for_too_long(node: &Node) {
    let said = trickle(node, 26 * 1024);
    assert!(said.starts_with("HTTP/1.1 408 "), "{said}");
}

fn an_idle_connection(node: &Node) {
    let mut socket = connect(node.ingress);
    send(&mut socket, &signed(node, signal("acme", "vm", "then-idle").as_bytes()));
    assert_eq!(read_answer(&mut socket).unwrap().status, 202);
    assert_eq!(rest(&mut socket), b"");
}

/// Sends requests with long answers and reads none, until the node resets the connection.
fn a_client_that_takes_no_answers(node: &Node) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    // With small segments and a small window, the node's answers soon have nowhere to go.
    socket.set_recv_buffer_size(2048).unwrap();
    socket.set_tcp_mss(536).unwrap();
    socket.connect(&SockAddr::from(node.ingress)).unwrap();
    let mut socket = TcpStream::from(socket);
    let body = format!("[{}]", vec!["{}"; 32].join(","));
    let headers = [
        "content-type: application/cloudevents-batch+json",
        &format!("x-signature: {}", node.sign(body.as_bytes())),
        &format!("content-length: {}", body.len()),
    ];
    let request = raw(POST, &headers, body.as_bytes());
    socket.set_write_timeout(Some(PAUSE)).unwrap();
    let mut sent = 0;
    loop {
        // A timeout may have taken a part: go on behind it.
        match socket.write(&request[sent % request.len()..]) {
            Ok(count) => sent += count,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => return,
        }
        if sent >= 999 * request.len() {
            break;
        }
    }
    // All was taken in: the end shows as a reset or a close, and nothing is read before it.
    let until = Instant::now() + Duration::from_mins(1);
    while socket.take_error().unwrap().is_none() && socket.write(b"").is_ok() {
        assert!(Instant::now() < until);
        std::thread::sleep(PAUSE);
        if socket.write(&request[sent % request.len()..][..1]).is_ok_and(|count| count == 1) {
            sent += 1;
        }
    }
}

#[test]
fn pipelined_requests_are_answered_in_their_order() {
    let node = Node::start();
    let mut requests = Vec::new();
    for number in 0..100 {
        requests.extend(signed(&node, signal("acme", "vm", &format!("p-{number}")).as_bytes()));
        // One that is refused at once must not overtake one that waits for the disk.
        requests.extend(raw("GET /v1/signals HTTP/1.1", &[], b""));
    }
    let mut socket = connect(node.ingress);
    let mut writer = socket.try_clone().unwrap();
    let sending = std::thread::spawn(move || writer.write_all(&requests));
    for number in 0..100 {
        let answer = read_answer(&mut socket).unwrap();
        assert_eq!(answer.header("x-signal-id"), Some(format!("p-{number}").as_str()));
        assert_eq!(answer.json()["seq"].as_u64(), Some(number + 2), "behind the rules");
        assert_eq!(read_answer(&mut socket).unwrap().status, 405);
    }
    sending.join().unwrap().unwrap();
}

#[test]
fn an_answer_does_not_wait_for_the_rest_of_the_next_request() {
    let node = Node::start();
    let request = signed(&node, signal("acme", "vm", "first").as_bytes());
    let mut socket = connect(node.ingress);
    send(&mut socket, &[request.as_slice(), &request[..40]].concat());
    socket.set_read_timeout(Some(Duration::from_secs(8))).unwrap();
    assert_eq!(read_answer(&mut socket).expect("before the next request is whole").status, 202);
    send(&mut socket, &request[40..]);
    assert_eq!(read_answer(&mut socket).unwrap().json()["duplicate"], true);
}
