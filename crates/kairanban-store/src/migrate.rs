//! Bringing a database to this version's schema.

use std::time::Duration;

use diesel::{
    backend::Backend,
    connection::SimpleConnection as _,
    migration::{Migration, MigrationSource as _, MigrationVersion},
    pg::Pg,
    prelude::*,
    sql_query,
    sql_types::Text,
    sqlite::Sqlite,
};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};
use kairanban_core::BoardName;

use crate::{
    DatabaseAddress, StoreError, Timeouts,
    connection::{AnyConnection, SettingLifetime, rights},
    error::FaultKind,
    files, identity,
    needs::{Fires, POSTGRES_TRIGGERS, Trigger},
    repository,
    sql::Number,
    tx::WriteTx,
};

const POSTGRES: EmbeddedMigrations = embed_migrations!("../../migrations/postgres");
/// The key under which a migration notes the rows that it repaired.
const REPAIRED: &str = "mended";
const SQLITE: EmbeddedMigrations = embed_migrations!("../../migrations/sqlite");

/// How long a start waits for the tables to set their triggers right.
pub(crate) const LOCK_WAIT: Duration = Duration::from_secs(5);

/// Where diesel notes which migrations ran.
pub(crate) const TABLE: &str = "__diesel_schema_migrations";

/// Runs the migrations that are missing, under a lock, so that nodes which start together migrate
/// once; makes sure that the default board is there. Returns the names of the migrations that ran.
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
        files::make(path)?;
    }
    if AnyConnection::is_pooled(address, timeouts)? {
        let mut connection = AnyConnection::connect(address, timeouts)?;
        connection.prepare_nothing();
        return connection.transaction(|connection| check(connection, default_board, new_epoch));
    }
    let mut connection = open(address, timeouts)?;
    let is_current = is_current(&mut connection, default_board)?;
    connection.lift_timeouts()?;
    let ran = if is_current {
        Vec::new()
    } else {
        // Held until all is done.
        let _lock = lock(address, timeouts)?;
        bring_up(&mut connection, default_board)?
    };
    raise_ids(&mut connection)?;
    if let Err(error) = repair(&mut connection, LOCK_WAIT) {
        // Such rows are found by the reconcile meanwhile.
        tracing::warn!(%error, "rows that replication brings draw no revision; as the owner, run \
            `kairanban migrate`");
    }
    if let Some(rows) = identity::take(&mut connection, REPAIRED)? {
        tracing::warn!(rows, "repaired rows that the new constraints refuse");
    }
    if new_epoch {
        connection.transaction(|connection| {
            connection.lock_identity()?;
            identity::renew(connection, None)
        })?;
    }
    Ok(ran)
}

/// Opens a connection whose statements make things in the schema of the boards.
pub(crate) fn open(
    address: &DatabaseAddress,
    timeouts: Timeouts,
) -> Result<AnyConnection, StoreError> {
    let mut connection = AnyConnection::open(address, timeouts)?;
    connection.enter_own_schema(SettingLifetime::Connection)?;
    Ok(connection)
}

fn is_current(
    connection: &mut AnyConnection,
    default_board: &BoardName,
) -> Result<bool, StoreError> {
    Ok(pending_names(connection)?.is_empty()
        && repository::stored_default_board(connection)?.is_some()
        && repository::board_id(connection, default_board).is_ok())
}

fn bring_up(
    connection: &mut AnyConnection,
    default_board: &BoardName,
) -> Result<Vec<String>, StoreError> {
    // Even to find nothing to do, diesel asks for the right to make a table.
    let ran = if pending_names(connection)?.is_empty() {
        Vec::new()
    } else {
        run(connection)?
    };
    let mut tx = WriteTx::on_connection(connection)?;
    tx.run(|connection| repository::ensure_board(connection, default_board))?;
    tx.stamp()?;
    tx.commit()?;
    repository::name_default_board(connection, default_board)?;
    Ok(ran)
}

/// Makes sure that there is nothing to do.
fn check(
    connection: &mut AnyConnection,
    default_board: &BoardName,
    new_epoch: bool,
) -> Result<Vec<String>, StoreError> {
    if !pending_names(connection)?.is_empty()
        || new_epoch
        || repository::board_id(connection, default_board).is_err()
    {
        return Err(StoreError::Internal(
            "it has to be migrated, and a transaction pooler stands before it: point \
             database.listen_url at Postgres itself"
                .to_owned(),
        ));
    }
    Ok(Vec::new())
}

fn run(connection: &mut AnyConnection) -> Result<Vec<String>, StoreError> {
    let ran = match connection {
        AnyConnection::Postgres(connection) => {
            connection.run_pending_migrations(POSTGRES).map(names)
        }
        AnyConnection::Sqlite(connection) => connection.run_pending_migrations(SQLITE).map(names),
    };
    // Of its kind nothing but the text is known here.
    ran.map_err(|error| StoreError::fault(FaultKind::Other, format!("a migration failed: {error}")))
}

/// Returns a new database in memory, to compare a file with.
pub(crate) fn new_in_memory() -> Result<AnyConnection, StoreError> {
    let mut connection = AnyConnection::Sqlite(SqliteConnection::establish(":memory:")?);
    run(&mut connection)?;
    Ok(connection)
}

/// Returns the names of the migrations of this version.
pub(crate) fn all_names(address: &DatabaseAddress) -> Vec<String> {
    all(address).into_iter().map(|(name, _)| name).collect()
}

/// Returns the names of the migrations that the database lacks. Does not create the table that
/// diesel keeps them in.
pub(crate) fn pending_names(connection: &mut AnyConnection) -> Result<Vec<String>, StoreError> {
    Ok(compare(connection)?.pending)
}

/// How the migrations of a database compare with those of this version.
pub(crate) struct Comparison {
    /// The names of those that it lacks.
    pub(crate) pending: Vec<String>,
    /// Whether a later version has migrated it.
    pub(crate) is_ahead: bool,
}

pub(crate) fn compare(connection: &mut AnyConnection) -> Result<Comparison, StoreError> {
    let all = match connection {
        AnyConnection::Postgres(_) => all_of::<Pg>(&POSTGRES),
        AnyConnection::Sqlite(_) => all_of::<Sqlite>(&SQLITE),
    };
    let ran = noted(connection)?;
    let newest = all.iter().map(|(_, version)| version).max();
    let is_ahead = ran.iter().any(|ran| Some(&ran.version) > newest);
    let pending = all
        .into_iter()
        .filter(|(_, version)| !ran.iter().any(|ran| ran.version == *version))
        .map(|(name, _)| name)
        .collect();
    Ok(Comparison { pending, is_ahead })
}

/// Returns the migrations that the database says it has.
fn noted(connection: &mut AnyConnection) -> Result<Vec<NotedMigration>, StoreError> {
    let exists = match connection {
        AnyConnection::Postgres(_) => {
            "SELECT CASE WHEN to_regclass('__diesel_schema_migrations') IS NULL THEN 0 \
             ELSE 1 END::bigint AS number"
        }
        AnyConnection::Sqlite(_) => {
            "SELECT count(*) AS number FROM sqlite_schema \
             WHERE name = '__diesel_schema_migrations'"
        }
    };
    let exists: Number = sql_query(exists).get_result(connection)?;
    if exists.number == Some(0) {
        return Ok(Vec::new());
    }
    Ok(sql_query("SELECT version FROM __diesel_schema_migrations").load(connection)?)
}

#[derive(QueryableByName)]
struct NotedMigration {
    #[diesel(sql_type = Text)]
    version: String,
}

fn all(address: &DatabaseAddress) -> Vec<(String, String)> {
    match address {
        DatabaseAddress::Postgres(_) => all_of::<Pg>(&POSTGRES),
        DatabaseAddress::Sqlite(_) => all_of::<Sqlite>(&SQLITE),
    }
}

/// Returns the name and the version of each migration in the program.
fn all_of<DB: Backend>(embedded: &EmbeddedMigrations) -> Vec<(String, String)> {
    // They are in the program: reading them cannot fail.
    let all: Vec<Box<dyn Migration<DB>>> = embedded.migrations().unwrap_or_default();
    let mut named: Vec<_> = all
        .iter()
        .map(|one| (one.name().to_string(), one.name().version().to_string()))
        .collect();
    named.sort();
    named
}

fn names(versions: Vec<MigrationVersion<'_>>) -> Vec<String> {
    versions.iter().map(ToString::to_string).collect()
}

/// Keeps others from migrating until the connection that it returns ends. SQLite's migrations need
/// no lock: each runs in a transaction, and there is one writer at a time.
///
/// It is a lock on the table of migrations: an advisory lock could be held by any role that can log
/// in.
fn lock(
    address: &DatabaseAddress,
    timeouts: Timeouts,
) -> Result<Option<AnyConnection>, StoreError> {
    // As diesel has it.
    const MAKE: &str = "CREATE TABLE IF NOT EXISTS __diesel_schema_migrations \
        (version VARCHAR(50) PRIMARY KEY NOT NULL, \
        run_on TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP)";
    if matches!(address, DatabaseAddress::Sqlite(_)) {
        return Ok(None);
    }
    let mut lock_holder = open(address, timeouts)?;
    if let AnyConnection::Postgres(connection) = &mut lock_holder {
        connection.batch_execute(
            "SET statement_timeout = 0; SET lock_timeout = 0; SET \
                idle_in_transaction_session_timeout = 0",
        )?;
        // Two that make it at the same moment: one fails on a catalogue's unique index, and then it
        // is there.
        connection
            .batch_execute(MAKE)
            .or_else(|_| connection.batch_execute(MAKE))?;
        connection.batch_execute(
            "BEGIN; LOCK TABLE __diesel_schema_migrations IN SHARE UPDATE EXCLUSIVE MODE",
        )?;
    }
    Ok(Some(lock_holder))
}

/// Lets new topics of a SQLite file have ids behind all that an undo or an idempotency key still
/// refers to: a table that was made again counts from the rows that are left.
fn raise_ids(connection: &mut AnyConnection) -> Result<(), StoreError> {
    const GIVEN: &str = "SELECT max(id) AS id FROM (SELECT id FROM deleted_topics \
        UNION ALL SELECT topic_id FROM idempotency)";
    const COUNTED: &str = "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'topics'";
    if matches!(connection, AnyConnection::Postgres(_)) {
        return Ok(());
    }
    let is_low = format!("SELECT count(*) AS number FROM ({GIVEN}) WHERE id > ({COUNTED})");
    let is_low: Number = sql_query(is_low).get_result(connection)?;
    if is_low.number == Some(0) {
        return Ok(());
    }
    connection.transaction(|connection| {
        connection.batch_execute(&format!(
            "INSERT INTO sqlite_sequence (name, seq) SELECT 'topics', 0 WHERE NOT EXISTS \
             (SELECT 1 FROM sqlite_sequence WHERE name = 'topics'); \
             UPDATE sqlite_sequence SET seq = max(seq, ({GIVEN})) WHERE name = 'topics'"
        ))
    })?;
    tracing::warn!("new topics would have had the ids of deleted ones: they are behind them again");
    Ok(())
}

#[derive(QueryableByName)]
struct AlterStatement {
    #[diesel(sql_type = Text)]
    command: String,
}

/// Repairs what a restore may have lost on Postgres: how triggers fire, and that our functions are
/// not for PUBLIC. Waits for the tables at most for `lock_wait`.
pub(crate) fn repair(
    connection: &mut AnyConnection,
    lock_wait: Duration,
) -> Result<(), StoreError> {
    if matches!(connection, AnyConnection::Sqlite(_)) {
        return Ok(());
    }
    close_functions(connection)?;
    restore_triggers(connection, lock_wait)
}

/// Takes our functions from PUBLIC, which may execute those that `pg_restore --no-acl` makes. Those
/// of another owner are left.
fn close_functions(connection: &mut AnyConnection) -> Result<(), StoreError> {
    let open = rights::open_functions(connection, "pg_has_role(proowner, 'USAGE')")?;
    for statement in &open {
        sql_query(statement).execute(connection)?;
    }
    if !open.is_empty() {
        tracing::warn!(
            functions = open.len(),
            "functions could be executed by every role: they are revoked from PUBLIC"
        );
    }
    Ok(())
}

/// Makes each trigger fire on the connections that it is for: those of the replica role, or all.
/// `ENABLE TRIGGER ALL`, with which `pg_restore --disable-triggers` ends, undoes that. Triggers
/// that are off stay off.
fn restore_triggers(connection: &mut AnyConnection, lock_wait: Duration) -> Result<(), StoreError> {
    let wanted =
        POSTGRES_TRIGGERS
            .iter()
            .filter_map(|Trigger { name, table, fires }| match fires {
                Fires::Ordinary => None,
                Fires::Replica => Some(format!("('{table}', '{name}', 'REPLICA')")),
                Fires::Always => Some(format!("('{table}', '{name}', 'ALWAYS')")),
            });
    let wrong = format!(
        "SELECT format('ALTER TABLE %s ENABLE %s TRIGGER %I', tgrelid::regclass, mode, \
         name) AS command \
         FROM pg_trigger JOIN (VALUES {}) AS wanted (table_name, name, mode) \
         ON tgrelid = to_regclass(table_name) AND tgname = name WHERE tgenabled = 'O'",
        wanted.collect::<Vec<_>>().join(", ")
    );
    let wrong: Vec<AlterStatement> = sql_query(wrong).load(connection)?;
    if !wrong.is_empty() {
        connection.transaction(|connection| {
            wait_for_tables(connection, lock_wait)?;
            wrong.iter().try_for_each(|AlterStatement { command }| {
                sql_query(command).execute(connection).map(drop)
            })
        })?;
        tracing::warn!(
            triggers = wrong.len(),
            "triggers did not fire for rows that replication brings: they do again"
        );
    }
    Ok(())
}

/// Lets the statements of a transaction wait for tables of a Postgres at most for `lock_wait`.
pub(crate) fn wait_for_tables(
    connection: &mut AnyConnection,
    lock_wait: Duration,
) -> QueryResult<()> {
    match connection {
        AnyConnection::Postgres(connection) => connection.batch_execute(&format!(
            "SET LOCAL lock_timeout = '{}ms'",
            lock_wait.as_millis()
        )),
        AnyConnection::Sqlite(_) => Ok(()),
    }
}
