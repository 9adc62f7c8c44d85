//! Why a database cannot be used, and whether it may be usable in a while.

use diesel::{ConnectionError, result::Error as DieselError};
use thiserror::Error;

use crate::{DatabaseAddress, Fault, FaultKind, StoreError, Timeouts, connection::AnyConnection};

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

/// Lists what the server or libpq refuses for good, in the words of Postgres and PgBouncer, without
/// the names in quotes; and the next step, if it is not plain. A server that speaks another
/// language is waited for, and its words are shown at the end.
const REFUSALS: &[(&str, Option<&str>)] = &[
    (
        "database \"\" does not exist",
        Some(
            "create it as a role that may (CREATE DATABASE, or `createdb`), in the encoding UTF8, \
             or name another one in the URL",
        ),
    ),
    (
        "role \"\" does not exist",
        Some(
            "create it as a role that may (CREATE ROLE … LOGIN PASSWORD '…', or `createuser -P`), \
             or name another one in the URL",
        ),
    ),
    (
        "no such database",
        Some("add it to the section [databases] of PgBouncer, or name another one in the URL"),
    ),
    (
        "no such user",
        Some("add it to the auth_file of PgBouncer, or name another one in the URL"),
    ),
    ("authentication failed", None),
    ("no password supplied", None),
    ("no pg_hba.conf entry", None),
    ("is not permitted to log in", None),
    ("permission denied for database", None),
    ("is not currently accepting connections", None),
    ("certificate verify failed", None),
    ("root certificate file", None),
    ("does not support SSL", None),
    ("invalid", None),
];

/// Describes a database that may be usable in a while, by the words that it refuses with.
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
    ("lock", LOCKED_STATE),
];

/// What SQLite says of a file that others have locked.
const LOCKED_SQLITE: &str = "is locked";

const LOCKED_STATE: &str = "another program has locked it";

const ANOTHER_FILE: &str = "name another file, or restore a backup";

impl StartError {
    /// Decides whether it makes sense to try again after something failed on a database, in
    /// whatever language it said so.
    #[must_use]
    pub fn of_failure(address: &DatabaseAddress, timeouts: Timeouts, error: StoreError) -> Self {
        match Self::from(error) {
            Self::Final(text) if address.path().is_none() => {
                match AnyConnection::connect(address, timeouts) {
                    Ok(mut connection) => Self::Final(text).or_locked(&mut connection),
                    Err(error) => Self::of_connecting(address, &error),
                }
            }
            error => error,
        }
    }

    /// Returns the same error, or that others hold tables, if they do.
    pub(crate) fn or_locked(self, connection: &mut AnyConnection) -> Self {
        match self {
            Self::Final(text) if connection.has_locked_tables() => Self::locked(text),
            error => error,
        }
    }

    const fn locked(text: String) -> Self {
        Self::NotYet {
            state: LOCKED_STATE,
            text,
        }
    }

    /// Decides whether it makes sense to wait for a database that refuses the connection.
    pub(crate) fn of_connecting(address: &DatabaseAddress, error: &ConnectionError) -> Self {
        let text = error.to_string().trim_end().to_owned();
        if address.path().is_some() {
            return Self::Final(format!("it cannot be opened ({text}): {ANOTHER_FILE}"));
        }
        let bare = without_names(&text);
        match REFUSALS.iter().find(|(words, _)| bare.contains(words)) {
            Some((_, Some(step))) => Self::Final(format!("{text}: {step}")),
            Some((_, None)) => Self::Final(text),
            None if matches!(error, ConnectionError::InvalidConnectionUrl(_)) => Self::Final(text),
            None => not_yet(text),
        }
    }
}

/// Returns the text with nothing between quotes: a host, a role or a database may be called
/// `invalid`.
fn without_names(text: &str) -> String {
    let outside: Vec<_> = text.split('"').step_by(2).collect();
    outside.join("\"\"")
}

fn not_yet(text: String) -> StartError {
    let bare = without_names(&text);
    let state = STATES
        .iter()
        .find(|(words, _)| bare.contains(words))
        .map_or("it cannot be reached", |(_, state)| state);
    StartError::NotYet {
        state,
        text: text.trim_end().to_owned(),
    }
}

impl From<DieselError> for StartError {
    fn from(error: DieselError) -> Self {
        StoreError::from(error).into()
    }
}

impl From<StoreError> for StartError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Fault(Fault { kind, text })
                if kind.passes() || text.contains(LOCKED_SQLITE) =>
            {
                Self::locked(text)
            }
            StoreError::Fault(Fault {
                kind: FaultKind::Damaged,
                text,
            }) => Self::Final(format!(
                "it is not a SQLite database, or it is damaged ({text}): {ANOTHER_FILE}"
            )),
            StoreError::Unavailable(text) | StoreError::Disconnected(text) => not_yet(text),
            other => Self::Final(other.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> StartError {
        let address = "postgres://board@db.example/board"
            .parse()
            .expect("an address");
        StartError::of_connecting(&address, &ConnectionError::BadConnection(text.to_owned()))
    }

    #[test]
    fn a_name_decides_nothing() {
        let words = REFUSALS
            .iter()
            .map(|(words, _)| words)
            .chain(STATES.iter().map(|(words, _)| words));
        for name in words
            .map(|words| words.replace('"', ""))
            .chain(["nohost.invalid".to_owned()])
        {
            let unknown = format!(
                "could not translate host name \"{name}\" to address: Name or service not known"
            );
            assert!(
                matches!(
                    of(&unknown),
                    StartError::NotYet {
                        state: "its host name is not known",
                        ..
                    }
                ),
                "{unknown}"
            );
            let missing = format!(
                "connection to server at \"{name}\" (::1), port 1 failed: FATAL:  role \"{name}\" \
                 does not exist\n"
            );
            let StartError::Final(said) = of(&missing) else {
                panic!("not final: {missing}")
            };
            assert!(
                said.starts_with(missing.trim_end()) && said.contains("CREATE ROLE"),
                "{said}"
            );
        }
    }
}
