//! Sends writes to the writer thread. Administrative commands take the proof of an administrator.

use kairanban_core::{
    Board, BoardName, IdempotencyKey, NewTopic, Token, Topic, TopicEdit, TopicId,
};
use kairanban_store::{
    AdminCommand, BoardEdit, Committed, Creation, ErrorClass, NewToken, RevisionCondition, Secret,
    StoreError, Write, WriteResult,
};
use tokio::time::timeout;

use super::BoardService;
use crate::{
    auth::{Administrator, BoardAdministrator, Caller, CommandOrigin},
    backplane::Backplane,
    failpoint,
    follower::OwnCommits,
    high_water::HighWater,
    metrics::{WriteEnd, WriteMetrics},
};

impl BoardService {
    /// Writes a topic, or finds the one that the same `key` created before. Dropping the future
    /// does not undo the write.
    ///
    /// # Errors
    /// [`StoreError::NoSuchBoard`], also if the caller may not read it;
    /// [`StoreError::PostingRequiresToken`] or [`StoreError::Closed`] if the caller may not post
    /// there; [`StoreError::Unavailable`], after which it is unknown whether the topic was written.
    pub async fn create_topic(
        &self,
        caller: &Caller,
        board: BoardName,
        topic: NewTopic,
        key: Option<IdempotencyKey>,
    ) -> Result<Topic, StoreError> {
        let scope = caller.scope_on(&board);
        topic_of(
            self.write(Write::CreateTopic(Creation {
                board,
                topic,
                key,
                scope,
            }))
            .await?,
        )
    }

    /// Changes a topic whose revision is as `condition` demands.
    ///
    /// # Errors
    /// [`StoreError::NoSuchTopic`], [`StoreError::Changed`], and as
    /// [`create_topic`](Self::create_topic).
    pub async fn update_topic(
        &self,
        administrator: &BoardAdministrator,
        id: TopicId,
        edit: TopicEdit,
        condition: RevisionCondition,
    ) -> Result<Topic, StoreError> {
        let command = AdminCommand::UpdateTopic {
            board: administrator.board().clone(),
            id,
            edit,
            condition,
        };
        let origin = administrator.origin();
        topic_of(self.administer(origin, command, true).await?)
    }

    /// Deletes a topic whose revision is as `condition` demands.
    ///
    /// # Errors
    /// As [`update_topic`](Self::update_topic).
    pub async fn delete_topic(
        &self,
        administrator: &BoardAdministrator,
        id: TopicId,
        condition: RevisionCondition,
    ) -> Result<(), StoreError> {
        let command = AdminCommand::DeleteTopic {
            board: administrator.board().clone(),
            id,
            condition,
        };
        self.administer(administrator.origin(), command, true)
            .await
            .map(drop)
    }

    /// Restores a topic that was deleted through the API, within `history.undo_s`.
    ///
    /// # Errors
    /// [`StoreError::NoSuchTopic`] if its text is no longer kept, [`StoreError::TopicExists`], and
    /// as [`create_topic`](Self::create_topic).
    pub async fn restore_topic(
        &self,
        administrator: &BoardAdministrator,
        id: TopicId,
    ) -> Result<Topic, StoreError> {
        let command = AdminCommand::RestoreTopic {
            board: administrator.board().clone(),
            id,
            within: self.deps.undo,
        };
        let origin = administrator.origin();
        topic_of(self.administer_untagged(origin, command).await?)
    }

    /// Creates a board without topics.
    ///
    /// # Errors
    /// [`StoreError::BoardExists`], and as [`create_topic`](Self::create_topic).
    pub async fn create_board(
        &self,
        administrator: &Administrator,
        board: BoardName,
        wanted: BoardEdit,
    ) -> Result<Board, StoreError> {
        let command = AdminCommand::CreateBoard { board, wanted };
        board_of(
            self.administer_untagged(administrator.origin(), command)
                .await?,
        )
    }

    /// Changes the title or the policies of a board. Ends the streams that these no longer allow.
    ///
    /// # Errors
    /// As [`create_topic`](Self::create_topic).
    pub async fn update_board(
        &self,
        administrator: &BoardAdministrator,
        edit: BoardEdit,
    ) -> Result<Board, StoreError> {
        let command = AdminCommand::UpdateBoard {
            board: administrator.board().clone(),
            edit,
        };
        let origin = administrator.origin();
        board_of(self.administer_untagged(origin, command).await?)
    }

    /// Deletes a board with its topics, and ends its streams.
    ///
    /// # Errors
    /// As [`create_topic`](Self::create_topic).
    pub async fn delete_board(
        &self,
        administrator: &Administrator,
        board: BoardName,
    ) -> Result<(), StoreError> {
        let command = AdminCommand::DeleteBoard { board };
        self.administer_untagged(administrator.origin(), command)
            .await
            .map(drop)
    }

    /// Creates a token. Its secret is returned here and cannot be read again.
    ///
    /// # Errors
    /// As [`create_topic`](Self::create_topic).
    pub async fn create_token(
        &self,
        administrator: &Administrator,
        new: NewToken,
    ) -> Result<(Token, Secret), StoreError> {
        let secret = Secret::token()?;
        let command = AdminCommand::CreateToken {
            new,
            secret: secret.clone(),
        };
        match self
            .administer_untagged(administrator.origin(), command)
            .await?
        {
            WriteResult::Token(token) => Ok((token, secret)),
            other => Err(unexpected(&other)),
        }
    }

    /// Revokes a token, and ends its streams, on every node.
    ///
    /// # Errors
    /// [`StoreError::NoSuchToken`], and as [`create_topic`](Self::create_topic).
    pub async fn revoke_token(
        &self,
        administrator: &Administrator,
        id: i64,
    ) -> Result<(), StoreError> {
        self.administer_untagged(administrator.origin(), AdminCommand::RevokeToken { id })
            .await
            .map(drop)
    }

    /// Ends the session of a browser, and its streams, on every node.
    ///
    /// # Errors
    /// [`StoreError::NoSuchSession`], and as [`create_topic`](Self::create_topic).
    pub async fn end_session(
        &self,
        administrator: &Administrator,
        id: i64,
    ) -> Result<(), StoreError> {
        self.administer_untagged(
            administrator.origin(),
            AdminCommand::EndBrowserSession { id },
        )
        .await
        .map(drop)
    }

    /// Runs a command on what has no tag, under the conditions of its request.
    async fn administer_untagged(
        &self,
        origin: &CommandOrigin,
        command: AdminCommand,
    ) -> Result<WriteResult, StoreError> {
        self.administer(origin, command, origin.is_admitted).await
    }

    async fn administer(
        &self,
        origin: &CommandOrigin,
        command: AdminCommand,
        is_admitted: bool,
    ) -> Result<WriteResult, StoreError> {
        self.write(Write::Administer {
            actor: origin.actor.clone(),
            command,
            is_admitted,
        })
        .await
    }

    async fn write(&self, write: Write) -> Result<WriteResult, StoreError> {
        let written = timeout(self.deps.write_wait, self.deps.writer.write(write)).await;
        let written = written.unwrap_or_else(|_| {
            Err(StoreError::Unavailable(
                "the write took too long".to_owned(),
            ))
        });
        self.deps.metrics.ended(end_of(&written));
        written
    }
}

/// Returns the outcome of a write, for metrics.
const fn end_of(written: &Result<WriteResult, StoreError>) -> WriteEnd {
    match written {
        Ok(_) => WriteEnd::Written,
        Err(error) => match error.class() {
            ErrorClass::Refused => WriteEnd::Refused,
            ErrorClass::NotWritten => WriteEnd::NotWritten,
            ErrorClass::Unknown => WriteEnd::Unavailable,
            ErrorClass::Internal => WriteEnd::Internal,
        },
    }
}

fn topic_of(written: WriteResult) -> Result<Topic, StoreError> {
    if let WriteResult::Topic(topic) = written {
        Ok(topic)
    } else {
        Err(unexpected(&written))
    }
}

fn board_of(written: WriteResult) -> Result<Board, StoreError> {
    if let WriteResult::Board(board) = written {
        Ok(board)
    } else {
        Err(unexpected(&written))
    }
}

fn unexpected(written: &WriteResult) -> StoreError {
    StoreError::Internal(format!("a write was answered by {written:?}"))
}

/// Returns what the writer thread does after each commit, before it answers.
pub fn on_commit(
    acknowledged: HighWater,
    own: OwnCommits,
    backplane: Backplane,
    metrics: WriteMetrics,
) -> impl Fn(Committed) + Send + Sync + 'static {
    move |commit| {
        failpoint::pass("writer");
        acknowledged.raise(commit.revision);
        metrics.committed(commit.writes, commit.ended.duration_since(commit.began));
        own.notify(commit);
        backplane.notify();
    }
}
