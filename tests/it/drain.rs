//! SIGTERM and restart: what was accepted stays, once.

use crate::node::{Node, signal};

#[test]
fn a_terminated_node_ends_in_order_and_the_next_start_knows_everything() {
    let dir = tempfile::tempdir().unwrap();
    let mut node = Node::start_in(dir.path(), &[]);
    for number in 0..50 {
        let body = signal("acme", "vm", &format!("s-{number}"));
        assert_eq!(node.post("application/json", body.as_bytes()).status, 202);
    }
    assert!(node.terminate().success());
    let mut node = Node::start_in(dir.path(), &[]);
    for number in 0..50 {
        let status = node.decided("acme", &format!("s-{number}"));
        assert_eq!(status["receipts"].as_array().unwrap().len(), 1, "{status}");
    }
    let again = node.post("application/json", signal("acme", "vm", "s-7").as_bytes()).json();
    assert_eq!((again["seq"].as_u64(), again["duplicate"].as_bool()), (Some(9), Some(true)));
    let fresh = node.post("application/json", signal("acme", "vm", "s-50").as_bytes()).json();
    assert_eq!(fresh["seq"].as_u64(), Some(52), "an orderly end wastes no number");
    assert!(node.terminate().success());
}

#[test]
fn a_killed_node_keeps_what_it_answered() {
    let dir = tempfile::tempdir().unwrap();
    for round in 0..3 {
        let mut node = Node::start_in(dir.path(), &[]);
        for before in 0..round * 20 {
            assert_eq!(node.decided("acme", &format!("s-{before}"))["receipts"].as_array().unwrap().len(), 1);
        }
        for number in round * 20..(round + 1) * 20 {
            let body = signal("acme", "vm", &format!("s-{number}"));
            assert_eq!(node.post("application/json", body.as_bytes()).status, 202);
        }
        node.kill();
    }
}

#[test]
fn two_nodes_cannot_share_a_directory() {
    let first = Node::start();
    let output = crate::program::command(&first.dir).arg("serve").output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("is held by another gemba process"), "{said}");
}
