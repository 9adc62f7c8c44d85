//! The walks of docs/ARCHITECTURE.md: each step exists, is reached from the step that it names, and a walk is not long.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use super::root;

/// Files that a walk may pass through.
const FILES_MAX: usize = 32;

struct Step<'a> {
    file: &'a str,
    function: &'a str,
    /// The number of the step before, and what its function does to reach this one.
    from: Option<(usize, &'a str)>,
}

/// Reads the tables of steps below each heading, in their order.
fn walks(text: &str) -> Vec<Vec<Step<'_>>> {
    let mut walks = Vec::new();
    for line in text.lines() {
        if line.starts_with("| row |") {
            walks.push(Vec::new());
        }
        let cells: Vec<_> = line.split('|').map(|cell| cell.trim()).collect();
        let [_, number, file, function, from, _] = cells[..] else {
            continue;
        };
        if let (Ok(_), Some(steps)) = (number.parse::<usize>(), walks.last_mut()) {
            steps.push(Step {
                file: file.trim_matches('`'),
                function: function.trim_matches('`'),
                from: from
                    .split_once(": ")
                    .map(|(at, by)| (at.parse().expect("a step"), by.trim_matches('`'))),
            });
        }
    }
    walks
}

/// Returns the text of each function of this name, without white space: rustfmt ends a function at its own indentation.
fn functions(source: &str, name: &str) -> Vec<String> {
    let lines: Vec<_> = source.lines().collect();
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        if !line
            .split_once(&format!("fn {name}"))
            .is_some_and(|(_, rest)| rest.starts_with(['(', '<']))
        {
            continue;
        }
        let end = format!("{}}}", " ".repeat(line.len() - line.trim_start().len()));
        let text = lines[at..].iter().take_while(|line| **line != end);
        found.push(text.flat_map(|line| line.split_whitespace()).collect());
    }
    found
}

/// Returns what is wrong with a walk.
fn faults(steps: &[Step<'_>], read: impl Fn(&str) -> Option<String>) -> Vec<String> {
    let mut faults = Vec::new();
    let texts: Vec<_> = steps
        .iter()
        .map(|step| functions(&read(step.file).unwrap_or_default(), step.function))
        .collect();
    for (at, step) in steps.iter().enumerate() {
        let name = format!("{} {} {}", at + 1, step.file, step.function);
        if texts[at].is_empty() {
            faults.push(format!("{name}: no such function"));
        }
        let Some((from, by)) = step.from else {
            continue;
        };
        let by: String = by.split_whitespace().collect();
        if !(1..=at).contains(&from) || !texts[from - 1].iter().any(|text| text.contains(&by)) {
            faults.push(format!("{name}: step {from} does not {by}"));
        }
    }
    let files: BTreeSet<_> = steps.iter().map(|step| step.file).collect();
    if files.len() > FILES_MAX {
        faults.push(format!("{} files, and at most {FILES_MAX}", files.len()));
    }
    faults
}

#[test]
fn the_walks_of_the_architecture_lead_where_they_say() {
    let root = root();
    let text = fs::read_to_string(root.join("docs/ARCHITECTURE.md")).expect("the architecture");
    let walks = walks(&text);
    assert_eq!(walks.len(), 2, "a post, and a reader who comes back");
    for steps in &walks {
        assert!(steps.len() > 20, "{} steps", steps.len());
        let faults = faults(steps, |file| {
            fs::read_to_string(root.join("crates").join(file)).ok()
        });
        assert!(faults.is_empty(), "{faults:#?}");
    }
}

#[test]
fn a_step_that_is_missing_or_not_reached_is_found() {
    let table = "| row | file | function | called from row, with |\n|---|---|---|---|\n\
                 | 1 | `a.rs` | `one` |  |\n\
                 | 2 | `b.rs` | `two` | 1: `two(` |\n\
                 | 3 | `b.rs` | `two` | 2: `one(` |\n\
                 | 4 | `b.rs` | `three` | 1: `two(` |";
    let sources = BTreeMap::from([
        ("a.rs", "fn one(x: &X) {\n    x.\n        two(1);\n}\n"),
        (
            "b.rs",
            "    pub fn two<T>() {\n        if true {\n        }\n    }\n    one();\n",
        ),
    ]);
    assert_eq!(
        faults(&walks(table)[0], |file| sources
            .get(file)
            .map(|text| (*text).to_owned())),
        [
            "3 b.rs two: step 2 does not one(",
            "4 b.rs three: no such function",
        ]
    );
}
