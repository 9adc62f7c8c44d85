//! Whether the log is still the one that was read.

use diesel::{
    prelude::*,
    sql_query,
    sql_types::{BigInt, Nullable, Text},
};
use kairanban_core::{
    Epoch, FoundDatabase, LogPosition, LogRow, Revision, Verdict, Witness, judge,
};

use crate::{
    DatabaseAddress, StoreError,
    connection::AnyConnection,
    identity,
    rows::{StoredLogRow, log_columns},
    schema::changes,
    sql::{Fixed, Number, Piece, REVISION_MAX, number},
};

/// The key under which `identity` has how far the log was trimmed.
const TRIMMED_TO: &str = "trimmed_to";

/// Decides whether the database still holds the history that was read up to `known`, and begins a
/// new epoch if it does not. Returns the newest place in its log. Holds the identity lock, so that
/// the next node finds the epoch that this one drew.
pub(crate) fn settle(
    connection: &mut AnyConnection,
    address: &DatabaseAddress,
    known: Option<&LogPosition>,
) -> Result<(LogPosition, Verdict), StoreError> {
    connection.transaction(|connection| {
        connection.lock_identity()?;
        // Not before: a restore that made the tables again may have held the lock.
        let found = examine(connection, address, known)?;
        if found.stored_mark.as_deref() != Some(&*found.mark) {
            identity::put(connection, identity::MARK, &found.mark)?;
        }
        let epoch = match found.epoch {
            Some(epoch) if !matches!(found.verdict, Verdict::Draw(_)) => epoch,
            _ => {
                repair_counter(connection, found.last.as_ref())?;
                identity::renew(connection, known.map(|known| &known.epoch))?
            }
        };
        let position = LogPosition {
            epoch,
            mark: found.mark,
            last: found.last,
        };
        Ok((position, found.verdict))
    })
}

/// Decides on SQLite what [`settle`] decides, or returns `None` if there is something to write: so
/// it waits for no program that writes. One transaction reads one moment there.
pub(crate) fn settled(
    connection: &mut AnyConnection,
    address: &DatabaseAddress,
    known: Option<&LogPosition>,
) -> Result<Option<(LogPosition, Verdict)>, StoreError> {
    let HistoryFound {
        epoch,
        stored_mark,
        mark,
        last,
        verdict,
    } = connection.transaction(|connection| examine(connection, address, known))?;
    let is_written = stored_mark.as_deref() == Some(&*mark) && !matches!(verdict, Verdict::Draw(_));
    Ok(epoch
        .filter(|_| is_written)
        .map(|epoch| (LogPosition { epoch, mark, last }, verdict)))
}

/// Returns whether the database holds the history that was read up to `known`, also if that row was
/// trimmed since.
pub(crate) fn still_holds(
    connection: &mut AnyConnection,
    address: &DatabaseAddress,
    known: &LogPosition,
) -> Result<bool, StoreError> {
    let found = examine(connection, address, Some(known))?;
    Ok(matches!(found.verdict, Verdict::Same | Verdict::Trimmed))
}

/// What the database says of its history, and what that means.
struct HistoryFound {
    epoch: Option<Epoch>,
    stored_mark: Option<String>,
    mark: String,
    last: Option<LogRow>,
    verdict: Verdict,
}

fn examine(
    connection: &mut AnyConnection,
    address: &DatabaseAddress,
    known: Option<&LogPosition>,
) -> Result<HistoryFound, StoreError> {
    let found_mark = identity::found_mark(connection, address)?;
    // What a restore makes last: until then what is there is half of a database.
    let captured: Number = Fixed(connection.capture_triggers_sql()).get_result(connection)?;
    if captured.number.unwrap_or_default() == 0 {
        return Err(StoreError::Unavailable(
            "it is being restored: it has no triggers yet".to_owned(),
        ));
    }
    let epoch = identity::stored_epoch(connection)?;
    let stored_mark = identity::get(connection, identity::MARK)?;
    // Another role may have been able to read more of it.
    let of_this = stored_mark
        .as_deref()
        .and_then(|stored| identity::united(stored, &found_mark));
    let is_marked = of_this.is_some();
    let mark = of_this.unwrap_or(found_mark);
    let known = known.map(|known| as_marked(known, &mark));
    let ancestors: Vec<Epoch> = identity::ancestors(connection)?;
    let last = newest(connection)?;
    let witness = match known.as_ref().and_then(|known| known.last.as_ref()) {
        Some(read) => witness(connection, read)?,
        None => Witness::Present,
    };
    let is_counter_behind = is_counter_behind(connection, last.as_ref())?;
    let found = FoundDatabase {
        epoch: epoch.as_ref(),
        ancestors: &ancestors,
        stored_mark: if is_marked {
            Some(&mark)
        } else {
            stored_mark.as_deref()
        },
        mark: &mark,
        witness,
        is_counter_behind,
    };
    let verdict = judge(known.as_ref(), &found);
    Ok(HistoryFound {
        epoch,
        stored_mark,
        mark,
        last,
        verdict,
    })
}

/// Returns a position with this mark, if it is of the same database.
fn as_marked(known: &LogPosition, mark: &str) -> LogPosition {
    let is_same = identity::united(&known.mark, mark).is_some();
    LogPosition {
        mark: if is_same { mark } else { &known.mark }.to_owned(),
        ..known.clone()
    }
}

/// Reads the newest row of the log.
pub(crate) fn newest(connection: &mut AnyConnection) -> Result<Option<LogRow>, StoreError> {
    let columns = log_columns(connection);
    let row: Option<StoredLogRow> = changes::table
        .filter(changes::revision.between(1, REVISION_MAX))
        .order((changes::revision.desc(), changes::id.desc()))
        .select(columns)
        .first(connection)
        .optional()?;
    Ok(row.and_then(StoredLogRow::into_log_row))
}

/// Returns where a row is that was read before.
pub(crate) fn witness(
    connection: &mut AnyConnection,
    read: &LogRow,
) -> Result<Witness, StoreError> {
    let columns = log_columns(connection);
    let row: Option<StoredLogRow> = changes::table
        .filter(changes::id.eq(read.id))
        .select(columns)
        .first(connection)
        .optional()?;
    Ok(match row.map(StoredLogRow::into_log_row) {
        Some(Some(row)) if row == *read => Witness::Present,
        None if read.revision <= trimmed_to(connection)? => Witness::Trimmed,
        _ => Witness::Gone,
    })
}

/// Returns whether the counter would draw revisions that the log has.
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

/// Moves the counter past the newest revision in the log.
pub(crate) fn repair_counter(
    connection: &mut AnyConnection,
    newest: Option<&LogRow>,
) -> Result<(), StoreError> {
    if let Some(newest) = newest.filter(|_| is_counter_behind(connection, newest).unwrap_or(true)) {
        sql_query(connection.repair_counter_sql(number(newest.revision))).execute(connection)?;
    }
    Ok(())
}

/// What a reading of the log begins with: the last row that was read, with what it says of the
/// database.
pub(crate) type LogHeader = (Piece<Nullable<Text>>, Piece<Nullable<BigInt>>);

/// Selects the epoch and the counter, in whichever statement they are selected.
pub(crate) const fn header(connection: &AnyConnection) -> LogHeader {
    (
        Piece::new("(SELECT value FROM identity WHERE key = 'epoch')"),
        Piece::new(connection.counter_column_sql()),
    )
}

/// Returns whether a reading that began with these is of the history that was read before.
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

/// Reads the revision up to which the log may have been trimmed.
pub(crate) fn trimmed_to(connection: &mut AnyConnection) -> Result<Revision, StoreError> {
    let text = identity::get(connection, TRIMMED_TO)?;
    let known = text
        .and_then(|text| text.parse().ok())
        .and_then(Revision::new);
    Ok(known.unwrap_or(Revision::ZERO))
}

/// Notes that the log was trimmed up to a revision.
pub(crate) fn set_trimmed_to(connection: &mut AnyConnection, upto: i64) -> QueryResult<()> {
    identity::put(connection, TRIMMED_TO, &upto.to_string())
}
