//! The log of SQLite shows every row that a statement changed, whatever the statement calls the key
//! and whatever row is in its way.

use std::collections::BTreeSet;

use crate::place::{DatabaseKind, Foreign, Place};

/// What a statement does about a row that is in its way.
const RESOLUTIONS: [&str; 6] = [
    "",
    "OR REPLACE",
    "OR IGNORE",
    "OR FAIL",
    "OR ABORT",
    "OR ROLLBACK",
];

/// What SQLite calls the key of a row.
const KEYS: [&str; 4] = ["id", "rowid", "oid", "_rowid_"];

/// A table; the columns that a new row needs, with values; a unique column, with the values of the
/// rows 1 and 3.
struct Table {
    name: &'static str,
    required: &'static str,
    values: &'static str,
    unique: Option<(&'static str, &'static str)>,
}

const TABLES: [Table; 3] = [
    Table {
        name: "topics",
        required: "board_id, comment",
        values: "2, 'new'",
        unique: None,
    },
    Table {
        name: "boards",
        required: "title",
        values: "'new'",
        unique: Some(("name", "'first', 'third'")),
    },
    Table {
        name: "tokens",
        required: "name, scope",
        values: "'new', 'read'",
        unique: Some(("digest", "'first', 'third'")),
    },
];

impl Table {
    /// Statements that write the rows 2 and 77 of this table over the rows 1 and 3, or over none.
    fn statements(&self) -> Vec<String> {
        let Self {
            name,
            required,
            values,
            unique,
        } = self;
        let mut statements = Vec::new();
        for resolution in RESOLUTIONS {
            for (key, to) in KEYS.iter().flat_map(|key| [(key, 1), (key, 77)]) {
                statements.push(format!(
                    "UPDATE {resolution} {name} SET {key} = {to} WHERE id = 2"
                ));
                let unique_column =
                    unique.map_or(String::new(), |(column, _)| format!("{column}, "));
                for taken in unique.map_or(vec![""], |(_, taken)| taken.split(", ").collect()) {
                    let unique_value = unique.map_or(String::new(), |_| format!("{taken}, "));
                    let row = format!(
                        "INTO {name} ({key}, {unique_column}{required}) \
                         VALUES ({to}, {unique_value}{values})"
                    );
                    statements.push(format!("INSERT {resolution} {row}"));
                    statements.push(format!("INSERT {row} ON CONFLICT DO NOTHING"));
                    statements.push(format!(
                        "INSERT {row} ON CONFLICT (id) DO UPDATE SET {key} = 78"
                    ));
                    statements.extend(unique.map(|(column, _)| {
                        format!(
                            "UPDATE {resolution} {name} SET {key} = {to}, {column} = {taken} \
                             WHERE id = 2"
                        )
                    }));
                }
            }
            statements.extend(unique.map(|(column, _)| {
                format!("UPDATE {resolution} {name} SET {column} = 'third' WHERE id = 2")
            }));
        }
        statements
    }
}

/// The values of a query with one column, each once.
fn set(foreign: &mut Foreign, query: &str) -> BTreeSet<String> {
    let all = foreign.ask(&format!(
        "SELECT coalesce(group_concat(value, char(10)), '') FROM (SELECT {query})"
    ));
    all.lines().map(str::to_owned).collect()
}

/// The rows of each table, each begun with what the log calls a change of it.
fn rows(foreign: &mut Foreign) -> BTreeSet<String> {
    [
        "'board ' || id || ' ;' || name || title || read || post AS value FROM boards",
        "'topic ' || board_id || ' ' || id || ';' || comment || author AS value FROM topics",
        "'token 0 ;' || id || digest || scope || coalesce(board_id, '') AS value FROM tokens",
    ]
    .iter()
    .flat_map(|query| set(foreign, query))
    .collect()
}

/// What the log has of the changes after a row of it.
fn logged(foreign: &mut Foreign, after: i64) -> BTreeSet<String> {
    let query = format!(
        "CASE kind WHEN 'set' THEN 'topic' WHEN 'delete' THEN 'topic' ELSE kind END || ' ' \
         || board_id || ' ' || coalesce(topic_id, '') AS value FROM changes WHERE id > {after}"
    );
    set(foreign, &query)
}

/// Runs a statement and undoes it. Returns how many rows it changed.
#[track_caller]
fn assert_logged(foreign: &mut Foreign, statement: &str) -> usize {
    foreign.run("BEGIN");
    let before = rows(foreign);
    let last = foreign.number("SELECT max(id) FROM changes");
    // Some are refused; OR FAIL keeps what came before that.
    let _ = foreign.try_run(statement);
    let after = rows(foreign);
    let logged = logged(foreign, last);
    let changed: Vec<_> = before.symmetric_difference(&after).collect();
    for row in &changed {
        let (change, _) = row.split_once(';').expect("a change");
        assert!(logged.contains(change), "{statement}: {row}; {logged:?}");
    }
    // OR ROLLBACK has undone it already.
    let _ = foreign.try_run("ROLLBACK");
    changed.len()
}

#[test]
fn no_row_is_replaced_or_renumbered_unseen() {
    let place = Place::new(DatabaseKind::Sqlite);
    let mut foreign = place.foreign();
    foreign.run(
        "UPDATE boards SET name = 'first'; INSERT INTO boards (name) VALUES ('second'), ('third'); \
         INSERT INTO topics (board_id, comment) VALUES (1, 'a'), (1, 'b'), (3, 'c'); \
         INSERT INTO tokens (name, digest, scope, board_id) \
         VALUES ('x', 'first', 'read', 1), ('y', 'second', 'post', 2), ('z', 'third', 'admin', NULL)",
    );
    let mut effective = 0;
    for pragmas in ["OFF; PRAGMA recursive_triggers = ON", "OFF", "ON"] {
        foreign.run(&format!(
            "PRAGMA recursive_triggers = OFF; PRAGMA foreign_keys = {pragmas}"
        ));
        for statement in TABLES.iter().flat_map(Table::statements) {
            effective += usize::from(assert_logged(&mut foreign, &statement) > 0);
        }
    }
    assert!(effective > 300, "{effective} statements changed a row");
}
