//! All secrets of a node, read at once: each has one use, so that whoever knows one for one use can do nothing else with it.

use std::io;
use std::path::{Path, PathBuf};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{Context, SHA256, digest};
use secrecy::{ExposeSecret as _, SecretSlice};
use zeroize::Zeroizing;

use super::channels::channel_secrets;
use super::layer::{Applies, NodeRole, Profile, section_applies as applies};
use super::secret::{Kept, SecretRef};
use super::whole::Config;
use crate::place::ConfigError;

/// Secrets as they were read.
#[derive(Clone, Debug, Default)]
pub struct Secrets {
    read: Vec<(SecretRef, SecretSlice<u8>)>,
    /// What works and should not stay so.
    pub warnings: Vec<ConfigError>,
}

/// A secret that is another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretChange {
    /// The section that names it, and what it is for.
    pub key: String,
    pub applies: Applies,
    pub was_there: bool,
    pub is_there: bool,
}

impl SecretChange {
    fn of(section: &str, secret: &SecretRef, (was_there, is_there): (bool, bool)) -> Self {
        let key = format!("{section} ({})", secret.what);
        Self { key, applies: applies(section), was_there, is_there }
    }
}

/// What becomes of secrets that a start in the `dev` profile would make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// They were made.
    Refuse,
    /// Something stands for them.
    Assume,
}

/// A shorter password of a broker is one that can be tried out.
const PASSWORD_BYTES_MIN: usize = 12;

impl Secrets {
    /// A secret, from its place if it was not read before.
    ///
    /// # Errors
    /// As [`SecretRef::read`].
    pub fn get(&self, secret: &SecretRef) -> Result<SecretSlice<u8>, ConfigError> {
        match self
            .read
            .iter()
            .find(|(read, _)| read.kept == secret.kept && read.chosen_by == secret.chosen_by)
        {
            Some((_, read)) => Ok(read.clone()),
            None => secret.read(),
        }
    }

    /// SHA-256 of all of them and of what each is for. It is compared, and never shown: a short secret could be guessed by it.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        let mut hash = Context::new(&SHA256);
        for (secret, read) in &self.read {
            let each = digest(&SHA256, read.expose_secret());
            hash.update(digest(&SHA256, secret.what.as_bytes()).as_ref());
            hash.update(each.as_ref());
        }
        let mut all = [0; 32];
        all.copy_from_slice(hash.finish().as_ref());
        all
    }

    /// What each of them was when it was read before, if it was.
    fn before<'s>(&'s self, secret: &SecretRef) -> Option<&'s SecretSlice<u8>> {
        let is_it = |read: &SecretRef| (&read.what, &read.kept) == (&secret.what, &secret.kept);
        self.read.iter().find(|(read, _)| is_it(read)).map(|(_, read)| read)
    }

    /// The secrets that are others now than when they were read before, and those that came or went without a key that says so:
    /// of files that are used because they are there.
    #[must_use]
    pub fn changed(&self, config: &Config, new: &Self, next: &Config) -> Vec<SecretChange> {
        let is_named = |config: &Config, secret: &SecretRef| {
            secret.path().is_none_or(|path| config.effective.files().any(|named| named == path))
        };
        let mut changed = Vec::new();
        for (section, secret) in next.secrets_by_section() {
            let (before, now) = (self.before(secret), new.before(secret));
            let is_other = match (before, now) {
                (Some(before), Some(now)) => before.expose_secret() != now.expose_secret(),
                (None, _) => !is_named(next, secret),
                (Some(_), None) => false,
            };
            if is_other {
                changed.push(SecretChange::of(section, secret, (before.is_some(), true)));
            }
        }
        for (section, secret) in config.secrets_by_section() {
            if new.before(secret).is_none() && !is_named(config, secret) {
                changed.push(SecretChange::of(section, secret, (true, false)));
            }
        }
        changed
    }

    /// What holds once `new` was read: those that only a start takes stay.
    #[must_use]
    pub fn reloaded(&self, mut new: Self, config: &Config) -> Self {
        for (section, secret) in config.secrets_by_section() {
            let held = self.before(secret).filter(|_| applies(section) == Applies::AtStart);
            let is_it = |read: &SecretRef| (&read.what, &read.kept) == (&secret.what, &secret.kept);
            let read = new.read.iter_mut().find(|(read, _)| is_it(read));
            if let (Some(held), Some((_, read))) = (held, read) {
                *read = held.clone();
            }
        }
        new
    }
}

impl Config {
    /// The log's signing key, where its file is not there and `log_dir` holds a log that was signed with it.
    #[must_use]
    pub fn lost_log_key(&self, log_dir: &Path) -> Option<&Path> {
        let Kept::File(key) = &self.proof.as_ref()?.log_key.kept else { return None };
        let is_segment = |entry: std::fs::DirEntry| entry.path().extension().is_some_and(|end| end == "log");
        let holds_log = || std::fs::read_dir(log_dir).is_ok_and(|dir| dir.flatten().any(is_segment));
        (!key.exists() && holds_log()).then_some(key)
    }

    /// In the dev profile, makes the secrets that are missing; says what and where.
    ///
    /// # Errors
    /// When one cannot be written.
    pub fn create_secrets(&self) -> io::Result<Vec<(String, PathBuf)>> {
        if self.profile != Profile::Dev {
            return Ok(Vec::new());
        }
        let mut created = Vec::new();
        for secret in self.secrets() {
            if let Some(path) = secret.create(&self.data_dir)? {
                created.push((secret.what.clone(), path));
            }
        }
        Ok(created)
    }

    /// Every secret but that of another service's own file format.
    pub fn secrets(&self) -> impl Iterator<Item = &SecretRef> {
        self.secrets_by_section().map(|(_, secret)| secret)
    }

    /// The same, each with the section that names it.
    fn secrets_by_section(&self) -> impl Iterator<Item = (&'static str, &SecretRef)> {
        let of = |section| move |secret| (section, secret);
        let sources = self.sources.iter().flat_map(|source| &source.keys).map(|key| &key.secret);
        let actions = self.actions.iter().filter_map(|action| action.kind.secret());
        let tokens = self.tokens.iter().map(|token| &token.secret);
        let proof =
            self.proof.iter().flat_map(|proof| [("receipt", &proof.receipt_secret), ("log", &proof.log_key)]);
        let broker = self.broker_in_use().into_iter().flat_map(|broker| {
            let keys = broker.keys.iter().map(|key| ("rabbitmq.key", &key.secret));
            std::iter::once(("rabbitmq", &broker.password)).chain(keys)
        });
        let prometheus = self.prometheus.iter().filter_map(|prometheus| prometheus.login.secret());
        let sources =
            sources.map(of("source")).chain(actions.map(of("action"))).chain(tokens.map(of("admin.token")));
        let channels = channel_secrets(&self.channels).into_iter().map(of("channel"));
        let sources = sources.chain(channels);
        sources.chain(proof).chain(broker).chain(prometheus.map(of("prometheus")))
    }

    /// Every file that it names.
    pub fn files(&self) -> impl Iterator<Item = PathBuf> {
        let secrets = self.secrets().filter_map(|secret| secret.path().map(Path::to_owned));
        let mut files: Vec<PathBuf> = self.effective.files().chain(secrets).collect();
        files.sort_unstable();
        files.dedup();
        files.into_iter()
    }

    /// Reads all secrets.
    ///
    /// # Errors
    /// The first that cannot be read, or is the same as another one.
    pub fn read_secrets(&self, missing: Missing) -> Result<Secrets, ConfigError> {
        let mut secrets = Secrets::default();
        for secret in self.secrets() {
            let is_made = self.profile == Profile::Dev && secret.missing(&self.data_dir).is_some();
            let known = secrets.read.iter().find(|(read, _)| read.kept == secret.kept);
            let read = match known {
                Some((_, read)) => read.clone(),
                None if is_made && missing == Missing::Assume => secret.random()?.to_vec().into(),
                None => secret.read()?,
            };
            if let Some((other, _)) = secrets.read.iter().find(|(_, other)| is_same(other, &read)) {
                return Err(secret.wrong(format!("it is the same as {}", other.what)).hint(
                    "make each its own: whoever verifies with one could sign, or ask, with the other",
                ));
            }
            secrets.read.push((secret.clone(), read));
        }
        secrets.warnings.extend(self.weak_password(&secrets)?);
        secrets.warnings.extend(self.derived_key());
        Ok(secrets)
    }

    /// Says that messages are vouched for with the broker's password.
    fn derived_key(&self) -> Option<ConfigError> {
        let broker = self.broker_in_use().filter(|broker| broker.keys.is_empty())?;
        let what = "`rabbitmq.key` is missing: the key of messages is derived from the broker's password, so whoever may \
                    log in to the broker could forge one";
        (self.role != NodeRole::All).then(|| {
            ConfigError::new(&broker.password.place, what)
                .hint("write [[rabbitmq.key]]; `staging` and `prod` do not start without")
        })
    }

    fn weak_password(&self, secrets: &Secrets) -> Result<Option<ConfigError>, ConfigError> {
        let Some(broker) = self.broker_in_use().filter(|_| self.profile != Profile::Dev) else {
            return Ok(None);
        };
        let password = secrets.get(&broker.password)?;
        let password = password.expose_secret();
        let is_weak = password.len() < PASSWORD_BYTES_MIN || password == broker.username.as_bytes();
        Ok(is_weak.then(|| {
            let least = PASSWORD_BYTES_MIN;
            let weak = format!("it can be guessed: it has less than {least} bytes, or is the user's name");
            broker
                .password
                .wrong(weak)
                .hint("change it at the broker, for instance to `openssl rand -hex 32`")
        }))
    }
}

/// Whether two secrets are one key, however each is written.
fn is_same(one: &SecretSlice<u8>, other: &SecretSlice<u8>) -> bool {
    let (one, other) = (forms(one.expose_secret()), forms(other.expose_secret()));
    one.iter().any(|one| other.iter().any(|other| verify_slices_are_equal(one, other).is_ok()))
}

/// The text itself, and the bytes that it stands for in hex and in the base64 of Standard Webhooks. White space is ignored.
fn forms(secret: &[u8]) -> Vec<Zeroizing<Vec<u8>>> {
    let text: Zeroizing<Vec<u8>> =
        Zeroizing::new(secret.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect());
    let code = text.strip_prefix(b"whsec_").unwrap_or(&text);
    let padding = code.iter().rev().take_while(|byte| **byte == b'=').count();
    let base64 = data_encoding::BASE64_NOPAD.decode(&code[..code.len() - padding]).ok();
    let hex = data_encoding::HEXLOWER_PERMISSIVE.decode(&text).ok();
    let read = [base64, hex].into_iter().flatten().map(Zeroizing::new);
    read.chain([text]).filter(|form| !form.is_empty()).collect()
}
