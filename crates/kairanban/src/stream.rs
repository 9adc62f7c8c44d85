//! One open stream: what it is sent, and when it ends.
//!
//! It holds a subscription and the revision that its reader was brought to. Whatever is newer is
//! sent, whatever is not is skipped; a reader that fell behind is brought to the newest list.

use std::{collections::VecDeque, time::Duration};

use bytes::Bytes;
use chrono::{DateTime, SecondsFormat, Utc};
use kairanban_core::{News, Revision, Snapshot, Subscription, Update};
use serde::Serialize;
use std::sync::Arc;
use tokio::{
    sync::{broadcast::error::RecvError, watch},
    time::{Instant, sleep, sleep_until},
};

use crate::{
    auth::Caller,
    bulletin::{First, ResetReason, Watch},
    config,
    follower::Following,
    limits::{StreamGate, StreamPermit},
    render::{Bye, Speech},
    shutdown::Drain,
};

/// How streams live.
#[derive(Clone, Copy, Debug)]
pub struct StreamTiming {
    heartbeat: Duration,
    lifetime: Duration,
    retry_ms: (u64, u64),
    retry_refused_ms: u64,
}

impl StreamTiming {
    /// As configured.
    #[must_use]
    pub const fn new(config: &config::Stream) -> Self {
        Self {
            heartbeat: Duration::from_secs(config.heartbeat_s.get()),
            lifetime: Duration::from_secs(config.lifetime_s.get()),
            retry_ms: (config.retry_min_ms, config.retry_max_ms),
            retry_refused_ms: config.retry_refused_ms,
        }
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

/// What a stream needs of the server.
#[derive(Debug)]
pub struct Surroundings {
    pub(crate) following: Following,
    pub(crate) caller: Caller,
    pub(crate) drain: Drain,
    pub(crate) gate: StreamGate,
    #[expect(dead_code, reason = "held: dropping it gives the place back")]
    pub(crate) permit: StreamPermit,
    pub(crate) timing: StreamTiming,
}

/// An open stream.
#[derive(Debug)]
pub struct Stream {
    speech: Speech,
    subscription: Subscription,
    /// The revision that the reader has been brought to.
    sent: Revision,
    shown: Arc<Snapshot>,
    staleness: watch::Receiver<Option<DateTime<Utc>>>,
    around: Surroundings,
    heartbeat_at: Instant,
    ends_at: Instant,
    outbox: VecDeque<Bytes>,
    ended: bool,
}

#[derive(Serialize)]
struct Stale {
    since: String,
}

impl Stream {
    /// A stream that begins with what `watch` found.
    #[must_use]
    pub fn new(watch: Watch, speech: Speech, around: Surroundings) -> Self {
        let Watch { subscription, snapshot, first } = watch;
        let now = Instant::now();
        let mut first_frames = vec![speech.opening(around.timing.retry_ms())];
        match first {
            // So that the head goes out, and a client knows that it is there.
            First::Nothing => first_frames.push(speech.heartbeat()),
            First::Patch(patch) => first_frames.push(speech.missed(&patch, &snapshot)),
            First::Snapshot(reason) => {
                first_frames.extend(reason.map(|reason| speech.reset(reason)));
                first_frames.push(speech.snapshot(&snapshot));
            }
        }
        let mut staleness = around.following.staleness();
        // A stream that opens while the database is away is told so at once.
        if staleness.borrow_and_update().is_some() {
            staleness.mark_changed();
        }
        Self {
            speech,
            subscription,
            sent: snapshot.revision(),
            shown: snapshot,
            staleness,
            heartbeat_at: now + around.timing.heartbeat,
            ends_at: now + around.timing.life(),
            around,
            // One piece: the reader has its list with the first packet.
            outbox: [first_frames.concat().into()].into(),
            ended: false,
        }
    }

    /// Who reads.
    #[must_use]
    pub const fn caller(&self) -> &Caller {
        &self.around.caller
    }

    /// The time after which a silent client is worth asking after.
    #[must_use]
    pub const fn heartbeat(&self) -> Duration {
        self.around.timing.heartbeat
    }

    /// The next piece to send, or `None` at the end.
    pub async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(piece) = self.outbox.pop_front() {
                // A dialect without a word for it says nothing.
                if piece.is_empty() {
                    continue;
                }
                self.heartbeat_at = Instant::now() + self.around.timing.heartbeat;
                return Some(piece);
            }
            if self.ended {
                return None;
            }
            let next_tick = self.next_tick();
            tokio::select! {
                biased;
                () = self.around.drain.begun() => self.drain().await,
                update = self.subscription.receiver.recv() => self.take(update),
                Ok(()) = self.staleness.changed() => self.tell_staleness(),
                () = self.around.caller.changed() => self.check_leave(),
                () = sleep_until(next_tick) => self.tick(),
            }
        }
    }

    fn take(&mut self, news: Result<News, RecvError>) {
        match news {
            Ok(News::Update(update)) => self.tell(&update),
            Ok(News::Closing) => self.check_leave(),
            // A new history ends all streams; otherwise it is this board that is gone.
            Ok(News::Gone) if self.around.following.epoch() != self.shown.cursor().epoch => self.end(Bye::Unavailable),
            Ok(News::Gone) | Err(RecvError::Closed) => self.end(Bye::Gone),
            Err(RecvError::Lagged(_)) => {
                // Among what it missed may be that the board takes a token now.
                self.check_leave();
                self.resync();
            }
        }
    }

    /// Ends the stream of a reader who may no longer read the board, or has opened another one by the
    /// same ticket.
    fn check_leave(&mut self) {
        let policies = self.subscription.channel.live().policies().unwrap_or_default();
        let caller = &self.around.caller;
        if !self.ended && (caller.is_replaced() || !caller.may_read(self.shown.board(), policies)) {
            // What was to be sent is not for this reader any more.
            self.outbox.clear();
            self.end(Bye::Auth);
        }
    }

    fn tell(&mut self, update: &Update) {
        if update.revision() <= self.sent {
            return;
        }
        // A patch from later than where the reader stands would leave a hole.
        let frame =
            if update.patch.from > self.sent { self.speech.snapshot(&update.snapshot) } else { self.speech.update(update) };
        self.outbox.push_back(frame);
        self.sent = update.revision();
        self.shown = Arc::clone(&update.snapshot);
    }

    /// Brings a reader that fell behind to the newest list. What its channel still holds is older.
    fn resync(&mut self) {
        let newest = self.subscription.channel.live().last_known().map(Arc::clone);
        if let Some(newest) = newest.filter(|newest| !self.ended && newest.revision() > self.sent) {
            self.outbox.push_back([self.speech.reset(ResetReason::Lagged), self.speech.snapshot(&newest)].concat().into());
            self.sent = newest.revision();
            self.shown = newest;
        }
    }

    fn tell_staleness(&mut self) {
        let since = *self.staleness.borrow_and_update();
        self.outbox.push_back(match since {
            Some(since) => self.speech.named("stale", &Stale { since: since.to_rfc3339_opts(SecondsFormat::Secs, true) }),
            None => self.speech.named("fresh", &serde_json::json!({})),
        });
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

    fn tick(&mut self) {
        self.check_leave();
        if self.ended {
            return;
        }
        if Instant::now() >= self.ends_at {
            self.end(Bye::Rotate);
        } else {
            self.outbox.push_back(self.speech.heartbeat());
        }
    }

    async fn drain(&mut self) {
        sleep(self.around.drain.turn(self.around.gate.open())).await;
        self.end(Bye::Shutdown);
    }

    fn end(&mut self, reason: Bye) {
        self.outbox.push_back(self.speech.bye(reason, self.around.timing.retry_ms()));
        self.ended = true;
    }
}
