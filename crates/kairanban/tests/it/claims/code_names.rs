//! What documents name in backticks as `Type::method` or `module::function` exists in the sources,
//! and so do the types in the diagrams of the sources' own documentation.

use std::{collections::BTreeSet, fs, path::PathBuf, sync::LazyLock};

use syn::visit::{self, Visit};

use super::root;
use crate::tidy::{WORKSPACE, sources::Workspace};

/// Names of others that are written like those of types.
const FOREIGN_TYPES: [&str; 4] = ["ETag", "EventSource", "TcpStream", "TimeZone"];

static MEMBERS: LazyLock<Members> = LazyLock::new(|| Members::of(&WORKSPACE));

/// Names of others in diagrams.
const FOREIGN_IN_DIAGRAMS: [&str; 5] = ["None", "Registry", "SQLite", "TcpStream", "WebSocket"];

/// Crates of others that documents name paths of.
const FOREIGN: [&str; 3] = ["std", "tokio", "utoipa"];

/// What types have, each as `Type::name`: functions, constants, variants and fields.
#[derive(Default)]
struct Members(BTreeSet<String>);

impl Members {
    fn of(workspace: &Workspace) -> Self {
        let mut members = Self::default();
        for file in workspace.files.iter().filter(|file| file.module.is_some()) {
            members.visit_file(&syn::parse_file(&file.text).expect("a source file"));
        }
        members
    }

    fn add(&mut self, of: &syn::Ident, name: &syn::Ident) {
        self.0.insert(format!("{of}::{name}"));
    }
}

impl<'ast> Visit<'ast> for Members {
    fn visit_item_impl(&mut self, item: &'ast syn::ItemImpl) {
        if let syn::Type::Path(named) = &*item.self_ty
            && let Some(of) = named.path.segments.last()
        {
            for inner in &item.items {
                match inner {
                    syn::ImplItem::Fn(function) => self.add(&of.ident, &function.sig.ident),
                    syn::ImplItem::Const(constant) => self.add(&of.ident, &constant.ident),
                    _ => {}
                }
            }
        }
        visit::visit_item_impl(self, item);
    }

    fn visit_item_trait(&mut self, item: &'ast syn::ItemTrait) {
        for inner in &item.items {
            if let syn::TraitItem::Fn(function) = inner {
                self.add(&item.ident, &function.sig.ident);
            }
        }
    }

    fn visit_item_enum(&mut self, item: &'ast syn::ItemEnum) {
        for variant in &item.variants {
            self.add(&item.ident, &variant.ident);
        }
    }

    fn visit_item_struct(&mut self, item: &'ast syn::ItemStruct) {
        for name in item.fields.iter().filter_map(|field| field.ident.as_ref()) {
            self.add(&item.ident, name);
        }
    }
}

/// Returns the texts between backticks; blocks of code are left out.
fn spans(document: &str) -> Vec<String> {
    let text: String = document.split("```").step_by(2).collect();
    let spans = text.split('`').skip(1).step_by(2);
    spans.map(str::to_owned).collect()
}

/// The paths between backticks, without arguments.
fn paths(document: &str) -> Vec<Vec<String>> {
    let paths = spans(document).into_iter().filter_map(|span| {
        let path = span.split('(').next().unwrap_or_default();
        let segments: Vec<String> = path.split("::").map(str::to_owned).collect();
        let are_names = segments.iter().all(|segment| {
            !segment.is_empty() && segment.chars().all(|c| c.is_alphanumeric() || c == '_')
        });
        (segments.len() > 1 && are_names).then_some(segments)
    });
    paths.collect()
}

/// Whether `core::hub` names the module `kairanban_core::hub`: documents leave out what is clear.
fn ends_with(module: &[String], path: &[String]) -> bool {
    module.len() >= path.len()
        && module
            .iter()
            .rev()
            .zip(path.iter().rev())
            .all(|(of, named)| {
                of == named || of.strip_prefix("kairanban_").is_some_and(|of| of == named)
            })
}

fn exists(path: &[String]) -> bool {
    let (name, before) = path.split_last().expect("a path of two");
    let of = before.last().expect("a path of two");
    if FOREIGN.contains(&path[0].as_str()) || MEMBERS.0.contains(&format!("{of}::{name}")) {
        return true;
    }
    let mut modules = WORKSPACE
        .files
        .iter()
        .filter_map(|file| file.module.as_ref());
    modules.any(|module| {
        ends_with(module, before)
            && WORKSPACE
                .resolve(module, std::slice::from_ref(name))
                .module
                .is_some()
    })
}

fn absent(document: &str) -> Vec<String> {
    let absent = paths(document).into_iter().filter(|path| !exists(path));
    let paths = absent.map(|path| path.join("::"));
    paths.chain(absent_types(document)).collect()
}

/// The names in backticks that are written like those of types (`BoardState`) and that no type or
/// member has.
fn absent_types(document: &str) -> impl Iterator<Item = String> {
    spans(document).into_iter().filter(|span| {
        let capitals = span.chars().filter(char::is_ascii_uppercase).count();
        let is_type = span.starts_with(|c: char| c.is_ascii_uppercase())
            && span.chars().all(|c| c.is_ascii_alphabetic())
            && (2..span.len()).contains(&capitals)
            && !FOREIGN_TYPES.contains(&span.as_str());
        is_type && !is_type_or_member(span)
    })
}

fn is_type_or_member(name: &str) -> bool {
    let mut types = WORKSPACE.files.iter().flat_map(|file| &file.facts.types);
    let member = format!("::{name}");
    types.any(|named| named.name == name) || MEMBERS.0.iter().any(|of| of.ends_with(&member))
}

/// Returns the names in the diagrams of a source file (its blocks of `text`) that are written like
/// those of types, and that no type or member has.
fn absent_in_diagrams(source: &str) -> Vec<&str> {
    let mut is_diagram = false;
    let mut absent = Vec::new();
    for line in source.lines().map(str::trim_start) {
        let comment = ["//!", "///"]
            .iter()
            .find_map(|mark| line.strip_prefix(mark))
            .map(str::trim);
        match comment {
            Some("```text") => is_diagram = true,
            Some(text) if is_diagram && text != "```" => {
                let words = text.split(|c: char| !c.is_alphanumeric() && c != '_');
                absent.extend(words.filter(|word| {
                    word.starts_with(|c: char| c.is_ascii_uppercase())
                        && word.contains(|c: char| c.is_ascii_lowercase())
                        && !FOREIGN_IN_DIAGRAMS.contains(word)
                        && !is_type_or_member(word)
                }));
            }
            _ => is_diagram = false,
        }
    }
    absent
}

/// All documents but CHANGELOG.md, which is of the past, too.
pub(super) fn documents() -> Vec<PathBuf> {
    let folders = ["", "docs", "docs/adr", "fuzz", "migrations"].map(|folder| root().join(folder));
    let files = folders.iter().flat_map(|folder| {
        let entries = fs::read_dir(folder).expect("a folder");
        entries.map(|entry| entry.expect("an entry").path())
    });
    let documents = files.filter(|file| {
        file.extension().is_some_and(|ending| ending == "md") && !file.ends_with("CHANGELOG.md")
    });
    documents.collect()
}

#[test]
fn every_function_that_a_document_names_exists() {
    let texts = documents()
        .into_iter()
        .map(|file| (fs::read_to_string(&file).expect("a document"), file));
    let texts: Vec<(String, PathBuf)> = texts.collect();
    let count: usize = texts.iter().map(|(text, _)| paths(text).len()).sum();
    assert!(count >= 40, "only {count} names were found");
    let absent = texts.iter().flat_map(|(text, file)| {
        let names = absent(text).into_iter();
        names.map(|name| format!("{}: {name}", file.display()))
    });
    assert_eq!(absent.collect::<Vec<_>>(), [""; 0]);
}

#[test]
fn a_function_that_does_not_exist_is_found_out() {
    let there = "`Hub::publish`, `core::judge`, `store::writer::worker`, `change_log::since(from)`, \
        `BoardState`, `PolicyChanged`, `EventSource`, `ALTER`, `Word`, `AnyConnection::Sqlite`, `Event Source::x`, `std::fs::read`, `x.rs::y`\n```\nHub::nothing\n```\n";
    assert_eq!(absent(there), [""; 0]);
    for planted in [
        "Hub::nothing",
        "Nothing::publish",
        "hub::nothing",
        "core::hub::nothing",
        "store::hub",
        "nothing::judge",
        "AnyConnection::Oracle",
    ] {
        assert_eq!(absent(&format!("{there} and `{planted}()`")), [planted]);
    }
    assert_eq!(absent("`BoardStates` and `Hub`"), ["BoardStates"]);
}

#[test]
fn every_type_that_a_diagram_names_exists() {
    let sources = WORKSPACE.files.iter().filter(|file| file.module.is_some());
    let absent = sources.flat_map(|file| {
        let names = absent_in_diagrams(&file.text).into_iter();
        names.map(|name| format!("{}: {name}", file.path))
    });
    assert_eq!(absent.collect::<Vec<_>>(), [""; 0]);
}

#[test]
fn a_type_that_does_not_exist_is_found_out_in_a_diagram() {
    for (name, expected) in [
        ("BoardStream", None),
        ("Listener", Some("Listener")),
        ("Hub::Listener(of it)", Some("Listener")),
    ] {
        let source = format!(
            "//! Nothing.\n//!\n//! ```text\n//!  Hub ─▶ {name} ─▶ BEGIN\n//! ```\n//! Nor This.\n"
        );
        assert_eq!(absent_in_diagrams(&source), Vec::from_iter(expected));
    }
}
