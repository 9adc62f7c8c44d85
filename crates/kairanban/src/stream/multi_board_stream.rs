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
use kairanban_core::{
    BoardEvent, BoardName, Cursor, Lagged, Opening, ResetReason, Snapshot, Subscription, Update,
};

use super::{
    Reader, StreamDeps, UpdateSource,
    dispatcher::{Registration, Subscriber, WorkerDispatchers},
    lifetime::{Next, StreamLifetime, Woken},
};
use crate::{
    encode::{Bye, Chunk, Encoder},
    service::{CATCH_UP, Watch},
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
pub struct MultiBoardStream {
    life: StreamLifetime,
    boards: Vec<BoardReader>,
    /// Everything up to here was sent.
    cursor: Cursor,
    /// Events of a board, held back until there is what was committed with it.
    together: Option<BoxFuture<'static, (usize, Result<BoardEvent, Lagged>)>>,
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

impl MultiBoardStream {
    /// A stream that begins with what `watches` found. Everything up to `from` had been published before
    /// they were looked at.
    #[must_use]
    pub fn new(
        watches: Vec<BoardWatch>,
        from: Cursor,
        encoder: Encoder,
        deps: Arc<StreamDeps>,
        reader: Reader,
    ) -> Self {
        let mut life = StreamLifetime::new(encoder, deps, reader);
        life.push(life.encoder.opening(life.deps.timing.retry_ms()));
        let reason = watches.iter().find_map(|found| match found.watch.opening {
            Opening::Snapshot { reset } => reset,
            _ => None,
        });
        // Who begins anew begins anew everywhere.
        if let Some(reason) = reason {
            life.push(life.encoder.reset(reason));
        }
        for BoardWatch {
            watch: Watch {
                snapshot, opening, ..
            },
            ..
        } in &watches
        {
            match opening {
                Opening::Patch(patch) if reason.is_none() => {
                    life.push(life.encoder.one_of_many_missed(patch, snapshot))
                }
                Opening::Nothing if reason.is_none() => {}
                _ => life.push(life.encoder.one_of_many(snapshot)),
            }
        }
        life.push(life.encoder.cursor(&from));
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
                let following = self.life.deps.following.clone();
                async move {
                    if let Ok(BoardEvent::Update(update)) = &news {
                        following
                            .wait_for_revision(update.revision(), CATCH_UP)
                            .await;
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
        let following = &self.life.deps.following;
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
            self.life.push(self.life.encoder.cursor(&upto));
            self.cursor = upto;
        }
        Poll::Ready(())
    }

    fn first_news(&mut self) -> Option<(usize, Result<BoardEvent, Lagged>)> {
        let news = |(at, board): (usize, &mut BoardReader)| {
            board.subscription.try_next().map(|news| (at, news))
        };
        self.boards.iter_mut().enumerate().find_map(news)
    }

    fn take(&mut self, news: Result<BoardEvent, Lagged>, at: usize) {
        match news {
            Ok(BoardEvent::Update(update)) => self.tell(&update, at),
            Ok(BoardEvent::PolicyChanged) => self.check_permission(),
            Ok(BoardEvent::HistoryReset(snapshot)) => self.begin_again(&snapshot, at),
            Ok(BoardEvent::Stale(since)) => self.set_stale(Some(since), at),
            Ok(BoardEvent::Fresh) => self.set_stale(None, at),
            Ok(BoardEvent::Gone) => self.life.end(Bye::Gone),
            Err(Lagged) => {
                self.check_permission();
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
        self.check_permission();
        let epoch = &snapshot.cursor().epoch;
        if self.life.has_ended() || self.boards[at].sent.epoch == *epoch {
            return;
        }
        if self.boards.iter().all(|board| board.sent.epoch != *epoch) {
            self.life.push(self.life.encoder.reset(ResetReason::Epoch));
        }
        self.boards[at].sent = snapshot.cursor().clone();
        self.life.push(self.life.encoder.one_of_many(snapshot));
    }

    fn check_permission(&mut self) {
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
            self.life.disconnect();
        }
    }

    fn tell(&mut self, update: &Update, at: usize) {
        let reader = &mut self.boards[at];
        if self.life.has_ended() || update.revision() <= reader.sent.revision {
            return;
        }
        let encoder = &self.life.encoder;
        let hole = update.patch.from > reader.sent.revision;
        let frame = if hole {
            encoder.one_of_many(&update.snapshot)
        } else {
            encoder.one_of_many_changed(update)
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
                .encoder
                .fell_behind(&reader.board, ResetReason::Lagged);
            self.life.push(reset);
            self.life.push(self.life.encoder.one_of_many(&newest));
        }
    }
}

impl UpdateSource for MultiBoardStream {
    type Registrations = Vec<Registration>;

    fn join(
        &self,
        dispatchers: &WorkerDispatchers,
        member: Weak<dyn Subscriber>,
    ) -> Vec<Registration> {
        self.boards
            .iter()
            .map(|board| dispatchers.join(&board.subscription.channel, member.clone()))
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
                Poll::Ready(Woken::PermissionWatch) => self.check_permission(),
                Poll::Ready(Woken::Tick) => {
                    self.check_permission();
                    self.life.tick();
                }
                Poll::Ready(Woken::Queued) => {}
                Poll::Pending => ready!(self.poll_gather(cx)),
            }
        }
    }
}
