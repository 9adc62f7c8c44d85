//! Boards over REST: created, changed, listed and deleted, by administrators alone.

use super::delete;
use crate::{
    node::{Database, Node},
    wire::Answer,
};

crate::on_both!(
    boards_are_made_and_closed,
    a_board_that_cannot_be_made_is_refused,
    a_token_for_one_board_changes_that_board_alone,
    what_people_read_as_a_name_hides_nothing,
    a_noncharacter_is_no_part_of_a_name,
    a_title_that_shows_nothing_counts_as_none,
);

const BOARDS: &str = "/api/v1/boards";
const LOST: &str = "/api/v1/boards/lost";

fn with_an_administrator(database: Database) -> (Node, String) {
    let node = Node::start(database);
    let admin = node.token(&["create", "--scope", "admin"]);
    (node, admin)
}

fn create_lost(node: &Node, admin: &str) {
    let body = r#"{"name":"lost","title":"迷子"}"#;
    let made = node.send_as("POST", BOARDS, admin, &[], body);
    assert_eq!(
        (made.status, made.header("location")),
        (201, Some(LOST)),
        "{made:?}"
    );
    assert_eq!(
        (
            made.json()["title"].as_str(),
            made.json()["topics"].as_u64()
        ),
        (Some("迷子"), Some(0))
    );
}

fn names(node: &Node, path: &str) -> Vec<String> {
    let body = node.get(path).json();
    let boards = body["boards"].as_array().expect("boards").iter();
    boards
        .filter_map(|board| board["name"].as_str().map(str::to_owned))
        .collect()
}

fn boards_are_made_and_closed(database: Database) {
    let (node, admin) = with_an_administrator(database);
    create_lost(&node, &admin);
    // It is there at once, for pages, posts and streams.
    let mut stream = node.stream("/b/lost/stream");
    stream.event();
    assert_eq!(
        node.send("POST", "/b/lost", "text/plain", "a cat").status,
        201
    );
    assert_eq!(stream.event().json()["contents"][0]["comment"], "a cat");
    assert_eq!(names(&node, BOARDS), ["lost", "main"]);
    assert_eq!(
        names(&node, &format!("{BOARDS}?after=lost&limit=1")),
        ["main"]
    );
    let stays = delete(&node, &admin, "/api/v1/boards/main").status;
    assert_eq!(stays, 409, "the board at / stays");
    assert_eq!(delete(&node, &admin, LOST).status, 204);
    assert_eq!(stream.event().json()["reason"], "gone");
    assert_eq!(
        ["/b/lost", LOST].map(|path| node.get(path).status),
        [404, 404]
    );
    assert_eq!(delete(&node, &admin, LOST).status, 404);
}

fn a_board_that_cannot_be_made_is_refused(database: Database) {
    let (node, admin) = with_an_administrator(database);
    assert_eq!(
        node.send("POST", BOARDS, "application/json", r#"{"name":"lost"}"#)
            .status,
        401
    );
    create_lost(&node, &admin);
    assert_eq!(
        node.send_as("POST", BOARDS, &admin, &[], r#"{"name":"lost"}"#)
            .status,
        409,
        "it exists"
    );
    for name in ["Lost", "api", ""] {
        let body = format!(r#"{{"name":"{name}"}}"#);
        let refused = node.send_as("POST", BOARDS, &admin, &[], &body);
        assert_eq!(
            (
                refused.status,
                refused.json()["errors"][0]["field"].as_str()
            ),
            (422, Some("name")),
            "{name}"
        );
    }
}

fn a_token_for_one_board_changes_that_board_alone(database: Database) {
    let (node, admin) = with_an_administrator(database);
    create_lost(&node, &admin);
    assert_eq!(
        node.send("POST", "/b/lost", "text/plain", "a cat").status,
        201
    );
    let only_here = node.token(&["create", "--scope", "admin", "--board", "lost"]);
    let title = r#"{"title":"Lost and found"}"#;
    let titled = node.send_as("PATCH", LOST, &only_here, &[], title);
    assert_eq!(
        (titled.status, titled.json()["topics"].as_u64()),
        (200, Some(1))
    );
    let main = "/api/v1/boards/main";
    let refused = node.send_as("PATCH", main, &only_here, &[], title);
    assert_eq!(refused.status, 403);
    assert_eq!(
        node.send_as("DELETE", LOST, &only_here, &[], "").status,
        403,
        "that requires a token for all boards"
    );
}

/// Names a board, a token and the author of a topic.
fn name_each(node: &Node, admin: &str, text: &str) -> [(&'static str, Answer); 3] {
    let topics = "/api/v1/boards/main/topics";
    let title = serde_json::json!({"title": text});
    let token = serde_json::json!({"name": text, "scope": "read"});
    let topic = serde_json::json!({"comment": "a", "author": text});
    [
        ("title", "PATCH", LOST, title),
        ("name", "POST", "/api/v1/tokens", token),
        ("author", "POST", topics, topic),
    ]
    .map(|(field, method, path, body)| {
        let answer = node.send_as(method, path, admin, &[], &body.to_string());
        (field, answer)
    })
}

/// Names that hide a character.
const HIDING: [&str; 7] = [
    "\u{3164}",
    "\u{200B}",
    "ann\u{E0061}",
    "ann\u{E0020}",
    "a\u{2028}b",
    "an\u{200C}n",
    "a\u{202E}b",
];

/// Names that need such a character to be written.
const WRITTEN: [&str; 5] = [
    "می\u{200C}خواهم",
    "क\u{94D}\u{200D}ष",
    "葛\u{E0100}城",
    "❤\u{FE0E}",
    "🏴\u{E0067}\u{E0062}\u{E0065}\u{E006E}\u{E0067}\u{E007F}",
];

/// All of them keep one rule.
fn what_people_read_as_a_name_hides_nothing(database: Database) {
    let (node, admin) = with_an_administrator(database);
    create_lost(&node, &admin);
    for hidden in HIDING {
        for (field, answer) in name_each(&node, &admin, hidden) {
            let fault = answer.json()["errors"][0].clone();
            assert_eq!(
                (
                    answer.status,
                    fault["field"].as_str(),
                    fault["code"].as_str()
                ),
                (422, Some(field), Some("forbidden_character")),
                "{hidden:?}: {answer:?}"
            );
            assert!(answer.body.contains("invisible"), "{answer:?}");
        }
    }
    for written in WRITTEN {
        for (field, answer) in name_each(&node, &admin, written) {
            assert!(matches!(answer.status, 200 | 201), "{field}: {answer:?}");
            assert_eq!(answer.json()[field].as_str(), Some(written), "{field}");
        }
    }
}

/// Some of each kind: SQLite itself takes the first two for another character.
const NONCHARACTERS: [&str; 6] = [
    "\u{fffe}",
    "\u{ffff}",
    "\u{fdd0}",
    "\u{fdef}",
    "\u{1fffe}",
    "\u{10ffff}",
];

/// In a name it would be shown like any other. A comment is as its author wrote it, and what other
/// programs store is text on both databases.
fn a_noncharacter_is_no_part_of_a_name(database: Database) {
    let (node, admin) = with_an_administrator(database);
    create_lost(&node, &admin);
    for noncharacter in NONCHARACTERS {
        let text = format!("a{noncharacter}b");
        for (field, answer) in name_each(&node, &admin, &text) {
            let fault = answer.json()["errors"][0].clone();
            assert_eq!(
                (
                    answer.status,
                    fault["field"].as_str(),
                    fault["code"].as_str()
                ),
                (422, Some(field), Some("forbidden_character")),
                "{text:?}: {answer:?}"
            );
            assert!(answer.body.contains("noncharacters"), "{answer:?}");
        }
        let posted = node.send("POST", "/b/lost", "text/plain", &text);
        assert_eq!(posted.status, 201, "{text:?}: {posted:?}");
        assert_eq!(posted.json()["comment"], text.as_str());
        node.database.sql(&format!(
            "DELETE FROM boards WHERE name = 'by-sql'; \
             INSERT INTO boards (name, title) VALUES ('by-sql', '{text}'); \
             UPDATE boards SET title = '{text}!' WHERE name = 'by-sql';"
        ));
        let board = node.get("/api/v1/boards/by-sql").json();
        assert_eq!(board["title"], format!("{text}!"), "{board}");
    }
}

/// Another program may have written it.
fn a_title_that_shows_nothing_counts_as_none(database: Database) {
    let node = Node::start(database);
    node.database
        .sql("UPDATE boards SET title = '\u{3164}\u{200B}' WHERE name = 'main';");
    let index = node.get("/boards").body;
    assert!(index.contains(">main</a>"), "{index}");
}
