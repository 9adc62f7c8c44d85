//! Pages of other sites: kept out, unless the configuration names their site.

use serde_json::json;

use super::{JSON, TOPICS};
use crate::{
    node::{Database, Node},
    wire,
};

#[test]
fn another_sites_page_cannot_post() {
    let node = Node::start(Database::sqlite());
    let post = |headers: &[(&str, &str)]| {
        let kind = ("Content-Type", "application/x-www-form-urlencoded");
        wire::request(
            node.address,
            "POST",
            "/",
            &[headers, &[kind]].concat(),
            b"comment=a",
        )
    };
    for foreign in [
        ("Sec-Fetch-Site", "cross-site"),
        ("Sec-Fetch-Site", "same-site"),
        ("Origin", "null"),
        ("Origin", "http://board.test.evil"),
    ] {
        let answer = post(&[foreign]);
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
    assert_eq!(post(&[("Origin", "http://board.test")]).status, 201);
    assert_eq!(
        post(&[("Sec-Fetch-Site", "same-origin"), ("Accept", "text/html")]).status,
        303
    );
}

#[test]
fn a_site_that_is_named_may_read_and_write() {
    let node = Node::start_with(
        Database::sqlite(),
        &[("CORS__ORIGINS", "https://app.example")],
    );
    let (ours, theirs) = (
        ("Origin", "https://app.example"),
        ("Origin", "https://evil.example"),
    );
    let preflight = |origin| {
        let asks = [
            origin,
            ("Access-Control-Request-Method", "POST"),
            ("Access-Control-Request-Headers", "content-type"),
        ];
        wire::request(node.address, "OPTIONS", TOPICS, &asks, b"")
    };
    assert_eq!(
        preflight(ours).header("access-control-allow-origin"),
        Some("https://app.example")
    );
    assert_eq!(
        preflight(theirs).header("access-control-allow-origin"),
        None
    );
    let post = |origin| {
        let headers = [
            origin,
            ("Sec-Fetch-Site", "cross-site"),
            ("Content-Type", JSON),
        ];
        wire::request(
            node.address,
            "POST",
            TOPICS,
            &headers,
            br#"{"comment":"a"}"#,
        )
    };
    let posted = post(ours);
    assert_eq!(
        (posted.status, posted.header("access-control-allow-origin")),
        (201, Some("https://app.example"))
    );
    assert!((400..500).contains(&post(theirs).status));
    assert_eq!(
        node.get(TOPICS).json()["topics"].as_array().map(Vec::len),
        Some(1)
    );
    let stream = crate::sse::Reader::open(node.address, "/topic_stream/", &[ours]);
    assert!(
        stream
            .head
            .to_lowercase()
            .contains("access-control-allow-origin: https://app.example")
    );
    let closed = Node::start(Database::sqlite());
    assert_eq!(
        closed
            .get_with(TOPICS, &[ours])
            .header("access-control-allow-origin"),
        None,
        "nobody, unless named"
    );
}
