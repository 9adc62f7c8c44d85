//! A stream of several boards, with one cursor for all of them.
//!
//! What one transaction did to several boards is sent together, and the cursor stands in an event of its
//! own behind it: it is given only once everything up to there was sent, of every board.

use std::{pin::pin, sync::Arc};

use futures_util::{FutureExt as _, future::select_all};
use kairanban_core::{BoardName, Cursor, News, Revision, Snapshot, Subscription, Update};
use tokio::sync::broadcast::error::{RecvError, TryRecvError};

use super::{
    Feed, Reader, Surroundings,
    life::{Life, Next, Woken},
};
use crate::{
    bulletin::{CATCH_UP, First, ResetReason, Watch},
    render::{Bye, Chunk, Speech},
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
pub struct ManyStream {
    life: Life,
    boards: Vec<BoardReader>,
    /// Everything up to here was sent.
    cursor: Cursor,
}

#[derive(Debug)]
struct BoardReader {
    board: BoardName,
    subscription: Subscription,
    /// The revision that the reader has been brought to on this board.
    sent: Revision,
}

impl ManyStream {
    /// A stream that begins with what `watches` found. Everything up to `from` had been published before
    /// they were looked at.
    #[must_use]
    pub fn new(watches: Vec<BoardWatch>, from: Cursor, speech: Speech, around: Arc<Surroundings>, reader: Reader) -> Self {
        let mut life = Life::new(speech, around, reader);
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
        let board = |BoardWatch { board, watch }: BoardWatch| BoardReader {
            board,
            sent: watch.snapshot.revision(),
            subscription: watch.subscription,
        };
        Self { life, boards: watches.into_iter().map(board).collect(), cursor: from }
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
        for at in 0..self.boards.len() {
            loop {
                match self.boards[at].subscription.receiver.try_recv() {
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
            Ok(News::Anew) => self.life.end(Bye::Unavailable),
            Ok(News::Gone) | Err(RecvError::Closed) => self.life.end(Bye::Gone),
            Err(RecvError::Lagged(_)) => {
                self.check_leave();
                self.resync(at);
            }
        }
    }

    fn check_leave(&mut self) {
        let caller = &self.life.reader.caller;
        let may_read = |reader: &BoardReader| {
            let policies = reader.subscription.channel.live().policies().unwrap_or_default();
            caller.may_read(&reader.board, policies)
        };
        if !self.life.has_ended() && !self.boards.iter().all(may_read) {
            self.life.show_out();
        }
    }

    fn tell(&mut self, update: &Update, at: usize) {
        let reader = &mut self.boards[at];
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
        let reader = &mut self.boards[at];
        let newest: Option<Arc<Snapshot>> = reader.subscription.channel.live().last_known().map(Arc::clone);
        if let Some(newest) = newest.filter(|newest| !self.life.has_ended() && newest.revision() > reader.sent) {
            reader.sent = newest.revision();
            let reset = self.life.speech.fell_behind(&reader.board, ResetReason::Lagged);
            self.life.push(reset);
            self.life.push(self.life.speech.one_of_many(&newest));
        }
    }
}

impl Feed for ManyStream {
    async fn next(&mut self) -> Option<Vec<Chunk>> {
        loop {
            match self.life.next() {
                Next::Send(chunks) => return Some(chunks),
                Next::End => return None,
                Next::Wait => {}
            }
            let woken = {
                let any = select_all(self.boards.iter_mut().map(|reader| Box::pin(reader.subscription.receiver.recv())));
                // Which one, and what; not the others, which would hold on to their boards.
                self.life.wait(pin!(any.map(|(news, at, _)| (news, at)))).await
            };
            match woken {
                Woken::News((news, at)) => self.gather(news, at).await,
                Woken::Leave => self.check_leave(),
                Woken::Tick => {
                    self.check_leave();
                    self.life.tick();
                }
                Woken::Queued => {}
            }
        }
    }
}
