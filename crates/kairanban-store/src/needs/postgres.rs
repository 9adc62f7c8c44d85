//! How our own sequences, tables and functions of a Postgres have to be, beside being there.

use super::{DELETE, INSERT, POSTGRES_TRIGGERS, SELECT, UPDATE, own_tables};

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

/// The name of the schema of the boards, in SQL: the first in `search_path` with a table `topics`
/// and a change log beside it; another program's table `topics` has none. NULL without one.
pub(crate) const OWN_SCHEMA: &str = "\
    (SELECT nspname FROM unnest(current_schemas(false)) WITH ORDINALITY AS path (nspname, position) \
    WHERE EXISTS (SELECT FROM pg_class JOIN pg_namespace AS own ON own.oid = relnamespace \
    WHERE own.nspname = path.nspname AND relname = 'topics' AND relkind IN ('r', 'p')) \
    AND EXISTS (SELECT FROM pg_class JOIN pg_namespace AS own ON own.oid = relnamespace \
    WHERE own.nspname = path.nspname AND relname IN ('changes', 'revision_seq')) \
    ORDER BY position LIMIT 1)";

/// Returns the statement that names the channel on which commits are announced.
#[must_use]
pub fn channel_sql() -> String {
    format!("SELECT channel_name({OWN_SCHEMA})")
}

/// The condition for rows of `pg_sequence` of ours that do not count one by one, so that
/// what is drawn later may be smaller.
pub(crate) const WRONG_SEQUENCES: &str = "\
    seqrelid IN (to_regclass('revision_seq'), to_regclass('topics_id_seq'), \
    to_regclass('boards_id_seq'), to_regclass('tokens_id_seq'), to_regclass('changes_id_seq'), \
    to_regclass('audit_id_seq'), to_regclass('browser_sessions_id_seq')) \
    AND (seqincrement <> 1 OR seqcache <> 1 OR seqcycle)";

/// Returns the condition for rows of `pg_trigger` on tables that are ours alone that are neither
/// ours nor off.
pub(crate) fn foreign_triggers_sql() -> String {
    let tables: Vec<_> = own_tables(true)
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
