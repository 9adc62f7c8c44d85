//! The files of a SQLite database, removed or written past SQLite while a server uses them: it goes
//! on with what is there, or ends with the next step, and loses nothing that it acknowledged after
//! that.

use std::{
    fs,
    time::{Duration, Instant},
};

use super::{NOTICED_MAX, STREAM, beside, comments, epoch_of, next, within};
use crate::{
    node::{Database, Node},
    start::migrate,
};

fn post(node: &Node, comment: &str) -> u16 {
    node.send("POST", "/", "text/plain", comment).status
}

/// Posts until one is acknowledged.
fn post_soon(node: &Node, comment: &str) {
    within(NOTICED_MAX, "posting", || post(node, comment) == 201);
}

/// Lets the server see what SQLite wrote: it looks ten times a second, and what is written past
/// SQLite between the same two looks counts as SQLite's.
pub(super) fn after_a_look() {
    std::thread::park_timeout(Duration::from_secs(1));
}

fn remove(node: &Node, endings: &[&str]) {
    for ending in endings {
        fs::remove_file(beside(&node.database.file(), ending)).expect("removed");
    }
}

#[test]
fn what_a_removed_wal_held_is_saved_and_the_server_goes_on() {
    let mut node = Node::start(Database::sqlite());
    let mut stream = node.stream(STREAM);
    stream.event();
    let old = epoch_of(&node);
    node.post("before");
    for round in 0..3 {
        remove(&node, &["-wal"]);
        post_soon(&node, &format!("after {round}"));
    }
    within(NOTICED_MAX, "the stream", || {
        next(&mut stream, "patch").data.contains("after 2")
    });
    node.kill();
    node.restart();
    assert_eq!(comments(&node), ["before", "after 0", "after 1", "after 2"]);
    assert_eq!(epoch_of(&node), old);
    assert_eq!(node.database.sql("PRAGMA integrity_check;"), "ok");
}

/// Waits for the end of the process, which says what to do. Returns what it said.
pub(super) fn ends(node: &mut Node, said: &str) {
    let (took, code) = node.end(NOTICED_MAX);
    assert_eq!(code, Some(1), "after {took:?}");
    let log = fs::read_to_string(node.data().join("log")).expect("a log");
    assert!(log.contains(said), "{log}");
}

/// Starts a server whose log is in its data folder.
pub(super) fn logging() -> Node {
    let mut node = Node::start(Database::sqlite());
    node.terminate();
    node.end(Duration::from_secs(15));
    let log = fs::File::create(node.data().join("log")).expect("a file");
    node.restart_logging_to(log);
    node
}

#[test]
fn without_the_shm_all_is_saved_and_the_server_ends() {
    for endings in [&["-shm"][..], &["-wal", "-shm"]] {
        let mut node = logging();
        node.post("before");
        let mut acknowledged = vec!["before".to_owned()];
        remove(&node, endings);
        let began = Instant::now();
        // As long as it answers.
        for n in 0.. {
            let text = format!("after {n}");
            match crate::oracle::link::post(node.address, &text) {
                Some(201) => acknowledged.push(text),
                Some(_) if began.elapsed() < NOTICED_MAX => {}
                _ => break,
            }
        }
        ends(&mut node, "start the server again");
        node.restart();
        assert_eq!(comments(&node), acknowledged, "{endings:?}");
        assert_eq!(post(&node, "again"), 201);
    }
}

#[test]
fn a_backup_copied_over_the_file_in_use_ends_the_server_and_is_what_the_next_one_serves() {
    for removes_wal in [false, true] {
        let mut node = logging();
        for n in 0..50 {
            node.post(&format!("kept {n}"));
        }
        let backup = node.data().join("backup");
        node.database
            .sql(&format!("VACUUM INTO '{}';", backup.display()));
        let old = epoch_of(&node);
        node.database
            .sql("DELETE FROM topics WHERE id % 2 = 0; UPDATE topics SET comment = 'lost';");
        within(NOTICED_MAX, "reading", || {
            comments(&node).contains(&"lost".to_owned())
        });
        fs::copy(&backup, node.database.file()).expect("copied");
        if removes_wal {
            for ending in ["-wal", "-shm"] {
                // The server may have moved it aside already.
                let _ = fs::remove_file(beside(&node.database.file(), ending));
            }
        }
        ends(
            &mut node,
            "something other than SQLite wrote to the database",
        );
        node.restart();
        assert_eq!(node.database.sql("PRAGMA integrity_check;"), "ok");
        let shown = comments(&node);
        assert!(
            shown.len() == 50 && shown.iter().all(|text| text.starts_with("kept")),
            "{shown:?}"
        );
        assert_ne!(epoch_of(&node), old);
        assert_eq!(post(&node, "again"), 201);
    }
}

/// If nothing waits in the `-wal`, what was copied is what is there.
#[test]
fn a_sound_backup_copied_over_the_file_begins_an_epoch() {
    let node = Node::start(Database::sqlite());
    node.post("kept");
    let backup = node.data().join("backup");
    node.database.sql("PRAGMA wal_checkpoint(TRUNCATE);");
    fs::copy(node.database.file(), &backup).expect("copied");
    node.post("lost");
    let mut stream = node.stream(STREAM);
    stream.event();
    node.database.sql("PRAGMA wal_checkpoint(TRUNCATE);");
    after_a_look();
    fs::copy(&backup, node.database.file()).expect("copied");
    assert!(next(&mut stream, "reset").data.contains("epoch"));
    let list = next(&mut stream, "snapshot").data;
    assert!(list.contains("kept") && !list.contains("lost"), "{list}");
    post_soon(&node, "after");
    assert_eq!(comments(&node), ["kept", "after"]);
}

fn make_of_another_program(database: &Database) {
    database.sql("PRAGMA journal_mode = WAL; CREATE TABLE users (name TEXT);");
}

/// It has a header, and no table.
fn make_empty(database: &Database) {
    database.sql("PRAGMA user_version = 1;");
}

/// No server has used it yet.
fn make_without_epoch(database: &Database) {
    migrate(database);
}

fn make_of_an_older_version(database: &Database) {
    const SESSIONS: &str = include_str!(
        "../../../../../migrations/sqlite/2026-11-27-000010_browser_sessions/down.sql"
    );
    let mut node = Node::start(database.twin());
    node.post("kept");
    node.terminate();
    node.end(Duration::from_secs(15));
    database.sql(SESSIONS);
    database.sql("DELETE FROM __diesel_schema_migrations WHERE version >= '20261127000010';");
}

/// As `VACUUM INTO` writes a backup.
fn make_without_wal_mode(database: &Database) {
    let mut node = Node::start(database.twin());
    node.post("kept");
    node.terminate();
    node.end(Duration::from_secs(15));
    assert_eq!(database.sql("PRAGMA journal_mode = DELETE;"), "delete");
}

/// The next start can use each of them.
#[test]
fn a_sound_database_that_a_running_server_cannot_use_ends_it() {
    type Make = fn(&Database);
    let makes: [(Make, &str); 5] = [
        (make_without_wal_mode, "it is not in WAL mode yet"),
        (make_of_another_program, "no such table: identity"),
        (make_empty, "no such table: identity"),
        (make_without_epoch, "it has no epoch"),
        (
            make_of_an_older_version,
            "it lacks 2026-11-27-000010_browser_sessions",
        ),
    ];
    for (make, said) in makes {
        let other = Database::sqlite();
        make(&other);
        let mut node = logging();
        node.post("lost");
        let old = epoch_of(&node);
        node.database.sql("PRAGMA wal_checkpoint(TRUNCATE);");
        after_a_look();
        fs::copy(other.file(), node.database.file()).expect("copied");
        ends(&mut node, said);
        node.restart();
        node.post("after");
        assert!(!comments(&node).contains(&"lost".to_owned()), "{said}");
        assert_ne!(epoch_of(&node), old, "{said}");
        assert_eq!(node.database.sql("PRAGMA integrity_check;"), "ok");
    }
}

/// Only the time of the file changes.
#[test]
fn a_file_that_is_touched_is_the_same_afterwards() {
    let node = Node::start(Database::sqlite());
    node.post("before");
    let old = epoch_of(&node);
    let file = fs::File::options()
        .append(true)
        .open(node.database.file())
        .expect("a file");
    file.set_modified(std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000))
        .expect("touched");
    post_soon(&node, "after");
    std::thread::park_timeout(Duration::from_millis(500));
    post_soon(&node, "later");
    assert_eq!(comments(&node), ["before", "after", "later"]);
    assert_eq!(epoch_of(&node), old);
}

#[test]
fn a_truncated_file_ends_the_server() {
    for len in [0, 5000] {
        let mut node = logging();
        node.post("lost");
        after_a_look();
        let file = fs::File::options()
            .write(true)
            .open(node.database.file())
            .expect("a file");
        file.set_len(len).expect("truncated");
        ends(
            &mut node,
            "something other than SQLite wrote to the database",
        );
    }
}

#[test]
fn a_file_that_is_gone_is_named_and_nothing_is_acknowledged() {
    let node = Node::start(Database::sqlite());
    node.post("before");
    let mut stream = node.stream(STREAM);
    stream.event();
    fs::remove_file(node.database.file()).expect("removed");
    next(&mut stream, "stale");
    node.wait_for_readiness(NOTICED_MAX, |(status, _, reasons)| {
        *status == 503 && reasons.contains("board.db: No such file")
    });
    assert_eq!(post(&node, "after"), 503);
    assert!(!node.database.file().exists(), "no other one is made");
}
