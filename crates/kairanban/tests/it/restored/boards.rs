//! Boards whose names mean others than before, and a board that cannot be read.

use super::next;
use crate::node::{Database, Node};

crate::on_both!(
    a_board_made_again_takes_no_old_cursor,
    boards_that_exchange_their_names_take_no_old_cursor,
    one_board_that_cannot_be_read_darkens_itself_alone,
    a_list_that_its_readers_cannot_load_is_marked_and_caught_up_with,
);

fn administer(node: &Node, method: &str, path: &str, body: &str) {
    let token = node.token(&["create", "--scope", "admin", "--name", "ann"]);
    let answer = node.send_as(method, path, &token, &[], body);
    assert!(answer.status < 300, "{answer:?}");
}

/// Whatever a reader with this cursor asks, it is not told that nothing or little changed.
fn takes_no_old_cursor(node: &Node, board: &str, cursor: &str, shown: &str, hidden: &str) {
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

fn a_board_made_again_takes_no_old_cursor(database: Database) {
    let node = Node::start(database);
    administer(&node, "POST", "/api/v1/boards", "{\"name\":\"again\"}");
    assert_eq!(
        node.send("POST", "/b/again", "text/plain", "of the first")
            .status,
        201
    );
    let mut stream = node.stream("/b/again/stream?format=patch");
    let cursor = stream.event().id.expect("a cursor");
    administer(&node, "DELETE", "/api/v1/boards/again", "");
    administer(&node, "POST", "/api/v1/boards", "{\"name\":\"again\"}");
    assert_eq!(
        node.send("POST", "/b/again", "text/plain", "of the second")
            .status,
        201
    );
    takes_no_old_cursor(&node, "again", &cursor, "of the second", "of the first");
    // And who was there from its beginning is told what changed.
    let mut stream = node.stream("/b/again/stream?format=patch");
    let cursor = stream.event().id.expect("a cursor");
    assert_eq!(
        node.send("POST", "/b/again", "text/plain", "more").status,
        201
    );
    assert_eq!(
        node.resume("/b/again/stream?format=patch", &cursor)
            .event()
            .name,
        "patch"
    );
    let recent = node.stream("/b/again/stream?format=patch&since=1h").event();
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
        assert_eq!(
            node.send(
                "POST",
                &format!("/b/{board}"),
                "text/plain",
                format!("first of {board}")
            )
            .status,
            201
        );
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
    assert_eq!(
        node.send("POST", "/b/red", "text/plain", "after").status,
        201
    );
    takes_no_old_cursor(&node, "red", &cursor, "first of blue", "first of red");
    takes_no_old_cursor(&node, "blue", &cursor, "first of red", "first of blue");
}

fn one_board_that_cannot_be_read_darkens_itself_alone(database: Database) {
    // At this revision it cannot be read for some seconds.
    let environment = [
        ("KAIRANBAN_DATABASE__BOARD_RETRY_MAX_S", "1"),
        ("FAILPOINTS", "load-dark-4=10"),
    ];
    let node = Node::start_in(
        database,
        environment
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
    );
    node.database
        .sql("INSERT INTO boards (name) VALUES ('dark');");
    assert_eq!(
        node.send("POST", "/b/dark", "text/plain", "there").status,
        201
    );
    let mut dark = node.stream("/b/dark/stream?format=patch");
    let mut main = node.stream("/b/main/stream?format=patch");
    dark.event();
    main.event();
    // Then it has to be read.
    node.database.sql(if node.database.is_postgres() {
        "BEGIN; INSERT INTO changes (kind, board_id) VALUES ('clear', 2); \
         SELECT transaction_begun(); COMMIT;"
    } else {
        "INSERT INTO changes (revision, kind, board_id) VALUES (0, 'clear', 2);"
    });
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
    assert_eq!(
        node.send("POST", "/b/dark", "text/plain", "back").status,
        201
    );
    assert!(next(&mut dark, "patch").data.contains("back"));
    assert_eq!(node.get("/readyz").json()["status"], "ready");
}

fn a_list_that_its_readers_cannot_load_is_marked_and_caught_up_with(database: Database) {
    // At the revision of the second topic two loads fail, although the log can be read.
    let environment = vec![("FAILPOINTS".to_owned(), "load-main-3=2".to_owned())];
    let node = Node::start_in(database, environment);
    let list = || node.get("/api/v1/boards/main/topics");
    node.post("first");
    assert_eq!(list().json()["revision"], 2);
    node.database
        .sql("INSERT INTO topics (comment) VALUES ('second');");
    // Until the follower has seen it, the list counts as the newest.
    let marked = std::iter::repeat_with(list)
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
    assert!(list().header("kairanban-stale-since").is_none());
}
