//! What lends connections to write transactions: the pool, or a connection of the writer's own.

use std::ops::DerefMut;

use super::{Held, Pool, TrackedConnection};
use crate::{StoreError, connection::AnyConnection, error::FaultKind};

/// A connection on loan.
pub(crate) trait LentConnection {
    /// Returns the connection that is lent, to run statements on.
    fn connection(&mut self) -> &mut AnyConnection;

    /// Checks that it is open on the files that are at the path now.
    ///
    /// # Errors
    /// As [`TrackedConnection::ensure_current`].
    fn ensure_current(&self) -> Result<(), StoreError>;

    /// Notes whether it must not be used again.
    fn set_tainted(&mut self, is_tainted: bool);
}

impl<P: DerefMut<Target = TrackedConnection>> LentConnection for P {
    fn connection(&mut self) -> &mut AnyConnection {
        &mut self.connection
    }

    fn ensure_current(&self) -> Result<(), StoreError> {
        TrackedConnection::ensure_current(self)
    }

    fn set_tainted(&mut self, is_tainted: bool) {
        self.tainted = is_tainted;
    }
}

/// Lends connections to write transactions.
pub(crate) trait ConnectionLender {
    /// What a connection is lent as.
    type Lent: LentConnection;

    /// Returns how many connections are tried until one works.
    fn tries_max(&self) -> usize;

    /// Lends a connection, which may turn out to be dead.
    fn lend(&mut self) -> Result<Self::Lent, StoreError>;

    /// Sets a connection up again after a commit, for those who use it next.
    fn restore(&self, _: &mut AnyConnection) {}

    /// Takes a connection back, and closes it if it is tainted.
    fn take_back(&mut self, lent: Self::Lent);
}

impl ConnectionLender for &Pool {
    type Lent = Held;

    fn tries_max(&self) -> usize {
        usize::try_from(self.size_max)
            .unwrap_or(usize::MAX)
            .saturating_add(1)
    }

    fn lend(&mut self) -> Result<Self::Lent, StoreError> {
        self.take()
    }

    fn restore(&self, connection: &mut AnyConnection) {
        Pool::restore(self, connection);
    }

    // The pool closes a tainted one by itself.
    fn take_back(&mut self, _: Self::Lent) {}
}

/// A connection for writing, outside the pool: if it never answers, no other work lacks a
/// connection.
pub(crate) struct DedicatedConnection {
    pool: Pool,
    idle: Option<Box<TrackedConnection>>,
}

impl DedicatedConnection {
    /// Creates one that connects at its first use.
    pub(super) const fn new(pool: Pool) -> Self {
        Self { pool, idle: None }
    }

    /// Returns the pool, and what lends the connection.
    pub(crate) const fn parts(&mut self) -> (&Pool, DedicatedLender<'_>) {
        let Self { pool, idle } = self;
        (pool, DedicatedLender { pool, idle })
    }

    /// Returns whether other programs can only write in turn with this one, so that waiting for
    /// them is all that can be slow.
    pub(crate) const fn has_one_writer(&self) -> bool {
        self.pool.write_lock.is_some()
    }

    /// Checks that the connection may write, by one short statement and without a transaction.
    pub(crate) fn check_writable(&mut self) -> Result<(), StoreError> {
        let mut pooled = self
            .idle
            .take()
            .filter(|idle| idle.ensure_current().is_ok())
            .map_or_else(|| self.pool.manager.open().map(Box::new), Ok)?;
        if !pooled.connection.is_writable()? {
            return Err(StoreError::fault(
                FaultKind::ReadOnly,
                "it takes no writes of this role (a standby, or default_transaction_read_only)",
            ));
        }
        self.idle = Some(pooled);
        Ok(())
    }
}

/// Lends the one connection of a [`DedicatedConnection`], or opens another if that is dead.
pub(crate) struct DedicatedLender<'s> {
    pool: &'s Pool,
    idle: &'s mut Option<Box<TrackedConnection>>,
}

impl ConnectionLender for DedicatedLender<'_> {
    type Lent = Box<TrackedConnection>;

    fn tries_max(&self) -> usize {
        // One that died while it was idle shows only when it is used.
        if self.idle.is_some() { 2 } else { 1 }
    }

    fn lend(&mut self) -> Result<Box<TrackedConnection>, StoreError> {
        self.idle
            .take()
            .map_or_else(|| self.pool.manager.open().map(Box::new), Ok)
    }

    fn take_back(&mut self, mut lent: Box<TrackedConnection>) {
        if !lent.tainted && !lent.connection.is_broken() {
            *self.idle = Some(lent);
        }
    }
}
