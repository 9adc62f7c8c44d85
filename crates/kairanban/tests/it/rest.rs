//! `/api/v1` beyond the live list: pages, search, one topic, the log, waiting for news.

use std::{
    thread,
    time::{Duration, Instant},
};

use crate::{
    node::{Database, Node},
    wire::Answer,
};

crate::on_both!(
    all_topics_can_be_paged_through,
    topics_can_be_searched,
    one_topic_has_an_address,
    the_log_lists_what_happened,
    the_log_does_not_begin_at_what_is_not_in_it,
    waiting_ends_with_news_or_with_the_time,
    a_list_from_a_node_that_is_ahead_is_not_replaced,
    queries_that_cannot_be_read_are_refused,
);

const TOPICS: &str = "/api/v1/boards/main/topics";
const CHANGES: &str = "/api/v1/boards/main/changes";

fn next(answer: &Answer) -> Option<String> {
    let link = answer.header("link")?;
    Some(
        link.strip_prefix('<')
            .and_then(|link| link.strip_suffix(">; rel=\"next\""))
            .expect("a link")
            .to_owned(),
    )
}

/// Follows `Link` to the end. Returns the rows under `key`.
fn all_pages(node: &Node, first: &str, key: &str) -> Vec<serde_json::Value> {
    let (mut rows, mut path) = (Vec::new(), Some(first.to_owned()));
    while let Some(here) = path {
        let answer = node.get(&here);
        assert_eq!(answer.status, 200, "{here}: {answer:?}");
        rows.extend(answer.json()[key].as_array().expect("rows").clone());
        path = next(&answer);
    }
    rows
}

fn all_topics_can_be_paged_through(database: Database) {
    let node = Node::start_with(database, &[("BOARD__TOPICS_MAX", "10")]);
    let rows: Vec<_> = (1..=57).map(|n| format!("(1, 't{n}')")).collect();
    node.database.sql(&format!(
        "INSERT INTO topics (board_id, comment) VALUES {};",
        rows.join(",")
    ));
    // Archived or not, newest first, each once, also when the last page is full.
    for limit in [7, 19, 57, 500] {
        let topics = all_pages(&node, &format!("{TOPICS}?limit={limit}"), "topics");
        let ids: Vec<_> = topics
            .iter()
            .filter_map(|topic| topic["id"].as_i64())
            .collect();
        assert_eq!(ids, (1..=57).rev().collect::<Vec<_>>(), "by {limit}");
    }
    for whole in [&*format!("{TOPICS}?limit=57"), "/api/v1/boards?limit=1"] {
        assert_eq!(next(&node.get(whole)), None, "nothing follows {whole}");
    }
    assert_eq!(
        node.get(&format!("{TOPICS}?before=3&limit=5")).json()["topics"][0]["comment"],
        "t2"
    );
}

/// The comments of the topics that a search finds.
fn found(node: &Node, q: &str) -> Vec<String> {
    let topics = all_pages(node, &format!("{TOPICS}?q={q}&limit=1"), "topics");
    topics
        .iter()
        .filter_map(|topic| topic["comment"].as_str().map(str::to_owned))
        .collect()
}

fn topics_can_be_searched(database: Database) {
    let node = Node::start(database);
    for comment in [
        "Cats and dogs",
        "100% wool",
        "100 sheep",
        "under_score",
        "回覧板です",
        "CATALOGUE",
    ] {
        node.post(comment);
    }
    assert_eq!(found(&node, "cat"), ["CATALOGUE", "Cats and dogs"]);
    assert_eq!(
        found(&node, "100%25"),
        ["100% wool"],
        "a percent sign is a percent sign"
    );
    assert_eq!(found(&node, "r_s"), ["under_score"]);
    assert_eq!(found(&node, "%E5%9B%9E%E8%A6%A7"), ["回覧板です"]);
    assert_eq!(found(&node, "%5C"), Vec::<String>::new());
}

fn one_topic_has_an_address(database: Database) {
    let node = Node::start(database);
    let posted = node.send("POST", TOPICS, "application/json", r#"{"comment":"a"}"#);
    let location = posted.header("location").expect("an address").to_owned();
    let topic = node.get(&location);
    assert_eq!((topic.status, topic.json()), (200, posted.json()));
    assert_eq!(topic.header("etag"), posted.header("etag"));
    let tag = topic.header("etag").expect("a tag").to_owned();
    assert_eq!(
        node.get_with(&location, &[("If-None-Match", &tag)]).status,
        304
    );
    node.database.sql("UPDATE topics SET comment = 'b';");
    assert_eq!(
        node.get_with(&location, &[("If-None-Match", &tag)]).json()["comment"],
        "b"
    );
    for id in [
        "0",
        "-1",
        "01",
        "1e3",
        "2",
        "9223372036854775808",
        "abc",
        "1%20",
        "%2B1",
    ] {
        assert_eq!(node.get(&format!("{TOPICS}/{id}")).status, 404, "{id}");
    }
    assert_eq!(node.get("/api/v1/boards/nowhere/topics/1").status, 404);
}

fn the_log_lists_what_happened(database: Database) {
    let node = Node::start(database);
    let list = node.get(TOPICS);
    let start = list.header("etag").expect("a tag").trim_matches('"');
    node.database
        .sql("INSERT INTO topics (board_id, comment) VALUES (1, 'a'), (1, 'b'), (1, 'c');");
    node.database.sql("DELETE FROM topics WHERE id = 2;");
    // By twos, so that a page ends inside a revision.
    let path = format!("{CHANGES}?since={start}&limit=2");
    let changes = all_pages(&node, &path, "changes");
    let kinds: Vec<_> = changes
        .iter()
        .map(|change| (change["kind"].as_str(), change["topic_id"].as_i64()))
        .collect();
    let set = Some("set");
    assert_eq!(
        kinds,
        [
            (set, Some(1)),
            (set, Some(2)),
            (set, Some(3)),
            (Some("delete"), Some(2))
        ]
    );
    assert!(changes.is_sorted_by_key(|change| change["revision"].as_u64()));
    assert_eq!(
        all_pages(&node, CHANGES, "changes").len(),
        5,
        "the board itself was the first"
    );
}

fn the_log_does_not_begin_at_what_is_not_in_it(database: Database) {
    let node = Node::start(database);
    let other_history = node.get(&format!("{CHANGES}?since=0-1"));
    assert_eq!(other_history.status, 410);
    assert_eq!(node.get(&format!("{CHANGES}?since=junk")).status, 400);
}

fn tag_of_list(node: &Node) -> String {
    node.get(TOPICS).header("etag").expect("a tag").to_owned()
}

/// Waits for another list than the one with this tag.
fn wait(node: &Node, seconds: u32, tag: &str) -> Answer {
    node.get_with(
        &format!("{TOPICS}?wait={seconds}"),
        &[("If-None-Match", tag)],
    )
}

fn waiting_ends_with_news_or_with_the_time(database: Database) {
    let node = Node::start(database);
    let tag = tag_of_list(&node);
    let began = Instant::now();
    assert_eq!(wait(&node, 1, &tag).status, 304);
    assert!(
        began.elapsed() >= Duration::from_millis(950),
        "{:?}",
        began.elapsed()
    );
    let news = thread::scope(|scope| {
        let waiting = scope.spawn(|| wait(&node, 30, &tag));
        // Whether it waits already or not yet, it must be answered with this.
        node.post("news");
        waiting.join().expect("an answer")
    });
    assert_eq!(
        (news.status, news.json()["topics"][0]["comment"].as_str()),
        (200, Some("news"))
    );
    assert!(began.elapsed() < Duration::from_secs(10));
    assert_eq!(wait(&node, 30, &tag).status, 200, "old news come at once");
}

/// Another node may be ahead: a client that has more is not sent less.
fn a_list_from_a_node_that_is_ahead_is_not_replaced(database: Database) {
    let node = Node::start(database);
    let tag = tag_of_list(&node);
    let (epoch, _) = tag.trim_matches('"').split_once('-').expect("a cursor");
    let ahead = format!("\"{epoch}-999\"");
    let known = node.get_with(TOPICS, &[("If-None-Match", &ahead)]);
    assert_eq!(known.status, 304);
}

/// Each parameter, on pages, over REST and on streams, and what means nothing there.
fn assert_no_parameter_is_guessed(node: &Node) {
    for path in [
        "/?lang=",
        "/?nothing=",
        "/b/main?view=",
        "/b/main/topics?q=",
        "/b/main/topics?before=",
        "/boards?q=",
        "/boards?after=",
        "/api/v1/boards?after=",
        "/api/v1/boards/main/changes?since=",
        "/api/v1/audit?before=",
        "/b/main/stream?format=",
        "/b/main/stream?last_event_id=",
        "/b/main/stream?since=",
        "/b/main/ws?since=",
        "/topic_stream/?heartbeat=",
        "/stream?board=main&board=",
        "/b/main/feed.xml?nothing=",
        "/login?next=",
    ] {
        for value in ["%ff", "a%C3", "%ed%a0%80", "%zz", "%", "%a"] {
            let answer =
                node.get_with(&format!("{path}{value}"), &[("Accept", "application/json")]);
            assert_eq!(answer.status, 400, "{path}{value}: {answer:?}");
            let (_, parameters) = path.split_once('?').expect("a query");
            let name = parameters.trim_end_matches('=').rsplit('&').next();
            assert_eq!(answer.json()["path"].as_str(), name, "{path}{value}");
        }
    }
}

/// The parameter at fault, and the query.
const UNREADABLE_QUERIES: [(&str, &str); 17] = [
    ("limit", "limit=-1"),
    ("limit", "limit=0"),
    ("limit", "limit=1000000000"),
    ("limit", "limit=abc"),
    ("limit", "limit="),
    ("limit", "limit=1&limit=2"),
    ("before", "before=0"),
    ("before", "before=x"),
    ("before", "before=99999999999999999999"),
    ("wait", "wait=61"),
    ("wait", "wait=x"),
    ("nothing", "nothing=1"),
    ("q", "q=%ff"),
    ("q", "q=%ed%a0%80"),
    ("q", "q=%zz"),
    ("q", "q=100%"),
    ("query", "%ff=1"),
];

fn queries_that_cannot_be_read_are_refused(database: Database) {
    let node = Node::start(database);
    for (path, query) in UNREADABLE_QUERIES {
        let answer = node.get(&format!("{TOPICS}?{query}"));
        let problem = answer.json();
        assert_eq!(
            (
                answer.status,
                problem["code"].as_str(),
                problem["path"].as_str()
            ),
            (400, Some("unreadable"), Some(path)),
            "{query}"
        );
        let detail = problem["detail"].as_str().expect("a sentence");
        assert!(
            detail.contains(path) && detail.contains("must"),
            "{query}: {detail}"
        );
    }
    assert_no_parameter_is_guessed(&node);
    assert_eq!(
        node.send("DELETE", CHANGES, "application/json", "")
            .header("allow"),
        Some("GET, HEAD")
    );
}
