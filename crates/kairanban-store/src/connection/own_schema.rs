//! The schema of the boards on Postgres, and who keeps its tables from a start.

use std::time::Duration;

use diesel::{
    Connection as _, QueryResult, RunQueryDsl as _, connection::SimpleConnection as _, sql_query,
    sql_types::Text,
};

use super::{AnyConnection, SettingLifetime};
use crate::needs::{FUNCTIONS, OWN_SCHEMA, table_names};

/// Catalogs that a start reads, and that `VACUUM FULL` or `REINDEX` may lock.
const CATALOGS: &[&str] = &[
    "pg_attribute",
    "pg_class",
    "pg_constraint",
    "pg_index",
    "pg_inherits",
    "pg_namespace",
    "pg_policy",
    "pg_proc",
    "pg_sequence",
    "pg_trigger",
    "pg_type",
];

#[derive(diesel::QueryableByName)]
struct Named {
    #[diesel(sql_type = Text)]
    text: String,
}

impl AnyConnection {
    /// Lets statements find and make things in the schema of the boards alone, if there are boards:
    /// in `search_path` another schema may stand before it.
    pub(crate) fn enter_own_schema(&mut self, lifetime: SettingLifetime) -> QueryResult<()> {
        let is_local = lifetime == SettingLifetime::Transaction;
        match self {
            Self::Postgres(connection) => connection.batch_execute(&format!(
                "SELECT pg_catalog.set_config('search_path', quote_ident(own), {is_local}) \
                 FROM (SELECT {OWN_SCHEMA} AS own) AS found WHERE own IS NOT NULL"
            )),
            Self::Sqlite(_) => Ok(()),
        }
    }

    /// Lists objects that shadow our tables and functions in `search_path`.
    pub(crate) fn shadowing_objects(&mut self) -> QueryResult<String> {
        let tables = table_names()
            .into_iter()
            .filter(|name| !name.starts_with("__"));
        let tables: Vec<_> = tables.map(|name| format!("('{name}')")).collect();
        let functions: Vec<_> = FUNCTIONS.iter().map(|name| format!("('{name}')")).collect();
        let query = format!(
            "SELECT coalesce(string_agg(format('%I.%s', nspname, name), ', '), '') AS text FROM \
             (SELECT name, relnamespace AS schema_oid FROM (VALUES {}) AS needed (name) \
             JOIN pg_class ON oid = to_regclass(name) \
             UNION ALL SELECT name, pronamespace FROM (VALUES {}) AS called (name) \
             JOIN pg_proc ON oid = to_regprocedure(name)) AS found \
             JOIN pg_namespace ON pg_namespace.oid = schema_oid WHERE nspname <> {OWN_SCHEMA}",
            tables.join(", "),
            functions.join(", ")
        );
        let row: Named = sql_query(query).get_result(self)?;
        Ok(row.text)
    }

    /// Bounds how long a transaction waits for each lock on Postgres, and not how long it works:
    /// what is slow is no fault.
    pub(crate) fn bound_locks(&mut self, wait: Duration) -> QueryResult<()> {
        let ms = wait.as_millis().max(1);
        match self {
            Self::Postgres(connection) => connection.batch_execute(&format!(
                "SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = {ms}"
            )),
            Self::Sqlite(_) => Ok(()),
        }
    }

    /// Returns whether others hold tables of ours, on Postgres: an error says so in the language of
    /// the database, and diesel drops its SQLSTATE.
    pub(crate) fn has_locked_tables(&mut self) -> bool {
        let Self::Postgres(connection) = self else {
            return false;
        };
        let asked = connection.transaction(|connection| {
            connection.batch_execute(
                "SET LOCAL statement_timeout = 2000; SET LOCAL lock_timeout = 100",
            )?;
            connection.batch_execute(&read_all_tables())
        });
        // Nothing else fails it but a connection that ended, which may be there again in a moment.
        asked.is_err()
    }
}

/// Returns the command that reads no row of each table, and takes the lock that a start needs. It
/// fails only if others hold one of them.
fn read_all_tables() -> String {
    let names = [table_names().as_slice(), &["transactions"], CATALOGS].concat();
    format!(
        "DO $kairanban$ DECLARE command text; BEGIN \
         FOREACH command IN ARRAY ARRAY['SELECT FROM {} WHERE false', \
         'LOCK TABLE identity IN SHARE ROW EXCLUSIVE MODE'] LOOP \
         BEGIN EXECUTE command; \
         EXCEPTION WHEN lock_not_available OR query_canceled OR deadlock_detected THEN RAISE; \
         WHEN OTHERS THEN NULL; END; END LOOP; END $kairanban$",
        names.join(" WHERE false', 'SELECT FROM ")
    )
}
