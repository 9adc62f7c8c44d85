//! What one token may do, and what a ticket is good for.

use super::send_from;
use crate::{
    node::{Database, Node},
    sse::Reader,
};

crate::on_both!(
    a_token_changes_so_much_at_a_time,
    the_tickets_of_a_token_are_limited,
    a_ticket_is_looked_up_only_if_there_is_room,
    a_thief_neither_reads_by_a_ticket_nor_throws_its_holder_out,
);

/// Every kind of change, and what it is answered when it is counted and let through.
const CHANGES: [(&str, &str, &str); 11] = [
    ("POST", "/", "x"),
    ("POST", "/b/main", "x"),
    ("POST", "/api/v1/boards/main/topics", r#"{"comment":"x"}"#),
    (
        "PATCH",
        "/api/v1/boards/main/topics/999",
        r#"{"comment":"x"}"#,
    ),
    ("DELETE", "/api/v1/boards/main/topics/999", ""),
    ("POST", "/api/v1/boards/main/topics/999/restore", ""),
    ("POST", "/api/v1/boards", r#"{"name":"main"}"#),
    ("PATCH", "/api/v1/boards/main", r#"{"title":"x"}"#),
    ("DELETE", "/api/v1/boards/nowhere", ""),
    (
        "POST",
        "/api/v1/tokens",
        r#"{"name":"x","scope":"read","board":"nowhere"}"#,
    ),
    ("POST", "/api/v1/tickets", r#"{"board":"main"}"#),
];

fn a_token_changes_so_much_at_a_time(database: Database) {
    let settings = [
        ("LIMITS__EDITS_PER_TOKEN_BURST", "3"),
        ("LIMITS__EDITS_PER_TOKEN_PER_S", "1"),
    ];
    let node = Node::start_with(database, &settings);
    let other = node.token(&["create", "--scope", "admin"]);
    for (method, path, body) in CHANGES {
        let token = node.token(&["create", "--scope", "admin"]);
        let answers: Vec<_> = (0..8)
            .map(|_| node.send_as(method, path, &token, &[], body))
            .collect();
        let refused: Vec<_> = answers
            .iter()
            .filter(|answer| answer.status == 429)
            .collect();
        assert!(
            answers[..3].iter().all(|answer| answer.status != 429) && refused.len() >= 3,
            "{method} {path}: {answers:?}"
        );
        for answer in refused {
            assert!(
                answer.header("retry-after") == Some("1")
                    && answer.body.contains("limits.edits_per_token_per_s"),
                "{answer:?}"
            );
        }
        assert_eq!(
            node.send_as("GET", "/b/main", &token, &[], "").status,
            200,
            "reading is no change"
        );
    }
    let posted = node.send_as("POST", "/", &other, &[], r#"{"comment":"x"}"#);
    assert_eq!(posted.status, 201, "another token");
    assert_eq!(
        node.send("POST", "/", "text/plain", "x").status,
        201,
        "and none"
    );
}

fn the_tickets_of_a_token_are_limited(database: Database) {
    let node = Node::start_with(database, &[("LIMITS__TICKETS_PER_TOKEN_MAX", "3")]);
    let tokens = [(); 2].map(|()| node.token(&["create", "--scope", "read"]));
    let make = |token| node.send_as("POST", "/api/v1/tickets", token, &[], r#"{"board":"main"}"#);
    for _ in 0..3 {
        assert_eq!(make(&tokens[0]).status, 201);
    }
    let refused = make(&tokens[0]);
    refused.assert_problem(429, "too_many");
    let wait: u64 = refused
        .header("retry-after")
        .and_then(|wait| wait.parse().ok())
        .expect("when to come again");
    assert!(
        (30..=61).contains(&wait) && refused.body.contains("limits.tickets_per_token_max"),
        "{refused:?}"
    );
    assert_eq!(make(&tokens[1]).status, 201, "another token");
}

/// A stream that has no room takes nothing of what its client may read.
fn a_ticket_is_looked_up_only_if_there_is_room(database: Database) {
    let settings = [
        ("LIMITS__STREAMS_PER_CLIENT_MAX", "1"),
        ("LIMITS__READS_PER_CLIENT_BURST", "10"),
        ("LIMITS__READS_PER_CLIENT_PER_S", "1"),
    ];
    let node = Node::start_with(database, &settings);
    let id = node.post("one");
    let mut held = node.stream("/b/main/stream?format=patch");
    assert_eq!(held.event().name, "snapshot");
    for _ in 0..50 {
        let mut refused = node.stream("/b/main/stream?format=patch&ticket=guess");
        assert_eq!(refused.event().json()["reason"], "limit");
    }
    let topic = node.get(&format!("/api/v1/boards/main/topics/{id}"));
    assert_eq!(topic.status, 200, "{topic:?}");
}

fn a_thief_neither_reads_by_a_ticket_nor_throws_its_holder_out(database: Database) {
    let settings = [("LIMITS__TRUSTED_PROXIES", "127.0.0.1/32")];
    let node = Node::start_with(database, &settings);
    let admin = node.token(&["create", "--scope", "admin"]);
    let made = node.send_as(
        "POST",
        "/api/v1/boards",
        &admin,
        &[],
        r#"{"name":"secret","read":"token"}"#,
    );
    assert_eq!(made.status, 201);
    for (holder, same_client, thief) in [
        ("192.0.2.1", "192.0.2.1", "192.0.2.2"),
        ("2001:db8:1:2::1", "2001:db8:1:2:a::b", "2001:db8:1:3::1"),
        ("192.0.2.1", "192.0.2.1", "2001:db8:1:2::1"),
    ] {
        let body = r#"{"board":"secret"}"#;
        let ticket = node.send_as("POST", "/api/v1/tickets", &admin, &[], body);
        let path = format!(
            "/b/secret/stream?format=patch&ticket={}",
            ticket.text("ticket")
        );
        let open = |client: &str, path: &str| {
            Reader::open(node.address, path, &[("X-Forwarded-For", client)])
        };
        let mut stream = open(holder, &path);
        assert_eq!(stream.event().name, "snapshot");
        for stolen in [
            path.clone(),
            path.replace("/stream", "/ws"),
            path.replace("format=patch", "format=ndjson"),
        ] {
            let answer = send_from(&node, thief, "GET", &stolen, &[], b"");
            assert_eq!(answer.status, 401, "{thief} {stolen}: {answer:?}");
        }
        node.send_as("POST", "/b/secret", &admin, &[], r#"{"comment":"x"}"#);
        assert_eq!(stream.event().name, "patch", "the holder reads on");
        let mut again = open(same_client, &path);
        assert_eq!(again.event().name, "snapshot", "and comes back");
    }
}
