//! What a database has to be before it is used. Only reads: nothing is created, set or migrated.

mod damage;
mod names;

use diesel::{prelude::*, sql_query, sql_types::Text};
use kairanban_core::BoardName;

use crate::{
    DatabaseAddress, StartError, StoreError, Timeouts,
    connection::{AnyConnection, SettingLifetime, rights},
    files,
    migrate::{self, Comparison},
    repository,
    sqlite_files::soundness,
};
pub use damage::repair;
pub(crate) use damage::repair_sequences;

/// The result of [`check`].
#[derive(Clone, Debug, Default)]
pub struct Check {
    /// Migrations that are missing, by name. If there are any, the rights on tables were not
    /// checked.
    pub pending: Vec<String>,
    /// Whether the default board is there, and named as such in the database.
    pub has_board: bool,
    /// What is missing, disabled or another program's of what the migrations made, each with what
    /// helps if [`repair`] does not.
    pub damage: Vec<String>,
    /// What the owner of the database should know.
    pub warnings: Vec<String>,
}

impl Check {
    /// Returns whether `kairanban migrate` has nothing to do.
    #[must_use]
    pub const fn is_current(&self) -> bool {
        self.pending.is_empty() && self.has_board && self.damage.is_empty()
    }
}

/// Checks that the database can be used: that it is there, its encoding, its schema, and, on
/// Postgres, the rights of the role; if it `migrates`, also those for that.
///
/// # Errors
/// If it cannot be used, or not yet.
pub fn check(
    address: &DatabaseAddress,
    timeouts: Timeouts,
    default_board: &BoardName,
    migrates: bool,
) -> Result<Check, StartError> {
    if let DatabaseAddress::Sqlite(path) = address {
        files::check_writable(path)?;
    }
    if address.path().is_some_and(|path| !path.exists()) {
        return Ok(Check {
            pending: migrate::all_names(address),
            ..Check::default()
        });
    }
    let mut connection = AnyConnection::connect(address, timeouts)
        .map_err(|error| StartError::of_connecting(address, &error))?;
    // A transaction pooler may stand between.
    connection.prepare_nothing();
    if address.path().is_some() {
        return inspect(&mut connection, address, default_board, migrates);
    }
    let found = connection.transaction(|connection| {
        connection.bound_locks(timeouts.statement)?;
        inspect(connection, address, default_board, migrates)
    });
    found.map_err(|error: StartError| error.or_locked(&mut connection))
}

fn inspect(
    connection: &mut AnyConnection,
    address: &DatabaseAddress,
    default_board: &BoardName,
    migrates: bool,
) -> Result<Check, StartError> {
    check_encoding(connection, address)?;
    refuse_read_only(connection, address)?;
    let (mut warnings, lacks) = match address {
        DatabaseAddress::Postgres(_) => {
            check_schema(connection)?;
            connection.enter_own_schema(SettingLifetime::Transaction)?;
            refuse_missing(
                "row-level security hides rows from the role (BYPASSRLS for it helps, too)",
                rights::hidden(connection)?,
            )?;
            (open_to_all(connection)?, rights::missing(connection)?)
        }
        DatabaseAddress::Sqlite(_) => {
            soundness::check(connection)?;
            Default::default()
        }
    };
    if lacks
        .iter()
        .any(|statement| statement.contains(migrate::TABLE))
    {
        // Without this one nothing can be said of the schema.
        refuse_missing("the role lacks rights", lacks.clone())?;
    }
    names::check_table_of_migrations(connection, address)?;
    let Comparison { pending, is_ahead } = migrate::compare(connection)?;
    if !pending.is_empty() {
        names::check_free(connection, address, &pending)?;
        if migrates {
            check_may_migrate(connection, address)?;
        }
        return Ok(Check {
            pending,
            warnings,
            ..Check::default()
        });
    }
    refuse_missing("the role lacks rights", lacks)?;
    let (damage, warning) = find_damage(connection, address, is_ahead)?;
    warnings.extend(warning);
    Ok(Check {
        has_board: damage.is_empty() && has_board(connection, default_board)?,
        damage,
        warnings,
        pending,
    })
}

/// Returns what the schema lacks, and a warning of what it can do without.
fn find_damage(
    connection: &mut AnyConnection,
    address: &DatabaseAddress,
    is_ahead: bool,
) -> Result<(Vec<String>, Option<String>), StoreError> {
    // What a later version made otherwise is not for this one to judge.
    if is_ahead {
        return Ok(Default::default());
    }
    Ok(damage::sorted(damage::find(connection, address)?))
}

/// Returns whether the default board is there, and the row of `identity` that names one.
fn has_board(
    connection: &mut AnyConnection,
    default_board: &BoardName,
) -> Result<bool, StoreError> {
    match repository::board_id(connection, default_board) {
        Err(StoreError::NoSuchBoard(_)) => Ok(false),
        found => {
            found?;
            Ok(repository::stored_default_board(connection)?.is_some())
        }
    }
}

/// Refuses a Postgres whose connections are read-only. Of a SQLite file the system's rights decide.
fn refuse_read_only(
    connection: &mut AnyConnection,
    address: &DatabaseAddress,
) -> Result<(), StartError> {
    if address.path().is_some() {
        return Ok(());
    }
    match connection.read_only_reason().map_err(StoreError::from)? {
        Some(reason) => Err(StartError::Final(reason)),
        None => Ok(()),
    }
}

#[derive(QueryableByName)]
struct Encoding {
    #[diesel(sql_type = Text)]
    encoding: String,
}

/// Checks that the encoding is UTF-8. Any other either fails on the first emoji or, like
/// `SQL_ASCII`, takes rows that cannot be read.
fn check_encoding(
    connection: &mut AnyConnection,
    address: &DatabaseAddress,
) -> Result<(), StartError> {
    let (query, wanted, help) = match address {
        DatabaseAddress::Postgres(_) => (
            "SELECT current_setting('server_encoding') AS encoding",
            "UTF8",
            "make one by CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0, \
             and copy what is in this one by pg_dump",
        ),
        DatabaseAddress::Sqlite(_) => (
            "SELECT encoding FROM pragma_encoding",
            "UTF-8",
            "copy it into a new file by `sqlite3 old.db .dump | sed 's/PRAGMA encoding.*//' | \
             sqlite3 new.db`",
        ),
    };
    let found: Encoding = sql_query(query)
        .get_result(connection)
        .map_err(StoreError::from)?;
    if found.encoding == wanted {
        return Ok(());
    }
    Err(StartError::Final(format!(
        "its encoding is {}, and kairanban needs {wanted}: {help}",
        found.encoding
    )))
}

/// Warnings of what every role may do that should be the owner's alone.
fn open_to_all(connection: &mut AnyConnection) -> Result<Vec<String>, StartError> {
    let mut warnings = Vec::new();
    if let Some(statement) = rights::open_schema(connection)? {
        warnings.push(format!(
            "every role may make functions in the schema of the boards, and so get the rights of \
             their owner: {statement}"
        ));
    }
    if !rights::open_functions(connection, "true")?.is_empty() {
        warnings.push(
            "every role may execute functions of the boards: run `kairanban migrate` as their owner"
                .to_owned(),
        );
    }
    Ok(warnings)
}

fn check_schema(connection: &mut AnyConnection) -> Result<(), StartError> {
    refuse_missing(
        "the role may not use the schema",
        rights::missing_on_schema(connection, false)?,
    )?;
    if let Some(path) = rights::path_to_nowhere(connection)? {
        return Err(StartError::Final(format!(
            "none of the schemas in search_path is there ({path}): CREATE SCHEMA, or another \
             search_path for the role"
        )));
    }
    let shadowing = connection.shadowing_objects()?;
    if shadowing.is_empty() {
        return Ok(());
    }
    Err(StartError::Final(format!(
        "what stands in another schema comes before what is the boards': {shadowing}; put the schema \
         of the boards first in search_path"
    )))
}

fn check_may_migrate(
    connection: &mut AnyConnection,
    address: &DatabaseAddress,
) -> Result<(), StartError> {
    if matches!(address, DatabaseAddress::Sqlite(_)) {
        return Ok(());
    }
    let advice = "run `kairanban migrate` as another role and set database.migrate = false";
    refuse_missing(
        &format!("it has to be migrated, and the role may not make tables ({advice})"),
        rights::missing_on_schema(connection, true)?,
    )?;
    match rights::foreign_owner(connection)? {
        None => Ok(()),
        Some(owner) => Err(StartError::Final(format!(
            "it has to be migrated, and its tables belong to the role {owner}: {advice}"
        ))),
    }
}

fn refuse_missing(what: &str, statements: Vec<String>) -> Result<(), StartError> {
    if statements.is_empty() {
        return Ok(());
    }
    Err(StartError::Final(format!(
        "{what}. This would help:\n  {};",
        statements.join(";\n  ")
    )))
}
