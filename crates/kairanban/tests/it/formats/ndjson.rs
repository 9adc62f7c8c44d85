//! The stream format `ndjson`: lines of JSON with the events of `patch`.

use std::{
    io::{BufReader, Write as _},
    net::TcpStream,
};

use serde_json::Value;

use crate::{
    node::{Database, Node},
    wire,
};

crate::on_both!(
    lines_of_json_are_the_patch_stream,
    lines_of_json_resume_at_a_cursor,
    lines_of_json_are_refused_to_a_client_that_accepts_events_alone,
);

/// A stream of lines.
struct Lines {
    input: BufReader<TcpStream>,
    head: String,
    text: String,
}

impl Lines {
    fn open(node: &Node, path: &str, headers: &[(&str, &str)]) -> Self {
        let mut connection = wire::connect(node.address);
        connection
            .write_all(&wire::message("GET", path, headers, b""))
            .expect("sent");
        let mut input = BufReader::new(connection);
        let (status, head) = wire::read_head(&mut input);
        assert_eq!(status, 200, "{head}");
        Self {
            input,
            head,
            text: String::new(),
        }
    }

    fn raw_line(&mut self) -> String {
        loop {
            if let Some(end) = self.text.find('\n') {
                return self.text.drain(..=end).collect();
            }
            let chunk = wire::read_chunk(&mut self.input).expect("a line before the deadline");
            self.text
                .push_str(std::str::from_utf8(&chunk).expect("UTF-8"));
        }
    }

    /// The next line that says something.
    fn event(&mut self) -> Value {
        loop {
            let line = self.raw_line();
            if line != "\n" {
                return serde_json::from_str(&line)
                    .unwrap_or_else(|error| panic!("{error}: {line:?}"));
            }
        }
    }
}

fn lines_of_json_are_the_patch_stream(database: Database) {
    let node = Node::start_with(database, &[("STREAM__HEARTBEAT_S", "1")]);
    node.post("first");
    let mut by_name = Lines::open(&node, "/b/main/stream?format=ndjson", &[]);
    let accept = [("Accept", "application/x-ndjson")];
    let mut by_accept = Lines::open(&node, "/b/main/stream", &accept);
    let head = by_name.head.to_lowercase();
    assert!(
        head.contains("content-type: application/x-ndjson"),
        "{head}"
    );
    for lines in [&mut by_name, &mut by_accept] {
        let list = lines.event();
        assert_eq!(list["event"], "snapshot");
        assert_eq!(list["data"]["topics"][0]["comment"], "first");
    }
    assert_eq!(by_name.raw_line(), "\n", "the heartbeat");
    node.post("second");
    let change = by_name.event();
    assert_eq!(change["event"], "patch");
    assert_eq!(change["data"]["ops"][0]["op"], "set");
    node.terminate();
    let bye = std::iter::repeat_with(|| by_name.event())
        .find(|event| event["event"] == "bye")
        .expect("bye");
    assert!(
        bye["data"]["reason"] == "shutdown" && bye["data"]["retry_ms"].as_u64() >= Some(2_000),
        "{bye}"
    );
}

fn lines_of_json_resume_at_a_cursor(database: Database) {
    let node = Node::start_with(database, &[("STREAM__HEARTBEAT_S", "1")]);
    let mut lines = Lines::open(&node, "/b/main/stream?format=ndjson", &[]);
    lines.event();
    node.post("first");
    let change = lines.event();
    let cursor = change["id"].as_str().expect("a cursor");
    let mut visible = Lines::open(
        &node,
        "/b/main/stream?format=ndjson&heartbeat=event",
        &[("Last-Event-ID", cursor)],
    );
    assert_eq!(
        visible.event()["event"],
        "heartbeat",
        "there is nothing that it missed"
    );
    let mut reset = Lines::open(
        &node,
        "/b/main/stream?format=ndjson",
        &[("Last-Event-ID", "junk")],
    );
    assert_eq!(reset.event()["data"]["reason"], "invalid");
    assert_eq!(reset.event()["event"], "snapshot");
}

fn lines_of_json_are_refused_to_a_client_that_accepts_events_alone(database: Database) {
    let node = Node::start(database);
    assert_eq!(
        node.get_with(
            "/b/main/stream?format=ndjson",
            &[("Accept", "text/event-stream")]
        )
        .status,
        406
    );
}
