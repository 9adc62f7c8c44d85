//! What the writer does, the same on both databases.

use std::{collections::BTreeSet, time::Duration};

use kairanban_core::TopicId;
use kairanban_store::{Creation, Store, StoreError, Write, WriteResult, migrate};

use crate::place::{
    DatabaseKind, Place, TIMEOUTS, config, create, delete_topic, edit_topic, main, post, post_once,
    run, topic, written_topic,
};

crate::on_both!(
    migrating_again_changes_nothing_and_a_new_epoch_only_the_epoch,
    what_is_written_is_read_back,
    a_write_that_expects_an_older_revision_changes_nothing,
    a_topic_is_deleted_once,
    the_newest_topic_of_a_board_is_the_last_that_is_not_archived,
    a_bad_write_fails_alone,
    writes_queued_together_share_a_revision,
    a_repeated_request_leads_to_one_topic,
    a_repeated_request_reports_a_revision_that_covers_its_answer,
    a_key_serves_one_request_until_it_expires,
    of_two_edits_at_once_one_wins,
);

fn migrating_again_changes_nothing_and_a_new_epoch_only_the_epoch(place: &Place) {
    create(place, "kept");
    assert_eq!(
        migrate(&place.address, TIMEOUTS, &main(), false).expect("migrated"),
        Vec::<String>::new()
    );
    let again = Store::open(config(&place.address)).expect("a store");
    assert_eq!(again.epoch(), place.store.epoch());
    migrate(&place.address, TIMEOUTS, &main(), true).expect("migrated");
    assert_ne!(
        &place.store.settle(None).expect("an epoch").0.epoch,
        place.store.epoch()
    );
    assert_eq!(place.comments(), ["kept"]);
}

fn what_is_written_is_read_back(place: &Place) {
    let (writer, commits) = place.writer();
    let first = create(place, "回覧板 <b>\n'; DROP TABLE topics;--");
    let edit = edit_topic(first.id, "changed", Some(first.revision));
    let changed = written_topic(run(writer.write(edit)));
    assert_eq!(
        (changed.id, changed.comment.as_str(), changed.created_at),
        (first.id, "changed", first.created_at)
    );
    assert!(changed.updated_at > first.updated_at, "{changed:?}");
    assert!(changed.revision > first.revision);
    assert_eq!(place.load().snapshot.topics()[0].as_ref(), &changed);
    assert_eq!(
        commits.lock().expect("a lock").first(),
        Some(&changed.revision.get())
    );
}

/// A client that still expects the first revision has lost the race, and changes nothing.
fn a_write_that_expects_an_older_revision_changes_nothing(place: &Place) {
    let (writer, _) = place.writer();
    let first = create(place, "first");
    let edit = edit_topic(first.id, "changed", Some(first.revision));
    run(writer.write(edit)).expect("written");
    for late in [
        edit_topic(first.id, "late", Some(first.revision)),
        delete_topic(first.id, Some(first.revision)),
    ] {
        assert!(matches!(
            run(writer.write(late)),
            Err(StoreError::Changed(_))
        ));
    }
    assert_eq!(place.comments(), ["changed"]);
}

fn a_topic_is_deleted_once(place: &Place) {
    let (writer, _) = place.writer();
    let delete = delete_topic(create(place, "first").id, None);
    assert!(matches!(
        run(writer.write(delete.clone())),
        Ok(WriteResult::Ended)
    ));
    assert!(matches!(
        run(writer.write(delete)),
        Err(StoreError::NoSuchTopic(_))
    ));
    assert_eq!(place.comments(), Vec::<String>::new());
}

fn the_newest_topic_of_a_board_is_the_last_that_is_not_archived(place: &Place) {
    let boards = [main(), "absent".parse().expect("a name")];
    let newest = || place.store.newest_topics(&boards).expect("read");
    assert!(newest().is_empty(), "no topic yet");
    let older = create(place, "older");
    let newer = create(place, "newer");
    assert_eq!(newest().get(&main()), Some(&newer));
    let archive = format!(
        "UPDATE topics SET archived = (1 = 1) WHERE id = {}",
        newer.id.0
    );
    place.foreign().run(&archive);
    let found = newest().remove(&main()).expect("a topic");
    assert_eq!(found.id, older.id);
}

fn a_bad_write_fails_alone(place: &Place) {
    let (writer, _) = place.writer();
    let nowhere = Write::CreateTopic(Creation {
        board: "nowhere".parse().expect("a name"),
        topic: topic("lost"),
        key: None,
        scope: None,
    });
    let writes = [
        post("one"),
        nowhere,
        delete_topic(TopicId(999), None),
        post("two"),
    ];
    let answers = run(futures(writes.map(|write| writer.write(write))));
    assert!(
        matches!(
            answers[..],
            [
                Ok(_),
                Err(StoreError::NoSuchBoard(_)),
                Err(StoreError::NoSuchTopic(_)),
                Ok(_)
            ]
        ),
        "{answers:?}"
    );
    assert_eq!(place.comments(), ["one", "two"]);
}

/// Runs futures side by side, all queued before the first is answered.
pub(crate) async fn futures<T>(all: impl IntoIterator<Item = impl Future<Output = T>>) -> Vec<T> {
    let mut all: Vec<_> = all.into_iter().map(Box::pin).collect();
    let mut done: Vec<Option<T>> = all.iter().map(|_| None).collect();
    std::future::poll_fn(|context| {
        for (future, done) in all
            .iter_mut()
            .zip(&mut done)
            .filter(|(_, done)| done.is_none())
        {
            if let std::task::Poll::Ready(value) = future.as_mut().poll(context) {
                *done = Some(value);
            }
        }
        if done.iter().all(Option::is_some) {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
    done.into_iter().flatten().collect()
}

fn writes_queued_together_share_a_revision(place: &Place) {
    let (writer, commits) = place.writer();
    let writes = (0..100).map(|n| writer.write(post(&n.to_string())));
    let revisions: BTreeSet<u64> = run(futures(writes))
        .into_iter()
        .map(|answer| written_topic(answer).revision.get())
        .collect();
    let commits = commits.lock().expect("a lock").clone();
    assert_eq!(revisions.into_iter().collect::<Vec<_>>(), commits);
    assert!(
        commits.len() < 50,
        "100 writes took {} commits",
        commits.len()
    );
}

/// Ten requests with one key by two writers at once, as if on two nodes.
fn a_repeated_request_leads_to_one_topic(place: &Place) {
    let writers = [place.writer().0, place.writer().0];
    let requests = writers
        .iter()
        .flat_map(|writer| (0..5).map(|_| writer.write(post_once("once", Some("k")))));
    let ids: BTreeSet<_> = run(futures(requests))
        .into_iter()
        .map(|answer| written_topic(answer).id)
        .collect();
    assert_eq!((ids.len(), place.comments()), (1, vec!["once".to_owned()]));
}

/// What it is answered was committed by others, and is shown once that revision is published.
/// Topics of a bulk transaction have a number that was drawn before its turn.
fn a_repeated_request_reports_a_revision_that_covers_its_answer(place: &Place) {
    let (writer, commits) = place.writer();
    let once = post_once("once", Some("k"));
    let repeat = || {
        let answer = run(writer.write(once.clone()));
        (answer, commits.lock().expect("a lock").last().copied())
    };
    let (first, _) = repeat();
    let mut foreign = place.foreign();
    if place.kind == DatabaseKind::Postgres {
        foreign
            .run("INSERT INTO topics (comment) SELECT 'row ' || g FROM generate_series(1, 2100) g");
    }
    foreign.run("UPDATE topics SET author = 'ann'");
    let (edited, reported) = repeat();
    assert_eq!(written_topic(edited).author, "ann");
    assert_eq!(reported, Some(place.head().get()));
    let id = written_topic(first).id;
    foreign.run(&format!("DELETE FROM topics WHERE id = {}", id.0));
    let (gone, reported) = repeat();
    assert!(matches!(gone, Err(StoreError::TopicGone(_))), "{gone:?}");
    assert_eq!(reported, Some(place.head().get()));
}

fn a_key_serves_one_request_until_it_expires(place: &Place) {
    let (writer, _) = place.writer();
    run(writer.write(post_once("once", Some("k")))).expect("written");
    let another = post_once("another", Some("k"));
    assert!(matches!(
        run(writer.write(another.clone())),
        Err(StoreError::KeyReused)
    ));
    for (age, gone) in [(Duration::from_secs(60), 0), (Duration::ZERO, 1)] {
        assert_eq!(place.store.expire_keys(age).expect("expired"), gone);
    }
    written_topic(run(writer.write(another)));
}

/// Two writers who both know the first revision, in one queue and in two.
fn of_two_edits_at_once_one_wins(place: &Place) {
    let writers = [place.writer().0, place.writer().0];
    for pair in [[&writers[0], &writers[0]], [&writers[0], &writers[1]]] {
        let first = create(place, "contested");
        let answers = run(futures([
            pair[0].write(edit_topic(first.id, "one", Some(first.revision))),
            pair[1].write(edit_topic(first.id, "other", Some(first.revision))),
        ]));
        let won = answers
            .iter()
            .filter(|answer| matches!(answer, Ok(WriteResult::Topic(_))))
            .count();
        let lost = answers
            .iter()
            .filter(|answer| matches!(answer, Err(StoreError::Changed(_))))
            .count();
        assert_eq!((won, lost), (1, 1), "{answers:?}");
    }
}
