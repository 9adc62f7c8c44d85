//! Values that no program can read, in each column of each table, as they are after a constraint
//! was off for a while: they darken the row, the token or the board that they are in, and nothing
//! else.

mod end_of_time;
mod paging;
mod story;

use std::{
    io::{BufReader, Write as _},
    time::Instant,
};

use crate::{node::Database, wire};
use story::{
    ColumnKind::{Flag, Number, Text, Time},
    PATIENCE, POSTGRES_NUMBERS, POSTGRES_TEXTS, POSTGRES_TIMES, ROWS, SQLITE_VALUES, Story,
    corrupt_all, rows,
};

crate::on_both!(
    of_topics,
    of_boards,
    of_tokens,
    of_a_token_that_is_used,
    of_tickets,
    of_a_ticket_that_is_used,
    of_browser_sessions,
    of_idempotency_keys,
    of_the_audit,
    of_deleted_topics,
    of_the_log,
    of_the_identity
);

fn of_topics(database: Database) {
    let mut story = Story::new(database);
    story.database.sql(&rows(
        "INSERT INTO topics (board_id, comment, author) SELECT id, 'c{n}', 'victim{n}' FROM boards \
         WHERE name = 'victim'",
    ));
    let columns = [
        ("comment", Text),
        ("created_at", Time),
        ("updated_at", Time),
        ("edited_at", Time),
        ("archived", Flag),
        ("revision", Number),
        ("board_id", Number),
        ("id", Number),
    ];
    corrupt_all(&mut story, "topics", &columns, |n| {
        format!("author = 'victim{n}'")
    });
    story.corrupt("topics", "author", &Text, |n| {
        format!("author = 'victim{n}'")
    });
    story.check("topics.author");
}

fn of_boards(database: Database) {
    let mut story = Story::new(database);
    story.database.sql(&rows(
        "INSERT INTO boards (name, title) VALUES ('v{n}', 'victim{n}')",
    ));
    let columns = [
        ("created_at", Time),
        ("read", Text),
        ("post", Text),
        ("name", Text),
        ("id", Number),
    ];
    corrupt_all(&mut story, "boards", &columns, |n| {
        format!("title = 'victim{n}'")
    });
    story.corrupt("boards", "title", &Text, |n| format!("title = 'victim{n}'"));
    story.check("boards.title");
}

fn of_tokens(database: Database) {
    let mut story = Story::new(database);
    // Those of the story itself stay as they are.
    let mine = story
        .node
        .token(&["create", "--scope", "read", "--name", "mine"]);
    story.database.sql(&rows(
        "INSERT INTO tokens (name, digest, scope) VALUES ('victim{n}', 'd{n}', 'read')",
    ));
    let columns = [
        ("created_at", Time),
        ("expires_at", Time),
        ("revoked_at", Time),
        ("last_used_at", Time),
        ("scope", Text),
        ("board_id", Number),
        ("digest", Text),
        ("id", Number),
    ];
    corrupt_all(&mut story, "tokens", &columns, |n| {
        format!("name = 'victim{n}'")
    });
    story.corrupt("tokens", "name", &Text, |n| format!("name = 'victim{n}'"));
    story.check("tokens.name");
    assert_eq!(
        story
            .node
            .send_as("GET", "/api/v1/boards", &mine, &[], "")
            .status,
        200
    );
}

fn of_a_token_that_is_used(database: Database) {
    let story = Story::new(database);
    for (column, value) in [
        ("scope", "'emperor'"),
        ("expires_at", "'someday'"),
        ("revoked_at", "'someday'"),
        ("board_id", "4711"),
    ] {
        // Postgres has no such time.
        if !(story.database.is_postgres() && value == "'someday'") {
            assert_damaged_token_allows_nothing(&story, column, value);
        }
    }
}

/// A token whose own values cannot be understood allows nothing, rather than everything.
fn assert_damaged_token_allows_nothing(story: &Story, column: &str, value: &str) {
    const TOKENS: &str = "/api/v1/tokens";
    let node = &story.node;
    let token = node.token(&["create", "--scope", "admin", "--name", "damaged"]);
    assert_eq!(node.send_as("GET", TOKENS, &token, &[], "").status, 200);
    story.database.sql(&format!(
        "UPDATE tokens SET {column} = {value} WHERE name = 'damaged';"
    ));
    let deadline = Instant::now() + PATIENCE;
    while node.send_as("GET", TOKENS, &token, &[], "").status == 200 {
        assert!(
            Instant::now() < deadline,
            "a token with {column} = {value} is good"
        );
    }
    story
        .database
        .sql("DELETE FROM tokens WHERE name = 'damaged';");
}

fn of_tickets(database: Database) {
    let mut story = Story::new(database);
    story.database.sql(&rows(
        "INSERT INTO tickets (digest, token_id, board_id) VALUES ('d{n}', 1, 1)",
    ));
    let columns = [
        ("made_at", Time),
        ("used_at", Time),
        ("token_id", Number),
        ("board_id", Number),
    ];
    corrupt_all(&mut story, "tickets", &columns, |n| {
        format!("digest = 'd{n}'")
    });
    story.corrupt("tickets", "digest", &Text, |n| format!("digest = 'd{n}'"));
    story.check("tickets.digest");
}

/// A client that shows such a ticket is let in or not, and that is all.
fn of_a_ticket_that_is_used(database: Database) {
    let story = Story::new(database);
    let (times, numbers) = if story.database.is_postgres() {
        (POSTGRES_TIMES, POSTGRES_NUMBERS)
    } else {
        (SQLITE_VALUES, SQLITE_VALUES)
    };
    for (column, values) in [
        ("made_at", times),
        ("used_at", times),
        ("token_id", numbers),
    ] {
        for value in values {
            let status = status_with_damaged_ticket(&story, column, value);
            assert!(status < 500, "tickets.{column} = {value}: {status}");
        }
    }
}

/// Opens a stream with a ticket of which one value was changed. Returns the status.
fn status_with_damaged_ticket(story: &Story, column: &str, value: &str) -> u16 {
    let board = r#"{"board":"main"}"#;
    let made = story
        .node
        .send_as("POST", "/api/v1/tickets", &story.admin, &[], board);
    let path = format!("/b/main/stream?ticket={}", made.text("ticket"));
    story
        .database
        .sql(&format!("UPDATE tickets SET {column} = {value};"));
    let mut stream = wire::connect(story.node.address);
    stream
        .write_all(&wire::message("GET", &path, &[], b""))
        .expect("sent");
    let (status, _) = wire::read_head(&mut BufReader::new(stream));
    story.database.sql("DELETE FROM tickets;");
    status
}

fn of_browser_sessions(database: Database) {
    let mut story = Story::new(database);
    story.database.sql(&rows(
        "INSERT INTO browser_sessions (digest, token_id, token_digest, expires_at) \
         SELECT 'd{n}', id, digest, '2099-01-01 00:00:00' FROM tokens WHERE id = 1",
    ));
    let columns = [
        ("created_at", Time),
        ("expires_at", Time),
        ("last_used_at", Time),
        ("token_id", Number),
    ];
    corrupt_all(&mut story, "browser_sessions", &columns, |n| {
        format!("digest = 'd{n}'")
    });
    let listed = story
        .node
        .send_as("GET", "/api/v1/sessions", &story.admin, &[], "");
    assert_eq!(listed.status, 200, "{listed:?}");
    for column in ["token_digest", "digest"] {
        story.corrupt("browser_sessions", column, &Text, |n| {
            format!("digest = 'd{n}'")
        });
    }
    story.check("browser_sessions.digest");
}

fn of_idempotency_keys(database: Database) {
    let mut story = Story::new(database);
    story.database.sql(&rows(
        "INSERT INTO idempotency (board_id, key, request, topic_id) VALUES (1, 'k{n}', 'r', 1)",
    ));
    let columns = [("request", Text), ("topic_id", Number), ("used_at", Time)];
    corrupt_all(&mut story, "idempotency", &columns, |n| {
        format!("key = 'k{n}'")
    });
    // A client that uses the key is answered for good, and alone.
    for n in 0..ROWS {
        let (key, body) = (format!("\"k{n}\""), r#"{"comment":"again"}"#);
        let headers = [("Idempotency-Key", key.as_str())];
        let answer = story.node.send_as(
            "POST",
            "/api/v1/boards/main/topics",
            &story.admin,
            &headers,
            body,
        );
        assert!(
            answer.status < 500,
            "k{n}: {} {}",
            answer.status,
            answer.body
        );
    }
    story.corrupt("idempotency", "key", &Text, |n| format!("key = 'k{n}'"));
    story.check("idempotency.key");
}

fn of_the_audit(database: Database) {
    let mut story = Story::new(database);
    story.database.sql(&rows(
        "INSERT INTO audit (actor, action, subject) VALUES ('ann', 'victim{n}', 1)",
    ));
    let columns = [
        ("at", Time),
        ("actor", Text),
        ("token_id", Number),
        ("board", Text),
        ("subject", Number),
    ];
    corrupt_all(&mut story, "audit", &columns, |n| {
        format!("action = 'victim{n}'")
    });
    story.corrupt("audit", "action", &Text, |n| {
        format!("action = 'victim{n}'")
    });
    story.check("audit.action");
}

fn of_deleted_topics(database: Database) {
    let mut story = Story::new(database);
    story.database.sql(&rows(
        "INSERT INTO deleted_topics (id, board_id, comment, author, created_at, updated_at, \
         archived)
         SELECT 1000 + {n}, boards.id, 'gone', 'victim{n}', boards.created_at, boards.created_at, \
         archived
         FROM boards, topics WHERE name = 'victim' LIMIT 1",
    ));
    let columns = [
        ("comment", Text),
        ("created_at", Time),
        ("updated_at", Time),
        ("edited_at", Time),
        ("deleted_at", Time),
    ];
    corrupt_all(&mut story, "deleted_topics", &columns, |n| {
        format!("id = 1000 + {n}")
    });
    for n in 0..ROWS {
        let path = format!("/api/v1/boards/victim/topics/{}/restore", 1000 + n);
        let answer = story.node.send_as("POST", &path, &story.admin, &[], "");
        assert!(
            answer.status < 500,
            "restore {n}: {} {}",
            answer.status,
            answer.body
        );
    }
    story.check("restored topics");
}

fn of_the_log(database: Database) {
    let mut story = Story::new(database);
    for _ in 0..ROWS {
        story.database.sql(
            "INSERT INTO topics (board_id, comment) SELECT id, 'c' FROM boards \
            WHERE name = 'victim';",
        );
    }
    let columns = [
        ("at", Time),
        ("kind", Text),
        ("topic_id", Number),
        ("revision", Number),
        ("board_id", Number),
    ];
    let row = "(SELECT id FROM changes WHERE board_id = (SELECT id FROM boards \
        WHERE name = 'victim') ORDER BY id LIMIT 1 OFFSET";
    corrupt_all(&mut story, "changes", &columns, |n| {
        format!("id = {row} {n})")
    });
    if !story.database.is_postgres() {
        for column in ["newest", "batch", "archiving"] {
            for value in SQLITE_VALUES {
                story
                    .database
                    .sql(&format!("UPDATE revisions SET {column} = {value};"));
                story.check_now(&format!("revisions.{column} = {value}"));
            }
            story.check(&format!("revisions.{column}"));
        }
    }
}

fn of_the_identity(database: Database) {
    let mut story = Story::new(database);
    for key in ["epoch", "mark", "trimmed_to"] {
        for value in if story.database.is_postgres() {
            POSTGRES_TEXTS
        } else {
            SQLITE_VALUES
        } {
            story.database.sql(&format!(
                "DELETE FROM identity WHERE key = '{key}'; INSERT INTO identity (key, value) \
                 VALUES ('{key}', {value});"
            ));
            story.check_now(&format!("identity.{key} = {value}"));
        }
        story.check(&format!("identity.{key}"));
    }
}
