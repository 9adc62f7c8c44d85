//! The transcripts of `docs/PROTOCOL.md` are what the server says.

use std::{
    io::{BufReader, Write as _},
    net::TcpStream,
};

use crate::{
    node::{Database, Lock, Node},
    wire,
};

crate::on_both!(this_server_keeps_every_rule);

#[test]
fn every_transcript_is_true() {
    let document = include_str!("../../../../docs/PROTOCOL.md");
    let transcripts: Vec<_> = document
        .split("```transcript\n")
        .skip(1)
        .filter_map(|rest| rest.split("```").next())
        .collect();
    assert!(
        transcripts.len() >= 6,
        "the document has lost its transcripts"
    );
    transcripts.into_iter().for_each(play);
}

/// Does what stands behind each `>`, and compares what the stream says then.
fn play(transcript: &str) {
    let mut player = Player::new(transcript);
    for step in format!("\n{transcript}")
        .split("\n> ")
        .filter(|step| !step.is_empty())
    {
        let (command, expected) = step.split_once('\n').unwrap_or((step, ""));
        player.perform(command);
        let expected = expected.trim_end();
        if !expected.is_empty() {
            let said = player.stream().lines(expected.lines().count());
            assert_eq!(said.trim_end(), expected, "after {command}");
        }
    }
}

/// A server, and the reader of a transcript.
struct Player {
    node: Node,
    epoch: String,
    lock: Option<Lock>,
    stream: Option<Said>,
}

impl Player {
    /// Starts a server as the transcript needs it.
    fn new(transcript: &str) -> Self {
        let settings = transcript
            .lines()
            .filter_map(|line| line.strip_prefix("> with ")?.split_once('='));
        let database = if transcript.contains("> lock") {
            Database::postgres()
        } else {
            Database::sqlite()
        };
        let node = Node::start_with(database, &settings.collect::<Vec<_>>());
        let list = node.get("/api/v1/boards/main/topics");
        let tag = list.header("etag").expect("a tag").trim_matches('"');
        Self {
            epoch: tag.split('-').next().expect("an epoch").to_owned(),
            node,
            lock: None,
            stream: None,
        }
    }

    fn stream(&mut self) -> &mut Said {
        self.stream.as_mut().expect("an open stream")
    }

    fn perform(&mut self, command: &str) {
        let epoch = self.epoch.clone();
        match command.split_once(' ').unwrap_or((command, "")) {
            ("post", what) => self.post(what),
            ("sql", text) => drop(self.node.database.sql(text)),
            ("GET", what) => {
                let what = what.replace("E-", &format!("{epoch}-"));
                // The stream before stays open until the next one is.
                self.stream = Some(Said::open(&self.node, &what, epoch));
            }
            ("ws", path) => self.stream = Some(Said::socket(&self.node, path, epoch)),
            ("send", text) => self.stream().send(text),
            ("lock", _) => self.lock = Some(self.node.database.lock("topics, changes")),
            ("unlock", _) => drop(self.lock.take()),
            ("restart", _) => {
                self.node.kill();
                self.node.restart();
            }
            ("flood", _) => {
                flood(&self.node);
                self.stream().skip_to("event: reset");
            }
            ("with", _) => {}
            other => panic!("no command: {other:?}"),
        }
    }

    /// Posts a text to a board, as in `main hello`.
    fn post(&self, what: &str) {
        let (board, text) = what.split_once(' ').expect("a board and a text");
        let answer = self
            .node
            .send("POST", &format!("/b/{board}"), "text/plain", text);
        assert_eq!(answer.status, 201, "{what}");
    }
}

/// Writes more than fits between the server and a reader who takes nothing, again and again.
fn flood(node: &Node) {
    let row = format!("(1, '{}')", "x".repeat(2_000));
    for _ in 0..60 {
        let rows = vec![row.as_str(); 100].join(",");
        // So that each is an update of its own, wait until the server has seen it.
        node.database.sql(&format!(
            "BEGIN; INSERT INTO topics (board_id, comment) VALUES {rows}; COMMIT;"
        ));
        node.post("seen");
    }
}

/// What a stream says, with everything that differs from run to run named.
struct Said {
    input: Input,
    text: String,
    epoch: String,
}

enum Input {
    Chunks(BufReader<TcpStream>),
    /// A refusal is complete when it is sent.
    Whole(BufReader<TcpStream>),
    /// A frame is a line.
    Frames(Box<tungstenite::WebSocket<TcpStream>>),
}

impl Input {
    fn more(&mut self) -> Option<Vec<u8>> {
        match self {
            Self::Chunks(input) => wire::read_chunk(input),
            Self::Whole(input) => wire::read_some(input),
            Self::Frames(socket) => match socket.read().ok()? {
                tungstenite::Message::Text(text) => Some(format!("{text}\n").into_bytes()),
                _ => None,
            },
        }
    }
}

impl Said {
    fn open(node: &Node, what: &str, epoch: String) -> Self {
        let (path, header) = what.split_once(' ').unwrap_or((what, ""));
        let headers: Vec<_> = header.split_once(": ").into_iter().collect();
        let mut connection = wire::connect(node.address);
        connection
            .write_all(&wire::message("GET", path, &headers, b""))
            .expect("sent");
        let mut input = BufReader::new(connection);
        let (status, head) = wire::read_head(&mut input);
        assert_eq!(status, 200, "{what}");
        let chunked = head.to_lowercase().contains("transfer-encoding: chunked");
        let input = if chunked {
            Input::Chunks(input)
        } else {
            Input::Whole(input)
        };
        Self {
            input,
            text: String::new(),
            epoch,
        }
    }

    fn socket(node: &Node, path: &str, epoch: String) -> Self {
        let (socket, _) =
            tungstenite::client(format!("ws://localhost{path}"), wire::connect(node.address))
                .expect("a socket");
        Self {
            input: Input::Frames(Box::new(socket)),
            text: String::new(),
            epoch,
        }
    }

    fn send(&mut self, text: &str) {
        let Input::Frames(socket) = &mut self.input else {
            panic!("only a socket can be sent something")
        };
        socket.send(tungstenite::Message::text(text)).expect("sent");
    }

    fn skip_to(&mut self, mark: &str) {
        while !self.text.contains(mark) {
            let chunk = self
                .input
                .more()
                .unwrap_or_else(|| panic!("the end came before {mark:?}"));
            self.text
                .push_str(std::str::from_utf8(&chunk).expect("UTF-8"));
        }
        self.text.drain(..self.text.find(mark).expect("just seen"));
    }

    fn lines(&mut self, count: usize) -> String {
        while self.text.lines().count() < count || !self.text.ends_with('\n') {
            let chunk = self
                .input
                .more()
                .unwrap_or_else(|| panic!("{count} lines, got {:?}", self.text));
            self.text
                .push_str(std::str::from_utf8(&chunk).expect("UTF-8"));
            // The end of the event before.
            self.text
                .drain(..self.text.len() - self.text.trim_start_matches('\n').len());
        }
        let end = self
            .text
            .match_indices('\n')
            .nth(count - 1)
            .expect("enough lines")
            .0
            + 1;
        let said: String = self.text.drain(..end).collect();
        named(&said.replace(&format!("{}-", self.epoch), "E-"))
    }
}

/// Names times and random numbers.
fn named(text: &str) -> String {
    let lines = text
        .lines()
        .map(|line| match line.split_once("\"retry_ms\":") {
            _ if line.starts_with("retry: ") => "retry: N".to_owned(),
            Some((before, rest)) => format!(
                "{before}\"retry_ms\":N{}",
                rest.trim_start_matches(|c: char| c.is_ascii_digit())
            ),
            None => without_times(line),
        });
    lines.map(|line| line + "\n").collect()
}

fn without_times(line: &str) -> String {
    let mut out = String::new();
    let mut rest = line;
    // As in 2026-11-23T11:42:29.286860Z, and as a page shows it.
    while let Some(at) = rest.find("20").filter(|_| rest.is_ascii()) {
        let time = [
            "dddd-dd-ddTdd:dd:dd.ddddddZ",
            "dddd-dd-ddTdd:dd:ddZ",
            "dddd-dd-dd dd:dd UTC",
        ]
        .into_iter()
        .find(|shape| {
            let found = rest.as_bytes()[at..].iter().take(shape.len());
            found.len() == shape.len()
                && found.zip(shape.bytes()).all(|(byte, kind)| {
                    if kind == b'd' {
                        byte.is_ascii_digit()
                    } else {
                        *byte == kind
                    }
                })
        });
        out.push_str(&rest[..at]);
        let taken = match time {
            Some(shape) => {
                out.push('T');
                shape.len()
            }
            None => {
                out.push_str("20");
                2
            }
        };
        rest = &rest[at + taken..];
    }
    out + rest
}

fn this_server_keeps_every_rule(database: Database) {
    let node = Node::start(database);
    let server =
        kairanban_conformance::TestedServer::new(&format!("http://{}", node.address), "main", None)
            .expect("an address");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let verdicts = runtime.block_on(server.check(|_| {}));
    let broken: Vec<_> = verdicts
        .iter()
        .filter(|verdict| verdict.outcome.is_err())
        .collect();
    assert!(broken.is_empty() && verdicts.len() >= 20, "{broken:#?}");
}
