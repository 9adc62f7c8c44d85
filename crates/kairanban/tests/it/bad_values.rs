//! Values that nobody can read, in each column of each table, as they are after a constraint was off for a while: they darken
//! the row, the token or the board that they are in, and nothing else.

use std::{
    io::{BufReader, Write as _},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use crate::{
    node::{Database, Node},
    wire,
};

crate::on_both!(
    of_topics,
    of_boards,
    of_tokens,
    of_tickets,
    of_idempotency_keys,
    of_the_audit,
    of_deleted_topics,
    of_the_log,
    of_the_identity
);

/// Rows of each table that hold something bad.
const ROWS: usize = 14;
const PATIENCE: Duration = Duration::from_secs(10);

/// What each type is given, one row each.
const SQLITE_VALUES: [&str; ROWS] = [
    "'someday'",
    "'2024-02-30 00:00:00'",
    "'2024-01-01 24:00:00'",
    "CAST(CAST('2024-01-01 00:00:00' AS BLOB) || x'0041' AS TEXT)",
    "'2024-01-01 00:00:00.'",
    "'20000-01-01 00:00:00'",
    "''",
    "CAST(x'ff00fe' AS TEXT)",
    "x'ff00fe'",
    "-1",
    "9007199254740992",
    "9223372036854775807",
    "1.5e300",
    "NULL",
];
const POSTGRES_TIMES: [&str; ROWS] = [
    "'infinity'",
    "'-infinity'",
    "'294276-12-31 23:59:59.999999'",
    "'200000-01-01'",
    "'10000-01-01'",
    "'4713-01-01 BC'",
    "'0001-12-31 BC'",
    "NULL",
    "'infinity'",
    "'-infinity'",
    "'infinity'",
    "NULL",
    "'-infinity'",
    "'infinity'",
];
const POSTGRES_TEXTS: [&str; ROWS] = [
    "''",
    "'Not A Name'",
    "E'\\x01'",
    "repeat('x', 100000)",
    "U&'\\+01F38F'",
    "E'a\\nb'",
    "'-1'",
    "NULL",
    "'99999999999999999999'",
    "E'\\u202e'",
    "'/'",
    "'<script>'",
    "'main '",
    "'none'",
];
const POSTGRES_NUMBERS: [&str; ROWS] = [
    "-1",
    "0",
    "9007199254740992",
    "9223372036854775807",
    "-9223372036854775808",
    "NULL",
    "9007199254740993",
    "-2",
    "-3",
    "9223372036854775806",
    "-4",
    "NULL",
    "-5",
    "-6",
];

enum Kind {
    Time,
    Text,
    Number,
    Flag,
}
use Kind::{Flag, Number, Text, Time};

/// A node with boards and an administrator, on a database whose constraints were taken away.
struct Story {
    node: Node,
    admin: String,
    database: Database,
    /// Posts so far.
    posts: AtomicU32,
}

impl Story {
    fn new(database: Database) -> Self {
        let node = Node::start_with(
            database.twin(),
            &[("LIMITS__POSTS_PER_CLIENT_BURST", "100000")],
        );
        let admin = node.token(&["create", "--scope", "admin", "--name", "ann"]);
        for board in ["other", "victim"] {
            let made = node.send_as(
                "POST",
                "/api/v1/boards",
                &admin,
                &[],
                &format!(r#"{{"name":"{board}"}}"#),
            );
            assert_eq!(made.status, 201);
        }
        let story = Self {
            node,
            admin,
            database,
            posts: AtomicU32::new(0),
        };
        story.database.sql(if story.database.is_postgres() {
            NO_CONSTRAINTS_POSTGRES
        } else {
            NO_CONSTRAINTS_SQLITE
        });
        story
    }

    /// Puts something bad into a column of each of the rows that `is_row` finds for a number.
    fn spoil(&self, table: &str, column: &str, kind: &Kind, is_row: impl Fn(usize) -> String) {
        let values = match kind {
            _ if !self.database.is_postgres() => SQLITE_VALUES,
            Time => POSTGRES_TIMES,
            Text => POSTGRES_TEXTS,
            Number => POSTGRES_NUMBERS,
            Flag => return,
        };
        for (n, value) in values.iter().enumerate() {
            let update = format!("UPDATE {table} SET {column} = {value} WHERE {}", is_row(n));
            // A key may not be there twice, and a trigger may refuse it: no harm then.
            let _ = self
                .database
                .try_sql(&format!("{}{update};", self.without_triggers()));
        }
    }

    fn without_triggers(&self) -> &'static str {
        if self.database.is_postgres() {
            "SET session_replication_role = replica;"
        } else {
            ""
        }
    }

    /// Everybody else goes on, now and after a restart.
    fn check(&mut self, what: &str) {
        self.check_now(what);
        self.node.kill();
        self.node.restart();
        self.check_now(&format!("{what}, after a restart"));
    }

    fn comment(&self) -> String {
        format!("post {}.", self.posts.fetch_add(1, Ordering::Relaxed))
    }

    fn check_now(&self, what: &str) {
        for board in ["main", "other"] {
            let said = self.comment();
            let topics = format!("/api/v1/boards/{board}/topics");
            let body = serde_json::json!({ "comment": said }).to_string();
            let posted = self.node.send("POST", &topics, "application/json", &body);
            assert_eq!(posted.status, 201, "{what}: {}", posted.body);
            assert!(
                self.node.get(&topics).body.contains(&said),
                "{what}: a post on {board} is not shown"
            );
        }
        let said = self.comment();
        self.database
            .sql(&format!("INSERT INTO topics (board_id, comment) SELECT id, '{said}' FROM boards WHERE name = 'main';"));
        let deadline = Instant::now() + PATIENCE;
        while !self.node.get("/").body.contains(&said) {
            assert!(
                Instant::now() < deadline,
                "{what}: what another program put in is not shown"
            );
        }
        for path in [
            "/",
            "/b/other",
            "/b/main/feed.xml",
            "/readyz",
            "/api/v1/boards",
        ] {
            assert_eq!(self.node.get(path).status, 200, "{what}: {path}");
        }
        for path in ["/api/v1/tokens", "/api/v1/audit"] {
            let answer = self.node.send_as("GET", path, &self.admin, &[], "");
            assert_eq!(answer.status, 200, "{what}: {path}: {}", answer.body);
        }
        let victim = self.node.get("/api/v1/boards/victim/topics");
        assert!(
            victim.status < 500,
            "{what}: the board itself: {}",
            victim.body
        );
    }
}

const NO_CONSTRAINTS_SQLITE: &str = "PRAGMA writable_schema = ON;
    UPDATE sqlite_master SET sql = replace(replace(replace(replace(sql, 'NOT NULL ON CONFLICT REPLACE', ''), 'NOT NULL', ''),
        'CHECK (', 'CHECK (1 OR '), ') STRICT', ')') WHERE type = 'table' AND name NOT LIKE 'sqlite%' AND name NOT LIKE '\\_\\_%' ESCAPE '\\';
    PRAGMA writable_schema = RESET;
    DROP TRIGGER topics_stamp_kept;
    DROP TRIGGER IF EXISTS boards_renamed_as_text;";
const NO_CONSTRAINTS_POSTGRES: &str = "DO $$ DECLARE c record; BEGIN
    FOR c IN SELECT conrelid::regclass AS t, conname FROM pg_constraint
        WHERE contype IN ('c', 'f') AND connamespace = current_schema()::regnamespace LOOP
        EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', c.t, c.conname);
    END LOOP;
    FOR c IN SELECT a.attrelid::regclass AS t, attname FROM pg_attribute a JOIN pg_class r ON r.oid = a.attrelid
        WHERE r.relkind = 'r' AND r.relnamespace = current_schema()::regnamespace AND attnum > 0 AND attnotnull AND attidentity = ''
          AND NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = r.oid AND i.indisprimary AND a.attnum = ANY (i.indkey)) LOOP
        EXECUTE format('ALTER TABLE %s ALTER COLUMN %I DROP NOT NULL', c.t, c.attname);
    END LOOP; END $$;";

/// One row for each bad value; `{n}` is its number.
fn rows(template: &str) -> String {
    (0..ROWS)
        .map(|n| template.replace("{n}", &n.to_string()))
        .collect::<Vec<_>>()
        .join(";\n")
        + ";"
}

fn spoil_all(
    story: &mut Story,
    table: &str,
    columns: &[(&str, Kind)],
    is_row: impl Fn(usize) -> String,
) {
    for (column, kind) in columns {
        story.spoil(table, column, kind, &is_row);
        story.check(&format!("{table}.{column}"));
    }
}

fn of_topics(database: Database) {
    let mut story = Story::new(database);
    story.database.sql(&rows(
        "INSERT INTO topics (board_id, comment, author) SELECT id, 'c{n}', 'victim{n}' FROM boards WHERE name = 'victim'",
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
    spoil_all(&mut story, "topics", &columns, |n| {
        format!("author = 'victim{n}'")
    });
    story.spoil("topics", "author", &Text, |n| {
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
    spoil_all(&mut story, "boards", &columns, |n| {
        format!("title = 'victim{n}'")
    });
    story.spoil("boards", "title", &Text, |n| format!("title = 'victim{n}'"));
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
    spoil_all(&mut story, "tokens", &columns, |n| {
        format!("name = 'victim{n}'")
    });
    story.spoil("tokens", "name", &Text, |n| format!("name = 'victim{n}'"));
    story.check("tokens.name");
    // A token whose own values cannot be understood allows nothing, rather than everything.
    for (column, value) in [
        ("scope", "'emperor'"),
        ("expires_at", "'someday'"),
        ("revoked_at", "'someday'"),
        ("board_id", "4711"),
    ] {
        if story.database.is_postgres() && value == "'someday'" {
            continue;
        }
        let token = story
            .node
            .token(&["create", "--scope", "admin", "--name", "spoilt"]);
        assert_eq!(
            story
                .node
                .send_as("GET", "/api/v1/tokens", &token, &[], "")
                .status,
            200
        );
        story.database.sql(&format!(
            "UPDATE tokens SET {column} = {value} WHERE name = 'spoilt';"
        ));
        let deadline = Instant::now() + PATIENCE;
        while story
            .node
            .send_as("GET", "/api/v1/tokens", &token, &[], "")
            .status
            == 200
        {
            assert!(
                Instant::now() < deadline,
                "a token with {column} = {value} is good"
            );
        }
        story
            .database
            .sql("DELETE FROM tokens WHERE name = 'spoilt';");
    }
    assert_eq!(
        story
            .node
            .send_as("GET", "/api/v1/boards", &mine, &[], "")
            .status,
        200
    );
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
    spoil_all(&mut story, "tickets", &columns, |n| {
        format!("digest = 'd{n}'")
    });
    // Who shows such a ticket is let in or not, and that is all.
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
            let made = story.node.send_as(
                "POST",
                "/api/v1/tickets",
                &story.admin,
                &[],
                r#"{"board":"main"}"#,
            );
            let ticket = made.json()["ticket"].as_str().expect("a ticket").to_owned();
            story
                .database
                .sql(&format!("UPDATE tickets SET {column} = {value} WHERE digest NOT LIKE 'd_' AND digest NOT LIKE 'd__';"));
            let mut stream = wire::connect(story.node.address);
            let path = format!("/b/main/stream?ticket={ticket}");
            stream
                .write_all(&wire::message("GET", &path, &[], b""))
                .expect("sent");
            let (status, _) = wire::read_head(&mut BufReader::new(stream));
            assert!(status < 500, "tickets.{column} = {value}: {status}");
            story
                .database
                .sql("DELETE FROM tickets WHERE digest NOT LIKE 'd_' AND digest NOT LIKE 'd__';");
        }
    }
    story.spoil("tickets", "digest", &Text, |n| format!("digest = 'd{n}'"));
    story.check("tickets.digest");
}

fn of_idempotency_keys(database: Database) {
    let mut story = Story::new(database);
    story.database.sql(&rows(
        "INSERT INTO idempotency (board_id, key, request, topic_id) VALUES (1, 'k{n}', 'r', 1)",
    ));
    let columns = [("request", Text), ("topic_id", Number), ("used_at", Time)];
    spoil_all(&mut story, "idempotency", &columns, |n| {
        format!("key = 'k{n}'")
    });
    // Who uses the key is answered for good, and alone.
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
    story.spoil("idempotency", "key", &Text, |n| format!("key = 'k{n}'"));
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
    spoil_all(&mut story, "audit", &columns, |n| {
        format!("action = 'victim{n}'")
    });
    story.spoil("audit", "action", &Text, |n| {
        format!("action = 'victim{n}'")
    });
    story.check("audit.action");
}

fn of_deleted_topics(database: Database) {
    let mut story = Story::new(database);
    story.database.sql(&rows(
        "INSERT INTO deleted_topics (id, board_id, comment, author, created_at, updated_at, archived)
         SELECT 1000 + {n}, boards.id, 'gone', 'victim{n}', boards.created_at, boards.created_at, archived
         FROM boards, topics WHERE name = 'victim' LIMIT 1",
    ));
    let columns = [
        ("comment", Text),
        ("created_at", Time),
        ("updated_at", Time),
        ("edited_at", Time),
        ("deleted_at", Time),
    ];
    spoil_all(&mut story, "deleted_topics", &columns, |n| {
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
        story.database.sql("INSERT INTO topics (board_id, comment) SELECT id, 'c' FROM boards WHERE name = 'victim';");
    }
    let columns = [
        ("at", Time),
        ("kind", Text),
        ("topic_id", Number),
        ("revision", Number),
        ("board_id", Number),
    ];
    let row = "(SELECT id FROM changes WHERE board_id = (SELECT id FROM boards WHERE name = 'victim') ORDER BY id LIMIT 1 OFFSET";
    spoil_all(&mut story, "changes", &columns, |n| {
        format!("id = {row} {n})")
    });
    if !story.database.is_postgres() {
        for (column, values) in [
            ("newest", SQLITE_VALUES),
            ("batch", SQLITE_VALUES),
            ("archiving", SQLITE_VALUES),
        ] {
            for value in values {
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
                "DELETE FROM identity WHERE key = '{key}'; INSERT INTO identity (key, value) VALUES ('{key}', {value});"
            ));
            story.check_now(&format!("identity.{key} = {value}"));
        }
        story.check(&format!("identity.{key}"));
    }
}
