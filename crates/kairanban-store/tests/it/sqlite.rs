//! What only SQLite can do to us.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use kairanban_core::{ChangeKind, Scope};
use kairanban_store::{NewToken, Secret, Store, StoreConfig, Timeouts};

use crate::place::{
    DatabaseKind, Foreign, Place, TIMEOUTS, config, create, delete_topic, main, restore_topic, run,
    written_topic,
};

fn archive_one_by_one(store: &Store) {
    for _ in 0..300 {
        assert_eq!(store.archive(&main(), 1).expect("a turn"), 1);
    }
}

/// SQLite lets in the connection that happens to look at the right moment, and the others get an
/// error: the database is locked.
#[test]
fn a_constant_writer_keeps_no_other_of_this_process_out() {
    let place = Place::new(DatabaseKind::Sqlite);
    let hasty = Timeouts {
        statement: Duration::from_millis(20),
        ..TIMEOUTS
    };
    let store = Store::open(StoreConfig {
        timeouts: hasty,
        ..config(&place.address)
    })
    .expect("a store");
    let rows = vec!["(1, 'a')"; 1_000].join(",");
    place.foreign().run(&format!(
        "INSERT INTO topics (board_id, comment) VALUES {rows}"
    ));
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| archive_one_by_one(&store));
        }
    });
}

/// A connection that waits for the others.
fn patient(place: &Place) -> Foreign {
    let mut foreign = place.foreign();
    foreign.run("PRAGMA busy_timeout = 60000");
    foreign
}

/// What reads before it writes is turned away at once, however long it would wait, if another
/// program wrote between.
#[test]
fn a_writer_of_another_program_fails_no_decision() {
    let place = Place::new(DatabaseKind::Sqlite);
    let done = AtomicBool::new(false);
    let new = NewToken {
        name: "ann".parse().expect("a name"),
        scope: Scope::Read,
        board: None,
        expires_at: None,
    };
    thread::scope(|scope| {
        let other = scope.spawn(|| {
            let mut foreign = patient(&place);
            while !done.load(Ordering::Relaxed) {
                foreign.run("UPDATE boards SET title = title || '.' WHERE length(title) < 9");
                foreign.run("UPDATE boards SET title = 'main'");
            }
        });
        let decided = (0..100).try_for_each(|_| {
            let id = place
                .store
                .create_token(&new, &Secret::token().expect("a secret"))?;
            place.store.revoke_token(id)?;
            patient(&place).run("UPDATE identity SET value = '' WHERE key = 'epoch'");
            place.store.settle(None).map(drop)
        });
        done.store(true, Ordering::Relaxed);
        other.join().expect("the other program");
        decided.expect("waited for");
    });
}

#[test]
fn replace_is_a_delete_and_a_set() {
    let place = Place::new(DatabaseKind::Sqlite);
    let mut foreign = place.foreign();
    foreign.run(
        "INSERT INTO boards (name) VALUES ('other'); \
        INSERT INTO topics (board_id, comment) VALUES (1, 'a'), (1, 'b')",
    );
    let before = place.head();
    foreign.run(
        "INSERT OR REPLACE INTO topics (id, board_id, comment) VALUES (1, 2, 'moved'); \
        UPDATE OR REPLACE topics SET id = 1 WHERE id = 2",
    );
    assert_eq!(
        place.changed(before),
        [
            (ChangeKind::Delete, 1, Some(1)),
            (ChangeKind::Set, 2, Some(1)),
            (ChangeKind::Delete, 2, Some(1)),
            (ChangeKind::Delete, 1, Some(2)),
            (ChangeKind::Set, 1, Some(1)),
        ]
    );
    assert_eq!(place.comments(), ["b"]);
}

#[test]
fn bytes_that_are_no_text_do_not_hide_the_board() {
    let place = Place::new(DatabaseKind::Sqlite);
    place.foreign().run(
        "INSERT INTO topics (board_id, comment) \
        VALUES (1, 'a'), (1, CAST(x'ff00fe' AS TEXT)), (1, 'c')",
    );
    assert_eq!(place.comments(), ["a", "\u{FFFD}\0\u{FFFD}", "c"]);
}

#[test]
fn a_session_with_recursive_triggers_counts_the_same() {
    let place = Place::new(DatabaseKind::Sqlite);
    let mut foreign = place.foreign();
    foreign.run(
        "PRAGMA recursive_triggers = ON; INSERT INTO topics (board_id, comment) VALUES (1, 'a'); \
         UPDATE topics SET comment = 'b'",
    );
    foreign.run("INSERT OR REPLACE INTO topics (id, board_id, comment) VALUES (1, 1, 'c')");
    assert_eq!(place.comments(), ["c"]);
    assert_eq!(place.load().snapshot.topics()[0].revision, place.head());
}

#[test]
fn data_version_moves_for_another_connection() {
    let place = Place::new(DatabaseKind::Sqlite);
    let mut watch = place.store.watch_file().expect("a file").expect("SQLite");
    let before = watch.read().expect("a number");
    assert_eq!(watch.read().expect("a number"), before);
    place
        .foreign()
        .run("INSERT INTO topics (board_id, comment) VALUES (1, 'a')");
    assert_ne!(watch.read().expect("a number"), before);
}

#[test]
fn a_copied_file_is_another_database() {
    let place = Place::new(DatabaseKind::Sqlite);
    let kairanban_store::DatabaseAddress::Sqlite(file) = &place.address else {
        panic!("a file")
    };
    place.foreign().run(&format!(
        "VACUUM INTO '{}'",
        file.with_extension("backup").display()
    ));
    let backup = kairanban_store::DatabaseAddress::Sqlite(file.with_extension("backup"));
    let copy = kairanban_store::Store::open(crate::place::config(&backup)).expect("a store");
    assert_ne!(copy.epoch(), place.store.epoch());
    assert_eq!(
        &place.store.settle(None).expect("an epoch").0.epoch,
        place.store.epoch()
    );
}

/// As a program leaves it that goes round the constraints.
#[test]
fn a_deleted_topic_with_a_value_that_no_topic_has_can_be_restored() {
    let place = Place::new(DatabaseKind::Sqlite);
    let (writer, _) = place.writer();
    let id = create(&place, "archived").id;
    place.foreign().run(&format!(
        "PRAGMA ignore_check_constraints = ON; UPDATE topics SET archived = 7 WHERE id = {}",
        id.0
    ));
    run(writer.write(delete_topic(id, None))).expect("deleted");
    let restored = run(writer.write(restore_topic(id, Duration::from_secs(60))));
    assert_eq!(written_topic(restored).id, id);
}
