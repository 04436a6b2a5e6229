//! What tenants may take of a node's memory: a share each, and nobody more than there is.

use std::time::{Duration, Instant};

use crate::actions::policy;
use crate::node::{Node, PATIENCE, signal};
use crate::targets::{Does, Target};

const JSON: &str = "application/json";

/// A node with these lines under `[kanban]`, and an action `page` to `target`, taken on signals of that type.
fn node(kanban: &str, target: &Target) -> (tempfile::TempDir, Node) {
    let dir = tempfile::tempdir().unwrap();
    let action = format!(
        "[[action]]\nname = \"page\"\nkind = \"webhook\"\nurl = \"{}\"\nallow_private = true\ntimeout_seconds = 30\n",
        target.url()
    );
    let policy = policy(dir.path(), &action);
    let config = format!(
        "[node]\nprofile = \"dev\"\n[kanban]\n{kanban}\n[rate_limit]\nper_second = 100000\n{policy}{action}"
    );
    std::fs::write(dir.path().join("gemba.toml"), config).unwrap();
    let node = Node::start_in(dir.path(), &[("GEMBA_CONFIG", "gemba.toml")]);
    (dir, node)
}

/// A signal of `bytes` that asks for the action.
fn page(tenant: &str, id: &str, bytes: usize) -> String {
    format!(
        r#"{{"id":"{id}","tenant":"{tenant}","sku":"{id}","type":"page","data":{{"pad":"{}"}}}}"#,
        "x".repeat(bytes)
    )
}

fn until(what: &str, is_so: impl Fn() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < until, "{what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn who_has_more_waiting_than_its_share_is_refused_and_nobody_else() {
    let hanging = Target::start(|_| Does::Hang);
    let (_dir, node) = node("waiting_mib = 2", &hanging);
    let post = |tenant: &str, number: usize| {
        node.post(JSON, page(tenant, &format!("{tenant}-{number}"), 64 * 1024).as_bytes())
    };
    assert_eq!(post("quiet", 0).status, 202);
    // 100 of them are three times what may wait.
    let mut accepted = 0;
    let mut refused = None;
    for number in 0..100 {
        let answer = post("loud", number);
        match answer.status {
            // It counts once its governor has it.
            202 => {
                node.decided("loud", &format!("loud-{number}"));
                accepted += 1;
            }
            503 => refused = Some(answer),
            other => panic!("{other}: {}", answer.text()),
        }
    }
    assert!((12..32).contains(&accepted), "{accepted} of 64 KiB where 2 MiB may wait");
    let refused = refused.unwrap();
    assert!(refused.text().contains("than its share"), "{}", refused.text());
    let after: u32 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=60).contains(&after));
    for number in 1..4 {
        assert_eq!(post("quiet", number).status, 202, "the other tenant has its share");
    }
    let waiting = node.metric("gemba_waiting_bytes");
    assert!((1_500_000.0..2_200_000.0).contains(&waiting), "{waiting}");
    until("refusals are counted", || node.metric("gemba_signals_total{result=\"shed\"}") > 50.0);
}

#[test]
fn governors_that_nothing_distinguishes_from_new_ones_make_room() {
    let hanging = Target::start(|_| Does::Hang);
    let (dir, mut node) = node("governors = 60", &hanging);
    for number in 0..10 {
        let id = format!("kept-{number}");
        assert_eq!(node.post(JSON, page("kept", &id, 10).as_bytes()).status, 202);
    }
    let states = ["boot", "stable", "action_pending", "quota_exhausted", "degraded", "halted"];
    let governors = |node: &Node| -> f64 {
        states.iter().map(|state| node.metric(&format!("gemba_governors{{state=\"{state}\"}}"))).sum()
    };
    let mut most = 0.0_f64;
    for number in 0..200 {
        let id = format!("s-{number}");
        until("no room was ever made", || {
            let answer = node.post(JSON, signal("acme", &id, &id).as_bytes());
            assert!([202, 503].contains(&answer.status), "{}", answer.text());
            answer.status == 202
        });
        if number % 10 == 0 {
            most = most.max(governors(&node));
        }
    }
    assert!(most <= 64.0, "there were {most} where there may be 60");
    until("idle governors stay", || governors(&node) <= 46.0);
    let acting = |node: &Node| node.metric("gemba_governors{state=\"action_pending\"}");
    assert!((acting(&node) - 10.0).abs() < 0.5, "those that act stay");
    // A governor that is forgotten begins anew, and a restart knows the same.
    assert_eq!(node.post(JSON, signal("acme", "s-0", "again").as_bytes()).status, 202);
    assert_eq!(node.decided("acme", "again")["receipts"].as_array().unwrap().len(), 1);
    assert!(node.terminate().success());
    let node = Node::start_in(dir.path(), &[("GEMBA_CONFIG", "gemba.toml")]);
    // The shards read the journal's end beside the first requests.
    until("those that act are there again", || acting(&node) > 9.5);
    assert!(governors(&node) <= 64.0);
    assert!((acting(&node) - 10.0).abs() < 0.5);
    for number in 0..10 {
        let found = node.ask(&format!("/v1/governors/kept/kept-{number}")).json();
        assert_eq!(found["state"], "action_pending", "{found}");
    }
}

#[test]
fn where_governors_that_are_not_new_take_all_room_their_tenant_waits_and_small_ones_do_not() {
    let hanging = Target::start(|_| Does::Hang);
    let (_dir, node) = node("governors = 40", &hanging);
    assert_eq!(node.post(JSON, page("small", "first", 10).as_bytes()).status, 202);
    let mut accepted = 0;
    for number in 0..80 {
        let id = format!("l-{number}");
        if node.post(JSON, page("large", &id, 10).as_bytes()).status == 202 {
            // It counts once it is there.
            node.decided("large", &id);
            accepted += 1;
        }
    }
    assert!((29..40).contains(&accepted), "{accepted} governors where there may be 40");
    assert_eq!(node.post(JSON, page("small", "second", 10).as_bytes()).status, 202);
}
