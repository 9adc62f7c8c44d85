//! Following a board: one stream after the other, each from where the last one ended.

use std::{io, pin::Pin, time::Duration};

use chrono::{DateTime, Utc};
use futures_util::{Stream, StreamExt as _, TryStreamExt as _};
use kairanban_core::BoardName;
use russe::{Event, Message};
use serde::de::DeserializeOwned;
use tokio::time::sleep;
use tokio_util::{codec::FramedRead, io::StreamReader};

use crate::{
    Client, ClientError, Copy, Op, refusal,
    wire::{Patch, Reason, Snapshot, Stale},
};

/// Between two tries while the server cannot be reached: from the first to the last, doubling.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(30));

/// What happened on the board.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// The list was read anew; see [`Follow::copy`].
    List,
    /// The list changed by this.
    Changed(Vec<Op>),
    /// The server's database has been away since then: the list may be old.
    Stale(DateTime<Utc>),
    /// It is back.
    Fresh,
    /// The connection was lost, and is tried again.
    Lost(String),
}

type Events = Pin<Box<dyn Stream<Item = Result<Event, String>> + Send>>;

/// A board being followed.
pub struct Follow {
    client: Client,
    board: BoardName,
    copy: Copy,
    events: Option<Events>,
    /// What the server asks for before the next stream.
    retry: Duration,
    /// Tries since the last event.
    tries: u32,
}

impl std::fmt::Debug for Follow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Follow").field("board", &self.board).field("copy", &self.copy.revision()).finish_non_exhaustive()
    }
}

impl Follow {
    pub(crate) fn new(client: Client, board: BoardName) -> Self {
        Self { client, board, copy: Copy::default(), events: None, retry: BACKOFF.0, tries: 0 }
    }

    /// The list, as far as it was followed.
    #[must_use]
    pub const fn copy(&self) -> &Copy {
        &self.copy
    }

    /// Waits for the next thing that happens, through lost connections and restarts of the server.
    /// After [`ClientError::Differs`] it goes on with a list read anew.
    ///
    /// # Errors
    /// [`ClientError::Differs`]; and, for good, if the board is gone or the token no longer allows it,
    /// or the server speaks another language.
    pub async fn next(&mut self) -> Result<News, ClientError> {
        loop {
            let Some(events) = &mut self.events else {
                match self.open().await {
                    Ok(events) => self.events = Some(events),
                    Err(error) if error.is_temporary() => {
                        let news = News::Lost(error.to_string());
                        sleep(self.backoff()).await;
                        // Told once, not at each try.
                        if self.tries == 1 {
                            return Ok(news);
                        }
                    }
                    Err(error) => return Err(error),
                }
                continue;
            };
            match events.next().await {
                Some(Ok(Event::Message(message))) => {
                    self.tries = 0;
                    if let Some(news) = self.take(&message).inspect_err(|_| self.start_anew())? {
                        return Ok(news);
                    }
                }
                Some(Ok(Event::Retry(retry))) => self.retry = retry,
                Some(Ok(Event::Comment(_))) => self.tries = 0,
                end => {
                    self.events = None;
                    tracing::debug!(board = %self.board, why = ?end.and_then(Result::err), "the stream ended");
                    sleep(self.retry).await;
                }
            }
        }
    }

    fn take(&mut self, message: &Message) -> Result<Option<News>, ClientError> {
        if let Some(retry) = message.retry {
            self.retry = retry;
        }
        let cursor = || message.id.as_ref().map(ToString::to_string).filter(|id| !id.is_empty());
        Ok(match message.event.as_deref() {
            Some("snapshot") => {
                self.copy.replace(parse::<Snapshot>(message)?, cursor())?;
                Some(News::List)
            }
            Some("patch") => self.copy.patch(parse::<Patch>(message)?, cursor())?.map(News::Changed),
            Some("reset") => {
                tracing::debug!(reason = parse::<Reason>(message)?.reason, "the server begins anew");
                self.copy.reset();
                None
            }
            Some("stale") => Some(News::Stale(parse::<Stale>(message)?.since)),
            Some("fresh") => Some(News::Fresh),
            Some("bye") => {
                tracing::debug!(reason = parse::<Reason>(message)?.reason, "the server ends the stream");
                None
            }
            // What a later server may add.
            _ => None,
        })
    }

    async fn open(&self) -> Result<Events, ClientError> {
        let mut url = self.client.url(&format!("/b/{}/stream", self.board));
        url.set_query(Some("format=patch"));
        let request = self.client.http.get(url);
        let mut request = self.client.authorized(request).header("accept", "text/event-stream, application/json");
        if let Some(cursor) = self.copy.cursor() {
            request = request.header("last-event-id", cursor);
        }
        let response = request.send().await?;
        if !response.status().is_success() {
            return Err(refusal(response).await);
        }
        let bytes = response.bytes_stream().map_err(io::Error::other);
        let events = FramedRead::new(StreamReader::new(bytes), russe::Decoder::default());
        Ok(Box::pin(events.map_err(|error| error.to_string())))
    }

    fn start_anew(&mut self) {
        self.events = None;
        self.copy.reset();
    }

    fn backoff(&mut self) -> Duration {
        let longest = BACKOFF.0.saturating_mul(1_u32.checked_shl(self.tries).unwrap_or(u32::MAX)).min(BACKOFF.1);
        self.tries += 1;
        // At random, so that readers who were cut off together do not come back together.
        longest.mul_f64(0.5 + 0.5 * fastrand::f64())
    }
}

fn parse<T: DeserializeOwned>(message: &Message) -> Result<T, ClientError> {
    Ok(serde_json::from_str(&message.data)?)
}
