//! A private board cannot be distinguished from one that is not there.

use std::time::{Duration, Instant};

use crate::{
    node::{Database, Node},
    sse::Event,
    wire::{self, Answer},
};

/// Of the same length, so that lengths say nothing.
const PRIVATE: &str = "secret";
const MISSING: &str = "absent";

/// A request, with `{board}` for the name of the board.
struct Asked {
    method: &'static str,
    path: String,
    headers: Vec<Header>,
    body: &'static str,
}

/// A board among others, the first of which is there.
const AMONG_OTHERS: &str = "/stream?board=main&board={board}&format=patch";

type Header = (&'static str, &'static str);

impl Asked {
    fn get(path: &str, headers: &[Header]) -> Self {
        Self::new("GET", path, headers, "")
    }

    fn new(method: &'static str, path: &str, headers: &[Header], body: &'static str) -> Self {
        Self {
            method,
            path: path.to_owned(),
            headers: headers.to_vec(),
            body,
        }
    }
}

/// Each address of the table of routes that names a board, with each of its methods, in each way it
/// can be asked; and addresses with a query.
fn questions() -> Vec<Asked> {
    let mut asked = Vec::new();
    for (path, methods) in addresses_of_boards() {
        for method in ["GET", "HEAD", "POST", "PATCH", "DELETE"] {
            if methods.contains(method) {
                asked.extend(ways_to_ask(method, &path));
            }
        }
    }
    asked.extend(questions_with_a_query());
    let upgrade = [
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    asked.push(Asked::get("/b/{board}/ws", &upgrade));
    assert!(
        asked.len() > 60,
        "the table of routes is read otherwise by now"
    );
    asked
}

/// The addresses of the table of routes that name a board, each with its methods.
fn addresses_of_boards() -> Vec<(String, &'static str)> {
    let table = include_str!("../../src/routes.rs");
    let addresses = table.split("address(\"").skip(1).filter_map(|rest| {
        let (path, rest) = rest.split_once("\", \"")?;
        Some((path, rest.split_once('"')?.0))
    });
    addresses
        .filter(|(path, _)| path.contains("{board}") || *path == "/stream")
        .map(|(path, methods)| match path {
            "/stream" => ("/stream?board={board}".to_owned(), methods),
            path => (path.replace("{id}", "1"), methods),
        })
        .collect()
}

fn ways_to_ask(method: &'static str, path: &str) -> Vec<Asked> {
    if method == "GET" || method == "HEAD" {
        return ["*/*", "text/html", "application/json", "text/event-stream"]
            .map(|accept| Asked::new(method, path, &[("Accept", accept)], ""))
            .into();
    }
    let mut asked = Vec::new();
    for key in [&[][..], &[("Idempotency-Key", "k")]] {
        let json = [&[("Content-Type", "application/json")], key].concat();
        let form = [
            &[
                ("Content-Type", "application/x-www-form-urlencoded"),
                ("Accept", "text/html"),
            ],
            key,
        ]
        .concat();
        asked.extend([
            Asked::new(method, path, &json, r#"{"comment":"x"}"#),
            Asked::new(method, path, &json, r#"{"comment":""}"#),
            Asked::new(method, path, &form, "comment=x"),
            Asked::new(method, path, &form, "comment="),
        ]);
    }
    asked
}

fn questions_with_a_query() -> Vec<Asked> {
    let paths = [
        "/b/{board}/stream?format=patch",
        "/b/{board}/stream?since=10m",
        "/b/{board}/stream?last_event_id=0-1",
        "/b/{board}/stream?since=now",
        "/b/{board}/stream?format=ndjson",
        "/b/{board}/stream?ticket=guess",
        "/api/v1/boards/{board}/topics?limit=1",
        "/api/v1/boards/{board}/topics?q=x",
        "/api/v1/boards/{board}/topics?wait=1",
    ];
    let asked = paths.map(|path| {
        [
            Asked::get(path, &[]),
            Asked::get(path, &[("If-None-Match", "\"0-1\"")]),
        ]
    });
    asked.into_iter().flatten().collect()
}

/// The whole answer, but for the name of the board, the time, and how long to wait, which is drawn.
fn answer(node: &Node, asked: &Asked, board: &str) -> (u16, String, String) {
    let path = asked.path.replace("{board}", board);
    let Answer { status, head, body } = wire::request(
        node.address,
        asked.method,
        &path,
        &asked.headers,
        asked.body.as_bytes(),
    );
    let mut head: Vec<_> = head
        .lines()
        .filter(|line| !line.to_lowercase().starts_with("date:"))
        .collect();
    // Their order is that of a table in memory.
    head[1..].sort_unstable();
    let mut body: Vec<_> = body.lines().map(str::to_owned).collect();
    for line in body
        .iter_mut()
        .filter(|line| line.starts_with("retry:") || line.contains("\"retry_ms\""))
    {
        *line = line.replace(|c: char| c.is_ascii_digit(), "");
    }
    (
        status,
        head.join("\n").replace(board, "{board}"),
        body.join("\n").replace(board, "{board}"),
    )
}

/// What a stream of several boards says until one of them ends, but for the name of that board.
fn beginning(node: &Node, board: &str) -> Vec<Event> {
    let mut stream = node.stream(&AMONG_OTHERS.replace("{board}", board));
    let mut events = Vec::new();
    loop {
        let mut event = stream.event();
        event.data = event.data.replace(board, "{board}");
        event.id = event.id.map(|id| id.replace(board, "{board}"));
        // It is drawn.
        event.retry = None;
        let is_end = event.name == "bye";
        events.push(event);
        if is_end {
            return events;
        }
    }
}

fn node(database: Database, settings: &[(&str, &str)]) -> (Node, String) {
    let node = Node::start_with(database, settings);
    let admin = node.token(&["create", "--scope", "admin"]);
    let made = node.send_as(
        "POST",
        "/api/v1/boards",
        &admin,
        &[],
        r#"{"name":"secret","read":"token"}"#,
    );
    assert_eq!(made.status, 201, "{made:?}");
    node.send_as(
        "POST",
        "/api/v1/boards/secret/topics",
        &admin,
        &[],
        r#"{"comment":"psst"}"#,
    );
    (node, admin)
}

fn all_are_alike(node: &Node, when: &str) {
    for asked in questions() {
        let (private, missing) = (answer(node, &asked, PRIVATE), answer(node, &asked, MISSING));
        assert_eq!(
            private, missing,
            "{when}: {} {} {:?} {:?}",
            asked.method, asked.path, asked.headers, asked.body
        );
        assert!(
            private.0 >= 400 || when == "away",
            "{when}: {} {}: {private:?}",
            asked.method,
            asked.path
        );
    }
    let [private, missing] = [PRIVATE, MISSING].map(|board| beginning(node, board));
    assert_eq!(private, missing, "{when}: among others");
    assert_eq!(private.len(), if when == "away" { 1 } else { 3 }, "{when}");
}

fn remember(node: &Node, admin: &str) {
    assert_eq!(
        node.send_as("GET", "/api/v1/boards/secret/topics", admin, &[], "")
            .status,
        200
    );
}

crate::on_both!(a_private_board_is_answered_like_none);

fn a_private_board_is_answered_like_none(database: Database) {
    let (node, admin) = node(database, &[("LIMITS__BAD_TOKENS_PER_MIN", "1000000")]);
    all_are_alike(&node, "up, not in memory");
    remember(&node, &admin);
    all_are_alike(&node, "up, in memory");
}

#[test]
fn also_while_the_database_is_away() {
    let (node, admin) = node(
        Database::postgres(),
        &[
            ("LIMITS__BAD_TOKENS_PER_MIN", "1000000"),
            ("DATABASE__POOL_WAIT_MS", "100"),
        ],
    );
    remember(&node, &admin);
    let url = node.database.url();
    let (server, name) = url.rsplit_once('/').expect("a database");
    let elsewhere = Database::Postgres(format!("{server}/postgres"));
    elsewhere.sql(&format!("ALTER DATABASE {name} ALLOW_CONNECTIONS false;"));
    elsewhere.sql(&format!(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}';"
    ));
    let deadline = Instant::now() + Duration::from_secs(10);
    while node.get("/readyz").status != 503 {
        assert!(Instant::now() < deadline, "the database is not away");
    }
    all_are_alike(&node, "away");
    assert_eq!(
        node.get("/b/main").status,
        503,
        "what was not read is not there"
    );
    elsewhere.sql(&format!("ALTER DATABASE {name} ALLOW_CONNECTIONS true;"));
}

/// Compares times; `scripts/hidden-boards` runs it, where nothing else does.
#[test]
#[ignore = "measures"]
#[allow(
    clippy::print_stdout,
    reason = "what it measures is for people to read"
)]
fn the_time_to_answer_says_nothing() {
    const ROUNDS: usize = 400;
    for database in [Database::sqlite(), Database::postgres()] {
        let (node, admin) = node(database, &[]);
        remember(&node, &admin);
        for path in [
            "/b/{board}",
            "/b/{board}/stream",
            "/api/v1/boards/{board}",
            "/api/v1/boards/{board}/topics",
            AMONG_OTHERS,
        ] {
            let mut times = [Vec::new(), Vec::new()];
            for round in 0..ROUNDS * 2 {
                let (kind, board) = if round % 2 == 0 {
                    (0, PRIVATE)
                } else {
                    (1, MISSING)
                };
                let began = Instant::now();
                if path == AMONG_OTHERS {
                    beginning(&node, board);
                } else {
                    assert_eq!(node.get(&path.replace("{board}", board)).status, 404);
                }
                times[kind].push(began.elapsed());
            }
            let [private, missing] = times.map(|mut times| {
                times.sort();
                times[ROUNDS / 2]
            });
            println!("{path}: median {private:?} for a private board, {missing:?} for none");
            let (less, more) = (private.min(missing), private.max(missing));
            assert!(
                more < less.mul_f64(1.25) + Duration::from_micros(50),
                "{path}: {private:?} {missing:?}"
            );
        }
    }
}
