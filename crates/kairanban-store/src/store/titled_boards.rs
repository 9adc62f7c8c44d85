//! What pages show of boards beside their topics.

use std::collections::HashMap;

use kairanban_core::{Board, BoardName, Topic, VisibleBoards};

use crate::{Store, StoreError, TitledBoard, repository};

impl Store {
    /// Reads the titles of the boards that are `visible`, in the order of their names: the first
    /// `limit`.
    ///
    /// # Errors
    /// If the database is away.
    pub fn titled_boards(
        &self,
        visible: &VisibleBoards,
        limit: usize,
    ) -> Result<Vec<TitledBoard>, StoreError> {
        self.with(|connection| repository::titled_boards(connection, visible, limit))
    }

    /// Reads the boards with these names, in the order of their names.
    ///
    /// # Errors
    /// If the database is away.
    pub fn boards_named(&self, names: &[BoardName]) -> Result<Vec<Board>, StoreError> {
        self.with(|connection| repository::boards_named(connection, names))
    }

    /// Reads the title of a board.
    ///
    /// # Errors
    /// [`StoreError::NoSuchBoard`], or if the database is away.
    pub fn board_title(&self, board: &BoardName) -> Result<String, StoreError> {
        self.with(|connection| repository::board_title(connection, board))
    }

    /// Reads the newest topic of each of these boards that has one, archived ones aside.
    ///
    /// # Errors
    /// If the database is away.
    pub fn newest_topics(
        &self,
        boards: &[BoardName],
    ) -> Result<HashMap<BoardName, Topic>, StoreError> {
        self.with(|connection| repository::newest_topics(connection, boards))
    }
}
