//! Faults, one at a time, under load: how soon a write is answered with 503, how soon all is well again, and whether
//! anything that was acknowledged is lost or there twice. `scripts/faults` prints the table of docs/RELIABILITY.md.

use std::{
    collections::HashMap,
    io::Write as _,
    process::Command,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use crate::{
    cluster::Cluster,
    node::{Database, Node},
    oracle::link,
};

const WRITERS: u64 = 8;
/// How long a fault lasts.
const FAULT: Duration = Duration::from_secs(5);
/// For everything to be well again.
const RECOVER_MAX: Duration = Duration::from_secs(30);
/// What the contract promises for the first 503, with the slack of a busy machine.
const REFUSE_MAX: Duration = Duration::from_millis(4_500);

/// A post: when it was begun, when answered and how; `None` without an answer.
struct Try {
    began: Instant,
    answered: Instant,
    status: Option<u16>,
}

/// Writers that post without end, each comment again under its key until it is acknowledged.
struct Load {
    over: Arc<AtomicBool>,
    tries: Arc<Mutex<Vec<Try>>>,
    acknowledged: Arc<Mutex<Vec<String>>>,
    writers: Vec<JoinHandle<()>>,
}

impl Load {
    fn start(node: &Node) -> Self {
        let mut load = Self { over: Arc::default(), tries: Arc::default(), acknowledged: Arc::default(), writers: Vec::new() };
        for writer in 0..WRITERS {
            let (over, tries, acknowledged) = (Arc::clone(&load.over), Arc::clone(&load.tries), Arc::clone(&load.acknowledged));
            let address = node.address;
            load.writers.push(thread::spawn(move || {
                for n in 0.. {
                    let comment = format!("h{writer}-{n}");
                    loop {
                        if over.load(Ordering::SeqCst) {
                            return;
                        }
                        let began = Instant::now();
                        let status = link::post(address, &comment);
                        tries.lock().expect("a lock").push(Try { began, answered: Instant::now(), status });
                        if status == Some(201) {
                            acknowledged.lock().expect("a lock").push(comment);
                            break;
                        }
                        thread::park_timeout(Duration::from_millis(20));
                    }
                }
            }));
        }
        load
    }

    fn wait_for_a_post_begun_after(&self, since: Instant) -> Option<Instant> {
        let deadline = Instant::now() + RECOVER_MAX;
        while Instant::now() < deadline {
            let tries = self.tries.lock().expect("a lock");
            let good = tries.iter().find(|one| one.began >= since && one.status == Some(201)).map(|one| one.answered);
            drop(tries);
            if good.is_some() {
                return good;
            }
            thread::park_timeout(Duration::from_millis(10));
        }
        None
    }

    fn end(self) -> (Vec<Try>, Vec<String>) {
        self.over.store(true, Ordering::SeqCst);
        self.writers.into_iter().for_each(|writer| writer.join().expect("a writer"));
        let take = |tries: Arc<Mutex<Vec<Try>>>| std::mem::take(&mut *tries.lock().expect("a lock"));
        let acknowledged = self.acknowledged.lock().expect("a lock").clone();
        (take(self.tries), acknowledged)
    }
}

/// What came of a fault.
struct Outcome {
    fault: &'static str,
    /// From the beginning of the fault to the first 503; `None` if no write was refused.
    refused: Option<Duration>,
    /// The longest that a client waited for an answer.
    longest: Duration,
    /// From the end of the fault to the next post that was acknowledged, and until every node shows what is there.
    recovered: Duration,
    converged: Duration,
    acknowledged: usize,
    lost: usize,
    doubled: usize,
    others: Vec<u16>,
}

/// Does something bad for a while, under load, and looks what came of it.
fn drill(fault: &'static str, node: &mut Node, happen: impl FnOnce(&mut Node)) -> Outcome {
    let load = Load::start(node);
    load.wait_for_a_post_begun_after(Instant::now()).expect("a post before the fault");
    let began = Instant::now();
    happen(node);
    let ended = Instant::now();
    let recovered = load.wait_for_a_post_begun_after(ended).unwrap_or_else(|| panic!("{fault}: no post after it"));
    let (tries, acknowledged) = load.end();
    let deadline = Instant::now() + RECOVER_MAX;
    while !crate::oracle::shows(node) {
        assert!(Instant::now() < deadline, "{fault}: the node does not show what is there");
        thread::park_timeout(Duration::from_millis(10));
    }
    let converged = Instant::now();
    let found = node.database.sql("SELECT comment FROM topics WHERE comment LIKE 'h%';");
    let mut count: HashMap<&str, usize> = HashMap::new();
    found.lines().for_each(|comment| *count.entry(comment).or_default() += 1);
    let during = |one: &&Try| one.answered >= began;
    let refused = tries.iter().filter(during).filter(|one| one.status == Some(503)).map(|one| one.answered - began).min();
    let mut others: Vec<_> = tries.iter().filter_map(|one| one.status).filter(|status| ![201, 503].contains(status)).collect();
    others.sort_unstable();
    others.dedup();
    Outcome {
        fault,
        refused,
        longest: tries.iter().map(|one| one.answered - one.began).max().unwrap_or_default(),
        recovered: recovered - ended,
        converged: converged - ended,
        acknowledged: acknowledged.len(),
        lost: acknowledged.iter().filter(|comment| !count.contains_key(comment.as_str())).count(),
        doubled: count.values().filter(|count| **count > 1).count(),
        others,
    }
}

impl Outcome {
    fn check(&self) {
        let Self { fault, lost, doubled, others, longest, .. } = self;
        assert_eq!((*lost, *doubled), (0, 0), "{fault}");
        assert!(others.is_empty(), "{fault}: {others:?}");
        assert!(*longest < REFUSE_MAX, "{fault}: a client waited for {longest:?}");
    }

    fn row(&self) -> String {
        let Self { fault, refused, longest, recovered, converged, acknowledged, lost, doubled, .. } = self;
        let refused = refused.map_or("none refused".to_owned(), |after| format!("{after:.1?}"));
        format!(
            "| {fault} | {refused} | {longest:.1?} | {recovered:.1?} | {converged:.1?} | {acknowledged} | {lost} | {doubled} |\n"
        )
    }
}

/// A post of a neighbour's that a trigger of the owner's refuses, all the time.
fn spam_for(time: Duration, node: &Node) {
    let end = Instant::now() + time;
    while Instant::now() < end {
        let status = link::post(node.address, "spam");
        assert!(matches!(status, Some(400..=499)), "spam was answered with {status:?}");
    }
}

fn terminate_backends(database: &Database, time: Duration) {
    let end = Instant::now() + time;
    while Instant::now() < end {
        database.sql(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid();",
        );
        thread::park_timeout(Duration::from_millis(500));
    }
}

/// Stops a session in which the server commits, and lets it go on after a while.
fn freeze_a_writer(database: &Database, time: Duration) {
    let frozen = loop {
        let pid = database.sql(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() AND state <> 'idle' LIMIT 1;",
        );
        if !pid.is_empty() {
            break pid;
        }
    };
    let signal = |name: &str| assert!(Command::new("kill").args([name, &frozen]).status().expect("kill").success());
    signal("-STOP");
    thread::park_timeout(time);
    signal("-CONT");
}

fn refuse_writes(database: &Database, refuse: bool) {
    let name = database.url().rsplit_once('/').expect("a name").1.to_owned();
    database.sql(&format!(
        "SET default_transaction_read_only = off; ALTER DATABASE {name} SET default_transaction_read_only = {refuse};"
    ));
    database.sql(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid();",
    );
}

fn on_postgres(cluster: &Cluster, fault: &'static str, happen: impl FnOnce(&mut Node, &Cluster)) -> Outcome {
    let mut node = Node::start(cluster.database());
    crate::oracle::moderate(&node.database);
    drill(fault, &mut node, |node| happen(node, cluster))
}

fn on_sqlite(fault: &'static str, happen: impl FnOnce(&mut Node)) -> Outcome {
    let mut node = Node::start(Database::sqlite());
    crate::oracle::moderate(&node.database);
    drill(fault, &mut node, happen)
}

#[test]
fn a_refused_neighbour_and_a_frozen_session_cost_little() {
    let cluster = Cluster::start();
    on_postgres(&cluster, "spam", |node, _| spam_for(Duration::from_secs(1), node)).check();
    on_postgres(&cluster, "a frozen session", |node, _| freeze_a_writer(&node.database, FAULT)).check();
    on_sqlite("spam", |node| spam_for(Duration::from_secs(1), node)).check();
}

#[test]
#[ignore = "measures; scripts/faults runs it"]
fn each_fault_in_turn() {
    let wait = || thread::park_timeout(FAULT);
    let cluster = Cluster::start();
    let mut rows = Vec::new();
    let mut note = |outcome: Outcome| {
        outcome.check();
        rows.push(outcome.row());
    };
    for mode in ["fast", "immediate"] {
        let fault = if mode == "fast" { "Postgres: stopped (fast)" } else { "Postgres: stopped (immediate)" };
        note(on_postgres(&cluster, fault, |_, cluster| {
            cluster.down(mode);
            wait();
            cluster.up();
        }));
    }
    note(on_postgres(&cluster, "Postgres: all sessions terminated again and again", |node, _| {
        terminate_backends(&node.database, FAULT)
    }));
    note(on_postgres(&cluster, "Postgres: a session of the writer's frozen", |node, _| freeze_a_writer(&node.database, FAULT)));
    note(on_postgres(&cluster, "Postgres: `LOCK TABLE topics` elsewhere", |node, _| {
        let _lock = node.database.lock("topics");
        wait();
    }));
    note(on_postgres(&cluster, "Postgres: read-only", |node, _| {
        refuse_writes(&node.database, true);
        wait();
        refuse_writes(&node.database, false);
    }));
    note(on_postgres(&cluster, "Postgres: triggers off", |node, _| {
        node.database.sql("ALTER TABLE topics DISABLE TRIGGER USER;");
        wait();
        node.database.sql("ALTER TABLE topics ENABLE TRIGGER USER;");
    }));
    note(on_postgres(&cluster, "Postgres: a trigger refuses a neighbour's posts", |node, _| spam_for(FAULT, node)));
    note(on_postgres(&cluster, "Postgres: the server killed (-9)", |node, _| {
        node.kill();
        node.restart_at_the_same_address();
    }));
    note(on_sqlite("SQLite: `BEGIN IMMEDIATE` elsewhere", |node| {
        let _lock = node.database.hold_the_write_lock();
        wait();
    }));
    note(on_sqlite("SQLite: a trigger refuses a neighbour's posts", |node| spam_for(FAULT, node)));
    note(on_sqlite("SQLite: the server killed (-9)", |node| {
        node.kill();
        node.restart_at_the_same_address();
    }));
    let head = "| fault | first 503 after | longest wait for an answer | next post acknowledged after | all shown after | acknowledged | lost | doubled |\n\
        |---|---|---|---|---|---|---|---|\n";
    // The table, past the test's own output.
    std::io::stderr().write_all(format!("{head}{}", rows.concat()).as_bytes()).expect("written");
}
