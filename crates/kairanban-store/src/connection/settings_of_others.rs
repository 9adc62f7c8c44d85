//! Settings that the owner of a Postgres made for our connections, and that keep a server from
//! working.

use diesel::{prelude::*, sql_query, sql_types::Text};

use super::AnyConnection;

#[derive(QueryableByName)]
struct Value {
    #[diesel(sql_type = Text)]
    value: String,
}

impl AnyConnection {
    /// Returns why the connections of a Postgres are read-only, with what helps, if they are.
    pub(crate) fn read_only_reason(&mut self) -> QueryResult<Option<String>> {
        const SETTING: &str = "default_transaction_read_only";
        let state = "SELECT CASE WHEN pg_is_in_recovery() THEN 'standby' \
            WHEN current_setting('transaction_read_only') = 'on' THEN 'read-only' \
            ELSE '' END AS value";
        Ok(match self.value(state)?.as_str() {
            "" => None,
            "standby" => Some(
                "it is a standby, which takes no writes: name the primary in the database URL"
                    .to_owned(),
            ),
            _ => Some(format!(
                "its connections are read-only ({SETTING}): {}",
                self.reset_sql(SETTING)?
            )),
        })
    }

    /// Returns what takes a setting back where it was made.
    pub(crate) fn reset_sql(&mut self, name: &str) -> QueryResult<String> {
        self.value(&format!(
            "SELECT CASE source \
             WHEN 'database' THEN format('ALTER DATABASE %I RESET {name}', current_database()) \
             WHEN 'user' THEN format('ALTER ROLE %I RESET {name}', session_user) \
             WHEN 'database user' THEN format('ALTER ROLE %I IN DATABASE %I RESET {name}', \
             session_user, current_database()) \
             WHEN 'global' THEN 'ALTER ROLE ALL RESET {name}' \
             WHEN 'client' THEN 'take {name} out of the database URL and of PGOPTIONS' \
             ELSE 'take {name} out of the configuration of Postgres' END AS value \
             FROM pg_settings WHERE name = '{name}'"
        ))
    }

    fn value(&mut self, query: &str) -> QueryResult<String> {
        let row: Value = sql_query(query).get_result(self)?;
        Ok(row.value)
    }
}
