//! `[[source]]`: who may send, and how it signs.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use toml::Spanned;

use super::layer::{self, Key};
use super::layers::{Layers, name, optional, place_of, set, twice};
use super::secret::{SecretRef, Written};
use crate::place::{ConfigError, Place, Text};
use crate::signature::{Scheme, SecretForm};

#[derive(Clone, Debug)]
pub struct Source {
    pub name: String,
    pub scheme: Scheme,
    pub keys: Vec<SourceKey>,
    pub tenant: Option<String>,
    pub sku: Option<String>,
    pub tolerance: Duration,
    pub control: bool,
    /// CloudEvents in binary mode are taken; only with a fixed tenant.
    pub binary: bool,
    pub place: Place,
}

#[derive(Clone, Debug)]
pub struct SourceKey {
    pub name: String,
    pub secret: SecretRef,
}

/// A source that is expected to send something at least so often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpectedSource {
    pub name: Box<str>,
    pub every: Duration,
}

/// Name of a source's key that has none.
const FIRST_KEY: &str = "default";
/// A signed time may be off by so much.
const TOLERANCE_SECONDS: u32 = 300;

impl Layers {
    pub fn sources(
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

    /// Sources with a heartbeat. A processor has no source of its own: it looks for those of its edges.
    pub fn expected_sources(&self) -> Result<Vec<ExpectedSource>, ConfigError> {
        let tables = self.tables(|layer| &layer.source).into_iter();
        let one = |(text, table): (&Text, &Spanned<layer::Source>)| {
            let source = table.get_ref();
            let name = set(text, &source.name).map(name)?;
            let seconds = optional(text, source.heartbeat_seconds.as_ref());
            let every = seconds.map(|seconds| Duration::from_secs(seconds.value.0.into()));
            Ok(every.map(|every| ExpectedSource { name: name.into(), every }))
        };
        tables.filter_map(|table| one(table).transpose()).collect()
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
