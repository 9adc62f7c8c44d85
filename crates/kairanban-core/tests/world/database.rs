//! The database: what is committed, and what reading it returns.

use std::collections::BTreeMap;

use kairanban_core::{
    BoardChanges, BoardId, BoardInfo, BoardLoad, Change, ChangeKind, Policies, ReplayBuffer,
    Snapshot, TopicId,
};

use super::{Commit, State, TOPICS_MAX};
use crate::values::{board, cursor, revision, topic};

impl State {
    pub(super) fn head(&self) -> u64 {
        self.log.len() as u64
    }

    fn commit(&self, revision: u64) -> Commit {
        self.log[usize::try_from(revision).expect("a revision") - 1]
    }

    /// Returns all topics as of a revision, with the revision of each.
    pub(super) fn topics_at(&self, revision: u64) -> BTreeMap<i64, u64> {
        let mut topics = BTreeMap::new();
        for at in 1..=revision {
            match self.commit(at) {
                Commit::Set(id) => drop(topics.insert(id, at)),
                Commit::Delete(id) => drop(topics.remove(&id)),
            }
        }
        topics
    }

    /// Returns what the board should show at a revision.
    pub(super) fn list_at(&self, revision: u64) -> BTreeMap<i64, u64> {
        self.topics_at(revision)
            .into_iter()
            .rev()
            .take(TOPICS_MAX)
            .collect()
    }

    /// Returns the board as loaded at a revision, with all of its history that is known without a
    /// gap.
    pub(super) fn loaded(&self, at: u64) -> BoardLoad {
        let floor = (0..=at)
            .rev()
            .find(|at| self.list_at(*at).len() >= TOPICS_MAX)
            .unwrap_or(0);
        let entries = (floor + 1..=at).map(|at| (revision(at), TopicId(self.commit(at).topic())));
        let topics = self
            .list_at(at)
            .into_iter()
            .map(|(id, at)| topic(id, at))
            .collect();
        BoardLoad {
            board_id: BoardId(1),
            policies: Policies::default(),
            replay_buffer: ReplayBuffer::new(revision(floor), entries, 8),
            snapshot: Snapshot::new(board(), cursor(at), topics),
            named_at: revision(0),
        }
    }

    /// Returns the changes in the log from `after` to `upto`, each topic as of `upto`.
    pub(super) fn changes(&self, after: u64, upto: u64) -> BoardChanges {
        let now = self.topics_at(upto);
        let mut changes = BoardChanges::default();
        for at in after + 1..=upto {
            let id = self.commit(at).topic();
            changes.push(&Change {
                revision: revision(at),
                kind: if matches!(self.commit(at), Commit::Set(_)) {
                    ChangeKind::Set
                } else {
                    ChangeKind::Delete
                },
                board_id: BoardId(1),
                board: Some(BoardInfo {
                    name: board(),
                    policies: Policies::default(),
                }),
                names_board: false,
                topic_id: Some(TopicId(id)),
                topic: now.get(&id).map(|at| topic(id, *at)),
            });
        }
        changes
    }
}
