//! One update in every format.

mod ndjson;

use std::time::Duration;

use crate::{
    node::{Database, Node},
    sse::Reader,
};

crate::on_both!(
    every_format_sends_the_same_change,
    a_format_that_does_not_exist_is_refused,
);

/// The streams of one board, one of each format.
struct StreamsOfEachFormat {
    list: Reader,
    patch: Reader,
    html: Reader,
    turbo: Reader,
    raw: Reader,
}

impl StreamsOfEachFormat {
    fn open(node: &Node) -> Self {
        let [list, patch, html, turbo, raw] = ["list", "patch", "html", "turbo", "raw"]
            .map(|format| node.stream(&format!("/b/main/stream?format={format}")));
        Self {
            list,
            patch,
            html,
            turbo,
            raw,
        }
    }

    /// Each begins with the whole board, but `raw`, which has only what is new.
    fn begin_with_the_board(&mut self, first: u64) {
        assert_eq!(self.list.event().name, "");
        assert_eq!(self.patch.event().name, "snapshot");
        let html = self.html.event();
        assert_eq!(html.name, "snapshot");
        let topic = format!(r#"<li id="topic-{first}"><p class="comment" dir="auto">first</p>"#);
        assert!(html.data.starts_with(&topic), "{html:?}");
        let turbo = self.turbo.event();
        assert_eq!(turbo.name, "");
        let update = r#"<turbo-stream action="update" target="topics"><template><li id="topic-"#;
        assert!(turbo.data.starts_with(update), "{turbo:?}");
    }

    /// Returns the cursor that all of them have for the topic `<b>two</b>\nlines`.
    fn show_the_second_topic(&mut self) -> String {
        let [list, patch, html, turbo, raw] = [
            &mut self.list,
            &mut self.patch,
            &mut self.html,
            &mut self.turbo,
            &mut self.raw,
        ]
        .map(Reader::event);
        assert!(
            html.data
                .contains(r#"<ul hx-swap-oob="beforeend:#topics"><li id="topic-2">"#)
                && !html.data.contains("<b>two"),
            "{html:?}"
        );
        assert!(
            turbo
                .data
                .contains(r#"<turbo-stream action="append" target="topics">"#),
            "{turbo:?}"
        );
        assert_eq!(raw.data, "<b>two</b>lines", "the reader joins lines");
        let cursor = list.id.expect("a cursor");
        for other in [patch.id, html.id, turbo.id, raw.id] {
            assert_eq!(other.as_ref(), Some(&cursor), "one cursor");
        }
        cursor
    }

    fn show_that_a_topic_is_deleted(&mut self, id: u64) {
        let html = self.html.event().data;
        let deleted = format!(r#"<li id="topic-{id}" hx-swap-oob="delete"></li>"#);
        assert!(html.starts_with(&deleted), "{html}");
        let turbo = self.turbo.event().data;
        let removed = format!(r#"<turbo-stream action="remove" target="topic-{id}">"#);
        assert!(turbo.starts_with(&removed), "{turbo}");
        self.raw.quiet_for(Duration::from_millis(200));
    }
}

fn every_format_sends_the_same_change(database: Database) {
    let node = Node::start(database);
    let first = node.post("first");
    let mut streams = StreamsOfEachFormat::open(&node);
    streams.begin_with_the_board(first);
    let second = node.post("<b>two</b>\nlines");
    let cursor = streams.show_the_second_topic();
    node.database
        .sql(&format!("DELETE FROM topics WHERE id = {first};"));
    streams.show_that_a_topic_is_deleted(first);
    // And from the cursor on, in each.
    for format in ["patch", "html", "turbo"] {
        let missed = node
            .resume(&format!("/b/main/stream?format={format}"), &cursor)
            .event();
        assert!(
            missed.data.contains(&format!("{first}"))
                && !missed.data.contains(&format!("topic-{second}\">")),
            "{format}: {missed:?}"
        );
    }
    let earliest = node
        .stream("/b/main/stream?format=raw&since=earliest")
        .event();
    assert_eq!(earliest.data, "<b>two</b>lines");
}

fn a_format_that_does_not_exist_is_refused(database: Database) {
    let node = Node::start(database);
    for wrong in ["format=xml", "heartbeat=loud"] {
        assert_eq!(
            node.get(&format!("/b/main/stream?{wrong}")).status,
            400,
            "{wrong}"
        );
    }
}

/// What another project's parser of feeds reads.
fn parsed(feed: &std::path::Path) -> String {
    let script = r"
import sys, feedparser
feed = feedparser.parse(sys.argv[1])
links = {link.rel: link.href for link in feed.feed.links}
print(feed.bozo, feed.feed.title, feed.feed.id, links['alternate'], links['self'])
for entry in feed.entries:
    print(entry.id, entry.title, entry.get('author'), entry.link, entry.content[0].value.count(chr(10)))
";
    let python = std::env::var("KAIRANBAN_TEST_PYTHON").expect("scripts/test sets it");
    let read = std::process::Command::new(python)
        .args(["-c", script])
        .arg(feed)
        .output()
        .expect("Python");
    assert!(
        read.status.success(),
        "{}",
        String::from_utf8_lossy(&read.stderr)
    );
    String::from_utf8_lossy(&read.stdout).into_owned()
}

#[test]
fn a_board_has_a_feed() {
    let node = Node::start_with(
        Database::sqlite(),
        &[("SERVER__PUBLIC_URL", "https://board.example")],
    );
    node.post("first & foremost\nsecond line");
    node.database.sql(
        "INSERT INTO topics (board_id, comment, author) VALUES (1, 'bell' || char(7), '<ann>');",
    );
    let feed = std::iter::repeat_with(|| node.get("/b/main/feed.xml"))
        .find(|feed| feed.body.contains("bell"))
        .expect("the feed");
    assert_eq!(
        feed.header("content-type"),
        Some("application/atom+xml; charset=utf-8")
    );
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), &feed.body).expect("written");
    let cursor = node.stream("/b/main/stream").event().id.expect("a cursor");
    let epoch = cursor.split('-').next().expect("an epoch");
    let expected = format!(
        "False main urn:kairanban:{epoch}:main https://board.example/b/main https://board.example/b/main/feed.xml
urn:kairanban:{epoch}:main:2 bell <ann> https://board.example/b/main/topics/2 0
urn:kairanban:{epoch}:main:1 first & foremost None https://board.example/b/main/topics/1 1
"
    );
    assert_eq!(parsed(file.path()), expected);
    let tag = feed.header("etag").expect("a tag");
    assert_eq!(
        node.get_with("/b/main/feed.xml", &[("If-None-Match", tag)])
            .status,
        304
    );
    assert_eq!(node.get("/b/nowhere/feed.xml").status, 404);
}

/// A reader of feeds shows it by its title, which may change while no topic does.
#[test]
fn a_feed_has_the_title_of_its_board() {
    let node = Node::start(Database::sqlite());
    let admin = node.token(&["create", "--scope", "admin"]);
    node.post("a/b & c/d");
    let file = tempfile::NamedTempFile::new().expect("a file");
    let title = |feed: &str| {
        std::fs::write(file.path(), feed).expect("written");
        let read = parsed(file.path());
        let title = read
            .strip_prefix("False ")
            .and_then(|read| read.split_once(" urn:"));
        title.expect("a title").0.to_owned()
    };
    let before = node.get("/b/main/feed.xml");
    assert_eq!(title(&before.body), "main");
    assert!(!before.body.contains("&#x2f;"), "{before:?}");
    assert!(
        before.body.contains("<title>a/b &amp; c/d</title>"),
        "{before:?}"
    );
    let known = [("If-None-Match", before.header("etag").expect("a tag"))];
    for text in ["<Lost> & found / 迷子", "&#x2f;", "it's \"here\""] {
        let body = serde_json::json!({ "title": text }).to_string();
        let changed = node.send_as("PATCH", "/api/v1/boards/main", &admin, &[], &body);
        assert_eq!(changed.status, 200, "{changed:?}");
        let shown = std::iter::repeat_with(|| node.get_with("/b/main/feed.xml", &known))
            .take(5_000)
            .find(|feed| feed.status == 200 && title(&feed.body) == text);
        let tag = shown
            .expect("the feed")
            .header("etag")
            .expect("a tag")
            .to_owned();
        let known = [("If-None-Match", tag.as_str())];
        assert_eq!(node.get_with("/b/main/feed.xml", &known).status, 304);
    }
}

#[test]
fn heartbeats_can_be_seen_by_a_script() {
    let node = Node::start_with(Database::sqlite(), &[("STREAM__HEARTBEAT_S", "1")]);
    let mut stream = node.stream("/b/main/stream?format=patch&since=now&heartbeat=event");
    for _ in 0..2 {
        let event = stream.event();
        assert_eq!((event.name.as_str(), event.id), ("heartbeat", None));
    }
}

#[test]
fn a_topic_can_have_a_template_of_ones_own() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("topic.html");
    std::fs::write(
        &file,
        "<li id=\"topic-{{ id }}\" class=\"mine\">{{ comment }}</li>",
    )
    .expect("written");
    let node = Node::start_with(
        Database::sqlite(),
        &[("BOARD__TOPIC_TEMPLATE", file.to_str().expect("a path"))],
    );
    node.post("a & b");
    assert_eq!(
        node.stream("/b/main/stream?format=html").event().data,
        r#"<li id="topic-1" class="mine">a &amp; b</li>"#
    );
}
