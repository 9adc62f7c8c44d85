//! What the database refuses is refused to that write alone; what it cannot do now is no refusal.

mod administrators;
mod outages;
mod own_tables;
mod owners;
mod replaced;
mod roles;
mod unlogged;

use std::{
    thread,
    time::{Duration, Instant},
};

use crate::{
    node::{Database, Node},
    wire::Answer,
};

crate::on_both!(
    a_moderating_trigger_refuses_one_post_and_no_other,
    a_spammer_costs_the_neighbours_nothing,
    a_dropped_row_is_refused,
    a_post_that_a_trigger_archives_is_shown_nowhere,
    a_constraint_that_fails_at_the_commit_refuses_its_row_alone,
    text_that_cannot_be_searched_for_is_refused,
);

const TOPICS: &str = "/api/v1/boards/main/topics";

pub(crate) fn post(node: &Node, comment: &str) -> Answer {
    node.send(
        "POST",
        TOPICS,
        "application/json",
        serde_json::json!({ "comment": comment }).to_string(),
    )
}

/// Posts everything at once. Returns the answers in the same order.
fn post_together(node: &Node, comments: &[String]) -> Vec<Answer> {
    thread::scope(|scope| {
        let posts: Vec<_> = comments
            .iter()
            .map(|comment| scope.spawn(move || post(node, comment)))
            .collect();
        posts
            .into_iter()
            .map(|post| post.join().expect("an answer"))
            .collect()
    })
}

pub(crate) fn shown(node: &Node) -> Vec<String> {
    let list = node.get(TOPICS).json();
    let topics = list["topics"].as_array().expect("topics").iter();
    topics
        .map(|topic| topic["comment"].as_str().expect("a comment").to_owned())
        .collect()
}

/// One bad post among good ones, a few times: the good ones are all written and shown, the bad one
/// is answered like this.
fn among_neighbours(node: &Node, bad: &str, status: u16, code: &str, detail: Option<&str>) {
    for round in 0..2 {
        let comments: Vec<_> = (0..8)
            .map(|n| {
                if n == 3 {
                    bad.to_owned()
                } else {
                    format!("good {round} {n} beside {bad}")
                }
            })
            .collect();
        for (comment, answer) in comments.iter().zip(post_together(node, &comments)) {
            if comment != bad {
                assert_eq!(answer.status, 201, "{comment}: {answer:?}");
                continue;
            }
            assert_eq!(
                (answer.status, answer.json()["code"].as_str()),
                (status, Some(code)),
                "{comment}: {answer:?}"
            );
            if let Some(detail) = detail {
                assert_eq!(answer.json()["detail"].as_str(), Some(detail), "{answer:?}");
            }
        }
        let shown = shown(node);
        for comment in comments {
            assert_eq!(
                shown.iter().filter(|there| **there == comment).count(),
                usize::from(comment != bad),
                "{comment}"
            );
        }
    }
}

/// Until `/readyz` says this.
pub(crate) fn await_readiness(node: &Node, status: u16, part: &str) {
    let end = Instant::now() + Duration::from_secs(8);
    loop {
        let answer = node.get("/readyz");
        let text = &answer.body;
        if answer.status == status && text.contains(part) {
            return;
        }
        assert!(Instant::now() < end, "{} {text}", answer.status);
        thread::park_timeout(Duration::from_millis(50));
    }
}

/// Lets a trigger run `body` before each insert of a topic whose comment begins with `word`.
fn before_insert(database: &Database, name: &str, word: &str, body: &str) {
    database.sql(&if database.is_postgres() {
        format!(
            "CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$ \
             BEGIN {body} RETURN NEW; END $$;
             CREATE TRIGGER {name} BEFORE INSERT ON topics FOR EACH ROW \
             WHEN (NEW.comment LIKE '{word}%') EXECUTE FUNCTION {name}();"
        )
    } else {
        format!(
            "CREATE TRIGGER {name} BEFORE INSERT ON topics WHEN NEW.comment LIKE '{word}%' \
            BEGIN {body} END;"
        )
    });
}

/// Others that are in the way for a moment cost no post.
#[test]
fn a_conflict_that_passes_is_tried_again() {
    let node = Node::start(Database::postgres());
    node.database.sql("CREATE SEQUENCE tries;");
    before_insert(
        &node.database,
        "conflict",
        "in the way",
        "IF nextval('tries') % 2 = 1 THEN RAISE EXCEPTION 'later' USING ERRCODE = '40001'; END IF;",
    );
    for n in 0..4 {
        let answer = post(&node, &format!("in the way {n}"));
        assert_eq!(answer.status, 201, "{n}: {answer:?}");
    }
    let tries = node.database.sql("SELECT last_value FROM tries;");
    assert!(tries.contains('8'), "each was tried twice: {tries}");
}

/// Every class of SQLSTATE, as an owner's trigger raises it.
#[test]
fn every_class_of_sqlstate_is_answered_as_what_it_is() {
    let node = Node::start(Database::postgres());
    before_insert(
        &node.database,
        "raise_it",
        "raise ",
        "RAISE EXCEPTION 'not this' USING ERRCODE = substr(NEW.comment, 7, 5);",
    );
    let refused = [
        "09000", "20000", "21000", "22000", "22001", "22P02", "23000", "23001", "23502", "23503",
        "23505", "23514", "23P01", "27000", "2F005", "38000", "39000", "44000", "54000", "54001",
        "P0000", "P0002", "P0003", "P0004", "0P000", "2B000", "34000", "42501", "42601", "42703",
        "42883", "42P01", "F0000",
    ];
    for state in refused {
        among_neighbours(
            &node,
            &format!("raise {state}"),
            422,
            "refused",
            Some(REFUSED),
        );
    }
    // The owner's own words, under the code of RAISE and codes of their own.
    for state in ["P0001", "KB001", "U0001", "72000", "P1000"] {
        among_neighbours(
            &node,
            &format!("raise {state}"),
            422,
            "refused",
            Some("not this"),
        );
    }
    let again = [
        "08000", "08001", "08003", "08006", "0A000", "2200H", "25000", "25006", "28000", "40001",
        "40P01", "53000", "53100", "53200", "53300", "55000", "55006", "55P03", "57014", "57P01",
        "57P03", "58000", "58030", "HV000", "XX000", "XX001",
    ];
    for state in again {
        among_neighbours(&node, &format!("raise {state}"), 503, "unavailable", None);
    }
}

/// The detail of a refusal for which the owner's trigger raised no message of its own.
const REFUSED: &str = "the database refuses this; sending it again will not help";

/// The languages of a trigger's ways to refuse a row.
fn a_moderating_trigger_refuses_one_post_and_no_other(database: Database) {
    let node = Node::start(database);
    if node.database.is_postgres() {
        assert_triggers_of_postgres_refuse(&node);
    } else {
        assert_raise_of_sqlite_refuses(&node);
        assert_constraints_of_another_table_refuse(&node);
    }
    await_readiness(&node, 200, "ready");
}

fn assert_triggers_of_postgres_refuse(node: &Node) {
    before_insert(
        &node.database,
        "moderate",
        "spam",
        "RAISE EXCEPTION 'no advertisements, %', NEW.author;",
    );
    before_insert(
        &node.database,
        "cast_it",
        "cast",
        "PERFORM NEW.comment::int;",
    );
    among_neighbours(node, "spam", 422, "refused", Some("no advertisements, "));
    among_neighbours(node, "cast", 422, "refused", Some(REFUSED));
    node.database.sql(
        "ALTER TABLE topics ADD CONSTRAINT my_revision_range CHECK (comment NOT LIKE 'dirt%');",
    );
    among_neighbours(node, "dirt", 422, "refused", None);
}

fn assert_raise_of_sqlite_refuses(node: &Node) {
    for action in ["ABORT", "FAIL", "ROLLBACK"] {
        before_insert(
            &node.database,
            &action.to_lowercase(),
            action,
            &format!("SELECT RAISE({action}, 'not ''this''');"),
        );
        among_neighbours(node, action, 422, "refused", Some("not 'this'"));
    }
}

/// Triggers of SQLite that write into a table which takes no such value.
fn assert_constraints_of_another_table_refuse(node: &Node) {
    node.database.sql(
        "CREATE TABLE once (word TEXT NOT NULL PRIMARY KEY CHECK (word <> 'check me')) STRICT;
         INSERT INTO once VALUES ('unique');",
    );
    for (name, word, body) in [
        (
            "check_it",
            "check",
            "INSERT INTO once VALUES (NEW.comment);",
        ),
        ("null_it", "null", "INSERT INTO once VALUES (NULL);"),
        ("type_it", "type", "INSERT INTO once VALUES (x'00');"),
        ("json_it", "json", "SELECT json(NEW.comment);"),
        (
            "unique_it",
            "unique",
            "INSERT INTO once VALUES (NEW.comment);",
        ),
    ] {
        before_insert(&node.database, name, word, body);
    }
    for bad in ["check me", "null", "type", "json", "unique"] {
        among_neighbours(node, bad, 422, "refused", Some(REFUSED));
    }
}

/// One of four posters is always refused: the other three do not notice.
fn a_spammer_costs_the_neighbours_nothing(database: Database) {
    let node = Node::start(database);
    let body = if node.database.is_postgres() {
        "RAISE EXCEPTION 'no';"
    } else {
        "SELECT RAISE(ABORT, 'no');"
    };
    before_insert(&node.database, "moderate", "spam", body);
    thread::scope(|scope| {
        for poster in 0..4 {
            let node = &node;
            scope.spawn(move || {
                for n in 0..20 {
                    let (comment, expected) = if poster == 0 {
                        ("spam".to_owned(), 422)
                    } else {
                        (format!("{poster}-{n}"), 201)
                    };
                    let answer = post(node, &comment);
                    assert_eq!(answer.status, expected, "{comment}: {answer:?}");
                }
            });
        }
    });
    let shown = shown(&node);
    assert_eq!(shown.len(), 60);
    assert!((1..4).all(|poster| (0..20).all(|n| shown.contains(&format!("{poster}-{n}")))));
}

fn a_dropped_row_is_refused(database: Database) {
    let node = Node::start(database);
    let body = if node.database.is_postgres() {
        "RETURN NULL;"
    } else {
        "SELECT RAISE(IGNORE);"
    };
    before_insert(&node.database, "drop_it", "drop", body);
    among_neighbours(&node, "drop me", 422, "refused", None);
    // And one that goes again as soon as it is there.
    node.database.sql(&if node.database.is_postgres() {
        "CREATE FUNCTION take() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN DELETE FROM topics \
         WHERE id = NEW.id; RETURN NULL; END $$;
         CREATE TRIGGER take AFTER INSERT ON topics FOR EACH ROW WHEN (NEW.comment = 'take me') \
         EXECUTE FUNCTION take();"
            .to_owned()
    } else {
        "CREATE TRIGGER take AFTER INSERT ON topics WHEN NEW.comment = 'take me' BEGIN DELETE \
         FROM topics WHERE id = NEW.id; END;"
            .to_owned()
    });
    among_neighbours(&node, "take me", 422, "refused", None);
}

/// A moderator that puts posts away at once: the node that took them shows what every other one
/// shows.
fn a_post_that_a_trigger_archives_is_shown_nowhere(database: Database) {
    let node = Node::start(database);
    // One server for a SQLite file.
    let other = node.database.is_postgres().then(|| node.sibling());
    if node.database.is_postgres() {
        before_insert(&node.database, "put_away", "spam", "NEW.archived := true;");
    } else {
        let put_away = "CREATE TRIGGER put_away AFTER INSERT ON topics \
            WHEN NEW.comment LIKE 'spam%' BEGIN \
            UPDATE topics SET archived = 1 WHERE id = NEW.id; END;";
        node.database.sql(put_away);
    }
    let mut stream = node.stream("/b/main/stream?format=list");
    assert_eq!(stream.event().json()["contents"], serde_json::json!([]));
    assert_eq!(post(&node, "spam").status, 201);
    let id = node.post("fine");
    for node in std::iter::once(&node).chain(&other) {
        assert_eq!(shown(node), ["fine"]);
    }
    let contents = serde_json::json!([{ "id": id, "comment": "fine" }]);
    while stream.event().json()["contents"] != contents {}
}

fn a_constraint_that_fails_at_the_commit_refuses_its_row_alone(database: Database) {
    let node = Node::start(database);
    if node.database.is_postgres() {
        node.database.sql(
            "CREATE FUNCTION late() RETURNS trigger LANGUAGE plpgsql AS $$ \
             BEGIN RAISE EXCEPTION 'too late'; END $$;
             CREATE CONSTRAINT TRIGGER late AFTER INSERT ON topics DEFERRABLE INITIALLY DEFERRED
                 FOR EACH ROW WHEN (NEW.comment = 'late') EXECUTE FUNCTION late();",
        );
        among_neighbours(&node, "late", 422, "refused", Some("too late"));
    } else {
        node.database.sql(
            "CREATE TABLE known (word TEXT PRIMARY KEY);
             CREATE TABLE said (word TEXT REFERENCES known DEFERRABLE INITIALLY DEFERRED);",
        );
        before_insert(
            &node.database,
            "say",
            "late",
            "INSERT INTO said VALUES (NEW.comment);",
        );
        among_neighbours(&node, "late", 422, "refused", None);
    }
}

fn text_that_cannot_be_searched_for_is_refused(database: Database) {
    // Otherwise the longest is refused as a query, before it is read.
    let node = Node::start_with(database, &[("LIMITS__QUERY_BYTES_MAX", "100000")]);
    node.post("a");
    let long = "x".repeat(50_000);
    for wrong in ["%00", "a%00b", &"x".repeat(201), &long] {
        let answer = node.get(&format!("{TOPICS}?q={wrong}"));
        assert_eq!(
            (answer.status, answer.json()["path"].as_str()),
            (400, Some("q")),
            "{wrong:.9}: {answer:?}"
        );
    }
    let found = node.get(&format!("{TOPICS}?q={}", "%25".repeat(200)));
    assert_eq!(
        (
            found.status,
            found.json()["topics"].as_array().map(Vec::len)
        ),
        (200, Some(0))
    );
}
