//! What the owner's triggers and rules get in the way of, and how the owner finds out.

use super::{REFUSED, await_readiness, before_insert, post};
use crate::node::{Database, Node};

/// A stranger's post takes no node out of the load balancer, whatever a trigger makes of it.
#[test]
fn a_trigger_that_fails_for_one_post_is_no_outage() {
    let node = Node::start(Database::postgres());
    for (name, word, body) in [
        ("missing", "missing", "PERFORM 1 FROM no_such_table;"),
        (
            "cancelled",
            "cancelled",
            "RAISE EXCEPTION 'x' USING ERRCODE = '57014';",
        ),
        (
            "shut_down",
            "shut down",
            "RAISE EXCEPTION 'x' USING ERRCODE = '57P01';",
        ),
        ("silent", "silent", "RAISE EXCEPTION '';"),
    ] {
        before_insert(&node.database, name, word, body);
    }
    for (comment, status) in [
        ("missing", 422),
        ("cancelled", 503),
        ("shut down", 503),
        ("silent", 422),
    ] {
        for _ in 0..2 {
            let answer = post(&node, comment);
            assert_eq!(answer.status, status, "{comment}: {answer:?}");
            if status == 422 {
                assert_eq!(
                    answer.json()["detail"].as_str(),
                    Some(REFUSED),
                    "{answer:?}"
                );
            }
            assert_eq!(node.get("/readyz").status, 200, "{comment}");
        }
    }
    // The cause, which others may meet, too, is named until a post goes through.
    await_readiness(&node, 200, "degraded");
    node.post("fine");
    await_readiness(&node, 200, "\"ready\"");
}

/// The owner's functions that lack something or are wrong, with their names.
const LACKING: [(&str, &str); 7] = [
    ("no_table", "INSERT INTO no_such_table VALUES (1);"),
    ("no_schema", "PERFORM 1 FROM no_such_schema.x;"),
    ("no_column", "NEW.no_such_column := 1;"),
    ("no_function", "PERFORM no_such_function();"),
    ("no_syntax", "EXECUTE 'SELECT FROM WHERE';"),
    ("ambiguous", "PERFORM id FROM topics a, topics b;"),
    ("in_ours", "UPDATE topics SET no_such_column = 1;"),
];

/// What an owner's function lacks is no fault of the installation, even if each post meets
/// it.
#[test]
fn a_trigger_that_fails_for_every_post_refuses_each_and_is_named() {
    let node = Node::start(Database::postgres());
    for (name, body) in LACKING {
        before_insert(&node.database, name, "", body);
        for _ in 0..2 {
            let answer = post(&node, "x");
            assert_eq!(answer.status, 422, "{name}: {answer:?}");
            assert_eq!(
                answer.json()["detail"].as_str(),
                Some(REFUSED),
                "{answer:?}"
            );
        }
        await_readiness(&node, 200, &format!("{name}()"));
        node.database
            .sql(&format!("DROP TRIGGER {name} ON topics;"));
        node.post("fine");
        await_readiness(&node, 200, "\"ready\"");
    }
    // What is missing of ours is the installation's, whichever function meets it.
    before_insert(&node.database, "reads_ours", "", "PERFORM 1 FROM audit;");
    node.database.sql("ALTER TABLE audit RENAME TO away;");
    assert_eq!(post(&node, "x").status, 503);
    await_readiness(&node, 503, "incomplete");
    node.database.sql("ALTER TABLE away RENAME TO audit;");
    await_readiness(&node, 200, "ready");
    node.post("after");
}

/// In another schema the owner may call a function as one of ours is called.
#[test]
fn a_function_of_another_schema_refuses_a_post_alone() {
    let node = Node::start(Database::postgres());
    node.database.sql("CREATE SCHEMA app;");
    for body in [
        "RAISE EXCEPTION 'no spam';",
        "PERFORM 1 FROM no_such_table;",
    ] {
        node.database.sql(&format!(
            "CREATE FUNCTION app.topics_inserted() RETURNS trigger LANGUAGE plpgsql AS \
             $$ BEGIN {body} END $$; CREATE TRIGGER moderate BEFORE INSERT ON topics \
             FOR EACH ROW EXECUTE FUNCTION app.topics_inserted();"
        ));
        let answer = post(&node, "x");
        assert_eq!(answer.status, 422, "{body}: {answer:?}");
        assert_eq!(node.get("/readyz").status, 200, "{body}");
        node.database
            .sql("DROP FUNCTION app.topics_inserted() CASCADE;");
        node.post("fine");
    }
}

/// A rule takes the place of each insert, or of each stamp.
#[test]
fn a_rule_that_swallows_topics_is_named() {
    let node = Node::start(Database::postgres());
    for event in ["INSERT", "UPDATE"] {
        node.database.sql(&format!(
            "CREATE RULE swallow AS ON {event} TO topics DO INSTEAD NOTHING;"
        ));
        assert_eq!(post(&node, "x").status, 503, "{event}");
        await_readiness(&node, 503, "DROP RULE swallow ON topics");
        node.database.sql("DROP RULE swallow ON topics;");
        await_readiness(&node, 200, "ready");
        node.post("after");
    }
}

/// A trigger that was made to refuse edits refuses the stamp: each post says what to do, and so
/// does `/readyz`.
#[test]
fn a_trigger_that_refuses_the_stamp_is_named() {
    let node = Node::start(Database::postgres());
    for body in ["RETURN NULL;", "RAISE EXCEPTION 'no edits';"] {
        node.database.sql(&format!(
            "CREATE OR REPLACE FUNCTION no_edits() RETURNS trigger LANGUAGE plpgsql AS $$ \
             BEGIN {body} END $$;
             CREATE TRIGGER no_edits BEFORE UPDATE ON topics FOR EACH ROW \
             WHEN (NEW.comment <> 'fine') EXECUTE FUNCTION no_edits();"
        ));
        let detail = "let the triggers of topics pass an UPDATE that changes the revision alone";
        let answer = post(&node, "x");
        assert!(
            answer.status == 422 && answer.body.contains(detail),
            "{body} {answer:?}"
        );
        await_readiness(&node, 200, "degraded");
        await_readiness(&node, 200, "no_edits");
        node.post("fine");
        await_readiness(&node, 200, "\"ready\"");
        node.database.sql("DROP TRIGGER no_edits ON topics;");
    }
}
