//! A stream of events, each with a time limit.

use std::{io, pin::Pin, time::Duration};

use futures_util::{Stream, StreamExt as _, TryStreamExt as _};
use reqwest::header::HeaderMap;
use russe::Event;
use serde_json::Value;
use tokio::time::timeout;
use tokio_util::{codec::FramedRead, io::StreamReader};

use crate::{TestedServer, ensure};

/// The longest wait for an event that has to come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);
/// The wait after which an event that must not come has not come.
pub(crate) const QUIET: Duration = Duration::from_millis(300);

/// An open stream of events.
pub(crate) struct Events {
    pub(crate) head: HeaderMap,
    events: Pin<Box<dyn Stream<Item = Result<Event, String>>>>,
}

/// An event with data.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) name: String,
    pub(crate) id: Option<String>,
    pub(crate) data: String,
    /// How long to wait before reconnecting, if the event says so.
    pub(crate) retry: Option<Duration>,
}

impl Message {
    pub(crate) fn json(&self) -> Result<Value, String> {
        serde_json::from_str(&self.data).map_err(|error| format!("{error} in {self:?}"))
    }

    pub(crate) fn cursor(&self) -> Result<&str, String> {
        self.id
            .as_deref()
            .filter(|id| !id.is_empty())
            .ok_or_else(|| format!("no id in {self:?}"))
    }
}

impl Events {
    /// Opens the stream at `path`.
    ///
    /// # Errors
    /// If the status is not 200.
    pub(crate) async fn open(
        server: &TestedServer,
        path: &str,
        headers: &[(&str, &str)],
    ) -> Result<Self, String> {
        let response = server.get(path, headers).await?;
        ensure(response.status().as_u16() == 200, || {
            format!("{path}: {}", response.status())
        })?;
        let head = response.headers().clone();
        let bytes = response.bytes_stream().map_err(io::Error::other);
        let events = FramedRead::new(StreamReader::new(bytes), russe::Decoder::default());
        Ok(Self {
            head,
            events: Box::pin(events.map_err(|error| error.to_string())),
        })
    }

    /// Waits for the next event of any kind, also a comment.
    pub(crate) async fn any(&mut self) -> Result<Event, String> {
        match timeout(PATIENCE, self.events.next()).await {
            Ok(Some(event)) => event,
            Ok(None) => Err("the stream ended".to_owned()),
            Err(_) => Err(format!("nothing came within {PATIENCE:?}")),
        }
    }

    /// Waits for the next event with data or an id.
    pub(crate) async fn message(&mut self) -> Result<Message, String> {
        loop {
            if let Event::Message(message) = self.any().await? {
                let name = message.event.as_deref().unwrap_or_default().to_owned();
                let id = message.id.as_ref().map(ToString::to_string);
                return Ok(Message {
                    name,
                    id,
                    data: message.data.to_string(),
                    retry: message.retry,
                });
            }
        }
    }

    /// Waits for the next event.
    ///
    /// # Errors
    /// If it has another name.
    pub(crate) async fn expect(&mut self, name: &str) -> Result<Message, String> {
        let message = self.message().await?;
        ensure(message.name == name, || {
            format!("expected an event {name:?}, got {message:?}")
        })?;
        Ok(message)
    }

    /// Waits for a while.
    ///
    /// # Errors
    /// If an event comes.
    pub(crate) async fn quiet(&mut self) -> Result<(), String> {
        match timeout(QUIET, self.message()).await {
            Err(_) => Ok(()),
            Ok(message) => Err(format!("expected no event, got {message:?}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read as _, Write as _},
        net::TcpListener,
        thread,
    };

    use super::*;

    #[test]
    fn an_event_without_an_id_has_no_cursor() {
        for (id, cursor) in [(Some("e-1"), Some("e-1")), (Some(""), None), (None, None)] {
            let message = Message {
                name: "patch".to_owned(),
                id: id.map(ToOwned::to_owned),
                data: String::new(),
                retry: None,
            };
            assert_eq!(message.cursor().ok(), cursor, "{id:?}");
        }
    }

    /// Starts a server that answers one request with these bytes, a few at a time, and closes the
    /// connection.
    fn answering(answer: &'static str) -> TestedServer {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let base = format!("http://{}", listener.local_addr().expect("an address"));
        thread::spawn(move || {
            let (mut socket, _) = listener.accept().expect("a connection");
            let (mut request, mut buffer) = (Vec::new(), [0; 1_024]);
            while !request.ends_with(b"\r\n\r\n") {
                let length = socket.read(&mut buffer).expect("a request");
                request.extend(&buffer[..length]);
            }
            answer
                .as_bytes()
                .chunks(5)
                .for_each(|piece| socket.write_all(piece).expect("a reader"));
        });
        TestedServer::new(&base, "main", None).expect("a server")
    }

    const STREAM: &str = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: \
        text/event-stream\r\n\r\nretry: 5\n\n:\n\nid: e-1\nevent: snapshot\ndata: {\"a\":\ndata: \
        1}\n\ndata: bare\n\n";

    #[tokio::test]
    async fn events_are_read_as_they_were_sent() {
        let server = answering(STREAM);
        let mut events = Events::open(&server, "/b/{board}/stream", &[])
            .await
            .expect("a stream");
        assert_eq!(events.head["content-type"], "text/event-stream");
        let first = events
            .expect("snapshot")
            .await
            .expect("the first event, behind retry and a comment");
        assert_eq!(
            (first.cursor(), first.json().expect("JSON")),
            (Ok("e-1"), serde_json::json!({"a": 1}))
        );
        let second = events.message().await.expect("an event without a name");
        assert_eq!(
            (&*second.name, second.id, &*second.data),
            ("", None, "bare")
        );
        assert!(
            events
                .message()
                .await
                .expect_err("the end")
                .contains("ended")
        );
    }

    #[tokio::test]
    async fn another_event_than_expected_fails_and_so_does_noise_where_there_should_be_quiet() {
        let server = answering(STREAM);
        let mut events = Events::open(&server, "/", &[]).await.expect("a stream");
        let error = events.expect("patch").await.expect_err("a snapshot came");
        assert!(
            error.contains("patch") && error.contains("snapshot"),
            "{error}"
        );
        assert!(
            events
                .quiet()
                .await
                .expect_err("an event came")
                .contains("bare")
        );
    }

    #[tokio::test]
    async fn a_stream_that_is_refused_is_not_open() {
        let server =
            answering("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        assert!(
            Events::open(&server, "/b/{board}/stream", &[])
                .await
                .is_err_and(|error| error.contains("404"))
        );
    }
}
