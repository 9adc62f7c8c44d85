//! Turns errors of the parts below into what a client is answered.

use kairanban_store::{ErrorClass, FaultKind, StoreError};

use super::ApiError;

const CANNOT_WRITE: &str = "the board cannot be written now";

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
            StoreError::TooManyTickets { wait } => Self::TooMany {
                what: "tickets of one token",
                setting: "limits.tickets_per_token_max",
                retry_after: wait,
            },
            StoreError::Refused(refusal) => Self::Refused(refusal.sentence),
            StoreError::Fault(fault) => Self::NotWritten {
                why: match fault.kind {
                    FaultKind::Locked => "another transaction has locked what this would change",
                    _ => CANNOT_WRITE,
                },
                cause: fault.to_string(),
            },
            other => match other.class() {
                ErrorClass::Refused => Self::Refused(None),
                ErrorClass::NotWritten => Self::NotWritten {
                    why: CANNOT_WRITE,
                    cause: sentence,
                },
                ErrorClass::Unknown => Self::Unavailable { cause: sentence },
                ErrorClass::Internal => Self::Internal { cause: sentence },
            },
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use actix_web::{ResponseError as _, http::StatusCode};
    use kairanban_core::TopicId;
    use kairanban_store::{Fault, Refusal};

    use super::*;

    fn errors() -> Vec<StoreError> {
        let board = || "main".parse().expect("a name");
        vec![
            StoreError::NoSuchBoard(board()),
            StoreError::BoardExists(board()),
            StoreError::NoSuchTopic(TopicId(1)),
            StoreError::NoSuchToken(1),
            StoreError::NoSuchSession(1),
            StoreError::TooManyTickets {
                wait: Duration::ZERO,
            },
            StoreError::TopicExists(TopicId(1)),
            StoreError::Changed(TopicId(1)),
            StoreError::ConditionFailed,
            StoreError::PostingRequiresToken { shown: true },
            StoreError::PostingRequiresToken { shown: false },
            StoreError::Closed,
            StoreError::KeyReused,
            StoreError::TopicGone(TopicId(1)),
            StoreError::KeyInUse,
            StoreError::Refused(Refusal::default()),
            StoreError::Fault(Fault {
                kind: FaultKind::Busy,
                text: String::new(),
            }),
            StoreError::Unavailable(String::new()),
            StoreError::Disconnected(String::new()),
            StoreError::Internal(String::new()),
        ]
    }

    #[test]
    fn a_client_is_answered_what_became_of_its_write() {
        for error in errors() {
            let (class, context) = (error.class(), format!("{error:?}"));
            let answer = ApiError::from(error);
            let status = answer.status_code();
            let found = match &answer {
                ApiError::NotWritten { .. } => ErrorClass::NotWritten,
                ApiError::Unavailable { .. } => ErrorClass::Unknown,
                ApiError::Internal { .. } => ErrorClass::Internal,
                _ => ErrorClass::Refused,
            };
            assert_eq!(found, class, "{context}");
            match class {
                ErrorClass::Refused => assert!(status.is_client_error(), "{context}: {status}"),
                ErrorClass::NotWritten | ErrorClass::Unknown => {
                    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{context}");
                }
                ErrorClass::Internal => {
                    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR, "{context}");
                }
            }
            let is_outage = matches!(class, ErrorClass::NotWritten | ErrorClass::Unknown);
            assert_eq!(answer.outage().is_some(), is_outage, "{context}");
        }
    }
}
