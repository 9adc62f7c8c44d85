//! Classifies the errors of diesel and of the pool.

use diesel::result::{DatabaseErrorKind, Error as DieselError};

use super::{FaultKind, READ_ONLY_SQLITE, Refusal, StoreError, is_damage_of_sqlite};

/// How Postgres says that a lock did not come in time; in another language, that is a fault of no
/// kind.
const LOCKED_POSTGRES: &str = "canceling statement due to lock timeout";

impl From<DieselError> for StoreError {
    fn from(error: DieselError) -> Self {
        use DatabaseErrorKind as Kind;
        let text = error.to_string();
        match error {
            DieselError::DatabaseError(ref kind, _) => match kind {
                Kind::UniqueViolation | Kind::ForeignKeyViolation => Self::refused(None, true),
                Kind::CheckViolation
                | Kind::NotNullViolation
                | Kind::RestrictViolation
                | Kind::ExclusionViolation => Self::Refused(Refusal::default()),
                Kind::ClosedConnection | Kind::UnableToSendCommand => Self::Disconnected(text),
                Kind::SerializationFailure => Self::fault(FaultKind::Busy, text),
                Kind::ReadOnlyTransaction => Self::fault(FaultKind::ReadOnly, text),
                // diesel has no kind for those of SQLite.
                Kind::Unknown if text == READ_ONLY_SQLITE => Self::fault(FaultKind::ReadOnly, text),
                Kind::Unknown if is_damage_of_sqlite(&text) => {
                    Self::fault(FaultKind::Damaged, text)
                }
                // diesel drops the SQLSTATE of Postgres. What runs by `AnyConnection::modify` is
                // classified by it, in `classified::postgres::of_sqlstate`. Only what does not is
                // known by its English text; in another language it is a fault of no kind.
                Kind::Unknown if text == LOCKED_POSTGRES => Self::fault(FaultKind::Locked, text),
                _ if text.starts_with("permission denied") => {
                    Self::fault(FaultKind::Installation, text)
                }
                _ => Self::fault(FaultKind::Other, text),
            },
            DieselError::BrokenTransactionManager | DieselError::RollbackErrorOnCommit { .. } => {
                Self::Unavailable(text)
            }
            DieselError::DeserializationError(_) => {
                Self::Internal(format!("a value in the database cannot be read: {text}"))
            }
            _ => Self::Internal(text),
        }
    }
}

impl From<r2d2::Error> for StoreError {
    fn from(error: r2d2::Error) -> Self {
        Self::Unavailable(error.to_string())
    }
}

impl From<diesel::ConnectionError> for StoreError {
    fn from(error: diesel::ConnectionError) -> Self {
        Self::Unavailable(error.to_string())
    }
}
