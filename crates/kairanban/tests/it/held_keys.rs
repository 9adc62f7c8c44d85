//! A post whose key another transaction holds is answered alone: its neighbours do not wait for
//! that transaction.

use std::{
    thread,
    time::{Duration, Instant},
};

use crate::{
    node::{Database, Lock, Node},
    refusals::shown,
    wire::{self, Answer},
};

/// Within this, posts beside one whose key is held are acknowledged, and that one is answered.
const SOON: Duration = Duration::from_millis(900);

/// Posts and how long the answer took.
fn post_timed(node: &Node, comment: &str, key: Option<&str>) -> (Answer, Duration) {
    let began = Instant::now();
    let mut headers = vec![("Content-Type", "text/plain")];
    headers.extend(key.map(|key| ("Idempotency-Key", key)));
    (
        wire::request(
            node.address,
            "POST",
            "/b/main",
            &headers,
            comment.as_bytes(),
        ),
        began.elapsed(),
    )
}

/// Holds keys in an open transaction, `held-1` and so on, with a topic that they led to.
fn hold_keys(database: &Database, count: usize) -> Lock {
    database.hold(&format!(
        "INSERT INTO topics (comment) VALUES ('of the holder'); \
         INSERT INTO idempotency (board_id, key, request, topic_id) \
         SELECT board_id, 'held-' || n, 'other', id FROM topics, generate_series(1, {count}) AS n \
         WHERE id = currval('topics_id_seq')"
    ))
}

/// Posts with each held key among neighbours, all at the same time.
fn post_among_neighbours(node: &Node, held: usize, round: &str, are_keyed: bool) {
    let neighbours = (0..8).map(|n| format!("neighbour-{round}-{n}"));
    thread::scope(|scope| {
        let held: Vec<_> = (1..=held)
            .map(|n| format!("held-{n}"))
            .map(|comment| scope.spawn(move || post_timed(node, &comment, Some(&comment))))
            .collect();
        let neighbours: Vec<_> = neighbours
            .map(|comment| {
                scope.spawn(move || {
                    post_timed(node, &comment, are_keyed.then_some(comment.as_str()))
                })
            })
            .collect();
        for neighbour in neighbours {
            let (answer, time) = neighbour.join().expect("an answer");
            assert_eq!(answer.status, 201, "after {time:?}: {answer:?}");
            assert!(time < SOON, "a neighbour waited for {time:?}");
        }
        for one in held {
            let (answer, time) = one.join().expect("an answer");
            assert_eq!(
                (answer.status, answer.header("retry-after").is_some()),
                (503, true),
                "{answer:?}"
            );
            assert!(time < SOON, "the post waited for {time:?}");
        }
    });
}

fn count(list: &[String], beginning: &str) -> usize {
    list.iter()
        .filter(|comment| comment.starts_with(beginning))
        .count()
}

/// One key, or those of a whole group of another node that froze.
#[test]
fn held_keys_hold_up_no_neighbour() {
    for held in [1, 24] {
        let node = Node::start(Database::postgres());
        let holder = hold_keys(&node.database, held);
        for (round, are_keyed) in [("a", false), ("b", true), ("c", false)] {
            post_among_neighbours(&node, held, round, are_keyed);
        }
        // Alone, too: it keeps the next group waiting.
        let (alone, time) = post_timed(&node, "held-1", Some("held-1"));
        assert!(alone.status == 503 && time < SOON, "{time:?} {alone:?}");
        assert_eq!(node.get("/readyz").status, 200);
        drop(holder);
        for again in (1..=held).flat_map(|n| [n, n]).map(|n| format!("held-{n}")) {
            let answer = post_timed(&node, &again, Some(&again)).0;
            assert_eq!(answer.status, 201, "{answer:?}");
        }
        let list = shown(&node);
        assert_eq!(
            (
                count(&list, "held-"),
                count(&list, "neighbour-"),
                list.len()
            ),
            (held, 24, held + 24),
            "{list:?}"
        );
    }
}

/// Once the holder commits, the key stands for what the holder asked for.
#[test]
fn a_held_key_that_is_committed_stands_for_its_request() {
    let node = Node::start(Database::postgres());
    let holder = hold_keys(&node.database, 1);
    assert_eq!(post_timed(&node, "held-1", Some("held-1")).0.status, 503);
    holder.commit();
    let (again, _) = post_timed(&node, "held-1", Some("held-1"));
    assert_eq!(
        (
            again.status,
            again.body.contains("was used for another topic")
        ),
        (422, true),
        "{again:?}"
    );
}

/// At most one line in a second, however many are answered with 503.
#[test]
fn posts_that_are_answered_with_503_do_not_fill_the_log() {
    let log = tempfile::NamedTempFile::new().expect("a file");
    let stderr = log.reopen().expect("a file");
    let mut node = Node::start_as(Database::postgres(), &[], |command| {
        command.stderr(stderr);
    });
    let _holder = hold_keys(&node.database, 1);
    let began = Instant::now();
    for _ in 0..30 {
        assert_eq!(post_timed(&node, "held-1", Some("held-1")).0.status, 503);
    }
    let lines_max = usize::try_from(began.elapsed().as_secs()).expect("seconds") + 1;
    assert!(lines_max < 15, "too slow to say anything");
    node.terminate();
    node.end(Duration::from_secs(15));
    let text = std::fs::read_to_string(log.path()).expect("text");
    let lines = text
        .lines()
        .filter(|line| line.contains("Idempotency-Key is still being written"))
        .count();
    assert!(
        (1..=lines_max).contains(&lines),
        "{lines} lines, not {lines_max}: {text}"
    );
}
