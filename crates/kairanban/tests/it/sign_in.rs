//! People sign in with a token in a browser: what a session lets them do, and when it ends.

mod ends;
mod error_pages;
mod other_origins;

use std::io::{BufReader, Write as _};

use crate::{
    node::{Database, Node},
    sse::Reader,
    wire::{self, Answer},
};

crate::on_both!(
    a_person_signs_in_and_uses_a_private_board,
    what_a_session_was_shown_stays_in_no_cache,
    a_wrong_token_is_answered_like_one_that_ended,
    a_private_board_offers_to_sign_in_as_a_missing_one_does,
    a_session_is_no_token_and_a_token_no_session,
    a_restart_signs_no_one_out,
    no_session_stands_in_the_database,
    an_administrator_lists_sessions_and_ends_one,
);

const BOARD: &str = "/b/secret";
const STREAM: &str = "/b/secret/stream?format=patch";
const TOPICS: &str = "/api/v1/boards/secret/topics";
const FORM: (&str, &str) = ("Content-Type", "application/x-www-form-urlencoded");
const HTML: (&str, &str) = ("Accept", "text/html");
const JSON: (&str, &str) = ("Accept", "application/json");

/// A node with a private board on which only holders of a token post, and an admin's token.
fn with_a_secret(database: Database, settings: &[(&str, &str)]) -> (Node, String) {
    let more = [("LIMITS__LOGINS_PER_MIN", "1000")];
    let node = Node::start_with(database, &[&more, settings].concat());
    let admin = node.token(&["create", "--scope", "admin", "--name", "ann"]);
    let body = r#"{"name":"secret","read":"token","post":"token"}"#;
    let made = node.send_as("POST", "/api/v1/boards", &admin, &[], body);
    assert_eq!(made.status, 201, "{made:?}");
    (node, admin)
}

/// Sends the form of the page on which one signs in.
fn try_sign_in(node: &Node, token: &str, next: &str, headers: &[(&str, &str)]) -> Answer {
    let path = format!("/login?next={next}");
    let body = format!("token={token}&keep=1");
    let headers = [&[FORM, HTML], headers].concat();
    wire::request(node.address, "POST", &path, &headers, body.as_bytes())
}

/// Signs in. Returns what the browser sends from then on.
pub(crate) fn sign_in(node: &Node, token: &str) -> String {
    let answer = try_sign_in(node, token, "/", &[]);
    assert_eq!(answer.status, 303, "{answer:?}");
    cookie(&answer)
}

fn cookie(answer: &Answer) -> String {
    let set = answer.header("set-cookie").expect("a cookie");
    set.split(';').next().expect("a pair").to_owned()
}

fn get(node: &Node, path: &str, session: &str) -> Answer {
    node.get_with(path, &[HTML, ("Cookie", session)])
}

fn open(node: &Node, session: &str) -> Reader {
    Reader::open(node.address, STREAM, &[("Cookie", session)])
}

/// The status of the answer to a handshake.
fn socket_status(node: &Node, headers: &[(&str, &str)]) -> u16 {
    let handshake = [
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    let mut socket = wire::connect(node.address);
    let message = wire::message("GET", "/b/secret/ws", &[&handshake, headers].concat(), b"");
    socket.write_all(&message).expect("sent");
    wire::read_head(&mut BufReader::new(socket)).0
}

fn a_person_signs_in_and_uses_a_private_board(database: Database) {
    let (node, _) = with_a_secret(database, &[]);
    let token = node.token(&["create", "--scope", "post", "--name", "kitchen <b>"]);
    let form = node.get_with("/login?next=%2Fb%2Fsecret", &[HTML]);
    assert!(
        form.status == 200
            && form
                .body
                .contains("action=\"&#x2f;login?next=%2Fb%2Fsecret\""),
        "{form:?}"
    );
    let answer = try_sign_in(&node, &token, "%2Fb%2Fsecret", &[]);
    assert_eq!(
        (answer.status, answer.header("location")),
        (303, Some(BOARD)),
        "{answer:?}"
    );
    let session = cookie(&answer);
    for path in [
        BOARD,
        "/b/secret/topics?q=x",
        "/b/secret/topics",
        "/b/secret/qr",
        "/b/secret/feed.xml",
        "/api/v1/boards/secret",
        TOPICS,
    ] {
        assert_eq!(node.get(path).status, 404, "{path}");
        assert_eq!(get(&node, path, &session).status, 200, "{path}");
    }
    assert!(get(&node, "/boards", &session).body.contains("/b/secret"));
    assert_eq!(socket_status(&node, &[("Cookie", &session)]), 101);
    let mut stream = open(&node, &session);
    stream.event();
    let headers = [
        FORM,
        HTML,
        ("Cookie", &session),
        ("Sec-Fetch-Site", "same-origin"),
    ];
    let posted = wire::request(node.address, "POST", BOARD, &headers, b"comment=hello");
    assert_eq!(posted.status, 303, "{posted:?}");
    assert_eq!(stream.event().name, "patch");
    let page = get(&node, BOARD, &session);
    assert!(
        page.body.contains("kitchen &lt;b&gt;")
            && page
                .body
                .contains("action=\"&#x2f;logout?next=%2Fb%2Fsecret\"")
            && page.body.contains("hello"),
        "{page:?}"
    );
    // What the token does not allow, the session does not.
    assert_eq!(get(&node, "/api/v1/tokens", &session).status, 403);
}

fn what_a_session_was_shown_stays_in_no_cache(database: Database) {
    let (node, admin) = with_a_secret(database, &[]);
    let session = sign_in(&node, &admin);
    for path in [
        BOARD,
        TOPICS,
        "/boards",
        "/",
        "/b/secret/feed.xml",
        "/b/none",
    ] {
        let answer = get(&node, path, &session);
        assert_eq!(
            answer.header("cache-control"),
            Some("private, no-store"),
            "{path}"
        );
    }
    let stream = open(&node, &session);
    assert!(
        stream.head.contains("private, no-store, no-transform"),
        "{}",
        stream.head
    );
    let open = node.get_with("/", &[HTML]);
    assert_eq!(open.header("cache-control"), Some("no-cache"));
}

fn a_wrong_token_is_answered_like_one_that_ended(database: Database) {
    let (node, admin) = with_a_secret(database, &[]);
    let revoked = node.token(&["create", "--scope", "read"]);
    node.token(&["revoke", "2"]);
    let expired = node.token(&["create", "--scope", "read", "--days", "1"]);
    node.database
        .sql("UPDATE tokens SET expires_at = '2001-01-01 00:00:00' WHERE id = 3;");
    let unknown = admin.replace("kairanban_", "kairanban_0");
    let answers = [&revoked, &expired, &unknown, "guess", ""].map(|token| {
        let answer = try_sign_in(&node, token, "/", &[]);
        assert!(answer.header("set-cookie").is_none(), "{answer:?}");
        (answer.status, answer.body)
    });
    assert!(
        answers[0].0 == 401
            && answers[0]
                .1
                .contains("This token has expired or does not exist."),
        "{answers:?}"
    );
    for answer in &answers {
        assert_eq!(*answer, answers[0]);
    }
    assert!(!answers[0].1.contains(&revoked));
    let plain = wire::request(
        node.address,
        "POST",
        "/login",
        &[FORM, JSON],
        b"token=guess",
    );
    plain.assert_problem(401, "unauthorized");
    let json = node.send("POST", "/login", "application/json", r#"{"token":"x"}"#);
    assert_eq!(json.status, 415);
}

fn a_private_board_offers_to_sign_in_as_a_missing_one_does(database: Database) {
    let (node, admin) = with_a_secret(database, &[]);
    let [secret, absent] = ["secret", "absent"].map(|board| {
        let answer = node.get_with(&format!("/b/{board}?q=1"), &[HTML]);
        assert_eq!(answer.status, 404);
        answer.body.replace(board, "board")
    });
    assert_eq!(secret, absent);
    assert!(
        secret.contains("href=\"&#x2f;login?next=%2Fb%2Fboard%3Fq%3D1\""),
        "{secret}"
    );
    let session = sign_in(&node, &admin);
    let missing = get(&node, "/b/absent", &session);
    assert!(
        missing.status == 404 && !missing.body.contains("&#x2f;login"),
        "{missing:?}"
    );
}

fn a_session_is_no_token_and_a_token_no_session(database: Database) {
    let (node, admin) = with_a_secret(database, &[]);
    let session = sign_in(&node, &admin);
    let (name, secret) = session.split_once('=').expect("a value");
    assert_eq!(node.send_as("GET", TOPICS, secret, &[], "").status, 401);
    assert_eq!(try_sign_in(&node, secret, "/", &[]).status, 401);
    assert_eq!(get(&node, TOPICS, &format!("{name}={admin}")).status, 404);
    // Which of two is ours cannot be known.
    let two = format!("{session}; {name}=other");
    assert_eq!(get(&node, TOPICS, &two).status, 404);
    // A token that is sent counts before the cookie.
    let reader = node.token(&["create", "--scope", "read", "--board", "main"]);
    let cookie = [("Cookie", session.as_str())];
    assert_eq!(
        node.send_as("GET", TOPICS, &reader, &cookie, "").status,
        404
    );
}

fn a_restart_signs_no_one_out(database: Database) {
    let (mut node, admin) = with_a_secret(database, &[]);
    let session = sign_in(&node, &admin);
    node.kill();
    node.restart();
    assert_eq!(get(&node, BOARD, &session).status, 200);
}

fn no_session_stands_in_the_database(database: Database) {
    let (node, admin) = with_a_secret(database, &[]);
    let session = sign_in(&node, &admin);
    let secret = session.rsplit('_').next().expect("a secret");
    assert_eq!(secret.len(), 64, "256 bits");
    let kept = node.database.sql("SELECT * FROM browser_sessions;");
    assert!(!kept.is_empty() && !kept.contains(secret), "{kept}");
}

fn delete(node: &Node, path: &str, session: &str) -> u16 {
    wire::request(node.address, "DELETE", path, &[("Cookie", session)], b"").status
}

fn an_administrator_lists_sessions_and_ends_one(database: Database) {
    const SESSIONS: &str = "/api/v1/sessions";
    let (node, admin) = with_a_secret(database, &[]);
    let reader = node.token(&["create", "--scope", "read", "--name", "hall"]);
    let sessions = [&admin, &reader].map(|token| sign_in(&node, token));
    for (who, expected) in [("guess", 401), (&reader, 403)] {
        for (method, path) in [("GET", SESSIONS), ("DELETE", "/api/v1/sessions/1")] {
            assert_eq!(node.send_as(method, path, who, &[], "").status, expected);
        }
    }
    let mut stream = open(&node, &sessions[1]);
    stream.event();
    let listed = node.send_as(
        "GET",
        &format!("{SESSIONS}?limit=1&after=1"),
        &admin,
        &[],
        "",
    );
    let listed = listed.json();
    let session = &listed["sessions"][0];
    assert_eq!(
        (
            session["name"].as_str(),
            session["scope"].as_str(),
            session["token_id"].as_i64(),
            session["last_used_at"].is_string()
        ),
        (Some("hall"), Some("read"), Some(2), true),
        "{listed}"
    );
    // The administrator is signed in as well.
    let path = format!("{SESSIONS}/{}", session["id"]);
    assert_eq!(delete(&node, &path, &sessions[0]), 204);
    assert_eq!(ends::bye(&mut stream), "auth");
    assert_eq!(get(&node, BOARD, &sessions[1]).status, 404);
    for missing in [path.as_str(), "/api/v1/sessions/0", "/api/v1/sessions/x"] {
        assert_eq!(delete(&node, missing, &sessions[0]), 404, "{missing}");
    }
    let audit = node.send_as("GET", "/api/v1/audit?limit=1", &admin, &[], "");
    let audit = audit.json();
    let entry = &audit["entries"][0];
    assert_eq!(
        (
            entry["actor"].as_str(),
            entry["action"].as_str(),
            entry["subject"].as_i64()
        ),
        (Some("ann"), Some("session.end"), session["id"].as_i64()),
        "{audit}"
    );
}

#[test]
fn the_cookie_is_for_this_server_alone() {
    let (node, admin) = with_a_secret(Database::sqlite(), &[]);
    let set = try_sign_in(&node, &admin, "/", &[]);
    let set = set.header("set-cookie").expect("a cookie");
    assert!(
        set.starts_with("kairanban-session=kairanban_session_")
            && set.ends_with("; Path=/; HttpOnly; SameSite=Lax; Max-Age=2592000"),
        "{set}"
    );
    let headers = [FORM, HTML];
    let body = format!("token={admin}");
    let shared = wire::request(node.address, "POST", "/login", &headers, body.as_bytes());
    let shared = shared.header("set-cookie").expect("a cookie");
    assert!(shared.ends_with("; SameSite=Lax"), "{shared}");
    let https = [("SERVER__PUBLIC_URL", "https://board.example")];
    let (node, admin) = with_a_secret(Database::sqlite(), &https);
    let answer = try_sign_in(&node, &admin, "/", &[("Origin", "https://board.example")]);
    let set = answer.header("set-cookie").expect("a cookie");
    assert!(
        set.starts_with("__Host-kairanban-session=")
            && set.contains("; Path=/; HttpOnly; SameSite=Lax; Secure;"),
        "{set}"
    );
    assert_eq!(get(&node, BOARD, &cookie(&answer)).status, 200);
    let unprefixed = cookie(&answer).replace("__Host-", "");
    assert_eq!(get(&node, BOARD, &unprefixed).status, 404);
}

#[test]
fn signing_in_leads_nowhere_else() {
    let (node, admin) = with_a_secret(Database::sqlite(), &[]);
    for next in [
        "",
        "https://evil.example/",
        "//evil.example",
        "%2F%2Fevil.example",
        "%2F%5Cevil.example",
        "%2F%09%2Fevil.example",
        "%2F..%2F%2Fevil.example",
        "javascript:alert(1)",
        "%2F%0D%0ASet-Cookie:%20a=b",
    ] {
        let answer = try_sign_in(&node, &admin, next, &[]);
        assert_eq!(
            (answer.status, answer.header("location")),
            (303, Some("/")),
            "{next}"
        );
    }
}

#[test]
fn attempts_to_sign_in_are_bounded() {
    let settings = [("LIMITS__LOGINS_PER_MIN", "3")];
    let (node, admin) = with_a_secret(Database::sqlite(), &settings);
    for _ in 0..3 {
        assert_eq!(try_sign_in(&node, "guess", "/", &[]).status, 401);
    }
    let refused = try_sign_in(&node, &admin, "/", &[]);
    let wait = refused.header("retry-after").map(str::parse::<u64>);
    assert!(
        refused.status == 429
            && matches!(wait, Some(Ok(1..=60)))
            && refused.body.contains("Too many attempts from your address"),
        "{refused:?}"
    );
    let authorized = node.send_as("GET", TOPICS, &admin, &[], "");
    assert_eq!(authorized.status, 200, "only signing in is");
}
