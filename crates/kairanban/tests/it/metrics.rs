//! `/metrics` and `/version` as an operator sees them: things are done, and the numbers move.

mod access;
mod exposition;
mod slow_readers;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    time::{Duration, Instant},
};

use self::exposition::Scrape;
use crate::{
    node::{Database, Node},
    on_both,
    sse::Reader,
    wire,
};

on_both!(
    a_post_and_its_readers_are_counted,
    what_another_program_writes_is_counted_from_its_reading,
    streams_are_counted_by_their_beginning_and_their_end,
    a_stream_ends_with_its_readers_token,
    writes_and_refusals_are_counted_by_outcome,
);

const PATIENCE: Duration = Duration::from_secs(20);

/// By how much the sum of some samples grows: their name, some of their labels, and how much.
type Growth<'a> = (&'a str, &'a [(&'a str, &'a str)], f64);

/// A server, and a token for its metrics.
struct Measured {
    node: Node,
    token: String,
}

impl Measured {
    fn start(database: Database, settings: &[(&str, &str)]) -> Self {
        let node = Node::start_with(database, settings);
        let token = node.token(&["create", "--scope", "admin"]);
        Self { node, token }
    }

    fn scrape(&self) -> Scrape {
        Scrape::of(self.node.address, &self.token)
    }

    /// Waits until these samples have grown by as much as is said since `before`, and no more.
    #[track_caller]
    fn wait_for(&self, before: &Scrape, grown: &[Growth<'_>]) -> Scrape {
        let began = Instant::now();
        loop {
            let now = self.scrape();
            let wrong: Vec<_> = grown
                .iter()
                .map(|(name, labels, by)| {
                    let grown = now.value(name, labels) - before.value(name, labels);
                    (name, labels, by, grown)
                })
                .filter(|(.., by, grown)| (*by - grown).abs() > f64::EPSILON)
                .collect();
            if wrong.is_empty() {
                return now;
            }
            assert!(
                began.elapsed() < PATIENCE,
                "name, labels, expected and found: {wrong:?}"
            );
        }
    }
}

fn a_post_and_its_readers_are_counted(database: Database) {
    let measured = Measured::start(database, &[("STREAM__HEARTBEAT_S", "3600")]);
    let node = &measured.node;
    let mut readers: Vec<_> = (0..3)
        .map(|_| node.stream("/b/main/stream?format=patch"))
        .collect();
    for reader in &mut readers {
        assert_eq!(reader.event().name, "snapshot");
    }
    let before = measured.scrape();
    assert!((before.value("kairanban_streams", &[("format", "patch")]) - 3.0).abs() < 0.1);

    node.post("posted here");
    for reader in &mut readers {
        assert!(reader.event().data.contains("posted here"));
    }
    let now = measured.wait_for(
        &before,
        &[
            ("kairanban_deliveries_total", &[("cause", "update")], 3.0),
            (
                "kairanban_commit_to_socket_seconds_count",
                &[("from", "commit")],
                3.0,
            ),
            (
                "kairanban_commit_to_socket_seconds_count",
                &[("from", "reading")],
                0.0,
            ),
            ("kairanban_writes_total", &[("result", "written")], 1.0),
            ("kairanban_write_group_size_count", &[], 1.0),
            ("kairanban_write_group_size_sum", &[], 1.0),
            ("kairanban_commit_seconds_count", &[], 1.0),
            ("kairanban_follower_lag_revisions", &[], 0.0),
        ],
    );
    let sum = "kairanban_commit_to_socket_seconds_sum";
    let delay = now.value(sum, &[]) - before.value(sum, &[]);
    assert!(
        delay > 0.0 && delay < 3.0 * PATIENCE.as_secs_f64(),
        "{delay}"
    );
    let bytes = "kairanban_delivered_bytes_total";
    let bytes = now.value(bytes, &[]) - before.value(bytes, &[]);
    assert!(bytes > 3.0 * "posted here".len() as f64, "{bytes}");
    let revision = "kairanban_revision";
    assert!(now.value(revision, &[]) > before.value(revision, &[]));
    let own = ("kairanban_wakes_total", [("source", "own")]);
    assert!(now.value(own.0, &own.1) > before.value(own.0, &own.1));
}

/// What is read from the log is counted apart: when it was committed is not known.
fn what_another_program_writes_is_counted_from_its_reading(database: Database) {
    let measured = Measured::start(database, &[("STREAM__HEARTBEAT_S", "3600")]);
    let node = &measured.node;
    let mut reader = node.stream("/b/main/stream?format=patch");
    reader.event();
    let before = measured.scrape();
    node.database
        .sql("INSERT INTO topics (board_id, comment) VALUES (1, 'by hand');");
    assert!(reader.event().data.contains("by hand"));
    let count = "kairanban_commit_to_socket_seconds_count";
    measured.wait_for(
        &before,
        &[
            ("kairanban_deliveries_total", &[("cause", "update")], 1.0),
            (count, &[("from", "commit")], 0.0),
            (count, &[("from", "reading")], 1.0),
            ("kairanban_writes_total", &[], 0.0),
        ],
    );
}

fn streams_are_counted_by_their_beginning_and_their_end(database: Database) {
    let measured = Measured::start(database, &[]);
    let (node, path) = (&measured.node, "/b/main/stream?format=patch");
    let before = measured.scrape();
    let mut first = node.stream(path);
    let cursor = first.event().id.expect("a cursor");
    node.post("missed");
    let newer = first.event().id.expect("a cursor");
    drop(first);
    drop(node.resume(path, &cursor));
    drop(node.resume(path, &newer));
    drop(node.resume(path, "rubbish"));
    assert_eq!(
        wire::request(node.address, "HEAD", path, &[], b"").status,
        200
    );
    drop(node.stream("/stream?board=main&format=patch"));
    measured.wait_for(
        &before,
        &[
            (
                "kairanban_streams_opened_total",
                &[("opening", "list")],
                3.0,
            ),
            (
                "kairanban_streams_opened_total",
                &[("opening", "patch")],
                1.0,
            ),
            (
                "kairanban_streams_opened_total",
                &[("opening", "nothing")],
                1.0,
            ),
            (
                "kairanban_streams_opened_total",
                &[("opening", "reset")],
                1.0,
            ),
            ("kairanban_resets_total", &[("reason", "invalid")], 1.0),
            ("kairanban_resets_total", &[], 1.0),
            (
                "kairanban_streams_closed_total",
                &[("reason", "client")],
                5.0,
            ),
            ("kairanban_streams_closed_total", &[("reason", "head")], 1.0),
            ("kairanban_streams", &[], 0.0),
        ],
    );
}

fn a_stream_ends_with_its_readers_token(database: Database) {
    let measured = Measured::start(database, &[]);
    let (node, admin) = (&measured.node, &measured.token);
    let before = measured.scrape();
    let closed = r#"{"read":"token"}"#;
    let made = node.send_as("PATCH", "/api/v1/boards/main", admin, &[], closed);
    assert_eq!(made.status, 200, "{made:?}");
    let reader = node.token(&["create", "--scope", "read"]);
    let bearer = format!("Bearer {reader}");
    let headers = [("Authorization", bearer.as_str())];
    let mut private = Reader::open(node.address, "/b/main/stream", &headers);
    private.event();
    let tokens = node.send_as("GET", "/api/v1/tokens", admin, &[], "").json();
    let id = tokens["tokens"]
        .as_array()
        .and_then(|tokens| tokens.iter().find(|token| token["scope"] == "read"))
        .map(|token| token["id"].to_string())
        .expect("the token");
    let path = format!("/api/v1/tokens/{id}");
    assert_eq!(node.send_as("DELETE", &path, admin, &[], "").status, 204);
    while private.raw(PATIENCE).is_some() {}
    measured.wait_for(
        &before,
        &[("kairanban_streams_closed_total", &[("reason", "auth")], 1.0)],
    );
}

fn writes_and_refusals_are_counted_by_outcome(database: Database) {
    let measured = Measured::start(database, &[("LIMITS__STREAMS_MAX", "1")]);
    let node = &measured.node;
    let before = measured.scrape();
    let topics = "/api/v1/boards/main/topics";
    assert_eq!(
        node.send("POST", topics, "application/json", "{").status,
        400
    );
    let nowhere = "/api/v1/boards/nowhere/topics";
    let body = r#"{"comment":"x"}"#;
    assert_eq!(
        node.send("POST", nowhere, "application/json", body).status,
        404
    );
    assert_eq!(node.get("/no/such/page").status, 404);
    let open = node.stream("/b/main/stream");
    // A refused stream is a success that ends at once.
    let mut refused = node.stream("/b/main/stream");
    while refused.raw(PATIENCE).is_some() {}
    let route = ("route", "/api/v1/boards/{board}/topics");
    let count = "kairanban_request_duration_seconds_count";
    let post = ("method", "POST");
    let now = measured.wait_for(
        &before,
        &[
            ("kairanban_refusals_total", &[("code", "unreadable")], 1.0),
            ("kairanban_refusals_total", &[("code", "not_found")], 2.0),
            ("kairanban_writes_total", &[("result", "refused")], 1.0),
            ("kairanban_writes_total", &[("result", "written")], 0.0),
            (count, &[route, post, ("status", "4xx")], 2.0),
            (count, &[("route", "none"), ("status", "4xx")], 1.0),
            (
                count,
                &[("route", "/b/{board}/stream"), ("status", "2xx")],
                2.0,
            ),
            (
                "kairanban_streams_refused_total",
                &[("reason", "limit")],
                1.0,
            ),
            ("kairanban_streams", &[], 1.0),
        ],
    );
    let stats = node
        .send_as("GET", "/api/v1/stats", &measured.token, &[], "")
        .json();
    for (figure, metric) in [
        ("streams", "kairanban_streams"),
        ("streams_max", "kairanban_streams_max"),
        ("boards_in_memory", "kairanban_boards_in_memory"),
        ("revision", "kairanban_revision"),
    ] {
        let expected = stats[figure].as_f64().expect("a number");
        assert!(
            (now.value(metric, &[]) - expected).abs() < 0.1,
            "{metric}: {stats}"
        );
    }
    drop(open);
}

/// Commits of another node wake this one by a notification.
#[test]
fn another_nodes_commit_is_counted_as_one_that_was_read() {
    let settings = [("DATABASE__POLL_MS", "3600000")];
    let measured = Measured::start(Database::postgres(), &settings);
    let other = measured.node.sibling();
    let mut reader = measured.node.stream("/b/main/stream?format=patch");
    reader.event();
    let before = measured.scrape();
    other.post("elsewhere");
    assert!(reader.event().data.contains("elsewhere"));
    let now = measured.wait_for(
        &before,
        &[
            (
                "kairanban_commit_to_socket_seconds_count",
                &[("from", "reading")],
                1.0,
            ),
            ("kairanban_writes_total", &[], 0.0),
        ],
    );
    let listen = [("source", "listen")];
    let wakes = |scrape: &Scrape| scrape.value("kairanban_wakes_total", &listen);
    assert!(wakes(&now) > wakes(&before));
}

/// Failpoints are only in debug builds.
#[cfg(debug_assertions)]
#[test]
fn a_task_that_is_started_again_is_counted() {
    let node = Node::start_as(Database::sqlite(), &[], |command| {
        command.env("FAILPOINTS", "archiver=1");
    });
    let token = node.token(&["create", "--scope", "admin"]);
    let measured = Measured { node, token };
    let before = measured.scrape();
    measured.node.post("to be archived some day");
    let restarts = "kairanban_task_restarts_total";
    measured.wait_for(
        &before,
        &[
            (restarts, &[("task", "archiver")], 1.0),
            (restarts, &[], 1.0),
        ],
    );
}

/// The table of docs/OPERATIONS.md: of each name the type and the labels.
fn documented() -> BTreeMap<String, (String, BTreeSet<String>)> {
    let document = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/OPERATIONS.md");
    let text = fs::read_to_string(document).expect("the document");
    let rows = text
        .lines()
        .filter(|line| line.starts_with("| `kairanban_") || line.starts_with("| `process_"));
    rows.map(|row| {
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        let labels = cells[3].split(", ").map(|label| label.trim_matches('`'));
        let labels = labels.filter(|label| !label.is_empty()).map(str::to_owned);
        let name = cells[1].trim_matches('`').to_owned();
        (name, (cells[2].to_owned(), labels.collect()))
    })
    .collect()
}

#[test]
fn the_document_names_what_is_exported() {
    let measured = Measured::start(Database::sqlite(), &[]);
    measured.node.stream("/b/main/stream").event();
    assert_eq!(measured.node.get("/no/such/page").status, 404);
    // The next one knows of this one.
    measured.scrape();
    let exported: BTreeMap<_, _> = measured
        .scrape()
        .0
        .iter()
        .map(|family| (family.name(), (family.kind.clone(), family.labels())))
        .collect();
    let documented = documented();
    let differ: Vec<_> = documented
        .keys()
        .chain(exported.keys())
        .filter(|name| documented.get(*name) != exported.get(*name))
        .map(|name| (name, documented.get(name), exported.get(name)))
        .collect();
    assert!(differ.is_empty(), "name, documented, exported: {differ:#?}");
}
