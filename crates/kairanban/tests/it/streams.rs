//! Streams: what they show, where they resume, how many there may be, and readers that lag.

mod ends;

use std::{
    io::Read as _,
    time::{Duration, Instant},
};

use serde_json::json;

use crate::{
    node::{Database, Node},
    sse::{Mirror, Reader, Watched},
};

crate::on_both!(
    list_has_the_revision,
    patches_lead_to_the_board,
    a_cursor_that_is_up_to_date_is_sent_nothing,
    a_cursor_is_continued_exactly,
    a_cursor_in_the_header_wins_over_the_query,
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
    // Not while it runs: a change that it has read and that stands otherwise in the log is one of
    // another history.
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
    ] {
        assert!(head.contains(header), "{head}");
    }
    assert!(!head.contains("content-encoding"), "{head}");
    let retry = stream
        .raw(Duration::from_secs(5))
        .and_then(|first| first.retry)
        .expect("retry comes first");
    assert!((2_000..=5_000).contains(&retry), "with the first event");
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

const STREAM: &str = "/b/main/stream?format=patch";
/// Long enough for an event that is sent at once.
const A_MOMENT: Duration = Duration::from_millis(300);

/// No payload: with the cursor in the header, in the query, in the tutorial's stream.
fn a_cursor_that_is_up_to_date_is_sent_nothing(database: Database) {
    let node = Node::start(database);
    node.post("a");
    let at = board(&node).cursor;
    node.resume(STREAM, &at).quiet_for(A_MOMENT);
    node.stream(&format!("{STREAM}&last_event_id={at}"))
        .quiet_for(A_MOMENT);
    node.resume("/topic_stream/", &at).quiet_for(A_MOMENT);
    node.stream(&format!("{STREAM}&since=now"))
        .quiet_for(A_MOMENT);
}

/// Exactly what is missing, also what was written while there was no reader.
fn a_cursor_is_continued_exactly(database: Database) {
    let node = Node::start(database);
    node.database
        .sql("INSERT INTO topics (board_id, comment) VALUES (1, 'x'), (1, 'y');");
    node.post("a");
    let mut mirror = board(&node);
    let at = mirror.cursor.clone();
    node.database.sql(
        "INSERT INTO topics (board_id, comment) VALUES (1, 'b'), (1, 'c'); DELETE FROM topics \
            WHERE comment = 'a';",
    );
    node.post("d");
    let event = node.resume(STREAM, &at).event();
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
}

/// An empty header is no cursor.
fn a_cursor_in_the_header_wins_over_the_query(database: Database) {
    let node = Node::start(database);
    node.post("a");
    let path = format!("{STREAM}&last_event_id={}", board(&node).cursor);
    let event = node.resume(&path, "").event();
    assert_eq!(event.name, "snapshot");
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

/// A board of three that four topics were posted to, as its stream showed them.
fn full_board(database: Database) -> (Node, Watched) {
    let node = Node::start_with(database, &[("BOARD__TOPICS_MAX", "3")]);
    let mut watched = Watched::new(node.stream(STREAM));
    watched.take();
    for comment in ["1", "2", "3", "4"] {
        node.post(comment);
    }
    while !watched.mirror.comments().contains(&"4") {
        let event = watched.stream.event();
        watched.mirror.take(&event);
        if watched.mirror.comments().contains(&"4") {
            assert!(event.data.contains(r#""archived":true"#), "{event:?}");
        }
    }
    assert_eq!(watched.mirror.comments(), ["2", "3", "4"]);
    (node, watched)
}

fn await_archiving(database: &Database) {
    let end = Instant::now() + Duration::from_secs(5);
    while !database
        .sql("SELECT count(*) FROM topics WHERE archived;")
        .ends_with('1')
    {
        assert!(Instant::now() < end, "nothing was archived");
    }
}

fn tag_of_list(node: &Node) -> Option<String> {
    let list = node.get("/api/v1/boards/main/topics");
    list.header("etag").map(str::to_owned)
}

fn a_full_board_pushes_out_its_oldest(database: Database) {
    let (node, mut watched) = full_board(database);
    // The archiver's own transaction changes no list: same tag, no event.
    let tag = tag_of_list(&node);
    await_archiving(&node.database);
    watched.stream.quiet_for(A_MOMENT);
    assert_eq!(tag_of_list(&node), tag);
    node.database.sql("DELETE FROM topics WHERE comment = '4';");
    watched.take();
    assert_eq!(
        watched.mirror.comments(),
        ["2", "3"],
        "what is archived never comes back"
    );
}

/// Opens a stream as a client at this address; `None` if there is no room.
fn open_from(node: &Node, client: &str) -> Option<Reader> {
    let headers = [("X-Forwarded-For", client)];
    let mut stream = Reader::open(node.address, "/topic_stream/", &headers);
    let first = stream.event();
    if first.name == "bye" {
        assert_eq!(first.json(), json!({"reason": "limit"}));
        return None;
    }
    Some(stream)
}

#[test]
fn streams_are_limited_and_leaving_makes_room() {
    let settings = [
        ("LIMITS__STREAMS_MAX", "3"),
        ("LIMITS__STREAMS_PER_CLIENT_MAX", "2"),
        ("LIMITS__TRUSTED_PROXIES", "127.0.0.0/8"),
    ];
    let node = Node::start_with(Database::sqlite(), &settings);
    let first = open_from(&node, "198.51.100.1").expect("room");
    let second = open_from(&node, "198.51.100.1").expect("room");
    assert!(open_from(&node, "198.51.100.1").is_none(), "two per client");
    let third = open_from(&node, "198.51.100.2").expect("room");
    assert!(open_from(&node, "198.51.100.3").is_none(), "three in all");
    drop((first, second));
    let end = Instant::now() + Duration::from_secs(5);
    while open_from(&node, "198.51.100.3").is_none() {
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
    assert!(reset, "no reset said that the reader had lagged");
}

fn is_refused(mut stream: Reader) -> bool {
    stream
        .raw(Duration::from_secs(5))
        .and_then(|_| stream.raw(Duration::from_secs(5)))
        .is_some_and(|second| second.name == "bye")
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
    // Until there is room again for another reader.
    while is_refused(node.stream("/b/main/stream?since=now")) {
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
