//! Boards and topics: reading the live list, and writing.

use std::{collections::HashMap, sync::Arc, time::Duration};

use chrono::Utc;
use diesel::{
    define_sql_function,
    dsl::sql,
    expression::SqlLiteral,
    prelude::*,
    sql_types::{BigInt, Bool, Nullable, Text},
};
use kairanban_core::{
    Board, BoardId, BoardName, BoardTitle, Cursor, Epoch, IdempotencyKey, Loaded, NewTopic, Policies, PostPolicy, ReadPolicy,
    Revision, Scope, Snapshot, Standing, Topic, TopicEdit, TopicId,
};

use crate::{
    StoreError, change_log,
    connection::AnyConnection,
    idempotency,
    rows::{StandingRow, TopicRow, number, policies, revision, standing_columns, topic_columns},
    schema::{boards, deleted_topics, topics},
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

/// Which boards somebody may see.
#[derive(Clone, Debug)]
pub enum Visible {
    /// All of them.
    All,
    /// Those that are open to everybody, and this one.
    Open(Option<BoardName>),
}

/// What is to change in a board.
#[derive(Clone, Debug, Default)]
pub struct BoardEdit {
    /// Its title.
    pub title: Option<BoardTitle>,
    /// Who may read it.
    pub read: Option<ReadPolicy>,
    /// Who may post on it.
    pub post: Option<PostPolicy>,
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
    let rows: Vec<(i64, String, String, i64, TopicRow)> = boards::table
        .left_join(topics::table.on(topics::board_id.eq(boards::id).and(topics::archived.eq(false))))
        .filter(boards::name.eq(board.as_str()))
        .order(topics::id.desc())
        .limit(limit)
        .select((boards::id, boards::read, boards::post, sql::<BigInt>(BOARD_REVISION), topic_columns()))
        .load(connection)?;
    let Some((board_id, read, post, at, _)) = rows.first() else { return Err(StoreError::NoSuchBoard(board.clone())) };
    let (board_id, policies, at) = (BoardId(*board_id), policies(read, post), revision(*at)?);
    let mut topics = rows
        .into_iter()
        .map(|(.., row)| Ok(row.into_topic()?.map(Arc::new)))
        .filter_map(Result::transpose)
        .collect::<Result<Vec<_>, StoreError>>()?;
    topics.reverse();
    let tail = change_log::tail(connection, board_id, at, topics.len(), topics_max, replay_max)?;
    let snapshot = Snapshot::new(board.clone(), Cursor { epoch: epoch.clone(), revision: at }, topics);
    Ok(Loaded { board_id, policies, snapshot, tail })
}

/// A board's key, who may do what there, and its revision, all of one moment.
pub(crate) fn place_of(connection: &mut AnyConnection, board: &BoardName) -> Result<(BoardId, Policies, Revision), StoreError> {
    let row = boards::table.filter(boards::name.eq(board.as_str()));
    let columns = (boards::id, boards::read, boards::post, sql::<BigInt>(BOARD_REVISION));
    let found: Option<(i64, String, String, i64)> = row.select(columns).first(connection).optional()?;
    let (id, read, post, at) = found.ok_or_else(|| StoreError::NoSuchBoard(board.clone()))?;
    Ok((BoardId(id), policies(&read, &post), revision(at)?))
}

/// Who may do what on the board with this name.
pub(crate) fn board_policies(connection: &mut AnyConnection, board: &BoardName) -> Result<(BoardId, Policies), StoreError> {
    let row = boards::table.filter(boards::name.eq(board.as_str())).select((boards::id, boards::read, boards::post));
    let found: Option<(i64, String, String)> = row.first(connection).optional()?;
    let found = found.map(|(id, read, post)| (BoardId(id), policies(&read, &post)));
    found.ok_or_else(|| StoreError::NoSuchBoard(board.clone()))
}

/// The key of the board with this name.
pub(crate) fn board_id(connection: &mut AnyConnection, board: &BoardName) -> Result<BoardId, StoreError> {
    let found = boards::table.filter(boards::name.eq(board.as_str())).select(boards::id).first(connection).optional()?;
    found.map(BoardId).ok_or_else(|| StoreError::NoSuchBoard(board.clone()))
}

/// Boards in the order of their names, after one of them.
pub(crate) fn boards(
    connection: &mut AnyConnection,
    visible: &Visible,
    after: Option<&BoardName>,
    limit: usize,
) -> Result<Vec<Board>, StoreError> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut query = boards::table.filter(boards::name.gt(after.map_or("", BoardName::as_str))).into_boxed();
    if let Visible::Open(besides) = visible {
        let besides = besides.as_ref().map_or("", BoardName::as_str).to_owned();
        query = query.filter(boards::read.eq(ReadPolicy::Open.as_str()).or(boards::name.eq(besides)));
    }
    let rows: Vec<BoardRow> = query.order(boards::name).limit(limit).select(board_columns()).load(connection)?;
    // A name that another program chose and that no address can hold is nobody's board.
    Ok(rows.into_iter().filter_map(board).collect())
}

/// The board with this name, without its topics.
pub(crate) fn board_info(connection: &mut AnyConnection, name: &BoardName) -> Result<Board, StoreError> {
    let row = boards::table.filter(boards::name.eq(name.as_str())).select(board_columns());
    let found: Option<BoardRow> = row.first(connection).optional()?;
    found.and_then(board).ok_or_else(|| StoreError::NoSuchBoard(name.clone()))
}

type BoardRow = (String, String, String, String, i64, i64);
type BoardColumns = (boards::name, boards::title, boards::read, boards::post, SqlLiteral<BigInt>, SqlLiteral<BigInt>);

fn board_columns() -> BoardColumns {
    const TOPICS: &str = "(SELECT count(*) FROM topics WHERE topics.board_id = boards.id AND NOT topics.archived)";
    (boards::name, boards::title, boards::read, boards::post, sql(BOARD_REVISION), sql(TOPICS))
}

fn board((name, title, read, post, at, topics): BoardRow) -> Option<Board> {
    let (revision, topics) = (revision(at).ok()?, u64::try_from(topics).ok()?);
    Some(Board { name: name.parse().ok()?, title, policies: policies(&read, &post), revision, topics })
}

pub(crate) fn create_board(connection: &mut AnyConnection, name: &BoardName, wanted: &BoardEdit) -> Result<(), StoreError> {
    match board_id(connection, name) {
        Ok(_) => Err(StoreError::BoardExists(name.clone())),
        Err(StoreError::NoSuchBoard(_)) => {
            let row = (
                boards::name.eq(name.as_str()),
                boards::title.eq(wanted.title.as_ref().map_or("", BoardTitle::as_str)),
                boards::read.eq(wanted.read.unwrap_or_default().as_str()),
                boards::post.eq(wanted.post.unwrap_or_default().as_str()),
            );
            diesel::insert_into(boards::table).values(row).execute(connection)?;
            Ok(())
        }
        Err(error) => Err(error),
    }
}

/// Changes a board. What stays as it was is no change, and draws no revision.
pub(crate) fn update_board(connection: &mut AnyConnection, name: &BoardName, edit: &BoardEdit) -> Result<(), StoreError> {
    let now = board_info(connection, name)?;
    let row = boards::table.filter(boards::name.eq(name.as_str()));
    let title = edit.title.as_ref().map_or(now.title.as_str(), BoardTitle::as_str);
    let (read, post) = (edit.read.unwrap_or(now.policies.read), edit.post.unwrap_or(now.policies.post));
    if (title, read, post) != (now.title.as_str(), now.policies.read, now.policies.post) {
        let set = (boards::title.eq(title), boards::read.eq(read.as_str()), boards::post.eq(post.as_str()));
        diesel::update(row).set(set).execute(connection)?;
    }
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

/// Whether somebody may read a board: `right` is what their token allows there. For all others it
/// is not there.
pub(crate) fn may_read(board: &BoardName, policies: Policies, right: Option<Scope>) -> Result<(), StoreError> {
    match policies.read {
        ReadPolicy::Token if right.is_none() => Err(StoreError::NoSuchBoard(board.clone())),
        _ => Ok(()),
    }
}

fn may_post(board: &BoardName, policies: Policies, right: Option<Scope>) -> Result<(), StoreError> {
    may_read(board, policies, right)?;
    match policies.post {
        PostPolicy::Closed => Err(StoreError::Closed),
        PostPolicy::Token if right < Some(Scope::Post) => Err(StoreError::PostingTakesToken { shown: right.is_some() }),
        _ => Ok(()),
    }
}

/// Creates a topic, or finds the one that an earlier request with the same key created. What the
/// writer may do is asked here, within the transaction.
pub(crate) fn create_topic(
    connection: &mut AnyConnection,
    board: &BoardName,
    new: &NewTopic,
    key: Option<&IdempotencyKey>,
    right: Option<Scope>,
) -> Result<TopicId, StoreError> {
    let (board_id, policies) = board_policies(connection, board)?;
    may_post(board, policies, right)?;
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

/// Deletes a topic; if `expected` is given, only one that is still at that revision. It is kept
/// aside for those who want it back.
pub(crate) fn delete_topic(
    connection: &mut AnyConnection,
    board: &BoardName,
    id: TopicId,
    expected: Option<Revision>,
) -> Result<(), StoreError> {
    keep_aside(connection, board, id, expected)?;
    let row = topics::table.filter(is_topic(connection, board, id, expected)?);
    if diesel::delete(row).execute(connection)? > 0 { Ok(()) } else { Err(why_not(connection, board, id)?) }
}

fn keep_aside(
    connection: &mut AnyConnection,
    board: &BoardName,
    id: TopicId,
    expected: Option<Revision>,
) -> Result<(), StoreError> {
    use deleted_topics as kept;
    let columns =
        (topics::id, topics::board_id, topics::comment, topics::author, topics::created_at, topics::updated_at, topics::archived);
    let into = (kept::id, kept::board_id, kept::comment, kept::author, kept::created_at, kept::updated_at, kept::archived);
    let row = topics::table.filter(is_topic(connection, board, id, expected)?).select(columns);
    diesel::delete(kept::table.filter(kept::id.eq(id.0))).execute(connection)?;
    diesel::insert_into(kept::table).values(row).into_columns(into).execute(connection)?;
    Ok(())
}

/// Puts a topic back that was deleted not longer ago than `within`.
pub(crate) fn restore_topic(
    connection: &mut AnyConnection,
    board: &BoardName,
    id: TopicId,
    within: Duration,
) -> Result<(), StoreError> {
    use deleted_topics as kept;
    let board_id = board_id(connection, board)?;
    let since = (Utc::now() - within).naive_utc();
    let is_kept = kept::id.eq(id.0).and(kept::board_id.eq(board_id.0)).and(kept::deleted_at.ge(since));
    let columns = (kept::id, kept::board_id, kept::comment, kept::author, kept::created_at, kept::updated_at, kept::archived);
    let into =
        (topics::id, topics::board_id, topics::comment, topics::author, topics::created_at, topics::updated_at, topics::archived);
    if topics::table.filter(topics::id.eq(id.0)).count().get_result::<i64>(connection)? > 0 {
        return Err(StoreError::TopicExists(id));
    }
    let put_back = diesel::insert_into(topics::table)
        .values(kept::table.filter(is_kept).select(columns))
        .into_columns(into)
        .execute(connection)?;
    diesel::delete(kept::table.filter(is_kept)).execute(connection)?;
    if put_back > 0 { Ok(()) } else { Err(StoreError::NoSuchTopic(id)) }
}

/// Forgets topics that were deleted before `age_max` ago. Gives how many.
pub(crate) fn forget_deleted(connection: &mut AnyConnection, age_max: Duration) -> Result<usize, StoreError> {
    let before = Utc::now() - age_max;
    let rows = deleted_topics::table.filter(deleted_topics::deleted_at.lt(before.naive_utc()));
    Ok(diesel::delete(rows).execute(connection)?)
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

/// How boards stand now; `None` for one that is gone.
pub(crate) fn standings(connection: &mut AnyConnection, ids: &[BoardId]) -> Result<Vec<(BoardId, Option<Standing>)>, StoreError> {
    let keys = ids.iter().map(|id| id.0);
    let query = boards::table.filter(boards::id.eq_any(keys)).select((boards::id, standing_columns()));
    let rows: Vec<(i64, StandingRow)> = query.load(connection)?;
    let mut found: HashMap<_, _> = rows.into_iter().map(|(id, row)| (id, row.into_standing())).collect();
    Ok(ids.iter().map(|id| (*id, found.remove(&id.0).flatten())).collect())
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
