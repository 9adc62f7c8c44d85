//! Statements that write, and checks that they can, on either database: why they fail is known in
//! [`classified`].

use super::{AnyConnection, rights};
use crate::{
    StoreError,
    classified::{self, Modification},
    error::{Fault, FaultKind},
};

impl AnyConnection {
    /// Runs a statement that writes. Returns how many rows it touched, or what its failure means.
    pub(crate) fn modify(&mut self, statement: impl Modification) -> Result<usize, StoreError> {
        match self {
            Self::Postgres(connection) => classified::postgres::modify(connection, statement),
            Self::Sqlite(connection) => classified::sqlite::modify(connection, statement),
        }
    }

    /// Runs a statement that writes and returns a number. Returns `None` if it touched no row, or
    /// what its failure means.
    pub(crate) fn modify_returning(
        &mut self,
        statement: impl Modification,
    ) -> Result<Option<i64>, StoreError> {
        match self {
            Self::Postgres(connection) => {
                classified::postgres::modify_returning(connection, statement)
            }
            Self::Sqlite(connection) => classified::sqlite::modify_returning(connection, statement),
        }
    }

    /// Checks that writing works here, within a write that changes nothing.
    pub(crate) fn check_writing(&mut self) -> Result<(), StoreError> {
        match self {
            Self::Postgres(connection) => classified::postgres::check_writing(connection),
            Self::Sqlite(connection) => classified::sqlite::check_writing(connection),
        }
    }

    /// Checks that a revision can be drawn, within a write that is to be rolled back.
    pub(crate) fn check_stamping(&mut self) -> Result<(), StoreError> {
        match self {
            Self::Postgres(connection) => classified::postgres::check_stamping(connection),
            Self::Sqlite(connection) => classified::sqlite::check_stamping(connection),
        }
    }

    /// Checks that all can be read that a server reads. Fails with what is missing.
    pub(crate) fn check_reading(&mut self) -> Result<(), StoreError> {
        let checked = match self {
            Self::Postgres(connection) => classified::postgres::check_reading(connection),
            Self::Sqlite(connection) => classified::sqlite::check_reading(connection),
        };
        checked.map_err(|error| self.with_grants(error))
    }

    /// Adds the grants that would help.
    pub(crate) fn with_grants(&mut self, error: StoreError) -> StoreError {
        match error {
            StoreError::Fault(Fault {
                kind: FaultKind::Installation,
                text,
            }) if matches!(self, Self::Postgres(_)) => {
                // If they cannot be asked for, the error stands as it is.
                let grants = rights::missing(self).unwrap_or_default();
                let text = if grants.is_empty() {
                    text
                } else {
                    format!("{text}. This would help: {}", grants.join("; "))
                };
                StoreError::fault(FaultKind::Installation, text)
            }
            other => other,
        }
    }
}
