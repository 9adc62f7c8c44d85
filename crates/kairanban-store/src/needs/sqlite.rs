//! Triggers of a file that are not ours, on tables that are.

use super::own_tables;
use crate::schema_objects::{self, ObjectKind, made_by};

/// Returns the query for triggers of others on tables that are ours alone: the `name` and the
/// `table_name` of each, its text as `sql`, and as `drop_sql` the statement that drops it.
///
/// Also those that fire after a row: SQLite promises no order of triggers, and one of them may end
/// those behind it, which stamp the row.
pub(crate) fn foreign_triggers_in_file_sql() -> String {
    let tables: Vec<_> = own_tables(false).map(quoted).collect();
    let ours: Vec<_> = made_by(schema_objects::SQLITE, |_| true)
        .filter(|object| object.kind == ObjectKind::Trigger)
        .map(|object| quoted(object.name))
        .collect();
    // SQLite compares names without case.
    format!(
        "SELECT name, tbl_name AS table_name, sql, 'DROP TRIGGER ' || \
         CASE WHEN name GLOB '*[^A-Za-z0-9_]*' THEN printf('\"%w\"', name) ELSE name END AS drop_sql \
         FROM sqlite_schema WHERE type = 'trigger' AND lower(tbl_name) IN ({}) \
         AND lower(name) NOT IN ({}) ORDER BY name",
        tables.join(", "),
        ours.join(", ")
    )
}

fn quoted(name: &str) -> String {
    format!("'{name}'")
}
