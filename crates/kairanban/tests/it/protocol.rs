//! The transcripts of `docs/PROTOCOL.md` are what the server says.

use std::{
    io::{BufReader, Write as _},
    net::TcpStream,
};

use crate::{
    node::{Database, Node},
    wire,
};

#[test]
fn every_transcript_is_true() {
    let document = include_str!("../../../../docs/PROTOCOL.md");
    let transcripts: Vec<_> = document.split("```transcript\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(transcripts.len() >= 6, "the document has lost its transcripts");
    transcripts.into_iter().for_each(play);
}

/// Does what stands behind each `>`, and compares what the stream says then.
fn play(transcript: &str) {
    let node = Node::start(Database::sqlite());
    let epoch = node.get("/api/v1/boards/main/topics").header("etag").expect("a tag").trim_matches('"').to_owned();
    let epoch = epoch.split('-').next().expect("an epoch").to_owned();
    let mut stream = None;
    for step in format!("\n{transcript}").split("\n> ").filter(|step| !step.is_empty()) {
        let (command, expected) = step.split_once('\n').unwrap_or((step, ""));
        match command.split_once(' ').expect("a command") {
            ("post", what) => {
                let (board, text) = what.split_once(' ').expect("a board and a text");
                assert_eq!(node.send("POST", &format!("/b/{board}"), "text/plain", text).status, 201, "{command}");
            }
            ("sql", text) => drop(node.database.sql(text)),
            ("GET", what) => stream = Some(Said::open(&node, &what.replace("E-", &format!("{epoch}-")), epoch.clone())),
            other => panic!("no command: {other:?}"),
        }
        if !expected.is_empty() {
            let said = stream.as_mut().expect("an open stream").lines(expected.lines().count());
            assert_eq!(said.trim_end(), expected.trim_end(), "after {command}");
        }
    }
}

/// What a stream says, with everything that differs from run to run named.
struct Said {
    input: BufReader<TcpStream>,
    text: String,
    epoch: String,
}

impl Said {
    fn open(node: &Node, what: &str, epoch: String) -> Self {
        let (path, header) = what.split_once(' ').unwrap_or((what, ""));
        let headers: Vec<_> = header.split_once(": ").into_iter().collect();
        let mut connection = wire::connect(node.address);
        connection.write_all(&wire::message("GET", path, &headers, b"")).expect("sent");
        let mut input = BufReader::new(connection);
        assert_eq!(wire::read_head(&mut input).0, 200, "{what}");
        Self { input, text: String::new(), epoch }
    }

    fn lines(&mut self, count: usize) -> String {
        while self.text.lines().count() < count || !self.text.ends_with('\n') {
            let chunk = wire::read_chunk(&mut self.input).unwrap_or_else(|| panic!("{count} lines, got {:?}", self.text));
            self.text.push_str(std::str::from_utf8(&chunk).expect("UTF-8"));
            // The end of the event before.
            self.text.drain(..self.text.len() - self.text.trim_start_matches('\n').len());
        }
        let end = self.text.match_indices('\n').nth(count - 1).expect("so many lines").0 + 1;
        let said: String = self.text.drain(..end).collect();
        named(&said.replace(&format!("{}-", self.epoch), "E-"))
    }
}

/// Names times and random numbers.
fn named(text: &str) -> String {
    let lines = text.lines().map(|line| if line.starts_with("retry: ") { "retry: N".to_owned() } else { without_times(line) });
    lines.map(|line| line + "\n").collect()
}

fn without_times(line: &str) -> String {
    let mut out = String::new();
    let mut rest = line;
    // As in 2026-11-23T11:42:29.286860Z, and as a page shows it.
    while let Some(at) = rest.find("20").filter(|_| rest.is_ascii()) {
        let time = ["dddd-dd-ddTdd:dd:dd.ddddddZ", "dddd-dd-dd dd:dd UTC"].into_iter().find(|shape| {
            let found = rest.as_bytes()[at..].iter().take(shape.len());
            found.len() == shape.len()
                && found.zip(shape.bytes()).all(|(byte, kind)| if kind == b'd' { byte.is_ascii_digit() } else { *byte == kind })
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
