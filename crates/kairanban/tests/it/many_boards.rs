//! Several boards in one stream, with one cursor.

mod ends;

use std::{
    collections::BTreeMap,
    thread,
    time::{Duration, Instant},
};

use crate::{
    node::{Database, Node},
    relay::relayed,
    sse::{Event, Mirror, Reader},
};

crate::on_both!(
    several_boards_come_with_one_cursor,
    a_cursor_of_several_boards_is_continued_on_each,
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
#[derive(Clone, Default)]
struct BoardMirrors {
    boards: BTreeMap<String, Mirror>,
    cursor: String,
}

/// The number of a cursor, behind which boards that ended may stand; zero if it has none.
fn revision_of(cursor: &str) -> u64 {
    let (cursor, _) = cursor.split_once('~').unwrap_or((cursor, ""));
    cursor
        .rsplit('-')
        .next()
        .and_then(|number| number.parse().ok())
        .unwrap_or(0)
}

fn names(events: &[Event]) -> Vec<&str> {
    events.iter().map(|event| event.name.as_str()).collect()
}

impl BoardMirrors {
    /// Takes events up to the next cursor.
    fn take(&mut self, stream: &mut Reader) -> Vec<Event> {
        let mut taken = Vec::new();
        loop {
            let event = stream.event();
            if event.name == "cursor" {
                self.advance(event);
                return taken;
            }
            if event.name == "reset" {
                *self = Self::default();
            } else {
                if event.name == "bye" {
                    self.boards.remove(&event.board());
                }
                assert_eq!(event.id, None, "only the cursor has one: {event:?}");
            }
            if matches!(event.name.as_str(), "snapshot" | "patch") {
                self.show(&event);
            }
            taken.push(event);
        }
    }

    /// Takes a cursor, which claims every board: each stands at least there now.
    fn advance(&mut self, event: Event) {
        let revision = event.json()["revision"].as_u64().expect("a revision");
        assert!(revision >= revision_of(&self.cursor), "never back");
        for board in self.boards.values_mut() {
            board.revision = board.revision.max(revision);
        }
        self.cursor = event.id.expect("that is what it is for");
    }

    fn show(&mut self, event: &Event) {
        let data = event.json();
        let board = event.board();
        let held = self.boards.get(&board).map_or(0, |mirror| mirror.revision);
        if event.name == "patch" && data["revision"].as_u64() <= Some(held) {
            // It was sent before the cursor that the stream came back with was passed.
            return;
        }
        // The mirror wants an id with each state.
        let event = Event {
            id: Some(format!("e-{}", data["revision"])),
            ..event.clone()
        };
        self.boards.entry(board).or_default().take(&event);
    }

    fn comments(&self, board: &str) -> Vec<&str> {
        self.boards
            .get(board)
            .map(Mirror::comments)
            .unwrap_or_default()
    }
}

const RED_AND_BLUE: &str = "/stream?board=red&board=blue&format=patch";

fn several_boards_come_with_one_cursor(database: Database) {
    let node = with_boards(database);
    let mut stream = node.stream(RED_AND_BLUE);
    let mut client = BoardMirrors::default();
    let first = client.take(&mut stream);
    assert_eq!(names(&first), ["snapshot", "snapshot"]);
    post(&node, "blue", "second on blue");
    while client.comments("blue").len() < 2 {
        client.take(&mut stream);
    }
    assert_eq!(client.comments("red"), ["first on red"]);
    assert_eq!(client.comments("blue"), ["first on blue", "second on blue"]);
    let list = node.stream("/stream?board=green&board=red").event().json();
    assert_eq!(
        (&list["board"], &list["contents"][0]["comment"]),
        (&"green".into(), &"first on green".into())
    );
}

/// Away, and back with the one cursor: what was missed on each, and nothing of others.
fn a_cursor_of_several_boards_is_continued_on_each(database: Database) {
    let node = with_boards(database);
    let mut client = BoardMirrors::default();
    client.take(&mut node.stream(RED_AND_BLUE));
    post(&node, "red", "second on red");
    post(&node, "green", "second on green");
    let missed = client.take(&mut node.resume(RED_AND_BLUE, &client.cursor));
    assert_eq!(names(&missed), ["patch"], "{missed:?}");
    assert_eq!(client.comments("red"), ["first on red", "second on red"]);
    // Up to date costs no payload.
    let nothing = client.take(&mut node.resume(RED_AND_BLUE, &client.cursor));
    assert_eq!(nothing, []);
    let reset = client.take(&mut node.resume(RED_AND_BLUE, "0-1"));
    assert_eq!(names(&reset), ["reset", "snapshot", "snapshot"]);
}

fn one_transaction_on_two_boards_is_shown_at_once(database: Database) {
    let node = with_boards(database);
    let mut stream = node.stream("/stream?board=red&board=blue&board=green&format=patch");
    let mut client = BoardMirrors::default();
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
        (404, "board=nowhere&board=neither"),
        (404, "board=A"),
        (400, "board=red&format=html"),
        (400, "board=red&ticket=x"),
        (400, "board=red&format=patch&format=patch"),
        (400, "since=now&board=red&since=10m"),
        (400, "board=red&last_event_id=a-1&last_event_id=a-2"),
        (400, "board=red&lastEventId=a-1&lastEventId="),
        (400, "board=red&heartbeat=event&heartbeat=comment"),
        (400, "board=red&compress=gzip&compress=gzip"),
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
}

const RED: &str = "/api/v1/boards/red/topics";

/// Waits until the list of a board is marked as stale, or no longer is. Returns it.
fn await_stale(node: &Node, path: &str, is_stale: bool) -> String {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let list = node.get(path);
        if list.header("kairanban-stale-since").is_some() == is_stale {
            return list.body;
        }
        assert!(Instant::now() < deadline, "{list:?}");
        thread::park_timeout(Duration::from_millis(20));
    }
}

/// Takes events up to a cursor, until the list of `board` is as long. Each cursor on the way has to
/// be earlier than `missed`, a change of the board, until that is there. Returns the client as it
/// was at each.
fn follow(
    client: &mut BoardMirrors,
    stream: &mut Reader,
    (board, topics): (&str, usize),
    missed: u64,
) -> Vec<BoardMirrors> {
    let mut at_each_cursor = Vec::new();
    while client.comments(board).len() < topics {
        client.take(stream);
        at_each_cursor.push(client.clone());
        let claims = revision_of(&client.cursor) >= missed;
        assert!(
            !claims || client.comments(board).len() == topics,
            "{} claims what {:?} does not hold",
            client.cursor,
            client.comments(board)
        );
    }
    at_each_cursor
}

/// A list without readers changed just before the database went away: it is shown as it was, and no
/// cursor claims the change.
#[test]
fn a_cursor_claims_no_change_that_the_database_kept_for_itself() {
    let (relay, url) = relayed(&Database::postgres());
    let node = with_boards(Database::Postgres(url));
    let list = node.get(RED).json();
    post(&node, "red", "second on red");
    // The node has published that once it shows what came after it.
    post(&node, "blue", "second on blue");
    let blue = node.get("/api/v1/boards/blue/topics").json();
    let missed = list["revision"].as_u64().expect("a revision") + 1;
    assert!(blue["revision"].as_u64() > Some(missed), "{list} {blue}");
    relay.swallow();
    assert!(!await_stale(&node, RED, true).contains("second on red"));
    let mut stream = node.stream(RED_AND_BLUE);
    let mut client = BoardMirrors::default();
    client.take(&mut stream);
    assert_eq!(client.comments("red"), ["first on red"]);
    assert_eq!(client.comments("blue"), ["first on blue", "second on blue"]);
    let mut away = client.clone();
    relay.heal();
    follow(&mut client, &mut stream, ("red", 2), missed);
    assert!(await_stale(&node, RED, false).contains("second on red"));
    away.take(&mut node.resume(RED_AND_BLUE, &away.cursor));
    assert_eq!(away.comments("red"), ["first on red", "second on red"]);
}

/// For tests with failpoints, which only debug builds have.
#[cfg(debug_assertions)]
mod unreadable {
    use super::*;

    crate::on_both!(no_cursor_passes_a_change_of_a_board_that_cannot_be_read);

    /// Posts on the board `dark` so that it has to be read, which fails a few times. Returns the
    /// revision.
    fn post_unread(database: &Database) -> u64 {
        database.sql(&format!(
            "BEGIN; INSERT INTO topics (board_id, comment) VALUES (2, 'second on dark'); \
             INSERT INTO changes ({}kind, board_id) VALUES ({}'clear', 2); COMMIT;",
            if database.is_postgres() {
                ""
            } else {
                "revision, "
            },
            if database.is_postgres() { "" } else { "0, " },
        ));
        let revision =
            database.sql("SELECT min(revision) FROM topics WHERE comment LIKE 'second%';");
        revision.parse().expect("a number")
    }

    fn no_cursor_passes_a_change_of_a_board_that_cannot_be_read(database: Database) {
        const BOTH: &str = "/stream?board=dark&board=main&format=patch";
        // On SQLite each statement has a revision of its own.
        let failpoints = "load-dark-4=6,load-dark-5=6";
        let node = Node::start_in(
            database,
            vec![("FAILPOINTS".to_owned(), failpoints.to_owned())],
        );
        node.database
            .sql("INSERT INTO boards (name) VALUES ('dark');");
        post(&node, "dark", "first on dark");
        let mut stream = node.stream(BOTH);
        let mut client = BoardMirrors::default();
        client.take(&mut stream);
        let missed = post_unread(&node.database);
        node.wait_for_readiness(Duration::from_secs(10), |(_, _, reasons)| {
            reasons.contains("dark")
        });
        node.post("goes on");
        let mut late = BoardMirrors::default();
        let mut joined = node.stream(BOTH);
        late.take(&mut joined);
        assert_eq!(late.comments("main"), ["goes on"]);
        assert_eq!(late.comments("dark"), ["first on dark"]);
        assert!(revision_of(&late.cursor) < missed, "{}", late.cursor);
        let mut earlier = vec![late.clone()];
        for (client, stream) in [(&mut client, &mut stream), (&mut late, &mut joined)] {
            earlier.extend(follow(client, stream, ("dark", 2), missed));
        }
        for mut client in earlier {
            client.take(&mut node.resume(BOTH, &client.cursor));
            assert_eq!(client.comments("dark"), ["first on dark", "second on dark"]);
            assert_eq!(client.comments("main"), ["goes on"]);
        }
    }
}
