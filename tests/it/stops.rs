//! A node on one core that is stopped and continued, idle and under load: it answers again at once.

use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::http::read_answer;
use crate::node::{Node, signal};

/// A continued node answers within this, on a machine that others use too.
const ANSWERS_WITHIN: Duration = Duration::from_secs(6);
/// Segments end often, so that a new one is being prepared most of the time.
const SETTINGS: [(&str, &str); 3] = [
    ("GEMBA_KANBAN__SEGMENT_MIB", "4"),
    ("GEMBA_RATE_LIMIT__PER_SECOND", "10000000"),
    ("GEMBA_RATE_LIMIT__BURST", "10000000"),
];

/// Starts a node on the first core that this process may use.
fn on_one_core() -> Node {
    let all = sched_getaffinity(None).unwrap();
    let first = (0..CpuSet::MAX_CPU).find(|core| all.is_set(*core)).unwrap();
    let mut one = CpuSet::new();
    one.set(first);
    sched_setaffinity(None, &one).unwrap();
    let node = Node::start_with(&SETTINGS);
    sched_setaffinity(None, &all).unwrap();
    node
}

/// Stops the node for so long; then a new connection is answered.
fn stop(node: &Node, pause: Duration, number: &mut u64) {
    node.signal("STOP");
    std::thread::sleep(pause);
    node.signal("CONT");
    *number += 1;
    let body = signal("acme", "vm", &format!("after-stop-{number}"));
    let continued = Instant::now();
    while node.post("application/json", body.as_bytes()).status != 202 {
        assert!(continued.elapsed() < ANSWERS_WITHIN, "refused after a stop of {pause:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
    let took = continued.elapsed();
    assert!(took < ANSWERS_WITHIN, "answered after {took:?}, after a stop of {pause:?}");
}

struct Load {
    over: AtomicBool,
    accepted: AtomicU64,
    refused: AtomicU64,
}

/// Sends large batches over one connection, one after the other, until it is over.
fn send(node: &Node, load: &Load, sender: u64) {
    let address: SocketAddr = node.ingress;
    let mut socket: Option<TcpStream> = None;
    for batch in 0_u64.. {
        if load.over.load(Ordering::Relaxed) {
            return;
        }
        let line = |number| {
            let padding = "x".repeat(1000);
            format!(
                r#"{{"id":"{sender}-{batch}-{number}","tenant":"load","sku":"vm","type":"seen","data":{{"padding":"{padding}"}}}}"#
            ) + "\n"
        };
        let body: String = (0..200).map(line).collect();
        let head = format!(
            "POST /v1/signals HTTP/1.1\r\nhost: gemba\r\ncontent-length: {}\r\ncontent-type: application/x-ndjson\r\n\
             x-signature: {}\r\n\r\n",
            body.len(),
            node.sign(body.as_bytes())
        );
        let connected = socket.take().or_else(|| TcpStream::connect(address).ok());
        let Some(mut connected) = connected else { continue };
        connected.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
        let _partly = connected.write_all(&[head.as_bytes(), body.as_bytes()].concat());
        match read_answer(&mut connected) {
            Some(answer) if answer.status == 202 => {
                load.accepted.fetch_add(1, Ordering::Relaxed);
                socket = Some(connected);
            }
            Some(_) => drop(load.refused.fetch_add(1, Ordering::Relaxed)),
            // The connection had its last request.
            None => {}
        }
    }
}

struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn under_load(node: &Node, stops: impl FnOnce()) -> (u64, u64) {
    let load = Load { over: AtomicBool::new(false), accepted: AtomicU64::new(0), refused: AtomicU64::new(0) };
    std::thread::scope(|scope| {
        for sender in 0..2 {
            let load = &load;
            scope.spawn(move || send(node, load, sender));
        }
        // Also where a stop finds a fault.
        let _over = Over(&load.over);
        stops();
    });
    (load.accepted.into_inner(), load.refused.into_inner())
}

#[test]
fn a_node_that_is_stopped_and_continued_answers_again() {
    let node = on_one_core();
    let mut number = 0;
    for stops in 0..20 {
        stop(&node, Duration::from_millis(50 + stops * 10), &mut number);
    }
    let (accepted, _) = under_load(&node, || {
        for stops in 0..40 {
            std::thread::sleep(Duration::from_millis(30));
            stop(&node, Duration::from_millis(50 + stops % 10 * 50), &mut number);
        }
    });
    assert!(accepted > 0, "there was a load");
    // Longer than the wait for the journal: whoever waited then was not kept waiting by it.
    let (_, refused) = under_load(&node, || {
        std::thread::sleep(Duration::from_millis(500));
        stop(&node, Duration::from_secs(11), &mut number);
    });
    assert_eq!(refused, 0, "nobody is refused for the time of a stop");
    stop(&node, Duration::from_secs(11), &mut number);
}

/// Whether the thread that prepares segments is writing one, as far as the system shows it of a stopped process.
fn is_preparing(node: &Node) -> bool {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", node.pid())).unwrap().filter_map(Result::ok);
    let is_maker = |dir: &std::path::Path| {
        std::fs::read_to_string(dir.join("comm")).is_ok_and(|name| name.trim_end() == "journal-spare")
    };
    let maker = tasks.map(|task| task.path()).find(|dir| is_maker(dir)).expect("a thread prepares segments");
    let call = std::fs::read_to_string(maker.join("syscall")).unwrap_or_default();
    // Everything but a sleep: a write, a sync, or no call at all.
    let asleep = ["202", "230", "35", "98", "115", "101"];
    !call.is_empty() && !asleep.contains(&call.split(' ').next().unwrap_or_default().trim_end())
}

/// A stop within the preparation of a segment is not taken for slow work, after which to rest for several times as long: the
/// journal would wait for the segment meanwhile.
#[test]
fn a_stop_while_a_segment_is_prepared_holds_up_nobody() {
    let node = on_one_core();
    let mut number = 0;
    under_load(&node, || {
        let mut held = 0;
        for _ in 0..2000 {
            node.signal("STOP");
            if is_preparing(&node) {
                held += 1;
                stop(&node, Duration::from_secs(3), &mut number);
                // Until the journal has come to its next segments.
                let until = Instant::now() + Duration::from_secs(4);
                while Instant::now() < until {
                    stop(&node, Duration::ZERO, &mut number);
                    std::thread::sleep(Duration::from_millis(50));
                }
            } else {
                node.signal("CONT");
                std::thread::sleep(Duration::from_millis(2));
            }
            if held == 2 {
                break;
            }
        }
        assert!(held > 0, "no stop hit the preparation of a segment");
    });
}
