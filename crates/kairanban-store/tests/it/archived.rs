//! Topics that their board no longer shows, and what becomes of them: they are still read page by
//! page and one by one, so an edit is one there, too, and changes no live list.

use kairanban_core::ChangeKind::{self, Delete, Set};
use kairanban_store::{StoreError, migrate};

use crate::place::{
    DatabaseKind, Foreign, Place, TIMEOUTS, create, edit_topic, main, run, written_topic,
};

crate::on_both!(
    an_edit_of_an_archived_topic_draws_a_revision,
    what_others_do_to_archived_topics_is_logged,
    the_version_before_is_upgraded,
);

/// A board that shows `live` and has archived `old`.
fn archive_old(place: &Place) -> kairanban_core::TopicId {
    let (old, _) = (create(place, "old").id, create(place, "live"));
    let sql = format!("UPDATE topics SET archived = (1 = 1) WHERE id = {}", old.0);
    place.foreign().run(&sql);
    old
}

fn an_edit_of_an_archived_topic_draws_a_revision(place: &Place) {
    let old = archive_old(place);
    let before = place.store.topic(&main(), old).expect("the topic");
    let (writer, _) = place.writer();
    let edited = written_topic(run(writer.write(edit_topic(
        old,
        "edited",
        Some(before.revision),
    ))));
    assert_eq!(
        (edited.comment.as_str(), edited.revision),
        ("edited", place.head())
    );
    assert_eq!(
        place.changed(before.revision).last(),
        Some(&(Set, 1, Some(old.0)))
    );
    // A client that has read it before overwrites nothing.
    let late = run(writer.write(edit_topic(old, "lost", Some(before.revision))));
    assert!(matches!(late, Err(StoreError::Changed(_))), "{late:?}");
    assert_eq!(place.comments(), ["live"]);
}

/// What others do to the topic `old`, which is archived, and to `live`, which is not; and the kinds
/// of the changes that the log gets.
const STATEMENTS: [(&str, &[ChangeKind]); 9] = [
    (
        "UPDATE topics SET comment = 'old 2' WHERE comment = 'old'",
        &[Set],
    ),
    (
        "UPDATE topics SET author = 'ann' WHERE comment = 'old 2'",
        &[Set],
    ),
    (
        "UPDATE topics SET created_at = '2020-01-01 00:00:00', updated_at = '2020-01-01 00:00:00' \
         WHERE comment = 'old 2'",
        &[Set],
    ),
    (
        "UPDATE topics SET archived = archived, comment = comment",
        &[],
    ),
    (
        "UPDATE topics SET board_id = (SELECT max(id) FROM boards) WHERE comment = 'old 2'",
        &[Delete, Set],
    ),
    (
        "UPDATE topics SET archived = (1 = 1) WHERE comment = 'live'",
        &[Delete],
    ),
    (
        "UPDATE topics SET archived = (1 = 0), comment = 'live 2' WHERE comment = 'live'",
        &[Set],
    ),
    // It leaves the list, and is another text than before.
    (
        "UPDATE topics SET archived = (1 = 1), comment = 'live 3' WHERE comment = 'live 2'",
        &[Set, Delete],
    ),
    (
        "INSERT INTO topics (board_id, comment, archived) VALUES (1, 'imported', (1 = 1))",
        &[Set],
    ),
];

fn assert_logged(place: &Place, foreign: &mut Foreign) {
    archive_old(place);
    place
        .foreign()
        .run("INSERT INTO boards (name) SELECT 'b' || count(*) FROM boards");
    for (sql, kinds) in STATEMENTS {
        let before = place.head();
        foreign.run(sql);
        assert_eq!(place.kinds(before), kinds, "{sql}");
        let stamped = place.foreign().number(&format!(
            "SELECT count(*) FROM topics WHERE revision > {before}"
        ));
        let set = kinds.iter().filter(|kind| **kind == Set).count();
        assert_eq!(usize::try_from(stamped), Ok(set), "{sql}");
    }
    let left = place.comments();
    assert_eq!(left, [""; 0], "all are archived");
    place.foreign().run("DELETE FROM topics");
}

fn what_others_do_to_archived_topics_is_logged(place: &Place) {
    let mut foreign = place.foreign();
    assert_logged(place, &mut foreign);
    if place.kind == DatabaseKind::Postgres {
        foreign.run("SET session_replication_role = replica");
        assert_logged(place, &mut foreign);
    }
}

/// The schema as it was before, and what an edit came to there; then as it is now.
fn the_version_before_is_upgraded(place: &Place) {
    let down = match place.kind {
        DatabaseKind::Postgres => {
            include_str!(
                "../../../../migrations/postgres/2026-11-27-000005_archived_edits/down.sql"
            )
        }
        DatabaseKind::Sqlite => {
            include_str!("../../../../migrations/sqlite/2026-11-27-000005_archived_edits/down.sql")
        }
    };
    let old = archive_old(place);
    let mut foreign = place.foreign();
    foreign.run(&format!(
        "BEGIN; {down}; DELETE FROM __diesel_schema_migrations WHERE version = '20261127000005'; \
         COMMIT"
    ));
    let before = place.head();
    foreign.run("UPDATE topics SET comment = 'older' WHERE archived");
    assert_eq!(place.kinds(before), [Delete]);
    let ran = migrate(&place.address, TIMEOUTS, &main(), false).expect("migrated");
    assert_eq!(ran.len(), 1, "{ran:?}");
    let before = place.head();
    foreign.run("UPDATE topics SET comment = 'edited' WHERE archived");
    assert_eq!(place.kinds(before), [Set]);
    let topic = place.store.topic(&main(), old).expect("the topic");
    assert_eq!(
        (topic.comment.as_str(), topic.revision),
        ("edited", place.head())
    );
}
