//! Boards themselves: which there are, their policies, and who may do what on them.

use std::collections::HashMap;

use diesel::{
    dsl::sql,
    expression::SqlLiteral,
    prelude::*,
    sql_types::{BigInt, Bool},
};
use kairanban_core::{
    Board, BoardId, BoardInfo, BoardName, BoardTitle, Policies, PostPolicy, ReadPolicy, Revision,
    VisibleBoards,
};

use crate::{
    RowPage, StoreError,
    connection::{AnyConnection, MultiBackend},
    identity,
    lenient::LossyText,
    row_page::limit_of_page,
    rows::{BoardInfoRow, board_info_columns, policies},
    schema::boards,
    sql::{REVISION_MAX, board_revision_sql, revision},
};

/// The key under which `identity` names the board that takes topics without one.
const DEFAULT_BOARD: &str = "default_board";

/// A change of a board.
#[derive(Clone, Debug, Default)]
pub struct BoardEdit {
    /// The new title; `None` leaves it.
    pub title: Option<BoardTitle>,
    /// The new policy for reading; `None` leaves it.
    pub read: Option<ReadPolicy>,
    /// The new policy for posting; `None` leaves it.
    pub post: Option<PostPolicy>,
}

/// Selects a board's revision, in the same reading as what stands beside it.
pub(super) fn board_revision() -> SqlLiteral<BigInt> {
    sql(&board_revision_sql("boards.id"))
}

/// Selects the revision since which a name has meant its board; zero if the log does not reach back
/// that far.
pub(super) fn named_at() -> SqlLiteral<BigInt> {
    sql(&format!(
        "coalesce((SELECT changes.revision FROM board_lives \
         JOIN changes ON changes.id = board_lives.named_by \
         WHERE board_lives.board_id = boards.id \
         AND changes.revision BETWEEN 0 AND {REVISION_MAX}), 0)"
    ))
}

/// What shows whether a list of a board that was read before is still the newest.
#[derive(Clone, Copy, Debug)]
pub struct BoardHead {
    /// The id of the board.
    pub id: BoardId,
    /// The policies of the board.
    pub policies: Policies,
    /// The revision of its newest change.
    pub revision: Revision,
    /// The revision since which its name has meant it.
    pub named_at: Revision,
}

/// Reads the head of a board, all of one moment.
pub(crate) fn board_head(
    connection: &mut AnyConnection,
    board: &BoardName,
) -> Result<BoardHead, StoreError> {
    let row = boards::table.filter(boards::name.eq(board.as_str()));
    let columns = (
        boards::id,
        boards::read,
        boards::post,
        board_revision(),
        named_at(),
    );
    let found: Option<(i64, LossyText, LossyText, i64, i64)> =
        row.select(columns).first(connection).optional()?;
    let (id, read, post, at, named_at) =
        found.ok_or_else(|| StoreError::NoSuchBoard(board.clone()))?;
    let policies = policies(Some(&read), Some(&post));
    Ok(BoardHead {
        id: BoardId(id),
        policies,
        revision: revision(at)?,
        named_at: revision(named_at)?,
    })
}

/// Reads the id and the policies of the board with this name.
pub(crate) fn board_policies(
    connection: &mut AnyConnection,
    board: &BoardName,
) -> Result<(BoardId, Policies), StoreError> {
    let row = boards::table
        .filter(boards::name.eq(board.as_str()))
        .select((boards::id, boards::read, boards::post));
    let found: Option<(i64, LossyText, LossyText)> = row.first(connection).optional()?;
    let found = found.map(|(id, read, post)| (BoardId(id), policies(Some(&read), Some(&post))));
    found.ok_or_else(|| StoreError::NoSuchBoard(board.clone()))
}

/// Reads the policies of the boards with these names, as far as there are any.
pub(crate) fn find_boards(
    connection: &mut AnyConnection,
    names: &[BoardName],
) -> Result<HashMap<BoardName, Policies>, StoreError> {
    let rows = boards::table
        .filter(boards::name.eq_any(names.iter().map(BoardName::as_str)))
        .select((boards::name, boards::read, boards::post));
    let found: Vec<(LossyText, LossyText, LossyText)> = rows.load(connection)?;
    Ok(found
        .into_iter()
        .filter_map(|(name, read, post)| {
            Some((name.0.parse().ok()?, policies(Some(&read), Some(&post))))
        })
        .collect())
}

/// Reads the id of the board with this name.
pub(crate) fn board_id(
    connection: &mut AnyConnection,
    board: &BoardName,
) -> Result<BoardId, StoreError> {
    let found = boards::table
        .filter(boards::name.eq(board.as_str()))
        .select(boards::id)
        .first(connection)
        .optional()?;
    found
        .map(BoardId)
        .ok_or_else(|| StoreError::NoSuchBoard(board.clone()))
}

/// Selects the boards that a caller may see. One that another program chose and that no address can
/// hold neither is listed nor counts.
pub(super) fn visible_boards(
    connection: &AnyConnection,
    visible: &VisibleBoards,
) -> boards::BoxedQuery<'static, MultiBackend> {
    let is_name = sql::<Bool>(&connection.is_board_name_sql());
    let query = boards::table.filter(is_name).into_boxed();
    let is_public = boards::read.eq_any(ReadPolicy::public().map(ReadPolicy::as_str));
    match visible {
        VisibleBoards::All => query,
        VisibleBoards::Public => query.filter(is_public),
        VisibleBoards::PublicAnd(only) => {
            query.filter(is_public.or(boards::name.eq(only.as_str().to_owned())))
        }
    }
}

/// Reads boards in the order of their names, after one of them. The next page follows a name.
pub(crate) fn boards(
    connection: &mut AnyConnection,
    visible: &VisibleBoards,
    after_name: Option<&BoardName>,
    limit: usize,
) -> Result<RowPage<Board, String>, StoreError> {
    let query = visible_boards(connection, visible)
        .filter(boards::name.gt(after_name.map_or("", BoardName::as_str)));
    let rows: Vec<BoardRow> = query
        .order(boards::name)
        .limit(limit_of_page(limit))
        .select(board_columns())
        .load(connection)?;
    Ok(RowPage::read(
        rows,
        limit,
        |(name, ..)| name.0.clone(),
        into_board,
    ))
}

/// Reads the boards with these names, without their topics, in the order of their names.
pub(crate) fn boards_named(
    connection: &mut AnyConnection,
    names: &[BoardName],
) -> Result<Vec<Board>, StoreError> {
    let rows: Vec<BoardRow> = boards::table
        .filter(boards::name.eq_any(names.iter().map(BoardName::as_str)))
        .order(boards::name)
        .select(board_columns())
        .load(connection)?;
    Ok(rows.into_iter().filter_map(into_board).collect())
}

/// Reads the board with this name, without its topics.
pub(crate) fn board(connection: &mut AnyConnection, name: &BoardName) -> Result<Board, StoreError> {
    let row = boards::table
        .filter(boards::name.eq(name.as_str()))
        .select(board_columns());
    let found: Option<BoardRow> = row.first(connection).optional()?;
    found
        .and_then(into_board)
        .ok_or_else(|| StoreError::NoSuchBoard(name.clone()))
}

type BoardRow = (LossyText, LossyText, LossyText, LossyText, i64, i64);
type BoardColumns = (
    boards::name,
    boards::title,
    boards::read,
    boards::post,
    SqlLiteral<BigInt>,
    SqlLiteral<BigInt>,
);

fn board_columns() -> BoardColumns {
    const TOPICS: &str =
        "(SELECT count(*) FROM topics WHERE topics.board_id = boards.id AND NOT topics.archived)";
    (
        boards::name,
        boards::title,
        boards::read,
        boards::post,
        board_revision(),
        sql(TOPICS),
    )
}

fn into_board((name, title, read, post, at, topics): BoardRow) -> Option<Board> {
    let (revision, topics) = (revision(at).ok()?, u64::try_from(topics).ok()?);
    Some(Board {
        name: name.0.parse().ok()?,
        title: title.0,
        policies: policies(Some(&read), Some(&post)),
        revision,
        topics,
    })
}

/// Creates a board. Returns its id.
pub(crate) fn create_board(
    connection: &mut AnyConnection,
    name: &BoardName,
    wanted: &BoardEdit,
) -> Result<BoardId, StoreError> {
    match board_id(connection, name) {
        Ok(_) => Err(StoreError::BoardExists(name.clone())),
        Err(StoreError::NoSuchBoard(_)) => {
            let row = (
                boards::name.eq(name.as_str()),
                boards::title.eq(wanted.title.as_ref().map_or("", BoardTitle::as_str)),
                boards::read.eq(wanted.read.unwrap_or_default().as_str()),
                boards::post.eq(wanted.post.unwrap_or_default().as_str()),
            );
            let created = diesel::insert_into(boards::table)
                .values(row)
                .returning(boards::id);
            connection.insert_row("boards", created).map(BoardId)
        }
        Err(error) => Err(error),
    }
}

/// Changes a board. Returns its id, unless the edit leaves everything as it was: that draws no
/// revision.
pub(crate) fn update_board(
    connection: &mut AnyConnection,
    name: &BoardName,
    edit: &BoardEdit,
) -> Result<Option<BoardId>, StoreError> {
    let now = board(connection, name)?;
    let row = boards::table.filter(boards::name.eq(name.as_str()));
    let title = edit
        .title
        .as_ref()
        .map_or(now.title.as_str(), BoardTitle::as_str);
    let (read, post) = (
        edit.read.unwrap_or(now.policies.read),
        edit.post.unwrap_or(now.policies.post),
    );
    if (title, read, post) == (now.title.as_str(), now.policies.read, now.policies.post) {
        return Ok(None);
    }
    let set = (
        boards::title.eq(title),
        boards::read.eq(read.as_str()),
        boards::post.eq(post.as_str()),
    );
    let id = board_id(connection, name)?;
    connection.modify_row("boards", diesel::update(row).set(set))?;
    Ok(Some(id))
}

/// Deletes a board with its topics. Returns the id that it had.
pub(crate) fn delete_board(
    connection: &mut AnyConnection,
    name: &BoardName,
) -> Result<BoardId, StoreError> {
    let id = board_id(connection, name)?;
    let row = boards::table.filter(boards::id.eq(id.0));
    connection.modify_row("boards", diesel::delete(row))?;
    Ok(id)
}

/// Creates the board if none has this name. Returns whether it did.
pub(crate) fn ensure_board(
    connection: &mut AnyConnection,
    board: &BoardName,
) -> Result<bool, StoreError> {
    match board_id(connection, board) {
        Err(StoreError::NoSuchBoard(_)) => {
            diesel::insert_into(boards::table)
                .values(boards::name.eq(board.as_str()))
                .execute(connection)?;
            Ok(true)
        }
        found => found.map(|_| false),
    }
}

/// Notes which board takes the topics that name none, if no board that is there is noted.
pub(crate) fn name_default_board(
    connection: &mut AnyConnection,
    board: &BoardName,
) -> Result<(), StoreError> {
    let noted = identity::get(connection, DEFAULT_BOARD)?
        .and_then(|id| id.parse::<i64>().ok())
        .unwrap_or(0);
    if boards::table
        .filter(boards::id.eq(noted))
        .count()
        .get_result::<i64>(connection)?
        == 0
    {
        let id = board_id(connection, board)?;
        identity::put(connection, DEFAULT_BOARD, &id.0.to_string())?;
    }
    Ok(())
}

/// Reads which board the row `default_board` of `identity` names by its id; `None` without such a
/// row or board.
pub(crate) fn stored_default_board(
    connection: &mut AnyConnection,
) -> Result<Option<BoardName>, StoreError> {
    let Some(id) = identity::get(connection, DEFAULT_BOARD)?.and_then(|id| id.parse::<i64>().ok())
    else {
        return Ok(None);
    };
    let name: Option<LossyText> = boards::table
        .filter(boards::id.eq(id))
        .select(boards::name)
        .first(connection)
        .optional()?;
    Ok(name.and_then(|name| name.0.parse().ok()))
}

/// Reads the names and policies of boards; `None` for one that is gone, or whose name no address
/// can hold.
pub(crate) fn board_infos(
    connection: &mut AnyConnection,
    ids: &[BoardId],
) -> Result<Vec<(BoardId, Option<BoardInfo>)>, StoreError> {
    let keys = ids.iter().map(|id| id.0);
    let query = boards::table
        .filter(boards::id.eq_any(keys))
        .select((boards::id, board_info_columns()));
    let rows: Vec<(i64, BoardInfoRow)> = query.load(connection)?;
    let mut found: HashMap<_, _> = rows
        .into_iter()
        .map(|(id, row)| (id, row.into_info()))
        .collect();
    Ok(ids
        .iter()
        .map(|id| (*id, found.remove(&id.0).flatten()))
        .collect())
}
