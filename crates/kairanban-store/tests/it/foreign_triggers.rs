//! The owner's triggers that change what is written, or the session that writes it.

use std::sync::{Arc, Mutex};

use kairanban_core::{NewTopic, Verdict};
use kairanban_store::{Committed, Creation, StoreError, Write, Writer};

use crate::{
    contract::futures,
    place::{DatabaseKind, Place, WRITER, main, post_once, run, written_topic},
};

fn creation(comment: &str, author: &str) -> Write {
    let topic = NewTopic::try_new(comment, author).expect("allowed");
    Write::CreateTopic(Creation {
        board: main(),
        topic,
        key: None,
        scope: None,
    })
}

/// Drops some posts, swaps the authors of the others, and notes which id went to which author.
const SWAP_AUTHORS: &str = "CREATE TABLE came (id bigint, author text);
    CREATE FUNCTION swap() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF NEW.author LIKE 'drop%' THEN RETURN NULL; END IF;
        INSERT INTO came VALUES (NEW.id, NEW.author);
        NEW.author := CASE left(NEW.author, 1) WHEN 'a' THEN 'b' ELSE 'a' END
            || substr(NEW.author, 2);
        RETURN NEW; END $$;
    CREATE TRIGGER swap BEFORE INSERT ON topics FOR EACH ROW EXECUTE FUNCTION swap()";

/// Each post is answered with its own row, whatever the rows say afterwards.
#[test]
fn each_post_has_the_topic_that_was_made_of_it() {
    let place = Place::new(DatabaseKind::Postgres);
    let mut foreign = place.foreign();
    foreign.run(SWAP_AUTHORS);
    let (writer, _) = place.writer();
    let authors: Vec<_> = (0..40)
        .map(|n| format!("{} {}", ["a", "b", "b", "a", "drop"][n % 5], n / 5))
        .collect();
    let answers = run(futures(
        authors
            .iter()
            .map(|author| writer.write(creation("the same", author))),
    ));
    for (author, answer) in authors.iter().zip(answers) {
        match answer {
            Err(StoreError::Refused(_)) => assert!(author.starts_with("drop"), "{author}"),
            answer => {
                let id = written_topic(answer).id.0;
                let came = foreign.ask(&format!(
                    "SELECT count(*) FROM came WHERE id = {id} AND author = '{author}'"
                ));
                assert_eq!(came, "1", "{author} was answered with topic {id}");
            }
        }
    }
    assert_eq!(foreign.ask("SELECT count(*) FROM topics"), "32");
}

/// Every post would meet it: none is refused for good, and none is acknowledged without its place
/// in the log.
#[test]
fn a_strange_trigger_on_our_own_tables_of_a_file_is_named() {
    for (event, does) in [
        ("BEFORE INSERT ON changes", "SELECT RAISE(IGNORE);"),
        ("AFTER INSERT ON changes", "SELECT RAISE(IGNORE);"),
        (
            "BEFORE INSERT ON changes",
            "SELECT RAISE(ABORT, 'it''s mine');",
        ),
        (
            "AFTER INSERT ON changes",
            "DELETE FROM changes WHERE id = NEW.id;",
        ),
        ("BEFORE UPDATE ON revisions", "SELECT RAISE(IGNORE);"),
        (
            "BEFORE UPDATE OF revision ON changes",
            "SELECT RAISE(IGNORE);",
        ),
    ] {
        let place = Place::new(DatabaseKind::Sqlite);
        let mut foreign = place.foreign();
        foreign.run(&format!("CREATE TRIGGER strange {event} BEGIN {does} END"));
        let (writer, _) = place.writer();
        let posts = (0..4).map(|n| writer.write(creation(&format!("{n}"), "")));
        for answer in run(futures(posts)) {
            let error = answer.expect_err(event);
            assert!(
                matches!(&error, StoreError::Fault(fault) if fault.text.contains("DROP TRIGGER strange")),
                "{event} {does}: {error:?}"
            );
        }
        let fault = writer.health().fault().unwrap_or_default();
        assert!(fault.contains("DROP TRIGGER strange"), "{event}: {fault}");
        foreign.run("DROP TRIGGER strange");
        written_topic(run(writer.write(creation("after", ""))));
        assert_eq!(place.comments(), ["after"], "{event} {does}");
    }
}

/// A repeated request would be a second topic.
#[test]
fn a_post_whose_key_a_trigger_drops_is_not_acknowledged() {
    for (kind, trigger) in [
        (
            DatabaseKind::Sqlite,
            "CREATE TRIGGER strange BEFORE INSERT ON idempotency BEGIN SELECT RAISE(IGNORE); END",
        ),
        (
            DatabaseKind::Postgres,
            "CREATE FUNCTION drop_it() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
             CREATE TRIGGER strange BEFORE INSERT ON idempotency
                 FOR EACH ROW EXECUTE FUNCTION drop_it()",
        ),
    ] {
        let place = Place::new(kind);
        place.foreign().run(trigger);
        let (writer, _) = place.writer();
        let keys = ["a", "b", "c", "d"];
        let posts = keys.map(|key| writer.write(post_once("with a key", Some(key))));
        for answer in run(futures(posts)) {
            let said = format!("{kind:?}: {answer:?}");
            assert!(matches!(answer, Err(StoreError::Fault(_))), "{said}");
            assert!(said.contains("the table idempotency"), "{said}");
        }
        assert!(place.comments().is_empty(), "{kind:?}");
    }
}

const SETTINGS: [&str; 9] = [
    "SET timezone = 'Asia/Tokyo'",
    "SET datestyle = 'German'",
    "SET search_path = pg_catalog",
    "SET ROLE pg_monitor",
    "SET session_replication_role = replica",
    "SET default_transaction_read_only = on",
    "SET synchronous_commit = off",
    "SET statement_timeout = 1",
    "SET client_encoding = 'LATIN1'",
];

/// What a trigger sets in the writer's session ends with the write.
#[test]
fn settings_that_a_trigger_leaves_behind_harm_no_later_write() {
    let place = Place::new(DatabaseKind::Postgres);
    place.foreign().run(
        "CREATE FUNCTION set_it() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
         EXECUTE substr(NEW.comment, 5); RETURN NULL; END $$;
         CREATE TRIGGER zz_set_it AFTER INSERT ON topics FOR EACH ROW \
         WHEN (NEW.comment LIKE 'run %') EXECUTE FUNCTION set_it()",
    );
    let commits = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&commits);
    let (writer, _) = Writer::start(place.store.clone(), WRITER, move |commit| {
        seen.lock().expect("a lock").push(commit);
    })
    .expect("a writer");
    for setting in SETTINGS {
        // Whether the post itself succeeds is its trigger's affair.
        let _ = run(writer.write(creation(&format!("run {setting}"), "")));
        let comment = format!("after it 回覧板: {setting}");
        let topic = written_topic(run(writer.write(creation(&comment, ""))));
        assert_eq!(topic.comment, comment);
        let commit = commits.lock().expect("a lock").last().cloned();
        assert_logged(&place, commit.expect("a commit"), setting);
    }
    assert!(place.store.load(place.store.epoch(), &main()).is_ok());
}

/// What a commit says of itself is what the log says of it.
#[track_caller]
fn assert_logged(place: &Place, commit: Committed, setting: &str) {
    let (mut known, _) = place.store.settle(None).expect("a place");
    known.last = commit.last;
    let (_, verdict) = place.store.settle(Some(&known)).expect("a place");
    assert_eq!(verdict, Verdict::Same, "{setting}");
}
