//! The change log, the same on both databases: followed, forgotten, and as a board's history.

use std::{collections::BTreeSet, thread};

use kairanban_core::{
    BoardChannel, ChangeKind, Cursor, LogBounds, Opening, Revision, StartAt, plan_opening,
};
use kairanban_store::ChangeBatch;

use crate::{
    foreign_writes::kinds,
    place::{Foreign, Kind, Place, main},
};

crate::on_both!(
    a_full_board_shows_its_newest_and_archives_the_rest,
    the_log_can_be_forgotten,
    a_flood_is_told_by_boards,
    revisions_follow_commits_for_whoever_reads_along,
    history_comes_along_with_the_board,
    history_ends_where_the_board_was_full,
);

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
    foreign.run(
        "INSERT INTO boards (name) VALUES ('quiet'); \
        INSERT INTO topics (board_id, comment) VALUES (2, 'q')",
    );
    let quiet = "quiet".parse().expect("a name");
    let epoch = place.store.epoch();
    let before = place
        .store
        .load(epoch, &quiet)
        .expect("the board")
        .snapshot
        .revision();
    for _ in 0..20 {
        foreign.run(
            "INSERT INTO topics (board_id, comment) VALUES (1, 'x'); DELETE FROM topics \
            WHERE comment = 'x'",
        );
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
    let Ok(Some(ChangeBatch::Boards { last, boards })) =
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
                foreign.run(&format!(
                    "{begin}; INSERT INTO topics (board_id, comment) \
                    VALUES (1, '{writer}-{n}'); {end}"
                ));
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

/// What a reader with a cursor is sent, by what was read along with the board.
fn opening(channel: &BoardChannel, at: &Cursor) -> Opening {
    let log = LogBounds {
        published: Revision::ZERO,
        trimmed_to: Revision::ZERO,
    };
    plan_opening(&StartAt::Cursor(at.clone()), &channel.live(), log)
        .expect("ready")
        .opening
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
    let Opening::Patch(patch) = opening(&channel, &at) else {
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
            matches!(opening(&channel, &at), Opening::SnapshotSince(_)),
            "nobody knows what a truncate took"
        );
    }
}

/// The board shows five. A reader who saw it full has to be sent the list: what it holds, and what
/// it lacks, the log does not tell.
fn history_ends_where_the_board_was_full(place: &Place) {
    let mut foreign = place.foreign();
    let resumes_by_patch = |at: &Cursor| {
        let hub = kairanban_core::Hub::new(5, 4);
        let channel = hub.channel(&main());
        hub.install(&channel, place.load(), std::time::Instant::now())
            .expect("nothing missed");
        matches!(opening(&channel, at), Opening::Patch(_))
    };
    foreign.run(
        "INSERT INTO topics (board_id, comment) \
        VALUES (1, '1'), (1, '2'), (1, '3'), (1, '4'), (1, '5')",
    );
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
