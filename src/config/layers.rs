//! Looks through the layers for each key, in the order of precedence, and checks what it finds where it was written.

use std::path::PathBuf;

use toml::Spanned;

use super::layer::{FilePath, Key, Layer, Number};
use super::secret::{Chooser, Kept, SecretRef, Written};
use crate::place::{ConfigError, Place, Text};
use crate::signal::is_name;

/// All layers, the strongest first.
pub struct Layers(pub Vec<(Text, Layer)>);

/// A value, its key and where it was written; of a default, only the key's name.
pub struct Set<T> {
    pub value: T,
    pub key: String,
    pub place: Place,
}

impl Layers {
    pub fn find<T: Clone>(&self, key: impl Fn(&Layer) -> &Key<T>) -> Option<Set<T>> {
        self.0.iter().find_map(|(text, layer)| key(layer).as_ref().map(|found| set(text, found)))
    }

    pub fn or<T: Clone>(&self, key: impl Fn(&Layer) -> &Key<T>, name: &str, default: T) -> Set<T> {
        self.find(key).unwrap_or_else(|| Set {
            value: default,
            key: name.to_owned(),
            place: Place::named(name),
        })
    }

    /// The tables of the strongest layer that has any.
    pub fn tables<T>(&self, key: impl Fn(&Layer) -> &Vec<Spanned<T>>) -> Vec<(&Text, &Spanned<T>)> {
        let found = self.0.iter().find(|(_, layer)| !key(layer).is_empty());
        found
            .into_iter()
            .flat_map(|(text, layer)| key(layer).iter().map(move |table| (text, table)))
            .collect()
    }

    /// A number, or what holds where none is set.
    pub fn number<const LEAST: u32, const MOST: u32>(
        &self,
        key: impl Fn(&Layer) -> &Key<Number<LEAST, MOST>>,
        default: u32,
    ) -> u32 {
        self.find(key).map_or(default, |set| set.value.0)
    }

    /// Exactly one place to keep a secret in: as written, or by the reference architecture's variable, or in `file`.
    pub fn secret(
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
    pub fn file(&self) -> Place {
        self.0.last().map_or_else(|| Place::named("configuration"), |(text, _)| text.whole())
    }
}

impl<T> Set<T> {
    pub fn map<U>(self, check: impl FnOnce(T) -> Result<U, String>) -> Result<U, ConfigError> {
        check(self.value).map_err(|wrong| ConfigError::new(&self.place, format!("`{}`: {wrong}", self.key)))
    }
}

pub fn set<T: Clone>(text: &Text, value: &Spanned<T>) -> Set<T> {
    let span = value.span();
    let key = text.value(&span).map_or(String::new(), |value| value.key.clone());
    Set { value: value.get_ref().clone(), key, place: text.place(&span) }
}

pub fn optional<T: Clone>(text: &Text, key: Option<&Spanned<T>>) -> Option<Set<T>> {
    key.map(|value| set(text, value))
}

pub fn place_of<T>(text: &Text, table: &Spanned<T>) -> Place {
    text.place(&table.span())
}

pub fn twice(text: &Text, name: &Spanned<String>) -> ConfigError {
    ConfigError::new(&text.place(&name.span()), format!("the name `{}` is used twice", name.get_ref()))
}

pub fn name(text: String) -> Result<String, String> {
    if is_name(&text) {
        Ok(text)
    } else {
        Err(format!("`{text}` is not a name: 1 to 64 of a-z, 0-9, dot, underscore and dash"))
    }
}
