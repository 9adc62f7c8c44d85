//! Follows a board with the libraries that programs use for it. Each is one and the same story, so
//! that a library that takes something amiss is seen to.

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{OnceLock, mpsc},
    thread,
    time::Instant,
};

use serde_json::Value;

use crate::{
    foreign_clients::{alone, attempt, installed, source},
    node::{Database, Node},
    relay::Relay,
    sse::{Event, Mirror},
    wire::PATIENCE,
};

/// A library, and what it does otherwise than the standard says.
struct Library {
    name: &'static str,
    path: &'static str,
    /// Whether it takes what the end of the connection cut short for an event.
    takes_parts: bool,
    /// How many bytes must be missing of an event (and of its chunk) so that it keeps the id all
    /// the same: it goes by the line of the id, and does not wait for the end of the event.
    loses_at: Option<usize>,
}

const STREAM: &str = "/b/news/stream?format=patch";

macro_rules! libraries {
    ($($module:ident = $library:expr;)+) => {$(
        mod $module {
            use super::*;
            #[test]
            #[ignore = "takes `scripts/setup clients`; `scripts/test clients` runs it"]
            fn shows_each_text_once_through_cuts_and_restarts() {
                super::shows_each_text_once_through_cuts_and_restarts(&$library);
            }
            #[test]
            #[ignore = "takes `scripts/setup clients`; `scripts/test clients` runs it"]
            fn loses_nothing_wherever_an_event_is_cut() {
                super::loses_nothing_wherever_an_event_is_cut(&$library);
            }
            #[test]
            #[ignore = "takes `scripts/setup clients`; `scripts/test clients` runs it"]
            fn comes_back_after_a_refusal() {
                super::comes_back_after_a_refusal(&$library);
            }
        }
    )+};
}

libraries! {
    httpx_sse = Library { name: "httpx-sse", path: STREAM, takes_parts: false, loses_at: None };
    sseclient_py = Library { name: "sseclient-py", path: STREAM, takes_parts: false, loses_at: None };
    requests = Library { name: "requests", path: "/b/news/stream?format=ndjson", takes_parts: false, loses_at: None };
    websockets = Library { name: "websockets", path: "/b/news/ws", takes_parts: false, loses_at: None };
    eventsource = Library { name: "eventsource", path: STREAM, takes_parts: false, loses_at: None };
    fetch_event_source = Library { name: "fetch-event-source", path: STREAM, takes_parts: false, loses_at: Some("\n\r\n".len()) };
    r3labs_sse = Library { name: "r3labs/sse", path: STREAM, takes_parts: true, loses_at: None };
}

impl Library {
    /// Returns the command of the program that uses it.
    fn command(&self) -> Command {
        match self.name {
            "r3labs/sse" => Command::new(follow_in_go()),
            "eventsource" | "eventsource that ignores bye" | "fetch-event-source" => {
                let mut command = alone(Command::new("node"));
                command.arg(source("npm/follow.js")).arg(self.name);
                command
            }
            _ => {
                let mut command = installed("python/bin/python");
                command.arg(source("python/follow.py")).arg(self.name);
                command
            }
        }
    }

    fn is_socket(&self) -> bool {
        self.path.ends_with("/ws")
    }
}

/// Builds the program in Go once.
fn follow_in_go() -> &'static std::path::Path {
    static PROGRAM: OnceLock<tempfile::TempDir> = OnceLock::new();
    static PATH: OnceLock<std::path::PathBuf> = OnceLock::new();
    PATH.get_or_init(|| {
        let folder = PROGRAM.get_or_init(|| tempfile::tempdir().expect("a folder"));
        let program = folder.path().join("follow");
        let mut build = alone(Command::new("go"));
        let build = build.args(["build", "-o"]).arg(&program).arg("./follow");
        attempt(build.current_dir(source("go"))).unwrap_or_else(|error| panic!("{error}"));
        program
    })
}

/// A program that follows a board, and what it has shown of it.
struct Following<'a> {
    library: &'a Library,
    program: Child,
    lines: mpsc::Receiver<String>,
    mirror: Mirror,
    /// The names of the events, as they came; of a `bye` the reason.
    names: Vec<String>,
    was_cut: bool,
}

impl<'a> Following<'a> {
    fn start(library: &'a Library, address: std::net::SocketAddr) -> Self {
        let scheme = if library.is_socket() { "ws" } else { "http" };
        let url = format!("{scheme}://{address}{}", library.path);
        let mut program = library
            .command()
            .arg(url)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program; scripts/test clients installs it");
        let output = BufReader::new(program.stdout.take().expect("a pipe"));
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            output
                .lines()
                .map_while(Result::ok)
                .try_for_each(|line| sender.send(line))
        });
        Self {
            library,
            program,
            lines,
            mirror: Mirror::default(),
            names: Vec::new(),
            was_cut: false,
        }
    }

    /// Takes the next event, which is not empty.
    fn next(&mut self) -> Event {
        let line = self
            .lines
            .recv_timeout(PATIENCE)
            .unwrap_or_else(|_| panic!("{}: an event after {:?}", self.library.name, self.names));
        let line: Value = serde_json::from_str(&line).expect("a line of JSON");
        let event = Event {
            name: line["event"].as_str().unwrap_or_default().to_owned(),
            id: line["id"].as_str().map(str::to_owned),
            data: line["data"].as_str().expect("data").to_owned(),
            ..Event::default()
        };
        self.names.push(match event.name.as_str() {
            "bye" => event.json()["reason"].to_string(),
            name => name.to_owned(),
        });
        event
    }

    /// Takes the next event as the protocol says.
    fn take(&mut self) {
        let event = self.next();
        if self.was_cut && self.library.takes_parts && event.data.is_empty() {
            return;
        }
        assert!(
            !event.name.is_empty() && !event.data.is_empty(),
            "{}: an empty event {event:?} after {:?}",
            self.library.name,
            self.names
        );
        self.mirror.take(&event);
    }

    fn shows(&mut self, expected: &[String]) {
        while self.mirror.comments() != expected {
            self.take();
        }
    }

    /// Waits for the end of the program.
    fn end(mut self) -> ExitStatus {
        let began = Instant::now();
        loop {
            if let Some(status) = self.program.try_wait().expect("a status") {
                return status;
            }
            assert!(began.elapsed() < PATIENCE, "it ends");
            thread::park_timeout(std::time::Duration::from_millis(10));
        }
    }
}

impl Drop for Following<'_> {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.program.kill();
        let _ = self.program.wait();
    }
}

/// Texts that a reader may take for something else. Some cannot be posted, but other programs can
/// write them.
const TEXTS: [&str; 12] = [
    "quotes \" ' ` \\ \\n \\u2028 and </script>",
    "lines\nand\n\nlines",
    "data: x\n\nid: 0-0\nevent: bye\ndata: {}\n\n: x",
    "👩‍👩‍👧‍👦 🇯🇵 回覧板 ＮＨＫ é e\u{301}",
    "U+2028 \u{2028} and U+2029 \u{2029} inside",
    "U+0085 \u{85} inside",
    "\u{2028}U+2028 first",
    "CR \r and CRLF \r\n inside",
    "tab \t and vertical tab \u{b} and form feed \u{c}",
    "separators \u{1c} \u{1d} \u{1e} \u{1f}",
    "\u{feff}a byte-order mark first",
    "U+10FFFD \u{10fffd}, U+FFFF \u{ffff}",
];

fn node(settings: &[(&str, &str)]) -> Node {
    let quick = [
        ("STREAM__RETRY_MIN_MS", "50"),
        ("STREAM__RETRY_MAX_MS", "100"),
    ];
    let node = Node::start_with(Database::sqlite(), &[&quick, settings].concat());
    node.database
        .sql("INSERT INTO boards (name) VALUES ('news');");
    node
}

/// Writes a topic by another program, byte for byte.
fn write(node: &Node, comment: &str) {
    use std::fmt::Write as _;
    let mut bytes = String::new();
    for byte in comment.bytes() {
        let _ = write!(bytes, "{byte:02x}");
    }
    node.database.sql(&format!(
        "INSERT INTO topics (board_id, comment) SELECT id, CAST(x'{bytes}' AS TEXT) FROM boards WHERE name = 'news';"
    ));
}

fn post(node: &Node, comment: &str) {
    let answer = node.send("POST", "/b/news", "text/plain", comment);
    assert_eq!(answer.status, 201, "{answer:?}");
}

fn shows_each_text_once_through_cuts_and_restarts(library: &Library) {
    let mut node = node(&[("STREAM__HEARTBEAT_S", "1")]);
    let mut shown = vec!["before".to_owned()];
    post(&node, "before");
    let relay = Relay::to(node.address.to_string());
    let mut program = Following::start(library, relay.address);
    program.take();
    assert_eq!(program.mirror.comments(), shown, "{:?}", program.names);
    for text in TEXTS {
        write(&node, text);
        shown.push(text.to_owned());
        program.shows(&shown);
    }
    // After heartbeats, which are no events.
    let mut beside = node.stream(STREAM);
    let beats = std::iter::from_fn(|| beside.raw(PATIENCE)).filter(|event| event.comment);
    assert_eq!(beats.take(2).count(), 2);
    for (text, is_cut) in [
        ("after heartbeats", false),
        ("after a cut", true),
        ("and another", true),
    ] {
        if is_cut {
            relay.cut();
            program.was_cut = true;
        }
        post(&node, text);
        shown.push(text.to_owned());
        program.shows(&shown);
    }
    for is_planned in [true, false] {
        if is_planned {
            node.terminate();
            node.end(PATIENCE);
        } else {
            node.kill();
        }
        let text = format!("while it is away ({is_planned})");
        write(&node, &text);
        shown.push(text);
        node.restart_at_the_same_address();
        program.shows(&shown);
    }
    // The list once, and then changes alone: nothing was lost or came twice, as the mirror asserts
    // for each.
    let count = |name| program.names.iter().filter(|seen| *seen == name).count();
    let counts = (count("snapshot"), count("reset"));
    assert!(
        counts == (1, 0) && count("\"shutdown\"") > 0,
        "{:?}",
        program.names
    );
    node.database.sql("DELETE FROM boards WHERE name = 'news';");
    while program.names.last().is_none_or(|name| name != "\"gone\"") {
        program.take();
    }
    assert!(program.end().success());
}

/// Whichever byte of an event is the last to arrive: nothing is lost.
fn loses_nothing_wherever_an_event_is_cut(library: &Library) {
    let node = node(&[]);
    let relay = Relay::to(node.address.to_string());
    let mut program = Following::start(library, relay.address);
    program.take();
    let mut shown = Vec::new();
    // An event of one topic has some 330 bytes; at its end a cursor may come without its event.
    let missing = (0..60).chain((60..360).step_by(17));
    for missing in missing.filter(|missing| Some(*missing) != library.loses_at) {
        relay.cut_short_by(missing);
        let text = format!("cut short by {missing}");
        post(&node, &text);
        shown.push(text);
        // What did not come before the cut comes after it.
        while program.mirror.comments() != shown {
            program.take_what_came();
        }
    }
}

impl Following<'_> {
    /// Takes an event that may be a part of one, as a program does that skips what it cannot read.
    fn take_what_came(&mut self) {
        let event = self.next();
        let data = serde_json::from_str::<Value>(&event.data).unwrap_or_default();
        let revision = data["revision"].as_u64();
        let is_whole = revision.is_some_and(|revision| {
            let id = event.id.as_deref().unwrap_or_default();
            id.ends_with(&format!("-{revision}"))
        });
        if is_whole && revision > Some(self.mirror.revision) {
            self.mirror.take(&event);
        } else {
            // By the protocol, what leads no further is skipped.
            assert!(
                self.library.takes_parts,
                "a part of an event, or one twice: {event:?}"
            );
        }
    }
}

fn comes_back_after_a_refusal(library: &Library) {
    let settings = [
        ("LIMITS__STREAMS_PER_CLIENT_MAX", "1"),
        ("STREAM__RETRY_REFUSED_MS", "100"),
    ];
    let node = node(&settings);
    post(&node, "waited for");
    let mut other = node.stream(STREAM);
    other.event();
    let mut program = Following::start(library, node.address);
    // A socket is refused by its status.
    if !library.is_socket() {
        program.take();
        assert_eq!(program.names, ["\"limit\""]);
    }
    drop(other);
    program.shows(&["waited for".to_owned()]);
}

/// A page that does not know `bye` comes back, and is answered for good.
#[test]
#[ignore = "takes `scripts/setup clients`; `scripts/test clients` runs it"]
fn an_event_source_that_ignores_bye_ends_by_itself() {
    let library = Library {
        name: "eventsource that ignores bye",
        path: STREAM,
        takes_parts: false,
        loses_at: None,
    };
    let node = node(&[]);
    let mut program = Following::start(&library, node.address);
    program.take();
    node.database.sql("DELETE FROM boards WHERE name = 'news';");
    while program.next().name != "refused" {}
    assert_eq!(program.names, ["snapshot", "\"gone\"", "refused"]);
    assert!(program.end().success());
}
