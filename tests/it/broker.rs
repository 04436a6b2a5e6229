//! `amqp` actions against a real RabbitMQ: what is confirmed is in the queue, what the broker cannot place has failed,
//! and a broker that is gone or silent costs deadlines, not the node.

use std::time::{Duration, Instant};

use crate::actions::{ask_for, ask_for_all, ended, node, reason};
use crate::rabbit::{Broker, PASSWORD};

fn action(name: &str, exchange: &str, routing_key: &str) -> String {
    format!(
        "[[action]]\nname = \"{name}\"\nkind = \"amqp\"\nexchange = \"{exchange}\"\n\
         routing_key = \"{routing_key}\"\ntimeout_seconds = 2\n"
    )
}

#[test]
fn a_broker_confirms_returns_stops_and_comes_back() {
    let Some(broker) = Broker::start() else { return };
    broker.declare("actions");
    let actions = [
        action("publish", "", "actions"),
        action("unroutable", "", "no-such-queue"),
        action("astray", "no-such-exchange", "actions"),
        broker.section(),
    ];
    let dir = tempfile::tempdir().unwrap();
    let mut node = node(dir.path(), &actions.concat());

    ask_for(&node, "publish", "s-1");
    let receipt = ended(&node, "s-1");
    assert_eq!(receipt["receipt_type"], "action_successful", "{receipt}");
    let taken = broker.take("actions");
    let (id, mode, body) = &taken[0];
    assert_eq!((taken.len(), id.as_str(), *mode), (1, receipt["action_id"].as_str().unwrap(), 2));
    assert_eq!((&body["type"], &body["data"]["signal"]["id"]), (&"gemba.action".into(), &"s-1".into()));

    // What cannot be placed fails alone, beside others that can.
    for number in 0..20 {
        ask_for(&node, "publish", &format!("p-{number}"));
        if number < 3 {
            ask_for(&node, "unroutable", &format!("u-{number}"));
            ask_for(&node, "astray", &format!("a-{number}"));
        }
    }
    for number in 0..20 {
        assert_eq!(ended(&node, &format!("p-{number}"))["receipt_type"], "action_successful");
    }
    for number in 0..3 {
        let why = "target `unroutable`: the broker knows no queue for it: the message was returned";
        assert_eq!(reason(&ended(&node, &format!("u-{number}"))), why);
        let why = "target `astray`: the broker answered 404";
        assert_eq!(reason(&ended(&node, &format!("a-{number}"))), why);
    }
    assert_eq!(broker.take("actions").len(), 20);

    // A broker that says nothing: the try ends, and a later one finds it awake.
    broker.signal("STOP");
    ask_for(&node, "publish", "s-2");
    std::thread::sleep(Duration::from_secs(5));
    broker.signal("CONT");
    let receipt = ended(&node, "s-2");
    assert_eq!(receipt["receipt_type"], "action_successful", "{receipt}");
    let again = broker.take("actions");
    let key = receipt["action_id"].as_str().unwrap();
    assert!(!again.is_empty() && again.iter().all(|(id, _, _)| id == key), "{again:?}");

    // A broker that is gone: the action ends with its deadline.
    broker.run("stop");
    let begun = Instant::now();
    ask_for(&node, "publish", "s-3");
    std::thread::sleep(Duration::from_secs(45));
    let receipt = ended(&node, "s-3");
    let why = reason(&receipt);
    assert!(why.starts_with("target `publish`: the broker cannot be reached"), "{why}");
    assert!((40..63).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());

    // And when it is back, publishing goes on by itself.
    broker.run("start");
    ask_for(&node, "publish", "s-4");
    let receipt = ended(&node, "s-4");
    assert_eq!(receipt["receipt_type"], "action_successful", "{receipt}");
    let told = broker.take("actions");
    assert!(told.iter().any(|(id, _, _)| id == receipt["action_id"].as_str().unwrap()), "{told:?}");
    assert!(node.terminate().success());
    assert!(!node.everything_said().contains(PASSWORD));
}

#[test]
fn a_broker_short_of_memory_is_not_published_to() {
    let Some(broker) = Broker::start() else { return };
    broker.declare("actions");
    let dir = tempfile::tempdir().unwrap();
    let node = node(dir.path(), &[action("publish", "", "actions"), broker.section()].concat());
    ask_for(&node, "publish", "s-1");
    assert_eq!(ended(&node, "s-1")["receipt_type"], "action_successful");
    let before = node.rss_bytes();
    broker.run("block");
    // The broker blocks a connection that publishes: the first try finds out.
    // All of them at once: what is not published within a minute has failed.
    let ids: Vec<String> = (0..200).map(|number| format!("b-{number}")).collect();
    ask_for_all(&node, "publish", &ids);
    std::thread::sleep(Duration::from_secs(6));
    let grown = node.rss_bytes().saturating_sub(before);
    assert!(grown < 64 * 1024 * 1024, "{grown} bytes more");
    broker.run("unblock");
    for number in 0..200 {
        let receipt = ended(&node, &format!("b-{number}"));
        assert_eq!(receipt["receipt_type"], "action_successful", "{receipt}");
    }
    let ids = broker.take("actions").into_iter().map(|(id, _, _)| id);
    assert_eq!(ids.collect::<std::collections::HashSet<String>>().len(), 201);
}
