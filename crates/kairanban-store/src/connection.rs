//! One connection to either database, and how it is set up. The only place that asks which of the
//! two it is.

mod dialect;

use std::time::Duration;

use diesel::{
    Connection as _, ConnectionError, PgConnection, QueryResult, RunQueryDsl as _,
    SqliteConnection,
    connection::{AnsiTransactionManager, CacheSize, SimpleConnection, TransactionManager},
    r2d2::R2D2Connection,
    result::Error as DieselError,
    sql_query,
};

use crate::{
    DatabaseAddress, StoreError,
    classified::{self, Modification},
    error::{Fault, FaultKind},
    rights,
    rows::Number,
};

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
    /// Connects. On Postgres nothing is set: whether the session is our own is not known yet.
    pub(crate) fn connect(
        address: &DatabaseAddress,
        timeouts: Timeouts,
    ) -> Result<Self, ConnectionError> {
        match address {
            DatabaseAddress::Postgres(url) => {
                PgConnection::establish(&with_timeouts(url, timeouts.connect)).map(Self::Postgres)
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

    /// Connects and sets the session up, which must be our own: behind a transaction pooler the settings would
    /// reach the sessions of other programs.
    pub(crate) fn open(address: &DatabaseAddress, timeouts: Timeouts) -> Result<Self, StoreError> {
        let mut connection = Self::connect(address, timeouts)?;
        match &mut connection {
            Self::Postgres(connection) => connection.batch_execute(&settings("SET", timeouts))?,
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

    /// Whether a transaction pooler stands between: then a session has no backend of its own, and another
    /// one is given it as soon as it rests. Asks without setting anything.
    pub(crate) fn is_pooled(
        address: &DatabaseAddress,
        timeouts: Timeouts,
    ) -> Result<bool, StoreError> {
        if matches!(address, DatabaseAddress::Sqlite(_)) {
            return Ok(false);
        }
        let mut one = Self::connect(address, timeouts)?;
        one.prepare_nothing();
        match compare_backends(&mut one, address, timeouts) {
            // What was prepared on one backend is not there on another.
            Err(StoreError::Unavailable(text) | StoreError::Internal(text))
                if text.contains("prepared statement") =>
            {
                Ok(true)
            }
            asked => asked,
        }
    }

    /// Keeps nothing prepared: the next transaction may be on another backend.
    pub(crate) fn prepare_nothing(&mut self) {
        self.set_prepared_statement_cache_size(CacheSize::Disabled);
    }

    /// Runs `work` in a transaction whose changes share one revision, then, with the revision drawn,
    /// `finish`. Inside, `transaction` makes savepoints.
    ///
    /// On Postgres our own commits stay silent (see the migration): the caller signals them. `prelude`
    /// comes first, where the session cannot be set up once and for all. A statement may take `patience`, if given.
    pub(crate) fn write<T, U>(
        &mut self,
        prelude: &str,
        patience: Option<Duration>,
        work: impl FnOnce(&mut Self) -> Result<T, StoreError>,
        finish: impl FnOnce(&mut Self, T) -> Result<U, StoreError>,
    ) -> Result<U, StoreError> {
        // Until here nothing was written: a dead connection may be replaced by another.
        self.begin_write(prelude, patience)
            .map_err(classified::of_begin)?;
        let done = work(self).and_then(|done| {
            self.stamp()?;
            let done = finish(self, done)?;
            self.end_write()?;
            Ok(done)
        });
        let done = match done {
            Ok(done) => match Manages::commit_transaction(self) {
                Ok(()) => Ok(done),
                Err(error) => Err(self.error_of(error)),
            },
            Err(error) => {
                // The first error is the one to report; a failed rollback taints the connection.
                let _ = Manages::rollback_transaction(self);
                Err(error)
            }
        };
        match done {
            // A trigger may raise the code of a lost connection. As long as the session answers, it was rolled back.
            Err(StoreError::Disconnected(text)) if self.batch_execute("SELECT 1").is_ok() => {
                Err(StoreError::fault(FaultKind::Other, text))
            }
            // From there on nobody knows whether it was committed, so it must not be done again.
            done => done.map_err(StoreError::final_word),
        }
    }

    fn begin_write(&mut self, prelude: &str, patience: Option<Duration>) -> QueryResult<()> {
        let patience_ms = patience.map(|patience| patience.as_millis().max(1));
        match self {
            Self::Postgres(connection) => {
                let limits = patience_ms.map(|ms| {
                    format!("SET LOCAL statement_timeout = {ms}; SET LOCAL lock_timeout = {ms}")
                });
                let limits = limits.unwrap_or_default();
                // In one round trip.
                let begin = format!("BEGIN; {prelude}SET LOCAL kairanban.quiet = 'on'; {limits}");
                AnsiTransactionManager::begin_transaction_sql(connection, &begin).inspect_err(
                    |_| {
                        // It may have begun. If this fails too, the session is dead, and found to be when it is used next.
                        let _ = connection.batch_execute("ROLLBACK");
                    },
                )
            }
            Self::Sqlite(connection) => {
                if let Some(ms) = patience_ms {
                    connection.batch_execute(&format!("PRAGMA busy_timeout = {ms}"))?;
                }
                // A deferred transaction that turns into a write fails at once when another wrote meanwhile.
                AnsiTransactionManager::begin_transaction_sql(connection, "BEGIN IMMEDIATE")?;
                connection.batch_execute("UPDATE revisions SET batch = 1")
            }
        }
    }

    /// Runs a statement that writes. Returns how many rows it touched, or what its failure means.
    pub(crate) fn modify(&mut self, statement: impl Modification) -> Result<usize, StoreError> {
        match self {
            Self::Postgres(connection) => classified::modify_postgres(connection, statement),
            Self::Sqlite(connection) => classified::modify_sqlite(connection, statement),
        }
    }

    /// The same for a statement that returns a number; `None` if it touched no row.
    pub(crate) fn modify_returning(
        &mut self,
        statement: impl Modification,
    ) -> Result<Option<i64>, StoreError> {
        match self {
            Self::Postgres(connection) => classified::returning_postgres(connection, statement),
            Self::Sqlite(connection) => classified::returning_sqlite(connection, statement),
        }
    }

    /// The meaning of an error, as far as the library passes it on.
    fn error_of(&self, error: DieselError) -> StoreError {
        match self {
            Self::Postgres(_) => error.into(),
            Self::Sqlite(_) => classified::of_sqlite(error),
        }
    }

    /// Fires what waits for the commit, to learn why it fails; SQLite says so at the commit itself.
    pub(crate) fn check_constraints(&mut self) -> Result<(), StoreError> {
        match self {
            Self::Postgres(connection) => classified::check_constraints(connection),
            Self::Sqlite(_) => Ok(()),
        }
    }

    /// Checks that writing works here, within a write that changes nothing.
    pub(crate) fn check_writing(&mut self) -> Result<(), StoreError> {
        let checked = match self {
            Self::Postgres(connection) => classified::check_postgres(connection),
            Self::Sqlite(connection) => classified::check_sqlite(connection),
        };
        checked.map_err(|error| self.with_grants(error))
    }

    /// Checks that all can be read that a server reads. Fails with what is missing.
    pub(crate) fn check_reading(&mut self) -> Result<(), StoreError> {
        let checked = match self {
            Self::Postgres(connection) => classified::check_reading_postgres(connection),
            Self::Sqlite(connection) => classified::check_reading_sqlite(connection),
        };
        checked.map_err(|error| self.with_grants(error))
    }

    /// Adds the grants that would help.
    fn with_grants(&mut self, error: StoreError) -> StoreError {
        match error {
            StoreError::Fault(Fault {
                kind: FaultKind::Installation,
                text,
            }) if matches!(self, Self::Postgres(_)) => {
                // If they cannot be asked for, the error stands as it is.
                let grants = rights::missing(self).unwrap_or_default();
                let text = if grants.is_empty() {
                    text
                } else {
                    format!("{text}. This would help: {}", grants.join("; "))
                };
                StoreError::fault(FaultKind::Installation, text)
            }
            other => other,
        }
    }

    /// Whether a new transaction of this session may write.
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

    /// Moves the sequence of topic ids past the largest, after another program took the next ones; SQLite does so by itself.
    pub(crate) fn move_topic_ids(&mut self) -> QueryResult<()> {
        match self {
            Self::Postgres(connection) => connection.batch_execute("SELECT move_topic_ids()"),
            Self::Sqlite(_) => Ok(()),
        }
    }

    /// Draws the revision now, so that it can be read. On Postgres this takes the lock that puts
    /// commits in order: nothing slow may follow. SQLite drew it at the first change.
    fn stamp(&mut self) -> QueryResult<()> {
        match self {
            Self::Postgres(connection) => {
                connection.batch_execute("SET CONSTRAINTS transaction_stamped IMMEDIATE")
            }
            Self::Sqlite(_) => Ok(()),
        }
    }

    /// Ends what `begin_write` began, before the commit.
    fn end_write(&mut self) -> QueryResult<()> {
        match self {
            Self::Postgres(_) => Ok(()),
            Self::Sqlite(connection) => connection.batch_execute("UPDATE revisions SET batch = 0"),
        }
    }

    /// Checks that the transaction of a write is still open, after a statement failed: RAISE(ROLLBACK) of SQLite ends it,
    /// and what followed would be committed by itself.
    pub(crate) fn ensure_in_write(&mut self) -> Result<(), StoreError> {
        let Self::Sqlite(connection) = self else {
            return Ok(());
        };
        let row: Number =
            sql_query("SELECT batch AS number FROM revisions").get_result(connection)?;
        if row.number == Some(0) {
            return Err(StoreError::fault(
                FaultKind::Other,
                "a trigger rolled the transaction back",
            ));
        }
        Ok(())
    }

    /// Lets one node at a time decide which database this is. The first statement of its transaction.
    pub(crate) fn lock_identity(&mut self) -> Result<(), StoreError> {
        match self {
            Self::Postgres(connection) => {
                Ok(connection.batch_execute("LOCK TABLE identity IN SHARE ROW EXCLUSIVE MODE")?)
            }
            // A file that cannot be written can still be read, and nobody decides anything about it.
            Self::Sqlite(_) => match self.lock_to_write() {
                Err(StoreError::Fault(fault)) if fault.kind == FaultKind::ReadOnly => Ok(()),
                done => done,
            },
        }
    }

    /// Waits for other writers before a transaction reads what it will decide by. The first statement of its transaction:
    /// SQLite fails one at once that has read before it writes, if another program wrote meanwhile. Postgres locks row by row.
    pub(crate) fn lock_to_write(&mut self) -> Result<(), StoreError> {
        match self {
            Self::Postgres(_) => Ok(()),
            Self::Sqlite(_) => self
                .modify(sql_query(
                    "UPDATE identity SET value = value WHERE key IS NULL",
                ))
                .map(drop),
        }
    }

    pub(crate) fn is_broken(&mut self) -> bool {
        R2D2Connection::is_broken(self)
    }
}

/// Sets a session of our own up again, whatever triggers of the owner's have set in it.
pub(crate) fn restored_settings(timeouts: Timeouts) -> String {
    // diesel sets the encoding when it connects.
    format!(
        "RESET ROLE; RESET ALL; SET client_encoding = 'UTF8'; {}",
        settings("SET", timeouts)
    )
}

/// What every Postgres session, or every transaction of it, begins with.
pub(crate) fn settings(set: &str, timeouts: Timeouts) -> String {
    let statement_ms = timeouts.statement.as_millis();
    // An acknowledged write is durable, whatever the database's default is.
    let settings = [
        format!("statement_timeout = {statement_ms}"),
        format!("lock_timeout = {statement_ms}"),
        // 0 would be no limit.
        format!("kairanban.key_wait = '{}'", timeouts.key.as_millis().max(1)),
        format!("idle_in_transaction_session_timeout = {statement_ms}"),
        "timezone = 'UTC'".to_owned(),
        "synchronous_commit = 'on'".to_owned(),
        "client_min_messages = 'warning'".to_owned(),
        // Compiling a query takes longer than any of ours runs.
        "jit = off".to_owned(),
    ];
    settings
        .map(|setting| format!("{set} {setting}; "))
        .concat()
}

/// Whether a transaction pooler stands between this process and Postgres. Opens two connections, sets nothing on them, and
/// closes them. Blocks.
///
/// # Errors
/// If the database cannot be reached.
pub fn is_pooled(address: &DatabaseAddress, timeouts: Timeouts) -> Result<bool, StoreError> {
    AnyConnection::is_pooled(address, timeouts)
}

/// Whether `one` shares its backends with another session, or that has one which is older than itself.
fn compare_backends(
    one: &mut AnyConnection,
    address: &DatabaseAddress,
    timeouts: Timeouts,
) -> Result<bool, StoreError> {
    const CLOCK: &str =
        "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS number";
    const BACKEND_START: &str = "SELECT (extract(epoch FROM backend_start) * 1000000)::bigint AS number FROM pg_stat_activity WHERE pid = pg_backend_pid()";
    let mine = number(one, "SELECT pg_backend_pid()::bigint AS number")?;
    let before = number(one, CLOCK)?;
    let mut other = AnyConnection::connect(address, timeouts)?;
    other.prepare_nothing();
    Manages::begin_transaction(&mut other)?;
    let others = number(&mut other, "SELECT pg_backend_pid()::bigint AS number")?;
    let is_older = number(&mut other, BACKEND_START)? < before;
    // While the other holds that backend, this one is given another.
    Ok(is_older
        || others == mine
        || number(one, "SELECT pg_backend_pid()::bigint AS number")? != mine)
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
