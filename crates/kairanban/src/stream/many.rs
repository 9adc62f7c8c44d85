//! A stream of several boards, with one cursor for all of them.
//!
//! What one transaction did to several boards is sent together, and the cursor stands in an event of its
//! own behind it: it is given only once everything up to there was sent, of every board.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::select_all;
use kairanban_core::{BoardName, Cursor, News, Revision, Snapshot, Subscription, Update};
use tokio::sync::broadcast::error::{RecvError, TryRecvError};

use super::{
    Surroundings,
    life::{Life, Next, Woken},
};
use crate::{
    bulletin::{CATCH_UP, First, ResetReason, Watch},
    render::{Bye, Speech},
};

/// A board of such a stream, as it was found.
#[derive(Debug)]
pub struct BoardWatch {
    /// Its name.
    pub board: BoardName,
    /// What was found.
    pub watch: Watch,
}

/// An open stream of several boards.
#[derive(Debug)]
pub struct ManyStream {
    life: Life,
    readers: Vec<Reader>,
    /// Everything up to here was sent.
    cursor: Cursor,
}

#[derive(Debug)]
struct Reader {
    board: BoardName,
    subscription: Subscription,
    /// The revision that the reader has been brought to on this board.
    sent: Revision,
}

impl ManyStream {
    /// A stream that begins with what `watches` found. Everything up to `from` had been published before
    /// they were looked at.
    #[must_use]
    pub fn new(watches: Vec<BoardWatch>, from: Cursor, speech: Speech, around: Surroundings) -> Self {
        let mut life = Life::new(speech, around);
        life.push(life.speech.opening(life.around.timing.retry_ms()));
        let reason = watches.iter().find_map(|found| match found.watch.first {
            First::Snapshot(reason) => reason,
            _ => None,
        });
        // Who begins anew begins anew everywhere.
        if let Some(reason) = reason {
            life.push(life.speech.reset(reason));
        }
        for BoardWatch { watch: Watch { snapshot, first, .. }, .. } in &watches {
            match first {
                First::Patch(patch) if reason.is_none() => life.push(life.speech.one_of_many_missed(patch, snapshot)),
                First::Nothing if reason.is_none() => {}
                _ => life.push(life.speech.one_of_many(snapshot)),
            }
        }
        life.push(life.speech.cursor(&from));
        let reader = |BoardWatch { board, watch }: BoardWatch| Reader {
            board,
            sent: watch.snapshot.revision(),
            subscription: watch.subscription,
        };
        Self { life, readers: watches.into_iter().map(reader).collect(), cursor: from }
    }

    /// The next piece to send, or `None` at the end.
    pub async fn next(&mut self) -> Option<Bytes> {
        loop {
            match self.life.next() {
                Next::Piece(piece) => return Some(piece),
                Next::End => return None,
                Next::Wait => {}
            }
            let any = select_all(self.readers.iter_mut().map(|reader| Box::pin(reader.subscription.receiver.recv())));
            let woken = self
                .life
                .wait(async {
                    let (news, at, _) = any.await;
                    (news, at)
                })
                .await;
            match woken {
                Woken::News((news, at)) => self.gather(news, at).await,
                Woken::Leave => self.check_leave(),
                Woken::Tick => {
                    self.check_leave();
                    self.life.tick();
                }
                Woken::Nothing => {}
            }
        }
    }

    /// Takes what came, and what came with it on the other boards.
    async fn gather(&mut self, news: Result<News, RecvError>, at: usize) {
        let following = self.life.around.following.clone();
        if let Ok(News::Update(update)) = &news {
            following.reached(update.revision(), CATCH_UP).await;
        }
        // Before looking: what is published up to here lies in the channels.
        let upto = Cursor { epoch: following.epoch(), revision: following.revision() };
        self.take(news, at);
        for at in 0..self.readers.len() {
            loop {
                match self.readers[at].subscription.receiver.try_recv() {
                    Ok(news) => self.take(Ok(news), at),
                    Err(TryRecvError::Lagged(missed)) => self.take(Err(RecvError::Lagged(missed)), at),
                    Err(TryRecvError::Closed) => break self.take(Err(RecvError::Closed), at),
                    Err(TryRecvError::Empty) => break,
                }
            }
        }
        if !self.life.has_ended() && upto.epoch == self.cursor.epoch && upto.revision > self.cursor.revision {
            self.life.push(self.life.speech.cursor(&upto));
            self.cursor = upto;
        }
    }

    fn take(&mut self, news: Result<News, RecvError>, at: usize) {
        match news {
            Ok(News::Update(update)) => self.tell(&update, at),
            Ok(News::Closing) => self.check_leave(),
            // A new history ends all streams; otherwise it is this board that is gone.
            Ok(News::Gone) if self.life.around.following.epoch() != self.cursor.epoch => self.life.end(Bye::Unavailable),
            Ok(News::Gone) | Err(RecvError::Closed) => self.life.end(Bye::Gone),
            Err(RecvError::Lagged(_)) => {
                self.check_leave();
                self.resync(at);
            }
        }
    }

    fn check_leave(&mut self) {
        let caller = &self.life.around.caller;
        let may_read = |reader: &Reader| {
            let policies = reader.subscription.channel.live().policies().unwrap_or_default();
            caller.may_read(&reader.board, policies)
        };
        if !self.life.has_ended() && !self.readers.iter().all(may_read) {
            self.life.show_out();
        }
    }

    fn tell(&mut self, update: &Update, at: usize) {
        let reader = &mut self.readers[at];
        if self.life.has_ended() || update.revision() <= reader.sent {
            return;
        }
        let speech = &self.life.speech;
        let hole = update.patch.from > reader.sent;
        let frame = if hole { speech.one_of_many(&update.snapshot) } else { speech.one_of_many_changed(update) };
        reader.sent = update.revision();
        self.life.push(frame);
    }

    /// Brings one board of a reader that fell behind to its newest list; the others are as they were.
    fn resync(&mut self, at: usize) {
        let reader = &mut self.readers[at];
        let newest: Option<Arc<Snapshot>> = reader.subscription.channel.live().last_known().map(Arc::clone);
        if let Some(newest) = newest.filter(|newest| !self.life.has_ended() && newest.revision() > reader.sent) {
            reader.sent = newest.revision();
            let reset = self.life.speech.fell_behind(&reader.board, ResetReason::Lagged);
            self.life.push(reset);
            self.life.push(self.life.speech.one_of_many(&newest));
        }
    }
}
