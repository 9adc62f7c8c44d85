//! Reads from the database what memory does not hold: boards, single topics, pages, the log; and,
//! for administrators, tokens and the audit.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use kairanban_core::{
    AuditEntry, Board, BoardName, BrowserSession, LogRow, LogStart, ResetReason, Revision,
    SearchText, Token, Topic, TopicId,
};
use kairanban_store::{LogPage, Page, RowPage, Store, StoreError};

use super::BoardService;
use crate::{
    auth::{Administrator, Caller},
    blocking::query,
};

/// Topics that are searched by one query.
const SEARCH_ROWS: usize = 500;

/// The result of a search.
#[derive(Clone, Debug, Default)]
pub struct SearchedPage {
    /// The topics with the text in their comment, the newest first.
    pub topics: Vec<Topic>,
    /// The number of topics that were examined.
    pub looked_at: usize,
    /// Topics older than this one were not searched; `None` if all were.
    pub next: Option<TopicId>,
}

impl BoardService {
    /// Reads one topic, archived or not.
    ///
    /// # Errors
    /// [`StoreError::NoSuchBoard`], also if the caller may not read it;
    /// [`StoreError::NoSuchTopic`], or if the database is away.
    pub async fn topic(
        &self,
        caller: &Caller,
        board: BoardName,
        id: TopicId,
    ) -> Result<Topic, StoreError> {
        self.look_up(caller, board, move |store, board| store.topic(board, id))
            .await
    }

    /// Reads a page of topics, archived or not, the newest first.
    ///
    /// # Errors
    /// [`StoreError::NoSuchBoard`], also if the caller may not read it, or if the database is away.
    pub async fn page(
        &self,
        caller: &Caller,
        board: BoardName,
        wanted: Page,
    ) -> Result<RowPage<Topic>, StoreError> {
        self.look_up(caller, board, move |store, board| {
            store.page(board, &wanted)
        })
        .await
    }

    /// Searches topics, archived or not, the newest first, until `wanted.limit` were found or
    /// `looked_at_max` were examined.
    ///
    /// Each batch is a query of its own, so that other requests need not wait long for the
    /// connection. `permit` is held as long as one of them runs.
    ///
    /// # Errors
    /// As [`page`](Self::page).
    pub async fn search(
        &self,
        caller: &Caller,
        board: BoardName,
        text: SearchText,
        wanted: Page,
        looked_at_max: usize,
        permit: Arc<impl Send + Sync + 'static>,
    ) -> Result<SearchedPage, StoreError> {
        let text = Arc::new(text);
        let mut page = SearchedPage {
            next: wanted.before,
            ..SearchedPage::default()
        };
        loop {
            let next = Page {
                before: page.next,
                limit: SEARCH_ROWS.min(looked_at_max - page.looked_at),
            };
            let (text, held) = (Arc::clone(&text), Arc::clone(&permit));
            let searched = self
                .look_up(caller, board.clone(), move |store, board| {
                    // A query continues when its client has gone, and keeps its permit until it
                    // ends.
                    let _held = held;
                    store.search(board, &text, &next)
                })
                .await?;
            page.looked_at += searched.looked_at;
            page.topics.extend(searched.found);
            page.next = searched.next;
            if page.topics.len() > wanted.limit {
                page.topics.truncate(wanted.limit);
                page.next = page.topics.last().map(|topic| topic.id);
            }
            if page.topics.len() == wanted.limit
                || page.next.is_none()
                || page.looked_at >= looked_at_max
            {
                return Ok(page);
            }
        }
    }

    /// Reads up to `limit` rows of the board's log, or returns why the log is not whole from
    /// `start` on. If that is within a revision, the rows are those after the one with `after_id`.
    ///
    /// # Errors
    /// Those of [`page`](Self::page).
    pub async fn log(
        &self,
        caller: &Caller,
        board: BoardName,
        start: &LogStart,
        after_id: Option<i64>,
        limit: usize,
    ) -> Result<Result<RowPage<LogRow, (Revision, i64)>, ResetReason>, StoreError> {
        let epoch = self.follower().epoch();
        // Another history is no question for the database.
        if let Err(reason) = start.check(&epoch, Revision::ZERO, Revision::ZERO) {
            return Ok(Err(reason));
        }
        let wanted = LogPage {
            after: start.revision(),
            after_id,
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

    /// Reads a board without its topics.
    ///
    /// # Errors
    /// Those of [`page`](Self::page).
    pub async fn board(&self, caller: &Caller, name: BoardName) -> Result<Board, StoreError> {
        self.look_up(caller, name, |store, name| store.board(name))
            .await
    }

    /// Reads boards that the caller may read, in the order of their names, after `after_name`.
    ///
    /// # Errors
    /// If the database is away.
    pub async fn boards(
        &self,
        caller: &Caller,
        after_name: Option<BoardName>,
        limit: usize,
    ) -> Result<RowPage<Board, String>, StoreError> {
        let visible = caller.visible_boards();
        query(self.store(), move |store| {
            store.boards(&visible, after_name.as_ref(), limit)
        })
        .await
    }

    /// Reads tokens in the order of their ids, after `after_id`.
    ///
    /// # Errors
    /// If the database is away.
    pub async fn tokens(
        &self,
        _: &Administrator,
        after_id: i64,
        limit: usize,
    ) -> Result<RowPage<Token>, StoreError> {
        query(self.store(), move |store| store.tokens(after_id, limit)).await
    }

    /// Reads a token by its id.
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

    /// Reads the sessions of browsers that are alive, in the order of their ids, after `after_id`.
    ///
    /// # Errors
    /// If the database is away.
    pub async fn sessions(
        &self,
        _: &Administrator,
        after_id: i64,
        limit: usize,
    ) -> Result<RowPage<BrowserSession>, StoreError> {
        query(self.store(), move |store| store.sessions(after_id, limit)).await
    }

    /// Reads the database's clock.
    ///
    /// # Errors
    /// If the database is away.
    pub async fn now(&self, _: &Administrator) -> Result<DateTime<Utc>, StoreError> {
        query(self.store(), Store::now).await
    }

    /// Reads the audit log, the newest entry first, from before `before`.
    ///
    /// # Errors
    /// If the database is away.
    pub async fn audit(
        &self,
        _: &Administrator,
        before: Option<i64>,
        limit: usize,
    ) -> Result<RowPage<AuditEntry>, StoreError> {
        query(self.store(), move |store| store.audit(before, limit)).await
    }

    /// Reads something of a board, if the caller may read the board.
    async fn look_up<T: Send + 'static>(
        &self,
        caller: &Caller,
        board: BoardName,
        read: impl FnOnce(&Store, &BoardName) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let scope = caller.scope_on(&board);
        let policies = self.deps.hub.policies(&board);
        // If memory does not know the policies, the database has to be asked.
        if !policies.is_some_and(|policies| policies.is_readable(scope)) {
            self.ensure_readable(&board, scope).await?;
        }
        query(self.store(), move |store| {
            store.policies(&board, scope)?;
            read(store, &board)
        })
        .await
    }
}
