//! A cluster of three brokers that loses them one after the other, the leader of the queue among them.

use std::time::Duration;

use crate::line::{Machine, Sender, wait_until};
use crate::rabbit::Broker;

#[test]
fn a_cluster_that_loses_its_leader_under_load_loses_no_signal() {
    let Some(first) = Broker::start() else { return };
    let brokers = [first.joined(), first.joined()];
    let all = [&first, &brokers[0], &brokers[1]];
    let hosts: Vec<String> = all.iter().map(|broker| format!("\"127.0.0.1:{}\"", broker.port)).collect();
    let rabbit = first.section().replace(&format!("\"127.0.0.1:{}\"", first.port), &hosts.join(", "));
    let rabbit = format!("{rabbit}partitions = 2\ngroup_size = 3\n");
    let mut edge = Machine::start("edge", "edge-1", &rabbit);
    let mut processor = Machine::start("processor", "processor-1", &rabbit);
    for machine in [&edge, &processor] {
        wait_until("it is connected", || machine.node().metric("gemba_broker_connected") == 1.0);
    }
    std::thread::sleep(Duration::from_secs(6));
    let mut sender = Sender::new(10);
    // Both sides are connected to the first, which leads the queues that were declared through it.
    for broker in all {
        for _ in 0..20 {
            assert!(sender.batch(0, &edge, 25));
        }
        broker.run("stop");
        for _ in 0..40 {
            assert!(sender.batch(0, &edge, 25));
            std::thread::sleep(Duration::from_millis(50));
        }
        // The two that are left are a majority.
        sender.wait_until_taken(&[&processor]);
        broker.run("start");
        std::thread::sleep(Duration::from_secs(6));
    }
    sender.wait_until_taken(&[&processor]);
    edge.terminate();
    processor.terminate();
    sender.ledger.check(&[&processor.data()]);
}
