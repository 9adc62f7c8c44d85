//! Turns errors of the parts below into what a client is answered.

use kairanban_store::{FaultKind, StoreError};

use super::ApiError;

/// Keeps the store's sentence wherever the client may read it.
impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        let sentence = error.to_string();
        match error {
            StoreError::NoSuchBoard(_)
            | StoreError::NoSuchTopic(_)
            | StoreError::NoSuchToken(_)
            | StoreError::NoSuchSession(_) => Self::NotFound(sentence),
            StoreError::TopicExists(_) | StoreError::BoardExists(_) => Self::Conflict(sentence),
            StoreError::PostingRequiresToken { shown: true } => Self::Forbidden,
            StoreError::PostingRequiresToken { shown: false } => Self::Unauthorized,
            StoreError::Closed => Self::Closed(sentence),
            StoreError::KeyReused => Self::KeyReused(sentence),
            StoreError::TopicGone(_) => Self::TopicGone(sentence),
            StoreError::Changed(_) => Self::Changed,
            StoreError::ConditionFailed => Self::Untagged,
            StoreError::TooManyTickets { wait } => {
                Self::too_many("tickets of one token", "limits.tickets_per_token_max", wait)
            }
            StoreError::Unavailable(cause) | StoreError::Disconnected(cause) => {
                Self::Unavailable { cause }
            }
            StoreError::Refused(refusal) => Self::Refused(refusal.sentence),
            // The request that holds the key may be written yet.
            StoreError::KeyInUse => Self::Unavailable { cause: sentence },
            StoreError::Fault(fault) => Self::NotWritten {
                why: match fault.kind {
                    FaultKind::Locked => "another transaction has locked what this would change",
                    _ => "the board cannot be written now",
                },
                cause: fault.to_string(),
            },
            StoreError::Internal(cause) => Self::Internal { cause },
        }
    }
}

impl From<minijinja::Error> for ApiError {
    fn from(error: minijinja::Error) -> Self {
        Self::Internal {
            cause: format!("{error:#}"),
        }
    }
}
