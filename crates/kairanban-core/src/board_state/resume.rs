//! How a reader that comes back with a cursor is brought up to date.

use std::sync::Arc;

use super::{BoardState, loaded_board::LoadedBoard};
use crate::{BoardId, Cursor, Op, Patch, ReplayBuffer, Revision, Snapshot, TopicId};

/// How a reader with a cursor is brought up to date.
#[derive(Debug)]
pub enum Resume {
    /// It is.
    UpToDate,
    /// By what changed since.
    Patch(Patch),
    /// By the whole list.
    Snapshot(Arc<Snapshot>),
    /// By the whole list, because the name meant another board at the cursor.
    OtherBoard(Arc<Snapshot>),
}

/// What has to be read of a board's log so that a reader who comes back is sent only what changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The board.
    pub board_id: BoardId,
    /// Where the reader stands, or further back.
    pub after: Revision,
    /// The revision of the list that it is to be brought to.
    pub upto: Revision,
    /// How many topics that list shows.
    pub shown: usize,
    /// The first of them.
    pub first: Option<TopicId>,
}

impl BoardState {
    /// What the log should be asked before a reader at `revision` is sent the whole list: at most twice for
    /// each reading of the board, for the first such reader and, all the way, for the first one from before.
    #[must_use]
    pub fn gap(&self, revision: Revision) -> Option<Gap> {
        let LoadedBoard {
            board_id,
            snapshot,
            tail,
            searched,
            named_at,
            ..
        } = self.loaded.as_ref()?;
        if revision < *named_at {
            return None;
        }
        let after = match searched {
            None => revision,
            Some(searched) if revision < *searched => Revision::ZERO,
            Some(_) => return None,
        };
        let first = snapshot.topics().first().map(|topic| topic.id);
        let gap = Gap {
            board_id: *board_id,
            after,
            upto: snapshot.revision(),
            shown: snapshot.topics().len(),
            first,
        };
        (revision < tail.floor()).then_some(gap)
    }

    /// Takes what the log was asked for.
    pub fn backfill(&mut self, gap: &Gap, history: &ReplayBuffer) {
        if let Some(loaded) = self
            .loaded
            .as_mut()
            .filter(|loaded| loaded.board_id == gap.board_id)
        {
            loaded.searched = Some(gap.after);
            loaded.tail.extend_back(history, gap.upto);
        }
    }

    /// The cursor, but not from before the board had its name.
    #[must_use]
    pub fn not_before_named(&self, cursor: Cursor) -> Cursor {
        let named_at = self
            .loaded
            .as_ref()
            .map_or(Revision::ZERO, |loaded| loaded.named_at);
        Cursor {
            revision: cursor.revision.max(named_at),
            ..cursor
        }
    }

    /// How to bring a reader that holds the list at `cursor` up to date, or `None` while nothing
    /// is loaded. The caller has checked the epoch.
    #[must_use]
    pub fn resume(&self, cursor: &Cursor) -> Option<Resume> {
        let LoadedBoard {
            snapshot,
            tail,
            named_at,
            ..
        } = self.loaded.as_ref()?;
        if cursor.revision < *named_at {
            return Some(Resume::OtherBoard(Arc::clone(snapshot)));
        }
        if cursor.revision >= snapshot.revision() {
            return Some(Resume::UpToDate);
        }
        let changed = tail
            .since(cursor.revision)
            .filter(|changed| changed.len() <= snapshot.topics().len().max(1));
        let Some(changed) = changed else {
            return Some(Resume::Snapshot(Arc::clone(snapshot)));
        };
        let op = |id| match snapshot.topic(id) {
            Some(topic) => Op::Set(Arc::clone(topic)),
            None => Op::Delete {
                id,
                archived: false,
            },
        };
        Some(Resume::Patch(Patch {
            board: snapshot.board().clone(),
            from: cursor.revision,
            to: snapshot.cursor().clone(),
            digest: snapshot.digest(),
            ops: changed.into_iter().map(op).collect(),
        }))
    }
}
