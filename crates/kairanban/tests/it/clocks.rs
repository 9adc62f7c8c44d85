//! Clocks that are wrong: the server's days ahead of its database's or behind, or set while it runs. On SQLite they are one
//! clock. libfaketime stands between the server and the system; what counts time without a calendar is left alone.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use chrono::{DateTime, TimeDelta, Utc};

use crate::{
    node::{Database, Node, program},
    sse::{Mirror, Reader},
    wire,
};

crate::on_both!(
    everything_goes_on_when_the_clock_steps_back,
    everything_goes_on_when_the_clock_steps_forward,
    what_was_seen_to_be_over_stays_over,
    a_stream_ends_with_its_token_although_the_clock_steps_back,
    what_only_counts_time_does_not_look_at_the_clock,
);

const JSON: &str = "application/json";
const TOPICS: &str = "/api/v1/boards/main/topics";
const STREAM: &str = "/b/main/stream?format=patch";

/// A server's own clock, to be set at will.
struct WrongClock {
    folder: tempfile::TempDir,
}

impl WrongClock {
    /// `offset` as libfaketime reads it: `+2d`.
    fn new(offset: &str) -> Self {
        let clock = Self {
            folder: tempfile::tempdir().expect("a folder"),
        };
        clock.set(offset);
        clock
    }

    fn set(&self, offset: &str) {
        // Whole, or not at all: it is read at any moment.
        let (new, file) = (
            self.folder.path().join("new"),
            self.folder.path().join("offset"),
        );
        std::fs::write(&new, offset).expect("written");
        std::fs::rename(new, file).expect("in its place");
    }

    fn environment(&self) -> Vec<(String, String)> {
        let mut folders = std::fs::read_dir("/usr/lib")
            .expect("libraries")
            .filter_map(Result::ok);
        let library: PathBuf = folders
            .find_map(|folder| {
                Some(folder.path().join("faketime/libfaketimeMT.so.1")).filter(|path| path.exists())
            })
            .expect("libfaketime; scripts/test installs it");
        let file = self.folder.path().join("offset").display().to_string();
        let variables = [
            ("LD_PRELOAD", library.display().to_string()),
            ("FAKETIME_TIMESTAMP_FILE", file),
            ("FAKETIME_NO_CACHE", "1".to_owned()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
            ("NO_FAKE_STAT", "1".to_owned()),
        ];
        variables
            .map(|(name, value)| (name.to_owned(), value))
            .to_vec()
    }
}

/// A server by a wrong clock, and an administrator's token.
struct Place {
    clock: WrongClock,
    node: Node,
    admin: String,
}

impl Place {
    fn new(database: Database, offset: &str) -> Self {
        let clock = WrongClock::new(offset);
        let node = Node::start_in(database, clock.environment());
        let admin = node.token(&["create", "--scope", "admin"]);
        assert_eq!(
            node.send_as(
                "PATCH",
                "/api/v1/boards/main",
                &admin,
                &[],
                r#"{"read":"token"}"#
            )
            .status,
            200
        );
        Self { clock, node, admin }
    }

    /// The database's time; on SQLite that is the server's.
    fn now(&self) -> DateTime<Utc> {
        if self.node.database.is_postgres() {
            let text = self
                .node
                .database
                .sql("SELECT extract(epoch FROM clock_timestamp()) * 1000000;");
            let micros = text
                .split('.')
                .next()
                .and_then(|micros| micros.parse().ok())
                .expect("a number");
            return DateTime::from_timestamp_micros(micros).expect("a time");
        }
        // A row that the server writes now: its own clock.
        let posted = self.json("POST", TOPICS, r#"{"comment":"what time is it?"}"#);
        posted["created_at"]
            .as_str()
            .and_then(|text| text.parse().ok())
            .expect("a time")
    }

    fn send(&self, method: &str, path: &str, body: &str) -> wire::Answer {
        self.node.send_as(method, path, &self.admin, &[], body)
    }

    fn json(&self, method: &str, path: &str, body: &str) -> serde_json::Value {
        let answer = self.send(method, path, body);
        assert!(answer.status < 300, "{method} {path}: {answer:?}");
        answer.json()
    }

    fn post(&self, comment: &str) -> u64 {
        self.json("POST", TOPICS, &format!(r#"{{"comment":"{comment}"}}"#))["id"]
            .as_u64()
            .expect("an id")
    }

    /// Makes a token that ends that long from now, by the database's clock.
    fn token(&self, left: TimeDelta) -> String {
        let end = (self.now() + left).to_rfc3339();
        let made = self.json(
            "POST",
            "/api/v1/tokens",
            &format!(r#"{{"name":"x","scope":"read","expires_at":"{end}"}}"#),
        );
        made["token"].as_str().expect("a token").to_owned()
    }

    fn ticket(&self) -> String {
        let made = self.json("POST", "/api/v1/tickets", r#"{"board":"main"}"#);
        format!(
            "{STREAM}&ticket={}",
            made["ticket"].as_str().expect("a ticket")
        )
    }

    fn status(&self, path: &str, token: &str) -> u16 {
        self.node.send_as("GET", path, token, &[], "").status
    }

    fn open(&self, path: &str, token: &str) -> Reader {
        Reader::open(
            self.node.address,
            path,
            &[("Authorization", &format!("Bearer {token}"))],
        )
    }

    /// What a reader sees who asks for the last ten minutes.
    fn lately(&self) -> Vec<String> {
        let mut stream = self.open(&format!("{STREAM}&since=10m"), &self.admin);
        let event = stream.event();
        let ops = event.json()["ops"]
            .as_array()
            .unwrap_or_else(|| panic!("a patch, not {event:?}"))
            .clone();
        ops.iter()
            .map(|op| {
                op["topic"]["comment"]
                    .as_str()
                    .expect("a comment")
                    .to_owned()
            })
            .collect()
    }

    fn delete(&self, topic: u64) {
        assert_eq!(
            self.send("DELETE", &format!("{TOPICS}/{topic}"), "").status,
            204
        );
    }

    fn restore(&self, topic: u64) -> u16 {
        self.send("POST", &format!("{TOPICS}/{topic}/restore"), "")
            .status
    }

    /// Does everything that has to do with time.
    fn everything_works(&self) {
        let close = |time: &serde_json::Value| {
            let time: DateTime<Utc> = time
                .as_str()
                .and_then(|text| text.parse().ok())
                .unwrap_or_else(|| panic!("no time: {time}"));
            (self.now() - time).abs() < TimeDelta::seconds(20)
        };
        // A topic.
        let made = self.json("POST", TOPICS, r#"{"comment":"a topic"}"#);
        assert!(close(&made["created_at"]), "{made}");
        let id = made["id"].as_u64().expect("an id");
        self.delete(id);
        assert_eq!(self.restore(id), 200, "undo of what was deleted just now");
        // A key.
        let headers = [("Idempotency-Key", "k")];
        let keyed = || {
            self.node
                .send_as(
                    "POST",
                    TOPICS,
                    &self.admin,
                    &headers,
                    r#"{"comment":"once"}"#,
                )
                .json()["id"]
                .clone()
        };
        assert_eq!(keyed(), keyed(), "a repeated request");
        // A ticket.
        let ticket = self.ticket();
        for time in ["first", "second"] {
            assert_eq!(
                self.node.stream(&ticket).event().name,
                "snapshot",
                "the {time} use of a ticket"
            );
        }
        // Tokens: good, soon over, over, dead at birth.
        assert_eq!(
            self.status(TOPICS, &self.token(TimeDelta::hours(1))),
            200,
            "a token for an hour"
        );
        let soon = self.token(TimeDelta::seconds(2));
        let (mut stream, began) = (self.open(STREAM, &soon), Instant::now());
        assert_eq!(bye(&mut stream), "auth", "of the stream with its token");
        let took = began.elapsed();
        assert!(
            took > Duration::from_millis(500) && took < Duration::from_secs(5),
            "a token for 2 s: {took:?}"
        );
        assert_eq!(self.status(TOPICS, &soon), 401, "a token that is over");
        let dead = format!(
            r#"{{"name":"x","scope":"read","expires_at":"{}"}}"#,
            (self.now() - TimeDelta::hours(1)).to_rfc3339()
        );
        assert_eq!(
            self.send("POST", "/api/v1/tokens", &dead).status,
            422,
            "a token that would be dead at birth"
        );
        // What is noted of them.
        let listed = self.json("GET", "/api/v1/tokens?limit=500", "");
        let last = listed["tokens"]
            .as_array()
            .and_then(|tokens| tokens.last())
            .expect("a token");
        assert!(
            close(&last["last_used_at"])
                && close(&last["created_at"])
                && close(&last["expires_at"]),
            "{last}"
        );
        self.json_nothing("DELETE", &format!("/api/v1/tokens/{}", last["id"]));
        let revoked = self.json("GET", &format!("/api/v1/tokens/{}", last["id"]), "");
        assert!(close(&revoked["revoked_at"]), "{revoked}");
        let audit = self.json("GET", "/api/v1/audit?limit=1", "");
        assert!(close(&audit["entries"][0]["at"]), "{audit}");
    }

    fn json_nothing(&self, method: &str, path: &str) {
        assert_eq!(self.send(method, path, "").status, 204, "{method} {path}");
    }
}

fn bye(stream: &mut Reader) -> String {
    loop {
        let event = stream.event();
        if event.name == "bye" {
            return event.json()["reason"]
                .as_str()
                .expect("a reason")
                .to_owned();
        }
    }
}

/// The server's clock is wrong from the start, and the database's is right.
fn a_server_by_a_wrong_clock(offset: &str) {
    let place = Place::new(Database::postgres(), offset);
    place.post("an hour ago");
    place
        .node
        .database
        .sql("UPDATE changes SET at = at - interval '1 hour';");
    let one = place.post("now");
    assert_eq!(place.lately(), ["now"], "since=10m");
    place.delete(one);
    place
        .node
        .database
        .sql("UPDATE deleted_topics SET deleted_at = deleted_at - interval '23 hours 59 minutes';");
    assert_eq!(place.restore(one), 200, "undo within a day");
    place.delete(one);
    place
        .node
        .database
        .sql("UPDATE deleted_topics SET deleted_at = deleted_at - interval '24 hours 1 minute';");
    assert_eq!(place.restore(one), 404, "undo after more than a day");
    let ticket = place.ticket();
    place
        .node
        .database
        .sql("UPDATE tickets SET made_at = made_at - interval '61 seconds';");
    assert_eq!(
        place.node.get(&ticket).status,
        401,
        "a ticket that nobody used for a minute"
    );
    place.everything_works();
    // A token of the terminal, whose clock is the server's.
    let mut terminal = program();
    terminal.envs(place.clock.environment()).args([
        "--database-url",
        &place.node.database.url(),
        "token",
        "create",
    ]);
    let output = terminal
        .args(["--scope", "read", "--days", "1"])
        .output()
        .expect("the program");
    assert!(output.status.success(), "{output:?}");
    let right = "SELECT expires_at BETWEEN now() + interval '23 hours' AND now() + interval '25 hours' FROM tokens ORDER BY id DESC LIMIT 1;";
    assert_eq!(place.node.database.sql(right), "t", "--days 1");
    assert_eq!(
        place.status(TOPICS, String::from_utf8_lossy(&output.stdout).trim()),
        200
    );
}

#[test]
fn a_server_ahead_of_its_database() {
    a_server_by_a_wrong_clock("+2d");
}

#[test]
fn a_server_behind_its_database() {
    a_server_by_a_wrong_clock("-2d");
}

fn everything_goes_on_when_the_clock_steps_back(database: Database) {
    everything_goes_on(&Place::new(database, "+0"), "-2d");
}

fn everything_goes_on_when_the_clock_steps_forward(database: Database) {
    everything_goes_on(&Place::new(database, "+0"), "+2d");
}

fn everything_goes_on(place: &Place, offset: &str) {
    let (deleted, long, ticket) = (
        place.post("deleted"),
        place.token(TimeDelta::hours(1)),
        place.ticket(),
    );
    place.delete(deleted);
    assert_eq!(place.status(TOPICS, &long), 200);
    let mut stream = place.open(STREAM, &place.admin);
    let mut mirror = Mirror::default();
    mirror.take(&stream.event());
    place.clock.set(offset);
    // Later, on SQLite, is later for everything: there the database's clock was set.
    let (theirs, later) = (place.node.database.is_postgres(), offset.starts_with('+'));
    let lasts = theirs || !later;
    assert_eq!(place.restore(deleted) == 200, lasts, "undo from before");
    assert_eq!(
        place.status(TOPICS, &long) == 200,
        lasts,
        "a token from before"
    );
    assert_eq!(
        place.node.get(&format!("{TOPICS}?limit=1")).status,
        404,
        "the board is still private"
    );
    if lasts {
        assert_eq!(
            place.node.stream(&ticket).event().name,
            "snapshot",
            "a ticket from before"
        );
    } else {
        assert_eq!(place.node.get(&ticket).status, 401, "a ticket from before");
    }
    place.post("after the step");
    assert!(
        place
            .lately()
            .iter()
            .any(|comment| comment == "after the step"),
        "since=10m"
    );
    place.everything_works();
    while !mirror.comments().contains(&"after the step") {
        mirror.take(&stream.event());
    }
}

fn what_was_seen_to_be_over_stays_over(database: Database) {
    let place = Place::new(database, "+0");
    let (token, ticket) = (place.token(TimeDelta::seconds(2)), place.ticket());
    assert_eq!(place.status(TOPICS, &token), 200);
    let age = if place.node.database.is_postgres() {
        "made_at - interval '61 seconds'"
    } else {
        "datetime(made_at, '-61 seconds')"
    };
    place
        .node
        .database
        .sql(&format!("UPDATE tickets SET made_at = {age};"));
    assert_eq!(place.node.get(&ticket).status, 401, "too late");
    let began = Instant::now();
    while place.status(TOPICS, &token) == 200 {
        assert!(began.elapsed() < Duration::from_secs(5), "it does not end");
        std::thread::park_timeout(Duration::from_millis(50));
    }
    place.clock.set("-2d");
    assert_eq!(place.status(TOPICS, &token), 401, "the token is good again");
    assert_eq!(
        place.node.get(&ticket).status,
        401,
        "the ticket is good again"
    );
    // Who puts its end off means it.
    let later = if place.node.database.is_postgres() {
        "now() + interval '1 hour'"
    } else {
        "datetime('now', '+1 hour')"
    };
    place.node.database.sql(&format!(
        "UPDATE tokens SET expires_at = {later} WHERE expires_at IS NOT NULL;"
    ));
    let began = Instant::now();
    while place.status(TOPICS, &token) != 200 {
        assert!(
            began.elapsed() < Duration::from_secs(3),
            "its end was put off"
        );
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

fn a_stream_ends_with_its_token_although_the_clock_steps_back(database: Database) {
    let place = Place::new(database, "+0");
    let token = place.token(TimeDelta::seconds(3));
    let (mut stream, began) = (place.open(STREAM, &token), Instant::now());
    assert_eq!(stream.event().name, "snapshot");
    place.clock.set("-2d");
    assert_eq!(bye(&mut stream), "auth");
    assert!(
        began.elapsed() < Duration::from_secs(6),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(
        place.status(TOPICS, &token),
        401,
        "and it does not come back"
    );
    assert_eq!(place.node.send("GET", STREAM, JSON, "").status, 404);
}

/// Heartbeats come, and a client that posts too much has to wait just as long, whatever happens to the clock.
fn what_only_counts_time_does_not_look_at_the_clock(database: Database) {
    let clock = WrongClock::new("+0");
    let settings = [
        ("KAIRANBAN_STREAM__HEARTBEAT_S", "1"),
        ("KAIRANBAN_LIMITS__POSTS_PER_CLIENT_BURST", "3"),
        ("KAIRANBAN_LIMITS__POSTS_PER_CLIENT_PER_S", "1"),
    ];
    let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let node = Node::start_in(database, [clock.environment(), settings.to_vec()].concat());
    let mut stream = node.stream(STREAM);
    stream.event();
    for offset in ["+2d", "-2d"] {
        while node.send("POST", "/", "text/plain", "x").status == 201 {}
        let began = Instant::now();
        clock.set(offset);
        let mut posts = 0;
        while began.elapsed() < Duration::from_millis(2_500) {
            posts += u32::from(node.send("POST", "/", "text/plain", "x").status == 201);
            std::thread::park_timeout(Duration::from_millis(50));
        }
        assert!(
            (1..=3).contains(&posts),
            "{posts} posts in 2.5 s, one a second is allowed ({offset})"
        );
        while stream.raw(Duration::from_millis(10)).is_some() {}
        let began = Instant::now();
        while !stream
            .raw(Duration::from_secs(3))
            .expect("a heartbeat")
            .comment
        {}
        assert!(
            began.elapsed() < Duration::from_secs(3),
            "a heartbeat ({offset})"
        );
    }
}
