//! The tables as other programs write them: what they need not say, and what is refused.

use diesel::{
    Connection as _, QueryableByName, RunQueryDsl as _, SqliteConnection, sql_query,
    sql_types::Text,
};
use kairanban_core::{ChangeKind, TopicEdit};
use kairanban_store::{AdminCommand, DatabaseAddress, WriteResult, migrate};

use crate::place::{Kind, Place, TIMEOUTS, administer, create, main, run};

crate::on_both!(
    an_edit_is_recorded_by_what_changed,
    an_edit_outlives_delete_and_undo
);

#[derive(QueryableByName)]
struct Value {
    #[diesel(sql_type = Text)]
    value: String,
}

/// What a query finds, as text.
pub(crate) fn values(connection: &mut SqliteConnection, query: &str) -> Vec<String> {
    let rows: Vec<Value> = sql_query(query)
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

fn an_edit_is_recorded_by_what_changed(place: &Place) {
    let mut foreign = place.foreign();
    foreign.run(
        "INSERT INTO topics (board_id, comment, created_at, updated_at) \
        VALUES (1, 'a', '2026-01-01 00:00:00', '2026-01-01 00:00:00.000123')",
    );
    let edited = |place: &Place| place.load().snapshot.topics()[0].edited_at;
    assert_eq!(edited(place), None, "two clocks that differ are no edit");
    foreign.run(
        "UPDATE topics SET updated_at = '2026-01-02 00:00:00'; UPDATE topics SET comment = 'a'",
    );
    assert_eq!(edited(place), None, "the text is the same");
    foreign.run("UPDATE topics SET edited_at = '2026-01-03 00:00:00'");
    assert_eq!(edited(place), None, "a written one is overwritten");
    foreign.run(
        "UPDATE topics SET comment = 'b', edited_at = '2026-01-03 00:00:00', \
        updated_at = '2026-01-04 00:00:00'",
    );
    let first = edited(place).expect("an edit");
    assert!(first.to_rfc3339().as_str() > "2026-02", "{first}");
    assert!(
        place.load().snapshot.topics()[0]
            .updated_at
            .to_rfc3339()
            .starts_with("2026-01-04"),
        "the writer's own is kept"
    );
    foreign.run("UPDATE topics SET edited_at = NULL");
    assert_eq!(edited(place), Some(first));
    // Two edits may be of one millisecond, many are not.
    let edit = |n: usize| {
        foreign.run(&format!("UPDATE topics SET author = 'ann {n}'"));
        edited(place)
    };
    assert!((0..1_000).map(edit).any(|at| at > Some(first)));
}

fn an_edit_outlives_delete_and_undo(place: &Place) {
    let (writer, _) = place.writer();
    let topic = create(place, "a");
    let edit = TopicEdit::try_new(Some("b"), None).expect("allowed");
    let update = AdminCommand::UpdateTopic {
        board: main(),
        id: topic.id,
        edit,
        expected: None,
    };
    let Ok(WriteResult::Topic(edited)) = run(writer.write(administer(update))) else {
        panic!("a topic")
    };
    assert_eq!((topic.edited_at, edited.edited_at.is_some()), (None, true));
    run(writer.write(administer(AdminCommand::DeleteTopic {
        board: main(),
        id: topic.id,
        expected: None,
    })))
    .expect("deleted");
    let restore = AdminCommand::RestoreTopic {
        board: main(),
        id: topic.id,
        within: std::time::Duration::from_secs(60),
    };
    let Ok(WriteResult::Topic(back)) = run(writer.write(administer(restore))) else {
        panic!("a topic")
    };
    assert_eq!(
        (back.edited_at, back.updated_at),
        (edited.edited_at, edited.updated_at)
    );
}

#[test]
fn a_comment_is_enough_and_null_is_not_given() {
    let place = Place::new(Kind::Sqlite);
    let mut foreign = place.foreign();
    foreign.run(
        "PRAGMA foreign_keys = ON; INSERT INTO boards (name, title, read, post, \
        created_at) VALUES ('other', NULL, NULL, NULL, NULL)",
    );
    let before = place.head();
    foreign.run("INSERT INTO topics (comment) VALUES ('alone')");
    foreign.run(
        "INSERT INTO topics (id, board_id, comment, author, created_at, updated_at, edited_at, \
         archived, revision) \
         VALUES (NULL, NULL, 'null', NULL, NULL, NULL, NULL, NULL, NULL), (NULL, 2, 'elsewhere', \
         NULL, NULL, NULL, NULL, NULL, NULL)",
    );
    assert_eq!(place.comments(), ["alone", "null"]);
    let told: Vec<_> = place
        .changes(before)
        .iter()
        .map(|change| {
            (
                change.kind,
                change.board_id.0,
                change.topic_id.map(|id| id.0),
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            (ChangeKind::Set, 1, Some(1)),
            (ChangeKind::Set, 1, Some(2)),
            (ChangeKind::Set, 2, Some(3))
        ]
    );
    // It is the row that counts, not the name.
    foreign.run(
        "UPDATE identity SET value = '2' WHERE key = 'default_board'; \
        INSERT INTO topics (comment) VALUES ('there')",
    );
    assert_eq!(
        values(
            &mut open(&place),
            "SELECT CAST(board_id AS TEXT) AS value FROM topics WHERE comment = 'there'"
        ),
        ["2"]
    );
    foreign.run("DELETE FROM identity WHERE key = 'default_board'");
    let refused = foreign
        .try_run("INSERT INTO topics (comment) VALUES ('nowhere')")
        .expect_err("there is no board");
    assert!(refused.contains("run kairanban migrate"), "{refused}");
    assert!(
        foreign
            .try_run("UPDATE topics SET board_id = NULL")
            .is_err(),
        "a topic is on a board"
    );
    migrate(&place.address, TIMEOUTS, &main(), false).expect("migrated");
    foreign.run("INSERT INTO topics (comment) VALUES ('again')");
    assert_eq!(place.comments(), ["alone", "null", "again"]);
}

/// Times that are none, or would be read otherwise than they are written.
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
pub(crate) const A_ROW_EACH: &str = "INSERT INTO topics (board_id, comment) VALUES (1, 'a');
    INSERT INTO tokens (name, digest, scope) VALUES ('t', 'd', 'read');
    INSERT INTO tickets (digest, token_id, board_id) VALUES ('d', 1, 1);
    INSERT INTO idempotency (board_id, key, request, topic_id) VALUES (1, 'k', 'r', 1);
    INSERT INTO audit (actor, action) VALUES ('ann', 'board.create');
    INSERT INTO deleted_topics (id, board_id, comment, author, created_at, updated_at, archived)
        SELECT 99, board_id, 'gone', '', created_at, created_at, 0 FROM topics;";

#[test]
fn what_could_not_be_read_is_refused() {
    let place = Place::new(Kind::Sqlite);
    let mut foreign = place.foreign();
    foreign.run(A_ROW_EACH);
    for (table, column) in TIMES {
        for time in BAD_TIMES {
            assert!(
                foreign
                    .try_run(&format!("UPDATE {table} SET {column} = {time}"))
                    .is_err(),
                "{table}.{column} = {time}"
            );
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
        assert!(
            foreign
                .try_run(&format!("UPDATE boards SET title = CAST({title} AS TEXT)"))
                .is_err(),
            "{title}"
        );
        assert!(
            foreign
                .try_run(&format!(
                    "INSERT INTO boards (name, title) VALUES ('new', CAST({title} AS TEXT))"
                ))
                .is_err()
        );
    }
    foreign.run("UPDATE boards SET title = '回覧板 🎏 é'");
    assert!(
        foreign
            .try_run("INSERT INTO boards (name) VALUES (CAST(x'610062' AS TEXT))")
            .is_err()
    );
    for revision in ["-1", "9007199254740992", "9223372036854775807"] {
        for table in ["topics", "changes"] {
            assert!(
                foreign
                    .try_run(&format!("UPDATE {table} SET revision = {revision}"))
                    .is_err(),
                "{table} {revision}"
            );
        }
        assert!(
            foreign
                .try_run(&format!("UPDATE revisions SET newest = {revision}"))
                .is_err(),
            "{revision}"
        );
    }
}

#[test]
fn an_id_may_be_given_but_none_that_ends_posting() {
    let place = Place::new(Kind::Sqlite);
    let mut foreign = place.foreign();
    foreign
        .run("INSERT INTO topics (id, comment) VALUES (1001, 'imported'), (1500, 'imported too')");
    assert_eq!(create(&place, "behind").id.0, 1501);
    for far in ["9007199254740991", "9007199254740990", "4294968798"] {
        for table in ["topics (id, comment) VALUES", "boards (id, name) VALUES"] {
            assert!(
                foreign
                    .try_run(&format!("INSERT INTO {table} ({far}, 'far')"))
                    .is_err(),
                "{table} {far}"
            );
        }
        assert!(
            foreign
                .try_run(&format!("UPDATE topics SET id = {far} WHERE id = 1001"))
                .is_err(),
            "{far}"
        );
        assert!(
            foreign
                .try_run(&format!(
                    "INSERT INTO tokens (id, name, digest, scope) VALUES ({far}, 't', 'd', 'read')"
                ))
                .is_err()
        );
    }
    foreign.run("INSERT INTO topics (id, comment) VALUES (4294968797, 'as far as it goes')");
    assert_eq!(create(&place, "behind that").id.0, 4_294_968_798);
}

#[test]
fn a_session_with_recursive_triggers_may_edit() {
    let place = Place::new(Kind::Sqlite);
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
