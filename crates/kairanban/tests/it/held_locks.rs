//! A write that another transaction is in the way of waits alone: its neighbours are acknowledged
//! meanwhile.

use std::thread;

use crate::{
    node::{Database, Lock, Node},
    refusals::{await_readiness, shown},
    wire::{self, Answer},
};

/// What makes the tests' tables.
const SETUP: &str = "INSERT INTO boards (name) VALUES ('other'); \
    CREATE TABLE counter (n bigint); INSERT INTO counter VALUES (0); \
    CREATE FUNCTION counted() RETURNS trigger LANGUAGE plpgsql AS $$ \
    BEGIN UPDATE counter SET n = n + 1; RETURN NEW; END $$; \
    CREATE TRIGGER counted BEFORE INSERT ON topics FOR EACH ROW \
    WHEN (NEW.comment LIKE 'counted%') EXECUTE FUNCTION counted();";

/// Something that another transaction holds, and a write that needs it.
struct Case {
    held: &'static str,
    method: &'static str,
    path: &'static str,
    /// `{}` stands for the number of the round.
    body: &'static str,
    is_keyed: bool,
}

const fn case(
    held: &'static str,
    method: &'static str,
    path: &'static str,
    body: &'static str,
) -> Case {
    Case {
        held,
        method,
        path,
        body,
        is_keyed: false,
    }
}

const OTHER: &str = "/api/v1/boards/other/topics";

/// Topics 1 to 9 are there.
const CASES: [Case; 7] = [
    case(
        "UPDATE topics SET comment = 'of the holder' WHERE id = 1",
        "PATCH",
        "/api/v1/boards/main/topics/1",
        r#"{"comment":"edited-{}"}"#,
    ),
    case(
        "SELECT FROM boards WHERE name = 'other' FOR UPDATE",
        "POST",
        OTHER,
        r#"{"comment":"row of a board"}"#,
    ),
    case(
        "INSERT INTO boards (name) VALUES ('new-{}')",
        "POST",
        "/api/v1/boards",
        r#"{"name":"new-{}"}"#,
    ),
    case(
        "UPDATE counter SET n = n + 1",
        "POST",
        OTHER,
        r#"{"comment":"counted"}"#,
    ),
    case(
        "LOCK TABLE deleted_topics",
        "DELETE",
        "/api/v1/boards/main/topics/{}",
        "",
    ),
    case(
        "LOCK TABLE audit",
        "PATCH",
        "/api/v1/boards/main/topics/3",
        r#"{"comment":"audited-{}"}"#,
    ),
    Case {
        held: "LOCK TABLE idempotency",
        method: "POST",
        path: OTHER,
        body: r#"{"comment":"keyed"}"#,
        is_keyed: true,
    },
];

impl Case {
    fn send(&self, node: &Node, token: &str, round: u32) -> Answer {
        let (round, token) = (round.to_string(), format!("Bearer {token}"));
        let mut headers = vec![
            ("Content-Type", "application/json"),
            ("Authorization", token.as_str()),
        ];
        if self.is_keyed {
            headers.push(("Idempotency-Key", &round));
        }
        wire::request(
            node.address,
            self.method,
            &self.path.replace("{}", &round),
            &headers,
            self.body.replace("{}", &round).as_bytes(),
        )
    }

    fn hold(&self, node: &Node, round: u32) -> Lock {
        node.database
            .hold(&self.held.replace("{}", &round.to_string()))
    }
}

/// Starts a node with nine topics, and returns a token of an administrator.
fn start(settings: &[(&str, &str)]) -> (Node, String) {
    let node = Node::start_with(Database::postgres(), settings);
    node.database.sql(SETUP);
    for n in 1..=9 {
        node.post(&format!("topic {n}"));
    }
    let token = node.token(&["create", "--scope", "admin"]);
    (node, token)
}

/// Posts 100 times, by four at a time.
fn post_neighbours(node: &Node) {
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..25 {
                    node.post("neighbour");
                }
            });
        }
    });
}

fn count(node: &Node, condition: &str) -> String {
    let count = format!("SELECT count(*) FROM topics WHERE {condition};");
    node.database.sql(&count)
}

/// Each write waits much longer than its neighbours take, and succeeds once the lock is gone.
#[test]
fn a_held_lock_holds_up_no_neighbour() {
    let (node, token) = start(&[
        ("DATABASE__WRITE_GROUP_WAIT_MS", "25000"),
        ("DATABASE__WRITE_WAIT_MS", "28000"),
    ]);
    for case in &CASES {
        let lock = case.hold(&node, 9);
        thread::scope(|scope| {
            let blocked = scope.spawn(|| case.send(&node, &token, 9));
            post_neighbours(&node);
            assert!(!blocked.is_finished(), "{}: it does not wait", case.held);
            await_readiness(&node, 200, "ready");
            drop(lock);
            let answer = blocked.join().expect("an answer");
            assert!(
                matches!(answer.status, 200 | 201 | 204),
                "{}: {answer:?}",
                case.held
            );
        });
    }
    assert_all_once(&node, 700);
}

/// At its deadline it is answered 503, and it can be repeated.
#[test]
fn a_write_that_waits_too_long_is_answered_alone() {
    let (node, token) = start(&[]);
    for case in &CASES {
        let lock = case.hold(&node, 9);
        let answer = case.send(&node, &token, 9);
        assert_eq!(
            (answer.status, answer.header("retry-after").is_some()),
            (503, true),
            "{}: {answer:?}",
            case.held
        );
        assert!(
            answer.body.contains("another transaction has locked"),
            "{}: {answer:?}",
            case.held
        );
        node.post("neighbour");
        await_readiness(&node, 200, "ready");
        drop(lock);
        let again = case.send(&node, &token, 9);
        assert!(
            matches!(again.status, 200 | 201 | 204),
            "{}: {again:?}",
            case.held
        );
    }
    assert_all_once(&node, CASES.len());
}

/// Asserts that each case wrote what it should, once, and that all neighbours are there.
fn assert_all_once(node: &Node, neighbours: usize) {
    assert_eq!(count(node, "comment = 'neighbour'"), neighbours.to_string());
    for written in [
        "row of a board",
        "counted",
        "keyed",
        "edited-9",
        "audited-9",
    ] {
        assert_eq!(
            count(node, &format!("comment = '{written}'")),
            "1",
            "{written}"
        );
    }
    assert_eq!(count(node, "comment = 'topic 9'"), "0", "it was deleted");
    assert_eq!(
        node.database.sql("SELECT n FROM counter;"),
        "1",
        "the trigger ran for what was rolled back"
    );
    let listed = shown(node);
    assert!(
        !listed.contains(&"topic 9".to_owned()) && listed.contains(&"neighbour".to_owned()),
        "{listed:?}"
    );
}

/// Many writes that one lock is in the way of are all written when it is gone, each once.
#[test]
fn writes_behind_one_lock_are_written_together_when_it_is_gone() {
    let (node, _) = start(&[
        ("DATABASE__WRITE_GROUP_WAIT_MS", "25000"),
        ("DATABASE__WRITE_WAIT_MS", "28000"),
    ]);
    let lock = node
        .database
        .hold("SELECT FROM boards WHERE name = 'other' FOR UPDATE");
    thread::scope(|scope| {
        let blocked: Vec<_> = (0..40)
            .map(|n| {
                let node = &node;
                scope.spawn(move || {
                    let body = format!(r#"{{"comment":"behind {n}"}}"#);
                    let headers = [("Content-Type", "application/json")];
                    wire::request(node.address, "POST", OTHER, &headers, body.as_bytes())
                })
            })
            .collect();
        post_neighbours(&node);
        assert!(!blocked.iter().any(thread::ScopedJoinHandle::is_finished));
        drop(lock);
        for one in blocked {
            assert_eq!(one.join().expect("an answer").status, 201);
        }
    });
    assert_eq!(count(&node, "comment LIKE 'behind %'"), "40");
    assert_eq!(count(&node, "comment = 'neighbour'"), "100");
}
