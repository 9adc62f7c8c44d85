//! Tables of a file that other programs have made again: however they write the same table, a
//! server starts on it, and on no other.

use std::{fmt::Write as _, time::Duration};

use kairanban_store::migrate;

use crate::{
    damaged::{damage, set_text, stops_a_server},
    place::{
        DatabaseKind, Foreign, Place, TIMEOUTS, create, delete_topic, main, restore_topic, run,
    },
};

const AUTOINCREMENT: &str = "INTEGER PRIMARY KEY AUTOINCREMENT";

/// The tables of a new file, and the statements that made them.
fn tables(foreign: &mut Foreign) -> Vec<(String, String)> {
    const OURS: &str = "FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' \
        AND name NOT LIKE '%diesel%'";
    let names = foreign.ask(&format!("SELECT group_concat(name) {OURS}"));
    names
        .split(',')
        .map(|name| (name.to_owned(), made(foreign, name)))
        .collect()
}

fn made(foreign: &mut Foreign, table: &str) -> String {
    foreign.ask(&format!(
        "SELECT sql FROM sqlite_schema WHERE name = '{table}'"
    ))
}

/// Numbers that look random, and are the same in each run.
struct Choices(u64);

impl Choices {
    fn one<'a>(&mut self, among: &[&'a str]) -> &'a str {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        among[usize::try_from(self.0 >> 33).expect("small") % among.len()]
    }
}

/// What belongs together when it stands side by side.
fn kind(char: char) -> u8 {
    match char {
        '|' | '<' | '>' | '=' => 1,
        _ if char.is_alphanumeric() || char == '_' => 2,
        _ => 0,
    }
}

/// Splits a statement into words, texts and signs, without its comments.
fn parts(statement: &str) -> Vec<String> {
    let lines = statement
        .lines()
        .map(|line| line.split("--").next().unwrap_or_default());
    let text = lines.collect::<Vec<_>>().join("\n");
    let (mut parts, mut is_text) = (vec![String::new()], false);
    for char in text.chars() {
        let last = parts.last_mut().expect("a part");
        let belongs = last.chars().last().is_some_and(|before| {
            kind(char) > 0 && kind(before) == kind(char) || (char, before) == ('\'', 'x')
        });
        if is_text || belongs {
            last.push(char);
        } else {
            parts.push(char.to_string());
        }
        is_text ^= char == '\'';
        if char == '\'' && !is_text {
            parts.push(String::new());
        }
    }
    parts.retain(|part| !part.trim().is_empty());
    parts
}

/// Writes the same statement otherwise: the names in quotes of each kind, the words in either case,
/// comments between them.
fn respelled(statement: &str, names: &[String], choices: &mut Choices) -> String {
    // As SQLite keeps it.
    let (head, rest) = statement.split_once('(').expect("a bracket");
    let (mut text, mut before) = (String::new(), String::new());
    for part in parts(rest) {
        let other_case = choices.one(&["lower", "upper"]) == "upper";
        let in_case = if part.contains('\'') {
            part.clone()
        } else if other_case {
            part.to_uppercase()
        } else {
            part.to_lowercase()
        };
        // `key` is a name and a word.
        let is_name = names.contains(&part) && before != "PRIMARY";
        let quotes = if is_name {
            choices.one(&["\"\"", "[]", "``", "  "])
        } else {
            "  "
        };
        let (open, close) = quotes.split_at(1);
        let gap = choices.one(&["", "\n", " /* it's, ( */ ", " -- it's \"so\" (\n"]);
        write!(text, "{open}{in_case}{close}{gap}").expect("written");
        before = part;
    }
    format!("{head}({text}")
}

/// As DB Browser writes it after a change.
fn with_key_of_table(statement: &str) -> String {
    let moved = statement.replacen(AUTOINCREMENT, "INTEGER NOT NULL", 1);
    let (columns, rest) = moved.rsplit_once(')').expect("a bracket");
    format!("{columns}, PRIMARY KEY(id AUTOINCREMENT)){rest}")
}

#[test]
fn a_table_that_is_written_otherwise_is_the_same() {
    let place = Place::new(DatabaseKind::Sqlite);
    let mut foreign = place.foreign();
    let tables = tables(&mut foreign);
    assert!(tables.len() > 10, "{tables:?}");
    let mut names: Vec<_> = tables.iter().map(|(name, _)| name.clone()).collect();
    for (table, _) in &tables {
        let columns = foreign.ask(&format!(
            "SELECT group_concat(name) FROM pragma_table_info('{table}')"
        ));
        names.extend(columns.split(',').map(str::to_owned));
    }
    let mut choices = Choices(7);
    for round in 0..12 {
        for (table, statement) in &tables {
            let moved = if round % 2 == 0 && statement.contains(AUTOINCREMENT) {
                with_key_of_table(statement)
            } else {
                statement.clone()
            };
            let other = respelled(&moved, &names, &mut choices);
            set_text(&mut foreign, table, &other, "false");
        }
        let said = damage(&place.address);
        assert_eq!(said, Vec::<String>::new(), "{round}");
        foreign.run(&format!("INSERT INTO topics (comment) VALUES ('{round}')"));
    }
}

/// Without it the id of a topic that was deleted is given again: an undo, or a key that is used
/// again, would find another topic.
#[test]
fn ids_that_would_be_given_again_stop_a_server() {
    let place = Place::new(DatabaseKind::Sqlite);
    let mut foreign = place.foreign();
    for (table, statement) in tables(&mut foreign) {
        if !statement.contains(AUTOINCREMENT) {
            continue;
        }
        for instead in [
            "INTEGER PRIMARY KEY",
            "INTEGER PRIMARY KEY /* AUTOINCREMENT */",
            "INTEGER PRIMARY KEY -- AUTOINCREMENT\n",
            "INTEGER PRIMARY KEY CONSTRAINT [autoincrement] CHECK (id > 0)",
            "INTEGER PRIMARY KEY CONSTRAINT \"AUTOINCREMENT\" CHECK ('autoincrement' <> '')",
        ] {
            let lacks = statement.replacen(AUTOINCREMENT, instead, 1);
            set_text(&mut foreign, &table, &lacks, "false");
            let said = damage(&place.address).join("\n");
            let named = format!("the table {table} lacks `id INTEGER PRIMARY KEY AUTOINCREMENT`");
            assert!(
                said.contains(&named) && said.contains("lang_altertable"),
                "{instead}: {said}"
            );
            assert!(stops_a_server(&place.address), "{table}: {instead}");
        }
        set_text(&mut foreign, &table, &statement, "false");
    }
    assert_eq!(damage(&place.address), Vec::<String>::new());
}

#[test]
fn a_key_is_what_keeps_the_same_values_apart() {
    let place = Place::new(DatabaseKind::Sqlite);
    let mut foreign = place.foreign();
    for (table, ours, other, named) in [
        (
            "boards",
            "NOT NULL UNIQUE",
            "NOT NULL COLLATE NOCASE UNIQUE",
            "UNIQUE (name)",
        ),
        (
            "topics",
            "revision   INTEGER",
            "revision TEXT",
            "revision INTEGER",
        ),
        (
            "topics",
            "author     TEXT    NOT NULL ON CONFLICT REPLACE DEFAULT ''",
            "author TEXT GENERATED ALWAYS AS ('ann')",
            "author TEXT",
        ),
    ] {
        let statement = made(&mut foreign, table);
        let changed = statement.replacen(ours, other, 1);
        assert_ne!(statement, changed, "{ours}");
        set_text(&mut foreign, table, &changed, "false");
        let said = damage(&place.address).join("\n");
        let named = format!("the table {table} lacks `{named}`");
        assert!(said.contains(&named), "{other}: {said}");
        assert!(stops_a_server(&place.address), "{other}");
        set_text(&mut foreign, table, &statement, "false");
    }
    // An owner's index does as well as a constraint.
    let without = made(&mut foreign, "boards").replacen("UNIQUE", "", 1);
    set_text(
        &mut foreign,
        "boards",
        &without,
        "name LIKE 'sqlite_autoindex_boards%'",
    );
    assert!(stops_a_server(&place.address));
    foreign.run("CREATE UNIQUE INDEX owners ON boards (name)");
    assert_eq!(damage(&place.address), Vec::<String>::new());
}

/// What the remedy does to a table: its rows are copied into a new one.
#[test]
fn ids_of_topics_that_can_be_restored_are_not_given_again() {
    let place = Place::new(DatabaseKind::Sqlite);
    let mut foreign = place.foreign();
    let (writer, _) = place.writer();
    for loses in [
        "DELETE FROM sqlite_sequence",
        "UPDATE sqlite_sequence SET seq = 0",
    ] {
        create(&place, "kept");
        let deleted = create(&place, "deleted");
        run(writer.write(delete_topic(deleted.id, None))).expect("deleted");
        foreign.run(loses);
        migrate(&place.address, TIMEOUTS, &main(), false).expect("mended");
        let next = create(&place, "next");
        assert!(next.id > deleted.id, "{loses}");
        let hour = Duration::from_secs(3600);
        run(writer.write(restore_topic(deleted.id, hour))).expect("restored");
        let shown = place.comments();
        assert!(shown.contains(&"deleted".to_owned()), "{shown:?}");
    }
}
