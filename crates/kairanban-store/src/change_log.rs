//! The change log: what was committed after a revision; in [`retention`], archiving and trimming.

mod retention;

use diesel::{
    dsl::{max, sql},
    prelude::*,
    sql_types::Bool,
};
use kairanban_core::{BoardId, BoardInfo, BoardName, Change, LogPosition, LogRow, Revision};

pub(crate) use self::retention::{archive, head_before, is_overfull, oldest, trim};
use crate::{
    RowPage, StoreError,
    connection::AnyConnection,
    history, identity,
    lenient::LossyText,
    repository,
    row_page::limit_of_page,
    rows::{ChangedRow, StoredLogRow, changed_columns, log_columns},
    schema::{boards, changes, topics},
    sql::{AtOrAfter, NOT_ARCHIVE, REVISION_MAX, number, revision, row_limit},
};

/// What the log holds after a revision.
#[derive(Debug)]
pub enum ChangeBatch {
    /// All of it, in order.
    Changes {
        /// Each change with its topic as it stands now.
        changes: Vec<Change>,
        /// The last row; `None` if nothing is new.
        last: Option<LogRow>,
    },
    /// More than is worth following one by one: the boards that changed, and how far.
    Boards {
        /// The newest row of the log.
        last: Option<LogRow>,
        /// The boards that changed, each once.
        boards: Vec<ChangedBoard>,
    },
}

/// A board that changed.
#[derive(Clone, Debug)]
pub struct ChangedBoard {
    /// The id of the board.
    pub id: BoardId,
    /// Its name and policies now; `None` once it is gone, or if no address can hold its name.
    pub info: Option<BoardInfo>,
    /// The revision of its newest change.
    pub revision: Revision,
}

/// Which page of one board's log to read.
#[derive(Clone, Copy, Debug)]
pub struct LogPage {
    /// Only rows after this revision.
    pub after: Revision,
    /// And of that revision only rows after the one with this id, if a part of it was read before.
    pub after_id: Option<i64>,
    /// How many rows to read at most.
    pub limit: usize,
}

/// Reads a page of one board's log, in order.
pub(crate) fn page(
    connection: &mut AnyConnection,
    board: &BoardName,
    wanted: LogPage,
) -> Result<RowPage<LogRow, (Revision, i64)>, StoreError> {
    let board_id = repository::board_id(connection, board)?;
    let after = number(wanted.after);
    let mut query = changes::table
        .filter(
            changes::board_id
                .eq(board_id.0)
                .and(changes::revision.le(REVISION_MAX)),
        )
        .into_boxed();
    query = match wanted.after_id {
        // What came before in the same revision was read already.
        Some(after_id) => query.filter(
            changes::revision
                .gt(after)
                .or(changes::revision.eq(after).and(changes::id.gt(after_id))),
        ),
        None => query.filter(changes::revision.gt(after)),
    };
    let rows: Vec<StoredLogRow> = query
        .order((changes::revision, changes::id))
        .limit(limit_of_page(wanted.limit))
        .select(log_columns(connection))
        .load(connection)?;
    let rows = rows.into_iter().map(placed).collect::<Result<_, _>>()?;
    Ok(RowPage::read(
        rows,
        wanted.limit,
        |row| (row.revision, row.id),
        Some,
    ))
}

/// Returns the row, or an error if its revision is out of range.
fn placed(row: StoredLogRow) -> Result<LogRow, StoreError> {
    row.into_log_row()
        .ok_or_else(|| StoreError::Internal("a row of the log has no valid revision".to_owned()))
}

/// Reads everything committed after what is `known`, as [`rows_since`] does; only which boards
/// changed if that is more than `changes_max`. Returns `None` if this is another history.
pub(crate) fn since(
    connection: &mut AnyConnection,
    known: &LogPosition,
    changes_max: usize,
) -> Result<Option<ChangeBatch>, StoreError> {
    let Some(rows) = rows_since(connection, known, changes_max.saturating_add(1))? else {
        return Ok(None);
    };
    if rows.len() > changes_max {
        return boards_since(connection, known.revision()).map(Some);
    }
    let last = rows.last().map(|(row, _)| row.clone());
    let changes = rows
        .into_iter()
        .map(|(row, now)| now.into_change(&row))
        .collect();
    Ok(Some(ChangeBatch::Changes { changes, last }))
}

/// Reads the rows after what is `known`, at most `rows_max`, in one statement: one moment for the
/// log, the topics that it speaks of, and what says that it is the log that was read before. It
/// begins with the last row that was read. Returns `None` if that is not there any more, or
/// anything else says that this is another history.
pub(crate) fn rows_since(
    connection: &mut AnyConnection,
    known: &LogPosition,
    rows_max: usize,
) -> Result<Option<Vec<(LogRow, ChangedRow)>>, StoreError> {
    let header = history::header(connection);
    let columns = log_columns(connection);
    let rows: Vec<(Option<LossyText>, Option<i64>, StoredLogRow, ChangedRow)> = changes::table
        .left_join(boards::table.on(boards::id.eq(changes::board_id)))
        .left_join(
            topics::table.on(topics::id
                .nullable()
                .eq(changes::topic_id)
                .and(topics::board_id.eq(changes::board_id))
                .and(topics::archived.eq(false))),
        )
        .filter(AtOrAfter::last_of(known).and(changes::revision.le(REVISION_MAX)))
        .order((changes::revision, changes::id))
        .limit(row_limit(rows_max) + 1)
        .select((header.0, header.1, columns, changed_columns()))
        .load(connection)?;
    let Some((epoch, counter, ..)) = rows.first() else {
        // An empty log says nothing of its database.
        let is_same = known.last.is_none()
            && identity::get(connection, identity::EPOCH)?.as_deref() == Some(known.epoch.as_str());
        return Ok(is_same.then(Vec::new));
    };
    let (epoch, counter) = (epoch.clone(), *counter);
    let mut rows = rows
        .into_iter()
        .map(|(.., row, now)| Ok((placed(row)?, now)))
        .collect::<Result<Vec<_>, StoreError>>()?;
    if !history::holds(
        known,
        epoch.as_ref().map(|epoch| epoch.0.as_str()),
        counter,
        rows.first().map(|(row, _)| row),
        rows.last().map_or(0, |(row, _)| number(row.revision)),
    ) {
        return Ok(None);
    }
    if known.last.is_some() {
        rows.remove(0);
    }
    Ok(Some(rows))
}

/// Reads which boards changed after a revision, however far back the log reaches.
pub(crate) fn boards_since(
    connection: &mut AnyConnection,
    after: Revision,
) -> Result<ChangeBatch, StoreError> {
    // Before the boards: what comes later is left for the next time, and may be seen twice.
    let last = history::newest(connection)?;
    let rows: Vec<(i64, Option<i64>)> = changes::table
        .filter(
            changes::revision
                .gt(number(after))
                .and(changes::revision.le(REVISION_MAX))
                .and(sql::<Bool>(NOT_ARCHIVE))
                .and(changes::board_id.ne(0)),
        )
        .group_by(changes::board_id)
        .select((changes::board_id, max(changes::revision)))
        .load(connection)?;
    let ids: Vec<_> = rows.iter().map(|(id, _)| BoardId(*id)).collect();
    // A database takes a limited number of values in one statement.
    let now = ids
        .chunks(10_000)
        .map(|ids| repository::board_infos(connection, ids))
        .collect::<Result<Vec<_>, _>>()?;
    let touched = now.concat().into_iter().zip(rows);
    let touched = touched.map(|((id, info), (_, at))| {
        Ok(ChangedBoard {
            id,
            info,
            revision: revision(at.unwrap_or(0))?,
        })
    });
    Ok(ChangeBatch::Boards {
        last,
        boards: touched.collect::<Result<_, StoreError>>()?,
    })
}

/// Reads the newest committed revision.
pub(crate) fn head(connection: &mut AnyConnection) -> Result<Revision, StoreError> {
    let newest: Option<i64> = changes::table
        .filter(changes::revision.between(0, REVISION_MAX))
        .select(max(changes::revision))
        .first(connection)?;
    newest.map_or(Ok(Revision::ZERO), revision)
}
