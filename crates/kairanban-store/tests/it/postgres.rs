//! What only Postgres can do to us.

use std::time::{Duration, Instant};

use kairanban_core::ChangeKind;
use kairanban_store::{FaultKind, StoreError, WriteResult};

use crate::{
    contract::futures,
    place::{DatabaseKind, Foreign, Place, WRITER, post, post_once, run, written_topic},
};

fn place() -> (Place, Foreign) {
    let place = Place::new(DatabaseKind::Postgres);
    let foreign = place.foreign();
    (place, foreign)
}

#[test]
fn a_transaction_has_one_revision_and_truncate_is_seen() {
    let (place, mut foreign) = place();
    let before = place.head();
    foreign.run(
        "BEGIN; INSERT INTO topics (board_id, comment) SELECT 1, g::text \
        FROM generate_series(1, 50) g; DELETE FROM topics WHERE id < 48; COMMIT",
    );
    let revisions: std::collections::BTreeSet<_> = place
        .changes(before)
        .iter()
        .map(|change| change.revision)
        .collect();
    assert_eq!(revisions.len(), 1);
    assert_eq!(place.comments(), ["48", "49", "50"]);
    let before = place.head();
    foreign.run("TRUNCATE topics");
    assert_eq!(place.kinds(before), [ChangeKind::Clear]);
    assert_eq!(place.comments(), Vec::<String>::new());
}

#[test]
fn copy_is_seen() {
    let (place, mut foreign) = place();
    foreign.run(
        "CREATE TEMP TABLE rows (board_id bigint, comment text); INSERT INTO rows \
        VALUES (1, 'a'), (1, 'b')",
    );
    foreign.run(
        "COPY rows TO '/tmp/kairanban-copy-test' ; COPY topics (board_id, comment) FROM \
        '/tmp/kairanban-copy-test'",
    );
    assert_eq!(place.comments(), ["a", "b"]);
}

/// Open transactions that hold every kind of row that a commit of ours touches.
#[test]
fn an_open_transaction_elsewhere_delays_no_write() {
    let (place, mut foreign) = place();
    foreign.run("INSERT INTO topics (board_id, comment) VALUES (1, 'a')");
    let mut open = place.foreign();
    open.run(
        "BEGIN; UPDATE topics SET comment = 'open' WHERE id = 1; \
         INSERT INTO topics (board_id, comment) VALUES (1, 'open'); \
              UPDATE boards SET title = 'open' WHERE id = 1",
    );
    let began = Instant::now();
    foreign.run("SET lock_timeout = '1s'; INSERT INTO topics (board_id, comment) VALUES (1, 'b')");
    assert!(
        began.elapsed() < Duration::from_millis(900),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(place.comments(), ["a", "b"]);
    open.run("COMMIT");
    assert_eq!(place.comments(), ["open", "open", "b"]);
}

#[test]
fn a_writer_at_repeatable_read_does_not_fail_because_others_posted() {
    let (place, mut foreign) = place();
    for level in ["REPEATABLE READ", "SERIALIZABLE"] {
        let mut other = place.foreign();
        other.run(&format!(
            "BEGIN ISOLATION LEVEL {level}; SELECT count(*) FROM boards; \
             INSERT INTO topics (board_id, comment) VALUES (1, 'r')"
        ));
        foreign.run("INSERT INTO topics (board_id, comment) VALUES (1, 'meanwhile')");
        other.run("COMMIT");
    }
    assert_eq!(place.comments().len(), 4);
}

#[test]
fn writing_then_altering_in_one_transaction_works() {
    let (place, mut foreign) = place();
    foreign.run(
        "BEGIN; INSERT INTO topics (board_id, comment) VALUES (1, 'a'); TRUNCATE topics; \
                 INSERT INTO topics (board_id, comment) VALUES (1, 'b'); \
                 ALTER TABLE topics ADD COLUMN extra int; COMMIT",
    );
    assert_eq!(place.comments(), ["b"]);
}

#[test]
fn a_role_with_rights_on_topics_alone_suffices() {
    let (place, mut foreign) = place();
    let role = format!("plain_{}", std::process::id());
    foreign.run(&format!(
        "CREATE ROLE {role}; GRANT SELECT, INSERT, UPDATE, \
            DELETE, TRUNCATE ON topics TO {role}; SET ROLE {role}"
    ));
    foreign.run(
        "INSERT INTO topics (board_id, comment) VALUES (1, 'a'), (1, 'b'); UPDATE topics \
        SET comment = 'c' WHERE id = 1; DELETE FROM topics WHERE id = 2",
    );
    assert_eq!(place.comments(), ["c"]);
    assert!(
        foreign.try_run("DELETE FROM changes").is_err(),
        "the log is not theirs"
    );
    assert!(foreign.try_run("SELECT transaction_begun()").is_err());
    foreign.run("TRUNCATE topics; RESET ROLE");
    foreign.run(&format!(
        "REVOKE ALL ON topics FROM {role}; DROP ROLE {role}"
    ));
    assert_eq!(place.comments(), Vec::<String>::new());
}

#[test]
fn a_two_phase_commit_is_refused() {
    let (place, mut foreign) = place();
    let error = foreign.try_run(
        "BEGIN; INSERT INTO topics (board_id, comment) VALUES (1, 'a'); PREPARE TRANSACTION 'two'",
    );
    assert!(
        error.is_err_and(|text| text.contains("NOTIFY")),
        "the lock on the order of commits would stay held"
    );
    foreign.try_run("ROLLBACK").ok();
    assert_eq!(place.comments(), Vec::<String>::new());
}

/// Any role can fill it. As if it were full: that takes gigabytes.
#[test]
fn a_commit_does_not_need_the_queue_of_notify() {
    let (place, mut foreign) = place();
    foreign.run(
        "DO $$ DECLARE f TEXT := pg_get_functiondef('transaction_stamped()'::regprocedure); BEGIN \
         ASSERT f LIKE '%queue_usage() > 0.5%'; \
         EXECUTE replace(replace(f, 'queue_usage() > 0.5', 'queue_usage() >= 0'), \
         'pg_notify(', 'no_such_function('); END $$",
    );
    for text in ["a", "b"] {
        foreign.run(&format!("INSERT INTO topics (comment) VALUES ('{text}')"));
    }
    foreign.run(
        "BEGIN; INSERT INTO topics (comment) VALUES ('c'); SAVEPOINT s; \
         SET CONSTRAINTS ALL IMMEDIATE; RELEASE s; INSERT INTO topics (comment) VALUES ('d'); \
         COMMIT",
    );
    let refused = foreign
        .refused("BEGIN; INSERT INTO topics (comment) VALUES ('e'); PREPARE TRANSACTION 'two'");
    assert!(refused.contains("temporary objects"), "{refused}");
    foreign.try_run("ROLLBACK").ok();
    assert_eq!(place.comments(), ["a", "b", "c", "d"]);
}

#[test]
fn what_the_commit_has_to_stamp_cannot_be_truncated() {
    let (place, mut foreign) = place();
    foreign.run("INSERT INTO topics (comment) VALUES ('a')");
    let refused = foreign.refused("TRUNCATE boards, topics, transactions CASCADE");
    assert!(
        refused.contains("transactions cannot be truncated"),
        "{refused}"
    );
    assert_eq!(place.comments(), ["a"]);
}

#[test]
fn the_ids_of_the_log_that_are_used_up_are_named() {
    let (place, mut foreign) = place();
    foreign.run("SELECT setval('changes_id_seq', 9223372036854775807)");
    let (writer, _) = place.writer();
    let failed = run(writer.write(post("lost")));
    let Err(StoreError::Fault(fault)) = failed else {
        panic!("{failed:?}")
    };
    assert_eq!(fault.kind, FaultKind::ChangeIdsUsedUp, "{fault:?}");
    assert!(
        fault
            .to_string()
            .contains("TRUNCATE changes RESTART IDENTITY")
    );
    foreign.run("TRUNCATE changes RESTART IDENTITY");
    written_topic(run(writer.write(post("again"))));
}

#[test]
fn no_transaction_that_touches_many_boards_deadlocks() {
    let (place, mut foreign) = place();
    foreign.run("INSERT INTO boards (name) SELECT 'b' || g FROM generate_series(2, 9) g");
    let threads: Vec<_> = (0..4)
        .map(|n| {
            let mut foreign = place.foreign();
            std::thread::spawn(move || {
                for round in 0..10 {
                    let order = if (n + round) % 2 == 0 { "" } else { "DESC" };
                    foreign.run(&format!(
                        "INSERT INTO topics (board_id, comment) SELECT id, 'x' \
                            FROM boards ORDER BY id {order}"
                    ));
                }
            })
        })
        .collect();
    threads
        .into_iter()
        .for_each(|thread| thread.join().expect("no deadlock"));
    assert_eq!(place.comments().len(), 5);
}

#[test]
fn constraints_forced_early_keep_the_transaction_whole() {
    let (place, mut foreign) = place();
    let before = place.head();
    foreign.run(
        "BEGIN; INSERT INTO topics (board_id, comment) VALUES (1, 'a'); \
         SET CONSTRAINTS ALL IMMEDIATE; \
                 INSERT INTO topics (board_id, comment) VALUES (1, 'b'); COMMIT",
    );
    assert_eq!(place.changes(before).len(), 2);
    assert_eq!(place.comments(), ["a", "b"]);
    assert_eq!(place.load().snapshot.revision(), place.head());
}

/// The insert waits for the open delete of its board, and is refused when that commits.
#[test]
fn a_board_that_is_deleted_under_a_post_is_simply_not_there() {
    let (place, mut foreign) = place();
    foreign.run("BEGIN; DELETE FROM boards WHERE id = 1");
    let (writer, _) = place.writer();
    let posting = std::thread::spawn(move || run(writer.write(post("late"))));
    // Until the post waits for the lock that the delete holds.
    let mut watch = place.foreign();
    let waits = "DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_stat_activity \
        WHERE datname = current_database() \
                 AND wait_event_type = 'Lock') THEN RAISE 'not yet'; END IF; END $$";
    let end = Instant::now() + Duration::from_millis(1_500);
    while watch.try_run(waits).is_err() {
        assert!(Instant::now() < end, "the post does not wait");
    }
    foreign.run("COMMIT");
    let answer = posting.join().expect("an answer");
    assert!(
        matches!(answer, Err(StoreError::NoSuchBoard(_))),
        "{answer:?}"
    );
}

/// As after a client whose first request is stuck in a frozen session of another server asks again.
#[test]
fn a_key_that_another_transaction_holds_delays_its_own_request_only() {
    let place = Place::new(DatabaseKind::Postgres);
    let (writer, _) = place.writer();
    let mut holder = place.foreign();
    holder.run(
        "BEGIN; INSERT INTO topics (board_id, comment) VALUES (1, 'once'); \
        INSERT INTO idempotency (board_id, key, request, topic_id) VALUES (1, 'k', '', 1)",
    );
    let began = Instant::now();
    for neighbours in [&[][..], &[None, None], &[Some("a"), None, Some("b")], &[]] {
        let repeated = writer.write(post_once("once", Some("k")));
        let others = neighbours
            .iter()
            .map(|key| writer.write(post_once("other", *key)));
        let mut answers = run(futures(others.chain([repeated])));
        assert!(
            matches!(answers.pop(), Some(Err(StoreError::KeyInUse))),
            "not before the holder ends"
        );
        assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    }
    // A group may take three seconds.
    assert!(began.elapsed() < WRITER.group_wait, "{:?}", began.elapsed());
    holder.run("ROLLBACK");
    assert!(matches!(
        run(writer.write(post_once("once", Some("k")))),
        Ok(WriteResult::Topic(_))
    ));
    let comments = place.comments();
    let posted = comments.iter().filter(|comment| *comment == "once");
    assert_eq!(posted.count(), 1);
}
