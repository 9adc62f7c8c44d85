//! What can go wrong between us and the database.

use diesel::result::{DatabaseErrorKind, Error as DieselError};
use kairanban_core::{BoardName, TopicId};
use thiserror::Error;

/// A read or a write that did not come about.
#[derive(Clone, Debug, Error)]
pub enum StoreError {
    /// No board has this name.
    #[error("there is no board {0}")]
    NoSuchBoard(BoardName),
    /// A board has this name already.
    #[error("there is a board {0} already")]
    BoardExists(BoardName),
    /// The board has no topic with this id.
    #[error("there is no topic {}", .0.0)]
    NoSuchTopic(TopicId),
    /// No token has this key, or it was ended already.
    #[error("there is no token {0} that is still good")]
    NoSuchToken(i64),
    /// The topic is there: it cannot be put back.
    #[error("topic {} is there", .0.0)]
    TopicExists(TopicId),
    /// The topic is at another revision than the writer thinks.
    #[error("topic {} was changed meanwhile", .0.0)]
    Changed(TopicId),
    /// Posting on the board takes a token that allows it.
    #[error("posting on this board takes a token that allows it")]
    PostingTakesToken {
        /// Whether there was one, that does not.
        shown: bool,
    },
    /// Nobody posts on the board any more.
    #[error("this board is closed")]
    Closed,
    /// The idempotency key stands for another request.
    #[error("this Idempotency-Key was used for another topic")]
    KeyReused,
    /// The database refused the row; the text is the database's own.
    #[error("the database refused the row: {0}")]
    Refused(String),
    /// The database is away, busy or too slow, or the queue before it is full. A write may or may
    /// not have been committed.
    #[error("the database is not available: {0}")]
    Unavailable(String),
    /// The connection turned out to be dead before anything was sent; inside the store, a reason
    /// to try another one.
    #[error("the connection was lost: {0}")]
    Disconnected(String),
    /// A value in the database is not of the type that it should be; the database itself is well.
    #[error("a value in the database cannot be read: {0}")]
    Unreadable(String),
    /// Something that is nobody's input: a missing table, a value that cannot be.
    #[error("{0}")]
    Internal(String),
}

impl StoreError {
    /// Whether the connection may be at fault, so that it must not be used again.
    pub(crate) const fn taints(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Disconnected(_) | Self::Internal(_))
    }

    /// For what cannot be tried again.
    pub(crate) fn final_word(self) -> Self {
        match self {
            Self::Disconnected(text) => Self::Unavailable(text),
            other => other,
        }
    }
}

impl From<DieselError> for StoreError {
    fn from(error: DieselError) -> Self {
        use DatabaseErrorKind as Kind;
        let text = error.to_string();
        match error {
            DieselError::DatabaseError(ref kind, _) if is_refusal(kind) => Self::Refused(text),
            DieselError::DatabaseError(Kind::ClosedConnection | Kind::UnableToSendCommand, _) => Self::Disconnected(text),
            // A missing table or column is a fault of the set-up, and waiting will not mend it.
            DieselError::DatabaseError(_, info) if is_missing(info.message()) => Self::Internal(text),
            DieselError::DatabaseError(..) | DieselError::BrokenTransactionManager => Self::Unavailable(text),
            DieselError::RollbackErrorOnCommit { .. } => Self::Unavailable(text),
            DieselError::DeserializationError(_) => Self::Unreadable(text),
            _ => Self::Internal(text),
        }
    }
}

const fn is_refusal(kind: &DatabaseErrorKind) -> bool {
    use DatabaseErrorKind as Kind;
    matches!(kind, Kind::CheckViolation | Kind::NotNullViolation | Kind::UniqueViolation | Kind::ForeignKeyViolation)
}

fn is_missing(message: &str) -> bool {
    message.contains("does not exist") || message.contains("no such table") || message.contains("no such column")
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
