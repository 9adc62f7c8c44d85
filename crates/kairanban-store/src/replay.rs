//! The newest part of a board's log, for readers that come back. Those from further back share one
//! search of the log (ADR 12).

use diesel::{
    prelude::*,
    sql_query,
    sql_types::{BigInt, Nullable},
};
use kairanban_core::{ChangeKind, ListEffect, ReplayBuffer, ReplayRange, TopicId, full_list};

use crate::{
    StoreError,
    connection::AnyConnection,
    history,
    schema::topics,
    sql::{REVISION_MAX, number, revision, row_limit},
};

/// Reads what a reader that comes back from somewhere in the range needs of a board's log:
/// which topics changed, and which a full board has pushed out. Reads `rows_max` changes at most,
/// and keeps the `replay_max` topics that changed last.
///
/// A full list also changes by what it lets in again when something goes, and that leaves no trace:
/// so what is replayed begins at the last time that topics went while there may have been more than
/// were shown.
///
/// Changes after `upto` are read, too: a topic that was pushed out before may be archived or
/// deleted by now, and nothing else says that it left the list. Sending such a topic once too often
/// does no harm.
pub(crate) fn read(
    connection: &mut AnyConnection,
    range: &ReplayRange,
    topics_max: usize,
    rows_max: usize,
    replay_max: usize,
) -> Result<ReplayBuffer, StoreError> {
    // What was pushed out is not archived yet, or there is a change that says so, which is read
    // later.
    let waiting = if full_list::is_full(range.shown, topics_max) {
        below(connection, range, replay_max)?
    } else {
        Vec::new()
    };
    if waiting.len() > replay_max || replay_max == 0 {
        return Ok(ReplayBuffer::new(range.upto, [], replay_max));
    }
    let text = touched_sql(range, topics_max, rows_max, replay_max);
    let rows: Vec<ChangedTopicRow> = sql_query(text).load(connection)?;
    // Everything is known from the last of these on.
    let cut = rows
        .first()
        .filter(|row| row.changes >= row_limit(rows_max))
        .and_then(|row| row.oldest);
    let ends = rows
        .first()
        .map_or([None; 2], |row| [row.cleared, row.gone]);
    let known_from = ends
        .into_iter()
        .chain([cut])
        .flatten()
        .max()
        .unwrap_or(0)
        .max(number(range.after));
    let touched = rows.iter().rev().filter_map(|row| {
        Some((
            row.revision.filter(|at| *at > known_from)?,
            TopicId(row.topic_id?),
        ))
    });
    let touched = touched
        .map(|(at, id)| Ok((revision(at)?, id)))
        .collect::<Result<Vec<_>, StoreError>>()?;
    let waiting = waiting.into_iter().map(|id| (range.upto, TopicId(id)));
    // After the reading: what was trimmed meanwhile is not in it.
    let floor = revision(known_from)?
        .max(history::trimmed_to(connection)?)
        .min(range.upto);
    Ok(ReplayBuffer::new(
        floor,
        touched.into_iter().chain(waiting),
        replay_max,
    ))
}

/// Returns the query for the topics that changed in the range, and from where on all of them are
/// known. One pass over the log: the rest is of as many rows as topics changed.
fn touched_sql(
    range: &ReplayRange,
    topics_max: usize,
    rows_max: usize,
    replay_max: usize,
) -> String {
    let followed: Vec<_> = ChangeKind::known()
        .filter(|kind| kind.list_effect() != ListEffect::Reload)
        .map(|kind| format!("'{}'", kind.as_str()))
        .collect();
    let spared = row_limit(full_list::deletions_while_not_full(range.shown, topics_max));
    format!(
        "WITH touched AS MATERIALIZED (SELECT topic_id, max(revision) AS revision, \
         count(*) AS changes, min(revision) AS oldest, \
         max(CASE WHEN kind = 'delete' THEN revision END) AS gone, \
         max(CASE WHEN kind NOT IN ({followed}) THEN revision END) AS cleared \
         FROM (SELECT id, revision, kind, topic_id FROM changes WHERE board_id = {board} \
         AND revision > {after} AND revision <= {REVISION_MAX} \
         ORDER BY revision DESC, id DESC LIMIT {rows_max}) AS newest GROUP BY topic_id), \
         total AS (SELECT CAST(coalesce(sum(changes), 0) AS BIGINT) AS changes, \
         min(oldest) AS oldest, max(cleared) AS cleared, \
         (SELECT gone FROM touched WHERE gone IS NOT NULL ORDER BY gone DESC \
         LIMIT 1 OFFSET {spared}) AS gone FROM touched) \
         SELECT total.changes, total.oldest, total.cleared, total.gone, touched.topic_id, \
         touched.revision \
         FROM total LEFT JOIN touched ON touched.topic_id IS NOT NULL \
         ORDER BY touched.revision DESC LIMIT {limit}",
        followed = followed.join(", "),
        board = range.board_id.0,
        after = number(range.after),
        rows_max = row_limit(rows_max),
        limit = row_limit(replay_max) + 1,
    )
}

/// Reads the newest topics that a full board no longer shows and that wait to be archived.
fn below(
    connection: &mut AnyConnection,
    range: &ReplayRange,
    replay_max: usize,
) -> Result<Vec<i64>, StoreError> {
    let first = range.first.map_or(i64::MIN, |first| first.0);
    let limit = row_limit(replay_max) + 1;
    let waiting = topics::table.filter(
        topics::board_id
            .eq(range.board_id.0)
            .and(topics::archived.eq(false))
            .and(topics::id.lt(first)),
    );
    Ok(waiting
        .order(topics::id.desc())
        .limit(limit)
        .select(topics::id)
        .load(connection)?)
}

/// A topic that changed in the range, and when it changed last; with what is known of the whole
/// range.
#[derive(QueryableByName)]
struct ChangedTopicRow {
    #[diesel(sql_type = BigInt)]
    changes: i64,
    #[diesel(sql_type = Nullable<BigInt>)]
    oldest: Option<i64>,
    /// When everything went at once, or something happened that only a later version knows.
    #[diesel(sql_type = Nullable<BigInt>)]
    cleared: Option<i64>,
    /// The newest deletion before which the list may have been full.
    #[diesel(sql_type = Nullable<BigInt>)]
    gone: Option<i64>,
    #[diesel(sql_type = Nullable<BigInt>)]
    topic_id: Option<i64>,
    #[diesel(sql_type = Nullable<BigInt>)]
    revision: Option<i64>,
}
