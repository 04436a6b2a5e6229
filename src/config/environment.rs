//! Variables `GEMBA_SECTION__KEY` as a layer of the configuration. Each is written as the line that would stand in a
//! file and read by the same reader, so it has the same names, types and complaints.

use super::layer::Layer;
use super::place::{ConfigError, Place, Text, quoted};

const PREFIX: &str = "GEMBA_";
/// Sections whose keys are single values. Lists of tables belong in a file.
const SECTIONS: [&str; 12] = [
    "node",
    "ingress",
    "admin",
    "kanban",
    "dedup",
    "entitlement",
    "rate_limit",
    "governor",
    "receipt",
    "log",
    "state",
    "rabbitmq",
];

/// One layer for each variable that sets a key.
pub fn layers(variables: impl Iterator<Item = (String, String)>) -> Result<Vec<(Text, Layer)>, ConfigError> {
    let mut found = Vec::new();
    for (name, value) in variables {
        let Some(rest) = name.strip_prefix(PREFIX) else { continue };
        let lower = rest.to_ascii_lowercase();
        if let Some((section, key)) = lower.split_once("__") {
            found.push(read(&name, section, key, &value)?);
        } else if let Some(key) = SECTIONS
            .iter()
            .find_map(|section| Some((section, lower.strip_prefix(section)?.strip_prefix('_')?)))
        {
            let (section, key) = (key.0.to_ascii_uppercase(), key.1.to_ascii_uppercase());
            return Err(ConfigError::new(&Place::named(&name), "this variable sets nothing")
                .hint(format!("section and key are parted by two underscores: {PREFIX}{section}__{key}")));
        }
    }
    Ok(found)
}

fn read(name: &str, section: &str, key: &str, value: &str) -> Result<(Text, Layer), ConfigError> {
    let line = |value: &str| Text::variable(name, format!("[{section}]\n{key} = {value}\n"));
    let text = line(&quoted(value));
    // A number, a truth value or a list stands as it is, unless the key wants text.
    let is_bare = value.parse::<i64>().is_ok() || matches!(value, "true" | "false") || value.starts_with('[');
    let bare = is_bare.then(|| line(value));
    let mut complaint = None;
    for text in bare.into_iter().chain([text]) {
        match toml::from_str(text.as_str()) {
            Ok(layer) => return Ok((text, layer)),
            Err(error) => {
                complaint.get_or_insert(text.complaint(&error));
            }
        }
    }
    Err(complaint.unwrap_or_else(|| ConfigError::new(&Place::named(name), "this variable cannot be read")))
}
