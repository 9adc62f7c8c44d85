//! What the writer does, the same on both databases.

use std::collections::BTreeSet;

use kairanban_core::{TopicEdit, TopicId};
use kairanban_store::{AdminCommand, Store, StoreError, Write, WriteResult, migrate};

use crate::place::{Place, TIMEOUTS, administer, config, create, main, run, topic};

crate::on_both!(
    migrating_again_changes_nothing_and_a_new_epoch_only_the_epoch,
    what_is_written_is_read_back,
    a_bad_write_fails_alone,
    writes_queued_together_share_a_revision,
    a_repeated_request_leads_to_one_topic,
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
    let edit = |text: &str| TopicEdit::try_new(Some(text), None).expect("allowed");
    let update = administer(AdminCommand::UpdateTopic {
        board: main(),
        id: first.id,
        edit: edit("changed"),
        expected: Some(first.revision),
    });
    let Ok(WriteResult::Topic(changed)) = run(writer.write(update)) else {
        panic!("a topic")
    };
    assert_eq!(
        (changed.id, changed.comment.as_str(), changed.created_at),
        (first.id, "changed", first.created_at)
    );
    assert!(changed.updated_at > first.updated_at, "{changed:?}");
    assert!(changed.revision > first.revision);
    assert_eq!(place.load().snapshot.topics()[0].as_ref(), &changed);
    // Who still thinks of the first revision has lost the race, and changes nothing.
    let late = administer(AdminCommand::UpdateTopic {
        board: main(),
        id: first.id,
        edit: edit("late"),
        expected: Some(first.revision),
    });
    assert!(matches!(
        run(writer.write(late)),
        Err(StoreError::Changed(_))
    ));
    let late = administer(AdminCommand::DeleteTopic {
        board: main(),
        id: first.id,
        expected: Some(first.revision),
    });
    assert!(matches!(
        run(writer.write(late)),
        Err(StoreError::Changed(_))
    ));
    assert_eq!(place.comments(), ["changed"]);
    let delete = administer(AdminCommand::DeleteTopic {
        board: main(),
        id: first.id,
        expected: None,
    });
    assert!(matches!(
        run(writer.write(delete.clone())),
        Ok(WriteResult::Deleted)
    ));
    assert!(matches!(
        run(writer.write(delete)),
        Err(StoreError::NoSuchTopic(_))
    ));
    assert_eq!(place.comments(), Vec::<String>::new());
    assert_eq!(
        commits.lock().expect("a lock").first(),
        Some(&changed.revision.get())
    );
}

fn a_bad_write_fails_alone(place: &Place) {
    let (writer, _) = place.writer();
    let nowhere = "nowhere".parse().expect("a name");
    let writes = [
        Write::CreateTopic {
            board: main(),
            topic: topic("one"),
            key: None,
            right: None,
        },
        Write::CreateTopic {
            board: nowhere,
            topic: topic("lost"),
            key: None,
            right: None,
        },
        administer(AdminCommand::DeleteTopic {
            board: main(),
            id: TopicId(999),
            expected: None,
        }),
        Write::CreateTopic {
            board: main(),
            topic: topic("two"),
            key: None,
            right: None,
        },
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
    let writes = (0..100).map(|n| {
        writer.write(Write::CreateTopic {
            board: main(),
            topic: topic(&n.to_string()),
            key: None,
            right: None,
        })
    });
    let answers = run(futures(writes));
    let revisions: Vec<u64> = answers
        .into_iter()
        .map(|answer| match answer {
            Ok(WriteResult::Topic(topic)) => topic.revision.get(),
            other => panic!("a topic, got {other:?}"),
        })
        .collect();
    let commits = commits.lock().expect("a lock").clone();
    assert_eq!(
        revisions
            .iter()
            .copied()
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect::<Vec<_>>(),
        commits
    );
    assert!(
        commits.len() < 50,
        "100 writes took {} commits",
        commits.len()
    );
}

/// Ten requests with one key by two writers at once, as if on two nodes.
fn a_repeated_request_leads_to_one_topic(place: &Place) {
    let write = |comment: &str| Write::CreateTopic {
        board: main(),
        topic: topic(comment),
        key: Some("k".parse().expect("a key")),
        right: None,
    };
    let writers = [place.writer().0, place.writer().0];
    let answers =
        run(futures(writers.iter().flat_map(|writer| {
            (0..5).map(|_| writer.write(write("once")))
        })));
    let ids: BTreeSet<_> = answers
        .into_iter()
        .map(|answer| match answer {
            Ok(WriteResult::Topic(topic)) => topic.id,
            other => panic!("a topic, got {other:?}"),
        })
        .collect();
    assert_eq!((ids.len(), place.comments()), (1, vec!["once".to_owned()]));
    assert!(matches!(
        run(writers[0].write(write("another"))),
        Err(StoreError::KeyReused)
    ));
    assert_eq!(
        place
            .store
            .forget_keys(std::time::Duration::from_secs(60))
            .expect("forgotten"),
        0
    );
    assert_eq!(
        place
            .store
            .forget_keys(std::time::Duration::ZERO)
            .expect("forgotten"),
        1
    );
    assert!(matches!(
        run(writers[0].write(write("another"))),
        Ok(WriteResult::Topic(_))
    ));
}

/// Two writers who both know the first revision, in one queue and in two.
fn of_two_edits_at_once_one_wins(place: &Place) {
    let writers = [place.writer().0, place.writer().0];
    for pair in [[&writers[0], &writers[0]], [&writers[0], &writers[1]]] {
        let first = create(place, "contested");
        let edit = |text: &str| {
            administer(AdminCommand::UpdateTopic {
                board: main(),
                id: first.id,
                edit: TopicEdit::try_new(Some(text), None).expect("allowed"),
                expected: Some(first.revision),
            })
        };
        let answers = run(futures([
            pair[0].write(edit("one")),
            pair[1].write(edit("other")),
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
