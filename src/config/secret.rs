//! Secrets: from files that nobody else may read, or from variables; never inline. Nothing here prints one.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use aws_lc_rs::rand;
use secrecy::SecretSlice;
use zeroize::Zeroizing;

use super::access::Process;
use super::file;
use crate::place::{ConfigError, Place};

/// Where a secret is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kept {
    File(PathBuf),
    Variable(String),
}

/// A secret that the configuration names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretRef {
    pub kept: Kept,
    /// What it is for, in an error.
    pub what: String,
    /// The key that names its file or variable.
    pub key: String,
    pub place: Place,
    pub chosen_by: Chooser,
}

/// Who decides what a secret is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chooser {
    /// Whoever runs the node: nothing keeps it from being long and random.
    Us(Written),
    /// Us too, and a node has it already: one that is made here is not known there. Says where to find it.
    Node(&'static str),
    /// Whoever runs what the node logs in to.
    Peer,
    /// The same; as it is installed, that takes this one.
    PeerAtFirst(&'static str),
}

/// How a created secret is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// 32 random bytes in hex; the text is the secret.
    Hex,
    /// `whsec_` and 32 random bytes in base64, the form of Standard Webhooks.
    Whsec,
}

impl Written {
    /// A new one, as a shell writes it.
    fn made(self) -> &'static str {
        match self {
            Self::Hex => "$(openssl rand -hex 32)",
            Self::Whsec => "whsec_$(openssl rand -base64 32)",
        }
    }
}

/// A longer file is no secret.
const SECRET_BYTES_MAX: u64 = 4096;
/// Of one that is ours to choose; 24 bytes are what Standard Webhooks asks of a key.
const SECRET_BYTES_MIN: usize = 24;
/// What the reference architecture falls back to when nothing is configured: everybody knows them.
const PUBLISHED: [&[u8]; 2] = [b"default_secret", b"default"];

impl SecretRef {
    /// Its file, if it is in one.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        match &self.kept {
            Kept::File(path) => Some(path),
            Kept::Variable(_) => None,
        }
    }

    /// Reads it.
    ///
    /// # Errors
    /// When it is missing, empty, or open to others; where it is ours to choose, also when it is short, or one of the
    /// reference architecture's published fallbacks.
    pub fn read(&self) -> Result<SecretSlice<u8>, ConfigError> {
        let bytes = match &self.kept {
            Kept::File(path) => self.read_file(path)?,
            Kept::Variable(name) => match std::env::var_os(name) {
                Some(value) => Zeroizing::new(value.into_vec()),
                None => return Err(self.unfit("it is not set").hint(self.advice())),
            },
        };
        let secret = match self.chosen_by {
            Chooser::Us(_) | Chooser::Node(_) => bytes.trim_ascii_end(),
            // A password may end in a space, but not in the end of a file's line.
            Chooser::Peer | Chooser::PeerAtFirst(_) => {
                let line = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
                line.strip_suffix(b"\r").unwrap_or(line)
            }
        };
        if secret.is_empty() {
            return Err(self.unfit("it is empty").hint(self.advice()));
        }
        let is_ours = match self.chosen_by {
            Chooser::Us(_) | Chooser::Node(_) => true,
            Chooser::Peer | Chooser::PeerAtFirst(_) => false,
        };
        if is_ours && PUBLISHED.contains(&secret) {
            let wrong = "it is the published fallback of the reference architecture";
            return Err(self.unfit(wrong).hint(self.advice()));
        }
        if is_ours && secret.len() < SECRET_BYTES_MIN {
            let wrong = format!("it has {} bytes; at least {SECRET_BYTES_MIN} are needed", secret.len());
            return Err(self.unfit(wrong).hint(self.advice()));
        }
        Ok(secret.to_vec().into())
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "the enum is not ours")]
    fn read_file(&self, path: &Path) -> Result<Zeroizing<Vec<u8>>, ConfigError> {
        let shown = path.display();
        let failed = |error: io::Error| {
            let wrong = self.wrong(file::failure(path, &error));
            match error.kind() {
                io::ErrorKind::NotFound => wrong.hint(self.advice()),
                _ => wrong,
            }
        };
        let (file, metadata) = file::open(path).map_err(failed)?;
        if let Some(objection) = Process::this().objection(&file, &metadata) {
            let (mode, owner, group) = (metadata.mode() & 0o7777, metadata.uid(), metadata.gid());
            return Err(self
                .wrong(format!("{shown}: {objection} (mode {mode:04o}, owner {owner}, group {group})"))
                .hint(format!(
                    "chmod 600 {shown}; a file of root's may have mode 0440 where its group is one of this process', as in a \
                     Kubernetes secret with `defaultMode: 0400` and an `fsGroup`"
                )));
        }
        file::read(&file, SECRET_BYTES_MAX).map_err(failed)
    }

    /// What to do where there is none that fits.
    #[must_use]
    pub fn advice(&self) -> String {
        match (self.chosen_by, &self.kept) {
            (Chooser::Us(written), Kept::File(path)) => {
                format!("make one: (umask 077; echo \"{}\" > {})", written.made(), path.display())
            }
            (Chooser::Us(written), Kept::Variable(name)) => {
                format!("make one: export {name}=\"{}\"", written.made())
            }
            (Chooser::Node(found), Kept::Variable(name)) => {
                format!("set {name} to what the node has, or {found}")
            }
            (Chooser::Node(found), Kept::File(_)) => found.to_owned(),
            (Chooser::Peer | Chooser::PeerAtFirst(_), _) => {
                "write what the other side has given this node".to_owned()
            }
        }
    }

    /// The file that the start makes it in, if it is ours to choose or known, to be under `data_dir`, and does not exist.
    #[must_use]
    pub fn missing(&self, data_dir: &Path) -> Option<&Path> {
        match (self.chosen_by, &self.kept) {
            (Chooser::Us(_) | Chooser::PeerAtFirst(_), Kept::File(path))
                if path.starts_with(data_dir) && !path.exists() =>
            {
                Some(path)
            }
            (
                Chooser::Us(_) | Chooser::Node(_) | Chooser::Peer | Chooser::PeerAtFirst(_),
                Kept::File(_) | Kept::Variable(_),
            ) => None,
        }
    }

    /// Makes the secret if it is [`Self::missing`]; says where.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn create(&self, data_dir: &Path) -> io::Result<Option<PathBuf>> {
        let Some(path) = self.missing(data_dir) else { return Ok(None) };
        let made = self.random().map_err(io::Error::other).and_then(|secret| write_new(path, &secret));
        let what = &self.what;
        made.map_err(|error| {
            io::Error::new(error.kind(), format!("{}: {what} cannot be made: {error}", path.display()))
        })?;
        Ok(Some(path.to_owned()))
    }

    /// A secret as it would be made: a random one, or the one that is known.
    ///
    /// # Errors
    /// When the system gives no random bytes.
    pub fn random(&self) -> Result<Zeroizing<Vec<u8>>, ConfigError> {
        let mut bytes = Zeroizing::new([0; 32]);
        rand::fill(&mut *bytes).map_err(|_| self.wrong("the system gives no random bytes"))?;
        let text = match self.chosen_by {
            Chooser::Us(Written::Whsec) => {
                format!("whsec_{}", data_encoding::BASE64.encode(&*bytes))
            }
            Chooser::PeerAtFirst(known) => known.to_owned(),
            Chooser::Us(Written::Hex) | Chooser::Node(_) | Chooser::Peer => faster_hex::hex_string(&*bytes),
        };
        Ok(Zeroizing::new(text.into_bytes()))
    }

    /// Says what is wrong with what stands in its place.
    fn unfit(&self, why: impl std::fmt::Display) -> ConfigError {
        let key = &self.key;
        match &self.kept {
            Kept::File(path) => self.wrong(format!("the file {} (`{key}`): {why}", path.display())),
            Kept::Variable(name) => self.wrong(format!("the variable {name} (`{key}`): {why}")),
        }
    }

    /// Says what is wrong with it.
    #[must_use]
    pub fn wrong(&self, why: impl std::fmt::Display) -> ConfigError {
        ConfigError::new(&self.place, format!("{}: {why}", self.what))
    }
}

fn write_new(path: &Path, secret: &[u8]) -> io::Result<()> {
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir)?;
    }
    // Whole under its name, or not there: a crash in between must not leave half a secret.
    let unfinished = path.with_extension("unfinished");
    let mut file =
        fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
    file.write_all(secret)?;
    file.write_all(b"\n")?;
    file.sync_all()?;
    fs::rename(&unfinished, path)?;
    fs::File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
}
