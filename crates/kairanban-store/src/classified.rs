//! Statements that write, with the reason if they fail: by SQLSTATE on Postgres, by result on
//! SQLite.

mod context;
mod own_object;
pub(crate) mod postgres;
pub(crate) mod sqlite;

use diesel::{
    pg::Pg,
    query_builder::{QueryFragment, QueryId},
    result::Error as DieselError,
    sqlite::Sqlite,
};

use crate::{
    StoreError,
    error::{FULL_SQLITE, FaultKind},
};

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

/// Returns the error for a row that a statement had to touch and did not: a trigger or a rule of
/// the `table` dropped it silently.
pub(crate) fn row_dropped(table: &'static str) -> StoreError {
    own_object::own_table(table).map_or_else(
        || StoreError::refused(None, false),
        |object| object.refused("a trigger or a rule drops it"),
    )
}

/// Classifies why a transaction does not begin: nothing was written, and no write is to blame.
pub(crate) fn of_begin(error: DieselError) -> StoreError {
    match error.into() {
        StoreError::Disconnected(text) => StoreError::Disconnected(text),
        StoreError::Fault(fault) if fault.kind != FaultKind::Other => StoreError::Fault(fault),
        StoreError::Fault(fault) if fault.text == FULL_SQLITE => {
            StoreError::fault(FaultKind::Full, fault.text)
        }
        StoreError::Fault(fault) => StoreError::Unavailable(fault.text),
        other => StoreError::Unavailable(other.to_string()),
    }
}
