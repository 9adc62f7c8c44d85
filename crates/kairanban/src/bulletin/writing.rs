//! Writing, by the writing thread. What only an administrator may do takes the proof of one.

use kairanban_core::{Board, BoardName, BoardTitle, IdempotencyKey, NewTopic, Revision, Topic, TopicEdit, TopicId};
use kairanban_store::{Committed, StoreError, Write, Written};
use tokio::time::timeout;

use super::{Bulletin, HighWater};
use crate::{
    auth::{Administrator, BoardAdministrator},
    backplane::Backplane,
    follower::Wake,
};

impl Bulletin {
    /// Writes a topic, or finds the one that the same `key` led to before. Dropping the future does
    /// not undo it.
    ///
    /// # Errors
    /// [`StoreError::NoSuchBoard`]; [`StoreError::Unavailable`], after which nobody knows whether
    /// the topic was written.
    pub async fn create_topic(
        &self,
        board: BoardName,
        topic: NewTopic,
        key: Option<IdempotencyKey>,
    ) -> Result<Topic, StoreError> {
        self.write_topic(Write::CreateTopic { board, topic, key }).await
    }

    /// Changes a topic; if `expected` is given, only one that is still at that revision.
    ///
    /// # Errors
    /// [`StoreError::NoSuchTopic`], [`StoreError::Changed`], and as [`create_topic`](Self::create_topic).
    pub async fn update_topic(
        &self,
        administrator: &BoardAdministrator,
        id: TopicId,
        edit: TopicEdit,
        expected: Option<Revision>,
    ) -> Result<Topic, StoreError> {
        self.write_topic(Write::UpdateTopic { board: administrator.board().clone(), id, edit, expected }).await
    }

    /// Deletes a topic; if `expected` is given, only one that is still at that revision.
    ///
    /// # Errors
    /// As [`update_topic`](Self::update_topic).
    pub async fn delete_topic(
        &self,
        administrator: &BoardAdministrator,
        id: TopicId,
        expected: Option<Revision>,
    ) -> Result<(), StoreError> {
        self.write(Write::DeleteTopic { board: administrator.board().clone(), id, expected }).await.map(drop)
    }

    /// Makes a board.
    ///
    /// # Errors
    /// [`StoreError::BoardExists`], and as [`create_topic`](Self::create_topic).
    pub async fn create_board(&self, _: &Administrator, board: BoardName, title: BoardTitle) -> Result<Board, StoreError> {
        self.write_board(Write::CreateBoard { board, title }).await
    }

    /// Gives a board another title.
    ///
    /// # Errors
    /// As [`create_topic`](Self::create_topic).
    pub async fn update_board(&self, administrator: &BoardAdministrator, title: BoardTitle) -> Result<Board, StoreError> {
        self.write_board(Write::UpdateBoard { board: administrator.board().clone(), title }).await
    }

    /// Deletes a board with its topics; its streams end.
    ///
    /// # Errors
    /// As [`create_topic`](Self::create_topic).
    pub async fn delete_board(&self, _: &Administrator, board: BoardName) -> Result<(), StoreError> {
        self.write(Write::DeleteBoard { board }).await.map(drop)
    }

    async fn write_topic(&self, write: Write) -> Result<Topic, StoreError> {
        match self.write(write).await? {
            Written::Topic(topic) => Ok(topic),
            other => Err(unexpected(&other)),
        }
    }

    async fn write_board(&self, write: Write) -> Result<Board, StoreError> {
        match self.write(write).await? {
            Written::Board(board) => Ok(board),
            other => Err(unexpected(&other)),
        }
    }

    async fn write(&self, write: Write) -> Result<Written, StoreError> {
        let too_long = |_| Err(StoreError::Unavailable("the write took too long".to_owned()));
        timeout(self.parts.write_wait, self.parts.writer.write(write)).await.unwrap_or_else(too_long)
    }
}

fn unexpected(written: &Written) -> StoreError {
    StoreError::Internal(format!("a write was answered by {written:?}"))
}

/// What the writing thread does after each commit, before it answers anybody.
pub fn on_commit(acknowledged: HighWater, wake: Wake, backplane: Backplane) -> impl Fn(Committed) + Send + 'static {
    move |commit| {
        acknowledged.raise(commit.revision);
        wake.wake();
        backplane.tell();
    }
}
