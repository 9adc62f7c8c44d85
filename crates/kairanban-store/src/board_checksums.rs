//! Sums up what each board holds in one number, and logs the changes that the log has missed.

use std::sync::Arc;

use diesel::{
    prelude::*,
    sql_query,
    sql_types::{BigInt, Nullable, Text},
};
use kairanban_core::{BoardId, BoardInfo, Revision, Snapshot, Topic};
use md5::{Digest as _, Md5};

use crate::{
    StoreError,
    connection::AnyConnection,
    lenient::LossyText,
    repository,
    rows::policies,
    schema::boards,
    sql::{Number, REVISION_MAX, board_revision_sql, number, revision},
};

/// A board, as the database has it.
#[derive(Clone, Debug)]
pub struct BoardContent {
    /// The id of the board.
    pub id: BoardId,
    /// Its name and policies; `None` if it is gone, or no address can hold its name.
    pub info: Option<BoardInfo>,
    /// The revision of its newest change.
    pub revision: Revision,
    /// The checksum of its live list, see [`content_sum`].
    pub sum: i64,
}

/// Returns a checksum of a live list, the same that the database computes: the sum over the topics
/// of the first 48 bits of the MD5 of each. It is no secret, and guards against accidents only.
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

/// Reads the name, the revision and the checksum of boards, all of one moment.
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
    let info = row
        .name
        .and_then(|name| name.parse().ok())
        .map(|name| BoardInfo { name, policies });
    Ok(BoardContent {
        id: BoardId(row.board_id),
        info,
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
    let info = found.and_then(|(name, read, post)| {
        Some(BoardInfo {
            name: name.0.parse().ok()?,
            policies: policies(Some(&read), Some(&post)),
        })
    });
    let sum = sum_of(&repository::live_topics(connection, id, topics_max)?);
    Ok(BoardContent {
        id,
        info,
        revision: board_revision(connection, id)?,
        sum,
    })
}

fn board_revision(connection: &mut AnyConnection, board: BoardId) -> Result<Revision, StoreError> {
    let text = format!(
        "SELECT {} AS number",
        board_revision_sql(&board.0.to_string())
    );
    let row: Number = sql_query(text).get_result(connection)?;
    revision(row.number.unwrap_or_default())
}

/// Logs what the log has missed of a board that was read at the revision `seen`: that it has to be
/// read again, and, if `is_board`, that the board itself changed. Only if the log has not said so
/// since: another node may have been quicker. Within a write. Returns whether it did.
pub(crate) fn log_missed(
    connection: &mut AnyConnection,
    board: BoardId,
    seen: Revision,
    is_board: bool,
) -> Result<bool, StoreError> {
    connection.lock_identity()?;
    let id = board.0;
    let kind = if is_board { "board" } else { "clear" };
    let is_logged = format!(
        "SELECT count(*) AS number FROM changes WHERE board_id = {id} AND kind = '{kind}' \
         AND revision > {} AND revision <= {REVISION_MAX}",
        number(seen)
    );
    let is_logged: Number = sql_query(is_logged).get_result(connection)?;
    if is_logged.number.unwrap_or_default() > 0 {
        return Ok(false);
    }
    log_again(connection, id, is_board)?;
    connection.begin_stamp()?;
    Ok(true)
}

/// Logs that a board has to be read again, and, if `is_board`, that the board itself changed.
/// Within a write.
pub(crate) fn log_again(
    connection: &mut AnyConnection,
    id: i64,
    is_board: bool,
) -> Result<(), StoreError> {
    if is_board {
        sql_query(connection.log_change_sql("board", id)).execute(connection)?;
        let named = format!(
            "INSERT INTO board_lives (board_id, named_by) SELECT board_id, max(id) FROM changes \
             WHERE board_id = {id} \
             AND kind = 'board' AND EXISTS (SELECT 1 FROM boards WHERE id = {id}) \
             GROUP BY board_id \
             ON CONFLICT (board_id) DO UPDATE SET named_by = excluded.named_by"
        );
        sql_query(named).execute(connection)?;
    }
    sql_query(connection.log_change_sql("clear", id)).execute(connection)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use kairanban_core::TopicId;

    use super::*;

    #[test]
    fn different_texts_have_different_sums() {
        let sums =
            [("a", "b c"), ("a b", "c"), ("", "a b c"), ("a", "b c ")].map(|(author, comment)| {
                topic_sum(&Topic {
                    id: TopicId(1),
                    comment: comment.to_owned(),
                    author: author.to_owned(),
                    created_at: DateTime::UNIX_EPOCH,
                    updated_at: DateTime::UNIX_EPOCH,
                    edited_at: None,
                    revision: Revision::ZERO,
                })
            });
        assert!(
            sums.iter()
                .enumerate()
                .all(|(at, sum)| *sum >= 0 && !sums[..at].contains(sum)),
            "{sums:?}"
        );
    }
}
