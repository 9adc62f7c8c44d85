//! What streams share: what is to be sent, heartbeats, the news of the database, and the end.

use std::{
    sync::Arc,
    task::{Context, Poll, ready},
    time::Instant,
};

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;

use super::{
    Reader, StreamDeps,
    permission_watch::PermissionWatch,
    timer_wheel::{TICK, Tick, TimerEntry},
};
use crate::{
    auth::Caller,
    encode::{Bye, Chunk, Encoder, Frame, Wire},
};

pub(super) struct StreamLifetime {
    pub(super) encoder: Encoder,
    pub(super) deps: Arc<StreamDeps>,
    pub(super) reader: Reader,
    clock: Clock,
    /// Where the wheel wakes the stream.
    timer: Option<TimerEntry>,
    /// Until what the reader may do changes.
    leave: PermissionWatch,
    /// Whether the reader knows that what it is shown may have been overtaken.
    told_stale: bool,
    /// Whether a board of the stream cannot be read, although the database is there. Since when is said at once, and not kept.
    is_board_stale: bool,
    outbox: Vec<Frame>,
    wire: Wire,
    ended: bool,
}

/// When a stream has something to do even if nothing happens.
#[derive(Debug)]
struct Clock {
    heartbeat_at: Tick,
    ends_at: Tick,
    ends_by: Bye,
    /// When the caller's token ends by itself; never, if it does not, or that was looked at.
    token_ends_at: Tick,
    /// The wake_count of the wheel that were looked into.
    wake_count: u32,
}

/// What there is for a stream to do.
pub(super) enum Woken {
    /// What the reader may do may have changed.
    PermissionWatch,
    /// It is time for something.
    Tick,
    /// Something was queued.
    Queued,
}

/// What a stream can do next.
pub(super) enum Next {
    /// Send all that was queued.
    Send(Vec<Chunk>),
    /// Wait.
    Wait,
    /// End.
    End,
}

#[derive(Serialize)]
struct Stale {
    since: String,
}

impl StreamLifetime {
    pub(super) fn new(encoder: Encoder, deps: Arc<StreamDeps>, reader: Reader) -> Self {
        let now = deps.wheel.now();
        let clock = Clock {
            heartbeat_at: now + deps.timing.silence(),
            ends_at: now + deps.timing.life(),
            ends_by: Bye::Rotate,
            token_ends_at: token_end(&reader.caller, now),
            // Another number than it is: the first look is into everything.
            wake_count: deps.wheel.wake_count().wrapping_sub(1),
        };
        Self {
            wire: encoder.wire(),
            encoder,
            deps,
            leave: PermissionWatch::of(&reader.caller),
            reader,
            clock,
            timer: None,
            told_stale: false,
            is_board_stale: false,
            outbox: Vec::new(),
            ended: false,
        }
    }

    /// Queues a frame. An empty one, of a format that has no event for this, is not sent.
    pub(super) fn push(&mut self, frame: impl Into<Frame>) {
        let frame = frame.into();
        if !frame.is_empty() {
            // There is rarely more than one.
            self.outbox.reserve_exact(1);
            self.outbox.push(frame);
        }
    }

    pub(super) fn next(&mut self) -> Next {
        if self.outbox.is_empty() {
            return if self.ended { Next::End } else { Next::Wait };
        }
        self.clock.heartbeat_at = self.deps.wheel.now() + self.deps.timing.silence();
        // All at once: a reader has its list with the first packet. And no room is kept for what comes.
        Next::Send(
            self.wire
                .encode(std::mem::take(&mut self.outbox), self.ended),
        )
    }

    pub(super) const fn has_ended(&self) -> bool {
        self.ended
    }

    /// Ready when there is something to do, whatever the news.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Woken> {
        if self.leave.poll(cx).is_ready() {
            self.reader.caller.look();
            self.leave = PermissionWatch::of(&self.reader.caller);
            self.clock.token_ends_at = token_end(&self.reader.caller, self.deps.wheel.now());
            return Poll::Ready(Woken::PermissionWatch);
        }
        loop {
            if self.looks_into_alarm() {
                return Poll::Ready(Woken::Queued);
            }
            let due = self.next_tick();
            let wheel = &self.deps.wheel;
            if wheel.now() >= due {
                return Poll::Ready(Woken::Tick);
            }
            // The place is kept from one wait to the next: what is sent only makes things due later.
            match self.timer.as_mut().filter(|timer| timer.tick <= due) {
                // What happened before it is taken would be missed: once more from the beginning.
                None => self.timer = Some(wheel.entry(due)),
                Some(timer) => {
                    ready!(timer.poll(wheel, cx));
                    self.timer = None;
                }
            }
        }
    }

    fn next_tick(&self) -> Tick {
        self.clock
            .heartbeat_at
            .min(self.clock.ends_at)
            .min(self.clock.token_ends_at)
    }

    pub(super) fn tick(&mut self) {
        if self.ended {
            return;
        }
        let now = self.deps.wheel.now();
        if now >= self.clock.token_ends_at {
            self.clock.token_ends_at = token_end(&self.reader.caller, now);
        }
        if now >= self.clock.ends_at {
            self.end(self.clock.ends_by);
        } else if now >= self.clock.heartbeat_at {
            self.push(self.encoder.heartbeat());
        }
    }

    /// Looks why everybody was woken, if everybody was; tells whether there is something to say about it.
    fn looks_into_alarm(&mut self) -> bool {
        let wake_count = self.deps.wheel.wake_count();
        if std::mem::replace(&mut self.clock.wake_count, wake_count) == wake_count {
            return false;
        }
        if self.deps.drain.has_begun() && self.clock.ends_by != Bye::Shutdown {
            self.clock.ends_by = Bye::Shutdown;
            self.clock.ends_at =
                self.deps.wheel.now() + self.deps.drain.disconnect_delay(self.deps.gate.open());
        }
        // Of a stale board the reader knows already.
        self.say_staleness(None)
    }

    /// Notes since when a board of the stream cannot be read, if it cannot, and says so if that is new.
    pub(super) fn set_board_stale(&mut self, since: Option<DateTime<Utc>>) {
        self.is_board_stale = since.is_some();
        self.say_staleness(since);
    }

    /// Says that what is shown may have been overtaken, or no longer may, if that is new; tells whether it was.
    fn say_staleness(&mut self, board_stale_since: Option<DateTime<Utc>>) -> bool {
        let stale_since = self.deps.following.stale_since().or(board_stale_since);
        let is_stale = stale_since.is_some() || self.is_board_stale;
        let told_stale = std::mem::replace(&mut self.told_stale, is_stale);
        match stale_since {
            Some(since) if !told_stale => {
                self.push(self.encoder.named(
                    "stale",
                    &Stale {
                        since: since.to_rfc3339_opts(SecondsFormat::Secs, true),
                    },
                ));
            }
            None if told_stale && !is_stale => {
                self.push(self.encoder.named("fresh", &serde_json::json!({})))
            }
            _ => return false,
        }
        true
    }

    /// Ends the stream of a reader who may no longer read.
    pub(super) fn disconnect(&mut self) {
        // What was to be sent is not for this reader any more.
        self.outbox.clear();
        self.end(Bye::Auth);
    }

    pub(super) fn end(&mut self, reason: Bye) {
        if !self.ended {
            self.push(self.encoder.bye(reason, self.deps.timing.retry()));
            self.ended = true;
        }
    }
}

/// Rounded up, so that the token has ended then.
fn token_end(caller: &Caller, now: Tick) -> Tick {
    let left = caller
        .ends_at()
        .and_then(|end| end.checked_duration_since(Instant::now()));
    left.map_or(Tick::NEVER, |left| now + (left + TICK * 2))
}
