//! The client over TLS. It trusts the system's roots, which can be named only before a process begins: so the test runs
//! itself once more.

use std::net::{Ipv4Addr, TcpListener};
use std::process::Command;
use std::sync::Arc;

use gemba::net::firestore::{Credentials, Endpoint, Firestore, Trouble};
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, crypto::aws_lc_rs};
use tokio_rustls::TlsAcceptor;

use super::{put, run, site, tokens};
use crate::firestore_fake::Fake;

/// Set in the process that trusts the test's root.
const WITHIN: &str = "FIRESTORE_TLS_URLS";

/// Speaks TLS with whoever comes, and plainly with the server behind; `protocol` is what it agrees to.
fn front(fake: &Fake, config: &ServerConfig, protocol: &[u8]) -> u16 {
    let mut config = config.clone();
    config.alpn_protocols = vec![protocol.to_vec()];
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    let behind = fake.address();
    std::thread::spawn(move || {
        run(async || {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            let acceptor = TlsAcceptor::from(Arc::new(config));
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let Ok(mut outside) = acceptor.accept(stream).await else { continue };
                let mut inside = tokio::net::TcpStream::connect(&behind).await.unwrap();
                tokio::spawn(async move {
                    let _over = tokio::io::copy_bidirectional(&mut outside, &mut inside).await;
                });
            }
        });
    });
    port
}

#[test]
fn over_tls_only_who_is_trusted_and_speaks_http_2_gets_a_call() {
    if let Ok(urls) = std::env::var(WITHIN) {
        return within(&urls);
    }
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], PrivateKeyDer::Pkcs8(key.serialize_der().into()))
        .unwrap();
    let fake = Fake::start();
    fake.accept("a-token");
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root.pem");
    let pem = data_encoding::BASE64.encode(certificate.der());
    let pem = format!("-----BEGIN CERTIFICATE-----\n{pem}\n-----END CERTIFICATE-----\n");
    std::fs::write(&root, pem).unwrap();
    let ports = [&b"h2"[..], b"http/1.1"].map(|protocol| front(&fake, &config, protocol));
    let ran = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "firestore::tls::over_tls_only_who_is_trusted_and_speaks_http_2_gets_a_call"])
        .env("SSL_CERT_FILE", &root)
        .env_remove("SSL_CERT_DIR")
        .env(WITHIN, format!("https://localhost:{} https://localhost:{}", ports[0], ports[1]))
        .status();
    assert!(ran.unwrap().success());
    assert_eq!((fake.commits().len(), fake.connections()), (1, 1));
    // This process does not trust it.
    run(async || {
        let told = client(&format!("https://localhost:{}", ports[0])).commit(vec![put("g/b", 1, None)]).await;
        assert!(matches!(&told, Err(Trouble::Unreachable(why)) if why.contains("not trusted")), "{told:?}");
    });
    assert_eq!(fake.commits().len(), 1);
}

fn client(url: &str) -> Firestore {
    let credentials = Credentials::Metadata(tokens::metadata_with("a-token"));
    Firestore::new(site(Endpoint::At { url: url.to_owned(), credentials })).unwrap()
}

fn within(urls: &str) {
    let (good, bad) = urls.split_once(' ').unwrap();
    run(async || {
        client(good).commit(vec![put("g/a", 1, None)]).await.unwrap();
        let told = client(bad).commit(vec![put("g/a", 2, None)]).await;
        assert!(matches!(told, Err(Trouble::Unreachable(_))), "{told:?}");
    });
}
