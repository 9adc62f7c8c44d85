//! Pages of other sites: kept out, unless the configuration names their site.

use serde_json::json;

use super::{JSON, TOPICS};
use crate::{
    node::{Database, Node},
    sse::Reader,
    wire::{self, Answer},
};

/// Posts as a form does.
fn post_form(node: &Node, headers: &[(&str, &str)]) -> Answer {
    let kind = ("Content-Type", "application/x-www-form-urlencoded");
    let headers = [headers, &[kind]].concat();
    wire::request(node.address, "POST", "/", &headers, b"comment=a")
}

#[test]
fn another_sites_page_cannot_post() {
    let node = Node::start(Database::sqlite());
    for foreign in [
        ("Sec-Fetch-Site", "cross-site"),
        ("Sec-Fetch-Site", "same-site"),
        ("Origin", "null"),
        ("Origin", "http://localhost.evil"),
    ] {
        let answer = post_form(&node, &[foreign]);
        assert_eq!(answer.status, 403, "{foreign:?}");
        assert!(answer.header("content-security-policy").is_some());
    }
    assert_eq!(
        node.get_with("/", &[("Sec-Fetch-Site", "cross-site")])
            .status,
        200,
        "a link from elsewhere is fine"
    );
    assert_eq!(node.get(TOPICS).json()["topics"], json!([]));
    let ours = post_form(&node, &[("Origin", "http://localhost")]);
    assert_eq!(ours.status, 201);
    let by_the_page = [("Sec-Fetch-Site", "same-origin"), ("Accept", "text/html")];
    assert_eq!(post_form(&node, &by_the_page).status, 303);
}

const OURS: (&str, &str) = ("Origin", "https://app.example");
const THEIRS: (&str, &str) = ("Origin", "https://evil.example");
const ALLOWED: &str = "access-control-allow-origin";

fn node_that_names_a_site() -> Node {
    let settings = [("CORS__ORIGINS", "https://app.example")];
    Node::start_with(Database::sqlite(), &settings)
}

#[test]
fn a_site_that_is_named_may_read_and_write() {
    let node = node_that_names_a_site();
    let posted = post_from(&node, OURS);
    assert_eq!(
        (posted.status, posted.header(ALLOWED)),
        (201, Some("https://app.example"))
    );
    assert!((400..500).contains(&post_from(&node, THEIRS).status));
    assert_eq!(
        node.get(TOPICS).json()["topics"].as_array().map(Vec::len),
        Some(1)
    );
    let stream = Reader::open(node.address, "/topic_stream/", &[OURS]);
    assert!(
        stream
            .head
            .to_lowercase()
            .contains("access-control-allow-origin: https://app.example")
    );
}

/// Posts from a page of another site.
fn post_from(node: &Node, origin: (&str, &str)) -> Answer {
    let headers = [
        origin,
        ("Sec-Fetch-Site", "cross-site"),
        ("Content-Type", JSON),
    ];
    let body = br#"{"comment":"a"}"#;
    wire::request(node.address, "POST", TOPICS, &headers, body)
}

#[test]
fn a_preflight_is_answered_to_sites_that_are_named() {
    let node = node_that_names_a_site();
    for (origin, allowed) in [(OURS, Some("https://app.example")), (THEIRS, None)] {
        let asks = [
            origin,
            ("Access-Control-Request-Method", "POST"),
            ("Access-Control-Request-Headers", "content-type"),
        ];
        let answer = wire::request(node.address, "OPTIONS", TOPICS, &asks, b"");
        assert_eq!(answer.header(ALLOWED), allowed);
    }
}

#[test]
fn no_site_may_read_unless_it_is_named() {
    let closed = Node::start(Database::sqlite());
    assert_eq!(closed.get_with(TOPICS, &[OURS]).header(ALLOWED), None);
}
