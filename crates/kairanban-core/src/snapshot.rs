//! A board's live list at one revision.

use std::sync::Arc;

use crate::{BoardName, Cursor, Digest, Revision, Topic, TopicId, WireCache};

/// The live list of a board at one revision: the newest topics that are not archived, in id
/// order. Immutable; its encodings are made once and shared.
#[derive(Debug)]
pub struct Snapshot {
    board: BoardName,
    cursor: Cursor,
    /// The list has shown the same since this revision.
    pub(crate) since: Revision,
    topics: Vec<Arc<Topic>>,
    digest: Digest,
    wire_cache: WireCache,
}

impl Snapshot {
    /// Creates the list of `topics` as committed at `cursor`. They must be in id order.
    #[must_use]
    pub fn new(board: BoardName, cursor: Cursor, topics: Vec<Arc<Topic>>) -> Self {
        debug_assert!(
            topics.is_sorted_by_key(|topic| topic.id),
            "topics in id order"
        );
        let digest = Digest::of(&topics);
        Self {
            since: cursor.revision,
            board,
            cursor,
            topics,
            digest,
            wire_cache: WireCache::default(),
        }
    }

    /// Returns the board's name.
    #[must_use]
    pub const fn board(&self) -> &BoardName {
        &self.board
    }

    /// Returns its position in the board's history.
    #[must_use]
    pub const fn cursor(&self) -> &Cursor {
        &self.cursor
    }

    /// Returns the revision of the newest change in it.
    #[must_use]
    pub const fn revision(&self) -> Revision {
        self.cursor.revision
    }

    /// Returns the topics in id order.
    #[must_use]
    pub fn topics(&self) -> &[Arc<Topic>] {
        &self.topics
    }

    /// Returns the topic with this id, if the list shows it.
    #[must_use]
    pub fn topic(&self, id: TopicId) -> Option<&Arc<Topic>> {
        self.topics
            .binary_search_by_key(&id, |topic| topic.id)
            .ok()
            .map(|at| &self.topics[at])
    }

    /// Returns the list's checksum.
    #[must_use]
    pub const fn digest(&self) -> Digest {
        self.digest
    }

    /// Returns the cache of its encodings.
    #[must_use]
    pub const fn wire_cache(&self) -> &WireCache {
        &self.wire_cache
    }
}
