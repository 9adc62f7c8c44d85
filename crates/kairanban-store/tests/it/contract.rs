//! The one story for both databases.

use std::{collections::BTreeSet, thread};

use kairanban_core::{ChangeKind, Revision, TopicEdit, TopicId};
use kairanban_store::{Deed, Store, StoreError, Stretch, Write, Written, migrate};

use crate::place::{Foreign, Kind, Place, TIMEOUTS, administer, config, create, main, run, topic};

crate::on_both!(
    migrating_again_changes_nothing_and_a_new_epoch_only_the_epoch,
    what_is_written_is_read_back,
    a_bad_write_fails_alone,
    writes_queued_together_share_a_revision,
    foreign_writes_count_the_same,
    a_rolled_back_write_is_nowhere,
    what_shows_the_same_is_no_change,
    a_written_revision_is_overwritten,
    a_topic_that_moves_leaves_one_board_for_the_other,
    ids_are_not_given_twice,
    a_deleted_board_takes_its_topics_along,
    what_the_database_cannot_show_it_does_not_take,
    a_full_board_shows_its_newest_and_archives_the_rest,
    the_log_can_be_forgotten,
    a_flood_is_told_by_boards,
    revisions_follow_commits_for_whoever_reads_along,
    history_comes_along_with_the_board,
    a_repeated_request_leads_to_one_topic,
    of_two_edits_at_once_one_wins,
    history_ends_where_the_board_was_full,
    a_null_changes_no_row_that_is_there,
);

fn kinds(place: &Place, after: Revision) -> Vec<(ChangeKind, Option<i64>)> {
    place
        .changes(after)
        .iter()
        .map(|change| (change.kind, change.topic_id.map(|id| id.0)))
        .collect()
}

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
    let update = administer(Deed::UpdateTopic {
        board: main(),
        id: first.id,
        edit: edit("changed"),
        expected: Some(first.revision),
    });
    let Ok(Written::Topic(changed)) = run(writer.write(update)) else {
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
    let late = administer(Deed::UpdateTopic {
        board: main(),
        id: first.id,
        edit: edit("late"),
        expected: Some(first.revision),
    });
    assert!(matches!(
        run(writer.write(late)),
        Err(StoreError::Changed(_))
    ));
    let late = administer(Deed::DeleteTopic {
        board: main(),
        id: first.id,
        expected: Some(first.revision),
    });
    assert!(matches!(
        run(writer.write(late)),
        Err(StoreError::Changed(_))
    ));
    assert_eq!(place.comments(), ["changed"]);
    let delete = administer(Deed::DeleteTopic {
        board: main(),
        id: first.id,
        expected: None,
    });
    assert!(matches!(
        run(writer.write(delete.clone())),
        Ok(Written::Deleted)
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
        administer(Deed::DeleteTopic {
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
            Ok(Written::Topic(topic)) => topic.revision.get(),
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
    foreign.run("BEGIN; DELETE FROM topics; INSERT INTO topics (board_id, comment) VALUES (1, 'new'); COMMIT");
    assert_eq!(place.comments(), ["new"]);
    assert_eq!(place.load().snapshot.revision(), place.head());
    assert!(place.head() > before);
}

fn a_rolled_back_write_is_nowhere(place: &Place) {
    let mut foreign = place.foreign();
    let before = place.head();
    foreign.run("BEGIN; INSERT INTO topics (board_id, comment) VALUES (1, 'never'); ROLLBACK");
    foreign.run("BEGIN; SAVEPOINT s; INSERT INTO topics (board_id, comment) VALUES (1, 'never'); ROLLBACK TO s; COMMIT");
    assert_eq!((kinds(place, before), place.comments()), (vec![], vec![]));
    foreign.run(
        "BEGIN; SAVEPOINT s; INSERT INTO topics (board_id, comment) VALUES (1, 'never'); ROLLBACK TO s; \
                 INSERT INTO topics (board_id, comment) VALUES (1, 'kept'); COMMIT",
    );
    assert_eq!(place.comments(), ["kept"]);
}

fn what_shows_the_same_is_no_change(place: &Place) {
    let mut foreign = place.foreign();
    foreign.run("INSERT INTO topics (board_id, comment) VALUES (1, 'a')");
    let before = place.head();
    foreign.run(
        "UPDATE topics SET comment = comment; UPDATE topics SET comment = 'x' WHERE id = 999; DELETE FROM topics WHERE id = 999",
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
    foreign.run("INSERT INTO boards (name) VALUES ('other'); INSERT INTO topics (board_id, comment) VALUES (1, 'a')");
    let before = place.head();
    foreign.run("UPDATE topics SET board_id = 2");
    let changes = place.changes(before);
    let told: Vec<_> = changes
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
        told,
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
    foreign.run("INSERT INTO boards (name) VALUES ('other'); INSERT INTO topics (board_id, comment) VALUES (2, 'a')");
    let before = place.head();
    foreign.run("DELETE FROM boards WHERE id = 2");
    let mut told = kinds(place, before);
    told.sort_by_key(|(_, id)| *id);
    assert_eq!(
        told,
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
    foreign.run("INSERT INTO topics (board_id, comment, created_at) VALUES (1, '', '2026-01-02 03:04:05.678901')");
    assert_eq!(
        place.load().snapshot.topics()[0].created_at.to_rfc3339(),
        "2026-01-02T03:04:05.678901+00:00"
    );
}

fn a_full_board_shows_its_newest_and_archives_the_rest(place: &Place) {
    let mut foreign = place.foreign();
    for n in 1..=8 {
        foreign.run(&format!(
            "INSERT INTO topics (board_id, comment) VALUES (1, '{n}')"
        ));
    }
    let shown = place.load().snapshot;
    assert_eq!(place.comments(), ["4", "5", "6", "7", "8"]);
    let before = place.head();
    assert_eq!(place.store.archive(&main(), 2).expect("archived"), 2);
    assert_eq!(place.store.archive(&main(), 2).expect("archived"), 1);
    assert_eq!(place.store.archive(&main(), 2).expect("archived"), 0);
    assert_eq!(
        kinds(place, before),
        [1, 2, 3].map(|id| (ChangeKind::Archive, Some(id)))
    );
    // The list shows the same, so its revision is the same.
    assert_eq!(place.load().snapshot.cursor(), shown.cursor());
    foreign.run("DELETE FROM topics WHERE id = 8");
    assert_eq!(
        place.comments(),
        ["4", "5", "6", "7"],
        "what is archived never comes back"
    );
    // Taken off the board by another program: gone from the list like any delete.
    let before = place.head();
    foreign.run(if place.kind == Kind::Sqlite {
        "UPDATE topics SET archived = 1 WHERE id = 4"
    } else {
        "UPDATE topics SET archived = true WHERE id = 4"
    });
    assert_eq!(kinds(place, before), [(ChangeKind::Delete, Some(4))]);
    assert_eq!(place.load().snapshot.revision(), place.head());
}

fn the_log_can_be_forgotten(place: &Place) {
    let mut foreign = place.foreign();
    foreign.run("INSERT INTO boards (name) VALUES ('quiet'); INSERT INTO topics (board_id, comment) VALUES (2, 'q')");
    let quiet = "quiet".parse().expect("a name");
    let epoch = place.store.epoch();
    let before = place
        .store
        .load(epoch, &quiet)
        .expect("the board")
        .snapshot
        .revision();
    for _ in 0..20 {
        foreign.run("INSERT INTO topics (board_id, comment) VALUES (1, 'x'); DELETE FROM topics WHERE comment = 'x'");
    }
    let shown = place.load().snapshot.revision();
    let long = std::time::Duration::from_secs(86_400);
    assert!(place.store.prune(10, long).expect("pruned") > 20);
    assert_eq!(place.store.prune(10_000, long).expect("pruned"), 0);
    assert!(place.store.trimmed_to().expect("a revision") > before);
    // What the boards show, and at which revision, did not change by it.
    assert_eq!(place.load().snapshot.revision(), shown);
    // By age, too: all but each board's newest.
    assert_eq!(
        place
            .store
            .head_before(std::time::Duration::ZERO)
            .expect("a revision"),
        place.head()
    );
    assert_eq!(
        place.store.head_before(long).expect("a revision"),
        Revision::ZERO
    );
    foreign.run("UPDATE changes SET at = '2000-01-01 00:00:00'");
    assert!(place.store.prune(10_000, long).expect("pruned") > 0);
    assert_eq!(place.store.trimmed_to().expect("a revision"), place.head());
    assert_eq!(place.load().snapshot.revision(), shown);
    assert_eq!(
        place
            .store
            .load(epoch, &quiet)
            .expect("the board")
            .snapshot
            .revision(),
        before
    );
}

fn a_flood_is_told_by_boards(place: &Place) {
    let mut foreign = place.foreign();
    foreign.run("INSERT INTO boards (name) VALUES ('other')");
    let before = place.head();
    let rows = (0..1_001)
        .map(|n| format!("({}, 'r{n}')", n % 2 + 1))
        .collect::<Vec<_>>()
        .join(",");
    foreign.run(&format!(
        "INSERT INTO topics (board_id, comment) VALUES {rows}"
    ));
    let Ok(Some(Stretch::Boards { last, boards })) =
        place.store.changes_since(&place.known(before))
    else {
        panic!("boards")
    };
    let head = last.expect("a row").revision;
    let mut names: Vec<_> = boards
        .iter()
        .filter_map(|board| board.standing.as_ref())
        .map(|board| board.name.to_string())
        .collect();
    names.sort();
    assert_eq!(
        (head, names),
        (place.head(), vec!["main".to_owned(), "other".to_owned()])
    );
    let main = boards
        .iter()
        .find(|board| {
            board
                .standing
                .as_ref()
                .is_some_and(|now| now.name == main())
        })
        .expect("main");
    assert_eq!(main.revision, place.load().snapshot.revision());
}

/// Two writers, and a reader who each time asks for what came after the last revision that it saw:
/// a change that came out of order would be missing at the end.
fn revisions_follow_commits_for_whoever_reads_along(place: &Place) {
    const EACH: usize = 60;
    let write = |writer: usize| {
        let mut foreign = place.foreign();
        let begin = match foreign {
            Foreign::Sqlite(_) => "PRAGMA busy_timeout = 10000; BEGIN IMMEDIATE",
            Foreign::Postgres(_) => "BEGIN",
        };
        thread::spawn(move || {
            for n in 0..EACH {
                let end = if n % 3 == 0 { "ROLLBACK" } else { "COMMIT" };
                foreign.run(&format!("{begin}; INSERT INTO topics (board_id, comment) VALUES (1, '{writer}-{n}'); {end}"));
            }
        })
    };
    let (mut position, mut seen) = (place.head(), BTreeSet::new());
    let writers = [write(0), write(1)];
    loop {
        let finished = writers.iter().all(thread::JoinHandle::is_finished);
        for change in place.changes(position) {
            position = change.revision;
            assert!(seen.insert(change.topic_id), "twice: {change:?}");
        }
        if finished {
            break;
        }
    }
    writers
        .into_iter()
        .for_each(|writer| writer.join().expect("a writer"));
    assert_eq!(seen.len(), 2 * EACH * 2 / 3);
}

fn history_comes_along_with_the_board(place: &Place) {
    let mut foreign = place.foreign();
    foreign.run("INSERT INTO topics (board_id, comment) VALUES (1, 'a'), (1, 'b')");
    let at = place.load().snapshot.cursor().clone();
    foreign.run(
        "DELETE FROM topics WHERE id = 1; INSERT INTO topics (board_id, comment) VALUES (1, 'c')",
    );
    let hub = kairanban_core::Hub::new(5, 4);
    let channel = hub.channel(&main());
    hub.install(&channel, place.load(), std::time::Instant::now())
        .expect("nothing missed");
    let Some(kairanban_core::Resume::Patch(patch)) = channel.live().resume(&at) else {
        panic!("a patch")
    };
    assert_eq!(patch.ops.len(), 2);
    if place.kind == Kind::Postgres {
        foreign.run("TRUNCATE topics");
        let hub = kairanban_core::Hub::new(5, 4);
        let channel = hub.channel(&main());
        hub.install(&channel, place.load(), std::time::Instant::now())
            .expect("nothing missed");
        assert!(
            matches!(
                channel.live().resume(&at),
                Some(kairanban_core::Resume::Snapshot(_))
            ),
            "nobody knows what a truncate took"
        );
    }
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
            Ok(Written::Topic(topic)) => topic.id,
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
        Ok(Written::Topic(_))
    ));
}

/// Two writers who both know the first revision, in one queue and in two.
fn of_two_edits_at_once_one_wins(place: &Place) {
    let writers = [place.writer().0, place.writer().0];
    for pair in [[&writers[0], &writers[0]], [&writers[0], &writers[1]]] {
        let first = create(place, "contested");
        let edit = |text: &str| {
            administer(Deed::UpdateTopic {
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
            .filter(|answer| matches!(answer, Ok(Written::Topic(_))))
            .count();
        let lost = answers
            .iter()
            .filter(|answer| matches!(answer, Err(StoreError::Changed(_))))
            .count();
        assert_eq!((won, lost), (1, 1), "{answers:?}");
    }
}

/// The board shows five. A reader who saw it full has to be sent the list: what it holds, and what
/// it lacks, the log does not tell.
fn history_ends_where_the_board_was_full(place: &Place) {
    let mut foreign = place.foreign();
    let resumes_by_patch = |at: &kairanban_core::Cursor| {
        let hub = kairanban_core::Hub::new(5, 4);
        let channel = hub.channel(&main());
        hub.install(&channel, place.load(), std::time::Instant::now())
            .expect("nothing missed");
        matches!(
            channel.live().resume(at),
            Some(kairanban_core::Resume::Patch(_))
        )
    };
    foreign.run("INSERT INTO topics (board_id, comment) VALUES (1, '1'), (1, '2'), (1, '3'), (1, '4'), (1, '5')");
    let full = place.load().snapshot.cursor().clone();
    foreign.run("INSERT INTO topics (board_id, comment) VALUES (1, '6')");
    let pushed_out = place.load().snapshot.cursor().clone();
    // One is pushed out, three go: the one that is not archived yet is back.
    foreign.run("BEGIN; DELETE FROM topics WHERE id IN (4, 5, 6); COMMIT");
    assert_eq!(place.comments(), ["1", "2", "3"]);
    assert!(!resumes_by_patch(&full) && !resumes_by_patch(&pushed_out));
    let now = place.load().snapshot.cursor().clone();
    foreign.run("INSERT INTO topics (board_id, comment) VALUES (1, '7')");
    assert!(resumes_by_patch(&now), "never full since");
    // And with archiving in between.
    foreign.run("INSERT INTO topics (board_id, comment) VALUES (1, '8'), (1, '9'), (1, '10')");
    let full = place.load().snapshot.cursor().clone();
    assert!(place.store.archive(&main(), 10).expect("archived") > 0);
    foreign.run("BEGIN; DELETE FROM topics WHERE id > 7; COMMIT");
    assert!(!resumes_by_patch(&full) && !resumes_by_patch(&now));
}

/// A board that is private stays so, an archived topic archived: a NULL is no value, and the default is for new rows.
fn a_null_changes_no_row_that_is_there(place: &Place) {
    let mut foreign = place.foreign();
    foreign.run(
        "UPDATE boards SET title = 't', read = 'token', post = 'token', created_at = '2001-01-01 00:00:00'; \
         INSERT INTO topics (board_id, comment, author, created_at, updated_at) VALUES (1, 'a', 'ann', '2001-01-01 00:00:00', '2001-01-01 00:00:00'); \
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
                place.kind == Kind::Postgres,
                "{table}.{column}: {done:?}"
            );
            assert_eq!(foreign.ask(&value), before, "{table}.{column}");
        }
    }
}
