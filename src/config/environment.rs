//! Variables `GEMBA_SECTION__KEY` as a layer of the configuration. Each is written as the line that would stand in a
//! file and read by the same reader, so it has the same names, types and complaints.
//!
//! Others make variables with our prefix, too: Kubernetes makes some for each service whose name begins with `gemba`. Ours
//! have two underscores; what else there is sets nothing, and where it resembles a name of ours, a warning says so.

use std::ffi::OsString;

use super::layer::{Layer, is_list, is_section, list_hint, lists, sections};
use crate::place::{ConfigError, Place, Text, quoted};

const PREFIX: &str = "GEMBA_";
/// What is read elsewhere: where the configuration is, and by tests what is to go wrong and what may be missing.
const OTHERS: [&str; 7] = [
    "GEMBA_CONFIG",
    "GEMBA_FAULT",
    "GEMBA_PANIC",
    "GEMBA_PLANT",
    "GEMBA_POISON",
    "GEMBA_SEEDS",
    "GEMBA_TESTS_REQUIRE_ALL",
];
/// A name that differs in no more letters from a valid one was probably meant to be it.
const TYPING_ERRORS: usize = 2;

/// One layer for each variable that sets a key.
pub fn layers(variables: &[(OsString, OsString)]) -> Result<Vec<(Text, Layer)>, ConfigError> {
    let mut found = Vec::new();
    for (name, value) in variables {
        let Some(name) = ours(name, value) else { continue };
        let lower = name[PREFIX.len()..].to_ascii_lowercase();
        if let Some((section, key)) = lower.rsplit_once("__") {
            let value = value.to_str();
            let value =
                value.ok_or_else(|| ConfigError::new(&Place::named(name), "its value is not UTF-8"))?;
            found.push(read(name, section, key, value)?);
        }
    }
    Ok(found)
}

/// Warns of variables that set nothing and were probably meant to. A secret may be kept in one that is called like a key:
/// `is_named` tells.
pub fn warnings(variables: &[(OsString, OsString)], is_named: impl Fn(&str) -> bool) -> Vec<ConfigError> {
    let names = variables.iter().filter_map(|(name, value)| ours(name, value));
    let mut names: Vec<&str> = names
        .filter(|name| !name[PREFIX.len()..].contains("__") && !OTHERS.contains(name) && !is_named(name))
        .collect();
    if names.is_empty() {
        return Vec::new();
    }
    names.sort_unstable();
    let valid: Vec<String> = valid();
    // Lists of tables have no variable; who tries to set one is told what to do instead.
    let lists = lists().map(|list| (variable(list), list_hint(list).unwrap_or_default()));
    let named = |valid: &String| (valid.clone(), format!("the nearest valid name is {valid}"));
    let candidates: Vec<(String, String)> = valid.iter().map(named).chain(lists).collect();
    let warning = |name: &str| {
        let distance = |(valid, _): &&(String, String)| strsim::damerau_levenshtein(name, valid);
        let (_, hint) =
            candidates.iter().min_by_key(distance).filter(|near| distance(near) <= TYPING_ERRORS)?;
        Some(ConfigError::new(&Place::named(name), "this variable sets nothing").hint(hint))
    };
    names.into_iter().filter_map(warning).collect()
}

/// The name of a variable with our prefix that Kubernetes has not made.
fn ours<'a>(name: &'a OsString, value: &OsString) -> Option<&'a str> {
    let name = name.to_str().filter(|name| name.starts_with(PREFIX))?;
    (!is_of_kubernetes(name, &value.to_string_lossy())).then_some(name)
}

/// Whether Kubernetes, or a link of Docker, makes such a variable for a service: `X_SERVICE_HOST`, `X_SERVICE_PORT`,
/// `X_SERVICE_PORT_NAME`, `X_PORT`, `X_PORT_80_TCP`, `X_PORT_80_TCP_ADDR`. A service's name does not end in a dash, so no
/// underscore stands before these.
fn is_of_kubernetes(name: &str, value: &str) -> bool {
    let of_service = |at: usize| name[..at].len() >= PREFIX.len() - 1 && !name[..at].ends_with('_');
    let ends = |end: &str| name.ends_with(end) && of_service(name.len() - end.len());
    let ports = ["_TCP", "_UDP", "_SCTP"];
    let is_port = |rest: &str| {
        let digits = rest.trim_start_matches(|digit: char| digit.is_ascii_digit());
        let protocol = ports.iter().find_map(|protocol| digits.strip_prefix(protocol));
        digits.len() < rest.len() && matches!(protocol, Some("" | "_PROTO" | "_PORT" | "_ADDR"))
    };
    let has = |part: &str, fits: &dyn Fn(&str) -> bool| {
        name.match_indices(part).any(|(at, _)| of_service(at) && fits(&name[at + part.len()..]))
    };
    ends("_SERVICE_HOST")
        || has("_SERVICE_PORT", &|rest| rest.is_empty() || rest.starts_with('_'))
        || ends("_PORT") && value.contains("://")
        || has("_PORT_", &is_port)
}

/// The variable of a dotted key.
fn variable(key: &str) -> String {
    format!("{PREFIX}{}", key.replace('.', "__")).to_ascii_uppercase()
}

/// Every variable that sets something.
pub(super) fn valid() -> Vec<String> {
    let mut names = vec![OTHERS[0].to_owned()];
    for section in sections() {
        // The reader knows its keys: it lists them where one is unknown.
        let unknown = toml::from_str::<Layer>(&format!("[{section}]\n\"\" = 0\n"));
        let told = unknown.err().map(|error| error.message().to_owned()).unwrap_or_default();
        let keys = told.split('`').skip(1).step_by(2).filter(|key| !key.is_empty());
        let keys = keys.map(|key| format!("{section}.{key}"));
        let is_table = |key: &str| is_list(key) || is_section(key);
        names.extend(keys.filter(|key| !is_table(key)).map(|key| variable(&key)));
    }
    names
}

fn read(name: &str, section: &str, key: &str, value: &str) -> Result<(Text, Layer), ConfigError> {
    let section: Vec<String> = section.split("__").map(quoted).collect();
    let (section, key) = (section.join("."), quoted(key));
    let line = |value: &str| Text::variable(name, format!("[{section}]\n{key} = {value}\n"));
    let text = line(&quoted(value));
    // A number, a truth value or a list stands as it is, unless the key wants text.
    let is_bare = value.parse::<f64>().is_ok() || matches!(value, "true" | "false") || value.starts_with('[');
    let bare = is_bare.then(|| line(value));
    let mut complaint = None;
    for text in bare.into_iter().chain([text]) {
        match Layer::read(&text) {
            Ok(layer) => return Ok((text, layer)),
            Err(error) => {
                complaint.get_or_insert(error);
            }
        }
    }
    Err(complaint.unwrap_or_else(|| ConfigError::new(&Place::named(name), "this variable cannot be read")))
}
