//! What draws no revision, because triggers are off, is not acknowledged.

use super::{TOPICS, await_readiness, post, shown};
use crate::node::{Database, Node};

crate::on_both!(
    a_post_that_draws_no_revision_is_rolled_back,
    an_edit_that_draws_no_revision_is_rolled_back,
);

/// A post that no reader would be shown is not acknowledged.
fn a_post_that_draws_no_revision_is_rolled_back(database: Database) {
    let node = Node::start(database);
    node.post("before");
    let (off, on) = if node.database.is_postgres() {
        (
            "ALTER TABLE topics DISABLE TRIGGER USER;".to_owned(),
            "ALTER TABLE topics ENABLE TRIGGER USER;".to_owned(),
        )
    } else {
        let text = node
            .database
            .sql("SELECT sql FROM sqlite_schema WHERE name = 'topics_inserted';");
        (
            "DROP TRIGGER topics_inserted;".to_owned(),
            format!("{text};"),
        )
    };
    node.database.sql(&off);
    let answer = post(&node, "unseen");
    assert_eq!(answer.status, 503, "{answer:?}");
    assert_eq!(
        node.database
            .sql("SELECT count(*) FROM topics WHERE comment = 'unseen';"),
        "0"
    );
    await_readiness(&node, 503, "triggers");
    node.database.sql(&on);
    await_readiness(&node, 200, "ready");
    node.post("after");
    assert_eq!(shown(&node), ["before", "after"]);
}

/// Nor is an edit: the old text would stay where it is read, and a board that was made private
/// open.
fn an_edit_that_draws_no_revision_is_rolled_back(database: Database) {
    let node = Node::start(database);
    let token = node.token(&["create", "--scope", "admin", "--name", "ann"]);
    let topic = format!("{TOPICS}/{}", node.post("before"));
    let edits = [
        (
            topic.as_str(),
            r#"{"comment":"unseen"}"#,
            r#"{"comment":"before"}"#,
            ("topics", "topics_updated", "topics_updated"),
        ),
        (
            "/api/v1/boards/main",
            r#"{"read":"token"}"#,
            r#"{"read":"open"}"#,
            ("boards", "boards_changed", "boards_updated"),
        ),
    ];
    for (path, edit, as_it_is, (table, on_postgres, on_sqlite)) in edits {
        let (off, on) = if node.database.is_postgres() {
            (
                format!("ALTER TABLE {table} DISABLE TRIGGER {on_postgres};"),
                format!("ALTER TABLE {table} ENABLE TRIGGER {on_postgres};"),
            )
        } else {
            let text = node.database.sql(&format!(
                "SELECT sql FROM sqlite_schema WHERE name = '{on_sqlite}';"
            ));
            (format!("DROP TRIGGER {on_sqlite};"), format!("{text};"))
        };
        node.database.sql(&off);
        let answer = node.send_as("PATCH", path, &token, &[], edit);
        assert_eq!(answer.status, 503, "{answer:?}");
        await_readiness(&node, 503, "triggers");
        let answer = node.send_as("PATCH", path, &token, &[], as_it_is);
        assert_eq!(answer.status, 200, "nothing is changed: {answer:?}");
        assert_eq!(shown(&node), ["before"]);
        node.database.sql(&on);
        await_readiness(&node, 200, "ready");
    }
}
