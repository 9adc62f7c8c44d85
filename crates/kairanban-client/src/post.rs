//! Posting, so that what was posted once is there once.

use std::time::Duration;

use kairanban_core::BoardName;
use serde::Serialize;
use tokio::time::{sleep, timeout};

use crate::{Client, ClientError, Topic, refusal};

/// Tries while nobody knows whether the post was written, and the time between them, doubling.
const TRIES: u32 = 5;
const FIRST_WAIT: Duration = Duration::from_millis(250);
/// For one try.
const TRY_WAIT: Duration = Duration::from_secs(10);

#[derive(Serialize)]
struct Draft<'a> {
    comment: &'a str,
    author: &'a str,
}

impl Client {
    /// Posts a comment. While the server cannot be reached, or does not know whether it was written,
    /// it is sent again with the same key: it is there once.
    ///
    /// # Errors
    /// If the server refuses it, or cannot be reached.
    pub async fn post(
        &self,
        board: &BoardName,
        comment: &str,
        author: &str,
    ) -> Result<Topic, ClientError> {
        let key: String = std::iter::repeat_with(fastrand::alphanumeric)
            .take(24)
            .collect();
        let mut wait = FIRST_WAIT;
        for _ in 1..TRIES {
            match self.post_once(board, comment, author, &key).await {
                Err(error) if error.is_temporary() => {
                    tracing::debug!(%error, "posting again with the same key");
                    sleep(wait).await;
                    wait *= 2;
                }
                done => return done,
            }
        }
        self.post_once(board, comment, author, &key).await
    }

    async fn post_once(
        &self,
        board: &BoardName,
        comment: &str,
        author: &str,
        key: &str,
    ) -> Result<Topic, ClientError> {
        let request = self
            .http
            .post(self.url(&format!("/api/v1/boards/{board}/topics")));
        let request = self
            .authorized(request)
            .header("idempotency-key", key)
            .json(&Draft { comment, author });
        let late = |_| ClientError::Unavailable("the server did not answer in time".to_owned());
        let response = timeout(TRY_WAIT, request.send()).await.map_err(late)??;
        if !response.status().is_success() {
            return Err(refusal(response).await);
        }
        Ok(response.json().await?)
    }
}
