//! What can go wrong between a client and its server.

use thiserror::Error;

/// A request that did not come about.
#[derive(Debug, Error)]
pub enum ClientError {
    /// The server's address is none.
    #[error("the server's address must be like http://127.0.0.1:8080")]
    BadUrl,
    /// There is no such board, or one may not know of it.
    #[error("{0}")]
    NotFound(String),
    /// It takes a token, or another one.
    #[error("{0}")]
    NotAllowed(String),
    /// The server does not take that.
    #[error("{0}")]
    Refused(String),
    /// The server cannot do it now; later it may.
    #[error("{0}")]
    Unavailable(String),
    /// The connection could not be had, or was lost.
    #[error("cannot connect to the server, or the connection was lost: {0}")]
    Connection(String),
    /// The server said what this client does not understand.
    #[error("the server's answer cannot be understood: {0}")]
    Protocol(String),
    /// The copy that was made is not what the server has.
    #[error("at revision {revision} the copy differs from the server's list")]
    Differs {
        /// Where.
        revision: u64,
    },
}

impl ClientError {
    /// Whether the same may work later.
    #[must_use]
    pub const fn is_temporary(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Connection(_))
    }
}

impl From<reqwest::Error> for ClientError {
    fn from(error: reqwest::Error) -> Self {
        use std::error::Error as _;
        // Its own words stop at "error sending request"; the reason stands below.
        let server = error
            .url()
            .map(|url| format!("{}: ", url.origin().ascii_serialization()))
            .unwrap_or_default();
        let mut text = error.to_string();
        let mut cause = error.source();
        while let Some(deeper) = cause {
            text = deeper.to_string();
            cause = deeper.source();
        }
        Self::Connection(format!("{server}{text}"))
    }
}

impl From<serde_json::Error> for ClientError {
    fn from(error: serde_json::Error) -> Self {
        Self::Protocol(error.to_string())
    }
}
