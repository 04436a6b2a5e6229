//! The operator plane among clients that mean it no good.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use socket2::{Domain, SockAddr, Socket, Type};

use crate::hostile::{client, connect_from, crowd};
use crate::http::{Answer, read_answer};
use crate::node::{Node, PATIENCE, signal};
use crate::program::{PROGRAM, command_of};
use crate::wire::{connect, raw, send};

const LIVE: &[u8] = b"GET /livez HTTP/1.1\r\nhost: gemba\r\nconnection: close\r\n\r\n";

fn asked_from(number: u8, node: &Node, path: &str, token: Option<&str>) -> Option<Answer> {
    let mut socket = connect_from(client(number), node.admin).ok()?;
    let token = token.map(|token| format!("authorization: Bearer {token}"));
    let headers: Vec<&str> = token.as_deref().into_iter().chain(["connection: close"]).collect();
    socket.write_all(&raw(&format!("GET {path} HTTP/1.1"), &headers, b"")).ok()?;
    read_answer(&mut socket)
}

#[test]
fn silent_connections_take_nobody_the_operator_plane() {
    let mut node = Node::start();
    let token = node.secret("admin.token");
    // One address with many, many addresses with some, half a head, and some that were served before.
    let mut silent = crowd(client(1), node.admin, 200, b"");
    for number in 2..=60 {
        silent.extend(crowd(client(number), node.admin, 4, b""));
        silent.extend(crowd(client(number), node.admin, 2, b"GET /livez HT"));
        silent.extend(crowd(client(number), node.admin, 1, b"GET /livez HTTP/1.1\r\nhost: gemba\r\n\r\n"));
    }
    assert!(silent.len() > 600);
    for number in [1, 2, 200] {
        for (path, token) in
            [("/livez", None), ("/readyz", None), ("/metrics", None), ("/v1/status", Some(&*token))]
        {
            let answer = asked_from(number, &node, path, token);
            assert_eq!(answer.map(|answer| answer.status), Some(200), "{path} from client {number}");
        }
    }
    assert_eq!(node.post("application/json", signal("acme", "vm", "s-1").as_bytes()).status, 202);
    assert!(node.terminate().success());
}

#[test]
fn who_may_ask_holds_a_share_and_health_is_told_beside_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = include_str!("../../config/dev.toml")
        .replace("config/policies", concat!(env!("CARGO_MANIFEST_DIR"), "/config/policies"));
    for number in 1..=6 {
        config.push_str(&format!("\n[[admin.token]]\nname = \"v{number}\"\nrole = \"viewer\"\n"));
    }
    std::fs::write(dir.path().join("gemba.toml"), config).unwrap();
    let mut node = Node::start_in(dir.path(), &[("GEMBA_CONFIG", "gemba.toml")]);
    let token = node.secret("v6.token");
    let mut held = Vec::new();
    // All come from one address, as through a proxy.
    for number in 1..=6 {
        let viewer = node.secret(&format!("v{number}.token"));
        let request = raw("GET /v1/status HTTP/1.1", &[&format!("authorization: Bearer {viewer}")], b"");
        if number == 2 {
            let scrape = asked_from(1, &node, "/metrics", None).map(|answer| answer.status);
            assert_eq!(scrape, Some(200), "without a token, beside a token that holds its share");
        }
        for _ in 0..20 {
            let mut socket = connect_from(client(1), node.admin).unwrap();
            socket.write_all(&request).unwrap();
            let status = read_answer(&mut socket).map(|answer| answer.status);
            held.push((number, status, socket));
        }
    }
    let count =
        |number| held.iter().filter(|(from, status, _)| *from == number && *status == Some(200)).count();
    assert_eq!(count(1), 16, "the share of one token");
    assert_eq!((1..=6).map(count).sum::<usize>(), 64);
    assert_eq!(held.iter().filter(|(_, status, _)| *status == Some(503)).count(), 120 - 64);
    for number in [1, 100] {
        assert_eq!(asked_from(number, &node, "/livez", None).map(|answer| answer.status), Some(200));
        assert_eq!(asked_from(number, &node, "/readyz", None).map(|answer| answer.status), Some(200));
        let more = asked_from(number, &node, "/v1/status", Some(&token)).unwrap();
        assert_eq!((more.status, more.header("retry-after")), (503, Some("1")));
    }
    drop(held);
    let status = || asked_from(100, &node, "/v1/status", Some(&token)).map(|answer| answer.status);
    let until = Instant::now() + PATIENCE;
    while status() != Some(200) {
        assert!(Instant::now() < until, "{:?}: what they held is not given back", status());
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(node.terminate().success());
}

/// How long the node keeps a connection on which nothing more is said or taken.
fn kept(mut socket: TcpStream) -> Duration {
    let begun = Instant::now();
    // What was written before may be left unread: only the end matters.
    let unread = [0; 1];
    while socket.write_all(&unread).is_ok() {
        assert!(begun.elapsed() < Duration::from_secs(40), "the connection is never closed");
        std::thread::sleep(Duration::from_millis(250));
    }
    begun.elapsed()
}

#[test]
fn slow_clients_of_operators_are_left() {
    let node = Node::start();
    let token = format!("authorization: Bearer {}", node.secret("admin.token"));
    std::thread::scope(|scope| {
        // An order whose body never comes.
        scope.spawn(|| {
            let mut socket = connect(node.admin);
            let path = "POST /v1/deadletters/d-0000000000000001/dry-run HTTP/1.1";
            send(&mut socket, &raw(path, &[&token, "content-length: 100"], b"{"));
            let begun = Instant::now();
            assert_eq!(read_answer(&mut socket).map(|answer| answer.status), Some(408));
            assert!(begun.elapsed() < Duration::from_secs(25));
        });
        // Nothing after an answer.
        scope.spawn(|| {
            let mut socket = connect(node.admin);
            send(&mut socket, b"GET /livez HTTP/1.1\r\nhost: gemba\r\n\r\n");
            assert_eq!(read_answer(&mut socket).map(|answer| answer.status), Some(200));
            let begun = Instant::now();
            assert_eq!(socket.read(&mut [0]).unwrap_or(0), 0);
            assert!(begun.elapsed() < Duration::from_secs(25));
        });
        // A head that comes byte by byte.
        scope.spawn(|| {
            let mut socket = connect(node.admin);
            send(&mut socket, b"GET /livez HTTP/1.1\r\nx: ");
            assert!(kept(socket) < Duration::from_secs(25));
        });
    });
    // Answers that nobody takes, apart: to make so many of them keeps a slow machine from all the others.
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    // With a small window few answers, which are work, have nowhere to go.
    socket.set_recv_buffer_size(2048).unwrap();
    socket.connect(&SockAddr::from(node.admin)).unwrap();
    let mut socket = TcpStream::from(socket);
    socket.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
    let request = b"GET /metrics HTTP/1.1\r\nhost: localhost\r\n\r\n".repeat(100);
    while socket.write_all(&request).is_ok() {}
    let begun = Instant::now();
    let mut socket = Some(socket);
    while let Some(open) = &mut socket {
        assert!(begun.elapsed() < Duration::from_secs(40), "answers that nobody takes are kept");
        match open.write(&request[..1]) {
            Err(error) if error.kind() != std::io::ErrorKind::WouldBlock => socket = None,
            _ => std::thread::sleep(Duration::from_millis(250)),
        }
    }
    assert_eq!(node.ask("/livez").status, 200);
}

/// Runs `work` on a thread in the network namespace of a process.
fn in_network_of<T: Send>(pid: u32, work: impl FnOnce() -> T + Send) -> T {
    use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
    std::thread::scope(|scope| {
        let inside = scope.spawn(move || {
            let namespace = std::fs::File::open(format!("/proc/{pid}/ns/net")).unwrap();
            move_into_link_name_space(std::os::fd::AsFd::as_fd(&namespace), Some(LinkNameSpaceType::Network))
                .unwrap();
            work()
        });
        inside.join().unwrap()
    })
}

#[test]
fn strangers_learn_whether_the_node_is_ready_and_no_more() {
    let dir = tempfile::tempdir().unwrap();
    // A network of its own, in which this machine has one address more. A client at it is not on loopback.
    let mut command = command_of("unshare", dir.path());
    let inside = "ip link set lo up && ip addr add 192.0.2.1/32 dev lo && exec \"$0\" serve";
    command.args(["--net", "sh", "-c", inside, PROGRAM]).env("GEMBA_ADMIN__LISTEN", "[::]:9090");
    let mut node = Node::start_command(dir.path(), command);
    let token = node.secret("admin.token");
    let ask = |host: &str, path: &str, token: Option<&str>| {
        let address: SocketAddr = format!("{host}:9090").parse().unwrap();
        let token = token.map(|token| format!("authorization: Bearer {token}"));
        let headers: Vec<&str> = token.as_deref().into_iter().chain(["connection: close"]).collect();
        let request = raw(&format!("GET {path} HTTP/1.1"), &headers, b"");
        in_network_of(node.pid(), || crate::http::exchange(address, &request))
    };
    // The listener is one of IPv6, so this is seen as ::ffff:127.0.0.1.
    for own in ["127.0.0.1", "[::1]"] {
        assert_eq!(ask(own, "/livez", None).status, 200, "{own}");
        assert_eq!(ask(own, "/metrics", None).status, 200, "{own}");
        assert!(ask(own, "/readyz", None).json()["stages"].is_array(), "{own}");
        assert_eq!(ask(own, "/v1/status", None).status, 401, "{own}");
    }
    let stranger = "192.0.2.1";
    for token in [None, Some("wrong")] {
        assert_eq!(ask(stranger, "/livez", token).status, 200);
        let ready = ask(stranger, "/readyz", token);
        assert_eq!((ready.status, ready.json()), (200, serde_json::json!({"status": "ready"})));
        assert_eq!(ask(stranger, "/metrics", token).status, 401);
        assert_eq!(ask(stranger, "/v1/status", token).status, 401);
    }
    assert!(ask(stranger, "/readyz", Some(&token)).json()["stages"].is_array());
    assert_eq!(ask(stranger, "/metrics", Some(&token)).status, 200);
    assert_eq!(in_network_of(node.pid(), || crate::http::exchange(node.admin, LIVE)).status, 200);
    assert!(node.terminate().success());
}

/// A page whose name leads here, and a proxy on this machine, come from loopback and do not ask for this machine.
#[test]
fn who_asks_through_this_machine_is_a_stranger() {
    let mut node = Node::start();
    let token = node.secret("admin.token");
    let ask = |path: &str, fields: &str| {
        let request = format!("GET {path} HTTP/1.1\r\n{fields}\r\nconnection: close\r\n\r\n");
        crate::http::exchange(node.admin, request.as_bytes())
    };
    for own in ["host: localhost:9090", "host: 127.0.0.1:9090", "host: [::1]"] {
        assert_eq!(ask("/metrics", own).status, 200, "{own}");
        assert!(ask("/readyz", own).json()["stages"].is_array(), "{own}");
    }
    for others in [
        "host: evil.example:21001",
        "host: localhost\r\nx-forwarded-for: 192.0.2.7",
        "host: localhost\r\nforwarded: for=192.0.2.7",
        "host: localhost\r\norigin: http://evil.example",
        "host: localhost\r\nsec-fetch-site: cross-site",
    ] {
        assert_eq!(ask("/metrics", others).status, 401, "{others}");
        assert_eq!(ask("/readyz", others).json(), serde_json::json!({"status": "ready"}), "{others}");
        let shown = format!("{others}\r\nauthorization: Bearer {token}");
        assert_eq!(ask("/metrics", &shown).status, 200, "{others}");
    }
    assert!(node.terminate().success());
}

/// A refused request, with a body that was not read, does not take the next one with it.
#[test]
fn a_refused_request_of_an_operator_takes_no_other_with_it() {
    let node = Node::start();
    let token = format!("authorization: Bearer {}", node.secret("admin.token"));
    let body = vec![b'x'; 5000];
    let length = format!("content-length: {}", body.len());
    let mut socket = connect(node.admin);
    for (status, line) in [
        (404, "POST /v1/nothing HTTP/1.1"),
        (405, "POST /v1/status HTTP/1.1"),
        (401, "POST /v1/policy/reload HTTP/1.1"),
        (200, "GET /livez HTTP/1.1"),
    ] {
        for part in [raw(line, &[&length], b""), body.clone(), raw("GET /v1/status HTTP/1.1", &[&token], b"")]
        {
            send(&mut socket, &part);
            std::thread::sleep(Duration::from_millis(30));
        }
        let answer = read_answer(&mut socket).expect("an answer");
        assert_eq!((answer.status, answer.header("connection")), (status, None), "{line}");
        assert_eq!(read_answer(&mut socket).expect("the next is not lost").status, 200, "{line}");
    }
}

/// What a proxy before the plane may read in another way is refused, as it is at the front door.
#[test]
fn a_request_that_can_be_read_in_two_ways_is_refused() {
    let node = Node::start();
    let answered = |request: &str| {
        let mut socket = connect(node.admin);
        send(&mut socket, request.as_bytes());
        read_answer(&mut socket).map(|answer| answer.status)
    };
    let close = "connection: close\r\n\r\n";
    for (name, status, request) in [
        ("plain", 200, format!("GET /livez HTTP/1.1\r\nhost: gemba\r\n{close}")),
        ("in absolute form", 200, format!("GET http://gemba/livez HTTP/1.1\r\nhost: gemba\r\n{close}")),
        ("no host", 400, format!("GET /livez HTTP/1.1\r\n{close}")),
        ("two hosts", 400, format!("GET /livez HTTP/1.1\r\nhost: a\r\nhost: a\r\n{close}")),
        ("a host that is none", 400, format!("GET /livez HTTP/1.1\r\nhost: a/b\r\n{close}")),
        (
            "another host in the target",
            400,
            format!("GET http://other/livez HTTP/1.1\r\nhost: gemba\r\n{close}"),
        ),
        ("a bare LF", 400, format!("GET /livez HTTP/1.1\nhost: gemba\r\n{close}")),
        ("a bare LF behind a header", 400, format!("GET /livez HTTP/1.1\r\nhost: gemba\n{close}")),
        ("a fragment", 400, format!("GET /livez#x HTTP/1.1\r\nhost: gemba\r\n{close}")),
        (
            "two lengths",
            400,
            format!("GET /livez HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\ncontent-length: 0\r\n{close}"),
        ),
        (
            "a length beside chunks",
            400,
            format!(
                "GET /livez HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\ntransfer-encoding: chunked\r\n{close}"
            ),
        ),
    ] {
        assert_eq!(answered(&request), Some(status), "{name}");
    }
}

/// Where the framing of a body was a matter of interpretation, the next request would be too.
#[test]
fn no_request_is_read_behind_a_body_in_chunks() {
    let node = Node::start();
    for next in ["GET /livez HTTP/1.1\r\nhost: gemba\r\n\r\n", "GET /livez HTTP/1.1\nhost: gemba\n\n"] {
        let mut socket = connect(node.admin);
        let first = "GET /livez HTTP/1.1\r\nhost: gemba\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n";
        send(&mut socket, format!("{first}{next}").as_bytes());
        let answer = read_answer(&mut socket).expect("an answer");
        assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
        assert!(read_answer(&mut socket).is_none(), "{next:?}");
    }
}
