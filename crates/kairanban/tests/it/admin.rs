//! What takes a token: made at the terminal, shown over REST, ended.

mod boards;

use std::{
    process::Command,
    time::{Duration, Instant},
};

use crate::{
    node::{Database, Node, try_output},
    sse::{Mirror, Reader},
    wire,
};

crate::on_both!(
    an_administrator_edits_and_deletes_and_loses_a_race,
    an_edit_that_changes_nothing_or_is_wrong_leaves_the_topic,
    a_deleted_topic_is_undone_on_the_stream,
    what_a_token_does_not_allow,
    no_secret_stands_in_the_database,
);

const TOPICS: &str = "/api/v1/boards/main/topics";

/// The board `main` as its stream shows it.
struct Watched {
    stream: Reader,
    mirror: Mirror,
}

impl Watched {
    fn open(node: &Node) -> Self {
        Self {
            stream: node.stream("/b/main/stream?format=patch"),
            mirror: Mirror::default(),
        }
    }

    /// Waits until the stream has shown exactly these comments.
    fn shows(&mut self, expected: &[&str]) {
        while self.mirror.comments() != expected {
            self.mirror.take(&self.stream.event());
        }
    }
}

/// Posts a topic, and returns its path and its tag.
fn post_a_typo(node: &Node) -> (String, String) {
    let body = r#"{"comment":"tpyo","author":"ann"}"#;
    let posted = node.send("POST", TOPICS, "application/json", body);
    let path = posted.header("location").expect("an address");
    let tag = posted.header("etag").expect("a tag");
    (path.to_owned(), tag.to_owned())
}

fn an_administrator_edits_and_deletes_and_loses_a_race(database: Database) {
    let node = Node::start(database);
    let admin = node.token(&["create", "--scope", "admin", "--name", "ann"]);
    let mut watched = Watched::open(&node);
    let (path, tag) = post_a_typo(&node);
    watched.shows(&["tpyo"]);
    let edited = node.send_as(
        "PATCH",
        &path,
        &admin,
        &[("If-Match", &tag)],
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
    assert_ne!(edited.header("etag"), Some(tag.as_str()));
    watched.shows(&["typo"]);
    assert_late_writes_lose(&node, &admin, &path, &tag);

    let tag = edited.header("etag").expect("a tag");
    let delete =
        |headers: &[(&str, &str)]| node.send_as("DELETE", &path, &admin, headers, "").status;
    assert_eq!(delete(&[("If-Match", tag)]), 204);
    watched.shows(&[]);
    assert_eq!(delete(&[]), 404, "deleting twice");
    assert_eq!(
        node.send_as("PATCH", &path, &admin, &[], r#"{"comment":"x"}"#)
            .status,
        404
    );
}

/// With the tag from before an edit, or from another history, nothing is written.
fn assert_late_writes_lose(node: &Node, admin: &str, path: &str, old_tag: &str) {
    for (method, body) in [("PATCH", r#"{"comment":"late"}"#), ("DELETE", "")] {
        let lost = node.send_as(method, path, admin, &[("If-Match", old_tag)], body);
        assert_eq!(
            (lost.status, lost.json()["code"].as_str()),
            (412, Some("changed")),
            "{method}"
        );
    }
    assert_eq!(
        node.send_as("PATCH", path, admin, &[("If-Match", "\"0-1\"")], "{}")
            .status,
        412,
        "another history"
    );
}

fn an_edit_that_changes_nothing_or_is_wrong_leaves_the_topic(database: Database) {
    let node = Node::start(database);
    let admin = node.token(&["create", "--scope", "admin", "--name", "ann"]);
    let (path, tag) = post_a_typo(&node);
    let same = node.send_as("PATCH", &path, &admin, &[("If-Match", "*")], "{}");
    assert_eq!(
        (same.status, same.header("etag")),
        (200, Some(tag.as_str())),
        "nothing to change, nothing changed"
    );
    for (status, body) in [
        (422, r#"{"comment":" "}"#),
        (422, r#"{"id":2}"#),
        (400, r#"{"comment":1}"#),
        (400, ""),
    ] {
        assert_eq!(
            node.send_as("PATCH", &path, &admin, &[], body).status,
            status,
            "{body}"
        );
    }
    assert_eq!(node.get(&path).header("etag"), Some(tag.as_str()));
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

fn a_deleted_topic_is_undone_on_the_stream(database: Database) {
    let node = Node::start(database);
    let admin = node.token(&["create", "--scope", "admin"]);
    let mut watched = Watched::open(&node);
    let (first, _) = (node.post("oops"), node.post("later"));
    let path = format!("/api/v1/boards/main/topics/{first}");
    watched.shows(&["oops", "later"]);
    assert_eq!(
        node.send_as("POST", &format!("{path}/restore"), &admin, &[], "")
            .status,
        409,
        "it is there"
    );
    assert_eq!(node.send_as("DELETE", &path, &admin, &[], "").status, 204);
    watched.shows(&["later"]);
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
    watched.shows(&["oops", "later"]);
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
