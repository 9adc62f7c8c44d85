//! Which topic a client's key led to.

use std::time::Duration;

use chrono::Utc;
use diesel::prelude::*;
use kairanban_core::{BoardId, IdempotencyKey, NewTopic, TopicId};
use sha2::{Digest as _, Sha256};

use crate::{StoreError, connection::AnyConnection, schema::idempotency};

/// The topic that an earlier request with this key led to, if there was one.
///
/// # Errors
/// [`StoreError::KeyReused`] if that asked for something else.
pub(crate) fn find(
    connection: &mut AnyConnection,
    board: BoardId,
    key: &IdempotencyKey,
    topic: &NewTopic,
) -> Result<Option<TopicId>, StoreError> {
    let row = idempotency::table.filter(idempotency::board_id.eq(board.0).and(idempotency::key.eq(key.as_str())));
    let found = row.select((idempotency::request, idempotency::topic_id)).first::<(String, i64)>(connection).optional()?;
    match found {
        Some((request, _)) if request != digest(topic) => Err(StoreError::KeyReused),
        found => Ok(found.map(|(_, id)| TopicId(id))),
    }
}

/// Notes what a key led to. If somebody else notes it at the same time, that waits and is refused.
pub(crate) fn note(
    connection: &mut AnyConnection,
    board: BoardId,
    key: &IdempotencyKey,
    topic: &NewTopic,
    id: TopicId,
) -> Result<(), StoreError> {
    let row = (
        idempotency::board_id.eq(board.0),
        idempotency::key.eq(key.as_str()),
        idempotency::request.eq(digest(topic)),
        idempotency::topic_id.eq(id.0),
    );
    diesel::insert_into(idempotency::table).values(row).execute(connection)?;
    Ok(())
}

/// Forgets keys older than `age_max`. Gives how many.
pub(crate) fn forget(connection: &mut AnyConnection, age_max: Duration) -> Result<usize, StoreError> {
    let before = Utc::now() - age_max;
    Ok(diesel::delete(idempotency::table.filter(idempotency::used_at.lt(before.naive_utc()))).execute(connection)?)
}

fn digest(topic: &NewTopic) -> String {
    // No comment holds a NUL, so two requests that differ cannot look alike.
    let digest = Sha256::new().chain_update(topic.comment()).chain_update([0]).chain_update(topic.author()).finalize();
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
