//! A connection of the writer that does not answer is abandoned: others write on, and nothing is
//! written twice.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use crate::{
    node::{Database, Node},
    refusals::{await_readiness, post, shown},
    wire,
};

fn post_keyed(node: &Node) -> wire::Answer {
    let headers = [("Content-Type", "text/plain"), ("Idempotency-Key", "k")];
    wire::request(node.address, "POST", "/", &headers, b"keyed")
}

/// Passes everything on to a Postgres; when armed, all but what follows the next COMMIT on its
/// connection.
struct CommitRelay {
    address: SocketAddr,
    armed: Arc<AtomicBool>,
}

impl CommitRelay {
    fn to(server: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let (address, armed) = (
            listener.local_addr().expect("an address"),
            Arc::new(AtomicBool::new(false)),
        );
        let arm = Arc::clone(&armed);
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let Ok(server) = TcpStream::connect(&server) else {
                    return;
                };
                let silent = Arc::new(AtomicBool::new(false));
                let (arm, hears) = (Arc::clone(&arm), Arc::clone(&silent));
                let (from, to) = (
                    client.try_clone().expect("a socket"),
                    server.try_clone().expect("a socket"),
                );
                thread::spawn(move || {
                    pass(from, to, |bytes| {
                        if bytes.windows(7).any(|part| part == b"COMMIT\0")
                            && arm.swap(false, Ordering::SeqCst)
                        {
                            silent.store(true, Ordering::SeqCst);
                        }
                        true
                    });
                });
                thread::spawn(move || pass(server, client, |_| !hears.load(Ordering::SeqCst)));
            }
        });
        Self { address, armed }
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, goes_on: impl Fn(&[u8]) -> bool) {
    let mut bytes = [0; 65_536];
    while let Ok(count @ 1..) = from.read(&mut bytes) {
        if goes_on(&bytes[..count]) && to.write_all(&bytes[..count]).is_err() {
            return;
        }
    }
}

#[track_caller]
fn assert_within(began: Instant, seconds: u64) {
    let took = began.elapsed();
    assert!(took < Duration::from_secs(seconds), "{took:?}");
}

/// The post is committed, and its writer never learns of it.
#[test]
fn the_lost_answer_of_a_commit_costs_one_503() {
    let direct = Database::postgres();
    let url = direct.url();
    let (server, _) = url
        .split_once('@')
        .and_then(|(_, rest)| rest.split_once('/'))
        .expect("a host");
    let relay = CommitRelay::to(server.to_owned());
    let relayed = url.replace(server, &relay.address.to_string());
    let node = Node::start(Database::Postgres(relayed));
    node.post("before");
    relay.armed.store(true, Ordering::SeqCst);
    let began = Instant::now();
    assert_eq!(post_keyed(&node).status, 503);
    assert_within(began, 3);
    assert_eq!(
        direct.sql("SELECT count(*) FROM topics WHERE comment = 'keyed';"),
        "1",
        "it was committed"
    );
    let began = Instant::now();
    assert_eq!(post_keyed(&node).status, 201);
    for n in 0..5 {
        node.post(&format!("after {n}"));
    }
    assert_within(began, 2);
    await_readiness(&node, 200, "ready");
    assert_eq!(
        shown(&node),
        [
            "before", "keyed", "after 0", "after 1", "after 2", "after 3", "after 4"
        ]
    );
}

/// A backend that does not run, until it is dropped. Meanwhile no database of its cluster can be
/// dropped.
struct Frozen(String);

impl Frozen {
    /// Freezes the backend of the session that committed last.
    fn writer_of(node: &Node) -> Self {
        let pid = node.database.sql(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() \
             AND application_name = 'kairanban' \
             AND query = 'COMMIT' ORDER BY state_change DESC LIMIT 1;",
        );
        Self::stop(pid)
    }

    /// Freezes the backends of all sessions.
    fn all_of(node: &Node) -> Vec<Self> {
        let pids = node.database.sql(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() \
             AND application_name = 'kairanban';",
        );
        pids.lines().map(|pid| Self::stop(pid.to_owned())).collect()
    }

    fn stop(pid: String) -> Self {
        assert!(
            Command::new("kill")
                .args(["-STOP", &pid])
                .status()
                .expect("kill")
                .success()
        );
        Self(pid)
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        // It may have ended.
        let _ = Command::new("kill").args(["-CONT", &self.0]).status();
    }
}

/// With as many silent sessions as are allowed, writes are refused at once, until one comes back.
#[test]
fn silent_sessions_are_bounded() {
    let node = Node::start_with(
        Database::postgres(),
        &[("DATABASE__WRITE_ABANDONED_MAX", "0")],
    );
    node.post("before");
    let frozen = Frozen::writer_of(&node);
    assert_eq!(post(&node, "lost").status, 503);
    let (began, threads) = (Instant::now(), node.threads());
    for _ in 0..20 {
        assert_eq!(post(&node, "lost").status, 503);
    }
    assert_within(began, 2);
    assert!(
        node.threads() <= threads + 2,
        "{threads} threads became {}",
        node.threads()
    );
    await_readiness(&node, 503, "does not answer");
    assert_eq!(shown(&node), ["before"]);
    drop(frozen);
    await_readiness(&node, 200, "ready");
    node.post("after");
    assert_eq!(shown(&node), ["before", "after"]);
}

/// A backend that is frozen holds the writer's session: others write on, and nothing is written
/// twice.
#[test]
fn a_silent_session_is_abandoned() {
    let node = Node::start(Database::postgres());
    node.post("before");
    let frozen = Frozen::writer_of(&node);
    let began = Instant::now();
    let first = post_keyed(&node);
    assert_eq!(first.status, 503, "{first:?}");
    assert_within(began, 3);
    let began = Instant::now();
    let again = post_keyed(&node);
    assert_eq!(again.status, 201, "{again:?}");
    assert_within(began, 2);
    for n in 0..5 {
        node.post(&format!("meanwhile {n}"));
    }
    await_readiness(&node, 200, "ready");
    let pid = frozen.0.clone();
    drop(frozen);
    await_end_of_session(&node.database, &pid);
    node.post("after");
    let shown = shown(&node);
    let keyed = shown.iter().filter(|comment| *comment == "keyed");
    assert_eq!((keyed.count(), shown.len()), (1, 8));
}

fn await_end_of_session(database: &Database, pid: &str) {
    let end = Instant::now() + Duration::from_secs(5);
    let open = format!("SELECT count(*) FROM pg_stat_activity WHERE pid = {pid};");
    while database.sql(&open) != "0" {
        assert!(Instant::now() < end, "the abandoned session is kept");
        thread::park_timeout(Duration::from_millis(20));
    }
}

/// Reads with as many sessions as the pool has, so that all of them are open.
fn fill_the_pool(node: &Node) {
    thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| node.get("/api/v1/boards/main/topics?before=1000"));
        }
    });
}

/// All sessions that are open freeze, and Postgres takes new ones: the pool replaces those that do
/// not answer.
#[test]
fn frozen_sessions_of_the_pool_are_replaced() {
    let node = Node::start_with(Database::postgres(), &[("DATABASE__POOL_MAX", "4")]);
    node.post("before");
    fill_the_pool(&node);
    let threads = node.threads();
    let frozen = Frozen::all_of(&node);
    node.database
        .sql("INSERT INTO topics (comment) VALUES ('of psql');");
    let end = Instant::now() + Duration::from_secs(20);
    // The list, too, may be read by a session that is frozen.
    while !node
        .get("/api/v1/boards/main/topics")
        .body
        .contains("of psql")
    {
        assert!(Instant::now() < end, "it is not shown");
        thread::park_timeout(Duration::from_millis(50));
    }
    while node.get("/api/v1/boards/main/topics?before=1000").status != 200 {
        assert!(Instant::now() < end, "older topics cannot be read");
    }
    // The first is answered by a session that is frozen.
    while post_keyed(&node).status != 201 {
        assert!(Instant::now() < end, "nothing can be written");
    }
    let sessions = node.database.sql(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
         AND application_name = 'kairanban';",
    );
    // Those that froze, the pool, the writer, the listener, and those that are closed just now.
    let most = frozen.len() + 4 + 4;
    assert!(
        sessions.parse::<usize>().expect("a number") <= most,
        "{sessions}"
    );
    assert!(
        node.threads() <= threads + 24,
        "{threads} threads became {}",
        node.threads()
    );
    drop(frozen);
    await_readiness(&node, 200, "ready");
    node.post("after");
    fill_the_pool(&node);
    assert_eq!(shown(&node), ["before", "of psql", "keyed", "after"]);
}
