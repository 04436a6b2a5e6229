//! The documentation beside the tree: every key of the configuration, metric, route and command is described, no link
//! leads nowhere, and examples of the crate use what is public.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use gemba::kaizen::Metric;
use gemba::operator::operations::OPERATIONS;

use crate::program::command;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The public fields of a struct of `source`: their names as the reader knows them, and their types.
fn fields(source: &str, name: &str) -> Vec<(String, String)> {
    let body = source.split(&format!("pub struct {name} {{\n")).nth(1);
    let body = body.unwrap_or_else(|| panic!("there is no struct {name}")).split("\n}").next().unwrap();
    let mut renamed = None;
    let mut found = Vec::new();
    for line in body.lines().map(str::trim) {
        if let Some(rest) = line.strip_prefix("#[serde(rename = \"") {
            renamed = rest.split('"').next().map(str::to_owned);
        } else if let Some((field, kind)) = line.strip_prefix("pub ").and_then(|rest| rest.split_once(": ")) {
            let field = renamed.take().unwrap_or_else(|| field.to_owned());
            found.push((field, kind.trim_end_matches(',').to_owned()));
        }
    }
    assert!(!found.is_empty(), "{name} has no fields");
    found
}

/// The dotted names of all keys in the struct `name`, which stands for the table `section`.
fn keys(source: &str, section: &str, name: &str, found: &mut Vec<String>) {
    for (field, kind) in fields(source, name) {
        let key = if section.is_empty() { field } else { format!("{section}.{field}") };
        let table = kind.strip_prefix("Vec<Spanned<").and_then(|kind| kind.strip_suffix(">>"));
        let table = table.or(Some(kind.as_str()));
        match table.filter(|table| source.contains(&format!("pub struct {table} {{"))) {
            Some(table) => keys(source, &key, table, found),
            None => found.push(key),
        }
    }
}

/// Every key that there is.
pub fn known_keys() -> Vec<String> {
    let mut known = Vec::new();
    keys(&read("src/config/layer.rs"), "", "Layer", &mut known);
    known
}

#[test]
fn every_key_of_the_configuration_is_described() {
    let known = known_keys();
    for key in [
        "node.name",
        "admin.token.role",
        "entitlement.default",
        "source.key.secret_file",
        "action.url",
        "policy.tenant.packs",
    ] {
        assert!(known.iter().any(|known| known == key), "{key} is not found in {known:?}");
    }
    let page = read("docs/configuration.md");
    let missing: Vec<&String> = known.iter().filter(|key| !page.contains(&format!("`{key}`"))).collect();
    assert!(missing.is_empty(), "docs/configuration.md does not describe {missing:?}");
}

/// Every file of Rust below `dir`, without its tests.
fn sources(dir: &Path, found: &mut String) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        if path.is_dir() && name != "tests" {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") && name != "tests" {
            let text = std::fs::read_to_string(&path).unwrap();
            found.push_str(text.split("#[cfg(test)]\nmod tests {").next().unwrap());
        }
    }
}

#[test]
fn the_reference_of_metrics_is_what_the_program_says() {
    let output = command(root()).arg("metrics").stdout(Stdio::piped()).output().unwrap();
    let page = String::from_utf8(output.stdout).unwrap();
    assert!(page == read("docs/metrics.md"), "write it anew: gemba metrics > docs/metrics.md");
    let output = command(root()).args(["metrics", "--json"]).stdout(Stdio::piped()).output().unwrap();
    let listed: Vec<serde_json::Value> = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(listed.len(), Metric::ALL.len());
}

/// Words that begin as a metric does and name something else.
const NO_METRICS: &[&str] = &["gemba_acknowledge", "gemba_broker_", "gemba_state_"];

#[test]
fn documents_name_metrics_that_there_are() {
    let known: BTreeSet<&str> = Metric::ALL.iter().map(|metric| metric.declared().name).collect();
    let is_named = |word: &str| {
        let base = ["_bucket", "_sum", "_count"].iter().find_map(|end| word.strip_suffix(end));
        known.contains(word) || base.is_some_and(|base| known.contains(base)) || NO_METRICS.contains(&word)
    };
    let mut unknown = Vec::new();
    let mut found = Vec::new();
    pages(&root().join("docs"), &mut found);
    for page in found.iter().filter(|page| !page.iter().any(|part| part == "decisions")) {
        let text = std::fs::read_to_string(page).unwrap();
        let words = text.split(|c: char| !(c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'));
        let named = words.filter(|word| word.starts_with("gemba_") && !is_named(word));
        unknown.extend(named.map(|word| format!("{}: {word}", page.display())));
    }
    assert!(unknown.is_empty(), "{unknown:#?}");
}

/// What stands before the parenthesis that closes.
fn enclosed(text: &str) -> &str {
    let (mut depth, mut quoted) = (0, false);
    for (at, c) in text.char_indices() {
        match c {
            '"' => quoted = !quoted,
            '(' if !quoted => depth += 1,
            ')' if !quoted && depth == 0 => return &text[..at],
            ')' if !quoted => depth -= 1,
            _ => {}
        }
    }
    panic!("it does not close: {text}")
}

/// The events of the library: level, target, names of fields, and message.
fn events(source: &str) -> Vec<(String, String, Vec<String>, String)> {
    let mut found = Vec::new();
    for part in source.split("tracing::").skip(1) {
        let Some((level, rest)) = part.split_once("!(") else { continue };
        if !["error", "warn", "info", "debug", "trace"].contains(&level) {
            continue;
        }
        let body = enclosed(rest);
        let rest =
            body.trim_start().strip_prefix("target: \"").unwrap_or_else(|| panic!("no target: {body}"));
        let (target, rest) = rest.split_once('"').unwrap();
        // The message is the last string.
        let message = rest.rsplit('"').nth(1).unwrap_or_else(|| panic!("no message: {body}"));
        let fields =
            rest.split(',').map(|field| field.split('=').next().unwrap().trim_matches([' ', '\n', '%', '?']));
        found.push((
            level.to_owned(),
            target.to_owned(),
            fields.map(str::to_owned).collect(),
            message.to_owned(),
        ));
    }
    found
}

#[test]
fn every_event_has_a_target_and_a_message_that_stays_and_is_described() {
    let mut source = String::new();
    sources(&root().join("src"), &mut source);
    let events = events(&source);
    assert!(events.len() > 25, "{events:?}");
    let page = read("docs/operations.md");
    let filter = read("src/logging/filter.rs");
    let table = filter.split("TARGETS: [").nth(1).unwrap().split("];").next().unwrap();
    let targets: Vec<&str> = table.split('"').filter(|part| part.starts_with("gemba::")).collect();
    assert!(targets.len() > 5);
    let missing: Vec<_> =
        targets.iter().filter(|target| !page.contains(&format!("| `{target}` |"))).collect();
    assert!(missing.is_empty(), "docs/operations.md does not describe the targets {missing:?}");
    for (level, target, fields, message) in events {
        assert!(targets.contains(&target.as_str()), "{target} of \"{message}\" is not in TARGETS");
        assert!(!message.contains('{'), "what varies belongs into a field: {message}");
        // JSON has these of its own.
        let own = ["ts", "level", "target", "message", "left_out"];
        assert!(!fields.iter().any(|field| own.contains(&field.as_str())), "{message}: {fields:?}");
        let row = page.lines().find(|line| line.contains(&format!("| {message} |")));
        if level != "debug" && level != "trace" {
            let row = row.unwrap_or_else(|| panic!("docs/operations.md does not describe \"{message}\""));
            assert!(row.starts_with(&format!("| {level} | `{target}` |")), "{row}");
        }
    }
}

/// Who may write to standard output and error otherwise than by an event: commands to their users, the log action, and a
/// fault that a test plants.
const WRITERS: [&str; 7] = [
    "src/diagnostics.rs",
    "src/logging/mod.rs",
    "src/cli/",
    "src/load/",
    "src/jidoka/action/log.rs",
    "src/jidoka/action/mod.rs",
    "src/fault.rs",
];

#[test]
fn a_node_writes_nothing_but_events() {
    let mut files = Vec::new();
    rust(&root().join("src"), &mut files);
    let ways =
        ["eprintln!", "println!", "eprint!", "print!(", "dbg!", "stderr()", "io::stdout", "diagnostics::say"];
    let mut wrong = Vec::new();
    for path in files {
        let text = std::fs::read_to_string(&path).unwrap();
        let name = path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
        let is_test = name.contains("/tests");
        let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
        let writes = ways.iter().any(|way| code.contains(way));
        if writes && !is_test && !WRITERS.iter().any(|writer| name.starts_with(writer)) {
            wrong.push(name);
        }
    }
    assert!(wrong.is_empty(), "use an event of `tracing`: {wrong:?}");
}

fn rust(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rust(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The fields of a receipt are written in one place, as `"name":` between commas or after the brace.
#[test]
fn every_field_of_a_receipt_is_described() {
    let canonical = read("src/receipt/canonical.rs");
    let rendered = canonical.split_once("fn render(").unwrap().1.split_once("\nfn null(").unwrap().0;
    let named =
        rendered.split("br#\"").skip(1).filter_map(|rest| enclosed_name(rest.trim_start_matches(['{', ','])));
    let names: BTreeSet<&str> =
        named.filter(|name| !["content_hash", "pack", "rule"].contains(name)).collect();
    assert!(names.len() > 20, "{names:?}");
    let operations = read("docs/operations.md");
    let receipts = operations.split_once("## Receipts").unwrap().1.split_once("## Dead letters").unwrap().0;
    let described: Vec<&str> = receipts
        .lines()
        .filter(|line| line.starts_with("| `"))
        .flat_map(|line| line.split('|').nth(1).unwrap().split('`').skip(1).step_by(2))
        .collect();
    let missing: Vec<_> = names.iter().filter(|name| !described.contains(name)).collect();
    let unknown: Vec<_> = described.iter().filter(|name| !names.contains(*name)).collect();
    assert!(missing.is_empty() && unknown.is_empty(), "missing {missing:?}, unknown {unknown:?}");
}

/// The name in quotes that a colon follows.
fn enclosed_name(text: &str) -> Option<&str> {
    let (name, rest) = text.strip_prefix('"')?.split_once('"')?;
    rest.starts_with(':').then_some(name)
}

#[test]
fn every_route_is_described() {
    let page = read("docs/operations.md");
    let missing: Vec<_> = OPERATIONS
        .iter()
        .filter(|operation| {
            let (_, path) = operation.request.split_once(' ').unwrap();
            // Routes that differ in their last part may share a line: `POST /v1/a/b`, `c`.
            let (before, last) = path.rsplit_once('/').unwrap();
            let shared = format!("{before}/");
            let is_shared = |line: &str| line.contains(&shared) && line.contains(&format!("`{last}`"));
            !(page.contains(path) || page.lines().any(is_shared))
        })
        .map(|operation| operation.request)
        .collect();
    assert!(missing.is_empty(), "docs/operations.md does not describe {missing:?}");
}

/// The commands below these words, themselves included where they do something.
fn commands(words: &[String], found: &mut Vec<String>) {
    let mut help = std::process::Command::new(crate::program::PROGRAM);
    let output = help.args(words).arg("--help").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let Some(list) = text.split("\nCommands:\n").nth(1) else { return found.push(words.join(" ")) };
    for line in list.lines().take_while(|line| !line.is_empty()) {
        let Some(name) = line.strip_prefix("  ").filter(|line| !line.starts_with(' ')) else { continue };
        let name = name.split(' ').next().unwrap();
        if name != "help" {
            commands(&[words, &[name.to_owned()]].concat(), found);
        }
    }
}

#[test]
fn every_command_is_described() {
    let mut found = Vec::new();
    commands(&[], &mut found);
    let sent = OPERATIONS.iter().filter_map(|operation| operation.command);
    let unknown: Vec<_> = sent.filter(|words| !found.iter().any(|found| found == words)).collect();
    assert!(unknown.is_empty(), "the table of operations names commands that there are not: {unknown:?}");
    let page = read("docs/cli.md");
    let missing: Vec<_> = found.iter().filter(|words| !page.contains(&format!("`gemba {words}`"))).collect();
    assert!(missing.is_empty(), "docs/cli.md does not describe {missing:?}");
}

/// All pages below `dir`.
fn pages(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            pages(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "md") {
            found.push(path);
        }
    }
}

/// Targets of a page's links that are files of this tree.
fn links(text: &str) -> impl Iterator<Item = &str> {
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
    let files = targets.map(|(target, _)| target.split('#').next().unwrap_or_default());
    files.filter(|target| !target.is_empty() && !target.contains("://") && !target.starts_with("mailto:"))
}

#[test]
fn every_link_to_a_file_finds_it() {
    let mut found = vec![root().join("README.md")];
    pages(&root().join("docs"), &mut found);
    let mut dead = Vec::new();
    let mut seen = 0;
    for page in found {
        let text = std::fs::read_to_string(&page).unwrap();
        for target in links(&text) {
            seen += 1;
            if !page.parent().unwrap().join(target).exists() {
                dead.push(format!("{}: {target}", page.strip_prefix(root()).unwrap().display()));
            }
        }
    }
    assert!(seen > 0, "no page has a link");
    assert!(dead.is_empty(), "{dead:#?}");
}

/// The tests of the documentation are built with every module open; whoever copies an example has only the public ones.
#[test]
fn examples_of_the_crate_use_what_is_public() {
    let lib = read("src/lib.rs");
    let public = lib.split("\npub use inside::{").nth(1).and_then(|rest| rest.split("};").next()).unwrap();
    let public: Vec<&str> = public.split(',').map(str::trim).collect();
    let mut text = String::new();
    sources(&root().join("src"), &mut text);
    let (mut seen, mut closed, mut inside) = (0, Vec::new(), false);
    for line in text.lines().filter_map(|line| line.trim_start().strip_prefix("//")) {
        if line.contains("```") {
            inside = !inside;
        }
        for path in line.split("gemba::").skip(1).filter(|_| inside) {
            seen += 1;
            let module = path.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().unwrap();
            if !public.contains(&module) {
                closed.push(line);
            }
        }
    }
    assert!(seen > 0, "no example names the crate");
    assert!(closed.is_empty(), "{closed:#?}");
}
