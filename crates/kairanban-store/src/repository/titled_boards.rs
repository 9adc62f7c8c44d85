//! Boards as people look for them: by title, with the newest topic of each.

use std::collections::HashMap;

use diesel::{dsl::max, prelude::*};
use kairanban_core::{BoardName, Policies, Topic, VisibleBoards};

use super::board::visible_boards;
use crate::{
    StoreError,
    connection::AnyConnection,
    lenient::LossyText,
    rows::{TopicRow, policies, topic_columns},
    schema::{boards, topics},
    sql::row_limit,
};

/// A board in a list to choose from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TitledBoard {
    /// The board's name in addresses.
    pub name: BoardName,
    /// The board's title; may be empty.
    pub title: String,
    /// Who may read it and post on it.
    pub policies: Policies,
}

/// Reads the titles of boards in the order of their names, from the first one.
pub(crate) fn titled_boards(
    connection: &mut AnyConnection,
    visible: &VisibleBoards,
    limit: usize,
) -> Result<Vec<TitledBoard>, StoreError> {
    let rows: Vec<(LossyText, LossyText, LossyText, LossyText)> =
        visible_boards(connection, visible)
            .order(boards::name)
            .limit(row_limit(limit))
            .select((boards::name, boards::title, boards::read, boards::post))
            .load(connection)?;
    // A name that another program chose and that no address can hold is skipped.
    let titled = rows.into_iter().filter_map(|(name, title, read, post)| {
        Some(TitledBoard {
            name: name.0.parse().ok()?,
            title: title.0,
            policies: policies(Some(&read), Some(&post)),
        })
    });
    Ok(titled.collect())
}

/// Reads the title of the board with this name.
pub(crate) fn board_title(
    connection: &mut AnyConnection,
    board: &BoardName,
) -> Result<String, StoreError> {
    let row = boards::table.filter(boards::name.eq(board.as_str()));
    let title: Option<LossyText> = row.select(boards::title).first(connection).optional()?;
    title
        .map(|title| title.0)
        .ok_or_else(|| StoreError::NoSuchBoard(board.clone()))
}

/// Reads the newest topic of each of these boards that has one, archived ones aside.
pub(crate) fn newest_topics(
    connection: &mut AnyConnection,
    names: &[BoardName],
) -> Result<HashMap<BoardName, Topic>, StoreError> {
    let newest: Vec<Option<i64>> = topics::table
        .inner_join(boards::table)
        .filter(boards::name.eq_any(names.iter().map(BoardName::as_str)))
        .filter(topics::archived.eq(false))
        .group_by(topics::board_id)
        .select(max(topics::id))
        .load(connection)?;
    let rows: Vec<(LossyText, TopicRow)> = topics::table
        .inner_join(boards::table)
        .filter(topics::id.eq_any(newest.into_iter().flatten()))
        .select((boards::name, topic_columns()))
        .load(connection)?;
    let found = rows
        .into_iter()
        .filter_map(|(name, row)| Some((name.0.parse().ok()?, row.into_topic()?)));
    Ok(found.collect())
}
