//! What turns one snapshot of a board into a later one.

use std::sync::Arc;

use crate::{BoardName, Cursor, Digest, Forms, Revision, Snapshot, Topic, TopicId};

/// One step of a [`Patch`]. Absolute: doing it twice does no harm.
#[derive(Clone, Debug)]
pub enum Op {
    /// Insert by id, or replace.
    Set(Arc<Topic>),
    /// Remove, if there.
    Delete {
        /// Which.
        id: TopicId,
        /// Pushed out by a full board, not deleted by somebody.
        archived: bool,
    },
}

impl Op {
    /// The topic that it is about.
    #[must_use]
    pub fn topic_id(&self) -> TopicId {
        match self {
            Self::Set(topic) => topic.id,
            Self::Delete { id, .. } => *id,
        }
    }
}

/// Turns any snapshot of `board` at a revision from `from` on, but before `to`, into the one at `to`.
#[derive(Clone, Debug)]
pub struct Patch {
    /// The board.
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

/// What goes out on a board's channel: the changed topic list, and the way to it from the one before.
#[derive(Debug)]
pub struct Update {
    /// The list after the change.
    pub snapshot: Arc<Snapshot>,
    /// The way to it.
    pub patch: Patch,
    /// What is new on it, not only changed or back.
    pub posted: Vec<Arc<Topic>>,
    forms: Forms,
}

impl Update {
    pub(crate) fn new(snapshot: Arc<Snapshot>, patch: Patch, posted: Vec<Arc<Topic>>) -> Self {
        Self {
            snapshot,
            patch,
            posted,
            forms: Forms::default(),
        }
    }

    /// The revision that it leads to.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.snapshot.revision()
    }

    /// Its wire forms.
    #[must_use]
    pub const fn forms(&self) -> &Forms {
        &self.forms
    }
}
