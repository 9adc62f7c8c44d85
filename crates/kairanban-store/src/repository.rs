//! Topics: reading the live list, and changing; in [`creation`], new ones; in [`deleted`], those
//! that can be restored; and, in [`board`], the boards themselves.

mod board;
mod condition;
mod creation;
mod deleted;
mod page;
mod titled_boards;

use std::sync::Arc;

use diesel::{prelude::*, sql_types::Bool};
use kairanban_core::{
    BoardId, BoardLoad, BoardName, BulkStamp, Cursor, Epoch, ReplayRange, Revision, Snapshot,
    Topic, TopicEdit, TopicId,
};

use crate::{
    StoreError, classified,
    connection::AnyConnection,
    lenient::LossyText,
    replay,
    rows::{TopicRow, WrittenTopic, policies, topic_columns, topics_by_id},
    schema::{boards, changes, topics},
    sql::{number, revision, row_limit},
};

pub use self::board::{BoardEdit, BoardHead};
pub(crate) use self::board::{
    board, board_head, board_id, board_infos, board_policies, boards, boards_named, create_board,
    delete_board, ensure_board, find_boards, name_default_board, stored_default_board,
    update_board,
};
use self::board::{board_revision, named_at};
pub use self::condition::RevisionCondition;
pub use self::creation::Creation;
pub(crate) use self::creation::{Created, create_each, create_one, create_topics};
pub(crate) use self::deleted::{expire_undo, restore_topic};
pub use self::page::{Page, SearchedTopics};
pub(crate) use self::page::{page, search};
pub use self::titled_boards::TitledBoard;
pub(crate) use self::titled_boards::{board_title, newest_topics, titled_boards};

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

/// Changes a topic whose revision is as `condition` demands. Returns it as it was before.
pub(crate) fn update_topic(
    connection: &mut AnyConnection,
    board: &BoardName,
    id: TopicId,
    edit: &TopicEdit,
    condition: &RevisionCondition,
) -> Result<Option<WrittenTopic>, StoreError> {
    connection.lock_topic(id)?;
    let before = topics_by_id(connection, &[id])?.pop();
    let expected = condition.resolve(connection, board, id)?;
    let row = topics::table.filter(is_topic(board_id(connection, board)?, id, expected));
    let set = (
        edit.comment().map(|text| topics::comment.eq(text)),
        edit.author().map(|text| topics::author.eq(text)),
    );
    let changed = if edit.comment().is_none() && edit.author().is_none() {
        // Diesel rejects an UPDATE with an empty changeset.
        row.count().get_result::<i64>(connection)? > 0
    } else {
        connection.modify(diesel::update(row).set(set))? > 0
    };
    if changed {
        Ok(before)
    } else {
        Err(why_not(connection, board, id, expected)?)
    }
}

/// Deletes a topic whose revision is as `condition` demands. It is kept aside for those who want it
/// back.
pub(crate) fn delete_topic(
    connection: &mut AnyConnection,
    board: &BoardName,
    id: TopicId,
    condition: &RevisionCondition,
) -> Result<(), StoreError> {
    let expected = condition.resolve(connection, board, id)?;
    let is_kept = deleted::keep_for_undo(connection, board, id, expected)?;
    let row = topics::table.filter(is_topic(board_id(connection, board)?, id, expected));
    match connection.modify(diesel::delete(row))? {
        0 => Err(why_not(connection, board, id, expected)?),
        // It could not be restored.
        _ if !is_kept => Err(classified::row_dropped("deleted_topics")),
        _ => Ok(()),
    }
}

#[diesel::dsl::auto_type]
fn is_topic(board: BoardId, id: TopicId, expected: Option<Revision>) -> _ {
    let (board, id): (i64, i64) = (board.0, id.0);
    let (any, at): (bool, i64) = (expected.is_none(), number(expected.unwrap_or_default()));
    topics::id
        .eq(id)
        .and(topics::board_id.eq(board))
        .and(any.into_sql::<Bool>().or(topics::revision.eq(at)))
}

/// Finds out why no row was touched: it does not exist, it changed meanwhile, or a trigger left it
/// as it was.
fn why_not(
    connection: &mut AnyConnection,
    board: &BoardName,
    id: TopicId,
    expected: Option<Revision>,
) -> Result<StoreError, StoreError> {
    match topic(connection, board, id) {
        Ok(topic) if expected.is_none_or(|expected| expected == topic.revision) => {
            Ok(classified::row_dropped("topics"))
        }
        Ok(_) => Ok(StoreError::Changed(id)),
        Err(error @ StoreError::NoSuchTopic(_)) => Ok(error),
        Err(error) => Err(error),
    }
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
