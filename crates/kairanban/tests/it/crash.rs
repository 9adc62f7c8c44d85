//! Crashes, resets and races: what was acknowledged is there, what was committed is shown.

use std::{
    io::Write as _,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use crate::{
    node::{Database, Node},
    oracle::link,
    sse::{Event, Mirror, Reader},
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

fn a_kill_during_a_burst_loses_and_doubles_nothing(database: Database) {
    let mut node = Node::start(database);
    let mut stream = node.stream(PATCHES);
    let mut mirror = Mirror::default();
    mirror.take(&stream.event());
    for round in 0..5 {
        let (acknowledged, address) = (Arc::new(Mutex::new(Vec::new())), node.address);
        let writers: Vec<_> = (0..4)
            .map(|writer| {
                let acknowledged = Arc::clone(&acknowledged);
                thread::spawn(move || {
                    for n in 0.. {
                        let comment = format!("{round}-{writer}-{n}");
                        // The server is killed under this; what was not answered is not counted.
                        let posted = std::panic::catch_unwind(|| {
                            wire::request(
                                address,
                                "POST",
                                "/",
                                &[("Content-Type", "text/plain")],
                                comment.as_bytes(),
                            )
                            .status
                        });
                        match posted {
                            Ok(201) => acknowledged.lock().expect("a lock").push(comment),
                            _ => return,
                        }
                    }
                })
            })
            .collect();
        while acknowledged.lock().expect("a lock").len() < 20 {
            mirror.take(&stream.event());
        }
        node.kill();
        // What it still sent counts as seen.
        while let Some(event) = stream.raw(Duration::from_secs(1)) {
            mirror.take(&event);
        }
        writers
            .into_iter()
            .for_each(|writer| writer.join().expect("a writer"));
        node.restart();
        // The reader comes back with its cursor and is told the rest; digests are checked on the way.
        stream = node.resume(PATCHES, &mirror.cursor);
        let committed = node.get("/api/v1/boards/main/topics").json();
        let committed: Vec<_> = committed["topics"]
            .as_array()
            .expect("topics")
            .iter()
            .filter_map(|topic| topic["comment"].as_str())
            .collect();
        while mirror.comments() != committed {
            mirror.take(&stream.event());
        }
        let acknowledged = acknowledged.lock().expect("a lock");
        for comment in acknowledged.iter() {
            assert_eq!(
                committed.iter().filter(|there| *there == comment).count(),
                1,
                "{comment} was acknowledged"
            );
        }
    }
}

fn a_client_that_resets_after_posting_is_shown_or_not_committed(database: Database) {
    let node = Node::start(database);
    let mut stream = node.stream(PATCHES);
    let mut mirror = Mirror::default();
    mirror.take(&stream.event());
    for n in 0..60 {
        let mut connection = wire::connect(node.address);
        let body = format!("reset-{n}");
        connection
            .write_all(&wire::message(
                "POST",
                "/",
                &[("Content-Type", "text/plain")],
                body.as_bytes(),
            ))
            .expect("sent");
        // Closing with a linger of zero sends a reset instead of an end.
        socket2::SockRef::from(&connection)
            .set_linger(Some(Duration::ZERO))
            .expect("an option");
        drop(connection);
    }
    // A write that comes after them all: once it is shown, so must be everything committed before.
    let last = node.post("last");
    while !mirror.topics.contains_key(&last) {
        mirror.take(&stream.event());
    }
    let committed = node.database.sql("SELECT count(*) FROM topics;");
    let committed: usize = committed
        .lines()
        .last()
        .and_then(|count| count.parse().ok())
        .expect("a count");
    while mirror.topics.len() < committed {
        mirror.take(&stream.event());
    }
    assert_eq!(mirror.topics.len(), committed);
}

fn concurrent_writers_leave_every_reader_on_the_last_state(database: Database) {
    let node = Node::start(database);
    let first = node.post("start");
    let mut readers: Vec<_> = (0..10)
        .map(|_| (node.stream(PATCHES), Mirror::default()))
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
    // Acknowledged, so what this node shows from here on holds it and all that was committed before.
    node.post("end");
    let last = node.get("/api/v1/boards/main/topics").json();
    assert_eq!(last["topics"].as_array().map(Vec::len), Some(62));
    for (stream, mirror) in &mut readers {
        while mirror.revision < last["revision"].as_u64().expect("a revision") {
            mirror.take(&stream.event());
        }
        let shown: Vec<_> = last["topics"]
            .as_array()
            .expect("topics")
            .iter()
            .filter_map(|topic| topic["comment"].as_str())
            .collect();
        assert_eq!(mirror.comments(), shown);
        assert_eq!(mirror.topics[&first].1, "edit 9");
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
        let mut readers = Vec::new();
        for _ in 0..60 {
            let mut stream = node.stream(PATCHES);
            let mut mirror = Mirror::default();
            mirror.take(&stream.event());
            readers.push((stream, mirror));
            if readers.len() > 20 {
                readers.remove(0);
            }
        }
        stop.store(true, Ordering::Relaxed);
        let last = writer.join().expect("the writer");
        for (stream, mirror) in &mut readers {
            while !mirror.topics.contains_key(&last) {
                let event = stream.raw(PATIENCE).expect("an event");
                mirror.take(&event);
            }
            let ids: Vec<_> = mirror.topics.keys().copied().collect();
            assert!(
                ids.windows(2).all(|pair| pair[1] == pair[0] + 1),
                "a hole: {ids:?}"
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
            scope.spawn(move || {
                for n in (0..).take_while(|_| !is_over.load(Ordering::Relaxed)) {
                    if link::post(address, &format!("{writer}-{n}")).is_none() {
                        thread::park_timeout(Duration::from_millis(5));
                    }
                }
            });
        }
        for _ in 0..5 {
            node.kill();
            // They wait for the server, or ask it until it is there.
            let streams: Vec<_> = (0..4)
                .map(|_| scope.spawn(move || once_there(address, || first_event(address))))
                .collect();
            let lists: Vec<_> = (0..4)
                .map(|_| scope.spawn(move || once_there(address, || list(address))))
                .collect();
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
