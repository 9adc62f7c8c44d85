//! Whether the log is still the one that was read, and what the database holds that the log has
//! missed.

use std::time::Duration;

use kairanban_core::{LogPosition, Restored, Revision, Verdict};
use kairanban_store::{ChangeBatch, Store, content_sum, migrate};

use crate::place::{DatabaseKind, Place, TIMEOUTS, config, create, main};

crate::on_both!(
    a_log_that_goes_on_is_the_same,
    trimming_never_looks_like_a_restore,
    a_log_that_went_back_begins_one_epoch_for_all_nodes,
    the_same_numbers_at_another_time_are_another_history,
    an_emptied_log_and_a_counter_that_went_back_are_noticed,
    an_epoch_that_an_administrator_began_is_taken,
    what_a_board_holds_is_summed_up_alike,
    what_the_log_missed_is_logged_once,
    what_was_missed_is_logged_with_a_revision_or_not_at_all,
    a_name_knows_since_when_it_means_its_board,
);

fn board_head(store: &Store) -> LogPosition {
    store.settle(None).expect("a place").0
}

fn is_same(store: &Store, known: &LogPosition) -> bool {
    store.changes_since(known).expect("a reading").is_some()
}

fn a_log_that_goes_on_is_the_same(place: &Place) {
    let known = board_head(&place.store);
    create(place, "one");
    let Ok(Some(ChangeBatch::Changes { changes, last })) = place.store.changes_since(&known) else {
        panic!("changes")
    };
    assert_eq!(changes.len(), 1, "without the row that was read before");
    let known = LogPosition { last, ..known };
    let Ok(Some(ChangeBatch::Changes {
        changes,
        last: None,
    })) = place.store.changes_since(&known)
    else {
        panic!("nothing new")
    };
    assert!(changes.is_empty());
    assert_eq!(
        place.store.settle(Some(&known)).expect("a place"),
        (known, Verdict::Same)
    );
}

fn trimming_never_looks_like_a_restore(place: &Place) {
    (0..6).for_each(|n| drop(create(place, &format!("r{n}"))));
    let early = board_head(&place.store);
    create(place, "one too many");
    // The newest change is one that the server would trim first.
    assert!(place.store.archive(&main(), 10).expect("archived") > 0);
    let known = board_head(&place.store);
    assert_eq!(
        known.last.as_ref().map(|last| last.kind.as_str()),
        Some("archive")
    );
    assert!(
        place
            .store
            .trim_log(0, Duration::from_secs(9_999))
            .expect("trimmed")
            > 0
    );
    assert!(is_same(&place.store, &known), "the newest row is kept");
    assert!(
        !is_same(&place.store, &early),
        "what a slow node read is not there any more"
    );
    let (now, verdict) = place.store.settle(Some(&early)).expect("a place");
    assert_eq!(
        (now.epoch, verdict),
        (known.epoch, Verdict::Trimmed),
        "but no node takes that for a restore"
    );
}

/// Takes the newest changes out of the log, as a backup from before them would be without.
fn go_back(place: &Place, before: &LogPosition) {
    let at = before.revision();
    let counter = match place.kind {
        DatabaseKind::Postgres => format!("SELECT setval('revision_seq', {at})"),
        DatabaseKind::Sqlite => format!("UPDATE revisions SET newest = {at}"),
    };
    place.foreign().run(&format!(
        "DELETE FROM changes WHERE revision > {at}; {counter}"
    ));
}

fn a_log_that_went_back_begins_one_epoch_for_all_nodes(place: &Place) {
    let backup = board_head(&place.store);
    create(place, "lost");
    let known = board_head(&place.store);
    go_back(place, &backup);
    assert!(!is_same(&place.store, &known));
    let other = Store::open(config(&place.address)).expect("another node");
    let (first, verdict) = place.store.settle(Some(&known)).expect("a place");
    assert_eq!(verdict, Verdict::Draw(Restored::Change));
    assert_ne!(first.epoch, known.epoch);
    let (second, verdict) = other.settle(Some(&known)).expect("a place");
    assert_eq!(
        (second.epoch, verdict),
        (first.epoch, Verdict::Adopt),
        "drawn once"
    );
}

fn the_same_numbers_at_another_time_are_another_history(place: &Place) {
    let backup = board_head(&place.store);
    create(place, "lost");
    let known = board_head(&place.store);
    go_back(place, &backup);
    // The same number of a change, at the same revision, of the same topic; and more behind it.
    let last = known.last.clone().expect("a row");
    let overriding = if place.kind == DatabaseKind::Postgres {
        "OVERRIDING SYSTEM VALUE"
    } else {
        ""
    };
    place.foreign().run(&format!(
        "INSERT INTO changes (id, revision, kind, board_id, topic_id, at) {overriding} \
         VALUES ({}, {}, 'set', 1, {}, '2001-01-01 00:00:00')",
        last.id,
        last.revision,
        last.topic_id.expect("a topic")
    ));
    if place.kind == DatabaseKind::Postgres {
        place
            .foreign()
            .run(&format!("SELECT setval('revision_seq', {})", last.revision));
    } else {
        place
            .foreign()
            .run(&format!("UPDATE revisions SET newest = {}", last.revision));
    }
    create(place, "after");
    assert!(!is_same(&place.store, &known));
    assert_eq!(
        place.store.settle(Some(&known)).expect("a place").1,
        Verdict::Draw(Restored::Change)
    );
}

fn an_emptied_log_and_a_counter_that_went_back_are_noticed(place: &Place) {
    create(place, "one");
    let known = board_head(&place.store);
    let (restart, empty) = match place.kind {
        DatabaseKind::Postgres => ("ALTER SEQUENCE revision_seq RESTART", "TRUNCATE changes"),
        DatabaseKind::Sqlite => ("UPDATE revisions SET newest = 0", "DELETE FROM changes"),
    };
    place.foreign().run(restart);
    assert!(!is_same(&place.store, &known), "the counter went back");
    let (now, verdict) = place.store.settle(Some(&known)).expect("a place");
    assert_eq!(verdict, Verdict::Draw(Restored::Counter));
    create(place, "two");
    assert!(
        is_same(&place.store, &now) && place.head() > now.revision(),
        "and goes on behind the log"
    );
    place.foreign().run(&format!("{empty}; {restart}"));
    assert!(!is_same(&place.store, &now));
    assert_eq!(
        place.store.settle(Some(&now)).expect("a place").1,
        Verdict::Draw(Restored::Change)
    );
}

fn an_epoch_that_an_administrator_began_is_taken(place: &Place) {
    create(place, "one");
    let known = board_head(&place.store);
    migrate(&place.address, TIMEOUTS, &main(), true).expect("migrated");
    assert!(!is_same(&place.store, &known));
    let (now, verdict) = place.store.settle(Some(&known)).expect("a place");
    assert_eq!((verdict, now.epoch != known.epoch), (Verdict::Adopt, true));
}

fn what_a_board_holds_is_summed_up_alike(place: &Place) {
    for text in ["plain", "回覧板 \u{1F4CC}", "a\nb\tc", "'\\\"%"] {
        create(place, text);
    }
    place
        .foreign()
        .run("UPDATE topics SET author = 'é ', created_at = '1969-12-31 23:59:59.5' WHERE id = 2");
    let edited = place
        .load()
        .snapshot
        .topics()
        .iter()
        .filter(|topic| topic.edited_at.is_some())
        .count();
    assert_eq!(edited, 1, "its time counts, too");
    if place.kind == DatabaseKind::Postgres {
        // Times that the schema refuses, where its constraints are gone.
        place.foreign().run(
            "SET session_replication_role = replica;
             ALTER TABLE topics DROP CONSTRAINT topics_created_at_range;
             UPDATE topics SET created_at = 'infinity' WHERE id = 1;
             UPDATE topics SET created_at = '10000-01-01' WHERE id = 3;
             UPDATE topics SET created_at = '-infinity' WHERE id = 4",
        );
    }
    let loaded = place.load();
    let content = place
        .store
        .contents(&[loaded.board_id])
        .expect("contents")
        .pop()
        .expect("the board");
    assert_eq!(
        (content.revision, content.sum),
        (loaded.snapshot.revision(), content_sum(&loaded.snapshot))
    );
    let info = content.info.expect("the board");
    assert_eq!((info.name, info.policies), (main(), loaded.policies));
}

fn what_the_log_missed_is_logged_once(place: &Place) {
    create(place, "one");
    let (seen, board) = (place.load().snapshot.revision(), place.load().board_id);
    assert!(place.store.log_missed(board, seen, false).expect("logged"));
    assert!(
        !place.store.log_missed(board, seen, false).expect("seen"),
        "another node was quicker"
    );
    assert_eq!(place.kinds(seen), [kairanban_core::ChangeKind::Clear]);
    assert!(place.load().snapshot.revision() > seen && place.comments() == ["one"]);
}

fn named_at(place: &Place, name: &str) -> Revision {
    let name = name.parse().expect("a name");
    place.store.board_head(&name).expect("the board").named_at
}

fn a_name_knows_since_when_it_means_its_board(place: &Place) {
    let mut foreign = place.foreign();
    let of_main = named_at(place, "main");
    foreign.run("INSERT INTO boards (name) VALUES ('x')");
    foreign.run("INSERT INTO boards (name) VALUES ('y')");
    assert!(
        named_at(place, "y") == place.head()
            && named_at(place, "x") < named_at(place, "y")
            && named_at(place, "main") == of_main
    );
    let of_x = named_at(place, "x");
    foreign.run("UPDATE boards SET title = 'a title' WHERE name = 'x'");
    create(place, "elsewhere");
    assert_eq!(named_at(place, "x"), of_x, "a title is no name");
    let before = place.head();
    foreign.run(
        "BEGIN; UPDATE boards SET name = 'z' WHERE name = 'x'; UPDATE boards SET name = 'x' \
         WHERE name = 'y'; \
         UPDATE boards SET name = 'y' WHERE name = 'z'; COMMIT",
    );
    assert!(
        named_at(place, "x") > before
            && named_at(place, "y") > before
            && named_at(place, "main") == of_main,
        "exchanged"
    );
    let before = place.head();
    foreign.run("DELETE FROM boards WHERE name = 'x'; INSERT INTO boards (name) VALUES ('x')");
    assert!(named_at(place, "x") > before, "made again");
}

/// With the stamp out of order nothing is logged at all: a row without a revision would stay in the
/// log for good.
fn what_was_missed_is_logged_with_a_revision_or_not_at_all(place: &Place) {
    let mut foreign = place.foreign();
    foreign.run("INSERT INTO topics (board_id, comment) VALUES (1, 'a')");
    let before = foreign.ask("SELECT count(*) FROM changes");
    foreign.run(match place.kind {
        DatabaseKind::Postgres => "ALTER TABLE transactions DISABLE TRIGGER transaction_stamped",
        DatabaseKind::Sqlite => "DROP TRIGGER changes_draw; DROP TRIGGER changes_stamp",
    });
    for is_board in [false, true] {
        let logged = place
            .store
            .log_missed(kairanban_core::BoardId(1), place.head(), is_board);
        assert!(logged.is_err(), "{logged:?}");
        assert_eq!(foreign.ask("SELECT count(*) FROM changes"), before);
    }
}
