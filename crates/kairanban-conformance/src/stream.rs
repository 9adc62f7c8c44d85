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
        self.id.as_deref().filter(|id| !id.is_empty()).ok_or_else(|| format!("no id in {self:?}"))
    }
}

impl Events {
    /// Opens the stream at `path`; that has to succeed.
    pub(crate) async fn open(server: &Server, path: &str, headers: &[(&str, &str)]) -> Result<Self, String> {
        let response = server.get(path, headers).await?;
        ensure(response.status().as_u16() == 200, || format!("{path}: {}", response.status()))?;
        let head = response.headers().clone();
        let bytes = response.bytes_stream().map_err(io::Error::other);
        let events = FramedRead::new(StreamReader::new(bytes), russe::Decoder::default());
        Ok(Self { head, events: Box::pin(events.map_err(|error| error.to_string())) })
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
                return Ok(Message { name, id, data: message.data.to_string() });
            }
        }
    }

    /// The next event, which has to have that name.
    pub(crate) async fn expect(&mut self, name: &str) -> Result<Message, String> {
        let message = self.message().await?;
        ensure(message.name == name, || format!("an event {name:?} was to come, and this came: {message:?}"))?;
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
        let number = |key: &str| data[key].as_u64().ok_or_else(|| format!("no {key} in {data}"));
        let revision = number("revision")?;
        if message.name == "snapshot" {
            self.topics.clear();
            for topic in data["topics"].as_array().ok_or("no topics")? {
                self.set(topic)?;
            }
        } else {
            let from = number("from")?;
            ensure(from <= self.revision && self.revision < revision, || format!("{from}..{revision} at {}", self.revision))?;
            for op in data["ops"].as_array().ok_or("no ops")? {
                match op["op"].as_str() {
                    Some("set") => self.set(&op["topic"])?,
                    Some("delete") => drop(self.topics.remove(&op["id"].as_u64().ok_or("a delete without an id")?)),
                    _ => return Err(format!("an unknown op: {op}")),
                }
            }
        }
        self.revision = revision;
        let digest = Digest::of_pairs(self.topics.iter().map(|(id, (revision, _))| (*id, *revision))).to_string();
        ensure(data["digest"] == digest.as_str(), || {
            format!("the digest is {digest}, and {} stands in {}", data["digest"], message.name)
        })
    }

    fn set(&mut self, topic: &Value) -> Result<(), String> {
        let number = |key: &str| topic[key].as_u64().ok_or_else(|| format!("no {key} in {topic}"));
        let comment = topic["comment"].as_str().ok_or("no comment")?.to_owned();
        self.topics.insert(number("id")?, (number("revision")?, comment));
        Ok(())
    }

    pub(crate) fn shows(&self, comment: &str) -> bool {
        self.topics.values().any(|(_, shown)| shown == comment)
    }
}
