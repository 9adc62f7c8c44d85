//! What a file lacks, compared with a new one in memory.

mod table;
mod tokens;

use std::collections::BTreeMap;

use diesel::{prelude::*, sql_query, sql_types::Text};

use self::{
    table::TableParts,
    tokens::{joined, tokens},
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
}

type StoredObjects = BTreeMap<(String, String), StoredObject>;

pub(super) fn find(connection: &mut AnyConnection) -> Result<Vec<Damage>, StoreError> {
    let mut new = migrate::new_in_memory()?;
    let (wanted, found) = (objects(&mut new)?, objects(connection)?);
    let mut damage = Vec::new();
    for (key, wanted) in &wanted {
        damage.extend(match found.get(key) {
            Some(found) if wanted.kind == "table" => {
                let read = TableParts::read(&mut new, &wanted.name, &wanted.statement)?;
                let found = TableParts::read(connection, &wanted.name, &found.statement)?;
                missing_pieces(&wanted.name, &read, &found)
            }
            found => compare(wanted, found),
        });
    }
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
        "SELECT type AS kind, name, lower(tbl_name) AS table_name, coalesce(sql, '') AS statement \
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
    if plain(&wanted.statement) == plain(&found.statement) {
        return Vec::new();
    }
    vec![Damage::by_hand(format!(
        "the {kind} {name} of {table_name} is not kairanban's (first DROP {} {name})",
        kind.to_uppercase()
    ))]
}

/// A table may have more columns and constraints than ours, in another order.
fn missing_pieces(name: &str, wanted: &TableParts, found: &TableParts) -> Vec<Damage> {
    let lost = wanted.columns.difference(&found.columns);
    let lost: Vec<_> = lost
        .map(|column| Damage::lost("column", &format!("{name}.{column}")))
        .collect();
    if !lost.is_empty() {
        return lost;
    }
    let pieces = wanted.pieces.iter();
    pieces
        .filter(|(piece, _)| !found.pieces.contains_key(*piece))
        .map(|(piece, is_needed)| Damage {
            is_tolerable: !is_needed,
            ..Damage::by_hand(format!(
                "the table {name} lacks `{piece:.80}` (copy its rows into a new table with that, see \
                 https://sqlite.org/lang_altertable.html#otheralter)"
            ))
        })
        .collect()
}

/// Returns a statement without what is only written otherwise.
fn plain(statement: &str) -> String {
    joined(&tokens(statement))
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
