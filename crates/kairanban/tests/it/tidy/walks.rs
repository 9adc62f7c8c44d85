//! The walks of docs/ARCHITECTURE.md: each step is called from the step that it names; none is left
//! out. Functions and their calls are those of the parsed sources.
//!
//! What is left out is found by names: a call of a function whose name has one definition in the
//! workspace leads to its file, which is that of a step or stands in the walk's list of what is
//! asked beside it. A name with several definitions is passed over.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use self::functions::{Function, functions};
use super::root;

mod functions;
mod planted;

/// The functions of each source file, by its path.
type Sources = BTreeMap<String, Vec<Function>>;

/// Files that a walk may pass through.
const FILES_MAX: usize = 32;

/// The crates that a walk leads through.
const CRATES: [&str; 3] = ["kairanban", "kairanban-core", "kairanban-store"];

/// Names of ours that types of the standard library, or of others, have as well.
const NAMES_OF_OTHERS: [&str; 15] = [
    "any",
    "as_ref",
    "contains",
    "default",
    "drain",
    "filter",
    "insert",
    "lock",
    "max",
    "poll_shutdown",
    "remove",
    "select",
    "try_recv",
    "utc",
    "wait_for",
];

#[derive(Default)]
struct Walk<'a> {
    steps: Vec<Step<'a>>,
    /// Files that are asked something, or notified, beside the way.
    beside: BTreeSet<&'a str>,
}

struct Step<'a> {
    file: &'a str,
    function: &'a str,
    from: Option<From<'a>>,
}

/// How a step is reached.
struct From<'a> {
    /// The number of the step before.
    step: usize,
    /// Whether it puts something into a queue that this step takes it from.
    by_queue: bool,
    /// What the step before does, as its source has it.
    text: &'a str,
}

/// Reads the tables of steps, each with the list below it.
fn walks(text: &str) -> Vec<Walk<'_>> {
    let mut walks: Vec<Walk<'_>> = Vec::new();
    let mut is_list = false;
    for line in text.lines() {
        if line.starts_with("| row |") {
            walks.push(Walk::default());
        }
        is_list = line.starts_with("Beside it") || (is_list && !line.is_empty());
        let Some(walk) = walks.last_mut() else {
            continue;
        };
        if is_list {
            let quoted = line.split('`').skip(1).step_by(2);
            walk.beside
                .extend(quoted.filter(|name| name.ends_with(".rs")));
        }
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        if let [_, number, file, function, from, _] = cells[..]
            && number.parse::<usize>().is_ok()
        {
            walk.steps.push(Step {
                file: file.trim_matches('`'),
                function: function.trim_matches('`'),
                from: from.split_once(": ").map(|(step, by)| From {
                    step: step.parse().expect("a step"),
                    by_queue: by.starts_with("queue "),
                    text: by.trim_start_matches("queue ").trim_matches('`'),
                }),
            });
        }
    }
    walks
}

/// Removes white space, except between names.
fn squeezed(text: &str) -> String {
    text.split_whitespace().fold(String::new(), |before, next| {
        let gap = if before.ends_with(is_of_name) && next.starts_with(is_of_name) {
            " "
        } else {
            ""
        };
        before + gap + next
    })
}

fn is_of_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Returns the last name in a text, as `draft` in `body::draft(`.
fn last_name(text: &str) -> &str {
    let text = text.trim_end_matches(|c| !is_of_name(c));
    text.rsplit(|c| !is_of_name(c)).next().unwrap_or_default()
}

/// Returns the files that define a function, by its name.
fn definitions(sources: &Sources) -> BTreeMap<&str, BTreeSet<&str>> {
    let mut found: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (file, functions) in sources {
        for function in functions {
            found.entry(&function.name).or_default().insert(file);
        }
    }
    found
}

/// Whether a call of `name` may be one of `function`; `parse` calls the `from_str` of its result.
fn names(name: &str, function: &str) -> bool {
    name == function || (name == "parse" && function == "from_str")
}

/// Returns what is wrong with a walk through `sources`, by file.
fn faults(walk: &Walk<'_>, sources: &Sources) -> Vec<String> {
    let mut faults = Vec::new();
    let found: Vec<Vec<&Function>> = walk
        .steps
        .iter()
        .map(|step| {
            let functions = sources.get(step.file).into_iter().flatten();
            let with_body = functions.filter(|function| function.body.is_some());
            with_body
                .filter(|function| function.name == step.function)
                .collect()
        })
        .collect();
    for (at, step) in walk.steps.iter().enumerate() {
        let name = format!("{} {} {}", at + 1, step.file, step.function);
        if found[at].is_empty() {
            faults.push(format!("{name}: no such function"));
        }
        let Some(From {
            step: from,
            by_queue,
            text,
        }) = &step.from
        else {
            if at > 0 {
                faults.push(format!("{name}: from nowhere"));
            }
            continue;
        };
        if !by_queue && !names(last_name(text), step.function) {
            faults.push(format!("{name}: {text} is another function"));
        }
        let text = squeezed(text);
        let is_done = (1..=at).contains(from)
            && found[from - 1].iter().any(|function| {
                let body = function.body.as_deref().unwrap_or_default();
                body.match_indices(&text).any(|(at, _)| {
                    !text.starts_with(is_of_name) || !body[..at].ends_with(is_of_name)
                })
            });
        if !is_done {
            faults.push(format!("{name}: step {from} does not {text}"));
        }
    }
    let files: BTreeSet<_> = walk.steps.iter().map(|step| step.file).collect();
    if files.len() > FILES_MAX {
        faults.push(format!("{} files, and at most {FILES_MAX}", files.len()));
    }
    faults.extend(left_out(walk, &files, &found, sources));
    faults
}

/// Returns the files that a walk's functions call and that are not listed, and those that it lists
/// although nothing calls them.
fn left_out(
    walk: &Walk<'_>,
    files: &BTreeSet<&str>,
    found: &[Vec<&Function>],
    sources: &Sources,
) -> Vec<String> {
    let definitions = definitions(sources);
    let mut called: BTreeMap<&str, String> = BTreeMap::new();
    let mut perhaps_called = BTreeSet::new();
    for (step, functions) in walk.steps.iter().zip(found) {
        for call in functions.iter().flat_map(|function| &function.calls) {
            let call = call.as_str();
            let Some(defined) = definitions.get(call) else {
                continue;
            };
            perhaps_called.extend(defined.difference(files));
            if let (1, Some(file)) = (defined.len(), defined.first())
                && !files.contains(file)
                && !NAMES_OF_OTHERS.contains(&call)
            {
                called.insert(file, format!("{file}: {} calls {call}", step.function));
            }
        }
    }
    let uncalled = walk.beside.difference(&perhaps_called);
    let uncalled = uncalled.map(|file| format!("{file}: no step calls it, or it is one"));
    let missing = called
        .iter()
        .filter(|(file, _)| !walk.beside.contains(*file));
    let missing = missing.map(|(_, fault)| format!("{fault}, and it is left out"));
    uncalled.chain(missing).collect()
}

/// Adds the functions in the sources below a folder, by the paths of the files below `crates`.
fn read(folder: &Path, crates: &Path, sources: &mut Sources) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            read(&path, crates, sources);
        } else if path.extension().is_some_and(|end| end == "rs") && !path.ends_with("tests.rs") {
            let name = path.strip_prefix(crates).expect("below");
            let text = fs::read_to_string(&path).expect("a source");
            sources.insert(name.to_string_lossy().into_owned(), functions(&text));
        }
    }
}

#[test]
fn the_walks_of_the_architecture_lead_where_they_say() {
    let root = root();
    let mut sources = Sources::new();
    for name in CRATES {
        let crates = root.join("crates");
        read(&crates.join(name).join("src"), &crates, &mut sources);
    }
    let text = fs::read_to_string(root.join("docs/ARCHITECTURE.md")).expect("the architecture");
    let walks = walks(&text);
    let [post, reader, load] = &walks[..] else {
        panic!("a post, a reader who comes back, and a board that is loaded");
    };
    for (walk, steps_min) in [(post, 60), (reader, 50), (load, 20)] {
        assert!(walk.steps.len() > steps_min, "{} steps", walk.steps.len());
        let faults = faults(walk, &sources);
        assert!(faults.is_empty(), "{faults:#?}");
    }
    let both = reader.steps.iter().chain(&load.steps);
    let both: BTreeSet<_> = both.map(|step| step.file).collect();
    let said = format!("{} files in all", both.len());
    assert!(text.contains(&said), "{said}");
}
