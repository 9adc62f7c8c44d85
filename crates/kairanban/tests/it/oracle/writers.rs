//! Three programs that post over HTTP, and two that write past the server.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use super::{Run, link};
use crate::node::Database;

const POSTERS: u64 = 3;
const FOREIGN: u64 = 2;
/// A write that nobody answers for so long is a fault: a node is never away for that long.
const ANSWER_MAX: Duration = Duration::from_secs(60);

/// Starts them. Gives what was acknowledged, too.
pub(super) fn start(run: &Arc<Run>, database: &Database) -> (Vec<JoinHandle<()>>, Arc<Mutex<HashSet<String>>>) {
    let posted = Arc::new(Mutex::new(HashSet::new()));
    let mut threads = Vec::new();
    for n in 0..POSTERS {
        let (run, posted) = (Arc::clone(run), Arc::clone(&posted));
        threads.push(thread::spawn(move || post(&run, n, &posted)));
    }
    for n in 0..FOREIGN {
        let (run, database) = (Arc::clone(run), database.twin());
        threads.push(thread::spawn(move || write_past(&run, n, &database)));
    }
    (threads, posted)
}

/// Posts, each comment until it is answered for.
fn post(run: &Run, writer: u64, posted: &Mutex<HashSet<String>>) {
    let mut random = fastrand::Rng::with_seed(run.seed ^ (writer + 1) << 40);
    for n in 0.. {
        if run.is_over() {
            return;
        }
        let comment = format!("h{writer}-{n}");
        let began = Instant::now();
        while link::post(run.any_address(&mut random), &comment) != Some(201) {
            if began.elapsed() > ANSWER_MAX {
                return run.fault(format!("{comment} was not acknowledged within {ANSWER_MAX:?}"));
            }
            thread::park_timeout(Duration::from_millis(20));
        }
        posted.lock().expect("a lock").insert(comment);
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
        let statements: Vec<_> = (0..random.u32(1..5)).map(|_| statement(&mut random, &name, database)).collect();
        let end = if random.f64() < 0.3 { "ROLLBACK" } else { "COMMIT" };
        let begin = if database.is_postgres() { "BEGIN" } else { "BEGIN IMMEDIATE" };
        // Two who write past the server may be in each other's way: then it is rolled back.
        let _ = database.try_sql(&format!("{begin}; {}; {end};", statements.join("; ")));
        thread::park_timeout(Duration::from_millis(random.u64(..100)));
    }
}

fn statement(random: &mut fastrand::Rng, name: &str, database: &Database) -> String {
    let on = random.u32(1..3);
    let some = |kind: &str| format!("(SELECT id FROM topics WHERE {kind} ORDER BY random() LIMIT 1)");
    match random.u32(..10) {
        0..=2 => format!("INSERT INTO topics (board_id, comment) VALUES ({on}, '{name}')"),
        3 | 4 => {
            let id = some(&format!("board_id = {on} AND NOT archived"));
            format!("UPDATE topics SET comment = comment || 'x' WHERE id = {id}")
        }
        5 => format!("DELETE FROM topics WHERE id = {}", some("comment LIKE 'p%'")),
        6 => format!("UPDATE topics SET board_id = 3 - board_id WHERE id = {}", some("comment LIKE 'p%'")),
        7 => {
            let rows = if random.u32(..5) == 0 { 100 } else { 4 };
            let values = vec![format!("({on}, '{name}')"); rows].join(", ");
            format!("INSERT INTO topics (board_id, comment) VALUES {values}")
        }
        8 => "SAVEPOINT s; DELETE FROM topics; ROLLBACK TO s".to_owned(),
        // SQLite has one writer at a time: one that waits would only hold up all others.
        _ if database.is_postgres() => format!("SELECT pg_sleep({})", random.f64() * 2.0),
        _ => "SELECT 1".to_owned(),
    }
}
