//! What is read from the database each time: boards, single topics, pages, the log.

use kairanban_core::{Board, BoardName, LogEntry, Topic, TopicId};
use kairanban_store::{LogPage, Page, StoreError};

use super::Bulletin;
use crate::blocking::blocking;

impl Bulletin {
    /// One topic, archived or not.
    ///
    /// # Errors
    /// [`StoreError::NoSuchBoard`], [`StoreError::NoSuchTopic`], or if the database is away.
    pub async fn topic(&self, board: BoardName, id: TopicId) -> Result<Topic, StoreError> {
        let store = self.parts.store.clone();
        blocking(move || store.topic(&board, id)).await
    }

    /// Topics, archived or not, the newest first.
    ///
    /// # Errors
    /// [`StoreError::NoSuchBoard`], or if the database is away.
    pub async fn page(&self, board: BoardName, wanted: Page) -> Result<Vec<Topic>, StoreError> {
        let store = self.parts.store.clone();
        blocking(move || store.page(&board, &wanted)).await
    }

    /// A stretch of the board's log, or `None` if it was forgotten.
    ///
    /// # Errors
    /// [`StoreError::NoSuchBoard`], or if the database is away.
    pub async fn log(&self, board: BoardName, wanted: LogPage) -> Result<Option<Vec<LogEntry>>, StoreError> {
        let store = self.parts.store.clone();
        let read = blocking(move || Ok((store.log(&board, wanted)?, store.trimmed_to()?)));
        let (entries, trimmed_to) = read.await?;
        Ok((wanted.after >= trimmed_to).then_some(entries))
    }

    /// A board without its topics.
    ///
    /// # Errors
    /// [`StoreError::NoSuchBoard`], or if the database is away.
    pub async fn board(&self, name: BoardName) -> Result<Board, StoreError> {
        let store = self.parts.store.clone();
        blocking(move || store.board(&name)).await
    }

    /// Boards in the order of their names, after one of them.
    ///
    /// # Errors
    /// If the database is away.
    pub async fn boards(&self, after: Option<BoardName>, limit: usize) -> Result<Vec<Board>, StoreError> {
        let store = self.parts.store.clone();
        blocking(move || store.boards(after.as_ref(), limit)).await
    }
}
