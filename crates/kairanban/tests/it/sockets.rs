//! A board over a WebSocket.

mod announced;
pub(crate) mod frames;
mod handshakes;

use std::{
    io::Read as _,
    net::TcpStream,
    time::{Duration, Instant},
};

use serde_json::Value;
use tungstenite::{Message, WebSocket, client::IntoClientRequest as _, http::HeaderValue};

use crate::{
    node::{Database, Node},
    wire::{self, PATIENCE},
};

crate::on_both!(
    a_socket_streams_and_posts,
    a_bad_message_is_answered_with_an_error,
    a_socket_resumes_at_a_cursor,
    a_socket_is_for_those_who_may_read,
    a_socket_is_not_for_pages_of_other_sites,
);

struct Socket(WebSocket<TcpStream>);

impl Socket {
    fn open(node: &Node, path: &str, headers: &[(&'static str, &str)]) -> Result<Self, u16> {
        let mut request = format!("ws://{}{path}", node.address)
            .into_client_request()
            .expect("a request");
        for (name, value) in headers {
            request
                .headers_mut()
                .insert(*name, HeaderValue::from_str(value).expect("a value"));
        }
        let connection = wire::connect(node.address);
        connection
            .set_read_timeout(Some(PATIENCE))
            .expect("a time limit");
        match tungstenite::client(request, connection) {
            Ok((socket, _)) => Ok(Self(socket)),
            Err(tungstenite::HandshakeError::Failure(tungstenite::Error::Http(answer))) => {
                Err(answer.status().as_u16())
            }
            Err(error) => panic!("{error}"),
        }
    }

    fn send(&mut self, text: &str) {
        self.0.send(Message::text(text)).expect("sent");
    }

    /// The next frame with text, or `None` at the end.
    fn frame(&mut self) -> Option<Value> {
        loop {
            match self.0.read() {
                Ok(Message::Text(text)) => return Some(serde_json::from_str(&text).expect("JSON")),
                Ok(Message::Close(_)) | Err(tungstenite::Error::ConnectionClosed) => return None,
                Ok(_) => {}
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// The next two frames: the answer to a post and the change that it made, in either order.
    fn ack_and_patch(&mut self) -> (Value, Value) {
        let (first, second) = (self.frame(), self.frame());
        let (first, second) = (first.expect("a frame"), second.expect("a frame"));
        let (ack, patch) = if first["event"] == "ack" {
            (first, second)
        } else {
            (second, first)
        };
        assert_eq!(
            (ack["event"].as_str(), patch["event"].as_str()),
            (Some("ack"), Some("patch"))
        );
        (ack, patch)
    }

    /// The next frame of this name.
    fn event(&mut self, name: &str) -> Value {
        loop {
            let frame = self.frame().expect("a frame");
            if frame["event"] == name {
                return frame["data"].clone();
            }
        }
    }
}

const CREATE: &str = r#"{"op":"create","comment":"by socket","author":"ann","key":"k1"}"#;

fn a_socket_streams_and_posts(database: Database) {
    let node = Node::start(database);
    node.post("there before");
    let mut stream = node.stream("/b/main/stream?format=patch&since=now");
    let mut socket = Socket::open(&node, "/b/main/ws", &[]).expect("open");
    let list = socket.frame().expect("the list");
    assert_eq!(
        (
            list["event"].as_str(),
            list["data"]["topics"][0]["comment"].as_str()
        ),
        (Some("snapshot"), Some("there before"))
    );
    socket.send(CREATE);
    let (ack, patch) = socket.ack_and_patch();
    assert_eq!(
        (
            ack["data"]["key"].as_str(),
            ack["data"]["topic"]["id"].as_u64()
        ),
        (Some("k1"), Some(2)),
        "{ack}"
    );
    assert_eq!(patch["data"]["ops"][0]["topic"]["comment"], "by socket");
    assert_eq!(stream.event().json()["ops"][0]["topic"]["author"], "ann");
    socket.send(CREATE);
    assert_eq!(
        socket.event("ack")["topic"]["id"],
        2,
        "the same key, the same topic"
    );
    node.terminate();
    assert_eq!(socket.event("bye")["reason"], "shutdown");
    assert_eq!(socket.frame(), None);
}

fn a_bad_message_is_answered_with_an_error(database: Database) {
    let node = Node::start(database);
    let mut socket = Socket::open(&node, "/b/main/ws", &[]).expect("open");
    socket.send(CREATE);
    socket.event("ack");
    socket.send(r#"{"op":"create","comment":"gone","key":"k-gone"}"#);
    socket.event("ack");
    node.database
        .sql("DELETE FROM topics WHERE comment = 'gone';");
    for (text, status, code) in [
        (
            r#"{"op":"create","comment":" ","key":"k2"}"#,
            422,
            "invalid",
        ),
        (
            r#"{"op":"create","comment":"another","key":"k1"}"#,
            422,
            "key_reused",
        ),
        (
            r#"{"op":"create","comment":"x","id":1}"#,
            422,
            "unknown_key",
        ),
        (r#"{"op":"destroy"}"#, 400, "unreadable"),
        (
            r#"{"op":"create","comment":"x","key":""}"#,
            400,
            "unreadable",
        ),
        ("hello", 400, "unreadable"),
        (
            r#"{"op":"create","comment":"gone","key":"k-gone"}"#,
            410,
            "topic_gone",
        ),
    ] {
        socket.send(text);
        let error = socket.event("error");
        assert_eq!(
            (error["status"].as_u64(), error["code"].as_str()),
            (Some(status), Some(code)),
            "{text}: {error}"
        );
    }
    socket.send(&format!(
        r#"{{"op":"create","comment":"{}"}}"#,
        "x".repeat(70_000)
    ));
    while socket.frame().is_some() {}
}

fn a_socket_resumes_at_a_cursor(database: Database) {
    let node = Node::start(database);
    let mut socket = Socket::open(&node, "/b/main/ws", &[]).expect("open");
    socket.event("snapshot");
    socket.send(CREATE);
    let (_, patch) = socket.ack_and_patch();
    let cursor = patch["id"].as_str().expect("a cursor");
    node.post("meanwhile");
    let path = format!("/b/main/ws?last_event_id={cursor}");
    let mut again = Socket::open(&node, &path, &[]).expect("open");
    assert_eq!(
        again.event("patch")["ops"][0]["topic"]["comment"],
        "meanwhile"
    );
}

/// The status with which a handshake is refused.
#[track_caller]
fn refused(node: &Node, path: &str, headers: &[(&'static str, &str)]) -> u16 {
    let opened = Socket::open(node, path, headers);
    opened.err().expect("a refusal")
}

fn a_socket_is_for_those_who_may_read(database: Database) {
    let node = Node::start(database);
    let admin = node.token(&["create", "--scope", "admin"]);
    let body = r#"{"read":"token","post":"token"}"#;
    let updated = node.send_as("PATCH", "/api/v1/boards/main", &admin, &[], body);
    assert_eq!(updated.status, 200);
    assert_eq!(refused(&node, "/b/main/ws", &[]), 404);
    let reader = node.token(&["create", "--scope", "read"]);
    let mut socket = Socket::open(
        &node,
        "/b/main/ws",
        &[("authorization", &format!("Bearer {reader}"))],
    )
    .expect("open");
    socket.event("snapshot");
    socket.send(r#"{"op":"create","comment":"x"}"#);
    assert_eq!(socket.event("error")["status"], 403);
    node.token(&["revoke", "2"]);
    assert_eq!(socket.event("bye")["reason"], "auth");
}

fn a_socket_is_not_for_pages_of_other_sites(database: Database) {
    let node = Node::start(database);
    for foreign in [
        ("origin", "http://evil.example"),
        ("sec-fetch-site", "cross-site"),
    ] {
        assert_eq!(refused(&node, "/b/main/ws", &[foreign]), 403, "{foreign:?}");
    }
    assert_eq!(refused(&node, "/b/nowhere/ws", &[]), 404);
    assert_eq!(node.get("/b/main/ws").status, 426, "no handshake");
}

#[test]
fn a_socket_counts_as_a_stream() {
    let node = Node::start_with(
        Database::sqlite(),
        &[("LIMITS__STREAMS_PER_CLIENT_MAX", "3")],
    );
    let held: Vec<_> = (0..4)
        .map(|_| Socket::open(&node, "/b/main/ws", &[]))
        .collect();
    assert_eq!(
        held.iter()
            .filter_map(|socket| socket.as_ref().err())
            .collect::<Vec<_>>(),
        [&429],
        "room for three"
    );
}

/// A client that answers no ping is gone.
#[test]
fn a_silent_client_is_closed() {
    let node = Node::start_with(Database::sqlite(), &[("STREAM__HEARTBEAT_S", "1")]);
    let mut input = frames::handshake(&node);
    let began = Instant::now();
    let mut rest = Vec::new();
    input.read_to_end(&mut rest).expect("an end");
    assert!(
        rest.windows(2).any(|bytes| bytes == [0x89, 0]),
        "it was asked"
    );
    assert!(
        (Duration::from_secs(2)..Duration::from_secs(8)).contains(&began.elapsed()),
        "{:?}",
        began.elapsed()
    );
}
