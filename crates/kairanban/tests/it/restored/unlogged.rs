//! Rows that changed without a revision: they are shown, said to have changed, and no reader is led
//! across them by a patch.

use std::{fs, time::Duration};

use super::{QUICK, STREAM, comments, next, within};
use crate::node::{Database, Node};

crate::on_both!(
    what_triggers_did_not_log_is_shown,
    a_reading_that_brings_them_is_sent_whole_and_logged,
    a_full_board_that_shows_them_late_is_sent_whole_and_logged,
    a_full_board_that_lets_them_in_is_sent_whole_and_logged,
    what_changes_while_the_server_is_away_is_found,
);

/// Changes topics while no trigger logs it.
fn write_unlogged(database: &Database, unlogged: &str) {
    if database.is_postgres() {
        database.sql(&format!(
            "BEGIN; ALTER TABLE topics DISABLE TRIGGER USER; {unlogged} \
             ALTER TABLE topics ENABLE TRIGGER USER; COMMIT;"
        ));
    } else {
        let triggers = database.sql(
            "SELECT sql || ';' FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'topics';",
        );
        let names = database.sql(
            "SELECT 'DROP TRIGGER ' || name || ';' FROM sqlite_master WHERE type = 'trigger' \
                AND tbl_name = 'topics';",
        );
        database.sql(&format!("BEGIN; {names} {unlogged} {triggers} COMMIT;"));
    }
}

/// How often the log says that a list was cleared.
fn clears(database: &Database) -> u32 {
    let count = database.sql("SELECT count(*) FROM changes WHERE kind = 'clear';");
    count.parse().expect("a number")
}

fn what_triggers_did_not_log_is_shown(database: Database) {
    let node = Node::start_with(database, &[QUICK]);
    node.post("one");
    node.post("two");
    let other = node.database.is_postgres().then(|| node.sibling());
    let mut streams: Vec<_> = [Some(&node), other.as_ref()]
        .into_iter()
        .flatten()
        .map(|node| node.stream(STREAM))
        .collect();
    streams.iter_mut().for_each(|stream| drop(stream.event()));
    write_unlogged(
        &node.database,
        "INSERT INTO topics (board_id, comment) VALUES (1, 'unlogged'); \
         UPDATE topics SET comment = 'edited' WHERE id = 1; DELETE FROM topics WHERE id = 2;",
    );
    let before = clears(&node.database);
    for stream in &mut streams {
        // Readers at one revision may have held different lists, so each is sent the whole one.
        let list = next(stream, "snapshot").data;
        assert!(
            list.contains("unlogged") && list.contains("edited") && !list.contains("two"),
            "{list}"
        );
    }
    assert_eq!(comments(&node), ["edited", "unlogged"]);
    let after = clears(&node.database);
    assert!(
        after - before <= 1 && after >= 1,
        "logged once, not once a node: {before} and {after}"
    );
}

/// Triggers that were turned off and on do not fire for rows that replication brings, until the
/// server puts that right.
#[test]
fn triggers_that_miss_replicated_rows_are_restored() {
    let node = Node::start_with(Database::postgres(), &[QUICK]);
    let wrong = "SELECT count(*) FROM pg_trigger \
        WHERE tgname IN ('topics_applied', 'topics_before_insert') AND tgenabled = 'O';";
    node.database
        .sql("ALTER TABLE topics DISABLE TRIGGER ALL; ALTER TABLE topics ENABLE TRIGGER ALL;");
    within(Duration::from_secs(10), "restoring the triggers", || {
        node.database.sql(wrong) == "0"
    });
    node.database.sql(
        "SET session_replication_role = replica; \
        INSERT INTO topics (board_id, comment) VALUES (1, 'applied');",
    );
    let unlogged = node
        .database
        .sql("SELECT count(*) FROM topics WHERE revision = 0;");
    assert_eq!(unlogged, "0", "it drew a revision");
    assert_eq!(comments(&node), ["applied"]);
}

/// A board that changes much at once is read again, before any comparison finds what the log lacks.
fn a_reading_that_brings_them_is_sent_whole_and_logged(database: Database) {
    let settings = [
        ("HISTORY__RECONCILE_S", "3600"),
        ("DATABASE__CHANGES_MAX", "10"),
    ];
    let node = Node::start_with(database, &settings);
    node.post("one");
    node.post("two");
    let mut stream = node.stream(STREAM);
    let cursor = next(&mut stream, "snapshot").id.expect("a cursor");
    write_unlogged(&node.database, "DELETE FROM topics WHERE comment = 'one';");
    let many = vec!["(1, 'many')"; 20].join(", ");
    node.database.sql(&format!(
        "INSERT INTO topics (board_id, comment) VALUES {many};"
    ));
    let sent = next(&mut stream, "snapshot").data;
    assert!(sent.contains("many") && !sent.contains("one"), "{sent}");
    let resumed = node.resume(STREAM, &cursor).event();
    assert_eq!(
        (resumed.name.as_str(), resumed.json()["topics"].clone()),
        (
            "snapshot",
            node.get("/api/v1/boards/main/topics").json()["topics"].clone()
        ),
        "no patch leads from the list before"
    );
    within(Duration::from_secs(5), "the log says so", || {
        clears(&node.database) == 1
    });
}

fn a_full_board_that_shows_them_late_is_sent_whole_and_logged(database: Database) {
    is_sent_whole_and_logged_by_a_full_board(database, 50);
}

fn a_full_board_that_lets_them_in_is_sent_whole_and_logged(database: Database) {
    is_sent_whole_and_logged_by_a_full_board(database, 15);
}

/// A deletion makes a full board read its list again, before any comparison finds what the log
/// lacks.
fn is_sent_whole_and_logged_by_a_full_board(database: Database, id: u32) {
    let settings = [("HISTORY__RECONCILE_S", "3600"), ("BOARD__TOPICS_MAX", "3")];
    let node = Node::start_with(database, &settings);
    let other = node.database.is_postgres().then(|| node.sibling());
    node.database.sql(
        "INSERT INTO topics (id, board_id, comment) \
         VALUES (10, 1, 'ten'), (20, 1, 'twenty'), (30, 1, 'thirty'), (40, 1, 'forty');",
    );
    within(Duration::from_secs(10), "archiving", || {
        node.database
            .sql("SELECT count(*) FROM topics WHERE NOT archived;")
            == "3"
    });
    let nodes = [Some(&node), other.as_ref()].into_iter().flatten();
    let mut streams: Vec<_> = nodes.map(|node| node.stream(STREAM)).collect();
    for stream in &mut streams {
        next(stream, "snapshot");
    }
    write_unlogged(
        &node.database,
        &format!("INSERT INTO topics (id, board_id, comment) VALUES ({id}, 1, 'unlogged');"),
    );
    node.database.sql("DELETE FROM topics WHERE id = 40;");
    for stream in &mut streams {
        let list = next(stream, "snapshot").data;
        assert!(list.contains("unlogged"), "{list}");
    }
    within(Duration::from_secs(5), "the log says so", || {
        clears(&node.database) == 1
    });
}

/// The only server is away meanwhile.
fn what_changes_while_the_server_is_away_is_found(database: Database) {
    let mut node = Node::start_with(database, &[QUICK]);
    node.post("one");
    node.post("kept");
    let first = next(&mut node.stream(STREAM), "snapshot");
    let cursor = first.id.expect("a cursor");
    let revision = cursor.split('-').next_back().expect("a revision");
    let compared = node.data().join("compared-boards.json");
    within(Duration::from_secs(10), "the comparison", || {
        fs::read_to_string(&compared).is_ok_and(|text| text.contains(&format!("[{revision},")))
    });
    node.kill();
    write_unlogged(&node.database, "DELETE FROM topics WHERE comment = 'one';");
    node.restart();
    let list = next(&mut node.resume(STREAM, &cursor), "snapshot").data;
    assert!(list.contains("kept") && !list.contains("one"), "{list}");
    assert_eq!(clears(&node.database), 1);
}
