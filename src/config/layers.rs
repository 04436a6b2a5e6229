//! Looks through the layers for each key, in the order of precedence, and checks what it finds where it was written.

use std::ffi::OsString;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use toml::Spanned;

use super::layer::{
    self, Backend, Entitled, FilePath, Key, Layer, NodeRole, Number, Positive, Profile, TokenRole,
};
use super::place::{ConfigError, Place, Text};
use super::secret::{Chooser, Kept, SecretRef, Written};
use super::{Config, Governor, PackFile, Policy, Proof, Source, SourceKey, Token};
use crate::signal::is_name;
use crate::signature::{Scheme, SecretForm};

/// All layers, the strongest first.
pub struct Layers(pub Vec<(Text, Layer)>);

/// A value, its key and where it was written; of a default, only the key's name.
pub(super) struct Set<T> {
    pub value: T,
    pub key: String,
    pub place: Place,
}

impl Layers {
    pub(super) fn find<T: Clone>(&self, key: impl Fn(&Layer) -> &Key<T>) -> Option<Set<T>> {
        self.0.iter().find_map(|(text, layer)| key(layer).as_ref().map(|found| set(text, found)))
    }

    pub(super) fn or<T: Clone>(&self, key: impl Fn(&Layer) -> &Key<T>, name: &str, default: T) -> Set<T> {
        self.find(key).unwrap_or_else(|| Set {
            value: default,
            key: name.to_owned(),
            place: Place::named(name),
        })
    }

    /// The tables of the strongest layer that has any.
    pub(super) fn tables<T>(&self, key: impl Fn(&Layer) -> &Vec<Spanned<T>>) -> Vec<(&Text, &Spanned<T>)> {
        let found = self.0.iter().find(|(_, layer)| !key(layer).is_empty());
        found
            .into_iter()
            .flat_map(|(text, layer)| key(layer).iter().map(move |table| (text, table)))
            .collect()
    }

    pub fn config(&self, variable: &dyn Fn(&str) -> Option<OsString>) -> Result<Config, ConfigError> {
        let role = self.role()?;
        let logging = self.logging()?;
        let name = self.or(|l| &l.node.name, "node.name", "dev".into()).map(name)?;
        let origin = self.or(|l| &l.node.origin, "node.origin", "gemba.local".into()).map(origin)?;
        let profile = self.or(|l| &l.node.profile, "node.profile", Profile::Prod).value;
        let data_dir = self.or(|l| &l.node.data_dir, "node.data_dir", FilePath("data".into())).value.0;
        let per_second = self.number(|l| &l.rate_limit.per_second, 1000);
        let default_file = |file: &str| (profile == Profile::Dev).then(|| data_dir.join(file));
        let default_file: &dyn Fn(&str) -> Option<PathBuf> = &default_file;
        let tokens = self.tokens(default_file)?;
        let sources = match role.value {
            NodeRole::All | NodeRole::Edge => self.sources(default_file, variable)?,
            // Its signals were verified where they were accepted.
            NodeRole::Processor => Vec::new(),
        };
        let actions = self.actions(default_file)?;
        let (listen, admin_listen) = self.addresses(role.value)?;
        Ok(Config {
            listen,
            ingress_threads: self.number(|l| &l.ingress.threads, 0) as usize,
            connections: self.connections()?,
            admin_listen,
            tokens,
            segment_bytes: mib(self.number(|l| &l.kanban.segment_mib, 64)),
            low_water_bytes: mib(self.number(|l| &l.kanban.low_water_mib, 256)),
            waiting_bytes: mib(self.number(|l| &l.kanban.waiting_mib, 256)),
            governors: self.number(|l| &l.kanban.governors, 1_000_000),
            backlog_bytes: self.find(|l| &l.kanban.backlog_mib).map(|set| mib(set.value.0)),
            dedup_signals: self.number(|l| &l.dedup.signals, 2_000_000) as usize,
            dedup_horizon: Duration::from_hours(self.number(|l| &l.dedup.hours, 96).into()),
            dead_letter_age: days(self.number(|l| &l.dead_letters.retention_days, 30)),
            dead_letter_count: self.number(|l| &l.dead_letters.retention_count, 100_000),
            entitled: self.or(|l| &l.entitlement.assumed, "entitlement.default", Entitled::Active).value,
            rate_per_second: NonZeroU32::new(per_second).unwrap_or(NonZeroU32::MIN),
            rate_burst: self.number(|l| &l.rate_limit.burst, per_second),
            governor: self.governor(),
            policy: self.policy()?,
            broker: self.broker(profile, &role, &actions)?,
            firestore: self.state(profile, &role, variable)?,
            actions,
            sources,
            proof: (role.value != NodeRole::Edge).then(|| self.proof(default_file, variable)).transpose()?,
            role: role.value,
            is_built_in: false,
            core_dumps: self.or(|l| &l.node.core_dumps, "node.core_dumps", false).value,
            logging,
            warnings: Vec::new(),
            name,
            origin,
            profile,
            data_dir,
        })
    }

    /// The role decides where the signals come from and go to, so the backend has nothing else to say.
    fn role(&self) -> Result<Set<NodeRole>, ConfigError> {
        let role = self.or(|l| &l.node.role, "node.role", NodeRole::All);
        let backend = self.find(|l| &l.kanban.backend);
        match backend.as_ref().map(|set| (set.value, role.value)) {
            Some((Backend::Rabbitmq, NodeRole::All)) => {
                let place = backend.map_or(role.place, |set| set.place);
                return Err(ConfigError::new(
                    &place,
                    "a node with the role `all` has nothing to send to a broker",
                )
                .hint("give it the role `edge` or `processor`, or leave the backend `journal`"));
            }
            Some((Backend::Journal, NodeRole::Edge | NodeRole::Processor)) => {
                let place = backend.map_or(role.place, |set| set.place);
                return Err(ConfigError::new(&place, "edges and processors have the backend `rabbitmq`"));
            }
            Some(_) | None => {}
        }
        Ok(role)
    }

    fn proof(
        &self,
        default_file: &dyn Fn(&str) -> Option<PathBuf>,
        variable: &dyn Fn(&str) -> Option<OsString>,
    ) -> Result<Proof, ConfigError> {
        Ok(Proof {
            receipt_secret: self.secret(
                (self.find(|l| &l.receipt.secret_file), self.find(|l| &l.receipt.secret_env)),
                variable("TAI2030_SIGNING_KEY").is_some().then_some("TAI2030_SIGNING_KEY"),
                default_file("receipt.secret"),
                ("the receipts' secret", "receipt.secret_file", Written::Hex),
            )?,
            log_key: self.secret(
                (self.find(|l| &l.log.key_file), self.find(|l| &l.log.key_env)),
                None,
                default_file("log.key"),
                ("the log's signing key", "log.key_file", Written::Hex),
            )?,
        })
    }

    /// Where the two planes listen.
    fn addresses(&self, role: NodeRole) -> Result<(SocketAddr, SocketAddr), ConfigError> {
        let data = self.address(|l| &l.ingress.listen, "ingress.listen", "127.0.0.1:8080")?;
        let admin = self.address(|l| &l.admin.listen, "admin.listen", "127.0.0.1:9090")?;
        // A processor has no data plane, and port 0 is another one each time.
        let [one, other] = [data, admin].map(|address| address.ip().to_canonical());
        // A socket on [::] takes IPv4, too.
        let holds = |all: IpAddr, one: IpAddr| all.is_unspecified() && (all.is_ipv6() || one.is_ipv4());
        let meet = data.port() == admin.port() && (one == other || holds(one, other) || holds(other, one));
        if meet && data.port() != 0 && role != NodeRole::Processor {
            let set = self.find(|l| &l.admin.listen).or_else(|| self.find(|l| &l.ingress.listen));
            let place = set.map_or_else(|| Place::named("admin.listen"), |set| set.place);
            return Err(ConfigError::new(
                &place,
                if data == admin {
                    format!("`ingress.listen` and `admin.listen` are both {data}")
                } else {
                    format!("`ingress.listen` is {data} and `admin.listen` {admin}: one holds the other")
                },
            )
            .hint("give each plane an address of its own"));
        }
        Ok((data, admin))
    }

    fn address(
        &self,
        key: impl Fn(&Layer) -> &Key<String>,
        name: &str,
        default: &str,
    ) -> Result<SocketAddr, ConfigError> {
        self.or(key, name, default.to_owned()).map(|text| {
            text.parse().map_err(|_| format!("`{text}` is not an address and port, such as {default}"))
        })
    }

    /// A number, or what holds where none is set.
    pub(super) fn number<const LEAST: u32, const MOST: u32>(
        &self,
        key: impl Fn(&Layer) -> &Key<Number<LEAST, MOST>>,
        default: u32,
    ) -> u32 {
        self.find(key).map_or(default, |set| set.value.0)
    }

    fn governor(&self) -> Governor {
        let seconds = |key: &dyn Fn(&Layer) -> &Key<Positive>, default| {
            Duration::from_secs(self.number(key, default).into())
        };
        Governor {
            boot_timeout: seconds(&|l| &l.governor.boot_timeout_seconds, 30),
            quota: self.number(|l| &l.governor.quota, 1000),
            quota_window: seconds(&|l| &l.governor.quota_window_seconds, 60),
            mailbox: self.number(|l| &l.governor.mailbox, 1024) as usize,
            breaker_failures: self.number(|l| &l.governor.breaker_failures, 5),
            breaker_reset: seconds(&|l| &l.governor.breaker_reset_seconds, 60),
        }
    }

    fn policy(&self) -> Result<Policy, ConfigError> {
        let files = |text: &Text, packs: &[Spanned<FilePath>]| {
            packs
                .iter()
                .map(|pack| PackFile { path: pack.get_ref().0.clone(), place: text.place(&pack.span()) })
                .collect()
        };
        let common =
            self.0.iter().find_map(|(text, layer)| Some(files(text, layer.policy.packs.as_ref()?.get_ref())));
        let mut tenants: Vec<(String, Vec<PackFile>)> = Vec::new();
        for (text, table) in self.tables(|layer| &layer.policy.tenant) {
            for tenant in &table.get_ref().tenants {
                let name = set(text, tenant).map(name)?;
                if tenants.iter().any(|(other, _)| *other == name) {
                    return Err(twice(text, tenant));
                }
                tenants.push((name, files(text, &table.get_ref().packs)));
            }
        }
        Ok(Policy { packs: common.unwrap_or_default(), tenants })
    }

    /// Exactly one place to keep a secret in: as written, or by the reference architecture's variable, or in `file`.
    pub(super) fn secret(
        &self,
        (file, variable): (Option<Set<FilePath>>, Option<Set<String>>),
        blueprint: Option<&str>,
        default: Option<PathBuf>,
        (what, key, written): (&str, &str, Written),
    ) -> Result<SecretRef, ConfigError> {
        let (kept, key, place) = match (file, variable) {
            (Some(file), Some(_)) => {
                return Err(ConfigError::new(&file.place, format!("{what} is in a file and in a variable"))
                    .hint("keep one of the two keys"));
            }
            (Some(file), None) => (Kept::File(file.value.0), file.key, file.place),
            (None, Some(variable)) => (Kept::Variable(variable.value), variable.key, variable.place),
            (None, None) => match (blueprint, default) {
                (Some(variable), _) => {
                    (Kept::Variable(variable.to_owned()), variable.to_owned(), Place::named(variable))
                }
                (None, Some(file)) => (Kept::File(file), key.to_owned(), Place::named(key)),
                (None, None) => {
                    let hint =
                        format!("set `{key}`, or `node.profile = \"dev\"` to have secrets made at the start");
                    return Err(ConfigError::new(&self.file(), format!("{what} is missing")).hint(hint));
                }
            },
        };
        Ok(SecretRef { kept, what: what.to_owned(), key, place, chosen_by: Chooser::Us(written) })
    }

    /// The place of what no line says.
    pub(super) fn file(&self) -> Place {
        self.0.last().map_or_else(|| Place::named("configuration"), |(text, _)| text.whole())
    }

    fn tokens(&self, default_file: &dyn Fn(&str) -> Option<PathBuf>) -> Result<Vec<Token>, ConfigError> {
        let tables = self.tables(|layer| &layer.admin.token);
        if tables.is_empty() {
            let secret = self.secret(
                (None, None),
                None,
                default_file("admin.token"),
                ("an operator's token", "admin.token.token_file", Written::Hex),
            )?;
            return Ok(vec![Token { name: "root".into(), role: TokenRole::Admin, secret }]);
        }
        let mut tokens: Vec<Token> = Vec::new();
        for (text, table) in tables {
            let token = table.get_ref();
            let name = set(text, &token.name).map(name)?;
            if tokens.iter().any(|other| other.name == name) {
                return Err(twice(text, &token.name));
            }
            let what = format!("the token `{name}`");
            let kept = (optional(text, token.token_file.as_ref()), optional(text, token.token_env.as_ref()));
            let default = default_file(&format!("{name}.token"));
            let what = (what.as_str(), "admin.token.token_file", Written::Hex);
            let secret = self.secret(kept, None, default, what);
            let secret = secret.map_err(|error| ConfigError { place: place_of(text, table), ..error })?;
            tokens.push(Token { name, role: *token.role.get_ref(), secret });
        }
        Ok(tokens)
    }

    fn sources(
        &self,
        default_file: &dyn Fn(&str) -> Option<PathBuf>,
        variable: &dyn Fn(&str) -> Option<OsString>,
    ) -> Result<Vec<Source>, ConfigError> {
        let blueprint = variable("TAI2030_API_SECRET").is_some().then_some("TAI2030_API_SECRET");
        let tables = self.tables(|layer| &layer.source);
        if tables.is_empty() {
            let what = ("the secret of source `signals`", "source.secret_file", Written::Hex);
            let secret = self.secret((None, None), blueprint, default_file("signals.secret"), what)?;
            return Ok(vec![Source {
                name: "signals".into(),
                scheme: Scheme::Hmac,
                keys: vec![SourceKey { name: FIRST_KEY.into(), secret }],
                tenant: None,
                sku: None,
                tolerance: Duration::from_secs(TOLERANCE_SECONDS.into()),
                control: false,
                binary: false,
                place: self.file(),
            }]);
        }
        let mut sources: Vec<Source> = Vec::new();
        for (text, table) in tables {
            let source = self.source(text, table, blueprint, default_file)?;
            if sources.iter().any(|other| other.name == source.name) {
                return Err(twice(text, &table.get_ref().name));
            }
            sources.push(source);
        }
        Ok(sources)
    }

    fn source(
        &self,
        text: &Text,
        table: &Spanned<layer::Source>,
        blueprint: Option<&str>,
        default_file: &dyn Fn(&str) -> Option<PathBuf>,
    ) -> Result<Source, ConfigError> {
        let source = table.get_ref();
        let name_set = set(text, &source.name).map(name)?;
        let scheme = *source.scheme.get_ref();
        let written = match scheme.secret_form() {
            SecretForm::Whsec => Written::Whsec,
            SecretForm::Text => Written::Hex,
        };
        let here = place_of(text, table);
        let at_table = |error: ConfigError| ConfigError { place: here.clone(), ..error };
        let what = format!("the secret of source `{name_set}`");
        let kept = (optional(text, source.secret_file.as_ref()), optional(text, source.secret_env.as_ref()));
        let mut keys: Vec<SourceKey> = Vec::new();
        let default = default_file(&format!("{name_set}.secret"));
        // What an earlier start made goes on to be accepted beside keys that are added, until its file is removed.
        let is_made = default.as_ref().is_some_and(|path| path.exists());
        if source.key.is_empty() || kept.0.is_some() || kept.1.is_some() || is_made {
            let blueprint = blueprint.filter(|_| name_set == "signals");
            let secret =
                self.secret(kept, blueprint, default, (&what, "secret_file", written)).map_err(at_table)?;
            keys.push(SourceKey { name: FIRST_KEY.into(), secret });
        }
        for key_table in &source.key {
            let key = key_table.get_ref();
            let key_name = set(text, &key.name).map(name)?;
            if keys.iter().any(|other| other.name == key_name) {
                return Err(twice(text, &key.name));
            }
            let kept = (optional(text, key.secret_file.as_ref()), optional(text, key.secret_env.as_ref()));
            let what = format!("the key `{key_name}` of source `{name_set}`");
            let secret = self.secret(kept, None, None, (&what, "secret_file", written)).map_err(at_table)?;
            keys.push(SourceKey { name: key_name, secret });
        }
        let binary = source.binary.as_ref().is_some_and(|set| *set.get_ref());
        if let Some(set) = source.binary.as_ref().filter(|_| binary && source.tenant.is_none()) {
            let what = "`binary` needs a fixed `tenant` beside it: in binary mode the tenant is in a header, \
                        which no signature covers";
            return Err(ConfigError::new(&text.place(&set.span()), what));
        }
        let part = |key: &Key<String>| optional(text, key.as_ref()).map(|part| part.map(name)).transpose();
        let tolerance =
            optional(text, source.tolerance_seconds.as_ref()).map_or(TOLERANCE_SECONDS, |set| set.value.0);
        Ok(Source {
            scheme,
            keys,
            tenant: part(&source.tenant)?,
            sku: part(&source.sku)?,
            tolerance: Duration::from_secs(tolerance.into()),
            control: source.control,
            binary,
            place: here.clone(),
            name: name_set,
        })
    }
}

/// Name of a source's key that has none.
const FIRST_KEY: &str = "default";
/// A signed time may be off by so much.
const TOLERANCE_SECONDS: u32 = 300;

impl<T> Set<T> {
    pub fn map<U>(self, check: impl FnOnce(T) -> Result<U, String>) -> Result<U, ConfigError> {
        check(self.value).map_err(|wrong| ConfigError::new(&self.place, format!("`{}`: {wrong}", self.key)))
    }
}

pub(super) fn set<T: Clone>(text: &Text, value: &Spanned<T>) -> Set<T> {
    let span = value.span();
    let key = text.value(&span).map_or(String::new(), |value| value.key.clone());
    Set { value: value.get_ref().clone(), key, place: text.place(&span) }
}

pub(super) fn optional<T: Clone>(text: &Text, key: Option<&Spanned<T>>) -> Option<Set<T>> {
    key.map(|value| set(text, value))
}

pub(super) fn place_of<T>(text: &Text, table: &Spanned<T>) -> Place {
    text.place(&table.span())
}

pub(super) fn twice(text: &Text, name: &Spanned<String>) -> ConfigError {
    ConfigError::new(&text.place(&name.span()), format!("the name `{}` is used twice", name.get_ref()))
}

pub(super) fn name(text: String) -> Result<String, String> {
    if is_name(&text) {
        Ok(text)
    } else {
        Err(format!("`{text}` is not a name: 1 to 64 of a-z, 0-9, dot, underscore and dash"))
    }
}

fn origin(text: String) -> Result<String, String> {
    let fits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'+');
    if fits { Ok(text) } else { Err(format!("`{text}` is no origin: printable, without space and `+`")) }
}

fn mib(count: u32) -> u64 {
    u64::from(count) << 20
}

fn days(count: u32) -> Duration {
    Duration::from_hours(24 * u64::from(count))
}
