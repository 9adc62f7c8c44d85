//! A board that was read from the database, and what changes do to it.

use std::{collections::BTreeSet, sync::Arc, time::Instant};

use super::StateChange;
use crate::{
    Applied, BoardChanges, BoardId, BoardLoad, Op, Patch, Policies, ReplayBuffer, Revision,
    Snapshot, Update, full_list,
};

/// The snapshot of a board, and the history before it.
#[derive(Debug)]
pub(super) struct LoadedBoard {
    pub(super) board_id: BoardId,
    pub(super) policies: Policies,
    pub(super) snapshot: Arc<Snapshot>,
    pub(super) replay_buffer: ReplayBuffer,
    pub(super) named_at: Revision,
    /// Readers from before are not served by what the log says: rows may have changed that it does
    /// not know.
    pub(super) trusted_from: Revision,
    /// The revision of a list that shows what the log does not say, until the log says so.
    pub(super) unlogged_at: Option<Revision>,
    /// The revision from which the log was searched for more history, if it was.
    pub(super) searched: Option<Revision>,
    pub(super) loaded_at: Instant,
    /// A change was not applied, because the board had no readers.
    pub(super) outdated: bool,
}

impl LoadedBoard {
    /// Creates the board from what was read at `now`.
    pub(super) fn new(load: BoardLoad, now: Instant) -> Self {
        Self {
            board_id: load.board_id,
            policies: load.policies,
            snapshot: Arc::new(load.snapshot),
            replay_buffer: load.replay_buffer,
            named_at: load.named_at,
            trusted_from: Revision::ZERO,
            unlogged_at: None,
            searched: None,
            loaded_at: now,
            outdated: false,
        }
    }

    /// Takes a later load: one that is newer than what is shown overtook the follower, or brings
    /// what was not followed.
    pub(super) fn refresh(
        &mut self,
        load: BoardLoad,
        now: Instant,
        topics_max: usize,
    ) -> StateChange {
        let (shown, found) = (self.snapshot.revision(), load.snapshot.revision());
        if found < shown {
            // What is shown is newer, and so are its policies.
            return StateChange::None;
        }
        // While the database was away, readers may have been brought to a list that misses changes.
        let was_outdated = std::mem::take(&mut self.outdated);
        self.loaded_at = now;
        self.policies = load.policies;
        self.named_at = self.named_at.max(load.named_at);
        if found == shown {
            return if self.snapshot.shows_same_as(&load.snapshot) {
                StateChange::None
            } else {
                StateChange::Differs(None)
            };
        }
        // The load knows its own history; the one in memory has a gap before it.
        let before = std::mem::replace(&mut self.replay_buffer, load.replay_buffer);
        self.searched = None;
        let is_logged = self.is_logged(&load.snapshot);
        if was_outdated || shown < self.replay_buffer.floor() {
            let update = self.restate(Arc::new(load.snapshot), &before, topics_max);
            return if is_logged {
                StateChange::Update(update)
            } else {
                StateChange::Differs(Some(update))
            };
        }
        let replaced = self
            .snapshot
            .replaced_by(load.snapshot, &before, topics_max);
        self.show(replaced)
    }

    /// Returns whether the history that was read with a later list knows of all in which the lists
    /// differ, as far as it reaches back. If it does not, rows changed without a revision. Unless it
    /// does, no reader from before the later list is served by it, nor by what is read of it later.
    fn is_logged(&mut self, later: &Snapshot) -> bool {
        self.replay_buffer.raise_floor(self.trusted_from);
        let is_logged = self.snapshot.is_followed_by(later, &self.replay_buffer);
        if is_logged != Some(true) {
            self.trusted_from = later.revision();
            self.replay_buffer.raise_floor(self.trusted_from);
        }
        if is_logged == Some(false) {
            self.unlogged_at = Some(later.revision());
        }
        is_logged != Some(false)
    }

    /// Applies changes that follow on the snapshot, and records them for readers that come back.
    pub(super) fn follow(&mut self, changes: &BoardChanges, topics_max: usize) -> StateChange {
        let (before, end) = (self.snapshot.revision(), changes.revision());
        let applied = self
            .snapshot
            .apply(changes, &self.replay_buffer, topics_max);
        if matches!(applied, Applied::Reload) {
            return StateChange::Reload;
        }
        let touched = changes.touched_after(before);
        // Between the first and the last of several revisions the list may have been full.
        let longest = self.snapshot.topics().len() + touched.len();
        let may_have_been_full = full_list::is_full(longest, topics_max);
        let first = changes.first_after(before).unwrap_or(end);
        // What changed on the list without being touched was pushed out of it.
        let ids: BTreeSet<_> = touched.iter().map(|(_, id)| *id).collect();
        let pushed_out: Vec<_> = match &applied {
            Applied::Updated(update) => update
                .patch
                .ops
                .iter()
                .map(Op::topic_id)
                .filter(|id| !ids.contains(id))
                .collect(),
            _ => Vec::new(),
        };
        self.replay_buffer.record(
            touched
                .iter()
                .copied()
                .chain(pushed_out.into_iter().map(|id| (end, id))),
        );
        if may_have_been_full && first < end {
            self.replay_buffer.leave_gap(first, end);
        }
        self.show(applied)
    }

    /// Shows a list whose history does not reach back to what was shown, and sends every reader the
    /// whole list, by a patch that fits no reader. Rows may have changed without a revision
    /// meanwhile, so readers at one revision may hold different lists. `history` is what was known
    /// of the board's history before.
    pub(super) fn restate(
        &mut self,
        snapshot: Arc<Snapshot>,
        history: &ReplayBuffer,
        topics_max: usize,
    ) -> Arc<Update> {
        let patch = Patch {
            board: snapshot.board().clone(),
            from: snapshot.revision(),
            to: snapshot.cursor().clone(),
            digest: snapshot.digest(),
            ops: Vec::new(),
        };
        let posted = self.snapshot.posted_on(&snapshot, history, topics_max);
        self.snapshot = snapshot;
        Arc::new(Update::new(Arc::clone(&self.snapshot), patch, posted))
    }

    /// Makes the result of a change the list that is shown.
    pub(super) fn show(&mut self, applied: Applied) -> StateChange {
        match applied {
            Applied::Reload => StateChange::Reload,
            Applied::Same(snapshot) => {
                self.snapshot = snapshot;
                StateChange::None
            }
            Applied::Updated(update) => {
                self.snapshot = Arc::clone(&update.snapshot);
                StateChange::Update(update)
            }
        }
    }
}
