//! The commands of administrators. Each runs in one transaction with its entry in the audit.
//!
//! To add a command, add a variant to [`AdminCommand`] and its row to the table,
//! [`AdminCommand::row`].

use std::time::Duration;

use kairanban_core::{Actor, BoardId, BoardName, IdempotencyKey, TopicEdit, TopicId};

use crate::{
    StoreError, audit, browser_sessions,
    connection::AnyConnection,
    logged::Changed,
    repository::{self, BoardEdit, Created, RevisionCondition},
    rows::WrittenTopic,
    secret::Secret,
    tokens::{self, NewToken},
};

/// A command of an administrator.
#[derive(Clone, Debug)]
pub enum AdminCommand {
    /// Edits the text or the author of a topic.
    UpdateTopic {
        /// The board of the topic.
        board: BoardName,
        /// The id of the topic.
        id: TopicId,
        /// The fields to change.
        edit: TopicEdit,
        /// What the revision of the topic has to be.
        condition: RevisionCondition,
    },
    /// Deletes a topic. It can be restored for a while.
    DeleteTopic {
        /// The board of the topic.
        board: BoardName,
        /// The id of the topic.
        id: TopicId,
        /// What the revision of the topic has to be.
        condition: RevisionCondition,
    },
    /// Restores a deleted topic.
    RestoreTopic {
        /// The board of the topic.
        board: BoardName,
        /// The id of the topic.
        id: TopicId,
        /// How long ago it may have been deleted.
        within: Duration,
    },
    /// Creates a board that has no topics yet.
    CreateBoard {
        /// The name of the board.
        board: BoardName,
        /// The title and policies of the board; without them it has no title and is open.
        wanted: BoardEdit,
    },
    /// Changes the title or the policies of a board.
    UpdateBoard {
        /// The name of the board.
        board: BoardName,
        /// The fields to change.
        edit: BoardEdit,
    },
    /// Deletes a board with its topics.
    DeleteBoard {
        /// The name of the board.
        board: BoardName,
    },
    /// Creates a token with a given secret.
    CreateToken {
        /// The name, scope and lifetime of the token.
        new: NewToken,
        /// The secret that its holder will present.
        secret: Secret,
    },
    /// Revokes a token: it allows nothing any more.
    RevokeToken {
        /// The id of the token.
        id: i64,
    },
    /// Ends the session of a browser.
    EndBrowserSession {
        /// The id of the session.
        id: i64,
    },
}

/// What a write did, before the revision is drawn: what it changed is read back after that, and
/// becomes a [`WriteResult`](crate::WriteResult).
#[derive(Clone, Debug)]
pub(crate) enum WriteOutcome {
    Topic(TopicId),
    /// The topic of an earlier request with the same idempotency key.
    Earlier(TopicId),
    Board(BoardName),
    Token(i64),
    Ended,
}

/// What a write did, and what of that the log has to show.
#[derive(Clone, Debug)]
pub(crate) struct WriteEffect {
    pub(crate) outcome: WriteOutcome,
    pub(crate) changed: Changed,
}

impl WriteEffect {
    const fn new(outcome: WriteOutcome, changed: Changed) -> Self {
        Self { outcome, changed }
    }

    /// Notes a new topic, or one that is put back.
    const fn topic(id: TopicId) -> Self {
        Self::new(WriteOutcome::Topic(id), Changed::topic(id))
    }

    /// Notes that something was deleted, revoked or ended.
    const fn ended(changed: Changed) -> Self {
        Self::new(WriteOutcome::Ended, changed)
    }

    /// Notes a topic that was edited, as it was before.
    fn edited_topic(id: TopicId, before: Option<WrittenTopic>) -> Self {
        let before = before.map(Box::new);
        Self::new(WriteOutcome::Topic(id), Changed::Topic { id, before })
    }

    /// Notes a board that was changed, if it was.
    fn board(name: &BoardName, changed: Option<BoardId>) -> Self {
        let changed = changed.map_or(Changed::Nothing, Changed::Board);
        Self::new(WriteOutcome::Board(name.clone()), changed)
    }
}

impl From<Created> for WriteEffect {
    fn from(created: Created) -> Self {
        match created {
            Created::New(id) => Self::topic(id),
            Created::Earlier(id) => Self::new(WriteOutcome::Earlier(id), Changed::Nothing),
        }
    }
}

/// What no two writes of one transaction may change. Ordered, so that all nodes lock in the same
/// order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum WriteTarget {
    Board(BoardName),
    Topic(TopicId),
    Key(BoardName, IdempotencyKey),
}

type Run<'c> = Box<dyn FnOnce(&mut AnyConnection) -> Result<WriteEffect, StoreError> + 'c>;

/// A row of the table of commands: what a command is called, what it changes, and how it runs.
pub(crate) struct CommandRow<'c> {
    /// The action in the audit.
    pub(crate) action: &'static str,
    /// The board in the audit.
    board: Option<&'c BoardName>,
    /// The id of the topic, token or session in the audit; `None` if the outcome has it, or the
    /// command has no such subject.
    subject: Option<i64>,
    /// What no other write of the same transaction may change.
    pub(crate) target: Option<WriteTarget>,
    /// Whether to run it a second time after a conflict: another program was quicker, and the
    /// second run finds what that program did.
    pub(crate) reruns_on_conflict: bool,
    run: Run<'c>,
}

impl AdminCommand {
    /// Returns the row of the command in the table of commands.
    pub(crate) fn row(&self) -> CommandRow<'_> {
        match self {
            Self::UpdateTopic {
                board,
                id,
                edit,
                condition,
            } => CommandRow::new("topic.update", move |connection| {
                repository::update_topic(connection, board, *id, edit, condition)
                    .map(|before| WriteEffect::edited_topic(*id, before))
            })
            .on_topic(board, *id),
            Self::DeleteTopic {
                board,
                id,
                condition,
            } => CommandRow::new("topic.delete", move |connection| {
                repository::delete_topic(connection, board, *id, condition)
                    .map(|()| WriteEffect::ended(Changed::topic(*id)))
            })
            .on_topic(board, *id),
            Self::RestoreTopic { board, id, within } => {
                CommandRow::new("topic.restore", move |connection| {
                    repository::restore_topic(connection, board, *id, *within)
                        .map(|()| WriteEffect::topic(*id))
                })
                .on_topic(board, *id)
                .reruns_on_conflict()
            }
            Self::CreateBoard { board, wanted } => {
                CommandRow::new("board.create", move |connection| {
                    repository::create_board(connection, board, wanted)
                        .map(|id| WriteEffect::board(board, Some(id)))
                })
                .on_board(board)
                .reruns_on_conflict()
            }
            Self::UpdateBoard { board, edit } => {
                CommandRow::new("board.update", move |connection| {
                    repository::update_board(connection, board, edit)
                        .map(|changed| WriteEffect::board(board, changed))
                })
                .on_board(board)
            }
            Self::DeleteBoard { board } => CommandRow::new("board.delete", move |connection| {
                repository::delete_board(connection, board)
                    .map(|id| WriteEffect::ended(Changed::Board(id)))
            })
            .on_board(board),
            Self::CreateToken { new, secret } => {
                CommandRow::new("token.create", move |connection| {
                    tokens::create(connection, new, secret)
                        .map(|id| WriteEffect::new(WriteOutcome::Token(id), Changed::Token))
                })
                .for_board(new.board.as_ref())
                .reruns_on_conflict()
            }
            Self::RevokeToken { id } => CommandRow::new("token.revoke", move |connection| {
                tokens::revoke(connection, *id)?;
                browser_sessions::end_of_token(connection, *id)
                    .map(|()| WriteEffect::ended(Changed::Token))
            })
            .about(*id),
            Self::EndBrowserSession { id } => CommandRow::new("session.end", move |connection| {
                browser_sessions::end_one(connection, *id)
                    .map(|()| WriteEffect::ended(Changed::Token))
            })
            .about(*id),
        }
    }

    /// Runs the command, and notes in the audit who ran it.
    pub(crate) fn run(
        &self,
        connection: &mut AnyConnection,
        actor: &Actor,
    ) -> Result<WriteEffect, StoreError> {
        let row = self.row();
        let written = (row.run)(connection)?;
        let subject = row.subject.or(match &written.outcome {
            WriteOutcome::Topic(id) | WriteOutcome::Earlier(id) => Some(id.0),
            WriteOutcome::Token(id) => Some(*id),
            WriteOutcome::Board(_) | WriteOutcome::Ended => None,
        });
        audit::record(connection, actor, row.action, row.board, subject)?;
        Ok(written)
    }
}

impl<'c> CommandRow<'c> {
    fn new(
        action: &'static str,
        run: impl FnOnce(&mut AnyConnection) -> Result<WriteEffect, StoreError> + 'c,
    ) -> Self {
        Self {
            action,
            board: None,
            subject: None,
            target: None,
            reruns_on_conflict: false,
            run: Box::new(run),
        }
    }

    fn on_topic(self, board: &'c BoardName, id: TopicId) -> Self {
        Self {
            board: Some(board),
            subject: Some(id.0),
            target: Some(WriteTarget::Topic(id)),
            ..self
        }
    }

    fn on_board(self, board: &'c BoardName) -> Self {
        Self {
            board: Some(board),
            target: Some(WriteTarget::Board(board.clone())),
            ..self
        }
    }

    fn about(self, id: i64) -> Self {
        Self {
            subject: Some(id),
            ..self
        }
    }

    fn for_board(self, board: Option<&'c BoardName>) -> Self {
        Self { board, ..self }
    }

    fn reruns_on_conflict(self) -> Self {
        Self {
            reruns_on_conflict: true,
            ..self
        }
    }
}

#[cfg(test)]
mod tests;
