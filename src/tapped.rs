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
const NAMES: [&str; 21] = [
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
    "amzsig",
    "passcode",
    "encryptionkey",
    "connectionstring",
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

    /// Puts [`MASKED`] in the place of what is not shown. In binary mode a body is the `data` alone, so a path that begins with it
    /// holds without it, too.
    pub fn apply(&self, value: &mut Value) {
        let whole = self.0.iter().map(Vec::as_slice);
        let of_data =
            whole.clone().filter_map(|path| path.split_first()).filter(|(first, _)| *first == "data");
        let paths: Vec<&[String]> =
            whole.chain(of_data.map(|(_, rest)| rest)).filter(|path| !path.is_empty()).collect();
        mask(value, &paths, NESTED_MAX);
    }
}

/// Texts in texts that are looked into.
const NESTED_MAX: u32 = 3;

/// `paths` are what is left of them below here.
fn mask(value: &mut Value, paths: &[&[String]], nested: u32) {
    match value {
        Value::Object(fields) => {
            // A list of variables names the secret beside its value.
            let says = |name: &str| fields.get(name).and_then(Value::as_str).is_some_and(is_secret_name);
            let is_named = says("name") || says("key");
            for (name, value) in fields {
                let below = below(paths, name);
                let is_masked = is_secret_name(name) || is_named && name == "value";
                if is_masked || below.iter().any(|path| path.is_empty()) {
                    *value = MASKED.into();
                } else {
                    mask(value, &below, nested);
                }
            }
        }
        Value::Array(all) => {
            for (place, value) in all.iter_mut().enumerate() {
                let below = below(paths, &place.to_string());
                if below.iter().any(|path| path.is_empty()) {
                    *value = MASKED.into();
                } else {
                    mask(value, &below, nested);
                }
            }
        }
        Value::String(text) => {
            if let Some(shown) = shown_text(text, nested) {
                *value = shown.into();
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// What is shown in the place of a text, where that is not the text.
fn shown_text(text: &str, nested: u32) -> Option<String> {
    let lower = text.to_lowercase();
    if is_secret_text(&lower)
        || ["bearer ", "authorization:", "password="].iter().any(|with| lower.contains(with))
    {
        return Some(MASKED.into());
    }
    // User, path and query of a URL may be secrets.
    if let Some((scheme, rest)) = text.split_once("://")
        && (rest.contains('@') || rest.contains('?'))
    {
        let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let host = host.rsplit('@').next().unwrap_or_default();
        return Some(format!("{scheme}://{host}/{MASKED}"));
    }
    if !lower.trim_start().starts_with(['{', '[']) {
        return None;
    }
    let mut inner: Value = serde_json::from_str(text).ok()?;
    if nested == 0 {
        return Some(MASKED.into());
    }
    mask(&mut inner, &[], nested - 1);
    Some(inner.to_string())
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

/// Of a text in lower case.
fn is_secret_text(lower: &str) -> bool {
    BEGINNINGS.iter().any(|with| lower.trim_start().starts_with(with))
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
                "list": [1, 2, 3], "nested": "{\"password\":\"hunter2\",\"n\":1}", "env": [{"name": "DB_PASSWORD", "value": "x"}],
                "url": "postgres://u:pw@db/x", "link": "https://h/?token=a", "plain": "https://h/page", "says": "use Bearer abc",
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
                    "list": [1, MASKED, 3], "nested": "{\"n\":1,\"password\":\"(masked)\"}",
                    "env": [{"name": "DB_PASSWORD", "value": MASKED}],
                    "url": "postgres://db/(masked)", "link": "https://h/(masked)", "plain": "https://h/page", "says": MASKED,
                    "deep": {"userPassword": MASKED, "key": MASKED, "é": "ok"},
                },
            })
        );
    }

    #[test]
    fn a_path_of_the_data_holds_where_the_body_is_the_data() {
        let mut value = json!({"card": "4111", "spend": 1});
        Mask::new(&["data.card".to_owned()]).apply(&mut value);
        assert_eq!(value, json!({"card": MASKED, "spend": 1}));
    }
}
