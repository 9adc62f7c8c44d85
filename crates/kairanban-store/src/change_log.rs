//! The change log: what was committed after a revision, archiving, and forgetting the oldest.

use std::time::Duration;

use diesel::{
    dsl::{max, sql},
    prelude::*,
    sql_query,
    sql_types::{BigInt, Binary, Bool, Nullable},
};
use kairanban_core::{
    BoardId, BoardName, Change, Gap, LogEntry, LogPosition, LogRow, Revision, Standing, Tail,
    TopicId,
};

use crate::{
    StoreError,
    connection::AnyConnection,
    history, identity,
    lenient::{AnyNumber, LossyText},
    repository,
    rows::{
        AtOrAfter, ChangeRow, Fixed, Number, Piece, StampedRow, StandingColumns, TopicColumns,
        kind, number, revision, standing_columns, topic_columns,
    },
    schema::{boards, changes, topics},
};

/// The last revision there may be. A row past it has no place in the order, and is as if it were not there.
pub(crate) const LAST: i64 = (1 << 53) - 1;
const TRIMMED_TO: &str = "trimmed_to";
/// What changes what a board shows; as the index on `changes` has it.
const NOT_ARCHIVE: &str = "changes.kind <> 'archive'";

/// What the log holds after a revision.
#[derive(Debug)]
pub enum Stretch {
    /// All of it, in order.
    Changes {
        /// Each change with its topic as it stands now.
        changes: Vec<Change>,
        /// The last row; none if nothing is new.
        last: Option<LogRow>,
    },
    /// More than is worth following one by one: the boards that changed, and how far.
    Boards {
        /// The newest row.
        last: Option<LogRow>,
        /// Which boards.
        boards: Vec<BoardTouched>,
    },
}

/// A board that changed.
#[derive(Clone, Debug)]
pub struct BoardTouched {
    /// Its key.
    pub id: BoardId,
    /// How it stands now; `None` once it is gone, or if no address can hold its name.
    pub standing: Option<Standing>,
    /// Its newest change.
    pub revision: Revision,
}

/// A stretch of one board's log.
#[derive(Clone, Copy, Debug)]
pub struct LogPage {
    /// After this revision.
    pub after: Revision,
    /// And after this place, if part of a revision was read before.
    pub place: Option<i64>,
    /// So many rows at most.
    pub limit: usize,
}

/// Reads a stretch of one board's log, in order.
pub(crate) fn page(
    connection: &mut AnyConnection,
    board: &BoardName,
    wanted: LogPage,
) -> Result<Vec<LogEntry>, StoreError> {
    let board_id = repository::board_id(connection, board)?;
    let after = number(wanted.after);
    let mut query = changes::table
        .filter(
            changes::board_id
                .eq(board_id.0)
                .and(changes::revision.le(LAST)),
        )
        .into_boxed();
    query = match wanted.place {
        // What came before in the same revision was read already.
        Some(place) => query.filter(
            changes::revision
                .gt(after)
                .or(changes::revision.eq(after).and(changes::id.gt(place))),
        ),
        None => query.filter(changes::revision.gt(after)),
    };
    let limit = i64::try_from(wanted.limit).unwrap_or(i64::MAX);
    let columns = (
        changes::id,
        changes::revision,
        changes::kind,
        changes::topic_id,
    );
    let rows: Vec<(i64, i64, LossyText, Option<i64>)> = query
        .order((changes::revision, changes::id))
        .limit(limit)
        .select(columns)
        .load(connection)?;
    let entry = |(place, at, text, topic): (i64, i64, LossyText, Option<i64>)| {
        Ok(LogEntry {
            place,
            revision: revision(at)?,
            kind: kind(&text.0),
            topic_id: topic.map(TopicId),
        })
    };
    rows.into_iter().map(entry).collect()
}

/// The columns of a [`ChangeRow`].
pub(crate) type ChangeColumns = (
    changes::id,
    changes::revision,
    changes::kind,
    changes::board_id,
    StandingColumns,
    changes::topic_id,
    TopicColumns,
    Piece<Nullable<Binary>>,
);

pub(crate) fn columns(connection: &AnyConnection) -> ChangeColumns {
    let at = Piece::new(connection.log_time_sql());
    let (standing, topic) = (standing_columns(), topic_columns());
    (
        changes::id,
        changes::revision,
        changes::kind,
        changes::board_id,
        standing,
        changes::topic_id,
        topic,
        at,
    )
}

/// Reads everything committed after what is `known`, in one statement: one moment for the log, the topics that it speaks
/// of, and what says that it is the log that was read before. It begins with the last row that was read. Nothing if
/// that is not there any more, or anything else says that this is another history.
pub(crate) fn since(
    connection: &mut AnyConnection,
    known: &LogPosition,
    changes_max: usize,
) -> Result<Option<Stretch>, StoreError> {
    let limit = bound(changes_max.saturating_add(1)) + 1;
    let header = history::header(connection);
    let columns = columns(connection);
    let mut rows: Vec<(Option<LossyText>, Option<i64>, ChangeRow)> = changes::table
        .left_join(boards::table.on(boards::id.eq(changes::board_id)))
        .left_join(
            topics::table.on(topics::id
                .nullable()
                .eq(changes::topic_id)
                .and(topics::board_id.eq(changes::board_id))
                .and(topics::archived.eq(false))),
        )
        .filter(AtOrAfter::last_of(known).and(changes::revision.le(LAST)))
        .order((changes::revision, changes::id))
        .limit(limit)
        .select((header.0, header.1, columns))
        .load(connection)?;
    let Some((epoch, counter, first)) = rows.first() else {
        // An empty log says nothing of its database.
        let is_same = known.last.is_none()
            && identity::get(connection, identity::EPOCH)?.as_deref() == Some(known.epoch.as_str());
        return Ok(is_same.then_some(Stretch::Changes {
            changes: Vec::new(),
            last: None,
        }));
    };
    let newest = rows.last().map_or(0, |(.., row)| row.revision);
    if !history::holds(
        known,
        epoch.as_ref().map(|epoch| epoch.0.as_str()),
        *counter,
        Some(&first.log_row()?),
        newest,
    ) {
        return Ok(None);
    }
    if known.last.is_some() {
        rows.remove(0);
    }
    if rows.len() > changes_max {
        return boards_since(connection, known.revision()).map(Some);
    }
    let last = rows.last().map(|(.., row)| row.log_row()).transpose()?;
    let changes = rows
        .into_iter()
        .map(|(.., row)| row.into_change())
        .collect::<Result<_, _>>()?;
    Ok(Some(Stretch::Changes { changes, last }))
}

/// The boards that changed after a revision, however far back the log reaches.
pub(crate) fn boards_since(
    connection: &mut AnyConnection,
    after: Revision,
) -> Result<Stretch, StoreError> {
    // Before the boards: what comes later is left for the next time, and may be seen twice.
    let last = history::newest(connection)?;
    let rows: Vec<(i64, Option<i64>)> = changes::table
        .filter(
            changes::revision
                .gt(number(after))
                .and(changes::revision.le(LAST))
                .and(sql::<Bool>(NOT_ARCHIVE))
                .and(changes::board_id.ne(0)),
        )
        .group_by(changes::board_id)
        .select((changes::board_id, max(changes::revision)))
        .load(connection)?;
    let ids: Vec<_> = rows.iter().map(|(id, _)| BoardId(*id)).collect();
    // A database takes only so many values in one statement.
    let now = ids
        .chunks(10_000)
        .map(|ids| repository::standings(connection, ids))
        .collect::<Result<Vec<_>, _>>()?;
    let touched = now.concat().into_iter().zip(rows);
    let touched = touched.map(|((id, standing), (_, at))| {
        Ok(BoardTouched {
            id,
            standing,
            revision: revision(at.unwrap_or(0))?,
        })
    });
    Ok(Stretch::Boards {
        last,
        boards: touched.collect::<Result<_, StoreError>>()?,
    })
}

/// The newest revision that is committed.
pub(crate) fn head(connection: &mut AnyConnection) -> Result<Revision, StoreError> {
    let newest: Option<i64> = changes::table
        .filter(changes::revision.between(0, LAST))
        .select(max(changes::revision))
        .first(connection)?;
    newest.map_or(Ok(Revision::ZERO), revision)
}

/// What a reader needs to know of a board's history who comes back from somewhere in the gap: which topics
/// changed, and which a full board has pushed out. Looks through `rows_max` changes at most, and keeps the
/// `replay_max` topics that changed last.
///
/// A full list also changes by what it lets in again when something goes, and that leaves no trace: so the
/// history begins at the last time that topics went while there may have been more than were shown.
///
/// What was committed after `upto` is taken for a change at `upto`: telling such a reader of it once too
/// often does no harm.
pub(crate) fn history(
    connection: &mut AnyConnection,
    gap: &Gap,
    topics_max: usize,
    rows_max: usize,
    replay_max: usize,
) -> Result<Tail, StoreError> {
    // What was pushed out is not archived yet, or there is a change that says so, which is read later.
    let waiting = if gap.shown >= topics_max {
        below(connection, gap, replay_max)?
    } else {
        Vec::new()
    };
    if waiting.len() > replay_max || replay_max == 0 {
        return Ok(Tail::new(gap.upto, [], replay_max));
    }
    let spared = bound(topics_max.saturating_sub(gap.shown).max(1) - 1);
    // One pass: the rest is of as many rows as topics changed.
    let text = format!(
        "WITH touched AS MATERIALIZED (SELECT topic_id, max(revision) AS revision, count(*) AS changes, min(revision) AS oldest, \
         max(CASE WHEN kind = 'delete' THEN revision END) AS gone, \
         max(CASE WHEN kind NOT IN ('set', 'delete', 'archive', 'board', 'token') THEN revision END) AS cleared \
         FROM (SELECT id, revision, kind, topic_id FROM changes WHERE board_id = {board} AND revision > {after} AND revision <= {LAST} \
         ORDER BY revision DESC, id DESC LIMIT {rows_max}) AS stretch GROUP BY topic_id), \
         stretch AS (SELECT CAST(coalesce(sum(changes), 0) AS BIGINT) AS changes, min(oldest) AS oldest, max(cleared) AS cleared, \
         (SELECT gone FROM touched WHERE gone IS NOT NULL ORDER BY gone DESC LIMIT 1 OFFSET {spared}) AS gone FROM touched) \
         SELECT stretch.changes, stretch.oldest, stretch.cleared, stretch.gone, touched.topic_id, touched.revision \
         FROM stretch LEFT JOIN touched ON touched.topic_id IS NOT NULL ORDER BY touched.revision DESC LIMIT {limit}",
        board = gap.board_id.0,
        after = number(gap.after),
        rows_max = bound(rows_max),
        limit = bound(replay_max) + 1,
    );
    let rows: Vec<Touched> = sql_query(text).load(connection)?;
    // Everything is known from the last of these on.
    let cut = rows
        .first()
        .filter(|row| row.changes >= bound(rows_max))
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
        .max(number(gap.after));
    let touched = rows.iter().rev().filter_map(|row| {
        Some((
            row.revision.filter(|at| *at > known_from)?,
            TopicId(row.topic_id?),
        ))
    });
    let touched = touched
        .map(|(at, id)| Ok((revision(at)?.min(gap.upto), id)))
        .collect::<Result<Vec<_>, StoreError>>()?;
    let waiting = waiting.into_iter().map(|id| (gap.upto, TopicId(id)));
    // After the reading: what was forgotten meanwhile is not in it.
    let floor = revision(known_from)?
        .max(trimmed_to(connection)?)
        .min(gap.upto);
    Ok(Tail::new(
        floor,
        touched.into_iter().chain(waiting),
        replay_max,
    ))
}

/// A number of rows as the database takes it, with room for one more.
fn bound(rows: usize) -> i64 {
    i64::try_from(rows).unwrap_or(i64::MAX).min(i64::MAX - 1)
}

/// The newest topics that a full board no longer shows and that wait to be archived.
fn below(
    connection: &mut AnyConnection,
    gap: &Gap,
    replay_max: usize,
) -> Result<Vec<i64>, StoreError> {
    let first = gap.first.map_or(i64::MIN, |first| first.0);
    let limit = bound(replay_max) + 1;
    let waiting = topics::table.filter(
        topics::board_id
            .eq(gap.board_id.0)
            .and(topics::archived.eq(false))
            .and(topics::id.lt(first)),
    );
    Ok(waiting
        .order(topics::id.desc())
        .limit(limit)
        .select(topics::id)
        .load(connection)?)
}

/// A topic of a stretch of the log, and when it changed last; with what is known of the whole stretch.
#[derive(QueryableByName)]
struct Touched {
    #[diesel(sql_type = BigInt)]
    changes: i64,
    #[diesel(sql_type = Nullable<BigInt>)]
    oldest: Option<i64>,
    /// When everything went at once, or something happened that only a later version knows.
    #[diesel(sql_type = Nullable<BigInt>)]
    cleared: Option<i64>,
    /// When so many topics had still to go that the list may have been full.
    #[diesel(sql_type = Nullable<BigInt>)]
    gone: Option<i64>,
    #[diesel(sql_type = Nullable<BigInt>)]
    topic_id: Option<i64>,
    #[diesel(sql_type = Nullable<BigInt>)]
    revision: Option<i64>,
}

/// The revision up to which the log may have been forgotten.
pub(crate) fn trimmed_to(connection: &mut AnyConnection) -> Result<Revision, StoreError> {
    let text = identity::get(connection, TRIMMED_TO)?;
    let known = text
        .and_then(|text| text.parse().ok())
        .and_then(Revision::new);
    Ok(known.unwrap_or(Revision::ZERO))
}

/// Whether a board holds more than it shows.
pub(crate) fn is_overfull(
    connection: &mut AnyConnection,
    board: &BoardName,
    topics_max: usize,
) -> Result<bool, StoreError> {
    let board = repository::board_id(connection, board)?;
    let over: Option<i64> = topics::table
        .filter(topics::board_id.eq(board.0).and(topics::archived.eq(false)))
        .order(topics::id.desc())
        .offset(bound(topics_max))
        .select(topics::id)
        .first(connection)
        .optional()?;
    Ok(over.is_some())
}

/// Moves at most `batch` topics that a full board no longer shows out of its live list for good,
/// oldest first. Gives how many there were. Within a write.
pub(crate) fn archive(
    connection: &mut AnyConnection,
    board: &BoardName,
    topics_max: usize,
    batch: usize,
) -> Result<usize, StoreError> {
    let board = repository::board_id(connection, board)?;
    connection.begin_archiving()?;
    let skip_locked = connection.skip_locked_sql();
    let text = format!(
        "UPDATE topics SET archived = true WHERE id IN (SELECT id FROM topics WHERE board_id = {board} AND NOT archived \
         AND id <= (SELECT id FROM topics WHERE board_id = {board} AND NOT archived ORDER BY id DESC LIMIT 1 OFFSET {topics_max}) \
         ORDER BY id LIMIT {batch} {skip_locked})",
        board = board.0,
        topics_max = bound(topics_max),
        batch = bound(batch),
    );
    let moved = sql_query(text).execute(connection)?;
    connection.end_archiving()?;
    Ok(moved)
}

/// The newest revision that was committed that long ago or before, or zero.
pub(crate) fn head_before(
    connection: &mut AnyConnection,
    ago: Duration,
) -> Result<Revision, StoreError> {
    // Backwards from the newest: it costs what came since.
    let before = changes::table.filter(
        changes::at
            .le(connection.ago(ago))
            .and(changes::revision.between(1, LAST)),
    );
    let newest: Option<i64> = before
        .order((changes::revision.desc(), changes::id.desc()))
        .select(changes::revision)
        .first(connection)
        .optional()?;
    newest.map_or(Ok(Revision::ZERO), revision)
}

/// Forgets the oldest of the log but for each board's newest change, and the newest of all, by which those who have read
/// it know the log again, so that at most `changes_max`
/// rows stay and none from before `age_max` ago, and notes how far. Gives how many rows went.
pub(crate) fn prune(
    connection: &mut AnyConnection,
    changes_max: u64,
    age_max: Duration,
) -> Result<usize, StoreError> {
    let newest_to_go = format!(
        "SELECT revision AS number FROM changes WHERE revision <= {LAST} ORDER BY revision DESC LIMIT 1 OFFSET {changes_max}"
    );
    let over: Option<Number> = sql_query(newest_to_go).get_result(connection).optional()?;
    let old = number(head_before(connection, age_max)?);
    let upto = over.and_then(|row| row.number).unwrap_or(0).max(old);
    if upto == 0 || upto <= number(trimmed_to(connection)?) {
        return Ok(0);
    }
    connection.transaction(|connection| {
        identity::put(connection, TRIMMED_TO, &upto.to_string())?;
        let text = format!(
            "DELETE FROM changes WHERE revision <= {upto} AND (kind = 'archive' OR revision < \
             (SELECT max(later.revision) FROM changes AS later WHERE later.board_id = changes.board_id AND later.kind <> 'archive')) \
             AND revision < (SELECT max(revision) FROM changes)"
        );
        Ok(sql_query(text).execute(connection)?)
    })
}

/// What a transaction came to.
#[derive(Clone, Debug)]
pub(crate) struct Stamped {
    /// Its place in the order of commits.
    pub(crate) revision: Revision,
    /// Rows of the log.
    pub(crate) changes: usize,
    /// The last of them.
    pub(crate) last: Option<LogRow>,
    /// The row before all of them.
    pub(crate) before: Option<RowBefore>,
}

/// The row of the log before those of a commit: who has read the log up to there has read this one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowBefore {
    /// Its revision.
    pub revision: Revision,
    /// Its key.
    pub id: i64,
    /// When it was committed, as the database writes it.
    pub at: String,
}

impl RowBefore {
    /// Whether it is a row that was read.
    #[must_use]
    pub fn is(&self, read: &LogRow) -> bool {
        (self.revision, self.id, &self.at) == (read.revision, read.id, &read.at)
    }
}

/// What this transaction came to, after the stamp; `None` if nothing changed.
pub(crate) fn stamped(connection: &mut AnyConnection) -> Result<Option<Stamped>, StoreError> {
    let row: StampedRow = Fixed(connection.stamped_revision_sql()).get_result(connection)?;
    let changes = usize::try_from(row.changes).unwrap_or(usize::MAX);
    let Some(at) = row.number.and_then(|number| AnyNumber(number).revision()) else {
        return Ok(None);
    };
    Ok(Some(Stamped {
        revision: at,
        changes,
        before: row.before(),
        last: row.last(at),
    }))
}
