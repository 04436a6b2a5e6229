//! HTTP/2 by prior knowledge: what is promised holds on it too, and its floods end at their limits.

use std::io::Read as _;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use ::h2::client::SendRequest;
use ::h2::{Reason, RecvStream};
use bytes::Bytes;
use hyper::{Request, Response};

use crate::node::{Node, signal};
use crate::wire::{connect, send};

const URL: &str = "http://gemba/v1/signals";

/// Runs `with` on a connection to `node`.
pub fn on_connection<F: Future>(node: &Node, with: impl FnOnce(SendRequest<Bytes>) -> F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let socket = tokio::net::TcpStream::connect(node.ingress).await.unwrap();
        let (sender, connection) = ::h2::client::handshake(socket).await.unwrap();
        tokio::spawn(connection);
        tokio::time::timeout(Duration::from_mins(1), with(sender)).await.expect("an end within a minute")
    })
}

pub fn post(node: &Node, body: &str) -> Request<()> {
    Request::post(URL)
        .header("content-type", "application/json")
        .header("x-signature", node.sign(body.as_bytes()))
        .body(())
        .unwrap()
}

async fn json(answer: Response<RecvStream>) -> serde_json::Value {
    let mut body = answer.into_body();
    let mut bytes = Vec::new();
    while let Some(data) = body.data().await {
        let data = data.unwrap();
        body.flow_control().release_capacity(data.len()).unwrap();
        bytes.extend_from_slice(&data);
    }
    serde_json::from_slice(&bytes).unwrap()
}

/// Others are served as before.
fn assert_healthy(node: &Node, id: &str) {
    let asked = Instant::now();
    assert_eq!(node.post("application/json", signal("acme", "vm", id).as_bytes()).status, 202);
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
    assert_eq!(node.ask("/readyz").status, 200);
}

#[test]
fn a_hundred_signals_at_once_are_all_accepted() {
    let node = Node::start();
    on_connection(&node, |sender| async {
        let mut waiting = Vec::new();
        let mut sender = sender.ready().await.unwrap();
        for number in 0..100 {
            let body = signal("acme", "vm", &format!("s-{number}"));
            let (answer, mut stream) = sender.send_request(post(&node, &body), false).unwrap();
            stream.send_data(body.into(), true).unwrap();
            waiting.push((number, answer));
            sender = sender.ready().await.unwrap();
        }
        for (number, answer) in waiting {
            let answer = answer.await.unwrap();
            assert_eq!(answer.status(), 202);
            assert_eq!(answer.headers()["x-signal-id"], format!("s-{number}"));
            assert_eq!(json(answer).await["signal_id"], format!("s-{number}"));
        }
    });
    for number in 0..100 {
        node.decided("acme", &format!("s-{number}"));
    }
}

#[test]
fn refusals_are_the_same_as_on_http_1() {
    let node = Node::start();
    let body = signal("acme", "vm", "bad");
    let many = |count: usize, value: &str| {
        let mut request = post(&node, &body);
        for number in 0..count {
            request.headers_mut().insert(
                hyper::header::HeaderName::try_from(format!("x-{number}")).unwrap(),
                value.try_into().unwrap(),
            );
        }
        request
    };
    let changed = |name: &'static str, value: &str| {
        let mut request = post(&node, &body);
        request.headers_mut().insert(name, value.try_into().unwrap());
        request
    };
    let to = |path: &str| {
        let mut request = post(&node, &body);
        *request.uri_mut() = format!("http://gemba{path}").parse().unwrap();
        request
    };
    let table = [
        ("path", 404, to("/v1/nothing")),
        ("source", 404, to("/v1/sources/nobody")),
        ("long URL", 414, to(&format!("/v1/signals?{}", "x".repeat(1024)))),
        ("content type", 415, changed("content-type", "text/plain")),
        ("gzip", 415, changed("content-encoding", "gzip")),
        ("signature", 401, changed("x-signature", "00")),
        ("65 headers", 431, many(63, "1")),
        ("17 KiB of headers", 431, many(1, &"x".repeat(17 * 1024))),
        ("declared length", 413, changed("content-length", "262145")),
        ("two equal lengths", 400, {
            let mut request = post(&node, &body);
            for _ in 0..2 {
                request.headers_mut().append("content-length", body.len().into());
            }
            request
        }),
    ];
    for (name, status, request) in table {
        let late = Bytes::from(body.clone());
        on_connection(&node, |mut sender| async move {
            let (answer, mut stream) = sender.send_request(request, false).unwrap();
            // Who is refused by the head alone may reset the stream before the body.
            let _late = stream.send_data(late, status != 413);
            let answer = answer.await.unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(answer.status(), status, "{name}");
        });
    }
    assert_eq!(node.ask("/v1/signals/acme/bad").status, 404);
}

#[test]
fn a_body_without_end_is_refused_at_the_limit() {
    let node = Node::start();
    let request = post(&node, "");
    on_connection(&node, |mut sender| async move {
        let (answer, mut stream) = sender.send_request(request, false).unwrap();
        let flood = async {
            let mut sent = 0;
            loop {
                stream.reserve_capacity(16 * 1024);
                match std::future::poll_fn(|cx| stream.poll_capacity(cx)).await {
                    Some(Ok(room)) if stream.send_data(vec![b' '; room].into(), false).is_ok() => {
                        sent += room;
                    }
                    _ => return sent,
                }
            }
        };
        let (answer, sent) = tokio::join!(answer, flood);
        assert_eq!(answer.unwrap().status(), 413);
        assert!(sent < 2 * 1024 * 1024, "{sent} bytes were let in");
    });
    assert_healthy(&node, "after");
}

/// Frames as bytes, for what no client library would send.
pub struct Frames {
    pub socket: TcpStream,
}

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const CONTINUATION: u8 = 9;
pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;

impl Frames {
    fn new(node: &Node) -> Self {
        Self::on(connect(node.ingress), b"")
    }

    /// A connection with settings of the caller's.
    pub fn on(mut socket: TcpStream, settings: &[u8]) -> Self {
        send(&mut socket, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        send(&mut socket, &frame(SETTINGS, 0, 0, settings));
        Self { socket }
    }

    /// The next frame: kind, flags, stream, payload.
    pub fn next(&mut self) -> Option<(u8, u8, u32, Vec<u8>)> {
        let mut head = [0; 9];
        self.socket.read_exact(&mut head).ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        let mut payload = vec![0; length];
        self.socket.read_exact(&mut payload).ok()?;
        Some((head[3], head[4], stream, payload))
    }

    /// Sends `bytes` while another thread takes what comes; the reason of the GOAWAY that ends the connection.
    fn flood(mut self, bytes: &[u8]) -> Option<Reason> {
        let mut writer = self.socket.try_clone().unwrap();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                send(&mut writer, bytes);
                let _gone = writer.shutdown(std::net::Shutdown::Write);
            });
            let mut reason = None;
            while let Some((kind, _, _, payload)) = self.next() {
                if kind == GOAWAY {
                    reason = Some(u32::from_be_bytes(payload[4..8].try_into().unwrap()).into());
                }
            }
            reason
        })
    }
}

pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = vec![length[1], length[2], length[3], kind, flags];
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// The header block of a signed POST, without a table or Huffman codes.
pub fn block(signature: &str) -> Vec<u8> {
    let text = |block: &mut Vec<u8>, text: &str| {
        block.push(u8::try_from(text.len()).unwrap());
        block.extend_from_slice(text.as_bytes());
    };
    // :method POST, :scheme http, then :path, :authority and content-type by their index.
    let mut block = vec![0x83, 0x86, 0x04];
    text(&mut block, "/v1/signals");
    block.push(0x01);
    text(&mut block, "gemba");
    block.extend_from_slice(&[0x0f, 0x10]);
    text(&mut block, "application/json");
    block.push(0x00);
    text(&mut block, "x-signature");
    text(&mut block, signature);
    block
}

#[test]
fn the_101st_open_stream_is_refused_and_the_hundred_go_on() {
    const OPEN: u32 = 100;
    let node = Node::start();
    let mut frames = Frames::new(&node);
    let bodies: Vec<String> = (0..=OPEN).map(|number| signal("acme", "vm", &format!("o-{number}"))).collect();
    for (stream, body) in (1..).step_by(2).zip(&bodies) {
        let block = block(&node.sign(body.as_bytes()));
        send(&mut frames.socket, &frame(HEADERS, END_HEADERS, stream, &block));
    }
    let refused = loop {
        let (kind, _, stream, payload) = frames.next().expect("the refusal");
        assert_ne!(kind, GOAWAY, "one stream too many does not end the connection");
        if kind == RST_STREAM {
            break (stream, Reason::from(u32::from_be_bytes(payload.try_into().unwrap())));
        }
    };
    assert_eq!(refused, (2 * OPEN + 1, Reason::REFUSED_STREAM));
    for (stream, body) in (1..).step_by(2).zip(&bodies).take(OPEN as usize) {
        send(&mut frames.socket, &frame(DATA, 1, stream, body.as_bytes()));
    }
    let mut answered = 0;
    while answered < OPEN {
        let (kind, _, _, _) = frames.next().expect("an answer for each stream");
        assert!(kind != RST_STREAM && kind != GOAWAY);
        answered += u32::from(kind == HEADERS);
    }
    for number in 0..OPEN {
        node.decided("acme", &format!("o-{number}"));
    }
    assert_eq!(node.ask(&format!("/v1/signals/acme/o-{OPEN}")).status, 404);
}

#[test]
fn rapid_resets_end_the_connection_and_cost_no_memory() {
    let node = Node::start();
    assert_healthy(&node, "before");
    let before = node.rss_bytes();
    let block = block(&"0".repeat(64));
    for round in 0..3 {
        let mut flood = Vec::new();
        for stream in (1..20_000).step_by(2) {
            flood.extend(frame(HEADERS, END_HEADERS, stream, &block));
            flood.extend(frame(RST_STREAM, 0, stream, &8u32.to_be_bytes()));
        }
        assert_eq!(Frames::new(&node).flood(&flood), Some(Reason::ENHANCE_YOUR_CALM), "round {round}");
        assert_healthy(&node, &format!("after-{round}"));
    }
    let grown = node.rss_bytes().saturating_sub(before);
    assert!(grown < 32 * 1024 * 1024, "{grown} bytes more are held");
}

#[test]
fn floods_of_small_frames_do_not_stop_the_service() {
    let node = Node::start();
    assert_healthy(&node, "before");
    let before = node.rss_bytes();
    let open = frame(HEADERS, END_HEADERS, 1, &block(&"0".repeat(64)));
    let half_open = frame(HEADERS, 0, 1, &block(&"0".repeat(64)));
    let filler = [vec![0x00, 1, b'x', 100], vec![b'y'; 100]].concat().repeat(100);
    let table = [
        ("PING", frame(PING, 0, 0, &[0; 8]).repeat(100_000)),
        ("SETTINGS", frame(SETTINGS, 0, 0, &[0, 4, 0, 1, 0, 0]).repeat(100_000)),
        ("empty DATA", [open.clone(), frame(DATA, 0, 1, b"").repeat(100_000)].concat()),
        ("CONTINUATION", [half_open.clone(), frame(CONTINUATION, 0, 1, &filler).repeat(1000)].concat()),
        ("empty CONTINUATION", [half_open, frame(CONTINUATION, 0, 1, b"").repeat(100_000)].concat()),
        ("unknown frames", frame(0x55, 0, 0, &[0; 64]).repeat(100_000)),
        ("WINDOW_UPDATE", [open, frame(8, 0, 1, &1u32.to_be_bytes()).repeat(100_000)].concat()),
        ("garbage", b"\xff\xfe\xfd\xfc".repeat(10_000)),
    ];
    std::thread::scope(|scope| {
        for (name, flood) in &table {
            let (frames, done) = (Frames::new(&node), Instant::now());
            let flooding = scope.spawn(move || frames.flood(flood));
            let mut number = 0;
            while !flooding.is_finished() {
                number += 1;
                assert_healthy(&node, &format!("during-{}-{number}", name.to_lowercase().replace(' ', "-")));
            }
            flooding.join().unwrap();
            assert!(done.elapsed() < Duration::from_secs(30), "{name} took {:?}", done.elapsed());
        }
        // Nobody takes the answers.
        let mut deaf = Frames::new(&node);
        deaf.socket.set_write_timeout(Some(Duration::from_secs(1))).unwrap();
        send(&mut deaf.socket, &frame(PING, 0, 0, &[0; 8]).repeat(2_000_000));
        assert_healthy(&node, "beside-the-deaf");
    });
    let grown = node.rss_bytes().saturating_sub(before);
    assert!(grown < 32 * 1024 * 1024, "{grown} bytes more are held");
}
