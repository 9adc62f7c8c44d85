//! Measures what the server does, for `/metrics` and `/api/v1/stats`. The only place that knows the
//! names of metrics.
//!
//! ```text
//!   Metrics::new ─┬─▶ handles ──────▶ stream, follower, service, …   count what happens, by methods with typed arguments
//!                 └─▶ Registry ─┐
//!   AppState::figures ─ sample ─┴─▶ Exposition ─▶ /metrics           names, help and values as text
//! ```
//!
//! A part of the server holds the handles that it counts with, and learns no name. What the server
//! knows anyway (open connections, boards in memory, how far the follower is) is not counted twice:
//! an [`Exposition`] samples it as [`Figures`] whenever it is read, and so does `/api/v1/stats`.
//!
//! **Counting is cheap where it is frequent.** A dispatcher adds up what a batch of streams was
//! sent, and counts that once, by relaxed atomics. No label has values that clients can make up: no
//! board, no address, no path but a route's pattern.
//!
//! `docs/OPERATIONS.md` has a table of the metrics, and a test compares it with what the program
//! exports.

mod figures;
mod follower;
mod histogram;
mod labels;
#[cfg(target_os = "linux")]
mod process;
mod requests;
mod store;
mod streams;
mod tasks;

use std::{fmt, sync::Arc};

use prometheus_client::{
    encoding::prometheus_text::{CONTENT_TYPE, encode},
    metrics::info::Info,
    registry::Registry,
};
use serde::Serialize;

pub use figures::Figures;
pub use follower::{FollowerMetrics, WakeSource};
pub use requests::RequestMetrics;
pub use store::{CacheMetrics, PoolMetrics, WriteEnd, WriteMetrics};
pub use streams::{Sent, StreamEnd, StreamMetrics};
pub use tasks::TaskMetrics;

/// The handles that the parts of the server count with. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// Counts streams and what they are sent.
    pub streams: StreamMetrics,
    /// Counts requests and their refusals.
    pub requests: RequestMetrics,
    /// Counts what wakes the follower.
    pub follower: FollowerMetrics,
    /// Counts writes and their transactions.
    pub writes: WriteMetrics,
    /// Counts boards that come into memory.
    pub cache: CacheMetrics,
    /// Measures the waits for the database.
    pub pool: PoolMetrics,
    /// Counts restarts of tasks and threads.
    pub tasks: TaskMetrics,
}

impl Metrics {
    /// Creates the handles, and the registry that knows them by name.
    #[must_use]
    pub fn new() -> (Self, Registry) {
        let mut all = Registry::default();
        let ours = all.sub_registry_with_prefix("kairanban");
        let metrics = Self {
            streams: StreamMetrics::new(ours),
            requests: RequestMetrics::new(ours),
            follower: FollowerMetrics::new(ours),
            writes: WriteMetrics::new(ours),
            cache: CacheMetrics::new(ours),
            pool: PoolMetrics::new(ours),
            tasks: TaskMetrics::new(ours),
        };
        (metrics, all)
    }
}

/// What the program is, which does not change while it runs.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Build {
    /// The version of the program.
    pub version: &'static str,
    /// The commit that it was built from, if the build was given it.
    pub commit: Option<&'static str>,
    /// The kind of its database.
    pub database: &'static str,
}

impl Build {
    /// Describes this program on this kind of database.
    #[must_use]
    pub const fn on(database: &'static str) -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION"),
            commit: option_env!("GIT_COMMIT"),
            database,
        }
    }
}

/// Exposes all metrics as text. Cheap to clone.
#[derive(Clone)]
pub struct Exposition(Arc<Registry>);

impl Exposition {
    /// Exposes the metrics of `registry`, together with what `sample` returns at that moment.
    #[must_use]
    pub fn new(
        mut registry: Registry,
        build: Build,
        sample: impl Fn() -> Figures + Send + Sync + 'static,
    ) -> Self {
        let Build {
            version,
            commit,
            database,
        } = build;
        let labels = [
            ("version", version),
            ("commit", commit.unwrap_or_default()),
            ("database", database),
        ];
        let ours = registry.sub_registry_with_prefix("kairanban");
        ours.register("build", "What the program is", Info::new(labels));
        ours.register_collector(Box::new(figures::Sampled::new(sample)));
        #[cfg(target_os = "linux")]
        registry.register_collector(Box::new(process::ProcessCollector));
        Self(Arc::new(registry))
    }

    /// The media type of what [`write`](Self::write) returns.
    pub const MEDIA_TYPE: &str = CONTENT_TYPE;

    /// Writes all metrics in the text format of Prometheus, version 0.0.4, which every collector
    /// reads.
    ///
    /// # Errors
    /// If a metric cannot be written.
    pub fn write(&self) -> Result<String, fmt::Error> {
        let mut out = String::new();
        encode(&mut out, &self.0)?;
        Ok(out)
    }
}

impl fmt::Debug for Exposition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Exposition")
    }
}
