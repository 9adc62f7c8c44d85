//! The change log, the same on both databases: followed, trimmed, and as a board's history.

use std::{
    collections::{BTreeMap, BTreeSet},
    thread,
    time::{Duration, Instant},
};

use kairanban_core::{
    BoardName, ChangeKind, Cursor, Hub, LogBounds, Opening, Revision, StartAt, full_list,
    plan_opening,
};
use kairanban_store::{AuditBounds, ChangeBatch, TicketTimes};

use crate::{
    foreign_writes::kinds,
    place::{DatabaseKind, Foreign, Place, main},
    tokens::make_token,
};

crate::on_both!(
    a_full_board_shows_its_newest_and_archives_the_rest,
    a_list_is_full_in_sql_when_it_is_in_core,
    the_log_can_be_trimmed_by_length,
    the_log_can_be_trimmed_by_age,
    a_log_far_over_its_bound_is_trimmed_piece_by_piece,
    all_that_expires_goes_piece_by_piece,
    what_cannot_be_deleted_keeps_nothing_else,
    a_flood_is_reported_by_boards,
    revisions_follow_commits_for_a_reader,
    history_comes_along_with_the_board,
    history_ends_where_the_board_was_full,
);

fn a_list_is_full_in_sql_when_it_is_in_core(place: &Place) {
    let (mut foreign, topics_max) = (place.foreign(), place.store.topics_max());
    for live in 1..=topics_max + 3 {
        foreign.run("INSERT INTO topics (board_id, comment) VALUES (1, 'x')");
        let shown = place.load().snapshot;
        let surplus = full_list::surplus(live, topics_max);
        assert_eq!(shown.topics().len(), live - surplus);
        let first = full_list::first_if_full(shown.topics(), topics_max).map_or(0, |first| first.0);
        let older = format!("SELECT count(*) FROM topics WHERE id < {first}");
        assert_eq!(foreign.number(&older), i64::try_from(surplus).expect("few"));
    }
    let archived = place.store.archive(&main(), 100).expect("archived");
    assert_eq!(archived, full_list::surplus(topics_max + 3, topics_max));
    assert_eq!(place.store.archive(&main(), 100).expect("archived"), 0);
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
    foreign.run(if place.kind == DatabaseKind::Sqlite {
        "UPDATE topics SET archived = 1 WHERE id = 4"
    } else {
        "UPDATE topics SET archived = true WHERE id = 4"
    });
    assert_eq!(kinds(place, before), [(ChangeKind::Delete, Some(4))]);
    assert_eq!(place.load().snapshot.revision(), place.head());
}

/// A board with one topic, and a long log of the board `main` after it. Returns the name, and its
/// revision.
fn a_quiet_board(place: &Place) -> (BoardName, Revision) {
    let mut foreign = place.foreign();
    foreign.run(
        "INSERT INTO boards (name) VALUES ('quiet'); \
        INSERT INTO topics (board_id, comment) VALUES (2, 'q')",
    );
    let quiet = "quiet".parse().expect("a name");
    let revision = shown(place, &quiet);
    for _ in 0..20 {
        foreign.run(
            "INSERT INTO topics (board_id, comment) VALUES (1, 'x'); DELETE FROM topics \
            WHERE comment = 'x'",
        );
    }
    (quiet, revision)
}

/// The revision at which a board is shown.
fn shown(place: &Place, board: &BoardName) -> Revision {
    let loaded = place.store.load(place.store.epoch(), board);
    loaded.expect("the board").snapshot.revision()
}

const A_DAY: Duration = Duration::from_secs(86_400);

/// What the boards show, and at which revision, does not change by it.
fn the_log_can_be_trimmed_by_length(place: &Place) {
    let (quiet, before) = a_quiet_board(place);
    let revision = shown(place, &main());
    assert!(place.store.trim_log(10, A_DAY).expect("trimmed") > 20);
    assert_eq!(place.store.trim_log(10_000, A_DAY).expect("trimmed"), 0);
    assert!(place.store.trimmed_to().expect("a revision") > before);
    assert_eq!(shown(place, &main()), revision);
    assert_eq!(shown(place, &quiet), before);
}

/// All but each board's newest.
fn the_log_can_be_trimmed_by_age(place: &Place) {
    let (quiet, before) = a_quiet_board(place);
    let revision = shown(place, &main());
    for (age, head) in [(Duration::ZERO, place.head()), (A_DAY, Revision::ZERO)] {
        assert_eq!(place.store.head_before(age).expect("a revision"), head);
    }
    place
        .foreign()
        .run("UPDATE changes SET at = '2000-01-01 00:00:00'");
    assert!(place.store.trim_log(10_000, A_DAY).expect("trimmed") > 0);
    assert_eq!(place.store.trimmed_to().expect("a revision"), place.head());
    assert_eq!(shown(place, &main()), revision);
    assert_eq!(shown(place, &quiet), before);
}

/// Other writers get in between.
fn a_log_far_over_its_bound_is_trimmed_piece_by_piece(place: &Place) {
    const ROWS: i64 = 60_000;
    let mut foreign = place.foreign();
    let numbers = format!(
        "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < {ROWS})"
    );
    foreign.run(&format!(
        "{numbers} INSERT INTO changes (revision, kind, board_id, topic_id, at) \
         SELECT n + 1000, 'set', 1, n, CURRENT_TIMESTAMP FROM n; \
         {numbers} INSERT INTO idempotency (board_id, key, request, topic_id, used_at) \
         SELECT 1, n, 'r', n, '2001-01-01 00:00:00' FROM n"
    ));
    foreign.run(match place.kind {
        DatabaseKind::Sqlite => "UPDATE revisions SET newest = 100000",
        DatabaseKind::Postgres => "SELECT setval('revision_seq', 100000)",
    });
    let posting = {
        let mut foreign = place.foreign();
        thread::spawn(move || {
            for n in 0..50 {
                foreign.run(&format!("INSERT INTO topics (comment) VALUES ('{n}')"));
            }
        })
    };
    let mut pieces = Vec::new();
    while pieces.last() != Some(&0) {
        pieces.push(place.store.trim_log(100, A_DAY).expect("trimmed"));
        let known = place.store.trimmed_to().expect("a revision").get();
        let gone = foreign.number("SELECT min(revision) FROM changes");
        assert!(known >= u64::try_from(gone).expect("a number") - 1);
    }
    assert!(pieces.len() > 2, "{pieces:?}");
    posting.join().expect("all posts were taken");
    assert_eq!(place.comments().len(), 5);
    assert!(foreign.number("SELECT count(*) FROM changes") < 200);
    let mut keys = 0;
    while keys < 60_000 {
        let expired = place.store.expire_keys(A_DAY).expect("expired");
        assert!((1..60_000).contains(&expired), "{expired}");
        keys += expired;
    }
    assert_eq!(place.store.expire_keys(A_DAY).expect("expired"), 0);
}

const ONE_ENTRY: AuditBounds = AuditBounds {
    max: 1,
    per_actor_min: 1,
};

const USED_TODAY: TicketTimes = TicketTimes {
    first_use: A_DAY,
    idle: A_DAY,
};

/// Each statement deletes few enough rows to end in time.
fn all_that_expires_goes_piece_by_piece(place: &Place) {
    const ROWS: i64 = 60_000;
    let mut foreign = place.foreign();
    let numbers = format!(
        "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < {ROWS})"
    );
    let long_ago = "'2001-01-01 00:00:00'";
    make_token(place, None);
    let token = foreign.number("SELECT max(id) FROM tokens");
    foreign.run(&format!(
        "{numbers} INSERT INTO audit (at, actor, action) SELECT {long_ago}, 'a', 'x' FROM n;
         {numbers} INSERT INTO tickets (digest, token_id, board_id, made_at) \
         SELECT 'd' || n, {token}, 1, {long_ago} FROM n;
         {numbers} INSERT INTO browser_sessions \
         (digest, token_id, token_digest, created_at, expires_at) \
         SELECT 's' || n, {token}, 'x', {long_ago}, {long_ago} FROM n"
    ));
    let mut pieces = Vec::new();
    while pieces.last() != Some(&0) {
        pieces.push(
            place
                .store
                .expire(ONE_ENTRY, A_DAY, USED_TODAY)
                .expect("deleted"),
        );
    }
    assert!(pieces.len() > 2, "{pieces:?}");
    for (table, left) in [("audit", 1), ("tickets", 0), ("browser_sessions", 0)] {
        let found = foreign.number(&format!("SELECT count(*) FROM {table}"));
        assert_eq!(found, left, "{table}");
    }
}

/// One table that fails does not let the others grow.
fn what_cannot_be_deleted_keeps_nothing_else(place: &Place) {
    let mut foreign = place.foreign();
    foreign.run(
        "INSERT INTO audit (at, actor, action) VALUES ('2001-01-01 00:00:00', 'a', 'x'), \
         ('2001-01-01 00:00:00', 'a', 'x'); ALTER TABLE deleted_topics RENAME TO away",
    );
    assert!(place.store.expire(ONE_ENTRY, A_DAY, USED_TODAY).is_err());
    assert_eq!(foreign.number("SELECT count(*) FROM audit"), 1);
}

fn a_flood_is_reported_by_boards(place: &Place) {
    let mut foreign = place.foreign();
    foreign.run("INSERT INTO boards (name) VALUES ('other')");
    let before = place.head();
    let rows: Vec<_> = (0..1_001)
        .map(|n| format!("({}, 'r{n}')", n % 2 + 1))
        .collect();
    foreign.run(&format!(
        "INSERT INTO topics (board_id, comment) VALUES {}",
        rows.join(",")
    ));
    let Ok(Some(ChangeBatch::Boards { last, boards })) =
        place.store.changes_since(&place.known(before))
    else {
        panic!("boards")
    };
    assert_eq!(last.expect("a row").revision, place.head());
    let revisions: BTreeMap<String, Revision> = boards
        .into_iter()
        .filter_map(|board| Some((board.info?.name.to_string(), board.revision)))
        .collect();
    let names: Vec<_> = revisions.keys().collect();
    assert_eq!(names, ["main", "other"]);
    assert_eq!(revisions["main"], place.load().snapshot.revision());
}

const WRITES_EACH: usize = 60;

/// Commits two of three writes, and rolls the third back.
fn write_and_roll_back(mut foreign: Foreign, writer: usize) {
    let begin = match foreign {
        Foreign::Sqlite(_) => "PRAGMA busy_timeout = 10000; BEGIN IMMEDIATE",
        Foreign::Postgres(_) => "BEGIN",
    };
    for n in 0..WRITES_EACH {
        let end = if n % 3 == 0 { "ROLLBACK" } else { "COMMIT" };
        foreign.run(&format!(
            "{begin}; INSERT INTO topics (board_id, comment) \
            VALUES (1, '{writer}-{n}'); {end}"
        ));
    }
}

/// Two writers, and a reader who each time asks for what came after the last revision that it saw:
/// a change that came out of order would be missing at the end.
fn revisions_follow_commits_for_a_reader(place: &Place) {
    let (mut position, mut seen) = (place.head(), BTreeSet::new());
    let writers = [0, 1].map(|writer| {
        let foreign = place.foreign();
        thread::spawn(move || write_and_roll_back(foreign, writer))
    });
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
    assert_eq!(seen.len(), 2 * WRITES_EACH * 2 / 3);
}

/// What a reader with a cursor is sent, by what is read along with the board.
fn opening(place: &Place, at: &Cursor) -> Opening {
    let hub = Hub::new(5, 4);
    let channel = hub.channel(&main());
    hub.install(&channel, place.load(), Instant::now())
        .expect("nothing missed");
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
    let Opening::Patch(patch) = opening(place, &at) else {
        panic!("a patch")
    };
    assert_eq!(patch.ops.len(), 2);
    if place.kind == DatabaseKind::Postgres {
        foreign.run("TRUNCATE topics");
        assert!(
            matches!(opening(place, &at), Opening::SnapshotSince(_)),
            "no row says what a truncate took"
        );
    }
}

fn resumes_by_patch(place: &Place, at: &Cursor) -> bool {
    matches!(opening(place, at), Opening::Patch(_))
}

/// The board shows five. A reader who saw it full has to be sent the list: what it holds, and what
/// it lacks, the log does not tell.
fn history_ends_where_the_board_was_full(place: &Place) {
    let mut foreign = place.foreign();
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
    assert!(!resumes_by_patch(place, &full) && !resumes_by_patch(place, &pushed_out));
    let now = place.load().snapshot.cursor().clone();
    foreign.run("INSERT INTO topics (board_id, comment) VALUES (1, '7')");
    assert!(resumes_by_patch(place, &now), "never full since");
    // And with archiving in between.
    foreign.run("INSERT INTO topics (board_id, comment) VALUES (1, '8'), (1, '9'), (1, '10')");
    let full = place.load().snapshot.cursor().clone();
    assert!(place.store.archive(&main(), 10).expect("archived") > 0);
    foreign.run("BEGIN; DELETE FROM topics WHERE id > 7; COMMIT");
    assert!(!resumes_by_patch(place, &full) && !resumes_by_patch(place, &now));
}
