//! Rows of the change log, and the changes of one board that they add up to.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use serde::{Deserialize, Serialize};

use crate::{BoardId, BoardInfo, Revision, Topic, TopicId};

/// What a row of the change log says happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// A topic was written, or came to this board.
    Set,
    /// A topic was deleted, or left this board.
    Delete,
    /// The server moved a topic out of a full board. No live list changes by it.
    Archive,
    /// The list changed in a way that no single row describes: all topics were deleted at once, or
    /// rows were changed without the triggers. The list has to be read from the database.
    Clear,
    /// The board itself was created, changed or deleted.
    Board,
    /// A token was created, changed or revoked.
    Token,
    /// A kind that only a later version of the server knows, while both share a database.
    Unknown,
}

impl ChangeKind {
    /// The kinds that the log of a board shows.
    pub const OF_BOARDS: [Self; 5] = [
        Self::Set,
        Self::Delete,
        Self::Archive,
        Self::Clear,
        Self::Board,
    ];

    /// Returns what such a change does to the live list of its board. The only place that decides
    /// this.
    #[must_use]
    pub const fn list_effect(self) -> ListEffect {
        match self {
            Self::Set | Self::Delete => ListEffect::Topic,
            Self::Clear | Self::Unknown => ListEffect::Reload,
            // The live list lost an archived topic when the board became full, not now.
            Self::Archive | Self::Board | Self::Token => ListEffect::Nothing,
        }
    }

    /// Returns whether such a change may leave a board with more topics than it shows.
    #[must_use]
    pub const fn may_overfill(self) -> bool {
        matches!(self, Self::Set | Self::Clear)
    }

    /// Returns whether such a change may have changed who may do what on a board, or its name.
    #[must_use]
    pub const fn may_change_board(self) -> bool {
        matches!(self, Self::Board | Self::Unknown)
    }

    /// Returns whether such a change may have changed tokens.
    #[must_use]
    pub const fn may_change_tokens(self) -> bool {
        matches!(self, Self::Token | Self::Unknown)
    }

    /// Returns the kinds that this version knows.
    pub fn known() -> impl Iterator<Item = Self> {
        Self::OF_BOARDS.into_iter().chain([Self::Token])
    }

    /// Returns the kind with this word in the database; one that is not known is
    /// [`Unknown`](Self::Unknown).
    #[must_use]
    pub fn of_word(word: &str) -> Self {
        Self::known()
            .find(|kind| kind.as_str() == word)
            .unwrap_or(Self::Unknown)
    }

    /// Returns the word for it in JSON and in the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Set => "set",
            Self::Delete => "delete",
            Self::Archive => "archive",
            Self::Clear => "clear",
            Self::Board => "board",
            Self::Token => "token",
            Self::Unknown => "unknown",
        }
    }
}

/// What a change does to the live list of its board.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListEffect {
    /// The list stays as it is.
    Nothing,
    /// One topic comes, changes or goes.
    Topic,
    /// The change does not say what: the list has to be read.
    Reload,
}

/// A row of the change log, as it is stored. The last one that was read is compared with the log,
/// to find out whether that is still the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogRow {
    /// The number of the commit in the order of commits.
    pub revision: Revision,
    /// The row's key, which orders the rows within a revision.
    pub id: i64,
    /// What the commit did, in the word of the database.
    pub kind: String,
    /// The board's key in the database.
    pub board_id: i64,
    /// The topic's key, if the row is about one.
    pub topic_id: Option<i64>,
    /// When it was committed, as the database writes it. Two commits may draw the same numbers
    /// after a restore, but not at the same time.
    pub at: String,
}

impl LogRow {
    /// Returns what the commit did.
    #[must_use]
    pub fn kind(&self) -> ChangeKind {
        ChangeKind::of_word(&self.kind)
    }
}

/// One row of the change log, with the topic as it stood when the log was read.
#[derive(Clone, Debug)]
pub struct Change {
    /// The number of the commit in the order of commits.
    pub revision: Revision,
    /// What the commit did.
    pub kind: ChangeKind,
    /// The board's key in the database.
    pub board_id: BoardId,
    /// The board when the log was read, or `None` if it was deleted by then.
    pub board: Option<BoardInfo>,
    /// Whether this change made the name mean this board.
    pub names_board: bool,
    /// The topic, if the row is about one.
    pub topic_id: Option<TopicId>,
    /// The topic when the log was read, or `None` if the board did not show it then.
    pub topic: Option<Arc<Topic>>,
}

/// Since when a server has known of a change, by its own monotonic clock.
#[derive(Clone, Copy, Debug)]
pub enum KnownSince {
    /// The server committed it at this time.
    Commit(Instant),
    /// The server read it from the log at this time; when it was committed is not known.
    Reading(Instant),
}

/// The changes of one board in a part of the log: the state of each topic that was touched, as of
/// the read. The last change of a topic wins, so the order within no longer matters.
#[derive(Clone, Debug, Default)]
pub struct BoardChanges {
    /// Every revision that may have changed the list, in order.
    revisions: Vec<Revision>,
    topics: BTreeMap<TopicId, (Revision, Option<Arc<Topic>>)>,
    /// Topics that were archived. By itself that changes no list, so it counts for no revision.
    archived: BTreeMap<TopicId, Revision>,
    cleared_at: Option<Revision>,
    known_since: Option<KnownSince>,
}

impl BoardChanges {
    /// Returns the changes of one commit that created `topics`.
    #[must_use]
    pub fn created(revision: Revision, topics: impl IntoIterator<Item = Arc<Topic>>) -> Self {
        let topics = topics
            .into_iter()
            .map(|topic| (topic.id, (revision, Some(topic))))
            .collect();
        Self {
            revisions: vec![revision],
            topics,
            archived: BTreeMap::new(),
            cleared_at: None,
            known_since: None,
        }
    }

    /// Notes since when the server has known of the changes, for measurements.
    pub const fn set_known_since(&mut self, known_since: KnownSince) {
        self.known_since = Some(known_since);
    }

    /// Returns since when the server has known of the changes, if that was noted.
    pub(crate) const fn known_since(&self) -> Option<KnownSince> {
        self.known_since
    }

    /// Adds a row, which must be later than those before it.
    pub fn push(&mut self, change: &Change) {
        let effect = change.kind.list_effect();
        if effect != ListEffect::Nothing && self.revisions.last() != Some(&change.revision) {
            self.revisions.push(change.revision);
        }
        match (effect, change.topic_id) {
            (ListEffect::Topic, Some(id)) => {
                self.archived.remove(&id);
                self.topics
                    .insert(id, (change.revision, change.topic.clone()));
            }
            (ListEffect::Reload, _) => self.cleared_at = Some(change.revision),
            (ListEffect::Nothing, Some(id)) if change.kind == ChangeKind::Archive => {
                self.archived.insert(id, change.revision);
            }
            (ListEffect::Topic, None) | (ListEffect::Nothing, _) => {}
        }
    }

    /// Returns the newest revision that changed the board, or zero if there is no change.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.topics
            .values()
            .map(|(revision, _)| *revision)
            .chain(self.cleared_at)
            .max()
            .unwrap_or_default()
    }

    /// Returns the topics touched after `revision`, each as of the read (`None`: not shown).
    pub(crate) fn after(
        &self,
        revision: Revision,
    ) -> impl Iterator<Item = (TopicId, Option<&Arc<Topic>>)> {
        self.topics
            .iter()
            .filter(move |(_, (at, _))| *at > revision)
            .map(|(id, (_, topic))| (*id, topic.as_ref()))
    }

    /// Returns whether a topic was archived after `revision`.
    pub(crate) fn is_archived_after(&self, topic: TopicId, revision: Revision) -> bool {
        self.archived.get(&topic).is_some_and(|at| *at > revision)
    }

    /// Returns the topics touched after `revision`, in the order of their last change, with the
    /// revision of it.
    pub(crate) fn touched_after(&self, revision: Revision) -> Vec<(Revision, TopicId)> {
        let mut touched: Vec<_> = self
            .topics
            .iter()
            .map(|(id, (at, _))| (*at, *id))
            .filter(|(at, _)| *at > revision)
            .collect();
        touched.sort_unstable();
        touched
    }

    /// Returns the first revision after `revision`, if there is one.
    pub(crate) fn first_after(&self, revision: Revision) -> Option<Revision> {
        self.revisions.iter().copied().find(|at| *at > revision)
    }

    /// Returns whether the list has to be read because of a change after `revision`.
    pub(crate) fn cleared_after(&self, revision: Revision) -> bool {
        self.cleared_at.is_some_and(|at| at > revision)
    }
}
