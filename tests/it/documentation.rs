//! The documentation beside the tree: every key of the configuration is described, and no link leads nowhere.

use std::path::{Path, PathBuf};

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
        let table = table.or_else(|| section.is_empty().then_some(kind.as_str()));
        match table.filter(|table| source.contains(&format!("pub struct {table} {{"))) {
            Some(table) => keys(source, &key, table, found),
            None => found.push(key),
        }
    }
}

#[test]
fn every_key_of_the_configuration_is_described() {
    let source = read("src/config/layer.rs");
    let mut known = Vec::new();
    keys(&source, "", "Layer", &mut known);
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
