//! The modules know whom they may: words, ground, the line, assembly; and the stages never one another.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Each module and what it may import from the crate.
const MAY_KNOW: [(&str, &[&str]); 35] = [
    ("limits", &[]),
    ("codec", &[]),
    ("variants", &[]),
    ("percent", &[]),
    ("place", &[]),
    ("rfc3339", &[]),
    ("signature", &["signal", "limits"]),
    ("signal", &["signature", "limits", "percent", "rfc3339"]),
    ("event", &["signal", "receipt", "sharing", "limits", "variants"]),
    ("sharing", &["signal", "event", "limits"]),
    ("receipt", &["signal", "event", "codec", "variants"]),
    ("proof", &[]),
    ("case", &["event", "variants"]),
    ("view", &["signal"]),
    ("clock", &["event", "limits"]),
    ("fault", &[]),
    ("diagnostics", &["limits"]),
    ("logging", &["diagnostics", "event", "clock", "limits"]),
    ("descriptors", &["limits"]),
    ("ring", &["clock"]),
    ("disk", &["clock", "descriptors", "limits"]),
    ("config", &["signal", "limits", "logging", "place"]),
    ("kaizen", &["clock", "case", "variants"]),
    ("net", &["descriptors", "kaizen", "config", "clock", "limits", "percent"]),
    ("ingress", LINE),
    ("kanban", LINE),
    ("jidoka", LINE),
    ("andon", LINE),
    ("operator", LINE),
    ("line", &["*"]),
    (
        "load",
        &[
            "limits",
            "signature",
            "signal",
            "event",
            "receipt",
            "clock",
            "config",
            "diagnostics",
            "kaizen",
            "net",
            "ring",
            "variants",
        ],
    ),
    ("cli", &["*"]),
    ("main", &["cli"]),
    ("lib", &["*"]),
    ("expression", &["limits", "rfc3339"]),
];

/// What a layer may know: words and ground, never another layer.
const LINE: &[&str] = &[
    "limits",
    "codec",
    "variants",
    "percent",
    "place",
    "rfc3339",
    "case",
    "expression",
    "signature",
    "signal",
    "event",
    "sharing",
    "receipt",
    "proof",
    "view",
    "clock",
    "fault",
    "ring",
    "disk",
    "kaizen",
    "net",
];

fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn imports_flow_one_way() {
    let table: BTreeMap<&str, &[&str]> = MAY_KNOW.into_iter().collect();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    let mut wrong = Vec::new();
    for file in files {
        let path = file.strip_prefix(&root).unwrap();
        let module = path.iter().next().unwrap().to_str().unwrap().trim_end_matches(".rs").to_owned();
        let allowed =
            table.get(module.as_str()).unwrap_or_else(|| panic!("{module} has no row in the table"));
        let is_test = path.iter().any(|part| part == "tests" || part == "tests.rs");
        let text = std::fs::read_to_string(&file).unwrap();
        let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        for line in code.lines().filter(|line| !line.trim_start().starts_with("//")) {
            for (at, _) in line.match_indices("crate::") {
                let name: String =
                    line[at + 7..].chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
                let known = name.is_empty()
                    || name == module
                    || name == "fault"
                    || allowed.contains(&"*")
                    || allowed.contains(&name.as_str());
                if !known && !is_test {
                    wrong.push(format!("{}: {}", path.display(), line.trim()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn no_file_holds_two_ideas() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    let long: Vec<String> = files
        .iter()
        .map(|file| (file, std::fs::read_to_string(file).unwrap().lines().count()))
        .filter(|(_, lines)| *lines > 550)
        .map(|(file, lines)| format!("{}: {lines} lines", file.display()))
        .collect();
    assert!(long.is_empty(), "{long:#?}");
}
