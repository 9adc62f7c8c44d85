//! Crashes, resets and races: what was acknowledged is there, what was committed is shown.

use std::{
    collections::VecDeque,
    io::Write as _,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use serde_json::Value;

use crate::{
    node::{Database, Node},
    oracle::link,
    sse::{Event, Reader, Watched},
    wire::{self, Answer, PATIENCE},
};

crate::on_both!(
    a_kill_during_a_burst_loses_and_doubles_nothing,
    a_client_that_resets_after_posting_is_shown_or_not_committed,
    concurrent_writers_leave_every_reader_on_the_last_state,
    no_update_falls_between_snapshot_and_subscription,
    a_server_that_starts_under_posts_refuses_no_reader,
);

const PATCHES: &str = "/b/main/stream?format=patch";

/// Posts one comment after another until the server is killed under it; what was not answered is
/// not counted.
fn post_until_killed(address: SocketAddr, writer: &str, acknowledged: &Mutex<Vec<String>>) {
    for n in 0.. {
        let comment = format!("{writer}-{n}");
        let posted = std::panic::catch_unwind(|| wire::post(address, &comment).status);
        match posted {
            Ok(201) => acknowledged.lock().expect("a lock").push(comment),
            _ => return,
        }
    }
}

/// The comments of the list, in order.
fn listed(list: &Value) -> Vec<&str> {
    let topics = list["topics"].as_array().expect("topics").iter();
    topics
        .filter_map(|topic| topic["comment"].as_str())
        .collect()
}

/// Kills the node while four writers post. Returns the comments that were acknowledged.
fn kill_during_a_burst(node: &mut Node, watched: &mut Watched, round: usize) -> Vec<String> {
    let (acknowledged, address) = (Arc::new(Mutex::new(Vec::new())), node.address);
    let writers = [0, 1, 2, 3].map(|writer| {
        let (acknowledged, name) = (Arc::clone(&acknowledged), format!("{round}-{writer}"));
        thread::spawn(move || post_until_killed(address, &name, &acknowledged))
    });
    while acknowledged.lock().expect("a lock").len() < 20 {
        watched.take();
    }
    node.kill();
    // What it still sent counts as seen.
    while let Some(event) = watched.stream.raw(Duration::from_secs(1)) {
        watched.mirror.take(&event);
    }
    for writer in writers {
        writer.join().expect("a writer");
    }
    acknowledged.lock().expect("a lock").clone()
}

fn a_kill_during_a_burst_loses_and_doubles_nothing(database: Database) {
    let mut node = Node::start(database);
    let mut watched = Watched::new(node.stream(PATCHES));
    watched.take();
    for round in 0..5 {
        let acknowledged = kill_during_a_burst(&mut node, &mut watched, round);
        node.restart();
        // The reader comes back with its cursor and is sent the rest; digests are checked on the
        // way.
        watched.stream = node.resume(PATCHES, &watched.mirror.cursor);
        let list = node.get("/api/v1/boards/main/topics").json();
        let committed = listed(&list);
        watched.shows(&committed);
        for comment in acknowledged {
            let shown = committed.iter().filter(|shown| **shown == comment);
            assert_eq!(shown.count(), 1, "{comment} was acknowledged");
        }
    }
}

/// Posts, and sends a reset instead of reading the answer.
fn post_and_reset(address: SocketAddr, comment: &str) {
    let mut connection = wire::connect(address);
    let headers = [("Content-Type", "text/plain")];
    connection
        .write_all(&wire::message("POST", "/", &headers, comment.as_bytes()))
        .expect("sent");
    // Closing with a linger of zero sends a reset instead of an end.
    socket2::SockRef::from(&connection)
        .set_linger(Some(Duration::ZERO))
        .expect("an option");
}

fn a_client_that_resets_after_posting_is_shown_or_not_committed(database: Database) {
    let node = Node::start(database);
    let mut watched = Watched::new(node.stream(PATCHES));
    watched.take();
    for n in 0..60 {
        post_and_reset(node.address, &format!("reset-{n}"));
    }
    // A write that comes after them all: once it is shown, so must be everything committed before.
    let last = node.post("last");
    while !watched.mirror.topics.contains_key(&last) {
        watched.take();
    }
    let committed = node.database.sql("SELECT count(*) FROM topics;");
    let committed: usize = committed
        .lines()
        .last()
        .and_then(|count| count.parse().ok())
        .expect("a count");
    while watched.mirror.topics.len() < committed {
        watched.take();
    }
    assert_eq!(watched.mirror.topics.len(), committed);
}

fn concurrent_writers_leave_every_reader_on_the_last_state(database: Database) {
    let node = Node::start(database);
    let first = node.post("start");
    let mut readers: Vec<_> = (0..10)
        .map(|_| Watched::new(node.stream(PATCHES)))
        .collect();
    thread::scope(|scope| {
        for writer in 0..4 {
            let node = &node;
            scope.spawn(move || (0..15).for_each(|n| _ = node.post(&format!("{writer}-{n}"))));
        }
        // Another program, at the same row again and again.
        for n in 0..10 {
            node.database.sql(&format!(
                "UPDATE topics SET comment = 'edit {n}' WHERE id = {first};"
            ));
        }
    });
    // Acknowledged, so what this node shows from here on holds it and all that was committed
    // before.
    node.post("end");
    let last = node.get("/api/v1/boards/main/topics").json();
    assert_eq!(last["topics"].as_array().map(Vec::len), Some(62));
    for watched in &mut readers {
        while watched.mirror.revision < last["revision"].as_u64().expect("a revision") {
            watched.take();
        }
        assert_eq!(watched.mirror.comments(), listed(&last));
        assert_eq!(watched.mirror.topics[&first].1, "edit 9");
    }
}

/// Readers that arrive while others write: each ends up with everything.
fn no_update_falls_between_snapshot_and_subscription(database: Database) {
    let node = Node::start(database);
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut last = 0;
            while !stop.load(Ordering::Relaxed) {
                last = node.post("x");
            }
            last
        });
        let mut readers = VecDeque::new();
        for _ in 0..60 {
            let mut watched = Watched::new(node.stream(PATCHES));
            watched.take();
            readers.push_back(watched);
            if readers.len() > 20 {
                readers.pop_front();
            }
        }
        stop.store(true, Ordering::Relaxed);
        let last = writer.join().expect("the writer");
        for watched in &mut readers {
            while !watched.mirror.topics.contains_key(&last) {
                let event = watched.stream.raw(PATIENCE).expect("an event");
                watched.mirror.take(&event);
            }
            let ids: Vec<_> = watched.mirror.topics.keys().copied().collect();
            assert!(
                ids.windows(2).all(|pair| pair[1] == pair[0] + 1),
                "a hole: {ids:?}"
            );
        }
    });
}

/// Posts, also while there is no server.
fn post_until(is_over: &AtomicBool, address: SocketAddr, writer: usize) {
    for n in (0..).take_while(|_| !is_over.load(Ordering::Relaxed)) {
        if link::post(address, &format!("{writer}-{n}")).is_none() {
            thread::park_timeout(Duration::from_millis(5));
        }
    }
}

/// Restarts the node while readers wait for it, or ask it until it is there; each gets the list.
fn restart_under_readers(node: &mut Node) {
    let address = node.address;
    node.kill();
    thread::scope(|scope| {
        let streams =
            [(); 4].map(|()| scope.spawn(move || once_there(address, || first_event(address))));
        let lists = [(); 4].map(|()| scope.spawn(move || once_there(address, || list(address))));
        node.restart_at_the_same_address();
        for stream in streams {
            let event = stream.join().expect("a reader");
            assert_eq!(event.name, "snapshot", "{event:?}");
        }
        for list in lists {
            let answer = list.join().expect("a reader");
            assert!(
                answer.status == 200 && answer.header("kairanban-stale-since").is_none(),
                "{answer:?}"
            );
        }
    });
}

/// Until a busy board is loaded, it changes during each load.
fn a_server_that_starts_under_posts_refuses_no_reader(database: Database) {
    let mut node = Node::start(database);
    // A list that takes longer to read than a post to write.
    for _ in 0..9 {
        node.database.sql(
            "INSERT INTO topics (comment) SELECT 'text' FROM (SELECT 1 UNION ALL \
             SELECT 1) AS two, topics UNION ALL SELECT 'text';",
        );
    }
    let is_over = AtomicBool::new(false);
    let address = node.address;
    thread::scope(|scope| {
        // Also if an assertion fails.
        let _over = SetOnDrop(&is_over);
        for writer in 0..8 {
            let is_over = &is_over;
            scope.spawn(move || post_until(is_over, address, writer));
        }
        for _ in 0..5 {
            restart_under_readers(&mut node);
        }
    });
}

struct SetOnDrop<'a>(&'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn once_there<T>(address: SocketAddr, ask: impl Fn() -> T) -> T {
    while std::net::TcpStream::connect(address).is_err() {
        thread::park_timeout(Duration::from_millis(1));
    }
    ask()
}

fn first_event(address: SocketAddr) -> Event {
    Reader::open(address, PATCHES, &[]).event()
}

fn list(address: SocketAddr) -> Answer {
    wire::request(address, "GET", "/api/v1/boards/main/topics", &[], b"")
}
