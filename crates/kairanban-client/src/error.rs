//! Errors of a client: of the connection, and those that the server reports.

use thiserror::Error;

/// Why a request failed, or a board cannot be followed.
#[derive(Debug, Error)]
pub enum ClientError {
    /// The server's address is invalid.
    #[error("the server's address must be like http://127.0.0.1:8080")]
    BadUrl,
    /// The board does not exist, or is hidden from clients without a token for it. With the
    /// server's words.
    #[error("{0}")]
    NotFound(String),
    /// A token is required, or another one. With the server's words.
    #[error("{0}")]
    NotAllowed(String),
    /// The server refused the request. With the server's words.
    #[error("{0}")]
    Refused(String),
    /// The server cannot do it now, but may be able to later. With the server's words.
    #[error("{0}")]
    Unavailable(String),
    /// The connection could not be opened, or was lost.
    #[error("the server cannot be reached, or the connection was lost: {0}")]
    Connection(String),
    /// The server sent what this client does not understand.
    #[error("the server's answer cannot be understood: {0}")]
    Protocol(String),
    /// The client's list has another digest than the server's.
    #[error("at revision {revision} the copy differs from the server's list")]
    Differs {
        /// The revision of the list.
        revision: u64,
    },
}

impl ClientError {
    /// Returns whether the same request may succeed later.
    #[must_use]
    pub const fn is_temporary(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Connection(_))
    }
}

impl From<reqwest::Error> for ClientError {
    fn from(error: reqwest::Error) -> Self {
        use std::error::Error as _;
        // Its own text is only "error sending request"; the innermost source has the reason.
        let mut text = error.to_string();
        let mut cause = error.source();
        while let Some(inner) = cause {
            text = inner.to_string();
            cause = inner.source();
        }
        Self::Connection(text)
    }
}

impl From<serde_json::Error> for ClientError {
    fn from(error: serde_json::Error) -> Self {
        Self::Protocol(error.to_string())
    }
}
