//! Reads the live list: now, or when it is newer than a cursor.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use futures_util::future::OptionFuture;
use kairanban_core::{
    Action, BoardChannel, BoardEvent, BoardName, BoardState, Cursor, Policies, Revision, Scope,
    Snapshot, StartAt,
};
use kairanban_store::StoreError;
use tokio::time::timeout_at;

use super::BoardService;
use crate::{auth::Caller, board_loader::LoadError, follower::Wake, shutdown::Drain};

/// How long a reader waits for the follower to reach what this node has acknowledged.
pub const CATCH_UP: Duration = Duration::from_secs(2);
/// Attempts to load a board that changes faster than it can be read.
const LOADS_MAX: usize = 5;

/// A snapshot, and since when it may be out of date because the database is away.
#[derive(Clone, Debug)]
pub struct BoardView {
    /// The list that is shown.
    pub snapshot: Arc<Snapshot>,
    /// Who may read the board, and who may post on it.
    pub policies: Policies,
    /// Since when nothing newer could be read.
    pub stale_since: Option<DateTime<Utc>>,
}

impl BoardService {
    /// Returns the live list of a board.
    ///
    /// # Errors
    /// [`StoreError::NoSuchBoard`], also if the caller may not read it; [`StoreError::Unavailable`]
    /// if there is nothing to show for it.
    pub async fn read(&self, caller: &Caller, board: &BoardName) -> Result<BoardView, StoreError> {
        let settled = self
            .deps
            .follower
            .wait_for_revision(self.deps.acknowledged.get(), CATCH_UP)
            .await;
        let channel = self.deps.hub.channel(board);
        self.ensure_loaded(caller, board, &channel)
            .await
            .inspect_err(|error| self.evict_absent(board, &channel, error))?;
        let live = channel.live();
        let (snapshot, policies) = admitted(caller, board, &live)?;
        let stale_since = self.deps.follower.list_stale_since(live.stale_since());
        drop(live);
        let stale_since = stale_since.or_else(|| (!settled).then(Utc::now));
        Ok(BoardView {
            snapshot,
            policies,
            stale_since,
        })
    }

    /// Returns the live list once there is more than at `known`, when `at_most` has passed, or when
    /// the server ends.
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
        loop {
            caller.mark_seen();
            let subscription = self.deps.hub.subscribe(board);
            // Nothing is read for a reader who begins now. Nor does it wait for what this node
            // acknowledged: the list is read below.
            let mut watch = self
                .open(caller, subscription, &StartAt::Now, &|| true)
                .await?;
            let newer = async {
                // Any other event, or a lag, calls for a look at the list, as an update does.
                while known.covers(watch.opened.snapshot.cursor()) {
                    let Ok(BoardEvent::Update(update)) = watch.subscription.next().await else {
                        return;
                    };
                    watch.opened.snapshot = Arc::clone(&update.snapshot);
                }
            };
            let is_over = tokio::select! {
                waited = timeout_at(end, newer) => waited.is_err(),
                Some(()) = OptionFuture::from(caller.changed()) => false,
                () = drain.begun() => true,
            };
            let view = self.read(caller, board).await?;
            // Other events, such as a change of policies that still admits the caller, are not
            // answered.
            if is_over || !known.covers(view.snapshot.cursor()) {
                return Ok(view);
            }
        }
    }

    /// Returns whether the caller can be answered from memory: the board is loaded, and the caller
    /// may read it.
    #[must_use]
    pub fn is_at_hand(&self, caller: &Caller, board: &BoardName) -> bool {
        let channel = self.deps.hub.get(board);
        channel.is_some_and(|channel| self.is_current(&channel) && caller.may_read(&channel))
    }

    /// Loads the newest snapshot into memory, unless it is there; while the database is away, the
    /// last one known will do. Readers that arrive together cost one load.
    ///
    /// A caller who may not read the board cannot tell it from a board that does not exist: the
    /// statements and the locks are the same, so that neither the answer nor its time shows the
    /// difference, also while the database is away.
    pub(super) async fn ensure_loaded(
        &self,
        caller: &Caller,
        board: &BoardName,
        channel: &Arc<BoardChannel>,
    ) -> Result<(), StoreError> {
        if self.is_current(channel) && caller.may_read(channel) {
            return Ok(());
        }
        self.ensure_not_absent(board, caller.scope_on(board))?;
        let _loading = channel.loading.lock().await;
        let scope = caller.scope_on(board);
        let is_known = (scope.is_some() && channel.live().last_known().is_some())
            || (self.is_current(channel) && caller.may_read(channel));
        if !is_known {
            match self.ensure_readable(board, scope).await {
                Ok(()) => {}
                // While the database is away, the policies in memory count.
                Err(StoreError::Unavailable(_))
                    if channel.live().last_known().is_some() && caller.may_read(channel) =>
                {
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
        let mut _watching = None;
        for _ in 0..LOADS_MAX {
            // Another reader may have loaded it while this one waited for the lock.
            if self.is_current(channel) {
                return Ok(());
            }
            let known = self.deps.follower.last_seen();
            match self.deps.loader.load_into(channel, &known).await {
                Ok(()) => return Ok(()),
                // Read before a change, or an epoch, that the follower has published or is about to
                // publish.
                Err(LoadError::Outdated(_)) => {
                    // While a board has readers, the follower applies its changes, and loads it
                    // when they are too many. So this subscribes, but not earlier, or an expired
                    // list would count.
                    _watching.get_or_insert_with(|| channel.subscribe());
                    self.deps.follower.wait_for_poll(Wake::wake, CATCH_UP).await;
                }
                Err(LoadError::Gone(board)) => return Err(StoreError::NoSuchBoard(board)),
                Err(LoadError::Failed(error)) if channel.live().last_known().is_none() => {
                    return Err(error);
                }
                Err(LoadError::Failed(_)) => {
                    self.deps.loader.mark_stale(board, Revision::ZERO);
                    return Ok(());
                }
            }
        }
        Err(StoreError::Unavailable(
            "the board changes faster than it can be read".to_owned(),
        ))
    }

    /// Makes sure that there is a board that a caller may read whose token has `scope` there: asks
    /// the database, unless memory knows that there is no such board.
    ///
    /// # Errors
    /// [`StoreError::NoSuchBoard`], also if the caller may not read it, or if the database is away.
    pub(super) async fn ensure_readable(
        &self,
        board: &BoardName,
        scope: Option<Scope>,
    ) -> Result<(), StoreError> {
        self.ensure_not_absent(board, scope)?;
        self.deps.finder.check(board.clone(), scope).await
    }

    /// Refuses while memory has not heard of everything that this node acknowledged.
    fn ensure_not_absent(&self, board: &BoardName, scope: Option<Scope>) -> Result<(), StoreError> {
        let has_caught_up = self.deps.follower.revision() >= self.deps.acknowledged.get();
        if has_caught_up && self.deps.absent.holds(board, scope, Instant::now()) {
            return Err(StoreError::NoSuchBoard(board.clone()));
        }
        Ok(())
    }

    fn is_current(&self, channel: &BoardChannel) -> bool {
        let live = channel.live();
        let current = live
            .current(channel.is_watched(), Instant::now(), self.deps.cache_ttl)
            .is_some();
        current || (live.last_known().is_some() && !self.deps.follower.may_expire())
    }

    /// Evicts the placeholder of a board that does not exist.
    pub(super) fn evict_absent(
        &self,
        board: &BoardName,
        channel: &Arc<BoardChannel>,
        error: &StoreError,
    ) {
        // A board that is hidden from the caller is kept for those who may read it.
        let is_hidden = channel
            .live()
            .policies()
            .is_some_and(|policies| !policies.is_public());
        if matches!(error, StoreError::NoSuchBoard(_)) && !is_hidden {
            self.deps.hub.evict_absent(board, channel);
        }
    }
}

/// Returns the list and the policies of a board in memory to a caller who may read it.
pub(super) fn admitted(
    caller: &Caller,
    board: &BoardName,
    live: &BoardState,
) -> Result<(Arc<Snapshot>, Policies), StoreError> {
    let snapshot = Arc::clone(live.last_known().ok_or_else(not_loaded)?);
    let policies = live.policies().ok_or_else(not_loaded)?;
    if caller.may(Action::Read, board, policies) {
        Ok((snapshot, policies))
    } else {
        Err(StoreError::NoSuchBoard(board.clone()))
    }
}

pub(super) fn not_loaded() -> StoreError {
    StoreError::Unavailable("the board could not be read".to_owned())
}
