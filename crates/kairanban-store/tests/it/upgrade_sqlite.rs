//! SQLite databases of the version before: bad rows, and what others hung on the tables.

use diesel::{Connection as _, SqliteConnection, connection::SimpleConnection as _};
use kairanban_store::{DatabaseAddress, Store, migrate};

use crate::{
    place::{TIMEOUTS, config, main},
    public_schema::{A_ROW_EACH, BAD_TIMES, TIMES, values},
};

const OLD: [(&str, &str); 4] = [
    (
        "20261123000000",
        include_str!("../../../../migrations/sqlite/2026-11-23-000000_boards/up.sql"),
    ),
    (
        "20261123000001",
        include_str!("../../../../migrations/sqlite/2026-11-23-000001_idempotency/up.sql"),
    ),
    (
        "20261123000002",
        include_str!("../../../../migrations/sqlite/2026-11-23-000002_tokens/up.sql"),
    ),
    (
        "20261123000003",
        include_str!("../../../../migrations/sqlite/2026-11-23-000003_access/up.sql"),
    ),
];

fn run(connection: &mut SqliteConnection, text: &str) {
    connection
        .batch_execute(text)
        .unwrap_or_else(|error| panic!("{text}: {error}"));
}

/// A database of the version before, with what others hung on its tables.
fn old_database(path: &std::path::Path) -> SqliteConnection {
    let mut old = SqliteConnection::establish(&path.to_string_lossy()).expect("sqlite");
    run(
        &mut old,
        "CREATE TABLE __diesel_schema_migrations (version VARCHAR(50) \
         PRIMARY KEY NOT NULL, run_on TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP)",
    );
    for (version, text) in OLD {
        run(&mut old, text);
        run(
            &mut old,
            &format!("INSERT INTO __diesel_schema_migrations (version) VALUES ('{version}')"),
        );
    }
    run(&mut old, "INSERT INTO boards (name) VALUES ('main')");
    run(&mut old, A_ROW_EACH);
    run(
        &mut old,
        "ALTER TABLE topics ADD COLUMN colour TEXT NOT NULL DEFAULT 'red';
         CREATE VIEW newest AS SELECT comment FROM topics ORDER BY id DESC;
         CREATE TABLE likes (topic_id INTEGER REFERENCES topics ON DELETE CASCADE);
         CREATE INDEX topics_author ON topics (author);
         CREATE TABLE seen (comment TEXT);
         CREATE TRIGGER seen AFTER INSERT ON topics BEGIN INSERT INTO seen \
         VALUES (NEW.comment); END;
         INSERT INTO likes VALUES (1);
         INSERT INTO topics (id, board_id, comment) VALUES (70, 1, 'gone'); DELETE FROM topics \
         WHERE id = 70",
    );
    old
}

/// Writes rows that the new constraints refuse.
fn corrupt(old: &mut SqliteConnection) {
    run(old, "PRAGMA ignore_check_constraints = ON");
    // A row of its own for each bad value of each column; those with one row are changed in turn.
    for (n, time) in BAD_TIMES.iter().enumerate() {
        for row in ROWS_WITH_TIMES {
            run(
                old,
                &row.replace("$n", &n.to_string()).replace("$time", time),
            );
        }
    }
    run(
        old,
        "UPDATE changes SET at = '2024-02-30 00:00:00' WHERE id = 1; UPDATE changes \
         SET revision = -7 WHERE id = 2;
         DROP TRIGGER topics_stamp_kept; UPDATE topics SET revision = -1 WHERE id = 1;
         UPDATE boards SET title = CAST(x'61ff6200' AS TEXT) WHERE id = 1;
         UPDATE tokens SET name = CAST(x'610062' AS TEXT) WHERE id = 1;
         INSERT INTO topics (id, board_id, comment) \
         VALUES (9007199254740990, 1, 'far'), (9007199254740991, 1, 'farther');
         CREATE TRIGGER topics_stamp_kept AFTER UPDATE OF revision ON topics WHEN 0 BEGIN \
         SELECT 1; END",
    );
}

/// Rows number `$n` of each table, with `$time` for each time that they hold.
const ROWS_WITH_TIMES: [&str; 7] = [
    "INSERT INTO boards (name, created_at) VALUES ('b$n', $time)",
    "INSERT INTO topics (board_id, comment, created_at, updated_at) \
     VALUES (1, 'bad', $time, '2024-01-01 00:00:00'), (1, 'bad', '2024-01-01 00:00:00', $time)",
    "INSERT INTO tokens (name, digest, scope, created_at, expires_at, revoked_at, last_used_at) \
     VALUES ('t', 'd$n', 'read', $time, $time, $time, $time)",
    "INSERT INTO tickets (digest, token_id, board_id, made_at, used_at) \
     VALUES ('d$n', 1, 1, $time, $time)",
    "INSERT INTO idempotency (board_id, key, request, topic_id, used_at) \
     VALUES (1, 'k$n', 'r', 1, $time)",
    "INSERT INTO audit (actor, action, at) VALUES ('ann', 'a', $time)",
    "INSERT INTO deleted_topics (id, board_id, comment, author, created_at, updated_at, \
     archived, deleted_at) \
     VALUES (200 + $n, 1, '', '', $time, $time, 0, $time)",
];

fn assert_mended(old: &mut SqliteConnection) {
    for (table, column) in TIMES.into_iter().chain([("topics", "edited_at")]) {
        let odd = format!(
            "SELECT quote({column}) AS value FROM {table} \
             WHERE {column} <> strftime('%Y-%m-%d %H:%M:%f', {column}, '+0 days') \
             AND length({column}) > 19"
        );
        assert_eq!(values(old, &odd), Vec::<String>::new(), "{table}.{column}");
    }
    for (query, answer) in [
        (
            "SELECT integrity_check AS value FROM pragma_integrity_check",
            "ok",
        ),
        (
            "SELECT title AS value FROM boards WHERE id = 1",
            "a\u{FFFD}b",
        ),
        (
            "SELECT value FROM identity WHERE key IN ('mended', 'default_board')",
            "1",
        ),
        // What was mended is in the log, so that readers see it.
        (
            "SELECT CAST(count(*) AS TEXT) AS value FROM topics WHERE revision <= 0",
            "0",
        ),
    ] {
        assert_eq!(values(old, query), [answer], "{query}");
    }
}

/// What was not mended is as it was.
fn assert_kept(old: &mut SqliteConnection) {
    assert_eq!(
        values(old, "SELECT comment AS value FROM newest LIMIT 2"),
        ["farther", "far"]
    );
    assert_eq!(
        values(
            old,
            "SELECT CAST(topic_id AS TEXT) || colour AS value FROM likes, topics \
             WHERE id = topic_id"
        ),
        ["1red"]
    );
    assert_eq!(
        values(
            old,
            "SELECT name AS value FROM sqlite_master WHERE name = 'topics_author'"
        ),
        ["topics_author"]
    );
}

/// The largest id of a topic.
fn last_topic(old: &mut SqliteConnection) -> i64 {
    let largest = "SELECT CAST(max(id) AS TEXT) AS value FROM topics";
    values(old, largest)[0].parse().expect("a number")
}

#[test]
fn an_older_database_is_mended_and_keeps_what_others_hung_on_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("board.db");
    let mut old = old_database(&path);
    corrupt(&mut old);
    let address = DatabaseAddress::Sqlite(path);
    migrate(&address, TIMEOUTS, &main(), false).expect("migrated");
    assert_mended(&mut old);
    assert_kept(&mut old);
    let last = last_topic(&mut old);
    assert!((71..1000).contains(&last), "{last}");
    run(
        &mut old,
        "INSERT INTO topics (comment) VALUES ('new'); DELETE FROM topics WHERE id = 1",
    );
    let newest_seen = "SELECT comment AS value FROM seen ORDER BY rowid DESC LIMIT 1";
    assert_eq!(values(&mut old, newest_seen), ["new"]);
    let store = Store::open(config(&address)).expect("a store");
    let loaded = store.load(store.epoch(), &main()).expect("the board");
    let shown: Vec<_> = loaded
        .snapshot
        .topics()
        .iter()
        .map(|topic| (topic.id.0, topic.comment.as_str()))
        .collect();
    assert_eq!(
        shown[2..],
        [(last - 1, "far"), (last, "farther"), (last + 1, "new")]
    );
}

#[test]
fn a_number_that_was_given_once_is_not_given_again_after_the_migration() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("board.db");
    let mut old = old_database(&path);
    migrate(&DatabaseAddress::Sqlite(path), TIMEOUTS, &main(), false).expect("migrated");
    run(&mut old, "INSERT INTO topics (comment) VALUES ('new')");
    // Behind the one that was deleted, and can be restored.
    assert_eq!(last_topic(&mut old), 100);
}

#[test]
fn the_migration_can_be_undone_and_done_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("board.db");
    let mut old = old_database(&path);
    let schema =
        "SELECT type || name || coalesce(sql, '') AS value FROM sqlite_master ORDER BY type, name";
    let before = values(&mut old, schema);
    let up = include_str!("../../../../migrations/sqlite/2026-11-25-000000_public_schema/up.sql");
    let down =
        include_str!("../../../../migrations/sqlite/2026-11-25-000000_public_schema/down.sql");
    old.batch_execute(&format!("BEGIN; {up}; COMMIT"))
        .expect("up");
    let after = values(&mut old, schema);
    assert_ne!(before, after);
    old.batch_execute(&format!("BEGIN; {down}; COMMIT"))
        .expect("down");
    assert_eq!(values(&mut old, schema), before);
    old.batch_execute(&format!("BEGIN; {up}; COMMIT"))
        .expect("up");
    assert_eq!(values(&mut old, schema), after);
}
