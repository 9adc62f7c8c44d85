//! What a database has to be before it is used. Only looks: nothing is made, set or migrated.

use diesel::{ConnectionError, prelude::*, sql_query, sql_types::Text};
use kairanban_core::BoardName;
use thiserror::Error;

use crate::{
    DatabaseAddress, StoreError, Timeouts, connection::AnyConnection, migrate, repository, rights,
};

/// Why the database cannot be used.
#[derive(Clone, Debug, Error)]
pub enum StartError {
    /// It may be up in a while.
    #[error("{text}")]
    NotYet {
        /// How it is now, in a few words that stay the same from one try to the next.
        state: &'static str,
        /// What the try ended with.
        text: String,
    },
    /// Waiting does not help.
    #[error("{0}")]
    Final(String),
}

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct Check {
    /// Migrations that are missing, by name. If there are any, the rights on tables were not looked at.
    pub pending: Vec<String>,
    /// Whether the default board is there.
    pub has_board: bool,
    /// What the owner of the database should know.
    pub warnings: Vec<String>,
}

impl Check {
    /// Whether there is something for `kairanban migrate` to do.
    #[must_use]
    pub const fn is_current(&self) -> bool {
        self.pending.is_empty() && self.has_board
    }
}

/// Looks whether the database can be used: that it is there, its encoding, its schema, and, on Postgres, the rights of the
/// role; if it `migrates`, also those for that.
///
/// # Errors
/// If it cannot be used, or not yet.
pub fn check(
    address: &DatabaseAddress,
    timeouts: Timeouts,
    default_board: &BoardName,
    migrates: bool,
) -> Result<Check, StartError> {
    if let DatabaseAddress::Sqlite(path) = address
        && !path.exists()
    {
        return Ok(Check {
            pending: migrate::all_names(address),
            ..Check::default()
        });
    }
    let mut connection =
        AnyConnection::connect(address, timeouts).map_err(|error| of_connecting(&error))?;
    // A transaction pooler may stand between.
    connection.prepare_nothing();
    check_encoding(&mut connection, address)?;
    let mut warnings = Vec::new();
    if matches!(address, DatabaseAddress::Postgres(_)) {
        check_schema(&mut connection)?;
        if let Some(statement) = rights::open_schema(&mut connection)? {
            warnings.push(format!(
                "every role may make functions in the schema of the boards, and so get the rights of their owner: {statement}"
            ));
        }
        if !rights::open_functions(&mut connection, "true")?.is_empty() {
            warnings.push("every role may execute functions of the boards: run `kairanban migrate` as their owner".to_owned());
        }
    }
    let lacks = match address {
        DatabaseAddress::Postgres(_) => rights::missing(&mut connection)?,
        DatabaseAddress::Sqlite(_) => Vec::new(),
    };
    // Without this one nothing can be said of the schema.
    let blind: Vec<_> = lacks
        .iter()
        .filter(|statement| statement.contains(migrate::TABLE))
        .cloned()
        .collect();
    refuse_missing(
        "the role lacks rights",
        if blind.is_empty() {
            blind
        } else {
            lacks.clone()
        },
    )?;
    let pending = migrate::pending_names(&mut connection)?;
    if !pending.is_empty() {
        if migrates {
            check_may_migrate(&mut connection, address)?;
        }
        return Ok(Check {
            pending,
            has_board: false,
            warnings,
        });
    }
    refuse_missing("the role lacks rights", lacks)?;
    let has_board = match repository::board_id(&mut connection, default_board) {
        Err(StoreError::NoSuchBoard(_)) => false,
        found => found.map(|_| true)?,
    };
    Ok(Check {
        pending,
        has_board,
        warnings,
    })
}

#[derive(QueryableByName)]
struct Encoding {
    #[diesel(sql_type = Text)]
    encoding: String,
}

/// Anything but UTF-8 either fails on the first emoji or, like `SQL_ASCII`, takes rows that nobody can read.
fn check_encoding(
    connection: &mut AnyConnection,
    address: &DatabaseAddress,
) -> Result<(), StartError> {
    let (query, wanted, help) = match address {
        DatabaseAddress::Postgres(_) => (
            "SELECT current_setting('server_encoding') AS encoding",
            "UTF8",
            "make one by CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0, and copy what is in this one by pg_dump",
        ),
        DatabaseAddress::Sqlite(_) => (
            "SELECT encoding FROM pragma_encoding",
            "UTF-8",
            "copy it into a new file by `sqlite3 old.db .dump | sed 's/PRAGMA encoding.*//' | sqlite3 new.db`",
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

fn check_schema(connection: &mut AnyConnection) -> Result<(), StartError> {
    refuse_missing(
        "the role may not use the schema",
        rights::missing_on_schema(connection, false)?,
    )?;
    let schema: Encoding = sql_query("SELECT coalesce(current_schema()::text, '') AS encoding")
        .get_result(connection)
        .map_err(StoreError::from)?;
    if schema.encoding.is_empty() {
        let text = "none of the schemas in search_path is there: CREATE SCHEMA, or another search_path for the role";
        return Err(StartError::Final(text.to_owned()));
    }
    Ok(())
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

/// What the server refuses for good, in the words of Postgres and PgBouncer. A server that speaks another language is waited
/// for, and its words are shown at the end.
const REFUSALS: &[&str] = &[
    "authentication failed",
    "no password supplied",
    "no pg_hba.conf entry",
    "is not permitted to log in",
    "permission denied for database",
    "is not currently accepting connections",
    "no such database",
    "no such user",
    "certificate verify failed",
    "root certificate file",
    "does not support SSL",
    "invalid",
];

/// What passes, and what to call it.
const STATES: &[(&str, &str)] = &[
    ("starting up", "it is starting"),
    ("not yet accepting", "it is starting"),
    ("shutting down", "it is shutting down"),
    ("in recovery", "it is recovering"),
    ("refused", "it refuses connections"),
    (
        "could not translate host name",
        "its host name is not known",
    ),
    ("timeout", "it does not answer"),
    ("too many", "it has no connection left"),
    ("remaining connection slots", "it has no connection left"),
    ("No such file", "its socket is not there"),
];

fn of_connecting(error: &ConnectionError) -> StartError {
    let text = error.to_string();
    let is_missing = text.contains("does not exist")
        && (text.contains("database \"") || text.contains("role \""));
    if is_missing
        || REFUSALS.iter().any(|words| text.contains(words))
        || matches!(error, ConnectionError::InvalidConnectionUrl(_))
    {
        return StartError::Final(text.trim_end().to_owned());
    }
    not_yet(text)
}

fn not_yet(text: String) -> StartError {
    let state = STATES
        .iter()
        .find(|(words, _)| text.contains(words))
        .map_or("it cannot be reached", |(_, state)| state);
    StartError::NotYet {
        state,
        text: text.trim_end().to_owned(),
    }
}

impl From<StoreError> for StartError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(text) | StoreError::Disconnected(text) => not_yet(text),
            other => Self::Final(other.to_string()),
        }
    }
}
