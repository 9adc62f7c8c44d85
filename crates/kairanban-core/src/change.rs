//! Rows of the change log, and what they come to for one board.

use std::{collections::BTreeMap, sync::Arc};

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
    /// What the board shows changed in ways that no single row tells: every topic went at once, or rows were
    /// changed behind the triggers' back. The list has to be read.
    Clear,
    /// The board itself was made, changed or deleted.
    Board,
    /// A token was made, changed or ended.
    Token,
    /// Something that a later version writes, while both share a database.
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

/// A row of the change log as it stands there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogEntry {
    /// Its place within its revision, and in the log.
    pub place: i64,
    /// Its place in the order of commits.
    pub revision: Revision,
    /// What happened to the topic or the board.
    pub kind: ChangeKind,
    /// The topic, if it is about one.
    pub topic_id: Option<TopicId>,
}

/// One row of the change log, with the topic as it stood when the log was read.
#[derive(Clone, Debug)]
pub struct Change {
    /// Its place in the order of commits.
    pub revision: Revision,
    /// What happened to the topic or the board.
    pub kind: ChangeKind,
    /// The key of the board that it happened to.
    pub board_id: BoardId,
    /// How the board stands at the read, or `None` once it is gone.
    pub board: Option<BoardInfo>,
    /// Whether the board has had its name since this change.
    pub names_board: bool,
    /// The topic, if it is about one.
    pub topic_id: Option<TopicId>,
    /// The topic as it stood at the read, or `None` if the board does not show it.
    pub topic: Option<Arc<Topic>>,
}

/// What a stretch of the log comes to for one board: the state of each topic that it touched, as
/// of the read. The last change of a topic wins, so the order within no longer matters.
#[derive(Clone, Debug, Default)]
pub struct BoardChanges {
    /// Every revision that there was, in order.
    revisions: Vec<Revision>,
    topics: BTreeMap<TopicId, (Revision, Option<Arc<Topic>>)>,
    cleared_at: Option<Revision>,
}

impl BoardChanges {
    /// New topics, all of one revision.
    #[must_use]
    pub fn created(revision: Revision, topics: impl IntoIterator<Item = Arc<Topic>>) -> Self {
        let topics = topics
            .into_iter()
            .map(|topic| (topic.id, (revision, Some(topic))))
            .collect();
        Self {
            revisions: vec![revision],
            topics,
            cleared_at: None,
        }
    }

    /// Takes one more row, later than those before it.
    pub fn push(&mut self, change: &Change) {
        let follows_the_list = matches!(
            change.kind,
            ChangeKind::Set | ChangeKind::Delete | ChangeKind::Clear
        );
        if follows_the_list && self.revisions.last() != Some(&change.revision) {
            self.revisions.push(change.revision);
        }
        match (change.kind, change.topic_id) {
            (ChangeKind::Set | ChangeKind::Delete, Some(id)) => {
                self.topics
                    .insert(id, (change.revision, change.topic.clone()));
            }
            (ChangeKind::Clear, _) => self.cleared_at = Some(change.revision),
            // The live list lost an archived topic when the board became full, not now.
            _ => {}
        }
    }

    /// The newest revision that changed the board.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.topics
            .values()
            .map(|(revision, _)| *revision)
            .chain(self.cleared_at)
            .max()
            .unwrap_or_default()
    }

    /// The topics touched after `revision`, each as it stands now (`None`: not shown).
    pub(crate) fn after(
        &self,
        revision: Revision,
    ) -> impl Iterator<Item = (TopicId, Option<&Arc<Topic>>)> {
        self.topics
            .iter()
            .filter(move |(_, (at, _))| *at > revision)
            .map(|(id, (_, topic))| (*id, topic.as_ref()))
    }

    /// Which topics were touched after `revision`, and at which revision last, in that order.
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

    /// The first revision after `revision`.
    pub(crate) fn first_after(&self, revision: Revision) -> Option<Revision> {
        self.revisions.iter().copied().find(|at| *at > revision)
    }

    /// Whether everything went at once after `revision`.
    pub(crate) fn cleared_after(&self, revision: Revision) -> bool {
        self.cleared_at.is_some_and(|at| at > revision)
    }
}
