//! Handles what all kinds of streams have in common: the queue, heartbeats, staleness, and the end.

use std::{
    sync::Arc,
    task::{Context, Poll, ready},
    thread,
    time::Instant,
};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use kairanban_core::{BoardName, ResetReason};
use serde::Serialize;

use super::{
    StreamDeps, StreamReader,
    permission_watch::PermissionWatch,
    timer_wheel::{TICK, Tick, TimerEntry},
};
use crate::{
    auth::Caller,
    encode::{Bye, Chunk, Encoder, Frame, Wire, time_in_seconds},
    metrics::StreamEnd,
};

/// A stream that is fed by the events of boards, and how it is driven: what was queued, then
/// timers, then events.
pub(super) trait EventStream {
    fn lifetime(&mut self) -> &mut StreamLifetime;

    /// Ends what the reader may no longer read: the stream, or boards of it.
    fn check_permission(&mut self);

    /// Takes the events that arrived, and queues what they require. Ready when there were any.
    fn poll_events(&mut self, cx: &mut Context<'_>) -> Poll<()>;

    /// Returns what to send next, or `None` at the end.
    fn poll_chunks(&mut self, cx: &mut Context<'_>) -> Poll<Option<Vec<Chunk>>> {
        loop {
            match self.lifetime().next() {
                Next::Send(chunks) => return Poll::Ready(Some(chunks)),
                Next::End => return Poll::Ready(None),
                Next::Wait => {}
            }
            // Events last: a flood must not keep a reader in who has to leave.
            match self.lifetime().poll(cx) {
                Poll::Ready(Woken::PermissionWatch) => self.check_permission(),
                Poll::Ready(Woken::Tick) => {
                    self.check_permission();
                    self.lifetime().tick();
                }
                Poll::Ready(Woken::Queued) => {}
                Poll::Pending => ready!(self.poll_events(cx)),
            }
        }
    }
}

/// The part of a stream that does not depend on its boards.
pub(super) struct StreamLifetime {
    pub(super) encoder: Encoder,
    pub(super) deps: Arc<StreamDeps>,
    pub(super) reader: StreamReader,
    clock: Clock,
    /// Where the wheel wakes the stream.
    timer: Option<TimerEntry>,
    /// Waits until the permissions of the reader change.
    permission: PermissionWatch,
    /// Whether the reader was sent `stale`.
    was_stale: bool,
    /// Whether a board of the stream cannot be read although the database can. The time is sent at
    /// once, and not kept.
    is_board_stale: bool,
    outbox: Vec<Frame>,
    wire: Wire,
    ended: bool,
    /// Why it ends, for metrics.
    end: StreamEnd,
}

/// How much was queued at a time, and what of staleness was sent or queued by then.
#[derive(Clone, Copy)]
pub(super) struct QueueMark {
    queued: usize,
    was_stale: bool,
    is_board_stale: bool,
}

/// When a stream has something to do even if nothing happens.
#[derive(Debug)]
struct Clock {
    heartbeat_at: Tick,
    ends_at: Tick,
    ends_by: Bye,
    /// When the caller's token expires; never, if it does not, or if that was handled.
    token_ends_at: Tick,
    /// The `wake_count` of the wheel that was handled last.
    wake_count: u32,
}

/// Why a stream was woken.
enum Woken {
    /// The permissions of the reader may have changed.
    PermissionWatch,
    /// A heartbeat or an end is due.
    Tick,
    /// Something was queued to be sent.
    Queued,
}

/// What a stream can do next.
enum Next {
    /// Send all that was queued.
    Send(Vec<Chunk>),
    /// Wait to be woken.
    Wait,
    /// End the stream now.
    End,
}

#[derive(Serialize)]
struct StaleView {
    since: String,
}

impl StreamLifetime {
    pub(super) fn new(encoder: Encoder, deps: Arc<StreamDeps>, reader: StreamReader) -> Self {
        deps.metrics.opened(encoder.format.label());
        let now = deps.wheel.now();
        let clock = Clock {
            heartbeat_at: now + deps.timing.silence(),
            ends_at: now + deps.timing.lifetime(),
            ends_by: Bye::Rotate,
            token_ends_at: token_end(&reader.caller, now),
            // Differs from the wheel's count, so that the first wake handles everything.
            wake_count: deps.wheel.wake_count().wrapping_sub(1),
        };
        Self {
            wire: encoder.wire(),
            encoder,
            deps,
            permission: PermissionWatch::of(&reader.caller),
            reader,
            clock,
            timer: None,
            was_stale: false,
            is_board_stale: false,
            outbox: Vec::new(),
            ended: false,
            // Those who drop it otherwise say so.
            end: StreamEnd::Client,
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

    /// Queues a `reset`, and logs why: operators look for the reason here. `board` is the one that
    /// caused it; `None` if a stream of several begins with it.
    pub(super) fn push_reset(
        &mut self,
        reason: ResetReason,
        board: Option<&BoardName>,
        reset: Bytes,
    ) {
        let board = board.map(tracing::field::display);
        tracing::debug!(
            board,
            reason = reason.as_str(),
            "a reader is sent the whole list"
        );
        self.deps.metrics.reset(reason);
        self.push(reset);
    }

    fn next(&mut self) -> Next {
        if self.outbox.is_empty() {
            return if self.ended { Next::End } else { Next::Wait };
        }
        self.clock.heartbeat_at = self.deps.wheel.now() + self.deps.timing.silence();
        // Sends all at once, so that a reader has its list with the first packet. The queue keeps
        // no memory.
        Next::Send(
            self.wire
                .encode(std::mem::take(&mut self.outbox), self.ended),
        )
    }

    pub(super) const fn has_ended(&self) -> bool {
        self.ended
    }

    /// Becomes ready when there is something to do besides events.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Woken> {
        if self.permission.poll(cx).is_ready() {
            self.reader.caller.mark_seen();
            self.permission = PermissionWatch::of(&self.reader.caller);
            self.clock.token_ends_at = token_end(&self.reader.caller, self.deps.wheel.now());
            return Poll::Ready(Woken::PermissionWatch);
        }
        loop {
            if self.handle_wake_all() {
                return Poll::Ready(Woken::Queued);
            }
            let due = self.next_tick();
            let wheel = &self.deps.wheel;
            if wheel.now() >= due {
                return Poll::Ready(Woken::Tick);
            }
            // The entry is kept from one wait to the next: what is sent only makes things due
            // later.
            match self.timer.as_mut().filter(|timer| timer.tick <= due) {
                // What happened before the entry was made would be missed, so this starts over.
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

    fn tick(&mut self) {
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

    /// Handles what concerns all streams, if all were woken. Returns whether something was queued.
    fn handle_wake_all(&mut self) -> bool {
        let wake_count = self.deps.wheel.wake_count();
        if std::mem::replace(&mut self.clock.wake_count, wake_count) == wake_count {
            return false;
        }
        if self.deps.drain.has_begun() && self.clock.ends_by != Bye::Shutdown {
            self.clock.ends_by = Bye::Shutdown;
            self.clock.ends_at =
                self.deps.wheel.now() + self.deps.drain.disconnect_delay(self.deps.gate.open());
        }
        // The reader was notified of a stale board already.
        self.push_staleness(None)
    }

    /// Records since when a board of the stream cannot be read, if it cannot, and queues `stale` or
    /// `fresh` if that is new.
    pub(super) fn set_board_stale(&mut self, since: Option<DateTime<Utc>>) {
        self.is_board_stale = since.is_some();
        self.push_staleness(since);
    }

    /// Queues `stale` or `fresh` if that is new. Returns whether it was.
    fn push_staleness(&mut self, board_stale_since: Option<DateTime<Utc>>) -> bool {
        let stale_since = self.deps.follower.list_stale_since(board_stale_since);
        let is_stale = stale_since.is_some() || self.is_board_stale;
        let was_stale = std::mem::replace(&mut self.was_stale, is_stale);
        match stale_since {
            Some(since) if !was_stale => {
                self.push(self.encoder.named(
                    "stale",
                    &StaleView {
                        since: time_in_seconds(&since),
                    },
                ));
            }
            None if was_stale && !is_stale => {
                self.push(self.encoder.named("fresh", &serde_json::json!({})))
            }
            _ => return false,
        }
        true
    }

    /// Ends the stream of a reader who may no longer read.
    pub(super) fn disconnect(&mut self) {
        if !self.ended {
            // What was queued is not for this reader any more.
            self.outbox.clear();
            self.end(Bye::Auth);
        }
    }

    /// Returns the mark of what is queued now.
    pub(super) const fn mark(&self) -> QueueMark {
        QueueMark {
            queued: self.outbox.len(),
            was_stale: self.was_stale,
            is_board_stale: self.is_board_stale,
        }
    }

    /// Removes what was queued since `mark`, which is not for this reader any more.
    pub(super) fn rewind(&mut self, mark: QueueMark) {
        self.outbox.truncate(mark.queued);
        (self.was_stale, self.is_board_stale) = (mark.was_stale, mark.is_board_stale);
    }

    pub(super) fn end(&mut self, reason: Bye) {
        if !self.ended {
            self.push(self.encoder.bye(reason, self.deps.timing.retry()));
            self.ended = true;
            self.end = reason.into();
        }
    }

    /// Notes why the stream is about to be dropped, unless it has ended by itself.
    pub(super) const fn cut(&mut self, end: StreamEnd) {
        if !self.ended {
            self.end = end;
        }
    }
}

impl Drop for StreamLifetime {
    fn drop(&mut self) {
        let end = if thread::panicking() {
            StreamEnd::Failed
        } else {
            self.end
        };
        self.deps.metrics.closed(self.encoder.format.label(), end);
    }
}

/// Returns when the token expires, rounded up, so that it has expired then.
fn token_end(caller: &Caller, now: Tick) -> Tick {
    let left = caller
        .ends_at()
        .and_then(|end| end.checked_duration_since(Instant::now()));
    left.map_or(Tick::NEVER, |left| now + (left + TICK * 2))
}
