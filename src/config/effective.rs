//! What is set, flat: the value of each key that any layer sets, by the key's name, `source[signals].secret_file`. So it can be
//! shown, and compared with what was set before.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{Context, SHA256, digest};
use hyper::Uri;
use serde_json::Value;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::file;
use super::layer::{Applies, Layer, applies, is_list};
use crate::limits::CA_BYTES_MAX;
use crate::place::Text;

/// One key's value.
#[derive(Clone, Debug, PartialEq)]
pub struct Setting {
    /// As it is written.
    value: Value,
    /// The same, without what may be a secret.
    pub shown: Value,
    /// SHA-256 of the file that it names, where the file says whom to trust, or who we are.
    pub content: Option<String>,
    /// Where it was written; no part of what it is.
    pub place: String,
}

/// What is set.
#[derive(Clone, Default)]
pub struct Effective(BTreeMap<String, Setting>);

impl std::fmt::Debug for Effective {
    /// A URL may be a secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map()
            .entries(self.0.iter().map(|(key, entry)| (key, (&entry.shown, &entry.content))))
            .finish()
    }
}

/// A key with another value than before.
#[derive(Clone, Debug, PartialEq)]
pub struct ChangedSetting {
    pub key: String,
    pub before: Option<Setting>,
    pub after: Option<Setting>,
    pub applies: Applies,
}

impl Effective {
    /// `layers` are the strongest first.
    pub fn of(layers: &[(Text, Layer)]) -> Self {
        let mut all = Self::default();
        for (text, layer) in layers {
            let (table, _errors) = DeTable::parse_recoverable(text.as_str());
            all.add_table(text, "", table.get_ref());
            // A flag's path need not be UTF-8, so it stands in no text.
            if text.as_str().is_empty()
                && let Some(data_dir) = &layer.node.data_dir
            {
                let value = Value::from(data_dir.get_ref().0.display().to_string());
                all.add("node.data_dir", value, text.whole().to_string());
            }
        }
        all
    }

    fn add_table(&mut self, text: &Text, section: &str, table: &DeTable<'_>) {
        for (name, value) in table {
            let key = match section {
                "" => name.get_ref().to_string(),
                _ => format!("{section}.{}", name.get_ref()),
            };
            self.add_value(text, &key, value);
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "the enum is not ours")]
    fn add_value(&mut self, text: &Text, key: &str, value: &Spanned<DeValue<'_>>) {
        match value.get_ref() {
            DeValue::Table(table) => self.add_table(text, key, table),
            DeValue::Array(elements) if is_list(&plain(key)) => {
                for (number, element) in elements.iter().enumerate() {
                    if let DeValue::Table(table) = element.get_ref() {
                        let name = name_of(table).unwrap_or_else(|| number.to_string());
                        self.add_table(text, &format!("{key}[{name}]"), table);
                    }
                }
            }
            other => self.add(key, json(other), text.place(&value.span()).to_string()),
        }
    }

    /// Of a key that a stronger layer sets, nothing changes.
    fn add(&mut self, key: &str, value: Value, place: String) {
        let is_named = |end: &str| key.ends_with(end);
        let content = (is_named(".ca_file") || is_named(".cert_file"))
            .then(|| value.as_str().map(PathBuf::from))
            .flatten()
            .and_then(|path| file::content(&path, CA_BYTES_MAX).ok())
            .map(|content| faster_hex::hex_string(digest(&SHA256, &content).as_ref()));
        let is_url = ["url", ".urls", ".endpoints", ".smtp"].into_iter().any(is_named);
        let shown = if is_url { without_secrets(&value) } else { value.clone() };
        self.0.entry(key.to_owned()).or_insert(Setting { value, shown, content, place });
    }

    /// Every key that is set, in their order.
    pub fn entries(&self) -> impl Iterator<Item = (&str, &Setting)> {
        self.0.iter().map(|(key, entry)| (key.as_str(), entry))
    }

    /// SHA-256 of it, in hex: two nodes have the same if the same is set, wherever that stands.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let mut hash = Context::new(&SHA256);
        for (key, Setting { value, content, .. }) in &self.0 {
            hash.update(serde_json::json!([key, value, content]).to_string().as_bytes());
        }
        faster_hex::hex_string(hash.finish().as_ref())
    }

    /// The files that keys name: certificates, secrets, packs.
    pub fn files(&self) -> impl Iterator<Item = PathBuf> {
        let naming = self
            .0
            .iter()
            .filter(|(key, _)| key.ends_with("_file") || plain(key).rsplit('.').next() == Some("packs"));
        let texts = naming.flat_map(|(_, entry)| match &entry.value {
            Value::Array(all) => all.as_slice(),
            one @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_)) => {
                std::slice::from_ref(one)
            }
        });
        texts.filter_map(|value| value.as_str().map(PathBuf::from))
    }

    /// What is set otherwise in `new`.
    #[must_use]
    pub fn changes(&self, new: &Self) -> Vec<ChangedSetting> {
        let is_same = |key: &String| match (self.0.get(key), new.0.get(key)) {
            (Some(before), Some(after)) => (&before.value, &before.content) == (&after.value, &after.content),
            (before, after) => before.is_none() && after.is_none(),
        };
        let mut keys: Vec<&String> = self.0.keys().chain(new.0.keys()).collect();
        keys.sort_unstable();
        keys.dedup();
        let changed = keys.into_iter().filter(|key| !is_same(key));
        let change = |key: &String| ChangedSetting {
            key: key.clone(),
            before: self.0.get(key).cloned(),
            after: new.0.get(key).cloned(),
            applies: self.applies(new, key),
        };
        changed.map(change).collect()
    }

    /// When another value of a key holds. A file that follows the log is opened with the log.
    fn applies(&self, new: &Self, key: &str) -> Applies {
        let file = key.starts_with("logging.file[").then(|| key.rsplit_once('.')).flatten();
        let is_audit = |set: &Self, file: &str| {
            set.0.get(&format!("{file}.content")).is_some_and(|entry| entry.value == "audit")
        };
        match file {
            Some((file, _)) if is_audit(self, file) || is_audit(new, file) => Applies::AtStart,
            Some(_) | None => applies(&plain(key)),
        }
    }

    /// What holds once `new` was read: all of it but for what waits for the next start.
    #[must_use]
    pub fn reloaded(&self, new: &Self) -> Self {
        let of = |set: &Self, wanted: Applies| {
            let kept = set.0.iter().filter(|(key, _)| self.applies(new, key) == wanted);
            kept.map(|(key, entry)| (key.clone(), entry.clone())).collect::<Vec<_>>()
        };
        Self(of(self, Applies::AtStart).into_iter().chain(of(new, Applies::AtOnce)).collect())
    }
}

/// Without the names of tables in lists.
fn plain(key: &str) -> String {
    key.split('[')
        .enumerate()
        .map(|(at, part)| if at == 0 { part } else { part.split_once(']').unwrap_or_default().1 })
        .collect()
}

/// What tells a table from the others of its list.
fn name_of(table: &DeTable<'_>) -> Option<String> {
    let text = |key: &str| table.get(key).and_then(|value| value.get_ref().as_str());
    text("name").or_else(|| text("path")).map(bracketed)
}

/// A name as it stands in a key: a bracket in it would end it early.
fn bracketed(name: &str) -> String {
    name.replace(['[', ']'], "_")
}

/// The key of a file of the log.
#[must_use]
pub fn log_file_key(path: &Path) -> String {
    format!("logging.file[{}]", bracketed(&path.display().to_string()))
}

fn json(value: &DeValue<'_>) -> Value {
    match value {
        DeValue::String(text) => Value::from(text.as_ref()),
        DeValue::Boolean(truth) => Value::from(*truth),
        DeValue::Integer(number) => {
            let text = number.as_str();
            text.replace('_', "").parse::<i64>().map_or_else(|_| Value::from(text), Value::from)
        }
        DeValue::Float(number) => {
            let text = number.as_str();
            text.replace('_', "").parse::<f64>().map_or_else(|_| Value::from(text), Value::from)
        }
        DeValue::Array(elements) => elements.iter().map(|element| json(element.get_ref())).collect(),
        DeValue::Table(table) => {
            table.iter().map(|(name, value)| (name.get_ref().to_string(), json(value.get_ref()))).collect()
        }
        DeValue::Datetime(time) => Value::from(time.to_string()),
    }
}

/// Of URLs, only whom they name: path, query and user may be secrets.
fn without_secrets(value: &Value) -> Value {
    match value {
        Value::String(text) => Value::from(match text.parse::<Uri>() {
            Ok(uri) => match (uri.scheme_str(), uri.host()) {
                (Some(scheme), Some(host)) => {
                    let port = uri.port().map_or_else(String::new, |port| format!(":{port}"));
                    let rest = if uri.path_and_query().is_none_or(|rest| rest.as_str() == "/") {
                        ""
                    } else {
                        "/…"
                    };
                    format!("{scheme}://{host}{port}{rest}")
                }
                _ => "…".to_owned(),
            },
            Err(_) => "…".to_owned(),
        }),
        Value::Array(all) => all.iter().map(without_secrets).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => value.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn effective(layers: &[&str]) -> Effective {
        let layers: Vec<_> = layers
            .iter()
            .map(|text| {
                let text = Text::file("gemba.toml", (*text).to_owned());
                let layer = Layer::read(&text).unwrap();
                (text, layer)
            })
            .collect();
        Effective::of(&layers)
    }

    #[test]
    fn the_innermost_table_says_when_another_value_of_a_key_holds() {
        for (key, when) in [
            ("source[signals].secret_file", Applies::AtOnce),
            ("source[a].key[b].secret_env", Applies::AtOnce),
            ("admin.listen", Applies::AtStart),
            ("admin.token[root].role", Applies::AtOnce),
            ("log.key_file", Applies::AtStart),
            ("logging.level", Applies::AtOnce),
            ("logging.file[/var/log/a_b_.log].max_files", Applies::AtOnce),
            ("rabbitmq.key[a].secret_file", Applies::AtOnce),
            ("rabbitmq.hosts", Applies::AtStart),
            ("prometheus.external_labels.cluster", Applies::AtOnce),
        ] {
            assert_eq!(applies(&plain(key)), when, "{key}");
        }
    }

    #[test]
    fn the_strongest_layer_says_what_a_key_is() {
        let set = effective(&[
            "[logging]\nlevel = \"debug\"\n",
            "[logging]\nlevel = \"info\"\nformat = \"json\"\n[[source]]\nname = \"a\"\nscheme = \"hmac\"\nsecret_file = \"x\"\n",
        ]);
        let shown: Vec<_> =
            set.entries().map(|(key, entry)| (key, entry.shown.to_string(), &*entry.place)).collect();
        assert_eq!(
            shown,
            [
                ("logging.format", "\"json\"".into(), "gemba.toml:3"),
                ("logging.level", "\"debug\"".into(), "gemba.toml:2"),
                ("source[a].name", "\"a\"".into(), "gemba.toml:5"),
                ("source[a].scheme", "\"hmac\"".into(), "gemba.toml:6"),
                ("source[a].secret_file", "\"x\"".into(), "gemba.toml:7"),
            ]
        );
    }

    #[test]
    fn what_changed_is_told_and_what_waits_stays() {
        let old = effective(&["[logging]\nlevel = \"info\"\n[dedup]\nhours = 96\n[node]\nname = \"a\"\n"]);
        let new = effective(&["[logging]\nlevel = \"warn\"\n[dedup]\nhours = 24\n[ingress]\nthreads = 2\n"]);
        let told: Vec<_> = old.changes(&new).into_iter().map(|change| (change.key, change.applies)).collect();
        assert_eq!(
            told,
            [
                ("dedup.hours".into(), Applies::AtStart),
                ("ingress.threads".into(), Applies::AtStart),
                ("logging.level".into(), Applies::AtOnce),
                ("node.name".into(), Applies::AtStart),
            ]
        );
        let held = old.reloaded(&new);
        let waits: Vec<_> = held.changes(&new).into_iter().map(|change| change.key).collect();
        assert_eq!(waits, ["dedup.hours", "ingress.threads", "node.name"], "they wait until the next start");
        assert_eq!(new.changes(&new), []);
    }

    #[test]
    fn an_audit_file_waits_for_the_next_start_and_others_do_not() {
        let file = |content: &str| format!("[[logging.file]]\npath = \"a.log\"\ncontent = \"{content}\"\n");
        let when = |old: &str, new: &str| {
            let (old, new) = (effective(&[&file(old)]), effective(&[&file(new)]));
            let changed = old.changes(&new).remove(0);
            let waits = !old.reloaded(&new).changes(&new).is_empty();
            (changed.key, changed.applies, waits)
        };
        let key = || "logging.file[a.log].content".to_owned();
        assert_eq!(when("all", "tls"), (key(), Applies::AtOnce, false));
        assert_eq!(when("all", "audit"), (key(), Applies::AtStart, true));
        assert_eq!(when("audit", "all"), (key(), Applies::AtStart, true));
    }

    #[test]
    fn a_changed_certificate_is_a_change_and_a_url_keeps_its_secret() {
        let dir = tempfile::tempdir().unwrap();
        let ca = dir.path().join("ca.crt");
        let text = format!(
            "[opentelemetry]\nendpoints = [\"https://me:pw@c:4318/x?token=y\"]\ntls = {{ ca_file = {ca:?} }}\n"
        );
        std::fs::write(&ca, "one").unwrap();
        let old = effective(&[&text]);
        std::fs::write(&ca, "two").unwrap();
        let told: Vec<_> = old.changes(&effective(&[&text])).into_iter().map(|change| change.key).collect();
        assert_eq!(told, ["opentelemetry.tls.ca_file"]);
        let other = effective(&[&text.replace("token=y", "token=z")]);
        let url = other.changes(&effective(&[&text])).remove(0);
        assert_eq!(url.key, "opentelemetry.endpoints", "another secret is another URL");
        assert_eq!(url.after.unwrap().shown, serde_json::json!(["https://c:4318/…"]));
        assert!(!format!("{other:?}").contains("token"));
    }
}
