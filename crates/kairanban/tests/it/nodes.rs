//! Several nodes on one Postgres: what carries "look again" between them, and what holds when it is
//! lost.

mod redis_client;

use std::{
    env,
    io::{BufRead as _, BufReader},
    net::TcpListener,
    process::Stdio,
    time::{Duration, Instant},
};

use crate::{
    node::{Database, Node, program},
    relay::relayed,
    sse::Watched,
};
use redis_client::RedisClient;

/// What the contract promises while every notification is lost.
const LOST_MAX: Duration = Duration::from_millis(2_500);
/// So rarely that a test does not wait for it.
const NO_POLL: (&str, &str) = ("DATABASE__POLL_MS", "600000");

fn service(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("{name}; scripts/test sets it"))
}

/// The same database through PgBouncer.
fn pooled(database: &Database) -> String {
    let bouncer = service("KAIRANBAN_TEST_PGBOUNCER_URL");
    let (server, _) = bouncer.rsplit_once('/').expect("a URL with a database");
    format!(
        "{server}/{}",
        database
            .url()
            .rsplit_once('/')
            .expect("a URL with a database")
            .1
    )
}

#[test]
fn a_commit_is_heard_of_on_other_nodes_without_polling() {
    let one = Node::start_with(Database::postgres(), &[NO_POLL]);
    let other = one.sibling();
    let mut stream = other.stream(STREAM);
    stream.event();
    one.post("by the other node");
    assert!(stream.event().data.contains("by the other node"));
    one.database
        .sql("INSERT INTO topics (board_id, comment) VALUES (1, 'by psql');");
    assert!(stream.event().data.contains("by psql"));
}

const STREAM: &str = "/b/main/stream?format=patch";
const LIST: &str = "/api/v1/boards/main/topics";

/// A node that gets commits and lists by Redis, and does not poll.
fn node_with_redis(redis: &str) -> Node {
    let settings = [
        NO_POLL,
        ("BACKPLANE__KIND", "redis"),
        ("BACKPLANE__REDIS_URL", redis),
    ];
    Node::start_with(Database::postgres(), &settings)
}

/// Where Redis holds the list of the board `main`.
fn key_of_list(cursor: &str) -> String {
    let epoch = cursor.split('-').next().expect("an epoch");
    format!("kairanban:{epoch}:500:main")
}

#[test]
fn redis_carries_commits_and_lists() {
    let redis = service("KAIRANBAN_TEST_REDIS_URL");
    let mut one = node_with_redis(&redis);
    let other = one.sibling();
    let mut stream = other.stream(STREAM);
    let cursor = stream.event().id.expect("a cursor");
    one.post("sent by Redis");
    assert!(stream.event().data.contains("sent by Redis"));
    one.database
        .sql("INSERT INTO topics (board_id, comment) VALUES (1, 'heard from psql');");
    assert!(
        stream.event().data.contains("heard from psql"),
        "LISTEN is kept for other programs"
    );
    // A list that was read is put into Redis. A node that comes up has it from there, with its
    // history.
    assert!(one.get(LIST).body.contains("heard from psql"));
    RedisClient::connect(&redis).wait_for(&key_of_list(&cursor), "heard from psql");
    one.kill();
    one.restart();
    let missed = one.resume(STREAM, &cursor).event();
    assert_eq!(
        missed.json()["ops"].as_array().map(Vec::len),
        Some(2),
        "{missed:?}"
    );
}

/// What another program wrote there is what a node shows, until it is compared with the database.
#[test]
fn a_list_in_redis_is_shown_while_it_is_the_newest() {
    let redis = service("KAIRANBAN_TEST_REDIS_URL");
    let mut one = node_with_redis(&redis);
    let other = one.sibling();
    let cursor = one.stream(STREAM).event().id.expect("a cursor");
    one.post("sent by Redis");
    let list = one.get(LIST).body;
    let (mut copies, key) = (RedisClient::connect(&redis), key_of_list(&cursor));
    let copy = copies.wait_for(&key, "sent by Redis");
    copies.ask(&["SET", &key, &copy.replace("sent by Redis", "seen in Redis")]);
    one.kill();
    one.restart();
    assert_eq!(
        one.get(LIST).body,
        list.replace("sent by Redis", "seen in Redis")
    );
    other.post("newer");
    one.kill();
    one.restart();
    let now = one.get(LIST).body;
    assert!(
        now.contains("newer") && now.contains("sent by Redis"),
        "{now}"
    );
    copies.wait_for(&key, "newer");
}

#[test]
fn without_redis_the_board_goes_on() {
    let nowhere = TcpListener::bind("127.0.0.1:0")
        .expect("a port")
        .local_addr()
        .expect("an address");
    let url = format!("redis://{nowhere}");
    let one = Node::start_with(
        Database::postgres(),
        &[("BACKPLANE__KIND", "redis"), ("BACKPLANE__REDIS_URL", &url)],
    );
    let other = one.sibling();
    let mut stream = other.stream(STREAM);
    stream.event();
    let began = Instant::now();
    one.post("polled");
    assert!(stream.event().data.contains("polled"));
    assert_elapsed(began, LOST_MAX);
}

#[test]
fn lost_notifications_cost_no_more_than_a_poll() {
    let one = Node::start(Database::postgres());
    let (relay, listen) = relayed(&one.database);
    let behind = one.sibling_with(&[("DATABASE__LISTEN_URL", &listen)]);
    let beside = one.sibling();
    let mut streams = [&behind, &beside].map(|node| node.stream(STREAM));
    for stream in &mut streams {
        stream.event();
    }
    // One link swallows everything from now on; the other's session is ended again and again.
    relay.swallow();
    for n in 0..3 {
        one.database.sql(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
            WHERE application_name = 'kairanban listen' AND datname = current_database();",
        );
        let began = Instant::now();
        one.post(&format!("unheard {n}"));
        for stream in &mut streams {
            assert!(stream.event().data.contains(&format!("unheard {n}")));
            assert_elapsed(began, LOST_MAX);
        }
    }
}

/// How long a request may take while the database does not answer.
const SILENT_MAX: Duration = Duration::from_secs(3);

/// A frozen server, or a link that takes everything and returns nothing: no error comes, and no
/// answer.
#[test]
fn a_database_that_does_not_answer_is_reported_and_passes() {
    let direct = Database::postgres();
    let (relay, url) = relayed(&direct);
    let node = Node::start_with(Database::Postgres(url), &[]);
    node.post("before");
    let mut stream = node.stream("/b/main/stream?format=patch&since=now");
    relay.swallow();
    let began = Instant::now();
    let answer = node.send("POST", "/", "text/plain", "into the void");
    assert_eq!(
        (answer.status, answer.header("retry-after")),
        (503, Some("2")),
        "{answer:?}"
    );
    assert_elapsed(began, SILENT_MAX);
    assert_eq!(stream.event().name, "stale");
    let began = Instant::now();
    let list = node.get(LIST);
    assert!(
        list.header("kairanban-stale-since").is_some() && list.body.contains("before"),
        "{list:?}"
    );
    assert_elapsed(began, SILENT_MAX);
    relay.heal();
    let began = Instant::now();
    // What was answered with 503 may yet be written, and then it is sent, too.
    while stream.event().name != "fresh" {}
    assert_elapsed(began, Duration::from_secs(5));
    direct.sql("INSERT INTO topics (board_id, comment) VALUES (1, 'all goes on');");
    while !stream.event().data.contains("all goes on") {}
    node.post("and by us");
}

#[track_caller]
fn assert_elapsed(began: Instant, max: Duration) {
    assert!(began.elapsed() < max, "{:?}", began.elapsed());
}

#[test]
fn a_transaction_pooler_alone_is_refused() {
    let url = pooled(&Database::postgres());
    let refused = program()
        .args(["--listen", "127.0.0.1:0", "--database-url", &url])
        .output()
        .expect("the program");
    let text = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        !refused.status.success() && text.contains("point database.listen_url at Postgres itself"),
        "{text}"
    );
}

#[test]
fn a_transaction_pooler_is_worked_with() {
    let direct = Database::postgres();
    let listen = direct.url();
    let settings = [
        ("DATABASE__LISTEN_URL", listen.as_str()),
        ("BOARD__TOPICS_MAX", "5"),
        NO_POLL,
    ];
    let node = Node::start_with(Database::Postgres(pooled(&direct)), &settings);
    let mut watched = Watched::new(node.stream(STREAM));
    watched.take();
    for n in 0..8 {
        node.post(&format!("through the pooler {n}"));
        watched.take();
    }
    direct.sql("INSERT INTO topics (board_id, comment) VALUES (1, 'past it');");
    watched.take();
    assert_eq!(
        watched.mirror.comments(),
        (4..8)
            .map(|n| format!("through the pooler {n}"))
            .chain(["past it".to_owned()])
            .collect::<Vec<_>>()
    );
    let admin = node.token(&["create", "--scope", "admin"]);
    let gone = watched.mirror.topics.keys().next().expect("a topic");
    let path = format!("{LIST}/{gone}");
    let deleted = node.send_as("DELETE", &path, &admin, &[], "");
    assert_eq!(deleted.status, 204);
    watched.take();
}

/// Listening through a transaction pooler is of no use.
#[test]
fn a_transaction_pooler_to_listen_through_is_named() {
    let direct = Database::postgres();
    let mut listening = program()
        .args(["--listen", "127.0.0.1:0", "--database-url", &direct.url()])
        .env("KAIRANBAN_DATABASE__LISTEN_URL", pooled(&direct))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program");
    let said = BufReader::new(listening.stderr.take().expect("a pipe"))
        .lines()
        .map_while(Result::ok);
    let named = said
        .take(50)
        .find(|line| line.contains("a transaction pooler") && line.contains("database.listen_url"));
    listening.kill().expect("killed");
    listening.wait().expect("ended");
    assert!(named.is_some());
}

/// A column, a table, a kind of change and a migration that this version does not know.
const LATER_VERSION: &str = "ALTER TABLE topics ADD COLUMN mood TEXT NOT NULL DEFAULT 'calm';
    CREATE TABLE moods (name TEXT);
    ALTER TABLE changes DROP CONSTRAINT changes_kind_check;
    INSERT INTO __diesel_schema_migrations (version) VALUES ('20991231000000');";

/// A topic that came in a way of its own: without a row that says `set`.
const MOVED_IN: &str = "BEGIN; ALTER TABLE topics DISABLE TRIGGER USER;
    INSERT INTO topics (board_id, comment, revision)
        VALUES (1, 'from the future', nextval('revision_seq'));
    ALTER TABLE topics ENABLE TRIGGER USER;
    INSERT INTO changes (kind, board_id, topic_id, revision, at)
        SELECT 'moved-in', 1, id, revision, timezone('utc', now()) FROM topics
        WHERE comment = 'from the future';
    COMMIT; SELECT pg_notify('kairanban_public', '');";

/// Expand and contract: this version goes on beside a later one, on the schema of that one.
#[test]
fn what_a_later_version_adds_to_the_database_does_no_harm() {
    let mut node = Node::start(Database::postgres());
    node.post("before");
    let mut stream = node.stream(STREAM);
    let cursor = stream.event().id.expect("a cursor");
    node.database.sql(LATER_VERSION);
    node.database.sql(MOVED_IN);
    assert!(stream.event().data.contains("from the future"));
    node.post("and on");
    assert!(stream.event().data.contains("and on"));
    node.kill();
    node.restart();
    let missed = node.resume(STREAM, &cursor).event();
    assert!(
        missed.data.contains("from the future") && missed.data.contains("and on"),
        "{missed:?}"
    );
    assert_eq!(
        node.get("/api/v1/boards/main/changes").json()["changes"][2]["kind"],
        "unknown"
    );
}

/// Checks a configuration that must be refused. Returns what the program said.
#[track_caller]
fn refused(settings: &[(&str, &str)]) -> String {
    let mut command = program();
    command.args(["config", "check"]);
    command.envs(
        settings
            .iter()
            .map(|(name, value)| (format!("KAIRANBAN_{name}"), *value)),
    );
    let output = command.output().expect("the program");
    assert!(!output.status.success(), "{settings:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_backplane_that_cannot_be_is_refused() {
    assert!(
        refused(&[("BACKPLANE__KIND", "postgres")])
            .contains("backplane.kind: SQLite has one server")
    );
    let postgres = ("DATABASE__URL", "postgres://h/d");
    let text = refused(&[
        postgres,
        ("BACKPLANE__KIND", "redis"),
        ("BACKPLANE__REDIS_URL", "redis:secret"),
    ]);
    assert!(
        text.contains("backplane.redis_url: write redis://") && !text.contains("secret"),
        "{text}"
    );
    refused(&[postgres, ("BACKPLANE__KIND", "kafka")]);
}
