//! What takes a token: made at the terminal, shown over REST, ended.

mod boards;

use std::{
    process::Command,
    time::{Duration, Instant},
};

use crate::{
    node::{Database, Node, try_output},
    sse::Watched,
    wire::{self, Answer},
};

crate::on_both!(
    an_administrator_edits_and_deletes_and_loses_a_race,
    an_edit_that_changes_nothing_or_is_wrong_leaves_the_topic,
    a_deleted_topic_is_undone_on_the_stream,
    what_a_token_does_not_allow,
    a_request_without_a_token_is_asked_for_one,
    a_token_ends_when_it_is_revoked_or_its_time_is_over,
    no_secret_stands_in_the_database,
);

const TOPICS: &str = "/api/v1/boards/main/topics";

fn watch(node: &Node) -> Watched {
    Watched::new(node.stream("/b/main/stream?format=patch"))
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
    let mut watched = watch(&node);
    let (path, tag) = post_a_typo(&node);
    watched.shows(&["tpyo"]);
    let expected = [("If-Match", tag.as_str())];
    let edited = node.send_as("PATCH", &path, &admin, &expected, r#"{"comment":"typo"}"#);
    assert_eq!(
        (edited.status, edited.text("comment"), edited.text("author")),
        (200, "typo".to_owned(), "ann".to_owned())
    );
    assert_ne!(edited.header("etag"), Some(tag.as_str()));
    watched.shows(&["typo"]);
    assert_late_writes_lose(&node, &admin, &path, &tag);

    let expected = [("If-Match", edited.header("etag").expect("a tag"))];
    let deleted = node.send_as("DELETE", &path, &admin, &expected, "");
    assert_eq!(deleted.status, 204);
    watched.shows(&[]);
    for (method, body) in [("DELETE", ""), ("PATCH", r#"{"comment":"x"}"#)] {
        let gone = node.send_as(method, &path, &admin, &[], body);
        assert_eq!(gone.status, 404, "{method} of a topic that is deleted");
    }
}

/// With the tag from before an edit, or from another history, nothing is written.
fn assert_late_writes_lose(node: &Node, admin: &str, path: &str, old_tag: &str) {
    for (method, body) in [("PATCH", r#"{"comment":"late"}"#), ("DELETE", "")] {
        let lost = node.send_as(method, path, admin, &[("If-Match", old_tag)], body);
        lost.assert_problem(412, "changed");
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

fn delete(node: &Node, token: &str, path: &str) -> Answer {
    node.send_as("DELETE", path, token, &[], "")
}

fn what_a_token_does_not_allow(database: Database) {
    let node = Node::start(database);
    node.database
        .sql("INSERT INTO boards (name) VALUES ('other');");
    let path = format!("{TOPICS}/{}", node.post("a"));
    let good = node.token(&["create", "--scope", "admin"]);
    for wrong in ["", "x", &good[..good.len() - 1], &good.to_uppercase()] {
        assert_eq!(delete(&node, wrong, &path).status, 401, "{wrong}");
    }
    let poster = node.token(&["create", "--scope", "post"]);
    let elsewhere = node.token(&["create", "--scope", "admin", "--board", "other"]);
    for forbidden in [&poster, &elsewhere] {
        delete(&node, forbidden, &path).assert_problem(403, "forbidden");
    }
    assert_eq!(node.get(&path).status, 200, "the topic is still there");
    let here = node.token(&["create", "--scope", "admin", "--board", "main"]);
    assert_eq!(delete(&node, &here, &path).status, 204);
}

fn a_request_without_a_token_is_asked_for_one(database: Database) {
    let node = Node::start(database);
    let path = format!("{TOPICS}/{}", node.post("a"));
    let good = node.token(&["create", "--scope", "admin"]);
    let refused = wire::request(node.address, "DELETE", &path, &[], b"");
    assert_eq!(
        (refused.status, refused.header("www-authenticate")),
        (401, Some("Bearer realm=\"kairanban\""))
    );
    // Never in the address.
    let path = format!("{path}?token={good}");
    let refused = wire::request(node.address, "DELETE", &path, &[], b"");
    assert_eq!(refused.status, 401);
}

fn a_token_ends_when_it_is_revoked_or_its_time_is_over(database: Database) {
    let node = Node::start(database);
    let path = format!("{TOPICS}/{}", node.post("a"));
    let revoked = node.token(&["create", "--scope", "admin"]);
    let listed = node.token(&["list"]);
    assert!(
        listed.lines().count() == 1 && !listed.contains(&revoked),
        "{listed}"
    );
    let (id, _) = listed.split_once('\t').expect("a number");
    node.token(&["revoke", id]);
    let late = node.token(&[
        "create", "--scope", "admin", "--days", "1", "--name", "late",
    ]);
    node.database
        .sql("UPDATE tokens SET expires_at = '2000-01-01 00:00:00' WHERE name = 'late';");
    for (token, why) in [(&revoked, "revoked"), (&late, "it has ended")] {
        assert_eq!(delete(&node, token, &path).status, 401, "{why}");
    }
    assert_eq!(node.get(&path).status, 200, "and the topic is still there");
}

#[test]
fn guessing_is_slow_and_does_not_lock_others_out() {
    let node = Node::start_with(Database::sqlite(), &[("LIMITS__BAD_TOKENS_PER_MIN", "5")]);
    let id = node.post("a");
    let path = format!("{TOPICS}/{id}");
    let good = node.token(&["create", "--scope", "admin"]);
    let statuses: Vec<_> = (0..10)
        .map(|n| delete(&node, &format!("guess{n}"), &path).status)
        .collect();
    assert_eq!(
        (&statuses[..5], statuses[9]),
        (&[401; 5][..], 429),
        "{statuses:?}"
    );
    assert_eq!(
        delete(&node, &good, &path).status,
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
    let path = format!("{TOPICS}/{}", first.post("a"));
    let admin = first.token(&["create", "--scope", "admin"]);
    for node in [&first, &second] {
        assert_eq!(edit(node, &admin, &path).status, 200);
    }
    first.token(&["revoke", "1"]);
    let began = Instant::now();
    for node in [&first, &second] {
        assert_eq!(edit(node, &admin, &path).status, 401);
    }
    assert!(began.elapsed() < Duration::from_secs(1));
}

fn edit(node: &Node, token: &str, path: &str) -> Answer {
    node.send_as("PATCH", path, token, &[], r#"{"comment":"b"}"#)
}

fn a_deleted_topic_is_undone_on_the_stream(database: Database) {
    let node = Node::start(database);
    let admin = node.token(&["create", "--scope", "admin"]);
    let mut watched = watch(&node);
    let path = format!("{TOPICS}/{}", node.post("oops"));
    let restore = format!("{path}/restore");
    node.post("later");
    watched.shows(&["oops", "later"]);
    let early = node.send_as("POST", &restore, &admin, &[], "");
    assert_eq!(early.status, 409, "it is there");
    assert_eq!(delete(&node, &admin, &path).status, 204);
    watched.shows(&["later"]);
    let refused = node.send("POST", &restore, "application/json", "");
    assert_eq!(refused.status, 401);
    let back = node.send_as("POST", &restore, &admin, &[], "");
    assert_eq!(
        (back.status, back.text("comment")),
        (200, "oops".to_owned())
    );
    watched.shows(&["oops", "later"]);
    let unknown = format!("{TOPICS}/999/restore");
    let missing = node.send_as("POST", &unknown, &admin, &[], "");
    assert_eq!(missing.status, 404);
}
