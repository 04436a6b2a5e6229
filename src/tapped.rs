//! What a viewer may see of signals that were decided: which ones, and nothing of them that is a secret.

use serde_json::Value;

use crate::receipt::ReceiptType;

/// Which signals a viewer wants to see; what is `None` says nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TapFilter {
    pub source: Option<String>,
    pub tenant: Option<String>,
    /// The rule that decided: its id, or pack and id with a slash between.
    pub rule: Option<String>,
    /// The type of the receipt that says what was decided.
    pub result: Option<ReceiptType>,
}

/// What is asked for: a new look, or what a look was handed since it was asked last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TapAsked {
    Begin(TapFilter),
    Next(u64),
}

/// Whether viewers may look, and what they do not see.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TapRules {
    pub is_allowed: bool,
    pub mask: Mask,
}

/// Fields of a signal that are not shown, beside those whose names or values are those of secrets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mask(Vec<Vec<String>>);

/// Stands for what is not shown.
pub const MASKED: &str = "(masked)";
/// A field whose name has one of these in it, in any case and without `_` and `-`, holds a secret.
const NAMES: [&str; 17] = [
    "password",
    "passwd",
    "passphrase",
    "pwd",
    "secret",
    "token",
    "authorization",
    "apikey",
    "accesskey",
    "privatekey",
    "signingkey",
    "credential",
    "cookie",
    "session",
    "signature",
    "cardnumber",
    "cvv",
];
/// A text that begins so is a secret.
const BEGINNINGS: [&str; 14] = [
    "bearer ",
    "basic ",
    "-----begin",
    "eyj",
    "akia",
    "asia",
    "ghp_",
    "github_pat_",
    "glpat-",
    "xoxb-",
    "xoxp-",
    "sk_live_",
    "whsec_",
    "hvs.",
];

impl Mask {
    /// Of dotted paths, in which `*` is any name and any place of a list.
    #[must_use]
    pub fn new(paths: &[String]) -> Self {
        Self(paths.iter().map(|path| path.split('.').map(str::to_owned).collect()).collect())
    }

    /// Puts [`MASKED`] in the place of what is not shown.
    pub fn apply(&self, value: &mut Value) {
        let paths: Vec<&[String]> = self.0.iter().map(Vec::as_slice).collect();
        mask(value, &paths);
    }
}

/// `paths` are what is left of them below here.
fn mask(value: &mut Value, paths: &[&[String]]) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let below = below(paths, name);
                if is_secret_name(name) || below.iter().any(|path| path.is_empty()) {
                    *value = MASKED.into();
                } else {
                    mask(value, &below);
                }
            }
        }
        Value::Array(all) => {
            for (place, value) in all.iter_mut().enumerate() {
                let below = below(paths, &place.to_string());
                if below.iter().any(|path| path.is_empty()) {
                    *value = MASKED.into();
                } else {
                    mask(value, &below);
                }
            }
        }
        Value::String(text) if is_secret_text(text) => *value = MASKED.into(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn below<'p>(paths: &[&'p [String]], name: &str) -> Vec<&'p [String]> {
    let next = paths.iter().filter_map(|path| path.split_first());
    next.filter(|(first, _)| *first == "*" || *first == name).map(|(_, rest)| rest).collect()
}

fn is_secret_name(name: &str) -> bool {
    let plain: String =
        name.chars().filter(|c| !matches!(c, '_' | '-' | ' ' | '.')).flat_map(char::to_lowercase).collect();
    NAMES.iter().any(|secret| plain.contains(secret))
}

fn is_secret_text(text: &str) -> bool {
    let text = text.trim_start();
    let begins = |with: &&str| text.get(..with.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(with));
    BEGINNINGS.iter().any(begins)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn secrets_and_configured_fields_are_not_shown() {
        let paths = ["data.card", "data.people.*.iban", "data.list.1"].map(str::to_owned);
        let mut value = json!({
            "id": "s-1", "tenant": "acme", "type": "cost.usage",
            "data": {
                "spend": 81.5, "card": {"number": "4111"}, "Api_Key": "abc", "x-auth-token": ["a"], "note": "Bearer abc",
                "people": [{"name": "a", "iban": "DE1"}, {"name": "b", "iban": "DE2"}],
                "list": [1, 2, 3],
                "deep": {"userPassword": {"old": "a", "new": "b"}, "key": "-----BEGIN PRIVATE KEY-----", "é": "ok"},
            },
        });
        Mask::new(&paths).apply(&mut value);
        assert_eq!(
            value,
            json!({
                "id": "s-1", "tenant": "acme", "type": "cost.usage",
                "data": {
                    "spend": 81.5, "card": MASKED, "Api_Key": MASKED, "x-auth-token": MASKED, "note": MASKED,
                    "people": [{"name": "a", "iban": MASKED}, {"name": "b", "iban": MASKED}],
                    "list": [1, MASKED, 3],
                    "deep": {"userPassword": MASKED, "key": MASKED, "é": "ok"},
                },
            })
        );
    }
}
