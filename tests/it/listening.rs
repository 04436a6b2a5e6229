//! One node on one address.

use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use crate::node::{Node, PATIENCE, free_address, signal};
use crate::program::{PROGRAM, command, command_of, ends};

/// What a node says that is to listen there, and how it ends.
fn refused(key: &str, address: &str) -> String {
    let dir = tempfile::tempdir().unwrap();
    let mut command = command(dir.path());
    command.arg("serve").env(key, address);
    let (code, said) = ends(command);
    assert_eq!(code, Some(2), "{address}: {said}");
    assert!(said.contains(address), "{address} is not named: {said}");
    said
}

const INGRESS: &str = "GEMBA_INGRESS__LISTEN";
const ADMIN: &str = "GEMBA_ADMIN__LISTEN";

#[test]
fn a_second_node_on_an_address_is_refused_in_whatever_form_it_is_named() {
    let mut node = Node::start();
    for (key, taken) in
        [(INGRESS, node.ingress), (ADMIN, node.admin), (ADMIN, node.ingress), (INGRESS, node.admin)]
    {
        let port = taken.port();
        for form in ["127.0.0.1", "0.0.0.0", "[::]", "[::ffff:127.0.0.1]"] {
            refused(key, &format!("{form}:{port}"));
        }
    }
    for number in 0..20 {
        let answer = node.post("application/json", signal("acme", "vm", &format!("s-{number}")).as_bytes());
        assert_eq!(answer.status, 202);
    }
    assert!(node.terminate().success());
}

#[test]
fn an_address_that_another_program_would_share_is_refused() {
    let other = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    other.set_reuse_address(true).unwrap();
    other.set_reuse_port(true).unwrap();
    other.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    other.listen(1).unwrap();
    let address = other.local_addr().unwrap().as_socket().unwrap().to_string();
    refused(INGRESS, &address);
    refused(ADMIN, &address);
}

#[test]
fn an_address_is_free_at_once_after_a_node_was_killed_or_drained() {
    let dir = tempfile::tempdir().unwrap();
    let [ingress, admin] = [free_address(), free_address()].map(|address| address.to_string());
    let variables = [(INGRESS, ingress.as_str()), (ADMIN, admin.as_str())];
    for round in 0..4 {
        let mut node = Node::start_in(dir.path(), &variables);
        let body = signal("acme", "vm", &format!("s-{round}"));
        assert_eq!(node.post("application/json", body.as_bytes()).status, 202);
        // Connections that the kernel remembers after the process.
        let _open: Vec<TcpStream> = (0..20).map(|_| TcpStream::connect(node.ingress).unwrap()).collect();
        if round % 2 == 0 {
            node.kill();
        } else {
            assert!(node.terminate().success());
        }
    }
}

#[test]
fn connections_are_spread_over_the_threads() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = command_of("sh", dir.path());
    command.args(["-c", "ulimit -n 1024 && exec \"$0\" serve", PROGRAM]).env("GEMBA_INGRESS__THREADS", "4");
    let mut node = Node::start_command(dir.path(), command);
    // Each thread holds a quarter of all: that nobody has to leave takes all four of them.
    let most = node.metric("gemba_connections_max");
    let few = (0..).map_while(|number| (f64::from(number) < most * 0.9).then_some(number));
    let open: Vec<TcpStream> = few.map(|_| TcpStream::connect(node.ingress).unwrap()).collect();
    let until = Instant::now() + PATIENCE;
    while node.metric("gemba_connections") < most * 0.89 {
        assert!(Instant::now() < until, "{} of {most}", node.metric("gemba_connections"));
    }
    // Younger than this, a connection is not made to leave.
    std::thread::sleep(Duration::from_secs(3));
    for number in 0..16 {
        let body = signal("acme", "vm", &format!("s-{number}"));
        assert_eq!(node.post("application/json", body.as_bytes()).status, 202, "whichever thread takes it");
    }
    assert!(node.metric("gemba_connections") >= most * 0.89, "none had to leave");
    drop(open);
    assert!(node.terminate().success());
}
