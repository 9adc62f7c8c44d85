//! Every statement that takes a token from its holder ends the holder's streams, whatever program
//! runs it.

use std::time::{Duration, Instant};

use super::{bye, open, status};
use crate::node::{Database, Node};

crate::on_both!(
    a_statement_that_takes_a_token_ends_its_stream,
    a_token_that_is_taken_without_triggers_ends_its_stream_by_the_next_comparison,
);

/// Creates a board that is not read without a token, and the token 1; beside it the token 2.
fn with_a_token(node: &Node, board: &str) -> String {
    node.database.sql(&format!(
        "INSERT INTO boards (name, read) VALUES ('{board}', 'token'); DELETE FROM tokens;"
    ));
    let token = node.token(&["create", "--scope", "read"]);
    node.database.sql(
        "UPDATE tokens SET id = 1; \
         INSERT INTO tokens (id, name, digest, scope) VALUES (2, 'second', 'second', 'read');",
    );
    token
}

/// Statements that take the token 1 from its holder.
fn statements(database: &Database) -> Vec<&'static str> {
    let mut statements = vec![
        "UPDATE tokens SET digest = 'another' WHERE id = 1;",
        "UPDATE tokens SET revoked_at = CURRENT_TIMESTAMP WHERE id = 1;",
        "UPDATE tokens SET expires_at = '2001-01-01 00:00:00' WHERE id = 1;",
        "UPDATE tokens SET board_id = 1 WHERE id = 1;",
        "UPDATE tokens SET id = 77 WHERE id = 1; UPDATE tokens SET digest = 'another' WHERE id = 77;",
        "DELETE FROM tokens WHERE id = 1;",
        "DELETE FROM tokens WHERE id = 1; \
         INSERT INTO tokens (id, name, digest, scope) VALUES (1, 'other', 'another', 'admin');",
        "DELETE FROM boards WHERE name LIKE 'secret%';",
    ];
    if database.is_postgres() {
        statements.push("TRUNCATE tokens CASCADE;");
        statements.push(
            "SET session_replication_role = replica; \
             UPDATE tokens SET digest = 'another' WHERE id = 1;",
        );
        statements.push("SET session_replication_role = replica; TRUNCATE tokens CASCADE;");
    } else {
        statements.push(
            "REPLACE INTO tokens (id, name, digest, scope) \
             VALUES (1, 'other', 'another', 'admin');",
        );
        statements.push("DELETE FROM tokens;");
        statements.extend([
            "UPDATE OR REPLACE tokens SET id = 1 WHERE id = 2;",
            "UPDATE OR REPLACE tokens SET rowid = 1 WHERE id = 2;",
            "UPDATE OR REPLACE tokens SET oid = 1, name = 'other' WHERE id = 2;",
            "UPDATE OR REPLACE tokens SET _rowid_ = 3 - _rowid_ WHERE digest = 'second';",
        ]);
    }
    statements
}

fn a_statement_that_takes_a_token_ends_its_stream(database: Database) {
    let node = Node::start(database);
    for (n, statement) in statements(&node.database).into_iter().enumerate() {
        let board = format!("secret{n}");
        let stream = format!("/b/{board}/stream");
        let token = with_a_token(&node, &board);
        let mut reader = open(&node, &stream, &token);
        reader.event();
        let began = Instant::now();
        node.database.sql(statement);
        let reason = bye(&mut reader);
        assert!(
            matches!(reason.as_str(), "auth" | "gone"),
            "{statement}: {reason}"
        );
        let took = began.elapsed();
        assert!(took < Duration::from_secs(3), "{statement}: {took:?}");
        let status = status(&node, &stream, Some(&token));
        assert!(matches!(status, 401 | 403 | 404), "{statement}: {status}");
    }
}

/// Nothing is logged then.
fn a_token_that_is_taken_without_triggers_ends_its_stream_by_the_next_comparison(
    database: Database,
) {
    let node = Node::start_with(database, &[("HISTORY__RECONCILE_S", "1")]);
    let token = with_a_token(&node, "secret");
    let mut stream = open(&node, "/b/secret/stream", &token);
    stream.event();
    node.database.sql(if node.database.is_postgres() {
        "BEGIN; ALTER TABLE tokens DISABLE TRIGGER ALL; \
         UPDATE tokens SET revoked_at = now(); COMMIT;"
    } else {
        "BEGIN; DROP TRIGGER tokens_updated; \
         UPDATE tokens SET revoked_at = CURRENT_TIMESTAMP; COMMIT;"
    });
    assert_eq!(bye(&mut stream), "auth");
}
