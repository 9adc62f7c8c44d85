//! What the server knows without counting, sampled when metrics are read.

use std::{fmt, time::Duration};

use kairanban_core::Revision;
use kairanban_store::PoolConnections;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{counter::ConstCounter, gauge::ConstGauge},
};

/// What this node is at one moment.
#[derive(Clone, Debug)]
pub struct Figures {
    /// Streams that are open.
    pub streams: usize,
    /// The most that may be open.
    pub streams_max: usize,
    /// Boards that are in memory.
    pub boards: usize,
    /// Reads of the database so far.
    pub database_reads: u64,
    /// The connections to the database.
    pub connections: PoolConnections,
    /// The revision up to which everything is published.
    pub published: Revision,
    /// The newest revision that this node has acknowledged to a writer.
    pub acknowledged: Revision,
    /// How long ago the last read of the log began that reached its end.
    pub since_reading: Duration,
    /// How long the log has been impossible to read, if it is.
    pub stale_for: Option<Duration>,
    /// Boards that cannot be read while others can.
    pub stale_boards: usize,
    /// Tokens that are in use.
    pub tokens: usize,
    /// Tickets that are in use.
    pub tickets: usize,
    /// Lines of the log that were lost.
    pub log_lines_lost: usize,
}

/// Samples the figures each time that metrics are read.
pub(super) struct Sampled(Box<dyn Fn() -> Figures + Send + Sync>);

impl Sampled {
    pub(super) fn new(sample: impl Fn() -> Figures + Send + Sync + 'static) -> Self {
        Self(Box::new(sample))
    }
}

impl fmt::Debug for Sampled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sampled")
    }
}

impl Collector for Sampled {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        for (name, help, row) in (self.0)().rows() {
            encode_row(&mut encoder, name, help, row)?;
        }
        Ok(())
    }
}

/// A value that was sampled. Names contain the unit.
pub(super) enum Row {
    Gauge(f64),
    Counter(u64),
    FloatCounter(f64),
}

pub(super) fn encode_row(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    row: Row,
) -> Result<(), fmt::Error> {
    let value: &dyn EncodeMetric = match row {
        Row::Gauge(value) => &ConstGauge::new(value),
        Row::Counter(value) => &ConstCounter::new(value),
        Row::FloatCounter(value) => &ConstCounter::new(value),
    };
    // As the library writes the help of what it keeps itself.
    let help = format!("{help}.");
    let kind = value.metric_type();
    value.encode(encoder.encode_descriptor(name, &help, None, kind)?)
}

#[expect(
    clippy::cast_precision_loss,
    reason = "exposed are numbers with a point"
)]
const fn number(value: u64) -> Row {
    Row::Gauge(value as f64)
}

const fn count(value: usize) -> Row {
    number(value as u64)
}

const fn seconds(value: Duration) -> Row {
    Row::Gauge(value.as_secs_f64())
}

/// Name, help and value.
type NamedRow = (&'static str, &'static str, Row);

impl Figures {
    fn rows(&self) -> impl Iterator<Item = NamedRow> {
        let others = [
            (
                "streams_max",
                "Streams that may be open",
                count(self.streams_max),
            ),
            ("boards_in_memory", "Boards in memory", count(self.boards)),
            (
                "tokens_in_use",
                "Tokens that requests and streams use",
                count(self.tokens),
            ),
            (
                "tickets_in_use",
                "Tickets that streams use",
                count(self.tickets),
            ),
            (
                "log_lines_lost",
                "Lines of the log that could not be written",
                Row::Counter(self.log_lines_lost as u64),
            ),
        ];
        let rows = others.into_iter().chain(self.of_follower());
        rows.chain(self.of_database())
    }

    fn of_follower(&self) -> [NamedRow; 5] {
        let published = self.published.get();
        let lag = self.acknowledged.get().saturating_sub(published);
        [
            (
                "revision",
                "Revision up to which everything is published",
                number(published),
            ),
            (
                "follower_lag_revisions",
                "Revisions that are acknowledged and not yet published",
                number(lag),
            ),
            (
                "follower_lag_seconds",
                "Time since the last read of the change log began that reached its end",
                seconds(self.since_reading),
            ),
            (
                "database_stale_seconds",
                "Time for which the change log has been impossible to read",
                seconds(self.stale_for.unwrap_or_default()),
            ),
            (
                "boards_stale",
                "Boards that cannot be read while others can",
                count(self.stale_boards),
            ),
        ]
    }

    fn of_database(&self) -> [NamedRow; 4] {
        let PoolConnections { open, idle, max } = self.connections;
        [
            (
                "database_reads",
                "Reads of the database",
                Row::Counter(self.database_reads),
            ),
            (
                "pool_connections",
                "Connections that are open",
                Row::Gauge(open.into()),
            ),
            (
                "pool_connections_idle",
                "Connections that are open and not in use",
                Row::Gauge(idle.into()),
            ),
            (
                "pool_connections_max",
                "Connections that may be open",
                Row::Gauge(max.into()),
            ),
        ]
    }
}
