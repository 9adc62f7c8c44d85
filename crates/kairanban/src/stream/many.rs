//! A stream of several boards, with one cursor for all of them.
//!
//! What one transaction did to several boards is sent together, and the cursor stands in an event of its
//! own behind it: it is given only once everything up to there was sent, of every board.

use std::{
    rc::Weak,
    sync::Arc,
    task::{Context, Poll, ready},
};

use chrono::{DateTime, Utc};
use futures_util::{FutureExt as _, future::BoxFuture};
use kairanban_core::{BoardName, Cursor, Missed, News, Snapshot, Subscription, Update};

use super::{
    Feed, Reader, Surroundings,
    life::{Life, Next, Woken},
    round::{Member, Rounds, Seat},
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
    /// News of a board, until there is what was committed with it.
    together: Option<BoxFuture<'static, (usize, Result<News, Missed>)>>,
}

#[derive(Debug)]
struct BoardReader {
    board: BoardName,
    subscription: Subscription,
    /// Where the reader has been brought to on this board.
    sent: Cursor,
    /// Since when this board cannot be read, if it cannot.
    stale_since: Option<DateTime<Utc>>,
}

impl ManyStream {
    /// A stream that begins with what `watches` found. Everything up to `from` had been published before
    /// they were looked at.
    #[must_use]
    pub fn new(
        watches: Vec<BoardWatch>,
        from: Cursor,
        speech: Speech,
        around: Arc<Surroundings>,
        reader: Reader,
    ) -> Self {
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
        for BoardWatch {
            watch: Watch {
                snapshot, first, ..
            },
            ..
        } in &watches
        {
            match first {
                First::Patch(patch) if reason.is_none() => {
                    life.push(life.speech.one_of_many_missed(patch, snapshot))
                }
                First::Nothing if reason.is_none() => {}
                _ => life.push(life.speech.one_of_many(snapshot)),
            }
        }
        life.push(life.speech.cursor(&from));
        let board = |BoardWatch { board, watch }: BoardWatch| {
            let stale_since = watch.subscription.channel.live().stale_since();
            BoardReader {
                board,
                sent: watch.snapshot.cursor().clone(),
                stale_since,
                subscription: watch.subscription,
            }
        };
        let mut stream = Self {
            life,
            boards: watches.into_iter().map(board).collect(),
            cursor: from,
            together: None,
        };
        stream.say_staleness();
        stream
    }

    /// Takes what came, on all boards, once everything that was committed together is there. Ready when anything came.
    fn poll_gather(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.together.is_none() {
            self.together = self.first_news().map(|(at, news)| {
                let following = self.life.around.following.clone();
                async move {
                    if let Ok(News::Update(update)) = &news {
                        following.reached(update.revision(), CATCH_UP).await;
                    }
                    (at, news)
                }
                .boxed()
            });
        }
        let Some(together) = &mut self.together else {
            return Poll::Pending;
        };
        let (at, news) = ready!(together.poll_unpin(cx));
        self.together = None;
        // Before looking: what is published up to here lies in the channels.
        let following = &self.life.around.following;
        let upto = Cursor {
            epoch: following.epoch(),
            revision: following.revision(),
        };
        self.take(news, at);
        while let Some((at, news)) = self.first_news() {
            self.take(news, at);
        }
        // After a new epoch has begun only once every board was sent in it.
        let is_of_one_epoch = self
            .boards
            .iter()
            .all(|board| board.sent.epoch == upto.epoch);
        let is_newer = upto.epoch != self.cursor.epoch || upto.revision > self.cursor.revision;
        if !self.life.has_ended() && is_of_one_epoch && is_newer {
            self.life.push(self.life.speech.cursor(&upto));
            self.cursor = upto;
        }
        Poll::Ready(())
    }

    fn first_news(&mut self) -> Option<(usize, Result<News, Missed>)> {
        let news = |(at, board): (usize, &mut BoardReader)| {
            board.subscription.try_next().map(|news| (at, news))
        };
        self.boards.iter_mut().enumerate().find_map(news)
    }

    fn take(&mut self, news: Result<News, Missed>, at: usize) {
        match news {
            Ok(News::Update(update)) => self.tell(&update, at),
            Ok(News::Closing) => self.check_leave(),
            Ok(News::Anew(snapshot)) => self.begin_again(&snapshot, at),
            Ok(News::Stale(since)) => self.set_stale(Some(since), at),
            Ok(News::Fresh) => self.set_stale(None, at),
            Ok(News::Gone) => self.life.end(Bye::Gone),
            Err(Missed) => {
                self.check_leave();
                let stale_since = self.boards[at].subscription.channel.live().stale_since();
                self.set_stale(stale_since, at);
                self.resync(at);
            }
        }
    }

    fn set_stale(&mut self, since: Option<DateTime<Utc>>, at: usize) {
        self.boards[at].stale_since = since;
        self.say_staleness();
    }

    fn say_staleness(&mut self) {
        self.life.set_board_stale(
            self.boards
                .iter()
                .filter_map(|board| board.stale_since)
                .min(),
        );
    }

    /// Sends a board's list of a new epoch, unless it was sent in it already. With the first such board everything that the
    /// reader held is void; the others follow as they are read.
    fn begin_again(&mut self, snapshot: &Snapshot, at: usize) {
        self.check_leave();
        let epoch = &snapshot.cursor().epoch;
        if self.life.has_ended() || self.boards[at].sent.epoch == *epoch {
            return;
        }
        if self.boards.iter().all(|board| board.sent.epoch != *epoch) {
            self.life.push(self.life.speech.reset(ResetReason::Epoch));
        }
        self.boards[at].sent = snapshot.cursor().clone();
        self.life.push(self.life.speech.one_of_many(snapshot));
    }

    fn check_leave(&mut self) {
        let caller = &self.life.reader.caller;
        let may_read = |reader: &BoardReader| {
            let policies = reader
                .subscription
                .channel
                .live()
                .policies()
                .unwrap_or_default();
            caller.may_read(&reader.board, policies)
        };
        if !self.life.has_ended() && !self.boards.iter().all(may_read) {
            self.life.show_out();
        }
    }

    fn tell(&mut self, update: &Update, at: usize) {
        let reader = &mut self.boards[at];
        if self.life.has_ended() || update.revision() <= reader.sent.revision {
            return;
        }
        let speech = &self.life.speech;
        let hole = update.patch.from > reader.sent.revision;
        let frame = if hole {
            speech.one_of_many(&update.snapshot)
        } else {
            speech.one_of_many_changed(update)
        };
        reader.sent.revision = update.revision();
        self.life.push(frame);
    }

    /// Brings one board of a reader that fell behind to its newest list; the others are as they were.
    fn resync(&mut self, at: usize) {
        let reader = &mut self.boards[at];
        let newest: Option<Arc<Snapshot>> = reader
            .subscription
            .channel
            .live()
            .last_known()
            .map(Arc::clone);
        let Some(newest) = newest.filter(|_| !self.life.has_ended()) else {
            return;
        };
        if newest.cursor().epoch != reader.sent.epoch {
            self.begin_again(&newest, at);
        } else if newest.revision() > reader.sent.revision {
            reader.sent.revision = newest.revision();
            let reset = self
                .life
                .speech
                .fell_behind(&reader.board, ResetReason::Lagged);
            self.life.push(reset);
            self.life.push(self.life.speech.one_of_many(&newest));
        }
    }
}

impl Feed for ManyStream {
    type Seats = Vec<Seat>;

    fn join(&self, rounds: &Rounds, member: Weak<dyn Member>) -> Vec<Seat> {
        self.boards
            .iter()
            .map(|board| rounds.join(&board.subscription.channel, member.clone()))
            .collect()
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Vec<Chunk>>> {
        loop {
            match self.life.next() {
                Next::Send(chunks) => return Poll::Ready(Some(chunks)),
                Next::End => return Poll::Ready(None),
                Next::Wait => {}
            }
            match self.life.poll(cx) {
                Poll::Ready(Woken::Leave) => self.check_leave(),
                Poll::Ready(Woken::Tick) => {
                    self.check_leave();
                    self.life.tick();
                }
                Poll::Ready(Woken::Queued) => {}
                Poll::Pending => ready!(self.poll_gather(cx)),
            }
        }
    }
}
