//! `/api/v1`, and how a wrong request is answered.

mod other_sites;

use std::{io::Write as _, time::Duration};

use serde_json::json;

use crate::{
    node::{Database, Node},
    wire::{self, Answer},
};

crate::on_both!(
    topics_are_listed_and_posted,
    what_is_refused_leaves_nothing,
    an_address_that_does_not_exist_is_not_found,
    a_repeated_post_is_one_topic,
    a_key_whose_topic_was_deleted_says_so,
);

const TOPICS: &str = "/api/v1/boards/main/topics";
const JSON: &str = "application/json";

fn topics_are_listed_and_posted(database: Database) {
    let node = Node::start(database);
    assert_eq!(node.get(TOPICS).json()["topics"], json!([]));
    let posted = node.send("POST", TOPICS, JSON, r#"{"comment":"a","author":"ann"}"#);
    assert_eq!(
        (posted.status, posted.header("location")),
        (201, Some("/api/v1/boards/main/topics/1"))
    );
    let topic = posted.json();
    assert_eq!(
        (&topic["id"], &topic["comment"], &topic["author"]),
        (&json!(1), &json!("a"), &json!("ann"))
    );
    let list = node.get(TOPICS);
    assert_eq!(
        list.json(),
        json!({"topics": [topic], "revision": topic["revision"]})
    );
    let tag = list.header("etag").expect("a tag").to_owned();
    let again = node.get_with(TOPICS, &[("If-None-Match", &format!("\"x\", {tag}"))]);
    assert_eq!((again.status, again.body.as_str()), (304, ""));
    node.post("b");
    assert_eq!(
        node.get_with(TOPICS, &[("If-None-Match", &tag)]).status,
        200
    );
}

fn what_is_refused_leaves_nothing(database: Database) {
    let node = Node::start(database);
    let before = node.get(TOPICS).header("etag").map(str::to_owned);
    assert_bad_json_is_refused(&node);
    assert_other_kinds_are_refused(&node);
    assert_bad_forms_are_refused(&node);
    assert_eq!(
        node.send("POST", "/b/nowhere", "text/plain", "a").status,
        404
    );
    let wrong = node.send("DELETE", TOPICS, JSON, "");
    assert_eq!(
        (wrong.status, wrong.header("allow")),
        (405, Some("GET, HEAD, POST"))
    );
    assert_eq!(
        node.get(TOPICS).header("etag").map(str::to_owned),
        before,
        "nothing was stored"
    );
    assert_eq!(
        node.database
            .sql("SELECT count(*) FROM topics;")
            .lines()
            .last(),
        Some("0")
    );
}

fn assert_other_kinds_are_refused(node: &Node) {
    for kind in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/jsonx",
        "application/json; charset=utf-16",
        "",
    ] {
        let answer = node.send("POST", TOPICS, kind, r#"{"comment":"a"}"#);
        assert_eq!(answer.status, 415, "{kind}");
    }
}

fn assert_bad_json_is_refused(node: &Node) {
    let too_large = format!(r#"{{"comment":"{}"}}"#, "x".repeat(70_000));
    let too_long = format!(r#"{{"comment":"{}"}}"#, "板".repeat(2_001));
    for (status, code, body) in [
        (400, "unreadable", ""),
        (400, "unreadable", "null"),
        (400, "unreadable", r#"{"comment":"a""#),
        (400, "unreadable", r#"{"comment":1}"#),
        (400, "unreadable", r#"{"comment":"a","comment":"b"}"#),
        (422, "unknown_key", r#"{"comment":"a","id":1}"#),
        (422, "invalid", r#"{"comment":" "}"#),
        (422, "invalid", r#"{"comment":"a\u0000b"}"#),
        (422, "invalid", &too_long),
        (413, "too_large", &too_large),
    ] {
        let answer = node.send("POST", TOPICS, JSON, body);
        assert_eq!(
            (answer.status, answer.json()["code"].as_str()),
            (status, Some(code)),
            "{body:.60}: {answer:?}"
        );
        assert_eq!(
            answer.header("content-type"),
            Some("application/problem+json")
        );
        assert!(
            !answer.body.contains("struct") && !answer.body.contains("Draft"),
            "{answer:?}"
        );
    }
}

fn assert_bad_forms_are_refused(node: &Node) {
    let form = "application/x-www-form-urlencoded";
    for (status, kind, body) in [
        (400, form, "author=a"),
        (400, form, "comment=a%ffb"),
        (400, form, "comment=a&comment=b"),
        (422, form, "comment=a%00b"),
        (422, "text/plain", "a\u{202E}b"),
        (415, "multipart/form-data; boundary=x", "a"),
    ] {
        let answer = node.send("POST", "/", kind, body);
        assert_eq!(answer.status, status, "{body}: {answer:?}");
    }
}

fn an_address_that_does_not_exist_is_not_found(database: Database) {
    let node = Node::start(database);
    for path in [
        "/b/nowhere",
        "/b/Main",
        "/b/%2e%2e",
        "/b/a%2Fb",
        "/b/%ff",
        "/b/%00",
        "/b/admin",
        "/nothing",
        "/assets/../x",
    ] {
        assert_eq!(node.get(path).status, 404, "{path}");
    }
}

/// Posts with an idempotency key.
fn post_keyed(node: &Node, path: &str, key: &str, body: &str) -> Answer {
    let headers = [("Content-Type", JSON), ("Idempotency-Key", key)];
    wire::request(node.address, "POST", path, &headers, body.as_bytes())
}

fn a_repeated_post_is_one_topic(database: Database) {
    let mut node = Node::start(database);
    let body = r#"{"comment":"once"}"#;
    let first = post_keyed(&node, TOPICS, "a-key", body);
    // A crash in between, and another address for the same thing.
    node.kill();
    node.restart();
    for path in [TOPICS, "/b/main", "/"] {
        let again = post_keyed(&node, path, "a-key", body);
        assert_eq!((again.status, again.json()), (201, first.json()), "{path}");
    }
    post_keyed(&node, TOPICS, "a-key", r#"{"comment":"other"}"#).assert_problem(422, "key_reused");
    for wrong in ["", "a b", &"x".repeat(256)] {
        let refused = post_keyed(&node, TOPICS, wrong, body);
        assert_eq!(refused.status, 400, "{wrong:.20}");
    }
    assert_eq!(
        node.get(TOPICS).json()["topics"].as_array().map(Vec::len),
        Some(1)
    );
}

fn a_key_whose_topic_was_deleted_says_so(database: Database) {
    let node = Node::start(database);
    let token = node.token(&["create", "--scope", "admin", "--name", "deletes"]);
    let body = r#"{"comment":"once"}"#;
    let first = post_keyed(&node, TOPICS, "a-key", body);
    let topic = format!("{TOPICS}/{}", first.json()["id"]);
    let by_token = node.send_as("DELETE", &topic, &token, &[], "");
    assert_eq!(by_token.status, 204, "{by_token:?}");
    let ask = || {
        for path in [TOPICS, "/b/main", "/"] {
            let headers = [
                ("Content-Type", JSON),
                ("Accept", JSON),
                ("Idempotency-Key", "a-key"),
            ];
            wire::request(node.address, "POST", path, &headers, body.as_bytes())
                .assert_problem(410, "topic_gone");
        }
        let form = [
            ("Content-Type", "application/x-www-form-urlencoded"),
            ("Accept", "text/html"),
            ("Idempotency-Key", "a-key"),
        ];
        let page = wire::request(node.address, "POST", "/", &form, b"comment=once");
        assert!(
            page.status == 410 && page.body.contains("<html"),
            "{page:?}"
        );
    };
    ask();
    // Another request by the same key is another fault.
    post_keyed(&node, TOPICS, "a-key", r#"{"comment":"other"}"#).assert_problem(422, "key_reused");
    let restored = node.send_as("POST", &format!("{topic}/restore"), &token, &[], "");
    assert_eq!(restored.status, 200, "{restored:?}");
    assert_eq!(
        post_keyed(&node, TOPICS, "a-key", body).json()["id"],
        first.json()["id"]
    );
    node.database.sql("DELETE FROM topics;");
    ask();
    // Its neighbours in the same transaction are written all the same.
    let statuses = std::thread::scope(|scope| {
        let posts: Vec<_> = (0..20)
            .map(|number| {
                let (key, node) = (if number % 2 == 0 { "a-key" } else { "" }, &node);
                let keyed = format!("key-{number}");
                scope.spawn(move || {
                    let key = if key.is_empty() { &keyed } else { key };
                    post_keyed(node, TOPICS, key, body).status
                })
            })
            .collect();
        let statuses = posts
            .into_iter()
            .map(|post| post.join().expect("an answer"));
        statuses.collect::<Vec<_>>()
    });
    assert_eq!(statuses, [410, 201].repeat(10));
}

/// The same key on two nodes at once.
#[test]
fn a_repeated_post_on_two_nodes_is_one_topic() {
    let first = Node::start(Database::postgres());
    let second = first.sibling();
    let addresses = [first.address, second.address];
    let ids: std::collections::BTreeSet<_> = std::thread::scope(|scope| {
        let posts: Vec<_> = (0..20)
            .map(|n| {
                scope.spawn(move || {
                    let headers = [("Content-Type", JSON), ("Idempotency-Key", "k")];
                    let answer = wire::request(
                        addresses[n % 2],
                        "POST",
                        TOPICS,
                        &headers,
                        br#"{"comment":"once"}"#,
                    );
                    assert_eq!(answer.status, 201, "{answer:?}");
                    answer.json()["id"].as_u64()
                })
            })
            .collect();
        posts
            .into_iter()
            .map(|post| post.join().expect("an answer"))
            .collect()
    });
    assert_eq!(ids.len(), 1);
    assert_eq!(first.database.sql("SELECT count(*) FROM topics;"), "1");
}

/// Posts as a client at this address.
fn post_as(node: &Node, client: &str) -> Answer {
    let headers = [("Content-Type", "text/plain"), ("X-Forwarded-For", client)];
    wire::request(node.address, "POST", "/", &headers, b"a")
}

#[test]
fn one_address_may_write_so_much() {
    let settings = [
        ("LIMITS__POSTS_PER_CLIENT_BURST", "3"),
        ("LIMITS__TRUSTED_PROXIES", "127.0.0.1/32"),
    ];
    let node = Node::start_with(Database::sqlite(), &settings);
    for _ in 0..3 {
        assert_eq!(post_as(&node, "2001:db8::1").status, 201);
    }
    let refused = post_as(&node, "2001:db8::2");
    assert_eq!(
        (refused.status, refused.header("retry-after")),
        (429, Some("1")),
        "the same /64: {refused:?}"
    );
    assert_eq!(
        post_as(&node, "2001:db8:0:1::1").status,
        201,
        "another client"
    );
    let end = std::time::Instant::now() + Duration::from_secs(5);
    while post_as(&node, "2001:db8::1").status == 429 {
        assert!(std::time::Instant::now() < end, "there is no room again");
    }
}

#[test]
fn a_body_that_does_not_come_is_not_waited_for() {
    let node = Node::start_with(Database::sqlite(), &[("LIMITS__BODY_WAIT_S", "1")]);
    let mut connection = wire::connect(node.address);
    connection
        .write_all(
            b"POST / HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nContent-Length: \
            9\r\n\r\nhalf",
        )
        .expect("sent");
    let answer = wire::read_answer(&mut std::io::BufReader::new(connection), false);
    assert_eq!(answer.status, 408);
    assert_eq!(node.get("/livez").status, 200);
}

/// Postgres ends every session, as in a restart: the next requests do not even notice.
#[test]
fn sessions_that_the_database_ended_are_replaced() {
    let node = Node::start(Database::postgres());
    let mut stream = node.stream("/b/main/stream?since=now");
    for round in 0..5 {
        node.database.sql(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
            WHERE pid <> pg_backend_pid() AND datname = current_database();",
        );
        let id = node.post(&round.to_string());
        assert!(node.get(TOPICS).body.contains(&format!("\"id\":{id}")));
        while !stream.event().data.contains(&format!("\"id\":{id}")) {}
    }
}

/// The database away: reads answer with what is known, writes with 503, streams say that they are
/// stale; back: all goes on.
#[test]
fn a_locked_database_is_reported_and_passes() {
    let node = Node::start(Database::postgres());
    node.post("a");
    let mut stream = node.stream("/b/main/stream?format=patch&since=now");
    let lock = node.database.lock("topics, changes");
    let began = std::time::Instant::now();
    let answer = node.send("POST", "/", "text/plain", "b");
    assert_eq!(
        (answer.status, answer.header("retry-after")),
        (503, Some("2")),
        "{answer:?}"
    );
    assert!(
        began.elapsed() < Duration::from_secs(3),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(stream.event().name, "stale");
    let list = node.get(TOPICS);
    assert_eq!(list.json()["topics"][0]["comment"], "a");
    assert!(
        list.header("kairanban-stale-since").is_some(),
        "{}",
        list.head
    );
    assert_eq!(node.get("/readyz").status, 503);
    drop(lock);
    assert_eq!(stream.event().name, "fresh");
    let id = node.post("c");
    while !stream.event().data.contains(&format!("\"id\":{id}")) {}
    assert_eq!(node.get("/readyz").status, 200);
}
