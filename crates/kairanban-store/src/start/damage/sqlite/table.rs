//! What a table of a file consists of, as SQLite understands it: by its pragmas, and where those
//! say nothing, by the tokens of the statement that made it.

use std::collections::{BTreeMap, BTreeSet};

use diesel::{
    prelude::*,
    sql_query,
    sql_types::{BigInt, Nullable, Text},
};

use super::tokens::{SqlToken, joined, tokens};
use crate::{StoreError, connection::AnyConnection};

/// The columns of a table, and what is declared of them.
pub(super) struct TableParts {
    /// Their names, in lower case.
    pub(super) columns: BTreeSet<String>,
    /// Each with whether a server needs it: what it does not need only keeps values out.
    pub(super) pieces: BTreeMap<String, bool>,
}

#[derive(QueryableByName)]
struct ColumnRow {
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = Text)]
    kind: String,
    #[diesel(sql_type = BigInt)]
    not_null: i64,
    #[diesel(sql_type = Nullable<Text>)]
    value: Option<String>,
    #[diesel(sql_type = BigInt)]
    hidden: i64,
}

#[derive(QueryableByName)]
struct PieceRow {
    #[diesel(sql_type = Text)]
    piece: String,
}

impl TableParts {
    /// Reads the table of this name, one of ours, that `statement` made.
    pub(super) fn read(
        connection: &mut AnyConnection,
        name: &str,
        statement: &str,
    ) -> Result<Self, StoreError> {
        let columns: Vec<ColumnRow> = sql_query(format!(
            "SELECT lower(name) AS name, upper(type) AS kind, \"notnull\" AS not_null, \
             dflt_value AS value, hidden FROM pragma_table_xinfo('{name}')"
        ))
        .load(connection)?;
        let mut pieces = BTreeMap::new();
        for row in sql_query(keys_sql(name)).load::<PieceRow>(connection)? {
            pieces.insert(row.piece, true);
        }
        for row in sql_query(references_sql(name)).load::<PieceRow>(connection)? {
            pieces.insert(row.piece, false);
        }
        let tokens = tokens(statement);
        pieces.extend(columns.iter().flat_map(|column| of_column(column, &tokens)));
        pieces.extend(checks(&tokens).map(|check| (check, false)));
        // A word that cannot be a name.
        if tokens.iter().any(|token| token.is("autoincrement")) {
            pieces.insert("id INTEGER PRIMARY KEY AUTOINCREMENT".to_owned(), true);
        }
        Ok(Self {
            columns: columns.into_iter().map(|column| column.name).collect(),
            pieces,
        })
    }
}

/// Selects what is unique, by whichever means.
fn keys_sql(table: &str) -> String {
    format!(
        "SELECT 'UNIQUE (' || (SELECT group_concat(part, ', ') FROM (SELECT lower(name) \
         || iif(coll = 'BINARY', '', ' COLLATE ' || coll) AS part \
         FROM pragma_index_xinfo(list.name) WHERE key = 1 ORDER BY 1)) || ')' AS piece \
         FROM pragma_index_list('{table}') AS list WHERE \"unique\" = 1 AND partial = 0 \
         AND NOT EXISTS (SELECT 1 FROM pragma_index_xinfo(list.name) WHERE key = 1 AND cid < 0) \
         UNION SELECT 'UNIQUE (' || lower(name) || ')' FROM pragma_table_xinfo('{table}') \
         WHERE pk = 1 AND NOT EXISTS \
         (SELECT 1 FROM pragma_index_list('{table}') WHERE origin = 'pk')"
    )
}

/// Selects what keeps values out that are not of another table, or not of the type of the column.
fn references_sql(table: &str) -> String {
    // All ours refer to an id.
    format!(
        "SELECT lower(\"from\") || ' REFERENCES ' || lower(\"table\") || ' (' \
         || lower(coalesce(\"to\", 'id')) || ') ON DELETE ' || on_delete || ' ON UPDATE ' \
         || on_update AS piece FROM pragma_foreign_key_list('{table}') \
         UNION SELECT 'STRICT' FROM pragma_table_list('{table}') WHERE strict = 1"
    )
}

fn of_column(column: &ColumnRow, tokens: &[SqlToken]) -> Vec<(String, bool)> {
    let name = &column.name;
    // Of a time every type keeps the text.
    let mut pieces = vec![(
        format!("{name} {}", affinity(column)),
        !name.ends_with("at"),
    )];
    if column.not_null == 1 {
        let replaces = if replaces_null(name, tokens) {
            " ON CONFLICT REPLACE"
        } else {
            ""
        };
        pieces.push((format!("{name} NOT NULL{replaces}"), false));
    }
    if let Some(value) = &column.value {
        let value = joined(&self::tokens(value));
        pieces.push((format!("{name} DEFAULT {value}"), false));
    }
    pieces
}

/// Returns what SQLite makes of the values of a column: the name of a type may be any.
fn affinity(column: &ColumnRow) -> &'static str {
    // In the order in which SQLite asks.
    const WORDS: &[(&str, &str)] = &[
        ("INT", "INTEGER"),
        ("CHAR", "TEXT"),
        ("CLOB", "TEXT"),
        ("TEXT", "TEXT"),
        ("BLOB", "BLOB"),
        ("REAL", "REAL"),
        ("FLOA", "REAL"),
        ("DOUB", "REAL"),
    ];
    let found = WORDS.iter().find(|(word, _)| column.kind.contains(word));
    match found {
        _ if column.hidden > 1 => "GENERATED",
        Some((_, affinity)) => affinity,
        None if column.kind.is_empty() => "BLOB",
        None => "NUMERIC",
    }
}

/// Returns whether NULL in the column stands for its default.
fn replaces_null(name: &str, tokens: &[SqlToken]) -> bool {
    const WORDS: [&str; 5] = ["not", "null", "on", "conflict", "replace"];
    definitions(tokens)
        .iter()
        .filter(|definition| definition.first().is_some_and(|first| first.name() == name))
        .any(|definition| {
            definition.windows(WORDS.len()).any(|window| {
                let mut pairs = window.iter().zip(WORDS);
                pairs.all(|(token, word)| token.is(word))
            })
        })
}

/// Returns the columns and constraints between the brackets of a table.
fn definitions(tokens: &[SqlToken]) -> Vec<Vec<SqlToken>> {
    let (mut definitions, mut depth) = (vec![Vec::new()], 0);
    for token in tokens {
        depth -= i32::from(token.is(")"));
        if depth == 1 && token.is(",") {
            definitions.push(Vec::new());
        } else if let (true, Some(last)) = (depth > 0, definitions.last_mut()) {
            last.push(token.clone());
        }
        depth += i32::from(token.is("("));
    }
    definitions
}

/// Returns the conditions on rows, wherever in a table they stand.
fn checks(tokens: &[SqlToken]) -> impl Iterator<Item = String> {
    let starts = tokens
        .iter()
        .enumerate()
        .filter(|(_, token)| token.is("check"));
    starts.map(|(at, _)| format!("CHECK {}", joined(&tokens[at + 1..=end_of(tokens, at + 1)])))
}

/// Returns the index of the bracket that closes the one at `start`.
fn end_of(tokens: &[SqlToken], start: usize) -> usize {
    let mut depth = 0;
    let mut places = tokens.iter().enumerate().skip(start);
    let end = places.find(|(_, token)| {
        depth += i32::from(token.is("(")) - i32::from(token.is(")"));
        depth == 0
    });
    end.map_or(tokens.len() - 1, |(at, _)| at)
}
