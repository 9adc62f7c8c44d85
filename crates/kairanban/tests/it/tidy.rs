//! The rules of the house, checked on the parsed sources of every crate: which module may use
//! which, import cycles, lengths, type names and figures. What breaks a rule today is listed in
//! `tidy/known.rs`, a list that only shrinks.

use std::{
    collections::BTreeSet,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    sync::LazyLock,
};

use rules::{Finding, judge};
use sources::Workspace;

mod closures;
mod conditions;
mod cycles;
mod facts;
mod known;
mod layers;
mod planted;
mod rules;
pub mod sources;
mod tokens;
mod walks;

pub static WORKSPACE: LazyLock<Workspace> = LazyLock::new(|| Workspace::read(&root()));

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()
        .expect("the checkout")
}

#[track_caller]
fn assert_known(findings: &[Finding], known: &[(&str, usize)]) {
    let faults = judge(findings, known);
    for faults in [faults.broken, faults.mended] {
        assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
    }
}

#[test]
fn functions_are_short() {
    assert_known(&rules::long_functions(&WORKSPACE), known::LONG_FUNCTIONS);
}

#[test]
fn files_are_short() {
    assert_known(&rules::long_files(&WORKSPACE), known::LONG_FILES);
}

#[test]
fn modules_do_not_import_each_other_in_a_cycle() {
    assert_known(&cycles::cycles(&WORKSPACE), known::CYCLES);
}

#[test]
fn a_type_name_has_one_definition() {
    assert_known(&rules::repeated_types(&WORKSPACE), known::REPEATED_TYPES);
}

/// Prints the figures, too, with `--nocapture`.
#[test]
#[expect(
    clippy::print_stdout,
    reason = "the figures are for the reader of the output"
)]
fn figures_are_within_their_limits() {
    for (figure, _) in rules::figures(&WORKSPACE) {
        println!("{}: {}; {}", figure.name, figure.size, figure.detail);
    }
    assert_known(&rules::bad_figures(&WORKSPACE), known::FIGURES);
}

#[test]
fn dependencies_point_down() {
    let found = layers::trespasses(&WORKSPACE, layers::LAYERS);
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

#[test]
fn what_is_imported_is_named() {
    let found = layers::foreign_globs(&WORKSPACE, layers::GLOBS);
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

/// Without this, a rule for a module that was renamed would check nothing.
#[test]
fn the_layers_name_what_exists() {
    for layer in layers::LAYERS {
        for module in layer.of.iter().chain(layer.except) {
            assert!(
                WORKSPACE.has_module(module),
                "there is no module {module}; mend tidy/layers.rs"
            );
        }
        for method in layer
            .never
            .iter()
            .filter_map(|never| never.strip_prefix('.'))
        {
            let mut functions = WORKSPACE
                .files
                .iter()
                .flat_map(|file| &file.facts.functions);
            assert!(
                functions.any(|function| function.name == method),
                "there is no method {method}; mend tidy/layers.rs"
            );
        }
        for item in layer
            .never
            .iter()
            .filter_map(|never| never.strip_prefix("*::"))
        {
            let name = item.split("::").next().unwrap_or_default();
            let mut types = WORKSPACE.files.iter().flat_map(|file| &file.facts.types);
            assert!(
                types.any(|named| named.name == name),
                "there is no type {name}; mend tidy/layers.rs"
            );
        }
    }
}

#[test]
fn main_is_a_page_at_most() {
    let main = fs::read_to_string(root().join("crates/kairanban/src/main.rs")).expect("main");
    assert!(main.lines().count() <= 30);
}

#[test]
fn both_databases_have_the_same_migrations() {
    assert_eq!(migrations("postgres"), migrations("sqlite"));
}

fn migrations(database: &str) -> BTreeSet<OsString> {
    let folder = fs::read_dir(root().join("migrations").join(database)).expect("migrations");
    folder
        .map(|entry| entry.expect("an entry").file_name())
        .collect()
}
