//! The life of a token over REST: created, listed, revoked or expired; and what ends with it.

use std::time::{Duration, Instant};

use super::{STREAM, TOPICS, bye, open, status, with_a_secret};
use crate::node::{Database, Node};

crate::on_both!(
    tokens_are_made_and_ended_over_rest,
    only_an_administrator_uses_the_token_api,
    an_id_that_is_no_number_is_refused_like_one_that_is_not_there,
    a_token_that_cannot_be_made_is_refused,
    the_audit_names_who_made_and_revoked_a_token,
    revoking_ends_streams_and_waits_at_once,
    a_token_that_ends_by_itself_ends_its_stream,
);

const TOKENS: &str = "/api/v1/tokens";
/// The request for a token that may post to `main`.
const BOT: &str = r#"{"name":"bot","scope":"post","board":"main"}"#;

/// Creates a token, and returns the path of its resource and the token itself.
fn create_bot(node: &Node, admin: &str) -> (String, String) {
    let made = node.send_as("POST", TOKENS, admin, &[], BOT);
    assert_eq!(
        (made.status, made.header("cache-control")),
        (201, Some("no-store"))
    );
    let path = made.header("location").expect("an address").to_owned();
    let token = made.json()["token"].as_str().expect("a token").to_owned();
    (path, token)
}

fn only_an_administrator_uses_the_token_api(database: Database) {
    let (node, _, reader) = with_a_secret(database);
    for (token, expected) in [(reader.as_str(), 403), ("guess", 401)] {
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
}

fn an_id_that_is_no_number_is_refused_like_one_that_is_not_there(database: Database) {
    let (node, admin, _) = with_a_secret(database);
    for (folder, sentence) in [
        ("/api/v1/tokens", "no valid token has the id "),
        ("/api/v1/sessions", "no session has the id "),
        ("/api/v1/boards/main/topics", "there is no topic "),
    ] {
        for id in ["999999", "x", "01"] {
            let missing = node.send_as("DELETE", &format!("{folder}/{id}"), &admin, &[], "");
            missing.assert_problem(404, "not_found");
            assert_eq!(missing.text("detail"), format!("{sentence}{id}"));
        }
    }
}

fn tokens_are_made_and_ended_over_rest(database: Database) {
    let (node, admin, _) = with_a_secret(database);
    let (path, secret) = create_bot(&node, &admin);
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
    assert_eq!(
        [(); 2].map(|()| node.send_as("DELETE", &path, &admin, &[], "").status),
        [204, 404]
    );
    let stats = node.send_as("GET", "/api/v1/stats", &admin, &[], "").json();
    assert_eq!(
        (stats["streams"].as_u64(), stats["stale_since"].is_null()),
        (Some(0), true),
        "{stats}"
    );
}

fn a_token_that_cannot_be_made_is_refused(database: Database) {
    let (node, admin, _) = with_a_secret(database);
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
}

fn the_audit_names_who_made_and_revoked_a_token(database: Database) {
    let (node, admin, _) = with_a_secret(database);
    let (path, _) = create_bot(&node, &admin);
    node.send_as("DELETE", &path, &admin, &[], "");
    let audit = node
        .send_as("GET", "/api/v1/audit?limit=2", &admin, &[], "")
        .json();
    let entries = audit["entries"].as_array().expect("entries").iter();
    let said: Vec<_> = entries
        .map(|entry| (entry["actor"].as_str(), entry["action"].as_str()))
        .collect();
    assert_eq!(
        said,
        [
            (Some("ann"), Some("token.revoke")),
            (Some("ann"), Some("token.create"))
        ]
    );
}

/// Revokes the token that may only read.
fn revoke_reader(node: &Node, admin: &str) {
    let listed = node.send_as("GET", TOKENS, admin, &[], "").json();
    let mut tokens = listed["tokens"].as_array().expect("tokens").iter();
    let token = tokens.find(|token| token["scope"] == "read");
    let path = format!("{TOKENS}/{}", token.expect("the reader's")["id"]);
    let revoked = node.send_as("DELETE", &path, admin, &[], "");
    assert_eq!(revoked.status, 204);
}

/// Waits for another list than the one at this cursor. Returns the status.
fn wait_for_update(node: &Node, token: &str, cursor: &str) -> u16 {
    let headers = [
        ("Authorization", format!("Bearer {token}")),
        ("If-None-Match", format!("\"{cursor}\"")),
    ];
    let headers = headers
        .each_ref()
        .map(|(name, value)| (*name, value.as_str()));
    node.get_with(&format!("{TOPICS}?wait=30"), &headers).status
}

fn revoking_ends_streams_and_waits_at_once(database: Database) {
    let (node, admin, reader) = with_a_secret(database);
    let other = node.database.is_postgres().then(|| node.sibling());
    let mut streams: Vec<_> = std::iter::once(&node)
        .chain(&other)
        .map(|node| open(node, STREAM, &reader))
        .collect();
    let mut admins = open(&node, STREAM, &admin);
    let cursor = streams[0].event().id.expect("a cursor");
    streams
        .iter_mut()
        .skip(1)
        .for_each(|stream| drop(stream.event()));
    admins.event();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| wait_for_update(&node, &reader, &cursor));
        let began = Instant::now();
        revoke_reader(&node, &admin);
        for stream in &mut streams {
            assert_eq!(bye(stream), "auth");
        }
        // Whether it waited already or came too late.
        let waited = waiting.join().expect("an answer");
        assert!(matches!(waited, 404 | 401), "{waited}");
        let took = began.elapsed();
        assert!(took < Duration::from_secs(1), "{took:?}");
    });
    let reconnect = status(&node, STREAM, Some(&reader));
    assert_eq!(reconnect, 401, "the reconnect is final");
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

#[test]
fn a_token_that_would_end_out_of_range_is_refused() {
    let node = Node::start(Database::sqlite());
    let admin = node.token(&["create", "--scope", "admin", "--days", "30"]);
    for at in [
        "2000-01-01T00:00:00Z",
        "-0001-01-01T00:00:00Z",
        "+10000-01-01T00:00:00Z",
        "+262142-12-31T23:59:59Z",
        "0000-01-01T00:00:00Z",
    ] {
        let body = format!(r#"{{"name":"x","scope":"read","expires_at":"{at}"}}"#);
        let answer = node.send_as("POST", "/api/v1/tokens", &admin, &[], &body);
        assert!(
            answer.status == 422 && answer.json()["errors"][0]["field"] == "expires_at",
            "{at}: {answer:?}"
        );
    }
    let body = r#"{"name":"x","scope":"read","expires_at":"9999-12-31T23:59:59Z"}"#;
    let answer = node.send_as("POST", "/api/v1/tokens", &admin, &[], body);
    assert_eq!(answer.status, 201);
    assert_eq!(node.database.sql("SELECT count(*) FROM tokens;"), "2");
}
