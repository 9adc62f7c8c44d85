//! Why a database cannot be used, and whether it may be usable in a while.

use diesel::ConnectionError;
use thiserror::Error;

use crate::StoreError;

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

impl StartError {
    /// Decides whether it makes sense to wait for a database that refuses the connection.
    pub(crate) fn of_connecting(error: &ConnectionError) -> Self {
        let text = error.to_string();
        let is_missing = text.contains("does not exist")
            && (text.contains("database \"") || text.contains("role \""));
        if is_missing
            || REFUSALS.iter().any(|words| text.contains(words))
            || matches!(error, ConnectionError::InvalidConnectionUrl(_))
        {
            return Self::Final(text.trim_end().to_owned());
        }
        not_yet(text)
    }
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
