//! Which incarnation of which database this is.
//!
//! A cursor means something only in the history that it came from. When a backup is restored, a
//! standby promoted or a file copied over, revisions may be given a second time, so the epoch
//! changes: whenever the mark that is stored differs from the mark that is found.

use std::{fs, path::Path, time::UNIX_EPOCH};

use diesel::{prelude::*, sql_query, sql_types::Text};
use kairanban_core::Epoch;

use crate::{
    DatabaseAddress, StoreError,
    connection::AnyConnection,
    lenient::LossyText,
    schema::identity::dsl::{identity, key, value},
};

const EPOCH: &str = "epoch";
const MARK: &str = "mark";

#[derive(QueryableByName)]
struct Mark {
    #[diesel(sql_type = Text)]
    mark: String,
}

/// The epoch of this database; a new one if it is another database than the mark says.
pub(crate) fn epoch(connection: &mut AnyConnection, address: &DatabaseAddress) -> Result<Epoch, StoreError> {
    let mark = found_mark(connection, address)?;
    connection.transaction(|connection| {
        connection.lock_identity()?;
        let known = get(connection, MARK)?.is_some_and(|stored| stored == mark);
        let stored = get(connection, EPOCH)?.and_then(|epoch| epoch.parse().ok());
        if let Some(epoch) = stored.filter(|_| known) {
            return Ok(epoch);
        }
        put(connection, MARK, &mark)?;
        renew(connection)
    })
}

/// Begins a new epoch: every cursor given out before is void.
pub(crate) fn renew(connection: &mut AnyConnection) -> Result<Epoch, StoreError> {
    let number = getrandom::u64().map_err(|error| StoreError::Internal(error.to_string()))?;
    let epoch = format!("{number:016x}");
    put(connection, EPOCH, &epoch)?;
    epoch.parse().map_err(|_| StoreError::Internal("no epoch could be made".to_owned()))
}

pub(crate) fn get(connection: &mut AnyConnection, wanted: &str) -> QueryResult<Option<String>> {
    let found: Option<LossyText> = identity.filter(key.eq(wanted)).select(value).first(connection).optional()?;
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
    let updated = diesel::update(identity.filter(key.eq(wanted))).set(value.eq(text)).execute(connection)?;
    if updated == 0 {
        diesel::insert_into(identity).values((key.eq(wanted), value.eq(text))).execute(connection)?;
    }
    Ok(())
}

/// What this database can be told from another by: on Postgres the cluster, the database in it and
/// the timeline; on SQLite the file.
fn found_mark(connection: &mut AnyConnection, address: &DatabaseAddress) -> Result<String, StoreError> {
    const CLUSTER: &str = "SELECT (SELECT system_identifier FROM pg_control_system())::text || '/' || oid || '/' || \
        (SELECT timeline_id FROM pg_control_checkpoint()) AS mark FROM pg_database WHERE datname = current_database()";
    const DATABASE: &str = "SELECT oid::text AS mark FROM pg_database WHERE datname = current_database()";
    match address {
        DatabaseAddress::Postgres(_) => {
            // Some hosts keep the control functions from ordinary roles; the database's own key must do there.
            let found = sql_query(CLUSTER).get_result::<Mark>(connection);
            let found = found.or_else(|_| sql_query(DATABASE).get_result::<Mark>(connection))?;
            Ok(found.mark)
        }
        DatabaseAddress::Sqlite(path) => file_mark(path),
    }
}

/// The file by its number and its birth, where the system tells them: not by its name, which a
/// restored file has too, nor by its device, whose number may change with each boot.
fn file_mark(path: &Path) -> Result<String, StoreError> {
    let file = fs::metadata(path).map_err(|error| StoreError::Internal(format!("{}: {error}", path.display())))?;
    let born = file.created().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok()).map_or(0, |at| at.as_nanos());
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
