//! A client of a kairanban server.
//!
//! [`Client::follow`] keeps a [`Copy`] of a board: it takes the list, then what changes, comes back
//! with its cursor when the connection is lost, and checks the digest of every state. [`Client::post`]
//! posts, and repeats with the same key while nobody knows whether the first try was written.

mod copy;
mod error;
mod follow;
mod line;
mod post;
mod wire;

use std::time::Duration;

use kairanban_core::BoardName;
use reqwest::{RequestBuilder, Response, StatusCode, Url};

pub use copy::Copy;
pub use error::ClientError;
pub use follow::{Follow, FollowMany, News};
pub use wire::{Op, Topic};

/// To connect.
const CONNECT_WAIT: Duration = Duration::from_secs(5);
/// Silence after which a connection counts as dead: a stream has a heartbeat at least every 15 s.
const SILENCE_MAX: Duration = Duration::from_secs(45);

/// A server, and who one is to it. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    base: Url,
    token: Option<String>,
}

impl Client {
    /// A client of the server at `base`, as in `http://127.0.0.1:8080`, with a token if it needs one.
    ///
    /// # Errors
    /// [`ClientError::BadUrl`], or if TLS cannot be set up.
    pub fn new(base: &str, token: Option<String>) -> Result<Self, ClientError> {
        // An error says that somebody has chosen a provider already, which will do.
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

    /// Follows a board from its list on.
    #[must_use]
    pub fn follow(&self, board: BoardName) -> Follow {
        Follow::new(self.clone(), &board)
    }

    /// Follows several boards in one stream.
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

/// What a status means that is no success.
async fn refusal(response: Response) -> ClientError {
    let status = response.status();
    let problem: Option<wire::Problem> = response.json().await.ok();
    let detail = problem.map_or_else(|| status.to_string(), |problem| problem.detail);
    match status {
        StatusCode::NOT_FOUND => ClientError::NotFound(detail),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => ClientError::NotAllowed(detail),
        _ if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
            ClientError::Unavailable(detail)
        }
        _ => ClientError::Refused(detail),
    }
}
