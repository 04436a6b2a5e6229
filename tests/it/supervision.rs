//! Stages that panic: the line is taken up again, loses nothing, and gives up on what cannot be decided.

use crate::node::{Node, PATIENCE, signal};

/// Posts a signal; `None` where the line ends before it has answered.
fn post(node: &Node, number: usize) -> Option<u16> {
    let body = signal("acme", "vm", &format!("s-{number}"));
    let signature = node.sign(body.as_bytes());
    let headers = [("content-type", "application/json"), ("x-signature", signature.as_str())];
    node.try_request("POST", "/v1/signals", &headers, body.as_bytes()).map(|answer| answer.status)
}

/// Posts until the node, which may be starting again, takes it.
fn post_until_taken(node: &Node, number: usize) {
    let until = std::time::Instant::now() + PATIENCE;
    while post(node, number) != Some(202) {
        assert!(std::time::Instant::now() < until, "never taken");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}

fn status_once_back(node: &mut Node, number: usize) -> serde_json::Value {
    node.wait_until_ready();
    node.decided("acme", &format!("s-{number}"))
}

/// Waits until the line is taken up again: after which stage panicked, and at which event.
fn restarted(node: &mut Node) -> (String, Option<u64>) {
    let line = node.wait_for("a stage panicked: the line is taken up from the journal");
    let event: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!((&event["level"], &event["target"]), (&"warn".into(), &"gemba::line".into()));
    (event["stage"].as_str().unwrap().to_owned(), event["seq"].as_u64())
}

#[test]
fn a_shard_that_panics_once_decides_the_same_event_after_recovery() {
    let mut node = Node::start_with(&[("GEMBA_PANIC", "shard:3!")]);
    assert_eq!(post(&node, 1), Some(202));
    // The panic may take the line away before the second is answered, or while the third comes.
    for number in 2..=3 {
        post_until_taken(&node, number);
    }
    assert_eq!(restarted(&mut node), ("shard-0".into(), Some(3)));
    for number in 1..=3 {
        let status = status_once_back(&mut node, number);
        assert_eq!(status["status"], "decided", "{status}");
        assert_eq!(status["receipts"].as_array().unwrap().len(), 1);
    }
    assert!(node.metric("gemba_restarts_total") >= 1.0);
    post_until_taken(&node, 4);
    assert!(node.terminate().success());
}

#[test]
fn an_event_that_panics_twice_becomes_a_dead_letter_and_others_go_on() {
    let dir = tempfile::tempdir().unwrap();
    // Event 1 is the node's rules.
    let mut node = Node::start_in(dir.path(), &[("GEMBA_PANIC", "shard:3")]);
    assert_eq!(post(&node, 1), Some(202));
    // It panics as soon as it is durable, which may be before it is answered.
    let answered = post(&node, 2);
    assert!([None, Some(202)].contains(&answered), "{answered:?}");
    assert!(node.wait_for("deciding on an event panicked twice").contains("\"seq\":3"));
    assert_eq!(status_once_back(&mut node, 2)["status"], "dead_lettered");
    assert_eq!(status_once_back(&mut node, 1)["status"], "decided");
    post_until_taken(&node, 3);
    assert_eq!(node.decided("acme", "s-3")["status"], "decided");
    node.kill();
    let mut node = Node::start_in(dir.path(), &[("GEMBA_PANIC", "shard:3")]);
    assert_eq!(node.decided("acme", "s-2")["status"], "dead_lettered", "the next start knows");
    assert!(node.terminate().success());
}

#[test]
fn a_background_task_that_panics_takes_the_line_up_again() {
    let mut node = Node::start_with(&[("GEMBA_PANIC", "collect:1!")]);
    node.wait_for("planted: collect at 1");
    assert_eq!(restarted(&mut node), ("outbound".into(), None));
    node.wait_until_ready();
    post_until_taken(&node, 1);
    assert_eq!(node.decided("acme", "s-1")["status"], "decided");
    assert!(node.metric("gemba_restarts_total") >= 1.0);
    assert!(node.terminate().success());
}

#[test]
fn an_ingress_thread_that_panics_starts_again_alone() {
    let mut node = Node::start_with(&[("GEMBA_PANIC", "ingress:3!"), ("GEMBA_INGRESS__THREADS", "1")]);
    let until = std::time::Instant::now() + PATIENCE;
    while node.metric("gemba_restarts_total") < 1.0 {
        assert!(std::time::Instant::now() < until, "ingress never panicked");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    post_until_taken(&node, 1);
    assert_eq!(node.decided("acme", "s-1")["status"], "decided");
    assert!(node.terminate().success());
}

#[test]
fn the_sixth_restart_in_a_minute_ends_the_process_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    // Before it stand the log's first entry and the receipts of four packs.
    let mut node = Node::start_in(dir.path(), &[("GEMBA_PANIC", "scribe:6")]);
    // It is durable when the scribe panics, and perhaps not answered yet.
    let answered = post(&node, 1);
    assert!([None, Some(202)].contains(&answered), "{answered:?}");
    node.wait_for("after 5 restarts within a minute");
    assert_eq!(node.ended().code(), Some(1));
    let node = Node::start_in(dir.path(), &[]);
    assert_eq!(node.decided("acme", "s-1")["receipts"].as_array().unwrap().len(), 1);
}
