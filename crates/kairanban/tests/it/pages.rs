//! Pages as they come from the server; what they do in a browser is in `web/e2e`.

use crate::{
    node::{Database, Node},
    on_both,
    wire::{self, Answer},
};

on_both!(
    the_index_has_each_board_that_one_may_read_with_its_newest_topic,
    pages_follow_the_boards_at_once,
);

/// A page as a browser asks for it.
fn page(node: &Node, path: &str) -> Answer {
    node.get_with(
        path,
        &[("Accept", "text/html,*/*;q=0.8"), ("Accept-Language", "en")],
    )
}

/// Sends JSON as an administrator.
fn administer(node: &Node, token: &str, method: &str, path: &str, body: &str) {
    let answer = node.send_as(method, path, token, &[], body);
    assert!(answer.status < 300, "{method} {path}: {answer:?}");
}

#[test]
fn the_page_speaks_the_readers_language_and_holds_text_as_text() {
    let node = Node::start(Database::sqlite());
    assert!(node.get("/").body.contains("Nothing has been posted yet"));
    node.post("<script>alert(1)</script>\nline two");
    let page = node.get_with(
        "/",
        &[("Accept", "text/html"), ("Accept-Language", "ja,en;q=0.5")],
    );
    assert!(page.body.contains("<html lang=\"ja\"") && page.body.contains("投稿する"));
    assert!(page.body.contains("&lt;script&gt;") && !page.body.contains("<script>alert"));
    let policy = page.header("content-security-policy").expect("a policy");
    assert!(policy.contains("script-src 'self'") && !policy.contains("unsafe"));
    assert!(policy.contains("frame-ancestors 'none'"), "{policy}");
    assert_eq!(
        page.header("vary"),
        Some("Accept, Accept-Language, Accept-Encoding, Cookie")
    );
}

#[test]
fn a_page_is_a_list_for_those_who_ask_for_one() {
    let node = Node::start(Database::sqlite());
    node.post("a\nb");
    node.post("c");
    let text = node.get_with("/b/main", &[("Accept", "text/plain")]);
    let fields: Vec<_> = text.body.split('\t').collect();
    assert!(
        matches!(fields[..], ["1", _, "a\n", "b\n2", _, "c\n"]),
        "{}",
        text.body
    );
    let json = node.get_with("/b/main", &[("Accept", "application/json")]);
    assert_eq!(json.json()["topics"][1]["comment"], "c");
    let head = wire::request(node.address, "HEAD", "/", &[], b"");
    assert_eq!((head.status, head.body.as_str()), (200, ""));
}

#[test]
fn errors_are_pages_for_browsers_and_lines_for_terminals() {
    let node = Node::start(Database::sqlite());
    let terminal = node.get("/nothing");
    assert_eq!(
        (terminal.status, terminal.body.as_str()),
        (404, "404 Not Found: there is nothing at this address\n")
    );
    let browser = node.get_with(
        "/nothing",
        &[("Accept", "text/html,*/*;q=0.8"), ("Accept-Language", "ja")],
    );
    assert!(
        browser.body.contains("このアドレスには何もありません"),
        "{}",
        browser.body
    );
    for answer in [&terminal, &browser] {
        assert!(
            answer.header("content-security-policy").is_some()
                && answer.header("x-content-type-options").is_some()
        );
    }
}

#[test]
fn what_the_page_loads_is_there() {
    let node = Node::start(Database::sqlite());
    let page = node.get("/").body;
    for (path, kind) in [
        ("/assets/board.css", "text/css; charset=utf-8"),
        ("/assets/board.js", "text/javascript; charset=utf-8"),
        ("/assets/icon.svg", "image/svg+xml"),
        ("/assets/icon-180.png", "image/png"),
        ("/manifest.webmanifest", "application/manifest+json"),
    ] {
        assert!(page.contains(path), "{path}");
        let asset = wire::request(node.address, "HEAD", path, &[], b"");
        assert_eq!(
            (asset.status, asset.header("content-type")),
            (200, Some(kind))
        );
        let tag = asset.header("etag").expect("a tag").to_owned();
        assert_eq!(node.get_with(path, &[("If-None-Match", &tag)]).status, 304);
    }
    for icon in node.get("/manifest.webmanifest").json()["icons"]
        .as_array()
        .expect("icons")
    {
        let path = icon["src"].as_str().expect("a path");
        let answer = wire::request(node.address, "HEAD", path, &[], b"");
        assert_eq!(answer.status, 200, "{icon}");
    }
    assert!(node.get("/robots.txt").body.contains("Disallow: /api/"));
    assert_eq!(node.get("/assets/nothing.js").status, 404);
}

fn the_index_has_each_board_that_one_may_read_with_its_newest_topic(database: Database) {
    let node = Node::start(database);
    let admin = node.token(&["create", "--scope", "admin"]);
    for board in [
        r#"{"name":"lost","title":"Lost <and> found"}"#,
        r#"{"name":"committee","title":"Committee","read":"token","post":"token"}"#,
    ] {
        administer(&node, &admin, "POST", "/api/v1/boards", board);
    }
    node.post("first");
    node.post("the newest\n  of them");
    let index = page(&node, "/boards");
    assert_eq!(index.status, 200);
    for text in [
        "the newest of them",
        "Lost &lt;and&gt; found",
        "2 topics",
        "just now",
    ] {
        assert!(index.body.contains(text), "{text}: {}", index.body);
    }
    assert!(!index.body.contains("ommittee") && !index.body.contains(">first"));
    let found = page(&node, "/boards?q=LOST").body;
    assert!(
        found.contains("/b/lost") && !found.contains("/b/main"),
        "{found}"
    );
    assert!(
        page(&node, "/boards?q=committee")
            .body
            .contains("No board is called “committee”")
    );
    let headers = [
        ("Authorization", &*format!("Bearer {admin}")),
        ("Accept", "text/html"),
    ];
    let all = node.get_with("/boards", &headers);
    assert!(all.body.contains("/b/committee") && all.body.contains("private"));
}

/// A page shows titles and boards from memory, and no reading of the database before the next
/// change.
fn pages_follow_the_boards_at_once(database: Database) {
    let node = Node::start(database);
    let admin = node.token(&["create", "--scope", "admin"]);
    let change = |method, path: &str, body| administer(&node, &admin, method, path, body);
    let listed = |name: &str| {
        page(&node, "/")
            .body
            .contains(&format!("href=\"/b/{name}\""))
    };
    assert!(page(&node, "/").body.contains("<h1>main</h1>"));
    change("PATCH", "/api/v1/boards/main", r#"{"title":"3-chome"}"#);
    assert!(page(&node, "/").body.contains("<h1>3-chome</h1>"));
    change("POST", "/api/v1/boards", r#"{"name":"lost"}"#);
    assert!(listed("lost"));
    let reads = || {
        let stats = node.send_as("GET", "/api/v1/stats", &admin, &[], "").json();
        stats["database_reads"].as_u64().expect("a number")
    };
    let (pages, before) = (40, reads());
    assert!((0..pages).all(|_| listed("lost")));
    let read = reads() - before;
    // The follower polls, and the administrator's token is looked up.
    assert!(read < pages / 2, "{read} readings for {pages} pages");
    change(
        "PATCH",
        "/api/v1/boards/lost",
        r#"{"read":"token","post":"token"}"#,
    );
    assert!(!listed("lost"), "a board that became private");
    change("DELETE", "/api/v1/boards/lost", "");
    assert!(!listed("lost"));
}

#[test]
fn every_topic_has_an_address_and_so_have_those_that_the_list_left_out() {
    let node = Node::start_with(Database::sqlite(), &[("BOARD__TOPICS_MAX", "3")]);
    for n in 1..=5 {
        node.post(&format!("notice {n}"));
    }
    let board = page(&node, "/").body;
    assert!(
        board.contains("href=\"/b/main/topics?before=3\""),
        "{board}"
    );
    let older = page(&node, "/b/main/topics?before=3").body;
    assert!(older.contains("notice 2") && older.contains("notice 1"));
    assert!(!older.contains("notice 3"));
    let one = page(&node, "/b/main/topics/1");
    assert!(
        one.status == 200 && one.body.contains("notice 1"),
        "{}",
        one.body
    );
    let found = page(&node, "/b/main/topics?q=NOTICE%204").body;
    assert!(found.contains("<mark>notice 4</mark>") && !found.contains("notice 5"));
    assert!(
        page(&node, "/b/main/topics?q=%3Cb%3E")
            .body
            .contains("“&lt;b&gt;”")
    );
    for (path, status) in [
        ("/b/main/topics/99", 404),
        ("/b/main/topics/x", 404),
        ("/b/absent/topics", 404),
        ("/b/main/topics?before=0", 400),
        ("/b/absent/qr", 404),
        ("/boards?after=NO", 400),
    ] {
        assert_eq!(page(&node, path).status, status, "{path}");
    }
}

#[test]
fn a_day_is_one_of_the_boards_zone() {
    let zone = [("BOARD__TIME_ZONE", "Asia/Tokyo")];
    let node = Node::start_with(Database::sqlite(), &zone);
    node.database.sql(
        "INSERT INTO topics (board_id, comment, created_at) VALUES \
         (1, 'late', '2026-11-24 14:59:00.000'), (1, 'early', '2026-11-24 15:00:00.000');",
    );
    let english = page(&node, "/").body;
    let at = |text: &str| {
        english
            .find(text)
            .unwrap_or_else(|| panic!("{text}: {english}"))
    };
    let places = [
        "Wednesday 25 November 2026",
        ">0:00<",
        "Tuesday 24 November 2026",
        ">23:59<",
    ];
    assert!(places.map(at).is_sorted(), "{english}");
    let japanese = page(&node, "/?lang=ja").body;
    assert!(japanese.contains("2026年11月25日（水）"), "{japanese}");
}

#[test]
fn a_reader_keeps_the_language_and_the_theme_that_they_chose() {
    let node = Node::start(Database::sqlite());
    let chosen = page(&node, "/?lang=ja&theme=dark");
    assert!(
        chosen
            .body
            .contains("<html lang=\"ja\" data-theme=\"dark\">")
    );
    let cookies: Vec<_> = chosen
        .head
        .lines()
        .filter_map(|line| line.strip_prefix("set-cookie: ")?.split_once(';'))
        .collect();
    assert_eq!(cookies.len(), 2, "{}", chosen.head);
    assert!(
        cookies
            .iter()
            .all(|(_, rest)| rest.contains("SameSite=Lax"))
    );
    let cookie = format!("{}; {}", cookies[0].0, cookies[1].0);
    for path in ["/b/main", "/boards", "/nothing"] {
        let headers = [("Cookie", &*cookie), ("Accept", "text/html")];
        let kept = node.get_with(path, &headers);
        assert!(
            kept.body.contains("lang=\"ja\" data-theme=\"dark\""),
            "{path}"
        );
        assert!(kept.header("set-cookie").is_none(), "{path}");
    }
}

#[test]
fn a_page_says_what_state_its_board_is_in() {
    let node = Node::start(Database::sqlite());
    let poster = page(&node, "/b/main/qr").body;
    assert!(poster.contains("http:&#x2f;&#x2f;localhost"), "{poster}");
    let wall = page(&node, "/?view=wall").body;
    assert!(
        wall.contains("class=\"wall\"") && !wall.contains("<form"),
        "{wall}"
    );
    node.database.sql("UPDATE boards SET post = 'closed';");
    let (began, mut closed) = (std::time::Instant::now(), String::new());
    let said = "<p>This board is closed: you can read it, but not post.</p>";
    while !closed.contains(said) {
        assert!(
            began.elapsed() < std::time::Duration::from_secs(5),
            "{closed}"
        );
        closed = page(&node, "/").body;
    }
    assert!(!closed.contains("id=\"post\""));
}
