//! The tables as other programs write them: what they need not say, and what is refused.

use std::time::Duration;

use diesel::{
    Connection as _, QueryableByName, RunQueryDsl as _, SqliteConnection, sql_query,
    sql_types::Text,
};
use kairanban_core::ChangeKind;
use kairanban_store::{DatabaseAddress, migrate};

use crate::place::{
    DatabaseKind, Foreign, Place, TIMEOUTS, create, delete_topic, edit_topic, main, restore_topic,
    run, written_topic,
};

crate::on_both!(
    an_edit_is_recorded_by_what_changed,
    an_edit_outlives_delete_and_undo
);

#[derive(QueryableByName)]
struct ValueRow {
    #[diesel(sql_type = Text)]
    value: String,
}

/// What a query finds, as text.
pub(crate) fn values(connection: &mut SqliteConnection, query: &str) -> Vec<String> {
    let rows: Vec<ValueRow> = sql_query(query)
        .load(connection)
        .unwrap_or_else(|error| panic!("{query}: {error}"));
    rows.into_iter().map(|row| row.value).collect()
}

fn open(place: &Place) -> SqliteConnection {
    let DatabaseAddress::Sqlite(path) = &place.address else {
        panic!("a file")
    };
    SqliteConnection::establish(&path.to_string_lossy()).expect("sqlite")
}

/// When the first topic of the list was edited.
fn edited_at(place: &Place) -> Option<chrono::DateTime<chrono::Utc>> {
    place.load().snapshot.topics()[0].edited_at
}

fn an_edit_is_recorded_by_what_changed(place: &Place) {
    let mut foreign = place.foreign();
    foreign.run(
        "INSERT INTO topics (board_id, comment, created_at, updated_at) \
        VALUES (1, 'a', '2026-01-01 00:00:00', '2026-01-01 00:00:00.000123')",
    );
    assert_eq!(edited_at(place), None, "two clocks that differ are no edit");
    foreign.run(
        "UPDATE topics SET updated_at = '2026-01-02 00:00:00'; UPDATE topics SET comment = 'a'",
    );
    assert_eq!(edited_at(place), None, "the text is the same");
    foreign.run("UPDATE topics SET edited_at = '2026-01-03 00:00:00'");
    assert_eq!(edited_at(place), None, "a written one is overwritten");
    foreign.run(
        "UPDATE topics SET comment = 'b', edited_at = '2026-01-03 00:00:00', \
        updated_at = '2026-01-04 00:00:00'",
    );
    let first = edited_at(place).expect("an edit");
    assert!(first.to_rfc3339().as_str() > "2026-02", "{first}");
    let updated = place.load().snapshot.topics()[0].updated_at.to_rfc3339();
    assert!(
        updated.starts_with("2026-01-04"),
        "the writer's own is kept"
    );
    foreign.run("UPDATE topics SET edited_at = NULL");
    assert_eq!(edited_at(place), Some(first));
    // Two edits may be of one millisecond, many are not.
    assert!((0..1_000).any(|n| {
        foreign.run(&format!("UPDATE topics SET author = 'ann {n}'"));
        edited_at(place) > Some(first)
    }));
}

fn an_edit_outlives_delete_and_undo(place: &Place) {
    let (writer, _) = place.writer();
    let topic = create(place, "a");
    let edited = written_topic(run(writer.write(edit_topic(topic.id, "b", None))));
    assert_eq!((topic.edited_at, edited.edited_at.is_some()), (None, true));
    run(writer.write(delete_topic(topic.id, None))).expect("deleted");
    let within = Duration::from_secs(60);
    let back = written_topic(run(writer.write(restore_topic(topic.id, within))));
    assert_eq!(
        (back.edited_at, back.updated_at),
        (edited.edited_at, edited.updated_at)
    );
}

/// A database with the boards `main` and `other`, of which the first is the default.
fn two_boards() -> (Place, Foreign) {
    let place = Place::new(DatabaseKind::Sqlite);
    let mut foreign = place.foreign();
    foreign.run(
        "PRAGMA foreign_keys = ON; INSERT INTO boards (name, title, read, post, \
        created_at) VALUES ('other', NULL, NULL, NULL, NULL)",
    );
    (place, foreign)
}

#[test]
fn a_comment_is_enough_and_null_is_not_given() {
    let (place, mut foreign) = two_boards();
    let before = place.head();
    foreign.run("INSERT INTO topics (comment) VALUES ('alone')");
    foreign.run(
        "INSERT INTO topics (id, board_id, comment, author, created_at, updated_at, edited_at, \
         archived, revision) \
         VALUES (NULL, NULL, 'null', NULL, NULL, NULL, NULL, NULL, NULL), (NULL, 2, 'elsewhere', \
         NULL, NULL, NULL, NULL, NULL, NULL)",
    );
    assert_eq!(place.comments(), ["alone", "null"]);
    assert_eq!(
        place.changed(before),
        [
            (ChangeKind::Set, 1, Some(1)),
            (ChangeKind::Set, 1, Some(2)),
            (ChangeKind::Set, 2, Some(3))
        ]
    );
}

/// It is the row that counts, not the name.
#[test]
fn a_topic_without_a_board_goes_to_the_default_board_of_the_database() {
    let (place, mut foreign) = two_boards();
    foreign.run(
        "UPDATE identity SET value = '2' WHERE key = 'default_board'; \
        INSERT INTO topics (comment) VALUES ('there')",
    );
    let board = "SELECT CAST(board_id AS TEXT) AS value FROM topics WHERE comment = 'there'";
    assert_eq!(values(&mut open(&place), board), ["2"]);
}

#[test]
fn a_topic_without_a_board_is_refused_until_there_is_a_default_board() {
    let (place, mut foreign) = two_boards();
    foreign.run("INSERT INTO topics (comment) VALUES ('before')");
    foreign.run("DELETE FROM identity WHERE key = 'default_board'");
    let refused = foreign.refused("INSERT INTO topics (comment) VALUES ('nowhere')");
    assert!(refused.contains("run kairanban migrate"), "{refused}");
    // A topic is on a board.
    foreign.refused("UPDATE topics SET board_id = NULL");
    migrate(&place.address, TIMEOUTS, &main(), false).expect("migrated");
    foreign.run("INSERT INTO topics (comment) VALUES ('again')");
    assert_eq!(place.comments(), ["before", "again"]);
}

/// Times that do not exist, or would be read otherwise than they are written.
pub(crate) const BAD_TIMES: [&str; 14] = [
    "'2024-01-01 24:00:00'",
    "'2024-02-30 00:00:00'",
    "'2023-02-29 00:00:00'",
    "'2024-13-01 00:00:00'",
    "'2024-01-01 00:00:60'",
    "'2024-01-01 00:00:00.'",
    "'2024-01-01 00:00:00.1.2'",
    "'2024-01-01 00:00:00.1234567890'",
    "'2024-01-01T00:00:00'",
    "'2024-01-01 00:00:00Z'",
    "'0000-01-01 00:00:00'",
    "CAST(CAST('2024-01-01 00:00:00' AS BLOB) || x'00' AS TEXT)",
    "CAST(CAST('2024-01-01 00:00:00' AS BLOB) || x'ff' AS TEXT)",
    "'someday'",
];
pub(crate) const TIMES: [(&str, &str); 16] = [
    ("boards", "created_at"),
    ("topics", "created_at"),
    ("topics", "updated_at"),
    ("tokens", "created_at"),
    ("tokens", "expires_at"),
    ("tokens", "revoked_at"),
    ("tokens", "last_used_at"),
    ("tickets", "made_at"),
    ("tickets", "used_at"),
    ("idempotency", "used_at"),
    ("audit", "at"),
    ("changes", "at"),
    ("deleted_topics", "created_at"),
    ("deleted_topics", "updated_at"),
    ("deleted_topics", "deleted_at"),
    ("deleted_topics", "edited_at"),
];
/// Times of what the first schema did not have.
const LATER_TIMES: [(&str, &str); 3] = [
    ("browser_sessions", "created_at"),
    ("browser_sessions", "expires_at"),
    ("browser_sessions", "last_used_at"),
];
const A_SESSION: &str = "INSERT INTO browser_sessions (digest, token_id, token_digest, expires_at)
    VALUES ('d', 1, 'd', '2030-01-01 00:00:00');";
pub(crate) const A_ROW_EACH: &str = "INSERT INTO topics (board_id, comment) VALUES (1, 'a');
    INSERT INTO tokens (name, digest, scope) VALUES ('t', 'd', 'read');
    INSERT INTO tickets (digest, token_id, board_id) VALUES ('d', 1, 1);
    INSERT INTO idempotency (board_id, key, request, topic_id) VALUES (1, 'k', 'r', 1);
    INSERT INTO audit (actor, action) VALUES ('ann', 'board.create');
    INSERT INTO deleted_topics (id, board_id, comment, author, created_at, updated_at, archived)
        SELECT 99, board_id, 'gone', '', created_at, created_at, 0 FROM topics;";

#[test]
fn times_that_could_not_be_read_are_refused() {
    let place = Place::new(DatabaseKind::Sqlite);
    let mut foreign = place.foreign();
    foreign.run(A_ROW_EACH);
    foreign.run(A_SESSION);
    for (table, column) in TIMES.into_iter().chain(LATER_TIMES) {
        for time in BAD_TIMES {
            foreign.refused(&format!("UPDATE {table} SET {column} = {time}"));
        }
        for time in [
            "'2024-02-29 23:59:59'",
            "'2024-02-29 23:59:59.999999'",
            "'0001-01-01 00:00:00.0'",
            "'9999-12-31 23:59:59.123456789'",
        ] {
            foreign.run(&format!("UPDATE {table} SET {column} = {time}"));
        }
    }
}

#[test]
fn names_and_titles_that_are_no_text_are_refused() {
    let place = Place::new(DatabaseKind::Sqlite);
    let mut foreign = place.foreign();
    for title in [
        "x'ff'",
        "x'e38100'",
        "x'eda080'",
        "x'c080'",
        "x'f5808080'",
        "x'6100'",
        "x'80'",
        "x'e381'",
    ] {
        let title = format!("CAST({title} AS TEXT)");
        foreign.refused(&format!("UPDATE boards SET title = {title}"));
        foreign.refused(&format!(
            "INSERT INTO boards (name, title) VALUES ('new', {title})"
        ));
    }
    foreign.run("UPDATE boards SET title = '回覧板 🎏 é'");
    foreign.refused("INSERT INTO boards (name) VALUES (CAST(x'610062' AS TEXT))");
}

#[test]
fn revisions_out_of_range_are_refused() {
    let place = Place::new(DatabaseKind::Sqlite);
    let mut foreign = place.foreign();
    foreign.run(A_ROW_EACH);
    for revision in ["-1", "9007199254740992", "9223372036854775807"] {
        for column in ["topics SET revision", "changes SET revision"] {
            foreign.refused(&format!("UPDATE {column} = {revision}"));
        }
        foreign.refused(&format!("UPDATE revisions SET newest = {revision}"));
    }
}

#[test]
fn an_id_may_be_given_but_none_that_ends_posting() {
    let place = Place::new(DatabaseKind::Sqlite);
    let mut foreign = place.foreign();
    foreign
        .run("INSERT INTO topics (id, comment) VALUES (1001, 'imported'), (1500, 'imported too')");
    assert_eq!(create(&place, "behind").id.0, 1501);
    for far in ["9007199254740991", "9007199254740990", "4294968798"] {
        for table in ["topics (id, comment) VALUES", "boards (id, name) VALUES"] {
            foreign.refused(&format!("INSERT INTO {table} ({far}, 'far')"));
        }
        foreign.refused(&format!("UPDATE topics SET id = {far} WHERE id = 1001"));
        foreign.refused(&format!(
            "INSERT INTO tokens (id, name, digest, scope) VALUES ({far}, 't', 'd', 'read')"
        ));
    }
    foreign.run("INSERT INTO topics (id, comment) VALUES (4294968797, 'as far as it goes')");
    assert_eq!(create(&place, "behind that").id.0, 4_294_968_798);
}

#[test]
fn a_session_with_recursive_triggers_may_edit() {
    let place = Place::new(DatabaseKind::Sqlite);
    let mut foreign = place.foreign();
    foreign.run("PRAGMA recursive_triggers = ON; INSERT INTO topics (comment) VALUES ('a')");
    foreign.run(
        "UPDATE topics SET edited_at = '2026-01-01 00:00:00'; UPDATE topics SET revision = 7; \
         UPDATE topics SET comment = 'b'",
    );
    let topic = place.load().snapshot.topics()[0].clone();
    assert_eq!(
        (topic.comment.as_str(), topic.revision),
        ("b", place.head())
    );
    assert!(
        topic
            .edited_at
            .is_some_and(|at| at > topic.created_at - chrono::TimeDelta::seconds(1))
    );
}
