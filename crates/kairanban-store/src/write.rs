//! The writes that the writer commits, and its answers.

use std::time::Instant;

use kairanban_core::{Actor, Board, BoardId, BoardName, LogRow, Revision, Token, Topic};

use crate::{AdminCommand, Creation, StoreError, admin::WriteTarget};

/// The answer to a write.
pub(crate) type WriteAnswer = Result<WriteResult, StoreError>;

/// A write to commit.
#[derive(Clone, Debug)]
pub enum Write {
    /// Creates a topic on a board that exists.
    CreateTopic(Creation),
    /// Runs a command of an administrator.
    Administer {
        /// The administrator, for the audit.
        actor: Actor,
        /// The command to run.
        command: AdminCommand,
        /// Whether the conditions of the request hold. If they do not, the command is run and
        /// rolled back: whatever else is wrong with it is the answer.
        is_admitted: bool,
    },
}

/// What a write changed, as committed.
#[derive(Clone, Debug)]
pub enum WriteResult {
    /// The board after the write.
    Board(Board),
    /// The topic after the write.
    Topic(Topic),
    /// The metadata of the token, without its secret.
    Token(Token),
    /// The topic or board was deleted, the token revoked, or the session ended.
    Ended,
}

/// A commit, as the writer reports it.
#[derive(Clone, Debug)]
pub struct Committed {
    /// What the answers to its writes report was committed at this revision or before.
    pub revision: Revision,
    /// The last row of the log that has this revision, if it is this commit's.
    pub last: Option<LogRow>,
    /// The row of the log before those of this commit: a reader that has read the log up to the
    /// commit has read this row last.
    pub before: Option<LogRow>,
    /// The new topics, if the commit did nothing else: a follower that is at the revision before
    /// need not read them.
    pub created: Option<Vec<CreatedTopic>>,
    /// How many writes its transaction carried.
    pub writes: usize,
    /// When its transaction began.
    pub began: Instant,
    /// When the database confirmed it.
    pub ended: Instant,
}

/// A topic that a commit created.
#[derive(Clone, Debug)]
pub struct CreatedTopic {
    /// The name of its board when it was created.
    pub board: BoardName,
    /// The id of its board.
    pub board_id: BoardId,
    /// The topic, as committed.
    pub topic: Topic,
}

impl Write {
    /// Returns what no other write of the same transaction may change.
    pub(crate) fn target(&self) -> Option<WriteTarget> {
        match self {
            Self::CreateTopic(Creation { board, key, .. }) => key
                .as_ref()
                .map(|key| WriteTarget::Key(board.clone(), key.clone())),
            Self::Administer { command, .. } => command.row().target,
        }
    }

    /// Returns what kind of write it is, as it is called at `/readyz`.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::CreateTopic(Creation { key: None, .. }) => "posts without a key",
            Self::CreateTopic(_) => "posts with a key",
            Self::Administer { command, .. } => command.row().action,
        }
    }

    /// Returns whether to run it a second time after a conflict: another program took the key or
    /// the name, or deleted the board, and the second run finds that.
    pub(crate) fn reruns_on_conflict(&self) -> bool {
        match self {
            Self::CreateTopic(_) => true,
            Self::Administer { command, .. } => command.row().reruns_on_conflict,
        }
    }
}
