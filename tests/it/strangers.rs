//! Clients without a signature: what they do with little effort costs others nothing.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::h2::{
    CONTINUATION, DATA, END_HEADERS, Frames, GOAWAY, HEADERS, PING, RST_STREAM, SETTINGS, block, frame,
};
use crate::hostile::{allow_descriptors, client, connect_from, cpu_time, crowd};
use crate::http::{exchange, read_answer};
use crate::node::{Node, PATIENCE, signal};
use crate::wire::{assert_problem, connect, raw, rest, send, signed};

const POST: &str = "POST /v1/signals HTTP/1.1";
const JSON: &str = "content-type: application/json";
const BODY_MAX: usize = 256 * 1024;
const MIB: u64 = 1024 * 1024;

/// A request with a signature that does not hold and a body of so many bytes.
fn forged(bytes: usize) -> Vec<u8> {
    let length = format!("content-length: {bytes}");
    raw(POST, &[JSON, "x-signature: 00", &length], &vec![b' '; bytes])
}

/// A good signal whose body has so many bytes.
fn long_signal(id: &str, bytes: usize) -> Vec<u8> {
    let mut body = signal("acme", "vm", id).into_bytes();
    body.resize(bytes, b' ');
    body
}

/// The same client sends bad signatures, small and large, and another tenant's good signals.
#[test]
fn bad_signatures_of_an_address_cost_no_good_signal_of_it() {
    let node = Node::start();
    let (over, sent) = (AtomicBool::new(false), AtomicU32::new(0));
    let good: Vec<u16> = std::thread::scope(|scope| {
        for bytes in [100, 100, 100 * 1024] {
            let (node, over, sent) = (&node, &over, &sent);
            scope.spawn(move || {
                let request = forged(bytes);
                while !over.load(Ordering::Relaxed) {
                    let status = exchange(node.ingress, &request).status;
                    assert!(status == 401 || status == 503 && bytes > 16 * 1024, "{status}");
                    sent.fetch_add(u32::from(status == 401), Ordering::Relaxed);
                    std::thread::sleep(Duration::from_millis(5));
                }
            });
        }
        std::thread::sleep(Duration::from_millis(500));
        let post =
            |number| node.post("application/json", signal("acme", "vm", &format!("g-{number}")).as_bytes());
        let good = (0..200).map(|number| post(number).status).collect();
        over.store(true, Ordering::Relaxed);
        good
    });
    assert_eq!(good, vec![202; 200]);
    let sent = sent.into_inner();
    assert!(sent > 100, "{sent}: more than the guard allows");
    // The counters are gathered once in a while.
    let until = Instant::now() + PATIENCE;
    while node.metric("gemba_signals_total{result=\"bad_signature\"}") < f64::from(sent) {
        assert!(Instant::now() < until);
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(node.metric("gemba_signals_total{result=\"bad_signature\"}") <= f64::from(sent));
}

#[test]
fn a_declared_length_takes_nothing_from_others() {
    let node = Node::start();
    let declared = raw(POST, &[JSON, "x-signature: 00", &format!("content-length: {BODY_MAX}")], b"");
    let silent = crowd(client(1), node.ingress, 600, &declared);
    assert_eq!(silent.len(), 600);
    for number in 0..20 {
        let body = long_signal(&format!("beside-{number}"), 100 * 1024);
        assert_eq!(node.post("application/json", &body).status, 202, "{number}");
    }
}

/// The same with bytes that are really sent: who holds the most gives back, never the newest.
#[test]
fn bodies_that_stall_make_room_for_bodies_that_come() {
    let node = Node::start();
    let before = node.rss_bytes();
    let length = format!("content-length: {BODY_MAX}");
    let stalled = raw(POST, &[JSON, "x-signature: 00", &length], &vec![b' '; BODY_MAX - 1]);
    // Twice what may be held unverified.
    let held: Vec<TcpStream> =
        (1..=4).flat_map(|number| crowd(client(number), node.ingress, 128, &stalled)).collect();
    assert_eq!(held.len(), 512);
    for number in 0..20 {
        let body = long_signal(&format!("beside-{number}"), 200 * 1024);
        let request = signed(&node, &body);
        let mut socket = connect(node.ingress);
        // In two parts, so that it has to be held, too.
        socket.write_all(&request[..100_000]).unwrap();
        std::thread::sleep(Duration::from_millis(20));
        socket.write_all(&request[100_000..]).unwrap();
        assert_eq!(read_answer(&mut socket).expect("an answer").status, 202, "{number}");
    }
    let grown = node.rss_bytes().saturating_sub(before) / MIB;
    assert!(grown < 176, "{grown} MiB are held");
    let refused =
        held.into_iter().filter_map(|mut socket| read_answer(&mut socket)).map(|answer| answer.status);
    let refused: Vec<u16> = refused.collect();
    assert!(refused.iter().all(|status| [503, 408].contains(status)), "{refused:?}");
    assert!(refused.contains(&503), "some had to go at once");
}

/// Header blocks of HTTP/2 that are never finished count like bodies that are not.
#[test]
fn frames_in_parts_make_room_for_others() {
    const BLOCK: usize = 16 * 1024;
    let node = Node::start();
    let field = [&[0, 1, b'x', 100], [b'y'; 100].as_slice()].concat();
    let fields: Vec<u8> = field.into_iter().cycle().take(2 * BLOCK).collect();
    let half = [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        frame(SETTINGS, 0, 0, b""),
        // A request that was answered, so that the connection may be idle for a while.
        frame(HEADERS, END_HEADERS | 1, 1, &block("00")),
        frame(HEADERS, 0, 3, &fields[..BLOCK]),
        frame(CONTINUATION, 0, 3, &fields[BLOCK..])[..BLOCK].to_vec(),
    ]
    .concat();
    // Half more than may be held of clients that have proved nothing.
    let mut held: Vec<TcpStream> =
        (1..=4).flat_map(|number| crowd(client(number), node.ingress, 375, &half)).collect();
    std::thread::sleep(Duration::from_secs(1));
    let mut gone = 0;
    for socket in &mut held {
        socket.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
        let mut said = [0; 1024];
        let ended = loop {
            match socket.read(&mut said) {
                Ok(0) => break true,
                Ok(_) => {}
                Err(error) => break error.kind() != ErrorKind::WouldBlock,
            }
        };
        gone += usize::from(ended);
    }
    assert!(gone > 200, "{gone} of {} had to go", held.len());
    assert_eq!(node.post("application/json", signal("acme", "vm", "beside").as_bytes()).status, 202);
}

#[test]
fn a_first_byte_alone_costs_no_time() {
    let node = Node::start();
    for first in [b"P".as_slice(), b"PRI * HTTP/2.0\r\n", b""] {
        let sockets = crowd(client(1), node.ingress, 1000, first);
        let before = cpu_time(node.pid());
        std::thread::sleep(Duration::from_secs(2));
        // Half of them leave; nothing is looked at on their account either.
        drop(sockets.into_iter().step_by(2).collect::<Vec<_>>());
        std::thread::sleep(Duration::from_secs(1));
        let used = cpu_time(node.pid()).saturating_sub(before);
        assert!(
            used < Duration::from_millis(700),
            "{used:?} of 3 s for 1,000 connections that said {first:?}"
        );
    }
}

/// SETTINGS_INITIAL_WINDOW_SIZE 0: answers have no window.
const NO_WINDOW: [u8; 6] = [0, 4, 0, 0, 0, 0];

#[test]
fn answers_that_nobody_takes_are_dropped_in_time_and_one_by_one() {
    let node = Node::start();
    let body = signal("acme", "vm", "taken");
    let good = block(&node.sign(body.as_bytes()));
    let bad = block(&"0".repeat(64));
    let before = node.rss_bytes();
    let mut deaf: Vec<Frames> = (0..200)
        .map(|_| {
            let mut frames = Frames::on(connect(node.ingress), &NO_WINDOW);
            for stream in (1..200).step_by(2) {
                send(&mut frames.socket, &frame(HEADERS, END_HEADERS | 1, stream, &bad));
            }
            frames
        })
        .collect();
    assert_eq!(exchange(node.ingress, &signed(&node, body.as_bytes())).status, 202);
    let grown = node.rss_bytes().saturating_sub(before) / MIB;
    assert!(grown < 130, "{grown} MiB are held");
    let begun = Instant::now();
    // Every stream is reset: most at once, some after the deadline.
    let frames = &mut deaf[7];
    let mut reset = 0;
    while reset < 100 {
        let (kind, _, _, _) = frames.next().expect("a reset of each stream");
        assert_ne!(kind, GOAWAY, "the connection goes on");
        reset += u32::from(kind == RST_STREAM);
    }
    assert!(begun.elapsed() < Duration::from_secs(25), "{:?}", begun.elapsed());
    // The same connection still brings signals and takes their answers.
    send(&mut frames.socket, &frame(HEADERS, END_HEADERS, 201, &good));
    send(&mut frames.socket, &frame(8, 0, 201, &10_000u32.to_be_bytes()));
    send(&mut frames.socket, &frame(DATA, 1, 201, body.as_bytes()));
    while !matches!(frames.next().expect("an answer"), (DATA, 1, 201, _)) {}
}

#[test]
fn unread_answers_of_http_1_are_bounded_too() {
    let node = Node::start();
    let before = node.rss_bytes();
    let body = format!("[{}]", vec!["{}"; 200].join(","));
    let signature = format!("x-signature: {}", node.sign(body.as_bytes()));
    let length = format!("content-length: {}", body.len());
    let headers = ["content-type: application/cloudevents-batch+json", &signature, &length];
    // Each is refused with 200 reasons.
    let requests = raw(POST, &headers, body.as_bytes()).repeat(100);
    let mut deaf = crowd(client(1), node.ingress, 200, b"");
    for socket in &mut deaf {
        socket.set_write_timeout(Some(Duration::from_millis(50))).unwrap();
        send(socket, &requests);
    }
    assert_eq!(node.post("application/json", signal("acme", "vm", "beside").as_bytes()).status, 202);
    let grown = node.rss_bytes().saturating_sub(before) / MIB;
    assert!(grown < 160, "{grown} MiB are held");
}

/// A PING is no request: it neither shortens the time of an idle connection nor prolongs it.
#[test]
fn pings_do_not_change_when_an_idle_connection_ends() {
    let node = Node::start_with(&[("GEMBA_INGRESS__IDLE_SECONDS", "14")]);
    let body = signal("acme", "vm", "then-idle");
    let head = block(&node.sign(body.as_bytes()));
    let lives: Vec<Duration> = std::thread::scope(|scope| {
        let live = |pings: bool| {
            let (node, head, body) = (&node, &head, &body);
            scope.spawn(move || {
                let mut frames = Frames::on(connect(node.ingress), b"");
                send(&mut frames.socket, &frame(HEADERS, END_HEADERS, 1, head));
                send(&mut frames.socket, &frame(DATA, 1, 1, body.as_bytes()));
                while !matches!(frames.next().expect("an answer"), (DATA, 1, 1, _)) {}
                let begun = Instant::now();
                let mut writer = frames.socket.try_clone().unwrap();
                std::thread::spawn(move || {
                    while pings && writer.write_all(&frame(PING, 0, 0, &[1; 8])).is_ok() {
                        std::thread::sleep(Duration::from_millis(700));
                    }
                });
                let mut announced = false;
                while let Some((kind, _, _, _)) = frames.next() {
                    announced |= kind == GOAWAY;
                }
                assert!(announced, "it says that it goes");
                begun.elapsed()
            })
        };
        [live(false), live(true)].map(|thread| thread.join().unwrap()).into()
    });
    for life in lives {
        assert!((13..25).contains(&life.as_secs()), "{life:?}");
    }
}

#[test]
fn a_head_in_pieces_means_what_it_means_in_one() {
    let node = Node::start();
    let body = signal("acme", "vm", "bad");
    let signature = format!("x-signature: {}", node.sign(body.as_bytes()));
    for length in
        [format!("{}{}", "0".repeat(1100), body.len()), format!("1{}", "0".repeat(1100)), "0".repeat(30)]
    {
        let request = raw(POST, &[JSON, &signature, &format!("content-length: {length}")], body.as_bytes());
        let mut socket = connect(node.ingress);
        for piece in request.chunks(1000) {
            send(&mut socket, piece);
            std::thread::sleep(Duration::from_millis(30));
        }
        let answer = read_answer(&mut socket).expect("an answer");
        assert_eq!(answer.status, 400, "{answer:?}");
        assert_problem("a long length", &answer);
        assert_eq!(rest(&mut socket), b"");
    }
    assert_eq!(node.ask("/v1/signals/acme/bad").status, 404);
}

#[test]
fn a_request_is_for_one_well_formed_host() {
    let node = Node::start();
    let body = signal("acme", "vm", "bad");
    let good = String::from_utf8(signed(&node, body.as_bytes())).unwrap();
    for (name, from, to) in [
        ("missing", "host: localhost\r\n", ""),
        ("twice", "host: localhost\r\n", "host: localhost\r\nhost: localhost\r\n"),
        ("two names", "host: localhost\r\n", "host: localhost\r\nHost: other\r\n"),
        ("empty", "host: localhost", "host:"),
        ("two in one", "host: localhost", "host: localhost, other"),
        ("a user", "host: localhost", "host: user@localhost"),
        ("a path", "host: localhost", "host: localhost/x"),
        ("a bad port", "host: localhost", "host: localhost:http"),
        ("a broken address", "host: localhost", "host: [::1"),
        ("another in the target", "/v1/signals", "http://other/v1/signals"),
    ] {
        assert!(good.contains(from));
        let answer = exchange(node.ingress, good.replacen(from, to, 1).as_bytes());
        assert_eq!(answer.status, 400, "{name}: {answer:?}");
        assert_problem(name, &answer);
        assert_eq!(answer.header("connection"), Some("close"), "{name}");
    }
    // HTTP/2: `host` beside `:authority`.
    let mut other = block(&node.sign(body.as_bytes()));
    other.extend_from_slice(b"\x00\x04host\x05other");
    let mut frames = Frames::on(connect(node.ingress), b"");
    send(&mut frames.socket, &frame(HEADERS, END_HEADERS, 1, &other));
    send(&mut frames.socket, &frame(DATA, 1, 1, body.as_bytes()));
    loop {
        let (kind, _, stream, payload) = frames.next().expect("an answer");
        if (kind, stream) == (HEADERS, 1) {
            // 400 is the 12th entry of the static table (RFC 7541, appendix A).
            assert_eq!(payload[0], 0x80 | 0x0c);
            break;
        }
    }
    assert_eq!(node.ask("/v1/signals/acme/bad").status, 404);
}

#[test]
fn a_refused_request_takes_no_other_with_it() {
    let node = Node::start();
    let body = vec![b'x'; 100 * 1024];
    let length = format!("content-length: {}", body.len());
    let refusals = [
        (404, raw("POST /v1/nothing HTTP/1.1", &[JSON, &length], &body)),
        (405, raw("PUT /v1/signals HTTP/1.1", &[JSON, &length], &body)),
        (415, raw(POST, &["content-type: text/plain", &length], &body)),
        (415, raw(POST, &[JSON, "content-encoding: gzip", &length], &body)),
        (401, raw(POST, &[JSON, "x-signature: 00", &length], &body)),
    ];
    let mut socket = connect(node.ingress);
    for (number, (status, request)) in refusals.iter().enumerate() {
        let next = signed(&node, signal("acme", "vm", &format!("next-{number}")).as_bytes());
        // Head, body and the next request come apart.
        let head = request.len() - body.len();
        for part in [&request[..head], &request[head..], &next] {
            send(&mut socket, part);
            std::thread::sleep(Duration::from_millis(30));
        }
        let answer = read_answer(&mut socket).expect("an answer");
        assert_eq!((answer.status, answer.header("connection")), (*status, None));
        assert_eq!(read_answer(&mut socket).expect("the next is not lost").status, 202, "{status}");
    }
    // A body that is not worth reading: the client hears it while it still sends.
    for (status, line) in [(404, "POST /v1/nothing HTTP/1.1"), (413, POST)] {
        let long = vec![b'x'; 900 * 1024];
        let mut socket = connect(node.ingress);
        let head = raw(line, &[JSON, &format!("content-length: {}", long.len())], b"");
        send(&mut socket, &head);
        for part in long.chunks(50 * 1024) {
            socket.write_all(part).expect("no reset while it sends");
            std::thread::sleep(Duration::from_millis(5));
        }
        let answer = read_answer(&mut socket).expect("the answer is not lost");
        assert_eq!((answer.status, answer.header("connection")), (status, Some("close")));
        assert_eq!(rest(&mut socket), b"");
    }
}

/// What a pipelining client of one connection has in flight when the connection ends.
#[test]
fn an_old_connection_answers_all_that_was_read_and_says_which_is_the_last() {
    let unlimited = ("GEMBA_RATE_LIMIT__PER_SECOND", "1000000");
    let node = Node::start_with(&[("GEMBA_INGRESS__CONNECTION_SECONDS", "2"), unlimited]);
    let mut socket = connect(node.ingress);
    let mut writer = socket.try_clone().unwrap();
    let request = signed(&node, signal("acme", "vm", "again").as_bytes());
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // Sixteen at a time, and a part of the next.
            let burst = [request.repeat(16), request[..40].to_vec()].concat();
            let mut rest_of_last = b"".as_slice();
            while !over.load(Ordering::Relaxed) {
                if writer.write_all(&[rest_of_last, &burst].concat()).is_err() {
                    return;
                }
                rest_of_last = &request[40..];
                std::thread::sleep(Duration::from_millis(10));
            }
        });
        let begun = Instant::now();
        let mut answers = 0;
        loop {
            let answer = read_answer(&mut socket).expect("the last answer says that it is the last");
            assert_eq!(answer.status, 202);
            answers += 1;
            if answer.header("connection") == Some("close") {
                break;
            }
        }
        over.store(true, Ordering::Relaxed);
        assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
        assert!(answers > 100, "{answers}");
        assert_eq!(rest(&mut socket), b"", "nothing follows it");
    });
    // More requests than one connection once brought, none lost.
    let node = Node::start_with(&[unlimited]);
    let mut socket = connect(node.ingress);
    let mut writer = socket.try_clone().unwrap();
    let request = signed(&node, signal("acme", "vm", "again").as_bytes());
    std::thread::scope(|scope| {
        scope.spawn(|| (0..200).for_each(|_| send(&mut writer, &request.repeat(16))));
        for number in 0..3200 {
            let answer = read_answer(&mut socket).unwrap_or_else(|| panic!("answer {number}"));
            assert_eq!((answer.status, answer.header("connection")), (202, None), "{number}");
        }
    });
}

#[test]
fn connections_without_a_request_do_not_hold_the_end_of_the_process() {
    let mut node = Node::start();
    let whole = signed(&node, signal("acme", "vm", "in-flight").as_bytes());
    let _silent = crowd(client(1), node.ingress, 50, b"");
    let _half = crowd(client(1), node.ingress, 50, &whole[..60]);
    // An HTTP/2 client that confirms nothing.
    let _deaf: Vec<Frames> = (0..10).map(|_| Frames::on(connect(node.ingress), b"")).collect();
    // An idle one.
    let mut idle = connect(node.ingress);
    send(&mut idle, &signed(&node, signal("acme", "vm", "before").as_bytes()));
    assert_eq!(read_answer(&mut idle).unwrap().status, 202);
    // A request whose head is complete is under way: its body comes while the node drains.
    let body = signal("acme", "vm", "in-flight").len();
    let mut under_way = connect(node.ingress);
    send(&mut under_way, &whole[..whole.len() - body]);
    std::thread::sleep(Duration::from_millis(300));
    let begun = Instant::now();
    node.signal("TERM");
    std::thread::sleep(Duration::from_millis(300));
    send(&mut under_way, &whole[whole.len() - body..]);
    assert_eq!(read_answer(&mut under_way).expect("an answer").status, 202);
    assert!(node.ended().success());
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}

/// A body that never comes holds a drain for a bounded time, below the ten seconds of `docker stop`.
#[test]
fn a_stalled_body_holds_the_end_of_the_process_for_seconds_only() {
    let mut node = Node::start();
    let head = raw(POST, &[JSON, "x-signature: 00", "content-length: 100"], b"");
    let sockets: Vec<TcpStream> = (0..20)
        .map(|_| {
            let mut socket = connect(node.ingress);
            send(&mut socket, &head);
            socket
        })
        .collect();
    std::thread::sleep(Duration::from_millis(200));
    let begun = Instant::now();
    assert!(node.terminate().success());
    assert!(begun.elapsed() < Duration::from_secs(9), "{:?}", begun.elapsed());
    drop(sockets);
}

const TRUSTED: (&str, &str) = ("GEMBA_INGRESS__TRUSTED_PROXIES", "[\"127.9.9.1\", \"10.0.0.0/8\"]");

/// One request from `from`, with `before` on the connection and `headers` in the request; its status.
fn status_of(node: &Node, from: u8, before: &[u8], id: &str) -> Option<u16> {
    let mut socket = connect_from(client(from), node.ingress).unwrap();
    send(&mut socket, before);
    send(&mut socket, &signed(node, signal("acme", "vm", id).as_bytes()));
    Some(read_answer(&mut socket)?.status)
}

#[test]
fn the_proxy_protocol_is_believed_from_configured_proxies_alone() {
    let node = Node::start_with(&[TRUSTED]);
    let v1 = b"PROXY TCP4 192.0.2.7 127.0.0.1 5 80\r\n".as_slice();
    let v2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x07\x7f\0\0\x01\0\x05\0\x50".as_slice();
    assert_eq!(status_of(&node, 1, v1, "v1"), Some(202));
    assert_eq!(status_of(&node, 1, v2, "v2"), Some(202));
    assert_eq!(status_of(&node, 1, b"", "a proxy that says nothing"), Some(202));
    assert_eq!(status_of(&node, 2, v1, "not trusted"), Some(400));
    assert_eq!(status_of(&node, 2, v2, "not trusted"), Some(400));
    assert_eq!(status_of(&node, 1, b"PROXY TCP4 nobody 127.0.0.1 5 80\r\n", "broken"), None);
    // HTTP/2 behind it, in single bytes.
    let mut socket = connect_from(client(1), node.ingress).unwrap();
    for byte in v2 {
        send(&mut socket, &[*byte]);
    }
    let body = signal("acme", "vm", "h2-behind-a-proxy");
    let mut frames = Frames::on(socket, b"");
    send(&mut frames.socket, &frame(HEADERS, END_HEADERS, 1, &block(&node.sign(body.as_bytes()))));
    send(&mut frames.socket, &frame(DATA, 1, 1, body.as_bytes()));
    while !matches!(frames.next().expect("an answer"), (DATA, 1, 1, _)) {}
}

/// One client has so many connections, also behind a proxy, and takes none from the proxy's other clients.
#[test]
fn connections_behind_a_proxy_are_counted_for_their_client() {
    allow_descriptors();
    let node = Node::start_with(&[TRUSTED, ("GEMBA_INGRESS__THREADS", "1")]);
    let of = |address: &str, id: &str| {
        let mut socket = connect_from(client(1), node.ingress).unwrap();
        send(&mut socket, format!("PROXY TCP6 {address} ::1 5 80\r\n").as_bytes());
        send(&mut socket, &signed(&node, signal("acme", "vm", id).as_bytes()));
        let answer = read_answer(&mut socket).map(|answer| answer.status);
        (answer, socket)
    };
    let held: Vec<_> =
        (0..256).map(|number| of(&format!("2001:db8::{number:x}"), &format!("c-{number}"))).collect();
    assert!(held.iter().all(|(answer, _)| *answer == Some(202)));
    assert_eq!(of("2001:db8::ffff", "one-too-many").0, None, "a /64 is one client");
    assert_eq!(of("2001:db8:0:1::1", "another").0, Some(202));
    drop(held);
    let until = Instant::now() + PATIENCE;
    while of("2001:db8::ffff", "again").0.is_none() {
        assert!(Instant::now() < until, "a connection that has ended counts no more");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// An address that sends bad signatures behind a proxy holds back its own large bodies, and those of nobody else.
#[test]
fn clients_behind_a_proxy_are_told_apart_by_its_headers() {
    let node = Node::start_with(&[TRUSTED, ("GEMBA_INGRESS__THREADS", "1")]);
    let post = |from: u8, header: &str, signed: bool, bytes: usize, id: &str| {
        let body = long_signal(id, bytes);
        let signature = if signed { node.sign(&body) } else { "00".into() };
        let headers =
            [JSON, &format!("x-signature: {signature}"), header, &format!("content-length: {bytes}")];
        let mut socket = connect_from(client(from), node.ingress).unwrap();
        send(&mut socket, &raw(POST, &headers, &body));
        read_answer(&mut socket).expect("an answer")
    };
    let forger = "x-forwarded-for: 203.0.113.66";
    // So many that its large bodies have to wait longer than they may.
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let send =
            || (0..40).map(|_| post(1, forger, false, 250 * 1024, "forged").status).collect::<Vec<_>>();
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(send)).collect();
        let good = (0..20).map(|number| {
            let bytes = 250 * 1024;
            let other = post(1, "forwarded: for=192.0.2.7", true, bytes, &format!("other-{number}")).status;
            // What the client itself claims behind the proxy, or without one, is not believed.
            let claims = post(2, forger, true, bytes, &format!("claims-{number}")).status;
            let small = post(1, forger, true, 1000, &format!("small-{number}")).status;
            (other, claims, small)
        });
        assert!(good.into_iter().all(|statuses| statuses == (202, 202, 202)));
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    assert!(statuses.iter().all(|status| [401, 503].contains(status)), "{statuses:?}");
}

/// `nc -N` and others say that they send no more, and wait for the answer.
#[test]
fn a_client_that_sends_no_more_gets_its_answers() {
    let node = Node::start();
    for (number, pause) in [0, 50].into_iter().enumerate() {
        let requests: Vec<Vec<u8>> = (0..3)
            .map(|each| signed(&node, signal("acme", "vm", &format!("last-{number}-{each}")).as_bytes()))
            .collect();
        let requests = requests.concat();
        let mut socket = connect(node.ingress);
        let (first, rest_of_it) = requests.split_at(requests.len() - 20);
        send(&mut socket, first);
        std::thread::sleep(Duration::from_millis(pause));
        send(&mut socket, rest_of_it);
        socket.shutdown(Shutdown::Write).unwrap();
        for _ in 0..3 {
            assert_eq!(read_answer(&mut socket).expect("an answer").status, 202);
        }
        assert_eq!(rest(&mut socket), b"");
    }
}

/// Declared and not sent: the turn of the large bodies of the same address is not taken.
#[test]
fn what_a_forger_declares_takes_no_turn() {
    let node = Node::start_with(&[("GEMBA_INGRESS__THREADS", "1")]);
    for _ in 0..60 {
        assert_eq!(exchange(node.ingress, &forged(100)).status, 401);
    }
    let declared = raw(POST, &[JSON, "x-signature: 00", &format!("content-length: {BODY_MAX}")], b"");
    let _held = crowd(client(1), node.ingress, 200, &declared);
    let same = || connect_from(client(1), node.ingress).unwrap();
    for _ in 0..60 {
        let mut socket = same();
        send(&mut socket, &forged(100));
        assert_eq!(read_answer(&mut socket).unwrap().status, 401);
    }
    let mut socket = same();
    send(&mut socket, &signed(&node, &long_signal("not-waiting", 200 * 1024)));
    assert_eq!(read_answer(&mut socket).unwrap().status, 202);
}

/// What an address sent a moment ago is judged by the time at which a body is there, not by that at which it began to come.
#[test]
fn one_mistake_of_an_address_holds_up_no_large_body_that_was_on_its_way() {
    let node = Node::start_with(&[("GEMBA_INGRESS__THREADS", "1")]);
    let no_signal = signed(&node, b"{}");
    for (number, (from, mistake, status)) in
        [(1, forged(100), 401), (2, no_signal, 422)].into_iter().enumerate()
    {
        let slow = signed(&node, &long_signal(&format!("slow-{number}"), 100 * 1024));
        let mut socket = connect_from(client(from), node.ingress).unwrap();
        send(&mut socket, &slow[..50 * 1024]);
        // Longer than a large body waits for its turn.
        std::thread::sleep(Duration::from_millis(1500));
        let mut other = connect_from(client(from), node.ingress).unwrap();
        send(&mut other, &mistake);
        assert_eq!(read_answer(&mut other).expect("an answer").status, status);
        send(&mut socket, &slow[50 * 1024..]);
        let answer = read_answer(&mut socket).expect("an answer");
        assert_eq!(answer.status, 202, "{}", answer.text());
    }
}

/// An empty line after a request is passed over (RFC 9112, 2.2): it is not the beginning of a head.
#[test]
fn an_empty_line_does_not_shorten_an_idle_connection() {
    let node = Node::start();
    let mut socket = connect(node.ingress);
    send(&mut socket, &signed(&node, signal("acme", "vm", "before").as_bytes()));
    send(&mut socket, b"\r\n");
    assert_eq!(read_answer(&mut socket).unwrap().status, 202);
    std::thread::sleep(Duration::from_secs(14));
    send(&mut socket, &signed(&node, signal("acme", "vm", "after").as_bytes()));
    assert_eq!(read_answer(&mut socket).expect("an answer").status, 202);
}
