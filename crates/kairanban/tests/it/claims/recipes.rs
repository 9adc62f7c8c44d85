//! Each file that a recipe of CONTRIBUTING.md names exists.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::root;

/// Folders whose paths begin at the root.
const FROM_ROOT: [&str; 6] = ["crates", "docs", "fuzz", "migrations", "scripts", "web"];

/// Where the other paths begin.
const SERVER: &str = "crates/kairanban/src";

/// Returns the texts between backticks in a step that look like paths. Capitals stand for what is
/// to be chosen.
fn paths(step: &str) -> impl Iterator<Item = &str> {
    let spans = step.split('`').skip(1).step_by(2);
    spans.filter(|span| {
        let is_path = span.contains('/')
            || span.rsplit_once('.').is_some_and(|(_, ending)| {
                ["rs", "md", "json", "toml", "sql", "txt", "mod", "sum"].contains(&ending)
            });
        let is_plain = span
            .chars()
            .all(|c| c.is_alphanumeric() || "/._-*".contains(c));
        is_path && is_plain && !span.contains("NAME")
    })
}

/// Where a path of a recipe leads, from the root.
fn from_root(path: &str) -> PathBuf {
    let first = path.split('/').next().unwrap_or_default();
    let is_config = first == "config" && (path.ends_with(".toml") || path.ends_with(".sql"));
    let is_document = first.ends_with(".md");
    if FROM_ROOT.contains(&first) || is_config || is_document {
        return PathBuf::from(path);
    }
    Path::new(SERVER).join(path)
}

/// Whether a name is matched by a pattern with at most one `*`.
fn matches(name: &str, pattern: &str) -> bool {
    match pattern.split_once('*') {
        None => name == pattern,
        Some((start, end)) => {
            name.len() >= start.len() + end.len() && name.starts_with(start) && name.ends_with(end)
        }
    }
}

fn exists(path: &Path) -> bool {
    let mut found = vec![root()];
    for part in path {
        let part = part.to_string_lossy();
        let entries = found.iter().filter_map(|folder| fs::read_dir(folder).ok());
        found = entries
            .flatten()
            .map(|entry| entry.expect("an entry").path())
            .filter(|path| matches(&path.file_name().expect("a name").to_string_lossy(), &part))
            .collect();
    }
    !found.is_empty()
}

/// The numbered steps and the points of the recipes, each with the lines that belong to it.
fn steps(document: &str) -> Vec<String> {
    let mut steps: Vec<String> = Vec::new();
    let mut is_inside = false;
    for line in document
        .split("\n## ")
        .filter(|section| section.starts_with("How to add") || section.starts_with("Where to find"))
        .flat_map(str::lines)
    {
        let begins = line.trim_start().starts_with("- ")
            || line
                .split_once(". ")
                .is_some_and(|(number, _)| number.parse::<u8>().is_ok());
        is_inside = begins || (is_inside && line.starts_with(' '));
        if begins {
            steps.push(line.to_owned());
        } else if let Some(step) = steps.last_mut().filter(|_| is_inside) {
            step.push('\n');
            step.push_str(line);
        }
    }
    steps
}

/// The paths in the recipes that lead to nothing.
fn absent(document: &str) -> Vec<String> {
    let steps = steps(document);
    let named = steps.iter().flat_map(|step| paths(step));
    named
        .filter(|path| !exists(&from_root(path)))
        .map(str::to_owned)
        .collect()
}

fn contributing() -> String {
    fs::read_to_string(root().join("CONTRIBUTING.md")).expect("the document")
}

#[test]
fn every_file_of_a_recipe_exists() {
    let text = contributing();
    let count: usize = steps(&text).iter().map(|step| paths(step).count()).sum();
    assert!(count >= 80, "only {count} paths were found");
    assert_eq!(absent(&text), [""; 0]);
}

#[test]
fn a_file_of_a_recipe_that_does_not_exist_is_found_out() {
    for (there, planted) in [
        ("`service/lookup.rs`", "service/look_up.rs"),
        ("`http/rest/topic_list.rs`", "http/rest/topics_list.rs"),
        ("`web/locales/*.json`", "web/locales/*.toml"),
        ("`cli/token.rs`", "cli/tokens.rs"),
        (
            "`crates/kairanban/src/board_finder.rs`",
            "crates/kairanban/src/board_find.rs",
        ),
        ("`docs/DATABASE.md`", "DATABASE.md"),
    ] {
        let text = contributing();
        assert!(text.contains(there), "{there}");
        let wrong = text.replacen(there, &format!("`{planted}`"), 1);
        assert_eq!(absent(&wrong), [planted]);
    }
}
