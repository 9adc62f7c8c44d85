//! Which topic a client's key led to.

use std::time::Duration;

use diesel::{prelude::*, sql_query, sql_types::Text};
use kairanban_core::{BoardId, IdempotencyKey, NewTopic, TopicId};
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use crate::{
    StoreError,
    connection::AnyConnection,
    error::{FaultKind, Refusal},
    lenient::{AnyNumber, LossyText},
    schema::idempotency,
};

/// How long a write waits for another transaction that is noting the same key. An ordinary one is over much sooner. One that
/// is not must hold up the repeated request only, and not the writes that are queued behind it.
const KEY_WAIT: Duration = Duration::from_millis(50);

/// What an earlier request with some key led to.
#[derive(Clone, Debug)]
pub(crate) struct Earlier {
    request: String,
    topic_id: i64,
}

impl Earlier {
    /// The topic that it led to.
    ///
    /// # Errors
    /// [`StoreError::KeyReused`] if it asked for something else than `topic`.
    pub(crate) fn is_of(&self, topic: &NewTopic) -> Result<TopicId, StoreError> {
        if self.request == digest(topic) { Ok(TopicId(self.topic_id)) } else { Err(StoreError::KeyReused) }
    }
}

/// What earlier requests with these keys led to, as far as there were any.
pub(crate) fn find(
    connection: &mut AnyConnection,
    board: BoardId,
    keys: &[&IdempotencyKey],
) -> Result<Vec<(IdempotencyKey, Earlier)>, StoreError> {
    let names = keys.iter().map(|key| key.as_str());
    let rows = idempotency::table.filter(idempotency::board_id.eq(board.0).and(idempotency::key.eq_any(names)));
    let found: Vec<(LossyText, LossyText, AnyNumber)> =
        rows.select((idempotency::key, idempotency::request, idempotency::topic_id)).load(connection)?;
    let earlier = |(name, request, topic_id): (LossyText, LossyText, AnyNumber)| {
        let key = keys.iter().find(|key| key.as_str() == name.0)?;
        Some(((*key).clone(), Earlier { request: request.0, topic_id: topic_id.0 }))
    };
    Ok(found.into_iter().filter_map(earlier).collect())
}

/// A key on its way into the database, as JSON.
#[derive(Serialize)]
struct NewRow<'a> {
    board_id: i64,
    key: &'a str,
    request: String,
    topic_id: i64,
}

/// Notes what keys led to. Waits at most [`KEY_WAIT`] for another transaction that notes one of them, then fails.
pub(crate) fn note(
    connection: &mut AnyConnection,
    noted: &[(BoardId, &IdempotencyKey, &NewTopic, TopicId)],
) -> Result<(), StoreError> {
    if noted.is_empty() {
        return Ok(());
    }
    connection.with_lock_wait(KEY_WAIT, |connection| insert(connection, noted))
}

fn insert(connection: &mut AnyConnection, noted: &[(BoardId, &IdempotencyKey, &NewTopic, TopicId)]) -> Result<(), StoreError> {
    match connection.insert_idempotency_sql() {
        Some(sql) if noted.len() > 1 => {
            let rows = noted.iter().map(|(board, key, topic, id)| NewRow {
                board_id: board.0,
                key: key.as_str(),
                request: digest(topic),
                topic_id: id.0,
            });
            // They hold strings and numbers: nothing that JSON cannot say.
            let rows = serde_json::to_string(&rows.collect::<Vec<_>>()).unwrap_or_default();
            sql_query(sql).bind::<Text, _>(rows).execute(connection)?;
            Ok(())
        }
        _ => noted.iter().try_for_each(|(board, key, topic, id)| note_one(connection, *board, key, topic, *id)),
    }
}

fn note_one(
    connection: &mut AnyConnection,
    board: BoardId,
    key: &IdempotencyKey,
    topic: &NewTopic,
    id: TopicId,
) -> Result<(), StoreError> {
    let request = digest(topic);
    diesel::insert_into(idempotency::table).values(columns(board, key, &request, id)).execute(connection)?;
    Ok(())
}

/// Notes what a key led to, or finds out why not: [`StoreError::KeyInUse`] if another transaction that notes it does not end
/// within [`KEY_WAIT`].
pub(crate) fn note_checked(
    connection: &mut AnyConnection,
    board: BoardId,
    key: &IdempotencyKey,
    topic: &NewTopic,
    id: TopicId,
) -> Result<(), StoreError> {
    let request = digest(topic);
    let row = columns(board, key, &request, id);
    let insert = |connection: &mut AnyConnection| connection.modify(diesel::insert_into(idempotency::table).values(row));
    let noted = connection.with_lock_wait(KEY_WAIT, insert).map_err(|error| match error {
        StoreError::Fault(fault) if fault.kind == FaultKind::Busy => StoreError::KeyInUse,
        other => other,
    })?;
    // Without its key a repeated request would be a second topic.
    if noted > 0 { Ok(()) } else { Err(StoreError::Refused(Refusal::default())) }
}

type NewColumns<'a> = (
    diesel::dsl::Eq<idempotency::board_id, i64>,
    diesel::dsl::Eq<idempotency::key, &'a str>,
    diesel::dsl::Eq<idempotency::request, &'a str>,
    diesel::dsl::Eq<idempotency::topic_id, i64>,
);

fn columns<'a>(board: BoardId, key: &'a IdempotencyKey, request: &'a str, id: TopicId) -> NewColumns<'a> {
    (
        idempotency::board_id.eq(board.0),
        idempotency::key.eq(key.as_str()),
        idempotency::request.eq(request),
        idempotency::topic_id.eq(id.0),
    )
}

/// Forgets keys older than `age_max`. Gives how many.
pub(crate) fn forget(connection: &mut AnyConnection, age_max: Duration) -> Result<usize, StoreError> {
    let rows = idempotency::table.filter(idempotency::used_at.le(connection.ago(age_max)));
    Ok(diesel::delete(rows).execute(connection)?)
}

fn digest(topic: &NewTopic) -> String {
    // No comment holds a NUL, so two requests that differ cannot look alike.
    let digest = Sha256::new().chain_update(topic.comment()).chain_update([0]).chain_update(topic.author()).finalize();
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
