//! Boards whose names mean others than before, and a board that cannot be read.

use super::{
    backup::{Backup, RestoreWay},
    epoch_of, next,
};
use crate::{
    node::{Database, Node},
    sse::Reader,
    wire::Answer,
};

crate::on_both!(
    a_board_made_again_takes_no_old_cursor,
    boards_that_exchange_their_names_take_no_old_cursor,
    a_board_that_a_restore_lacks_ends_and_holds_up_no_other,
    one_board_that_cannot_be_read_darkens_itself_alone,
    a_list_that_its_readers_cannot_load_is_marked_and_caught_up_with,
);

fn administer(node: &Node, method: &str, path: &str, body: &str) {
    let token = node.token(&["create", "--scope", "admin", "--name", "ann"]);
    let answer = node.send_as(method, path, &token, &[], body);
    assert!(answer.status < 300, "{answer:?}");
}

/// Whatever a reader with this cursor asks, the answer is not that nothing or little changed.
fn takes_no_old_cursor(node: &Node, board: &str, cursor: &str, shown: &str, hidden: &str) {
    streams_reset(node, board, cursor, shown, hidden);
    let tag = format!("\"{cursor}\"");
    for path in [
        format!("/api/v1/boards/{board}/topics"),
        format!("/api/v1/boards/{board}/topics?wait=5"),
        format!("/b/{board}"),
    ] {
        let answer = node.get_with(&path, &[("If-None-Match", &tag)]);
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        assert!(
            answer.body.contains(shown) && !answer.body.contains(hidden),
            "{path}: {answer:?}"
        );
    }
    let log = node.get(&format!("/api/v1/boards/{board}/changes?since={cursor}"));
    assert_eq!(log.status, 410, "{log:?}");
    assert_eq!(
        node.get(&format!("/api/v1/boards/{board}/changes")).status,
        200
    );
}

/// Streams of this board alone, and of several, begin with a reset.
fn streams_reset(node: &Node, board: &str, cursor: &str, shown: &str, hidden: &str) {
    let mut back = node.resume(&format!("/b/{board}/stream?format=patch"), cursor);
    let reset = back.event();
    assert!(
        reset.name == "reset" && reset.data.contains("trimmed"),
        "{reset:?}"
    );
    let list = back.event();
    assert!(
        list.name == "snapshot" && list.data.contains(shown) && !list.data.contains(hidden),
        "{list:?}"
    );
    let mut many = node.resume(
        &format!("/stream?board={board}&board=main&format=patch"),
        cursor,
    );
    assert_eq!(
        [many.event().name, many.event().name, many.event().name],
        ["reset", "snapshot", "snapshot"]
    );
}

fn post(node: &Node, board: &str, comment: &str) {
    let posted = node.send("POST", &format!("/b/{board}"), "text/plain", comment);
    assert_eq!(posted.status, 201, "{posted:?}");
}

fn a_board_made_again_takes_no_old_cursor(database: Database) {
    const STREAM: &str = "/b/again/stream?format=patch";
    let node = Node::start(database);
    administer(&node, "POST", "/api/v1/boards", "{\"name\":\"again\"}");
    post(&node, "again", "of the first");
    let cursor = node.stream(STREAM).event().id.expect("a cursor");
    administer(&node, "DELETE", "/api/v1/boards/again", "");
    administer(&node, "POST", "/api/v1/boards", "{\"name\":\"again\"}");
    post(&node, "again", "of the second");
    takes_no_old_cursor(&node, "again", &cursor, "of the second", "of the first");
    // And a reader that was there from its beginning is sent what changed.
    let cursor = node.stream(STREAM).event().id.expect("a cursor");
    post(&node, "again", "more");
    assert_eq!(node.resume(STREAM, &cursor).event().name, "patch");
    let recent = node.stream(&format!("{STREAM}&since=1h")).event();
    assert!(
        recent.name != "reset" && recent.data.contains("of the second"),
        "{recent:?}"
    );
}

fn boards_that_exchange_their_names_take_no_old_cursor(database: Database) {
    let node = Node::start(database);
    node.database
        .sql("INSERT INTO boards (name) VALUES ('red'), ('blue');");
    for board in ["red", "blue"] {
        post(&node, board, &format!("first of {board}"));
    }
    let mut red = node.stream("/b/red/stream?format=patch");
    let mut blue = node.stream("/b/blue/stream?format=patch");
    let cursor = blue.event().id.expect("a cursor");
    red.event();
    node.database.sql(
        "BEGIN; UPDATE boards SET name = 'other' WHERE name = 'red'; UPDATE boards \
         SET name = 'red' WHERE name = 'blue'; \
         UPDATE boards SET name = 'blue' WHERE name = 'other'; COMMIT;",
    );
    for stream in [&mut red, &mut blue] {
        assert!(next(stream, "bye").data.contains("gone"));
    }
    post(&node, "red", "after");
    takes_no_old_cursor(&node, "red", &cursor, "first of blue", "first of red");
    takes_no_old_cursor(&node, "blue", &cursor, "first of red", "first of blue");
}

/// Returns the names of the events before the first cursor of another epoch than `old`, and it.
fn until_new_epoch(stream: &mut Reader, old: &str) -> (Vec<String>, String) {
    let mut seen = Vec::new();
    loop {
        let event = stream.event();
        match event.id {
            Some(id) if event.name == "cursor" && !id.starts_with(old) => return (seen, id),
            _ => seen.push(event.name),
        }
    }
}

fn a_board_that_a_restore_lacks_ends_and_holds_up_no_other(database: Database) {
    let way = if database.is_postgres() {
        RestoreWay::DropCreate
    } else {
        RestoreWay::FileReplaced
    };
    let node = Node::start(database);
    node.post("kept");
    let backup = Backup::take(&node, way);
    node.database
        .sql("INSERT INTO boards (name) VALUES ('later');");
    post(&node, "later", "lost");
    let mut one = node.stream("/b/later/stream?format=patch");
    let mut many = node.stream("/stream?board=later&board=main&format=patch");
    next(&mut one, "snapshot");
    next(&mut many, "cursor");
    let old = epoch_of(&node);
    backup.put_back(&node);
    assert!(next(&mut one, "bye").data.contains("gone"));
    // The board that is there goes on in the new history, with a cursor of its own.
    let (seen, cursor) = until_new_epoch(&mut many, &old);
    assert!(cursor.ends_with("~later"), "{cursor}");
    for name in ["bye", "reset", "snapshot"] {
        assert!(
            seen.iter().any(|seen| seen == name),
            "no {name} in {seen:?}"
        );
    }
    let answer = node.get("/b/later/stream");
    assert_eq!(answer.status, 404, "{answer:?}");
}

/// A node with a board `dark`, which cannot be read for some seconds at the revision that `unload`
/// draws.
fn node_with_a_dark_board(database: Database) -> Node {
    let environment = [
        ("KAIRANBAN_DATABASE__BOARD_RETRY_MAX_S", "1"),
        ("FAILPOINTS", "load-dark-4=10"),
    ];
    let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let node = Node::start_in(database, environment.to_vec());
    node.database
        .sql("INSERT INTO boards (name) VALUES ('dark');");
    post(&node, "dark", "there");
    node
}

/// From now on the board `dark` has to be read.
fn unload(database: &Database) {
    database.sql(if database.is_postgres() {
        "BEGIN; INSERT INTO changes (kind, board_id) VALUES ('clear', 2); \
         SELECT transaction_begun(); COMMIT;"
    } else {
        "INSERT INTO changes (revision, kind, board_id) VALUES (0, 'clear', 2);"
    });
}

fn one_board_that_cannot_be_read_darkens_itself_alone(database: Database) {
    let node = node_with_a_dark_board(database);
    let mut dark = node.stream("/b/dark/stream?format=patch");
    let mut main = node.stream("/b/main/stream?format=patch");
    dark.event();
    main.event();
    unload(&node.database);
    next(&mut dark, "stale");
    let ready = node.get("/readyz");
    assert!(
        ready.status == 200 && ready.body.contains("dark") && !ready.body.contains("main"),
        "{ready:?}"
    );
    let list = node.get("/api/v1/boards/dark/topics");
    assert!(
        list.status == 200
            && list.header("kairanban-stale-since").is_some()
            && list.body.contains("there"),
        "{list:?}"
    );
    assert_eq!(
        node.stream("/b/dark/stream?format=patch").event().name,
        "snapshot"
    );
    node.post("the others go on");
    assert!(next(&mut main, "patch").data.contains("the others go on"));
    next(&mut dark, "fresh");
    post(&node, "dark", "back");
    assert!(next(&mut dark, "patch").data.contains("back"));
    assert_eq!(node.get("/readyz").json()["status"], "ready");
}

fn list(node: &Node) -> Answer {
    node.get("/api/v1/boards/main/topics")
}

fn a_list_that_its_readers_cannot_load_is_marked_and_caught_up_with(database: Database) {
    // At the revision of the second topic two loads fail, although the log can be read.
    let environment = vec![("FAILPOINTS".to_owned(), "load-main-3=2".to_owned())];
    let node = Node::start_in(database, environment);
    node.post("first");
    assert_eq!(list(&node).json()["revision"], 2);
    node.database
        .sql("INSERT INTO topics (comment) VALUES ('second');");
    // Until the follower has seen it, the list counts as the newest.
    let marked = std::iter::repeat_with(|| list(&node))
        .take(10_000)
        .find(|answer| answer.header("kairanban-stale-since").is_some())
        .expect("an answer that is marked");
    assert!(
        marked.status == 200 && !marked.body.contains("second"),
        "{marked:?}"
    );
    let mut stream = node.stream("/b/main/stream?format=patch");
    assert!(!next(&mut stream, "snapshot").data.contains("second"));
    next(&mut stream, "stale");
    // No further change, and no other reader.
    assert!(next(&mut stream, "snapshot").data.contains("second"));
    next(&mut stream, "fresh");
    assert!(list(&node).header("kairanban-stale-since").is_none());
}
