//! What streams share: what is to be sent, heartbeats, the news of the database, and the end.

use std::{collections::VecDeque, future::Future};

use bytes::Bytes;
use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;
use tokio::{
    sync::watch,
    time::{Instant, sleep, sleep_until},
};

use super::Surroundings;
use crate::render::{Bye, Frame, Speech, Wire};

#[derive(Debug)]
pub(super) struct Life {
    pub(super) speech: Speech,
    pub(super) around: Surroundings,
    staleness: watch::Receiver<Option<DateTime<Utc>>>,
    heartbeat_at: Instant,
    ends_at: Instant,
    outbox: VecDeque<Frame>,
    wire: Wire,
    ended: bool,
}

/// What there is for a stream to do.
pub(super) enum Woken<T> {
    /// This came.
    News(T),
    /// What the reader may do has changed.
    Leave,
    /// It is time for something.
    Tick,
    /// Nothing more.
    Nothing,
}

/// What a stream can do next.
pub(super) enum Next {
    /// Send all that is queued.
    Piece(Bytes),
    /// Wait.
    Wait,
    /// End.
    End,
}

#[derive(Serialize)]
struct Stale {
    since: String,
}

impl Life {
    pub(super) fn new(speech: Speech, around: Surroundings) -> Self {
        let now = Instant::now();
        let mut staleness = around.following.staleness();
        // A stream that opens while the database is away is told so at once.
        if staleness.borrow_and_update().is_some() {
            staleness.mark_changed();
        }
        Self {
            wire: speech.wire(),
            speech,
            staleness,
            heartbeat_at: now + around.timing.heartbeat,
            ends_at: now + around.timing.life(),
            around,
            outbox: VecDeque::new(),
            ended: false,
        }
    }

    /// Queues a frame. A dialect without a word for something says nothing.
    pub(super) fn push(&mut self, frame: impl Into<Frame>) {
        let frame = frame.into();
        if !frame.is_empty() {
            self.outbox.push_back(frame);
        }
    }

    pub(super) fn next(&mut self) -> Next {
        if self.outbox.is_empty() {
            return if self.ended { Next::End } else { Next::Wait };
        }
        self.heartbeat_at = Instant::now() + self.around.timing.heartbeat;
        // In one piece: a reader has its list with the first packet.
        Next::Piece(self.wire.encode(self.outbox.drain(..), self.ended))
    }

    pub(super) const fn has_ended(&self) -> bool {
        self.ended
    }

    /// Waits for `news`, or for what concerns every stream.
    pub(super) async fn wait<T>(&mut self, news: impl Future<Output = T>) -> Woken<T> {
        // On a board that never rests the end would otherwise never come.
        if Instant::now() >= self.ends_at {
            return Woken::Tick;
        }
        let next_tick = self.next_tick();
        tokio::select! {
            // News last but for the clock: a flood must not keep a reader in who has to leave.
            biased;
            () = self.around.drain.begun() => {
                sleep(self.around.drain.turn(self.around.gate.open())).await;
                self.end(Bye::Shutdown);
                Woken::Nothing
            }
            () = self.around.caller.changed() => Woken::Leave,
            Ok(()) = self.staleness.changed() => {
                self.tell_staleness();
                Woken::Nothing
            }
            news = news => Woken::News(news),
            () = sleep_until(next_tick) => Woken::Tick,
        }
    }

    /// When there is something to do even if nothing happens: a heartbeat, the end of the stream's
    /// life, or that of the caller's token.
    fn next_tick(&self) -> Instant {
        // One that has ended already has been looked at.
        let token_left = self.around.caller.ends_at().and_then(|end| (end - Utc::now()).to_std().ok());
        let token_end = token_left.and_then(|left| Instant::now().checked_add(left));
        let next = self.heartbeat_at.min(self.ends_at);
        token_end.map_or(next, |end| next.min(end))
    }

    pub(super) fn tick(&mut self) {
        if self.ended {
            return;
        }
        if Instant::now() >= self.ends_at {
            self.end(Bye::Rotate);
        } else {
            self.push(self.speech.heartbeat());
        }
    }

    fn tell_staleness(&mut self) {
        let since = *self.staleness.borrow_and_update();
        self.push(match since {
            Some(since) => self.speech.named("stale", &Stale { since: since.to_rfc3339_opts(SecondsFormat::Secs, true) }),
            None => self.speech.named("fresh", &serde_json::json!({})),
        });
    }

    /// Ends the stream of a reader who may no longer read.
    pub(super) fn show_out(&mut self) {
        // What was to be sent is not for this reader any more.
        self.outbox.clear();
        self.end(Bye::Auth);
    }

    pub(super) fn end(&mut self, reason: Bye) {
        if !self.ended {
            self.push(self.speech.bye(reason, self.around.timing.retry_ms()));
            self.ended = true;
        }
    }
}
