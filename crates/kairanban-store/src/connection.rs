//! One connection to either database, and how it is set up. The only place that asks which of the
//! two it is.

mod dialect;
mod own_schema;
pub(crate) mod rights;
mod settings_of_others;
mod statement;
mod transaction;
mod trial_rows;

use std::time::Duration;

use diesel::{
    Connection as _, ConnectionError, PgConnection, QueryResult, RunQueryDsl as _,
    SqliteConnection,
    connection::{CacheSize, SimpleConnection, TransactionManager},
    r2d2::R2D2Connection,
    sql_query,
};

pub(crate) use self::transaction::WaitLimits;
use crate::{DatabaseAddress, StoreError, address::without_secrets, sql::Number};

/// How long the database may take.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// To connect; on Postgres also until a silent link counts as dead. Whole seconds.
    pub connect: Duration,
    /// For one statement, and for the locks that it needs.
    pub statement: Duration,
    /// For another transaction that has written the idempotency key of a post. Postgres only.
    pub key: Duration,
}

/// A connection to either database.
#[derive(diesel::MultiConnection)]
pub(crate) enum AnyConnection {
    Postgres(PgConnection),
    Sqlite(SqliteConnection),
}

impl AnyConnection {
    /// Connects. On Postgres nothing is set: whether the connection is our own is not known yet.
    pub(crate) fn connect(
        address: &DatabaseAddress,
        timeouts: Timeouts,
    ) -> Result<Self, ConnectionError> {
        match address {
            DatabaseAddress::Postgres(url) => {
                PgConnection::establish(&with_timeouts(url, timeouts.connect))
                    .map(Self::Postgres)
                    .map_err(|error| without_secrets_of(url, error))
            }
            DatabaseAddress::Sqlite(path) => {
                let mut connection = SqliteConnection::establish(&path.to_string_lossy())?;
                let busy = format!("PRAGMA busy_timeout = {}", timeouts.statement.as_millis());
                connection
                    .batch_execute(&busy)
                    .map_err(ConnectionError::CouldntSetupConfiguration)?;
                Ok(Self::Sqlite(connection))
            }
        }
    }

    /// Connects and sets the connection up, which must be our own: behind a transaction pooler the
    /// settings would reach the connections of other programs.
    pub(crate) fn open(address: &DatabaseAddress, timeouts: Timeouts) -> Result<Self, StoreError> {
        let mut connection = Self::connect(address, timeouts)?;
        match &mut connection {
            Self::Postgres(connection) => {
                connection.batch_execute(&connection_settings(timeouts))?
            }
            Self::Sqlite(connection) => connection.batch_execute(
                "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON",
            )?,
        }
        Ok(connection)
    }

    /// Lets statements run as long as they need, for migrations.
    pub(crate) fn lift_timeouts(&mut self) -> QueryResult<()> {
        match self {
            Self::Postgres(connection) => {
                connection.batch_execute("SET statement_timeout = 0; SET lock_timeout = 0")
            }
            Self::Sqlite(connection) => connection.batch_execute("PRAGMA busy_timeout = 60000"),
        }
    }

    /// Returns whether a transaction pooler stands between: then a connection has no backend of its
    /// own, and another one gets it as soon as it rests. Asks without setting anything (ADR 15).
    pub(crate) fn is_pooled(
        address: &DatabaseAddress,
        timeouts: Timeouts,
    ) -> Result<bool, StoreError> {
        if matches!(address, DatabaseAddress::Sqlite(_)) {
            return Ok(false);
        }
        match compare_backends(address, timeouts, number) {
            // What was prepared on one backend is not there on another; a transaction has one.
            Err(StoreError::Fault(_)) => compare_backends(address, timeouts, number_within),
            asked => asked,
        }
    }

    /// Keeps nothing prepared: the next transaction may be on another backend.
    pub(crate) fn prepare_nothing(&mut self) {
        self.set_prepared_statement_cache_size(CacheSize::Disabled);
    }

    /// Returns whether a new transaction of this connection may write.
    pub(crate) fn is_writable(&mut self) -> QueryResult<bool> {
        match self {
            Self::Postgres(_) => number(
                self,
                "SELECT (current_setting('transaction_read_only') = 'off')::int::bigint AS number",
            )
            .map(|on| on == 1),
            Self::Sqlite(_) => Ok(true),
        }
    }

    pub(crate) fn is_broken(&mut self) -> bool {
        R2D2Connection::is_broken(self)
    }
}

/// Returns an error of libpq without what is secret in the URL.
fn without_secrets_of(url: &str, error: ConnectionError) -> ConnectionError {
    match error {
        ConnectionError::BadConnection(text) => {
            ConnectionError::BadConnection(without_secrets(url, &text))
        }
        ConnectionError::InvalidConnectionUrl(text) => {
            ConnectionError::InvalidConnectionUrl(without_secrets(url, &text))
        }
        other => other,
    }
}

/// Sets a connection of our own up again, whatever the owner's triggers have set in it.
pub(crate) fn restored_settings(timeouts: Timeouts) -> String {
    // diesel sets the encoding when it connects.
    format!(
        "RESET ROLE; RESET ALL; SET client_encoding = 'UTF8'; {}",
        connection_settings(timeouts)
    )
}

/// Returns the settings that every Postgres connection of our own begins with.
fn connection_settings(timeouts: Timeouts) -> String {
    // What is read after a lock must be as it is then.
    let isolation = ("default_transaction_isolation", "read committed".to_owned());
    let settings: Vec<_> = settings(timeouts).into_iter().chain([isolation]).collect();
    set_all(&settings, SettingLifetime::Connection)
}

/// Returns the settings that every transaction begins with, where connections are not our own.
pub(crate) fn transaction_settings(timeouts: Timeouts) -> String {
    // Before any query.
    "SET TRANSACTION ISOLATION LEVEL READ COMMITTED; ".to_owned()
        + &set_all(&settings(timeouts), SettingLifetime::Transaction)
}

fn settings(timeouts: Timeouts) -> [(&'static str, String); 10] {
    let statement_ms = timeouts.statement.as_millis();
    [
        ("statement_timeout", statement_ms.to_string()),
        ("lock_timeout", statement_ms.to_string()),
        // 0 would be no limit.
        (
            "kairanban.key_wait",
            timeouts.key.as_millis().max(1).to_string(),
        ),
        (
            "idle_in_transaction_session_timeout",
            statement_ms.to_string(),
        ),
        ("timezone", "UTC".to_owned()),
        // An acknowledged write is durable, whatever the database's default is.
        ("synchronous_commit", "on".to_owned()),
        ("client_min_messages", "warning".to_owned()),
        // A statement that row-level security would cut fails instead: what a reader is shown, and
        // what a write decides by, is all that there is.
        ("row_security", "off".to_owned()),
        // Compiling a query takes longer than any of ours runs.
        ("jit", "off".to_owned()),
        // Names in the context of an error are compared with ours.
        ("quote_all_identifiers", "off".to_owned()),
    ]
}

/// How long a setting lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SettingLifetime {
    Connection,
    Transaction,
}

/// Returns one statement that makes settings: each write makes them again, and a statement
/// for each would cost more than all else that begins a transaction.
fn set_all(settings: &[(&str, String)], lifetime: SettingLifetime) -> String {
    let is_local = lifetime == SettingLifetime::Transaction;
    let settings = settings.iter().map(|(name, value)| {
        // By another program's path the function could be another one.
        format!("pg_catalog.set_config('{name}', '{value}', {is_local})")
    });
    format!("SELECT {}; ", settings.collect::<Vec<_>>().join(", "))
}

/// Returns whether a transaction pooler stands between this process and Postgres. Opens two
/// connections, sets nothing on them, and closes them. Every call blocks.
///
/// # Errors
/// If the database cannot be reached.
pub fn is_pooled(address: &DatabaseAddress, timeouts: Timeouts) -> Result<bool, StoreError> {
    AnyConnection::is_pooled(address, timeouts)
}

/// Returns whether a connection, which is asked by `ask`, shares its backends with another one, or
/// has one that is older than itself.
fn compare_backends(
    address: &DatabaseAddress,
    timeouts: Timeouts,
    ask: impl Fn(&mut AnyConnection, &str) -> QueryResult<i64>,
) -> Result<bool, StoreError> {
    const CLOCK: &str =
        "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS number";
    const BACKEND_START: &str = "SELECT (extract(epoch \
        FROM backend_start) * 1000000)::bigint AS number FROM pg_stat_activity \
        WHERE pid = pg_backend_pid()";
    const BACKEND: &str = "SELECT pg_backend_pid()::bigint AS number";
    let mut one = AnyConnection::connect(address, timeouts)?;
    one.prepare_nothing();
    let mine = ask(&mut one, BACKEND)?;
    let before = ask(&mut one, CLOCK)?;
    let mut other = AnyConnection::connect(address, timeouts)?;
    other.prepare_nothing();
    Manages::begin_transaction(&mut other)?;
    let others = number(&mut other, BACKEND)?;
    let is_older = number(&mut other, BACKEND_START)? < before;
    // While the other holds that backend, this one gets another.
    Ok(is_older || others == mine || ask(&mut one, BACKEND)? != mine)
}

fn number_within(connection: &mut AnyConnection, query: &str) -> QueryResult<i64> {
    connection.transaction(|connection| number(connection, query))
}

fn number(connection: &mut AnyConnection, query: &str) -> QueryResult<i64> {
    let row: Number = sql_query(query).get_result(connection)?;
    Ok(row.number.unwrap_or_default())
}

/// Ends the transactions of either database.
type Manages = <AnyConnection as diesel::Connection>::TransactionManager;

/// Adds to a Postgres URL what keeps a dead link from holding a thread. libpq reads whole seconds
/// and milliseconds; what the URL says itself stands.
fn with_timeouts(url: &str, connect: Duration) -> String {
    let connect_s = connect.as_secs().max(1).to_string();
    let dead_ms = connect.as_millis().to_string();
    let extras = [
        ("connect_timeout", connect_s.as_str()),
        ("tcp_user_timeout", &dead_ms),
        ("keepalives_idle", "30"),
        ("keepalives_interval", "10"),
        ("keepalives_count", "3"),
        ("application_name", "kairanban"),
    ];
    extras
        .iter()
        .filter(|(name, _)| !url.contains(&format!("{name}=")))
        .fold(url.to_owned(), |url, (name, value)| {
            let sign = if url.contains('?') { '&' } else { '?' };
            format!("{url}{sign}{name}={value}")
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_keeps_its_own_timeouts() {
        let url = with_timeouts("postgres://h/d?connect_timeout=9", Duration::from_secs(2));
        assert!(
            url.contains("?connect_timeout=9&tcp_user_timeout=2000&"),
            "{url}"
        );
    }
}
