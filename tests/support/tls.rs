//! Certificates of an authority of tests, and servers that have one.

use std::net::TcpStream;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;

use data_encoding::BASE64;
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::targets::Both;

/// Vouches for certificates.
pub struct Authority {
    certificate: CertificateDer<'static>,
    issuer: rcgen::Issuer<'static, rcgen::KeyPair>,
}

fn pem(label: &str, der: &[u8]) -> String {
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", BASE64.encode(der))
}

/// Long after any test.
const FAR: (i32, u8, u8) = (2096, 2, 29);

impl Authority {
    pub fn new() -> Self {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::default();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, "an authority of tests");
        let certificate = params.self_signed(&key).unwrap().der().clone();
        Self { certificate, issuer: rcgen::Issuer::new(params, key) }
    }

    /// Its own certificate.
    pub fn pem(&self) -> String {
        pem("CERTIFICATE", &self.certificate)
    }

    fn pair(&self, names: &[&str], until: (i32, u8, u8)) -> (CertificateDer<'static>, Vec<u8>) {
        let key = rcgen::KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let name = names.concat();
        let mut params = rcgen::CertificateParams::new(names).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.not_after = rcgen::date_time_ymd(until.0, until.1, until.2);
        let leaf = params.signed_by(&key, &self.issuer).unwrap();
        (leaf.der().clone(), key.serialize_der())
    }

    /// Writes `name.crt` and `name.key`, for whoever is called one of `names`.
    pub fn write(&self, dir: &Path, name: &str, names: &[&str]) {
        self.write_until(dir, name, names, FAR);
    }

    /// The same, of certificates that end on a day.
    pub fn write_until(&self, dir: &Path, name: &str, names: &[&str], until: (i32, u8, u8)) {
        let (certificate, key) = self.pair(names, until);
        std::fs::write(dir.join(format!("{name}.crt")), pem("CERTIFICATE", &certificate)).unwrap();
        let mut options = std::fs::OpenOptions::new();
        let options = options.write(true).create(true).truncate(true).mode(0o600);
        let file = options.open(dir.join(format!("{name}.key"))).unwrap();
        std::io::Write::write_all(&mut &file, pem("PRIVATE KEY", &key).as_bytes()).unwrap();
    }

    /// A server on 127.0.0.1; it may ask clients for a certificate of this authority.
    pub fn server(&self, asks: bool) -> Arc<ServerConfig> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.certificate.clone()).unwrap();
        let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(
            Arc::new(roots),
            Arc::clone(&provider),
        );
        let config =
            ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = if asks {
            config.with_client_cert_verifier(verifier.build().unwrap())
        } else {
            config.with_no_client_auth()
        };
        let (certificate, key) = self.pair(&["127.0.0.1"], FAR);
        let key = PrivateKeyDer::try_from(key).unwrap();
        Arc::new(config.with_single_cert(vec![certificate], key).unwrap())
    }
}

/// Every connection in TLS; `None` for a caller that breaks the handshake off, or is not let in.
pub fn served(config: Arc<ServerConfig>) -> impl Fn(TcpStream) -> Option<Box<dyn Both>> {
    move |socket| {
        let connection = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
        let mut stream = rustls::StreamOwned::new(connection, socket);
        stream.conn.complete_io(&mut stream.sock).ok()?;
        Some(Box::new(stream))
    }
}
