//! Messages that nothing was committed for, by NOTIFY and by Redis.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::TcpStream,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use super::{Counted, cursor_ahead};
use crate::node::{Database, Node};

/// Sends notifications without a commit for as long as `at_least`.
fn notify_without_pause(node: &Node, at_least: Duration) {
    let mut psql = Command::new("psql")
        .args(["-qAtX", &node.database.url()])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("psql");
    let (mut input, began) = (psql.stdin.take().expect("a pipe"), Instant::now());
    while began.elapsed() < at_least {
        writeln!(input, "NOTIFY kairanban_public, 'nothing';").expect("written");
    }
    drop(input);
    psql.wait().expect("an end");
}

/// Publishes messages in Redis without a commit for as long as `at_least`.
fn publish_without_pause(redis: &str, channel: &str, at_least: Duration) {
    let connection = TcpStream::connect(redis.trim_start_matches("redis://")).expect("Redis");
    let (mut replies, began) = (BufReader::new(connection), Instant::now());
    let messages = format!("PUBLISH {channel} nothing\r\n").repeat(50);
    while began.elapsed() < at_least {
        let sent = replies.get_mut().write_all(messages.as_bytes());
        sent.expect("written");
        for _ in 0..50 {
            let mut reply = String::new();
            replies.read_line(&mut reply).expect("a reply");
            assert!(reply.starts_with(':'), "{reply}");
        }
    }
}

#[test]
fn messages_without_a_commit_share_few_readings_and_the_next_commit_is_heard_of() {
    let redis = std::env::var("KAIRANBAN_TEST_REDIS_URL")
        .expect("KAIRANBAN_TEST_REDIS_URL; scripts/test sets it");
    let settings = [
        ("DATABASE__POLL_MS", "600000"),
        ("BACKPLANE__KIND", "redis"),
        ("BACKPLANE__REDIS_URL", redis.as_str()),
    ];
    let node = Node::start_with(Database::postgres(), &settings);
    let other = node.sibling();
    let cursor = cursor_ahead(&node, 0);
    let (epoch, _) = cursor.split_once('-').expect("a cursor");
    let channel = format!("kairanban:{epoch}:changed");
    let mut stream = node.stream("/b/main/stream?format=patch");
    stream.event();
    let counted = Counted::new(&node);
    let (read, bound) = counted.caused_by(|| {
        thread::scope(|scope| {
            scope.spawn(|| publish_without_pause(&redis, &channel, Duration::from_secs(3)));
            for number in 0..20 {
                other.post(&format!("number {number}"));
                let event = stream.event();
                assert!(
                    event.data.contains(&format!("number {number}\"")),
                    "{event:?}"
                );
            }
        });
    });
    assert!(read <= bound + 20 * 4, "{read} readings, not {bound}");
}

#[test]
fn notifications_without_a_commit_share_few_readings_and_the_next_commit_is_heard_of() {
    let settings = [("DATABASE__POLL_MS", "600000")];
    let node = Node::start_with(Database::postgres(), &settings);
    let mut stream = node.stream("/b/main/stream?format=patch");
    stream.event();
    let counted = Counted::new(&node);
    let (read, bound) = counted.caused_by(|| {
        thread::scope(|scope| {
            scope.spawn(|| notify_without_pause(&node, Duration::from_secs(3)));
            for number in 0..20 {
                let began = Instant::now();
                let topic = format!("INSERT INTO topics (comment) VALUES ('number {number} ');");
                node.database.sql(&topic);
                let event = stream.event();
                assert!(
                    event.data.contains(&format!("number {number} ")),
                    "{event:?}"
                );
                assert!(
                    began.elapsed() < Duration::from_secs(2),
                    "{:?}",
                    began.elapsed()
                );
            }
        });
    });
    // A commit is read, may be announced once more, and has the board looked at by the archiver.
    assert!(read <= bound + 20 * 4, "{read} readings, not {bound}");
}
