//! Open streams: what they are sent, and when they end.
//!
//! ```text
//!   Hub ─ broadcast ─▶ Subscription ─▶ BoardStream / MultiBoardStream ─▶ chunks ─┬─▶ raw_writer ─▶ socket taken from actix
//!                        ▲                 │ lifetime: what was queued,          └─▶ ChunkReceiver ─▶ body, WebSocket
//!   dispatcher ──────────┘                 │ then timers, then events
//!   one task of a worker calls on          │
//!   the streams of a board in turn         ├─▶ core::ReaderPosition::on(event) ─▶ Step   what the reader is sent
//!                                          ├─▶ Encoder                                  how that is written
//!   timer_wheel ── heartbeat, rotation ──▶ lifetime ◀── permission_watch, drain         when the stream ends
//! ```
//!
//! A stream holds a subscription and its reader's position, and does what
//! [`ReaderPosition::on`](kairanban_core::ReaderPosition::on) decides about each event. It decides
//! nothing itself: the model and the interleavings of the core's tests call the same function.
//!
//! **Readers share what they have in common.** An update is encoded once and shared; a stream
//! queues references to it. A stream has no task and no timer of its own: a
//! [`dispatcher`](WorkerDispatchers) wakes it when there are events, the [`TimerWheel`] otherwise.
//!
//! **A stream ends** by rotation, by the drain, with its last board, with its reader's permission,
//! or because its client is gone or does not read. `lifetime` knows the first four and writes
//! `bye`; the writer finds the others.

mod board_stream;
mod chunk_receiver;
mod dispatcher;
mod lifetime;
mod multi_board_stream;
mod permission_watch;
mod raw_writer;
mod timer_wheel;

use std::{
    rc::Weak,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;

use crate::{
    auth::Caller,
    config,
    encode::{Bye, Chunk, Encoder},
    follower::FollowerStatus,
    limits::{ClientGate, GatePermit},
    metrics::{StreamEnd, StreamMetrics},
    shutdown::Drain,
};

pub use board_stream::BoardStream;
pub use chunk_receiver::{ChunkReceiver, sent};
use dispatcher::Subscriber;
pub use dispatcher::WorkerDispatchers;
pub use multi_board_stream::MultiBoardStream;
pub use raw_writer::send;
use timer_wheel::Ticks;
pub use timer_wheel::TimerWheel;

/// An open stream, in any format.
pub trait UpdateSource: 'static {
    /// The registrations of the stream at dispatchers, unless it keeps them itself.
    type Registrations;

    /// Registers `subscriber`, which is notified of the events of the stream.
    fn join(
        &mut self,
        dispatchers: &WorkerDispatchers,
        subscriber: Weak<dyn Subscriber>,
    ) -> Self::Registrations;

    /// Returns what to send next, or `None` at the end. While there is nothing, the task is woken
    /// by everything but events.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Vec<Chunk>>>;

    /// Notes why the stream is about to be dropped, unless it has ended by itself.
    fn cut(&mut self, end: StreamEnd);

    /// Returns what counts what the stream is sent.
    fn metrics(&self) -> &StreamMetrics;
}

impl From<Bye> for StreamEnd {
    fn from(reason: Bye) -> Self {
        match reason {
            Bye::Rotate => Self::Rotate,
            Bye::Shutdown => Self::Shutdown,
            Bye::Gone => Self::Gone,
            Bye::Auth => Self::Auth,
            Bye::Limit => Self::Limit,
            Bye::Unavailable => Self::Unavailable,
        }
    }
}

/// The heartbeat, the lifetime and `retry` of all streams.
#[derive(Clone, Copy, Debug)]
pub struct StreamTiming {
    heartbeat: Duration,
    /// The heartbeat in ticks, which each delivery calculates with.
    heartbeat_ticks: Ticks,
    lifetime: Duration,
    retry_min: Duration,
    retry_max: Duration,
    retry_refused: Duration,
}

impl StreamTiming {
    /// Takes the times from the configuration.
    #[must_use]
    pub fn new(config: &config::StreamSettings) -> Self {
        let heartbeat = config.heartbeat;
        Self {
            heartbeat,
            heartbeat_ticks: heartbeat.into(),
            lifetime: config.lifetime,
            retry_min: config.retry_min,
            retry_max: config.retry_max,
            retry_refused: config.retry_refused,
        }
    }

    /// Returns the silence before a heartbeat: up to a sixteenth less than configured, so that
    /// readers who were sent an update together are not woken together.
    fn silence(&self) -> Ticks {
        let Ticks(most) = self.heartbeat_ticks;
        Ticks(most - fastrand::u32(0..=most / 16))
    }

    /// Returns a random `retry`, so that readers who were disconnected together do not come back
    /// together.
    fn retry(self) -> Duration {
        let spread = self.retry_max.saturating_sub(self.retry_min);
        self.retry_min + spread.mul_f64(fastrand::f64())
    }

    /// Returns a lifetime between 0.8 and 1.2 times the configured one, so that streams that began
    /// together do not end together.
    fn lifetime(self) -> Duration {
        self.lifetime.mul_f64(0.8 + 0.4 * fastrand::f64())
    }

    /// Encodes the whole body of a stream that there is no room for. Its status is 200, because an
    /// `EventSource` gives up for good on any other.
    #[must_use]
    pub fn refusal(self, encoder: &Encoder, reason: Bye) -> Bytes {
        encoder.bye(reason, self.retry_refused + self.retry())
    }

    /// Returns how often a stream is heard of, at least.
    #[must_use]
    pub const fn heartbeat(&self) -> Duration {
        self.heartbeat
    }
}

/// What all streams share of the server.
#[derive(Debug)]
pub struct StreamDeps {
    pub(crate) follower: FollowerStatus,
    pub(crate) drain: Drain,
    pub(crate) gate: ClientGate,
    pub(crate) timing: StreamTiming,
    pub(crate) wheel: TimerWheel,
    pub(crate) metrics: StreamMetrics,
}

/// The client of a stream, and its permit.
#[derive(Debug)]
pub struct StreamReader {
    pub(crate) caller: Caller,
    #[expect(dead_code, reason = "dropping it releases the permit")]
    pub(crate) permit: GatePermit,
}

#[cfg(test)]
mod testing {
    use std::{sync::Arc, time::Instant};

    use chrono::DateTime;
    use kairanban_core::{
        BoardChanges, BoardId, BoardLoad, BoardName, Cursor, Hub, Policies, ReplayBuffer, Revision,
        Snapshot, Topic, TopicId,
    };

    pub(super) fn board() -> BoardName {
        "main".parse().expect("a name")
    }

    /// Returns a hub whose readers may fall `lag_max` updates behind, with an empty board at
    /// revision 1.
    pub(super) fn hub(lag_max: usize) -> Hub {
        let hub = Hub::new(500, lag_max);
        load(&hub);
        hub
    }

    pub(super) fn load(hub: &Hub) {
        let cursor: Cursor = "e-1".parse().expect("a cursor");
        let snapshot = Snapshot::new(board(), cursor, Vec::new());
        let replay_buffer = ReplayBuffer::new(snapshot.revision(), [], 8);
        let loaded = BoardLoad {
            board_id: BoardId(1),
            policies: Policies::default(),
            snapshot,
            replay_buffer,
            named_at: Revision::ZERO,
        };
        hub.install(&hub.channel(&board()), loaded, Instant::now())
            .expect("nothing missed");
    }

    pub(super) fn post(hub: &Hub, revision: u64) {
        let at = DateTime::UNIX_EPOCH;
        let number = Revision::new(revision).expect("a revision");
        let topic = Topic {
            id: TopicId(i64::try_from(revision).expect("small")),
            comment: format!("post {revision}"),
            author: String::new(),
            created_at: at,
            updated_at: at,
            edited_at: None,
            revision: number,
        };
        hub.publish(
            &board(),
            None,
            &BoardChanges::created(number, [Arc::new(topic)]),
        );
    }
}
