//! How the pool makes connections and recognizes bad ones.

use std::{
    ops::{Deref, DerefMut},
    time::Instant,
};

use diesel::{Connection as _, r2d2::R2D2Connection as _};

use super::permits::{Activity, PoolPermit};
use crate::{
    DatabaseAddress, StoreError, Timeouts,
    connection::AnyConnection,
    sqlite_files::{OpenFile, SqliteFiles, soundness},
};

/// How the pool makes connections and recognizes bad ones.
#[derive(Clone, Debug)]
pub(crate) struct Manager {
    pub(super) address: DatabaseAddress,
    /// The files of a SQLite database; `None` on Postgres.
    pub(super) files: Option<SqliteFiles>,
    pub(super) timeouts: Timeouts,
    /// Whether a transaction pooler stands between.
    pub(super) pooled: bool,
}

/// A connection with a note whether it has to be closed.
pub(crate) struct TrackedConnection {
    pub(super) connection: AnyConnection,
    /// The file that it was opened on; dropped after it.
    pub(super) file: Option<OpenFile>,
    /// When it began to connect.
    pub(super) opened_at: Instant,
    /// Whether it must not be used again.
    pub(super) tainted: bool,
    pub(super) activity: Activity,
}

impl TrackedConnection {
    /// Checks that it is open on the files that are at the path now; Postgres has no files.
    ///
    /// # Errors
    /// [`StoreError::Disconnected`] if it is not; [`StoreError::Unavailable`] if no file lies there
    /// or none may be used.
    pub(crate) fn ensure_current(&self) -> Result<(), StoreError> {
        self.file.as_ref().map_or(Ok(()), OpenFile::ensure_current)
    }
}

/// A connection of the pool, in use.
pub(crate) struct Held {
    pooled: r2d2::PooledConnection<Manager>,
    // Dropped last: a caller that waits for it finds the connection in the pool.
    permit: PoolPermit,
}

impl Held {
    pub(super) fn new(pooled: r2d2::PooledConnection<Manager>, permit: PoolPermit) -> Self {
        permit.watch(&pooled.activity);
        Self { pooled, permit }
    }
}

impl Deref for Held {
    type Target = TrackedConnection;

    fn deref(&self) -> &TrackedConnection {
        &self.pooled
    }
}

impl DerefMut for Held {
    fn deref_mut(&mut self) -> &mut TrackedConnection {
        &mut self.pooled
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // Another connection was opened instead.
        if self.permit.is_abandoned() {
            self.pooled.tainted = true;
        }
    }
}

impl Manager {
    pub(super) fn open(&self) -> Result<TrackedConnection, StoreError> {
        let opened_at = Instant::now();
        let (mut connection, file) = match &self.files {
            Some(files) => {
                let opened = files.open(
                    || AnyConnection::open(&self.address, self.timeouts),
                    soundness::check,
                )?;
                (opened.0, Some(opened.1))
            }
            None if self.pooled => {
                let mut connection = AnyConnection::connect(&self.address, self.timeouts)?;
                connection.prepare_nothing();
                (connection, None)
            }
            None => (AnyConnection::open(&self.address, self.timeouts)?, None),
        };
        let activity = Activity::default();
        // A statement of SQLite may take its time: it is in this process, and always ends.
        if matches!(self.address, DatabaseAddress::Postgres(_)) {
            connection.set_instrumentation(activity.clone());
        }
        Ok(TrackedConnection {
            connection,
            file,
            opened_at,
            tainted: false,
            activity,
        })
    }
}

impl r2d2::ManageConnection for Manager {
    type Connection = TrackedConnection;
    type Error = StoreError;

    fn connect(&self) -> Result<TrackedConnection, StoreError> {
        self.open()
    }

    fn is_valid(&self, pooled: &mut TrackedConnection) -> Result<(), StoreError> {
        Ok(pooled.connection.ping()?)
    }

    fn has_broken(&self, pooled: &mut TrackedConnection) -> bool {
        pooled.tainted || pooled.connection.is_broken()
    }
}
