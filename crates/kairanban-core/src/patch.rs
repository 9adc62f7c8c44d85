//! What turns one snapshot of a board into a later one.

use std::sync::Arc;

use crate::{BoardName, Cursor, Digest, Revision, Topic, TopicId};

/// One step of a [`Patch`]. It is idempotent: applying it twice does no harm.
#[derive(Clone, Debug)]
pub enum Op {
    /// Insert by id, or replace.
    Set(Arc<Topic>),
    /// Remove by id, if the list has it.
    Delete {
        /// The topic to remove.
        id: TopicId,
        /// Whether a full board pushed it out, instead of a delete.
        archived: bool,
    },
}

impl Op {
    /// Returns the id of the topic that the step sets or removes.
    #[must_use]
    pub fn topic_id(&self) -> TopicId {
        match self {
            Self::Set(topic) => topic.id,
            Self::Delete { id, .. } => *id,
        }
    }
}

/// Turns any snapshot of `board` at a revision from `from` on, but before `to`, into the one at
/// `to`.
#[derive(Clone, Debug)]
pub struct Patch {
    /// The name of the board.
    pub board: BoardName,
    /// The oldest revision that it applies to.
    pub from: Revision,
    /// The place in history that it leads to.
    pub to: Cursor,
    /// The digest of the list that it leads to.
    pub digest: Digest,
    /// The steps, at most one per topic.
    pub ops: Vec<Op>,
}

impl Patch {
    /// Returns whether a patch has so much text that a list is sent in its place where a format has
    /// one: a patch for one reader would be in memory for each reader that does not read, and a
    /// list is there for all of them.
    #[must_use]
    pub fn is_long(&self) -> bool {
        const TEXT_BYTES_MAX: usize = 256 << 10;
        let bytes = self.ops.iter().map(|op| match op {
            Op::Set(topic) => topic.comment.len() + topic.author.len(),
            Op::Delete { .. } => 0,
        });
        bytes.sum::<usize>() > TEXT_BYTES_MAX
    }
}
