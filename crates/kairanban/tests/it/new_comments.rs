//! `format=raw`: each new comment comes once, whatever the order in which ids were drawn and
//! transactions committed.

use std::{
    collections::BTreeMap,
    thread,
    time::{Duration, Instant},
};

use crate::{
    node::{Database, Lock, Node},
    on_both,
    sse::Reader,
    wire::{self, PATIENCE},
};

on_both!(a_deleted_topic_that_is_back_is_not_new);

const RAW: &str = "/b/main/stream?format=raw";

/// Takes comments from the stream until `last` comes, and returns how often each came.
fn comments_until(stream: &mut Reader, last: &str) -> BTreeMap<String, usize> {
    let mut came = BTreeMap::new();
    loop {
        let comment = stream.event().data;
        let is_last = comment == last;
        *came.entry(comment).or_default() += 1;
        if is_last {
            return came;
        }
    }
}

/// Returns each of `comments` once.
fn once<C: Into<String>>(comments: impl IntoIterator<Item = C>) -> BTreeMap<String, usize> {
    comments.into_iter().map(|text| (text.into(), 1)).collect()
}

#[test]
fn posts_on_two_nodes_each_come_once() {
    const CLIENTS: usize = 4;
    const POSTS: usize = 45;
    let one = Node::start(Database::postgres());
    let other = one.sibling();
    let nodes = [&one, &other];
    let mut streams = nodes.map(|node| node.stream(RAW));
    thread::scope(|scope| {
        for (at, node) in nodes.into_iter().enumerate() {
            for client in 0..CLIENTS {
                scope.spawn(move || {
                    for post in 0..POSTS {
                        let comment = format!("{at} {client} {post}");
                        assert_eq!(wire::post(node.address, &comment).status, 201);
                    }
                });
            }
        }
    });
    one.post("last");
    let posts = (0..2 * CLIENTS * POSTS)
        .map(|n| format!("{} {} {}", n % 2, n / 2 % CLIENTS, n / 2 / CLIENTS))
        .chain(["last".to_owned()]);
    let expected = once(posts);
    for stream in &mut streams {
        assert_eq!(comments_until(stream, "last"), expected);
    }
}

#[test]
fn a_post_with_a_lower_id_may_be_committed_later() {
    let node = Node::start(Database::postgres());
    node.post("before");
    let mut stream = node.stream(RAW);
    let slow = node
        .database
        .hold("INSERT INTO topics (comment) VALUES ('slow')");
    node.post("quick");
    let quick = stream.event();
    assert_eq!(quick.data, "quick");
    slow.commit();
    assert_eq!(stream.event().data, "slow");
    let cursor = quick.id.expect("a cursor");
    assert_eq!(node.resume(RAW, &cursor).event().data, "slow");
}

/// Inserts more rows than are stamped in their turn, `bulk 1` and so on, while another transaction
/// holds the order of commits, which then commits `quick`. Returns the transaction of the rows,
/// which has its revision, before its end.
fn load_behind(database: &Database, rows: usize) -> Lock {
    let before = database.hold("LOCK TABLE commit_order IN SHARE UPDATE EXCLUSIVE MODE");
    thread::scope(|scope| {
        let bulk = scope.spawn(|| {
            database.hold(&format!(
                "INSERT INTO topics (comment) SELECT 'bulk ' || g FROM generate_series(1, {rows}) g; \
                 SET CONSTRAINTS ALL IMMEDIATE"
            ))
        });
        let began = Instant::now();
        let waiting = "SELECT count(*) FROM pg_locks \
                       WHERE relation = 'commit_order'::regclass AND NOT granted;";
        while database.sql(waiting).trim() == "0" {
            assert!(began.elapsed() < PATIENCE, "nothing waits");
            thread::park_timeout(Duration::from_millis(20));
        }
        before.commit_after("INSERT INTO topics (comment) VALUES ('quick')");
        bulk.join().expect("a transaction")
    })
}

/// Returns what the rows from `first` to `last` say.
fn bulk_rows(first: usize, last: usize) -> impl Iterator<Item = String> {
    (first..=last).map(|row| format!("bulk {row}"))
}

#[test]
fn rows_that_were_stamped_before_their_turn_come() {
    const ROWS: usize = 2_500;
    let node = Node::start(Database::postgres());
    node.post("before");
    let mut stream = node.stream(RAW);
    let loaded = load_behind(&node.database, ROWS);
    let quick = stream.event();
    assert_eq!(quick.data, "quick");
    loaded.commit();
    // The list shows the newest 500, of which `quick` is one: its id was drawn last.
    let expected = once(bulk_rows(ROWS - 498, ROWS));
    let newest = format!("bulk {ROWS}");
    assert_eq!(comments_until(&mut stream, &newest), expected);

    let cursor = quick.id.expect("a cursor");
    let returns = |node: &Node| comments_until(&mut node.resume(RAW, &cursor), &newest);
    assert_eq!(returns(&node), expected);
    // A node that was not there reads it from the database, one that shares lists from a copy.
    assert_eq!(returns(&node.sibling()), expected);
    node.post("after");
    let mut came = comments_until(&mut node.resume(RAW, &cursor), "after");
    assert_eq!(came.remove("after"), Some(1));
    assert_eq!(came, once(bulk_rows(ROWS - 497, ROWS)));
}

fn a_deleted_topic_that_is_back_is_not_new(database: Database) {
    let node = Node::start(database);
    let topic = node.post("deleted");
    let mut stream = node.stream(RAW);
    let token = node.token(&["create", "--scope", "admin"]);
    let write = |method, path: &str| node.send_as(method, path, &token, &[], "").status;
    let path = format!("/api/v1/boards/main/topics/{topic}");
    assert_eq!(write("DELETE", &path), 204);
    assert_eq!(write("POST", &format!("{path}/restore")), 200);
    node.post("after");
    assert_eq!(stream.event().data, "after");
}
