//! Who may read and post: private boards, closed ones, tickets, and the end of a token.

use std::time::{Duration, Instant};

use crate::{
    node::{Database, Node},
    sse::{Mirror, Reader},
};

crate::on_both!(
    a_private_board_is_not_there_without_a_token,
    a_board_that_becomes_private_ends_the_streams_of_strangers,
    posting_can_take_a_token_or_end,
    a_ticket_lets_one_stream_in,
    revoking_ends_streams_and_waits_at_once,
    a_token_that_ends_by_itself_ends_its_stream,
    tokens_are_made_and_ended_over_rest,
    a_deleted_topic_is_undone_on_the_stream,
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
    let id = node
        .send_as("POST", TOPICS, &admin, &[], r#"{"comment":"psst"}"#)
        .json()["id"]
        .clone();
    let elsewhere = node.token(&["create", "--scope", "admin", "--board", "main"]);
    let topic = format!("{TOPICS}/{id}");
    let page = format!("{TOPICS}?limit=1");
    let changes = format!("{BOARD}/changes");
    let wait = format!("{TOPICS}?wait=1");
    for path in [
        "/b/secret",
        STREAM,
        "/b/secret/stream",
        BOARD,
        TOPICS,
        &topic,
        &page,
        &changes,
        &wait,
    ] {
        let nobody = node.get(path);
        assert_eq!(nobody.status, 404, "{path}");
        // The same words as for a board that there is not.
        let other = path.replace("secret", "nowhere");
        assert_eq!(
            nobody.body,
            node.get(&other).body.replace("nowhere", "secret"),
            "{path}"
        );
        assert_eq!(
            status(&node, path, Some(&elsewhere)),
            404,
            "{path} with a token for another board"
        );
        assert_eq!(
            status(&node, path, Some("guess")),
            401,
            "{path} with a wrong token"
        );
        if !path.contains("stream") {
            assert_eq!(
                [
                    status(&node, path, Some(&reader)),
                    status(&node, path, Some(&admin))
                ],
                [200, 200],
                "{path}"
            );
        }
    }
    let names = |token: Option<&str>| {
        let boards = match token {
            Some(token) => node.send_as("GET", "/api/v1/boards", token, &[], ""),
            None => node.get("/api/v1/boards"),
        };
        let boards = boards.json()["boards"].as_array().expect("boards").clone();
        boards
            .iter()
            .map(|board| board["name"].as_str().expect("a name").to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(names(None), ["main"]);
    assert_eq!(names(Some(&reader)), ["main", "secret"]);
    assert_eq!(names(Some(&elsewhere)), ["main"]);
    // Nobody can post to what is not there, whatever they know of it.
    for path in ["/b/secret", TOPICS] {
        assert_eq!(
            node.send("POST", path, "application/json", r#"{"comment":"x"}"#)
                .status,
            404,
            "{path}"
        );
    }
    let mut mirror = Mirror::default();
    mirror.take(&open(&node, STREAM, &reader).event());
    assert_eq!(mirror.comments(), ["psst"]);
}

fn a_board_that_becomes_private_ends_the_streams_of_strangers(database: Database) {
    let node = Node::start(database);
    let admin = node.token(&["create", "--scope", "admin"]);
    let (mut stranger, mut insider) = (
        node.stream("/b/main/stream?format=patch"),
        open(&node, "/b/main/stream?format=patch", &admin),
    );
    let mut mirror = Mirror::default();
    stranger.event();
    mirror.take(&insider.event());
    assert_eq!(
        node.send_as(
            "PATCH",
            "/api/v1/boards/main",
            &admin,
            &[],
            r#"{"read":"token"}"#
        )
        .status,
        200
    );
    assert_eq!(
        node.get("/b/main").status,
        404,
        "for the next reader at once"
    );
    let posted = node.send_as(
        "POST",
        "/api/v1/boards/main/topics",
        &admin,
        &[],
        r#"{"comment":"not for strangers"}"#,
    );
    assert_eq!(posted.status, 201);
    let last = stranger.event();
    assert_eq!(
        (last.name.as_str(), last.json()["reason"].as_str()),
        ("bye", Some("auth")),
        "and nothing before it"
    );
    mirror.take(&insider.event());
    assert_eq!(mirror.comments(), ["not for strangers"]);
    assert_eq!(
        status(&node, "/b/main/stream", None),
        404,
        "the reconnect is final"
    );
    // By another program, and back.
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

fn posting_can_take_a_token_or_end(database: Database) {
    let node = Node::start(database);
    let admin = node.token(&["create", "--scope", "admin"]);
    let (reader, poster) = (
        node.token(&["create", "--scope", "read"]),
        node.token(&["create", "--scope", "post"]),
    );
    let set = |post: &str| {
        let body = format!(r#"{{"post":"{post}"}}"#);
        assert_eq!(
            node.send_as("PATCH", "/api/v1/boards/main", &admin, &[], &body)
                .status,
            200
        );
    };
    let post = |token: &str| {
        node.send_as(
            "POST",
            "/api/v1/boards/main/topics",
            token,
            &[],
            r#"{"comment":"x"}"#,
        )
    };
    set("token");
    assert_eq!(node.send("POST", "/", "text/plain", "x").status, 401);
    assert_eq!(
        [
            post(&reader).status,
            post(&poster).status,
            post(&admin).status
        ],
        [403, 201, 201]
    );
    let page = node.get("/").body;
    assert!(
        page.contains("Posting here takes a token.") && !page.contains("<form"),
        "{page}"
    );
    set("closed");
    assert_eq!(
        (post(&admin).status, post(&admin).json()["code"].as_str()),
        (403, Some("closed"))
    );
    assert!(node.get("/").body.contains("This board is closed"));
    assert_eq!(node.get("/").status, 200, "reading goes on");
    set("open");
    assert_eq!(node.send("POST", "/", "text/plain", "x").status, 201);
    let wrong = node.send_as(
        "PATCH",
        "/api/v1/boards/main",
        &admin,
        &[],
        r#"{"read":"closed","post":"x","title":"a\nb"}"#,
    );
    let fields: Vec<_> = wrong.json()["errors"]
        .as_array()
        .expect("errors")
        .iter()
        .map(|fault| fault["field"].clone())
        .collect();
    assert_eq!(
        (wrong.status, fields),
        (422, vec!["title".into(), "read".into(), "post".into()])
    );
}

fn a_ticket_lets_one_stream_in(database: Database) {
    let (node, _, reader) = with_a_secret(database);
    let ask = |token: &str, board: &str| {
        node.send_as(
            "POST",
            "/api/v1/tickets",
            token,
            &[],
            &format!(r#"{{"board":"{board}"}}"#),
        )
    };
    let made = ask(&reader, "secret");
    assert_eq!(
        (made.status, made.json()["use_within_s"].as_u64()),
        (201, Some(60)),
        "{made:?}"
    );
    assert_eq!(
        ask(&reader, "main").status,
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
    let ticket = made.json()["ticket"].as_str().expect("a ticket").to_owned();
    let path = format!("{STREAM}&ticket={ticket}");
    let mut first = node.stream(&path);
    let cursor = first.event().id.expect("a cursor");
    // It comes back, as an EventSource does: the one before is over.
    let mut second = node.resume(&path, &cursor);
    assert_eq!(bye(&mut first), "auth");
    node.send_as(
        "POST",
        TOPICS,
        &node.token(&["create", "--scope", "post"]),
        &[],
        r#"{"comment":"x"}"#,
    );
    assert_eq!(second.event().name, "patch");
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
    // Void with its token.
    let id = node
        .token(&["list"])
        .lines()
        .find(|line| line.contains("read"))
        .and_then(|line| line.split('\t').next())
        .map(str::to_owned);
    node.token(&["revoke", &id.expect("the reader's")]);
    assert_eq!(bye(&mut second), "auth");
    assert_eq!(node.get(&path).status, 401);
}

fn revoking_ends_streams_and_waits_at_once(database: Database) {
    let (node, admin, reader) = with_a_secret(database);
    let other = if node.database.is_postgres() {
        Some(node.sibling())
    } else {
        None
    };
    let mut streams: Vec<_> = std::iter::once(&node)
        .chain(&other)
        .map(|node| open(node, STREAM, &reader))
        .collect();
    let mut admins = open(&node, STREAM, &admin);
    let tag = streams[0].event().id.expect("a cursor");
    streams
        .iter_mut()
        .skip(1)
        .for_each(|stream| drop(stream.event()));
    admins.event();
    let authorization = format!("Bearer {reader}");
    let headers = [
        ("Authorization", authorization.as_str()),
        ("If-None-Match", &format!("\"{tag}\"")),
    ];
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| node.get_with(&format!("{TOPICS}?wait=30"), &headers).status);
        let began = Instant::now();
        let listed = node
            .send_as("GET", "/api/v1/tokens", &admin, &[], "")
            .json();
        let id = listed["tokens"]
            .as_array()
            .expect("tokens")
            .iter()
            .find(|token| token["scope"] == "read")
            .expect("the reader's")["id"]
            .clone();
        assert_eq!(
            node.send_as("DELETE", &format!("/api/v1/tokens/{id}"), &admin, &[], "")
                .status,
            204
        );
        for stream in &mut streams {
            assert_eq!(bye(stream), "auth");
        }
        // Whether it waited already or came too late.
        let waited = waiting.join().expect("an answer");
        assert!(matches!(waited, 404 | 401), "{waited}");
        assert!(
            began.elapsed() < Duration::from_secs(1),
            "{:?}",
            began.elapsed()
        );
    });
    assert_eq!(
        status(&node, STREAM, Some(&reader)),
        401,
        "the reconnect is final"
    );
    admins.quiet_for(Duration::from_millis(100));
}

fn a_token_that_ends_by_itself_ends_its_stream(database: Database) {
    let (node, admin, _) = with_a_secret(database);
    let soon = (chrono::Utc::now() + chrono::TimeDelta::milliseconds(1_500)).to_rfc3339();
    let body =
        format!(r#"{{"name":"soon over","scope":"read","board":"secret","expires_at":"{soon}"}}"#);
    let made = node.send_as("POST", "/api/v1/tokens", &admin, &[], &body);
    assert_eq!(made.status, 201, "{made:?}");
    let token = made.json()["token"].as_str().expect("a token").to_owned();
    let mut stream = open(&node, STREAM, &token);
    stream.event();
    assert_eq!(bye(&mut stream), "auth");
    assert_eq!(status(&node, STREAM, Some(&token)), 401);
}

fn tokens_are_made_and_ended_over_rest(database: Database) {
    const TOKENS: &str = "/api/v1/tokens";
    let (node, admin, reader) = with_a_secret(database);
    for (token, expected) in [(&reader, 403), (&"guess".to_owned(), 401)] {
        for (method, path) in [
            ("GET", TOKENS),
            ("POST", TOKENS),
            ("DELETE", "/api/v1/tokens/1"),
            ("GET", "/api/v1/audit"),
            ("GET", "/api/v1/stats"),
        ] {
            assert_eq!(
                node.send_as(method, path, token, &[], "{}").status,
                expected,
                "{method} {path}"
            );
        }
    }
    let made = node.send_as(
        "POST",
        TOKENS,
        &admin,
        &[],
        r#"{"name":"bot","scope":"post","board":"main"}"#,
    );
    let path = made.header("location").expect("an address").to_owned();
    let secret = made.json()["token"].as_str().expect("a token").to_owned();
    assert_eq!(
        (made.status, made.header("cache-control")),
        (201, Some("no-store"))
    );
    let known = node.send_as("GET", &path, &admin, &[], "");
    assert_eq!(
        (
            known.json()["name"].as_str(),
            known.json()["board"].as_str()
        ),
        (Some("bot"), Some("main"))
    );
    let listed = node.send_as("GET", TOKENS, &admin, &[], "");
    assert!(
        !listed.body.contains(&secret) && !known.body.contains(&secret),
        "shown once"
    );
    let paged = node.send_as("GET", &format!("{TOKENS}?limit=1"), &admin, &[], "");
    assert_eq!(
        (
            paged.json()["tokens"].as_array().expect("tokens").len(),
            paged.header("link")
        ),
        (1, Some("</api/v1/tokens?after=1&limit=1>; rel=\"next\""))
    );
    for (status, body) in [
        (
            422,
            r#"{"name":"","scope":"root","board":"A","expires_at":"2000-01-01T00:00:00Z"}"#,
        ),
        (404, r#"{"name":"x","scope":"read","board":"nowhere"}"#),
        (
            400,
            r#"{"name":"x","scope":"read","expires_at":"tomorrow"}"#,
        ),
        (422, r#"{"name":"x","scope":"read","digest":"y"}"#),
        (400, "{}"),
    ] {
        assert_eq!(
            node.send_as("POST", TOKENS, &admin, &[], body).status,
            status,
            "{body}"
        );
    }
    assert_eq!(
        [
            node.send_as("DELETE", &path, &admin, &[], "").status,
            node.send_as("DELETE", &path, &admin, &[], "").status
        ],
        [204, 404]
    );
    let audit = node
        .send_as("GET", "/api/v1/audit?limit=2", &admin, &[], "")
        .json();
    let said: Vec<_> = audit["entries"]
        .as_array()
        .expect("entries")
        .iter()
        .map(|entry| (entry["actor"].as_str(), entry["action"].as_str()))
        .collect();
    assert_eq!(
        said,
        [
            (Some("ann"), Some("token.revoke")),
            (Some("ann"), Some("token.create"))
        ]
    );
    let stats = node.send_as("GET", "/api/v1/stats", &admin, &[], "").json();
    assert_eq!(
        (stats["streams"].as_u64(), stats["stale_since"].is_null()),
        (Some(0), true),
        "{stats}"
    );
}

fn a_deleted_topic_is_undone_on_the_stream(database: Database) {
    let node = Node::start(database);
    let admin = node.token(&["create", "--scope", "admin"]);
    let mut stream = node.stream("/b/main/stream?format=patch");
    let mut mirror = Mirror::default();
    let mut shows = |expected: &[&str]| {
        while mirror.comments() != expected {
            mirror.take(&stream.event());
        }
    };
    let (first, _) = (node.post("oops"), node.post("later"));
    let path = format!("/api/v1/boards/main/topics/{first}");
    shows(&["oops", "later"]);
    assert_eq!(
        node.send_as("POST", &format!("{path}/restore"), &admin, &[], "")
            .status,
        409,
        "it is there"
    );
    assert_eq!(node.send_as("DELETE", &path, &admin, &[], "").status, 204);
    shows(&["later"]);
    assert_eq!(
        node.send("POST", &format!("{path}/restore"), "application/json", "")
            .status,
        401
    );
    let back = node.send_as("POST", &format!("{path}/restore"), &admin, &[], "");
    assert_eq!(
        (back.status, back.json()["comment"].as_str()),
        (200, Some("oops"))
    );
    shows(&["oops", "later"]);
    assert_eq!(
        node.send_as(
            "POST",
            "/api/v1/boards/main/topics/999/restore",
            &admin,
            &[],
            ""
        )
        .status,
        404
    );
}
