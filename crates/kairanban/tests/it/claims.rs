//! Documents are held against the tree: each test and each function that they name exists, the map
//! of the code names every file, the sources name every decision, the recipes of CONTRIBUTING.md
//! name none that is missing, and links lead somewhere.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use crate::tidy::WORKSPACE;

mod code_names;
mod links;
mod recipes;

/// The documents that name tests, as `file::test`.
const DOCUMENTS: [&str; 2] = ["SECURITY.md", "docs/RELIABILITY.md"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()
        .expect("the checkout")
}

/// Returns what is quoted as `file::test`, the file with its ending.
fn named(text: &str) -> Vec<(&str, &str)> {
    let spans = text.split('`').skip(1).step_by(2);
    spans
        .filter_map(|span| {
            span.split_once("::")
                .filter(|(file, _)| file.ends_with(".rs") || file.ends_with(".js"))
        })
        .collect()
}

/// The tests of a Rust file: functions with a `#[test]`, and stories named in a macro that runs
/// each of them.
fn rust_tests(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let (mut is_marked, mut is_in_macro) = (false, false);
    for line in text.lines().map(str::trim) {
        let opens = ["on_both!(", "each_way! {"]
            .iter()
            .find_map(|open| line.split_once(open));
        let inside = opens.map_or(if is_in_macro { line } else { "" }, |(_, rest)| rest);
        for name in inside
            .split([',', ';'])
            .filter_map(|part| part.split([':', ')']).next())
            .map(str::trim)
        {
            if !name.is_empty() && name != "}" {
                found.insert(name.to_owned());
            }
        }
        is_in_macro = (is_in_macro || opens.is_some()) && !line.ends_with(");") && line != "}";
        if line.starts_with("#[") && line.ends_with("test]") {
            is_marked = true;
        } else if let Some((_, rest)) = line.split_once("fn ").filter(|_| is_marked) {
            found.insert(rest.split(['(', '<']).next().unwrap_or_default().to_owned());
            is_marked = false;
        }
    }
    found
}

/// The tests of a JavaScript file, by their titles.
fn script_tests(text: &str) -> BTreeSet<String> {
    let titles = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("test(")?.split_once(", "));
    titles
        .map(|(title, _)| title.trim_matches(['"', '`']).to_owned())
        .collect()
}

/// All tests of the repository, by the name of their file; that of unit tests beside their code is
/// `code/tests.rs`. Files of one name count together.
fn all_tests() -> BTreeMap<String, BTreeSet<String>> {
    let mut tests: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut folders = vec![root().join("crates"), root().join("web/e2e")];
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(&folder)
            .expect("a folder")
            .map(|entry| entry.expect("an entry").path())
        {
            let name = path
                .file_name()
                .expect("a name")
                .to_string_lossy()
                .into_owned();
            if path.is_dir() && name != "node_modules" {
                folders.push(path);
                continue;
            }
            let find = match path.extension().and_then(|ending| ending.to_str()) {
                Some("rs") => rust_tests,
                Some("js") => script_tests,
                _ => continue,
            };
            let name = match (name.as_str(), folder.file_name()) {
                ("tests.rs", Some(code)) => format!("{}/{name}", code.display()),
                _ => name,
            };
            tests
                .entry(name)
                .or_default()
                .append(&mut find(&fs::read_to_string(&path).expect("a file")));
        }
    }
    tests
}

/// What a document names and the repository does not have.
fn missing(document: &str, tests: &BTreeMap<String, BTreeSet<String>>) -> Vec<String> {
    named(document)
        .into_iter()
        .filter(|(file, test)| !tests.get(*file).is_some_and(|tests| tests.contains(*test)))
        .map(|(file, test)| format!("{file}::{test}"))
        .collect()
}

#[test]
fn every_test_that_a_document_names_exists() {
    let tests = all_tests();
    for document in DOCUMENTS {
        let text = fs::read_to_string(root().join(document)).expect("the document");
        assert!(
            named(&text).len() >= 10,
            "{document} names {} tests",
            named(&text).len()
        );
        assert_eq!(
            missing(&text, &tests),
            [""; 0],
            "{document} names tests that do not exist"
        );
    }
}

#[test]
fn a_test_that_does_not_exist_is_found_out() {
    let tests = all_tests();
    let there = "`claims.rs::a_test_that_does_not_exist_is_found_out`, \
        `access.rs::a_ticket_lets_one_stream_in` (one of two that run on both databases), \
        `restored.rs::pg_restore_clean`, `board.test.js::text never runs`";
    assert_eq!(missing(there, &tests), [""; 0]);
    for absent in [
        "claims.rs::nothing_is_so",
        // A function that is no test.
        "claims.rs::named",
        "nowhere.rs::every_test_that_a_document_names_exists",
        "board.test.js::text runs",
    ] {
        assert_eq!(
            missing(&format!("{there} and `{absent}`"), &tests),
            [absent]
        );
    }
}

/// The Rust files under a folder, without its ending, as in `http/rest`.
fn modules(folder: &Path, prefix: &str) -> Vec<String> {
    let entries = fs::read_dir(folder)
        .expect("a folder")
        .map(|entry| entry.expect("an entry").path());
    entries
        .flat_map(|path| {
            let stem = path.file_stem().expect("a name").to_string_lossy();
            let name = format!("{prefix}{stem}");
            if path.is_dir() {
                modules(&path, &format!("{name}/"))
            } else {
                vec![name]
            }
        })
        .collect()
}

fn is_named(names: &BTreeSet<&str>, module: &str) -> bool {
    let (first, within) = (
        module.split('/').next().unwrap_or_default(),
        format!("{module}/"),
    );
    names.contains(module)
        || names.contains(format!("{first}/*").as_str())
        || names.iter().any(|name| name.starts_with(&within))
}

/// What the map of the code does not name: neither itself, nor its folder (`http/*`), nor a file in
/// its own folder.
fn unmapped(map: &str) -> Vec<String> {
    let mut found = Vec::new();
    for section in map.split("\ncrates/").skip(1) {
        let Some((folder, names)) = section
            .split_once('\n')
            .filter(|(folder, _)| folder.ends_with("/src"))
        else {
            continue;
        };
        let named: BTreeSet<&str> = names
            .split(|c: char| c.is_whitespace() || ";,:`()".contains(c))
            .collect();
        let all = modules(&root().join("crates").join(folder), "");
        let absent = all.into_iter().filter(|module| {
            !["lib", "main"].contains(&module.as_str()) && !is_named(&named, module)
        });
        found.extend(absent.map(|module| format!("{folder}: {module}")));
    }
    found
}

#[test]
fn the_map_of_the_code_names_every_file() {
    let text = fs::read_to_string(root().join("docs/ARCHITECTURE.md")).expect("the document");
    let map = text.split("```").nth(1).expect("a map");
    assert_eq!(unmapped(map), [""; 0]);
    assert_eq!(
        unmapped(&map.replace("last_seen ", "")),
        ["kairanban/src: last_seen"]
    );
}

/// Returns the numbers of the decisions that a text names, as in `(ADR 3)`.
fn decisions(text: &str) -> impl Iterator<Item = usize> {
    let named = text.split("ADR ").skip(1);
    named.filter_map(|rest| {
        rest.split(|c: char| !c.is_ascii_digit())
            .next()?
            .parse()
            .ok()
    })
}

#[test]
fn each_decision_is_named_where_the_code_follows_it() {
    let entries = fs::read_dir(root().join("docs/adr")).expect("the decisions");
    let names = entries.map(|entry| entry.expect("an entry").file_name());
    let recorded: BTreeSet<usize> = names
        .filter_map(|name| name.to_string_lossy().split('-').next()?.parse().ok())
        .collect();
    let sources = WORKSPACE.files.iter().filter(|file| file.module.is_some());
    let named: BTreeSet<usize> = sources.flat_map(|file| decisions(&file.text)).collect();
    assert!(recorded.len() >= 16, "{recorded:?}");
    assert_eq!(
        named, recorded,
        "named in sources, and recorded in docs/adr"
    );
}
