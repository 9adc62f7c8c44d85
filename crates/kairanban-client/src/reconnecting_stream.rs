//! A stream of events that reconnects, and continues at a cursor.

use std::{io, pin::Pin, time::Duration};

use futures_util::{Stream, StreamExt as _, TryStreamExt as _};
use russe::{Event, Message};
use tokio::time::sleep;
use tokio_util::{codec::FramedRead, io::StreamReader};

use crate::{
    Client, ClientError, refusal,
    wire::{BoardField, ReasonEvent},
};

/// The longest wait after the first failed connection. It doubles with each further one, up to
/// [`BACKOFF_MAX`].
const BACKOFF_MIN: Duration = Duration::from_millis(200);
const BACKOFF_MAX: Duration = Duration::from_secs(30);

/// What the stream reports.
pub(crate) enum StreamEvent {
    /// The server sent an event.
    Message(Message),
    /// The connection was lost, or the server refuses streams for the moment, and why. Reported
    /// once, not for each try.
    Lost(String),
    /// After `Lost`: a stream is open again.
    Back,
}

type ReceivedEvents = Pin<Box<dyn Stream<Item = Result<Event, String>> + Send>>;

pub(crate) struct ReconnectingStream {
    client: Client,
    path: String,
    query: String,
    events: Option<ReceivedEvents>,
    /// The wait before the next connection, as the server asks.
    retry: Duration,
    /// Failed connections since the last open one.
    tries: u32,
    /// `Lost` was reported, and `Back` not yet.
    is_lost: bool,
    /// What came with the news that the stream is open again.
    held: Option<Message>,
}

impl std::fmt::Debug for ReconnectingStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReconnectingStream")
            .field("path", &self.path)
            .field("open", &self.events.is_some())
            .finish_non_exhaustive()
    }
}

impl ReconnectingStream {
    pub(crate) fn new(client: Client, path: String, query: String) -> Self {
        Self {
            client,
            path,
            query,
            events: None,
            retry: BACKOFF_MIN,
            tries: 0,
            is_lost: false,
            held: None,
        }
    }

    /// Closes the connection. [`next`](Self::next) opens another one.
    pub(crate) fn close(&mut self) {
        (self.events, self.held) = (None, None);
    }

    /// Waits for the next event, and connects if that is necessary, to continue at `cursor`. Cancel
    /// safe: dropping the future loses no event.
    pub(crate) async fn next(&mut self, cursor: Option<&str>) -> Result<StreamEvent, ClientError> {
        if let Some(message) = self.held.take() {
            return Ok(StreamEvent::Message(message));
        }
        loop {
            let Some(events) = &mut self.events else {
                match self.open(cursor).await {
                    Ok(events) => {
                        self.events = Some(events);
                        self.tries = 0;
                    }
                    Err(error) if error.is_temporary() => {
                        sleep(self.backoff()).await;
                        if !std::mem::replace(&mut self.is_lost, true) {
                            return Ok(StreamEvent::Lost(error.to_string()));
                        }
                    }
                    Err(error) => return Err(error),
                }
                continue;
            };
            match events.next().await {
                Some(Ok(Event::Message(message))) => {
                    self.retry = message.retry.unwrap_or(self.retry);
                    return Ok(self.report(message));
                }
                Some(Ok(Event::Retry(retry))) => self.retry = retry,
                // A reader that missed nothing is sent no more than this.
                Some(Ok(Event::Comment(_))) if self.is_lost => {
                    self.is_lost = false;
                    return Ok(StreamEvent::Back);
                }
                Some(Ok(Event::Comment(_))) => {}
                end => {
                    self.events = None;
                    let why = end.and_then(Result::err);
                    tracing::debug!(path = self.path, ?why, "the stream ended");
                    // The server has randomized it.
                    sleep(self.retry).await;
                }
            }
        }
    }

    /// Reports a message, and before it that the stream is open again, unless it refuses.
    fn report(&mut self, message: Message) -> StreamEvent {
        let refusal = refusal_of(&message);
        match (self.is_lost, refusal) {
            (false, Some(why)) => {
                self.is_lost = true;
                StreamEvent::Lost(why)
            }
            (true, None) if message.event.as_deref() != Some("bye") => {
                self.is_lost = false;
                self.held = Some(message);
                StreamEvent::Back
            }
            _ => StreamEvent::Message(message),
        }
    }

    async fn open(&mut self, cursor: Option<&str>) -> Result<ReceivedEvents, ClientError> {
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

    /// Returns a random wait up to a limit that doubles, so that clients that lost their
    /// connections at the same time do not reconnect at the same time.
    fn backoff(&mut self) -> Duration {
        let longest = BACKOFF_MIN
            .saturating_mul(1_u32.checked_shl(self.tries).unwrap_or(u32::MAX))
            .min(BACKOFF_MAX);
        self.tries += 1;
        longest.mul_f64(fastrand::f64())
    }
}

/// Returns why the server ends a stream that it cannot serve for the moment; `None` if it does not,
/// or ends it as planned. Which reasons are temporary refusals is said in docs/PROTOCOL.md.
fn refusal_of(message: &Message) -> Option<String> {
    if message.event.as_deref() != Some("bye") {
        return None;
    }
    // One that names a board ends that board alone.
    let BoardField { board: None } = serde_json::from_str(&message.data).ok()? else {
        return None;
    };
    let ReasonEvent { reason } = serde_json::from_str(&message.data).ok()?;
    match reason.as_str() {
        "limit" => Some("the server has no more room for streams of this client".to_owned()),
        "unavailable" => Some("the server cannot read the board for the moment".to_owned()),
        _ => None,
    }
}
