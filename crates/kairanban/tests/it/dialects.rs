//! One update in every dialect.

use std::{
    io::{BufReader, Write as _},
    net::TcpStream,
    time::Duration,
};

use serde_json::Value;

use crate::{
    node::{Database, Node},
    wire,
};

crate::on_both!(
    every_dialect_tells_of_the_same_change,
    lines_of_json_are_the_patch_stream
);

/// A stream of lines.
struct Lines {
    input: BufReader<TcpStream>,
    head: String,
    text: String,
}

impl Lines {
    fn open(node: &Node, path: &str, headers: &[(&str, &str)]) -> Self {
        let mut connection = wire::connect(node.address);
        connection
            .write_all(&wire::message("GET", path, headers, b""))
            .expect("sent");
        let mut input = BufReader::new(connection);
        let (status, head) = wire::read_head(&mut input);
        assert_eq!(status, 200, "{head}");
        Self {
            input,
            head,
            text: String::new(),
        }
    }

    fn raw_line(&mut self) -> String {
        loop {
            if let Some(end) = self.text.find('\n') {
                return self.text.drain(..=end).collect();
            }
            let chunk = wire::read_chunk(&mut self.input).expect("a line before the deadline");
            self.text
                .push_str(std::str::from_utf8(&chunk).expect("UTF-8"));
        }
    }

    /// The next line that says something.
    fn event(&mut self) -> Value {
        loop {
            let line = self.raw_line();
            if line != "\n" {
                return serde_json::from_str(&line)
                    .unwrap_or_else(|error| panic!("{error}: {line:?}"));
            }
        }
    }
}

fn every_dialect_tells_of_the_same_change(database: Database) {
    let node = Node::start(database);
    let first = node.post("first");
    let formats = ["list", "patch", "html", "turbo"];
    let mut streams = formats.map(|format| node.stream(&format!("/b/main/stream?format={format}")));
    let mut raw = node.stream("/b/main/stream?format=raw");
    let began = streams.each_mut().map(|stream| stream.event());
    assert_eq!(
        began.each_ref().map(|event| event.name.as_str()),
        ["", "snapshot", "snapshot", ""]
    );
    assert!(
        began[2].data.starts_with(&format!(
            r#"<li id="topic-{first}"><p class="comment" dir="auto">first</p>"#
        )),
        "{:?}",
        began[2]
    );
    assert!(
        began[3].data.starts_with(
            r#"<turbo-stream action="update" target="topics"><template><li id="topic-"#
        ),
        "{:?}",
        began[3]
    );

    let second = node.post("<b>two</b>\nlines");
    let told = streams.each_mut().map(|stream| stream.event());
    let cursors: Vec<_> = told.iter().map(|event| event.id.clone()).collect();
    assert!(
        cursors
            .windows(2)
            .all(|pair| pair[0].is_some() && pair[0] == pair[1]),
        "one cursor: {cursors:?}"
    );
    assert!(
        told[2]
            .data
            .contains(r#"<ul hx-swap-oob="beforeend:#topics"><li id="topic-2">"#)
            && !told[2].data.contains("<b>two"),
        "{:?}",
        told[2]
    );
    assert!(
        told[3]
            .data
            .contains(r#"<turbo-stream action="append" target="topics">"#),
        "{:?}",
        told[3]
    );
    let comment = raw.event();
    assert_eq!(
        (comment.data.as_str(), comment.id),
        ("<b>two</b>lines", cursors[0].clone()),
        "the reader joins lines"
    );

    node.database
        .sql(&format!("DELETE FROM topics WHERE id = {first};"));
    assert!(streams[2].event().data.starts_with(&format!(
        r#"<li id="topic-{first}" hx-swap-oob="delete"></li>"#
    )));
    assert!(streams[3].event().data.starts_with(&format!(
        r#"<turbo-stream action="remove" target="topic-{first}">"#
    )));
    raw.quiet_for(Duration::from_millis(200));
    // And from the cursor on, in each.
    let cursor = cursors[0].as_deref().expect("a cursor");
    for format in ["patch", "html", "turbo"] {
        let missed = node
            .resume(&format!("/b/main/stream?format={format}"), cursor)
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
    for wrong in ["format=xml", "heartbeat=loud"] {
        assert_eq!(
            node.get(&format!("/b/main/stream?{wrong}")).status,
            400,
            "{wrong}"
        );
    }
}

fn lines_of_json_are_the_patch_stream(database: Database) {
    let node = Node::start_with(database, &[("STREAM__HEARTBEAT_S", "1")]);
    node.post("first");
    let mut by_name = Lines::open(&node, "/b/main/stream?format=ndjson", &[]);
    let mut by_accept = Lines::open(
        &node,
        "/b/main/stream",
        &[("Accept", "application/x-ndjson")],
    );
    assert!(
        by_name
            .head
            .to_lowercase()
            .contains("content-type: application/x-ndjson"),
        "{}",
        by_name.head
    );
    for lines in [&mut by_name, &mut by_accept] {
        let list = lines.event();
        assert_eq!(
            (
                list["event"].as_str(),
                list["data"]["topics"][0]["comment"].as_str()
            ),
            (Some("snapshot"), Some("first"))
        );
    }
    assert_eq!(by_name.raw_line(), "\n", "the heartbeat");
    node.post("second");
    let change = by_name.event();
    assert_eq!(
        (
            change["event"].as_str(),
            change["data"]["ops"][0]["op"].as_str()
        ),
        (Some("patch"), Some("set"))
    );
    let cursor = change["id"].as_str().expect("a cursor").to_owned();
    let mut visible = Lines::open(
        &node,
        "/b/main/stream?format=ndjson&heartbeat=event",
        &[("Last-Event-ID", &cursor)],
    );
    assert_eq!(visible.event()["event"], "heartbeat");
    let mut reset = Lines::open(
        &node,
        "/b/main/stream?format=ndjson",
        &[("Last-Event-ID", "junk")],
    );
    assert_eq!(
        (
            reset.event()["data"]["reason"].clone(),
            reset.event()["event"].clone()
        ),
        ("invalid".into(), "snapshot".into())
    );
    assert_eq!(
        node.get_with(
            "/b/main/stream?format=ndjson",
            &[("Accept", "text/event-stream")]
        )
        .status,
        406
    );
    node.terminate();
    let bye = std::iter::repeat_with(|| by_name.event())
        .find(|event| event["event"] == "bye")
        .expect("bye");
    assert!(
        bye["data"]["reason"] == "shutdown" && bye["data"]["retry_ms"].as_u64() >= Some(2_000),
        "{bye}"
    );
}

#[test]
fn a_board_has_a_feed() {
    let node = Node::start(Database::sqlite());
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
    // Read by somebody else's parser.
    let script = "import sys, xml.etree.ElementTree as tree\natom = '{http://www.w3.org/2005/Atom}'\n\
        for entry in tree.parse(sys.argv[1]).getroot().iter(atom + 'entry'):\n\
        \x20   print(entry.findtext(atom + 'title'), entry.findtext(f'{atom}author/{atom}name'), entry.findtext(atom + 'content').count('\\n'))";
    let read = std::process::Command::new("python3")
        .args(["-c", script])
        .arg(file.path())
        .output()
        .expect("python3");
    assert_eq!(
        String::from_utf8_lossy(&read.stdout),
        "bell <ann> 0\nfirst & foremost None 1\n",
        "{}",
        String::from_utf8_lossy(&read.stderr)
    );
    let tag = feed.header("etag").expect("a tag");
    assert_eq!(
        node.get_with("/b/main/feed.xml", &[("If-None-Match", tag)])
            .status,
        304
    );
    assert_eq!(node.get("/b/nowhere/feed.xml").status, 404);
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
