//! Streams: what they show, where they resume, how many there may be, and readers that lag.

mod ends;

use std::{
    io::Read as _,
    time::{Duration, Instant},
};

use serde_json::json;

use crate::{
    node::{Database, Node},
    sse::{Mirror, Reader},
};

crate::on_both!(
    list_has_the_revision,
    patches_lead_to_the_board,
    a_cursor_is_continued_exactly,
    a_time_is_a_cursor_too,
    a_cursor_that_cannot_be_served_is_reset,
    a_since_that_names_no_start_is_refused,
    a_restart_continues_where_the_reader_stood,
    a_full_board_pushes_out_its_oldest,
);

fn board(node: &Node) -> Mirror {
    let mut mirror = Mirror::default();
    mirror.take(&node.stream("/b/main/stream?format=patch").event());
    mirror
}

fn a_time_is_a_cursor_too(database: Database) {
    let mut node = Node::start(database);
    node.post("long ago");
    // Not while it runs: a change that it has read and that stands otherwise in the log is one of another history.
    node.kill();
    node.database
        .sql("UPDATE changes SET at = '2000-01-01 00:00:00';");
    node.restart();
    node.post("just now");
    let missed = node.stream("/b/main/stream?format=patch&since=10m").event();
    let comments: Vec<_> = missed.json()["ops"]
        .as_array()
        .expect("ops")
        .iter()
        .map(|op| op["topic"]["comment"].clone())
        .collect();
    assert_eq!(
        (missed.name.as_str(), comments),
        ("patch", vec!["just now".into()])
    );
    node.stream("/b/main/stream?format=patch&since=0s")
        .quiet_for(Duration::from_millis(300));
}

fn list_has_the_revision(database: Database) {
    let node = Node::start(database);
    let mut stream = node.stream("/b/main/stream");
    let head = stream.head.to_lowercase();
    for header in [
        "cache-control: no-cache, no-transform",
        "x-accel-buffering: no",
        "content-encoding: identity",
    ] {
        assert!(head.contains(header), "{head}");
    }
    let retry = stream
        .raw(Duration::from_secs(5))
        .and_then(|first| first.retry)
        .expect("retry comes first");
    assert!((2_000..=5_000).contains(&retry));
    stream.event();
    let id = node.post("a");
    let event = stream.event();
    let revision = event.json()["revision"].clone();
    assert_eq!(
        event.json(),
        json!({"revision": revision, "contents": [{"id": id, "comment": "a"}]})
    );
    assert!(
        event
            .id
            .is_some_and(|id| id.ends_with(&format!("-{revision}")))
    );
}

fn patches_lead_to_the_board(database: Database) {
    let node = Node::start(database);
    let mut stream = node.stream("/b/main/stream?format=patch");
    let mut mirror = Mirror::default();
    let first = stream.event();
    assert_eq!(first.name, "snapshot");
    mirror.take(&first);
    let id = node.post("a\u{2028}b\r\n\r\nevent: admin\r\rdata: x");
    node.post("b");
    node.database.sql(&format!(
        "UPDATE topics SET comment = 'changed' WHERE id = {id}; DELETE \
        FROM topics WHERE comment = 'b';"
    ));
    while mirror.comments() != ["changed"] {
        let event = stream.event();
        assert_eq!(event.name, "patch");
        mirror.take(&event);
    }
    assert_eq!(board(&node).topics, mirror.topics);
}

fn a_cursor_is_continued_exactly(database: Database) {
    let node = Node::start(database);
    let path = "/b/main/stream?format=patch";
    node.database
        .sql("INSERT INTO topics (board_id, comment) VALUES (1, 'x'), (1, 'y');");
    node.post("a");
    let mut mirror = board(&node);
    let at = mirror.cursor.clone();
    // Up to date: no payload. In the header, in the query, in the tutorial's stream.
    node.resume(path, &at).quiet_for(Duration::from_millis(300));
    node.stream(&format!("{path}&last_event_id={at}"))
        .quiet_for(Duration::from_millis(300));
    node.resume("/topic_stream/", &at)
        .quiet_for(Duration::from_millis(300));
    // Behind: exactly what is missing, also while nobody watched.
    node.database.sql(
        "INSERT INTO topics (board_id, comment) VALUES (1, 'b'), (1, 'c'); DELETE FROM topics \
            WHERE comment = 'a';",
    );
    node.post("d");
    let event = node.resume(path, &at).event();
    assert_eq!(event.name, "patch");
    assert_eq!(
        event.json()["ops"].as_array().map(Vec::len),
        Some(4),
        "{event:?}"
    );
    mirror.take(&event);
    assert_eq!(mirror.comments(), ["x", "y", "b", "c", "d"]);
    let contents = node.resume("/topic_stream/", &at).event().json();
    assert_eq!(contents["contents"].as_array().map(Vec::len), Some(5));
    // The header wins over the query; an empty header is no cursor.
    let event = node
        .resume(&format!("{path}&last_event_id={}", mirror.cursor), "")
        .event();
    assert_eq!(event.name, "snapshot");
    node.stream(&format!("{path}&since=now"))
        .quiet_for(Duration::from_millis(300));
}

fn a_cursor_that_cannot_be_served_is_reset(database: Database) {
    let node = Node::start(database);
    node.post("a");
    let cursor = board(&node).cursor;
    let (epoch, revision) = cursor.split_once('-').expect("a cursor");
    let future = format!(
        "{epoch}-{}",
        revision.parse::<u64>().expect("a number") + 1_000
    );
    let junk = "x".repeat(8_000);
    for (cursor, reason) in [
        ("0-1", "epoch"),
        (&future, "future"),
        ("abc", "invalid"),
        ("-1", "invalid"),
        (&junk, "invalid"),
    ] {
        let mut stream = node.resume("/b/main/stream?format=patch", cursor);
        let reset = stream.event();
        assert_eq!(
            (reset.name.as_str(), reset.id.as_deref(), reset.json()),
            ("reset", Some(""), json!({"reason": reason})),
            "{cursor:.20}"
        );
        let snapshot = stream.event();
        assert_eq!(
            (
                snapshot.name.as_str(),
                snapshot.json()["topics"][0]["comment"].as_str()
            ),
            ("snapshot", Some("a"))
        );
    }
}

fn a_since_that_names_no_start_is_refused(database: Database) {
    let node = Node::start(database);
    for path in [
        "/topic_stream/?",
        "/b/main/stream?format=patch&",
        "/stream?board=main&",
        "/b/main/ws?",
    ] {
        let answer = node.get_with(
            &format!("{path}since=yesterday"),
            &[("Accept", "application/json, text/event-stream")],
        );
        let problem = answer.json();
        assert_eq!(
            (answer.status, &problem["code"], &problem["path"]),
            (400, &"unreadable".into(), &"since".into()),
            "{path}"
        );
        let detail = problem["detail"].as_str().expect("a text");
        for form in ["cursor", "now", "earliest", "10m"] {
            assert!(detail.contains(form), "{detail}");
        }
    }
    // An invalid header is not a fault of the reader: the stream is reset.
    let reset = node
        .stream("/b/main/stream?format=patch&lastEventId=yesterday")
        .event();
    assert_eq!(reset.json(), json!({"reason": "invalid"}));
}

fn a_restart_continues_where_the_reader_stood(database: Database) {
    let mut node = Node::start(database);
    node.post("a");
    let mut mirror = board(&node);
    node.kill();
    node.database
        .sql("INSERT INTO topics (board_id, comment) VALUES (1, 'while it was down');");
    node.restart();
    let mut stream = node.resume("/b/main/stream?format=patch", &mirror.cursor);
    let event = stream.event();
    assert_eq!(event.name, "patch");
    mirror.take(&event);
    assert_eq!(mirror.comments(), ["a", "while it was down"]);
}

fn a_full_board_pushes_out_its_oldest(database: Database) {
    let node = Node::start_with(database, &[("BOARD__TOPICS_MAX", "3")]);
    let mut stream = node.stream("/b/main/stream?format=patch");
    let mut mirror = Mirror::default();
    mirror.take(&stream.event());
    for comment in ["1", "2", "3", "4"] {
        node.post(comment);
    }
    while !mirror.comments().contains(&"4") {
        let event = stream.event();
        mirror.take(&event);
        if mirror.comments().contains(&"4") {
            assert!(event.data.contains(r#""archived":true"#), "{event:?}");
        }
    }
    assert_eq!(mirror.comments(), ["2", "3", "4"]);
    // The archiver's own transaction changes no list: same tag, no event.
    let tag = node
        .get("/api/v1/boards/main/topics")
        .header("etag")
        .map(str::to_owned);
    let archived = || {
        node.database
            .sql("SELECT count(*) FROM topics WHERE archived;")
    };
    let end = Instant::now() + Duration::from_secs(5);
    while !archived().ends_with('1') {
        assert!(Instant::now() < end, "nothing was archived");
    }
    stream.quiet_for(Duration::from_millis(300));
    assert_eq!(
        node.get("/api/v1/boards/main/topics")
            .header("etag")
            .map(str::to_owned),
        tag
    );
    node.database.sql("DELETE FROM topics WHERE comment = '4';");
    mirror.take(&stream.event());
    assert_eq!(
        mirror.comments(),
        ["2", "3"],
        "what is archived never comes back"
    );
}

#[test]
fn there_is_room_for_so_many_and_leaving_makes_room() {
    let settings = [
        ("LIMITS__STREAMS_MAX", "3"),
        ("LIMITS__STREAMS_PER_CLIENT_MAX", "2"),
        ("LIMITS__TRUSTED_PROXIES", "127.0.0.0/8"),
    ];
    let node = Node::start_with(Database::sqlite(), &settings);
    let open = |client: &str| {
        let mut stream = Reader::open(
            node.address,
            "/topic_stream/",
            &[("X-Forwarded-For", client)],
        );
        let first = stream.event();
        (first.name == "bye")
            .then(|| assert_eq!(first.json(), json!({"reason": "limit"})))
            .map_or(Ok(stream), Err)
    };
    let first = open("198.51.100.1").expect("room");
    let second = open("198.51.100.1").expect("room");
    assert!(open("198.51.100.1").is_err(), "two per client");
    let third = open("198.51.100.2").expect("room");
    assert!(open("198.51.100.3").is_err(), "three in all");
    drop((first, second));
    let end = Instant::now() + Duration::from_secs(5);
    while open("198.51.100.3").is_err() {
        assert!(Instant::now() < end, "leaving made no room");
    }
    drop(third);
}

/// A reader that takes nothing: first it is overtaken, and brought to the newest list when it
/// reads again.
#[test]
fn a_reader_that_fell_behind_gets_the_newest_list() {
    let node = Node::start_with(
        Database::sqlite(),
        &[("STREAM__LAG_MAX", "4"), ("BOARD__TOPICS_MAX", "2000")],
    );
    let mut stream = node.stream("/b/main/stream");
    stream.event();
    // A list of 2 MB, many times over: more than sockets hold.
    let rows = vec![format!("(1, '{}')", "x".repeat(2_000)); 1_000].join(",");
    node.database.sql(&format!(
        "BEGIN; INSERT INTO topics (board_id, comment) VALUES {rows}; COMMIT;"
    ));
    (0..30).for_each(|n| _ = node.post(&n.to_string()));
    let last = node.post("last");
    let mut reset = false;
    loop {
        let event = stream.event();
        reset |= event.name == "reset" && event.json() == json!({"reason": "lagged"});
        if event.data.contains(&format!("\"id\":{last}")) {
            break;
        }
    }
    assert!(reset, "the reader was not told that it had lagged");
}

#[test]
fn a_reader_that_takes_nothing_is_cut_off() {
    let settings = [
        ("STREAM__STALL_S", "2"),
        ("STREAM__LAG_MAX", "4"),
        ("LIMITS__STREAMS_MAX", "1"),
        ("BOARD__TOPICS_MAX", "2000"),
    ];
    let node = Node::start_with(Database::sqlite(), &settings);
    let stream = node.stream("/b/main/stream");
    let text = "x".repeat(2_000);
    let end = Instant::now() + Duration::from_secs(30);
    // Until there is room again for somebody else.
    let refused = || {
        let mut stream = node.stream("/b/main/stream?since=now");
        stream
            .raw(Duration::from_secs(5))
            .and_then(|_| stream.raw(Duration::from_secs(5)))
            .is_some_and(|second| second.name == "bye")
    };
    while refused() {
        let rows = vec![format!("(1, '{text}')"); 50].join(",");
        node.database.sql(&format!(
            "BEGIN; INSERT INTO topics (board_id, comment) VALUES {rows}; COMMIT;"
        ));
        assert!(Instant::now() < end, "still holding the only place");
        std::thread::park_timeout(Duration::from_millis(100));
    }
    // The connection is reset, not ended politely.
    let mut rest = Vec::new();
    let mut socket = stream.socket();
    assert!(socket.read_to_end(&mut rest).is_err() || !rest.ends_with(b"0\r\n\r\n"));
}
