//! Who may read and post: private boards, closed ones, and tickets.

mod taken_by_sql;
mod token_lifecycle;

use crate::{
    node::{Database, Node},
    sse::{Reader, Watched},
    wire::Answer,
};

crate::on_both!(
    a_private_board_is_not_there_without_a_token,
    a_private_board_takes_no_post_without_a_token,
    a_board_that_becomes_private_ends_the_streams_of_strangers,
    a_board_that_another_program_makes_private_ends_the_streams_of_strangers,
    posting_can_take_a_token_or_end,
    each_wrong_field_of_a_board_is_named,
    a_ticket_lets_one_stream_in,
    a_ticket_is_for_the_streams_of_its_board_alone,
    a_ticket_ends_with_its_token,
    a_ticket_takes_a_token_for_its_board,
);

const BOARD: &str = "/api/v1/boards/secret";
const TOPICS: &str = "/api/v1/boards/secret/topics";
const STREAM: &str = "/b/secret/stream?format=patch";

/// A node with a private board `secret`, an admin's token and one that may read the board.
fn with_a_secret(database: Database) -> (Node, String, String) {
    let node = Node::start(database);
    let admin = node.token(&["create", "--scope", "admin", "--name", "ann"]);
    let made = node.send_as(
        "POST",
        "/api/v1/boards",
        &admin,
        &[],
        r#"{"name":"secret","title":"hush","read":"token"}"#,
    );
    assert_eq!(
        (
            made.status,
            made.json()["read"].as_str(),
            made.json()["post"].as_str()
        ),
        (201, Some("token"), Some("open"))
    );
    let reader = node.token(&["create", "--scope", "read", "--board", "secret"]);
    (node, admin, reader)
}

fn open(node: &Node, path: &str, token: &str) -> Reader {
    Reader::open(
        node.address,
        path,
        &[("Authorization", &format!("Bearer {token}"))],
    )
}

fn status(node: &Node, path: &str, token: Option<&str>) -> u16 {
    let authorization = format!("Bearer {}", token.unwrap_or_default());
    let headers = [("Authorization", authorization.as_str())];
    node.get_with(path, if token.is_some() { &headers } else { &[] })
        .status
}

/// Takes the stream's events until it says why it ends.
fn bye(stream: &mut Reader) -> String {
    loop {
        let event = stream.event();
        if event.name == "bye" {
            return event.json()["reason"]
                .as_str()
                .expect("a reason")
                .to_owned();
        }
    }
}

fn a_private_board_is_not_there_without_a_token(database: Database) {
    let (node, admin, reader) = with_a_secret(database);
    let posted = node.send_as("POST", TOPICS, &admin, &[], r#"{"comment":"psst"}"#);
    let id = posted.json()["id"].clone();
    let elsewhere = node.token(&["create", "--scope", "admin", "--board", "main"]);
    for path in [
        "/b/secret",
        STREAM,
        "/b/secret/stream",
        BOARD,
        TOPICS,
        &format!("{TOPICS}/{id}"),
        &format!("{TOPICS}?limit=1"),
        &format!("{BOARD}/changes"),
        &format!("{TOPICS}?wait=1"),
    ] {
        assert_hidden_from_strangers(&node, path, &elsewhere);
        if !path.contains("stream") {
            assert_eq!(
                [&reader, &admin].map(|token| status(&node, path, Some(token))),
                [200, 200],
                "{path}"
            );
        }
    }
    assert_eq!(board_names(&node, None), ["main"]);
    assert_eq!(board_names(&node, Some(&reader)), ["main", "secret"]);
    assert_eq!(board_names(&node, Some(&elsewhere)), ["main"]);
    Watched::new(open(&node, STREAM, &reader)).shows(&["psst"]);
}

/// A client without a token cannot post to what is not there, whatever it knows of it.
fn a_private_board_takes_no_post_without_a_token(database: Database) {
    let (node, ..) = with_a_secret(database);
    for path in ["/b/secret", TOPICS] {
        let posted = node.send("POST", path, "application/json", r#"{"comment":"x"}"#);
        assert_eq!(posted.status, 404, "{path}");
    }
}

/// Without a token for the board, `path` is answered like the same path of a board that does not
/// exist.
fn assert_hidden_from_strangers(node: &Node, path: &str, token_for_another_board: &str) {
    let without_token = node.get(path);
    assert_eq!(without_token.status, 404, "{path}");
    let missing_board = node.get(&path.replace("secret", "nowhere"));
    assert_eq!(
        without_token.body,
        missing_board.body.replace("nowhere", "secret"),
        "{path}"
    );
    assert_eq!(
        status(node, path, Some(token_for_another_board)),
        404,
        "{path} with a token for another board"
    );
    assert_eq!(
        status(node, path, Some("guess")),
        401,
        "{path} with a wrong token"
    );
}

/// Lists the boards that a client with this token, or with none, can see.
fn board_names(node: &Node, token: Option<&str>) -> Vec<String> {
    let answer = match token {
        Some(token) => node.send_as("GET", "/api/v1/boards", token, &[], ""),
        None => node.get("/api/v1/boards"),
    };
    let body = answer.json();
    let boards = body["boards"].as_array().expect("boards").iter();
    boards
        .map(|board| board["name"].as_str().expect("a name").to_owned())
        .collect()
}

/// Changes the board `main`.
fn update_main(node: &Node, admin: &str, body: &str) -> Answer {
    node.send_as("PATCH", "/api/v1/boards/main", admin, &[], body)
}

fn post_to_main(node: &Node, token: &str, comment: &str) -> Answer {
    let body = format!(r#"{{"comment":"{comment}"}}"#);
    node.send_as("POST", "/api/v1/boards/main/topics", token, &[], &body)
}

fn a_board_that_becomes_private_ends_the_streams_of_strangers(database: Database) {
    const PATH: &str = "/b/main/stream?format=patch";
    let node = Node::start(database);
    let admin = node.token(&["create", "--scope", "admin"]);
    let mut stranger = node.stream(PATH);
    let mut insider = Watched::new(open(&node, PATH, &admin));
    stranger.event();
    insider.take();
    let hidden = update_main(&node, &admin, r#"{"read":"token"}"#);
    assert_eq!(hidden.status, 200);
    assert_eq!(
        node.get("/b/main").status,
        404,
        "for the next reader at once"
    );
    let posted = post_to_main(&node, &admin, "not for strangers");
    assert_eq!(posted.status, 201);
    let last = stranger.event();
    assert_eq!(
        (last.name.as_str(), last.json()["reason"].as_str()),
        ("bye", Some("auth")),
        "and nothing before it"
    );
    insider.take();
    assert_eq!(insider.mirror.comments(), ["not for strangers"]);
    assert_eq!(
        status(&node, "/b/main/stream", None),
        404,
        "the reconnect is final"
    );
}

fn a_board_that_another_program_makes_private_ends_the_streams_of_strangers(database: Database) {
    let node = Node::start(database);
    let admin = node.token(&["create", "--scope", "admin"]);
    let hidden = update_main(&node, &admin, r#"{"read":"token"}"#);
    assert_eq!(hidden.status, 200);
    node.database
        .sql("UPDATE boards SET read = 'open' WHERE name = 'main';");
    let mut stranger = loop {
        if node.get("/b/main").status == 200 {
            break node.stream("/b/main/stream");
        }
    };
    stranger.event();
    node.database
        .sql("UPDATE boards SET read = 'token' WHERE name = 'main';");
    assert_eq!(bye(&mut stranger), "auth");
}

/// Lets these post to the board `main`.
fn let_post(node: &Node, admin: &str, policy: &str) {
    let updated = update_main(node, admin, &format!(r#"{{"post":"{policy}"}}"#));
    assert_eq!(updated.status, 200);
}

fn posting_can_take_a_token_or_end(database: Database) {
    let node = Node::start(database);
    let admin = node.token(&["create", "--scope", "admin"]);
    let reader = node.token(&["create", "--scope", "read"]);
    let poster = node.token(&["create", "--scope", "post"]);
    let_post(&node, &admin, "token");
    assert_eq!(node.send("POST", "/", "text/plain", "x").status, 401);
    for (token, expected) in [(&reader, 403), (&poster, 201), (&admin, 201)] {
        assert_eq!(post_to_main(&node, token, "x").status, expected);
    }
    let page = node.get("/").body;
    assert!(
        page.contains("Posting here requires a token.") && !page.contains("id=\"post\""),
        "{page}"
    );
    // A token that does not suffice is not one that is missing.
    let page = node.send_as("GET", "/", &reader, &[("Accept", "text/html")], "");
    assert!(
        page.body
            .contains("Your token for this board does not allow posting."),
        "{}",
        page.body
    );
    let_post(&node, &admin, "closed");
    post_to_main(&node, &admin, "x").assert_problem(403, "closed");
    assert!(node.get("/").body.contains("This board is closed"));
    assert_eq!(node.get("/").status, 200, "reading goes on");
    let_post(&node, &admin, "open");
    assert_eq!(node.send("POST", "/", "text/plain", "x").status, 201);
}

fn each_wrong_field_of_a_board_is_named(database: Database) {
    let node = Node::start(database);
    let admin = node.token(&["create", "--scope", "admin"]);
    let wrong = r#"{"read":"closed","post":"x","title":"a\nb"}"#;
    let answer = update_main(&node, &admin, wrong);
    let fields: Vec<_> = answer.json()["errors"]
        .as_array()
        .expect("errors")
        .iter()
        .map(|fault| fault["field"].clone())
        .collect();
    assert_eq!(
        (answer.status, fields),
        (422, vec!["title".into(), "read".into(), "post".into()])
    );
}

/// A ticket for the board `secret`, and the address of the stream that it opens.
fn ticket_and_path(node: &Node, reader: &str) -> (String, String) {
    let ticket = request_ticket(node, reader, "secret").text("ticket");
    let path = format!("{STREAM}&ticket={ticket}");
    (ticket, path)
}

fn a_ticket_lets_one_stream_in(database: Database) {
    let (node, _, reader) = with_a_secret(database);
    let made = request_ticket(&node, &reader, "secret");
    assert_eq!(
        (made.status, made.json()["use_within_s"].as_u64()),
        (201, Some(60)),
        "{made:?}"
    );
    let path = format!("{STREAM}&ticket={}", made.text("ticket"));
    let mut first = node.stream(&path);
    let cursor = first.event().id.expect("a cursor");
    // It comes back, as an EventSource does: the one before is over.
    let mut second = node.resume(&path, &cursor);
    assert_eq!(bye(&mut first), "auth");
    let poster = node.token(&["create", "--scope", "post"]);
    node.send_as("POST", TOPICS, &poster, &[], r#"{"comment":"x"}"#);
    assert_eq!(second.event().name, "patch");
}

fn a_ticket_is_for_the_streams_of_its_board_alone(database: Database) {
    let (node, _, reader) = with_a_secret(database);
    let (ticket, path) = ticket_and_path(&node, &reader);
    node.stream(&path).event();
    for (path, expected) in [
        (format!("/b/main/stream?ticket={ticket}"), 401),
        (format!("{STREAM}&ticket=guess"), 401),
        (format!("{TOPICS}?ticket={ticket}"), 400),
        (format!("/b/secret?ticket={ticket}"), 404),
    ] {
        assert_eq!(node.get(&path).status, expected, "{path}");
    }
    assert_eq!(
        status(&node, TOPICS, Some(&ticket)),
        401,
        "a ticket is no token"
    );
}

fn a_ticket_ends_with_its_token(database: Database) {
    let (node, _, reader) = with_a_secret(database);
    let (_, path) = ticket_and_path(&node, &reader);
    let mut stream = node.stream(&path);
    node.token(&["revoke", &id_of_the_reading_token(&node)]);
    assert_eq!(bye(&mut stream), "auth");
    assert_eq!(node.get(&path).status, 401);
}

fn a_ticket_takes_a_token_for_its_board(database: Database) {
    let (node, _, reader) = with_a_secret(database);
    assert_eq!(
        request_ticket(&node, &reader, "main").status,
        403,
        "the token is for another board"
    );
    assert_eq!(
        node.send(
            "POST",
            "/api/v1/tickets",
            "application/json",
            r#"{"board":"secret"}"#
        )
        .status,
        401
    );
}

fn request_ticket(node: &Node, token: &str, board: &str) -> Answer {
    let body = format!(r#"{{"board":"{board}"}}"#);
    node.send_as("POST", "/api/v1/tickets", token, &[], &body)
}

fn id_of_the_reading_token(node: &Node) -> String {
    let listed = node.token(&["list"]);
    let line = listed.lines().find(|line| line.contains("read"));
    let id = line.and_then(|line| line.split('\t').next());
    id.expect("the token that reads").to_owned()
}
