//! Streams whose socket has left the web framework. What they say is tested everywhere else, with
//! and without; here is what only a connection can show.

use std::{
    fs,
    io::{BufReader, Read as _, Write as _},
    net::TcpStream,
    time::{Duration, Instant},
};

use crate::{
    node::{Database, Node},
    wire::{connect, message, read_chunk, read_head},
};

fn ask(node: &Node, path: &str) -> BufReader<TcpStream> {
    let mut socket = connect(node.address);
    socket
        .write_all(&message("GET", path, &[], b""))
        .expect("sent");
    let mut reader = BufReader::new(socket);
    let (status, head) = read_head(&mut reader);
    assert_eq!(status, 200, "{head}");
    reader
}

fn streams(node: &Node, token: &str) -> u64 {
    node.send_as("GET", "/api/v1/stats", token, &[], "").json()["streams"]
        .as_u64()
        .expect("a number")
}

#[test]
fn a_stream_ends_its_body_and_then_its_connection() {
    let node = Node::start_with(
        Database::sqlite(),
        &[("STREAM__LIFETIME_S", "1"), ("STREAM__DETACHED", "true")],
    );
    let mut socket = connect(node.address);
    socket
        .write_all(&message("GET", "/topic_stream/", &[], b""))
        .expect("sent");
    let mut all = String::new();
    socket.read_to_string(&mut all).expect("an end");
    let (head, body) = all.split_once("\r\n\r\n").expect("a head");
    for line in [
        "connection: close",
        "transfer-encoding: chunked",
        "x-content-type-options: nosniff",
        "x-accel-buffering: no",
    ] {
        assert!(head.to_lowercase().contains(line), "{line}: {head}");
    }
    assert!(
        body.contains("event: bye") && body.ends_with("\r\n0\r\n\r\n"),
        "{body}"
    );
}

#[test]
fn what_a_client_says_meanwhile_does_no_harm() {
    let node = Node::start_with(Database::sqlite(), &[("STREAM__DETACHED", "true")]);
    let mut socket = connect(node.address);
    // A request behind the stream's, and then noise.
    let both = [
        message("GET", "/topic_stream/", &[], b""),
        message("GET", "/livez", &[], b""),
    ]
    .concat();
    socket.write_all(&both).expect("sent");
    let mut reader = BufReader::new(socket.try_clone().expect("a handle"));
    read_head(&mut reader);
    for n in 0..20 {
        socket.write_all(&[b'x'; 3_000]).expect("taken");
        node.post(&format!("post {n}"));
        while !String::from_utf8(read_chunk(&mut reader).expect("open"))
            .expect("text")
            .contains(&format!("post {n}"))
        {}
    }
}

#[test]
fn a_reader_who_leaves_frees_the_place_at_once() {
    // Long before anything is written to it.
    let node = Node::start_with(
        Database::sqlite(),
        &[("STREAM__HEARTBEAT_S", "600"), ("STREAM__DETACHED", "true")],
    );
    let token = node.token(&["create", "--scope", "admin"]);
    let mut readers: Vec<_> = (0..20)
        .map(|_| ask(&node, "/b/main/stream?format=patch"))
        .collect();
    readers
        .iter_mut()
        .for_each(|reader| drop(read_chunk(reader)));
    assert_eq!(streams(&node, &token), 20);
    // Half of them only say that they have no more to ask.
    for reader in &readers[..10] {
        reader
            .get_ref()
            .shutdown(std::net::Shutdown::Write)
            .expect("closed");
    }
    let began = Instant::now();
    while streams(&node, &token) > 10 {
        assert!(began.elapsed() < Duration::from_secs(5), "still counted");
    }
    drop(readers);
    while streams(&node, &token) > 0 {
        assert!(began.elapsed() < Duration::from_secs(10), "still counted");
    }
}

#[test]
fn http_1_0_is_served_without_chunks() {
    let node = Node::start(Database::sqlite());
    node.post("a");
    let mut socket = connect(node.address);
    socket
        .write_all(b"GET /topic_stream/ HTTP/1.0\r\nHost: localhost\r\n\r\n")
        .expect("sent");
    let mut reader = BufReader::new(socket);
    let (status, head) = read_head(&mut reader);
    assert!(
        status == 200 && !head.to_lowercase().contains("transfer-encoding"),
        "{head}"
    );
    let mut begin = [0; 7];
    reader.read_exact(&mut begin).expect("a body");
    assert_eq!(&begin, b"retry: ");
}

#[test]
fn a_reader_to_whom_nothing_happens_takes_little_memory() {
    const READERS: u64 = 1_000;
    let settings = [
        ("LIMITS__STREAMS_PER_CLIENT_MAX", "2000"),
        ("STREAM__DETACHED", "true"),
    ];
    let node = Node::start_with(Database::sqlite(), &settings);
    // What is made once is not counted.
    drop(crowd(&node, 50));
    let before = memory_kib(&node);
    let readers = crowd(&node, READERS);
    let each = memory_kib(&node).saturating_sub(before) / READERS;
    drop(readers);
    // An ordinary body takes ten and more; a debug build of this one two to three.
    assert!(each < 6, "{each} KiB for each reader");
}

/// Readers of the board `main`.
fn crowd(node: &Node, count: u64) -> Vec<BufReader<TcpStream>> {
    (0..count)
        .map(|_| ask(node, "/b/main/stream?format=patch"))
        .collect()
}

fn memory_kib(node: &Node) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", node.pid())).expect("a process");
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .expect("its memory");
    line.trim()
        .trim_end_matches(" kB")
        .parse()
        .expect("a number")
}
