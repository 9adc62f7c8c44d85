//! The walks of docs/ARCHITECTURE.md: each step is called from the step that it names; none is left out.
//!
//! What is left out is found by names: a call of a function whose name has one definition in the
//! workspace leads to its file, which is that of a step or stands in the walk's list of what is
//! asked beside it. A name with several definitions says nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use super::root;

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

/// Returns the lines of a source without its comments and its unit tests.
fn code(source: &str) -> Vec<&str> {
    let end = source.find("#[cfg(test)]\nmod ").unwrap_or(source.len());
    source[..end]
        .lines()
        .map(|line| line.split("//").next().unwrap_or_default())
        .collect()
}

/// Returns the body of each function of this name: rustfmt ends a function at its own indentation.
fn bodies(source: &str, name: &str) -> Vec<String> {
    let lines = code(source);
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        if !line
            .split_once(&format!("fn {name}"))
            .is_some_and(|(_, rest)| rest.starts_with(['(', '<']))
        {
            continue;
        }
        let end = format!("{}}}", " ".repeat(line.len() - line.trim_start().len()));
        let text: Vec<_> = lines[at..]
            .iter()
            .copied()
            .take_while(|line| *line != end)
            .collect();
        found.extend(
            text.join("\n")
                .split_once('{')
                .map(|(_, body)| body.to_owned()),
        );
    }
    found
}

fn is_of_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Returns the last name in a text, as `draft` in `body::draft(`.
fn last_name(text: &str) -> &str {
    let text = text.trim_end_matches(|c| !is_of_name(c));
    text.rsplit(|c| !is_of_name(c)).next().unwrap_or_default()
}

/// Returns the names of what a function calls.
fn calls(body: &str) -> BTreeSet<&str> {
    body.match_indices('(')
        .map(|(at, _)| &body[..at])
        .filter(|before| before.ends_with(is_of_name))
        .map(last_name)
        .collect()
}

/// Returns the files that define a function, by its name.
fn definitions<'a>(
    sources: impl Iterator<Item = (&'a str, &'a str)>,
) -> BTreeMap<String, BTreeSet<&'a str>> {
    let mut found: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    for (file, source) in sources {
        for line in code(source) {
            let Some((_, rest)) = line.split_once("fn ") else {
                continue;
            };
            let name: String = rest.chars().take_while(|c| is_of_name(*c)).collect();
            found.entry(name).or_default().insert(file);
        }
    }
    found
}

/// Whether a call of `name` may be one of `function`; `parse` calls the `from_str` of its result.
fn names(name: &str, function: &str) -> bool {
    name == function || (name == "parse" && function == "from_str")
}

/// Returns what is wrong with a walk through `sources`, by file.
fn faults(walk: &Walk<'_>, sources: &BTreeMap<String, String>) -> Vec<String> {
    let mut faults = Vec::new();
    let texts: Vec<_> = walk
        .steps
        .iter()
        .map(|step| {
            let source = sources.get(step.file).map_or("", String::as_str);
            bodies(source, step.function)
        })
        .collect();
    for (at, step) in walk.steps.iter().enumerate() {
        let name = format!("{} {} {}", at + 1, step.file, step.function);
        if texts[at].is_empty() {
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
            && texts[from - 1].iter().any(|body| {
                let body = squeezed(body);
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
    faults.extend(left_out(walk, &files, &texts, sources));
    faults
}

/// Returns the files that a walk's functions call and that are not listed, and those listed in vain.
fn left_out(
    walk: &Walk<'_>,
    files: &BTreeSet<&str>,
    texts: &[Vec<String>],
    sources: &BTreeMap<String, String>,
) -> Vec<String> {
    let definitions = definitions(
        sources
            .iter()
            .map(|(file, source)| (file.as_str(), source.as_str())),
    );
    let mut called: BTreeMap<&str, String> = BTreeMap::new();
    let mut perhaps_called = BTreeSet::new();
    for (step, bodies) in walk.steps.iter().zip(texts) {
        for call in bodies.iter().flat_map(|body| calls(body)) {
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
    let in_vain = walk.beside.difference(&perhaps_called);
    let in_vain = in_vain.map(|file| format!("{file}: no step calls it, or it is one"));
    let missing = called
        .iter()
        .filter(|(file, _)| !walk.beside.contains(*file));
    let missing = missing.map(|(_, fault)| format!("{fault}, and it is left out"));
    in_vain.chain(missing).collect()
}

/// Adds the sources below a folder, by their paths below `crates`.
fn read(folder: &Path, crates: &Path, sources: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            read(&path, crates, sources);
        } else if path.extension().is_some_and(|end| end == "rs") && !path.ends_with("tests.rs") {
            let name = path.strip_prefix(crates).expect("below");
            let text = fs::read_to_string(&path).expect("a source");
            sources.insert(name.to_string_lossy().into_owned(), text);
        }
    }
}

#[test]
fn the_walks_of_the_architecture_lead_where_they_say() {
    let root = root();
    let mut sources = BTreeMap::new();
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

/// The faults of a walk of these rows, with `beside` below it, through two small files.
fn planted(rows: &[&str], beside: &str) -> Vec<String> {
    let a = "fn one(x: &X) {\n    x.\n        two(1);\n    // four(1)\n    queue.try_send(x);\n}\n\
             fn retwo() {\n}\nfn five() {\n    retwo();\n}\n";
    let b = "impl T {\n    pub fn two<T>() {\n        if true {\n        }\n        six();\n    }\n}\n\
             fn four() {\n}\n#[cfg(test)]\nmod tests {\n    fn seven() {\n    }\n}\n";
    let c = "pub fn six() {\n}\n";
    let sources = [("a.rs", a), ("b.rs", b), ("c.rs", c)]
        .map(|(file, source)| (file.to_owned(), source.to_owned()));
    let table = rows.join("\n");
    let text =
        format!("| row | file | function | from |\n|---|---|---|---|\n{table}\n\n{beside}\n");
    faults(&walks(&text)[0], &sources.into())
}

const FIRST: &str = "| 1 | `a.rs` | `one` |  |";
const SECOND: &str = "| 2 | `b.rs` | `two` | 1: `x.two(` |";
const BESIDE: &str = "Beside it:\n`c.rs` is asked.";

#[test]
fn a_walk_that_leads_on_has_no_faults() {
    let third = "| 3 | `b.rs` | `four` | 1: queue `queue.try_send(` |";
    assert_eq!(planted(&[FIRST, SECOND, third], BESIDE), [""; 0]);
}

#[test]
fn a_step_that_is_missing_or_not_reached_is_found() {
    for (row, fault) in [
        ("| 2 | `b.rs` | `three` | 1: `three(` |", "no such function"),
        ("| 2 | `b.rs` | `seven` | 1: `seven(` |", "no such function"),
        (
            "| 2 | `b.rs` | `four` | 1: `four(` |",
            "step 1 does not four(",
        ),
        ("| 2 | `b.rs` | `two` | 2: `six(` |", "step 2 does not six("),
        ("| 2 | `b.rs` | `four` |  |", "from nowhere"),
    ] {
        let faults = planted(&[FIRST, row], "");
        let is_found = faults.iter().any(|found| found.contains(fault));
        assert!(is_found, "{row}: {faults:?}");
    }
    let within_a_name = [
        "| 1 | `a.rs` | `five` |  |",
        "| 2 | `b.rs` | `two` | 1: `two(` |",
    ];
    assert_eq!(
        planted(&within_a_name, BESIDE),
        ["2 b.rs two: step 1 does not two("]
    );
}

#[test]
fn a_step_that_is_not_called_by_its_name_is_found() {
    let row = "| 2 | `b.rs` | `four` | 1: `queue.try_send(` |";
    assert_eq!(
        planted(&[FIRST, row], ""),
        ["2 b.rs four: queue.try_send( is another function"]
    );
}

#[test]
fn a_file_that_is_left_out_is_found() {
    assert_eq!(
        planted(&[FIRST, SECOND], ""),
        ["c.rs: two calls six, and it is left out"]
    );
    assert_eq!(
        planted(&[FIRST], "Beside it: `b.rs` and `c.rs`."),
        ["c.rs: no step calls it, or it is one"]
    );
}

#[test]
fn a_walk_through_too_many_files_is_found() {
    let walk = Walk {
        steps: (0..=FILES_MAX)
            .map(|at| Step {
                file: &"abcdefghijklmnopqrstuvwxyz0123456789"[at..=at],
                function: "one",
                from: None,
            })
            .collect(),
        beside: BTreeSet::new(),
    };
    let faults = faults(&walk, &BTreeMap::new());
    assert!(
        faults.contains(&"33 files, and at most 32".to_owned()),
        "{faults:?}"
    );
}
