//! Rows that a subscription brings, or a session in the replica role, between two databases of one
//! cluster.

use std::time::{Duration, Instant};

use kairanban_core::ChangeKind;
use kairanban_store::migrate;

use crate::place::{DatabaseKind, Foreign, Place, TIMEOUTS, create, main};

/// Waits until the board shows this.
fn await_comments(place: &Place, expected: &[&str]) {
    let (mut foreign, end) = (place.foreign(), Instant::now() + Duration::from_secs(20));
    while place.comments() != expected {
        assert!(
            Instant::now() < end,
            "{:?} instead of {expected:?}",
            place.comments()
        );
        foreign.run("SELECT pg_sleep(0.02)");
    }
}

/// All topics of the board bear revisions that the log knows, each of them drawn once.
fn assert_stamped(place: &Place) {
    let mut foreign = place.foreign();
    assert_eq!(
        foreign.ask("SELECT count(*) FROM changes WHERE revision IS NULL"),
        "0"
    );
    assert_eq!(foreign.ask("SELECT count(*) FROM transactions"), "0");
    let unlogged = "SELECT count(*) FROM topics t WHERE NOT EXISTS \
        (SELECT FROM changes c WHERE c.topic_id = t.id AND c.revision = t.revision \
        AND c.kind = 'set')";
    assert_eq!(foreign.ask(unlogged), "0");
}

/// A publisher that is a board as well, and one subscriber; the slot and the subscription end with
/// it.
struct Subscription<'a> {
    subscriber: &'a Place,
    publisher: Foreign,
    name: String,
}

impl<'a> Subscription<'a> {
    fn new(publisher: &Place, subscriber: &'a Place) -> Self {
        let (_, name) = subscriber.url().rsplit_once('/').expect("a database");
        let mut from = publisher.foreign();
        from.run("CREATE PUBLICATION topics_alone FOR TABLE topics");
        // Within one cluster the slot has to be there before.
        from.run(&format!(
            "SELECT pg_create_logical_replication_slot('{name}', 'pgoutput')"
        ));
        subscriber.foreign().run(&format!(
            "CREATE SUBSCRIPTION {name} CONNECTION '{}' PUBLICATION topics_alone WITH (create_slot \
             = false, slot_name = '{name}')",
            publisher.url()
        ));
        Self {
            subscriber,
            publisher: from,
            name: name.to_owned(),
        }
    }
}

impl Drop for Subscription<'_> {
    fn drop(&mut self) {
        let name = &self.name;
        let mut subscriber = self.subscriber.foreign();
        for sql in [
            format!("ALTER SUBSCRIPTION {name} DISABLE"),
            format!("ALTER SUBSCRIPTION {name} SET (slot_name = NONE)"),
            format!("DROP SUBSCRIPTION {name}"),
        ] {
            subscriber.try_run(&sql).ok();
        }
        let end = Instant::now() + Duration::from_secs(10);
        while self
            .publisher
            .try_run(&format!("SELECT pg_drop_replication_slot('{name}')"))
            .is_err()
            && Instant::now() < end
        {
            subscriber.try_run("SELECT pg_sleep(0.05)").ok();
        }
    }
}

#[test]
fn what_a_subscription_brings_is_shown() {
    let (publisher, subscriber) = (
        Place::new(DatabaseKind::Postgres),
        Place::new(DatabaseKind::Postgres),
    );
    create(&publisher, "before");
    let _subscription = Subscription::new(&publisher, &subscriber);
    await_comments(&subscriber, &["before"]);
    let mut from = publisher.foreign();
    from.run("INSERT INTO topics (board_id, comment) VALUES (1, 'a'), (1, 'b'), (1, 'c')");
    await_comments(&subscriber, &["before", "a", "b", "c"]);
    // Posts on both sides go on; ids of the subscriber are past those that came.
    let here = create(&subscriber, "here").id.0;
    assert!(here > 4, "{here}");
    let before = subscriber.head();
    from.run("TRUNCATE topics");
    await_comments(&subscriber, &[]);
    assert_eq!(subscriber.kinds(before), [ChangeKind::Clear]);
    from.run("INSERT INTO topics (id, board_id, comment) VALUES (90, 1, 'after')");
    await_comments(&subscriber, &["after"]);
    assert_stamped(&subscriber);
}

#[test]
fn a_transaction_that_a_subscription_brings_has_one_revision() {
    let (publisher, subscriber) = (
        Place::new(DatabaseKind::Postgres),
        Place::new(DatabaseKind::Postgres),
    );
    create(&publisher, "before");
    create(&publisher, "b");
    let _subscription = Subscription::new(&publisher, &subscriber);
    await_comments(&subscriber, &["before", "b"]);
    let before = subscriber.head();
    let mut from = publisher.foreign();
    from.run(
        "BEGIN; UPDATE topics SET comment = 'B' WHERE comment = 'b'; DELETE FROM topics \
        WHERE comment = 'before'; COMMIT",
    );
    await_comments(&subscriber, &["B"]);
    let changes = subscriber.changes(before);
    assert_eq!(
        subscriber.kinds(before),
        [ChangeKind::Set, ChangeKind::Delete]
    );
    assert_eq!(
        changes[0].revision, changes[1].revision,
        "one transaction, one revision"
    );
    assert_stamped(&subscriber);
    let edited = "SELECT extract(epoch FROM edited_at) FROM topics WHERE comment = 'B'";
    assert_eq!(subscriber.foreign().ask(edited), from.ask(edited));
}

/// Statements that change rows in each way, and the kinds of the changes that the log gets.
const STATEMENTS: [(&str, &[ChangeKind]); 10] = [
    (
        "INSERT INTO topics (board_id, comment) VALUES (1, 'a'), (1, 'b')",
        &[ChangeKind::Set, ChangeKind::Set],
    ),
    (
        "UPDATE topics SET comment = 'A' WHERE comment = 'a'",
        &[ChangeKind::Set],
    ),
    ("UPDATE topics SET comment = comment", &[]),
    ("UPDATE topics SET revision = 77", &[]),
    (
        "UPDATE topics SET id = id + 100 WHERE comment = 'b'",
        &[ChangeKind::Delete, ChangeKind::Set],
    ),
    (
        "UPDATE topics SET archived = true WHERE comment = 'b'",
        &[ChangeKind::Delete],
    ),
    (
        "DELETE FROM topics WHERE comment = 'A'",
        &[ChangeKind::Delete],
    ),
    ("UPDATE boards SET title = 'x'", &[ChangeKind::Board]),
    (
        "INSERT INTO tokens (name, digest, scope) VALUES ('t', 'd', 'read')",
        &[ChangeKind::Token],
    ),
    ("TRUNCATE topics", &[ChangeKind::Clear]),
];

#[test]
fn a_session_in_the_replica_role_counts_the_same() {
    let place = Place::new(DatabaseKind::Postgres);
    let mut admin = place.foreign();
    admin.run("SET session_replication_role = replica");
    for (sql, kinds) in STATEMENTS {
        let before = place.head();
        admin.run(sql);
        assert_eq!(place.kinds(before), kinds, "{sql}");
        assert_stamped(&place);
    }
}

/// An ordinary session does not log twice.
#[test]
fn an_ordinary_session_logs_once() {
    let place = Place::new(DatabaseKind::Postgres);
    let mut foreign = place.foreign();
    for (sql, rows) in [
        (
            "INSERT INTO topics (board_id, comment) VALUES (1, 'a'), (1, 'b')",
            2,
        ),
        ("UPDATE topics SET comment = 'x'", 2),
        ("DELETE FROM topics", 2),
        ("TRUNCATE topics", 1),
    ] {
        let before = place.head();
        foreign.run(sql);
        assert_eq!(place.changes(before).len(), rows, "{sql}");
    }
}

/// What `pg_restore --disable-triggers` leaves behind.
#[test]
fn an_ordinary_session_logs_once_after_all_triggers_were_switched_off_and_on() {
    let place = Place::new(DatabaseKind::Postgres);
    let mut foreign = place.foreign();
    foreign.run("ALTER TABLE topics DISABLE TRIGGER ALL; ALTER TABLE topics ENABLE TRIGGER ALL");
    for (sql, rows) in [
        (
            "INSERT INTO topics (board_id, comment) VALUES (1, 'a'), (1, 'b')",
            2,
        ),
        ("UPDATE topics SET comment = 'x'", 2),
        ("DELETE FROM topics", 2),
    ] {
        let before = place.head();
        foreign.run(sql);
        assert_eq!(place.changes(before).len(), rows, "{sql}");
    }
}

/// Renames the board `other`. Returns the revision since when it has its name.
fn rename_other(admin: &mut Foreign) -> String {
    admin.run("UPDATE boards SET name = name || '-2' WHERE name LIKE 'other%'");
    admin.ask(
        "SELECT named_by FROM board_lives l JOIN boards b ON b.id = l.board_id \
        WHERE b.name LIKE 'other%'",
    )
}

#[test]
fn a_name_that_the_replica_role_changes_is_a_new_one() {
    let place = Place::new(DatabaseKind::Postgres);
    let mut admin = place.foreign();
    admin.run("SET session_replication_role = replica; INSERT INTO boards (name) VALUES ('other')");
    assert_ne!(rename_other(&mut admin), rename_other(&mut admin));
}

/// A truncate takes all boards, their topics and all that belongs to them; it is logged for each
/// board.
#[test]
fn boards_that_are_truncated_are_seen() {
    let place = Place::new(DatabaseKind::Postgres);
    let mut admin = place.foreign();
    for role in ["origin", "replica"] {
        admin.run(&format!(
            "SET session_replication_role = {role}; INSERT INTO boards (name) VALUES ('other')"
        ));
        create(&place, "before");
        let before = place.head();
        admin.run("TRUNCATE boards CASCADE");
        let (board, token) = (ChangeKind::Board, ChangeKind::Token);
        assert_eq!(
            place.kinds(before),
            [board, board, token, token],
            "the cascade takes the tokens and their sessions: {role}"
        );
        admin.run("INSERT INTO boards (name) VALUES ('main')");
        assert_eq!(place.comments(), [""; 0], "{role}");
    }
}

/// How `pg_restore --disable-triggers` leaves the triggers: nothing is logged twice, and after
/// `migrate` nothing is missed.
#[test]
fn migrating_mends_what_a_restore_without_triggers_left() {
    let place = Place::new(DatabaseKind::Postgres);
    let mut admin = place.foreign();
    for table in ["topics", "boards", "tokens", "transactions"] {
        admin.run(&format!(
            "ALTER TABLE {table} DISABLE TRIGGER ALL; ALTER TABLE {table} ENABLE TRIGGER ALL"
        ));
    }
    let before = place.head();
    admin.run("INSERT INTO topics (board_id, comment) VALUES (1, 'a'), (1, 'b')");
    assert_eq!(place.changes(before).len(), 2);
    migrate(&place.address, TIMEOUTS, &main(), false).expect("migrated");
    admin.run("SET session_replication_role = replica");
    for (sql, kind) in [
        (
            "INSERT INTO topics (board_id, comment) VALUES (1, 'c')",
            ChangeKind::Set,
        ),
        (
            "UPDATE topics SET comment = 'C' WHERE comment = 'c'",
            ChangeKind::Set,
        ),
        ("UPDATE boards SET title = 'x'", ChangeKind::Board),
        (
            "INSERT INTO tokens (name, digest, scope) VALUES ('t', 'd', 'read')",
            ChangeKind::Token,
        ),
        ("TRUNCATE topics", ChangeKind::Clear),
    ] {
        let before = place.head();
        admin.run(sql);
        assert_eq!(place.kinds(before), [kind], "{sql}");
        assert_stamped(&place);
    }
}

#[test]
fn migrating_leaves_a_trigger_off_that_its_owner_turned_off() {
    let place = Place::new(DatabaseKind::Postgres);
    let mut admin = place.foreign();
    admin.run("ALTER TABLE topics DISABLE TRIGGER topics_applied");
    migrate(&place.address, TIMEOUTS, &main(), false).expect("migrated");
    assert_eq!(
        admin.ask("SELECT tgenabled FROM pg_trigger WHERE tgname = 'topics_applied'"),
        "D"
    );
}
