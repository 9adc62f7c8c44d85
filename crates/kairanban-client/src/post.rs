//! Posting with retries, so that each post is written once.

use std::time::Duration;

use kairanban_core::BoardName;
use serde::Serialize;
use tokio::time::{sleep, timeout};

use crate::{Client, ClientError, ListedTopic, refusal};

/// The number of tries while it is not known whether the post was written.
const TRIES: u32 = 5;
/// The wait before the second try. It doubles with each further one.
const FIRST_WAIT: Duration = Duration::from_millis(250);
/// The longest wait for the response to one try.
const TRY_WAIT: Duration = Duration::from_secs(10);

#[derive(Serialize)]
struct PostBody<'a> {
    comment: &'a str,
    author: &'a str,
}

impl Client {
    /// Posts a topic and returns it. While the server cannot be reached, or it is not known whether
    /// the post was written, sends it again with the same idempotency key, so that it is written at
    /// most once.
    ///
    /// Not cancel safe: if the future is dropped, the topic may or may not have been written.
    ///
    /// # Errors
    /// The server's error if it refuses the post, or the last one if five tries fail.
    pub async fn post(
        &self,
        board: &BoardName,
        comment: &str,
        author: &str,
    ) -> Result<ListedTopic, ClientError> {
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
    ) -> Result<ListedTopic, ClientError> {
        let request = self
            .http
            .post(self.url(&format!("/api/v1/boards/{board}/topics")));
        let request = self
            .authorized(request)
            .header("idempotency-key", key)
            .json(&PostBody { comment, author });
        let Ok(response) = timeout(TRY_WAIT, request.send()).await else {
            let late = "the server did not answer in time".to_owned();
            return Err(ClientError::Unavailable(late));
        };
        let response = response?;
        if !response.status().is_success() {
            return Err(refusal(response).await);
        }
        Ok(response.json().await?)
    }
}
