//! A write transaction, from begin to commit.
//!
//! ```text
//!  WriteTx::on_pool / on_session                       what the database does
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
//! **Retry lives at begin only.** Until `BEGIN` has succeeded nothing was written, so a connection that died while it was
//! idle is replaced by another. From there on it is unknown whether a lost connection committed, so nothing is done twice:
//! the error is final ([`StoreError::Unavailable`]), and the client repeats the request with its idempotency key.
//!
//! **A failure ends the transaction.** The first step that fails rolls back, and returns the error that is to be
//! reported. A transaction that is dropped before its commit closes its connection, and the database rolls back; a
//! connection that belongs to no pool is its owner's to close.
//!
//! Between `stamp` and `commit` other writers wait, on Postgres in all processes: nothing slow may stand there.
//!
//! The statements in which the databases differ are in `connection/transaction.rs`; the triggers in `migrations/`.

use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection as _;
use parking_lot::FairMutexGuard;

use crate::{
    StoreError,
    connection::AnyConnection,
    error::FaultKind,
    pool::{Idle, Lease, Lender, Pool, Session, replaced},
    stamp::{self, Stamp},
};

/// An open write transaction. It holds the write lock of a SQLite file, and a connection.
///
/// Every call blocks.
pub(crate) struct WriteTx<'p, L: Lender> {
    /// `None` for a connection that belongs to no pool.
    pool: Option<&'p Pool>,
    lender: L,
    /// `None` once the transaction has ended.
    lease: Option<L::Lease>,
    /// The mark of the SQLite file that is written.
    file: Option<String>,
    _write_lock: Option<FairMutexGuard<'p, ()>>,
}

impl<'p> WriteTx<'p, &'p Pool> {
    /// Begins on a connection of the pool.
    pub(crate) fn on_pool(pool: &'p Pool) -> Result<Self, StoreError> {
        Self::begin(Some(pool), pool, None)
    }
}

impl<'p> WriteTx<'p, Idle<'p>> {
    /// Begins on a session of its own. Waits for the write lock, and for each statement, at most for `patience`.
    pub(crate) fn on_session(
        session: &'p mut Session,
        patience: Duration,
    ) -> Result<Self, StoreError> {
        let (pool, idle) = session.parts();
        Self::begin(Some(pool), idle, Some(patience))
    }
}

impl<'c> WriteTx<'c, Only<'c>> {
    /// Begins on a connection that belongs to no pool.
    pub(crate) fn on_connection(connection: &'c mut AnyConnection) -> Result<Self, StoreError> {
        Self::begin(None, Only(Some(connection)), None)
    }
}

/// Lends the only connection that there is.
pub(crate) struct Only<'c>(Option<&'c mut AnyConnection>);

impl<'c> Lender for Only<'c> {
    type Lease = Borrowed<'c>;

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

impl Lease for Borrowed<'_> {
    fn connection(&mut self) -> &mut AnyConnection {
        self.0
    }

    fn file(&self) -> Option<&str> {
        None
    }

    fn set_tainted(&mut self, _: bool) {}
}

impl<'p, L: Lender> WriteTx<'p, L> {
    fn begin(
        pool: Option<&'p Pool>,
        mut lender: L,
        patience: Option<Duration>,
    ) -> Result<Self, StoreError> {
        let began = Instant::now();
        let write_lock = match pool {
            Some(pool) => pool.write_lock(patience)?,
            None => None,
        };
        let patience = patience.map(|patience| patience.saturating_sub(began.elapsed()));
        let file = file_of(pool)?;
        let mut lost = None;
        for _ in 0..lender.tries_max() {
            let mut lease = lender.lend()?;
            // Until it is proven good: after a panic it must not be used again.
            lease.set_tainted(true);
            // One that is open on a file that was moved away is as good as dead.
            if lease.file() != file.as_deref() {
                continue;
            }
            let prelude = pool.map_or("", Pool::write_prelude);
            match lease.connection().begin_write(prelude, patience) {
                Ok(()) => {
                    return Ok(Self {
                        pool,
                        lender,
                        lease: Some(lease),
                        file,
                        _write_lock: write_lock,
                    });
                }
                Err(StoreError::Disconnected(text)) => lost = Some(text),
                Err(error) => {
                    lease.set_tainted(error.is_connection_fault());
                    lender.take_back(lease);
                    return Err(error);
                }
            }
        }
        Err(StoreError::Unavailable(
            lost.unwrap_or_else(|| "every connection was lost".to_owned()),
        ))
    }

    /// Runs statements. Inside, `transaction` makes savepoints. If they fail, the transaction is over.
    pub(crate) fn run<T>(
        &mut self,
        work: impl FnOnce(&mut AnyConnection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let lease = self.lease.as_mut().ok_or_else(ended)?;
        match work(lease.connection()) {
            Ok(done) => Ok(done),
            Err(error) => Err(self.roll_back(error)),
        }
    }

    /// Draws the revision, so that it can be read. On Postgres the other writers wait from here on.
    pub(crate) fn stamp(&mut self) -> Result<(), StoreError> {
        self.run(|connection| Ok(connection.stamp()?))
    }

    /// Reads the revision and what has it, after [`stamp`](Self::stamp). Returns `None` if nothing changed.
    pub(crate) fn stamped(&mut self) -> Result<Option<Stamp>, StoreError> {
        self.run(stamp::read)
    }

    /// Commits, and returns the connection to where it came from.
    ///
    /// # Errors
    /// Of class [`Unavailable`](StoreError::Unavailable) if it is unknown whether it was committed.
    pub(crate) fn commit(mut self) -> Result<(), StoreError> {
        let (pool, file) = (self.pool, self.file.take());
        self.run(|connection| {
            // What is committed to a file that was moved away is lost.
            if file_of(pool)? != file {
                return Err(replaced());
            }
            Ok(connection.end_write()?)
        })?;
        let mut lease = self.lease.take().ok_or_else(ended)?;
        if let Err(error) = lease.connection().commit_write() {
            return Err(self.give_back(lease, error));
        }
        self.lender.restore(lease.connection());
        lease.set_tainted(false);
        self.lender.take_back(lease);
        Ok(())
    }

    /// Rolls back after a step that failed. Returns the error to report.
    fn roll_back(&mut self, error: StoreError) -> StoreError {
        let Some(mut lease) = self.lease.take() else {
            return error;
        };
        // The first error is the one to report; a connection that cannot roll back knows that it is broken.
        let _ = lease.connection().roll_back_write();
        self.give_back(lease, error)
    }

    /// Returns a connection to its lender after a failure. Returns the error to report.
    fn give_back(&mut self, mut lease: L::Lease, error: StoreError) -> StoreError {
        let error = match error {
            // A trigger may raise the code of a lost connection. As long as the session answers, it was rolled back.
            StoreError::Disconnected(text)
                if lease.connection().batch_execute("SELECT 1").is_ok() =>
            {
                StoreError::fault(FaultKind::Other, text)
            }
            // It is unknown whether it was committed, so it must not be tried again.
            error => error.without_retry(),
        };
        lease.set_tainted(error.is_connection_fault());
        self.lender.take_back(lease);
        error
    }
}

/// The mark of the SQLite file that lies where the pool's database should, if it is one.
fn file_of(pool: Option<&Pool>) -> Result<Option<String>, StoreError> {
    pool.map_or(Ok(None), Pool::file)
}

fn ended() -> StoreError {
    StoreError::Internal("the write transaction has ended".to_owned())
}

#[cfg(test)]
mod tests {
    use diesel::{RunQueryDsl as _, sql_query};
    use kairanban_core::Revision;

    use super::*;
    use crate::{DatabaseAddress, StoreConfig, Timeouts, history, migrate, sql::Number};

    const INSERT: &str = "INSERT INTO topics (board_id, comment) VALUES (1, 'a')";

    fn pool(folder: &tempfile::TempDir) -> Pool {
        let second = Duration::from_secs(1);
        let timeouts = Timeouts {
            connect: second,
            statement: second,
            key: second,
        };
        let address = DatabaseAddress::Sqlite(folder.path().join("board.db"));
        migrate(&address, timeouts, &"main".parse().expect("a name"), false).expect("migrated");
        Pool::open(&StoreConfig {
            address,
            timeouts,
            first_connect: second,
            pool_max: 2,
            pool_wait: second,
            topics_max: 9,
            replay_max: 9,
            resume_max: 9,
            changes_max: 9,
        })
        .expect("a pool")
    }

    fn insert(connection: &mut AnyConnection) -> Result<(), StoreError> {
        Ok(connection.batch_execute(INSERT)?)
    }

    fn count_topics(pool: &Pool) -> i64 {
        let count = pool.with(|connection| {
            let row: Number =
                sql_query("SELECT count(*) AS number FROM topics").get_result(connection)?;
            Ok(row.number.unwrap_or_default())
        });
        count.expect("a number")
    }

    #[test]
    fn a_commit_has_the_revision_that_was_stamped() {
        let folder = tempfile::tempdir().expect("a folder");
        let pool = pool(&folder);
        let mut tx = WriteTx::on_pool(&pool).expect("begun");
        tx.run(insert).expect("written");
        tx.stamp().expect("stamped");
        let stamp = tx.stamped().expect("read").expect("a change");
        tx.commit().expect("committed");
        let last = pool.with(history::newest).expect("read").expect("a row");
        assert_eq!((stamp.revision, stamp.last), (last.revision, Some(last)));
        assert!(stamp.revision > Revision::ZERO && count_topics(&pool) == 1);
    }

    #[test]
    fn a_step_that_fails_rolls_back_and_ends_the_transaction() {
        let folder = tempfile::tempdir().expect("a folder");
        let pool = pool(&folder);
        let mut session = pool.session();
        let mut tx = WriteTx::on_session(&mut session, Duration::from_secs(1)).expect("begun");
        tx.run(insert).expect("written");
        tx.run(|_| Err::<(), _>(StoreError::KeyReused))
            .expect_err("a failure");
        tx.run(insert).expect_err("it is over");
        tx.commit().expect_err("it is over");
        assert_eq!(count_topics(&pool), 0);
        let mut tx = WriteTx::on_session(&mut session, Duration::from_secs(1)).expect("begun");
        tx.run(insert).expect("written");
        tx.commit().expect("committed");
        assert_eq!(count_topics(&pool), 1);
    }

    #[test]
    fn a_transaction_that_is_dropped_is_not_committed() {
        let folder = tempfile::tempdir().expect("a folder");
        let pool = pool(&folder);
        let mut tx = WriteTx::on_pool(&pool).expect("begun");
        tx.run(insert).expect("written");
        drop(tx);
        assert_eq!(count_topics(&pool), 0);
        let mut tx = WriteTx::on_pool(&pool).expect("another connection, and the lock is free");
        tx.run(insert).expect("written");
        tx.commit().expect("committed");
        assert_eq!(count_topics(&pool), 1);
    }
}
