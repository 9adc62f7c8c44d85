//! Reads boards with their live lists, and single topics.

use std::sync::Arc;

use diesel::prelude::*;
use kairanban_core::{
    BoardId, BoardLoad, BoardName, BulkStamp, Cursor, Epoch, ReplayRange, Revision, Snapshot,
    Topic, TopicId,
};

use super::board::{board_id, board_revision, named_at};
use crate::{
    StoreError,
    connection::AnyConnection,
    lenient::LossyText,
    replay,
    rows::{TopicRow, policies, topic_columns},
    schema::{boards, changes, topics},
    sql::{revision, row_limit},
};

/// Reads a board: its newest topics in one statement, so that they and the revision are of one
/// moment, then the newest part of its log up to there.
pub(crate) fn load(
    connection: &mut AnyConnection,
    epoch: &Epoch,
    board: &BoardName,
    topics_max: usize,
    replay_max: usize,
) -> Result<BoardLoad, StoreError> {
    let rows: Vec<(i64, LossyText, LossyText, i64, i64, TopicRow)> = boards::table
        .left_join(
            topics::table.on(topics::board_id
                .eq(boards::id)
                .and(topics::archived.eq(false))),
        )
        .filter(boards::name.eq(board.as_str()))
        .order(topics::id.desc())
        .limit(row_limit(topics_max))
        .select((
            boards::id,
            boards::read,
            boards::post,
            board_revision(),
            named_at(),
            topic_columns(),
        ))
        .load(connection)?;
    let Some((board_id, read, post, at, named_at, _)) = rows.first() else {
        return Err(StoreError::NoSuchBoard(board.clone()));
    };
    let (board_id, policies) = (BoardId(*board_id), policies(Some(read), Some(post)));
    let (at, named_at) = (revision(*at)?, revision(*named_at)?);
    let mut topics: Vec<_> = rows
        .into_iter()
        .filter_map(|(.., row)| row.into_topic().map(Arc::new))
        .collect();
    topics.reverse();
    let first = topics.first().map(|topic| topic.id);
    let newest = ReplayRange {
        board_id,
        after: Revision::ZERO,
        upto: at,
        shown: topics.len(),
        first,
    };
    let replay_buffer = replay::read(connection, &newest, topics_max, replay_max, replay_max)?;
    let snapshot = Snapshot::new(
        board.clone(),
        Cursor {
            epoch: epoch.clone(),
            revision: at,
        },
        topics,
    )
    .with_bulk_stamps(bulk_stamps(connection, board_id)?);
    Ok(BoardLoad {
        board_id,
        policies,
        snapshot,
        replay_buffer,
        named_at,
    })
}

/// Reads which bulk transactions changed a board, as far as the log knows them.
fn bulk_stamps(
    connection: &mut AnyConnection,
    board: BoardId,
) -> Result<Vec<BulkStamp>, StoreError> {
    let rows: Vec<(i64, Option<i64>)> = changes::table
        .filter(changes::board_id.eq(board.0))
        .filter(changes::stamped_as.is_not_null())
        .select((changes::revision, changes::stamped_as))
        .load(connection)?;
    let stamps = rows.into_iter().filter_map(|(at, stamped_as)| {
        Some(BulkStamp {
            stamped_as: revision(stamped_as?).ok()?,
            revision: revision(at).ok()?,
        })
    });
    Ok(stamps.collect())
}

/// Reads the live list of a board, in the order of ids.
pub(crate) fn live_topics(
    connection: &mut AnyConnection,
    board: BoardId,
    topics_max: usize,
) -> Result<Vec<Arc<Topic>>, StoreError> {
    let rows: Vec<TopicRow> = topics::table
        .filter(topics::board_id.eq(board.0).and(topics::archived.eq(false)))
        .order(topics::id.desc())
        .limit(row_limit(topics_max))
        .select(topic_columns())
        .load(connection)?;
    Ok(rows
        .into_iter()
        .rev()
        .filter_map(|row| row.into_topic().map(Arc::new))
        .collect())
}

/// Reads one topic of a board, archived or not.
pub(crate) fn topic(
    connection: &mut AnyConnection,
    board: &BoardName,
    id: TopicId,
) -> Result<Topic, StoreError> {
    let board_id = board_id(connection, board)?;
    let row = topics::table
        .filter(topics::id.eq(id.0).and(topics::board_id.eq(board_id.0)))
        .select(topic_columns());
    let found: Option<TopicRow> = row.first(connection).optional()?;
    found
        .and_then(TopicRow::into_topic)
        .ok_or(StoreError::NoSuchTopic(id))
}
