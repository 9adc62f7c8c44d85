//! Open streams: what they are sent, and when they end.
//!
//! A stream holds a subscription and the revision that its reader was brought to. Whatever is newer is
//! sent, whatever is not is skipped; a reader that fell behind is brought to the newest list. [`Stream`]
//! is of one board, [`ManyStream`] of several with one cursor; [`life`] is what they share, the [`Wheel`]
//! what wakes them when nothing happens. [`detached`] is how they are written to a socket.

mod detached;
mod life;
mod many;
mod one;
mod wheel;

use std::{future::Future, time::Duration};

use bytes::Bytes;

use crate::{
    auth::Caller,
    config,
    follower::Following,
    limits::{StreamGate, StreamPermit},
    render::{Bye, Chunk, Speech},
    shutdown::Drain,
};

pub use detached::send;
pub use many::{BoardWatch, ManyStream};
pub use one::Stream;
use wheel::Ticks;
pub use wheel::Wheel;

/// An open stream, of whatever kind.
pub trait Feed: 'static {
    /// What to send next, or `None` at the end. Dropping the future loses nothing.
    fn next(&mut self) -> impl Future<Output = Option<Vec<Chunk>>>;
}

/// How streams live.
#[derive(Clone, Copy, Debug)]
pub struct StreamTiming {
    heartbeat: Duration,
    /// The same; it is reckoned with at each delivery.
    heartbeat_ticks: Ticks,
    lifetime: Duration,
    retry_ms: (u64, u64),
    retry_refused_ms: u64,
}

impl StreamTiming {
    /// As configured.
    #[must_use]
    pub fn new(config: &config::Stream) -> Self {
        let heartbeat = Duration::from_secs(config.heartbeat_s.get());
        Self {
            heartbeat,
            heartbeat_ticks: heartbeat.into(),
            lifetime: Duration::from_secs(config.lifetime_s.get()),
            retry_ms: (config.retry_min_ms, config.retry_max_ms),
            retry_refused_ms: config.retry_refused_ms,
        }
    }

    /// Up to a sixteenth less than configured, so that readers who were told something together are not
    /// woken together.
    fn silence(&self) -> Ticks {
        let Ticks(most) = self.heartbeat_ticks;
        Ticks(most - fastrand::u32(0..=most / 16))
    }

    /// At random, so that readers who were cut off together do not come back together.
    fn retry_ms(self) -> u64 {
        fastrand::u64(self.retry_ms.0..=self.retry_ms.1)
    }

    /// Between 0.8 and 1.2 times the configured life, for the same reason.
    fn life(self) -> Duration {
        self.lifetime.mul_f64(0.8 + 0.4 * fastrand::f64())
    }

    /// The whole of a stream that there is no room for. It is a success, because an `EventSource`
    /// gives up for good on any other status.
    #[must_use]
    pub fn refusal(self, speech: &Speech, reason: Bye) -> Bytes {
        speech.bye(reason, self.retry_refused_ms + self.retry_ms())
    }
}

/// What all streams need of the server.
#[derive(Debug)]
pub struct Surroundings {
    pub(crate) following: Following,
    pub(crate) drain: Drain,
    pub(crate) gate: StreamGate,
    pub(crate) timing: StreamTiming,
    pub(crate) wheel: Wheel,
}

/// Who reads.
#[derive(Debug)]
pub struct Reader {
    pub(crate) caller: Caller,
    #[expect(dead_code, reason = "held: dropping it gives the place back")]
    pub(crate) permit: StreamPermit,
}
