//! The modules know whom they may: words, ground, the line, assembly; and the stages never one another.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::parts::Layer;

/// Each module and what it may import from the crate.
const MAY_KNOW: [(&str, &[&str]); 47] = [
    ("limits", &[]),
    ("trace", &[]),
    ("codec", &[]),
    ("variants", &[]),
    ("percent", &[]),
    ("place", &[]),
    ("rfc3339", &[]),
    ("names", &["limits"]),
    ("ids", &["names", "signal", "limits"]),
    ("signature", &["names", "variants"]),
    ("signal", &["names", "signature", "limits", "percent", "rfc3339", "trace"]),
    ("manifest", &["codec", "ids", "limits", "names"]),
    ("event", &["alert", "ids", "manifest", "names", "signal", "receipt", "sharing", "limits", "variants"]),
    ("sharing", &["ids", "signal", "limits"]),
    ("receipt", &["ids", "names", "signal", "codec", "trace", "variants"]),
    ("printable", &[]),
    ("proof", &[]),
    ("alert", &["expression", "ids", "limits", "receipt", "variants", "view"]),
    ("case", &["event", "variants"]),
    ("halt", &["ids", "limits"]),
    ("view", &["halt", "signal"]),
    ("board_view", &["view"]),
    ("tapped", &["receipt"]),
    ("improvement", &["printable", "variants"]),
    ("clock", &["event", "limits"]),
    ("fault", &[]),
    ("diagnostics", &["limits"]),
    ("logging", &["diagnostics", "disk", "event", "clock", "kaizen", "limits", "printable"]),
    ("descriptors", &["limits"]),
    ("ring", &["clock"]),
    ("disk", &["clock", "descriptors", "limits"]),
    ("framed_log", &["codec", "disk"]),
    (
        "config",
        &["alert", "signal", "signature", "limits", "logging", "percent", "place", "printable", "tapped"],
    ),
    ("kaizen", &["clock", "case", "limits", "ring", "trace", "variants"]),
    ("service_manager", &[]),
    ("net", &["descriptors", "event", "kaizen", "config", "clock", "limits", "percent", "printable", "view"]),
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
    "alert",
    "board_view",
    "halt",
    "limits",
    "manifest",
    "codec",
    "variants",
    "percent",
    "place",
    "printable",
    "rfc3339",
    "names",
    "case",
    "expression",
    "signature",
    "signal",
    "event",
    "sharing",
    "receipt",
    "proof",
    "trace",
    "tapped",
    "view",
    "improvement",
    "clock",
    "fault",
    "ring",
    "disk",
    "framed_log",
    "kaizen",
    "net",
];

pub fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
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

/// Modules that a module needs, one after the other, until one needs the first.
fn circle<'t>(table: &BTreeMap<&'t str, &'t [&'t str]>, way: &mut Vec<&'t str>) -> bool {
    let (Some(first), Some(last)) = (way.first().copied(), way.last().copied()) else { return false };
    for next in table.get(last).copied().unwrap_or_default() {
        if *next == first {
            return true;
        }
        if !way.contains(next) {
            way.push(next);
            if circle(table, way) {
                return true;
            }
            way.pop();
        }
    }
    false
}

#[test]
fn no_modules_need_each_other() {
    let table: BTreeMap<&str, &[&str]> = MAY_KNOW.into_iter().collect();
    for module in table.keys() {
        let mut way = vec![*module];
        assert!(!circle(&table, &mut way), "{way:?}");
    }
    let planted: BTreeMap<&str, &[&str]> = [("a", &["b"] as &[&str]), ("b", &["c"]), ("c", &["a"])].into();
    assert!(circle(&planted, &mut vec!["b"]));
}

/// Layers that are made of parts: no field is shared between files, no type does everything, no two files need each other.
/// A layer is added here once it complies.
const OF_PARTS: [&str; 23] = [
    "place",
    "names",
    "ids",
    "event",
    "signal",
    "signature",
    "receipt",
    "proof",
    "expression",
    "config",
    "clock",
    "logging",
    "ring",
    "disk",
    "framed_log",
    "kaizen",
    "net",
    "kanban",
    "jidoka",
    "andon",
    "operator",
    "line",
    "cli",
];
/// Fields that a struct has at most.
const FIELDS_MAX: usize = 15;
/// Structs that may have more, and why.
const LARGE: [(&str, &str); 4] = [
    ("Config", "one field for each thing that is configured"),
    ("Layer", "one field for each section"),
    ("RabbitMq", "one field for each key"),
    ("Channel", "one field for each key"),
];

fn layer(name: &str) -> Layer {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root.join(name), &mut files);
    let text = |path: PathBuf| {
        let relative = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
        (relative, std::fs::read_to_string(&path).unwrap())
    };
    Layer::new(files.into_iter().map(text))
}

#[test]
fn no_field_is_shared_between_files() {
    let found: Vec<String> = OF_PARTS.iter().flat_map(|name| layer(name).shared_fields()).collect();
    assert!(
        found.is_empty(),
        "give the type a method, or make it plain data of a module of its own: {found:#?}"
    );
}

#[test]
fn no_type_does_everything() {
    let found: Vec<String> =
        OF_PARTS.iter().flat_map(|name| layer(name).large_structs(FIELDS_MAX, &LARGE)).collect();
    assert!(found.is_empty(), "more than {FIELDS_MAX} fields; find its parts: {found:#?}");
}

#[test]
fn no_files_need_each_other() {
    let found: Vec<String> = OF_PARTS.iter().flat_map(|name| layer(name).circles()).collect();
    assert!(found.is_empty(), "{found:#?}");
}

/// Each kind of violation, once.
#[test]
fn what_these_rules_forbid_is_found() {
    let planted = |files: &[(&str, &str)]| {
        Layer::new(files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())))
    };
    for field in ["pub(super) a: u8", "pub(crate) a: u8", "pub(in crate::x) a: u8"] {
        let text = format!("fn f() {{ struct S {{ {field} }} }} struct T(u8); enum E {{ A }}");
        assert_eq!(planted(&[("x/mod.rs", &text)]).shared_fields(), ["x/mod.rs: S.a"], "{field}");
    }
    assert_eq!(planted(&[("x/mod.rs", "struct S(u8, pub(super) u8);")]).shared_fields(), ["x/mod.rs: S.1"]);
    let innocent =
        "pub struct S { pub a: u8, pub(self) b: u8, c: u8 } #[cfg(test)] struct T { pub(super) a: u8 }";
    assert!(planted(&[("x/mod.rs", innocent)]).shared_fields().is_empty());

    let large = planted(&[("x/mod.rs", "struct S { a: u8, b: u8, c: u8 } struct T { a: u8, b: u8, c: u8 }")]);
    assert_eq!(large.large_structs(2, &[("T", "plain")]), ["x/mod.rs: S has 3"]);

    let circle = |a: &str, b: &str, root: &str| {
        let files = [("x/mod.rs", root), ("x/a.rs", a), ("x/b.rs", b), ("x/c.rs", "pub struct C;")];
        planted(&files).circles().len()
    };
    let root = "mod a; mod b; mod c; pub use a::A; pub use c::C;";
    for b in [
        "use super::a::A;",
        "use super::A;",
        "use crate::x::{c::C, a::A as Other};",
        "use super::a; fn f(_: a::A) {}",
        "fn f(_: super::a::A) {}",
        "fn f(_: Vec<crate::x::A>) {}",
        "use crate::x as y; fn f() { y::A; }",
        "use super::*;",
        "mod inner { use super::super::A; }",
    ] {
        assert_eq!(circle("use super::b::B; pub struct A;", b, root), 1, "{b}");
    }
    for b in [
        "use super::C;",
        "#[cfg(test)] mod tests { use super::super::A; }",
        "#[cfg(test)] use super::A;",
        "fn f() { a::A; }",
    ] {
        assert_eq!(circle("use super::b::B; pub struct A;", b, root), 0, "{b}");
    }
    // Of a child and its parent.
    assert_eq!(circle("use super::Own;", "", "mod a; use a::A; pub struct Own(A);"), 1);
    assert_eq!(circle("use super::Own;", "", "mod a; mod b; pub struct Own;"), 0);
    // A method of the type in another file, which its own file calls.
    let split = "use super::a::A; impl A { pub fn gone(&self) {} }";
    assert_eq!(circle("pub struct A; impl A { fn f(&self) { self.gone(); } }", split, root), 1);
    assert_eq!(circle("pub struct A; impl A { fn f(&self) {} }", split, root), 0);
}
