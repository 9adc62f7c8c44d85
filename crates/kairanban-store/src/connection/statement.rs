//! Statements that write, and checks that they can, on either database: why they fail is known in
//! [`classified`].

use super::{AnyConnection, rights, trial_rows::check_rows};
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

    /// Runs a statement that has to touch a row of `table`, or fails if it touched none.
    pub(crate) fn modify_row(
        &mut self,
        table: &'static str,
        statement: impl Modification,
    ) -> Result<(), StoreError> {
        match self.modify(statement)? {
            0 => Err(classified::row_dropped(table)),
            _ => Ok(()),
        }
    }

    /// Runs a statement that has to insert a row into `table`, and returns its id.
    pub(crate) fn insert_row(
        &mut self,
        table: &'static str,
        statement: impl Modification,
    ) -> Result<i64, StoreError> {
        self.modify_returning(statement)?
            .ok_or_else(|| classified::row_dropped(table))
    }

    /// Checks that writing works here, within a write that is to be rolled back.
    pub(crate) fn check_writing(&mut self) -> Result<(), StoreError> {
        self.check_rows_are_seen()?;
        match self {
            Self::Postgres(connection) => classified::postgres::check_writing(connection),
            Self::Sqlite(connection) => classified::sqlite::check_writing(connection),
        }?;
        check_rows(self)
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
        self.check_rows_are_seen()?;
        let checked = match self {
            Self::Postgres(connection) => classified::postgres::check_reading(connection),
            Self::Sqlite(connection) => classified::sqlite::check_reading(connection),
        };
        checked.map_err(|error| self.with_grants(error))
    }

    /// Checks that row-level security hides no rows of our tables. SQLite has no such thing.
    fn check_rows_are_seen(&mut self) -> Result<(), StoreError> {
        if matches!(self, Self::Sqlite(_)) {
            return Ok(());
        }
        let hidden = rights::hidden(self)?;
        if hidden.is_empty() {
            return Ok(());
        }
        Err(StoreError::fault(FaultKind::RowSecurity, hidden.join("; ")))
    }

    /// Adds the grants that would help.
    pub(crate) fn with_grants(&mut self, error: StoreError) -> StoreError {
        match error {
            StoreError::Fault(Fault {
                kind: kind @ (FaultKind::Installation | FaultKind::Schema),
                text,
            }) if matches!(self, Self::Postgres(_)) => {
                // If they cannot be asked for, the error stands as it is.
                let grants = rights::missing(self).unwrap_or_default();
                let text = if grants.is_empty() {
                    text
                } else {
                    format!("{text}. This would help: {}", grants.join("; "))
                };
                StoreError::fault(kind, text)
            }
            other => other,
        }
    }
}
