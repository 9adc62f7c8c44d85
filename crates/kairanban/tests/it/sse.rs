//! A reader of Server-Sent Events with a deadline, and a board as a client keeps it.

use std::{
    collections::{BTreeMap, VecDeque},
    io::BufReader,
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::wire::{self, PATIENCE};
use std::io::Write as _;

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Event {
    pub(crate) name: String,
    pub(crate) id: Option<String>,
    pub(crate) data: String,
    pub(crate) retry: Option<u64>,
    pub(crate) comment: bool,
}

impl Event {
    /// The board of an event of several.
    pub(crate) fn board(&self) -> String {
        let data = self.json();
        data["board"].as_str().expect("a board").to_owned()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.data).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

pub(crate) struct Reader {
    input: BufReader<TcpStream>,
    pub(crate) head: String,
    chunked: bool,
    text: String,
    events: VecDeque<Event>,
}

impl Reader {
    pub(crate) fn open(address: SocketAddr, path: &str, headers: &[(&str, &str)]) -> Self {
        let mut connection = wire::connect(address);
        connection
            .write_all(&wire::message("GET", path, headers, b""))
            .expect("sent");
        let mut input = BufReader::new(connection);
        let (status, head) = wire::read_head(&mut input);
        assert_eq!(status, 200, "{head}");
        // A refusal is complete when it is sent, so it is not chunked.
        let chunked = head.to_lowercase().contains("transfer-encoding: chunked");
        Self {
            input,
            head,
            chunked,
            text: String::new(),
            events: VecDeque::new(),
        }
    }

    /// The next thing on the stream, comments and `retry` lines too; `None` at its end, and after
    /// `patience` without a byte.
    pub(crate) fn raw(&mut self, patience: Duration) -> Option<Event> {
        self.input
            .get_ref()
            .set_read_timeout(Some(patience))
            .expect("a time limit");
        while self.events.is_empty() {
            let chunk = if self.chunked {
                wire::read_chunk(&mut self.input)?
            } else {
                wire::read_some(&mut self.input)?
            };
            self.text
                .push_str(std::str::from_utf8(&chunk).expect("UTF-8"));
            while let Some(end) = end_of_first(&self.text) {
                let block: String = self.text.drain(..end).collect();
                self.events.push_back(parse(&block));
            }
        }
        self.events.pop_front()
    }

    /// The next event with data.
    pub(crate) fn event(&mut self) -> Event {
        loop {
            let event = self.raw(PATIENCE).expect("an event before the deadline");
            if !event.data.is_empty() {
                return event;
            }
        }
    }

    /// Asserts that nothing but heartbeats (and the `retry` at the start) comes for a while.
    pub(crate) fn quiet_for(&mut self, time: Duration) {
        let end = Instant::now() + time;
        while let Some(left) = end
            .checked_duration_since(Instant::now())
            .filter(|left| !left.is_zero())
        {
            if let Some(event) = self.raw(left) {
                assert!(
                    event.comment
                        || event
                            == Event {
                                retry: event.retry,
                                ..Event::default()
                            },
                    "expected silence, got {event:?}"
                );
            }
        }
    }

    pub(crate) fn socket(&self) -> &TcpStream {
        self.input.get_ref()
    }
}

/// Returns where the first event ends, or the first comment, which no empty line follows.
fn end_of_first(text: &str) -> Option<usize> {
    let mut end = 0;
    for line in text
        .split_inclusive('\n')
        .filter(|line| line.ends_with('\n'))
    {
        end += line.len();
        if line == "\n" || line.starts_with(':') {
            return Some(end);
        }
    }
    None
}

pub(crate) fn parse(block: &str) -> Event {
    let mut event = Event::default();
    for line in block.lines().filter(|line| !line.is_empty()) {
        match line
            .split_once(':')
            .map(|(field, value)| (field, value.strip_prefix(' ').unwrap_or(value)))
        {
            Some(("", _)) => event.comment = true,
            Some(("event", value)) => event.name = value.to_owned(),
            Some(("id", value)) => event.id = Some(value.to_owned()),
            Some(("data", value)) => event.data.push_str(value),
            Some(("retry", value)) => event.retry = Some(value.parse().expect("digits")),
            _ if line == "id" => event.id = Some(String::new()),
            _ => panic!("no field of an event stream: {line:?}"),
        }
    }
    event
}

/// What a client of `format=patch` holds, by the rules of the contract.
#[derive(Clone, Debug, Default)]
pub(crate) struct Mirror {
    pub(crate) cursor: String,
    pub(crate) revision: u64,
    pub(crate) topics: BTreeMap<u64, (u64, String)>,
}

impl Mirror {
    /// Takes an event, and checks the digest of every state that it completes.
    pub(crate) fn take(&mut self, event: &Event) {
        match event.name.as_str() {
            "snapshot" => {
                let data = event.json();
                self.topics.clear();
                data["topics"]
                    .as_array()
                    .expect("topics")
                    .iter()
                    .for_each(|topic| self.set(topic));
                self.complete(event, &data);
            }
            "patch" => {
                let data = event.json();
                self.patch(&data);
                self.complete(event, &data);
            }
            "reset" => *self = Self::default(),
            _ => {}
        }
    }

    fn patch(&mut self, data: &Value) {
        let (from, to) = (
            data["from"].as_u64().expect("from"),
            data["revision"].as_u64().expect("revision"),
        );
        assert!(
            from <= self.revision && self.revision < to,
            "at {} came {data}",
            self.revision
        );
        for op in data["ops"].as_array().expect("ops") {
            match op["op"].as_str() {
                Some("set") => self.set(&op["topic"]),
                Some("delete") => drop(self.topics.remove(&op["id"].as_u64().expect("an id"))),
                other => panic!("an op {other:?}"),
            }
        }
    }

    fn set(&mut self, topic: &Value) {
        let id = topic["id"].as_u64().expect("a number");
        let revision = topic["revision"].as_u64().expect("a number");
        let comment = topic["comment"].as_str().expect("a comment").to_owned();
        self.topics.insert(id, (revision, comment));
    }

    fn complete(&mut self, event: &Event, data: &Value) {
        let revision = data["revision"].as_u64().expect("a revision");
        assert!(
            revision >= self.revision,
            "revisions never fall: {} then {revision}",
            self.revision
        );
        self.revision = revision;
        self.cursor = event.id.clone().expect("an id completes a state");
        assert!(self.cursor.ends_with(&format!("-{revision}")));
        assert_eq!(
            data["digest"].as_str(),
            Some(self.digest().as_str()),
            "{data}"
        );
    }

    fn digest(&self) -> String {
        digest(
            self.topics
                .iter()
                .map(|(id, (revision, _))| (*id, *revision)),
        )
    }

    pub(crate) fn comments(&self) -> Vec<&str> {
        self.topics
            .values()
            .map(|(_, comment)| comment.as_str())
            .collect()
    }
}

/// One step of SplitMix64.
fn mix(x: u64) -> u64 {
    let z = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The list of a board, kept up to date by its stream.
pub(crate) struct Watched {
    pub(crate) stream: Reader,
    pub(crate) mirror: Mirror,
}

impl Watched {
    /// Takes a stream of the format `patch` from its beginning.
    pub(crate) fn new(stream: Reader) -> Self {
        Self {
            stream,
            mirror: Mirror::default(),
        }
    }

    /// Takes the next event.
    pub(crate) fn take(&mut self) {
        self.mirror.take(&self.stream.event());
    }

    /// Waits until the stream has shown exactly these comments.
    pub(crate) fn shows(&mut self, expected: &[&str]) {
        while self.mirror.comments() != expected {
            self.take();
        }
    }
}

/// The digest of the contract, of ids and revisions.
pub(crate) fn digest(topics: impl Iterator<Item = (u64, u64)>) -> String {
    let sum = topics
        .map(|(id, revision)| mix(mix(id).wrapping_add(revision)))
        .fold(0, u64::wrapping_add);
    format!("{sum:016x}")
}
