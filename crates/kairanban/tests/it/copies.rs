//! Lists that the servers share in Redis: what another program puts there is not believed.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

use crate::{
    logged::Logged,
    node::{Database, program},
    wire,
};

const KEY: &str = "0123456789abcdef0123456789abcdef";

/// A client of Redis for values that are no text.
struct BytesClient(BufReader<TcpStream>);

impl BytesClient {
    fn connect(url: &str) -> Self {
        let connection = TcpStream::connect(url.trim_start_matches("redis://")).expect("Redis");
        connection
            .set_read_timeout(Some(wire::PATIENCE))
            .expect("a time limit");
        Self(BufReader::new(connection))
    }

    fn ask(&mut self, words: &[&[u8]]) -> Option<Vec<u8>> {
        let mut message = format!("*{}\r\n", words.len()).into_bytes();
        for word in words {
            message.extend(
                format!("${}\r\n", word.len())
                    .bytes()
                    .chain(word.iter().copied())
                    .chain(*b"\r\n"),
            );
        }
        self.0.get_mut().write_all(&message).expect("sent");
        let mut line = String::new();
        self.0.read_line(&mut line).expect("an answer");
        let length: usize = line
            .strip_prefix('$')
            .and_then(|length| length.trim().parse().ok())?;
        let mut bytes = vec![0; length + 2];
        self.0.read_exact(&mut bytes).expect("a string");
        bytes.truncate(length);
        Some(bytes)
    }

    fn get(&mut self, key: &str) -> Option<Vec<u8>> {
        self.ask(&[b"GET", key.as_bytes()])
    }

    fn wait_for(&mut self, key: &str) -> Vec<u8> {
        let deadline = Instant::now() + wire::PATIENCE;
        loop {
            if let Some(found) = self.get(key) {
                return found;
            }
            assert!(Instant::now() < deadline, "nothing under {key}");
            thread::park_timeout(Duration::from_millis(5));
        }
    }
}

struct Servers {
    database: Database,
    redis: String,
    admin: String,
    key: &'static str,
    data: tempfile::TempDir,
}

impl Servers {
    fn new(key: &'static str) -> Self {
        let database = Database::postgres();
        let redis = std::env::var("KAIRANBAN_TEST_REDIS_URL").expect("KAIRANBAN_TEST_REDIS_URL");
        let migrated = program()
            .arg("migrate")
            .env("DATABASE_URL", database.url())
            .status();
        assert!(migrated.expect("the program").success());
        let made = program()
            .args(["token", "create", "--scope", "admin"])
            .env("DATABASE_URL", database.url())
            .output();
        let admin = String::from_utf8(made.expect("the program").stdout)
            .expect("text")
            .trim()
            .to_owned();
        Self {
            database,
            redis,
            admin,
            key,
            data: tempfile::tempdir().expect("a folder"),
        }
    }

    fn start(&self) -> Logged {
        let (url, data) = (self.database.url(), self.data.path().display().to_string());
        let mut environment = vec![
            ("DATABASE_URL", url.as_str()),
            ("KAIRANBAN_SERVER__DATA_DIR", &data),
            ("KAIRANBAN_BACKPLANE__KIND", "redis"),
            ("KAIRANBAN_BACKPLANE__REDIS_URL", &self.redis),
            ("KAIRANBAN_BACKPLANE__SNAPSHOT_BYTES_MAX", "100000"),
        ];
        if !self.key.is_empty() {
            environment.push(("KAIRANBAN_BACKPLANE__REDIS_KEY", self.key));
        }
        Logged::serve(&environment)
    }

    fn send(&self, server: &mut Logged, method: &str, path: &str, body: &str) -> wire::Answer {
        let authorization = format!("Bearer {}", self.admin);
        let headers = [
            ("Authorization", authorization.as_str()),
            ("Content-Type", "application/json"),
        ];
        wire::request(server.address(), method, path, &headers, body.as_bytes())
    }

    fn list(&self, server: &mut Logged, board: &str) -> String {
        let answer = self.send(server, "GET", &format!("/api/v1/boards/{board}/topics"), "");
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.body
    }

    fn copy_of(&self, board: &str) -> String {
        let epoch = self
            .database
            .sql("SELECT value FROM identity WHERE key = 'epoch';");
        let signed = if self.key.is_empty() { "" } else { ":signed" };
        format!("kairanban:{epoch}:500:{board}{signed}")
    }

    fn with_a_private_board(&self) -> (Logged, String) {
        let mut server = self.start();
        assert_eq!(
            self.send(
                &mut server,
                "POST",
                "/api/v1/boards",
                r#"{"name":"secret","read":"token"}"#
            )
            .status,
            201
        );
        let posted = self.send(
            &mut server,
            "POST",
            "/api/v1/boards/secret/topics",
            r#"{"comment":"only for us"}"#,
        );
        assert_eq!(posted.status, 201);
        // A server that has not read the board yet puts it there.
        let mut fresh = self.start();
        let list = self.list(&mut fresh, "secret");
        (fresh, list)
    }
}

/// Changes a good copy in each way.
fn tampered(good: &[u8]) -> [(&'static str, Vec<u8>); 7] {
    let secret = b"only for us";
    let at = good
        .windows(secret.len())
        .position(|window| window == secret)
        .expect("the text");
    let mut forged = good.to_vec();
    forged[at..at + 4].copy_from_slice(b"lies");
    let mut unsigned = good.to_vec();
    unsigned.drain(..32);
    [
        ("forged", forged),
        ("unsigned", unsigned),
        ("cut", good[..good.len() - 9].to_vec()),
        ("cut within the signature", good[..20].to_vec()),
        ("one byte", vec![0]),
        ("huge", [good, &vec![b' '; 200_000_000]].concat()),
        ("deep", [b"[".repeat(90_000), b"]".repeat(90_000)].concat()),
    ]
}

/// Waits until the server has said that it ignored a copy; it says so once.
#[track_caller]
fn assert_said_once(server: &mut Logged, what: &str) {
    // Lines are written by a thread of their own.
    server.until(what, |server| {
        server.err().contains("ignored a list in Redis")
    });
    let said = server.err();
    let ignored = said.matches("ignored a list in Redis").count();
    assert_eq!(ignored, 1, "{what}: {said}");
    let warnings = said
        .lines()
        .filter(|line| line.contains("WARN") && !line.contains("open to other users"))
        .count();
    assert!(warnings <= 1, "{what}: {said}");
}

#[test]
fn a_copy_that_was_tampered_with_is_ignored_and_said_once() {
    let servers = Servers::new(KEY);
    let (_server, list) = servers.with_a_private_board();
    let (mut redis, key) = (
        BytesClient::connect(&servers.redis),
        servers.copy_of("secret"),
    );
    let good = redis.wait_for(&key);
    let text = String::from_utf8_lossy(&good).into_owned();
    assert!(text.contains("only for us"), "{text}");
    let mut other = servers.start();
    servers.list(&mut other, "main");
    let of_another_board = redis.wait_for(&servers.copy_of("main"));
    let copies = tampered(&good).into_iter();
    for (what, bytes) in copies.chain([("of another board", of_another_board)]) {
        redis.ask(&[b"SET", key.as_bytes(), &bytes]);
        let mut server = servers.start();
        assert_eq!(servers.list(&mut server, "secret"), list, "{what}");
        assert_said_once(&mut server, what);
        // The server puts a good one there again.
        let deadline = Instant::now() + wire::PATIENCE;
        while redis.get(&key).as_deref() != Some(&good[..]) {
            assert!(Instant::now() < deadline, "{what}");
        }
    }
    // And a good one is used.
    let mut server = servers.start();
    assert_eq!(servers.list(&mut server, "secret"), list);
    assert!(!server.err().contains("ignored"), "{}", server.err());
}

#[test]
fn without_a_key_no_board_that_needs_a_token_is_shared() {
    let servers = Servers::new("");
    let (server, list) = servers.with_a_private_board();
    assert!(
        server.err().contains("without backplane.redis_key"),
        "{}",
        server.err()
    );
    let mut redis = BytesClient::connect(&servers.redis);
    // An open board is there, so a private one would be by now.
    let mut other = servers.start();
    servers.list(&mut other, "main");
    redis.wait_for(&servers.copy_of("main"));
    assert_eq!(redis.get(&servers.copy_of("secret")), None);
    // Nor is one read that another program put there.
    let open = String::from_utf8(redis.wait_for(&servers.copy_of("main"))).expect("JSON");
    redis.ask(&[
        b"SET",
        servers.copy_of("secret").as_bytes(),
        open.as_bytes(),
    ]);
    let mut server = servers.start();
    assert_eq!(servers.list(&mut server, "secret"), list);
}

#[test]
fn a_list_that_is_too_long_is_not_put_there() {
    let servers = Servers::new(KEY);
    let mut server = servers.start();
    servers.database.sql(
        "INSERT INTO topics (board_id, comment) SELECT 1, repeat('x', 1000) \
        FROM generate_series(1, 200);",
    );
    assert!(servers.list(&mut server, "main").len() > 100_000 || !server.err().is_empty());
    let mut fresh = servers.start();
    assert!(servers.list(&mut fresh, "main").len() > 100_000);
    let found = BytesClient::connect(&servers.redis).get(&servers.copy_of("main"));
    assert!(found.is_none_or(|found| found.len() <= 100_000));
}
