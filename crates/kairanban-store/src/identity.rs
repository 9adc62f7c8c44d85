//! Reads and compares the identity of the database.
//!
//! A cursor means something only in the history that it came from. When a backup is restored, a
//! standby promoted or a file copied over, revisions may be used a second time, so the epoch
//! changes: whenever the mark that is stored differs from the mark that is found, or the last
//! change that was read is not there any more ([`settle`](crate::history::settle)).

use std::{fs, path::Path, time::UNIX_EPOCH};

use diesel::{prelude::*, sql_query, sql_types::Text};
use kairanban_core::Epoch;

use crate::{
    DatabaseAddress, StoreError,
    connection::AnyConnection,
    lenient::LossyText,
    schema::identity::dsl::{identity, key, value},
    sql::Number,
};

pub(crate) const EPOCH: &str = "epoch";
pub(crate) const MARK: &str = "mark";
const ANCESTORS: &str = "ancestors";
/// Epochs before the present one that are remembered.
const ANCESTORS_MAX: usize = 32;

#[derive(QueryableByName)]
struct Mark {
    #[diesel(sql_type = Text)]
    mark: String,
}

/// Begins a new epoch: every earlier cursor is void. Those who know one of the epochs before, as
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

pub(crate) fn stored_epoch(connection: &mut AnyConnection) -> QueryResult<Option<Epoch>> {
    Ok(get(connection, EPOCH)?.and_then(|epoch| epoch.parse().ok()))
}

pub(crate) fn ancestors(connection: &mut AnyConnection) -> QueryResult<Vec<Epoch>> {
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

/// Deletes a value, and returns what it was.
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

/// Reads what distinguishes this database from others: on Postgres the cluster, the database in it,
/// the timeline, and the table of topics, which a restore makes again; on SQLite the file.
pub(crate) fn found_mark(
    connection: &mut AnyConnection,
    address: &DatabaseAddress,
) -> Result<String, StoreError> {
    const CLUSTER: &str = "SELECT concat_ws('/', (SELECT system_identifier \
        FROM pg_control_system()), oid, \
        (SELECT timeline_id FROM pg_control_checkpoint()), coalesce(to_regclass('topics')::oid, \
        0)) AS mark \
        FROM pg_database WHERE datname = current_database()";
    const DATABASE: &str = "SELECT concat_ws('/', oid, coalesce(to_regclass('topics')::oid, \
        0)) AS mark \
        FROM pg_database WHERE datname = current_database()";
    const MAY: &str = "SELECT CASE WHEN has_function_privilege('pg_control_system()', 'EXECUTE') \
        AND has_function_privilege('pg_control_checkpoint()', 'EXECUTE') THEN 1 \
        ELSE 0 END::bigint AS number";
    match address {
        DatabaseAddress::Postgres(_) => {
            // Some hosts keep the control functions from ordinary roles; the database's own key
            // must do there. It is asked and not tried: a transaction that failed reads no more.
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

/// Returns the mark with all that either of two says, if they agree in all that both say: then they
/// are of one database, of which some roles can read more than others.
pub(crate) fn united(one: &str, other: &str) -> Option<String> {
    let mut all = Vec::new();
    for pair in parts(one)?.into_iter().zip(parts(other)?) {
        match pair {
            (Some(one), Some(other)) if one != other => return None,
            (one, other) => all.extend(one.or(other)),
        }
    }
    Some(all.join("/"))
}

/// Splits a mark of Postgres into cluster, database, timeline and table, as far as it has them; one
/// that an older version wrote has no table. Of a file both parts are always there.
fn parts(mark: &str) -> Option<[Option<&str>; 4]> {
    let all: Vec<_> = mark.split('/').collect();
    match all[..] {
        [database] => Some([None, Some(database), None, None]),
        [database, table] => Some([None, Some(database), None, Some(table)]),
        [cluster, database, timeline] => {
            Some([Some(cluster), Some(database), Some(timeline), None])
        }
        [cluster, database, timeline, table] => {
            Some([cluster, database, timeline, table].map(Some))
        }
        _ => None,
    }
}

/// Identifies a file by its number and its time of creation, where the system has them: not by its
/// name, which a restored file has too, nor by its device, whose number may change with each boot.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_of_one_database_if_they_agree_in_what_both_know() {
        let full = "7/16384/1/16400";
        for lesser in [full, "16384/16400", "7/16384/1", "16384"] {
            assert_eq!(united(full, lesser).as_deref(), Some(full), "{lesser}");
            assert_eq!(united(lesser, full).as_deref(), Some(full), "{lesser}");
        }
        assert_eq!(united("7/16384/1", "16384/16400").as_deref(), Some(full));
        for other in [
            "8/16384/1/16400",
            "7/16385/1/16400",
            "7/16384/2/16400",
            "7/16384/1/16401",
            "16384/16401",
            "16385/16400",
            "7/16384/2",
            "16385",
            "",
            "7/16384/1/16400/9",
        ] {
            assert_eq!(united(full, other), None, "{other}");
        }
        // The number and the birth of a file.
        assert_eq!(united("12/345", "12/345").as_deref(), Some("12/345"));
        assert_eq!(united("12/345", "12/346"), None);
        assert_eq!(united("12/345", "13/345"), None);
    }
}
