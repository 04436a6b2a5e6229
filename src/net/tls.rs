//! TLS towards others: rustls over aws-lc. The provider is built by hand, so that no other crate's features choose
//! suites and groups for the whole program.

use std::sync::{Arc, OnceLock};

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use tracing::Level;

use super::certificate::CertificateFacts;

/// Why no client can be made.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("{0}")]
    Pem(#[from] pem::Error),
    #[error("there is no certificate in it")]
    Empty,
    #[error("the system has no root certificates")]
    NoRoots,
    #[error("the client's certificate: {0}")]
    Identity(String),
    #[error(transparent)]
    Rustls(#[from] rustls::Error),
}

/// A client that trusts the system's roots, and those in `further`, a text in PEM, and offers these protocols.
pub fn client(further: Option<&[u8]>, protocols: &[&[u8]]) -> Result<Arc<ClientConfig>, TlsError> {
    client_with(further, None, protocols)
}

/// The same with a certificate and a key of its own, both in PEM.
pub fn client_with(
    further: Option<&[u8]>,
    identity: Option<(&[u8], &[u8])>,
    protocols: &[&[u8]],
) -> Result<Arc<ClientConfig>, TlsError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(system().iter().cloned());
    if let Some(pem) = further {
        let certificates = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>()?;
        if certificates.is_empty() {
            return Err(TlsError::Empty);
        }
        for certificate in certificates {
            roots.add(certificate)?;
        }
    }
    if roots.is_empty() {
        return Err(TlsError::NoRoots);
    }
    let config = ClientConfig::builder_with_provider(Arc::new(provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots);
    let mut config = match identity {
        None => config.with_no_client_auth(),
        Some((certificates, key)) => {
            let chain = CertificateDer::pem_slice_iter(certificates).collect::<Result<Vec<_>, _>>();
            let chain = chain.map_err(|error| TlsError::Identity(error.to_string()))?;
            let key = PrivateKeyDer::from_pem_slice(key);
            let key = key.map_err(|_| TlsError::Identity("its key cannot be read".into()))?;
            if chain.is_empty() {
                return Err(TlsError::Identity("there is no certificate in it".into()));
            }
            let config = config.with_client_auth_cert(chain, key);
            config.map_err(|error| TlsError::Identity(error.to_string()))?
        }
    };
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    Ok(Arc::new(config))
}

/// A connection to `host` is encrypted.
pub fn tell_of_handshake(host: &str, connection: &rustls::ClientConnection) {
    if !tracing::event_enabled!(target: "gemba::tls", Level::DEBUG) {
        return;
    }
    let protocol = connection.protocol_version().and_then(|version| version.as_str());
    let suite = connection.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str());
    let resumed = connection.handshake_kind() == Some(rustls::HandshakeKind::Resumed);
    let peer = connection.peer_certificates().and_then(|chain| CertificateFacts::read(chain.first()?));
    let peer = peer.as_ref();
    tracing::debug!(
        target: "gemba::tls",
        host,
        protocol,
        suite,
        resumed,
        subject = peer.map(|peer| peer.subject.as_str()),
        issuer = peer.map(|peer| peer.issuer.as_str()),
        serial = peer.map(|peer| peer.serial.as_str()),
        not_after = peer.map(|peer| peer.not_after.as_str()),
        "a TLS handshake succeeded"
    );
}

/// A connection to `host` is not encrypted, and so is none.
pub fn tell_of_failure(host: &str, error: &std::io::Error) {
    tracing::debug!(target: "gemba::tls", host, %error, "a TLS handshake failed");
}

/// HTTP/2, as ALPN names it.
pub const H2: &[u8] = b"h2";
/// What an HTTP client offers.
pub const HTTP: &[&[u8]] = &[H2, b"http/1.1"];

/// TLS 1.3, and 1.2 with forward secrecy and AEAD only.
fn provider() -> CryptoProvider {
    use aws_lc_rs::{cipher_suite as suite, kx_group as group};
    CryptoProvider {
        cipher_suites: vec![
            suite::TLS13_AES_256_GCM_SHA384,
            suite::TLS13_AES_128_GCM_SHA256,
            suite::TLS13_CHACHA20_POLY1305_SHA256,
            suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
            suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
            suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
            suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
            suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
            suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
        ],
        kx_groups: vec![group::X25519, group::SECP256R1, group::SECP384R1],
        ..aws_lc_rs::default_provider()
    }
}

/// The system's roots, read once; those that cannot be read are not trusted.
fn system() -> &'static [CertificateDer<'static>] {
    static ROOTS: OnceLock<Vec<CertificateDer<'static>>> = OnceLock::new();
    ROOTS.get_or_init(|| rustls_native_certs::load_native_certs().certs)
}
