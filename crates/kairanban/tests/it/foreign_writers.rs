//! Writes by other programs: on the open streams within a second, whole, and only if committed.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use crate::{
    node::{Database, Node},
    sse::Watched,
    wire::PATIENCE,
};

crate::on_both!(
    every_kind_of_write_appears,
    a_bulk_write_appears_whole,
    a_django_site_writes_beside_us,
    what_triggers_do_to_our_own_posts_appears,
);

/// Reads until the list shows `expected`, within a second of `since`.
fn await_comments(watched: &mut Watched, expected: &[&str], since: Instant) {
    while watched.mirror.comments() != expected {
        let event = watched
            .stream
            .raw(Duration::from_secs(3))
            .unwrap_or_else(|| panic!("{:?} instead of {expected:?}", watched.mirror.comments()));
        watched.mirror.take(&event);
        assert!(
            !watched.mirror.comments().contains(&"never"),
            "a rolled-back topic was shown"
        );
    }
    assert!(
        since.elapsed() < Duration::from_secs(1),
        "took {:?}",
        since.elapsed()
    );
}

fn watch(node: &Node, board: &str) -> Watched {
    let mut watched = Watched::new(node.stream(&format!("/b/{board}/stream?format=patch")));
    watched.take();
    watched
}

/// A write by another program, and what the boards `main` and `other` show after it.
type ForeignStep = (
    &'static str,
    &'static [&'static str],
    &'static [&'static str],
);

const STEPS: [ForeignStep; 5] = [
    (
        "INSERT INTO topics (board_id, comment) VALUES (1, 'a'), (1, 'b');",
        &["a", "b"],
        &[],
    ),
    (
        "UPDATE topics SET comment = 'A' WHERE comment = 'a';",
        &["A", "b"],
        &[],
    ),
    (
        "BEGIN; INSERT INTO topics (board_id, comment) VALUES (1, 'never'); ROLLBACK; DELETE \
         FROM topics WHERE comment = 'b';",
        &["A"],
        &[],
    ),
    ("UPDATE topics SET board_id = 2;", &[], &["A"]),
    (
        "BEGIN; DELETE FROM topics; INSERT INTO topics (board_id, comment) \
         VALUES (1, 'c'), (2, 'd'); COMMIT;",
        &["c"],
        &["d"],
    ),
];

const STEPS_ON_POSTGRES: [ForeignStep; 3] = [
    (
        "COPY topics (board_id, comment) FROM STDIN;\n1\te\n2\tf\n\\.\n",
        &["c", "e"],
        &["d", "f"],
    ),
    (
        "BEGIN; INSERT INTO topics (board_id, comment) \
         VALUES (1, 'never'); TRUNCATE topics; COMMIT;",
        &[],
        &[],
    ),
    (
        "BEGIN; INSERT INTO topics (board_id, comment) VALUES (1, 'g'); TRUNCATE topics; \
         INSERT INTO topics (board_id, comment) VALUES (2, 'h'); COMMIT;",
        &[],
        &["h"],
    ),
];

fn every_kind_of_write_appears(database: Database) {
    let node = Node::start(database);
    node.database
        .sql("INSERT INTO boards (name) VALUES ('other');");
    let (mut main, mut other) = (watch(&node, "main"), watch(&node, "other"));
    let is_postgres = node.database.is_postgres();
    let more = STEPS_ON_POSTGRES.into_iter().filter(|_| is_postgres);
    for (sql, on_main, on_other) in STEPS.into_iter().chain(more) {
        let began = Instant::now();
        node.database.sql(sql);
        await_comments(&mut main, on_main, began);
        await_comments(&mut other, on_other, began);
    }
}

/// REPLACE deletes the rows in the way of an UPDATE without firing a delete trigger; `rowid` names
/// the key, too.
#[test]
fn rows_that_are_replaced_or_renumbered_leave_the_streams() {
    let node = Node::start(Database::sqlite());
    node.database.sql(
        "INSERT INTO boards (name) VALUES ('other'); \
         INSERT INTO topics (board_id, comment) VALUES (1, 'a'), (1, 'b'), (2, 'c');",
    );
    let (mut main, mut other) = (watch(&node, "main"), watch(&node, "other"));
    for (statement, on_main, on_other) in [
        (
            "UPDATE topics SET rowid = 9 WHERE id = 1;",
            &["b", "a"][..],
            &["c"][..],
        ),
        (
            "UPDATE OR REPLACE topics SET oid = 3 WHERE id = 9;",
            &["b", "a"],
            &[],
        ),
    ] {
        let since = Instant::now();
        node.database.sql(statement);
        await_comments(&mut main, on_main, since);
        await_comments(&mut other, on_other, since);
    }
    node.database
        .sql("UPDATE OR REPLACE boards SET name = 'main' WHERE name = 'other';");
    let last = std::iter::repeat_with(|| main.stream.event()).find(|event| event.name == "bye");
    assert_eq!(last.expect("bye").json()["reason"], "gone");
    assert!(watch(&node, "main").mirror.comments().is_empty());
}

fn a_django_site_writes_beside_us(database: Database) {
    let node = Node::start(database);
    let mut watched = watch(&node, "main");
    let python = std::env::var("KAIRANBAN_TEST_PYTHON")
        .expect("KAIRANBAN_TEST_PYTHON, a Python with Django; scripts/test sets it");
    let script = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/foreign/django_writer.py"
    );
    let mut django = Command::new(python)
        .args([script, &node.database.url()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python");
    let mut steps = django.stdin.take().expect("a pipe");
    let mut answers = BufReader::new(django.stdout.take().expect("a pipe")).lines();
    for (name, expected) in [
        ("create", &["by the ORM"][..]),
        ("save", &["saved"]),
        ("bulk", &["saved", "bulk 0", "bulk 1", "bulk 2"]),
        ("update", &["saved", "updated", "updated", "updated"]),
        ("roll_back", &["saved", "updated", "updated", "updated"]),
        ("delete", &["saved"]),
    ] {
        writeln!(steps, "{name}").expect("written");
        assert_eq!(answers.next().and_then(Result::ok).as_deref(), Some("done"));
        await_comments(&mut watched, expected, Instant::now());
    }
    drop(steps);
    assert!(django.wait().expect("an end").success());
}

/// More changes than are followed one by one, on two boards, one of them watched.
fn a_bulk_write_appears_whole(database: Database) {
    let node = Node::start_with(database, &[("DATABASE__CHANGES_MAX", "50")]);
    node.database
        .sql("INSERT INTO boards (name) VALUES ('other');");
    let mut watched = watch(&node, "main");
    let rows: Vec<_> = (0..120)
        .map(|n| format!("({}, '{n}')", n % 2 + 1))
        .collect();
    node.database.sql(&format!(
        "BEGIN; INSERT INTO topics (board_id, comment) VALUES {}; COMMIT;",
        rows.join(",")
    ));
    while watched.mirror.comments().len() < 60 {
        watched.take();
        if node.database.is_postgres() {
            assert_eq!(
                watched.mirror.comments().len(),
                60,
                "one transaction appears whole"
            );
        }
    }
    node.post("after");
    while !watched.mirror.comments().contains(&"after") {
        watched.take();
    }
    assert_eq!(
        node.get("/api/v1/boards/other/topics").json()["topics"]
            .as_array()
            .map(Vec::len),
        Some(60)
    );
}

/// A write that notifies no server (as if the notification were lost) is found by the slow poll.
#[test]
fn a_lost_notification_costs_time_and_nothing_else() {
    let node = Node::start(Database::postgres());
    let mut watched = watch(&node, "main");
    let began = Instant::now();
    node.database.sql(
        "BEGIN; SET LOCAL kairanban.quiet = 'on'; INSERT INTO topics (board_id, comment) \
            VALUES (1, 'quiet'); COMMIT;",
    );
    watched.take();
    assert_eq!(watched.mirror.comments(), ["quiet"]);
    assert!(
        began.elapsed() < Duration::from_millis(2_500),
        "took {:?}",
        began.elapsed()
    );
}

#[test]
fn an_open_transaction_delays_no_other_write() {
    let node = Node::start(Database::postgres());
    node.post("a");
    let mut psql = Command::new("psql")
        .args(["-qAtX", &node.database.url()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("psql");
    let mut input = psql.stdin.take().expect("a pipe");
    input
        .write_all(
            b"BEGIN; UPDATE boards SET title = 'x'; INSERT INTO topics (board_id, comment) \
                VALUES (1, 'held'); SELECT 'open';\n",
        )
        .expect("written");
    let mut said = String::new();
    BufReader::new(psql.stdout.as_mut().expect("a pipe"))
        .read_line(&mut said)
        .expect("a line");
    let mut watched = watch(&node, "main");
    let began = Instant::now();
    node.post("b");
    await_comments(&mut watched, &["a", "b"], began);
    input.write_all(b"COMMIT;\n").expect("written");
    drop(input);
    assert!(psql.wait().expect("an end").success());
    await_comments(&mut watched, &["a", "held", "b"], Instant::now());
}

/// One that has forced its constraints early holds the order of commits until it ends.
#[test]
fn a_writer_that_forces_its_constraints_early_holds_up_writes_alone() {
    let node = Node::start(Database::postgres());
    node.post("a");
    let held = node
        .database
        .hold("INSERT INTO topics (comment) VALUES ('held'); SET CONSTRAINTS ALL IMMEDIATE");
    let began = Instant::now();
    let refused = node.send("POST", "/", "text/plain", "b");
    assert_eq!(refused.status, 503, "{refused:?}");
    assert!(
        began.elapsed() < Duration::from_secs(3),
        "{:?}",
        began.elapsed()
    );
    let mirror = watch(&node, "main").mirror;
    assert_eq!(mirror.comments(), ["a"]);
    drop(held);
    node.post("c");
    assert_eq!(watch(&node, "main").mirror.comments().last(), Some(&"c"));
}

/// A write on one node is heard on another, and no node shows less than a reader has seen.
#[test]
fn two_nodes_on_one_postgres() {
    let first = Node::start(Database::postgres());
    let second = first.sibling();
    let mut watched = watch(&second, "main");
    let began = Instant::now();
    first.post("a");
    await_comments(&mut watched, &["a"], began);
    for n in 0..20 {
        first.post(&n.to_string());
        let here = watch(&first, "main").mirror;
        let mut there = second.resume("/b/main/stream?format=patch", &here.cursor);
        // A patch or, if it is up to date, a comment; never `reset`.
        let first_thing = there.raw(PATIENCE).expect("something");
        assert!(
            first_thing.name != "reset",
            "a cursor of a sibling was called one from the future"
        );
    }
}

/// Teaches the database to answer, in the transaction of the post; and Postgres to change what is
/// posted.
fn teach_to_answer(database: &Database) {
    let answers = "INSERT INTO topics (board_id, comment) VALUES (NEW.board_id, 'pong')";
    database.sql(&if database.is_postgres() {
        format!(
            "CREATE FUNCTION answer() RETURNS trigger LANGUAGE plpgsql AS $$ \
             BEGIN {answers}; RETURN NULL; END $$;
             CREATE TRIGGER answer AFTER INSERT ON topics FOR EACH ROW WHEN (NEW.comment = 'ping') \
             EXECUTE FUNCTION answer();
             CREATE FUNCTION polite() RETURNS trigger LANGUAGE plpgsql AS $$ \
             BEGIN NEW.comment := 'please'; RETURN NEW; END $$;
             CREATE TRIGGER polite BEFORE INSERT ON topics FOR EACH ROW \
             WHEN (NEW.comment = 'gimme') EXECUTE FUNCTION polite();"
        )
    } else {
        format!(
            "CREATE TRIGGER answer AFTER INSERT ON topics WHEN NEW.comment = 'ping' \
            BEGIN {answers}; END;"
        )
    });
}

/// What we commit is not all there is to it.
fn what_triggers_do_to_our_own_posts_appears(database: Database) {
    let node = Node::start(database);
    teach_to_answer(&node.database);
    let mut watched = watch(&node, "main");
    let mut expected = Vec::new();
    for round in 0..3 {
        let since = Instant::now();
        node.post("ping");
        expected.extend(["ping", "pong"]);
        await_comments(&mut watched, &expected, since);
        if node.database.is_postgres() {
            let since = Instant::now();
            // Many at once are written together, and one of them is not what was asked for.
            std::thread::scope(|scope| {
                for comment in ["gimme", "gimme", "gimme"] {
                    scope.spawn(|| node.post(comment));
                }
            });
            expected.extend(["please"; 3]);
            await_comments(&mut watched, &expected, since);
        }
        assert!(watched.mirror.comments() == expected, "round {round}");
    }
}
