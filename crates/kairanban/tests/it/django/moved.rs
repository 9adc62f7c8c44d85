//! Topics that Django dumps, loads into another database, or imports with ids of their own.

use std::time::{Duration, Instant};

use serde_json::json;

use super::{Site, shown};
use crate::node::{Database, Node};

crate::on_both!(
    what_was_dumped_is_loaded_with_its_times,
    an_import_ahead_of_the_sequence_hides_nothing,
);

fn fresh(database: &Database) -> Database {
    if database.is_postgres() {
        Database::postgres()
    } else {
        Database::sqlite()
    }
}

/// Dumps the boards of `from` and loads them into another server's database. Returns that server.
fn moved(from: &Node, site: &mut Site) -> Node {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("boards.json");
    site.step(json!(["dump", path]));
    let node = Node::start(fresh(&from.database));
    Site::start(&node.database, "Asia/Tokyo", true).step(json!(["load", path]));
    let (expected, began) = (shown(from), Instant::now());
    while shown(&node) != expected {
        if began.elapsed() >= Duration::from_secs(3) {
            let found = shown(&node);
            let differs = expected
                .iter()
                .find(|(id, topic)| found.get(id) != Some(*topic));
            panic!("it was {differs:?}");
        }
        std::thread::park_timeout(Duration::from_millis(10));
    }
    node
}

/// Each post is taken, gets an id behind all that are there, and is shown.
fn posts_come_last(node: &Node, behind: u64) {
    let mut last = behind;
    for n in 0..6 {
        let id = node.post(&format!("post {n}"));
        assert!(id > last, "{id} after {last}");
        assert!(shown(node).contains_key(&id), "{id} is shown");
        last = id;
    }
}

fn what_was_dumped_is_loaded_with_its_times(database: Database) {
    let node = Node::start(database);
    let mut site = Site::start(&node.database, "Asia/Tokyo", true);
    (1..=9).for_each(|n| assert_eq!(node.post(&format!("topic {n}")), n));
    assert_eq!(
        site.topic(json!(["add", "wholetopic", {"comment": "by a form", "board": "1"}]))
            .id,
        10
    );
    let again = moved(&node, &mut site);
    posts_come_last(&again, 10);
    assert_eq!([&node, &again].map(|node| node.post("and on")), [11, 17]);
}

fn an_import_ahead_of_the_sequence_hides_nothing(database: Database) {
    let node = Node::start(database);
    let mut site = Site::start(&node.database, "UTC", true);
    site.step(json!(["bulk_create", (1_001..=1_500).collect::<Vec<_>>()]));
    let began = Instant::now();
    while !shown(&node).contains_key(&1_500) {
        assert!(
            began.elapsed() < Duration::from_secs(3),
            "the import is not shown"
        );
        std::thread::park_timeout(Duration::from_millis(10));
    }
    let again = moved(&node, &mut site);
    posts_come_last(&node, 1_500);
    posts_come_last(&again, 1_500);
}
