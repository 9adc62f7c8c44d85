//! A server beside a clock of the test's own, and everything that it does with time.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use chrono::{DateTime, TimeDelta, Utc};

use super::{STREAM, TOPICS};
use crate::{
    node::{Database, Node},
    sse::Reader,
    wire,
};

/// A server's own clock, to be set at will.
pub(super) struct WrongClock {
    folder: tempfile::TempDir,
}

impl WrongClock {
    /// `offset` as libfaketime reads it: `+2d`.
    pub(super) fn new(offset: &str) -> Self {
        let clock = Self {
            folder: tempfile::tempdir().expect("a folder"),
        };
        clock.set(offset);
        clock
    }

    pub(super) fn set(&self, offset: &str) {
        // Whole, or not at all: it is read at any moment.
        let (new, file) = (
            self.folder.path().join("new"),
            self.folder.path().join("offset"),
        );
        std::fs::write(&new, offset).expect("written");
        std::fs::rename(new, file).expect("in its place");
    }

    pub(super) fn environment(&self) -> Vec<(String, String)> {
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
pub(super) struct Place {
    pub(super) clock: WrongClock,
    pub(super) node: Node,
    pub(super) admin: String,
}

impl Place {
    pub(super) fn new(database: Database, offset: &str) -> Self {
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

    pub(super) fn post(&self, comment: &str) -> u64 {
        self.json("POST", TOPICS, &format!(r#"{{"comment":"{comment}"}}"#))["id"]
            .as_u64()
            .expect("an id")
    }

    /// Makes a token that ends that long from now, by the database's clock.
    pub(super) fn token(&self, left: TimeDelta) -> String {
        let end = (self.now() + left).to_rfc3339();
        let made = self.json(
            "POST",
            "/api/v1/tokens",
            &format!(r#"{{"name":"x","scope":"read","expires_at":"{end}"}}"#),
        );
        made["token"].as_str().expect("a token").to_owned()
    }

    pub(super) fn ticket(&self) -> String {
        let made = self.json("POST", "/api/v1/tickets", r#"{"board":"main"}"#);
        format!(
            "{STREAM}&ticket={}",
            made["ticket"].as_str().expect("a ticket")
        )
    }

    pub(super) fn status(&self, path: &str, token: &str) -> u16 {
        self.node.send_as("GET", path, token, &[], "").status
    }

    pub(super) fn open(&self, path: &str, token: &str) -> Reader {
        Reader::open(
            self.node.address,
            path,
            &[("Authorization", &format!("Bearer {token}"))],
        )
    }

    /// What a reader sees who asks for the last ten minutes.
    pub(super) fn lately(&self) -> Vec<String> {
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

    pub(super) fn delete(&self, topic: u64) {
        assert_eq!(
            self.send("DELETE", &format!("{TOPICS}/{topic}"), "").status,
            204
        );
    }

    pub(super) fn restore(&self, topic: u64) -> u16 {
        self.send("POST", &format!("{TOPICS}/{topic}/restore"), "")
            .status
    }

    /// Does everything that has to do with time.
    pub(super) fn everything_works(&self) {
        self.topics_are_made_and_restored();
        self.a_key_and_a_ticket_last();
        self.tokens_end_when_they_should();
        self.what_is_noted_of_a_token_has_the_right_time();
    }

    /// Whether a time in an answer is the database's, give or take.
    fn is_now(&self, time: &serde_json::Value) -> bool {
        let time: DateTime<Utc> = time
            .as_str()
            .and_then(|text| text.parse().ok())
            .unwrap_or_else(|| panic!("no time: {time}"));
        (self.now() - time).abs() < TimeDelta::seconds(20)
    }

    fn topics_are_made_and_restored(&self) {
        let made = self.json("POST", TOPICS, r#"{"comment":"a topic"}"#);
        assert!(self.is_now(&made["created_at"]), "{made}");
        let id = made["id"].as_u64().expect("an id");
        self.delete(id);
        assert_eq!(self.restore(id), 200, "undo of what was deleted just now");
    }

    fn a_key_and_a_ticket_last(&self) {
        let headers = [("Idempotency-Key", "k")];
        let [first, second] = [(); 2].map(|()| {
            let body = r#"{"comment":"once"}"#;
            let posted = self
                .node
                .send_as("POST", TOPICS, &self.admin, &headers, body);
            posted.json()["id"].clone()
        });
        assert_eq!(first, second, "a repeated request");
        let ticket = self.ticket();
        for time in ["first", "second"] {
            assert_eq!(
                self.node.stream(&ticket).event().name,
                "snapshot",
                "the {time} use of a ticket"
            );
        }
    }

    /// Tokens: good, soon over, over, dead at birth.
    fn tokens_end_when_they_should(&self) {
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
    }

    fn what_is_noted_of_a_token_has_the_right_time(&self) {
        let listed = self.json("GET", "/api/v1/tokens?limit=500", "");
        let last = listed["tokens"]
            .as_array()
            .and_then(|tokens| tokens.last())
            .expect("a token");
        assert!(
            ["last_used_at", "created_at", "expires_at"].map(|key| self.is_now(&last[key]))
                == [true; 3],
            "{last}"
        );
        let path = format!("/api/v1/tokens/{}", last["id"]);
        assert_eq!(self.send("DELETE", &path, "").status, 204);
        let revoked = self.json("GET", &path, "");
        assert!(self.is_now(&revoked["revoked_at"]), "{revoked}");
        let audit = self.json("GET", "/api/v1/audit?limit=1", "");
        assert!(self.is_now(&audit["entries"][0]["at"]), "{audit}");
    }
}

pub(super) fn bye(stream: &mut Reader) -> String {
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
