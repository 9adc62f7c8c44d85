//! A client of a kairanban server.
//!
//! [`Client::follow`] keeps a [`BoardCopy`] of a board: it receives the list, then its changes,
//! reconnects with its cursor when the connection is lost, and checks the digest of every list.
//! [`Client::post`] posts, and retries with the same key while it is not known whether the post was
//! written. [`Client::boards`] lists the boards.

mod boards;
mod copy;
mod error;
mod follow;
mod post;
mod reconnecting_stream;
mod wire;

use std::{fmt, time::Duration};

use kairanban_core::BoardName;
use reqwest::{RequestBuilder, Response, StatusCode, Url};

pub use copy::BoardCopy;
pub use error::ClientError;
pub use follow::{Follow, FollowEvent, FollowMany};
pub use wire::{ListOp, ListedBoard, ListedTopic};

/// The longest wait for a connection.
const CONNECT_WAIT: Duration = Duration::from_secs(5);
/// The longest silence of a connection before it counts as lost: a stream has a heartbeat at least
/// every 15 s.
const SILENCE_MAX: Duration = Duration::from_secs(45);

/// A client of one server, with a token or without. It is cheap to clone.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    base: Url,
    token: Option<String>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The token is secret, and the address may hold a password.
        f.write_str("Client")
    }
}

impl Client {
    /// Creates a client of the server at `base`, as in `http://127.0.0.1:8080`, with a token if it
    /// needs one.
    ///
    /// # Errors
    /// [`ClientError::BadUrl`] if `base` is not an HTTP address; [`ClientError::Connection`] if TLS
    /// cannot be set up.
    pub fn new(base: &str, token: Option<String>) -> Result<Self, ClientError> {
        // An error means that the program has chosen a provider already, which is used then.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let base = Url::parse(base)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https") && !url.cannot_be_a_base());
        let base = base.ok_or(ClientError::BadUrl)?;
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT_WAIT)
            .read_timeout(SILENCE_MAX)
            .build()?;
        Ok(Self { http, base, token })
    }

    /// Returns the server's address, as it can be shown: without a password in it.
    #[must_use]
    pub fn address(&self) -> String {
        let mut shown = self.base.clone();
        shown.set_fragment(None);
        shown.set_query(None);
        // Neither can fail for an address with a host, as every HTTP address has one.
        let _ = shown.set_username("");
        let _ = shown.set_password(None);
        shown.as_str().trim_end_matches('/').to_owned()
    }

    /// Follows a board, beginning with its list. Nothing is sent before the first call of
    /// [`Follow::next`].
    #[must_use]
    pub fn follow(&self, board: BoardName) -> Follow {
        Follow::new(self.clone(), &board)
    }

    /// Follows several boards in one stream, as [`follow`](Self::follow) does.
    #[must_use]
    pub fn follow_many(&self, boards: impl IntoIterator<Item = BoardName>) -> FollowMany {
        FollowMany::new(self.clone(), boards)
    }

    fn url(&self, path: &str) -> Url {
        let mut url = self.base.clone();
        let folder = url.path().trim_end_matches('/').to_owned();
        url.set_path(&format!("{folder}{path}"));
        url
    }

    fn authorized(&self, request: RequestBuilder) -> RequestBuilder {
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }
}

/// Reads the error that an unsuccessful response reports.
async fn refusal(response: Response) -> ClientError {
    let status = response.status();
    let problem: Option<wire::ProblemDetails> = response.json().await.ok();
    let detail = problem.map_or_else(
        || format!("{status}, without a word; is this a kairanban server?"),
        |problem| problem.detail,
    );
    match status {
        StatusCode::NOT_FOUND => ClientError::NotFound(detail),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => ClientError::NotAllowed(detail),
        _ if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
            ClientError::Unavailable(detail)
        }
        _ => ClientError::Refused(detail),
    }
}
