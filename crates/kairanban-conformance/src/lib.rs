//! Checks a running server against `docs/PROTOCOL.md`, rule by rule, over the network.
//!
//! The checks post topics, which stay. They need a board that takes posts and shows at least a
//! dozen topics.

mod checks;
mod event_stream;
mod list;

use std::{future::Future, pin::Pin};

use reqwest::{RequestBuilder, Response, Url};
use serde_json::Value;

/// The outcome of a check; an error says why it failed.
pub type Outcome = Result<(), String>;

/// The result of checking one rule of the protocol.
#[derive(Debug)]
pub struct RuleResult {
    /// The rule, as a sentence.
    pub rule: &'static str,
    /// The outcome of its check.
    pub outcome: Outcome,
}

/// Checks one rule on a server.
type RuleCheck = for<'a> fn(&'a TestedServer) -> Pin<Box<dyn Future<Output = Outcome> + 'a>>;

/// The server to check, with the board to post on, and a token if the board requires one.
#[derive(Clone, Debug)]
pub struct TestedServer {
    http: reqwest::Client,
    base: Url,
    board: String,
    token: Option<String>,
}

impl TestedServer {
    /// Creates the server at `base`, as in `http://127.0.0.1:8080`. Does not connect to it.
    ///
    /// # Errors
    /// If `base` is not a URL, or TLS cannot be set up.
    pub fn new(base: &str, board: &str, token: Option<String>) -> Result<Self, String> {
        // An error means that the program has chosen a provider already, which is used then.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let base = Url::parse(base).map_err(|error| error.to_string())?;
        let http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .build();
        Ok(Self {
            http: http.map_err(|error| error.to_string())?,
            base,
            board: board.to_owned(),
            token,
        })
    }

    /// Checks all rules, one after the other. Calls `report` with each result as soon as it is
    /// known, and returns all of them.
    pub async fn check(&self, mut report: impl FnMut(&RuleResult)) -> Vec<RuleResult> {
        let mut results = Vec::new();
        for (rule, check) in checks::all() {
            let result = RuleResult {
                rule,
                outcome: check(self).await,
            };
            report(&result);
            results.push(result);
        }
        results
    }

    /// Returns the URL of a path, in which `{board}` stands for the board's name.
    fn url(&self, path: &str) -> String {
        format!(
            "{}{}",
            self.base.as_str().trim_end_matches('/'),
            path.replace("{board}", &self.board)
        )
    }

    fn request(&self, method: reqwest::Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, self.url(path));
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Result<Response, String> {
        let request = self.request(reqwest::Method::GET, path);
        let request = headers.iter().fold(request, |request, (name, value)| {
            request.header(*name, *value)
        });
        request
            .send()
            .await
            .map_err(|error| format!("{path}: {error}"))
    }

    /// Posts a comment with an idempotency key. Returns the status and the JSON of the response.
    async fn post(&self, comment: &str, key: &str) -> Result<(u16, Value), String> {
        let body = serde_json::json!({ "comment": comment });
        let request = self
            .request(reqwest::Method::POST, "/api/v1/boards/{board}/topics")
            .header("idempotency-key", key);
        let answer = request
            .json(&body)
            .send()
            .await
            .map_err(|error| error.to_string())?;
        let status = answer.status().as_u16();
        let json = answer.json().await.map_err(|error| error.to_string())?;
        Ok((status, json))
    }

    /// Posts a new comment, and returns it.
    async fn post_new(&self) -> Result<String, String> {
        let comment = format!("conformance {}", unique());
        match self.post(&comment, &unique()).await? {
            (201, _) => Ok(comment),
            (429, _) => Err(
                "the server takes no more posts for now: raise limits.posts_per_client_burst \
                 for this run"
                    .to_owned(),
            ),
            (status, answer) => Err(format!("a post was answered with {status}: {answer}")),
        }
    }
}

/// Returns a random word for keys and comments.
fn unique() -> String {
    std::iter::repeat_with(fastrand::alphanumeric)
        .take(16)
        .collect()
}

/// Returns an error with a reason unless a condition holds.
fn ensure(condition: bool, reason: impl FnOnce() -> String) -> Outcome {
    if condition { Ok(()) } else { Err(reason()) }
}
