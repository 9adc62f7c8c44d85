//! Walks with faults of every kind, which must be found.

use std::collections::{BTreeMap, BTreeSet};

use super::{FILES_MAX, Step, Walk, faults, functions::functions, walks};

/// The faults of a walk of these rows, with `beside` below it, through two small files.
fn planted(rows: &[&str], beside: &str) -> Vec<String> {
    let a = "fn one(x: &X) {\n    x.\n        two(1);\n    // four(1)\n    say(\"four(1)\");\n    queue.try_send(x);\n}\n\
             fn retwo() {\n}\nfn five() {\n    retwo();\n}\n";
    let b = "impl T {\n    pub fn two<T>() {\n        if true {\n        }\n        six();\n    }\n}\n\
             fn four() {\n}\n#[cfg(test)]\nmod tests {\n    fn seven() {\n    }\n}\n";
    let c = "pub fn six() {\n}\n";
    let sources = [("a.rs", a), ("b.rs", b), ("c.rs", c)]
        .map(|(file, source)| (file.to_owned(), functions(source)));
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
