//! Readings in progress: a client has a few at a time, however long each takes, and however much it
//! reads.

use std::{
    io::Write as _,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use socket2::SockRef;

use super::{send_from, wire};
use crate::node::{Database, Node};

crate::on_both!(who_reads_all_it_can_leaves_room_for_others);

const SETTINGS: [(&str, &str); 2] = [
    ("LIMITS__TRUSTED_PROXIES", "127.0.0.1/32"),
    ("LIMITS__READS_PER_CLIENT_MAX", "4"),
];
/// As many as a client may have connections, or nearly.
const AT_ONCE: usize = 95;
const LONG: &str = "/api/v1/boards/main/topics?limit=500";

/// Fills the board with 4 MB.
fn fill(node: &Node) {
    let write = if node.database.is_postgres() {
        "INSERT INTO topics (comment) \
         SELECT repeat('\u{1f4cc}', 1990) FROM generate_series(1, 500);"
    } else {
        "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 500) \
         INSERT INTO topics (comment) SELECT replace(hex(zeroblob(995)), '0', '\u{1f4cc}') FROM n;"
    };
    node.database.sql(write);
    let filled = Instant::now();
    while node.get("/api/v1/boards/main").json()["topics"] != 500 {
        assert!(filled.elapsed() < wire::PATIENCE);
    }
}

/// Reads as a neighbour until the others are done: each request is answered.
fn read_beside(node: &Node, are_done: &AtomicBool) {
    let paths = ["topics/1", "topics?limit=2", "changes?limit=2", ""];
    for (n, path) in (0..).zip(paths.iter().cycle()) {
        if are_done.load(Ordering::Acquire) {
            break;
        }
        let path = format!("/api/v1/boards/main/{path}");
        let neighbour = format!("198.51.100.{}", n % 250);
        let path = path.trim_end_matches('/');
        let answer = send_from(node, &neighbour, "GET", path, &[], b"");
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
    }
}

fn who_reads_all_it_can_leaves_room_for_others(database: Database) {
    let node = Node::start_with(database, &SETTINGS);
    fill(&node);
    let are_done = AtomicBool::new(false);
    let statuses = thread::scope(|scope| {
        let neighbour = scope.spawn(|| read_beside(&node, &are_done));
        let readers: Vec<_> = (0..AT_ONCE)
            .map(|_| scope.spawn(|| send_from(&node, "192.0.2.1", "GET", LONG, &[], b"")))
            .collect();
        let answers = readers
            .into_iter()
            .map(|reader| reader.join().expect("an answer"));
        let statuses: Vec<_> = answers.map(|answer| answer.status).collect();
        are_done.store(true, Ordering::Release);
        neighbour.join().expect("a neighbour");
        statuses
    });
    assert!(
        statuses.iter().all(|status| matches!(status, 200 | 429)) && statuses.contains(&200),
        "{statuses:?}"
    );
}

/// Each kind of reading, and the table without which it does not end.
const KINDS: [(&str, &str); 11] = [
    ("/api/v1/boards/main/topics?limit=500", "topics"),
    ("/api/v1/boards/main/topics/1", "topics"),
    ("/api/v1/boards/main/changes?limit=500", "changes"),
    ("/api/v1/boards/main", "topics"),
    ("/api/v1/boards?limit=500", "topics"),
    ("/boards", "topics"),
    ("/b/main/topics", "topics"),
    ("/b/main/topics/1", "topics"),
    // Boards that are not in memory.
    ("/api/v1/boards/cold-{n}/topics", "topics"),
    ("/b/cool-{n}/feed.xml", "topics"),
    ("/b/chilly-{n}/stream", "topics"),
];

fn with_cold_boards() -> Node {
    let node = Node::start_with(Database::postgres(), &SETTINGS);
    node.post("the only topic");
    node.database.sql(
        "INSERT INTO boards (name) SELECT word || n FROM generate_series(1, 6) n, \
            unnest(ARRAY['cold-', 'cool-', 'chilly-']) word;",
    );
    node
}

/// Sends six requests at once. Returns how many were refused for the client's share.
fn refused_of_six(node: &Node, client: &str, path: &str) -> usize {
    let answers = thread::scope(|scope| {
        let asked = [1, 2, 3, 4, 5, 6].map(|n| {
            let path = path.replace("{n}", &n.to_string());
            scope.spawn(move || send_from(node, client, "GET", &path, &[], b""))
        });
        asked.map(|answer| answer.join().expect("an answer"))
    });
    let is_refused = |answer: &&wire::Answer| match answer.status {
        429 => {
            assert!(
                answer.body.contains("limits.reads_per_client_max"),
                "{answer:?}"
            );
            assert_eq!(answer.header("retry-after"), Some("1"));
            true
        }
        _ => answer.body.contains("\"limit\""),
    };
    answers.iter().filter(is_refused).count()
}

#[test]
fn each_kind_of_reading_counts_while_it_is_in_progress() {
    let node = with_cold_boards();
    for (number, (path, table)) in (1..).zip(KINDS) {
        let client = format!("192.0.2.{number}");
        let lock = node.database.lock(table);
        assert_eq!(refused_of_six(&node, &client, path), 2, "{path}");
        drop(lock);
        assert_eq!(refused_of_six(&node, &client, path), 0, "{path}");
    }
}

fn waiting_for_locks(node: &Node) -> usize {
    let counted = node.database.sql(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
         AND wait_event_type = 'Lock';",
    );
    counted.trim().parse().expect("a number")
}

/// Its queries go on.
#[test]
fn a_client_that_hangs_up_has_its_readings_in_progress_still() {
    let node = with_cold_boards();
    let lock = node.database.lock("topics");
    for asked in 1..=4 {
        let request = wire::message("GET", LONG, &[("X-Forwarded-For", "192.0.2.1")], b"");
        let mut connection = wire::connect(node.address);
        connection.write_all(&request).expect("asked");
        while waiting_for_locks(&node) < asked {
            thread::yield_now();
        }
        // With this, closing is a reset, which ends what answers.
        SockRef::from(&connection)
            .set_linger(Some(Duration::ZERO))
            .expect("set");
    }
    let fifth = send_from(&node, "192.0.2.1", "GET", LONG, &[], b"");
    assert_eq!(fifth.status, 429, "{fifth:?}");
    drop(lock);
    assert_eq!(
        send_from(&node, "192.0.2.1", "GET", LONG, &[], b"").status,
        200
    );
}
