//! What the options of `kairanban tail` select, and how it refuses them.

use super::{output, url};
use crate::node::{Database, Node};

fn node_with(comments: &[&str]) -> Node {
    let node = Node::start(Database::sqlite());
    for comment in comments {
        node.post(comment);
    }
    node
}

/// Returns the marks and ids that are shown.
fn shown(node: &Node, arguments: &[&str]) -> Vec<String> {
    let all = [&["--no-follow"], arguments].concat();
    let (code, out, err) = output(&url(node), &all);
    assert_eq!((code, err.as_str()), (Some(0), ""), "{arguments:?}: {out}");
    let marks = out.lines().filter_map(|line| line.split('\t').next());
    marks.map(str::to_owned).collect()
}

#[test]
fn it_begins_with_the_newest_topics_or_with_those_since_a_time_or_a_cursor() {
    let node = node_with(&["a"; 11]);
    node.database.sql(
        "UPDATE topics SET created_at = '2020-01-01 00:00:00' WHERE id < 10; \
         UPDATE topics SET comment = 'b' WHERE id = 3;",
    );
    // What is read after a post is not older than what the other program wrote before it.
    node.post("a");
    assert_eq!(shown(&node, &[]).len(), 10);
    assert_eq!(shown(&node, &["-n", "all"]).len(), 12);
    assert_eq!(shown(&node, &["-n", "2"]), ["= 11", "= 12"]);
    assert_eq!(shown(&node, &["-n", "0"]).len(), 0);
    assert_eq!(
        shown(&node, &["--since", "1h"]),
        ["= 3", "= 10", "= 11", "= 12"]
    );
    assert_eq!(shown(&node, &["--since", "now"]).len(), 0);
    assert_eq!(shown(&node, &["--since", "earliest"]).len(), 12);
    assert_eq!(shown(&node, &["--since", "earliest", "-n", "1"]), ["= 12"]);
    let (_, out, _) = output(&url(&node), &["--no-follow", "--json", "-n", "0"]);
    let live: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    let cursor = live["cursor"].as_str().expect("a cursor").to_owned();
    assert_eq!(shown(&node, &["--since", &cursor]).len(), 0);
    node.post("c");
    assert_eq!(shown(&node, &["--since", &cursor]), ["= 13"]);
    assert_eq!(
        shown(&node, &["--since", "0-1"]).len(),
        13,
        "a cursor of another history says nothing about this one"
    );
}

#[test]
fn times_are_of_the_local_zone_or_utc_and_colours_are_for_terminals() {
    let node = node_with(&[]);
    node.database.sql(
        "INSERT INTO topics (board_id, comment, author, created_at) \
         VALUES (1, 'a', 'ann', '2026-11-24 15:30:00');",
    );
    let printed = |arguments: &[&str]| {
        let all = [&["--no-follow"], arguments].concat();
        output(&url(&node), &all).1
    };
    assert_eq!(printed(&[]), "= 1\t2026-11-24 15:30\tann: a\n");
    assert_eq!(printed(&["--utc"]), "= 1\t2026-11-24T15:30:00Z\tann: a\n");
    assert_eq!(printed(&["--color", "never"]), printed(&[]));
    assert_eq!(
        printed(&["--color", "always"]),
        "\u{1b}[2m=\u{1b}[0m 1\t\u{1b}[2m2026-11-24 15:30\u{1b}[0m\t\u{1b}[1mann:\u{1b}[0m a\n"
    );
}

#[test]
fn what_a_terminal_obeys_is_replaced_in_lines_and_escaped_in_json() {
    let node = node_with(&[]);
    let escape = '\u{1b}';
    node.database.sql(&format!(
        "INSERT INTO topics (board_id, comment) VALUES (1, 'a{escape}[2J\u{202E}b');"
    ));
    let (_, lines, _) = output(&url(&node), &["--no-follow"]);
    assert!(lines.ends_with("\ta\u{FFFD}[2J\u{FFFD}b\n"), "{lines:?}");
    let (_, json, _) = output(&url(&node), &["--no-follow", "--json"]);
    assert!(json.contains("a\\u001b[2J\\u202eb"), "{json:?}");
}

#[test]
fn errors_name_the_server_or_say_what_to_write() {
    let node = node_with(&[]);
    let server = url(&node);
    for (url, arguments, code, hint) in [
        (
            "http://127.0.0.1:1",
            &["--no-follow"][..],
            69,
            "http://127.0.0.1:1: the server",
        ),
        ("127.0.0.1", &[], 2, "like http://127.0.0.1:8080"),
        (&server, &["-n", "-1"], 2, "write a whole number, or `all`"),
        (
            &server,
            &["--since", "yesterday"],
            2,
            "a time ago such as `10m`",
        ),
        (
            &server,
            &["--events", "posted"],
            2,
            "takes one of: new, edited",
        ),
        (
            &server,
            &["--color", "blue"],
            2,
            "takes one of: auto, always, never",
        ),
    ] {
        let (found, out, err) = output(url, arguments);
        assert!(
            found == Some(code) && out.is_empty() && err.contains(hint),
            "{arguments:?}: {found:?} {err}"
        );
    }
    let (code, help, _) = output(&server, &["--help"]);
    assert_eq!(code, Some(0));
    for part in [
        "Examples:",
        "Exit status:",
        "TOPIC_COMMENT",
        "listed, new, edited",
    ] {
        assert!(help.contains(part), "{part}: {help}");
    }
}
