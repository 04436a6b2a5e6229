//! A TCP proxy that cuts a connection at any byte, and what an edge makes of it: a publish that is cut, and a confirm that
//! is cut, at each of their bytes.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use crate::line::{Machine, Sender, wait_until};
use crate::rabbit::Broker;

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    ToBroker,
    FromBroker,
}

/// What passes and when it ends.
#[derive(Default)]
struct State {
    /// Since it was looked at last.
    passed: [usize; 2],
    /// The connection is cut when so many more have passed.
    cut: Option<(Way, usize)>,
}

struct Proxy {
    port: u16,
    state: Arc<Mutex<State>>,
}

impl Proxy {
    fn start(broker: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy = Self { port: listener.local_addr().unwrap().port(), state: Arc::default() };
        let state = Arc::clone(&proxy.state);
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let (client, server) = (client.unwrap(), TcpStream::connect(("127.0.0.1", broker)).unwrap());
                for (from, to, way) in
                    [(&client, &server, Way::ToBroker), (&server, &client, Way::FromBroker)]
                {
                    let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    let state = Arc::clone(&state);
                    std::thread::spawn(move || pass(from, to, way, &state));
                }
            }
        });
        proxy
    }

    fn cut_after(&self, way: Way, bytes: usize) {
        self.state.lock().unwrap().cut = Some((way, bytes));
    }

    fn is_armed(&self) -> bool {
        self.state.lock().unwrap().cut.is_some()
    }

    fn take_passed(&self, way: Way) -> usize {
        std::mem::take(&mut self.state.lock().unwrap().passed[way as usize])
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, way: Way, state: &Mutex<State>) {
    let mut buffer = [0; 4096];
    while let Ok(got @ 1..) = from.read(&mut buffer) {
        let mut state = state.lock().unwrap();
        let mut upto = got;
        let mut over = false;
        if let Some((_, left)) = state.cut.as_mut().filter(|(cut, _)| *cut == way) {
            upto = got.min(*left);
            *left -= upto;
            over = upto < got || *left == 0;
        }
        state.passed[way as usize] += upto;
        // An end that is gone takes nothing.
        let written = to.write_all(&buffer[..upto]);
        if over {
            state.cut = None;
        }
        if over || written.is_err() {
            break;
        }
    }
    for end in [&from, &to] {
        let _gone = end.shutdown(Shutdown::Both);
    }
}

#[test]
fn a_publish_and_a_confirm_may_be_cut_at_each_byte() {
    let Some(broker) = Broker::start() else { return };
    let proxy = Proxy::start(broker.port);
    let through = broker.section().replace(&broker.port.to_string(), &proxy.port.to_string());
    let mut edge = Machine::start("edge", "edge-1", &through);
    let connected = || edge.node().metric("gemba_broker_connected") == 1.0;
    let confirmed = || edge.node().metric("gemba_broker_backlog_events") == 0.0;
    wait_until("it is connected", connected);
    let mut sender = Sender::new(1);
    // How many bytes a publish and its confirm have. Identities have one length throughout.
    sender.skip(10_000);
    std::thread::sleep(std::time::Duration::from_millis(500));
    let ways = [Way::ToBroker, Way::FromBroker];
    for way in ways {
        proxy.take_passed(way);
    }
    assert!(sender.batch(0, &edge, 1));
    wait_until("it is confirmed", confirmed);
    let lengths = ways.map(|way| proxy.take_passed(way));
    assert!((300..1500).contains(&lengths[0]) && (15..200).contains(&lengths[1]), "{lengths:?}");
    let mut cuts = 0;
    for (way, length) in ways.into_iter().zip(lengths) {
        for at in 0..=length {
            wait_until("it is connected", connected);
            proxy.cut_after(way, at);
            assert!(sender.batch(0, &edge, 1));
            wait_until("it is cut", || !proxy.is_armed());
            cuts += 1;
        }
    }
    wait_until("all is confirmed", confirmed);
    let mut processor = Machine::start("processor", "processor-1", &broker.section());
    sender.wait_until_taken(&[&processor]);
    let twins = processor.node().metric("gemba_broker_repeated_messages_total");
    println!("machines: {cuts} cuts, {} signals, {twins} messages came twice", sender.ledger.acked.len());
    assert!(twins >= 5.0, "a confirm that is cut means a message that comes twice: {twins}");
    assert_eq!(processor.node().metric("gemba_broker_missing_signals"), 0.0);
    edge.terminate();
    processor.terminate();
    sender.ledger.check(&[&processor.data()]);
}
