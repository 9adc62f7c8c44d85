//! Statements that write, with the reason if they fail: by SQLSTATE on Postgres, by result on
//! SQLite.

pub(crate) mod postgres;
pub(crate) mod sqlite;

use diesel::{
    pg::Pg,
    query_builder::{QueryFragment, QueryId},
    result::Error as DieselError,
    sqlite::Sqlite,
};

use crate::{StoreError, error::FaultKind};

/// A statement that writes, on either database.
pub(crate) trait Modification: QueryFragment<Pg> + QueryFragment<Sqlite> + QueryId {}

impl<Q: QueryFragment<Pg> + QueryFragment<Sqlite> + QueryId> Modification for Q {}

/// Returns the error for a write that drew no revision, so that no reader would see it.
pub(crate) fn triggers_off() -> StoreError {
    StoreError::fault(
        FaultKind::TriggersOff,
        "what is written draws no revision; enable them, and check session_replication_role",
    )
}

/// Classifies why a transaction does not begin: nothing was written, and no write is to blame.
pub(crate) fn of_begin(error: DieselError) -> StoreError {
    match error.into() {
        StoreError::Disconnected(text) => StoreError::Disconnected(text),
        StoreError::Fault(fault) if fault.kind != FaultKind::Other => StoreError::Fault(fault),
        StoreError::Fault(fault) => match fault.text.as_str() {
            "attempt to write a readonly database" => {
                StoreError::fault(FaultKind::ReadOnly, fault.text)
            }
            "database or disk is full" => StoreError::fault(FaultKind::Full, fault.text),
            _ => StoreError::Unavailable(fault.text),
        },
        other => StoreError::Unavailable(other.to_string()),
    }
}
