//! A stream that is opened again and again, from where the one before ended.

use std::{io, pin::Pin, time::Duration};

use futures_util::{Stream, StreamExt as _, TryStreamExt as _};
use russe::{Event, Message};
use tokio::time::sleep;
use tokio_util::{codec::FramedRead, io::StreamReader};

use crate::{Client, ClientError, refusal};

/// Between two tries while the server cannot be reached, at most: from the first to the last, doubling.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(30));

/// What comes over the line.
pub(crate) enum Heard {
    /// An event.
    Message(Message),
    /// The connection was lost; told once, not at each try.
    Lost(String),
}

type Events = Pin<Box<dyn Stream<Item = Result<Event, String>> + Send>>;

pub(crate) struct Line {
    client: Client,
    path: String,
    query: String,
    events: Option<Events>,
    /// What the server asks for before the next stream.
    retry: Duration,
    /// Tries since the last event.
    tries: u32,
}

impl std::fmt::Debug for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Line")
            .field("path", &self.path)
            .field("open", &self.events.is_some())
            .finish_non_exhaustive()
    }
}

impl Line {
    pub(crate) fn new(client: Client, path: String, query: String) -> Self {
        Self {
            client,
            path,
            query,
            events: None,
            retry: BACKOFF.0,
            tries: 0,
        }
    }

    /// Ends the stream; the next one is opened when it is asked for.
    pub(crate) fn hang_up(&mut self) {
        self.events = None;
    }

    /// Waits for what comes, opening a stream from `cursor` on if there is none.
    pub(crate) async fn next(&mut self, cursor: Option<&str>) -> Result<Heard, ClientError> {
        loop {
            let Some(events) = &mut self.events else {
                match self.open(cursor).await {
                    Ok(events) => self.events = Some(events),
                    Err(error) if error.is_temporary() => {
                        let first = self.tries == 0;
                        sleep(self.backoff()).await;
                        if first {
                            return Ok(Heard::Lost(error.to_string()));
                        }
                    }
                    Err(error) => return Err(error),
                }
                continue;
            };
            match events.next().await {
                Some(Ok(Event::Message(message))) => {
                    self.tries = 0;
                    self.retry = message.retry.unwrap_or(self.retry);
                    return Ok(Heard::Message(message));
                }
                Some(Ok(Event::Retry(retry))) => self.retry = retry,
                Some(Ok(Event::Comment(_))) => self.tries = 0,
                end => {
                    self.events = None;
                    let why = end.and_then(Result::err);
                    tracing::debug!(path = self.path, ?why, "the stream ended");
                    // The server has put chance into it already.
                    sleep(self.retry).await;
                }
            }
        }
    }

    async fn open(&self, cursor: Option<&str>) -> Result<Events, ClientError> {
        let mut url = self.client.url(&self.path);
        url.set_query(Some(&self.query));
        let request = self.client.authorized(self.client.http.get(url));
        let mut request = request.header("accept", "text/event-stream, application/json");
        if let Some(cursor) = cursor {
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

    /// Anything up to a limit that doubles, so that readers who were cut off together do not come back together.
    fn backoff(&mut self) -> Duration {
        let longest = BACKOFF
            .0
            .saturating_mul(1_u32.checked_shl(self.tries).unwrap_or(u32::MAX))
            .min(BACKOFF.1);
        self.tries += 1;
        longest.mul_f64(fastrand::f64())
    }
}
