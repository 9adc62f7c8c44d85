//! Bounds of the store.

use std::{fmt, sync::Arc, time::Duration};

use crate::{DatabaseAddress, Timeouts};

/// Bounds of the use of the database.
#[derive(Clone, Debug)]
pub struct StoreConfig {
    /// Where the database is.
    pub address: DatabaseAddress,
    /// How long the database may take.
    pub timeouts: Timeouts,
    /// How long the first connection may take.
    pub first_connect: Duration,
    /// How many connections are open at most.
    pub pool_max: u32,
    /// How many of them may have been abandoned, because they do not answer, beside those.
    pub pool_abandoned_max: u32,
    /// How long a caller waits for one of them.
    pub pool_wait: Duration,
    /// Topics in a live list.
    pub topics_max: usize,
    /// Changes of a board that are read along with it, for readers that come back.
    pub replay_max: usize,
    /// Changes of a board that are searched for readers that come back from further away.
    pub resume_max: usize,
    /// Changes that are followed one by one; past that, whole boards are read again.
    pub changes_max: usize,
    /// Is called with the time of each wait.
    pub on_wait: OnWait,
}

/// What a caller waits for before its statement runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolWait {
    /// The permit to query the database, which requests take.
    Permit,
    /// A connection of the pool.
    Connection,
}

/// Is called after each wait, with its time. Must not block. By default it does nothing.
#[derive(Clone)]
pub struct OnWait(Arc<dyn Fn(PoolWait, Duration) + Send + Sync>);

impl OnWait {
    /// Calls `measure` after each wait.
    #[must_use]
    pub fn new(measure: impl Fn(PoolWait, Duration) + Send + Sync + 'static) -> Self {
        Self(Arc::new(measure))
    }

    pub(crate) fn call(&self, wait: PoolWait, time: Duration) {
        (self.0)(wait, time);
    }
}

impl Default for OnWait {
    fn default() -> Self {
        Self::new(|_, _| {})
    }
}

impl fmt::Debug for OnWait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OnWait")
    }
}
