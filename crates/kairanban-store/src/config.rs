//! Bounds of the store.

use std::time::Duration;

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
}
