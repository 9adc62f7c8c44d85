//! Readers who ask for a whole list and do not read it: what they are sent is there once, however
//! many they are.

use std::{
    fs,
    io::{BufReader, Write as _},
    net::TcpStream,
    time::{Duration, Instant},
};

use socket2::{Domain, Socket, Type};

use crate::{
    node::{Database, Node},
    sockets::frames::HANDSHAKE,
    wire,
};

const READERS: usize = 60;
/// What a reader may take in all: two buffers, sockets and tasks; a copy of the list would be
/// twenty times as much.
const OF_A_READER: usize = 250_000;
const MANY: [(&str, &str); 2] = [
    ("LIMITS__STREAMS_PER_CLIENT_MAX", "1000"),
    ("SERVER__WORKERS", "2"),
];

/// The size of the list, about.
const LIST: usize = 4_000_000;

/// A way to ask for the whole list: its name, path, `Accept` and `Accept-Language`.
type Way = (&'static str, &'static str, &'static str, &'static str);

const WAYS: [Way; 7] = [
    ("the page in English", "/", "text/html", "en"),
    ("the page in Japanese", "/b/main", "text/html", "ja"),
    ("the feed", "/b/main/feed.xml", "*/*", "en"),
    ("the REST list", "/api/v1/boards/main/topics", "*/*", "en"),
    ("the page as JSON", "/", "application/json", "en"),
    ("the list as text", "/", "text/plain", "en"),
    ("a stream", "/b/main/stream", "*/*", "en"),
];

/// Bytes that the process has in memory.
fn resident(node: &Node) -> usize {
    let status = fs::read_to_string(format!("/proc/{}/status", node.pid())).expect("/proc");
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kilobytes: usize = line
        .and_then(|line| line.split_whitespace().nth(1)?.parse().ok())
        .expect("a size");
    kilobytes * 1_024
}

/// Connects with little room for what is not read.
fn connect(node: &Node) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.set_recv_buffer_size(4_096).expect("set");
    socket.connect(&node.address.into()).expect("connected");
    socket.into()
}

/// Sends a request.
fn send(node: &Node, request: &[u8]) -> TcpStream {
    let mut connection = connect(node);
    connection.write_all(request).expect("asked");
    connection
        .set_read_timeout(Some(wire::PATIENCE))
        .expect("a time limit");
    connection
}

fn ask(node: &Node, (_, path, accept, language): Way, version: &str) -> TcpStream {
    let request = format!(
        "GET {path} HTTP/{version}\r\nHost: localhost\r\nAccept: {accept}\r\n\
         Accept-Language: {language}\r\n\r\n"
    );
    send(node, request.as_bytes())
}

/// Asks as several readers do, and reads nothing but the beginning of each answer.
fn ask_at_once(readers: usize, ask: &impl Fn() -> TcpStream) -> Vec<TcpStream> {
    let readers: Vec<_> = (0..readers).map(|_| ask()).collect();
    for reader in &readers {
        reader.peek(&mut [0; 1]).expect("an answer");
    }
    readers
}

fn assert_bounded(node: &Node, way: Way, version: &str) {
    // So that what is kept for all readers is there before.
    let first = wire::request(
        node.address,
        "HEAD",
        way.1,
        &[("Accept", way.2), ("Accept-Language", way.3)],
        b"",
    );
    assert!(first.status == 200 || way.0 == "a stream", "{first:?}");
    let what = format!("{} by HTTP/{version}", way.0);
    assert_held(node, &what, READERS * OF_A_READER, || {
        ask(node, way, version)
    });
}

/// Asks as many readers do, who read nothing: that takes less than `max`, and is given back when
/// they are gone.
fn assert_held(node: &Node, what: &str, max: usize, ask: impl Fn() -> TcpStream) {
    drop(ask_at_once(1, &ask));
    settle(node);
    let before = resident(node);
    let readers = ask_at_once(READERS, &ask);
    let held = resident(node).saturating_sub(before);
    assert!(
        held < max,
        "{READERS} readers of {what} took {} KB each",
        held / READERS / 1_024
    );
    drop(readers);
    let (gone, mut after) = (Instant::now(), usize::MAX);
    while after > before + before / 5 {
        assert!(
            gone.elapsed() < Duration::from_secs(30),
            "{} KB before the readers of {what}, {} KB after",
            before / 1_024,
            after / 1_024
        );
        std::thread::park_timeout(Duration::from_millis(100));
        after = resident(node);
    }
}

/// Waits until memory is no longer given back.
fn settle(node: &Node) {
    let (mut last, mut at) = (resident(node), Instant::now());
    let began = Instant::now();
    while at.elapsed() < Duration::from_secs(2) && began.elapsed() < Duration::from_secs(20) {
        std::thread::park_timeout(Duration::from_millis(100));
        let now = resident(node);
        if now + 100_000 < last {
            (last, at) = (now, Instant::now());
        }
    }
}

/// Four bytes for each character: more than the system takes for a socket.
fn fill(node: &Node) {
    for n in 0..500 {
        let text = format!("{n} {}", "\u{1f4cc}".repeat(1_990));
        let headers = [
            ("Content-Type", "text/plain"),
            ("Accept", "application/json"),
        ];
        let posted = wire::request(node.address, "POST", "/", &headers, text.as_bytes());
        assert_eq!(posted.status, 201, "{posted:?}");
    }
}

#[test]
fn a_list_is_in_memory_once_however_many_do_not_read_it() {
    let node = Node::start_with(Database::sqlite(), &MANY);
    fill(&node);
    for way in WAYS {
        for version in ["1.1", "1.0"] {
            assert_bounded(&node, way, version);
        }
    }
}

/// A socket is sent the list in a frame, and its bytes are those of all readers.
#[test]
fn a_list_is_in_memory_once_however_many_sockets_do_not_read_it() {
    let node = Node::start_with(Database::sqlite(), &MANY);
    fill(&node);
    let request = wire::message("GET", "/b/main/ws", &HANDSHAKE, b"");
    assert_held(&node, "a WebSocket", READERS * OF_A_READER, || {
        let connection = send(&node, &request);
        // Byte by byte: nothing of the frame behind it.
        wire::read_head(&mut BufReader::with_capacity(1, &connection));
        connection
    });
}

/// What each of them missed is another patch; a long one is sent as the list.
#[test]
fn a_list_is_in_memory_once_however_many_come_back_for_it() {
    // All of them are on the list, or it would be sent anyway.
    let settings = [&MANY[..], &[("BOARD__TOPICS_MAX", "1000")]].concat();
    let node = Node::start_with(Database::sqlite(), &settings);
    node.post("before");
    let cursor = node.get("/api/v1/boards/main/topics");
    let cursor = cursor.header("etag").expect("a tag").trim_matches('"');
    fill(&node);
    for format in ["patch", "ndjson", "html", "turbo"] {
        let path = format!("/b/main/stream?format={format}&since={cursor}");
        let request = wire::message("GET", &path, &[], b"");
        let what = format!("what they missed as {format}");
        assert_held(&node, &what, READERS * OF_A_READER, || {
            send(&node, &request)
        });
    }
}

/// A page is its reader's own: a client has a few at a time, until it has read them, and is refused
/// more.
#[test]
fn pages_that_are_not_read_are_few() {
    let settings = [&MANY[..], &[("LIMITS__READS_PER_CLIENT_MAX", "4")]].concat();
    let node = Node::start_with(Database::sqlite(), &settings);
    fill(&node);
    let path = "/api/v1/boards/main/topics?limit=500";
    let request = wire::message("GET", path, &[], b"");
    // Each as rows and as JSON, with room for what the allocator keeps.
    let of_four = 4 * 3 * LIST;
    let max = of_four + READERS * OF_A_READER;
    assert_held(&node, "a page", max, || send(&node, &request));
    assert_eq!(node.get(path).status, 200, "a neighbour that comes later");
}

/// What is the same for all is shared; what is not, is each reader's own.
#[test]
fn what_depends_on_the_reader_is_not_shared() {
    let node = Node::start(Database::sqlite());
    node.post("the only topic");
    node.send_as(
        "PATCH",
        "/api/v1/boards/main/topics/1",
        &node.token(&["create", "--scope", "admin"]),
        &[],
        r#"{"comment":"another text"}"#,
    );
    let page = |language: &str| {
        node.get_with(
            "/",
            &[("Accept", "text/html"), ("Accept-Language", language)],
        )
        .body
    };
    for _ in 0..2 {
        let (english, japanese) = (page("en"), page("ja"));
        for (page, language) in [(&english, "en"), (&japanese, "ja")] {
            assert!(
                page.contains(&format!("<html lang=\"{language}\"")),
                "{page}"
            );
            assert_eq!(page.matches("another text").count(), 1, "{page}");
        }
        assert!(english.contains(">edited</i>") && !japanese.contains(">edited</i>"));
    }
    // What was typed stays with who typed it, and has no room for the topics.
    let refused = node.send(
        "POST",
        "/",
        "application/x-www-form-urlencoded",
        "comment=typed%00here&x=1",
    );
    assert!(
        refused.status == 422 || refused.status == 400,
        "{refused:?}"
    );
    let headers = [
        ("Content-Type", "application/x-www-form-urlencoded"),
        ("Accept", "text/html"),
    ];
    let refused = wire::request(node.address, "POST", "/", &headers, b"comment=typed%00here");
    assert_eq!(
        refused.body.matches("another text").count(),
        1,
        "{refused:?}"
    );
    assert!(!page("en").contains("typed"));
}

/// Returns the feed that a client gets that knows the server as `host`.
fn feed_of(node: &Node, host: &str) -> wire::Answer {
    let mut connection = wire::connect(node.address);
    write!(
        connection,
        "GET /b/main/feed.xml HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
    )
    .expect("asked");
    wire::read_answer(&mut BufReader::new(connection), false)
}

/// A feed has absolute addresses, which a client without configuration may have in any form.
#[test]
fn a_feed_that_is_shared_has_the_addresses_of_each_reader() {
    let node = Node::start(Database::sqlite());
    node.post("the only topic");
    assert_eq!(feed_of(&node, "127.0.0.1:\"><x").status, 400);
    for host in ["localhost", "127.0.0.1:8", "[::1%25a~b]:9", "[::1]:99"] {
        let feed = feed_of(&node, host);
        let length: usize = feed
            .header("content-length")
            .and_then(|length| length.parse().ok())
            .expect("a length");
        assert_eq!(feed.body.len(), length, "{host}");
        assert!(
            !feed.body.contains("<x") && !feed.body.contains('\0'),
            "{}",
            feed.body
        );
        let links = format!("href=\"http://{host}/b/main");
        assert_eq!(feed.body.matches(&links).count(), 3, "{}", feed.body);
    }
}
