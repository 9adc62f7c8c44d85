//! Idempotency keys: which topic a repeated request leads to.

use std::time::Duration;

use diesel::{prelude::*, sql_query};
use kairanban_core::{BoardId, IdempotencyKey, NewTopic, TopicId, hex};
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use crate::{
    StoreError, classified,
    connection::AnyConnection,
    lenient::{AnyNumber, LossyText},
    schema::idempotency,
    sql::{BATCH, FixedWithText, Number},
};

/// What an earlier request with some key led to.
#[derive(Clone, Debug)]
pub(crate) struct Earlier {
    request: String,
    topic_id: i64,
}

impl Earlier {
    /// Returns the topic that the request led to.
    ///
    /// # Errors
    /// [`StoreError::KeyReused`] if it asked for something else than `topic`.
    pub(crate) fn topic_for(&self, topic: &NewTopic) -> Result<TopicId, StoreError> {
        if self.request == digest(topic) {
            Ok(TopicId(self.topic_id))
        } else {
            Err(StoreError::KeyReused)
        }
    }
}

/// Finds what earlier requests with these keys led to, as far as there were any.
pub(crate) fn find(
    connection: &mut AnyConnection,
    board: BoardId,
    keys: &[&IdempotencyKey],
) -> Result<Vec<(IdempotencyKey, Earlier)>, StoreError> {
    let names = keys.iter().map(|key| key.as_str());
    let rows = idempotency::table.filter(
        idempotency::board_id
            .eq(board.0)
            .and(idempotency::key.eq_any(names)),
    );
    let found: Vec<(LossyText, LossyText, AnyNumber)> = rows
        .select((
            idempotency::key,
            idempotency::request,
            idempotency::topic_id,
        ))
        .load(connection)?;
    Ok(found
        .into_iter()
        .filter_map(|(name, request, topic_id)| {
            let key = keys.iter().find(|key| key.as_str() == name.0)?;
            let (request, topic_id) = (request.0, topic_id.0);
            Some(((*key).clone(), Earlier { request, topic_id }))
        })
        .collect())
}

/// A key on its way into the database, as JSON.
#[derive(Serialize)]
struct NewKeyRow<'a> {
    board_id: i64,
    key: &'a str,
    request: String,
    topic_id: i64,
}

/// Returns keys as JSON.
fn json(keys: &[NewKey<'_>]) -> String {
    let rows = keys.iter().map(|(board, key, topic, id)| NewKeyRow {
        board_id: board.0,
        key: key.as_str(),
        request: digest(topic),
        topic_id: id.0,
    });
    // They hold strings and numbers: nothing that JSON cannot say.
    serde_json::to_string(&rows.collect::<Vec<_>>()).unwrap_or_default()
}

/// A key, what was asked for, and the topic that it led to.
pub(crate) type NewKey<'a> = (BoardId, &'a IdempotencyKey, &'a NewTopic, TopicId);

/// Stores which topics keys led to. Fails if another transaction has inserted one of them, or a
/// trigger dropped one, without saying which.
pub(crate) fn insert(
    connection: &mut AnyConnection,
    keys: &[NewKey<'_>],
) -> Result<(), StoreError> {
    match connection.insert_idempotency_sql() {
        _ if keys.is_empty() => Ok(()),
        Some(sql) => {
            let row: Number = FixedWithText::new(sql, &json(keys)).get_result(connection)?;
            let all = i64::try_from(keys.len()).ok();
            ensure_inserted(all == row.number)
        }
        None => keys.iter().try_for_each(|(board, key, topic, id)| {
            let request = digest(topic);
            let number = diesel::insert_into(idempotency::table)
                .values(columns(*board, key, &request, *id))
                .execute(connection)?;
            ensure_inserted(number > 0)
        }),
    }
}

/// Stores which topic a key led to, or finds out why that fails.
///
/// # Errors
/// [`StoreError::KeyInUse`] if another transaction has inserted it and is still open.
pub(crate) fn insert_checked(
    connection: &mut AnyConnection,
    one: NewKey<'_>,
) -> Result<(), StoreError> {
    let inserted = match connection.insert_idempotency_sql() {
        Some(sql) => {
            let inserted = connection.modify_returning(FixedWithText::new(sql, &json(&[one])));
            inserted.map_err(|error| {
                if error.is_busy() || error.is_locked() {
                    StoreError::KeyInUse
                } else {
                    error
                }
            })?
        }
        None => {
            let (board, key, topic, id) = one;
            let request = digest(topic);
            let inserted = connection.modify(
                diesel::insert_into(idempotency::table).values(columns(board, key, &request, id)),
            )?;
            i64::try_from(inserted).ok()
        }
    };
    ensure_inserted(inserted.is_some_and(|inserted| inserted > 0))
}

/// Without its key a repeated request would be a second topic.
fn ensure_inserted(is_inserted: bool) -> Result<(), StoreError> {
    if is_inserted {
        Ok(())
    } else {
        Err(classified::row_dropped("idempotency"))
    }
}

type NewKeyColumns<'a> = (
    diesel::dsl::Eq<idempotency::board_id, i64>,
    diesel::dsl::Eq<idempotency::key, &'a str>,
    diesel::dsl::Eq<idempotency::request, &'a str>,
    diesel::dsl::Eq<idempotency::topic_id, i64>,
);

fn columns<'a>(
    board: BoardId,
    key: &'a IdempotencyKey,
    request: &'a str,
    id: TopicId,
) -> NewKeyColumns<'a> {
    (
        idempotency::board_id.eq(board.0),
        idempotency::key.eq(key.as_str()),
        idempotency::request.eq(request),
        idempotency::topic_id.eq(id.0),
    )
}

/// Deletes the oldest batch of the keys that have expired, which are those older than `age_max`.
/// Returns how many.
pub(crate) fn expire(
    connection: &mut AnyConnection,
    age_max: Duration,
) -> Result<usize, StoreError> {
    let text = format!(
        "DELETE FROM idempotency WHERE (board_id, key) IN (SELECT board_id, key FROM idempotency \
         WHERE used_at <= {} ORDER BY used_at LIMIT {BATCH})",
        connection.ago(age_max).text()
    );
    Ok(sql_query(text).execute(connection)?)
}

fn digest(topic: &NewTopic) -> String {
    // No comment holds a NUL, so two requests that differ cannot look alike.
    let digest = Sha256::new()
        .chain_update(topic.comment())
        .chain_update([0])
        .chain_update(topic.author())
        .finalize();
    hex(&digest)
}
