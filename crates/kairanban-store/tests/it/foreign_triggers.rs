//! Triggers of the owner's own that change what is written, or the session that writes it.

use std::sync::{Arc, Mutex};

use diesel::{
    Connection as _, PgConnection, QueryableByName, RunQueryDsl as _, sql_query, sql_types::BigInt,
};
use kairanban_core::{NewTopic, Verdict};
use kairanban_store::{Committed, StoreError, Write, WriteResult, Writer};

use crate::{
    contract::futures,
    place::{Kind, Place, WRITER, main, run},
};

fn creation(comment: &str, author: &str) -> Write {
    let topic = NewTopic::try_new(comment, author).expect("allowed");
    Write::CreateTopic {
        board: main(),
        topic,
        key: None,
        right: None,
    }
}

#[derive(QueryableByName)]
struct CountedRow {
    #[diesel(sql_type = BigInt)]
    number: i64,
}

/// Each post is answered with its own row, whatever the rows say afterwards.
#[test]
fn each_post_has_the_topic_that_was_made_of_it() {
    let place = Place::new(Kind::Postgres);
    let mut foreign = place.foreign();
    foreign.run(
        "CREATE TABLE came (id bigint, author text);
         CREATE FUNCTION swap() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             IF NEW.author LIKE 'drop%' THEN RETURN NULL; END IF;
             INSERT INTO came VALUES (NEW.id, NEW.author);
             NEW.author := CASE left(NEW.author, 1) WHEN 'a' THEN 'b' \
             ELSE 'a' END || substr(NEW.author, 2);
             RETURN NEW; END $$;
         CREATE TRIGGER swap BEFORE INSERT ON topics FOR EACH ROW EXECUTE FUNCTION swap()",
    );
    let (writer, _) = place.writer();
    let authors: Vec<_> = (0..40)
        .map(|n| format!("{} {}", ["a", "b", "b", "a", "drop"][n % 5], n / 5))
        .collect();
    let answers = run(futures(
        authors
            .iter()
            .map(|author| writer.write(creation("the same", author))),
    ));
    let mut connection = PgConnection::establish(place.url()).expect("postgres");
    for (author, answer) in authors.iter().zip(answers) {
        match answer {
            Err(StoreError::Refused(_)) => assert!(author.starts_with("drop"), "{author}"),
            Ok(WriteResult::Topic(topic)) => {
                let query = format!(
                    "SELECT count(*) AS number FROM came WHERE id = {} AND author = '{author}'",
                    topic.id.0
                );
                let found: CountedRow = sql_query(query)
                    .get_result(&mut connection)
                    .expect("a count");
                assert_eq!(
                    found.number, 1,
                    "{author} was answered with topic {} of {}",
                    topic.id.0, topic.author
                );
            }
            other => panic!("{author}: {other:?}"),
        }
    }
    assert_eq!(foreign.ask("SELECT count(*) FROM topics"), "32");
}

/// What a trigger sets in the writer's session ends with the write.
#[test]
fn settings_that_a_trigger_leaves_behind_harm_no_later_write() {
    let place = Place::new(Kind::Postgres);
    let mut foreign = place.foreign();
    foreign.run(
        "CREATE FUNCTION set_it() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
         EXECUTE substr(NEW.comment, 5); RETURN NULL; END $$;
         CREATE TRIGGER zz_set_it AFTER INSERT ON topics FOR EACH ROW \
         WHEN (NEW.comment LIKE 'run %') EXECUTE FUNCTION set_it()",
    );
    let commits = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&commits);
    let note = move |commit: Committed| seen.lock().expect("a lock").push(commit);
    let (writer, _) = Writer::start(place.store.clone(), WRITER, note).expect("a writer");
    let settings = [
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
    for setting in settings {
        // Whether the post itself succeeds is its trigger's affair.
        let _ = run(writer.write(creation(&format!("run {setting}"), "")));
        let comment = format!("after it 回覧板: {setting}");
        match run(writer.write(creation(&comment, ""))) {
            Ok(WriteResult::Topic(topic)) => assert_eq!(topic.comment, comment),
            other => panic!("{setting}: {other:?}"),
        }
        // What a commit says of itself is what the log says of it.
        let last = commits
            .lock()
            .expect("a lock")
            .last()
            .and_then(|commit| commit.last.clone());
        let (mut known, _) = place.store.settle(None).expect("a place");
        known.last = last;
        assert_eq!(
            place.store.settle(Some(&known)).expect("a place").1,
            Verdict::Same,
            "{setting}"
        );
    }
    assert!(place.store.load(place.store.epoch(), &main()).is_ok());
}
