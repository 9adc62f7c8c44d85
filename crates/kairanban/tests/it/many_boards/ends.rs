//! A board of several ends, and the others go on.

use serde_json::json;

use super::*;
use crate::compressed::Unpacking;

crate::on_both!(
    a_board_that_ends_ends_alone,
    the_last_boards_end_the_stream,
    each_format_says_which_board_ended,
    a_board_that_is_made_again_is_shown_whole_to_a_reader_who_comes_back,
    a_board_that_becomes_private_ends_for_those_who_may_not_read_it,
    a_token_that_ends_takes_its_boards_and_leaves_the_others,
    a_board_that_is_missing_at_the_beginning_ends_at_once,
);

const ALL: &str = "/stream?board=red&board=blue&board=green&format=patch";

/// Takes the cursor that no longer claims a board, and the `bye` of the board.
#[track_caller]
fn ends(client: &mut BoardMirrors, stream: &mut Reader, board: &str, reason: &str) {
    // A cursor of a change before, as of the boards' policies, may come first.
    while !client.cursor.split('~').skip(1).any(|name| name == board) {
        assert_eq!(client.take(stream), [], "{} claims {board}", client.cursor);
    }
    let bye = stream.event();
    assert_eq!(bye.name, "bye", "{bye:?}");
    assert_eq!(bye.json(), json!({"board": board, "reason": reason}));
    assert_eq!((bye.id, bye.retry), (None, None), "the stream goes on");
    client.boards.remove(board);
}

/// Takes a post on a board, and the cursor behind it.
#[track_caller]
fn goes_on(node: &Node, client: &mut BoardMirrors, stream: &mut Reader, board: &str) {
    let comment = format!("after {}", client.cursor);
    post(node, board, &comment);
    while client.comments(board).last() != Some(&comment.as_str()) {
        let taken = client.take(stream);
        assert!(taken.iter().all(|event| event.name == "patch"), "{taken:?}");
    }
}

fn a_board_that_ends_ends_alone(database: Database) {
    let node = with_boards(database);
    let (mut stream, mut client) = (node.stream(ALL), BoardMirrors::default());
    client.take(&mut stream);
    node.database.sql("DELETE FROM boards WHERE name = 'blue';");
    ends(&mut client, &mut stream, "blue", "gone");
    for board in ["red", "green"] {
        goes_on(&node, &mut client, &mut stream, board);
    }
    // The reconnect at the same address is sent the end again, and nothing of the others.
    let mut back = node.resume(ALL, &client.cursor);
    assert_eq!(client.take(&mut back), []);
    let bye = back.event();
    assert_eq!(
        (&*bye.name, bye.json()),
        ("bye", json!({"board": "blue", "reason": "gone"}))
    );
    goes_on(&node, &mut client, &mut back, "red");
    // Renamed is gone, too.
    node.database
        .sql("UPDATE boards SET name = 'lime' WHERE name = 'green';");
    ends(&mut client, &mut back, "green", "gone");
    goes_on(&node, &mut client, &mut back, "red");
}

fn the_last_boards_end_the_stream(database: Database) {
    let node = with_boards(database);
    let (mut stream, mut client) = (node.stream(ALL), BoardMirrors::default());
    client.take(&mut stream);
    let cursor = client.cursor.clone();
    node.database
        .sql("DELETE FROM boards WHERE name IN ('red', 'blue', 'green');");
    // In any order: the last of them ends the stream as a board alone ends its own.
    let mut ended = Vec::new();
    let last = loop {
        let event = stream.event();
        match event.name.as_str() {
            "cursor" => {}
            "bye" if event.json()["board"].is_string() => ended.push(event.board()),
            _ => break event,
        }
    };
    assert_eq!(ended.len(), 2, "{ended:?}");
    assert_eq!(
        (&*last.name, last.json()),
        ("bye", json!({"reason": "gone"}))
    );
    assert_eq!(stream.raw(Duration::from_secs(5)), None, "the end");
    let back = node.get_with(ALL, &[("Last-Event-ID", &cursor)]);
    assert_eq!(back.status, 404, "{back:?}");
}

fn each_format_says_which_board_ended(database: Database) {
    let node = with_boards(database);
    let mut list = node.stream("/stream?board=red&board=blue&format=list");
    let mut packed = ["list", "patch", "ndjson"].map(|format| {
        let path = format!("/stream?board=red&board=blue&format={format}&compress=gzip");
        Unpacking::open(&node, &path)
    });
    for stream in &mut packed {
        stream.until("first on blue");
    }
    node.database.sql("DELETE FROM boards WHERE name = 'blue';");
    let [listed, patched, lines] = &mut packed;
    let data = r#"{"board":"blue","reason":"gone"}"#;
    for stream in [listed, patched] {
        stream.until(&format!("\n\nevent: bye\ndata: {data}\n\n"));
    }
    lines.until(&format!("\n{{\"event\":\"bye\",\"data\":{data}}}\n"));
    let bye = std::iter::repeat_with(|| list.event()).find(|event| event.name == "bye");
    assert_eq!(bye.expect("bye").data, data);
    post(&node, "red", "goes on");
    for stream in &mut packed {
        stream.until("goes on");
    }
    assert!(list.event().data.contains("goes on") || list.event().data.contains("goes on"));
}

fn a_board_that_is_made_again_is_shown_whole_to_a_reader_who_comes_back(database: Database) {
    let node = with_boards(database);
    let (mut stream, mut client) = (node.stream(RED_AND_BLUE), BoardMirrors::default());
    client.take(&mut stream);
    let before = client.clone();
    node.database.sql(
        "BEGIN; DELETE FROM boards WHERE name = 'blue'; \
         INSERT INTO boards (name) VALUES ('blue'); COMMIT;",
    );
    ends(&mut client, &mut stream, "blue", "gone");
    // The stream is of the board that was, and its cursor passes what the other one is sent.
    post(&node, "blue", "on another blue");
    goes_on(&node, &mut client, &mut stream, "red");
    let taken = client.take(&mut node.resume(RED_AND_BLUE, &client.cursor.clone()));
    assert_eq!(names(&taken), ["snapshot"], "{taken:?}");
    assert_eq!(client.comments("blue"), ["on another blue"]);
    assert!(!client.cursor.contains('~'), "{}", client.cursor);
    let nothing = client.take(&mut node.resume(RED_AND_BLUE, &client.cursor.clone()));
    assert_eq!(nothing, []);
    // One that did not see the end.
    let mut client = before;
    let taken = client.take(&mut node.resume(RED_AND_BLUE, &client.cursor.clone()));
    assert_eq!(names(&taken), ["reset", "snapshot", "snapshot"]);
    assert_eq!(client.comments("blue"), ["on another blue"]);
}

fn set_policy(node: &Node, admin: &str, read: &str) {
    let policy = format!("{{\"read\":\"{read}\"}}");
    let updated = node.send_as("PATCH", "/api/v1/boards/blue", admin, &[], &policy);
    assert_eq!(updated.status, 200, "{updated:?}");
}

fn a_board_that_becomes_private_ends_for_those_who_may_not_read_it(database: Database) {
    let node = with_boards(database);
    let admin = node.token(&["create", "--scope", "admin"]);
    let (mut stream, mut client) = (node.stream(RED_AND_BLUE), BoardMirrors::default());
    client.take(&mut stream);
    let bearer = format!("Bearer {admin}");
    let mut holder = Reader::open(node.address, RED_AND_BLUE, &[("Authorization", &bearer)]);
    let mut of_holder = BoardMirrors::default();
    of_holder.take(&mut holder);
    set_policy(&node, &admin, "token");
    ends(&mut client, &mut stream, "blue", "auth");
    let posted = node.send_as(
        "POST",
        "/api/v1/boards/blue/topics",
        &admin,
        &[],
        r#"{"comment":"psst"}"#,
    );
    assert_eq!(posted.status, 201, "{posted:?}");
    goes_on(&node, &mut client, &mut stream, "red");
    // It is what a missing board is, for a reader who comes back.
    let mut back = node.resume(RED_AND_BLUE, &client.cursor);
    assert_eq!(client.take(&mut back), []);
    assert_eq!(back.event().json()["reason"], "gone");
    while of_holder.comments("red").len() < 2 {
        of_holder.take(&mut holder);
    }
    assert_eq!(of_holder.comments("blue"), ["first on blue", "psst"]);
    // Once it is open again, it comes as a whole: the reader has cleared what it held.
    set_policy(&node, &admin, "open");
    let taken = client.take(&mut node.resume(RED_AND_BLUE, &client.cursor.clone()));
    assert_eq!(names(&taken), ["snapshot"], "{taken:?}");
    assert_eq!(client.comments("blue"), ["first on blue", "psst"]);
}

fn a_token_that_ends_takes_its_boards_and_leaves_the_others(database: Database) {
    let node = with_boards(database);
    node.database
        .sql("UPDATE boards SET read = 'token' WHERE name IN ('blue', 'green');");
    let token = node.token(&["create", "--scope", "read"]);
    let bearer = format!("Bearer {token}");
    let mut stream = Reader::open(node.address, ALL, &[("Authorization", &bearer)]);
    let mut client = BoardMirrors::default();
    client.take(&mut stream);
    assert_eq!(client.boards.len(), 3);
    node.database
        .sql("UPDATE tokens SET revoked_at = CURRENT_TIMESTAMP;");
    for board in ["blue", "green"] {
        ends(&mut client, &mut stream, board, "auth");
    }
    goes_on(&node, &mut client, &mut stream, "red");
}

fn a_board_that_is_missing_at_the_beginning_ends_at_once(database: Database) {
    let node = with_boards(database);
    let path = "/stream?board=absent&board=red&board=missing&format=patch";
    let (mut stream, mut client) = (node.stream(path), BoardMirrors::default());
    assert_eq!(names(&client.take(&mut stream)), ["snapshot"]);
    assert!(
        client.cursor.ends_with("~absent~missing"),
        "{}",
        client.cursor
    );
    for board in ["absent", "missing"] {
        let bye = stream.event();
        assert_eq!(bye.json(), json!({"board": board, "reason": "gone"}));
    }
    goes_on(&node, &mut client, &mut stream, "red");
}

/// A board that is deleted while the database is away ends once that is known, on streams from
/// before and on those that were opened meanwhile.
#[test]
fn a_board_that_ends_while_the_database_is_away_ends_afterwards() {
    let database = Database::postgres();
    let (relay, url) = relayed(&database);
    let node = with_boards(Database::Postgres(url));
    let (mut stream, mut client) = (node.stream(RED_AND_BLUE), BoardMirrors::default());
    client.take(&mut stream);
    relay.swallow();
    database.sql("DELETE FROM boards WHERE name = 'blue';");
    await_stale(&node, RED, true);
    assert_eq!(stream.event().name, "stale");
    let mut joined = node.resume(RED_AND_BLUE, &client.cursor);
    let mut of_joined = client.clone();
    assert_eq!(of_joined.take(&mut joined), []);
    assert_eq!(joined.event().name, "stale");
    relay.heal();
    await_stale(&node, RED, false);
    for (client, stream) in [(&mut client, &mut stream), (&mut of_joined, &mut joined)] {
        // What comes first, the board's end or the database's return, is left open.
        let mut seen = Vec::new();
        while !(seen.contains(&"fresh".to_owned()) && seen.contains(&"bye".to_owned())) {
            let event = stream.event();
            if event.name == "bye" {
                assert_eq!(event.json(), json!({"board": "blue", "reason": "gone"}));
            }
            if event.name == "cursor" {
                client.advance(event);
            } else {
                seen.push(event.name);
            }
        }
        client.boards.remove("blue");
        goes_on(&node, client, stream, "red");
    }
}
