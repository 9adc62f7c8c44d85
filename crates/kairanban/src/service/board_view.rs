//! The live list: once, again and again, or when there is news.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use futures_util::future::OptionFuture;
use kairanban_core::{
    BoardChannel, BoardEvent, BoardName, BoardState, Cursor, Patch, Policies, ReadPolicy, Resume,
    Revision, Snapshot, Subscription,
};
use kairanban_store::StoreError;
use tokio::time::timeout_at;

use super::BoardService;
use crate::{auth::Caller, blocking::query, board_loader::LoadError, shutdown::Drain};

/// How long a reader waits for the follower to come as far as what this node has acknowledged.
pub const CATCH_UP: Duration = Duration::from_secs(2);
/// Readings of a board that changes faster than it can be read.
const LOADS_MAX: usize = 5;

/// A snapshot, and since when it may have been overtaken because the database is away.
#[derive(Clone, Debug)]
pub struct BoardView {
    /// The list.
    pub snapshot: Arc<Snapshot>,
    /// Who may do what on the board.
    pub policies: Policies,
    /// Since when nothing newer could be read.
    pub stale_since: Option<DateTime<Utc>>,
}

/// Where a reader says it stands.
#[derive(Clone, Debug)]
pub enum Since {
    /// Nowhere: it wants the list.
    Start,
    /// At whatever is newest: it wants no list.
    Now,
    /// At something that is no cursor.
    Invalid,
    /// At a cursor.
    Cursor(Cursor),
    /// Where it was so long ago.
    Ago(Duration),
}

/// Why a reader's cursor could not be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResetReason {
    /// It belongs to another history.
    Epoch,
    /// The log does not reach back that far, or the board's does not: its name meant another one.
    Trimmed,
    /// The database has not come that far.
    Future,
    /// The reader fell too far behind.
    Lagged,
    /// It is no cursor.
    Invalid,
}

impl ResetReason {
    /// As a client is told.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Epoch => "epoch",
            Self::Trimmed => "trimmed",
            Self::Future => "future",
            Self::Lagged => "lagged",
            Self::Invalid => "invalid",
        }
    }
}

/// What a reader has to be sent first.
#[derive(Debug)]
pub enum First {
    /// Nothing: it is up to date, or wants to hear of changes only.
    Nothing,
    /// What changed since its cursor.
    Patch(Patch),
    /// The list, because what changed after its cursor is more than that, or cannot be told any more.
    Since(Revision),
    /// The list; with the reason, if its cursor could not be served.
    Snapshot(Option<ResetReason>),
}

/// A reader's place on a board.
#[derive(Debug)]
pub struct Watch {
    /// Updates from before the snapshot on.
    pub subscription: Subscription,
    /// The list that the reader stands at once it was sent the first thing.
    pub snapshot: Arc<Snapshot>,
    /// That thing.
    pub first: First,
}

impl BoardService {
    /// The live list of a board.
    ///
    /// # Errors
    /// [`StoreError::NoSuchBoard`], also if the caller may not read it; [`StoreError::Unavailable`] if
    /// there is nothing to show for it.
    pub async fn read(&self, caller: &Caller, board: &BoardName) -> Result<BoardView, StoreError> {
        let settled = self
            .parts
            .following
            .wait_for_revision(self.parts.acknowledged.get(), CATCH_UP)
            .await;
        let channel = self.parts.hub.channel(board);
        self.current(caller, board, &channel)
            .await
            .inspect_err(|error| self.forget(board, &channel, error))?;
        let live = channel.live();
        let (snapshot, policies) = admitted(caller, board, &live)?;
        let stale_since = self.parts.following.stale_since().or(live.stale_since());
        drop(live);
        let stale_since = stale_since.or_else(|| (!settled).then(Utc::now));
        Ok(BoardView {
            snapshot,
            policies,
            stale_since,
        })
    }

    /// A place among a board's readers.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub async fn watch(
        &self,
        caller: &Caller,
        board: &BoardName,
        since: Since,
    ) -> Result<Watch, StoreError> {
        // First the subscription, then the snapshot: no update can fall between.
        let subscription = self.parts.hub.subscribe(board);
        self.parts
            .following
            .wait_for_revision(self.parts.acknowledged.get(), CATCH_UP)
            .await;
        let is_ago = matches!(since, Since::Ago(_));
        let since = match since {
            Since::Ago(time) => Since::Cursor(self.cursor_of(time).await?),
            Since::Cursor(cursor) => {
                self.catch_up_with(&cursor).await;
                Since::Cursor(cursor)
            }
            other => other,
        };
        if let Err(error) = self.current(caller, board, &subscription.channel).await {
            let channel = Arc::clone(&subscription.channel);
            drop(subscription);
            self.forget(board, &channel, &error);
            return Err(error);
        }
        if let Since::Cursor(cursor) = &since {
            self.backfill(&subscription.channel, cursor).await;
        }
        let live = subscription.channel.live();
        let (snapshot, _) = admitted(caller, board, &live)?;
        let since = match since {
            // What another board of this name showed then is not asked for.
            Since::Cursor(cursor) if is_ago => Since::Cursor(live.not_before_named(cursor)),
            since => since,
        };
        let first = match since {
            Since::Start => First::Snapshot(None),
            Since::Now => First::Nothing,
            Since::Invalid => First::Snapshot(Some(ResetReason::Invalid)),
            // It has become a cursor.
            Since::Ago(_) => First::Snapshot(None),
            Since::Cursor(cursor) => match self.refusal(&cursor, &snapshot) {
                Some(reason) => First::Snapshot(Some(reason)),
                None => match live.resume(&cursor).ok_or_else(not_loaded)? {
                    Resume::UpToDate => First::Nothing,
                    Resume::Patch(patch) => First::Patch(patch),
                    Resume::OtherBoard(_) => First::Snapshot(Some(ResetReason::Trimmed)),
                    Resume::Snapshot(_) if self.is_trimmed(&cursor) => {
                        First::Snapshot(Some(ResetReason::Trimmed))
                    }
                    Resume::Snapshot(_) => First::Since(cursor.revision),
                },
            },
        };
        drop(live);
        Ok(Watch {
            subscription,
            snapshot,
            first,
        })
    }

    /// A place among the readers of several boards, and the place in history that is published at the
    /// least on all of them.
    ///
    /// # Errors
    /// As [`read`](Self::read), for the first board at fault.
    pub async fn watch_many(
        &self,
        caller: &Caller,
        boards: &[BoardName],
        since: &Since,
    ) -> Result<(Cursor, Vec<Watch>), StoreError> {
        self.parts
            .following
            .wait_for_revision(self.parts.acknowledged.get(), CATCH_UP)
            .await;
        if let Since::Cursor(cursor) = since {
            self.catch_up_with(cursor).await;
        }
        let from = Cursor {
            epoch: self.parts.following.epoch(),
            revision: self.parts.following.revision(),
        };
        let mut watches = Vec::with_capacity(boards.len());
        for board in boards {
            watches.push(self.watch(caller, board, since.clone()).await?);
        }
        Ok((from, watches))
    }

    /// The live list once there is more than at `known`, or when `at_most` has passed, or when the
    /// server ends.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub async fn wait(
        &self,
        caller: &mut Caller,
        board: &BoardName,
        known: &Cursor,
        at_most: Duration,
        drain: &Drain,
    ) -> Result<BoardView, StoreError> {
        let end = tokio::time::Instant::now() + at_most;
        let is_news = |snapshot: &Snapshot| !known.covers(snapshot.cursor());
        loop {
            caller.look();
            let mut watch = self.watch(caller, board, Since::Now).await?;
            let news = async {
                // Any other news, or a lag, say as much as an update: look at what there is.
                while !is_news(&watch.snapshot) {
                    let Ok(BoardEvent::Update(update)) = watch.subscription.next().await else {
                        return;
                    };
                    watch.snapshot = Arc::clone(&update.snapshot);
                }
            };
            let is_over = tokio::select! {
                waited = timeout_at(end, news) => waited.is_err(),
                Some(()) = OptionFuture::from(caller.changed()) => false,
                () = drain.begun() => true,
            };
            let reading = self.read(caller, board).await?;
            // What else happened, such as other policies that still let the caller in, is nothing to answer.
            if is_over || is_news(&reading.snapshot) {
                return Ok(reading);
            }
        }
    }

    /// Sees to it that the newest snapshot is in memory, or, while the database is away, the last one
    /// known. Readers that arrive together cost one reading.
    ///
    /// For a caller who may not read the board everything is as if there were none, to the statements that the database is
    /// asked and the turns that are waited for: neither answer nor time says which it is, also while the database is away.
    async fn current(
        &self,
        caller: &Caller,
        board: &BoardName,
        channel: &Arc<BoardChannel>,
    ) -> Result<(), StoreError> {
        let may_read = || {
            channel
                .live()
                .policies()
                .is_none_or(|policies| caller.may_read(board, policies))
        };
        if self.is_current(channel) && may_read() {
            return Ok(());
        }
        let _turn = channel.loading.lock().await;
        let right = caller.right(board);
        if right.is_none() && !(self.is_current(channel) && may_read()) {
            let name = board.clone();
            match query(&self.parts.store, move |store| store.policies(&name, right)).await {
                Ok(_) => {}
                // While the database is away, the last word counts.
                Err(StoreError::Unavailable(_))
                    if channel.live().last_known().is_some() && may_read() =>
                {
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
        // While somebody watches, the follower keeps up a list that it has, and reads one that it has not: also for the caller
        // who only reads, and would find a busy board changed again after each reading.
        let _watching = channel.subscribe();
        for _ in 0..LOADS_MAX {
            // Whoever had the turn before may have read it.
            if self.is_current(channel) {
                return Ok(());
            }
            let epoch = self.parts.following.epoch();
            match self.parts.loader.load_into(channel, &epoch).await {
                Ok(_) => return Ok(()),
                // Read before a change, or an epoch, that the follower has published or is about to publish.
                Err(LoadError::Stale(_)) => self.parts.following.wait_for_poll(CATCH_UP).await,
                Err(LoadError::Store(error @ StoreError::NoSuchBoard(_))) => return Err(error),
                // While the database is away, the last word counts.
                Err(LoadError::Store(error)) => {
                    return channel.live().last_known().map(drop).ok_or(error);
                }
            }
        }
        Err(StoreError::Unavailable(
            "the board changes faster than it can be read".to_owned(),
        ))
    }

    /// Asks the log for what a reader has missed that memory does not know. Readers who come together, or
    /// later, need not ask again.
    async fn backfill(&self, channel: &BoardChannel, cursor: &Cursor) {
        let gap = || {
            let live = channel.live();
            let of_this_history = live
                .last_known()
                .is_some_and(|newest| newest.cursor().epoch == cursor.epoch);
            live.gap(cursor.revision)
                .filter(|_| of_this_history && !self.is_trimmed(cursor))
        };
        if gap().is_none() {
            return;
        }
        let _turn = channel.loading.lock().await;
        let Some(gap) = gap() else { return };
        match query(&self.parts.store, move |store| store.history(&gap)).await {
            Ok(history) => channel.live().backfill(&gap, &history),
            Err(error) => {
                tracing::debug!(%error, "what a reader missed cannot be read; it is sent the list")
            }
        }
    }

    fn is_current(&self, channel: &BoardChannel) -> bool {
        let live = channel.live();
        let current = live
            .current(channel.is_watched(), Instant::now(), self.parts.cache_ttl)
            .is_some();
        // While the database is away nothing expires.
        current || (live.last_known().is_some() && self.parts.following.stale_since().is_some())
    }

    /// Keeps no memory of names that somebody made up.
    fn forget(&self, board: &BoardName, channel: &Arc<BoardChannel>, error: &StoreError) {
        // A board that is hidden from the caller is kept for those who may read it.
        let is_hidden = channel
            .live()
            .policies()
            .is_some_and(|policies| policies.read == ReadPolicy::Token);
        if matches!(error, StoreError::NoSuchBoard(_)) && !is_hidden {
            self.parts.hub.forget(board, channel);
        }
    }

    /// The place in history so long ago.
    async fn cursor_of(&self, ago: Duration) -> Result<Cursor, StoreError> {
        let epoch = self.parts.following.epoch();
        let revision = query(&self.parts.store, move |store| store.head_before(ago)).await?;
        Ok(Cursor { epoch, revision })
    }

    /// Asks the database before a cursor is called one from the future: another node may have given it.
    async fn catch_up_with(&self, cursor: &Cursor) {
        let following = &self.parts.following;
        if cursor.epoch == following.epoch()
            && !following
                .wait_for_revision(cursor.revision, Duration::ZERO)
                .await
        {
            following.wait_for_poll(CATCH_UP).await;
        }
    }

    fn refusal(&self, cursor: &Cursor, snapshot: &Snapshot) -> Option<ResetReason> {
        if cursor.epoch != snapshot.cursor().epoch {
            Some(ResetReason::Epoch)
        } else if cursor.revision > snapshot.revision().max(self.parts.following.revision()) {
            Some(ResetReason::Future)
        } else {
            None
        }
    }

    fn is_trimmed(&self, cursor: &Cursor) -> bool {
        cursor.revision < self.parts.trimmed_to.get()
    }
}

/// The list and the policies of a board in memory, for a caller who may read it.
fn admitted(
    caller: &Caller,
    board: &BoardName,
    live: &BoardState,
) -> Result<(Arc<Snapshot>, Policies), StoreError> {
    let snapshot = Arc::clone(live.last_known().ok_or_else(not_loaded)?);
    let policies = live.policies().ok_or_else(not_loaded)?;
    if caller.may_read(board, policies) {
        Ok((snapshot, policies))
    } else {
        Err(StoreError::NoSuchBoard(board.clone()))
    }
}

fn not_loaded() -> StoreError {
    StoreError::Unavailable("the board could not be read".to_owned())
}
