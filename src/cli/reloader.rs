//! The configuration of a running node, and how it is read anew: all of it is read and checked, and what changed holds at once, or
//! nothing does.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};

use super::configured::Configured;
use super::parts::{Parts, parts};
use super::telemetry::{self, Destinations};
use super::{audit_files, roles};
use crate::config::file::FileStamp;
use crate::config::{
    Action, ActionKind, Applies, ChangedSetting, Config, ConfigError, LogFile, Missing, Place, SecretChange,
    Secrets, Setting,
};
use crate::jidoka::rules::RulesSource;
use crate::line::live::{Configuration, Live, Prepared, Rulebook};
use crate::logging::{self, Destination};
use crate::view::{ConfigEntry, ConfigView, SettingChange};

/// Reads the configuration of a running node anew.
pub struct Reloader {
    configured: Configured,
    role: Option<String>,
    live: Live,
    /// How long identities are remembered since the start.
    kept_for: Duration,
    running: Mutex<Arc<Running>>,
    files: Mutex<Files>,
}

/// What holds, and what it was made of.
struct Running {
    config: Config,
    secrets: Secrets,
    parts: Parts,
    destinations: Destinations,
    /// Keys whose new values wait for the next start.
    waits: Vec<String>,
    /// Of what was read, what waits included, and of the rules' packs.
    fingerprint: String,
    reloads: u64,
}

/// The files that were read, as they were then.
#[derive(Default)]
struct Files {
    seen: SeenFiles,
    /// What the configuration names that was read last, whether it holds or was refused.
    named: Vec<PathBuf>,
    /// They were otherwise when they were looked at last; what is still being written is not read.
    unread: Option<SeenFiles>,
}

/// The files, and what they are; of one that is missing, nothing.
type SeenFiles = Vec<(PathBuf, Option<FileStamp>)>;

/// What a configuration is read for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Purpose {
    /// It is to hold.
    Hold,
    /// Somebody wants to see what it says: nothing is made for it, neither a secret nor a file of the log.
    Look,
}

impl Reloader {
    /// For a node that runs with this.
    pub fn new(
        configured: Configured,
        role: Option<String>,
        (config, secrets): (Config, Secrets),
        parts: Parts,
        destinations: Destinations,
    ) -> Self {
        let (live, kept_for) = (parts.live(), config.identities_kept_for());
        let (waits, fingerprint) = (Vec::new(), config.effective.fingerprint());
        let running = Running { config, secrets, parts, destinations, waits, fingerprint, reloads: 0 };
        let reloader = Self {
            configured,
            role,
            live,
            kept_for,
            running: Mutex::new(Arc::new(running)),
            files: Mutex::default(),
        };
        reloader.names(reloader.running().config.files());
        let seen = reloader.stamps();
        reloader.files().seen = seen;
        reloader
    }

    #[must_use]
    pub fn live(&self) -> &Live {
        &self.live
    }

    fn running(&self) -> Arc<Running> {
        Arc::clone(&self.running.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn files(&self) -> MutexGuard<'_, Files> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// These are looked at from here on, beside what holds.
    fn names(&self, files: impl Iterator<Item = PathBuf>) {
        let held: Vec<PathBuf> = self.running().config.files().collect();
        let mut named: Vec<PathBuf> = self.configured.file().into_iter().chain(held).chain(files).collect();
        named.sort_unstable();
        named.dedup();
        self.files().named = named;
    }

    fn stamps(&self) -> SeenFiles {
        let named = self.files().named.clone();
        let stamped = |path: PathBuf| {
            let stamp = FileStamp::of(&path);
            (path, stamp)
        };
        named.into_iter().map(stamped).collect()
    }

    /// Reads and checks. What the files are is noted before they are read: one that changes meanwhile is read again.
    fn read_once(self: &Arc<Self>) -> Result<Next, Vec<ConfigError>> {
        let before = self.stamps();
        let next = self.prepare(Purpose::Hold);
        let known = |path: &PathBuf| before.iter().find(|(known, _)| known == path).map(|(_, stamp)| *stamp);
        let seen = self.stamps().into_iter().map(|(path, now)| {
            let stamp = known(&path).unwrap_or(now);
            (path, stamp)
        });
        let seen = seen.collect();
        self.files().seen = seen;
        next
    }

    fn prepare(self: &Arc<Self>, purpose: Purpose) -> Result<Next, Vec<ConfigError>> {
        let one = |error: ConfigError| vec![error];
        let new = self.configured.load(self.role.clone()).map_err(one)?;
        self.names(new.files());
        let running = self.running();
        let differs = running.config.effective.changes(&new.effective);
        let is_fixed = |change: &&ChangedSetting| running.config.rests_on(&new, &change.key);
        let fixed: Vec<ConfigError> = differs.iter().filter(is_fixed).map(fixed).collect();
        if !fixed.is_empty() {
            return Err(fixed);
        }
        if purpose == Purpose::Hold {
            let made = new.create_secrets();
            made.map_err(|error| one(ConfigError::new(&Place::named("node.data_dir"), error.to_string())))?;
        }
        let waits = differs.iter().filter(|change| change.applies == Applies::AtStart);
        let mut waits: Vec<String> = waits.map(|change| change.key.clone()).collect();
        let mut changes: Vec<SettingChange> =
            differs.iter().filter(|change| change.applies == Applies::AtOnce).map(shown).collect();
        // What waits for the next start has to be right, too.
        let all = new.read_secrets(Missing::Refuse).map_err(one)?;
        roles::check(&new, &all).map_err(one)?;
        let fingerprint = new.effective.fingerprint();
        let followed = |file: &&LogFile| running.config.logging.files.iter().any(|old| old.path == file.path);
        // A look at one that is not there would make it.
        let can_look = |file: &&LogFile| purpose == Purpose::Hold || file.path.exists();
        let new_files = new.logging.files.iter().filter(|file| !followed(file) && can_look(file));
        audit_files::look_at(new_files, new.role).map_err(one)?;
        let config = running.config.reloaded(new);
        let secrets = config.read_secrets(Missing::Refuse).map_err(one)?;
        for change in running.secrets.changed(&running.config, &secrets, &config) {
            match change.applies {
                Applies::AtOnce => changes.push(content(change)),
                Applies::AtStart => waits.push(change.key),
            }
        }
        let parts = parts(&config, &secrets).map_err(one)?;
        fits(self.kept_for, &config).map_err(one)?;
        has_broker(&config).map_err(one)?;
        has_descriptors(&config, parts.remote_targets(), self.live.target_room.read()).map_err(one)?;
        changes.extend(changed_packs(&running.parts.rulebook.configured(), &parts.rulebook.configured()));
        let is_changed = |of: &str| changes.iter().any(|change| change.key.starts_with(of));
        let known = |of: &str| running.destinations.get(of).filter(|_| !is_changed(of)).cloned();
        let mut destinations = Destinations::new();
        let added = match purpose {
            Purpose::Hold => telemetry::log_files(&config, &known, &mut destinations)
                .and_then(|()| telemetry::syslog_receiver(&config, &known, &mut destinations)),
            Purpose::Look => Ok(()),
        };
        let is_new =
            |new: &&Arc<Destination>| !running.destinations.values().any(|old| Arc::ptr_eq(old, new));
        let started = Started(destinations.values().filter(is_new).cloned().collect());
        added.map_err(one)?;
        let parts = parts.keeping(&running.parts, is_changed);
        let secrets = running.secrets.reloaded(secrets, &config);
        let reloader = Arc::clone(self);
        Ok(Next { reloader, config, secrets, parts, destinations, started, changes, waits, fingerprint })
    }
}

/// Whether a memory of identities that keeps them `kept` is long enough for every source.
fn fits(kept: Duration, next: &Config) -> Result<(), ConfigError> {
    let needed = next.identities_kept_for();
    let Some(source) = next.sources.iter().max_by_key(|source| source.tolerance).filter(|_| needed > kept)
    else {
        return Ok(());
    };
    let what = format!(
        "source `{}`: its signatures may be repeated for {} s, and identities are remembered for the {} s of this start",
        source.name,
        needed.as_secs(),
        kept.as_secs()
    );
    Err(ConfigError::new(&source.place, what)
        .hint("start the node again, or give the source a smaller `tolerance_seconds`"))
}

/// Whether the start left file descriptors for so many targets.
fn has_descriptors(next: &Config, targets: usize, room: u64) -> Result<(), ConfigError> {
    match next.actions.last() {
        Some(action) if targets as u64 > room => {
            let what =
                format!("{targets} actions call a target, and this start has file descriptors for {room}");
            let hint = "raise the limit of open files (RLIMIT_NOFILE) and start the node again";
            Err(ConfigError::new(&action.place, what).hint(hint))
        }
        Some(_) | None => Ok(()),
    }
}

/// Whether there is a broker for every action that publishes to one: a section that is new holds from the next start on.
fn has_broker(next: &Config) -> Result<(), ConfigError> {
    let publishes = |action: &&Action| matches!(action.kind, ActionKind::Amqp { .. });
    match next.actions.iter().find(publishes).filter(|_| next.broker.is_none()) {
        Some(action) => {
            let what = format!("action `{}` needs `[rabbitmq]`, which this start does not have", action.name);
            Err(ConfigError::new(&action.place, what).hint("start the node again"))
        }
        None => Ok(()),
    }
}

fn fixed(change: &ChangedSetting) -> ConfigError {
    let place = change.after.as_ref().map_or(change.key.as_str(), |entry| &entry.place);
    ConfigError::new(&Place::named(place), format!("`{}` cannot change while the node runs", change.key))
        .hint("start the node again, or leave it as it was")
}

fn shown(change: &ChangedSetting) -> SettingChange {
    let value = |entry: &Option<Setting>| {
        let entry = entry.as_ref()?;
        Some(match &entry.content {
            Some(sha256) => serde_json::json!({"file": entry.shown, "sha256": sha256}),
            None => entry.shown.clone(),
        })
    };
    let or_null = |entry| value(entry).unwrap_or_default();
    SettingChange { key: change.key.clone(), old: or_null(&change.before), new: or_null(&change.after) }
}

/// Of a secret is told that it is another one.
fn content(SecretChange { key, was_there, is_there, .. }: SecretChange) -> SettingChange {
    let shown = |is_there: bool, what: &str| if is_there { what.into() } else { serde_json::Value::Null };
    SettingChange { key, old: shown(was_there, "one secret"), new: shown(is_there, "another secret") }
}

/// Packs of which another text holds, by their files.
fn changed_packs(before: &RulesSource, after: &RulesSource) -> Vec<SettingChange> {
    let hash = |rules: &RulesSource, file: &str| {
        let pack = rules.packs.iter().find(|pack| pack.file == file)?;
        Some(faster_hex::hex_string(digest(&SHA256, pack.text.as_bytes()).as_ref()))
    };
    let mut files: Vec<&str> =
        before.packs.iter().chain(&after.packs).map(|pack| pack.file.as_str()).collect();
    files.sort_unstable();
    files.dedup();
    let change = |file: &str| {
        let (old, new) = (hash(before, file), hash(after, file));
        let key = format!("policy.packs[{file}]");
        (old != new).then(|| SettingChange { key, old: old.into(), new: new.into() })
    };
    files.into_iter().filter_map(change).collect()
}

impl Configuration for Reloader {
    fn read(self: Arc<Self>) -> Result<Box<dyn Prepared>, Vec<ConfigError>> {
        Ok(Box::new(self.read_once()?))
    }

    fn look(self: Arc<Self>) -> Result<Box<dyn Prepared>, Vec<ConfigError>> {
        Ok(Box::new(self.prepare(Purpose::Look)?))
    }

    fn has_changed(&self) -> bool {
        let now = self.stamps();
        let mut files = self.files();
        if now == files.seen {
            files.unread = None;
            return false;
        }
        if files.unread.as_ref() != Some(&now) {
            files.unread = Some(now);
            return false;
        }
        files.unread = None;
        true
    }

    fn view(&self) -> ConfigView {
        let etag = self.tag();
        let running = self.running();
        let keys = running.config.effective.entries().map(|(key, entry)| {
            let (value, place) = (entry.shown.clone(), entry.place.clone());
            (key.to_owned(), ConfigEntry { value, place, sha256: entry.content.clone() })
        });
        ConfigView {
            etag,
            reloads: running.reloads,
            keys: keys.collect(),
            needs_restart: running.waits.clone(),
        }
    }

    fn tag(&self) -> String {
        let running = self.running();
        let hash = hash(&running.fingerprint, &running.parts.rulebook);
        format!("\"{}-{}\"", &hash[..16], running.reloads)
    }
}

impl std::fmt::Debug for Reloader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reloader").field("live", &self.live).finish_non_exhaustive()
    }
}

/// SHA-256 of what was read, and of the rules that it asks for.
fn hash(fingerprint: &str, rulebook: &Rulebook) -> String {
    let both = format!("{fingerprint}{}", rulebook.configured().to_text());
    faster_hex::hex_string(digest(&SHA256, both.as_bytes()).as_ref())
}

/// A configuration that was read and is right.
struct Next {
    reloader: Arc<Reloader>,
    config: Config,
    secrets: Secrets,
    parts: Parts,
    destinations: Destinations,
    started: Started,
    changes: Vec<SettingChange>,
    waits: Vec<String>,
    fingerprint: String,
}

/// Destinations of a configuration that does not hold yet; they end with it.
struct Started(Vec<Arc<Destination>>);

impl Drop for Started {
    fn drop(&mut self) {
        self.0.iter().for_each(|destination| destination.end());
    }
}

impl Prepared for Next {
    fn changes(&self) -> &[SettingChange] {
        &self.changes
    }

    fn waits(&self) -> &[String] {
        &self.waits
    }

    fn sha256(&self) -> String {
        hash(&self.fingerprint, &self.parts.rulebook)
    }

    fn secrets_digest(&self) -> [u8; 32] {
        self.secrets.digest()
    }

    fn rulebook(&self) -> &Arc<Rulebook> {
        &self.parts.rulebook
    }

    fn commit(self: Box<Self>) {
        let Self { reloader, config, secrets, parts, destinations, mut started, changes, waits, fingerprint } =
            *self;
        started.0.clear();
        let running = reloader.running();
        parts.replace(&running.parts, &reloader.live);
        let is_changed = |of: &str| changes.iter().any(|change| change.key.starts_with(of));
        let mut settings = telemetry::log_settings(&config);
        if !is_changed("logging.level") {
            // A level that an operator changed stays as long as the configured one does.
            settings.filter = logging::levels();
        }
        logging::configure(settings);
        logging::send_to(destinations.values().cloned().collect());
        let reloads = running.reloads + u64::from(!changes.is_empty());
        let next = Running { config, secrets, parts, destinations, waits, fingerprint, reloads };
        *reloader.running.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(next);
    }
}
