//! What only administrators do, and the note of it in the audit: one transaction.

use std::time::Duration;

use kairanban_core::{Actor, BoardName, Revision, TopicEdit, TopicId};

use crate::{
    StoreError, audit,
    connection::AnyConnection,
    repository::{self, BoardEdit},
    tokens::{self, NewToken, Secret},
};

/// What an administrator does.
#[derive(Clone, Debug)]
pub enum Deed {
    /// Another text for a topic.
    UpdateTopic {
        /// Its board.
        board: BoardName,
        /// Its key.
        id: TopicId,
        /// What changes.
        edit: TopicEdit,
        /// The revision that the writer knows; the topic must still be at it.
        expected: Option<Revision>,
    },
    /// A topic fewer.
    DeleteTopic {
        /// Its board.
        board: BoardName,
        /// Its key.
        id: TopicId,
        /// The revision that the writer knows; the topic must still be at it.
        expected: Option<Revision>,
    },
    /// A deleted topic back.
    RestoreTopic {
        /// Its board.
        board: BoardName,
        /// Its key.
        id: TopicId,
        /// If it was deleted not longer ago than this.
        within: Duration,
    },
    /// A new board.
    CreateBoard {
        /// Its name.
        board: BoardName,
        /// Its title and policies; what is not said is empty and open.
        wanted: BoardEdit,
    },
    /// Another title or other policies for a board.
    UpdateBoard {
        /// Its name.
        board: BoardName,
        /// What changes.
        edit: BoardEdit,
    },
    /// A board fewer, with its topics.
    DeleteBoard {
        /// Its name.
        board: BoardName,
    },
    /// A new token.
    CreateToken {
        /// What it allows.
        new: NewToken,
        /// The token itself.
        secret: Secret,
    },
    /// The end of a token.
    RevokeToken {
        /// Its key.
        id: i64,
    },
}

/// What a deed did, before the revision is drawn: what it touched has to be read back after that.
#[derive(Clone, Debug)]
pub(crate) enum Done {
    Topic(TopicId),
    Board(BoardName),
    Token(i64),
    Gone,
}

impl Deed {
    /// Does it, and notes who did.
    pub(crate) fn run(
        &self,
        connection: &mut AnyConnection,
        actor: &Actor,
    ) -> Result<Done, StoreError> {
        let done = self.carry_out(connection)?;
        let subject = match (self, &done) {
            (_, Done::Topic(id)) | (Self::DeleteTopic { id, .. }, _) => Some(id.0),
            (Self::RevokeToken { id }, _) | (_, Done::Token(id)) => Some(*id),
            _ => None,
        };
        audit::note(connection, actor, self.name(), self.board(), subject)?;
        Ok(done)
    }

    fn carry_out(&self, connection: &mut AnyConnection) -> Result<Done, StoreError> {
        match self {
            Self::UpdateTopic {
                board,
                id,
                edit,
                expected,
            } => repository::update_topic(connection, board, *id, edit, *expected)
                .map(|()| Done::Topic(*id)),
            Self::DeleteTopic {
                board,
                id,
                expected,
            } => repository::delete_topic(connection, board, *id, *expected).map(|()| Done::Gone),
            Self::RestoreTopic { board, id, within } => {
                repository::restore_topic(connection, board, *id, *within)
                    .map(|()| Done::Topic(*id))
            }
            Self::CreateBoard { board, wanted } => {
                repository::create_board(connection, board, wanted)
                    .map(|()| Done::Board(board.clone()))
            }
            Self::UpdateBoard { board, edit } => repository::update_board(connection, board, edit)
                .map(|()| Done::Board(board.clone())),
            Self::DeleteBoard { board } => {
                repository::delete_board(connection, board).map(|()| Done::Gone)
            }
            Self::CreateToken { new, secret } => {
                tokens::create(connection, new, secret).map(Done::Token)
            }
            Self::RevokeToken { id } => tokens::revoke(connection, *id).map(|()| Done::Gone),
        }
    }

    /// As the audit has it.
    const fn name(&self) -> &'static str {
        match self {
            Self::UpdateTopic { .. } => "topic.update",
            Self::DeleteTopic { .. } => "topic.delete",
            Self::RestoreTopic { .. } => "topic.restore",
            Self::CreateBoard { .. } => "board.create",
            Self::UpdateBoard { .. } => "board.update",
            Self::DeleteBoard { .. } => "board.delete",
            Self::CreateToken { .. } => "token.create",
            Self::RevokeToken { .. } => "token.revoke",
        }
    }

    const fn board(&self) -> Option<&BoardName> {
        match self {
            Self::UpdateTopic { board, .. }
            | Self::DeleteTopic { board, .. }
            | Self::RestoreTopic { board, .. }
            | Self::CreateBoard { board, .. }
            | Self::UpdateBoard { board, .. }
            | Self::DeleteBoard { board } => Some(board),
            Self::CreateToken { new, .. } => new.board.as_ref(),
            Self::RevokeToken { .. } => None,
        }
    }
}
