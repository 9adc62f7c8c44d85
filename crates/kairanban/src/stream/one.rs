//! A stream of one board.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use kairanban_core::{News, Revision, Snapshot, Subscription, Update};
use tokio::sync::broadcast::error::RecvError;

use super::{
    Surroundings,
    life::{Life, Next, Woken},
};
use crate::{
    auth::Caller,
    bulletin::{First, ResetReason, Watch},
    render::{Bye, Speech},
};

/// An open stream.
#[derive(Debug)]
pub struct Stream {
    life: Life,
    subscription: Subscription,
    /// The revision that the reader has been brought to.
    sent: Revision,
    shown: Arc<Snapshot>,
}

impl Stream {
    /// A stream that begins with what `watch` found.
    #[must_use]
    pub fn new(watch: Watch, speech: Speech, around: Surroundings) -> Self {
        let Watch { subscription, snapshot, first } = watch;
        let mut life = Life::new(speech, around);
        life.push(life.speech.opening(life.around.timing.retry_ms()));
        match first {
            // So that the head goes out, and a client knows that it is there.
            First::Nothing => life.push(life.speech.heartbeat()),
            First::Patch(patch) => life.push(life.speech.missed(&patch, &snapshot)),
            First::Since(revision) => life.push(life.speech.snapshot_since(&snapshot, revision)),
            First::Snapshot(reason) => {
                if let Some(reason) = reason {
                    life.push(life.speech.reset(reason));
                }
                life.push(life.speech.snapshot(&snapshot));
            }
        }
        Self { life, subscription, sent: snapshot.revision(), shown: snapshot }
    }

    /// Who reads.
    #[must_use]
    pub const fn caller(&self) -> &Caller {
        &self.life.around.caller
    }

    /// The time after which a silent client is worth asking after.
    #[must_use]
    pub const fn heartbeat(&self) -> Duration {
        self.life.around.timing.heartbeat
    }

    /// The next piece to send, or `None` at the end.
    pub async fn next(&mut self) -> Option<Bytes> {
        loop {
            match self.life.next() {
                Next::Piece(piece) => return Some(piece),
                Next::End => return None,
                Next::Wait => {}
            }
            match self.life.wait(self.subscription.receiver.recv()).await {
                Woken::News(news) => self.take(news),
                Woken::Leave => self.check_leave(),
                Woken::Tick => {
                    self.check_leave();
                    self.life.tick();
                }
                Woken::Nothing => {}
            }
        }
    }

    fn take(&mut self, news: Result<News, RecvError>) {
        match news {
            Ok(News::Update(update)) => self.tell(&update),
            Ok(News::Closing) => self.check_leave(),
            // A new history ends all streams; otherwise it is this board that is gone.
            Ok(News::Gone) if self.life.around.following.epoch() != self.shown.cursor().epoch => self.life.end(Bye::Unavailable),
            Ok(News::Gone) | Err(RecvError::Closed) => self.life.end(Bye::Gone),
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
        let caller = &self.life.around.caller;
        if !self.life.has_ended() && (caller.is_replaced() || !caller.may_read(self.shown.board(), policies)) {
            self.life.show_out();
        }
    }

    fn tell(&mut self, update: &Update) {
        if update.revision() <= self.sent {
            return;
        }
        // A patch from later than where the reader stands would leave a hole.
        let speech = &self.life.speech;
        let hole = update.patch.from > self.sent;
        let frame = if hole { speech.snapshot_since(&update.snapshot, self.sent) } else { speech.update(update) };
        self.life.push(frame);
        self.sent = update.revision();
        self.shown = Arc::clone(&update.snapshot);
    }

    /// Brings a reader that fell behind to the newest list. What its channel still holds is older.
    fn resync(&mut self) {
        let newest = self.subscription.channel.live().last_known().map(Arc::clone);
        if let Some(newest) = newest.filter(|newest| !self.life.has_ended() && newest.revision() > self.sent) {
            self.life.push(self.life.speech.reset(ResetReason::Lagged));
            self.life.push(self.life.speech.snapshot_since(&newest, self.sent));
            self.sent = newest.revision();
            self.shown = newest;
        }
    }
}
