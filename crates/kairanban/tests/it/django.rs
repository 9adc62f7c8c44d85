//! A real Django site beside the server, used through the forms of its admin: whatever time zone it lives in, both show the
//! same text and the same moments, and a topic says that it was edited when it was.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Lines, Write as _},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::{Duration, Instant},
};

use chrono::{DateTime, SubsecRound as _, TimeDelta, Utc};
use serde_json::{Value, json};

use crate::node::{Database, Node};

crate::on_both!(
    an_admin_in_tokyo_moves_no_time,
    an_admin_in_utc_moves_no_time,
    an_admin_without_time_zones_moves_no_time,
    what_was_dumped_is_loaded_with_its_times,
    an_import_ahead_of_the_sequence_hides_nothing,
);

/// The ways in which sites describe the table of topics.
const MODELS: [&str; 3] = ["topic", "tutorialtopic", "wholetopic"];
const TOPICS: &str = "/api/v1/boards/main/topics";

struct Site {
    process: Child,
    steps: Option<ChildStdin>,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Site {
    /// `time_zone` is where its people live; one that does not think in UTC writes what the clocks there show.
    fn start(database: &Database, time_zone: &str, use_tz: bool) -> Self {
        let python = std::env::var("KAIRANBAN_TEST_PYTHON")
            .expect("KAIRANBAN_TEST_PYTHON, a Python with Django; scripts/test sets it");
        let mut process = Command::new(python)
            .arg("steps.py")
            .current_dir(concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/tests/foreign/django_site"
            ))
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("BOARD_DATABASE_URL", database.url())
            .env("BOARD_TIME_ZONE", time_zone)
            .env("BOARD_USE_TZ", if use_tz { "yes" } else { "no" })
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python");
        let answers = BufReader::new(process.stdout.take().expect("a pipe")).lines();
        let mut site = Self {
            steps: process.stdin.take(),
            process,
            answers,
        };
        assert_eq!(site.answer(), "ready");
        site
    }

    fn answer(&mut self) -> Value {
        let line = self
            .answers
            .next()
            .and_then(Result::ok)
            .expect("the site failed; see what it said");
        serde_json::from_str(&line).expect("JSON")
    }

    fn step(&mut self, step: Value) -> Value {
        writeln!(self.steps.as_mut().expect("a pipe"), "{step}").expect("written");
        self.answer()
    }

    fn topic(&mut self, step: Value) -> Seen {
        Seen::of(&self.step(step))
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        // At the end of its input it ends.
        drop(self.steps.take());
        let _ = self.process.wait();
    }
}

/// A topic as somebody sees it. JSON of Django has milliseconds.
#[derive(Clone, Debug, PartialEq)]
struct Seen {
    id: u64,
    comment: String,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl Seen {
    fn of(topic: &Value) -> Self {
        let time = |key: &str| {
            let time = topic[key]
                .as_str()
                .and_then(|text| text.parse::<DateTime<Utc>>().ok());
            time.unwrap_or_else(|| panic!("{key} of {topic}"))
                .trunc_subsecs(3)
        };
        Self {
            id: topic["id"].as_u64().expect("an id"),
            comment: topic["comment"].as_str().expect("a comment").to_owned(),
            created_at: time("created_at"),
            updated_at: time("updated_at"),
        }
    }
}

fn is_now(time: DateTime<Utc>) -> bool {
    (Utc::now() - time).abs() < TimeDelta::seconds(20)
}

/// The board as REST shows it.
fn shown(node: &Node) -> BTreeMap<u64, Seen> {
    let list = node.get(TOPICS).json();
    list["topics"]
        .as_array()
        .expect("topics")
        .iter()
        .map(Seen::of)
        .map(|topic| (topic.id, topic))
        .collect()
}

/// Which topics say that they were edited, while nothing happens.
fn edited(node: &Node) -> Vec<u64> {
    let list = node.get(TOPICS).json();
    let edited = list["topics"]
        .as_array()
        .expect("topics")
        .iter()
        .filter(|topic| !topic["edited_at"].is_null())
        .map(|topic| {
            let time = topic["edited_at"]
                .as_str()
                .and_then(|text| text.parse().ok());
            assert!(time.is_some_and(is_now), "{topic}");
            topic["id"].as_u64().expect("an id")
        });
    let edited: Vec<_> = edited.collect();
    // A page says it, too.
    let page = node.get("/b/main").body;
    assert_eq!(
        page.matches(r#" <i class="edited">"#).count(),
        edited.len() + 1,
        "and the template's: {list} {page}"
    );
    edited
}

/// Waits until the board shows a topic so, or (without one) not at all.
fn await_topic(node: &Node, id: u64, expected: Option<&Seen>) {
    let began = Instant::now();
    loop {
        let topics = shown(node);
        if topics.get(&id) == expected {
            return;
        }
        let late = began.elapsed() > Duration::from_secs(3);
        assert!(
            !late,
            "the board shows {:?}, and Django {expected:?}",
            topics.get(&id)
        );
        std::thread::park_timeout(Duration::from_millis(10));
    }
}

fn an_admin_in_tokyo_moves_no_time(database: Database) {
    an_admin_moves_no_time(database, "Asia/Tokyo", true);
}

fn an_admin_in_utc_moves_no_time(database: Database) {
    an_admin_moves_no_time(database, "UTC", true);
}

/// Such a site says nothing of its zone to a SQLite file, whose times are UTC: there it has to live in UTC.
fn an_admin_without_time_zones_moves_no_time(database: Database) {
    let time_zone = if database.is_postgres() {
        "Asia/Tokyo"
    } else {
        "UTC"
    };
    an_admin_moves_no_time(database, time_zone, false);
}

fn an_admin_moves_no_time(database: Database, time_zone: &str, use_tz: bool) {
    let node = Node::start(database);
    let mut site = Site::start(&node.database, time_zone, use_tz);
    let ours = node.post("by the server");
    for model in MODELS {
        let seen = shown(&node)[&ours].clone();
        assert_eq!(
            site.topic(json!(["read", model, ours])),
            seen,
            "{model}: Django reads what the board shows"
        );

        // By its form, and by its ORM: nothing but a comment, if its model lets it.
        let board = if model == "wholetopic" {
            json!({"comment": "new", "board": "1"})
        } else {
            json!({"comment": "new"})
        };
        let mut made = vec![site.topic(json!(["add", model, board]))];
        if model != "wholetopic" {
            made.push(site.topic(json!(["create", model, {"comment": "created"}])));
        }
        for topic in &made {
            assert!(
                is_now(topic.created_at) || model == "wholetopic",
                "{model}: {topic:?}"
            );
            await_topic(&node, topic.id, Some(topic));
        }
        assert_eq!(
            edited(&node),
            [] as [u64; 0],
            "{model}: a new topic says that it was edited"
        );

        // Saving what is there, ours and theirs, twice.
        for before in [&seen, &made[0], &seen] {
            let saved = site.topic(json!(["save", model, before.id, {}]));
            assert_eq!(
                (&saved.comment, whole(&saved)),
                (&before.comment, whole(before)),
                "{model}"
            );
            assert!(
                is_now(saved.updated_at) || saved.updated_at == before.updated_at,
                "{model}: {saved:?}"
            );
            await_topic(&node, before.id, Some(&saved));
        }
        assert_eq!(
            edited(&node),
            [] as [u64; 0],
            "{model}: saved as it was, and it says that it was edited"
        );

        let id = made[0].id;
        let changed = site.topic(json!(["save", model, id, {"comment": "changed"}]));
        assert_eq!(
            (changed.comment.as_str(), whole(&changed)),
            ("changed", whole(&made[0])),
            "{model}"
        );
        assert!(is_now(changed.updated_at), "{model}: {changed:?}");
        await_topic(&node, id, Some(&changed));
        assert_eq!(edited(&node), [id], "{model}");

        site.step(json!(["delete", model, id]));
        await_topic(&node, id, None);
        let ids: Vec<_> = made[1..]
            .iter()
            .map(|topic| topic.id)
            .chain([node.post("x"), node.post("y")])
            .collect();
        site.step(json!(["bulk_delete", model, ids]));
        for id in ids {
            await_topic(&node, id, None);
        }
    }
}

/// Who writes text into a SQLite file writes UTC, or is not understood: there is no zone in it.
#[test]
fn a_sqlite_file_takes_every_time_for_utc() {
    let node = Node::start(Database::sqlite());
    let mut site = Site::start(&node.database, "Asia/Tokyo", false);
    let nine_hours = TimeDelta::hours(9);
    // The database's own times are right on the board, and Django takes them for those of Tokyo.
    let read = site.topic(json!(["add", "topic", {"comment": "new"}]));
    let seen = shown(&node)[&read.id].clone();
    assert!(is_now(seen.created_at), "{seen:?}");
    assert_eq!(seen.created_at - read.created_at, nine_hours);
    // And the other way round.
    let read = site.topic(json!(["add", "tutorialtopic", {"comment": "new"}]));
    let began = Instant::now();
    while !shown(&node).contains_key(&read.id) {
        assert!(
            began.elapsed() < Duration::from_secs(3),
            "{read:?} is not shown"
        );
    }
    assert!(is_now(read.created_at), "{read:?}");
    assert_eq!(
        shown(&node)[&read.id].created_at - read.created_at,
        nine_hours
    );
}

/// The models that we advise are those that are tried here.
#[test]
fn the_documented_models_are_in_use() {
    let document = include_str!("../../../../docs/API.md");
    let advised = document
        .split("```python\n")
        .nth(1)
        .and_then(|rest| rest.split("```").next())
        .expect("a block of Python");
    let used = include_str!("../foreign/django_site/board/models.py");
    assert!(used.contains(advised.trim()), "{advised}");
}

/// A form shows a time to the second, and one that is edited by hand is saved so.
fn whole(topic: &Seen) -> DateTime<Utc> {
    topic.created_at.trunc_subsecs(0)
}

fn fresh(database: &Database) -> Database {
    if database.is_postgres() {
        Database::postgres()
    } else {
        Database::sqlite()
    }
}

/// Dumps the boards of `from` and loads them into another server's database; gives that server.
fn moved(from: &Node, site: &mut Site) -> Node {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("boards.json");
    site.step(json!(["dump", path]));
    let node = Node::start(fresh(&from.database));
    Site::start(&node.database, "Asia/Tokyo", true).step(json!(["load", path]));
    let (expected, began) = (shown(from), Instant::now());
    while shown(&node) != expected {
        let differs = || {
            expected
                .iter()
                .find(|(id, topic)| shown(&node).get(id) != Some(*topic))
        };
        assert!(
            began.elapsed() < Duration::from_secs(3),
            "it was {:?}",
            differs()
        );
        std::thread::park_timeout(Duration::from_millis(10));
    }
    node
}

/// Each post is taken, gets an id behind all that are there, and is shown.
fn posts_come_last(node: &Node, behind: u64) {
    let mut last = behind;
    for n in 0..6 {
        let id = node.post(&format!("post {n}"));
        assert!(id > last, "{id} after {last}");
        assert!(shown(node).contains_key(&id), "{id} is shown");
        last = id;
    }
}

fn what_was_dumped_is_loaded_with_its_times(database: Database) {
    let node = Node::start(database);
    let mut site = Site::start(&node.database, "Asia/Tokyo", true);
    (1..=9).for_each(|n| assert_eq!(node.post(&format!("topic {n}")), n));
    assert_eq!(
        site.topic(json!(["add", "wholetopic", {"comment": "by a form", "board": "1"}]))
            .id,
        10
    );
    let again = moved(&node, &mut site);
    posts_come_last(&again, 10);
    let now = |node: &Node| node.post("and on");
    assert_eq!([now(&node), now(&again)], [11, 17]);
}

fn an_import_ahead_of_the_sequence_hides_nothing(database: Database) {
    let node = Node::start(database);
    let mut site = Site::start(&node.database, "UTC", true);
    site.step(json!(["bulk_create", (1_001..=1_500).collect::<Vec<_>>()]));
    let began = Instant::now();
    while !shown(&node).contains_key(&1_500) {
        assert!(
            began.elapsed() < Duration::from_secs(3),
            "the import is not shown"
        );
        std::thread::park_timeout(Duration::from_millis(10));
    }
    let again = moved(&node, &mut site);
    posts_come_last(&node, 1_500);
    posts_come_last(&again, 1_500);
}
