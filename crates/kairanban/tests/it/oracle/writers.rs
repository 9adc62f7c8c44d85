//! Programs that post over HTTP, one of them what a moderating trigger refuses, and two that write
//! past the server.

use std::{
    collections::HashSet,
    sync::Arc,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use super::{BOARDS, Run, link};
use crate::node::Database;

const POSTERS: u64 = 3;
const FOREIGN: u64 = 2;
/// A write that is not answered for so long is a fault: a node is never away for that long.
const ANSWER_MAX: Duration = Duration::from_secs(60);

/// Comments that were acknowledged.
pub(super) type Posted = HashSet<String>;

/// An owner's trigger that refuses some comments.
pub(crate) fn moderate(database: &Database) {
    database.sql(if database.is_postgres() {
        "CREATE FUNCTION moderate() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE ''no spam \
         here''; END'; \
         CREATE TRIGGER moderate BEFORE INSERT ON topics FOR EACH ROW \
         WHEN (NEW.comment LIKE 'spam%') EXECUTE FUNCTION moderate();"
    } else {
        "CREATE TRIGGER moderate BEFORE INSERT ON topics WHEN NEW.comment LIKE 'spam%' BEGIN \
         SELECT RAISE(ABORT, 'no spam here'); END;"
    });
}

/// Starts the threads of all writers.
pub(super) fn start(run: &Arc<Run>, database: &Database) -> Vec<JoinHandle<()>> {
    let mut threads = Vec::new();
    for n in 0..POSTERS {
        let run = Arc::clone(run);
        threads.push(thread::spawn(move || post(&run, n)));
    }
    let spamming = Arc::clone(run);
    threads.push(thread::spawn(move || spam(&spamming)));
    for n in 0..FOREIGN {
        let (run, database) = (Arc::clone(run), database.twin());
        threads.push(thread::spawn(move || write_past(&run, n, &database)));
    }
    threads
}

/// Posts, each comment until it is answered for.
fn post(run: &Run, writer: u64) {
    let mut random = fastrand::Rng::with_seed(run.seed ^ (writer + 1) << 40);
    for n in 0.. {
        if run.is_over() {
            return;
        }
        let comment = format!("h{writer}-{n}");
        let began = Instant::now();
        loop {
            let _at_work = run.accident.read().expect("a lock");
            if link::post(run.any_address(&mut random), &comment) == Some(201) {
                run.posted.lock().expect("a lock").insert(comment);
                break;
            }
            drop(_at_work);
            if began.elapsed() > ANSWER_MAX {
                return run.fault(format!(
                    "{comment} was not acknowledged within {ANSWER_MAX:?}"
                ));
            }
            thread::park_timeout(Duration::from_millis(20));
        }
        thread::park_timeout(Duration::from_millis(random.u64(..40)));
    }
}

/// Posts what is refused: for good, however busy the others are, or not answered by a node that is
/// away.
fn spam(run: &Run) {
    let mut random = fastrand::Rng::with_seed(run.seed ^ 1 << 60);
    let mut refused = Instant::now();
    while !run.is_over() {
        match link::post(run.any_address(&mut random), "spam") {
            Some(400..=499) => refused = Instant::now(),
            None | Some(503) if refused.elapsed() < ANSWER_MAX => {}
            other => {
                return run.fault(format!(
                    "spam was answered with {other:?} after {:?}",
                    refused.elapsed()
                ));
            }
        }
        thread::park_timeout(Duration::from_millis(random.u64(..40)));
    }
}

/// Writes in transactions, of which three in ten roll back.
fn write_past(run: &Run, writer: u64, database: &Database) {
    let mut random = fastrand::Rng::with_seed(run.seed ^ (writer + 1) << 50);
    for n in 0.. {
        if run.is_over() {
            return;
        }
        let name = format!("p{writer}-{n}");
        let statements: Vec<_> = (0..random.u32(1..5))
            .map(|_| statement(&mut random, &name, database))
            .collect();
        let end = if random.f64() < 0.3 {
            "ROLLBACK"
        } else {
            "COMMIT"
        };
        let begin = if database.is_postgres() {
            "BEGIN"
        } else {
            "BEGIN IMMEDIATE"
        };
        let _at_work = run.accident.read().expect("a lock");
        // Two who write past the server may be in each other's way: then it is rolled back.
        let _ = database.try_sql(&format!("{begin}; {}; {end};", statements.join("; ")));
        drop(_at_work);
        thread::park_timeout(Duration::from_millis(random.u64(..100)));
    }
}

/// A random topic of a kind.
fn some(kind: &str) -> String {
    format!("(SELECT id FROM topics WHERE {kind} ORDER BY random() LIMIT 1)")
}

fn statement(random: &mut fastrand::Rng, name: &str, database: &Database) -> String {
    let on = format!(
        "(SELECT id FROM boards WHERE name = '{}')",
        BOARDS[random.usize(..BOARDS.len())]
    );
    let theirs = some("comment LIKE 'p%'");
    match random.u32(..15) {
        0..=2 => format!("INSERT INTO topics (board_id, comment) VALUES ({on}, '{name}')"),
        3 | 4 => {
            let id = some(&format!("board_id = {on} AND NOT archived"));
            format!("UPDATE topics SET comment = comment || 'x' WHERE id = {id}")
        }
        5 => format!("DELETE FROM topics WHERE id = {theirs}"),
        6 => format!("UPDATE topics SET board_id = {on} WHERE id = {theirs}"),
        7 => {
            let rows = if random.u32(..5) == 0 { 100 } else { 4 };
            let values = vec![format!("({on}, '{name}')"); rows].join(", ");
            format!("INSERT INTO topics (board_id, comment) VALUES {values}")
        }
        8 => "SAVEPOINT s; DELETE FROM topics; ROLLBACK TO s".to_owned(),
        9 | 10 => insert_ahead(&on, name, random.u32(1..20)),
        // A board is deleted, and one of its name made.
        11 if random.u32(..5) == 0 => {
            "DELETE FROM boards WHERE name = 'two'; INSERT INTO boards (name) VALUES ('two')"
                .to_owned()
        }
        12 => insert_at(&on, name, ODD_TIMES[random.usize(..4)]),
        13 if database.is_postgres() => apply(&on, name, &theirs),
        // SQLite has one writer at a time: one that waits would only hold up all others.
        _ if database.is_postgres() => format!("SELECT pg_sleep({})", random.f64() * 2.0),
        _ => "SELECT 1".to_owned(),
    }
}

/// Brings an id of its own, as an import does.
fn insert_ahead(board: &str, name: &str, ahead: u32) -> String {
    format!(
        "INSERT INTO topics (id, board_id, comment) \
         SELECT max(id) + {ahead}, {board}, '{name}' FROM topics"
    )
}

/// Times that no server of ours would write.
const ODD_TIMES: [&str; 4] = [
    "'infinity'",
    "'2024-02-30 00:00:00'",
    "'2024-01-01 24:00:00'",
    "'-infinity'",
];

fn insert_at(board: &str, name: &str, time: &str) -> String {
    format!("INSERT INTO topics (board_id, comment, created_at) VALUES ({board}, '{name}', {time})")
}

/// Writes as a logical replication applies it.
fn apply(board: &str, name: &str, other_topic: &str) -> String {
    format!(
        "SET LOCAL session_replication_role = replica; INSERT INTO topics (board_id, comment) \
         VALUES ({board}, '{name}'); \
         UPDATE topics SET comment = comment || 'x' WHERE id = {other_topic}; \
         SET LOCAL session_replication_role = origin"
    )
}
