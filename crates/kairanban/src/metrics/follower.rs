//! Counts what wakes the follower.

use prometheus_client::{metrics::counter::Counter, registry::Registry};

use super::labels::{ByLabel, label_values};

label_values! {
    /// What makes the follower read the log.
    pub enum WakeSource {
        /// A commit of this process.
        Own = "own",
        /// A notification of Postgres.
        Listen = "listen",
        /// A message of Redis.
        Redis = "redis",
        /// The counter of SQLite.
        DataVersion = "data_version",
        /// A reader that waits for a revision.
        Reader = "reader",
        /// Nothing: it was time to look.
        Poll = "poll",
    }
}

/// Counts what wakes the follower. Cheap to clone.
#[derive(Clone, Debug)]
pub struct FollowerMetrics {
    wakes: ByLabel<Counter>,
}

impl Default for FollowerMetrics {
    /// Creates metrics that no registry knows.
    fn default() -> Self {
        Self::new(&mut Registry::default())
    }
}

impl FollowerMetrics {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let wakes = ByLabel::new("source", WakeSource::ALL);
        registry.register(
            "wakes",
            "Signals to read the change log, by what sent them",
            wakes.family.clone(),
        );
        Self { wakes }
    }

    /// Counts a signal from `source`.
    pub fn woken(&self, source: WakeSource) {
        self.wakes.of(source.as_str()).inc();
    }
}
