//! The connections that the store shares.

mod lender;
mod manager;
mod permits;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use diesel::{Connection as _, connection::SimpleConnection as _};
use parking_lot::{FairMutex, FairMutexGuard, Mutex};

use self::permits::PoolPermits;
pub(crate) use self::{
    lender::{ConnectionLender, DedicatedConnection, DedicatedLender, LentConnection},
    manager::{Held, Manager, TrackedConnection},
};
use crate::{
    DatabaseAddress, OnWait, PoolWait, StoreConfig, StoreError, Timeouts,
    connection::{AnyConnection, restored_settings, transaction_settings},
    error::{Fault, FaultKind},
    sqlite_files::SqliteFiles,
};

/// How often all connections may be closed because one of them was read-only. While the database
/// is, each write is refused.
const OUTDATE_INTERVAL: Duration = Duration::from_secs(1);

/// How many connections the pool has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolConnections {
    /// Connections that are open, in use or not.
    pub open: u32,
    /// Connections that are open and not in use.
    pub idle: u32,
    /// The most that may be open.
    pub max: u32,
}

/// Connections, set up and good. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Pool {
    connections: r2d2::Pool<Manager>,
    permits: PoolPermits,
    /// The longest wait for a connection.
    wait_max: Duration,
    size_max: u32,
    /// What each transaction begins with, if a transaction pooler stands between: there is no
    /// connection then that could be set up, and only a transaction has a backend of its own.
    prelude: Option<Arc<str>>,
    /// What each write begins with: an owner's trigger may have left settings in the connection
    /// (`SET search_path`, `SET ROLE`).
    write_prelude: Arc<str>,
    /// Held while a SQLite file is written. SQLite lets in one writer at a time, and one that waits
    /// looks again now and then only: beside one that writes all the time it might never get in.
    write_lock: Option<Arc<FairMutex<()>>>,
    /// The longest wait for it: its holder may never come back.
    write_lock_wait: Duration,
    /// The files of a SQLite database; `None` on Postgres.
    files: Option<SqliteFiles>,
    /// Whether a reading failed although the database answered, since it was last asked.
    read_failed: Arc<AtomicBool>,
    /// Whether something of ours has refused a write, since it was last asked.
    write_failed: Arc<AtomicBool>,
    /// Counts the readings since the pool was opened.
    reads: Arc<AtomicU64>,
    /// Connections that were opened before are closed instead of used.
    outdated_at: Arc<Mutex<Option<Instant>>>,
    on_wait: OnWait,
    manager: Manager,
}

impl Pool {
    /// Opens the pool with its first connection.
    pub(crate) fn open(config: &StoreConfig) -> Result<Self, StoreError> {
        // Also with its own words: a pool that cannot connect says only that it waited.
        let patient = Timeouts {
            connect: config.first_connect,
            ..config.timeouts
        };
        let pooled = AnyConnection::is_pooled(&config.address, patient)?;
        let files = config.address.path().map(SqliteFiles::new);
        let manager = Manager {
            address: config.address.clone(),
            files: files.clone(),
            timeouts: config.timeouts,
            pooled,
        };
        let connections = r2d2::Pool::builder()
            // The permits keep those that are of use to `pool_max`.
            .max_size(config.pool_max.saturating_add(config.pool_abandoned_max))
            .min_idle(Some(0))
            .connection_timeout(config.pool_wait)
            // A ping before each use would double the round trips; `with` takes another if one is
            // dead.
            .test_on_check_out(false)
            // A caller that waits for a connection gets the cause; r2d2 would log each try.
            .error_handler(Box::new(r2d2::NopErrorHandler))
            .build_unchecked(manager.clone());
        // No request waits yet: the first connection may take longer than those that one would wait
        // for.
        drop(connections.get_timeout(config.first_connect)?);
        let prelude = pooled.then(|| transaction_settings(config.timeouts).into());
        let write_prelude = match (&prelude, &config.address) {
            (Some(prelude), _) => Arc::clone(prelude),
            (None, DatabaseAddress::Postgres(_)) => restored_settings(config.timeouts).into(),
            (None, DatabaseAddress::Sqlite(_)) => "".into(),
        };
        let write_lock = matches!(config.address, DatabaseAddress::Sqlite(_)).then(Arc::default);
        let write_lock_wait = config.pool_wait + config.timeouts.statement;
        let read_failed = Arc::default();
        // Before a request that waits for it is answered with 503: the next one finds it.
        let silence_max = config.timeouts.statement + config.pool_wait / 2;
        Ok(Self {
            connections,
            permits: PoolPermits::new(config.pool_max, config.pool_abandoned_max, silence_max),
            wait_max: config.pool_wait,
            size_max: config.pool_max,
            prelude,
            write_prelude,
            write_lock,
            files,
            write_lock_wait,
            read_failed,
            write_failed: Arc::default(),
            reads: Arc::default(),
            outdated_at: Arc::default(),
            on_wait: config.on_wait.clone(),
            manager,
        })
    }

    /// Returns whether a transaction pooler stands between this process and Postgres.
    pub(crate) const fn is_pooled(&self) -> bool {
        self.prelude.is_some()
    }

    /// Works on a connection of the pool. A connection that died while it lay there shows only when
    /// it is used; then another is taken, until one lives or all were tried.
    pub(crate) fn with<T>(
        &self,
        work: impl Fn(&mut AnyConnection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        let done = self.retry_if_outdated(|| {
            self.with_retry(|connection| {
                let done = within(self.prelude.as_deref(), connection, &work);
                done.map_err(|error| connection.with_grants(error))
            })
        });
        if let Err(StoreError::Fault(fault)) = &done {
            self.read_failed.store(true, Ordering::Relaxed);
            self.record_schema_fault(fault);
        }
        done.map_err(StoreError::of_reading)
    }

    /// Records that something of ours refuses what a server writes, if that is the fault: whether
    /// other writes fail by it, too, is for the writer to check.
    pub(crate) fn record_schema_fault(&self, fault: &Fault) {
        if fault.kind == FaultKind::Schema {
            tracing::error!(reason = %fault, "a write does not work");
            self.write_failed.store(true, Ordering::Relaxed);
        }
    }

    /// Returns whether something of ours has refused such a write, since the last call.
    pub(crate) fn take_write_failure(&self) -> bool {
        self.write_failed.swap(false, Ordering::Relaxed)
    }

    /// Returns the number of readings so far.
    pub(crate) fn reads(&self) -> u64 {
        self.reads.load(Ordering::Relaxed)
    }

    /// Returns how many connections there are.
    pub(crate) fn state(&self) -> PoolConnections {
        let state = self.connections.state();
        let abandoned = u32::try_from(self.permits.abandoned()).unwrap_or(u32::MAX);
        PoolConnections {
            open: state.connections.saturating_sub(abandoned),
            idle: state.idle_connections,
            max: self.size_max,
        }
    }

    /// Takes a connection, and measures how long that takes.
    fn get(&self) -> Result<Held, StoreError> {
        let began = Instant::now();
        let permit = self.permits.take(self.wait_max, || {
            // Those that are idle may be frozen, too.
            *self.outdated_at.lock() = Some(Instant::now());
        });
        let taken = permit.ok_or_else(|| {
            StoreError::Unavailable("all connections of the pool are in use".to_owned())
        });
        let taken = taken.and_then(|permit| {
            let left = self.wait_max.saturating_sub(began.elapsed());
            Ok(Held::new(self.connections.get_timeout(left)?, permit))
        });
        self.on_wait.call(PoolWait::Connection, began.elapsed());
        taken
    }

    /// Returns whether a reading failed although the database answered, since the last call.
    pub(crate) fn take_read_failure(&self) -> bool {
        self.read_failed.swap(false, Ordering::Relaxed)
    }

    /// Finds out what keeps a server from reading, if it is something that the database says.
    pub(crate) fn reading_fault(&self) -> Result<Option<String>, StoreError> {
        // A check reads no more than a few rows.
        if let Some(damage) = self.damage() {
            return Ok(Some(damage.to_string()));
        }
        match self.with_retry(|connection| {
            within(
                self.prelude.as_deref(),
                connection,
                AnyConnection::check_reading,
            )
        }) {
            Err(StoreError::Fault(fault)) if !fault.kind.passes() => Ok(Some(fault.to_string())),
            checked => checked.map(|()| None),
        }
    }

    /// Works on a connection of the pool under the write lock, for what writes but draws no
    /// revision.
    pub(crate) fn with_write_lock<T>(
        &self,
        work: impl Fn(&mut AnyConnection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let _lock = self.write_lock(None)?;
        let done =
            self.with(|connection| work(connection).inspect(|_| self.restore(connection)))?;
        self.check_files()?;
        Ok(done)
    }

    /// Sets a connection of the pool up again after a write, for those who read with it next.
    fn restore(&self, connection: &mut AnyConnection) {
        if self.prelude.is_none() && !self.write_prelude.is_empty() {
            // What was written is written. A connection that fails here is dead, and thrown away
            // when it is used next.
            let _ = connection.batch_execute(&self.write_prelude);
        }
    }

    /// Creates a connection for the caller alone, outside the pool.
    pub(crate) fn dedicated(&self) -> DedicatedConnection {
        DedicatedConnection::new(self.clone())
    }

    /// Takes the write lock of a SQLite file; Postgres has none. Waits at most for `patience`, or
    /// the time for a statement and a connection.
    pub(crate) fn write_lock(
        &self,
        patience: Option<Duration>,
    ) -> Result<Option<FairMutexGuard<'_, ()>>, StoreError> {
        let Some(write_lock) = &self.write_lock else {
            return Ok(None);
        };
        write_lock
            .try_lock_for(patience.unwrap_or(self.write_lock_wait))
            .map(Some)
            .ok_or_else(|| {
                StoreError::Unavailable("another write of this process does not end".to_owned())
            })
    }

    /// Returns the settings that each write begins with.
    pub(crate) fn write_prelude(&self) -> &str {
        &self.write_prelude
    }

    /// Returns the files of the database; `None` for Postgres.
    pub(crate) const fn files(&self) -> Option<&SqliteFiles> {
        self.files.as_ref()
    }

    /// Checks that what is committed to a SQLite file now is not lost.
    pub(crate) fn check_files(&self) -> Result<(), StoreError> {
        self.files.as_ref().map_or(Ok(()), SqliteFiles::check)
    }

    /// Returns what was found to be damaged in a SQLite file.
    pub(crate) fn damage(&self) -> Option<Fault> {
        self.files.as_ref().and_then(SqliteFiles::damage)
    }

    /// Records that a SQLite file is damaged, if something failed because of that.
    pub(crate) fn record_damage(&self, error: &StoreError) {
        self.files
            .iter()
            .for_each(|files| files.record_damage(error));
    }

    fn with_retry<T>(
        &self,
        work: impl Fn(&mut AnyConnection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let tries = (0..=self.size_max).map(|_| self.on_one(&work));
        let mut tries = tries.skip_while(|done| matches!(done, Err(StoreError::Disconnected(_))));
        match tries.next() {
            Some(done) => done.map_err(StoreError::without_retry),
            None => Err(StoreError::Unavailable(
                "every connection was lost".to_owned(),
            )),
        }
    }

    fn on_one<T>(
        &self,
        work: impl Fn(&mut AnyConnection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut pooled = self.take()?;
        // Until it is proven good: a panic in `work` must not put it back.
        pooled.tainted = true;
        pooled.ensure_current()?;
        let done = work(&mut pooled.connection).inspect_err(|error| self.record_damage(error));
        pooled.tainted = done
            .as_ref()
            .err()
            .is_some_and(StoreError::is_connection_fault);
        done
    }

    /// Takes a connection, and closes those that are outdated.
    fn take(&self) -> Result<Held, StoreError> {
        loop {
            let mut pooled = self.get()?;
            let outdated_at = *self.outdated_at.lock();
            if outdated_at.is_none_or(|at| at <= pooled.opened_at) {
                return Ok(pooled);
            }
            pooled.tainted = true;
        }
    }

    /// Does what may write, and again on another connection if one refuses because it is read-only:
    /// a connection stays so if the database, or the SQLite file, was when it connected. All others
    /// that are open then are closed instead of used. If that was done a moment ago, the database
    /// is read-only still.
    pub(crate) fn retry_if_outdated<T>(
        &self,
        attempt: impl Fn() -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        match attempt() {
            Err(error) if error.is_read_only() && self.outdate_connections() => attempt(),
            done => done,
        }
    }

    /// Marks all open connections as outdated, unless that was done a moment ago. Returns whether
    /// it did.
    fn outdate_connections(&self) -> bool {
        let mut outdated_at = self.outdated_at.lock();
        let is_due = outdated_at.is_none_or(|at| at.elapsed() >= OUTDATE_INTERVAL);
        if is_due {
            *outdated_at = Some(Instant::now());
        }
        is_due
    }
}

/// Runs `work`; within a transaction if there is a prelude to it.
fn within<T>(
    prelude: Option<&str>,
    connection: &mut AnyConnection,
    work: impl Fn(&mut AnyConnection) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    let Some(prelude) = prelude else {
        return work(connection);
    };
    connection.transaction(|connection| {
        connection.batch_execute(prelude)?;
        work(connection)
    })
}
