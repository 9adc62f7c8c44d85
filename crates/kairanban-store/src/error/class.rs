//! What an error says about the write that failed with it.

use super::StoreError;

/// What became of a write that failed, and so what its client may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorClass {
    /// It is refused for good: nothing was written, and repeating it does not help.
    Refused,
    /// The database cannot do it now: nothing was written, and it may be repeated.
    NotWritten,
    /// It is unknown whether it was written. With its idempotency key it may be repeated.
    Unknown,
    /// A fault of the server, which no client can do anything about.
    Internal,
}

impl StoreError {
    /// Returns what the error says about the write that failed with it; of a read, `Unknown` says
    /// that the database is away.
    #[must_use]
    pub const fn class(&self) -> ErrorClass {
        match self {
            Self::NoSuchBoard(_)
            | Self::BoardExists(_)
            | Self::NoSuchTopic(_)
            | Self::NoSuchToken(_)
            | Self::NoSuchSession(_)
            | Self::TooManyTickets { .. }
            | Self::TopicExists(_)
            | Self::Changed(_)
            | Self::ConditionFailed
            | Self::PostingRequiresToken { .. }
            | Self::Closed
            | Self::KeyReused
            | Self::TopicGone(_)
            | Self::Refused(_) => ErrorClass::Refused,
            Self::Fault(_) => ErrorClass::NotWritten,
            // The other request with this key may still be committed.
            Self::KeyInUse | Self::Unavailable(_) | Self::Disconnected(_) => ErrorClass::Unknown,
            Self::Internal(_) => ErrorClass::Internal,
        }
    }
}
