//! What a server needs of its database: tables with their columns and rights, functions, and
//! triggers. The only list of them: the rights that are asked for at the start and the checks
//! whether reading and writing work are made of it.

mod postgres;
mod sqlite;

pub use self::postgres::channel_sql;
pub(crate) use self::{
    postgres::{OWN_SCHEMA, RIGHTS_OF_OWNER, WRONG_SEQUENCES, foreign_triggers_sql},
    sqlite::foreign_triggers_in_file_sql,
};

/// A table, and what a server does with it.
pub(crate) struct Table {
    pub(crate) name: &'static str,
    pub(crate) rights: &'static [&'static str],
    /// The columns that are named in statements.
    pub(crate) columns: &'static [&'static str],
    on: Databases,
}

#[derive(PartialEq, Eq)]
enum Databases {
    Both,
    Postgres,
}

const fn table(
    name: &'static str,
    rights: &'static [&'static str],
    columns: &'static [&'static str],
) -> Table {
    Table {
        name,
        rights,
        columns,
        on: Databases::Both,
    }
}

const fn on_postgres(
    name: &'static str,
    rights: &'static [&'static str],
    columns: &'static [&'static str],
) -> Table {
    Table {
        name,
        rights,
        columns,
        on: Databases::Postgres,
    }
}

const SELECT: &str = "SELECT";
const INSERT: &str = "INSERT";
const UPDATE: &str = "UPDATE";
const DELETE: &str = "DELETE";
/// No statement changes a row of a sequence.
const SEQUENCES: [&str; 2] = ["revision_seq", "topics_id_seq"];

pub(crate) const TABLES: &[Table] = &[
    table("__diesel_schema_migrations", &[SELECT], &["version"]),
    table(
        "boards",
        &[SELECT, INSERT, UPDATE, DELETE],
        &["id", "name", "title", "created_at", "read", "post"],
    ),
    table(
        "topics",
        &[SELECT, INSERT, UPDATE, DELETE],
        &[
            "id",
            "board_id",
            "comment",
            "author",
            "created_at",
            "updated_at",
            "edited_at",
            "archived",
            "revision",
        ],
    ),
    table(
        "changes",
        &[SELECT, INSERT, DELETE],
        &[
            "revision",
            "kind",
            "board_id",
            "topic_id",
            "at",
            "stamped_as",
        ],
    ),
    table(
        "board_lives",
        &[SELECT, INSERT, UPDATE],
        &["board_id", "named_by"],
    ),
    on_postgres("revision_seq", &[SELECT, UPDATE], &["last_value"]),
    // Ids are drawn before their rows are written.
    on_postgres("topics_id_seq", &[UPDATE], &[]),
    // For LOCK TABLE; it is always empty.
    on_postgres("commit_order", &[UPDATE], &["nothing"]),
    // UPDATE also for LOCK TABLE.
    table("identity", &[SELECT, INSERT, UPDATE], &["key", "value"]),
    table(
        "idempotency",
        &[SELECT, INSERT, DELETE],
        &["board_id", "key", "request", "topic_id", "used_at"],
    ),
    table(
        "tokens",
        &[SELECT, INSERT, UPDATE],
        &[
            "id",
            "name",
            "digest",
            "scope",
            "board_id",
            "created_at",
            "expires_at",
            "revoked_at",
            "last_used_at",
        ],
    ),
    table(
        "tickets",
        &[SELECT, INSERT, UPDATE, DELETE],
        &[
            "digest",
            "token_id",
            "board_id",
            "made_at",
            "used_at",
            "client",
            "session_id",
        ],
    ),
    table(
        "browser_sessions",
        &[SELECT, INSERT, UPDATE, DELETE],
        &[
            "digest",
            "token_id",
            "token_digest",
            "created_at",
            "expires_at",
            "last_used_at",
        ],
    ),
    table(
        "audit",
        &[SELECT, INSERT, DELETE],
        &["at", "actor", "token_id", "action", "board", "subject"],
    ),
    table(
        "deleted_topics",
        &[SELECT, INSERT, DELETE],
        &[
            "id",
            "board_id",
            "comment",
            "author",
            "created_at",
            "updated_at",
            "edited_at",
            "archived",
            "deleted_at",
        ],
    ),
];

/// Functions that it calls.
pub(crate) const FUNCTIONS: &[&str] = &[
    "move_topic_ids()",
    "transaction_begun()",
    "stamp_last()",
    "classified_write(text, jsonb)",
    "channel_name(name)",
];

/// All functions of the schema, as Postgres names them: the owner may have others of these names.
/// Most have their owner's rights, so no other role may execute one without a grant.
pub(crate) const OWN_FUNCTIONS: &[&str] = &[
    "asked_by_server()",
    "boards_before()",
    "boards_changed()",
    "boards_named()",
    "boards_truncated()",
    "browser_sessions_changed()",
    "channel_name(name)",
    "classified_write(text,jsonb)",
    "lock_to_migrate(text,text)",
    "move_ids(regclass,bigint)",
    "move_topic_ids()",
    "stamp_depth()",
    "stamp_last()",
    "take_id(regclass,bigint,text)",
    "tokens_before()",
    "tokens_changed()",
    "topics_applied()",
    "topics_before()",
    "topics_deleted()",
    "topics_inserted()",
    "topics_stamped()",
    "topics_truncated()",
    "topics_updated()",
    "transaction_begun()",
    "transaction_stamped()",
];

/// Returns the name of a function by its signature.
pub(crate) fn function_name(signature: &'static str) -> &'static str {
    signature.split('(').next().unwrap_or(signature)
}

/// Returns the names of all tables.
pub(crate) fn table_names() -> Vec<&'static str> {
    TABLES.iter().map(|table| table.name).collect()
}

/// Tables on which owners may have constraints and triggers of their own, which may refuse or
/// change rows.
pub(crate) const OPEN_TABLES: [&str; 3] = ["topics", "boards", "tokens"];

/// Returns the names of the tables that are a server's alone.
fn own_tables(postgres: bool) -> impl Iterator<Item = &'static str> {
    let written_by_triggers = if postgres {
        "transactions"
    } else {
        "revisions"
    };
    tables(postgres)
        .map(|table| table.name)
        .filter(|name| !OPEN_TABLES.contains(name) && !SEQUENCES.contains(name))
        .chain([written_by_triggers])
}

/// Statements that touch no row and fail if something is missing that reading takes.
pub(crate) fn reading(postgres: bool) -> impl Iterator<Item = String> {
    tables(postgres)
        .filter(|table| table.rights.contains(&SELECT))
        .map(select)
}

/// Returns statements that touch no row and fail if something is missing that writing takes.
pub(crate) fn writing(postgres: bool) -> impl Iterator<Item = String> {
    tables(postgres).flat_map(|table| {
        table
            .rights
            .iter()
            .filter_map(|right| statement(table, right))
    })
}

fn tables(postgres: bool) -> impl Iterator<Item = &'static Table> {
    TABLES
        .iter()
        .filter(move |table| postgres || table.on == Databases::Both)
}

fn select(Table { name, columns, .. }: &Table) -> String {
    format!("SELECT {} FROM {name} WHERE false", columns.join(", "))
}

fn statement(table: &Table, right: &str) -> Option<String> {
    let Table { name, columns, .. } = table;
    match right {
        SELECT => Some(select(table)),
        INSERT => Some(format!(
            "INSERT INTO {name} ({}) SELECT {} WHERE false RETURNING 1",
            columns.join(", "),
            vec!["NULL"; columns.len()].join(", ")
        )),
        UPDATE if SEQUENCES.contains(name) => None,
        UPDATE => Some(format!(
            "UPDATE {name} SET {} = NULL WHERE false RETURNING 1",
            columns.join(" = NULL, ")
        )),
        _ => Some(format!("DELETE FROM {name} WHERE false RETURNING 1")),
    }
}

/// A trigger of Postgres.
pub(crate) struct Trigger {
    pub(crate) name: &'static str,
    pub(crate) table: &'static str,
    pub(crate) fires: Fires,
}

/// On which connections a trigger fires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fires {
    /// All but those of the replica role.
    Ordinary,
    /// Those of the replica role alone.
    Replica,
    /// Every connection, whatever its role.
    Always,
}

const fn trigger(table: &'static str, name: &'static str, fires: Fires) -> Trigger {
    Trigger { name, table, fires }
}

pub(crate) const POSTGRES_TRIGGERS: &[Trigger] = &[
    trigger("topics", "topics_before_insert", Fires::Always),
    trigger("topics", "topics_before_update", Fires::Always),
    trigger("topics", "~topics_stamped", Fires::Always),
    trigger("topics", "topics_inserted", Fires::Ordinary),
    trigger("topics", "topics_updated", Fires::Ordinary),
    trigger("topics", "topics_deleted", Fires::Ordinary),
    trigger("topics", "topics_truncated", Fires::Always),
    trigger("topics", "topics_applied", Fires::Replica),
    trigger("topics", "topics_applied_update", Fires::Replica),
    trigger("boards", "boards_before", Fires::Always),
    trigger("boards", "boards_changed", Fires::Always),
    trigger("boards", "boards_named", Fires::Always),
    trigger("boards", "boards_truncated", Fires::Always),
    trigger("tokens", "tokens_before", Fires::Always),
    trigger("tokens", "tokens_changed", Fires::Always),
    trigger("tokens", "tokens_truncated", Fires::Always),
    trigger("browser_sessions", "browser_sessions_ended", Fires::Always),
    trigger(
        "browser_sessions",
        "browser_sessions_changed",
        Fires::Always,
    ),
    trigger(
        "browser_sessions",
        "browser_sessions_truncated",
        Fires::Always,
    ),
    trigger("transactions", "transaction_stamped", Fires::Always),
    trigger("transactions", "transactions_truncated", Fires::Always),
];

/// Without these on SQLite something that a server writes is not logged.
pub(crate) const SQLITE_TRIGGERS: &[&str] = &[
    "topics_inserted",
    "topics_updated",
    "topics_deleted",
    "boards_inserted",
    "boards_updated",
    "boards_deleted",
    "tokens_inserted",
    "tokens_updated",
    "tokens_deleted",
    "browser_sessions_ended",
    "changes_draw",
    "changes_stamp",
    "changes_stamp_within",
];

#[cfg(test)]
mod tests;
