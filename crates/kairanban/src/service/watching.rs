//! Prepares what a stream begins with. [`plan_opening`] decides what is sent; this provides what it
//! needs: a subscription, a follower that has come far enough, the board in memory, and sometimes a
//! part of the log.

use std::sync::Arc;

use futures_util::future::join_all;
use kairanban_core::{
    BoardChannel, BoardName, Cursor, LogBounds, MultiBoardOpening, OpenedBoard, ReplayRange,
    StartAt, Subscription, is_future, merge_openings, plan_opening,
};
use kairanban_store::StoreError;

use super::{
    BoardService, ReadQuota, WatchError,
    board_view::{CATCH_UP, admitted, not_loaded},
};
use crate::{auth::Caller, blocking::query, follower::Wake};

/// How often several boards are read again because a new epoch began between two of them.
const EPOCH_TRIES: usize = 5;

/// A subscription of a board, and what its reader is sent first.
#[derive(Debug)]
pub struct Watch {
    /// Updates from before the opening on.
    pub subscription: Subscription,
    /// What the reader is sent first.
    pub opened: OpenedBoard,
}

impl BoardService {
    /// Subscribes the caller to a board, from `start` on.
    ///
    /// # Errors
    /// As [`read`](Self::read), and [`WatchError::TooManyReads`].
    pub async fn watch(
        &self,
        caller: &Caller,
        board: &BoardName,
        start: StartAt,
        take_read: ReadQuota<'_>,
    ) -> Result<Watch, WatchError> {
        // Subscribes before it reads the snapshot, so that no update can fall between.
        let subscription = self.deps.hub.subscribe(board);
        let start = self.catch_up(start, take_read).await?;
        Ok(self.open(caller, subscription, &start, take_read).await?)
    }

    /// Subscribes the caller to several boards. Returns what it is sent first, and the
    /// subscriptions of the boards that it may read, in the same order.
    ///
    /// # Errors
    /// As [`watch`](Self::watch). If some boards are not there, but not all, that is no error.
    pub async fn watch_many(
        &self,
        caller: &Caller,
        boards: &[BoardName],
        start: StartAt,
        take_read: ReadQuota<'_>,
    ) -> Result<(MultiBoardOpening, Vec<Subscription>), WatchError> {
        let start = self.catch_up(start, take_read).await?;
        for _ in 0..EPOCH_TRIES {
            let published = self.deps.follower.cursor();
            let mut subscriptions = Vec::with_capacity(boards.len());
            let mut all_opened = Vec::with_capacity(boards.len());
            let mut gone = self.absent(caller, boards).await;
            for board in boards {
                if gone.contains(board) {
                    continue;
                }
                let subscription = self.deps.hub.subscribe(board);
                match self.open(caller, subscription, &start, take_read).await {
                    Ok(watch) => {
                        subscriptions.push(watch.subscription);
                        all_opened.push(watch.opened);
                    }
                    Err(StoreError::NoSuchBoard(board)) => gone.push(board),
                    Err(error) => return Err(error.into()),
                }
            }
            if all_opened.is_empty()
                && let Some(board) = boards.first()
            {
                return Err(StoreError::NoSuchBoard(board.clone()).into());
            }
            if let Some(opening) = merge_openings(&start, published, all_opened, gone) {
                return Ok((opening, subscriptions));
            }
        }
        Err(StoreError::Unavailable("a new epoch began while the boards were read".into()).into())
    }

    /// Returns which of several boards the caller cannot read, as far as that is known before they
    /// are opened. Asks for all by one query: one after the other, each name that is no board would
    /// wait for its turn.
    async fn absent(&self, caller: &Caller, boards: &[BoardName]) -> Vec<BoardName> {
        if boards.len() == 1 {
            return Vec::new();
        }
        let lookups = boards
            .iter()
            .filter(|board| !self.is_at_hand(caller, board))
            .map(|board| self.ensure_readable(board, caller.scope_on(board)));
        let found = join_all(lookups).await.into_iter();
        let absent = found.filter_map(|found| match found {
            Err(StoreError::NoSuchBoard(board)) => Some(board),
            // If the database is away, what is in memory decides.
            _ => None,
        });
        absent.collect()
    }

    /// Waits until memory is as new as what this node acknowledged and as what the reader has seen,
    /// and turns a time that `start` names into a cursor.
    async fn catch_up(
        &self,
        start: StartAt,
        take_read: ReadQuota<'_>,
    ) -> Result<StartAt, WatchError> {
        let follower = &self.deps.follower;
        // While the database is away, streams open all the same: their readers are sent `stale`.
        if !follower
            .wait_for_revision(self.deps.acknowledged.get(), CATCH_UP)
            .await
            && follower.stale_since().is_none()
        {
            let cause = "what this node acknowledged is not published yet";
            return Err(StoreError::Unavailable(cause.to_owned()).into());
        }
        let start = match start {
            StartAt::Ago(_) if !take_read() => return Err(WatchError::TooManyReads),
            StartAt::Ago(time) => {
                let epoch = follower.epoch();
                let revision =
                    query(&self.deps.store, move |store| store.head_before(time)).await?;
                StartAt::Then(Cursor { epoch, revision })
            }
            start => start,
        };
        // Before a cursor is refused as one from the future: it may be from another node.
        if let Some(cursor) = start.cursor()
            && is_future(cursor, &follower.cursor())
        {
            if !take_read() {
                return Err(WatchError::TooManyReads);
            }
            // Without an answer this is unknown: the reader keeps what it has, which is newer, and
            // comes again.
            if !follower.wait_for_poll(Wake::hint, CATCH_UP).await {
                let cause = "the database did not say whether it is as new as the reader's cursor";
                return Err(StoreError::Unavailable(cause.to_owned()).into());
            }
        }
        Ok(start)
    }

    pub(super) async fn open(
        &self,
        caller: &Caller,
        subscription: Subscription,
        start: &StartAt,
        take_read: ReadQuota<'_>,
    ) -> Result<Watch, StoreError> {
        let channel = Arc::clone(&subscription.channel);
        if let Err(error) = self.ensure_loaded(caller, &channel.board, &channel).await {
            drop(subscription);
            self.evict_absent(&channel.board, &channel, &error);
            return Err(error);
        }
        let (mut opened, unread) = self.plan(caller, &channel, start)?;
        if unread.is_some() {
            self.read_replay(caller, &channel, start, take_read).await?;
            (opened, _) = self.plan(caller, &channel, start)?;
        }
        Ok(Watch {
            subscription,
            opened,
        })
    }

    /// Decides what the reader is sent first, and what to read of the log for it.
    fn plan(
        &self,
        caller: &Caller,
        channel: &BoardChannel,
        start: &StartAt,
    ) -> Result<(OpenedBoard, Option<ReplayRange>), StoreError> {
        let log = LogBounds {
            published: self.deps.follower.revision(),
            trimmed_to: self.deps.trimmed_to.get(),
        };
        let live = channel.live();
        admitted(caller, &channel.board, &live)?;
        let plan = plan_opening(start, &live, log).ok_or_else(not_loaded)?;
        let opened = OpenedBoard::new(plan.opening, &live).ok_or_else(not_loaded)?;
        Ok((opened, plan.unread))
    }

    /// Reads what a reader has missed from the log, if memory does not know it, and keeps it for
    /// other readers. A reader who has read too much is sent the list.
    async fn read_replay(
        &self,
        caller: &Caller,
        channel: &BoardChannel,
        start: &StartAt,
        take_read: ReadQuota<'_>,
    ) -> Result<(), StoreError> {
        let _loading = channel.loading.lock().await;
        // Whatever held the lock before may have read it.
        let (_, unread) = self.plan(caller, channel, start)?;
        let Some(range) = unread.filter(|_| take_read()) else {
            return Ok(());
        };
        let known = self.deps.follower.last_seen();
        let read = query(&self.deps.store, move |store| {
            store.read_of(&known, |store| store.replay(&range))
        });
        match read.await {
            Ok(Some(read)) => channel.live().backfill(&range, &read),
            Ok(None) => tracing::debug!("another history begins; the reader is sent the list"),
            Err(error) => {
                tracing::debug!(%error, "what a reader missed cannot be read; it is sent the list")
            }
        }
        Ok(())
    }
}
