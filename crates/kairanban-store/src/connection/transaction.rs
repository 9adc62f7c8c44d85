//! The statements of a write transaction, where the two databases differ.
//! [`WriteTx`](crate::tx::WriteTx) puts them in order.

use std::time::Duration;

use diesel::{
    QueryResult, RunQueryDsl as _,
    connection::{AnsiTransactionManager, SimpleConnection as _, TransactionManager},
    sql_query,
};
use kairanban_core::TopicId;

use super::{AnyConnection, Manages, SettingLifetime, set_all};
use crate::{
    StoreError, classified,
    error::FaultKind,
    sql::{Fixed, Number},
};

/// Fires all that waits for the commit, on Postgres; the stamp comes last. There writers wait in
/// turn, as long as a statement may take.
const STAMP: &str = "SELECT set_config('lock_timeout', current_setting('statement_timeout'), \
     true), stamp_last(); SET CONSTRAINTS ALL IMMEDIATE";

/// Returns the milliseconds of a time limit, at least 1: 0 would be no limit.
fn millis(time: Duration) -> u128 {
    time.as_millis().max(1)
}

/// How long a write waits, on Postgres.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WaitLimits {
    /// For each statement, and for its turn among other writers.
    pub(crate) statement: Duration,
    /// For a lock that another transaction holds, before the stamp.
    pub(crate) lock: Duration,
}

impl AnyConnection {
    /// Begins, so that all changes of the transaction share one revision. On Postgres its commit
    /// stays silent (see the migration): the caller signals it. `prelude` comes first, where the
    /// connection cannot be set up once and for all.
    pub(crate) fn begin_write(
        &mut self,
        prelude: &str,
        wait_limits: Option<WaitLimits>,
    ) -> Result<(), StoreError> {
        self.try_begin_write(prelude, wait_limits)
            .map_err(classified::of_begin)
    }

    fn try_begin_write(
        &mut self,
        prelude: &str,
        wait_limits: Option<WaitLimits>,
    ) -> QueryResult<()> {
        match self {
            Self::Postgres(connection) => {
                let mut settings = vec![("kairanban.quiet", "on".to_owned())];
                if let Some(wait_limits) = wait_limits {
                    let lock = wait_limits.lock.min(wait_limits.statement);
                    settings.extend([
                        (
                            "statement_timeout",
                            millis(wait_limits.statement).to_string(),
                        ),
                        ("lock_timeout", millis(lock).to_string()),
                    ]);
                }
                // In one round trip. What is read after a lock must be as it is then, whatever the
                // database's default is.
                let begin = format!(
                    "BEGIN ISOLATION LEVEL READ COMMITTED; {prelude}{}",
                    set_all(&settings, SettingLifetime::Transaction)
                );
                AnsiTransactionManager::begin_transaction_sql(connection, &begin).inspect_err(
                    |_| {
                        // It may have begun. If this fails too, the connection is dead, and found
                        // to be when it is used next.
                        let _ = connection.batch_execute("ROLLBACK");
                    },
                )
            }
            Self::Sqlite(connection) => {
                if let Some(ms) = wait_limits.map(|wait_limits| millis(wait_limits.statement)) {
                    connection.batch_execute(&format!("PRAGMA busy_timeout = {ms}"))?;
                }
                // A deferred transaction that turns into a write fails at once when another wrote
                // meanwhile.
                AnsiTransactionManager::begin_transaction_sql(connection, "BEGIN IMMEDIATE")?;
                Fixed("UPDATE revisions SET batch = 1").execute(connection)?;
                Ok(())
            }
        }
    }

    /// Lets the commit notify the servers, as that of another program does: no server of this
    /// process signals it. Those of SQLite look at the file.
    pub(crate) fn announce_commit(&mut self) -> QueryResult<()> {
        match self {
            Self::Postgres(connection) => {
                connection.batch_execute("SET LOCAL kairanban.quiet = ''")
            }
            Self::Sqlite(_) => Ok(()),
        }
    }

    /// Stops waiting for locks of others, or nearly so, until the stamp: many writes that are
    /// blocked must not use up the time of all.
    pub(crate) fn stop_waiting_for_locks(&mut self) -> QueryResult<()> {
        match self {
            Self::Postgres(connection) => connection.batch_execute("SET LOCAL lock_timeout = 1"),
            Self::Sqlite(_) => Ok(()),
        }
    }

    /// Waits for locks as long as a statement may take, from here on.
    pub(crate) fn wait_for_write_order(&mut self) -> QueryResult<()> {
        match self {
            Self::Postgres(connection) => connection.batch_execute(
                "SELECT set_config('lock_timeout', current_setting('statement_timeout'), true)",
            ),
            Self::Sqlite(_) => Ok(()),
        }
    }

    /// Stops waiting for keys, or nearly so, until the end of the transaction: many that are in use
    /// must not use up the time of all.
    pub(crate) fn stop_waiting_for_keys(&mut self) -> QueryResult<()> {
        match self {
            Self::Postgres(connection) => {
                connection.batch_execute("SET LOCAL kairanban.key_wait = '1'")
            }
            Self::Sqlite(_) => Ok(()),
        }
    }

    /// Draws the revision now, so that it can be read, after all deferred constraints have fired:
    /// what their triggers write can be read, too. On Postgres this takes the lock that puts
    /// commits in order: nothing slow may follow. SQLite drew it at the first change.
    pub(crate) fn stamp(&mut self) -> Result<(), StoreError> {
        match self {
            Self::Postgres(connection) => {
                let stamped = connection.batch_execute(STAMP).map_err(StoreError::from);
                stamped.map_err(StoreError::into_queue_wait)
            }
            Self::Sqlite(_) => Ok(()),
        }
    }

    /// Draws the revision like [`stamp`](Self::stamp), or says what its failure means; SQLite says
    /// so at the commit itself.
    pub(crate) fn stamp_checked(&mut self) -> Result<(), StoreError> {
        match self {
            Self::Postgres(connection) => {
                classified::postgres::run(connection, STAMP).map_err(StoreError::into_queue_wait)
            }
            Self::Sqlite(_) => Ok(()),
        }
    }

    /// Ends what [`begin_write`](Self::begin_write) began, before the commit.
    pub(crate) fn end_write(&mut self) -> QueryResult<()> {
        match self {
            Self::Postgres(_) => Ok(()),
            Self::Sqlite(connection) => {
                Fixed("UPDATE revisions SET batch = 0").execute(connection)?;
                Ok(())
            }
        }
    }

    /// Commits the transaction of a write, or says what its failure means. `record` is shown that
    /// before it is put into the words for the caller.
    pub(crate) fn commit_write(
        &mut self,
        record: impl FnOnce(&StoreError),
    ) -> Result<(), StoreError> {
        Manages::commit_transaction(self).map_err(|error| match self {
            Self::Postgres(_) => error.into(),
            Self::Sqlite(_) => {
                let meaning = classified::sqlite::meaning(error);
                record(&meaning);
                match meaning {
                    // A commit that could not be synced may be in the file all the same, and be
                    // found there after a crash.
                    StoreError::Fault(fault)
                        if matches!(fault.kind, FaultKind::Other | FaultKind::Damaged) =>
                    {
                        StoreError::Unavailable(fault.text)
                    }
                    meaning => meaning,
                }
            }
        })
    }

    /// Rolls back. If that fails, the connection is of no further use, and knows it.
    pub(crate) fn roll_back_write(&mut self) -> QueryResult<()> {
        Manages::rollback_transaction(self)
    }

    /// Checks that the transaction of a write is still open, after a statement failed:
    /// RAISE(ROLLBACK) of SQLite ends it, and what followed would be committed by itself.
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

    /// Lets one node at a time decide which database this is. The first statement of its
    /// transaction.
    pub(crate) fn lock_identity(&mut self) -> Result<(), StoreError> {
        match self {
            Self::Postgres(connection) => {
                Ok(connection.batch_execute("LOCK TABLE identity IN SHARE ROW EXCLUSIVE MODE")?)
            }
            // A file that cannot be written can still be read, and nothing is decided about it.
            Self::Sqlite(_) => match self.lock_to_write() {
                Err(StoreError::Fault(fault)) if fault.kind == FaultKind::ReadOnly => Ok(()),
                done => done,
            },
        }
    }

    /// Waits for other writers before a transaction reads what it will decide by. The first
    /// statement of its transaction: SQLite fails one at once that has read before it writes, if
    /// another program wrote meanwhile. Postgres locks row by row.
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

    /// Keeps others from changing a topic until the end of the transaction: what is read of it
    /// after that is what a write finds. SQLite has one writer at a time.
    pub(crate) fn lock_topic(&mut self, id: TopicId) -> Result<(), StoreError> {
        match self {
            // As an UPDATE locks it: rows of other tables may refer to it meanwhile.
            Self::Postgres(_) => self
                .modify_returning(sql_query(format!(
                    "SELECT id FROM topics WHERE id = {} FOR NO KEY UPDATE",
                    id.0
                )))
                .map(drop),
            Self::Sqlite(_) => Ok(()),
        }
    }

    /// Selects the revision that this transaction drew, how many rows of the log have it, the last
    /// of them, and the row before all of them; `WriteTx::stamped` reads that.
    pub(crate) const fn stamp_sql(&self) -> &'static str {
        match self {
            Self::Postgres(_) => {
                "SELECT number, (SELECT count(*) FROM changes WHERE revision = number) AS changes, \
                 last.id, last.kind, last.board_id, last.topic_id, \
                 to_char(last.at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US') AS at, \
                 before.revision AS before_revision, before.id AS before_id, \
                 before.kind AS before_kind, before.board_id AS before_board_id, \
                 before.topic_id AS before_topic_id, \
                 to_char(before.at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US') AS before_at \
                 FROM (SELECT nullif(current_setting('kairanban.revision', true), \
                 '')::bigint AS number) AS stamped \
                 LEFT JOIN changes AS last ON last.id = (SELECT max(id) FROM changes \
                 WHERE revision = number) \
                 LEFT JOIN changes AS before ON before.id = (SELECT id FROM changes \
                 WHERE revision < number AND revision >= 1 \
                 ORDER BY revision DESC, id DESC LIMIT 1)"
            }
            Self::Sqlite(_) => {
                "SELECT number, (SELECT count(*) FROM changes WHERE revision = number) AS changes, \
                 last.id, last.kind, last.board_id, last.topic_id, last.at, \
                 before.revision AS before_revision, before.id AS before_id, \
                 before.kind AS before_kind, before.board_id AS before_board_id, \
                 before.topic_id AS before_topic_id, before.at AS before_at \
                 FROM (SELECT CASE batch WHEN 2 THEN newest END AS number \
                 FROM revisions) AS stamped \
                 LEFT JOIN changes AS last ON last.id = (SELECT max(id) FROM changes \
                 WHERE revision = number) \
                 LEFT JOIN changes AS before ON before.id = (SELECT id FROM changes \
                 WHERE revision < number AND revision >= 1 \
                 ORDER BY revision DESC, id DESC LIMIT 1)"
            }
        }
    }

    /// Makes the commit draw a revision for what was logged without the triggers; SQLite's log
    /// draws by itself.
    pub(crate) fn begin_stamp(&mut self) -> QueryResult<()> {
        match self {
            Self::Postgres(connection) => connection.batch_execute("SELECT transaction_begun()"),
            Self::Sqlite(_) => Ok(()),
        }
    }

    /// Begins the archiver's transaction: with the order of commits locked, so that what is past
    /// the end of a full board stays so until the commit. SQLite waits for no lock: it has
    /// one writer at a time anyway.
    pub(crate) fn begin_archiving(&mut self) -> QueryResult<()> {
        match self {
            Self::Postgres(connection) => connection.batch_execute(
                "LOCK TABLE commit_order IN SHARE UPDATE EXCLUSIVE MODE; \
                    SET LOCAL kairanban.archiving = 'on'",
            ),
            Self::Sqlite(connection) => connection.batch_execute(
                "UPDATE revisions \
                SET archiving = 1",
            ),
        }
    }

    /// Ends what [`begin_archiving`](Self::begin_archiving) began, before the commit.
    pub(crate) fn end_archiving(&mut self) -> QueryResult<()> {
        match self {
            Self::Postgres(_) => Ok(()),
            Self::Sqlite(connection) => {
                connection.batch_execute("UPDATE revisions SET archiving = 0")
            }
        }
    }
}
