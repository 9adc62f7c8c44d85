//! Boards and topics: reading the live list, and writing.

use std::sync::Arc;

use diesel::{
    define_sql_function,
    dsl::sql,
    expression::SqlLiteral,
    prelude::*,
    sql_types::{BigInt, Bool, Nullable, Text},
};
use kairanban_core::{
    Board, BoardId, BoardName, BoardTitle, Cursor, Epoch, IdempotencyKey, Loaded, NewTopic, Revision, Snapshot, Topic, TopicEdit,
    TopicId,
};

use crate::{
    StoreError, change_log,
    connection::AnyConnection,
    idempotency,
    rows::{TopicRow, number, revision, topic_columns},
    schema::{boards, topics},
};

define_sql_function! {
    /// In lower case; SQLite knows only that of ASCII.
    fn lower(text: Text) -> Text;
}

/// Which topics to read.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// Older than this one.
    pub before: Option<TopicId>,
    /// With this text in their comment, whatever its case.
    pub text: Option<String>,
    /// So many at most.
    pub limit: usize,
}

/// A board's revision: that of its newest change, in the same reading as what stands beside it.
const BOARD_REVISION: &str =
    "coalesce((SELECT max(revision) FROM changes WHERE changes.board_id = boards.id AND kind <> 'archive'), 0)";

/// Reads a board: its newest topics in one statement, so that they and the revision are of one
/// moment, then the newest stretch of its history up to there.
pub(crate) fn load(
    connection: &mut AnyConnection,
    epoch: &Epoch,
    board: &BoardName,
    topics_max: usize,
    replay_max: usize,
) -> Result<Loaded, StoreError> {
    let limit = i64::try_from(topics_max).unwrap_or(i64::MAX);
    let rows: Vec<(i64, i64, TopicRow)> = boards::table
        .left_join(topics::table.on(topics::board_id.eq(boards::id).and(topics::archived.eq(false))))
        .filter(boards::name.eq(board.as_str()))
        .order(topics::id.desc())
        .limit(limit)
        .select((boards::id, sql::<BigInt>(BOARD_REVISION), topic_columns()))
        .load(connection)?;
    let Some(&(board_id, at, _)) = rows.first() else { return Err(StoreError::NoSuchBoard(board.clone())) };
    let (board_id, at) = (BoardId(board_id), revision(at)?);
    let mut topics = rows
        .into_iter()
        .map(|(.., row)| Ok(row.into_topic()?.map(Arc::new)))
        .filter_map(Result::transpose)
        .collect::<Result<Vec<_>, StoreError>>()?;
    topics.reverse();
    let tail = change_log::tail(connection, board_id, at, topics.len(), topics_max, replay_max)?;
    let snapshot = Snapshot::new(board.clone(), Cursor { epoch: epoch.clone(), revision: at }, topics);
    Ok(Loaded { board_id, snapshot, tail })
}

/// The key of the board with this name.
pub(crate) fn board_id(connection: &mut AnyConnection, board: &BoardName) -> Result<BoardId, StoreError> {
    let found = boards::table.filter(boards::name.eq(board.as_str())).select(boards::id).first(connection).optional()?;
    found.map(BoardId).ok_or_else(|| StoreError::NoSuchBoard(board.clone()))
}

/// Boards in the order of their names, after one of them.
pub(crate) fn boards(connection: &mut AnyConnection, after: Option<&BoardName>, limit: usize) -> Result<Vec<Board>, StoreError> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let after = after.map_or("", BoardName::as_str);
    let rows: Vec<BoardRow> =
        boards::table.filter(boards::name.gt(after)).order(boards::name).limit(limit).select(board_columns()).load(connection)?;
    // A name that another program chose and that no address can hold is nobody's board.
    Ok(rows.into_iter().filter_map(board).collect())
}

/// The board with this name, without its topics.
pub(crate) fn board_info(connection: &mut AnyConnection, name: &BoardName) -> Result<Board, StoreError> {
    let row = boards::table.filter(boards::name.eq(name.as_str())).select(board_columns());
    let found: Option<BoardRow> = row.first(connection).optional()?;
    found.and_then(board).ok_or_else(|| StoreError::NoSuchBoard(name.clone()))
}

type BoardRow = (String, String, i64, i64);

fn board_columns() -> (boards::name, boards::title, SqlLiteral<BigInt>, SqlLiteral<BigInt>) {
    const TOPICS: &str = "(SELECT count(*) FROM topics WHERE topics.board_id = boards.id AND NOT topics.archived)";
    (boards::name, boards::title, sql(BOARD_REVISION), sql(TOPICS))
}

fn board((name, title, at, topics): BoardRow) -> Option<Board> {
    Some(Board { name: name.parse().ok()?, title, revision: revision(at).ok()?, topics: u64::try_from(topics).ok()? })
}

pub(crate) fn create_board(connection: &mut AnyConnection, name: &BoardName, title: &BoardTitle) -> Result<(), StoreError> {
    match board_id(connection, name) {
        Ok(_) => Err(StoreError::BoardExists(name.clone())),
        Err(StoreError::NoSuchBoard(_)) => {
            let row = (boards::name.eq(name.as_str()), boards::title.eq(title.as_str()));
            diesel::insert_into(boards::table).values(row).execute(connection)?;
            Ok(())
        }
        Err(error) => Err(error),
    }
}

pub(crate) fn update_board(connection: &mut AnyConnection, name: &BoardName, title: &BoardTitle) -> Result<(), StoreError> {
    let id = board_id(connection, name)?;
    diesel::update(boards::table.filter(boards::id.eq(id.0))).set(boards::title.eq(title.as_str())).execute(connection)?;
    Ok(())
}

pub(crate) fn delete_board(connection: &mut AnyConnection, name: &BoardName) -> Result<(), StoreError> {
    let id = board_id(connection, name)?;
    diesel::delete(boards::table.filter(boards::id.eq(id.0))).execute(connection)?;
    Ok(())
}

/// Makes the board if there is none with this name; tells whether it did.
pub(crate) fn ensure_board(connection: &mut AnyConnection, board: &BoardName) -> Result<bool, StoreError> {
    match board_id(connection, board) {
        Err(StoreError::NoSuchBoard(_)) => {
            diesel::insert_into(boards::table).values(boards::name.eq(board.as_str())).execute(connection)?;
            Ok(true)
        }
        found => found.map(|_| false),
    }
}

/// Creates a topic, or finds the one that an earlier request with the same key created.
pub(crate) fn create_topic(
    connection: &mut AnyConnection,
    board: &BoardName,
    new: &NewTopic,
    key: Option<&IdempotencyKey>,
) -> Result<TopicId, StoreError> {
    let board_id = board_id(connection, board)?;
    if let Some(key) = key
        && let Some(id) = idempotency::find(connection, board_id, key, new)?
    {
        return Ok(id);
    }
    let row = (topics::board_id.eq(board_id.0), topics::comment.eq(new.comment()), topics::author.eq(new.author()));
    let id = diesel::insert_into(topics::table).values(row).returning(topics::id).get_result(connection)?;
    if let Some(key) = key {
        idempotency::note(connection, board_id, key, new, TopicId(id))?;
    }
    Ok(TopicId(id))
}

/// Changes a topic; if `expected` is given, only one that is still at that revision.
pub(crate) fn update_topic(
    connection: &mut AnyConnection,
    board: &BoardName,
    id: TopicId,
    edit: &TopicEdit,
    expected: Option<Revision>,
) -> Result<(), StoreError> {
    let row = topics::table.filter(is_topic(connection, board, id, expected)?);
    let set = (edit.comment().map(|text| topics::comment.eq(text)), edit.author().map(|text| topics::author.eq(text)));
    let changed = if edit.comment().is_none() && edit.author().is_none() {
        // Nothing to set is no statement at all.
        row.count().get_result::<i64>(connection)? > 0
    } else {
        diesel::update(row).set(set).execute(connection)? > 0
    };
    if changed { Ok(()) } else { Err(why_not(connection, board, id)?) }
}

/// Deletes a topic; if `expected` is given, only one that is still at that revision.
pub(crate) fn delete_topic(
    connection: &mut AnyConnection,
    board: &BoardName,
    id: TopicId,
    expected: Option<Revision>,
) -> Result<(), StoreError> {
    let row = topics::table.filter(is_topic(connection, board, id, expected)?);
    if diesel::delete(row).execute(connection)? > 0 { Ok(()) } else { Err(why_not(connection, board, id)?) }
}

type IsTopic = Box<dyn BoxableExpression<topics::table, <AnyConnection as diesel::Connection>::Backend, SqlType = Bool>>;

fn is_topic(
    connection: &mut AnyConnection,
    board: &BoardName,
    id: TopicId,
    expected: Option<Revision>,
) -> Result<IsTopic, StoreError> {
    let topic = topics::id.eq(id.0).and(topics::board_id.eq(board_id(connection, board)?.0));
    Ok(match expected {
        Some(expected) => Box::new(topic.and(topics::revision.eq(number(expected)))),
        None => Box::new(topic),
    })
}

/// No row was touched: because there is none, or because it is another one by now.
fn why_not(connection: &mut AnyConnection, board: &BoardName, id: TopicId) -> Result<StoreError, StoreError> {
    match topic(connection, board, id) {
        Ok(_) => Ok(StoreError::Changed(id)),
        Err(error @ StoreError::NoSuchTopic(_)) => Ok(error),
        Err(error) => Err(error),
    }
}

/// Topics by their keys, in no particular order; those that are gone are left out.
pub(crate) fn topics_by_id(connection: &mut AnyConnection, ids: &[TopicId]) -> Result<Vec<Topic>, StoreError> {
    let ids = ids.iter().map(|id| id.0);
    let rows: Vec<TopicRow> = topics::table.filter(topics::id.eq_any(ids)).select(topic_columns()).load(connection)?;
    rows.into_iter().map(TopicRow::into_topic).filter_map(Result::transpose).collect()
}

/// One topic of a board, archived or not.
pub(crate) fn topic(connection: &mut AnyConnection, board: &BoardName, id: TopicId) -> Result<Topic, StoreError> {
    let board_id = board_id(connection, board)?;
    let row = topics::table.filter(topics::id.eq(id.0).and(topics::board_id.eq(board_id.0))).select(topic_columns());
    let found: Option<TopicRow> = row.first(connection).optional()?;
    found.map(TopicRow::into_topic).transpose()?.flatten().ok_or(StoreError::NoSuchTopic(id))
}

/// Topics of a board, archived or not, the newest first.
pub(crate) fn page(connection: &mut AnyConnection, board: &BoardName, wanted: &Page) -> Result<Vec<Topic>, StoreError> {
    let board_id = board_id(connection, board)?;
    let mut query = topics::table.filter(topics::board_id.eq(board_id.0)).into_boxed();
    if let Some(before) = wanted.before {
        query = query.filter(topics::id.lt(before.0));
    }
    if let Some(text) = &wanted.text {
        let escaped = text.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_").to_lowercase();
        query = query.filter(lower(topics::comment).like(format!("%{escaped}%")).escape('\\'));
    }
    let limit = i64::try_from(wanted.limit).unwrap_or(i64::MAX);
    let rows: Vec<TopicRow> = query.order(topics::id.desc()).limit(limit).select(topic_columns()).load(connection)?;
    rows.into_iter().map(TopicRow::into_topic).filter_map(Result::transpose).collect()
}

/// The names that boards bear now; `None` for one that is gone.
pub(crate) fn board_names(
    connection: &mut AnyConnection,
    ids: &[BoardId],
) -> Result<Vec<(BoardId, Option<BoardName>)>, StoreError> {
    let keys = ids.iter().map(|id| id.0);
    let rows: Vec<(i64, String)> =
        boards::table.filter(boards::id.eq_any(keys)).select((boards::id, boards::name)).load(connection)?;
    let name = |id: &BoardId| rows.iter().find(|(key, _)| *key == id.0).and_then(|(_, name)| name.parse().ok());
    Ok(ids.iter().map(|id| (*id, name(id))).collect())
}

/// The revisions of boards as the database has them, for those that exist.
pub(crate) fn board_revisions(
    connection: &mut AnyConnection,
    names: &[BoardName],
) -> Result<Vec<(BoardName, Revision)>, StoreError> {
    let keys = names.iter().map(BoardName::as_str);
    let rows: Vec<(String, Option<i64>)> = boards::table
        .filter(boards::name.eq_any(keys))
        .select((boards::name, sql::<Nullable<BigInt>>(BOARD_REVISION)))
        .load(connection)?;
    let parsed = rows.into_iter().map(|(name, at)| Ok(name.parse().ok().zip(Some(revision(at.unwrap_or(0))?))));
    parsed.filter_map(Result::transpose).collect()
}
