//! What an owner's trigger, or a write behind it, takes away again within the transaction.

use std::thread;

use super::{among_neighbours, shown};
use crate::node::{Database, Node};

crate::on_both!(
    a_post_that_a_trigger_replaces_is_refused_as_a_whole,
    a_post_that_a_trigger_moves_is_refused_and_moved,
    a_post_and_the_end_of_its_board_are_answered_by_what_each_did,
);

/// Lets a trigger run `body` after each insert of a topic whose comment is `word`.
fn after_insert(database: &Database, name: &str, word: &str, body: &str) {
    database.sql(&if database.is_postgres() {
        format!(
            "CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS
             $$ BEGIN {body} RETURN NULL; END $$;
             CREATE TRIGGER {name} AFTER INSERT ON topics FOR EACH ROW
             WHEN (NEW.comment = '{word}') EXECUTE FUNCTION {name}();"
        )
    } else {
        format!(
            "CREATE TRIGGER {name} AFTER INSERT ON topics WHEN NEW.comment = '{word}'
             BEGIN {body} END;"
        )
    });
}

/// A trigger that renumbers or replaces a row: the refused post is nowhere, under no id.
fn a_post_that_a_trigger_replaces_is_refused_as_a_whole(database: Database) {
    let node = Node::start(database);
    after_insert(
        &node.database,
        "renumber",
        "renumber",
        "UPDATE topics SET id = NEW.id + 1000 WHERE id = NEW.id;",
    );
    after_insert(
        &node.database,
        "copy",
        "copy",
        "DELETE FROM topics WHERE id = NEW.id;
         INSERT INTO topics (board_id, comment) VALUES (NEW.board_id, 'a copy');",
    );
    let why = Some("a trigger put another row in place of the topic");
    among_neighbours(&node, "renumber", 422, "refused", why);
    among_neighbours(&node, "copy", 422, "refused", why);
    if node.database.is_postgres() {
        // More than the log names one by one.
        after_insert(
            &node.database,
            "crowd",
            "crowd",
            "DELETE FROM topics WHERE id = NEW.id;
             INSERT INTO topics (board_id, comment)
             SELECT NEW.board_id, 'a copy' FROM generate_series(1, 2100);",
        );
        among_neighbours(&node, "crowd", 422, "refused", why);
    }
    let comments = shown(&node);
    assert!(
        comments.iter().all(|comment| comment.starts_with("good")),
        "{comments:?}"
    );
}

/// A trigger that keeps what it refuses, for a moderator.
fn a_post_that_a_trigger_moves_is_refused_and_moved(database: Database) {
    let node = Node::start(database);
    node.database.sql("CREATE TABLE waiting (comment TEXT);");
    after_insert(
        &node.database,
        "moderate",
        "spam",
        "INSERT INTO waiting VALUES (NEW.comment); DELETE FROM topics WHERE id = NEW.id;",
    );
    among_neighbours(&node, "spam", 422, "refused", None);
    let waiting = node.database.sql("SELECT count(*) FROM waiting;");
    assert_eq!(waiting.trim(), "2");
}

/// However the two fall into groups, a post is 201 or 404, and never refused.
fn a_post_and_the_end_of_its_board_are_answered_by_what_each_did(database: Database) {
    let node = Node::start(database);
    let token = node.token(&["create", "--scope", "admin"]);
    for round in 0..12 {
        let board = format!("short{round}");
        node.database
            .sql(&format!("INSERT INTO boards (name) VALUES ('{board}');"));
        let path = format!("/api/v1/boards/{board}");
        let posts: Vec<_> = thread::scope(|scope| {
            let posts: Vec<_> = (0..8)
                .map(|n| {
                    let (node, path) = (&node, format!("{path}/topics"));
                    scope.spawn(move || {
                        let body = serde_json::json!({ "comment": format!("post {n}") });
                        node.send("POST", &path, "application/json", body.to_string())
                    })
                })
                .collect();
            let ended = node.send_as("DELETE", &path, &token, &[], "");
            assert_eq!(ended.status, 204, "{}", ended.body);
            posts
                .into_iter()
                .map(|post| post.join().expect("an answer"))
                .collect()
        });
        for post in posts {
            assert!(matches!(post.status, 201 | 404), "{}", post.body);
        }
    }
}
