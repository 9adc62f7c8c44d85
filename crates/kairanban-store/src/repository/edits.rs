//! Changes and deletes topics.

use diesel::prelude::*;
use kairanban_core::{BoardName, Revision, TopicEdit, TopicId};

use super::{
    board::board_id,
    condition::{RevisionCondition, is_topic},
    deleted::keep_for_undo,
    topics::topic,
};
use crate::{
    StoreError, classified,
    connection::AnyConnection,
    rows::{WrittenTopic, topics_by_id},
    schema::topics,
};

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
    let is_kept = keep_for_undo(connection, board, id, expected)?;
    let row = topics::table.filter(is_topic(board_id(connection, board)?, id, expected));
    match connection.modify(diesel::delete(row))? {
        0 => Err(why_not(connection, board, id, expected)?),
        // It could not be restored.
        _ if !is_kept => Err(classified::row_dropped("deleted_topics")),
        _ => Ok(()),
    }
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
