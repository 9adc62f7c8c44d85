//! Bringing a database to this version's schema.

use std::{fs, path::Path};

use diesel::{migration::MigrationVersion, prelude::*, sql_query};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};
use kairanban_core::BoardName;

use crate::{DatabaseAddress, StoreError, Timeouts, connection::AnyConnection, identity, repository};

const POSTGRES: EmbeddedMigrations = embed_migrations!("../../migrations/postgres");
const SQLITE: EmbeddedMigrations = embed_migrations!("../../migrations/sqlite");

/// Runs the migrations that are missing, under a lock, so that nodes which start together migrate
/// once; makes sure that the default board is there. Gives the names of the migrations that ran.
///
/// Through a transaction pooler nothing is migrated: it would lose the lock.
///
/// # Errors
/// If the database cannot be reached, or a step fails.
pub fn migrate(
    address: &DatabaseAddress,
    timeouts: Timeouts,
    default_board: &BoardName,
    new_epoch: bool,
) -> Result<Vec<String>, StoreError> {
    if let DatabaseAddress::Sqlite(path) = address {
        make_folder(path)?;
    }
    let mut connection = AnyConnection::open(address, timeouts)?;
    if AnyConnection::is_pooled(address, timeouts)? {
        connection.prepare_nothing();
        return connection.transaction(|connection| check(connection, default_board, new_epoch));
    }
    connection.lift_timeouts()?;
    lock(&mut connection)?;
    let ran = match &mut connection {
        AnyConnection::Postgres(connection) => connection.run_pending_migrations(POSTGRES).map(names),
        AnyConnection::Sqlite(connection) => connection.run_pending_migrations(SQLITE).map(names),
    }
    .map_err(|error| StoreError::Internal(format!("a migration failed: {error}")))?;
    connection.write("", None, |connection| repository::ensure_board(connection, default_board), |_, made| Ok(made))?;
    if new_epoch {
        identity::renew(&mut connection)?;
    }
    // The session ends here, and the lock with it.
    Ok(ran)
}

/// Makes sure that there is nothing to do.
fn check(connection: &mut AnyConnection, default_board: &BoardName, new_epoch: bool) -> Result<Vec<String>, StoreError> {
    let AnyConnection::Postgres(postgres) = &mut *connection else { return Ok(Vec::new()) };
    let pending = postgres.has_pending_migration(POSTGRES).map_err(|error| StoreError::Internal(error.to_string()))?;
    if pending || new_epoch || repository::board_id(connection, default_board).is_err() {
        return Err(StoreError::Internal(
            "it has to be migrated, and a transaction pooler stands before it: point database.listen_url at Postgres itself"
                .to_owned(),
        ));
    }
    Ok(Vec::new())
}

fn names(versions: Vec<MigrationVersion<'_>>) -> Vec<String> {
    versions.iter().map(ToString::to_string).collect()
}

/// SQLite's migrations need no lock: each runs in a transaction, and there is one writer at a time.
fn lock(connection: &mut AnyConnection) -> Result<(), StoreError> {
    if let AnyConnection::Postgres(connection) = connection {
        // The key is this program's name in hash; any constant that nobody else uses would do.
        sql_query("SELECT pg_advisory_lock(hashtextextended('kairanban migrate ' || current_schema(), 0))")
            .execute(connection)?;
    }
    Ok(())
}

fn make_folder(file: &Path) -> Result<(), StoreError> {
    let Some(folder) = file.parent().filter(|folder| !folder.as_os_str().is_empty()) else { return Ok(()) };
    fs::create_dir_all(folder)
        .map_err(|error| StoreError::Internal(format!("cannot make the folder {}: {error}", folder.display())))
}
