//! Whether the log is still the one that was read, and what boards hold that the log may have missed.

use std::sync::Arc;

use diesel::{
    prelude::*,
    sql_query,
    sql_types::{BigInt, Binary, Nullable, Text},
};
use kairanban_core::{
    BoardId, BoardName, LogPosition, LogRow, Policies, Revision, Snapshot, Topic, Witness,
};
use md5::{Digest as _, Md5};

use crate::{
    StoreError,
    change_log::{self, LAST},
    connection::AnyConnection,
    lenient::{AnyNumber, LossyText},
    repository,
    rows::{Fixed, Number, Piece, number, policies, revision},
    schema::{boards, changes},
};

type LogRowTuple = (
    i64,
    AnyNumber,
    LossyText,
    AnyNumber,
    Option<i64>,
    Option<Vec<u8>>,
);

/// The row; `None` if it has no place in the order.
fn log_row((id, at, kind, board_id, topic_id, time): LogRowTuple) -> Option<LogRow> {
    let time = String::from_utf8_lossy(&time.unwrap_or_default()).into_owned();
    Some(LogRow {
        revision: at.revision()?,
        id,
        kind: kind.0,
        board_id: board_id.0,
        topic_id,
        at: time,
    })
}

/// The newest row of the log.
pub(crate) fn newest(connection: &mut AnyConnection) -> Result<Option<LogRow>, StoreError> {
    let time = Piece::<Nullable<Binary>>::new(connection.log_time_sql());
    let row: Option<LogRowTuple> = changes::table
        .filter(changes::revision.between(1, LAST))
        .order((changes::revision.desc(), changes::id.desc()))
        .select((
            changes::id,
            changes::revision,
            changes::kind,
            changes::board_id,
            changes::topic_id,
            time,
        ))
        .first(connection)
        .optional()?;
    Ok(row.and_then(log_row))
}

/// Where a row is that was read before.
pub(crate) fn witness(
    connection: &mut AnyConnection,
    read: &LogRow,
) -> Result<Witness, StoreError> {
    let time = Piece::<Nullable<Binary>>::new(connection.log_time_sql());
    let row: Option<LogRowTuple> = changes::table
        .filter(changes::id.eq(read.id))
        .select((
            changes::id,
            changes::revision,
            changes::kind,
            changes::board_id,
            changes::topic_id,
            time,
        ))
        .first(connection)
        .optional()?;
    Ok(match row {
        Some(row) if log_row(row.clone()).as_ref() == Some(read) => Witness::Present,
        None if read.revision <= change_log::trimmed_to(connection)? => Witness::Trimmed,
        _ => Witness::Gone,
    })
}

/// Whether the counter would draw revisions that the log has.
pub(crate) fn is_counter_behind(
    connection: &mut AnyConnection,
    newest: Option<&LogRow>,
) -> Result<bool, StoreError> {
    let counter: Option<Number> = Fixed(connection.counter_sql())
        .get_result(connection)
        .optional()?;
    let counter = counter.and_then(|row| row.number);
    Ok(counter.unwrap_or_default() < newest.map_or(0, |newest| number(newest.revision)))
}

/// Has the counter go on behind the log.
pub(crate) fn repair_counter(
    connection: &mut AnyConnection,
    newest: Option<&LogRow>,
) -> Result<(), StoreError> {
    if let Some(newest) = newest.filter(|_| is_counter_behind(connection, newest).unwrap_or(true)) {
        sql_query(connection.repair_counter_sql(number(newest.revision))).execute(connection)?;
    }
    Ok(())
}

/// What a reading of the log begins with: the last row that was read, with what it says of the database.
pub(crate) type Header = (Piece<Nullable<Text>>, Piece<Nullable<BigInt>>);

/// The epoch and the counter, in whichever statement they are selected.
pub(crate) const fn header(connection: &AnyConnection) -> Header {
    (
        Piece::new("(SELECT value FROM identity WHERE key = 'epoch')"),
        Piece::new(connection.counter_column_sql()),
    )
}

/// Whether a reading that began with these is of the history that was read before.
pub(crate) fn holds(
    known: &LogPosition,
    epoch: Option<&str>,
    counter: Option<i64>,
    first: Option<&LogRow>,
    last: i64,
) -> bool {
    epoch == Some(known.epoch.as_str())
        && counter.is_some_and(|counter| counter >= last)
        && known.last.as_ref().is_none_or(|read| first == Some(read))
}

/// A board, as the database has it.
#[derive(Clone, Debug)]
pub struct BoardContent {
    /// Its key.
    pub id: BoardId,
    /// Its name and who may do what there; `None` if it is gone, or no address can hold its name.
    pub standing: Option<(BoardName, Policies)>,
    /// The revision of its newest change.
    pub revision: Revision,
    /// What its live list comes to, see [`content_sum`].
    pub sum: i64,
}

/// What a live list comes to: the same as the database computes for itself. A sum over the topics of the first
/// 48 bits of each one's MD5, which is no secret and guards against accidents only.
#[must_use]
pub fn content_sum(snapshot: &Snapshot) -> i64 {
    sum_of(snapshot.topics())
}

fn sum_of(topics: &[Arc<Topic>]) -> i64 {
    topics
        .iter()
        .map(|topic| topic_sum(topic))
        .fold(0, i64::wrapping_add)
}

fn topic_sum(topic: &Topic) -> i64 {
    let (created, updated) = (
        topic.created_at.timestamp_micros(),
        topic.updated_at.timestamp_micros(),
    );
    let edited = topic.edited_at.map_or(0, |at| at.timestamp_micros());
    let Topic {
        id,
        revision,
        author,
        comment,
        ..
    } = topic;
    let text = format!(
        "{} {revision} {created} {updated} {edited} {} {author} {comment}",
        id.0,
        author.len()
    );
    Md5::digest(text)
        .iter()
        .take(6)
        .fold(0, |sum, byte| sum << 8 | i64::from(*byte))
}

#[derive(QueryableByName)]
struct ContentRow {
    #[diesel(sql_type = BigInt)]
    board_id: i64,
    #[diesel(sql_type = Nullable<Text>)]
    name: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    read: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    post: Option<String>,
    #[diesel(sql_type = BigInt)]
    revision: i64,
    #[diesel(sql_type = BigInt)]
    sum: i64,
}

/// What boards hold, each with its revision, all of one moment.
pub(crate) fn contents(
    connection: &mut AnyConnection,
    ids: &[BoardId],
    topics_max: usize,
) -> Result<Vec<BoardContent>, StoreError> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let list = ids
        .iter()
        .map(|id| id.0.to_string())
        .collect::<Vec<_>>()
        .join(", ");
    if let Some(text) = connection.contents_sql(&list, topics_max) {
        let rows: Vec<ContentRow> = sql_query(text).load(connection)?;
        return rows.into_iter().map(content).collect();
    }
    // SQLite has no such function, and is in this process.
    connection.transaction(|connection| {
        ids.iter()
            .map(|id| content_of(connection, *id, topics_max))
            .collect()
    })
}

fn content(row: ContentRow) -> Result<BoardContent, StoreError> {
    let policies = policies(
        row.read.map(LossyText).as_ref(),
        row.post.map(LossyText).as_ref(),
    );
    let standing = row
        .name
        .and_then(|name| name.parse().ok())
        .map(|name| (name, policies));
    Ok(BoardContent {
        id: BoardId(row.board_id),
        standing,
        revision: revision(row.revision)?,
        sum: row.sum,
    })
}

fn content_of(
    connection: &mut AnyConnection,
    id: BoardId,
    topics_max: usize,
) -> Result<BoardContent, StoreError> {
    let row = boards::table.filter(boards::id.eq(id.0)).select((
        boards::name,
        boards::read,
        boards::post,
    ));
    let found: Option<(LossyText, LossyText, LossyText)> = row.first(connection).optional()?;
    let standing = found.and_then(|(name, read, post)| {
        Some((name.0.parse().ok()?, policies(Some(&read), Some(&post))))
    });
    let sum = sum_of(&repository::live_topics(connection, id, topics_max)?);
    Ok(BoardContent {
        id,
        standing,
        revision: board_revision(connection, id)?,
        sum,
    })
}

fn board_revision(connection: &mut AnyConnection, board: BoardId) -> Result<Revision, StoreError> {
    let text = format!(
        "SELECT max(revision) AS number FROM changes WHERE board_id = {} AND kind <> 'archive' AND revision <= {LAST}",
        board.0
    );
    let row: Number = sql_query(text).get_result(connection)?;
    revision(row.number.unwrap_or_default())
}

/// Logs what the log has missed of a board: that it has to be read, and, if `is_board`, that the board itself changed. Only
/// if it still is at the revision `seen`: another node may have been quicker. Within a write; tells whether it did.
pub(crate) fn log_missed(
    connection: &mut AnyConnection,
    board: BoardId,
    seen: Revision,
    is_board: bool,
) -> Result<bool, StoreError> {
    connection.lock_identity()?;
    if board_revision(connection, board)? != seen {
        return Ok(false);
    }
    let id = board.0;
    if is_board {
        sql_query(connection.log_change_sql("board", id)).execute(connection)?;
        let named = format!(
            "INSERT INTO board_lives (board_id, named_by) SELECT board_id, max(id) FROM changes WHERE board_id = {id} \
             AND kind = 'board' AND EXISTS (SELECT 1 FROM boards WHERE id = {id}) GROUP BY board_id \
             ON CONFLICT (board_id) DO UPDATE SET named_by = excluded.named_by"
        );
        sql_query(named).execute(connection)?;
    }
    sql_query(connection.log_change_sql("clear", id)).execute(connection)?;
    connection.begin_stamp()?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use kairanban_core::TopicId;

    use super::*;

    #[test]
    fn a_sum_tells_texts_apart() {
        let topic = |author: &str, comment: &str| Topic {
            id: TopicId(1),
            comment: comment.to_owned(),
            author: author.to_owned(),
            created_at: DateTime::UNIX_EPOCH,
            updated_at: DateTime::UNIX_EPOCH,
            edited_at: None,
            revision: Revision::ZERO,
        };
        let sums = [("a", "b c"), ("a b", "c"), ("", "a b c"), ("a", "b c ")]
            .map(|(author, text)| topic_sum(&topic(author, text)));
        assert!(
            sums.iter()
                .enumerate()
                .all(|(at, sum)| *sum >= 0 && !sums[..at].contains(sum)),
            "{sums:?}"
        );
    }
}
