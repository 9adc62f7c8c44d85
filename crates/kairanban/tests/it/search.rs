//! `?q=`: texts as people write them are found as people type them, however many topics there are.

use crate::node::{Database, Node};

crate::on_both!(
    a_text_is_found_as_a_reader_types_it,
    a_search_says_how_far_it_looked_and_goes_on,
    a_search_of_many_pages_finds_each_topic_once,
);

const TOPICS: &str = "/api/v1/boards/main/topics";

fn escaped(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// Comments and addresses of all pages from `path` on, and what each said of its search.
fn follow(node: &Node, path: &str) -> (Vec<String>, Vec<serde_json::Value>) {
    let (mut comments, mut searched) = (Vec::new(), Vec::new());
    let mut next = Some(path.to_owned());
    while let Some(path) = next {
        let page = node.get(&path);
        assert_eq!(page.status, 200, "{page:?}");
        let json = page.json();
        for topic in json["topics"].as_array().expect("topics") {
            comments.push(topic["comment"].as_str().expect("a comment").to_owned());
        }
        searched.push(json["searched"].clone());
        next = page.header("link").map(|link| {
            let (address, _) = link.split_once('>').expect("an address");
            address.trim_start_matches('<').to_owned()
        });
    }
    (comments, searched)
}

/// Texts as another program writes them, and as a reader types a part of each.
const SPELLINGS: [(&str, &str); 17] = [
    ("ＮＨＫ受信料", "nhk受信"),
    ("ÄRGER im Treppenhaus", "ärger im t"),
    ("A\u{308}RGER im Hof", "ärger im hof"),
    ("МОСКВА", "москва"),
    ("İstanbul", "ISTANBUL"),
    ("ﾊﾟｿｺﾝ教室", "パソコン"),
    ("Straße", "STRASSE"),
    ("100 % safe_mode \\o/", "% safe_MODE \\"),
    ("cafe\u{301}", "\u{301}"),
    // As keyboards of JIS and of CP932 write it.
    ("10時\u{301C}正午", "10時\u{FF5E}"),
    ("9時\u{FF5E}正午", "9時\u{301C}"),
    ("面積1\u{2212}2", "積1\u{FF0D}2"),
    ("余白3\u{FF0D}4", "白3-4"),
    ("天\u{2015}地", "天\u{2014}地"),
    ("東\u{2016}西", "東\u{2225}西"),
    ("Wi\u{2011}Fi 5", "wi-fi 5"),
    ("Wi\u{2013}Fi 6", "wi-fi 6"),
];

/// Another program writes; no column or trigger of ours folds what it writes.
fn a_text_is_found_as_a_reader_types_it(database: Database) {
    let node = Node::start(database);
    for (text, _) in SPELLINGS {
        node.database.sql(&format!(
            "INSERT INTO topics (board_id, comment) VALUES (1, '{text}');"
        ));
    }
    for (text, typed) in SPELLINGS {
        let (found, _) = follow(&node, &format!("{TOPICS}?q={}", escaped(typed)));
        assert_eq!(found, [text], "{typed}");
    }
    let (found, searched) = follow(&node, &format!("{TOPICS}?q=nowhere"));
    assert_eq!(found, [""; 0]);
    assert_eq!(
        searched,
        [serde_json::json!({"complete": true, "down_to": null})]
    );
}

fn insert(node: &Node, count: usize) {
    let rows: Vec<_> = (1..=count)
        .map(|n| format!("(1, '{} {n}')", if n % 60 == 1 { "needle" } else { "hay" }))
        .collect();
    node.database.sql(&format!(
        "INSERT INTO topics (board_id, comment) VALUES {};",
        rows.join(", ")
    ));
}

fn a_search_says_how_far_it_looked_and_goes_on(database: Database) {
    let node = Node::start_with(database, &[("REST__SEARCH_TOPICS_MAX", "50")]);
    insert(&node, 120);
    let (found, searched) = follow(&node, &format!("{TOPICS}?q=NEEDLE"));
    assert_eq!(found, ["needle 61", "needle 1"]);
    let down_to: Vec<_> = searched
        .iter()
        .map(|page| page["down_to"].as_i64())
        .collect();
    assert_eq!(down_to, [Some(71), Some(21), None]);
    assert_eq!(searched[0]["complete"], false);
    assert_eq!(searched[2]["complete"], true);
}

fn a_search_of_many_pages_finds_each_topic_once(database: Database) {
    let node = Node::start(database);
    insert(&node, 1_203);
    for limit in [1, 2, 20, 21, 500] {
        let (found, _) = follow(&node, &format!("{TOPICS}?q=needle&limit={limit}"));
        let expected: Vec<_> = (0..=20)
            .rev()
            .map(|n| format!("needle {}", n * 60 + 1))
            .collect();
        assert_eq!(found, expected, "{limit}");
    }
}

/// One client that reads without end, beside another.
#[test]
fn a_client_that_reads_too_much_holds_up_itself_alone() {
    let node = Node::start_with(
        Database::sqlite(),
        &[
            ("LIMITS__READS_PER_CLIENT_BURST", "5"),
            ("LIMITS__READS_PER_CLIENT_PER_S", "1"),
            ("LIMITS__TRUSTED_PROXIES", "127.0.0.1/32"),
        ],
    );
    node.post("one");
    assert_eq!(node.get(TOPICS).status, 200, "in memory from here on");
    let read = |client: &str, path: &str| {
        let answer = node.get_with(path, &[("X-Forwarded-For", client)]);
        (answer.status, answer.header("retry-after").is_some())
    };
    let paths = [
        format!("{TOPICS}?limit=1"),
        format!("{TOPICS}?q=one"),
        format!("{TOPICS}/1"),
        "/api/v1/boards/main/changes".to_owned(),
    ];
    let greedy: Vec<_> = (0..20)
        .map(|n| read("192.0.2.1", &paths[n % paths.len()]))
        .collect();
    assert!(
        greedy[..5].iter().all(|(status, _)| *status == 200),
        "{greedy:?}"
    );
    assert!(greedy.contains(&(429, true)), "{greedy:?}");
    for path in &paths {
        assert_eq!(read("192.0.2.2", path).0, 200, "a neighbour");
    }
    assert_eq!(
        read("192.0.2.1", TOPICS).0,
        200,
        "what is in memory does not count"
    );
}

/// A search that hangs takes its lane, and nothing else.
#[test]
fn searches_wait_for_each_other_and_nothing_waits_for_them() {
    let settings = [
        ("LIMITS__SEARCHES_MAX", "1"),
        ("LIMITS__TRUSTED_PROXIES", "127.0.0.1/32"),
    ];
    let node = Node::start_with(Database::postgres(), &settings);
    node.post("one");
    node.get(TOPICS);
    let lock = node.database.lock("topics");
    let path = format!("{TOPICS}?q=one");
    let search = |client: &str| node.get_with(&path, &[("X-Forwarded-For", client)]);
    std::thread::scope(|scope| {
        let searches: Vec<_> = ["192.0.2.1", "192.0.2.2", "192.0.2.3"]
            .map(|client| scope.spawn(move || search(client)))
            .into();
        assert_eq!(node.get(TOPICS).status, 200, "the live list");
        let answers: Vec<_> = searches
            .into_iter()
            .map(|search| search.join().expect("an answer"))
            .collect();
        let busy = answers
            .iter()
            .filter(|answer| answer.json()["code"] == "busy");
        assert_eq!(busy.count(), 2, "{answers:?}");
        assert!(
            answers.iter().all(|answer| answer.status == 503),
            "{answers:?}"
        );
    });
    std::thread::scope(|scope| {
        let twice = [(); 2].map(|()| scope.spawn(|| search("192.0.2.9").status));
        let mut twice = twice.map(|search| search.join().expect("an answer"));
        twice.sort_unstable();
        assert_eq!(twice, [429, 503], "one at a time of each client");
    });
    drop(lock);
    assert_eq!(node.get(&path).status, 200);
}
