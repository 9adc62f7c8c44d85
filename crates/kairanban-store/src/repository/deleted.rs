//! Topics that were deleted through the API: each is kept for a time, for those who want it back.

use std::time::Duration;

use diesel::{prelude::*, sql_query, sql_types::BigInt};
use kairanban_core::{BoardId, BoardName, Revision, TopicId};

use super::{board::board_id, condition::is_topic};
use crate::{
    StoreError, classified,
    clock::DatabaseTime,
    connection::AnyConnection,
    schema::{deleted_topics as kept, topics},
    sql::BATCH,
};

/// What of a topic is kept aside, in the order of both tables; its revision it gets again.
macro_rules! all_columns {
    ($table:ident) => {
        (
            $table::id,
            $table::board_id,
            $table::comment,
            $table::author,
            $table::created_at,
            $table::updated_at,
            $table::edited_at,
            $table::archived,
        )
    };
}

/// Keeps a topic that is about to be deleted, instead of an earlier one with its id. Returns
/// whether there is such a topic, and it is kept.
pub(super) fn keep_for_undo(
    connection: &mut AnyConnection,
    board: &BoardName,
    id: TopicId,
    expected: Option<Revision>,
) -> Result<bool, StoreError> {
    let row = topics::table
        .filter(is_topic(board_id(connection, board)?, id, expected))
        .select(all_columns!(topics));
    connection.modify(diesel::delete(kept::table.filter(kept::id.eq(id.0))))?;
    let kept = connection.modify(
        diesel::insert_into(kept::table)
            .values(row)
            .into_columns(all_columns!(kept)),
    )?;
    Ok(kept > 0)
}

/// Puts a topic back that was deleted not longer ago than `within`.
pub(crate) fn restore_topic(
    connection: &mut AnyConnection,
    board: &BoardName,
    id: TopicId,
    within: Duration,
) -> Result<(), StoreError> {
    let board_id = board_id(connection, board)?;
    let is_it = kept::id.eq(id.0).and(kept::board_id.eq(board_id.0));
    if topics::table
        .filter(topics::id.eq(id.0))
        .count()
        .get_result::<i64>(connection)?
        > 0
    {
        return Err(StoreError::TopicExists(id));
    }
    let mut put = put_back(connection, board_id, id, within);
    if let (Err(StoreError::Refused(_)), Some(clamp)) = (&put, connection.clamp_deleted_sql()) {
        sql_query(clamp)
            .bind::<BigInt, _>(id.0)
            .execute(connection)?;
        put = put_back(connection, board_id, id, within);
    }
    if put? == 0 {
        return Err(why_not_put_back(connection, id, within)?);
    }
    connection.modify(diesel::delete(kept::table.filter(is_it)))?;
    Ok(())
}

/// Returns how many rows were put back.
fn put_back(
    connection: &mut AnyConnection,
    board: BoardId,
    id: TopicId,
    within: Duration,
) -> Result<usize, StoreError> {
    let is_it = kept::id.eq(id.0).and(kept::board_id.eq(board.0));
    let is_kept = is_it.and(is_restorable(connection.ago(within)));
    let put_back = diesel::insert_into(topics::table)
        .values(kept::table.filter(is_kept).select(all_columns!(kept)))
        .into_columns(all_columns!(topics));
    connection.modify(put_back)
}

/// Finds out why no row was put back: none was kept, or a trigger dropped it without a word.
fn why_not_put_back(
    connection: &mut AnyConnection,
    id: TopicId,
    within: Duration,
) -> Result<StoreError, StoreError> {
    let is_kept = kept::id.eq(id.0).and(is_restorable(connection.ago(within)));
    let found: i64 = kept::table.filter(is_kept).count().get_result(connection)?;
    Ok(if found > 0 {
        classified::row_dropped("topics")
    } else {
        StoreError::NoSuchTopic(id)
    })
}

/// Deletes for good a batch of the topics that were deleted `age_max` ago or before: just those
/// that [`restore_topic`] refuses. Returns how many.
pub(crate) fn expire_undo(
    connection: &mut AnyConnection,
    age_max: Duration,
) -> Result<usize, StoreError> {
    // The opposite of `is_restorable`, in a form that an index serves on either database.
    let text = format!(
        "DELETE FROM deleted_topics WHERE id IN (SELECT id FROM deleted_topics \
         WHERE deleted_at <= {} ORDER BY deleted_at LIMIT {BATCH})",
        connection.ago(age_max).text()
    );
    Ok(sql_query(text).execute(connection)?)
}

/// Selects topics that were deleted after `since`, and so can be restored.
#[diesel::dsl::auto_type]
fn is_restorable(since: DatabaseTime) -> _ {
    kept::deleted_at.gt(since)
}
