//! The database is the truth, whatever happened to it: restored in each way, while the server runs
//! and while it is away; written without a revision; and boards whose names mean others than
//! before.

mod backup;
mod boards;
mod files;
mod unlogged;
mod wal;

use std::{
    fs,
    time::{Duration, Instant},
};

use crate::{
    node::{Database, Node, program, run_psql},
    sse::{Event, Reader},
};
use backup::{Backup, OF_POSTGRES, OF_SQLITE, RestoreWay, base_and_name, beside};

/// What the contract promises.
const NOTICED_MAX: Duration = Duration::from_secs(5);
const STREAM: &str = "/b/main/stream?format=patch";
const QUICK: (&str, &str) = ("HISTORY__RECONCILE_S", "1");

/// The next event with this name.
fn next(stream: &mut Reader, name: &str) -> Event {
    let deadline = Instant::now() + Duration::from_secs(15);
    loop {
        assert!(Instant::now() < deadline, "no {name} came");
        // A heartbeat comes sooner than the patience of a reader ends.
        if let Some(event) = stream
            .raw(Duration::from_secs(10))
            .filter(|event| event.name == name)
        {
            return event;
        }
    }
}

fn epoch_of(node: &Node) -> String {
    let tag = node
        .get("/api/v1/boards/main/topics")
        .header("etag")
        .expect("a tag")
        .trim_matches('"')
        .to_owned();
    tag.split('-').next().expect("an epoch").to_owned()
}

fn comments(node: &Node) -> Vec<String> {
    let list = node.get("/api/v1/boards/main/topics").json();
    let topics = list["topics"].as_array().expect("a list").iter();
    topics
        .map(|topic| topic["comment"].as_str().expect("text").to_owned())
        .collect()
}

/// Waits until the condition holds, at most as long as the contract allows.
fn within(at_most: Duration, what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < at_most, "{what}: not within {at_most:?}");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

/// Two readers of a board: of it alone, and of several.
struct ReaderPair {
    one: Reader,
    many: Reader,
}

impl ReaderPair {
    fn open(node: &Node) -> Self {
        let mut readers = Self {
            one: node.stream(STREAM),
            many: node.stream("/stream?board=main&format=patch"),
        };
        assert!(readers.one.event().data.contains("lost"));
        next(&mut readers.many, "cursor");
        readers
    }

    /// Both are sent a reset, and the list as it was restored.
    fn are_reset(&mut self, way: RestoreWay) {
        let began = Instant::now();
        let reset = next(&mut self.one, "reset");
        assert!(reset.data.contains("epoch"), "{way:?}: {reset:?}");
        let list = next(&mut self.one, "snapshot");
        assert!(
            began.elapsed() < NOTICED_MAX,
            "{way:?}: {:?}",
            began.elapsed()
        );
        assert!(
            list.data.contains("kept") && !list.data.contains("lost"),
            "{way:?}: {list:?}"
        );
        let reset = next(&mut self.many, "reset");
        assert!(reset.data.contains("epoch"), "{way:?}");
        let list = next(&mut self.many, "snapshot");
        assert!(!list.data.contains("lost"), "{way:?}");
    }
}

/// Drops the database that an exchange of names left behind.
fn drop_what_was_exchanged(node: Node, way: RestoreWay) {
    if let RestoreWay::Exchanged = way {
        let (base, name) = base_and_name(&node);
        drop(node);
        run_psql(
            &format!("{base}/postgres"),
            &format!("DROP DATABASE {name}_old"),
        );
    }
}

fn is_noticed_while_running(database: Database, way: RestoreWay) {
    let node = Node::start(database);
    node.post("kept");
    let backup = Backup::take(&node, way);
    let lost = node.send("POST", "/", "text/plain", "lost");
    let cursor = lost.header("etag").unwrap_or_default().trim_matches('"');
    let old = epoch_of(&node);
    let mut readers = ReaderPair::open(&node);
    backup.put_back(&node);
    readers.are_reset(way);
    // As many as there were, so that the numbers are the same.
    within(NOTICED_MAX, "posting", || {
        node.send("POST", "/", "text/plain", "after").status == 201
    });
    for stream in [&mut readers.one, &mut readers.many] {
        assert!(next(stream, "patch").data.contains("after"), "{way:?}");
    }
    assert_ne!(epoch_of(&node), old, "{way:?}");
    assert_eq!(comments(&node), ["kept", "after"], "{way:?}");
    if !cursor.is_empty() {
        let mut back = node.resume(STREAM, cursor);
        assert_eq!(back.event().name, "reset", "{way:?}");
    }
    drop_what_was_exchanged(node, way);
}

fn is_noticed_at_the_start(database: Database, way: RestoreWay) {
    let mut node = Node::start(database);
    node.post("kept");
    let backup = Backup::take(&node, way);
    node.post("lost");
    let mut stream = node.stream(STREAM);
    let cursor = stream.event().id.expect("a cursor");
    node.terminate();
    node.end(Duration::from_secs(15));
    backup.put_back(&node);
    // As many as were lost, by another program, so that the numbers are the same.
    node.database
        .sql("INSERT INTO topics (board_id, comment) VALUES (1, 'foreign');");
    let log = backup.folder.path().join("log");
    node.restart_logging_to(fs::File::create(&log).expect("a file"));
    let mut back = node.resume(STREAM, &cursor);
    let reset = back.event();
    assert!(
        reset.name == "reset" && reset.data.contains("epoch"),
        "{way:?}: {reset:?}"
    );
    within(NOTICED_MAX, "a line in the log", || {
        fs::read_to_string(&log).is_ok_and(|text| text.contains("a new epoch begins"))
    });
    let list = back.event();
    assert!(
        list.data.contains("foreign") && !list.data.contains("lost"),
        "{way:?}: {list:?}"
    );
    drop_what_was_exchanged(node, way);
}

macro_rules! each_way {
    ($($name:ident: $database:ident, $ways:ident, $at:literal;)*) => {
        mod running {
            use super::{Database, OF_POSTGRES, OF_SQLITE, is_noticed_while_running};
            $(#[test] fn $name() { is_noticed_while_running(Database::$database(), $ways[$at]); })*
        }
        mod stopped {
            use super::{Database, OF_POSTGRES, OF_SQLITE, is_noticed_at_the_start};
            $(#[test] fn $name() { is_noticed_at_the_start(Database::$database(), $ways[$at]); })*
        }
    };
}

each_way! {
    file_replaced: sqlite, OF_SQLITE, 0;
    file_deleted: sqlite, OF_SQLITE, 1;
    restore: sqlite, OF_SQLITE, 2;
    sqlite_rows: sqlite, OF_SQLITE, 3;
    file_replaced_beside_its_wal: sqlite, OF_SQLITE, 4;
    pg_restore_clean: postgres, OF_POSTGRES, 0;
    drop_create: postgres, OF_POSTGRES, 1;
    exchanged_names: postgres, OF_POSTGRES, 2;
    postgres_rows: postgres, OF_POSTGRES, 3;
}

crate::on_both!(a_new_epoch_reaches_a_running_server);

fn a_new_epoch_reaches_a_running_server(database: Database) {
    let node = Node::start(database);
    node.post("kept");
    let old = epoch_of(&node);
    let mut stream = node.stream(STREAM);
    stream.event();
    let output = program()
        .args([
            "--database-url",
            &node.database.url(),
            "migrate",
            "--new-epoch",
        ])
        .output()
        .expect("the program");
    assert!(output.status.success(), "{output:?}");
    let began = Instant::now();
    assert!(next(&mut stream, "reset").data.contains("epoch"));
    assert!(next(&mut stream, "snapshot").data.contains("kept") && began.elapsed() < NOTICED_MAX);
    assert_ne!(epoch_of(&node), old);
}

#[test]
fn what_was_seen_last_is_kept_for_this_user_alone_and_a_broken_note_is_no_error() {
    use std::os::unix::fs::PermissionsExt as _;
    let mut node = Node::start(Database::sqlite());
    node.post("one");
    let note = node.data().join("last-seen.json");
    let id = node.database.sql("SELECT max(id) FROM changes;");
    within(NOTICED_MAX, "the note", || {
        fs::read_to_string(&note).is_ok_and(|text| text.contains(&format!("\"id\":{id}")))
    });
    assert_eq!(
        fs::metadata(&note).expect("there").permissions().mode() & 0o777,
        0o600
    );
    let old = epoch_of(&node);
    for broken in ["", "{", "null"] {
        node.kill();
        fs::write(&note, broken).expect("written");
        node.restart();
        assert_eq!(epoch_of(&node), old, "{broken:?}");
    }
}

/// A restored database whose revisions have come as far again: the commit itself shows that other
/// rows lie before it.
#[test]
fn a_commit_that_follows_on_another_history_begins_an_epoch() {
    let node = Node::start_with(Database::postgres(), &[("DATABASE__POLL_MS", "5000")]);
    node.post("before");
    let first = epoch_of(&node);
    // The same number at another time; no trigger sees it.
    node.database.sql(
        "UPDATE changes SET at = at - interval '1 day' WHERE revision = \
        (SELECT max(revision) FROM changes);",
    );
    node.post("after");
    let end = Instant::now() + Duration::from_millis(2500);
    while epoch_of(&node) == first {
        assert!(
            Instant::now() < end,
            "the commit was taken for the next one of the history before"
        );
        std::thread::park_timeout(Duration::from_millis(20));
    }
}
