//! Checks a running server against `docs/PROTOCOL.md`, from outside, rule by rule.
//!
//! It posts: give it a board for that, which takes posts and shows at least a dozen topics. What it posts stays there.

mod checks;
mod stream;

use std::{future::Future, pin::Pin};

use reqwest::{RequestBuilder, Response, Url};
use serde_json::Value;

/// What came of a check: why it failed.
pub type Outcome = Result<(), String>;

/// A rule of the protocol, and what came of checking it.
#[derive(Debug)]
pub struct Verdict {
    /// The rule.
    pub rule: &'static str,
    /// What came of it.
    pub outcome: Outcome,
}

type Check = for<'a> fn(&'a Server) -> Pin<Box<dyn Future<Output = Outcome> + 'a>>;

/// The server, a board of it, and who one is there.
#[derive(Clone, Debug)]
pub struct Server {
    http: reqwest::Client,
    base: Url,
    board: String,
    token: Option<String>,
}

impl Server {
    /// The server at `base`, as in `http://127.0.0.1:8080`.
    ///
    /// # Errors
    /// If that is no address.
    pub fn new(base: &str, board: &str, token: Option<String>) -> Result<Self, String> {
        // An error says that somebody has chosen a provider already, which will do.
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

    /// Checks every rule, one after the other, and tells of each as it is known.
    pub async fn check(&self, mut tell: impl FnMut(&Verdict)) -> Vec<Verdict> {
        let mut verdicts = Vec::new();
        for (rule, check) in checks::all() {
            let verdict = Verdict {
                rule,
                outcome: check(self).await,
            };
            tell(&verdict);
            verdicts.push(verdict);
        }
        verdicts
    }

    /// `{board}` stands for the board.
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

    /// Posts a comment under a key. Gives the status and the answer.
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
        Ok((
            status,
            answer.json().await.map_err(|error| error.to_string())?,
        ))
    }

    /// Posts something new; gives what it says.
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

fn unique() -> String {
    std::iter::repeat_with(fastrand::alphanumeric)
        .take(16)
        .collect()
}

/// Fails with a reason unless something holds.
fn ensure(holds: bool, otherwise: impl FnOnce() -> String) -> Outcome {
    if holds { Ok(()) } else { Err(otherwise()) }
}
