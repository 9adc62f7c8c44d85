//! What any client may cause costs a bounded number of readings of the database: names that are no
//! boards, notifications that nothing was committed for, cursors from the future, and starts of
//! streams that lie far back.

mod messages;

use std::{
    io::{BufReader, Write as _},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use crate::{
    node::{Database, Node},
    on_both, wire,
};

on_both!(
    made_up_boards_share_few_readings,
    a_board_is_found_as_soon_as_its_creation_is_acknowledged,
    a_board_that_another_program_makes_is_found,
    cursors_from_the_future_share_few_readings,
    starts_that_are_read_from_the_database_count,
    a_reader_who_has_read_too_much_begins_with_the_list,
);

/// Empty readings per second, as `limits.empty_reads_per_s` has them by default.
const EMPTY_READS_PER_S: u64 = 10;
/// Readings that a node takes in a second by itself: the log, and what it keeps in order.
const OWN_READS_PER_S: u64 = 5;

/// Counts readings from the database.
struct Counted<'n> {
    node: &'n Node,
    token: String,
}

impl<'n> Counted<'n> {
    fn new(node: &'n Node) -> Self {
        let token = node.token(&["create", "--scope", "admin", "--name", "reads"]);
        Self { node, token }
    }

    fn stats(&self) -> serde_json::Value {
        let stats = self
            .node
            .send_as("GET", "/api/v1/stats", &self.token, &[], "");
        stats.json()
    }

    fn reads(&self) -> u64 {
        self.stats()["database_reads"].as_u64().expect("a number")
    }

    /// Returns how many readings `cause` takes, and how many it may take in the time that it took.
    fn caused_by(&self, cause: impl FnOnce()) -> (u64, u64) {
        let (before, began) = (self.reads(), Instant::now());
        cause();
        let read = self.reads() - before;
        let seconds = began.elapsed().as_secs() + 1;
        // As many at once; and a cursor, or a name that was found to be free, may take a second
        // kind of them.
        let bound = 2 * EMPTY_READS_PER_S * (seconds + 1) + OWN_READS_PER_S * seconds;
        (read, bound)
    }
}

const REQUESTS: usize = 1_000;
const CLIENTS: usize = 20;

/// Sends requests from many clients at once. `path` makes the path of each.
fn at_once(node: &Node, status: u16, path: impl Fn(usize) -> String + Sync) {
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= REQUESTS {
                        return;
                    }
                    let path = path(number);
                    let answer = node.get_with(&path, upgrade(&path));
                    assert_eq!(answer.status, status, "{path} {answer:?}");
                }
            });
        }
    });
}

/// Every kind of request that looks a board up.
const LOOKUPS: [&str; 11] = [
    "/b/{board}",
    "/b/{board}/feed.xml",
    "/b/{board}/stream?format=patch",
    "/stream?board={board}&board=x-{board}",
    "/b/{board}/ws",
    "/api/v1/boards/{board}",
    "/api/v1/boards/{board}/topics",
    "/api/v1/boards/{board}/topics?limit=5",
    "/api/v1/boards/{board}/topics?q=text",
    "/api/v1/boards/{board}/topics/1",
    "/api/v1/boards/{board}/changes",
];
const UPGRADE: [(&str, &str); 3] = [
    ("Upgrade", "websocket"),
    ("Sec-WebSocket-Version", "13"),
    ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
];

/// The headers that a path takes.
fn upgrade(path: &str) -> &'static [(&'static str, &'static str)] {
    if path.ends_with("/ws") { &UPGRADE } else { &[] }
}

fn made_up_boards_share_few_readings(database: Database) {
    let node = Node::start_with(
        database,
        &[
            ("LIMITS__STREAMS_PER_CLIENT_MAX", "1000"),
            ("LIMITS__SEARCHES_MAX", "100"),
        ],
    );
    let counted = Counted::new(&node);
    let ask = |name: &(dyn Fn(usize) -> String + Sync)| {
        // One search of a client at a time is answered; the others would be refused for that.
        let kinds: Vec<_> = LOOKUPS.iter().filter(|path| !path.contains("q=")).collect();
        at_once(&node, 404, |number| {
            kinds[number % kinds.len()].replace("{board}", &name(number))
        });
    };
    let (read, bound) = counted.caused_by(|| ask(&|number| format!("made-up-{number}")));
    assert!(read <= bound, "1,000 names: {read} readings, not {bound}");
    let (read, bound) = counted.caused_by(|| ask(&|_| "made-up".to_owned()));
    assert!(read <= bound, "one name: {read} readings, not {bound}");
    let (read, bound) = counted.caused_by(|| {
        // A client that asks for a socket and is refused lingers.
        let kinds = LOOKUPS.iter().filter(|path| !path.ends_with("/ws"));
        for path in kinds.cycle().take(REQUESTS) {
            let path = path.replace("{board}", "one-by-one");
            assert_eq!(node.get_with(&path, upgrade(&path)).status, 404, "{path}");
        }
    });
    assert!(read <= bound, "one by one: {read} readings, not {bound}");
}

fn a_board_is_found_as_soon_as_its_creation_is_acknowledged(database: Database) {
    let node = Node::start(database);
    let token = node.token(&["create", "--scope", "admin", "--name", "boards"]);
    for round in 0..10 {
        let board = format!("new-{round}");
        let list = format!("/api/v1/boards/{board}/topics");
        assert_eq!(node.get(&list).status, 404);
        let made = format!(r#"{{"name":"{board}"}}"#);
        let made = node.send_as("POST", "/api/v1/boards", &token, &[], &made);
        assert_eq!(made.status, 201, "{made:?}");
        for path in LOOKUPS
            .iter()
            .filter(|path| path.contains("/api/v1/") && !path.contains("/1"))
        {
            let path = path.replace("{board}", &board);
            assert_eq!(node.get(&path).status, 200, "{path}");
        }
        let gone = node.send_as(
            "DELETE",
            &format!("/api/v1/boards/{board}"),
            &token,
            &[],
            "",
        );
        assert_eq!((gone.status, node.get(&list).status), (204, 404));
    }
}

fn a_board_that_another_program_makes_is_found(database: Database) {
    // Only the log can say so: nothing polls, and nothing expires by itself.
    let settings = [
        ("DATABASE__POLL_MS", "600000"),
        ("CACHE__ABSENT_MS", "600000"),
    ];
    let node = Node::start_with(database, &settings);
    for (made, name) in [
        (
            "INSERT INTO boards (name) VALUES ('by-insert');",
            "by-insert",
        ),
        (
            "UPDATE boards SET name = 'by-name' WHERE name = 'by-insert';",
            "by-name",
        ),
    ] {
        let list = format!("/api/v1/boards/{name}/topics");
        assert_eq!(node.get(&list).status, 404);
        node.database.sql(made);
        let began = Instant::now();
        while node.get(&list).status == 404 {
            assert!(
                began.elapsed() < Duration::from_secs(2),
                "{name} is not found"
            );
        }
    }
    assert_eq!(
        node.get("/api/v1/boards/by-insert/topics").status,
        404,
        "its name is free"
    );
}

/// The cursor of the default board, so much further.
fn cursor_ahead(node: &Node, by: u64) -> String {
    let tag = node
        .get("/api/v1/boards/main/topics")
        .header("etag")
        .expect("a tag")
        .to_owned();
    let (epoch, revision) = tag.trim_matches('"').split_once('-').expect("a cursor");
    format!(
        "{epoch}-{}",
        revision.parse::<u64>().expect("a number") + by
    )
}

fn cursors_from_the_future_share_few_readings(database: Database) {
    let node = Node::start_with(database, &[("LIMITS__STREAMS_PER_CLIENT_MAX", "1000")]);
    node.post("one");
    let counted = Counted::new(&node);
    let cursor = cursor_ahead(&node, 7);
    let (read, bound) = counted.caused_by(|| {
        thread::scope(|scope| {
            for _ in 0..CLIENTS {
                scope.spawn(|| {
                    for _ in 0..10 {
                        let reset = node.resume("/b/main/stream?format=patch", &cursor).event();
                        assert!(reset.data.contains("future"), "{reset:?}");
                    }
                });
            }
        });
    });
    assert!(read <= bound, "{read} readings, not {bound}");
}

fn starts_that_are_read_from_the_database_count(database: Database) {
    let settings = [
        ("LIMITS__READS_PER_CLIENT_BURST", "4"),
        ("LIMITS__READS_PER_CLIENT_PER_S", "1"),
    ];
    let ask = |database: &Database, what: &str, ask: &dyn Fn(&Node) -> bool| {
        let node = Node::start_with(database.twin(), &settings);
        node.post("one");
        let began = Instant::now();
        // Loads the board, which is a reading, too.
        assert_eq!(node.get("/").status, 200);
        let admitted = (0..20).filter(|_| ask(&node)).count();
        let most = 3 + usize::try_from(began.elapsed().as_secs()).expect("a number") + 1;
        assert!((3..=most).contains(&admitted), "{what}: {admitted} of 20");
    };
    let admits = |node: &Node, path: &str, header: &[(&str, &str)]| {
        let mut reader = BufReader::new(wire::connect(node.address));
        let request = wire::message("GET", path, header, b"");
        reader.get_mut().write_all(&request).expect("sent");
        let (status, _) = wire::read_head(&mut reader);
        let first = wire::read_some(&mut reader).unwrap_or_default();
        status == 200 && !String::from_utf8_lossy(&first).contains("limit")
    };
    for path in [
        "/b/main/stream?format=patch&since=10m",
        "/stream?board=main&format=patch&since=10m",
        "/topic_stream/?since=10m",
    ] {
        ask(&database, path, &|node| admits(node, path, &[]));
    }
    ask(&database, "a cursor from the future", &|node| {
        let cursor = cursor_ahead(node, 7);
        admits(
            node,
            "/b/main/stream?format=patch",
            &[("Last-Event-ID", &cursor)],
        )
    });
    ask(&database, "a socket", &|node| {
        node.get_with("/b/main/ws?since=10m", &UPGRADE).status != 429
    });
    ask(&database, "the log", &|node| {
        node.get("/api/v1/boards/main/changes").status == 200
    });
}

fn a_reader_who_has_read_too_much_begins_with_the_list(database: Database) {
    let settings = [
        // To load each board and the default one, and one more.
        ("LIMITS__READS_PER_CLIENT_BURST", "14"),
        ("LIMITS__READS_PER_CLIENT_PER_S", "1"),
        ("STREAM__REPLAY_MAX", "2"),
    ];
    let node = Node::start_with(database, &settings);
    let boards: Vec<_> = (0..12).map(|number| format!("board-{number}")).collect();
    let cursor = cursor_ahead(&node, 0);
    for board in &boards {
        let edit = "UPDATE topics SET comment = comment || '!' WHERE comment LIKE 'of ".to_owned()
            + board
            + " %';\n";
        node.database.sql(&format!(
            "INSERT INTO boards (name) VALUES ('{board}');
             INSERT INTO topics (board_id, comment) SELECT id, 'of {board} ' FROM boards WHERE name = '{board}';
             {}",
            edit.repeat(5)
        ));
    }
    // After the first change of each board's topic: memory knows the last two.
    let firsts = node.database.sql(
        "SELECT min(revision) FROM changes WHERE kind = 'set' GROUP BY board_id ORDER BY board_id;",
    );
    let (epoch, _) = cursor.split_once('-').expect("a cursor");
    // A cursor that the node has not come to yet would take a reading, too.
    let counted = Counted::new(&node);
    let head = node.database.sql("SELECT max(revision) FROM changes;");
    let head: u64 = head.parse().expect("a revision");
    while counted.stats()["revision"] != head {
        thread::park_timeout(Duration::from_millis(20));
    }
    let began = Instant::now();
    for board in &boards {
        assert_eq!(node.get(&format!("/b/{board}")).status, 200);
    }
    let patches = boards.iter().zip(firsts.lines()).filter(|(board, first)| {
        let path = format!("/b/{board}/stream?format=patch");
        let event = node.resume(&path, &format!("{epoch}-{first}")).event();
        assert!(
            ["patch", "snapshot"].contains(&event.name.as_str()),
            "{event:?}"
        );
        event.name == "patch"
    });
    let patches = patches.count();
    let most = 1 + usize::try_from(began.elapsed().as_secs()).expect("a number") + 1;
    assert!(
        (1..=most).contains(&patches),
        "{patches} of {}",
        boards.len()
    );
}
