//! Clients that close their side behind their request, as `nc -N` does: they are answered. On what
//! goes on until the client leaves, it is the end.

use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, TcpStream},
    time::{Duration, Instant},
};

use crate::{
    node::{Database, Node},
    wire,
};

const METHODS: [&str; 8] = [
    "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "BREW",
];
const PATHS: [&str; 7] = [
    "/",
    "/b/main",
    "/b/main/feed.xml",
    "/api/v1/boards/main/topics",
    "/api/v1/boards/main/topics/1",
    "/livez",
    "/nowhere",
];

/// Sends all of it, closes this side, and returns all that is said.
fn say(node: &Node, pieces: &[&[u8]]) -> String {
    let mut connection = wire::connect(node.address);
    for piece in pieces {
        // The server may have answered, and hung up, before it has seen all.
        let _ = connection.write_all(piece);
        // Each piece is a packet of its own.
        std::thread::park_timeout(Duration::from_millis(2));
    }
    let _ = connection.shutdown(Shutdown::Write);
    let mut said = Vec::new();
    let _ = connection.read_to_end(&mut said);
    String::from_utf8_lossy(&said).into_owned()
}

/// The status lines of what is said.
fn statuses(said: &str) -> Vec<&str> {
    said.match_indices("HTTP/1.")
        .filter_map(|(at, _)| said.get(at + 9..at + 12))
        .collect()
}

/// The ways to send a request, as the heads that go with them.
fn requests(method: &str, path: &str) -> Vec<(String, String)> {
    let body = "half-closed";
    let mut requests = Vec::new();
    for version in ["1.1", "1.0"] {
        for connection in ["", "Connection: close\r\n", "Connection: keep-alive\r\n"] {
            let head = format!("{method} {path} HTTP/{version}\r\nHost: localhost\r\n{connection}");
            requests.push((format!("{head}\r\n"), String::new()));
            let head = format!("{head}Content-Type: text/plain\r\n");
            requests.push((
                format!("{head}Content-Length: {}\r\n\r\n", body.len()),
                body.to_owned(),
            ));
            if version == "1.1" {
                let chunked = format!("6\r\n{}\r\n5\r\n{}\r\n0\r\n\r\n", &body[..6], &body[6..]);
                requests.push((format!("{head}Transfer-Encoding: chunked\r\n\r\n"), chunked));
            }
        }
    }
    requests
}

#[test]
fn every_kind_of_request_is_answered() {
    let node = Node::start(Database::sqlite());
    node.post("there");
    let mut unanswered = Vec::new();
    for method in METHODS {
        for path in PATHS {
            for (head, body) in requests(method, path) {
                let whole = format!("{head}{body}");
                for pieces in [&[whole.as_bytes()][..], &[head.as_bytes(), body.as_bytes()]] {
                    let said = say(&node, pieces);
                    if statuses(&said).len() != 1 {
                        unanswered.push(format!("{whole:?}: {said:?}"));
                    }
                }
            }
        }
    }
    assert!(
        unanswered.is_empty(),
        "{} requests, such as {:#?}",
        unanswered.len(),
        &unanswered[..unanswered.len().min(5)]
    );
}

/// What is sent is done, and all of what is answered arrives: bodies as long as they may be, lists
/// longer than the buffers between.
#[test]
fn nothing_is_lost_of_long_bodies_and_long_answers() {
    let node = Node::start(Database::sqlite());
    for n in 0..300 {
        node.post(&format!("{n} {}", "x".repeat(1_900)));
    }
    // 64 KiB as JSON, most of it the escapes of a text of 2,000 characters and the space around it.
    let text = "y".repeat(1_990);
    let body = format!("{}{{\"comment\":\"{text}\"}}", " ".repeat(63_000));
    let path = "/api/v1/boards/main/topics";
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    );
    let chunks: String = body
        .as_bytes()
        .chunks(777)
        .map(|chunk| {
            format!(
                "{:x}\r\n{}\r\n",
                chunk.len(),
                String::from_utf8_lossy(chunk)
            )
        })
        .collect();
    let chunked = format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
         Transfer-Encoding: chunked\r\n\r\n{chunks}0\r\n\r\n"
    );
    for sent in [format!("{head}{body}"), chunked] {
        for size in [1_000, 20_000, usize::MAX] {
            let pieces: Vec<_> = sent.as_bytes().chunks(size.min(sent.len())).collect();
            let said = say(&node, &pieces);
            assert_eq!(statuses(&said), ["201"], "{said}");
            assert!(said.contains(&text));
        }
    }
    let said = say(&node, &[&wire::message("GET", path, &[], b"")]);
    let (head, body) = said.split_once("\r\n\r\n").expect("a head");
    let length = format!("content-length: {}", body.len());
    assert!(head.to_lowercase().contains(&length), "{head}");
}

#[test]
fn every_request_of_a_pipeline_is_answered_and_half_a_request_is_not() {
    let node = Node::start(Database::sqlite());
    let get = "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let post = "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\n\
        Content-Length: 3\r\n\r\nabc";
    let said = say(&node, &[format!("{get}{post}{get}").as_bytes()]);
    assert_eq!(statuses(&said), ["200", "201", "200"], "{said}");
    let said = say(&node, &[format!("{get}{post}{get}GET / HTT").as_bytes()]);
    assert_eq!(statuses(&said), ["200", "201", "200"], "{said}");
    let began = Instant::now();
    // The rest of the body will never come.
    let half = &post.as_bytes()[..post.len() - 1];
    let said = say(&node, &[half]);
    assert_eq!(statuses(&said), ["400"], "{said}");
    assert!(
        began.elapsed() < Duration::from_secs(2),
        "{:?}",
        began.elapsed()
    );
    let topics = node.get("/api/v1/boards/main/topics").json();
    assert_eq!(
        topics["topics"].as_array().map(Vec::len),
        Some(2),
        "{topics}"
    );
}

fn streams(node: &Node, token: &str) -> u64 {
    node.send_as("GET", "/api/v1/stats", token, &[], "").json()["streams"]
        .as_u64()
        .expect("a number")
}

/// Waits until the server has hung up.
fn ends(mut connection: TcpStream) {
    connection
        .set_read_timeout(Some(Duration::from_secs(3)))
        .expect("set");
    let mut room = [0; 4_096];
    loop {
        match connection.read(&mut room) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return,
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn streams_and_long_polls_end_with_their_clients_side() {
    for detached in ["true", "false"] {
        // Long before anything is written to it.
        let settings = [
            ("STREAM__HEARTBEAT_S", "600"),
            ("STREAM__DETACHED", detached),
        ];
        let node = Node::start_with(Database::sqlite(), &settings);
        let token = node.token(&["create", "--scope", "admin"]);
        let list = node.get("/api/v1/boards/main/topics");
        let tag = list.header("etag").expect("an ETag").to_owned();
        let known = format!("If-None-Match: {tag}\r\n");
        for (path, version, headers) in [
            ("/topic_stream/", "1.1", ""),
            ("/topic_stream/", "1.0", ""),
            ("/b/main/stream?format=patch&since=now", "1.1", ""),
            ("/b/main/stream?format=ndjson", "1.0", ""),
            ("/stream?board=main", "1.1", ""),
            ("/api/v1/boards/main/topics?wait=60", "1.1", &known),
            ("/api/v1/boards/main/topics?wait=60", "1.0", &known),
        ] {
            for is_at_once in [true, false] {
                let mut connection = wire::connect(node.address);
                write!(
                    connection,
                    "GET {path} HTTP/{version}\r\nHost: localhost\r\n{headers}\r\n"
                )
                .expect("sent");
                let began = Instant::now();
                while !is_at_once && streams(&node, &token) == 0 {
                    assert!(began.elapsed() < Duration::from_secs(5), "{path} is open");
                }
                connection.shutdown(Shutdown::Write).expect("closed");
                ends(connection);
                while streams(&node, &token) > 0 {
                    assert!(
                        began.elapsed() < Duration::from_secs(8),
                        "{path} is counted"
                    );
                }
            }
        }
    }
}
