//! Topics page by page, archived or not: as they are, or those that hold a text.

use diesel::prelude::*;
use kairanban_core::{BoardName, SearchText, Topic, TopicId};

use super::board_id;
use crate::{
    RowPage, StoreError,
    connection::AnyConnection,
    row_page::limit_of_page,
    rows::{TopicRow, topic_columns},
    schema::topics,
};

/// Which topics to read.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// Older than this one.
    pub before: Option<TopicId>,
    /// How many topics to read at most.
    pub limit: usize,
}

/// Some topics of a board that were searched.
#[derive(Clone, Debug, Default)]
pub struct SearchedTopics {
    /// Those with the text in their comment, the newest first.
    pub found: Vec<Topic>,
    /// How many rows were looked at.
    pub looked_at: usize,
    /// Topics older than this one are on the next page; `None` if this is the last one.
    pub next: Option<TopicId>,
}

/// Reads topics of a board, archived or not, the newest first.
pub(crate) fn page(
    connection: &mut AnyConnection,
    board: &BoardName,
    wanted: &Page,
) -> Result<RowPage<Topic>, StoreError> {
    let page = rows(connection, board, wanted)?;
    Ok(RowPage {
        rows: page
            .rows
            .into_iter()
            .filter_map(TopicRow::into_topic)
            .collect(),
        next: page.next,
    })
}

/// Searches the newest topics of a page, archived or not.
///
/// The database cannot do it: its idea of letters depends on how it was set up, and other programs
/// write no column of ours.
pub(crate) fn search(
    connection: &mut AnyConnection,
    board: &BoardName,
    text: &SearchText,
    wanted: &Page,
) -> Result<SearchedTopics, StoreError> {
    let page = rows(connection, board, wanted)?;
    Ok(SearchedTopics {
        looked_at: page.rows.len(),
        next: page.next.map(TopicId),
        found: page
            .rows
            .into_iter()
            .filter_map(TopicRow::into_topic)
            .filter(|topic| text.is_in(&topic.comment))
            .collect(),
    })
}

/// Reads the rows of a page, which may hold topics that cannot be read.
fn rows(
    connection: &mut AnyConnection,
    board: &BoardName,
    wanted: &Page,
) -> Result<RowPage<TopicRow>, StoreError> {
    let board_id = board_id(connection, board)?;
    let before = wanted.before.map_or(i64::MAX, |before| before.0);
    let query = topics::table
        .filter(topics::board_id.eq(board_id.0).and(topics::id.lt(before)))
        // What follows the last one of these cannot be asked for.
        .filter(topics::id.gt(0))
        .order(topics::id.desc())
        .limit(limit_of_page(wanted.limit))
        .select((topics::id, topic_columns()));
    let rows: Vec<(i64, TopicRow)> = query.load(connection)?;
    Ok(RowPage::read(
        rows,
        wanted.limit,
        |(id, _)| *id,
        |(_, row)| Some(row),
    ))
}
