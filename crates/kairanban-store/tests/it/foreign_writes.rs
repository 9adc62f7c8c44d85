//! What other programs write, the same on both databases.

use kairanban_core::{ChangeKind, Revision};
use kairanban_store::StoreError;

use crate::place::{DatabaseKind, Place, create};

crate::on_both!(
    foreign_writes_count_the_same,
    a_rolled_back_write_is_nowhere,
    what_shows_the_same_is_no_change,
    a_written_revision_is_overwritten,
    a_topic_that_moves_leaves_one_board_for_the_other,
    ids_are_not_given_twice,
    a_deleted_board_takes_its_topics_along,
    what_the_database_cannot_show_it_does_not_take,
    a_null_changes_no_row_that_is_there,
);

/// The kind of each change after a revision, with its topic.
pub(crate) fn kinds(place: &Place, after: Revision) -> Vec<(ChangeKind, Option<i64>)> {
    place
        .changes(after)
        .iter()
        .map(|change| (change.kind, change.topic_id.map(|id| id.0)))
        .collect()
}

fn foreign_writes_count_the_same(place: &Place) {
    let mut foreign = place.foreign();
    let before = place.head();
    foreign.run("INSERT INTO topics (board_id, comment) VALUES (1, 'a'), (1, 'b'), (1, 'c')");
    assert_eq!(
        kinds(place, before),
        [1, 2, 3].map(|id| (ChangeKind::Set, Some(id)))
    );
    assert_eq!(place.comments(), ["a", "b", "c"]);

    let before = place.head();
    foreign.run("UPDATE topics SET comment = 'B' WHERE id = 2; DELETE FROM topics WHERE id = 3");
    assert_eq!(
        kinds(place, before),
        [(ChangeKind::Set, Some(2)), (ChangeKind::Delete, Some(3))]
    );
    assert_eq!(place.comments(), ["a", "B"]);

    let before = place.head();
    foreign.run("UPDATE topics SET id = 40 WHERE id = 1");
    assert_eq!(
        kinds(place, before),
        [(ChangeKind::Delete, Some(1)), (ChangeKind::Set, Some(40))]
    );

    let before = place.head();
    foreign.run(
        "BEGIN; DELETE FROM topics; INSERT INTO topics (board_id, comment) \
        VALUES (1, 'new'); COMMIT",
    );
    assert_eq!(place.comments(), ["new"]);
    assert_eq!(place.load().snapshot.revision(), place.head());
    assert!(place.head() > before);
}

fn a_rolled_back_write_is_nowhere(place: &Place) {
    let mut foreign = place.foreign();
    let before = place.head();
    foreign.run("BEGIN; INSERT INTO topics (board_id, comment) VALUES (1, 'never'); ROLLBACK");
    foreign.run(
        "BEGIN; SAVEPOINT s; INSERT INTO topics (board_id, comment) \
        VALUES (1, 'never'); ROLLBACK TO s; COMMIT",
    );
    assert_eq!((kinds(place, before), place.comments()), (vec![], vec![]));
    foreign.run(
        "BEGIN; SAVEPOINT s; INSERT INTO topics (board_id, comment) \
         VALUES (1, 'never'); ROLLBACK TO s; \
                 INSERT INTO topics (board_id, comment) VALUES (1, 'kept'); COMMIT",
    );
    assert_eq!(place.comments(), ["kept"]);
}

fn what_shows_the_same_is_no_change(place: &Place) {
    let mut foreign = place.foreign();
    foreign.run("INSERT INTO topics (board_id, comment) VALUES (1, 'a')");
    let before = place.head();
    foreign.run(
        "UPDATE topics SET comment = comment; UPDATE topics SET comment = 'x' WHERE id = 999; \
         DELETE FROM topics WHERE id = 999",
    );
    assert_eq!((place.head(), kinds(place, before)), (before, vec![]));
}

fn a_written_revision_is_overwritten(place: &Place) {
    let mut foreign = place.foreign();
    foreign.run("INSERT INTO topics (board_id, comment, revision) VALUES (1, 'a', 77777)");
    assert_eq!(place.load().snapshot.topics()[0].revision, place.head());
    foreign.run("UPDATE topics SET revision = 77777");
    assert_eq!(place.load().snapshot.topics()[0].revision, place.head());
    foreign.run("UPDATE topics SET comment = 'b', revision = 77777");
    let loaded = place.load();
    let topic = &loaded.snapshot.topics()[0];
    assert_eq!(
        (topic.revision, topic.comment.as_str()),
        (place.head(), "b")
    );
    assert!(topic.updated_at > topic.created_at);
}

fn a_topic_that_moves_leaves_one_board_for_the_other(place: &Place) {
    let mut foreign = place.foreign();
    foreign.run(
        "INSERT INTO boards (name) VALUES ('other'); \
        INSERT INTO topics (board_id, comment) VALUES (1, 'a')",
    );
    let before = place.head();
    foreign.run("UPDATE topics SET board_id = 2");
    let changes = place.changes(before);
    let logged: Vec<_> = changes
        .iter()
        .map(|change| {
            (
                change.kind,
                change.board.as_ref().map(|board| board.name.as_str()),
                change.topic.is_some(),
            )
        })
        .collect();
    assert_eq!(
        logged,
        [
            (ChangeKind::Delete, Some("main"), false),
            (ChangeKind::Set, Some("other"), true)
        ]
    );
    assert_eq!(place.comments(), Vec::<String>::new());
}

fn ids_are_not_given_twice(place: &Place) {
    let first = create(place, "a").id;
    place.foreign().run("DELETE FROM topics");
    assert!(create(place, "b").id > first);
}

fn a_deleted_board_takes_its_topics_along(place: &Place) {
    let mut foreign = place.foreign();
    foreign.run(
        "INSERT INTO boards (name) VALUES ('other'); \
        INSERT INTO topics (board_id, comment) VALUES (2, 'a')",
    );
    let before = place.head();
    foreign.run("DELETE FROM boards WHERE id = 2");
    let mut logged = kinds(place, before);
    logged.sort_by_key(|(_, id)| *id);
    assert_eq!(
        logged,
        [(ChangeKind::Board, None), (ChangeKind::Delete, Some(1))]
    );
    assert!(
        place
            .changes(before)
            .iter()
            .all(|change| change.board.is_none())
    );
    let gone = place
        .store
        .load(place.store.epoch(), &"other".parse().expect("a name"));
    assert!(matches!(gone, Err(StoreError::NoSuchBoard(_))));
}

fn what_the_database_cannot_show_it_does_not_take(place: &Place) {
    let mut foreign = place.foreign();
    let long = "x".repeat(65_537);
    for row in [
        format!("(comment) VALUES ('{long}')"),
        format!("(comment, author) VALUES ('a', '{}')", "x".repeat(1_025)),
        "(comment, id) VALUES ('a', 0)".to_owned(),
        "(comment, id) VALUES ('a', 9007199254740992)".to_owned(),
        "(comment, created_at) VALUES ('a', '20000-01-01 00:00:00')".to_owned(),
        "(comment, updated_at) VALUES ('a', 'someday')".to_owned(),
    ] {
        let row = row
            .replacen('(', "(board_id, ", 1)
            .replace("VALUES (", "VALUES (1, ");
        assert!(
            foreign
                .try_run(&format!("INSERT INTO topics {row}"))
                .is_err(),
            "{row:.80}"
        );
    }
    foreign.run(
        "INSERT INTO topics (board_id, comment, created_at) \
        VALUES (1, '', '2026-01-02 03:04:05.678901')",
    );
    assert_eq!(
        place.load().snapshot.topics()[0].created_at.to_rfc3339(),
        "2026-01-02T03:04:05.678901+00:00"
    );
}

/// A board that is private stays so, an archived topic archived: a NULL is no value, and the
/// default is for new rows.
fn a_null_changes_no_row_that_is_there(place: &Place) {
    let mut foreign = place.foreign();
    foreign.run(
        "UPDATE boards SET title = 't', read = 'token', post = 'token', \
         created_at = '2001-01-01 00:00:00'; \
         INSERT INTO topics (board_id, comment, author, created_at, updated_at) \
         VALUES (1, 'a', 'ann', '2001-01-01 00:00:00', '2001-01-01 00:00:00'); \
         UPDATE topics SET archived = true",
    );
    for (table, columns) in [
        ("boards", ["title", "read", "post", "created_at"]),
        ("topics", ["author", "archived", "created_at", "updated_at"]),
    ] {
        for column in columns {
            let value = format!("SELECT {column} FROM {table}");
            let before = foreign.ask(&value);
            // SQLite cannot put back what was there, so it refuses.
            let done = foreign.try_run(&format!("UPDATE {table} SET {column} = NULL"));
            assert_eq!(
                done.is_ok(),
                place.kind == DatabaseKind::Postgres,
                "{table}.{column}: {done:?}"
            );
            assert_eq!(foreign.ask(&value), before, "{table}.{column}");
        }
    }
}
