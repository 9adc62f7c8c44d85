//! The way around: titles of boards, and the index of all that a caller may read.

use std::sync::Arc;

use kairanban_core::{Board, BoardName, SearchText, Topic, looks_empty};
use kairanban_store::{RowPage, Store, StoreError, TitledBoard};

use super::BoardService;
use crate::{auth::Caller, blocking::query};

/// Boards that one search looks at.
const SEARCHED_MAX: usize = 10_000;

/// What a page shows beside the topics of its board.
#[derive(Clone, Debug)]
pub struct Navigation {
    /// The title of the board; its name if it has none.
    pub title: String,
    /// The boards that the caller may go to, by name; not all of them if they are many.
    pub boards: Arc<[TitledBoard]>,
}

/// A board in the index.
#[derive(Clone, Debug)]
pub struct IndexedBoard {
    /// The board, without its topics.
    pub board: Board,
    /// Its newest topic, if it has one.
    pub newest: Option<Topic>,
}

impl BoardService {
    /// Returns the title of a board that the caller may read, and the boards to go to from there.
    /// While the database is away, that is what memory knows of them.
    pub async fn navigation(&self, caller: &Caller, board: &BoardName) -> Navigation {
        let (directory, store) = (&self.deps.directory, self.store());
        // A page that can be shown does not wait for a database that does not answer.
        let is_away = self.deps.follower.stale_since().is_some();
        let boards = if is_away {
            directory.remembered_list(&caller.visible_boards())
        } else {
            directory.list(store, caller.visible_boards()).await.ok()
        };
        let boards = boards.unwrap_or_else(|| Arc::from([]));
        let listed = boards.iter().find(|listed| listed.name == *board);
        let title = match listed {
            Some(listed) => Arc::from(listed.title.as_str()),
            None if is_away => Arc::from(""),
            None => directory
                .title(store, board.clone())
                .await
                .unwrap_or_default(),
        };
        Navigation {
            title: title_or_name(&title, board),
            boards,
        }
    }

    /// Reads boards that the caller may read with the newest topic of each, in the order of their
    /// names, from behind `after_name`.
    ///
    /// # Errors
    /// If the database is away.
    pub async fn index(
        &self,
        caller: &Caller,
        after_name: Option<BoardName>,
        limit: usize,
    ) -> Result<RowPage<IndexedBoard, String>, StoreError> {
        let visible = caller.visible_boards();
        query(self.store(), move |store| {
            let page = store.boards(&visible, after_name.as_ref(), limit)?;
            Ok(RowPage {
                rows: indexed(store, page.rows)?,
                next: page.next,
            })
        })
        .await
    }

    /// Finds boards that the caller may read by title or name. Of very many boards the first ones,
    /// by name, are searched.
    ///
    /// # Errors
    /// As [`index`](Self::index).
    pub async fn find_boards(
        &self,
        caller: &Caller,
        text: SearchText,
        limit: usize,
    ) -> Result<Vec<IndexedBoard>, StoreError> {
        let visible = caller.visible_boards();
        query(self.store(), move |store| {
            let all = store.titled_boards(&visible, SEARCHED_MAX)?.into_iter();
            let found =
                all.filter(|board| text.is_in(&board.title) || text.is_in(board.name.as_str()));
            let names: Vec<_> = found.map(|board| board.name).take(limit).collect();
            indexed(store, store.boards_named(&names)?)
        })
        .await
    }
}

/// Reads the newest topic of each board.
fn indexed(store: &Store, boards: Vec<Board>) -> Result<Vec<IndexedBoard>, StoreError> {
    let names: Vec<_> = boards.iter().map(|board| board.name.clone()).collect();
    let mut newest = store.newest_topics(&names)?;
    let indexed = boards.into_iter().map(|board| IndexedBoard {
        newest: newest.remove(&board.name),
        board,
    });
    Ok(indexed.collect())
}

/// Returns the title of a board; its name, if it has none that a reader would see.
#[must_use]
pub fn title_or_name(title: &str, board: &BoardName) -> String {
    let title = title.trim();
    if looks_empty(title) {
        board.to_string()
    } else {
        title.to_owned()
    }
}
