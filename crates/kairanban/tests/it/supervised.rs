//! What lives long does not end unnoticed. Failpoints make it fail; release builds have none.
#![cfg(debug_assertions)]

use std::{
    env,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use crate::{
    node::{Database, Node},
    on_both, wire,
};

const PATIENCE: Duration = Duration::from_secs(20);

fn failing(database: Database, failpoints: &str, settings: &[(&str, &str)]) -> Node {
    Node::start_as(database, settings, |command| {
        command.env("FAILPOINTS", failpoints);
    })
}

fn says_it_failed(node: &Node, name: &str) {
    node.wait_for_readiness(PATIENCE, |(status, state, reasons)| {
        (*status, state.as_str()) == (200, "degraded")
            && reasons.contains(&format!("{name} failed and was started again"))
    });
}

/// A stream shows what another program writes, and what is posted here.
fn all_goes_on(node: &Node) {
    let mut stream = node.stream("/b/main/stream?format=patch&since=now");
    let id = node.post("posted");
    while !stream.event().data.contains(&format!("\"id\":{id}")) {}
    node.database
        .sql("INSERT INTO topics (board_id, comment) VALUES (1, 'by hand');");
    while !stream.event().data.contains("by hand") {}
}

on_both!(
    each_task_is_started_again,
    writing_goes_on_or_the_process_ends
);

/// Each task, with how often it fails.
const TASKS: &str = "follower=2,archiver=2,housekeeping=2,memory=2,reconcile=2,last-seen=2,\
    token-finder=1,board-finder=1,wheel=2,dispatcher=2,data-version=2,LISTEN=2,hangups=1";

fn each_task_is_started_again(database: Database) {
    let settings = [("BOARD__TOPICS_MAX", "3"), ("STREAM__HEARTBEAT_S", "1")];
    let node = failing(database, TASKS, &settings);
    // Before any other board is looked for.
    assert_eq!(node.get("/b/none").status, 503);
    let mut stream = node.stream("/b/main/stream?format=patch");
    // Each of them has something to do, and fails at it.
    node.signal("-HUP");
    node.get_with("/api/v1/tokens", &[("Authorization", "Bearer none")]);
    for n in 0..6 {
        node.post(&n.to_string());
    }
    let of_the_other_database = if node.database.is_postgres() {
        "data-version"
    } else {
        "LISTEN"
    };
    let names = TASKS.split(',').filter_map(|task| task.split('=').next());
    for name in names.filter(|name| *name != of_the_other_database) {
        says_it_failed(&node, name);
    }
    while !stream.event().data.contains("\"5\"") {}
    all_goes_on(&node);
    let refused = node.get_with("/api/v1/tokens", &[("Authorization", "Bearer none")]);
    assert_eq!(refused.status, 401, "tokens are looked for");
    assert_eq!(node.get("/b/none").status, 404, "boards are looked for");
    let beat = (0..50)
        .filter_map(|_| stream.raw(PATIENCE))
        .any(|event| event.comment);
    assert!(beat, "heartbeats go on");
    await_archiving(&node.database, "3");
    // Still there, although the hang-up came while its task was down.
    node.signal("-HUP");
    all_goes_on(&node);
}

/// Waits until this many topics are not archived.
fn await_archiving(database: &Database, left: &str) {
    let began = Instant::now();
    while database.sql("SELECT count(*) FROM topics WHERE NOT archived;") != left {
        assert!(began.elapsed() < PATIENCE, "archiving goes on");
        std::thread::park_timeout(Duration::from_millis(50));
    }
}

#[test]
fn messages_by_redis_go_on() {
    let redis = env::var("KAIRANBAN_TEST_REDIS_URL")
        .expect("KAIRANBAN_TEST_REDIS_URL; scripts/test sets it");
    let settings = [
        ("BACKPLANE__KIND", "redis"),
        ("BACKPLANE__REDIS_URL", redis.as_str()),
        ("DATABASE__POLL_MS", "60000"),
    ];
    let node = failing(Database::postgres(), "Redis=2,LISTEN=2", &settings);
    says_it_failed(&node, "Redis");
    let other = node.sibling();
    let mut stream = node.stream("/b/main/stream?format=patch&since=now");
    // It has subscribed again once what the other posts arrives long before the next poll.
    let began = Instant::now();
    loop {
        other.post("from the other");
        if stream
            .raw(Duration::from_secs(1))
            .is_some_and(|event| event.data.contains("from the other"))
        {
            break;
        }
        assert!(began.elapsed() < PATIENCE, "nothing arrives");
    }
}

/// Nothing has ended, but nothing new would be shown.
#[test]
fn a_follower_that_is_stuck_is_not_ready() {
    let node = failing(
        Database::sqlite(),
        "follower-stuck=1",
        &[("DATABASE__POLL_MS", "100")],
    );
    node.wait_for_readiness(PATIENCE, |(status, state, reasons)| {
        (*status, state.as_str()) == (503, "not_ready")
            && reasons.contains("the change log has not been read for")
    });
    assert_eq!(node.get("/livez").status, 200);
}

/// Another node may have shown the reader more than this one knows of. While the log cannot be
/// read, the reader is asked to come again, and is not sent a list that is older than its own.
#[test]
fn a_reader_who_has_seen_more_is_sent_nothing_older() {
    let node = failing(
        Database::sqlite(),
        "follower-stuck=1",
        &[("DATABASE__POLL_MS", "100")],
    );
    let list = node.get("/api/v1/boards/main/topics");
    let tag = list.header("etag").expect("a tag").trim_matches('"');
    let (epoch, revision) = tag.split_once('-').expect("a cursor");
    let ahead = format!("{epoch}-{}", revision.parse::<u64>().expect("a number") + 2);
    for path in [
        "/b/main/stream?format=patch",
        "/b/main/stream",
        "/stream?board=main&format=patch",
        "/topic_stream/",
    ] {
        let event = node.resume(path, &ahead).event();
        assert_eq!(event.name, "bye", "{path}: {event:?}");
        assert!(event.data.contains("unavailable"), "{path}: {event:?}");
    }
}

/// A post is in the list of every stream that begins after its answer. While the log cannot be
/// read, there is no such list.
#[test]
fn a_reader_is_sent_nothing_older_than_what_was_acknowledged() {
    let node = failing(
        Database::sqlite(),
        "follower-stuck=1",
        &[("DATABASE__POLL_MS", "100")],
    );
    node.post("acknowledged");
    for path in [
        "/b/main/stream?format=patch",
        "/b/main/stream?format=list",
        "/stream?board=main&format=patch",
        "/topic_stream/",
    ] {
        let event = node.stream(path).event();
        assert_eq!(event.name, "bye", "{path}: {event:?}");
        assert!(event.data.contains("unavailable"), "{path}: {event:?}");
    }
    // A list is marked, also for a client that waits for news.
    let path = "/api/v1/boards/main/topics";
    let list = node.get(path);
    assert!(list.header("kairanban-stale-since").is_some(), "{list:?}");
    let tag = list.header("etag").expect("a tag");
    let (epoch, _) = tag.split_once('-').expect("a cursor");
    for (known, status) in [(format!("{epoch}-0\""), 200), (tag.to_owned(), 304)] {
        for wait in ["", "?wait=1"] {
            let answer = node.get_with(&format!("{path}{wait}"), &[("If-None-Match", &known)]);
            assert_eq!(answer.status, status, "{known}{wait}: {answer:?}");
            assert_eq!(answer.body.contains("acknowledged"), status == 200);
            assert!(
                answer.header("kairanban-stale-since").is_some(),
                "{known}{wait}: {answer:?}"
            );
        }
    }
}

/// A panic in one stream's code ends that stream, and not the news of all others.
#[test]
fn a_stream_that_fails_ends_alone() {
    let node = failing(Database::sqlite(), "stream=1", &[]);
    let mut streams: Vec<_> = (0..5)
        .map(|_| node.stream("/b/main/stream?format=patch&since=now"))
        .collect();
    for stream in &mut streams {
        assert!(stream.raw(PATIENCE).expect("a beginning").retry.is_some());
    }
    node.post("a");
    let shown = streams.iter_mut().filter_map(|stream| {
        std::iter::from_fn(|| stream.raw(Duration::from_secs(3)))
            .find(|event| !event.data.is_empty())
    });
    assert_eq!(shown.count(), 4);
    assert_eq!(
        node.readiness().1,
        "ready",
        "nothing had to be started again"
    );
}

/// Whether a post was written. The process may end meanwhile.
fn is_written(address: SocketAddr) -> bool {
    TcpStream::connect(address).is_ok_and(|mut connection| {
        let headers = [("Content-Type", "text/plain"), ("Connection", "close")];
        let post = wire::message("POST", "/", &headers, b"goes on");
        let mut answer = String::new();
        connection
            .write_all(&post)
            .and_then(|()| connection.read_to_string(&mut answer))
            .is_ok()
            && answer.starts_with("HTTP/1.1 201")
    })
}

/// The writer fails between the commit and the answers to it.
fn writing_goes_on_or_the_process_ends(database: Database) {
    let mut node = failing(database, "writer=1", &[]);
    let answer = node.send("POST", "/", "text/plain", "committed");
    assert_eq!(answer.status, 503, "{answer:?}");
    let began = Instant::now();
    let code = loop {
        if let Some(code) = node.has_ended() {
            break Some(code);
        }
        if is_written(node.address) {
            break None;
        }
        assert!(
            began.elapsed() < PATIENCE,
            "nothing is written any more, and the process goes on"
        );
        std::thread::park_timeout(Duration::from_millis(50));
    };
    if let Some(code) = code {
        assert_eq!(code, Some(1), "it ends loudly");
        node.restart();
    }
    let list = node.get("/api/v1/boards/main/topics").body;
    assert!(list.contains("committed"));
}

#[test]
fn what_keeps_failing_ends_the_process() {
    for name in ["follower", "dispatcher", "data-version"] {
        let mut node = failing(Database::sqlite(), &format!("{name}=1000"), &[]);
        let stream = node.stream("/b/main/stream");
        node.post("a");
        let (_, code) = node.end(Duration::from_secs(40));
        assert_eq!(code, Some(1), "{name}");
        drop(stream);
    }
}
