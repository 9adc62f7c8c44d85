//! What memory knows of a board's history, for readers that come back with a cursor.

use std::sync::Arc;

use super::{BoardState, loaded_board::LoadedBoard};
use crate::{BoardId, Op, Patch, ReplayBuffer, Revision, TopicId};

/// A part of a board's log, read so that a reader who comes back is sent only what changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplayRange {
    /// The board's key in the database.
    pub board_id: BoardId,
    /// The revision of the reader's cursor, or an earlier one.
    pub after: Revision,
    /// The revision of the list that the reader is brought to.
    pub upto: Revision,
    /// The number of topics on that list.
    pub shown: usize,
    /// The first topic on that list.
    pub first: Option<TopicId>,
}

impl BoardState {
    /// Returns the revision since which the board has had its name, or zero while nothing is
    /// loaded.
    #[must_use]
    pub fn named_at(&self) -> Revision {
        self.loaded
            .as_ref()
            .map_or(Revision::ZERO, |loaded| loaded.named_at)
    }

    /// Returns the patch from `revision` to the newest list, unless memory does not reach back that
    /// far or the list is shorter.
    pub(crate) fn patch_since(&self, revision: Revision) -> Option<Patch> {
        let LoadedBoard {
            snapshot,
            replay_buffer,
            ..
        } = self.loaded.as_ref()?;
        let changed = replay_buffer
            .since(revision)
            .filter(|changed| changed.len() <= snapshot.topics().len().max(1))?;
        let ops = changed.into_iter().map(|id| match snapshot.topic(id) {
            Some(topic) => Op::Set(Arc::clone(topic)),
            None => Op::Delete {
                id,
                archived: false,
            },
        });
        Some(Patch {
            board: snapshot.board().clone(),
            from: revision,
            to: snapshot.cursor().clone(),
            digest: snapshot.digest(),
            ops: ops.collect(),
        })
    }

    /// Returns what to read of the log before a reader at `revision` is sent the whole list. The
    /// log is read at most twice for each load of the board: for the first such reader and, back to
    /// the beginning, for the first one from before.
    pub(crate) fn unread_since(&self, revision: Revision) -> Option<ReplayRange> {
        let LoadedBoard {
            board_id,
            snapshot,
            replay_buffer,
            searched,
            ..
        } = self.loaded.as_ref()?;
        let after = match searched {
            None => revision,
            Some(searched) if revision < *searched => Revision::ZERO,
            Some(_) => return None,
        };
        let range = ReplayRange {
            board_id: *board_id,
            after,
            upto: snapshot.revision(),
            shown: snapshot.topics().len(),
            first: snapshot.topics().first().map(|topic| topic.id),
        };
        (revision < replay_buffer.floor()).then_some(range)
    }

    /// Adds the part of the log that was read for `range`, unless the name means another board now.
    pub fn backfill(&mut self, range: &ReplayRange, history: &ReplayBuffer) {
        if let Some(loaded) = self
            .loaded
            .as_mut()
            .filter(|loaded| loaded.board_id == range.board_id)
        {
            loaded.searched = Some(range.after);
            loaded.replay_buffer.extend_back(history, range.upto);
            loaded.replay_buffer.raise_floor(loaded.trusted_from);
        }
    }
}
