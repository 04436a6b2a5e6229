//! The broker over TLS, and who is trusted.

use std::path::Path;

use crate::line::{Machine, Sender, broker_health, section, wait_until};
use crate::node::free_ports;
use crate::rabbit::{Broker, PASSWORD};

/// A listener with TLS under a certificate for `localhost`, whose root is in `ca.pem`.
fn listener(dir: &Path, port: u16) -> String {
    let root_key = rcgen::KeyPair::generate().unwrap();
    let mut root = rcgen::CertificateParams::new(Vec::new()).unwrap();
    root.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let root_certificate = root.self_signed(&root_key).unwrap();
    let issuer = rcgen::Issuer::new(root, root_key);
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let certificate = certificate.signed_by(&key, &issuer).unwrap();
    for (name, what, der) in [
        ("ca.pem", "CERTIFICATE", root_certificate.der().as_ref()),
        ("server.pem", "CERTIFICATE", certificate.der().as_ref()),
        ("server.key", "PRIVATE KEY", &key.serialize_der()),
    ] {
        let text = data_encoding::BASE64.encode(der);
        let lines: Vec<&str> =
            text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
        let pem = format!("-----BEGIN {what}-----\n{}\n-----END {what}-----\n", lines.join("\n"));
        std::fs::write(dir.join(name), pem).unwrap();
    }
    let dir = dir.display();
    format!(
        "listeners.ssl.1 = 127.0.0.1:{port}\nssl_options.cacertfile = {dir}/ca.pem\nssl_options.certfile = {dir}/server.pem\n\
         ssl_options.keyfile = {dir}/server.key\nssl_options.verify = verify_none\n"
    )
}

#[test]
fn an_encrypted_broker_is_used_where_it_is_trusted_and_named_right() {
    let port = free_ports(1);
    let Some(broker) = Broker::start_with(|dir| listener(dir, port)) else { return };
    let at = |host: &str| {
        let plain =
            section(&broker, "").replace(&format!("127.0.0.1:{}", broker.port), &format!("{host}:{port}"));
        format!("{plain}tls = true\n")
    };
    let trusted = format!("ca_file = \"{}/ca.pem\"\n", broker.dir.path().display());
    let mut edge = Machine::start("edge", "edge-1", &format!("{}{trusted}", at("localhost")));
    let mut processor = Machine::start("processor", "processor-1", &format!("{}{trusted}", at("localhost")));
    let mut sender = Sender::new(3);
    for _ in 0..3 {
        assert!(sender.batch(0, &edge, 100));
    }
    sender.wait_until_taken(&[&processor]);
    // A root that nobody knows, and a name that is not in the certificate.
    for rabbit in [at("localhost"), format!("{}{trusted}", at("127.0.0.1"))] {
        let mut stranger = Machine::start("edge", "edge-2", &rabbit);
        let why = || broker_health(&stranger)["reason"].as_str().unwrap_or_default().to_owned();
        wait_until("it is refused", || why().contains("no encrypted connection"));
        assert!(!why().contains(PASSWORD));
        stranger.terminate();
    }
    edge.terminate();
    processor.terminate();
    sender.ledger.check(&[&processor.data()]);
}
