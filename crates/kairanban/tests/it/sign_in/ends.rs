//! When a session ends, and what ends with it: on every node, at once.

use std::time::{Duration, Instant};

use super::{BOARD, FORM, HTML, STREAM, cookie, get, open, sign_in, try_sign_in, with_a_secret};
use crate::{
    node::{Database, Node},
    sse::Reader,
    wire::{self, Answer},
};

crate::on_both!(
    revoking_the_token_ends_its_sessions_and_their_streams,
    signing_out_ends_one_session_and_its_streams,
    signing_in_again_takes_the_place_of_the_session,
    a_session_ends_by_itself,
    a_session_ends_when_its_token_expires,
    a_token_has_a_number_of_sessions,
    a_statement_that_ends_a_session_ends_its_stream,
    a_ticket_ends_with_the_session_that_made_it,
);

/// Takes the stream's events until it says why it ends.
pub(super) fn bye(stream: &mut Reader) -> String {
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

/// The node, and another one where the database allows for it.
fn nodes(node: Node) -> Vec<Node> {
    let other = node.database.is_postgres().then(|| node.sibling());
    std::iter::once(node).chain(other).collect()
}

fn opened(nodes: &[Node], session: &str) -> Vec<Reader> {
    let opened = nodes.iter().map(|node| {
        let mut stream = open(node, session);
        assert_eq!(stream.event().name, "snapshot");
        stream
    });
    opened.collect()
}

/// All streams end because of who reads them, within a second of the beginning; and no node lets
/// the session in.
fn assert_ended(nodes: &[Node], streams: Vec<Reader>, session: &str, began: Instant) {
    for mut stream in streams {
        assert_eq!(bye(&mut stream), "auth");
    }
    let took = began.elapsed();
    assert!(took < Duration::from_secs(1), "{took:?}");
    for node in nodes {
        let again = node.get_with(STREAM, &[("Cookie", session)]);
        assert_eq!(again.status, 404, "it is final");
        let page = get(node, BOARD, session);
        let set = page.header("set-cookie").unwrap_or_default();
        assert!(
            page.status == 404
                && set.starts_with("kairanban-session=;")
                && set.ends_with("; Max-Age=0"),
            "{page:?}"
        );
        assert_eq!(get(node, "/", session).status, 200, "a stranger by now");
    }
}

fn revoking_the_token_ends_its_sessions_and_their_streams(database: Database) {
    let (node, admin) = with_a_secret(database, &[]);
    let reader = node.token(&["create", "--scope", "read"]);
    let (session, theirs) = (sign_in(&node, &reader), sign_in(&node, &admin));
    let nodes = nodes(node);
    let streams = opened(&nodes, &session);
    let mut others = opened(&nodes, &theirs);
    let began = Instant::now();
    let revoked = nodes[0].send_as("DELETE", "/api/v1/tokens/2", &admin, &[], "");
    assert_eq!(revoked.status, 204);
    assert_ended(&nodes, streams, &session, began);
    others[0].quiet_for(Duration::from_millis(100));
    assert_eq!(
        nodes[0]
            .database
            .sql("SELECT count(*) FROM browser_sessions;"),
        "1"
    );
}

fn sign_out(node: &Node, session: &str) -> Answer {
    let headers = [
        FORM,
        HTML,
        ("Cookie", session),
        ("Origin", "http://localhost"),
    ];
    wire::request(
        node.address,
        "POST",
        "/logout?next=%2Fboards",
        &headers,
        b"",
    )
}

fn signing_out_ends_one_session_and_its_streams(database: Database) {
    let (node, admin) = with_a_secret(database, &[]);
    let (session, kept) = (sign_in(&node, &admin), sign_in(&node, &admin));
    let nodes = nodes(node);
    let streams = opened(&nodes, &session);
    let mut others = opened(&nodes, &kept);
    let began = Instant::now();
    let out = sign_out(&nodes[0], &session);
    let set = out.header("set-cookie").unwrap_or_default();
    assert!(
        out.status == 303
            && out.header("location") == Some("/boards")
            && set.ends_with("; Max-Age=0"),
        "{out:?}"
    );
    assert_ended(&nodes, streams, &session, began);
    others[0].quiet_for(Duration::from_millis(100));
    for node in &nodes {
        assert_eq!(get(node, BOARD, &kept).status, 200);
    }
    assert_eq!(
        sign_out(&nodes[0], &session).status,
        303,
        "twice is no error"
    );
    assert_eq!(sign_out(&nodes[0], "").status, 303);
    assert_eq!(nodes[0].get("/logout").status, 405);
}

fn signing_in_again_takes_the_place_of_the_session(database: Database) {
    let (node, admin) = with_a_secret(database, &[]);
    let first = sign_in(&node, &admin);
    let again = try_sign_in(&node, &admin, "/", &[("Cookie", &first)]);
    let second = cookie(&again);
    assert_ne!(first, second);
    assert_eq!(get(&node, BOARD, &first).status, 404);
    assert_eq!(get(&node, BOARD, &second).status, 200);
    let failed = try_sign_in(&node, "guess", "/", &[("Cookie", &second)]);
    assert_eq!(failed.status, 401);
    assert_eq!(get(&node, BOARD, &second).status, 200);
}

fn a_session_ends_by_itself(database: Database) {
    let (node, admin) = with_a_secret(database, &[("SESSION__AGE_MAX_S", "2")]);
    let session = sign_in(&node, &admin);
    let mut stream = open(&node, &session);
    stream.event();
    assert_eq!(bye(&mut stream), "auth");
    assert_eq!(get(&node, BOARD, &session).status, 404);
    let listed = node.send_as("GET", "/api/v1/sessions", &admin, &[], "");
    assert_eq!(listed.json()["sessions"].as_array().map(Vec::len), Some(0));
}

fn a_session_ends_when_its_token_expires(database: Database) {
    let (node, admin) = with_a_secret(database, &[]);
    let soon = (chrono::Utc::now() + chrono::TimeDelta::milliseconds(1_500)).to_rfc3339();
    let body = format!(r#"{{"name":"x","scope":"read","expires_at":"{soon}"}}"#);
    let made = node.send_as("POST", "/api/v1/tokens", &admin, &[], &body);
    let session = sign_in(&node, &made.text("token"));
    let mut stream = open(&node, &session);
    stream.event();
    assert_eq!(bye(&mut stream), "auth");
    assert_eq!(get(&node, BOARD, &session).status, 404);
}

fn a_token_has_a_number_of_sessions(database: Database) {
    let (node, admin) = with_a_secret(database, &[("LIMITS__SESSIONS_PER_TOKEN_MAX", "2")]);
    let other = sign_in(&node, &node.token(&["create", "--scope", "read"]));
    let sessions = [(); 3].map(|()| sign_in(&node, &admin));
    let statuses = sessions.map(|session| get(&node, BOARD, &session).status);
    assert_eq!(statuses, [404, 200, 200], "the oldest one is over");
    assert_eq!(get(&node, BOARD, &other).status, 200);
}

fn a_statement_that_ends_a_session_ends_its_stream(database: Database) {
    let (node, _) = with_a_secret(database, &[]);
    let mut statements = vec![
        "DELETE FROM browser_sessions;",
        "UPDATE browser_sessions SET digest = 'another';",
        "UPDATE browser_sessions SET expires_at = '2001-01-01 00:00:00';",
        "UPDATE browser_sessions SET token_digest = 'another';",
        "UPDATE tokens SET digest = 'another' WHERE name = 'taken';",
        "UPDATE tokens SET revoked_at = CURRENT_TIMESTAMP WHERE name = 'taken';",
        "DELETE FROM tokens WHERE name = 'taken';",
    ];
    if node.database.is_postgres() {
        statements.push("TRUNCATE browser_sessions CASCADE;");
        statements.push("SET session_replication_role = replica; DELETE FROM browser_sessions;");
    } else {
        // Without foreign keys the row stays, and another token takes the id.
        statements.push(
            "REPLACE INTO tokens (id, name, digest, scope) \
             SELECT id, name, 'another', 'admin' FROM tokens WHERE name = 'taken';",
        );
        statements.push(
            "REPLACE INTO browser_sessions (id, digest, token_id, token_digest, expires_at) \
             SELECT id, 'another', token_id, token_digest, expires_at FROM browser_sessions;",
        );
    }
    for statement in statements {
        let token = node.token(&["create", "--scope", "read", "--name", "taken"]);
        let session = sign_in(&node, &token);
        let mut stream = open(&node, &session);
        stream.event();
        let began = Instant::now();
        node.database.sql(statement);
        assert_eq!(bye(&mut stream), "auth", "{statement}");
        let took = began.elapsed();
        assert!(took < Duration::from_secs(3), "{statement}: {took:?}");
        assert_eq!(get(&node, BOARD, &session).status, 404, "{statement}");
        node.database
            .sql("DELETE FROM browser_sessions; DELETE FROM tokens WHERE name = 'taken';");
    }
}

fn a_ticket_ends_with_the_session_that_made_it(database: Database) {
    let (node, admin) = with_a_secret(database, &[]);
    let session = sign_in(&node, &admin);
    let headers = [
        ("Cookie", session.as_str()),
        ("Content-Type", "application/json"),
    ];
    let path = "/api/v1/tickets";
    let made = wire::request(
        node.address,
        "POST",
        path,
        &headers,
        br#"{"board":"secret"}"#,
    );
    assert_eq!(made.status, 201, "{made:?}");
    let path = format!("{STREAM}&ticket={}", made.text("ticket"));
    let mut stream = node.stream(&path);
    stream.event();
    sign_out(&node, &session);
    assert_eq!(bye(&mut stream), "auth");
    assert_eq!(node.get(&path).status, 401);
}
