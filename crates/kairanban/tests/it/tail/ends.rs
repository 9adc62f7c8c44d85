//! What ends connections, and what ends `kairanban tail`.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader},
    process::{ChildStdout, Command, Stdio},
    thread,
    time::Duration,
};

use serde_json::Value;

use super::{QUICK, Tail, url};
use crate::{
    node::{Database, Node},
    relay::Relay,
};

/// A proxy ends connections, some in the middle of a line, while a writer goes on.
#[test]
fn cuts_lose_nothing_and_double_nothing() {
    const POSTS: i64 = 120;
    let node = Node::start_with(Database::sqlite(), &QUICK);
    let relay = Relay::to(node.address.to_string());
    let address = format!("http://{}", relay.address);
    let mut tail = Tail::start(&address, &["--json", "--verify"]);
    assert_eq!(tail.json()["event"], "live");
    for n in 1..=POSTS {
        match n % 6 {
            1 => relay.cut_short_by(usize::try_from(n).expect("a number")),
            4 => relay.cut(),
            _ => {}
        }
        node.post(&format!("post {n}"));
        // So that the connections between cuts are open for some of them.
        if n % 3 == 0 {
            thread::park_timeout(Duration::from_millis(40));
        }
    }
    let mut shown = BTreeMap::new();
    while !shown.contains_key(&POSTS) {
        let event = tail.json();
        assert_eq!(event["event"], "new", "{event}");
        let id = event["id"].as_i64().expect("an id");
        let before = shown.insert(id, event["topic"]["comment"].clone());
        assert_eq!(before, None, "shown twice");
    }
    let expected = (1..=POSTS).map(|n| (n, format!("post {n}").into()));
    assert_eq!(shown, expected.collect::<BTreeMap<i64, Value>>());
}

/// As in `kairanban tail main | head -1`: nothing has to happen on the board.
#[test]
fn it_ends_at_once_when_stdout_is_closed() {
    let node = Node::start(Database::sqlite());
    node.post("hello");
    let mut tail = Tail::start(&url(&node), &[]);
    tail.line();
    let empty = BufReader::new(ended_stdout());
    drop(std::mem::replace(&mut tail.lines, empty.lines()));
    assert_eq!(tail.end(), (Some(0), String::new()));
}

/// Returns the stdout of a command that has ended.
fn ended_stdout() -> ChildStdout {
    let mut child = Command::new("true")
        .stdout(Stdio::piped())
        .spawn()
        .expect("true");
    child.wait().expect("an end");
    child.stdout.take().expect("a pipe")
}

/// A pager that waits takes nothing, and the command can be ended all the same.
#[test]
fn a_signal_ends_it_also_while_stdout_takes_nothing() {
    let node = Node::start(Database::sqlite());
    let long = "x".repeat(2_000);
    for _ in 0..60 {
        node.post(&long);
    }
    let mut tail = Tail::start(&url(&node), &["-n", "all"]);
    tail.line();
    // The pipe is full by now, or soon.
    tail.signal("-INT");
    assert_eq!(tail.end().0, Some(130));
}
