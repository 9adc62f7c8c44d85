//! What is read from the database each time: boards, single topics, pages, the log; and, for
//! administrators, tokens and the audit.

use chrono::{DateTime, Utc};
use kairanban_core::{
    AuditEntry, Board, BoardName, LogEntry, LogStart, ResetReason, Revision, Token, Topic, TopicId,
};
use kairanban_store::{LogPage, Page, Store, StoreError};

use super::BoardService;
use crate::{
    auth::{Administrator, Caller},
    blocking::query,
};

impl BoardService {
    /// One topic, archived or not.
    ///
    /// # Errors
    /// [`StoreError::NoSuchBoard`], also if the caller may not read it; [`StoreError::NoSuchTopic`], or
    /// if the database is away.
    pub async fn topic(
        &self,
        caller: &Caller,
        board: BoardName,
        id: TopicId,
    ) -> Result<Topic, StoreError> {
        self.look_up(caller, board, move |store, board| store.topic(board, id))
            .await
    }

    /// Topics, archived or not, the newest first.
    ///
    /// # Errors
    /// [`StoreError::NoSuchBoard`], also if the caller may not read it, or if the database is away.
    pub async fn page(
        &self,
        caller: &Caller,
        board: BoardName,
        wanted: Page,
    ) -> Result<Vec<Topic>, StoreError> {
        self.look_up(caller, board, move |store, board| {
            store.page(board, &wanted)
        })
        .await
    }

    /// Reads up to `limit` rows of the board's log, or returns why the log is not whole from `start`
    /// on. If that is within a revision, the rows are those after `place`.
    ///
    /// # Errors
    /// Those of [`page`](Self::page).
    pub async fn log(
        &self,
        caller: &Caller,
        board: BoardName,
        start: &LogStart,
        place: Option<i64>,
        limit: usize,
    ) -> Result<Result<Vec<LogEntry>, ResetReason>, StoreError> {
        let epoch = self.following().epoch();
        // Another history is no question for the database.
        if let Err(reason) = start.check(&epoch, Revision::ZERO, Revision::ZERO) {
            return Ok(Err(reason));
        }
        let wanted = LogPage {
            after: start.revision(),
            place,
            limit,
        };
        let read = self.look_up(caller, board, move |store, board| {
            Ok((
                store.log(board, wanted)?,
                store.trimmed_to()?,
                store.board_head(board)?.named_at,
            ))
        });
        let (entries, trimmed_to, named_at) = read.await?;
        let checked = start.check(&epoch, named_at, trimmed_to);
        Ok(checked.map(|()| entries))
    }

    /// A board without its topics.
    ///
    /// # Errors
    /// Those of [`page`](Self::page).
    pub async fn board(&self, caller: &Caller, name: BoardName) -> Result<Board, StoreError> {
        self.look_up(caller, name, |store, name| store.board(name))
            .await
    }

    /// Boards that the caller may read, in the order of their names, after one of them.
    ///
    /// # Errors
    /// If the database is away.
    pub async fn boards(
        &self,
        caller: &Caller,
        after: Option<BoardName>,
        limit: usize,
    ) -> Result<Vec<Board>, StoreError> {
        let visible = caller.visible();
        query(self.store(), move |store| {
            store.boards(&visible, after.as_ref(), limit)
        })
        .await
    }

    /// Tokens in the order of their keys, after one of them.
    ///
    /// # Errors
    /// If the database is away.
    pub async fn tokens(
        &self,
        _: &Administrator,
        after: i64,
        limit: usize,
    ) -> Result<Vec<Token>, StoreError> {
        query(self.store(), move |store| store.tokens(after, limit)).await
    }

    /// Returns what is known of one token.
    ///
    /// # Errors
    /// [`StoreError::NoSuchToken`], or if the database is away.
    pub async fn token(&self, _: &Administrator, id: i64) -> Result<Token, StoreError> {
        query(self.store(), move |store| {
            let found = store.tokens_by_id(&[id])?.pop();
            found
                .map(|found| found.token)
                .ok_or(StoreError::NoSuchToken(id))
        })
        .await
    }

    /// The time by the database's clock.
    ///
    /// # Errors
    /// If the database is away.
    pub async fn now(&self, _: &Administrator) -> Result<DateTime<Utc>, StoreError> {
        query(self.store(), Store::now).await
    }

    /// What administrators did, the newest first, older than `before`.
    ///
    /// # Errors
    /// If the database is away.
    pub async fn audit(
        &self,
        _: &Administrator,
        before: Option<i64>,
        limit: usize,
    ) -> Result<Vec<AuditEntry>, StoreError> {
        query(self.store(), move |store| store.audit(before, limit)).await
    }

    /// Reads something of a board that the caller may read.
    async fn look_up<T: Send + 'static>(
        &self,
        caller: &Caller,
        board: BoardName,
        read: impl FnOnce(&Store, &BoardName) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let right = caller.right(&board);
        query(self.store(), move |store| {
            store.policies(&board, right)?;
            read(store, &board)
        })
        .await
    }
}
