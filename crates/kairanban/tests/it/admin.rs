//! What takes a token: made at the terminal, shown over REST, ended.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use crate::{
    node::{Database, Node, try_output},
    sse::Mirror,
    wire,
};

crate::on_both!(
    an_administrator_edits_and_deletes_and_loses_a_race,
    what_a_token_does_not_allow,
    boards_are_made_and_closed,
    no_secret_stands_in_the_database,
);

const TOPICS: &str = "/api/v1/boards/main/topics";

fn an_administrator_edits_and_deletes_and_loses_a_race(database: Database) {
    let node = Node::start(database);
    let admin = node.token(&["create", "--scope", "admin", "--name", "ann"]);
    let mut stream = node.stream("/b/main/stream?format=patch");
    let mut mirror = Mirror::default();
    let mut shows = |expected: &[&str]| {
        while mirror.comments() != expected {
            mirror.take(&stream.event());
        }
    };
    let posted = node.send(
        "POST",
        TOPICS,
        "application/json",
        r#"{"comment":"tpyo","author":"ann"}"#,
    );
    let (path, tag) = (
        posted.header("location").expect("an address"),
        posted.header("etag").expect("a tag"),
    );
    shows(&["tpyo"]);

    let edited = node.send_as(
        "PATCH",
        path,
        &admin,
        &[("If-Match", tag)],
        r#"{"comment":"typo"}"#,
    );
    assert_eq!(
        (
            edited.status,
            edited.json()["comment"].as_str(),
            edited.json()["author"].as_str()
        ),
        (200, Some("typo"), Some("ann"))
    );
    assert_ne!(edited.header("etag"), Some(tag));
    shows(&["typo"]);

    // With the tag from before the edit: lost.
    for (method, body) in [("PATCH", r#"{"comment":"late"}"#), ("DELETE", "")] {
        let lost = node.send_as(method, path, &admin, &[("If-Match", tag)], body);
        assert_eq!(
            (lost.status, lost.json()["code"].as_str()),
            (412, Some("changed")),
            "{method}"
        );
    }
    assert_eq!(
        node.send_as("PATCH", path, &admin, &[("If-Match", "\"0-1\"")], "{}")
            .status,
        412,
        "another history"
    );
    let same = node.send_as("PATCH", path, &admin, &[("If-Match", "*")], "{}");
    assert_eq!(
        (same.status, same.header("etag")),
        (200, edited.header("etag")),
        "nothing to change, nothing changed"
    );

    for (status, body) in [
        (422, r#"{"comment":" "}"#),
        (422, r#"{"id":2}"#),
        (400, r#"{"comment":1}"#),
        (400, ""),
    ] {
        assert_eq!(
            node.send_as("PATCH", path, &admin, &[], body).status,
            status,
            "{body}"
        );
    }
    let tag = edited.header("etag").expect("a tag");
    assert_eq!(
        node.send_as("DELETE", path, &admin, &[("If-Match", tag)], "")
            .status,
        204
    );
    shows(&[]);
    assert_eq!(
        node.send_as("DELETE", path, &admin, &[], "").status,
        404,
        "deleting twice"
    );
    assert_eq!(
        node.send_as("PATCH", path, &admin, &[], r#"{"comment":"x"}"#)
            .status,
        404
    );
}

fn what_a_token_does_not_allow(database: Database) {
    let node = Node::start(database);
    node.database
        .sql("INSERT INTO boards (name) VALUES ('other');");
    node.post("a");
    let path = format!("{TOPICS}/1");
    let delete = |token: &str| node.send_as("DELETE", &path, token, &[], "");

    let nobody = wire::request(node.address, "DELETE", &path, &[], b"");
    assert_eq!(
        (nobody.status, nobody.header("www-authenticate")),
        (401, Some("Bearer realm=\"kairanban\""))
    );
    let good = node.token(&["create", "--scope", "admin"]);
    for wrong in ["", "x", &good[..good.len() - 1], &good.to_uppercase()] {
        assert_eq!(delete(wrong).status, 401, "{wrong}");
    }
    assert_eq!(
        wire::request(
            node.address,
            "DELETE",
            &format!("{path}?token={good}"),
            &[],
            b""
        )
        .status,
        401,
        "never in the address"
    );

    let poster = node.token(&["create", "--scope", "post"]);
    let elsewhere = node.token(&["create", "--scope", "admin", "--board", "other"]);
    for forbidden in [&poster, &elsewhere] {
        assert_eq!(
            (
                delete(forbidden).status,
                delete(forbidden).json()["code"].as_str()
            ),
            (403, Some("forbidden"))
        );
    }

    let listed = node.token(&["list"]);
    assert!(
        listed.lines().count() == 3 && !listed.contains(&good),
        "{listed}"
    );
    let id = listed
        .lines()
        .next()
        .and_then(|line| line.split('\t').next())
        .expect("a number");
    node.token(&["revoke", id]);
    assert_eq!(delete(&good).status, 401, "revoked");
    let late = node.token(&[
        "create", "--scope", "admin", "--days", "1", "--name", "late",
    ]);
    node.database
        .sql("UPDATE tokens SET expires_at = '2000-01-01 00:00:00' WHERE name = 'late';");
    assert_eq!(delete(&late).status, 401, "it has ended");
    assert_eq!(node.get(&path).status, 200, "and the topic is still there");
    let here = node.token(&["create", "--scope", "admin", "--board", "main"]);
    assert_eq!(delete(&here).status, 204);
}

fn boards_are_made_and_closed(database: Database) {
    const BOARDS: &str = "/api/v1/boards";
    let node = Node::start(database);
    let admin = node.token(&["create", "--scope", "admin"]);
    assert_eq!(
        node.send("POST", BOARDS, "application/json", r#"{"name":"lost"}"#)
            .status,
        401
    );
    let made = node.send_as(
        "POST",
        BOARDS,
        &admin,
        &[],
        r#"{"name":"lost","title":"迷子"}"#,
    );
    assert_eq!(
        (made.status, made.header("location")),
        (201, Some("/api/v1/boards/lost")),
        "{made:?}"
    );
    assert_eq!(
        (
            made.json()["title"].as_str(),
            made.json()["topics"].as_u64()
        ),
        (Some("迷子"), Some(0))
    );
    assert_eq!(
        node.send_as("POST", BOARDS, &admin, &[], r#"{"name":"lost"}"#)
            .status,
        409,
        "it exists"
    );
    for name in ["Lost", "api", ""] {
        let refused = node.send_as(
            "POST",
            BOARDS,
            &admin,
            &[],
            &format!(r#"{{"name":"{name}"}}"#),
        );
        assert_eq!(
            (
                refused.status,
                refused.json()["errors"][0]["field"].as_str()
            ),
            (422, Some("name")),
            "{name}"
        );
    }
    // It is there at once, for pages, posts and streams.
    let mut stream = node.stream("/b/lost/stream");
    stream.event();
    assert_eq!(
        node.send("POST", "/b/lost", "text/plain", "a cat").status,
        201
    );
    assert_eq!(stream.event().json()["contents"][0]["comment"], "a cat");
    let only_here = node.token(&["create", "--scope", "admin", "--board", "lost"]);
    let titled = node.send_as(
        "PATCH",
        "/api/v1/boards/lost",
        &only_here,
        &[],
        r#"{"title":"Lost and found"}"#,
    );
    assert_eq!(
        (titled.status, titled.json()["topics"].as_u64()),
        (200, Some(1))
    );
    assert_eq!(
        node.send_as(
            "PATCH",
            "/api/v1/boards/main",
            &only_here,
            &[],
            r#"{"title":"x"}"#
        )
        .status,
        403
    );
    assert_eq!(
        node.send_as("DELETE", "/api/v1/boards/lost", &only_here, &[], "")
            .status,
        403,
        "that takes a token for all boards"
    );

    let names = |path: &str| {
        let boards = node.get(path).json();
        boards["boards"]
            .as_array()
            .expect("boards")
            .iter()
            .filter_map(|board| board["name"].as_str().map(str::to_owned))
            .collect::<Vec<_>>()
    };
    assert_eq!(names(BOARDS), ["lost", "main"]);
    assert_eq!(names(&format!("{BOARDS}?after=lost&limit=1")), ["main"]);
    assert_eq!(
        node.send_as("DELETE", "/api/v1/boards/main", &admin, &[], "")
            .status,
        409,
        "the board at / stays"
    );
    assert_eq!(
        node.send_as("DELETE", "/api/v1/boards/lost", &admin, &[], "")
            .status,
        204
    );
    assert_eq!(stream.event().json()["reason"], "gone");
    assert_eq!(
        [
            node.get("/b/lost").status,
            node.get("/api/v1/boards/lost").status
        ],
        [404, 404]
    );
    assert_eq!(
        node.send_as("DELETE", "/api/v1/boards/lost", &admin, &[], "")
            .status,
        404
    );
}

#[test]
fn guessing_is_slow_and_does_not_lock_others_out() {
    let node = Node::start_with(Database::sqlite(), &[("LIMITS__BAD_TOKENS_PER_MIN", "5")]);
    let id = node.post("a");
    let path = format!("{TOPICS}/{id}");
    let good = node.token(&["create", "--scope", "admin"]);
    let statuses: Vec<_> = (0..10)
        .map(|n| {
            node.send_as("DELETE", &path, &format!("guess{n}"), &[], "")
                .status
        })
        .collect();
    assert_eq!(
        (&statuses[..5], statuses[9]),
        (&[401; 5][..], 429),
        "{statuses:?}"
    );
    assert_eq!(
        node.send_as("DELETE", &path, &good, &[], "").status,
        204,
        "a good token works all the same"
    );
}

/// So a copy of the database opens nothing.
fn no_secret_stands_in_the_database(database: Database) {
    let node = Node::start(database);
    let admin = node.token(&["create", "--scope", "admin", "--name", "ann"]);
    let answer = node.send_as(
        "POST",
        "/api/v1/tickets",
        &admin,
        &[],
        r#"{"board":"main"}"#,
    );
    let ticket = answer.json()["ticket"]
        .as_str()
        .expect("a ticket")
        .to_owned();
    let dump = if node.database.is_postgres() {
        try_output(Command::new("pg_dump").arg(node.database.url()), "")
            .unwrap_or_else(|error| panic!("{error}"))
    } else {
        node.database.sql(".dump")
    };
    assert!(dump.contains("ann"), "the token is known");
    for secret in [admin, ticket] {
        let secret = secret.rsplit('_').next().expect("a secret");
        assert!(secret.len() >= 32 && !dump.contains(secret));
    }
}

/// A token that ends on one node has ended on all.
#[test]
fn revoking_counts_on_every_node() {
    let first = Node::start(Database::postgres());
    let second = first.sibling();
    let id = first.post("a");
    let admin = first.token(&["create", "--scope", "admin"]);
    let edit = |node: &Node| {
        node.send_as(
            "PATCH",
            &format!("{TOPICS}/{id}"),
            &admin,
            &[],
            r#"{"comment":"b"}"#,
        )
        .status
    };
    assert_eq!([edit(&first), edit(&second)], [200, 200]);
    first.token(&["revoke", "1"]);
    let began = Instant::now();
    assert_eq!([edit(&first), edit(&second)], [401, 401]);
    assert!(began.elapsed() < Duration::from_secs(1));
}
