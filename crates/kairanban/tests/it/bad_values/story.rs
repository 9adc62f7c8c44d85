//! A server whose database takes any value, the values that are put in, and the check that
//! everything else goes on.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use crate::node::{Database, Node};

/// Rows of each table that hold something bad.
pub(super) const ROWS: usize = 14;

pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// What each type is given, one row each.
pub(super) const SQLITE_VALUES: [&str; ROWS] = [
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

pub(super) const POSTGRES_TIMES: [&str; ROWS] = [
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

pub(super) const POSTGRES_TEXTS: [&str; ROWS] = [
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

pub(super) const POSTGRES_NUMBERS: [&str; ROWS] = [
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

pub(super) enum ColumnKind {
    Time,
    Text,
    Number,
    Flag,
}
use ColumnKind::{Flag, Number, Text, Time};

/// A node with boards and an administrator, on a database whose constraints were taken away.
pub(super) struct Story {
    pub(super) node: Node,
    pub(super) admin: String,
    pub(super) database: Database,
    /// The number of posts so far.
    posts: AtomicU32,
}

impl Story {
    pub(super) fn new(database: Database) -> Self {
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
    pub(super) fn corrupt(
        &self,
        table: &str,
        column: &str,
        kind: &ColumnKind,
        is_row: impl Fn(usize) -> String,
    ) {
        let values = match kind {
            _ if !self.database.is_postgres() => SQLITE_VALUES,
            Time => POSTGRES_TIMES,
            Text => POSTGRES_TEXTS,
            Number => POSTGRES_NUMBERS,
            Flag => return,
        };
        let triggers = self.take_away_triggers();
        for (n, value) in values.iter().enumerate() {
            let update = format!("UPDATE {table} SET {column} = {value} WHERE {}", is_row(n));
            // A key may not be there twice, and a trigger may refuse it: no harm then.
            let _ = self
                .database
                .try_sql(&format!("{}{update};", self.without_triggers()));
        }
        self.database.sql(&triggers);
    }

    /// Drops what would be in the way on SQLite. Returns the statements that make it again: a
    /// server starts with all its triggers.
    fn take_away_triggers(&self) -> String {
        if self.database.is_postgres() {
            return String::new();
        }
        let all = |what: &str| {
            self.database.sql(&format!(
                "SELECT {what} || ';' FROM sqlite_schema WHERE type = 'trigger' AND name IN {IN_THE_WAY};"
            ))
        };
        let triggers = all("sql");
        self.database.sql(&all("'DROP TRIGGER ' || name"));
        triggers
    }

    fn without_triggers(&self) -> &'static str {
        if self.database.is_postgres() {
            "SET session_replication_role = replica;"
        } else {
            ""
        }
    }

    /// All other clients go on, now and after a restart.
    pub(super) fn check(&mut self, what: &str) {
        self.check_now(what);
        self.node.kill();
        self.node.restart();
        self.check_now(&format!("{what}, after a restart"));
    }

    fn comment(&self) -> String {
        format!("post {}.", self.posts.fetch_add(1, Ordering::Relaxed))
    }

    pub(super) fn check_now(&self, what: &str) {
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
        self.database.sql(&format!(
            "INSERT INTO topics (board_id, comment) SELECT id, '{said}' FROM boards \
                WHERE name = 'main';"
        ));
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

// At the end something that makes open connections read the schema again.
const NO_CONSTRAINTS_SQLITE: &str = "PRAGMA writable_schema = ON;
    UPDATE sqlite_master SET sql = replace(replace(replace(replace(sql, 'NOT NULL \
    ON CONFLICT REPLACE', ''), 'NOT NULL', ''),
        'CHECK (', 'CHECK (1 OR '), ') STRICT', ')') WHERE type = 'table' \
        AND name NOT LIKE 'sqlite%' AND name NOT LIKE '\\_\\_%' ESCAPE '\\';
    PRAGMA writable_schema = RESET;
    CREATE TABLE unused (x); DROP TABLE unused;";

/// Those that would take a bad value back, or refuse it.
const IN_THE_WAY: &str = "('topics_stamp_kept', 'boards_renamed_as_text')";

const NO_CONSTRAINTS_POSTGRES: &str = "DO $$ DECLARE c record; BEGIN
    FOR c IN SELECT conrelid::regclass AS t, conname FROM pg_constraint
        WHERE contype IN ('c', 'f') AND connamespace = quote_ident(current_schema())::regnamespace LOOP
        EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', c.t, c.conname);
    END LOOP;
    FOR c IN SELECT a.attrelid::regclass AS t, attname FROM pg_attribute a \
    JOIN pg_class r ON r.oid = a.attrelid
        WHERE r.relkind = 'r' AND r.relnamespace = quote_ident(current_schema())::regnamespace AND attnum > 0 \
        AND attnotnull AND attidentity = ''
          AND NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = r.oid AND i.indisprimary \
          AND a.attnum = ANY (i.indkey)) LOOP
        EXECUTE format('ALTER TABLE %s ALTER COLUMN %I DROP NOT NULL', c.t, c.attname);
    END LOOP; END $$;";

/// One row for each bad value; `{n}` is its number.
pub(super) fn rows(template: &str) -> String {
    (0..ROWS)
        .map(|n| template.replace("{n}", &n.to_string()))
        .collect::<Vec<_>>()
        .join(";\n")
        + ";"
}

pub(super) fn corrupt_all(
    story: &mut Story,
    table: &str,
    columns: &[(&str, ColumnKind)],
    is_row: impl Fn(usize) -> String,
) {
    for (column, kind) in columns {
        story.corrupt(table, column, kind, &is_row);
        story.check(&format!("{table}.{column}"));
    }
}
