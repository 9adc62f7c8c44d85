//! A board that was read from the database, and what changes do to it.

use std::{collections::BTreeSet, sync::Arc, time::Instant};

use super::StateChange;
use crate::{
    Applied, BoardChanges, BoardId, Op, Patch, Policies, ReplayBuffer, Revision, Snapshot, Update,
};

/// The snapshot of a board, and the history before it.
#[derive(Debug)]
pub(super) struct LoadedBoard {
    pub(super) board_id: BoardId,
    pub(super) policies: Policies,
    pub(super) snapshot: Arc<Snapshot>,
    pub(super) tail: ReplayBuffer,
    pub(super) named_at: Revision,
    /// The revision from which the log was searched for more history, if it was.
    pub(super) searched: Option<Revision>,
    pub(super) loaded_at: Instant,
    /// A change was not applied, because the board had no readers.
    pub(super) stale: bool,
}

impl LoadedBoard {
    /// Applies changes that follow on the snapshot, and records them for readers that come back.
    pub(super) fn follow(&mut self, changes: &BoardChanges, topics_max: usize) -> StateChange {
        let (before, end) = (self.snapshot.revision(), changes.revision());
        let applied = self.snapshot.apply(changes, topics_max);
        if matches!(applied, Applied::Reload) {
            return StateChange::Reload;
        }
        let touched = changes.touched_after(before);
        // Between the first and the last of several revisions the list may have been full.
        let may_have_been_full = self.snapshot.topics().len() + touched.len() >= topics_max;
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
        self.tail.record(
            touched
                .iter()
                .copied()
                .chain(pushed_out.into_iter().map(|id| (end, id))),
        );
        if may_have_been_full && first < end {
            self.tail.leave_gap(first, end);
        }
        self.show(applied)
    }

    /// Shows a list whose history does not reach back to what was shown: rows may have changed without a revision meanwhile,
    /// and readers at one revision hold different lists. So each is sent the whole list, by a patch that fits no reader.
    pub(super) fn restate(&mut self, snapshot: Arc<Snapshot>) -> StateChange {
        let (board, to, digest) = (
            snapshot.board().clone(),
            snapshot.cursor().clone(),
            snapshot.digest(),
        );
        let patch = Patch {
            board,
            from: to.revision,
            to,
            digest,
            ops: Vec::new(),
        };
        let newest = self.snapshot.topics().last().map(|topic| topic.id);
        let posted = snapshot
            .topics()
            .iter()
            .filter(|topic| Some(topic.id) > newest)
            .map(Arc::clone)
            .collect();
        self.snapshot = snapshot;
        StateChange::Update(Arc::new(Update::new(
            Arc::clone(&self.snapshot),
            patch,
            posted,
        )))
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
