//! The files of a layer, parsed: their structs, and which of them need which others.
//!
//! What a macro makes is not seen, nor what only tests see.

use std::collections::{BTreeMap, BTreeSet};

use syn::visit::{self, Visit};
use syn::{Attribute, Fields, Item, UseTree, Visibility};

/// A module's place, from the crate on.
type Place = Vec<String>;

pub struct Layer {
    files: Vec<File>,
    /// Modules by their place: the file, and what they import under which name.
    modules: BTreeMap<Place, Module>,
}

struct File {
    path: String,
    place: Place,
    code: syn::File,
}

#[derive(Default)]
struct Module {
    file: usize,
    imports: BTreeMap<String, Place>,
}

impl Layer {
    /// Of paths below `src`, and what stands there.
    pub fn new(files: impl Iterator<Item = (String, String)>) -> Self {
        let mut files: Vec<File> = files.map(|(path, text)| File::new(path, &text)).collect();
        let hidden: Vec<Place> = files.iter().flat_map(File::only_for_tests).collect();
        files.retain(|file| !hidden.iter().any(|hidden| file.place.starts_with(hidden)));
        let mut modules = BTreeMap::new();
        for (at, file) in files.iter().enumerate() {
            modules.insert(file.place.clone(), Module { file: at, ..Module::default() });
            let mut imports = Imports { place: file.place.clone(), at, modules: &mut modules };
            imports.visit_file(&file.code);
        }
        Self { files, modules }
    }

    /// Fields that other files may reach and users of the type may not.
    pub fn shared_fields(&self) -> Vec<String> {
        self.structs(|path, name, fields| {
            let shared = fields.iter().enumerate().filter(|(_, field)| match &field.vis {
                Visibility::Restricted(to) => !to.path.is_ident("self"),
                Visibility::Public(_) | Visibility::Inherited => false,
            });
            let named = |(at, field): (usize, &syn::Field)| {
                let field = field.ident.as_ref().map_or_else(|| at.to_string(), ToString::to_string);
                format!("{path}: {name}.{field}")
            };
            shared.map(named).collect()
        })
    }

    /// Structs with more than so many fields, but for those that have a reason.
    pub fn large_structs(&self, most: usize, excused: &[(&str, &str)]) -> Vec<String> {
        self.structs(|path, name, fields| {
            let is_large = fields.len() > most && !excused.iter().any(|(excused, _)| *excused == name);
            is_large.then(|| format!("{path}: {name} has {}", fields.len())).into_iter().collect()
        })
    }

    fn structs(&self, ask: impl Fn(&str, &str, &Fields) -> Vec<String>) -> Vec<String> {
        let mut found = Vec::new();
        for file in &self.files {
            let mut structs =
                Structs { ask: &|name, fields| ask(&file.path, name, fields), found: &mut found };
            structs.visit_file(&file.code);
        }
        found
    }

    /// Files that need one another, each circle with the needs that make it.
    pub fn circles(&self) -> Vec<String> {
        let methods = self.methods();
        let needs = (0..self.files.len()).flat_map(|at| self.needs(at, &methods));
        let needs: BTreeSet<(usize, usize)> = needs.collect();
        let mut reach = needs.clone();
        for through in 0..self.files.len() {
            for from in 0..self.files.len() {
                for to in 0..self.files.len() {
                    if reach.contains(&(from, through)) && reach.contains(&(through, to)) {
                        reach.insert((from, to));
                    }
                }
            }
        }
        let mut circles: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
        for (from, to) in reach.iter().filter(|(from, to)| reach.contains(&(*to, *from))) {
            let first = reach.iter().filter(|(each, back)| each == from && reach.contains(&(*back, *each)));
            let first = first.map(|(_, to)| *to).min().unwrap_or(*from);
            circles.entry(first).or_default().extend([from, to]);
        }
        let said = |circle: BTreeSet<usize>| {
            let inside = needs.iter().filter(|(from, to)| circle.contains(from) && circle.contains(to));
            let arrow = |(from, to): &(usize, usize)| {
                format!("{} needs {}", self.files[*from].path, self.files[*to].path)
            };
            inside.map(arrow).collect::<Vec<_>>().join(", ")
        };
        circles.into_values().map(said).collect()
    }

    /// Methods that stand in another file than their type: where the type is, where the method, and its name.
    fn methods(&self) -> Vec<(usize, usize, String)> {
        let mut all = Vec::new();
        for (at, file) in self.files.iter().enumerate() {
            let mut methods = Methods { place: file.place.clone(), found: Vec::new() };
            methods.visit_file(&file.code);
            let away = methods.found.into_iter().filter_map(|(place, of, name)| {
                let home = self.file_of(&place, &of, 0).filter(|home| *home != at)?;
                Some((home, at, name))
            });
            all.extend(away);
        }
        all
    }

    /// The files that this one needs.
    fn needs(&self, at: usize, methods: &[(usize, usize, String)]) -> BTreeSet<(usize, usize)> {
        let file = &self.files[at];
        let mut paths = Paths { place: file.place.clone(), paths: Vec::new(), calls: BTreeSet::new() };
        paths.visit_file(&file.code);
        let named = paths.paths.iter().filter_map(|(place, path)| self.file_of(place, path, 0));
        let mut needs: BTreeSet<usize> = named.collect();
        // Of its own types, too, it may call methods that stand elsewhere.
        let called = methods.iter().filter(|(home, _, name)| *home == at && paths.calls.contains(name));
        needs.extend(called.map(|(_, away, _)| *away));
        needs.into_iter().filter(|need| *need != at).map(|need| (at, need)).collect()
    }

    /// Where what this path names is defined, as the module at `place` names it.
    fn file_of(&self, place: &[String], path: &[String], depth: usize) -> Option<usize> {
        let first = path.first()?;
        let mut whole: Place = match first.as_str() {
            "crate" => Vec::new(),
            "self" | "super" => place.to_vec(),
            name if self.modules.contains_key(&[place, &[name.to_owned()]].concat()) => {
                [place, &[name.to_owned()]].concat()
            }
            name => {
                let import = self.modules.get(place)?.imports.get(name)?;
                let path: Place = import.iter().chain(&path[1..]).cloned().collect();
                return if depth < 16 { self.file_of(place, &path, depth + 1) } else { None };
            }
        };
        for segment in &path[usize::from(first != "super")..] {
            match segment.as_str() {
                "super" => drop(whole.pop()),
                name => whole.push(name.to_owned()),
            }
        }
        let inside = (0..=whole.len()).rev().find(|len| self.modules.contains_key(&whole[..*len]))?;
        let module = &self.modules[&whole[..inside]];
        match whole.get(inside) {
            // Something that the module has from elsewhere.
            Some(name) if module.imports.contains_key(name) && depth < 16 => {
                self.file_of(&whole[..inside], &whole[inside..], depth + 1).or(Some(module.file))
            }
            Some(_) | None => Some(module.file),
        }
    }
}

impl File {
    fn new(path: String, text: &str) -> Self {
        let code = syn::parse_file(text).unwrap_or_else(|error| panic!("{path}: {error}"));
        let place = path.trim_end_matches(".rs").trim_end_matches("/mod").split('/');
        Self { place: place.map(str::to_owned).collect(), path, code }
    }

    fn only_for_tests(&self) -> Vec<Place> {
        let mods = self.code.items.iter().filter_map(|item| match item {
            Item::Mod(module) if is_test(&module.attrs) => Some(module.ident.to_string()),
            _ => None,
        });
        mods.map(|name| [&self.place[..], &[name]].concat()).collect()
    }
}

fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let list = attribute.meta.require_list();
        attribute.path().is_ident("test")
            || attribute.path().is_ident("cfg") && list.is_ok_and(|list| list.tokens.to_string() == "test")
    })
}

fn is_hidden(item: &Item) -> bool {
    match item {
        Item::Mod(item) => is_test(&item.attrs),
        Item::Use(item) => is_test(&item.attrs),
        Item::Fn(item) => is_test(&item.attrs),
        Item::Impl(item) => is_test(&item.attrs),
        Item::Struct(item) => is_test(&item.attrs),
        _ => false,
    }
}

/// The names and paths of a use tree; a glob has the name `*`.
fn leaves(tree: &UseTree, before: &[String], found: &mut Vec<(String, Place)>) {
    match tree {
        UseTree::Path(path) => leaves(&path.tree, &[before, &[path.ident.to_string()]].concat(), found),
        UseTree::Name(name) if name.ident == "self" => {
            found.extend(before.last().map(|last| (last.clone(), before.to_vec())));
        }
        UseTree::Name(name) => {
            let name = name.ident.to_string();
            found.push((name.clone(), [before, &[name]].concat()));
        }
        UseTree::Rename(rename) => {
            let path = [before, &[rename.ident.to_string()]].concat();
            found.push((rename.rename.to_string(), path));
        }
        UseTree::Glob(_) => found.push(("*".to_owned(), before.to_vec())),
        UseTree::Group(group) => group.items.iter().for_each(|tree| leaves(tree, before, found)),
    }
}

/// Goes into inline modules, and past what only tests see.
macro_rules! within_modules {
    () => {
        fn visit_item(&mut self, item: &'ast Item) {
            if !is_hidden(item) {
                visit::visit_item(self, item);
            }
        }

        fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
            if !is_test(&item.attrs) {
                visit::visit_impl_item_fn(self, item);
            }
        }

        fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
            self.place.push(module.ident.to_string());
            if module.content.is_some() {
                self.enter();
            }
            visit::visit_item_mod(self, module);
            self.place.pop();
        }
    };
}

struct Imports<'m> {
    place: Place,
    at: usize,
    modules: &'m mut BTreeMap<Place, Module>,
}

impl Imports<'_> {
    fn enter(&mut self) {
        self.modules.insert(self.place.clone(), Module { file: self.at, ..Module::default() });
    }
}

impl<'ast> Visit<'ast> for Imports<'_> {
    within_modules!();

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        let mut found = Vec::new();
        leaves(&item.tree, &[], &mut found);
        if let Some(module) = self.modules.get_mut(&self.place) {
            module.imports.extend(found);
        }
    }
}

/// Every path, with the module in which it stands, and every name that is called as a method or on a type.
struct Paths {
    place: Place,
    paths: Vec<(Place, Place)>,
    calls: BTreeSet<String>,
}

impl Paths {
    #[expect(clippy::unused_self, reason = "the macro enters modules with every visitor")]
    fn enter(&self) {}
}

impl<'ast> Visit<'ast> for Paths {
    within_modules!();

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        let mut found = Vec::new();
        leaves(&item.tree, &[], &mut found);
        self.paths.extend(found.into_iter().map(|(_, path)| (self.place.clone(), path)));
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments: Place = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        if segments.len() > 1 {
            self.calls.extend(segments.last().cloned());
            self.paths.push((self.place.clone(), segments));
        }
        visit::visit_path(self, path);
    }

    fn visit_expr_method_call(&mut self, call: &'ast syn::ExprMethodCall) {
        self.calls.insert(call.method.to_string());
        visit::visit_expr_method_call(self, call);
    }
}

/// Methods: the module in which each stands, the path of its type, its name.
struct Methods {
    place: Place,
    found: Vec<(Place, Place, String)>,
}

impl Methods {
    #[expect(clippy::unused_self, reason = "the macro enters modules with every visitor")]
    fn enter(&self) {}
}

impl<'ast> Visit<'ast> for Methods {
    within_modules!();

    fn visit_item_impl(&mut self, item: &'ast syn::ItemImpl) {
        let (None, syn::Type::Path(of)) = (&item.trait_, &*item.self_ty) else { return };
        let of: Place = of.path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        let methods = item.items.iter().filter_map(|item| match item {
            syn::ImplItem::Fn(method) => Some((self.place.clone(), of.clone(), method.sig.ident.to_string())),
            _ => None,
        });
        self.found.extend(methods);
    }
}

struct Structs<'a> {
    ask: &'a dyn Fn(&str, &Fields) -> Vec<String>,
    found: &'a mut Vec<String>,
}

impl<'ast> Visit<'ast> for Structs<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        if !is_hidden(item) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_struct(&mut self, item: &'ast syn::ItemStruct) {
        self.found.extend((self.ask)(&item.ident.to_string(), &item.fields));
    }
}
