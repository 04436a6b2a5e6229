//! TLS of a client whose files change while it runs: roots, and a certificate with its key. They are looked at by their stat,
//! not watched, since a mounted secret is replaced by a link that no watch sees. Files that do not fit together, as in the
//! middle of a replacement, are not taken: what was read last without error stays, and they are read again.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use rustls::ClientConfig;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use secrecy::ExposeSecret;

use super::certificate::CertificateFacts;
use super::tls;
use crate::clock::{self, Instant};
use crate::config::file::{self, FileStamp};
use crate::config::secret::SecretRef;
use crate::config::{ConfigError, Place};
use crate::limits::{CA_BYTES_MAX, TLS_FILES_LOOK};

/// The files, and what of TLS the client offers.
#[derive(Clone, Debug)]
pub struct ClientFiles {
    /// Roots beside the system's, in PEM.
    pub ca: Option<(PathBuf, Place)>,
    /// Certificate and key of this client, in PEM.
    pub identity: Option<((PathBuf, Place), SecretRef)>,
    /// By ALPN.
    pub protocols: &'static [&'static [u8]],
    /// Whom they are for, in errors.
    pub whom: String,
    /// Of what makes the connection be encrypted.
    pub place: Place,
}

impl ClientFiles {
    /// # Errors
    /// What is wrong, and where that file is named.
    pub fn read(&self) -> Result<LoadedTls, ConfigError> {
        let whom = &self.whom;
        let read = |(path, place): &(PathBuf, Place)| {
            let content = file::content(path, CA_BYTES_MAX);
            content
                .map_err(|error| ConfigError::new(place, format!("{whom}: {}", file::failure(path, &error))))
        };
        let ca = self.ca.as_ref().map(read).transpose()?;
        let cert = self.identity.as_ref().map(|(cert, _)| read(cert)).transpose()?;
        let key = self.identity.as_ref().map(|(_, key)| key.read()).transpose()?;
        let identity = cert.as_deref().zip(key.as_ref().map(ExposeSecret::expose_secret));
        let config = tls::client_with(ca.as_deref(), identity, self.protocols).map_err(|why| {
            let place = match (&why, &self.identity, &self.ca) {
                (tls::TlsError::Identity(_), Some(((_, place), _)), _) | (_, _, Some((_, place))) => place,
                (_, _, None) => &self.place,
            };
            ConfigError::new(place, format!("{whom}: {why}"))
        })?;
        let own = cert.as_deref().and_then(|pem| CertificateDer::pem_slice_iter(pem).next()?.ok());
        Ok(LoadedTls { config, own: own.as_ref().and_then(CertificateFacts::read) })
    }

    /// The client's own certificate was loaded, where it has one.
    fn tell(&self, own: Option<&CertificateFacts>) {
        let Some(own) = own else { return };
        let CertificateFacts { subject, issuer, serial, not_after, .. } = own;
        let whom = self.whom.as_str();
        tracing::info!(
            target: "gemba::tls",
            whom,
            subject,
            issuer,
            serial,
            not_after,
            "a certificate of this node was loaded"
        );
        if own.ends_soon(clock::wall()) {
            tracing::warn!(
                target: "gemba::tls",
                whom,
                subject,
                issuer,
                serial,
                not_after,
                "a certificate of this node ends within 30 days, or has ended: renew it"
            );
        }
    }

    fn stamps(&self) -> [Option<FileStamp>; 3] {
        let cert = self.identity.as_ref().map(|((path, _), _)| path.as_path());
        let key = self.identity.as_ref().and_then(|(_, key)| key.path());
        [self.ca.as_ref().map(|(path, _)| path.as_path()), cert, key].map(|path| path.and_then(FileStamp::of))
    }
}

/// What the files gave.
#[derive(Debug)]
pub struct LoadedTls {
    config: Arc<ClientConfig>,
    /// What the client's own certificate says, where it has one that can be read.
    own: Option<CertificateFacts>,
}

/// The configuration that holds, and the files that it came from.
#[derive(Debug)]
pub struct ClientTls(Arc<Followed>);

#[derive(Debug)]
struct Followed {
    files: ClientFiles,
    held: Mutex<Held>,
}

/// All that are in use and have a certificate of this node.
static IN_USE: Mutex<Vec<Weak<Followed>>> = Mutex::new(Vec::new());

/// A certificate of this node, in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnCertificate {
    pub file: PathBuf,
    /// Whom it is shown to.
    pub whom: String,
    pub facts: CertificateFacts,
}

/// Every certificate of this node that is in use. Files that changed are read again.
#[must_use]
pub fn own_certificates() -> Vec<OwnCertificate> {
    let mut in_use = IN_USE.lock().unwrap_or_else(PoisonError::into_inner);
    in_use.retain(|followed| followed.strong_count() > 0);
    let in_use: Vec<Arc<Followed>> = in_use.iter().filter_map(Weak::upgrade).collect();
    in_use.iter().filter_map(|followed| followed.own()).collect()
}

#[derive(Debug)]
struct Held {
    config: Arc<ClientConfig>,
    own: Option<CertificateFacts>,
    stamps: [Option<FileStamp>; 3],
    looked: Instant,
    /// It was said that the files are not taken.
    is_told: bool,
}

impl ClientTls {
    /// # Errors
    /// What is wrong, and where that file is named.
    pub fn new(files: ClientFiles) -> Result<Self, ConfigError> {
        // Looked at before they are read: what changes in between is seen at the next look.
        let stamps = files.stamps();
        let LoadedTls { config, own } = files.read()?;
        files.tell(own.as_ref());
        let held = Mutex::new(Held { config, own, stamps, looked: clock::now(), is_told: false });
        let followed = Arc::new(Followed { files, held });
        if followed.files.identity.is_some() {
            IN_USE.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(&followed));
        }
        Ok(Self(followed))
    }

    /// What holds now.
    pub fn current(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.0.current().config)
    }
}

impl Followed {
    fn current(&self) -> MutexGuard<'_, Held> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let now = clock::now();
        if now.saturating_duration_since(held.looked) >= TLS_FILES_LOOK {
            held.looked = now;
            self.look(&mut held);
        }
        held
    }

    /// The certificate of this node, where it can be read.
    fn own(&self) -> Option<OwnCertificate> {
        let ((file, _), _) = self.files.identity.as_ref()?;
        let facts = self.current().own.clone()?;
        Some(OwnCertificate { file: file.clone(), whom: self.files.whom.clone(), facts })
    }

    fn look(&self, held: &mut Held) {
        let stamps = self.files.stamps();
        if stamps == held.stamps {
            return;
        }
        let whom = self.files.whom.as_str();
        match self.files.read() {
            Ok(LoadedTls { config, own }) => {
                (held.stamps, held.config, held.is_told) = (stamps, config, false);
                tracing::info!(target: "gemba::tls", whom, "files of TLS were read anew");
                self.files.tell(own.as_ref());
                held.own = own;
            }
            // The stamps stay, so that they are read again.
            Err(error) if !std::mem::replace(&mut held.is_told, true) => {
                tracing::warn!(
                    target: "gemba::tls",
                    whom,
                    reason = %error,
                    "files of TLS changed and are not taken: those before them hold"
                );
            }
            Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::OpenOptionsExt as _;
    use std::path::Path;

    use super::*;
    use crate::config::secret::{Chooser, Kept};

    struct Pair {
        cert: String,
        key: String,
    }

    fn pair() -> Pair {
        let made = rcgen::generate_simple_self_signed(vec!["client".to_owned()]).unwrap();
        let pem = |label: &str, der: &[u8]| {
            let text = data_encoding::BASE64.encode(der);
            format!("-----BEGIN {label}-----\n{text}\n-----END {label}-----\n")
        };
        Pair {
            cert: pem("CERTIFICATE", made.cert.der()),
            key: pem("PRIVATE KEY", &made.signing_key.serialize_der()),
        }
    }

    fn write(path: &Path, text: &str) {
        let beside = path.with_extension("new");
        let mut options = fs::OpenOptions::new();
        let file = options.write(true).create(true).truncate(true).mode(0o600).open(&beside).unwrap();
        std::io::Write::write_all(&mut &file, text.as_bytes()).unwrap();
        fs::rename(&beside, path).unwrap();
    }

    #[test]
    fn a_torn_pair_is_not_taken_and_a_whole_one_is() {
        let dir = tempfile::tempdir().unwrap();
        let (cert, key) = (dir.path().join("tls.crt"), dir.path().join("tls.key"));
        let (old, new) = (pair(), pair());
        write(&cert, &old.cert);
        write(&key, &old.key);
        let place = Place::named("test");
        let secret = SecretRef {
            kept: Kept::File(key.clone()),
            what: "the key".into(),
            key: "key_file".into(),
            place: place.clone(),
            chosen_by: Chooser::Peer,
        };
        let files = ClientFiles {
            ca: Some((cert.clone(), place.clone())),
            identity: Some(((cert.clone(), place.clone()), secret)),
            protocols: tls::HTTP,
            whom: "telemetry".into(),
            place,
        };
        let tls = ClientTls::new(files.clone()).unwrap();
        let look = || tls.0.look(&mut tls.0.held.lock().unwrap());
        let first = tls.current();
        look();
        assert!(Arc::ptr_eq(&first, &tls.current()), "nothing changed");
        write(&cert, &new.cert);
        look();
        assert!(Arc::ptr_eq(&first, &tls.current()), "the key is another one's");
        assert!(ClientTls::new(files).unwrap_err().what.contains("telemetry"));
        write(&key, "nonsense");
        look();
        assert!(Arc::ptr_eq(&first, &tls.current()));
        write(&key, &new.key);
        look();
        assert!(!Arc::ptr_eq(&first, &tls.current()), "the pair fits again");
        let own = || own_certificates().into_iter().find(|own| own.file == cert);
        assert!(own().is_some_and(|own| own.whom == "telemetry"));
        fs::remove_file(&cert).unwrap();
        let second = tls.current();
        look();
        assert!(Arc::ptr_eq(&second, &tls.current()), "a file that is gone takes nothing away");
        drop(tls);
        assert_eq!(own(), None, "nobody uses it any more");
    }
}
