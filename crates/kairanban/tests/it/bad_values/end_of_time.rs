//! Times at the ends of the calendar, written by any program: each is shown in every form that a
//! topic has, or refused where it is written.

use super::story::Story;
use crate::node::{Database, Node};

crate::on_both!(
    a_time_of_the_last_day_is_taken_and_shown_in_every_form,
    a_time_at_the_end_of_the_calendar_is_shown_in_every_form,
    a_token_that_ends_at_the_end_of_the_calendar_is_made_or_refused,
);

/// Those that every database takes.
const WITHIN: [&str; 8] = [
    "9999-12-31 00:00:00",
    "9999-12-31 12:00:00",
    "9999-12-31 23:59:59",
    "9999-12-31 23:59:59.9",
    "9999-12-31 23:59:59.999",
    "9999-12-31 23:59:59.9995",
    "9999-12-31 23:59:59.999999",
    "0001-01-01 00:00:00",
];

/// What becomes of the last second by a fraction or a zone: the schema may refuse it.
const BEYOND: [&str; 7] = [
    "9999-12-31 23:59:59.9999995",
    "9999-12-31 23:59:59.999999999",
    "9999-12-31 23:59:60",
    "9999-12-31 23:59:59-05:00",
    "9999-12-31 23:59:59+05:00",
    "9999-12-31 14:00:00.000001-10:00",
    "0001-01-01 00:00:00+05:00",
];

fn a_time_of_the_last_day_is_taken_and_shown_in_every_form(database: Database) {
    let node = Node::start(database);
    let admin = node.token(&["create", "--scope", "admin"]);
    for time in WITHIN {
        for column in COLUMNS {
            let (comment, written) = write(&node, column, time);
            assert_eq!(written, Ok(()), "{column} {time}");
            assert_shown(&node, &comment);
            assert_edited_and_restored(&node, &admin, &comment);
        }
    }
}

/// Also where the constraints of the schema are gone.
fn a_time_at_the_end_of_the_calendar_is_shown_in_every_form(database: Database) {
    let Story { node, admin, .. } = Story::new(database);
    for time in BEYOND {
        for column in COLUMNS {
            if let (comment, Ok(())) = write(&node, column, time) {
                assert_shown(&node, &comment);
                assert_edited_and_restored(&node, &admin, &comment);
            }
        }
    }
}

const COLUMNS: [&str; 3] = ["created_at", "updated_at", "edited_at"];

/// Writes a topic with a time, as another program does. Returns its comment, and whether the
/// database took it.
fn write(node: &Node, column: &str, time: &str) -> (String, Result<(), String>) {
    let comment = format!("{column} {time}.").replace([':', '+'], "_");
    let written = node.database.try_sql(&format!(
        "INSERT INTO topics (comment, {column}) VALUES ('{comment}', '{time}');"
    ));
    (comment, written.map(drop))
}

fn assert_shown(node: &Node, comment: &str) {
    let deadline = std::time::Instant::now() + crate::wire::PATIENCE;
    while !node.get("/").body.contains(comment) {
        assert!(
            std::time::Instant::now() < deadline,
            "{comment} is not shown"
        );
    }
    for path in [
        "/",
        "/b/main/feed.xml",
        "/api/v1/boards/main/topics",
        "/api/v1/boards/main/topics?limit=500",
    ] {
        let answer = node.get(path);
        assert!(
            answer.status == 200 && answer.body.contains(comment),
            "{path}: {comment} {}",
            answer.body
        );
        assert!(!answer.body.contains("10000-"), "{path}: {}", answer.body);
    }
    for format in ["list", "patch", "html", "turbo"] {
        let path = format!("/b/main/stream?format={format}");
        let first = node.stream(&path).event().data;
        assert!(first.contains(comment), "{format}: {first}");
    }
}

/// What is written of it again is its own time.
fn assert_edited_and_restored(node: &Node, admin: &str, comment: &str) {
    let id = node.database.sql(&format!(
        "SELECT id FROM topics WHERE comment = '{comment}';"
    ));
    let topic = format!("/api/v1/boards/main/topics/{}", id.trim());
    let restore = format!("{topic}/restore");
    for (method, path, body, status) in [
        ("GET", &topic, "", 200),
        ("PATCH", &topic, r#"{"author":"ann"}"#, 200),
        ("DELETE", &topic, "", 204),
        ("POST", &restore, "", 200),
        ("DELETE", &topic, "", 204),
    ] {
        let answer = node.send_as(method, path, admin, &[], body);
        assert_eq!(answer.status, status, "{method} {comment} {}", answer.body);
    }
}

fn a_token_that_ends_at_the_end_of_the_calendar_is_made_or_refused(database: Database) {
    let node = Node::start(database);
    let admin = node.token(&["create", "--scope", "admin"]);
    for time in WITHIN.into_iter().chain(BEYOND) {
        let zoned = if time.contains(['+']) || time.matches('-').count() > 2 {
            time.to_owned()
        } else {
            format!("{time}Z")
        };
        let draft = serde_json::json!({
            "name": "last", "scope": "read", "expires_at": zoned.replace(' ', "T"),
        });
        let made = node.send_as("POST", "/api/v1/tokens", &admin, &[], &draft.to_string());
        let is_within = WITHIN.contains(&time) && time > "0002";
        assert!(
            made.status == 201 || !is_within && matches!(made.status, 400 | 422),
            "{zoned}: {} {}",
            made.status,
            made.body
        );
        let listed = node.send_as("GET", "/api/v1/tokens", &admin, &[], "");
        assert!(
            listed.status == 200 && !listed.body.contains("10000-"),
            "{zoned}: {}",
            listed.body
        );
    }
}
