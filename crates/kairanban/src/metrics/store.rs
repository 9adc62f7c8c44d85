//! Counts what the database is asked for: writes, boards, connections.

use std::time::Duration;

use kairanban_store::PoolWait;
use prometheus_client::{
    metrics::{counter::Counter, family::Family},
    registry::{Registry, Unit},
};

use super::{
    histogram::Histogram,
    labels::{ByLabel, Labels, label_values},
};

label_values! {
    /// The outcome of a write.
    pub enum WriteEnd {
        /// It was committed, or an earlier one with its key was.
        Written = "written",
        /// It was refused, for what it asks.
        Refused = "refused",
        /// It was rolled back: others were in the way, or the database takes no writes.
        NotWritten = "not_written",
        /// It is not known whether it was committed: the database was away, or slow.
        Unavailable = "unavailable",
        /// A fault of the server.
        Internal = "internal",
    }
}

/// Counts writes and their transactions. Cheap to clone.
#[derive(Clone, Debug)]
pub struct WriteMetrics {
    ends: ByLabel<Counter>,
    group_size: Histogram,
    commit_time: Histogram,
}

impl WriteMetrics {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let metrics = Self {
            ends: ByLabel::new("result", WriteEnd::ALL),
            group_size: Histogram::of_sizes(),
            commit_time: Histogram::of_durations(),
        };
        registry.register(
            "writes",
            "Writes of clients, by outcome",
            metrics.ends.family.clone(),
        );
        registry.register(
            "write_group_size",
            "Writes that a committed transaction carried",
            metrics.group_size.clone(),
        );
        registry.register_with_unit(
            "commit",
            "Time of a committed write transaction, from its beginning",
            Unit::Seconds,
            metrics.commit_time.clone(),
        );
        metrics
    }

    /// Counts the outcome of a write.
    pub fn ended(&self, end: WriteEnd) {
        self.ends.of(end.as_str()).inc();
    }

    /// Counts a transaction that committed this many writes.
    pub fn committed(&self, writes: usize, took: Duration) {
        self.group_size.observe_size(writes);
        self.commit_time.observe(took);
    }
}

/// Counts boards that come into memory and leave it. Cheap to clone.
#[derive(Clone, Debug)]
pub struct CacheMetrics {
    loads: Counter,
    evictions: Counter,
}

impl CacheMetrics {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let metrics = Self {
            loads: Counter::default(),
            evictions: Counter::default(),
        };
        registry.register(
            "board_loads",
            "Boards that were read, from the database or from Redis",
            metrics.loads.clone(),
        );
        registry.register(
            "board_evictions",
            "Boards without readers that were removed from memory",
            metrics.evictions.clone(),
        );
        metrics
    }

    /// Counts a board that was read.
    pub fn loaded(&self) {
        self.loads.inc();
    }

    /// Counts boards that were removed.
    pub fn evicted(&self, boards: usize) {
        self.evictions.inc_by(boards as u64);
    }
}

/// Measures the waits for the database. Cheap to clone.
#[derive(Clone, Debug)]
pub struct PoolMetrics {
    permit: Histogram,
    connection: Histogram,
}

impl PoolMetrics {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let waits = Family::<Labels<1>, Histogram>::new_with_constructor(Histogram::of_durations);
        registry.register_with_unit(
            "pool_wait",
            "Time that a query waited before its statement ran",
            Unit::Seconds,
            waits.clone(),
        );
        Self {
            permit: waits.get_or_create_owned(&[("for", "permit")]),
            connection: waits.get_or_create_owned(&[("for", "connection")]),
        }
    }

    /// Counts a wait with its time.
    pub fn waited(&self, wait: PoolWait, time: Duration) {
        match wait {
            PoolWait::Permit => self.permit.observe(time),
            PoolWait::Connection => self.connection.observe(time),
        }
    }
}
