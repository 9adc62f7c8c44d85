//! A stream of events with a deadline, and the list that `snapshot` and `patch` lead to.

use std::{collections::BTreeMap, io, pin::Pin, time::Duration};

use futures_util::{Stream, StreamExt as _, TryStreamExt as _};
use kairanban_core::Digest;
use reqwest::header::HeaderMap;
use russe::Event;
use serde_json::Value;
use tokio::time::timeout;
use tokio_util::{codec::FramedRead, io::StreamReader};

use crate::{Server, ensure};

/// For an event that has to come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);
/// For an event that must not come.
pub(crate) const QUIET: Duration = Duration::from_millis(300);

/// An open stream.
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
    /// Opens the stream at `path`; that has to succeed.
    pub(crate) async fn open(
        server: &Server,
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

    /// Whatever comes next.
    pub(crate) async fn any(&mut self) -> Result<Event, String> {
        match timeout(PATIENCE, self.events.next()).await {
            Ok(Some(event)) => event,
            Ok(None) => Err("the stream ended".to_owned()),
            Err(_) => Err(format!("nothing came within {PATIENCE:?}")),
        }
    }

    /// The next event with data or an id.
    pub(crate) async fn message(&mut self) -> Result<Message, String> {
        loop {
            if let Event::Message(message) = self.any().await? {
                let name = message.event.as_deref().unwrap_or_default().to_owned();
                let id = message.id.as_ref().map(ToString::to_string);
                return Ok(Message {
                    name,
                    id,
                    data: message.data.to_string(),
                });
            }
        }
    }

    /// The next event, which has to have that name.
    pub(crate) async fn expect(&mut self, name: &str) -> Result<Message, String> {
        let message = self.message().await?;
        ensure(message.name == name, || {
            format!("an event {name:?} was to come, and this came: {message:?}")
        })?;
        Ok(message)
    }

    /// Holds that no event comes for a while.
    pub(crate) async fn quiet(&mut self) -> Result<(), String> {
        match timeout(QUIET, self.message()).await {
            Err(_) => Ok(()),
            Ok(came) => Err(format!("nothing was to come, and this came: {came:?}")),
        }
    }
}

/// A board's list, checked at each step.
#[derive(Debug, Default)]
pub(crate) struct List {
    pub(crate) revision: u64,
    pub(crate) topics: BTreeMap<u64, (u64, String)>,
}

impl List {
    /// Takes a `snapshot` or a `patch`.
    pub(crate) fn take(&mut self, message: &Message) -> Result<(), String> {
        let data = message.json()?;
        let number = |key: &str| {
            data[key]
                .as_u64()
                .ok_or_else(|| format!("no {key} in {data}"))
        };
        let revision = number("revision")?;
        if message.name == "snapshot" {
            self.topics.clear();
            for topic in data["topics"].as_array().ok_or("no topics")? {
                self.set(topic)?;
            }
        } else {
            let from = number("from")?;
            ensure(from <= self.revision && self.revision < revision, || {
                format!("{from}..{revision} at {}", self.revision)
            })?;
            for op in data["ops"].as_array().ok_or("no ops")? {
                match op["op"].as_str() {
                    Some("set") => self.set(&op["topic"])?,
                    Some("delete") => drop(
                        self.topics
                            .remove(&op["id"].as_u64().ok_or("a delete without an id")?),
                    ),
                    _ => return Err(format!("an unknown op: {op}")),
                }
            }
        }
        self.revision = revision;
        let digest = Digest::of_pairs(
            self.topics
                .iter()
                .map(|(id, (revision, _))| (*id, *revision)),
        )
        .to_string();
        ensure(data["digest"] == digest.as_str(), || {
            format!(
                "the digest is {digest}, and {} stands in {}",
                data["digest"], message.name
            )
        })
    }

    fn set(&mut self, topic: &Value) -> Result<(), String> {
        let number = |key: &str| {
            topic[key]
                .as_u64()
                .ok_or_else(|| format!("no {key} in {topic}"))
        };
        let comment = topic["comment"].as_str().ok_or("no comment")?.to_owned();
        self.topics
            .insert(number("id")?, (number("revision")?, comment));
        Ok(())
    }

    pub(crate) fn shows(&self, comment: &str) -> bool {
        self.topics.values().any(|(_, shown)| shown == comment)
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

    fn topic(id: u64, revision: u64) -> String {
        format!(r#"{{"id":{id},"comment":"c{id}","revision":{revision}}}"#)
    }

    fn message(name: &str, data: impl Into<String>) -> Message {
        Message {
            name: name.to_owned(),
            id: Some("e-1".to_owned()),
            data: data.into(),
        }
    }

    fn snapshot(revision: u64, digest: &str, topics: &[String]) -> Message {
        let topics = topics.join(",");
        message(
            "snapshot",
            format!(r#"{{"revision":{revision},"digest":"{digest}","topics":[{topics}]}}"#),
        )
    }

    /// The list and the digest that docs/PROTOCOL.md names.
    fn documented() -> List {
        let mut list = List::default();
        list.take(&snapshot(
            7,
            "8e8e44e4f764f322",
            &[topic(1, 1), topic(2, 7)],
        ))
        .expect("the documented digest");
        list
    }

    fn patch(from: u64, revision: u64, digest: &str, ops: &str) -> Message {
        message(
            "patch",
            format!(r#"{{"from":{from},"revision":{revision},"digest":"{digest}","ops":[{ops}]}}"#),
        )
    }

    #[test]
    fn a_list_follows_snapshots_and_patches() {
        let mut list = documented();
        let digest = Digest::of_pairs([(2, 7), (3, 9)].into_iter()).to_string();
        let set = format!(
            r#"{{"op":"set","topic":{}}},{{"op":"delete","id":1}}"#,
            topic(3, 9)
        );
        list.take(&patch(6, 9, &digest, &set))
            .expect("a patch that begins earlier");
        assert_eq!(
            (list.revision, list.shows("c3"), list.shows("c1")),
            (9, true, false)
        );
        list.take(&snapshot(2, "0000000000000000", &[]))
            .expect("a snapshot replaces everything, also by something older");
        assert_eq!((list.revision, list.topics.len()), (2, 0));
    }

    #[test]
    fn a_breach_of_the_rules_is_named() {
        let right = Digest::of_pairs([(2, 7)].into_iter()).to_string();
        let delete = r#"{"op":"delete","id":1}"#;
        documented()
            .take(&patch(7, 8, &right, delete))
            .expect("the right one");
        for (broken, named) in [
            (patch(7, 8, "0000000000000000", delete), "the digest is"),
            (patch(8, 9, &right, delete), "8..9 at 7"),
            (patch(7, 7, &right, delete), "7..7 at 7"),
            (
                patch(7, 8, &right, r#"{"op":"move","id":1}"#),
                "an unknown op",
            ),
            (
                patch(7, 8, &right, r#"{"op":"delete"}"#),
                "a delete without an id",
            ),
            (
                patch(
                    7,
                    8,
                    &right,
                    r#"{"op":"set","topic":{"id":3,"revision":8}}"#,
                ),
                "no comment",
            ),
            (
                patch(
                    7,
                    8,
                    &right,
                    r#"{"op":"set","topic":{"comment":"c","revision":8}}"#,
                ),
                "no id",
            ),
            (message("patch", r#"{"revision":8,"ops":[]}"#), "no from"),
            (message("patch", r#"{"from":7,"revision":8}"#), "no ops"),
            (
                message("patch", r#"{"from":-1,"revision":8,"ops":[]}"#),
                "no from",
            ),
            (message("snapshot", r#"{"topics":[]}"#), "no revision"),
            (message("snapshot", r#"{"revision":8}"#), "no topics"),
            (
                message("snapshot", r#"{"revision":8,"topics":[]}"#),
                "the digest is",
            ),
            (message("snapshot", "{"), "in Message"),
        ] {
            let said = documented().take(&broken).expect_err("a breach");
            assert!(said.contains(named), "{said:?} for {broken:?}");
        }
    }

    #[test]
    fn an_event_without_an_id_has_no_cursor() {
        let with = |id: Option<&str>| Message {
            id: id.map(ToOwned::to_owned),
            ..message("patch", "")
        };
        assert_eq!(with(Some("e-1")).cursor(), Ok("e-1"));
        assert!(with(Some("")).cursor().is_err() && with(None).cursor().is_err());
    }

    /// A server that answers one request with these bytes, a few at a time, and closes the connection.
    fn answering(answer: &'static str) -> Server {
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
        Server::new(&base, "main", None).expect("a server")
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
        let said = events.expect("patch").await.expect_err("a snapshot came");
        assert!(
            said.contains("patch") && said.contains("snapshot"),
            "{said}"
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
                .is_err_and(|said| said.contains("404"))
        );
    }
}
