//! What the tests share stands in `tests/support`, once, and somebody uses it.

use std::collections::HashMap;
use std::path::Path;

use syn::visit::{self, Visit};
use syn::{Ident, Visibility};

use crate::layout::sources;

/// Everything with a name in one file: the name, and whether other files see it.
#[derive(Default)]
struct Names(Vec<(String, bool)>);

impl Names {
    fn note(&mut self, visibility: &Visibility, name: &Ident) {
        self.0.push((name.to_string(), !matches!(visibility, Visibility::Inherited)));
    }
}

impl<'ast> Visit<'ast> for Names {
    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.note(&item.vis, &item.sig.ident);
    }
    fn visit_item_const(&mut self, item: &'ast syn::ItemConst) {
        self.note(&item.vis, &item.ident);
    }
    fn visit_item_enum(&mut self, item: &'ast syn::ItemEnum) {
        self.note(&item.vis, &item.ident);
        for variant in &item.variants {
            self.note(&item.vis, &variant.ident);
        }
    }
    fn visit_item_struct(&mut self, item: &'ast syn::ItemStruct) {
        self.note(&item.vis, &item.ident);
        visit::visit_item_struct(self, item);
    }
    fn visit_field(&mut self, field: &'ast syn::Field) {
        // One that only its file sees may be there to be compared or kept.
        if let Some(name) = field.ident.as_ref().filter(|_| !matches!(field.vis, Visibility::Inherited)) {
            self.note(&field.vis, name);
        }
    }
    fn visit_item_impl(&mut self, item: &'ast syn::ItemImpl) {
        // Who calls the methods of a trait is known to the trait.
        if item.trait_.is_none() {
            visit::visit_item_impl(self, item);
        }
    }
    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.note(&item.vis, &item.sig.ident);
    }
}

/// What none of these files uses that it or another one shares; the shared ones are those below `shared`.
fn unused(files: &[(String, String)], shared: &str) -> Vec<String> {
    let mut used = HashMap::<(&str, &str), usize>::new();
    for (path, text) in files {
        let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
        for word in code.flat_map(|line| line.split(|c: char| !c.is_alphanumeric() && c != '_')) {
            *used.entry((path, word)).or_default() += 1;
        }
    }
    let mut found = Vec::new();
    for (path, text) in files.iter().filter(|(path, _)| path.starts_with(shared)) {
        let mut names = Names::default();
        names.visit_file(&syn::parse_file(text).unwrap());
        for (name, is_seen) in names.0 {
            let here = used[&(&**path, &*name)];
            let elsewhere =
                files.iter().any(|(other, _)| other != path && used.contains_key(&(other, &name)));
            if here < 2 && !(is_seen && elsewhere) {
                found.push(format!("{path}: {name}"));
            }
        }
    }
    found
}

/// Parts of other files that are included without a reason: anything but the one module of what is shared.
fn includes(path: &str, text: &str) -> Vec<String> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate().filter(|(_, line)| line.trim_start().starts_with("#[path")) {
        let above = lines[..at].iter().rev().find(|above| !above.trim_start().starts_with("#["));
        let is_explained = above.is_some_and(|above| above.trim_start().starts_with("// "));
        if *line != "#[path = \"../support/mod.rs\"]" && !is_explained {
            found.push(format!("{path}: {line}"));
        }
    }
    found
}

fn files(of: &[&str]) -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    for dir in of {
        sources(&root.join(dir), &mut found);
    }
    let text = |path: &Path| std::fs::read_to_string(path).unwrap();
    found.iter().map(|path| (path.strip_prefix(root).unwrap().display().to_string(), text(path))).collect()
}

#[test]
fn what_the_tests_share_is_used() {
    let found = unused(&files(&["tests", "perf"]), "tests/support/");
    assert!(found.is_empty(), "nobody uses {found:#?}");
}

#[test]
fn no_file_is_included_twice_without_a_reason() {
    let files = files(&["src", "tests", "perf", "benches", "fuzz/src", "fuzz/fuzz_targets"]);
    let found: Vec<String> = files.iter().flat_map(|(path, text)| includes(path, text)).collect();
    assert!(found.is_empty(), "share it in tests/support, or say why above it: {found:#?}");
}

#[test]
fn what_the_quick_tests_leave_out_is_there_and_runs_elsewhere() {
    let read =
        |path: &str| std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap();
    let quick = read("tests/quick");
    // The names of units begin with the module that all others stand in.
    for (list, under, before) in [("units", "src", "inside::"), ("outside", "tests/it", "")] {
        let there = files(&[under]);
        let list = quick.split(&format!("\n{list}=(\n")).nth(1).unwrap().split("\n)").next().unwrap();
        for test in list.lines().map(str::trim) {
            let (module, name) = test.strip_prefix(before).and_then(|test| test.rsplit_once("::")).unwrap();
            let top = format!("{under}/{}", module.split("::").next().unwrap());
            let name = format!("fn {name}(");
            let is_there = there.iter().any(|(path, text)| path.starts_with(&top) && text.contains(&name));
            assert!(is_there, "tests/quick leaves out {test}, which is no test");
        }
    }
    let all = read("tests/all");
    assert!(all.contains("\ncargo test --locked\n") && !all.contains("--skip"), "tests/all runs every test");
}

/// Each kind of violation, once.
#[test]
fn what_these_rules_forbid_is_found() {
    let shared = "pub struct Used { pub seen: u8, pub gone: u8, kept: u8 } impl Used { pub fn called(&self) {} fn own(&self) {} }
                  // own gone
                  pub const NEVER: u8 = 0; pub enum Kind { Some, None } impl Drop for Used { fn drop(&mut self) {} }";
    let user = "fn f(used: Used) { used.called(); used.seen; Kind::Some; NEVERMORE }";
    let files = [("s/a.rs", shared), ("t/b.rs", user)].map(|(path, text)| (path.to_owned(), text.to_owned()));
    assert_eq!(unused(&files, "s/"), ["s/a.rs: gone", "s/a.rs: own", "s/a.rs: NEVER", "s/a.rs: None"]);

    let include = |line: &str| includes("t/a.rs", &format!("use a::b;\n{line}\nmod c;")).len();
    assert_eq!(include("#[path = \"../support/mod.rs\"]"), 0);
    assert_eq!(include("// Loom stands in for std there.\n#[allow(dead_code)]\n#[path = \"../it/c.rs\"]"), 0);
    assert_eq!(include("#[path = \"../it/c.rs\"]"), 1);
    assert_eq!(include("#[allow(dead_code)]\n#[path = \"../it/c.rs\"]"), 1);
    assert_eq!(include("    #[path=\"../it/c.rs\"]"), 1);
}
