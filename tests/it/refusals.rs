//! Who sends over its limit in spite of what it is told is slowed on its own connections: it costs the others nothing.

use std::io::Write as _;
use std::net::{IpAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::h2::{on_connection, post};
use crate::hostile::{client, connect_from};
use crate::http::{exchange, read_answer};
use crate::node::{Node, PATIENCE, signal};
use crate::wire::{connect, raw, send, signed};

/// A node that lets one unit of each tenant through, and then a signal a second. Who sends a batch of a hundred has
/// nothing more for as many seconds.
fn node() -> Node {
    Node::start_with(&[("GEMBA_RATE_LIMIT__PER_SECOND", "1"), ("GEMBA_RATE_LIMIT__BURST", "1")])
}

const BATCH: &str = "application/cloudevents-batch+json";

/// A signed batch of a hundred signals.
fn batch(node: &Node, tenant: &str) -> Vec<u8> {
    let event = |number| {
        format!(
            r#"{{"specversion":"1.0","id":"b-{number}","source":"/test","type":"cost.usage","tenant":"{tenant}","sku":"vm","data":{{"spend":81.25}}}}"#
        )
    };
    let body = format!("[{}]", (0..100).map(event).collect::<Vec<_>>().join(","));
    let signature = format!("x-signature: {}", node.sign(body.as_bytes()));
    let headers = [&format!("content-length: {}", body.len()), &format!("content-type: {BATCH}"), &signature];
    raw("POST /v1/signals HTTP/1.1", &headers.map(String::as_str), body.as_bytes())
}

/// What is refused of one sender within [`WATCHED`], at most: what the allowance and the connections let through, with
/// room for a machine that stalls. Without a bound it is many times that.
const REFUSED_MAX: u32 = 700;
const WATCHED: Duration = Duration::from_secs(4);

/// Sends `request` over and over on each of `connections` for some time, each time when it was answered; how many were
/// answered so.
fn hammer(connections: Vec<TcpStream>, request: &[u8], status: u16) -> u32 {
    let until = Instant::now() + WATCHED;
    let count = |mut socket: TcpStream| {
        let mut answered = 0;
        while Instant::now() < until {
            socket.write_all(request).unwrap();
            assert_eq!(read_answer(&mut socket).expect("an answer").status, status);
            answered += 1;
        }
        answered
    };
    std::thread::scope(|scope| {
        let all: Vec<_> = connections.into_iter().map(|socket| scope.spawn(move || count(socket))).collect();
        all.into_iter().map(|one| one.join().unwrap()).sum()
    })
}

fn connections(node: &Node, count: usize) -> Vec<TcpStream> {
    (0..count).map(|_| connect(node.ingress)).collect()
}

/// Spends what the tenant has.
fn spend(node: &Node, request: &[u8]) {
    assert_eq!(exchange(node.ingress, request).status, 202);
}

/// Runs `attack` while another tenant after the other sends its one signal, which is taken.
fn beside_others<T: Send>(node: &Node, attack: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let attack = scope.spawn(attack);
        let mut number = 0;
        while !attack.is_finished() {
            number += 1;
            let asked = Instant::now();
            let body = signal(&format!("quiet-{number}"), "vm", "s");
            assert_eq!(node.post("application/json", body.as_bytes()).status, 202);
            assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
            std::thread::sleep(Duration::from_millis(20));
        }
        attack.join().unwrap()
    })
}

fn refused(node: &Node) -> f64 {
    node.metric("gemba_signals_total{result=\"rate_limited\"}")
}

#[test]
fn who_ignores_retry_after_is_refused_at_a_bounded_rate() {
    let node = node();
    let request = batch(&node, "noisy");
    spend(&node, &request);
    let answered = beside_others(&node, || hammer(connections(&node, 4), &request, 429));
    assert!(answered < REFUSED_MAX, "{answered}");
    // The counters are gathered once in a while.
    let until = Instant::now() + PATIENCE;
    while refused(&node) < f64::from(answered) || node.metric("gemba_answers_delayed_total") < 1.0 {
        assert!(Instant::now() < until, "{} of {answered} are counted", refused(&node));
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(refused(&node) <= f64::from(answered) + 4.0, "no more were looked at than answered");
}

#[test]
fn a_connection_for_each_request_escapes_nothing() {
    let node = node();
    let request = batch(&node, "noisy");
    spend(&node, &request);
    let until = Instant::now() + WATCHED;
    let one_after_the_other = || {
        let mut answered = 0;
        while Instant::now() < until {
            let mut socket = connect(node.ingress);
            send(&mut socket, &request);
            assert_eq!(read_answer(&mut socket).expect("an answer").status, 429);
            answered += 1;
        }
        answered
    };
    let answered: u32 = beside_others(&node, || {
        std::thread::scope(|scope| {
            let all: Vec<_> = (0..8).map(|_| scope.spawn(one_after_the_other)).collect();
            all.into_iter().map(|one| one.join().unwrap()).sum()
        })
    });
    assert!(answered < REFUSED_MAX, "{answered}");
}

#[test]
fn pipelined_requests_are_not_read_before_their_turn() {
    let node = node();
    let request = batch(&node, "noisy");
    spend(&node, &request);
    let mut socket = connect(node.ingress);
    let mut writer = socket.try_clone().unwrap();
    writer.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    std::thread::scope(|scope| {
        let until = Instant::now() + WATCHED;
        scope.spawn(move || while Instant::now() < until && writer.write_all(&request).is_ok() {});
        // The client takes its answers.
        scope.spawn(move || {
            let mut answers = [0; 4096];
            while Instant::now() < until {
                let _nothing_now = std::io::Read::read(&mut socket, &mut answers);
            }
        });
    });
    std::thread::sleep(Duration::from_millis(1500));
    assert!(refused(&node) < f64::from(REFUSED_MAX), "{}", refused(&node));
}

#[test]
fn signed_requests_that_are_no_signals_are_refused_at_a_bounded_rate_too() {
    let node = Node::start();
    let body = format!("[{}]", vec!["{}"; 4000].join(","));
    let signature = format!("x-signature: {}", node.sign(body.as_bytes()));
    let headers = [&format!("content-length: {}", body.len()), &format!("content-type: {BATCH}"), &signature];
    let request = raw("POST /v1/signals HTTP/1.1", &headers.map(String::as_str), body.as_bytes());
    let from = |who: IpAddr| (0..4).map(|_| connect_from(who, node.ingress).unwrap()).collect();
    let answered = beside_others(&node, || hammer(from(client(1)), &request, 422));
    assert!(answered < REFUSED_MAX, "{answered}");
    // Another client's mistake is told at once.
    let mut other = connect_from(client(2), node.ingress).unwrap();
    let asked = Instant::now();
    send(&mut other, &request);
    assert_eq!(read_answer(&mut other).unwrap().status, 422);
    assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
}

/// Sixteen senders of one tenant, each of which waits as it is told.
#[test]
fn who_obeys_retry_after_never_waits_for_an_answer() {
    let node = node();
    let refused: u32 = std::thread::scope(|scope| {
        let node = &node;
        let obey = move |sender| {
            let (mut socket, mut refused) = (connect(node.ingress), 0);
            for number in 0..4 {
                let request = signed(node, signal("busy", "vm", &format!("{sender}-{number}")).as_bytes());
                send(&mut socket, &request);
                let answer = read_answer(&mut socket).unwrap();
                if answer.status == 429 {
                    refused += 1;
                    let seconds = answer.header("retry-after").unwrap().parse().unwrap();
                    std::thread::sleep(Duration::from_secs(seconds));
                }
            }
            refused
        };
        let senders: Vec<_> = (0..16).map(|sender| scope.spawn(move || obey(sender))).collect();
        senders.into_iter().map(|sender| sender.join().unwrap()).sum()
    });
    assert!(refused > 32, "{refused}");
    std::thread::sleep(Duration::from_millis(1500));
    assert!(node.metric("gemba_answers_delayed_total").abs() < 1.0);
}

/// Says so when it is dropped, however that comes.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A proxy brings what is refused and other tenants' signals on one connection, in turn, while more of what is refused comes
/// over other connections. `quiet` names the tenant of each round.
fn shared_with_others(node: &Node, (request, status): (&[u8], u16), quiet: impl Fn(u32) -> String) {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for mut socket in connections(node, 16) {
            let over = &over;
            scope.spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    send(&mut socket, request);
                    assert_eq!(read_answer(&mut socket).unwrap().status, status);
                }
            });
        }
        let _over = Over(&over);
        std::thread::sleep(Duration::from_secs(3));
        let mut shared = connect(node.ingress);
        let begun = Instant::now();
        for number in 0..200 {
            let quiet = signed(node, signal(&quiet(number), "vm", &format!("s-{number}")).as_bytes());
            let both = if number == 0 { quiet } else { [request, &quiet].concat() };
            send(&mut shared, &both);
            if number > 0 {
                assert_eq!(read_answer(&mut shared).unwrap().status, status);
            }
            assert_eq!(read_answer(&mut shared).unwrap().status, 202, "{number}");
            assert!(begun.elapsed() < Duration::from_secs(20), "{number} took {:?}", begun.elapsed());
        }
    });
}

#[test]
fn on_a_shared_connection_the_others_are_served() {
    let node = node();
    let request = batch(&node, "noisy");
    spend(&node, &request);
    shared_with_others(&node, (&request, 429), |number| format!("quiet-{number}"));
}

/// What is no signal names no tenant, so the connection may have brought only the one who is quiet.
#[test]
fn on_a_shared_connection_what_is_no_signal_holds_up_nobody() {
    let node = Node::start();
    let request = signed(&node, b"{}");
    shared_with_others(&node, (&request, 422), |_| "quiet".into());
}

/// An answer to what was taken does not wait behind one to what was refused later.
#[test]
fn an_acknowledgement_does_not_wait() {
    let node = node();
    let request = batch(&node, "noisy");
    spend(&node, &request);
    hammer(connections(&node, 64), &request, 429);
    let mut socket = connect(node.ingress);
    let body = signal("quiet", "vm", "s");
    let many = [signed(&node, body.as_bytes()), request].concat();
    let asked = Instant::now();
    send(&mut socket, &many);
    assert_eq!(read_answer(&mut socket).unwrap().status, 202);
    assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
    assert_eq!(read_answer(&mut socket).unwrap().status, 429);
}

#[test]
fn a_drain_answers_at_once_what_waits() {
    let mut node = node();
    let request = batch(&node, "noisy");
    spend(&node, &request);
    // Each of them waits for about two seconds from now on.
    hammer(connections(&node, 64), &request, 429);
    let mut waiting = connections(&node, 64);
    for socket in &mut waiting {
        send(socket, &request);
    }
    std::thread::sleep(Duration::from_millis(500));
    node.signal("TERM");
    let ordered = Instant::now();
    let mut last = 0;
    for socket in &mut waiting {
        let answer = read_answer(socket).expect("an answer");
        assert_eq!(answer.status, 429);
        last += u32::from(answer.header("connection") == Some("close"));
    }
    assert!(ordered.elapsed() < Duration::from_secs(1), "{:?}", ordered.elapsed());
    assert!(last > 32, "{last} waited");
    assert!(node.ended().success());
}

/// As many streams as there may be, each anew when it was answered, of one tenant; beside them one of another.
#[test]
fn streams_of_http_2_are_slowed_and_a_quiet_tenant_on_the_same_connection_is_served() {
    let node = node();
    let bytes = batch(&node, "noisy");
    spend(&node, &bytes);
    let body_at = bytes.windows(4).position(|end| end == b"\r\n\r\n").unwrap() + 4;
    let body = Bytes::from(bytes[body_at..].to_vec());
    let mut request = post(&node, std::str::from_utf8(&body).unwrap());
    request.headers_mut().insert("content-type", BATCH.try_into().unwrap());
    for shared in [false, true] {
        let before = refused(&node);
        let (node, request, body) = (&node, &request, &body);
        on_connection(node, |sender| async move {
            let until = Instant::now() + WATCHED;
            let noisy = async {
                let mut under_way = tokio::task::JoinSet::new();
                while Instant::now() < until {
                    while under_way.len() >= 80 {
                        under_way.join_next().await.unwrap().unwrap();
                    }
                    let mut ready = sender.clone().ready().await.unwrap();
                    let (answer, mut stream) = ready.send_request(request.clone(), false).unwrap();
                    stream.send_data(body.clone(), true).unwrap();
                    under_way.spawn(async move {
                        assert_eq!(answer.await.unwrap().status(), 429);
                    });
                    tokio::task::yield_now().await;
                }
                // Who resets that many streams at once is cut off, and the quiet tenant with it.
                while let Some(answered) = under_way.join_next().await {
                    answered.unwrap();
                }
            };
            let quiet = async {
                for number in 0.. {
                    if !shared || Instant::now() >= until {
                        return;
                    }
                    let quiet = signal(&format!("quiet-{number}"), "vm", "s");
                    let asked = Instant::now();
                    let mut ready = sender.clone().ready().await.unwrap();
                    let (answer, mut stream) = ready.send_request(post(node, &quiet), false).unwrap();
                    stream.send_data(quiet.into(), true).unwrap();
                    assert_eq!(answer.await.unwrap().status(), 202);
                    assert!(asked.elapsed() < Duration::from_secs(4), "{number}: {:?}", asked.elapsed());
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            };
            tokio::join!(noisy, quiet);
        });
        std::thread::sleep(Duration::from_millis(1500));
        let refused = refused(node) - before;
        let bound = if shared { 2 * REFUSED_MAX } else { REFUSED_MAX };
        assert!(refused < f64::from(bound), "shared: {shared}, {refused}");
    }
}
