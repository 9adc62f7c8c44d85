//! Another program loads many rows at once: posts go on meanwhile, readers see the end of it, and
//! memory stays as it was.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use crate::{
    node::{Database, Node},
    on_both,
    sse::Watched,
    wire,
};

on_both!(posts_go_on_while_rows_are_loaded);

/// The longest that a post may take (`database.write_wait_ms`, and a little).
const POST_MAX: Duration = Duration::from_secs(3);

fn load(database: &Database, rows: usize) {
    let sql = if database.is_postgres() {
        format!(
            "INSERT INTO topics (comment) SELECT 'row ' || g FROM generate_series(1, {rows}) g;"
        )
    } else {
        format!(
            "INSERT INTO topics (comment) WITH RECURSIVE g(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM g \
             WHERE n < {rows}) SELECT 'row ' || n FROM g;"
        )
    };
    database.sql(&sql);
}

/// Posts from several clients while `meanwhile` goes on. Returns the status and duration of each
/// post.
fn posting(node: &Node, meanwhile: impl FnOnce()) -> Vec<(u16, Duration)> {
    let (is_over, posts) = (AtomicBool::new(false), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for client in 0..4 {
            let (is_over, posts) = (&is_over, &posts);
            scope.spawn(move || {
                while !is_over.load(Ordering::Relaxed) {
                    let began = Instant::now();
                    let status = wire::post(node.address, &format!("by client {client}")).status;
                    posts
                        .lock()
                        .expect("a lock")
                        .push((status, began.elapsed()));
                    thread::park_timeout(Duration::from_millis(10));
                }
            });
        }
        meanwhile();
        is_over.store(true, Ordering::Relaxed);
    });
    posts.into_inner().expect("a lock")
}

/// Megabytes of memory that the process has used at most.
fn peak(node: &Node) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", node.pid())).expect("/proc");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kilobytes.expect("a number") / 1024
}

/// The ids of the live list, as the database has it.
fn live(node: &Node) -> Vec<u64> {
    let ids = node
        .database
        .sql("SELECT id FROM topics WHERE NOT archived ORDER BY id DESC LIMIT 500;");
    let mut ids: Vec<_> = ids.lines().map(|id| id.parse().expect("an id")).collect();
    ids.reverse();
    ids
}

fn posts_survive_a_load_of(database: Database, rows: usize) {
    let node = Node::start(database);
    node.post("first");
    let mut watched = Watched::new(node.stream("/b/main/stream?format=patch"));
    watched.take();
    let before = peak(&node);
    let posts = posting(&node, || load(&node.database, rows));
    let longest = posts.iter().map(|(_, took)| *took).max().expect("posts");
    let failed = posts.iter().filter(|(status, _)| *status != 201).count();
    assert_eq!(failed, 0, "of {}", posts.len());
    assert!(longest < POST_MAX, "{longest:?}");
    assert!(
        peak(&node) - before < 64,
        "{} MB more",
        peak(&node) - before
    );
    let began = Instant::now();
    let ids = |watched: &Watched| -> Vec<u64> { watched.mirror.topics.keys().copied().collect() };
    while ids(&watched) != live(&node) {
        assert!(
            began.elapsed() < Duration::from_secs(30),
            "{:?}",
            ids(&watched)
        );
        // All of them: to ask the database takes longer than to receive an event.
        while let Some(event) = watched.stream.raw(Duration::from_millis(200)) {
            watched.mirror.take(&event);
        }
    }
}

fn posts_go_on_while_rows_are_loaded(database: Database) {
    // SQLite has one writer at a time: that many take a fraction of the time that a post waits.
    let rows = if database.is_postgres() {
        20_000
    } else {
        5_000
    };
    posts_survive_a_load_of(database, rows);
}

#[test]
#[ignore = "takes a minute"]
fn posts_go_on_while_200_000_rows_are_loaded() {
    posts_survive_a_load_of(Database::postgres(), 200_000);
}

/// What a large transaction logs, is what its readers do with it: read the lists again.
#[test]
fn a_large_transaction_is_one_change_of_each_board() {
    let node = Node::start(Database::postgres());
    node.database
        .sql("INSERT INTO boards (name) VALUES ('other');");
    let mut watched = Watched::new(node.stream("/b/main/stream?format=patch"));
    watched.take();
    let log = "SELECT string_agg(DISTINCT kind || ' ' || board_id, ', ' ORDER BY kind || ' ' || board_id), \
        count(*) <= 2, count(DISTINCT revision), max(revision) FROM changes \
        WHERE revision = (SELECT max(revision) FROM changes WHERE kind <> 'archive');";
    let topics =
        "SELECT count(DISTINCT revision), max(revision) FROM topics WHERE comment LIKE 'row %';";
    for statement in [
        "INSERT INTO topics (board_id, comment) SELECT 1 + g % 2, 'row ' || g FROM generate_series(1, 5000) g;",
        "UPDATE topics SET author = 'ann';",
    ] {
        node.database.sql(statement);
        let logged = node.database.sql(log);
        assert!(
            logged.starts_with("clear 1, clear 2|t|1|"),
            "{statement} {logged}"
        );
        let revision: u64 = logged
            .rsplit('|')
            .next()
            .and_then(|text| text.parse().ok())
            .expect("a revision");
        let stamped = node.database.sql(topics);
        let (kinds, drawn) = stamped.split_once('|').expect("two columns");
        assert_eq!(kinds, "1", "{stamped}");
        assert!(
            drawn.parse::<u64>().expect("a revision") < revision,
            "{stamped} {logged}"
        );
    }
    // An import keeps its ids, and what comes later has larger ones.
    node.database.sql(
        "INSERT INTO topics (id, comment) SELECT 1000000 + g, 'far' FROM generate_series(1, 5000) g;",
    );
    assert!(node.post("behind them") > 1_005_000);
    // It is archived like any other, down to the live list.
    let began = Instant::now();
    while node
        .database
        .sql("SELECT count(*) FROM topics WHERE NOT archived;")
        != "1000"
    {
        assert!(began.elapsed() < Duration::from_secs(30), "not archived");
    }
    node.database.sql("DELETE FROM topics;");
    assert!(node.database.sql(log).starts_with("clear 1, clear 2|t|1|"));
    while !watched.mirror.topics.is_empty() {
        let event = watched
            .stream
            .raw(Duration::from_secs(5))
            .expect("an event");
        watched.mirror.take(&event);
    }
    node.post("after all");
    assert_eq!(live(&node).len(), 1);
}

/// SQLite has one writer at a time: a post waits for its turn nearly as long as its client waits
/// for the answer.
#[test]
fn a_post_waits_for_another_writer_of_the_file() {
    let node = Node::start(Database::sqlite());
    let lock = node.database.hold_the_write_lock();
    let posts = posting(&node, || {
        thread::park_timeout(Duration::from_millis(1_600));
        drop(lock);
    });
    assert!(posts.iter().all(|(status, _)| *status == 201), "{posts:?}");
    assert!(
        posts.iter().any(|(_, took)| *took > Duration::from_secs(1)),
        "{posts:?}"
    );
}
