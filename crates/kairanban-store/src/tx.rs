//! A write transaction, from begin to commit.
//!
//! ```text
//!  WriteTx::on_dedicated / commit_on_pool              what the database does
//!    │  begins on a connection that lives              BEGIN; the next connection, if this one is dead
//!    ▼
//!  run(work)      any number of times                  the triggers log each change, without a revision on Postgres
//!    ▼
//!  stamp()        draws the revision                   Postgres: takes the lock that puts commits in order
//!    ▼                                                 SQLite: it was drawn at the first change
//!  stamped(), run(read back)                           what was written, with the revision that readers will see
//!    ▼
//!  commit()                                            COMMIT; the connection goes back to where it came from
//! ```
//!
//! **Retry lives at begin only.** Until `BEGIN` has succeeded nothing was written, so a connection
//! that died while it was idle is replaced by another. From there on it is unknown whether a lost
//! connection committed, so nothing is done twice: the error is final
//! ([`StoreError::Unavailable`]), and the client repeats the request with its idempotency key. The
//! one exception is a connection that turns out to be read-only: nothing can have been written on
//! it, so [`commit_on_pool`](WriteTx::commit_on_pool) runs the work again on another.
//!
//! **A failure ends the transaction.** The first step that fails rolls back, and returns the error
//! that is to be reported. A transaction that is dropped before its commit closes its connection,
//! and the database rolls back; a connection that belongs to no pool is its owner's to close.
//!
//! Between `stamp` and `commit` other writers wait, on Postgres in all processes: nothing slow may
//! stand there. ADR 2 says why the revision is drawn there, and by triggers.
//!
//! The statements in which the databases differ are in `connection/transaction.rs`; the triggers in
//! `migrations/`.

use std::time::Instant;

use diesel::{
    QueryableByName, RunQueryDsl as _,
    connection::SimpleConnection as _,
    sql_types::{BigInt, Binary, Nullable, Text},
};
use kairanban_core::{LogRow, Revision};
use parking_lot::FairMutexGuard;

use crate::{
    StoreError,
    connection::{AnyConnection, WaitLimits},
    error::FaultKind,
    lenient::{AnyNumber, LossyText},
    pool::{ConnectionLender, DedicatedConnection, DedicatedLender, LentConnection, Pool},
    rows::StoredLogRow,
    sql::Fixed,
};

/// An open write transaction. It holds the write lock of a SQLite file, and a connection.
///
/// Every call blocks.
pub(crate) struct WriteTx<'p, L: ConnectionLender> {
    /// `None` for a connection that belongs to no pool.
    pool: Option<&'p Pool>,
    lender: L,
    /// `None` once the transaction has ended.
    lent: Option<L::Lent>,
    _write_lock: Option<FairMutexGuard<'p, ()>>,
}

impl<'p> WriteTx<'p, &'p Pool> {
    /// Begins on a connection of the pool.
    fn on_pool(pool: &'p Pool) -> Result<Self, StoreError> {
        Self::begin(Some(pool), pool, None)
    }

    /// Commits what `work` writes on a connection of the pool; on another one if that was
    /// read-only.
    pub(crate) fn commit_on_pool<T>(
        pool: &'p Pool,
        work: impl Fn(&mut Self) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let done = pool.retry_if_outdated(|| {
            let mut tx = Self::on_pool(pool)?;
            let done = work(&mut tx)?;
            tx.commit()?;
            Ok(done)
        });
        if let Err(StoreError::Fault(fault)) = &done {
            pool.record_schema_fault(fault);
        }
        done
    }
}

impl<'p> WriteTx<'p, DedicatedLender<'p>> {
    /// Begins on a connection of its own. Waits for the write lock of SQLite as for a statement.
    pub(crate) fn on_dedicated(
        dedicated: &'p mut DedicatedConnection,
        wait_limits: WaitLimits,
    ) -> Result<Self, StoreError> {
        let (pool, idle) = dedicated.parts();
        Self::begin(Some(pool), idle, Some(wait_limits))
    }
}

impl<'c> WriteTx<'c, BorrowedLender<'c>> {
    /// Begins on a connection that belongs to no pool.
    pub(crate) fn on_connection(connection: &'c mut AnyConnection) -> Result<Self, StoreError> {
        Self::begin(None, BorrowedLender(Some(connection)), None)
    }
}

/// Lends the only connection that there is.
pub(crate) struct BorrowedLender<'c>(Option<&'c mut AnyConnection>);

impl<'c> ConnectionLender for BorrowedLender<'c> {
    type Lent = Borrowed<'c>;

    fn tries_max(&self) -> usize {
        1
    }

    fn lend(&mut self) -> Result<Borrowed<'c>, StoreError> {
        self.0.take().map(Borrowed).ok_or_else(ended)
    }

    fn take_back(&mut self, _: Borrowed<'c>) {}
}

/// A connection that its owner goes on to use, or closes.
pub(crate) struct Borrowed<'c>(&'c mut AnyConnection);

impl LentConnection for Borrowed<'_> {
    fn connection(&mut self) -> &mut AnyConnection {
        self.0
    }

    fn ensure_current(&self) -> Result<(), StoreError> {
        Ok(())
    }

    fn set_tainted(&mut self, _: bool) {}
}

impl<'p, L: ConnectionLender> WriteTx<'p, L> {
    fn begin(
        pool: Option<&'p Pool>,
        mut lender: L,
        wait_limits: Option<WaitLimits>,
    ) -> Result<Self, StoreError> {
        let began = Instant::now();
        let write_lock = match pool {
            Some(pool) => pool.write_lock(wait_limits.map(|wait_limits| wait_limits.statement))?,
            None => None,
        };
        let wait_limits = wait_limits.map(|wait_limits| WaitLimits {
            statement: wait_limits.statement.saturating_sub(began.elapsed()),
            ..wait_limits
        });
        let mut lost = None;
        for _ in 0..lender.tries_max() {
            let mut lent = lender.lend()?;
            // Until it is proven good: after a panic it must not be used again.
            lent.set_tainted(true);
            let prelude = pool.map_or("", Pool::write_prelude);
            // One that is open on a file that was moved away is as good as dead.
            let begun = lent
                .ensure_current()
                .and_then(|()| lent.connection().begin_write(prelude, wait_limits));
            match begun {
                Ok(()) => {
                    return Ok(Self {
                        pool,
                        lender,
                        lent: Some(lent),
                        _write_lock: write_lock,
                    });
                }
                Err(StoreError::Disconnected(text)) => lost = Some(text),
                Err(error) => {
                    pool.iter().for_each(|pool| pool.record_damage(&error));
                    lent.set_tainted(error.is_connection_fault());
                    lender.take_back(lent);
                    return Err(error);
                }
            }
        }
        Err(StoreError::Unavailable(
            lost.unwrap_or_else(|| "every connection was lost".to_owned()),
        ))
    }

    /// Runs statements. Inside, `transaction` makes savepoints. If they fail, the transaction is
    /// over.
    pub(crate) fn run<T>(
        &mut self,
        work: impl FnOnce(&mut AnyConnection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let lent = self.lent.as_mut().ok_or_else(ended)?;
        match work(lent.connection()) {
            Ok(done) => Ok(done),
            Err(error) => Err(self.roll_back(error)),
        }
    }

    /// Draws the revision, so that it can be read. On Postgres the other writers wait from here on.
    pub(crate) fn stamp(&mut self) -> Result<(), StoreError> {
        self.run(AnyConnection::stamp)
    }

    /// Reads what the transaction came to, after [`stamp`](Self::stamp). Returns `None` if nothing
    /// changed.
    pub(crate) fn stamped(&mut self) -> Result<Option<Stamp>, StoreError> {
        self.run(|connection| {
            let row: StampRow = Fixed(connection.stamp_sql()).get_result(connection)?;
            Ok(row.into_stamp())
        })
    }

    /// Commits, and returns the connection to where it came from.
    ///
    /// # Errors
    /// Of class [`Unavailable`](StoreError::Unavailable) if it is unknown whether it was committed.
    pub(crate) fn commit(mut self) -> Result<(), StoreError> {
        let pool = self.pool;
        let current = self.lent.as_ref().ok_or_else(ended)?.ensure_current();
        self.run(|connection| {
            // What is committed to a file that was moved away is lost.
            current.map_err(StoreError::without_retry)?;
            connection.end_write()?;
            // Committing may copy what is there into the database.
            check_files(pool)
        })?;
        let mut lent = self.lent.take().ok_or_else(ended)?;
        let committed = lent
            .connection()
            .commit_write(|error| pool.iter().for_each(|pool| pool.record_damage(error)));
        if let Err(error) = committed.and_then(|()| check_files(pool)) {
            return Err(self.give_back(lent, error));
        }
        self.lender.restore(lent.connection());
        lent.set_tainted(false);
        self.lender.take_back(lent);
        Ok(())
    }

    /// Rolls back what was done only to see whether it can be done.
    pub(crate) fn cancel(mut self) -> Result<(), StoreError> {
        self.run(|connection| Ok(connection.roll_back_write()?))?;
        let mut lent = self.lent.take().ok_or_else(ended)?;
        self.lender.restore(lent.connection());
        lent.set_tainted(false);
        self.lender.take_back(lent);
        Ok(())
    }

    /// Rolls back after a step that failed. Returns the error to report.
    fn roll_back(&mut self, error: StoreError) -> StoreError {
        let Some(mut lent) = self.lent.take() else {
            return error;
        };
        // The first error is the one to report; a connection that cannot roll back knows that it is
        // broken.
        let _ = lent.connection().roll_back_write();
        self.give_back(lent, error)
    }

    /// Returns a connection to its lender after a failure. Returns the error to report.
    fn give_back(&mut self, mut lent: L::Lent, error: StoreError) -> StoreError {
        let error = match error {
            // A trigger may raise the code of a lost connection. As long as it answers, it
            // was rolled back.
            StoreError::Disconnected(text)
                if lent.connection().batch_execute("SELECT 1").is_ok() =>
            {
                StoreError::fault(FaultKind::Other, text)
            }
            // It is unknown whether it was committed, so it must not be tried again.
            error => error.without_retry(),
        };
        self.pool.iter().for_each(|pool| pool.record_damage(&error));
        lent.set_tainted(error.is_connection_fault());
        let error = lent.connection().with_grants(error);
        self.lender.take_back(lent);
        error
    }
}

/// Checks that what is committed to a SQLite file now is not lost.
fn check_files(pool: Option<&Pool>) -> Result<(), StoreError> {
    pool.map_or(Ok(()), Pool::check_files)
}

fn ended() -> StoreError {
    StoreError::Internal("the write transaction has ended".to_owned())
}

/// The place of a transaction in the order of commits, and what it wrote to the log.
#[derive(Clone, Debug)]
pub(crate) struct Stamp {
    /// The revision of the transaction.
    pub(crate) revision: Revision,
    /// How many rows of the log have it.
    pub(crate) changes: usize,
    /// The last row of the log that has it.
    pub(crate) last: Option<LogRow>,
    /// The row before all that have it.
    pub(crate) before: Option<LogRow>,
}

/// A [`Stamp`] as the statement selects it; `number` is the revision, null if nothing changed.
#[derive(QueryableByName)]
struct StampRow {
    #[diesel(sql_type = Nullable<BigInt>)]
    number: Option<i64>,
    #[diesel(sql_type = BigInt)]
    changes: i64,
    #[diesel(sql_type = Nullable<BigInt>)]
    id: Option<i64>,
    #[diesel(sql_type = Text)]
    kind: LossyText,
    #[diesel(sql_type = BigInt)]
    board_id: AnyNumber,
    #[diesel(sql_type = Nullable<BigInt>)]
    topic_id: Option<i64>,
    #[diesel(sql_type = Nullable<Binary>)]
    at: Option<Vec<u8>>,
    #[diesel(sql_type = BigInt)]
    before_revision: AnyNumber,
    #[diesel(sql_type = Nullable<BigInt>)]
    before_id: Option<i64>,
    #[diesel(sql_type = Text)]
    before_kind: LossyText,
    #[diesel(sql_type = BigInt)]
    before_board_id: AnyNumber,
    #[diesel(sql_type = Nullable<BigInt>)]
    before_topic_id: Option<i64>,
    #[diesel(sql_type = Nullable<Binary>)]
    before_at: Option<Vec<u8>>,
}

impl StampRow {
    fn into_stamp(self) -> Option<Stamp> {
        let number = AnyNumber(self.number?);
        let last = self.id.map(|id| StoredLogRow {
            id,
            revision: number,
            kind: self.kind,
            board_id: self.board_id,
            topic_id: self.topic_id,
            at: self.at,
        });
        let before = self.before_id.map(|id| StoredLogRow {
            id,
            revision: self.before_revision,
            kind: self.before_kind,
            board_id: self.before_board_id,
            topic_id: self.before_topic_id,
            at: self.before_at,
        });
        Some(Stamp {
            revision: number.revision()?,
            changes: usize::try_from(self.changes).unwrap_or(usize::MAX),
            last: last.and_then(StoredLogRow::into_log_row),
            before: before.and_then(StoredLogRow::into_log_row),
        })
    }
}

#[cfg(test)]
mod tests;
