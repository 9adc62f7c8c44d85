//! Which rows of other programs are boards: those whose names `BoardName` reads, in SQL as in core.

use std::collections::BTreeSet;

use kairanban_core::{BoardName, VisibleBoards};

use crate::place::{DatabaseKind, Place};

crate::on_both!(the_database_selects_the_names_that_core_reads);

/// Parts of names, good and bad ones.
const PARTS: [&str; 24] = [
    "a", "m", "z", "0", "9", "-", "A", "Z", "_", ".", " ", "`", "{", "/", ":", "@", "[", "^", "*",
    "?", "\n", "\u{e9}", "\u{ff41}", "\u{661}",
];

/// Names of every length around the bounds, reserved words, and each pair of parts.
fn names() -> BTreeSet<String> {
    let long = (61..=65).map(|length| "x".repeat(length));
    let words = BoardName::pattern().reserved.iter();
    let words =
        words.flat_map(|word| [(*word).to_owned(), format!("{word}-"), word.to_uppercase()]);
    let pairs = PARTS.iter().flat_map(|first| {
        let pairs = PARTS.iter().map(move |second| format!("{first}{second}"));
        pairs.chain([(*first).to_owned(), format!("x{first}x")])
    });
    long.chain(words).chain(pairs).collect()
}

/// Reads the boards one by one: a row that is selected and cannot be read is an empty page.
fn listed(place: &Place) -> BTreeSet<String> {
    let (mut names, mut after) = (BTreeSet::new(), None);
    loop {
        let page = place.store.boards(&VisibleBoards::All, after.as_ref(), 1);
        let page = page.expect("boards");
        let [board] = page.rows.as_slice() else {
            panic!("{:?} follows {after:?}, and is no board", page.next);
        };
        names.insert(board.name.to_string());
        if page.next.is_none() {
            return names;
        }
        after = Some(board.name.clone());
    }
}

fn the_database_selects_the_names_that_core_reads(place: &Place) {
    let names = names();
    let values: Vec<_> = names
        .iter()
        .map(|name| format!("('{}')", name.replace('\'', "''")))
        .collect();
    // The table has the rule, too, unless another program has dropped it.
    let lift = match place.kind {
        DatabaseKind::Sqlite => "PRAGMA ignore_check_constraints = ON",
        DatabaseKind::Postgres => "ALTER TABLE boards DROP CONSTRAINT boards_name_check",
    };
    place.foreign().run(&format!(
        "{lift}; INSERT INTO boards (name) VALUES {}",
        values.join(", ")
    ));
    let mut read: BTreeSet<_> = names
        .into_iter()
        .filter(|name| name.parse::<BoardName>().is_ok())
        .collect();
    read.insert("main".to_owned());
    assert_eq!(listed(place), read);
}
