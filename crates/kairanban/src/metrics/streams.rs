//! Counts open streams and what they are sent.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Instant,
};

use kairanban_core::{KnownSince, Opening, ResetReason};
use prometheus_client::{
    metrics::{
        counter::{Atomic, Counter},
        family::Family,
        gauge::Gauge,
    },
    registry::{Registry, Unit},
};

use super::{
    histogram::Histogram,
    labels::{ByLabel, Labels, label_values},
};

label_values! {
    /// Why a stream ends, or is refused.
    pub enum StreamEnd {
        /// Its lifetime was over.
        Rotate = "rotate",
        /// The server is about to end.
        Shutdown = "shutdown",
        /// Its board is gone.
        Gone = "gone",
        /// Its reader may no longer read the board.
        Auth = "auth",
        /// A limit was reached.
        Limit = "limit",
        /// The board could not be read.
        Unavailable = "unavailable",
        /// The client left, or its connection broke.
        Client = "client",
        /// The client took nothing for too long.
        Stalled = "stalled",
        /// The request was a HEAD: there is nothing behind the head.
        Head = "head",
        /// Sending failed by a fault of the server.
        Failed = "failed",
    }
}

/// The reasons for which a stream is refused.
const REFUSALS: [&str; 3] = [
    StreamEnd::Limit.as_str(),
    StreamEnd::Shutdown.as_str(),
    StreamEnd::Unavailable.as_str(),
];

label_values! {
    /// What a stream begins with.
    pub enum OpeningKind {
        /// Nothing: its reader is up to date.
        Nothing = "nothing",
        /// What changed since its cursor.
        Patch = "patch",
        /// The list, to a reader that is further behind than a patch is worth.
        ListSince = "list_since",
        /// The list, to a reader that is new.
        List = "list",
        /// The list after `reset`: the reader's cursor is void.
        Reset = "reset",
    }
}

impl From<&Opening> for OpeningKind {
    fn from(opening: &Opening) -> Self {
        match opening {
            Opening::Nothing => Self::Nothing,
            Opening::Patch(_) => Self::Patch,
            Opening::SnapshotSince(_) => Self::ListSince,
            Opening::Snapshot { reset: None } => Self::List,
            Opening::Snapshot { reset: Some(_) } => Self::Reset,
        }
    }
}

/// A counter on a cache line of its own: counting elsewhere does not slow it down.
#[derive(Debug, Default)]
#[repr(align(128))]
struct OwnLine(AtomicU64);

impl Atomic<u64> for OwnLine {
    fn inc(&self) -> u64 {
        self.inc_by(1)
    }

    fn inc_by(&self, times: u64) -> u64 {
        self.0.fetch_add(times, Ordering::Relaxed)
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

type BusyCounter = Counter<u64, OwnLine>;

/// What was sent: a plain sum that one task keeps, until it counts it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// Events, heartbeats and the like.
    pub events: usize,
    /// Their bytes, as they are written to the socket.
    pub bytes: usize,
}

impl Sent {
    /// Adds events with their bytes.
    pub const fn add(&mut self, events: usize, bytes: usize) {
        self.events += events;
        self.bytes += bytes;
    }
}

/// Counts open streams and what they are sent. Cheap to clone.
#[derive(Clone, Debug)]
pub struct StreamMetrics {
    open: Family<Labels<1>, Gauge>,
    opened: ByLabel<Counter>,
    closed: ByLabel<Counter>,
    refused: ByLabel<Counter>,
    resets: ByLabel<Counter>,
    lagged: Counter,
    /// What was sent at once of what happened on a board.
    updates: Deliveries,
    /// Beginnings, heartbeats, ends, and what a client did not take at once.
    others: Deliveries,
    since_commit: Histogram,
    since_reading: Histogram,
}

#[derive(Clone, Debug)]
struct Deliveries {
    events: BusyCounter,
    bytes: BusyCounter,
}

impl Deliveries {
    fn count(&self, sent: Sent) {
        self.events.inc_by(sent.events as u64);
        self.bytes.inc_by(sent.bytes as u64);
    }
}

impl Default for StreamMetrics {
    /// Creates metrics that no registry knows.
    fn default() -> Self {
        Self::new(&mut Registry::default())
    }
}

impl StreamMetrics {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let (open, opened) = (Family::default(), ByLabel::new("opening", OpeningKind::ALL));
        let closed = ByLabel::new("reason", StreamEnd::ALL);
        let refused = ByLabel::new("reason", &REFUSALS);
        let reasons = ResetReason::ALL.map(ResetReason::as_str);
        let resets = ByLabel::new("reason", &reasons);
        let lagged = Counter::default();
        registry.register("streams", "Streams that are open", open.clone());
        registry.register(
            "streams_opened",
            "Streams that were opened, by what they were sent first",
            opened.family.clone(),
        );
        registry.register(
            "streams_closed",
            "Streams that ended, by the reason",
            closed.family.clone(),
        );
        registry.register(
            "streams_refused",
            "Streams that were refused by a success that ends at once",
            refused.family.clone(),
        );
        registry.register(
            "resets",
            "Times that a reader was sent `reset`",
            resets.family.clone(),
        );
        registry.register(
            "lagged",
            "Times that a reader was found to have fallen behind",
            lagged.clone(),
        );
        let (events, bytes) = (Family::default(), Family::default());
        registry.register("deliveries", "Events written to streams", events.clone());
        registry.register_with_unit(
            "delivered",
            "Bytes written to streams",
            Unit::Bytes,
            bytes.clone(),
        );
        let deliveries = |cause: &'static str| {
            let labels = [("cause", cause)];
            Deliveries {
                events: events.get_or_create_owned(&labels),
                bytes: bytes.get_or_create_owned(&labels),
            }
        };
        let delays = Family::<Labels<1>, Histogram>::new_with_constructor(Histogram::of_deliveries);
        registry.register_with_unit(
            "commit_to_socket",
            "Time from a commit until a reader's socket has taken it",
            Unit::Seconds,
            delays.clone(),
        );
        Self {
            open,
            opened,
            closed,
            refused,
            resets,
            lagged,
            updates: deliveries("update"),
            others: deliveries("other"),
            since_commit: delays.get_or_create_owned(&[("from", "commit")]),
            since_reading: delays.get_or_create_owned(&[("from", "reading")]),
        }
    }
}

impl StreamMetrics {
    /// Makes a format known, so that it shows before its first stream.
    pub fn know(&self, format: &'static str) {
        drop(self.open.get_or_create(&[("format", format)]));
    }

    /// Counts a stream that opens, by the name of its format.
    pub fn opened(&self, format: &'static str) {
        self.open.get_or_create(&[("format", format)]).inc();
    }

    /// Counts what a stream begins with; one of several boards with the most that one of them
    /// needs.
    pub fn began<'o>(&self, openings: impl IntoIterator<Item = &'o Opening>) {
        let kinds = openings.into_iter().map(OpeningKind::from);
        let most = kinds.max_by_key(|kind| *kind as usize);
        self.opened
            .of(most.unwrap_or(OpeningKind::Nothing).as_str())
            .inc();
    }

    /// Counts a stream that ends.
    pub fn closed(&self, format: &'static str, end: StreamEnd) {
        self.open.get_or_create(&[("format", format)]).dec();
        self.closed.of(end.as_str()).inc();
    }

    /// Counts a stream that is refused.
    pub fn refused(&self, reason: StreamEnd) {
        self.refused.of(reason.as_str()).inc();
    }

    /// Counts a `reset` that is sent.
    pub fn reset(&self, reason: ResetReason) {
        self.resets.of(reason.as_str()).inc();
    }

    /// Counts a reader that fell behind.
    pub fn lagged(&self) {
        self.lagged.inc();
    }

    /// Counts what a batch of streams was sent of something that happened, and how long that took
    /// since it was known of.
    pub fn updates_sent(&self, sent: Sent, known_since: Option<KnownSince>) {
        if sent.events == 0 {
            return;
        }
        self.updates.count(sent);
        let (histogram, at) = match known_since {
            Some(KnownSince::Commit(at)) => (&self.since_commit, at),
            Some(KnownSince::Reading(at)) => (&self.since_reading, at),
            None => return,
        };
        let delay = Instant::now().saturating_duration_since(at);
        histogram.observe_times(delay, sent.events as u64);
    }

    /// Counts what one stream was sent besides.
    pub fn others_sent(&self, sent: Sent) {
        if sent.events > 0 || sent.bytes > 0 {
            self.others.count(sent);
        }
    }
}
