//! Several nodes on one Postgres: what carries "look again" between them, and what holds when it is lost.

use std::{
    env,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    process::Stdio,
    thread,
    time::{Duration, Instant},
};

use crate::{
    node::{Database, Node, program},
    relay::relayed,
};

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
    let mut stream = other.stream("/b/main/stream?format=patch");
    stream.event();
    one.post("by the other node");
    assert!(stream.event().data.contains("by the other node"));
    one.database
        .sql("INSERT INTO topics (board_id, comment) VALUES (1, 'by psql');");
    assert!(stream.event().data.contains("by psql"));
}

#[test]
fn redis_carries_commits_and_lists() {
    let redis = service("KAIRANBAN_TEST_REDIS_URL");
    let settings = [
        NO_POLL,
        ("BACKPLANE__KIND", "redis"),
        ("BACKPLANE__REDIS_URL", redis.as_str()),
    ];
    let mut one = Node::start_with(Database::postgres(), &settings);
    let other = one.sibling();
    let mut stream = other.stream("/b/main/stream?format=patch");
    let cursor = stream.event().id.expect("a cursor");
    one.post("told by Redis");
    let told = stream.event();
    assert!(told.data.contains("told by Redis"));
    one.database
        .sql("INSERT INTO topics (board_id, comment) VALUES (1, 'heard from psql');");
    assert!(
        stream.event().data.contains("heard from psql"),
        "LISTEN is kept for other programs"
    );

    // A node that comes up has the list from Redis, with its history.
    let list = one.get("/api/v1/boards/main/topics").body;
    let epoch = cursor.split('-').next().expect("an epoch");
    let mut copies = Redis::connect(&redis);
    let key = format!("kairanban:{epoch}:500:main");
    let copy = copies.wait_for(&key, "heard from psql");
    one.kill();
    one.restart();
    let mut again = one.resume("/b/main/stream?format=patch", &cursor);
    let missed = again.event();
    assert_eq!(
        missed.json()["ops"].as_array().map(Vec::len),
        Some(2),
        "{missed:?}"
    );
    // What somebody wrote there is what it shows, until it is compared with the database.
    copies.ask(&["SET", &key, &copy.replace("told by Redis", "seen in Redis")]);
    one.kill();
    one.restart();
    assert_eq!(
        one.get("/api/v1/boards/main/topics").body,
        list.replace("told by Redis", "seen in Redis")
    );
    // But only while it is the newest.
    other.post("newer");
    one.kill();
    one.restart();
    let now = one.get("/api/v1/boards/main/topics").body;
    assert!(
        now.contains("newer") && now.contains("told by Redis"),
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
    let mut stream = other.stream("/b/main/stream?format=patch");
    stream.event();
    let began = Instant::now();
    one.post("polled");
    assert!(stream.event().data.contains("polled"));
    assert!(began.elapsed() < LOST_MAX, "{:?}", began.elapsed());
}

#[test]
fn lost_notifications_cost_no_more_than_a_poll() {
    let one = Node::start(Database::postgres());
    let (relay, listen) = relayed(&one.database);
    let behind = one.sibling_with(&[("DATABASE__LISTEN_URL", &listen)]);
    let beside = one.sibling();
    let mut streams = [&behind, &beside].map(|node| node.stream("/b/main/stream?format=patch"));
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
            assert!(began.elapsed() < LOST_MAX, "{:?}", began.elapsed());
        }
    }
}

/// A frozen server, or a link that takes everything and gives nothing: no error comes, and no answer.
#[test]
fn a_database_that_does_not_answer_is_told_and_passes() {
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
    assert!(
        began.elapsed() < Duration::from_secs(3),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(stream.event().name, "stale");
    let began = Instant::now();
    let list = node.get("/api/v1/boards/main/topics");
    assert!(
        list.header("kairanban-stale-since").is_some() && list.body.contains("before"),
        "{list:?}"
    );
    assert!(
        began.elapsed() < Duration::from_secs(3),
        "{:?}",
        began.elapsed()
    );
    relay.heal();
    let began = Instant::now();
    // What was answered with 503 may yet be written, and then it is told, too.
    while stream.event().name != "fresh" {}
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "{:?}",
        began.elapsed()
    );
    direct.sql("INSERT INTO topics (board_id, comment) VALUES (1, 'all goes on');");
    while !stream.event().data.contains("all goes on") {}
    node.post("and by us");
}

#[test]
fn a_transaction_pooler_is_worked_with_and_named() {
    let direct = Database::postgres();
    let url = pooled(&direct);
    let refused = program()
        .args(["--listen", "127.0.0.1:0", "--database-url", &url])
        .output()
        .expect("the program");
    let text = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        !refused.status.success() && text.contains("point database.listen_url at Postgres itself"),
        "{text}"
    );

    let listen = direct.url();
    let settings = [
        ("DATABASE__LISTEN_URL", listen.as_str()),
        ("BOARD__TOPICS_MAX", "5"),
        NO_POLL,
    ];
    let node = Node::start_with(Database::Postgres(url.clone()), &settings);
    let mut mirror = crate::sse::Mirror::default();
    let mut stream = node.stream("/b/main/stream?format=patch");
    mirror.take(&stream.event());
    for n in 0..8 {
        node.post(&format!("through the pooler {n}"));
        mirror.take(&stream.event());
    }
    direct.sql("INSERT INTO topics (board_id, comment) VALUES (1, 'past it');");
    mirror.take(&stream.event());
    assert_eq!(
        mirror.comments(),
        (4..8)
            .map(|n| format!("through the pooler {n}"))
            .chain(["past it".to_owned()])
            .collect::<Vec<_>>()
    );
    let admin = node.token(&["create", "--scope", "admin"]);
    let gone = mirror.topics.keys().next().expect("a topic");
    assert_eq!(
        node.send_as(
            "DELETE",
            &format!("/api/v1/boards/main/topics/{gone}"),
            &admin,
            &[],
            ""
        )
        .status,
        204
    );
    mirror.take(&stream.event());

    // Listening through it is of no use, and is said.
    let mut listening = program()
        .args(["--listen", "127.0.0.1:0", "--database-url", &direct.url()])
        .env("KAIRANBAN_DATABASE__LISTEN_URL", &url)
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

/// Expand and contract: this version goes on beside a later one, on the schema of that one.
#[test]
fn what_a_later_version_adds_to_the_database_harms_nobody() {
    let mut node = Node::start(Database::postgres());
    node.post("before");
    let mut stream = node.stream("/b/main/stream?format=patch");
    let cursor = stream.event().id.expect("a cursor");
    // It has a column, a table, a kind of change and a migration that this one does not know.
    node.database.sql(
        "ALTER TABLE topics ADD COLUMN mood TEXT NOT NULL DEFAULT 'calm'; \
         CREATE TABLE moods (name TEXT);
         ALTER TABLE changes DROP CONSTRAINT changes_kind_check;
         INSERT INTO __diesel_schema_migrations (version) VALUES ('20991231000000');",
    );
    // A topic that came in a way of its own: without a row that says `set`.
    node.database.sql(
        "BEGIN; ALTER TABLE topics DISABLE TRIGGER USER;
         INSERT INTO topics (board_id, comment, revision) \
         VALUES (1, 'from the future', nextval('revision_seq'));
         ALTER TABLE topics ENABLE TRIGGER USER;
         INSERT INTO changes (kind, board_id, topic_id, revision, at) \
         SELECT 'moved-in', 1, id, revision, timezone('utc', now()) FROM topics
         WHERE comment = 'from the future'; COMMIT; SELECT pg_notify('kairanban_public', '');",
    );
    assert!(stream.event().data.contains("from the future"));
    node.post("and on");
    assert!(stream.event().data.contains("and on"));
    node.kill();
    node.restart();
    let missed = node.resume("/b/main/stream?format=patch", &cursor).event();
    assert!(
        missed.data.contains("from the future") && missed.data.contains("and on"),
        "{missed:?}"
    );
    assert_eq!(
        node.get("/api/v1/boards/main/changes").json()["changes"][2]["kind"],
        "unknown"
    );
}

#[test]
fn a_backplane_that_cannot_be_is_refused() {
    let refused = |settings: &[(&str, &str)]| {
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
    };
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

/// Redis by hand.
struct Redis(BufReader<TcpStream>);

impl Redis {
    fn connect(url: &str) -> Self {
        let connection = TcpStream::connect(url.trim_start_matches("redis://")).expect("Redis");
        connection
            .set_read_timeout(Some(crate::wire::PATIENCE))
            .expect("a time limit");
        Self(BufReader::new(connection))
    }

    /// Gives a string that it answers with; nothing, for anything else.
    fn ask(&mut self, words: &[&str]) -> Option<String> {
        let words = words
            .iter()
            .map(|word| format!("${}\r\n{word}\r\n", word.len()))
            .collect::<Vec<_>>();
        self.0
            .get_mut()
            .write_all(format!("*{}\r\n{}", words.len(), words.concat()).as_bytes())
            .expect("sent");
        let mut line = String::new();
        self.0.read_line(&mut line).expect("an answer");
        let length: usize = line
            .strip_prefix('$')
            .and_then(|length| length.trim().parse().ok())?;
        let mut text = vec![0; length + 2];
        self.0.read_exact(&mut text).expect("a string");
        Some(String::from_utf8(text).expect("text").trim_end().to_owned())
    }

    /// What stands under `key` once it holds `text`.
    fn wait_for(&mut self, key: &str, text: &str) -> String {
        let deadline = Instant::now() + crate::wire::PATIENCE;
        loop {
            if let Some(copy) = self.ask(&["GET", key]).filter(|copy| copy.contains(text)) {
                return copy;
            }
            assert!(
                Instant::now() < deadline,
                "no copy with {text:?} under {key}"
            );
            thread::park_timeout(Duration::from_millis(5));
        }
    }
}
