//! A real Django site beside the server, used through the forms of its admin: whatever time zone it
//! lives in, both show the same text and the same moments, and a topic says that it was edited when
//! it was.

mod moved;

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
    /// `time_zone` is where its people live; one that does not think in UTC writes what the clocks
    /// there show.
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

    fn topic(&mut self, step: Value) -> SeenTopic {
        SeenTopic::of(&self.step(step))
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        // At the end of its input it ends.
        drop(self.steps.take());
        let _ = self.process.wait();
    }
}

/// A topic as a program sees it. JSON of Django has milliseconds.
#[derive(Clone, Debug, PartialEq)]
struct SeenTopic {
    id: u64,
    comment: String,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl SeenTopic {
    fn of(topic: &Value) -> Self {
        Self {
            id: topic["id"].as_u64().expect("an id"),
            comment: topic["comment"].as_str().expect("a comment").to_owned(),
            created_at: time_of(topic, "created_at"),
            updated_at: time_of(topic, "updated_at"),
        }
    }
}

fn time_of(topic: &Value, key: &str) -> DateTime<Utc> {
    let time: Option<DateTime<Utc>> = topic[key].as_str().and_then(|text| text.parse().ok());
    time.unwrap_or_else(|| panic!("{key} of {topic}"))
        .trunc_subsecs(3)
}

fn is_now(time: DateTime<Utc>) -> bool {
    (Utc::now() - time).abs() < TimeDelta::seconds(20)
}

/// The board as REST shows it.
fn shown(node: &Node) -> BTreeMap<u64, SeenTopic> {
    let list = node.get(TOPICS).json();
    list["topics"]
        .as_array()
        .expect("topics")
        .iter()
        .map(SeenTopic::of)
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
        page.matches(r#"<i class="edited" data-at="#).count(),
        edited.len(),
        "{list} {page}"
    );
    edited
}

/// Waits until the board shows a topic so, or (without one) not at all.
fn await_topic(node: &Node, id: u64, expected: Option<&SeenTopic>) {
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

/// Such a site says nothing of its zone to a SQLite file, whose times are UTC: there it has to live
/// in UTC.
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
    let site = Site::start(&node.database, time_zone, use_tz);
    let ours = node.post("by the server");
    let mut pair = Pair { node, site };
    for model in MODELS {
        let seen = shown(&pair.node)[&ours].clone();
        assert_eq!(
            pair.site.topic(json!(["read", model, ours])),
            seen,
            "{model}: Django reads what the board shows"
        );
        let made = pair.make_topics(model);
        for before in [&seen, &made[0], &seen] {
            pair.save_what_is_there(model, before);
        }
        assert_eq!(
            edited(&pair.node),
            [] as [u64; 0],
            "{model}: saved as it was, and it says that it was edited"
        );
        pair.edit(model, &made[0]);
        pair.delete(model, &made);
    }
}

/// A server and a site that use one database.
struct Pair {
    node: Node,
    site: Site,
}

impl Pair {
    /// Makes a topic by the form of its model, and one by its ORM if its model lets it: nothing but
    /// a comment.
    fn make_topics(&mut self, model: &str) -> Vec<SeenTopic> {
        let has_all_columns = model == "wholetopic";
        let form = if has_all_columns {
            json!({"comment": "new", "board": "1"})
        } else {
            json!({"comment": "new"})
        };
        let mut made = vec![self.site.topic(json!(["add", model, form]))];
        if !has_all_columns {
            let step = json!(["create", model, {"comment": "created"}]);
            made.push(self.site.topic(step));
        }
        for topic in &made {
            assert!(
                is_now(topic.created_at) || has_all_columns,
                "{model}: {topic:?}"
            );
            await_topic(&self.node, topic.id, Some(topic));
        }
        assert_eq!(
            edited(&self.node),
            [] as [u64; 0],
            "{model}: a new topic says that it was edited"
        );
        made
    }

    fn save_what_is_there(&mut self, model: &str, before: &SeenTopic) {
        let saved = self.site.topic(json!(["save", model, before.id, {}]));
        assert_eq!(
            (&saved.comment, whole(&saved)),
            (&before.comment, whole(before)),
            "{model}"
        );
        assert!(
            is_now(saved.updated_at) || saved.updated_at == before.updated_at,
            "{model}: {saved:?}"
        );
        await_topic(&self.node, before.id, Some(&saved));
    }

    fn edit(&mut self, model: &str, before: &SeenTopic) {
        let step = json!(["save", model, before.id, {"comment": "changed"}]);
        let changed = self.site.topic(step);
        assert_eq!(
            (changed.comment.as_str(), whole(&changed)),
            ("changed", whole(before)),
            "{model}"
        );
        assert!(is_now(changed.updated_at), "{model}: {changed:?}");
        await_topic(&self.node, before.id, Some(&changed));
        assert_eq!(edited(&self.node), [before.id], "{model}");
    }

    /// Deletes the first topic alone, and the others with two of the server's at once.
    fn delete(&mut self, model: &str, made: &[SeenTopic]) {
        self.site.step(json!(["delete", model, made[0].id]));
        await_topic(&self.node, made[0].id, None);
        let others = made[1..].iter().map(|topic| topic.id);
        let ids: Vec<_> = others
            .chain([self.node.post("x"), self.node.post("y")])
            .collect();
        self.site.step(json!(["bulk_delete", model, ids]));
        for id in ids {
            await_topic(&self.node, id, None);
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
fn whole(topic: &SeenTopic) -> DateTime<Utc> {
    topic.created_at.trunc_subsecs(0)
}
