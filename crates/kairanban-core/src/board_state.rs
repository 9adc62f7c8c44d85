//! The state of one board in memory: what the cache keeps and the follower changes.
//!
//! ```text
//!   database ─ load ─▶ install ─┐                          ┌─▶ None     nothing to send
//!                               ├─▶ BoardState ─ change ───┼─▶ Update   a patch and the list that it leads to
//!   change log ─────▶ apply ────┘    snapshot              ├─▶ Reload   the follower reads the board
//!                                    replay buffer         ├─▶ HistoryReset, Differs
//!                                    missed                └─▶ OutdatedLoad  read too early: read again
//! ```
//!
//! This is where order is kept, so it is plain data and plain functions: no lock, no channel, no
//! clock. [`Hub`](crate::Hub) puts the lock around it.
//!
//! **It never steps back.** A change, or a load, that is not newer than the snapshot changes
//! nothing. A load that lacks a change that was seen (`missed`) is refused, so it does not matter
//! who loads, or how long that takes.
//!
//! **A board without readers is not followed**, only marked outdated: the next reader loads it.
//! While it has readers each change is applied. If its readers cannot load it because it changes
//! all the time, the follower does so in its turn, during which nothing is published.
//!
//! **What readers missed is kept** in the [`ReplayBuffer`], as far back as it reaches: a reader
//! that comes back is sent one patch.

mod loaded_board;
mod replay;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use thiserror::Error;

use crate::{BoardChanges, BoardId, Epoch, Policies, ReplayBuffer, Revision, Snapshot, Update};
use loaded_board::LoadedBoard;

pub use replay::ReplayRange;

/// A board as it was read from the database.
#[derive(Debug)]
pub struct BoardLoad {
    /// The board's key in the database.
    pub board_id: BoardId,
    /// Who may read the board and post on it.
    pub policies: Policies,
    /// The board's live list.
    pub snapshot: Snapshot,
    /// The board's newest history, up to the snapshot.
    pub replay_buffer: ReplayBuffer,
    /// The revision since which the name has meant this board.
    pub named_at: Revision,
}

/// The follower saw a newer change while the board was being read: read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the board changed while it was read")]
pub struct OutdatedLoad;

/// One board in memory.
#[derive(Debug, Default)]
pub struct BoardState {
    loaded: Option<LoadedBoard>,
    /// The newest change that the follower saw and could not apply. A snapshot from before it was
    /// read too early.
    missed: Revision,
    /// A load was refused because of that: the board changes faster than its readers can load it.
    is_overtaken: bool,
    /// How often a board was renamed, deleted or got other policies while this one was not loaded:
    /// it may have been this one, and loads that began before do not count.
    invalidations: u64,
    /// The epoch that loads must be of, once a new one has begun.
    epoch: Option<Epoch>,
    /// A new epoch has begun, and the readers have not been sent its list yet.
    restarted: bool,
    /// Since when it has been impossible to read the board, although it changed.
    stale_since: Option<DateTime<Utc>>,
}

/// What a change or a load means for the readers of a board.
#[derive(Debug)]
pub(crate) enum StateChange {
    /// Nothing is sent: the board has no readers, or the list shows the same.
    None,
    /// Every reader is sent the update.
    Update(Arc<Update>),
    /// Every reader is sent the list of a new epoch.
    HistoryReset(Arc<Snapshot>),
    /// The board has to be read again.
    Reload,
    /// The database shows what its log does not say: another list at the revision that is shown, or
    /// a later one, which every reader is sent.
    Differs(Option<Arc<Update>>),
}

impl BoardState {
    /// Returns the snapshot if it is the newest: kept by the follower while the board has readers
    /// (`watched`), and good for `ttl` after the load otherwise.
    #[must_use]
    pub fn current(&self, watched: bool, now: Instant, ttl: Duration) -> Option<&Arc<Snapshot>> {
        let loaded = self.loaded.as_ref()?;
        let expired = !watched && now.saturating_duration_since(loaded.loaded_at) >= ttl;
        (!loaded.outdated && !expired && self.stale_since.is_none()).then_some(&loaded.snapshot)
    }

    /// Returns the snapshot, unless it is known to be out of date.
    pub(crate) fn newest(&self) -> Option<&Arc<Snapshot>> {
        let is_stale = self.stale_since.is_some();
        self.loaded
            .as_ref()
            .filter(|loaded| !loaded.outdated && !is_stale)
            .map(|loaded| &loaded.snapshot)
    }

    /// Returns the last known snapshot, newest or not: all there is while the database is away.
    #[must_use]
    pub fn last_known(&self) -> Option<&Arc<Snapshot>> {
        self.loaded.as_ref().map(|loaded| &loaded.snapshot)
    }

    /// Returns the board's key, once it was read.
    #[must_use]
    pub fn board_id(&self) -> Option<BoardId> {
        self.loaded.as_ref().map(|loaded| loaded.board_id)
    }

    /// Returns who may read the board and post on it, once it was read.
    #[must_use]
    pub fn policies(&self) -> Option<Policies> {
        self.loaded.as_ref().map(|loaded| loaded.policies)
    }

    /// Returns since when it has been impossible to read the board, if it has.
    #[must_use]
    pub const fn stale_since(&self) -> Option<DateTime<Utc>> {
        self.stale_since
    }

    /// Returns whether the list misses a change that was published: the board was not read since.
    #[must_use]
    pub fn misses_change(&self) -> bool {
        self.loaded
            .as_ref()
            .is_some_and(|loaded| self.is_outdated() && self.missed > loaded.snapshot.revision())
    }

    /// Returns whether a board without readers has nothing worth keeping.
    #[must_use]
    pub fn is_evictable(&self, now: Instant, ttl: Duration) -> bool {
        self.current(false, now, ttl).is_none()
    }

    /// Installs what was read from the database, unless a newer list is shown already. If a
    /// snapshot that still counts is replaced, its readers are sent the difference.
    ///
    /// # Errors
    /// [`OutdatedLoad`] if a change that the follower could not apply is missing from it.
    pub(crate) fn install(
        &mut self,
        load: BoardLoad,
        now: Instant,
        topics_max: usize,
    ) -> Result<StateChange, OutdatedLoad> {
        let is_of_another_epoch = self
            .epoch
            .as_ref()
            .is_some_and(|epoch| *epoch != load.snapshot.cursor().epoch);
        if is_of_another_epoch || load.snapshot.revision() < self.missed {
            self.is_overtaken = true;
            return Err(OutdatedLoad);
        }
        (self.stale_since, self.is_overtaken) = (None, false);
        Ok(match &mut self.loaded {
            Some(loaded) => loaded.refresh(load, now, topics_max),
            None => {
                let loaded = self.loaded.insert(LoadedBoard::new(load, now));
                if std::mem::take(&mut self.restarted) {
                    StateChange::HistoryReset(Arc::clone(&loaded.snapshot))
                } else {
                    StateChange::None
                }
            }
        })
    }

    /// Applies changes. A board without readers is only marked outdated. One that has readers and
    /// no list to apply them to is loaded by its readers; if it changes faster than they can do
    /// that, the follower has to.
    pub(crate) fn apply(
        &mut self,
        changes: &BoardChanges,
        watched: bool,
        topics_max: usize,
    ) -> StateChange {
        match &mut self.loaded {
            Some(loaded) if changes.revision() <= loaded.snapshot.revision() => StateChange::None,
            // It has to be read first.
            Some(_) if self.stale_since.is_some() => {
                self.missed = self.missed.max(changes.revision());
                StateChange::None
            }
            Some(loaded) if watched && !loaded.outdated => loaded.follow(changes, topics_max),
            loaded => {
                loaded.iter_mut().for_each(|loaded| loaded.outdated = true);
                self.missed = self.missed.max(changes.revision());
                if watched && self.is_overtaken && self.stale_since.is_none() {
                    StateChange::Reload
                } else {
                    StateChange::None
                }
            }
        }
    }

    /// Marks the board as outdated up to `revision`, because it changed more than is worth
    /// following.
    pub(crate) fn mark_outdated(&mut self, revision: Revision) {
        if let Some(loaded) = &mut self.loaded {
            loaded.outdated = true;
            self.missed = self.missed.max(loaded.snapshot.revision());
        }
        self.missed = self.missed.max(revision);
    }

    /// Notes that the board, which changed up to `revision`, could not be read from `since` on.
    /// What is shown stays, and counts as out of date until the board is read.
    pub(crate) fn become_stale(&mut self, since: DateTime<Utc>, revision: Revision) {
        self.stale_since.get_or_insert(since);
        self.missed = self.missed.max(revision);
    }

    /// Drops everything, because a new epoch has begun: only loads of it count from here on.
    pub(crate) fn restart(&mut self, epoch: Epoch) {
        *self = Self {
            epoch: Some(epoch),
            restarted: true,
            ..Self::default()
        };
    }

    /// Drops what was read, because the name means another board now.
    pub(crate) fn unload(&mut self) {
        self.loaded = None;
    }

    /// Sets the policies that the board has from `revision` on, and since when it has had its name,
    /// if that changed. A load from before does not count.
    pub(crate) fn apply_policies(
        &mut self,
        policies: Policies,
        revision: Revision,
        named_at: Option<Revision>,
    ) {
        if let Some(loaded) = &mut self.loaded {
            loaded.policies = policies;
            loaded.named_at = loaded.named_at.max(named_at.unwrap_or_default());
        }
        self.missed = self.missed.max(revision);
    }

    /// Notes that the log says that the list at `revision` shows what it did not say.
    pub fn note_logged(&mut self, revision: Revision) {
        if let Some(loaded) = &mut self.loaded {
            loaded.unlogged_at.take_if(|at| *at <= revision);
        }
    }

    /// Returns the revision of the list that shows what the log does not say, until it does.
    #[must_use]
    pub fn unlogged_at(&self) -> Option<Revision> {
        self.loaded.as_ref().and_then(|loaded| loaded.unlogged_at)
    }

    /// Makes loads that are under way start again.
    pub(crate) fn invalidate_loads(&mut self) {
        self.invalidations += 1;
    }

    /// Returns a number that changes when loads that are under way have to start again.
    #[must_use]
    pub const fn invalidations(&self) -> u64 {
        self.invalidations
    }

    /// Returns whether the list misses a change, or could not be loaded.
    #[must_use]
    pub(crate) fn is_outdated(&self) -> bool {
        let is_stale = self.stale_since.is_some();
        self.loaded
            .as_ref()
            .is_some_and(|loaded| loaded.outdated || is_stale)
    }
}

#[cfg(test)]
mod tests;
