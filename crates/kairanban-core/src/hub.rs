//! The fan-out point in memory: every board that has readers, or that was read lately.
//!
//! Per board there is one `broadcast` channel and one [`BoardState`](crate::BoardState), for
//! readers and for the cache (ADR 3). The follower publishes the changes of the log; a load that
//! overtakes it sends the difference. A stream subscribes **first** and asks for the snapshot
//! second, so that no update can fall between the two. An update that the snapshot already holds is
//! skipped by its revision.

mod channel;

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use dashmap::DashMap;

use crate::{
    BoardChange, BoardChanges, BoardId, BoardLoad, BoardName, BoardState, Epoch, OutdatedLoad,
    Policies, Revision, Snapshot,
};

use crate::sync::MutexGuard;
pub use channel::{BoardChannel, BoardEvent, Lagged, Published, Subscription};

/// All boards in memory. A guard of the map is never held across a lock or an await: callers get
/// an [`Arc`].
#[derive(Debug)]
pub struct Hub {
    boards: DashMap<BoardName, Arc<BoardChannel>>,
    topics_max: usize,
    lag_max: usize,
}

/// A board in memory whose list is up to date.
#[derive(Clone, Debug)]
pub struct ShownBoard {
    /// The board's key in the database.
    pub board_id: BoardId,
    /// Who may read the board and post on it.
    pub policies: Policies,
    /// The board's live list.
    pub snapshot: Arc<Snapshot>,
    /// The revision of a list that shows what the log does not say, until it does.
    pub unlogged_at: Option<Revision>,
}

impl ShownBoard {
    fn of(board: &BoardState) -> Option<Self> {
        Some(Self {
            board_id: board.board_id()?,
            policies: board.policies()?,
            snapshot: Arc::clone(board.newest()?),
            unlogged_at: board.unlogged_at(),
        })
    }
}

impl Hub {
    /// Creates a hub for live lists of `topics_max`, whose readers may fall `lag_max` events
    /// behind.
    #[must_use]
    pub fn new(topics_max: usize, lag_max: usize) -> Self {
        Self {
            boards: DashMap::new(),
            topics_max,
            lag_max,
        }
    }

    /// Returns the board's channel, which is created on first use.
    #[must_use]
    pub fn channel(&self, board: &BoardName) -> Arc<BoardChannel> {
        if let Some(channel) = self.boards.get(board) {
            return Arc::clone(&channel);
        }
        Arc::clone(
            &self
                .boards
                .entry(board.clone())
                .or_insert_with(|| Arc::new(BoardChannel::new(board.clone(), self.lag_max))),
        )
    }

    /// Returns the policies of a board, if it is in memory.
    #[must_use]
    pub fn policies(&self, board: &BoardName) -> Option<Policies> {
        self.get(board)?.live().policies()
    }

    /// Subscribes to the board's events. Ask for the snapshot afterwards, never before.
    #[must_use]
    pub fn subscribe(&self, board: &BoardName) -> Subscription {
        loop {
            let subscription = self.channel(board).subscribe();
            // A channel leaves before its end is sent. One that had left by the time of the
            // subscription may have sent it: the board, or another, has a channel of its own.
            let current = self.get(board);
            if current.is_some_and(|current| Arc::ptr_eq(&current, &subscription.channel)) {
                return subscription;
            }
        }
    }

    /// Sends a board's changes to its readers, in the follower's order. With `only` it sends them
    /// only if the name `board` still means that board. Returns `None` if nothing was published,
    /// because it does not, or because the board is not in memory: a caller that did not read the
    /// changes from the log has to read them there, as the board may have another name by now.
    pub fn publish(
        &self,
        board: &BoardName,
        only: Option<BoardId>,
        changes: &BoardChanges,
    ) -> Option<Published> {
        let channel = self.get(board)?;
        let mut live = channel.live();
        if only.is_some() && live.board_id() != only {
            return None;
        }
        let change = live.apply(changes, channel.is_watched(), self.topics_max);
        Some(channel.send(change, &live))
    }

    /// Installs a board that a reader loaded. `began` is the channel's
    /// [`BoardState::invalidations`](crate::BoardState::invalidations) before the load.
    ///
    /// # Errors
    /// [`OutdatedLoad`] if it was read too early: read again.
    pub fn install_since(
        &self,
        channel: &BoardChannel,
        began: u64,
        loaded: BoardLoad,
        now: Instant,
    ) -> Result<Published, OutdatedLoad> {
        let live = channel.live();
        if live.invalidations() != began {
            return Err(OutdatedLoad);
        }
        self.install_locked(channel, live, loaded, now)
    }

    /// Installs a board that the follower loaded, which nothing can invalidate, as it publishes
    /// nothing meanwhile. If the load is newer than what was published, the board's readers are
    /// sent the difference.
    ///
    /// # Errors
    /// [`OutdatedLoad`] if it was read too early: read again.
    pub fn install(
        &self,
        channel: &BoardChannel,
        loaded: BoardLoad,
        now: Instant,
    ) -> Result<Published, OutdatedLoad> {
        self.install_locked(channel, channel.live(), loaded, now)
    }

    fn install_locked(
        &self,
        channel: &BoardChannel,
        mut live: MutexGuard<'_, BoardState>,
        loaded: BoardLoad,
        now: Instant,
    ) -> Result<Published, OutdatedLoad> {
        if live.board_id().is_some_and(|id| id != loaded.board_id) {
            // The name means another board now. Readers of the one before leave; later ones find
            // the new one.
            live.unload();
            drop(live);
            self.end(channel);
            return Err(OutdatedLoad);
        }
        let (was_stale, before) = (live.stale_since().is_some(), live.policies());
        let change = live.install(loaded, now, self.topics_max)?;
        // A change of policies that the log does not know is learned of here only.
        if before != live.policies() {
            channel.announce_policies(&live);
        }
        let published = channel.send(change, &live);
        if was_stale {
            channel.broadcast(BoardEvent::Fresh, &live);
        }
        Ok(published)
    }

    /// Marks a board as outdated up to `revision`, because its changes were not followed. Returns
    /// whether it has readers, which means that it has to be read again.
    pub fn mark_outdated(&self, board: &BoardName, revision: Revision) -> bool {
        let Some(channel) = self.get(board) else {
            return false;
        };
        let mut live = channel.live();
        let watched = channel.is_watched();
        if !watched || live.last_known().is_none() {
            live.mark_outdated(revision);
        }
        watched
    }

    /// Notes that a board could not be read although it changed up to `revision`, and notifies its
    /// readers.
    pub fn become_stale(&self, board: &BoardName, since: DateTime<Utc>, revision: Revision) {
        let Some(channel) = self.get(board) else {
            return;
        };
        let mut live = channel.live();
        let was_stale = live.stale_since().is_some();
        live.become_stale(since, revision);
        if !was_stale {
            channel.broadcast(BoardEvent::Stale(since), &live);
        }
    }

    /// Applies changes of boards, before their other changes are published (ADR 6). Ends the
    /// streams of boards that were deleted or renamed, or whose name means another board now;
    /// streams of boards that are private now check their permission.
    pub fn apply_policies(&self, boards: &HashMap<BoardId, BoardChange>) {
        if boards.is_empty() {
            return;
        }
        let taken: HashMap<&BoardName, BoardId> = boards
            .iter()
            .filter_map(|(id, change)| Some((&change.info.as_ref()?.name, *id)))
            .collect();
        for (name, channel) in self.all() {
            let mut live = channel.live();
            let Some(id) = live.board_id() else {
                // It may be one of these, read as it stood before.
                live.invalidate_loads();
                continue;
            };
            let change = boards.get(&id);
            match change.map(|change| (change, &change.info)) {
                None if taken.get(&name).is_none_or(|other| *other == id) => {}
                Some((change, Some(now))) if now.name == name => {
                    live.apply_policies(now.policies, change.revision, change.named_at);
                    channel.announce_policies(&live);
                }
                None | Some(_) => {
                    drop(live);
                    self.end(&channel);
                }
            }
        }
    }

    /// Ends the streams of a board that the follower did not find in the database: the log may not
    /// say that it was deleted, if another history has begun.
    pub fn end_missing(&self, board: &BoardName) {
        if let Some(channel) = self.get(board) {
            self.end(&channel);
        }
    }

    /// Drops what is known of every board, because a new epoch has begun. Returns the boards that
    /// have readers: these are sent the new list with the next load.
    pub fn restart(&self, epoch: &Epoch) -> Vec<BoardName> {
        let all = self.all().into_iter();
        // Before `is_watched` is asked: later readers load the board themselves.
        let watched = all
            .inspect(|(_, channel)| channel.live().restart(epoch.clone()))
            .filter(|(_, channel)| channel.is_watched());
        watched.map(|(name, _)| name).collect()
    }

    /// Removes boards without readers whose snapshot is out of date. Returns how many.
    pub fn evict(&self, now: Instant, ttl: Duration) -> usize {
        // At a count of one only the map holds it, and the map is locked here.
        let mut evicted = 0;
        self.boards.retain(|_, channel| {
            let stays = Arc::strong_count(channel) > 1
                || channel.is_watched()
                || !channel.live().is_evictable(now, ttl);
            evicted += usize::from(!stays);
            stays
        });
        evicted
    }

    /// Evicts a board that turned out not to exist, unless other readers are waiting for it: they
    /// may find that it has been created meanwhile.
    pub fn evict_absent(&self, board: &BoardName, channel: &Arc<BoardChannel>) {
        self.boards.remove_if(board, |_, current| {
            // Two holders: the map and the caller.
            let is_unused = Arc::ptr_eq(current, channel) && Arc::strong_count(current) <= 2;
            is_unused && !current.is_watched()
        });
    }

    /// Returns the boards that have readers and a list that is outdated: what the readers were sent
    /// may miss a change.
    #[must_use]
    pub fn outdated(&self) -> Vec<BoardName> {
        let outdated = self.all().into_iter().filter(|(_, channel)| {
            let live = channel.live();
            channel.is_watched() && live.is_outdated()
        });
        outdated.map(|(name, _)| name).collect()
    }

    /// Returns the number of boards in memory.
    #[must_use]
    pub fn len(&self) -> usize {
        self.boards.len()
    }

    /// Returns whether no board is in memory.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.boards.is_empty()
    }

    /// Returns each board in memory whose list is up to date, to compare it with the database.
    #[must_use]
    pub fn shown(&self) -> Vec<ShownBoard> {
        self.all()
            .iter()
            .filter_map(|(_, channel)| ShownBoard::of(&channel.live()))
            .collect()
    }

    /// Returns all boards, collected so that no guard of the map is held while a board is locked.
    fn all(&self) -> Vec<(BoardName, Arc<BoardChannel>)> {
        self.boards
            .iter()
            .map(|entry| (entry.key().clone(), Arc::clone(entry.value())))
            .collect()
    }

    /// Returns the channel of a board that is in memory.
    #[must_use]
    pub fn get(&self, board: &BoardName) -> Option<Arc<BoardChannel>> {
        self.boards.get(board).map(|channel| Arc::clone(&channel))
    }

    /// Removes the channel of a board that ended, and then notifies those who subscribed to it.
    fn end(&self, channel: &BoardChannel) {
        self.boards.remove_if(&channel.board, |_, current| {
            std::ptr::eq(Arc::as_ptr(current), channel)
        });
        channel.broadcast(BoardEvent::Gone, &channel.live());
    }
}

#[cfg(all(test, not(feature = "interleavings")))]
mod tests;
