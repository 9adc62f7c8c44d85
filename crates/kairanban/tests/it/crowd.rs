//! A thousand readers: one write reaches all, the database is read once, and idling costs nothing.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    time::{Duration, Instant},
};

use crate::node::{Database, Node};

const READERS: usize = 1_000;
const STREAMS_OF_A_CLIENT: (&str, &str) = ("LIMITS__STREAMS_PER_CLIENT_MAX", "2000");

/// How often statements of a kind were called, by what their text matches.
fn calls(database: &Database, text_matches: &str) -> usize {
    let count = database.sql(&format!(
        "SELECT coalesce(sum(calls), 0) FROM pg_stat_statements \
         WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database()) \
         AND query ILIKE 'select%' AND {text_matches};"
    ));
    count.parse().expect("a count")
}

/// How often topics were read, but not by the writer.
fn reads(database: &Database) -> usize {
    calls(
        database,
        "query ILIKE '%\"topics\"%' AND query NOT ILIKE '%\"topics\".\"id\" = ANY%'",
    )
}

/// How often the slow poll, which finds nothing, may have read.
fn polls(since: Instant) -> usize {
    usize::try_from(since.elapsed().as_millis() / 1_500).expect("a short time") + 1
}

#[test]
fn one_post_reaches_a_thousand_without_being_read_back() {
    let node = Node::start_with(Database::postgres(), &[STREAMS_OF_A_CLIENT]);
    let database = &node.database;
    database.sql("CREATE EXTENSION pg_stat_statements;");
    let cold = reads(database);
    let mut streams: Vec<_> = (0..READERS)
        .map(|_| node.stream("/topic_stream/"))
        .collect();
    streams.iter_mut().for_each(|stream| drop(stream.event()));
    // Readers that arrive together cost one reading.
    let connecting = Instant::now();
    let read = reads(database) - cold;
    assert!(
        read <= 1 + polls(connecting) + 5,
        "{read} readings for {READERS} readers"
    );

    let (before, began) = (reads(database), Instant::now());
    node.post("to all");
    for stream in &mut streams {
        assert!(stream.event().data.contains("to all"));
    }
    let took = began.elapsed();
    // What this node commits, and nothing came between, it knows; only the slow poll reads.
    let read = reads(database) - before;
    assert!(
        read <= polls(began),
        "{read} readings for one post in {took:?}"
    );

    // Idle: heartbeats are 15 s apart.
    let (cpu, idle) = (node.cpu(), Instant::now());
    streams[0].quiet_for(Duration::from_secs(5));
    let share = (node.cpu() - cpu).as_secs_f64() / idle.elapsed().as_secs_f64();
    assert!(share < 0.01, "{:.2} % of a core while idle", share * 100.0);
}

#[test]
fn a_restart_costs_one_reading_a_board() {
    const BOARDS: [&str; 3] = ["main", "b1", "b2"];
    let mut node = Node::start_with(Database::postgres(), &[STREAMS_OF_A_CLIENT]);
    node.database.sql(
        "CREATE EXTENSION pg_stat_statements; INSERT INTO boards (name) VALUES ('b1'), ('b2');",
    );
    let boards = BOARDS.map(|board| {
        let path = format!("/b/{board}/stream?format=patch");
        let cursor = node.stream(&path).event().id.expect("a cursor");
        (path, cursor)
    });
    for board in BOARDS {
        let posted = node.send("POST", &format!("/b/{board}"), "text/plain", "missed");
        assert_eq!(posted.status, 201);
    }
    node.kill();
    node.restart();
    node.database
        .sql("SELECT count(pg_stat_statements_reset());");
    let mut streams: Vec<_> = boards
        .iter()
        .cycle()
        .take(300)
        .map(|(path, cursor)| node.resume(path, cursor))
        .collect();
    for stream in &mut streams {
        let missed = stream.event();
        assert!(
            missed.name == "patch" && missed.data.contains("missed"),
            "{missed:?}"
        );
    }
    assert_eq!(lists_read(&node.database), BOARDS.len());
}

/// How often a list was read: from the boards' side; the rest of what is asked is the log.
fn lists_read(database: &Database) -> usize {
    calls(database, "query ILIKE '%from (\"boards\" left%topics%'")
}

#[test]
fn a_list_without_readers_is_read_once_per_cache_period() {
    let node = Node::start_with(Database::postgres(), &[("CACHE__TTL_S", "1")]);
    node.database.sql("CREATE EXTENSION pg_stat_statements;");
    let (before, began) = (lists_read(&node.database), Instant::now());
    let mut answers = 0;
    // It expires twice, and is read again.
    while lists_read(&node.database) < before + 3 {
        for _ in 0..20 {
            assert_eq!(node.get("/api/v1/boards/main/topics").status, 200);
            answers += 1;
        }
        assert!(
            began.elapsed() < Duration::from_secs(20),
            "not read again in {answers} answers"
        );
    }
    let (read, at_most) = (
        lists_read(&node.database) - before,
        began.elapsed().as_secs() as usize + 2,
    );
    assert!(read <= at_most, "{read} readings for {answers} answers");
}

/// Each in a thread of its own they would take more memory than all they came for.
#[test]
fn who_waits_for_the_database_waits_in_line() {
    let node = Node::start(Database::postgres());
    let asked = held_up(&node, "topics, changes", 200, |_| {
        "GET /api/v1/boards/main/changes HTTP/1.1\r\nHost: localhost".to_owned()
    });
    asked.into_iter().for_each(answered_200);
}

/// Asks for a stream with the token number `n`.
fn stream_with_token(n: usize) -> String {
    format!("GET /b/main/stream HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer secret{n}")
}

#[test]
fn a_crowd_with_tokens_comes_in_by_a_few_queries() {
    const CROWD: usize = 300;
    let node = Node::start_with(Database::postgres(), &[STREAMS_OF_A_CLIENT]);
    node.database.sql(&format!(
        "CREATE EXTENSION pg_stat_statements; UPDATE boards SET read = 'token'; \
         INSERT INTO tokens (name, digest, scope)
         SELECT 't', encode(sha256(('secret' || n)::bytea), 'hex'), 'read' \
         FROM generate_series(1, {CROWD}) n"
    ));
    let streams = held_up(&node, "tokens", CROWD, |n| stream_with_token(n + 1));
    streams.into_iter().for_each(answered_200);
    let queries = calls(&node.database, "query ILIKE '%\"tokens\".\"digest\"%'");
    assert!(
        (1..CROWD / 10).contains(&queries),
        "{queries} queries for {CROWD} tokens"
    );
    let mut stranger = ask(&node, &stream_with_token(0));
    assert!(answer(&mut stranger).starts_with("HTTP/1.1 401"));
}

fn ask(node: &Node, head: &str) -> TcpStream {
    let mut connection = TcpStream::connect(node.address).expect("a connection");
    write!(connection, "{head}\r\n\r\n").expect("asked");
    connection
}

/// Asks `count` times for what the database has to be asked, which does not answer for half a
/// second; the server needs hardly more threads for that than it has connections.
fn held_up(
    node: &Node,
    tables: &str,
    count: usize,
    head: impl Fn(usize) -> String,
) -> Vec<TcpStream> {
    const CONNECTIONS: usize = 8;
    let lock = node.database.lock(tables);
    let began = Instant::now();
    let before = node.threads();
    let asked = (0..count).map(|n| ask(node, &head(n))).collect();
    while began.elapsed() < Duration::from_millis(500) {
        let threads = node.threads();
        assert!(
            threads <= before + 2 * CONNECTIONS,
            "{threads} threads, {before} before"
        );
        std::thread::park_timeout(Duration::from_millis(5));
    }
    drop(lock);
    asked
}

fn answered_200(mut connection: TcpStream) {
    let answer = answer(&mut connection);
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

/// The beginning of what the server says.
fn answer(connection: &mut TcpStream) -> String {
    let mut head = [0; 64];
    connection
        .set_read_timeout(Some(Duration::from_secs(10)))
        .expect("a time");
    let length = connection.read(&mut head).expect("an answer");
    String::from_utf8_lossy(&head[..length]).into_owned()
}

/// Five thousand readers are sent away one after the other, and get different times to come back
/// at.
#[test]
fn a_drain_spreads_its_readers() {
    const MANY: usize = 5_000;
    rlimit::increase_nofile_limit(MANY as u64 + 1_000).expect("as many open files");
    let many = MANY.to_string();
    let settings = [
        ("LIMITS__STREAMS_PER_CLIENT_MAX", many.as_str()),
        ("LIMITS__STREAMS_MAX", &many),
        // They come at once.
        ("LIMITS__CONNECTIONS_MAX", &many),
    ];
    let mut node = Node::start_with(Database::sqlite(), &settings);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let (back, took) = runtime.block_on(drained(&node, MANY));
    assert_eq!(node.end(Duration::from_secs(15)).1, Some(0));
    let mut spread = [0; 20];
    for at in back {
        if let Some(second) = spread.get_mut(at.as_secs() as usize) {
            *second += 1;
        }
    }
    let most = spread.iter().max().expect("seconds");
    let report = format!(
        "drain: {MANY} readers gone within {took:.1?}, at most {most} of them back within one \
         second\n"
    );
    std::io::stderr()
        .write_all(report.as_bytes())
        .expect("written");
    assert!(took < Duration::from_secs(10), "{took:?}");
    assert!(
        spread.iter().all(|count| *count < MANY / 3),
        "within each second: {spread:?}"
    );
}

/// Ends a node with `count` readers. Returns when each of them comes back, and how long it took
/// until the last was gone.
async fn drained(node: &Node, count: usize) -> (Vec<Duration>, Duration) {
    let (begun, mut waits) = tokio::sync::mpsc::channel(count);
    let readers: Vec<_> = (0..count)
        .map(|_| tokio::spawn(comes_back(node.address, begun.clone())))
        .collect();
    for _ in 0..count {
        waits.recv().await.expect("a reader");
    }
    node.terminate();
    let began = Instant::now();
    let mut back = Vec::new();
    for reader in readers {
        let (left, retry) = reader.await.expect("a reader");
        back.push((left + retry).saturating_duration_since(began));
    }
    (back, began.elapsed())
}

/// Reads until the server ends the stream. Returns when that was, and for how long the server says
/// to stay away.
async fn comes_back(
    address: std::net::SocketAddr,
    begun: tokio::sync::mpsc::Sender<()>,
) -> (Instant, Duration) {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut connection = tokio::net::TcpStream::connect(address)
        .await
        .expect("a connection");
    connection
        .write_all(b"GET /topic_stream/ HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await
        .expect("sent");
    let (mut text, mut buffer, mut has_begun) = (String::new(), [0; 2_048], false);
    loop {
        let count = connection.read(&mut buffer).await.expect("read");
        if count == 0 {
            break;
        }
        text.push_str(std::str::from_utf8(&buffer[..count]).expect("text"));
        if !has_begun && text.contains("data: ") {
            has_begun = true;
            begun.send(()).await.expect("the test");
        }
        if text.contains(r#"{"reason":"shutdown"}"#) {
            break;
        }
    }
    let left = Instant::now();
    let retry = text
        .rsplit("retry: ")
        .next()
        .and_then(|rest| rest.lines().next()?.parse().ok())
        .expect("a time");
    (left, Duration::from_millis(retry))
}
