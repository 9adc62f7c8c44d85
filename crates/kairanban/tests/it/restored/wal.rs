//! The `-wal` and the `-shm` of a SQLite database, written past SQLite while a server uses them:
//! nothing is acknowledged that is lost, and the process ends with the next step.

use std::{
    fs,
    io::{Seek as _, SeekFrom, Write as _},
    path::PathBuf,
    time::{Duration, Instant},
};

use super::{
    NOTICED_MAX, beside, comments,
    files::{after_a_look, ends, logging},
};
use crate::node::Node;

const WRITTEN: &str = "something other than SQLite wrote";

fn wal(node: &Node) -> PathBuf {
    beside(&node.database.file(), "-wal")
}

/// Writes over a file without making it another one, or shorter.
fn write_over(path: &PathBuf, bytes: &[u8]) {
    let mut file = fs::File::options().write(true).open(path).expect("a file");
    file.write_all(bytes).expect("written");
}

fn post_some(node: &Node, text: &str) {
    for n in 0..8 {
        node.post(&format!("{text} {n}"));
    }
}

/// Posts as long as the server answers. Returns what it acknowledged.
fn acknowledged(node: &Node) -> Vec<String> {
    let began = Instant::now();
    let mut acknowledged = Vec::new();
    for n in 0.. {
        let text = format!("after {n}");
        match crate::oracle::link::post(node.address, &text) {
            Some(201) => acknowledged.push(text),
            Some(_) if began.elapsed() < NOTICED_MAX => {}
            _ => break,
        }
    }
    acknowledged
}

/// Does something to the files between posts. Returns what is shown after the next start.
fn survivors(
    prepare: impl FnOnce(&Node) -> Vec<u8>,
    act: impl FnOnce(&Node, &[u8]),
) -> Vec<String> {
    let mut node = logging();
    post_some(&node, "first");
    let old = prepare(&node);
    post_some(&node, "second");
    after_a_look();
    act(&node, &old);
    let acknowledged = acknowledged(&node);
    ends(&mut node, WRITTEN);
    node.restart();
    assert_eq!(node.database.sql("PRAGMA integrity_check;"), "ok");
    let shown = comments(&node);
    for text in acknowledged {
        assert!(shown.contains(&text), "{text} was acknowledged: {shown:?}");
    }
    node.post("again");
    shown
}

fn no_copy(_: &Node) -> Vec<u8> {
    Vec::new()
}

fn copy_of_wal(node: &Node) -> Vec<u8> {
    fs::read(wal(node)).expect("a -wal")
}

/// A copy of what was in the file before SQLite began with the first frame again.
fn copy_before_it_began_again(node: &Node) -> Vec<u8> {
    let copy = copy_of_wal(node);
    node.database.sql("PRAGMA wal_checkpoint(RESTART);");
    copy
}

#[test]
fn a_wal_that_is_cut_ends_the_server_before_the_next_answer() {
    for is_emptied in [true, false] {
        let shown = survivors(no_copy, |node, _| {
            let len = fs::metadata(wal(node)).expect("a -wal").len();
            let file = fs::File::options().write(true).open(wal(node));
            let left = if is_emptied { 0 } else { len / 2 };
            file.expect("a file").set_len(left).expect("cut");
        });
        assert!(shown.iter().all(|text| !text.starts_with("second 7")));
    }
}

#[test]
fn of_an_older_wal_that_is_copied_over_it_what_it_held_is_kept() {
    let shown = survivors(copy_of_wal, |node, old| {
        fs::write(wal(node), old).expect("copied");
    });
    let first: Vec<_> = (0..8).map(|n| format!("first {n}")).collect();
    assert_eq!(shown, first);
}

#[test]
fn a_wal_of_before_that_is_copied_over_it_is_moved_aside() {
    let shown = survivors(copy_before_it_began_again, |node, old| {
        fs::write(wal(node), old).expect("copied");
    });
    let first: Vec<_> = (0..8).map(|n| format!("first {n}")).collect();
    assert_eq!(shown, first);
}

#[test]
fn a_wal_with_another_beginning_ends_the_server() {
    survivors(no_copy, |node, _| write_over(&wal(node), &[0xff; 64]));
}

/// Writes over some bytes of the `-wal`.
fn change(node: &Node, place: impl FnOnce(u64) -> u64) {
    let mut file = fs::File::options()
        .write(true)
        .open(wal(node))
        .expect("a file");
    let len = file.metadata().expect("a length").len();
    file.seek(SeekFrom::Start(place(len))).expect("found");
    file.write_all(&[0xa5; 8]).expect("written");
}

/// A connection that is still open reads what is behind it.
#[test]
fn a_header_that_is_changed_ends_the_server_and_nothing_is_lost() {
    let all: Vec<_> = ["first", "second"]
        .into_iter()
        .flat_map(|text| (0..8).map(move |n| format!("{text} {n}")))
        .collect();
    for at in [0, 8, 24] {
        let shown = survivors(no_copy, |node, _| change(node, |_| at));
        assert_eq!(shown[..all.len().min(shown.len())], all, "at {at}");
    }
    let shown = survivors(no_copy, |node, _| write_over(&wal(node), &[0; 32]));
    assert_eq!(shown[..all.len().min(shown.len())], all);
}

#[test]
fn a_page_that_is_changed_in_the_wal_ends_the_server() {
    let mut node = logging();
    post_some(&node, "first");
    after_a_look();
    change(&node, |len| len / 2);
    ends(&mut node, WRITTEN);
    node.restart();
    assert_eq!(node.database.sql("PRAGMA integrity_check;"), "ok");
}

/// All of it is in the `-wal`.
#[test]
fn an_older_shm_that_is_written_over_it_ends_the_server_and_nothing_is_lost() {
    let shown = survivors(
        |node| fs::read(beside(&node.database.file(), "-shm")).expect("a -shm"),
        |node, old| write_over(&beside(&node.database.file(), "-shm"), &old[..136]),
    );
    assert!(shown.contains(&"second 7".to_owned()), "{shown:?}");
}

/// What SQLite does itself is nothing of that kind.
#[test]
fn a_wal_that_sqlite_begins_again_is_its_own() {
    let node = logging();
    for mode in ["PASSIVE", "FULL", "RESTART", "TRUNCATE"].repeat(3) {
        post_some(&node, mode);
        node.database
            .sql(&format!("PRAGMA wal_checkpoint({mode});"));
        node.database
            .sql("INSERT INTO topics (comment) VALUES ('of another program');");
    }
    let file = fs::File::options().append(true).open(wal(&node));
    let past = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    file.expect("a file").set_modified(past).expect("touched");
    after_a_look();
    assert_eq!(comments(&node).len(), 12 * 9);
    let log = fs::read_to_string(node.data().join("log")).expect("a log");
    assert!(!log.contains(WRITTEN), "{log}");
}
