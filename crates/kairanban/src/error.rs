//! Answers errors with problem details (RFC 9457) and a stable code: as JSON for programs, as text
//! for a terminal, as a page for a browser.

mod conversions;
mod problem;

use std::time::Duration;

use actix_web::{
    HttpResponse, HttpResponseBuilder, ResponseError,
    http::{StatusCode, header},
};
use kairanban_core::Invalid;
use thiserror::Error;

pub use problem::{FieldProblem, Problem};

use crate::telemetry::LogThrottle;

/// An error that a request is answered with.
#[derive(Debug, Error)]
pub enum ApiError {
    /// No board, topic or page is at this address.
    #[error("{0}")]
    NotFound(String),
    /// The change log does not reach back that far, or is of another history.
    #[error("{0}")]
    Gone(&'static str),
    /// The address is right, the method is not.
    #[error("this address supports only {allow}")]
    MethodNotAllowed {
        /// The methods that it answers.
        allow: &'static str,
    },
    /// No form of the answer suits the client.
    #[error(
        "this is a stream: Accept must allow text/event-stream, or application/x-ndjson for \
         format=ndjson"
    )]
    NotAcceptable,
    /// A token is required, and the request has no valid one.
    #[error(
        "a token is required: send Authorization: Bearer with one that `kairanban token create` made"
    )]
    Unauthorized,
    /// The token is valid, but does not allow this.
    #[error("this token does not allow that")]
    Forbidden,
    /// The board takes no more posts.
    #[error("{0}")]
    Closed(String),
    /// The topic is another one than the client thinks.
    #[error("the topic was changed meanwhile; read it again")]
    Changed,
    /// The tag is weak, which `If-Match` cannot compare.
    #[error(
        "If-Match takes no weak tag (W/\"…\"), and a proxy that compresses makes them weak: read the \
         topic with Accept-Encoding: identity, and send the tag that comes with it"
    )]
    WeakTag,
    /// A condition does not hold for what is there and has no tag.
    #[error(
        "nothing at this address has an ETag, so If-Match may only be *, and If-None-Match may not \
         be *; send the request without the condition"
    )]
    Untagged,
    /// It conflicts with the current state.
    #[error("{0}")]
    Conflict(String),
    /// Another site's page sent it.
    #[error(
        "this was sent by a page of another site; post from the board's own page, or from a program"
    )]
    CrossSite,
    /// Too much of it by one client, or one token.
    #[error("too many {what}; retry in {} s, or raise {setting}", whole_seconds(*.retry_after))]
    TooMany {
        /// What there is too much of.
        what: &'static str,
        /// The settings that limit it.
        setting: &'static str,
        /// How long until there is room again.
        retry_after: Duration,
    },
    /// Too many searches are running, of all clients.
    #[error("too many searches are running; try again in a second")]
    SearchesBusy,
    /// The client has too many connections open.
    #[error("too many open connections from your address (limits.connections_per_client_max)")]
    TooManyConnections,
    /// All connections are taken, by all clients.
    #[error("the server has no room for more connections; try again in a few seconds")]
    NoRoom,
    /// The request asks for a host that is not this server.
    #[error(
        "this server does not know the host of this request; if it is the board's own, set \
         server.public_url, as in \"https://board.example\", or add it to server.hosts"
    )]
    Misdirected,
    /// Only a WebSocket is at this address.
    #[error(
        "this address takes only WebSockets: send GET by HTTP/1.1 with Upgrade: websocket and \
         Sec-WebSocket-Version: 13"
    )]
    UpgradeRequired,
    /// The request cannot be read.
    #[error("{detail}")]
    BadRequest {
        /// What is wrong, in English.
        detail: String,
        /// Where in the body, if that can be said.
        path: Option<String>,
    },
    /// The request can be read, but is not allowed.
    #[error("{}", faults(.0))]
    Invalid(Vec<Invalid>),
    /// The idempotency key stands for another request.
    #[error("{0}")]
    KeyReused(String),
    /// The topic that an earlier request with the idempotency key led to was deleted.
    #[error("{0}")]
    TopicGone(String),
    /// The database refuses it for good.
    #[error("{}", .0.as_deref().unwrap_or("the database refuses this; sending it again will not \
        help"))]
    Refused(Option<String>),
    /// A JSON key that is unknown here.
    #[error("{0}")]
    UnknownKey(String),
    /// Not a kind of body that is taken here.
    #[error("send {taken}, in UTF-8 and without a Content-Encoding")]
    UnsupportedMediaType {
        /// What is taken, in English.
        taken: &'static str,
        /// The same as media types.
        accept: &'static str,
    },
    /// The body is too long.
    #[error("a body may have at most {bytes_max} bytes")]
    TooLarge {
        /// The most that is accepted.
        bytes_max: usize,
    },
    /// The body did not arrive in time.
    #[error("the body did not arrive in time")]
    TooSlow,
    /// The database is away, or the server ends. A write may have been done.
    #[error(
        "the board cannot be reached now; a post may have been written all the same: check before \
         you repeat it, or repeat it with its Idempotency-Key"
    )]
    Unavailable {
        /// The cause, for the log.
        cause: String,
    },
    /// The database cannot write now, and the write was rolled back.
    #[error("{why}; nothing was written, so it is safe to repeat this")]
    NotWritten {
        /// What is in the way, for the client.
        why: &'static str,
        /// The cause, for the log.
        cause: String,
    },
    /// A fault of the server.
    #[error("internal server error; the server's log has the cause")]
    Internal {
        /// The cause, for the log.
        cause: String,
    },
}

fn faults(faults: &[Invalid]) -> String {
    faults
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("; ")
}

/// How long until another attempt may help, where nothing better is known.
const RETRY_AFTER: Duration = Duration::from_secs(2);

/// Returns a wait as `Retry-After` and texts have it: in seconds, rounded up, at least one.
#[must_use]
pub fn whole_seconds(wait: Duration) -> u64 {
    let begun = u64::from(wait.subsec_nanos() > 0);
    wait.as_secs().saturating_add(begun).max(1)
}

impl ApiError {
    /// There is no room for another stream.
    pub const TOO_MANY_STREAMS: Self = Self::TooMany {
        what: "open streams",
        setting: "limits.streams_per_client_max and limits.streams_max",
        retry_after: Duration::from_secs(5),
    };

    /// The client has as many reads in progress as it may.
    pub const TOO_MANY_READS: Self = Self::TooMany {
        what: "reads of the database by one address at a time",
        setting: "limits.reads_per_client_max",
        retry_after: Duration::from_secs(1),
    };

    /// Returns how long until another attempt may help, if one may.
    pub const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::TooMany { retry_after, .. } => Some(*retry_after),
            Self::Unavailable { .. }
            | Self::NotWritten { .. }
            | Self::SearchesBusy
            | Self::TooManyConnections
            | Self::NoRoom => Some(RETRY_AFTER),
            _ => None,
        }
    }

    /// Refuses an address at which there is nothing.
    pub fn nothing_here() -> Self {
        Self::NotFound("there is nothing at this address".to_owned())
    }

    /// Refuses a `text` in an address that names nothing; `missing` begins the sentence.
    pub fn nothing_named(missing: &str, text: &str) -> Self {
        Self::NotFound(format!("{missing} {}", text.escape_debug()))
    }

    /// Refuses a request that cannot be read.
    pub fn bad_request(detail: impl Into<String>) -> Self {
        Self::BadRequest {
            detail: detail.into(),
            path: None,
        }
    }

    /// Refuses a query parameter, or a field of the body, that cannot be read.
    pub fn bad_request_at(path: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::BadRequest {
            detail: detail.into(),
            path: Some(path.into()),
        }
    }

    /// Returns the cause, for the log, if the database cannot be reached or written now: what was
    /// asked may work later, and nothing is wrong with it.
    #[must_use]
    pub fn outage(&self) -> Option<&str> {
        match self {
            Self::Unavailable { cause } | Self::NotWritten { cause, .. } => Some(cause),
            _ => None,
        }
    }

    const fn code(&self) -> &'static str {
        match self {
            Self::NotFound(_) => "not_found",
            Self::Gone(_) => "gone",
            Self::MethodNotAllowed { .. } => "method_not_allowed",
            Self::NotAcceptable => "not_acceptable",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::Closed(_) => "closed",
            Self::Changed => "changed",
            Self::WeakTag => "weak_tag",
            Self::Untagged => "untagged",
            Self::Conflict(_) => "conflict",
            Self::CrossSite => "cross_site",
            Self::TooMany { .. } | Self::TooManyConnections => "too_many",
            Self::SearchesBusy | Self::NoRoom => "busy",
            Self::Misdirected => "misdirected",
            Self::UpgradeRequired => "upgrade_required",
            Self::BadRequest { .. } => "unreadable",
            Self::Invalid(_) => "invalid",
            Self::KeyReused(_) => "key_reused",
            Self::TopicGone(_) => "topic_gone",
            Self::Refused(_) => "refused",
            Self::UnknownKey(_) => "unknown_key",
            Self::UnsupportedMediaType { .. } => "unsupported_media_type",
            Self::TooLarge { .. } => "too_large",
            Self::TooSlow => "too_slow",
            Self::Unavailable { .. } | Self::NotWritten { .. } => "unavailable",
            Self::Internal { .. } => "internal",
        }
    }

    /// Returns the body of this error.
    #[must_use]
    pub fn problem(&self) -> Problem {
        let status = self.status_code();
        Problem {
            title: status.canonical_reason().unwrap_or("Error"),
            status: status.as_u16(),
            code: self.code(),
            detail: self.to_string(),
            path: if let Self::BadRequest { path, .. } = self {
                path.clone()
            } else {
                None
            },
            errors: if let Self::Invalid(faults) = self {
                faults.iter().map(FieldProblem::of).collect()
            } else {
                Vec::new()
            },
        }
    }

    fn log(&self) {
        // Throttled: a client may cause as many lines as it likes.
        if let Self::Internal { cause } = self
            && let Some(suppressed) = FAILURES.allow()
        {
            tracing::error!(%cause, suppressed, "a request failed");
        }
        if let Some(cause) = self.outage()
            && let Some(suppressed) = OUTAGES.allow()
        {
            tracing::warn!(%cause, suppressed, "a request was answered with 503");
        }
    }
}

/// Allows at most one line of each kind in a second.
static FAILURES: LogThrottle = LogThrottle::new(Duration::from_secs(1));
static OUTAGES: LogThrottle = LogThrottle::new(Duration::from_secs(1));

impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        match self {
            Self::NotFound(_) => StatusCode::NOT_FOUND,
            Self::Gone(_) | Self::TopicGone(_) => StatusCode::GONE,
            Self::MethodNotAllowed { .. } => StatusCode::METHOD_NOT_ALLOWED,
            Self::NotAcceptable => StatusCode::NOT_ACCEPTABLE,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::Conflict(_) => StatusCode::CONFLICT,
            Self::Changed | Self::WeakTag | Self::Untagged => StatusCode::PRECONDITION_FAILED,
            Self::CrossSite | Self::Forbidden | Self::Closed(_) => StatusCode::FORBIDDEN,
            Self::TooMany { .. } | Self::TooManyConnections => StatusCode::TOO_MANY_REQUESTS,
            Self::Misdirected => StatusCode::MISDIRECTED_REQUEST,
            Self::UpgradeRequired => StatusCode::UPGRADE_REQUIRED,
            Self::BadRequest { .. } => StatusCode::BAD_REQUEST,
            Self::Invalid(_) | Self::KeyReused(_) | Self::Refused(_) | Self::UnknownKey(_) => {
                StatusCode::UNPROCESSABLE_ENTITY
            }
            Self::UnsupportedMediaType { .. } => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::Unavailable { .. }
            | Self::NotWritten { .. }
            | Self::SearchesBusy
            | Self::NoRoom => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal { .. } => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// Returns the problem as JSON; `http::error_responses` turns it into text or a page for
    /// clients that ask for those.
    fn error_response(&self) -> HttpResponse {
        self.log();
        let problem = self.problem();
        let mut response = HttpResponseBuilder::new(self.status_code());
        response.insert_header((header::CONTENT_TYPE, "application/problem+json"));
        match self {
            Self::MethodNotAllowed { allow } => {
                response.insert_header((header::ALLOW, *allow));
            }
            Self::Unauthorized => drop(
                response.insert_header((header::WWW_AUTHENTICATE, "Bearer realm=\"kairanban\"")),
            ),
            Self::UnsupportedMediaType { accept, .. } => {
                response
                    .insert_header((header::ACCEPT, *accept))
                    .insert_header((header::ACCEPT_ENCODING, "identity"));
            }
            Self::UpgradeRequired => {
                let version = (header::SEC_WEBSOCKET_VERSION, "13");
                response
                    .insert_header((header::UPGRADE, "websocket"))
                    .insert_header(version);
            }
            // What is left of the body must not be taken for the next request.
            Self::TooLarge { .. } | Self::TooSlow => drop(response.force_close()),
            _ => {}
        }
        if let Some(wait) = self.retry_after() {
            response.insert_header((header::RETRY_AFTER, whole_seconds(wait)));
        }
        response.extensions_mut().insert(problem.clone());
        response.body(serde_json::to_vec(&problem).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests;
