//! The modules of a crate, and which of them use which.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::path::Path;

use syn::visit::{self, Visit};
use syn::{Item, ItemMod, ItemUse, UseTree, Visibility};

/// The names on the way from the crate root.
type ModulePath = Vec<String>;

/// One path in the source of a module that leads to another module.
pub(crate) struct Import {
    pub(crate) user: ModulePath,
    pub(crate) used: ModulePath,
    written: Vec<String>,
}

impl fmt::Display for Import {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "`{}` in {}",
            self.written.join("::"),
            self.user.join("::")
        )
    }
}

pub(crate) struct ModuleGraph {
    modules: BTreeMap<ModulePath, Source>,
}

/// What the source of one module says.
#[derive(Default)]
struct Source {
    children: BTreeSet<String>,
    /// Each path as written, of `use` items that are not re-exports, and of expressions and types.
    paths: Vec<Vec<String>>,
    /// By the name that it gets here.
    reexports: BTreeMap<String, Vec<String>>,
}

impl ModuleGraph {
    /// Reads all files under a `src` folder. Test modules are left out.
    pub(crate) fn read(folder: &Path) -> Self {
        let mut modules = BTreeMap::new();
        read_folder(folder, &[], &mut modules);
        Self { modules }
    }

    pub(crate) fn len(&self) -> usize {
        self.modules.len()
    }

    /// The modules right under the crate root, in alphabetical order.
    pub(crate) fn top_level(&self) -> Vec<String> {
        let root = self.modules.get(&Vec::new());
        root.map(|root| root.children.iter().cloned().collect())
            .unwrap_or_default()
    }

    pub(crate) fn imports(&self) -> impl Iterator<Item = Import> {
        self.modules.iter().flat_map(|(user, source)| {
            source.paths.iter().filter_map(|written| {
                let used = self.resolve(user, written, 0)?;
                (used != *user).then(|| Import {
                    user: user.clone(),
                    used,
                    written: written.clone(),
                })
            })
        })
    }

    /// Paths that begin with the name of another crate.
    pub(crate) fn paths_into(&self, name: &str) -> impl Iterator<Item = &Vec<String>> {
        let paths = self.modules.values().flat_map(|source| &source.paths);
        paths.filter(move |path| path.first().is_some_and(|first| first == name))
    }

    /// Modules of which each uses the next, and the last the first.
    pub(crate) fn circle(&self) -> Option<String> {
        let mut used: BTreeMap<ModulePath, BTreeSet<ModulePath>> = BTreeMap::new();
        for import in self.imports() {
            used.entry(import.user).or_default().insert(import.used);
        }
        let mut done = BTreeSet::new();
        for module in self.modules.keys() {
            if let Some(circle) = find_circle(module, &used, &mut Vec::new(), &mut done) {
                let names: Vec<_> = circle.iter().map(|module| module.join("::")).collect();
                return Some(names.join(" -> "));
            }
        }
        None
    }

    /// The module that a path leads to, seen from `user`: through re-exports to where the name is
    /// defined.
    fn resolve(&self, user: &[String], written: &[String], depth: usize) -> Option<ModulePath> {
        assert!(depth < 8, "re-exports of {written:?} lead in a circle");
        let mut module: ModulePath;
        let mut rest = written.iter();
        match rest.next()?.as_str() {
            "crate" => module = Vec::new(),
            "self" => module = user.to_vec(),
            "super" => module = user.get(..user.len().checked_sub(1)?)?.to_vec(),
            first if self.modules.get(user)?.children.contains(first) => {
                module = user.to_vec();
                module.push(first.to_owned());
            }
            _ => return None,
        }
        for name in rest {
            let source = self.modules.get(&module)?;
            if name == "super" {
                module.pop()?;
            } else if source.children.contains(name) {
                module.push(name.clone());
            } else if let Some(path) = source.reexports.get(name) {
                return self.resolve(&module, path, depth + 1);
            } else {
                break;
            }
        }
        Some(module)
    }
}

fn find_circle(
    module: &ModulePath,
    used: &BTreeMap<ModulePath, BTreeSet<ModulePath>>,
    way: &mut Vec<ModulePath>,
    done: &mut BTreeSet<ModulePath>,
) -> Option<Vec<ModulePath>> {
    if let Some(start) = way.iter().position(|passed| passed == module) {
        let mut circle = way.get(start..)?.to_vec();
        circle.push(module.clone());
        return Some(circle);
    }
    if done.contains(module) {
        return None;
    }
    way.push(module.clone());
    for next in used.get(module).into_iter().flatten() {
        if let Some(circle) = find_circle(next, used, way, done) {
            return Some(circle);
        }
    }
    way.pop();
    done.insert(module.clone());
    None
}

fn read_folder(folder: &Path, module: &[String], modules: &mut BTreeMap<ModulePath, Source>) {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{folder:?}: {error}"));
    for entry in entries {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let child = || [module, core::slice::from_ref(&name)].concat();
        if path.is_dir() {
            read_folder(&path, &child(), modules);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let is_folder_module = matches!(name.as_str(), "lib" | "main" | "mod");
            let module = if is_folder_module {
                module.to_vec()
            } else {
                child()
            };
            let source = read_file(&path);
            let known = modules.entry(module).or_default();
            known.children.extend(source.children);
            known.paths.extend(source.paths);
            known.reexports.extend(source.reexports);
        }
    }
}

fn read_file(path: &Path) -> Source {
    let text = fs::read_to_string(path).unwrap();
    let file = syn::parse_file(&text).unwrap_or_else(|error| panic!("{path:?}: {error}"));
    let mut source = Source::default();
    source.visit_file(&file);
    source
}

impl<'ast> Visit<'ast> for Source {
    fn visit_item(&mut self, item: &'ast Item) {
        match item {
            Item::Mod(module) if is_test(module) => {}
            Item::Mod(module) => {
                self.children.insert(module.ident.to_string());
                visit::visit_item_mod(self, module);
            }
            Item::Use(import) => self.add_use(import),
            _ => visit::visit_item(self, item),
        }
    }

    fn visit_item_use(&mut self, import: &'ast ItemUse) {
        self.add_use(import);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let names = path
            .segments
            .iter()
            .map(|segment| segment.ident.to_string());
        let names: Vec<_> = names.collect();
        if names.len() > 1 {
            self.paths.push(names);
        }
        visit::visit_path(self, path);
    }
}

impl Source {
    fn add_use(&mut self, import: &ItemUse) {
        let mut names = Vec::new();
        flatten(&import.tree, &[], &mut names);
        let is_reexport = !matches!(import.vis, Visibility::Inherited);
        for (path, name) in names {
            if is_reexport {
                self.reexports.insert(name, path);
            } else {
                self.paths.push(path);
            }
        }
    }
}

fn is_test(module: &ItemMod) -> bool {
    module.attrs.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute
                .parse_args::<syn::Ident>()
                .is_ok_and(|condition| condition == "test")
    })
}

/// Every path of a `use`, and the name that it brings into scope.
fn flatten(tree: &UseTree, before: &[String], to: &mut Vec<(Vec<String>, String)>) {
    let with = |name: String| [before, &[name]].concat();
    match tree {
        UseTree::Path(path) => flatten(&path.tree, &with(path.ident.to_string()), to),
        UseTree::Group(group) => group
            .items
            .iter()
            .for_each(|tree| flatten(tree, before, to)),
        UseTree::Glob(_) => to.push((before.to_vec(), "*".to_owned())),
        UseTree::Rename(rename) => {
            to.push((with(rename.ident.to_string()), rename.rename.to_string()));
        }
        UseTree::Name(name) if name.ident == "self" => {
            let last = before.last().cloned().unwrap_or_default();
            to.push((before.to_vec(), last));
        }
        UseTree::Name(name) => to.push((with(name.ident.to_string()), name.ident.to_string())),
    }
}
