//! The tutorial's three addresses, exactly.

use std::time::Duration;

use serde_json::json;

use crate::{
    node::{Database, Node},
    wire::{self, Answer},
};

crate::on_both!(
    the_three_addresses,
    a_form_that_is_refused_comes_back_with_its_fault,
    nothing_is_sent_without_a_change
);

fn the_three_addresses(database: Database) {
    let node = Node::start(database);
    let page = node.get("/");
    assert_eq!(
        (page.status, page.header("content-type")),
        (200, Some("text/html; charset=utf-8"))
    );

    let mut stream = node.stream("/topic_stream/");
    assert!(
        stream.head.contains("content-type: text/event-stream"),
        "{}",
        stream.head
    );
    let first = stream.event();
    assert_eq!(
        (first.name.as_str(), first.json()),
        ("", json!({"contents": []}))
    );

    let posted = send_form(&node, "csrfmiddlewaretoken=x&comment=%E5%9B%9E%E8%A6%A7+1");
    assert_eq!((posted.status, posted.header("location")), (303, Some("/")));
    let next = stream.event();
    assert_eq!(
        (next.name.as_str(), next.json()),
        ("", json!({"contents": [{"id": 1, "comment": "回覧 1"}]}))
    );
    assert!(
        node.get("/").body.contains("回覧 1"),
        "a reader is never shown less than was acknowledged"
    );

    node.post("2");
    assert_eq!(stream.event().json()["contents"][1]["comment"], "2");
}

fn send_form(node: &Node, body: &str) -> Answer {
    let form = [
        ("Content-Type", "application/x-www-form-urlencoded"),
        ("Accept", "text/html"),
    ];
    wire::request(node.address, "POST", "/", &form, body.as_bytes())
}

fn a_form_that_is_refused_comes_back_with_its_fault(database: Database) {
    let node = Node::start(database);
    let refused = send_form(&node, "comment=%20&author=ann");
    assert_eq!(refused.status, 422);
    assert!(
        refused.body.contains("id=\"comment-fault\"") && refused.body.contains("value=\"ann\""),
        "{}",
        refused.body
    );
}

fn nothing_is_sent_without_a_change(database: Database) {
    let node = Node::start_with(database, &[("STREAM__HEARTBEAT_S", "1")]);
    let mut stream = node.stream("/topic_stream/");
    stream.event();
    // Refused, rolled back, the same again: no change.
    assert_eq!(node.send("POST", "/", "text/plain", " ").status, 422);
    node.database
        .sql("BEGIN; INSERT INTO topics (board_id, comment) VALUES (1, 'never'); ROLLBACK;");
    let beat = stream.raw(Duration::from_secs(3)).expect("a heartbeat");
    assert!(beat.comment, "{beat:?}");
    node.post("a");
    stream.event();
    node.database.sql("UPDATE topics SET comment = comment;");
    stream.quiet_for(Duration::from_millis(1_800));
    let etag = node
        .get("/api/v1/boards/main/topics")
        .header("etag")
        .map(str::to_owned)
        .expect("a tag");
    assert_eq!(
        node.get_with("/api/v1/boards/main/topics", &[("If-None-Match", &etag)])
            .status,
        304
    );
}
