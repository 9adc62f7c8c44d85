//! What a file lacks, compared with a new one in memory.

use std::collections::BTreeMap;

use diesel::{
    prelude::*,
    sql_query,
    sql_types::{Nullable, Text},
};

use super::Damage;
use crate::{StoreError, connection::AnyConnection, migrate, needs::foreign_triggers_in_file_sql};

#[derive(Debug, QueryableByName)]
struct StoredObject {
    #[diesel(sql_type = Text)]
    kind: String,
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = Text)]
    table_name: String,
    #[diesel(sql_type = Text)]
    statement: String,
    /// The names of a table's columns, in lower case.
    #[diesel(sql_type = Nullable<Text>)]
    columns: Option<String>,
}

type StoredObjects = BTreeMap<(String, String), StoredObject>;

pub(super) fn find(connection: &mut AnyConnection) -> Result<Vec<Damage>, StoreError> {
    let mut new = migrate::new_in_memory()?;
    let (wanted, found) = (objects(&mut new)?, objects(connection)?);
    let mut damage: Vec<_> = wanted
        .iter()
        .flat_map(|(key, wanted)| compare(wanted, found.get(key)))
        .collect();
    damage.extend(foreign_triggers(connection)?);
    Ok(damage)
}

#[derive(QueryableByName)]
struct ForeignTrigger {
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = Text)]
    table_name: String,
    #[diesel(sql_type = Text)]
    drop_sql: String,
}

fn foreign_triggers(connection: &mut AnyConnection) -> Result<Vec<Damage>, StoreError> {
    let found: Vec<ForeignTrigger> = sql_query(foreign_triggers_in_file_sql()).load(connection)?;
    let damage = found.into_iter().map(|ForeignTrigger { name, table_name, drop_sql }| {
        Damage::by_hand(format!(
            "the trigger {name} is not kairanban's, and is on its table {table_name} (first {drop_sql})"
        ))
    });
    Ok(damage.collect())
}

fn objects(connection: &mut AnyConnection) -> Result<StoredObjects, StoreError> {
    // SQLite compares names without case.
    let rows: Vec<StoredObject> = sql_query(
        "SELECT type AS kind, name, lower(tbl_name) AS table_name, coalesce(sql, '') AS statement, \
         (SELECT group_concat(' ' || lower(name) || ' ', '') \
         FROM pragma_table_info(sqlite_schema.name) WHERE type = 'table') AS columns \
         FROM sqlite_schema WHERE type IN ('table', 'index', 'trigger') \
         AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' AND name <> '__diesel_schema_migrations'",
    )
    .load(connection)?;
    let key = |row: &StoredObject| (row.kind.clone(), row.name.to_ascii_lowercase());
    Ok(rows.into_iter().map(|row| (key(&row), row)).collect())
}

fn compare(wanted: &StoredObject, found: Option<&StoredObject>) -> Vec<Damage> {
    let StoredObject {
        kind,
        name,
        table_name,
        ..
    } = wanted;
    let Some(found) = found else {
        return vec![match kind.as_str() {
            "table" => Damage::lost("table", name),
            _ => Damage::repairable(
                format!("the {kind} {name} of {table_name} is missing"),
                wanted.statement.clone(),
            ),
        }];
    };
    match kind.as_str() {
        "table" => {
            let mut damage = missing_columns(wanted, found);
            if damage.is_empty() {
                damage = missing_pieces(wanted, found);
            }
            damage
        }
        _ if plain(&wanted.statement) != plain(&found.statement) => vec![Damage::by_hand(format!(
            "the {kind} {name} of {table_name} is not kairanban's (first DROP {} {name})",
            kind.to_uppercase()
        ))],
        _ => Vec::new(),
    }
}

fn missing_columns(wanted: &StoredObject, found: &StoredObject) -> Vec<Damage> {
    let found = found.columns.as_deref().unwrap_or_default();
    let columns = wanted.columns.as_deref().unwrap_or_default();
    columns
        .split_whitespace()
        .filter(|column| !found.contains(&format!(" {column} ")))
        .map(|column| Damage::lost("column", &format!("{}.{column}", wanted.name)))
        .collect()
}

/// A table may have more columns and constraints than ours, in another order.
fn missing_pieces(wanted: &StoredObject, found: &StoredObject) -> Vec<Damage> {
    let name = &wanted.name;
    let found = pieces(&found.statement);
    let keys: Vec<_> = found.iter().filter_map(|piece| key(piece)).collect();
    let found: Vec<_> = found.iter().map(|piece| plain(piece)).collect();
    pieces(&wanted.statement)
        .iter()
        .filter(|piece| !found.contains(&plain(piece)))
        .map(|piece| Damage {
            is_tolerable: key(piece).is_none_or(|key| keys.contains(&key)),
            ..Damage::by_hand(format!(
                "the table {name} lacks `{piece:.80}` (copy its rows into a new table with that, see \
                 https://sqlite.org/lang_altertable.html#otheralter)"
            ))
        })
        .collect()
}

/// Returns what a column or a constraint keeps unique.
fn key(piece: &str) -> Option<String> {
    let all = plain(piece);
    ["primarykey", "unique"].into_iter().find_map(|word| {
        if all.starts_with(word) {
            return Some(all.clone());
        }
        let column = piece.split_whitespace().next()?;
        all.contains(word)
            .then(|| plain(&format!("{column} {word}")))
    })
}

/// Returns the columns and constraints of a statement that makes a table, without comments, and
/// what follows them.
fn pieces(statement: &str) -> Vec<String> {
    let (mut pieces, mut depth, mut is_text) = (vec![String::new()], 0, false);
    let lines = statement.lines().map(|line| line.split("--").next());
    let text = lines.flatten().collect::<Vec<_>>().join(" ");
    for char in text.chars() {
        is_text ^= char == '\'';
        match char {
            '(' if !is_text => depth += 1,
            ')' if !is_text => depth -= 1,
            _ => {}
        }
        let is_end = !is_text
            && match char {
                ',' => depth == 1,
                '(' => depth == 1 && pieces.len() == 1,
                ')' => depth == 0,
                _ => false,
            };
        match pieces.last_mut() {
            Some(piece) if !is_end => piece.push(char),
            _ => pieces.push(String::new()),
        }
    }
    let words = |piece: &String| piece.split_whitespace().collect::<Vec<_>>().join(" ");
    let pieces = pieces.iter().skip(1).map(words);
    pieces.filter(|piece| !piece.is_empty()).collect()
}

/// Returns a statement without what renaming a table or a column may have changed in it.
fn plain(statement: &str) -> String {
    statement
        .chars()
        .filter(|c| !c.is_whitespace() && *c != '"')
        .flat_map(char::to_lowercase)
        .collect()
}

#[cfg(test)]
mod tests {
    use diesel::connection::SimpleConnection as _;

    use super::*;

    #[test]
    fn a_new_file_lacks_nothing_and_what_is_dropped_is_made_again() {
        let mut new = migrate::new_in_memory().expect("a database");
        let wanted = objects(&mut new).expect("objects");
        assert!(wanted.len() > 30, "{}", wanted.len());
        assert!(find(&mut new).expect("read").is_empty());
        for object in wanted.values().filter(|object| object.kind != "table") {
            new.batch_execute(&format!("DROP {} {}", object.kind, object.name))
                .expect("dropped");
            let damage = find(&mut new).expect("read").pop().expect("found");
            assert!(damage.what.contains(&object.name), "{damage:?}");
            new.batch_execute(&damage.repair_sql.expect("a statement"))
                .expect("made again");
            assert!(find(&mut new).expect("read").is_empty());
        }
    }
}
