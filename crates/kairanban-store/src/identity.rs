//! Which incarnation of which database this is.
//!
//! A cursor means something only in the history that it came from. When a backup is restored, a
//! standby promoted or a file copied over, revisions may be given a second time, so the epoch
//! changes: whenever the mark that is stored differs from the mark that is found, or the last change
//! that somebody read is not there any more ([`judge`]).

use std::{fs, path::Path, time::UNIX_EPOCH};

use diesel::{prelude::*, sql_query, sql_types::Text};
use kairanban_core::{Epoch, Found, LogPosition, LogRow, Verdict, Witness, judge};

use crate::{
    DatabaseAddress, StoreError,
    connection::AnyConnection,
    history,
    lenient::LossyText,
    rows::{Fixed, Number},
    schema::identity::dsl::{identity, key, value},
};

pub(crate) const EPOCH: &str = "epoch";
const MARK: &str = "mark";
const ANCESTORS: &str = "ancestors";
/// Epochs before the present one that are remembered.
const ANCESTORS_MAX: usize = 32;

#[derive(QueryableByName)]
struct Mark {
    #[diesel(sql_type = Text)]
    mark: String,
}

/// Finds out what the database is to one who has read from it up to `known`, and begins a new epoch if it was
/// restored. One node at a time: the next finds what this one drew. Gives the newest place in its log.
pub(crate) fn settle(
    connection: &mut AnyConnection,
    address: &DatabaseAddress,
    known: Option<&LogPosition>,
) -> Result<(LogPosition, Verdict), StoreError> {
    connection.transaction(|connection| {
        connection.lock_identity()?;
        // Not before: a restore that made the tables again may have held the lock.
        let seen = look(connection, address, known)?;
        if seen.stored_mark.as_deref() != Some(&*seen.mark) {
            put(connection, MARK, &seen.mark)?;
        }
        let epoch = match seen.epoch {
            Some(epoch) if !matches!(seen.verdict, Verdict::Draw(_)) => epoch,
            _ => {
                history::repair_counter(connection, seen.last.as_ref())?;
                renew(connection, known.map(|known| &known.epoch))?
            }
        };
        Ok((
            LogPosition {
                epoch,
                mark: seen.mark,
                last: seen.last,
            },
            seen.verdict,
        ))
    })
}

/// The same on SQLite if there is nothing to write, so that it waits for no program that writes; `None` otherwise. One
/// transaction reads one moment there.
pub(crate) fn settled(
    connection: &mut AnyConnection,
    address: &DatabaseAddress,
    known: Option<&LogPosition>,
) -> Result<Option<(LogPosition, Verdict)>, StoreError> {
    let Identity {
        epoch,
        stored_mark,
        mark,
        last,
        verdict,
    } = connection.transaction(|connection| look(connection, address, known))?;
    let is_written = stored_mark.as_deref() == Some(&*mark) && !matches!(verdict, Verdict::Draw(_));
    Ok(epoch
        .filter(|_| is_written)
        .map(|epoch| (LogPosition { epoch, mark, last }, verdict)))
}

/// What the database says of itself, and what that means.
struct Identity {
    epoch: Option<Epoch>,
    stored_mark: Option<String>,
    mark: String,
    last: Option<LogRow>,
    verdict: Verdict,
}

fn look(
    connection: &mut AnyConnection,
    address: &DatabaseAddress,
    known: Option<&LogPosition>,
) -> Result<Identity, StoreError> {
    let mark = found_mark(connection, address)?;
    // What a restore makes last: until then what is there is half of a database.
    let captured: Number = Fixed(connection.capture_triggers_sql()).get_result(connection)?;
    if captured.number.unwrap_or_default() == 0 {
        return Err(StoreError::Unavailable(
            "it is being restored: it has no triggers yet".to_owned(),
        ));
    }
    let (epoch, stored_mark) = (stored_epoch(connection)?, get(connection, MARK)?);
    let ancestors: Vec<Epoch> = ancestors(connection)?;
    let last = history::newest(connection)?;
    let witness = match known.and_then(|known| known.last.as_ref()) {
        Some(read) => history::witness(connection, read)?,
        None => Witness::Present,
    };
    let is_counter_behind = history::is_counter_behind(connection, last.as_ref())?;
    let found = Found {
        epoch: epoch.as_ref(),
        ancestors: &ancestors,
        stored_mark: stored_mark.as_deref(),
        mark: &mark,
        witness,
        is_counter_behind,
    };
    let verdict = judge(known, &found);
    Ok(Identity {
        epoch,
        stored_mark,
        mark,
        last,
        verdict,
    })
}

/// Begins a new epoch: every cursor given out before is void. Those who know one of the epochs before, as
/// `known` is, find that this one follows on it.
pub(crate) fn renew(
    connection: &mut AnyConnection,
    known: Option<&Epoch>,
) -> Result<Epoch, StoreError> {
    let mut before = ancestors(connection)?;
    before.extend(stored_epoch(connection)?);
    before.extend(known.cloned());
    before.dedup();
    let kept = before
        .iter()
        .skip(before.len().saturating_sub(ANCESTORS_MAX))
        .map(Epoch::as_str);
    put(connection, ANCESTORS, &kept.collect::<Vec<_>>().join(" "))?;
    let number = getrandom::u64().map_err(|error| StoreError::Internal(error.to_string()))?;
    let epoch = format!("{number:016x}");
    put(connection, EPOCH, &epoch)?;
    epoch
        .parse()
        .map_err(|_| StoreError::Internal("no epoch could be made".to_owned()))
}

fn stored_epoch(connection: &mut AnyConnection) -> QueryResult<Option<Epoch>> {
    Ok(get(connection, EPOCH)?.and_then(|epoch| epoch.parse().ok()))
}

fn ancestors(connection: &mut AnyConnection) -> QueryResult<Vec<Epoch>> {
    let text = get(connection, ANCESTORS)?.unwrap_or_default();
    Ok(text
        .split_whitespace()
        .filter_map(|epoch| epoch.parse().ok())
        .collect())
}

pub(crate) fn get(connection: &mut AnyConnection, wanted: &str) -> QueryResult<Option<String>> {
    let found: Option<LossyText> = identity
        .filter(key.eq(wanted))
        .select(value)
        .first(connection)
        .optional()?;
    Ok(found.map(|text| text.0))
}

/// What stands there, which then does no more.
pub(crate) fn take(connection: &mut AnyConnection, wanted: &str) -> QueryResult<Option<String>> {
    let found = get(connection, wanted)?;
    if found.is_some() {
        diesel::delete(identity.filter(key.eq(wanted))).execute(connection)?;
    }
    Ok(found)
}

pub(crate) fn put(connection: &mut AnyConnection, wanted: &str, text: &str) -> QueryResult<()> {
    let updated = diesel::update(identity.filter(key.eq(wanted)))
        .set(value.eq(text))
        .execute(connection)?;
    if updated == 0 {
        diesel::insert_into(identity)
            .values((key.eq(wanted), value.eq(text)))
            .execute(connection)?;
    }
    Ok(())
}

/// What this database can be told from another by: on Postgres the cluster, the database in it, the timeline, and the
/// table of topics, which a restore makes again; on SQLite the file.
fn found_mark(
    connection: &mut AnyConnection,
    address: &DatabaseAddress,
) -> Result<String, StoreError> {
    const CLUSTER: &str = "SELECT concat_ws('/', (SELECT system_identifier FROM pg_control_system()), oid, \
        (SELECT timeline_id FROM pg_control_checkpoint()), coalesce(to_regclass('topics')::oid, 0)) AS mark \
        FROM pg_database WHERE datname = current_database()";
    const DATABASE: &str = "SELECT concat_ws('/', oid, coalesce(to_regclass('topics')::oid, 0)) AS mark \
        FROM pg_database WHERE datname = current_database()";
    const MAY: &str = "SELECT CASE WHEN has_function_privilege('pg_control_system()', 'EXECUTE') \
        AND has_function_privilege('pg_control_checkpoint()', 'EXECUTE') THEN 1 ELSE 0 END::bigint AS number";
    match address {
        DatabaseAddress::Postgres(_) => {
            // Some hosts keep the control functions from ordinary roles; the database's own key must do there. It is asked and
            // not tried: after any other failure the lesser mark would look like another database.
            let may: Number = sql_query(MAY).get_result(connection)?;
            let found: Mark = sql_query(if may.number == Some(1) {
                CLUSTER
            } else {
                DATABASE
            })
            .get_result(connection)?;
            Ok(found.mark)
        }
        DatabaseAddress::Sqlite(path) => file_mark(path),
    }
}

/// The file by its number and its birth, where the system tells them: not by its name, which a
/// restored file has too, nor by its device, whose number may change with each boot.
pub(crate) fn file_mark(path: &Path) -> Result<String, StoreError> {
    let file = fs::metadata(path)
        .map_err(|error| StoreError::Unavailable(format!("{}: {error}", path.display())))?;
    let born = file
        .created()
        .ok()
        .and_then(|at| at.duration_since(UNIX_EPOCH).ok())
        .map_or(0, |at| at.as_nanos());
    Ok(format!("{}/{born}", file_number(&file)))
}

#[cfg(unix)]
fn file_number(file: &fs::Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::ino(file)
}

#[cfg(not(unix))]
const fn file_number(_: &fs::Metadata) -> u64 {
    0
}
