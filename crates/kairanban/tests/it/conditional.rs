//! Conditional requests, media types and charsets, as RFC 9110 has them: what the parser's tables
//! (`http/conditional`, `http/accept`) promise, at each address.

mod writes;

use crate::{
    node::{Database, Node},
    on_both,
    wire::{self, Answer},
};

on_both!(
    a_topic_changes_only_as_the_client_demands,
    a_topic_that_is_archived_has_a_new_tag_after_each_edit,
);

const TOPICS: &str = "/api/v1/boards/main/topics";

/// The addresses that have tags, each with what it is asked for.
const TAGGED: [(&str, &str); 9] = [
    (TOPICS, "*/*"),
    ("/b/main", "application/json"),
    ("/", "text/html;q=0.1, application/json"),
    ("/api/v1/boards/main/topics/1", "*/*"),
    ("/b/main/feed.xml", "*/*"),
    ("/assets/board.js", "*/*"),
    ("/", "text/html"),
    ("/boards", "text/html"),
    ("/api/v1/openapi.json", "*/*"),
];

/// A post is of the list at its address, which is there, with its tag.
#[test]
fn a_post_is_written_only_under_its_conditions() {
    let node = node();
    let tag = node.get(TOPICS).header("etag").expect("a tag").to_owned();
    for path in [TOPICS, "/b/main", "/"] {
        for (name, value) in [
            ("If-Match", "\"x\""),
            ("If-None-Match", "*"),
            ("If-None-Match", tag.as_str()),
        ] {
            let headers = [("Content-Type", "application/json"), (name, value)];
            let body = br#"{"comment":"two"}"#;
            let refused = wire::request(node.address, "POST", path, &headers, body);
            assert_eq!(refused.status, 412, "{path} {name}: {value}");
        }
    }
    assert_eq!(node.get(TOPICS).header("etag"), Some(tag.as_str()));
    for (name, value) in [
        ("If-Match", tag.as_str()),
        ("If-Match", "*"),
        ("If-None-Match", "\"x\""),
    ] {
        let headers = [("Content-Type", "application/json"), (name, value)];
        let body = br#"{"comment":"two"}"#;
        let written = wire::request(node.address, "POST", TOPICS, &headers, body);
        assert_eq!(written.status, 201, "{name}: {value}");
    }
}

fn node() -> Node {
    let node = Node::start(Database::sqlite());
    node.post("one");
    node
}

/// The headers that an answer without a body has as well (section 15.4.5).
fn kept(answer: &Answer) -> Vec<(&'static str, Option<String>)> {
    [
        "etag",
        "cache-control",
        "vary",
        "expires",
        "content-location",
    ]
    .map(|name| (name, answer.header(name).map(str::to_owned)))
    .into()
}

#[test]
fn each_address_that_has_a_tag_answers_conditions() {
    let node = node();
    for ((path, accept), encoding) in TAGGED
        .iter()
        .flat_map(|one| [(*one, "identity"), (*one, "gzip")])
    {
        let base = [("Accept", accept), ("Accept-Encoding", encoding)];
        let ask = |method: &str, condition: &[(&str, &str)]| {
            let headers = [&base, condition].concat();
            wire::request(node.address, method, path, &headers, b"")
        };
        // The body may be packed: only its head is read here.
        let full = ask("HEAD", &[]);
        let tag = full
            .header("etag")
            .unwrap_or_else(|| panic!("{path}"))
            .to_owned();
        let opaque = tag.trim_start_matches("W/").trim_matches('"').to_owned();
        assert_eq!(full.status, 200, "{path}");
        for method in ["GET", "HEAD"] {
            for known in [
                tag.clone(),
                format!("\"{opaque}\""),
                format!("W/\"{opaque}\""),
                format!("\"else\", \"{opaque}-gzip\""),
                "*".to_owned(),
            ] {
                let answer = ask(method, &[("If-None-Match", &known)]);
                assert_eq!(answer.status, 304, "{method} {path} {known}");
                assert_eq!(kept(&answer), kept(&full), "{method} {path} {encoding}");
                assert!(answer.body.is_empty(), "{method} {path}");
            }
            let strong = format!("\"else\", \"{opaque}\"");
            for (demanded, known, status) in [
                ("\"else\"", "\"else\"", 412),
                ("\"else\"", strong.as_str(), 412),
                (&strong, &strong, 304),
            ] {
                let conditions = [("If-Match", demanded), ("If-None-Match", known)];
                assert_eq!(ask(method, &conditions).status, status, "{method} {path}");
            }
            let weak = format!("W/\"{opaque}\"");
            assert_eq!(
                ask(method, &[("If-Match", &weak)]).status,
                412,
                "{method} {path}"
            );
        }
    }
}

#[test]
fn head_is_get_without_the_body() {
    let node = node();
    let stream = "/b/main/stream?format=patch";
    for path in TAGGED.map(|(path, _)| path).into_iter().chain([
        "/boards-that-are-not",
        "/api/v1/boards",
        "/api/v1/boards/main",
        "/api/v1/boards/main/changes",
        "/api/v1/boards/none",
        "/api/v1/openapi.json",
        "/livez",
        "/readyz",
        stream,
        "/topic_stream/",
        "/stream?board=main",
    ]) {
        let head = wire::request(node.address, "HEAD", path, &[], b"");
        let is_stream = head
            .header("content-type")
            .is_some_and(|kind| kind.starts_with("text/event-stream"));
        let got = if is_stream {
            let mut reader = std::io::BufReader::new(wire::connect(node.address));
            let request = wire::message("GET", path, &[], b"");
            std::io::Write::write_all(reader.get_mut(), &request).expect("sent");
            let (status, head) = wire::read_head(&mut reader);
            Answer {
                status,
                head,
                body: String::new(),
            }
        } else {
            node.get(path)
        };
        let lines = |answer: &Answer| {
            let skipped = [
                "date:",
                "content-length:",
                "transfer-encoding:",
                "connection:",
            ];
            let lines = answer.head.lines().map(str::to_lowercase);
            let mut lines: Vec<_> = lines
                .filter(|line| !skipped.iter().any(|name| line.starts_with(name)))
                .collect();
            lines.sort();
            lines
        };
        assert_eq!(lines(&head), lines(&got), "{path}");
        assert!(head.body.is_empty(), "{path}");
        if !is_stream {
            assert_eq!(
                head.header("content-length"),
                got.header("content-length"),
                "{path}"
            );
        }
    }
}

#[test]
fn what_an_answer_depends_on_stands_in_vary() {
    let node = node();
    for (path, accept, status, names) in [
        ("/", "text/html", 200, &["accept", "accept-language"][..]),
        ("/", "text/plain", 200, &["accept"]),
        ("/", "application/json", 200, &["accept", "accept-encoding"]),
        (TOPICS, "*/*", 200, &["accept-encoding"]),
        ("/nowhere", "*/*", 404, &["accept", "accept-language"]),
        (
            "/b/nowhere",
            "text/html",
            404,
            &["accept", "accept-language"],
        ),
        ("/api/v1/boards/none", "*/*", 404, &["accept"]),
        ("/b/main/stream", "image/png", 406, &["accept"]),
    ] {
        let answer = node.get_with(path, &[("Accept", accept)]);
        assert_eq!(answer.status, status, "{path}");
        let lines = answer.head.to_lowercase();
        let vary: Vec<_> = lines
            .lines()
            .filter_map(|line| line.strip_prefix("vary: "))
            .flat_map(|line| line.split(", "))
            .collect();
        for name in names {
            assert!(vary.contains(name), "{path} {accept}: {vary:?}");
        }
    }
}

/// Names of JSON in UTF-8.
const JSON: [&str; 10] = [
    "application/json",
    "Application/JSON",
    "application/json;charset=utf-8",
    "application/json; charset=UTF-8",
    "application/json; charset=\"utf-8\"",
    "application/json ; charset=\"UTF-8\"",
    "application/json;charset=utf8",
    "application/json; Charset=US-ASCII",
    "application/json; note=\"a;b\"; charset=utf-8",
    "application/json; ; charset=utf-8;",
];
/// Other things, and what names nothing.
const OTHERS: [&str; 7] = [
    "application/json; charset=iso-8859-1",
    "application/json; charset=\"utf-16\"",
    "application/json; charset=utf-8; charset=latin1",
    "application/json; charset",
    "application/jsonx",
    "json",
    "",
];

#[test]
fn media_types_are_read_however_they_are_written() {
    let node = node();
    let post = |headers: &[(&str, &str)], status: u16| {
        let answer = wire::request(node.address, "POST", TOPICS, headers, br#"{"comment":"a"}"#);
        assert_eq!(answer.status, status, "{headers:?} {answer:?}");
        if status == 415 {
            let advice = ["accept", "accept-encoding"].map(|name| answer.header(name));
            assert_eq!(
                advice,
                [Some("application/json"), Some("identity")],
                "{headers:?}"
            );
        }
    };
    for kind in JSON {
        post(&[("Content-Type", kind)], 201);
    }
    for kind in OTHERS {
        post(&[("Content-Type", kind)], 415);
    }
    post(&[], 415);
    post(
        &[("Content-Type", JSON[0]), ("Content-Type", "text/plain")],
        400,
    );
    for (coding, status) in [
        ("Identity", 201),
        ("", 201),
        ("gzip", 415),
        ("identity, br", 415),
    ] {
        post(
            &[("Content-Type", JSON[0]), ("Content-Encoding", coding)],
            status,
        );
    }
    let latin1 = [("Content-Type", "text/plain; charset=ISO-8859-1")];
    let answer = wire::request(node.address, "POST", "/", &latin1, b"\xe9t\xe9");
    assert_eq!(answer.status, 415, "{answer:?}");
}

/// Conditions of a change, and its status, for a topic whose tag is `now` and was `before`.
fn conditions(before: &str, now: &str) -> Vec<(Vec<(&'static str, String)>, u16)> {
    let (none, packed) = ("\"0-1\"", format!("\"{}-gzip\"", now.trim_matches('"')));
    let only = |tags: &str| vec![("If-Match", tags.to_owned())];
    let not = |tags: &str| vec![("If-None-Match", tags.to_owned())];
    vec![
        (only(now), 200),
        (only("*"), 200),
        (only(&format!("{before}, {now}")), 200),
        ([only(before), only(now)].concat(), 200),
        (only(&packed), 200),
        (not(&format!("{before}, {none}")), 200),
        ([only(now), not(before)].concat(), 200),
        (only(before), 412),
        (only(&format!("{before}, {none}")), 412),
        (only("nonsense"), 412),
        (only(&format!("W/{now}")), 412),
        (not("*"), 412),
        (not(now), 412),
        (not(&format!("{before}, W/{now}")), 412),
        ([only(now), not(now)].concat(), 412),
    ]
}

fn a_topic_changes_only_as_the_client_demands(database: Database) {
    let node = Node::start(database);
    let token = node.token(&["create", "--scope", "admin", "--name", "edits"]);
    let id = node.post("one");
    let path = format!("{TOPICS}/{id}");
    let tag = || node.get(&path).header("etag").expect("a tag").to_owned();
    let edit = |number: usize, conditions: &[(&str, &str)]| {
        let body = format!(r#"{{"comment":"edit {number}"}}"#);
        node.send_as("PATCH", &path, &token, conditions, &body)
    };
    let before = tag();
    assert_eq!(edit(0, &[]).status, 200);
    for number in 0..conditions("", "").len() {
        let now = tag();
        let (headers, status) = &conditions(&before, &now)[number];
        let headers: Vec<_> = headers
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        let answer = edit(number + 1, &headers);
        assert_eq!(answer.status, *status, "{headers:?} at {now}: {answer:?}");
        let is_there = node.get(&path).text("comment") == format!("edit {}", number + 1);
        assert_eq!(is_there, *status == 200, "{headers:?}");
        if *status == 412 {
            let deleted = node.send_as("DELETE", &path, &token, &headers, "");
            assert_eq!(deleted.status, 412, "{headers:?}");
        }
    }
    let weak = format!("W/{}", tag());
    edit(0, &[("If-Match", &weak)]).assert_problem(412, "weak_tag");
    edit(0, &[("If-Match", &before)]).assert_problem(412, "changed");
    // Where there is nothing, no condition is looked at.
    let missing = format!("{TOPICS}/999");
    let missing = node.send_as("DELETE", &missing, &token, &[("If-Match", "*")], "");
    assert_eq!(missing.status, 404);
    let now = tag();
    let deleted = node.send_as("DELETE", &path, &token, &[("If-Match", &now)], "");
    assert_eq!(deleted.status, 204);
}

/// Although no list shows it any more: a client that read it before must not overwrite what came
/// since.
fn a_topic_that_is_archived_has_a_new_tag_after_each_edit(database: Database) {
    let node = Node::start(database);
    let token = node.token(&["create", "--scope", "admin", "--name", "edits"]);
    let path = format!("{TOPICS}/{}", node.post("one"));
    node.database.sql("UPDATE topics SET archived = (1 = 1);");
    let before = node.get(&path).header("etag").expect("a tag").to_owned();
    let condition = [("If-Match", before.as_str())];
    let [first, second] = [r#"{"comment":"two"}"#, r#"{"comment":"lost"}"#]
        .map(|edit| node.send_as("PATCH", &path, &token, &condition, edit));
    assert_eq!(first.status, 200, "{first:?}");
    second.assert_problem(412, "changed");
    let known = [("If-None-Match", before.as_str())];
    let answer = wire::request(node.address, "GET", &path, &known, b"");
    assert_eq!(
        (answer.status, answer.text("comment").as_str()),
        (200, "two")
    );
    assert_ne!(answer.header("etag"), Some(before.as_str()));
    let changes = node.get("/api/v1/boards/main/changes").json();
    let kinds: Vec<_> = changes["changes"]
        .as_array()
        .expect("changes")
        .iter()
        .map(|change| change["kind"].as_str().expect("a kind"))
        .collect();
    assert_eq!(kinds[kinds.len() - 2..], ["delete", "set"], "{changes}");
}
