//! Several boards in one stream, with one cursor.

use std::collections::BTreeMap;

use crate::{
    node::{Database, Node},
    sse::{Event, Mirror, Reader},
};

crate::on_both!(
    several_boards_come_with_one_cursor,
    one_transaction_on_two_boards_is_shown_at_once,
    what_cannot_be_streamed_together_is_refused,
);

/// Boards `red`, `blue` and `green`, with a topic each.
fn with_boards(database: Database) -> Node {
    let node = Node::start(database);
    node.database
        .sql("INSERT INTO boards (name) VALUES ('red'), ('blue'), ('green');");
    for board in ["red", "blue", "green"] {
        post(&node, board, &format!("first on {board}"));
    }
    node
}

fn post(node: &Node, board: &str, comment: &str) {
    assert_eq!(
        node.send("POST", &format!("/b/{board}"), "text/plain", comment)
            .status,
        201
    );
}

/// What a client of several boards holds.
#[derive(Default)]
struct Boards {
    boards: BTreeMap<String, Mirror>,
    cursor: String,
}

impl Boards {
    /// Takes events up to the next cursor.
    fn take(&mut self, stream: &mut Reader) -> Vec<Event> {
        let mut taken = Vec::new();
        loop {
            let event = stream.event();
            if event.name == "cursor" {
                let before: u64 = self
                    .cursor
                    .rsplit('-')
                    .next()
                    .and_then(|number| number.parse().ok())
                    .unwrap_or(0);
                let revision = event.json()["revision"].as_u64().expect("a revision");
                assert!(revision >= before, "never back");
                // It claims every board: each stands at least there now.
                self.boards
                    .values_mut()
                    .for_each(|board| board.revision = board.revision.max(revision));
                self.cursor = event.id.expect("that is what it is for");
                return taken;
            }
            if event.name == "reset" {
                *self = Self::default();
            } else {
                assert_eq!(event.id, None, "only the cursor has one: {event:?}");
            }
            if matches!(event.name.as_str(), "snapshot" | "patch") {
                let board = event.json()["board"].as_str().expect("a board").to_owned();
                // The mirror wants an id with each state.
                let revision = event.json()["revision"].clone();
                let event = Event {
                    id: Some(format!("e-{revision}")),
                    ..event.clone()
                };
                self.boards.entry(board).or_default().take(&event);
            }
            taken.push(event);
        }
    }

    fn comments(&self, board: &str) -> Vec<&str> {
        self.boards
            .get(board)
            .map(Mirror::comments)
            .unwrap_or_default()
    }
}

fn several_boards_come_with_one_cursor(database: Database) {
    let node = with_boards(database);
    let path = "/stream?board=red&board=blue&format=patch";
    let mut stream = node.stream(path);
    let mut client = Boards::default();
    assert_eq!(
        client
            .take(&mut stream)
            .iter()
            .map(|event| event.name.as_str())
            .collect::<Vec<_>>(),
        ["snapshot", "snapshot"]
    );
    post(&node, "blue", "second on blue");
    while client.comments("blue").len() < 2 {
        client.take(&mut stream);
    }
    assert_eq!(
        (client.comments("red"), client.comments("blue")),
        (
            vec!["first on red"],
            vec!["first on blue", "second on blue"]
        )
    );
    drop(stream);
    // Away, and back with the one cursor: what was missed on each, and nothing of others.
    post(&node, "red", "second on red");
    post(&node, "green", "second on green");
    let mut stream = node.resume(path, &client.cursor);
    let missed = client.take(&mut stream);
    assert_eq!(
        missed
            .iter()
            .map(|event| event.name.as_str())
            .collect::<Vec<_>>(),
        ["patch"],
        "{missed:?}"
    );
    assert_eq!(client.comments("red"), ["first on red", "second on red"]);
    // Up to date costs no payload.
    assert_eq!(client.take(&mut node.resume(path, &client.cursor)), []);
    let reset = client.take(&mut node.resume(path, "0-1"));
    assert_eq!(
        reset
            .iter()
            .map(|event| event.name.as_str())
            .collect::<Vec<_>>(),
        ["reset", "snapshot", "snapshot"]
    );
    let list = node.stream("/stream?board=green&board=red").event();
    assert_eq!(
        (
            list.json()["board"].as_str(),
            list.json()["contents"][0]["comment"].as_str()
        ),
        (Some("green"), Some("first on green"))
    );
    node.database.sql("DELETE FROM boards WHERE name = 'blue';");
    let bye = std::iter::repeat_with(|| stream.event())
        .find(|event| event.name == "bye")
        .expect("bye");
    assert_eq!(bye.json()["reason"], "gone");
}

fn one_transaction_on_two_boards_is_shown_at_once(database: Database) {
    let node = with_boards(database);
    let mut stream = node.stream("/stream?board=red&board=blue&board=green&format=patch");
    let mut client = Boards::default();
    client.take(&mut stream);
    let ids = "SELECT id FROM boards WHERE name = ";
    for n in 0..20 {
        node.database.sql(&format!(
            "BEGIN; INSERT INTO topics (board_id, comment) VALUES (({ids}'green'), '{n}'); \
             INSERT INTO topics (board_id, comment) VALUES (({ids}'red'), '{n}'); COMMIT;"
        ));
        while client.comments("red").last() != Some(&n.to_string().as_str()) {
            client.take(&mut stream);
        }
        // At each cursor both boards have it, or neither.
        assert_eq!(
            client.comments("green").last(),
            client.comments("red").last()
        );
    }
}

fn what_cannot_be_streamed_together_is_refused(database: Database) {
    let node = with_boards(database);
    for (status, query) in [
        (400, ""),
        (404, "board=red&board=nowhere"),
        (404, "board=A"),
        (400, "board=red&format=html"),
        (400, "board=red&ticket=x"),
        (
            400,
            &(0..51).map(|n| format!("board=b{n}&")).collect::<String>(),
        ),
    ] {
        assert_eq!(
            node.get(&format!("/stream?{query}")).status,
            status,
            "{query}"
        );
    }
    let admin = node.token(&["create", "--scope", "admin"]);
    let mut stream = node.stream("/stream?board=red&board=blue&format=patch");
    Boards::default().take(&mut stream);
    assert_eq!(
        node.send_as(
            "PATCH",
            "/api/v1/boards/blue",
            &admin,
            &[],
            r#"{"read":"token"}"#
        )
        .status,
        200
    );
    assert_eq!(
        stream.event().json()["reason"],
        "auth",
        "one board is closed to it"
    );
    assert_eq!(node.get("/stream?board=red&board=blue").status, 404);
}
