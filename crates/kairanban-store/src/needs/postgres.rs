//! How our own sequences, tables and functions of a Postgres have to be, beside being there.

use super::{
    DELETE, INSERT, OPEN_TABLES, POSTGRES_TRIGGERS, SELECT, SEQUENCES, UPDATE, table_names,
};

/// What the functions of the schema do with the rights of their owner: that role may have lost them
/// on its own tables.
pub(crate) const RIGHTS_OF_OWNER: &[(&str, &[&str])] = &[
    ("boards", &[SELECT, UPDATE]),
    ("topics", &[SELECT, UPDATE]),
    ("changes", &[SELECT, INSERT, UPDATE, DELETE]),
    ("transactions", &[SELECT, INSERT, DELETE]),
    ("board_lives", &[SELECT, INSERT, UPDATE]),
    ("identity", &[SELECT]),
];

/// The condition for rows of `pg_sequence` of ours that do not count one by one, so that
/// what is drawn later may be smaller.
pub(crate) const WRONG_SEQUENCES: &str = "\
    seqrelid IN (to_regclass('revision_seq'), to_regclass('topics_id_seq'), \
    to_regclass('boards_id_seq'), to_regclass('tokens_id_seq')) \
    AND (seqincrement <> 1 OR seqcache <> 1 OR seqcycle)";

/// Returns the condition for rows of `pg_trigger` on the other tables that are neither ours nor
/// off.
pub(crate) fn foreign_triggers_sql() -> String {
    let tables = table_names()
        .into_iter()
        .chain(["transactions"])
        .filter(|name| !OPEN_TABLES.contains(name) && !SEQUENCES.contains(name));
    let tables: Vec<_> = tables
        .map(|name| format!("to_regclass('{name}')"))
        .collect();
    let ours: Vec<_> = POSTGRES_TRIGGERS
        .iter()
        .map(|trigger| {
            format!(
                "(to_regclass('{}')::oid, '{}')",
                trigger.table, trigger.name
            )
        })
        .collect();
    format!(
        "NOT tgisinternal AND tgenabled <> 'D' AND tgrelid IN ({}) \
         AND (tgrelid, tgname) NOT IN ({})",
        tables.join(", "),
        ours.join(", ")
    )
}
