//! The sources of the workspace, and which module each path in them leads to.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use super::facts::{Facts, Import, ModuleFacts, Reference};

/// Where the sources are. `fuzz` is a workspace of its own, and keeps the rules of this one.
const FOLDERS: [&str; 4] = ["crates", "fuzz/src", "fuzz/fuzz_targets", "fuzz/tests"];

pub struct SourceFile {
    /// Relative to the root of the checkout.
    pub path: String,
    pub text: String,
    pub facts: Facts,
    /// The crate and the modules down to this file, for files of `src`; none for `tests` and build
    /// scripts.
    pub module: Option<Vec<String>>,
}

pub struct Workspace {
    pub files: Vec<SourceFile>,
    modules: BTreeMap<Vec<String>, ModuleFile>,
    crates: BTreeSet<String>,
}

/// Where to find the facts of a module: the index of its file, and its own index in that file.
struct ModuleFile {
    file: usize,
    facts: usize,
    is_test: bool,
}

/// Names that are being looked up: re-exports may go round.
type Seen = BTreeSet<(Vec<String>, String)>;

/// Where a path leads.
pub struct Target {
    /// The module of the workspace that defines it, if it is one of ours.
    pub module: Option<Vec<String>>,
    /// From the crate down, through the module that defines it; re-exports are gone.
    pub path: Vec<String>,
}

/// A path that non-test code of a module names.
pub struct Use<'a> {
    pub from: &'a [String],
    pub file: &'a SourceFile,
    pub written: &'a Reference,
    pub target: Target,
}

impl Workspace {
    /// Reads `crates/*` and `fuzz` below `root`.
    pub fn read(root: &Path) -> Self {
        let mut texts = Vec::new();
        let mut folders: Vec<_> = FOLDERS.map(|folder| root.join(folder)).into();
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder)
                .expect("a folder")
                .map(|entry| entry.expect("an entry").path())
            {
                if entry.is_dir() {
                    folders.push(entry);
                } else if entry.extension().is_some_and(|extension| extension == "rs") {
                    let path = entry
                        .strip_prefix(root)
                        .expect("inside")
                        .display()
                        .to_string();
                    texts.push((path, fs::read_to_string(&entry).expect("a source file")));
                }
            }
        }
        texts.sort();
        Self::of(texts)
    }

    /// Of paths like `crates/NAME/src/…` or `fuzz/src/…` and the text of each.
    pub fn of(texts: impl IntoIterator<Item = (String, String)>) -> Self {
        let texts: Vec<(String, String)> = texts.into_iter().collect();
        let libraries: BTreeSet<String> = texts
            .iter()
            .map(|(path, _)| path.clone())
            .filter(|path| path.ends_with("/src/lib.rs"))
            .collect();
        let files = texts.into_iter().map(|(path, text)| {
            let facts = Facts::of(&text).unwrap_or_else(|error| panic!("{path}: {error}"));
            SourceFile {
                module: module_of(&path, &libraries),
                path,
                text,
                facts,
            }
        });
        let mut workspace = Self {
            files: files.collect(),
            modules: BTreeMap::new(),
            crates: BTreeSet::new(),
        };
        workspace.index();
        workspace
    }

    fn index(&mut self) {
        let mut for_tests = BTreeSet::new();
        for (number, file) in self.files.iter().enumerate() {
            let Some(module) = &file.module else { continue };
            self.crates.insert(module[0].clone());
            for (facts, inner) in file.facts.modules.iter().enumerate() {
                let path = [module.as_slice(), &inner.inside].concat();
                for_tests.extend(
                    inner
                        .test_files
                        .iter()
                        .map(|child| [path.as_slice(), std::slice::from_ref(child)].concat()),
                );
                self.modules.insert(
                    path,
                    ModuleFile {
                        file: number,
                        facts,
                        is_test: false,
                    },
                );
            }
        }
        for (path, place) in &mut self.modules {
            place.is_test = for_tests.iter().any(|module| path.starts_with(module));
        }
    }

    pub fn has_module(&self, path: &str) -> bool {
        self.modules
            .contains_key(&path.split("::").map(str::to_owned).collect::<Vec<_>>())
    }

    fn facts(&self, module: &[String]) -> Option<&ModuleFacts> {
        self.modules
            .get(module)
            .map(|place| &self.files[place.file].facts.modules[place.facts])
    }

    /// Whether all of this file is for tests only.
    pub fn is_test_file(&self, file: &SourceFile) -> bool {
        file.module
            .as_ref()
            .is_none_or(|module| self.modules.get(module).is_some_and(|place| place.is_test))
    }

    /// Every path in code of `src` that is not for tests, and where it leads.
    pub fn uses(&self) -> impl Iterator<Item = Use<'_>> {
        self.modules
            .iter()
            .filter(|(_, place)| !place.is_test)
            .flat_map(move |(from, place)| {
                let file = &self.files[place.file];
                let written = file.facts.modules[place.facts]
                    .references
                    .iter()
                    .filter(|reference| !reference.is_test);
                written.map(move |written| Use {
                    from,
                    file,
                    written,
                    target: self.resolve(from, &written.segments),
                })
            })
    }

    /// Where `segments`, written in the module `from`, lead.
    pub fn resolve(&self, from: &[String], segments: &[String]) -> Target {
        self.resolve_unseen(from, segments, &mut BTreeSet::new())
    }

    fn resolve_unseen(&self, from: &[String], segments: &[String], seen: &mut Seen) -> Target {
        let (mut at, mut rest) = (from, segments);
        while let Some((first, after)) = rest.split_first() {
            match first.as_str() {
                "crate" => at = &from[..1],
                "super" => at = &at[..at.len().saturating_sub(1).max(1)],
                "self" => {}
                _ => break,
            }
            rest = after;
        }
        if rest.len() < segments.len() {
            return self
                .walk(at, rest, seen)
                .unwrap_or_else(|| self.unknown(at, rest));
        }
        self.walk(from, segments, seen)
            .unwrap_or_else(|| self.outside(segments, seen))
    }

    /// A path that begins with the name of a crate.
    fn outside(&self, segments: &[String], seen: &mut Seen) -> Target {
        match segments.split_first() {
            Some((first, rest)) if self.crates.contains(first) => {
                let at = std::slice::from_ref(first);
                self.walk(at, rest, seen)
                    .unwrap_or_else(|| self.unknown(at, rest))
            }
            _ => Target {
                module: None,
                path: segments.to_vec(),
            },
        }
    }

    /// What no item is known for (a macro makes it) belongs to the module as far as the path is
    /// known.
    fn unknown(&self, at: &[String], rest: &[String]) -> Target {
        let known = (0..=rest.len())
            .rev()
            .map(|count| [at, &rest[..count]].concat());
        let module = known
            .into_iter()
            .find(|path| self.modules.contains_key(path));
        Target {
            module,
            path: [at, rest].concat(),
        }
    }

    /// Goes from a module down a path, through re-exports; `None` if there is no such name.
    fn walk(&self, at: &[String], rest: &[String], seen: &mut Seen) -> Option<Target> {
        let Some((name, after)) = rest.split_first() else {
            return Some(Target {
                module: Some(at.to_vec()),
                path: at.to_vec(),
            });
        };
        let facts = self.facts(at)?;
        let child = [at, std::slice::from_ref(name)].concat();
        if self.modules.contains_key(&child) {
            return Some(
                self.walk(&child, after, seen)
                    .unwrap_or_else(|| self.unknown(&child, after)),
            );
        }
        if facts.items.contains(name) {
            return Some(Target {
                module: Some(at.to_vec()),
                path: [at, rest].concat(),
            });
        }
        if !seen.insert((at.to_vec(), name.clone())) {
            return None;
        }
        if let Some(import) = facts
            .imports
            .iter()
            .find(|import| import.name.as_ref() == Some(name))
        {
            let target = self.resolve_unseen(at, &import.segments, seen);
            return Some(match &target.module {
                Some(module) if *module == target.path => self
                    .walk(module, after, seen)
                    .unwrap_or_else(|| self.unknown(module, after)),
                // An item of another crate belongs to the module that re-exports it.
                _ => Target {
                    path: [target.path.as_slice(), after].concat(),
                    module: target.module.or_else(|| Some(at.to_vec())),
                },
            });
        }
        let globs: Vec<&Import> = facts
            .imports
            .iter()
            .filter(|import| import.name.is_none())
            .collect();
        globs.into_iter().find_map(|import| {
            let target = self.resolve_unseen(at, &import.segments, seen);
            let module = target.module.as_ref()?;
            if *module == target.path {
                return if module == at {
                    None
                } else {
                    self.walk(module, rest, seen)
                };
            }
            let variant = format!("{}::{name}", target.path.last()?);
            let is_variant = self.facts(module)?.variants.contains(&variant);
            is_variant.then(|| Target {
                path: [target.path.as_slice(), rest].concat(),
                module: target.module,
            })
        })
    }
}

/// `crates/a-b/src/c/d.rs` is the module `d` in `c` of `a_b`; a `main.rs` beside a library is a
/// crate of its own. `fuzz/src` is the crate `kairanban_fuzz`.
fn module_of(path: &str, libraries: &BTreeSet<String>) -> Option<Vec<String>> {
    let (folder, file) = path.split_once("/src/")?;
    let name = match folder {
        "fuzz" => "kairanban-fuzz",
        folder => folder.strip_prefix("crates/")?,
    };
    let mut modules = vec![name.replace('-', "_")];
    match file.strip_suffix(".rs")? {
        "lib" => {}
        "main" if libraries.contains(&format!("{folder}/src/lib.rs")) => {
            modules[0].push_str("(main)")
        }
        "main" => {}
        file => modules.extend(
            file.strip_suffix("/mod")
                .unwrap_or(file)
                .split('/')
                .map(str::to_owned),
        ),
    }
    Some(modules)
}
