//! Secrets: from files that nobody else may read, or from variables; never inline. Nothing here prints one.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use aws_lc_rs::rand;
use secrecy::SecretSlice;
use zeroize::Zeroizing;

use super::place::{ConfigError, Place};

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
    pub place: Place,
}

/// How a created secret is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// 32 random bytes in hex; the text is the secret.
    Hex,
    /// `whsec_` and 32 random bytes in base64, the form of Standard Webhooks.
    Whsec,
}

/// A longer file is no secret.
const SECRET_BYTES_MAX: u64 = 4096;
const SECRET_BYTES_MIN: usize = 24;
/// What the blueprint falls back to when nothing is configured: everybody knows them.
const PUBLISHED: [&[u8]; 2] = [b"default_secret", b"default"];

impl SecretRef {
    /// Reads it.
    ///
    /// # Errors
    /// When it is missing, readable by others, too short, or one of the blueprint's published fallbacks.
    pub fn read(&self) -> Result<SecretSlice<u8>, ConfigError> {
        let bytes = match &self.kept {
            Kept::File(path) => self.read_file(path)?,
            Kept::Variable(name) => match std::env::var(name) {
                Ok(value) => Zeroizing::new(value.into_bytes()),
                Err(_) => return Err(self.wrong(format!("the variable {name} is not set"))),
            },
        };
        let secret = bytes.trim_ascii_end();
        if PUBLISHED.contains(&secret) {
            return Err(self.wrong("it is the published fallback of the reference architecture"));
        }
        if secret.len() < SECRET_BYTES_MIN {
            let wrong = format!("it has {} bytes; at least {SECRET_BYTES_MIN} are needed", secret.len());
            return Err(self.wrong(wrong));
        }
        Ok(secret.to_vec().into())
    }

    fn read_file(&self, path: &Path) -> Result<Zeroizing<Vec<u8>>, ConfigError> {
        let shown = path.display();
        let metadata = fs::metadata(path).map_err(|error| {
            let wrong = self.wrong(format!("{shown}: {error}"));
            if error.kind() == io::ErrorKind::NotFound {
                let make = format!("make one: (umask 077; openssl rand -hex 32 > {shown})");
                return wrong.hint(make);
            }
            wrong
        })?;
        let mode = metadata.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(self
                .wrong(format!("{shown} may be read or written by others (mode {mode:04o})"))
                .hint(format!("chmod 600 {shown}")));
        }
        if metadata.len() > SECRET_BYTES_MAX {
            return Err(self.wrong(format!("{shown} has {} bytes: this is no secret", metadata.len())));
        }
        fs::read(path).map(Zeroizing::new).map_err(|error| self.wrong(format!("{shown}: {error}")))
    }

    /// Makes the secret if it is to be in a file under `data_dir` that does not exist; says where.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn create(&self, data_dir: &Path, written: Written) -> Result<Option<PathBuf>, ConfigError> {
        let Kept::File(path) = &self.kept else { return Ok(None) };
        if !path.starts_with(data_dir) || path.exists() {
            return Ok(None);
        }
        let secret = random(written).map_err(|()| self.wrong("the system gives no random bytes"))?;
        write_new(path, secret.as_bytes())
            .map_err(|error| self.wrong(format!("{}: {error}", path.display())))?;
        Ok(Some(path.clone()))
    }

    fn wrong(&self, why: impl std::fmt::Display) -> ConfigError {
        ConfigError::new(&self.place, format!("{}: {why}", self.what))
    }
}

fn random(written: Written) -> Result<Zeroizing<String>, ()> {
    let mut bytes = Zeroizing::new([0; 32]);
    rand::fill(&mut *bytes).map_err(drop)?;
    Ok(Zeroizing::new(match written {
        Written::Hex => faster_hex::hex_string(&*bytes),
        Written::Whsec => format!("whsec_{}", data_encoding::BASE64.encode(&*bytes)),
    }))
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
