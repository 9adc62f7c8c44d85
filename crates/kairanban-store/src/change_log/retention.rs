//! What does not stay for good: topics that a full board no longer shows are archived, and the log
//! is trimmed.

use std::time::Duration;

use diesel::{prelude::*, sql_query, sql_types::BigInt};
use kairanban_core::{BoardName, Revision};

use crate::{
    StoreError,
    connection::AnyConnection,
    history, repository,
    schema::{changes, topics},
    sql::{BATCH, NOT_ARCHIVE, Number, REVISION_MAX, number, revision, row_limit},
};

/// Returns whether a board has more topics that are not archived than it shows.
pub(crate) fn is_overfull(
    connection: &mut AnyConnection,
    board: &BoardName,
    topics_max: usize,
) -> Result<bool, StoreError> {
    let board = repository::board_id(connection, board)?;
    let over: Option<i64> = topics::table
        .filter(topics::board_id.eq(board.0).and(topics::archived.eq(false)))
        .order(topics::id.desc())
        .offset(row_limit(topics_max))
        .select(topics::id)
        .first(connection)
        .optional()?;
    Ok(over.is_some())
}

/// Moves at most `batch` topics that a full board no longer shows out of its live list for good,
/// oldest first. Returns how many there were. Within a write.
pub(crate) fn archive(
    connection: &mut AnyConnection,
    board: &BoardName,
    topics_max: usize,
    batch: usize,
) -> Result<usize, StoreError> {
    connection.begin_archiving()?;
    let board = repository::board_id(connection, board)?;
    let skip_locked = connection.skip_locked_sql();
    let text = format!(
        "UPDATE topics SET archived = true WHERE id IN (SELECT id FROM topics \
         WHERE board_id = {board} AND NOT archived \
         AND id <= (SELECT id FROM topics WHERE board_id = {board} AND NOT archived \
         ORDER BY id DESC LIMIT 1 OFFSET {topics_max}) \
         ORDER BY id LIMIT {batch} {skip_locked})",
        board = board.0,
        topics_max = row_limit(topics_max),
        batch = row_limit(batch),
    );
    let moved = sql_query(text).execute(connection)?;
    connection.end_archiving()?;
    Ok(moved)
}

/// Reads the newest revision that was committed that long ago or before, or zero.
pub(crate) fn head_before(
    connection: &mut AnyConnection,
    ago: Duration,
) -> Result<Revision, StoreError> {
    // Backwards from the newest: it costs what came since.
    let before = changes::table.filter(
        changes::at
            .le(connection.ago(ago))
            .and(changes::revision.between(1, REVISION_MAX)),
    );
    let newest: Option<i64> = before
        .order((changes::revision.desc(), changes::id.desc()))
        .select(changes::revision)
        .first(connection)
        .optional()?;
    newest.map_or(Ok(Revision::ZERO), revision)
}

/// The oldest of the log that may go.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Oldest {
    /// The row up to which it was looked at.
    after: LogKey,
    upto: i64,
}

/// Where a row stands in the log.
#[derive(Clone, Copy, Debug, Default, QueryableByName)]
struct LogKey {
    #[diesel(sql_type = BigInt)]
    revision: i64,
    #[diesel(sql_type = BigInt)]
    id: i64,
}

/// Finds what has to go, so that at most `changes_max` rows of the log stay and none from before
/// `age_max` ago.
pub(crate) fn oldest(
    connection: &mut AnyConnection,
    changes_max: u64,
    age_max: Duration,
) -> Result<Option<Oldest>, StoreError> {
    let newest_to_go = format!(
        "SELECT revision AS number FROM changes WHERE revision <= {REVISION_MAX} \
         ORDER BY revision DESC LIMIT 1 OFFSET {changes_max}"
    );
    let over: Option<Number> = sql_query(newest_to_go).get_result(connection).optional()?;
    let old = number(head_before(connection, age_max)?);
    let upto = over.and_then(|row| row.number).unwrap_or(0).max(old);
    let is_new = upto > number(history::trimmed_to(connection)?);
    Ok(is_new.then(|| Oldest {
        after: LogKey::default(),
        upto,
    }))
}

/// Deletes the next batch of the oldest rows of the log that may be trimmed, and records how far.
/// Keeps each board's newest change, and the newest of all, by which those who have read it know
/// the log again. Returns how many rows went, and what is left to look at.
pub(crate) fn trim(
    connection: &mut AnyConnection,
    oldest: Oldest,
) -> Result<(usize, Option<Oldest>), StoreError> {
    let Oldest { after, upto } = oldest;
    connection.transaction(|connection| {
        connection.lock_to_write()?;
        let next = format!("(revision, id) > ({}, {})", after.revision, after.id);
        let batch = format!(
            "SELECT revision, id FROM changes WHERE {next} AND revision <= {upto} \
             ORDER BY revision, id LIMIT {BATCH}"
        );
        let last = format!(
            "SELECT revision, id FROM ({batch}) AS batch ORDER BY revision DESC, id DESC LIMIT 1"
        );
        let last: Option<LogKey> = sql_query(last).get_result(connection).optional()?;
        let noted = last.map_or(upto, |last| last.revision);
        let known = number(history::trimmed_to(connection)?);
        history::set_trimmed_to(connection, noted.max(known))?;
        let Some(last) = last else {
            return Ok((0, None));
        };
        let text = format!(
            "DELETE FROM changes WHERE {next} AND (revision, id) <= ({}, {}) \
             AND (kind = 'archive' OR revision < (SELECT max(later.revision) \
             FROM changes AS later \
             WHERE later.board_id = changes.board_id AND later.{NOT_ARCHIVE})) \
             AND revision < (SELECT max(revision) FROM changes)",
            last.revision, last.id
        );
        let gone = sql_query(text).execute(connection)?;
        Ok((gone, Some(Oldest { after: last, upto })))
    })
}
