//! How streams end: with their board, after their lifetime, and with the server.

use std::{
    io::{Read as _, Write as _},
    time::Duration,
};

use serde_json::json;

use crate::{
    node::{Database, Node},
    wire::{connect, message},
};

crate::on_both!(a_deleted_board_says_goodbye);

fn a_deleted_board_says_goodbye(database: Database) {
    let node = Node::start(database);
    node.database
        .sql("INSERT INTO boards (name) VALUES ('other');");
    let mut streams = [
        node.stream("/b/other/stream"),
        node.stream("/b/main/stream"),
    ];
    streams.iter_mut().for_each(|stream| drop(stream.event()));
    node.database
        .sql("DELETE FROM boards WHERE name = 'other';");
    let [other, main] = &mut streams;
    let bye = other.event();
    assert_eq!(
        (bye.name.as_str(), bye.json()),
        ("bye", json!({"reason": "gone"}))
    );
    assert_eq!(other.raw(Duration::from_secs(5)), None, "the end");
    assert_eq!(node.get("/b/other/stream").status, 404);
    main.quiet_for(Duration::from_millis(200));
}

#[test]
fn streams_rotate() {
    let node = Node::start_with(Database::sqlite(), &[("STREAM__LIFETIME_S", "1")]);
    let mut stream = node.stream("/topic_stream/");
    let cursor = stream.event().id.expect("an id");
    let bye = stream.event();
    assert_eq!(
        (bye.name.as_str(), bye.json(), bye.id),
        ("bye", json!({"reason": "rotate"}), None)
    );
    assert_eq!(stream.raw(Duration::from_secs(5)), None, "the end");
    node.post("meanwhile");
    assert_eq!(
        node.resume("/topic_stream/", &cursor).event().json()["contents"][0]["comment"],
        "meanwhile"
    );
}

#[test]
fn sigterm_ends_a_hundred_streams_within_the_grace() {
    let settings = [
        ("SERVER__DRAIN_S", "5"),
        ("LIMITS__STREAMS_PER_CLIENT_MAX", "200"),
    ];
    let mut node = Node::start_with(Database::sqlite(), &settings);
    let mut streams: Vec<_> = (0..100).map(|_| node.stream("/topic_stream/")).collect();
    streams.iter_mut().for_each(|stream| drop(stream.event()));
    node.terminate();
    let (took, code) = node.end(Duration::from_secs(5));
    assert_eq!(code, Some(0), "after {took:?}");
    for mut stream in streams {
        let bye = stream.event();
        assert_eq!(
            (bye.name.as_str(), bye.json()),
            ("bye", json!({"reason": "shutdown"}))
        );
        assert_eq!(stream.raw(Duration::from_secs(1)), None, "the end");
    }
}

#[test]
fn a_connection_that_waits_for_its_next_request_does_not_hold_up_the_end() {
    let mut node = Node::start(Database::sqlite());
    let mut socket = connect(node.address);
    socket
        .write_all(&message("GET", "/livez", &[], b""))
        .expect("sent");
    let mut answer = [0; 12];
    socket.read_exact(&mut answer).expect("an answer");
    assert_eq!(&answer, b"HTTP/1.1 200");
    node.terminate();
    // Such a connection is kept for five seconds otherwise.
    let (took, code) = node.end(Duration::from_secs(3));
    assert_eq!(code, Some(0), "after {took:?}");
}
