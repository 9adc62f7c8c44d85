//! Requests that are sent on one connection before the first one is answered: each answer is that
//! of its request, and ends where it ends.

mod upgrades;

use std::{
    io::{BufRead as _, BufReader, Read, Write as _},
    net::{Shutdown, TcpStream},
    thread,
};

use proptest::{
    collection::vec,
    prelude::*,
    sample::Index,
    test_runner::{Config, TestRunner},
};

use crate::{
    node::{Database, Node},
    wire,
};

const TOPICS: &str = "/api/v1/boards/main/topics";
/// What is asked for by GET and HEAD, some of it from memory and some from the database.
const PATHS: [&str; 7] = [
    "/livez",
    "/version",
    "/nowhere",
    "/b/main/topics?q=there",
    "/api/v1/boards/main/topics/1",
    "/api/v1/boards/nowhere",
    "/api/v1/boards/main/changes?limit=1",
];
/// Requests with bodies; those that are not allowed change nothing.
const BODIES: [&str; 3] = [
    r#"{"comment":"pipelined"}"#,
    r#"{"comment":" "}"#,
    "GET /nowhere HTTP/1.1\r\n\r\n",
];

/// One request: what it asks for, and how it is written.
#[derive(Clone, Debug)]
struct Asked {
    method: &'static str,
    text: String,
}

fn requests() -> impl Strategy<Value = Asked> {
    let reading = (any::<Index>(), any::<bool>(), any::<bool>()).prop_map(|(path, head, old)| {
        let method = if head { "HEAD" } else { "GET" };
        let path = path.get(&PATHS);
        let version = if old {
            "HTTP/1.0\r\nConnection: keep-alive"
        } else {
            "HTTP/1.1"
        };
        let text = format!("{method} {path} {version}\r\nHost: localhost\r\n\r\n");
        Asked { method, text }
    });
    let writing = (any::<Index>(), any::<bool>()).prop_map(|(body, is_chunked)| {
        let body = body.get(&BODIES);
        let end = if is_chunked {
            let (one, two) = body.split_at(5);
            let rest = two.len();
            format!(
                "Transfer-Encoding: chunked\r\n\r\n5\r\n{one}\r\n{rest:x}\r\n{two}\r\n0\r\n\r\n"
            )
        } else {
            format!("Content-Length: {}\r\n\r\n{body}", body.len())
        };
        let text = format!(
            "POST {TOPICS} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{end}"
        );
        Asked {
            method: "POST",
            text,
        }
    });
    prop_oneof![2 => reading, 1 => writing]
}

/// What must be the same whether a request is sent alone or among others.
#[derive(Debug, PartialEq, Eq)]
struct Answered {
    status: String,
    headers: Vec<String>,
    body: String,
}

fn value<'l>(lines: &'l [String], name: &str) -> Option<&'l str> {
    lines
        .iter()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

fn is_kept(line: &str) -> bool {
    [
        "content-type",
        "content-length",
        "transfer-encoding",
        "allow",
        "connection",
    ]
    .iter()
    .any(|name| line.starts_with(name))
}

/// Reads the lines before the body, in lower case.
fn read_head(input: &mut impl std::io::BufRead) -> Option<Vec<String>> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        input.read_line(&mut line).ok()?;
        match line.strip_suffix("\r\n")? {
            "" => return Some(lines),
            line => lines.push(line.to_lowercase()),
        }
    }
}

/// Reads one answer as a client does that follows RFC 9112, section 6.3.
fn read_answer(input: &mut impl std::io::BufRead, method: &str) -> Option<Answered> {
    let lines = read_head(input)?;
    let mut body = Vec::new();
    let has_body = method != "HEAD";
    if has_body && value(&lines, "transfer-encoding") == Some("chunked") {
        while let Some(chunk) = wire::read_chunk(input) {
            body.extend(chunk);
        }
    } else if has_body {
        let length = value(&lines, "content-length")?.parse().ok()?;
        input.take(length).read_to_end(&mut body).ok()?;
        if body.len() as u64 != length {
            return None;
        }
    }
    let status = lines.first()?.strip_prefix("http/1.")?.to_owned();
    let is_written = method == "POST" && status.contains("201");
    let mut headers: Vec<_> = lines.iter().filter(|line| is_kept(line)).cloned().collect();
    // The id of a topic, which may have more digits, and its times are new each time.
    headers.retain(|line| !is_written || !line.starts_with("content-length"));
    headers.sort();
    Some(Answered {
        headers,
        body: if is_written {
            String::new()
        } else {
            String::from_utf8(body).ok()?
        },
        status,
    })
}

fn alone(node: &Node, asked: &Asked) -> Answered {
    let mut connection = wire::connect(node.address);
    connection.write_all(asked.text.as_bytes()).expect("sent");
    read_answer(&mut BufReader::new(connection), asked.method).expect("an answer")
}

/// Sends all of it in pieces, and reads an answer for each.
fn together(node: &Node, all: &[Asked], cuts: &[usize], is_closed: bool) -> Vec<Option<Answered>> {
    let connection = wire::connect(node.address);
    connection.set_nodelay(true).expect("set");
    let output = connection.try_clone().expect("a socket");
    let text: String = all.iter().map(|asked| asked.text.as_str()).collect();
    thread::scope(|scope| {
        scope.spawn(move || send(output, text.as_bytes(), cuts, is_closed));
        let mut input = BufReader::new(connection);
        let mut answered: Vec<_> = all
            .iter()
            .map(|asked| read_answer(&mut input, asked.method))
            .collect();
        if is_closed && input.fill_buf().is_ok_and(|rest| !rest.is_empty()) {
            answered.push(None);
        }
        answered
    })
}

fn send(mut output: TcpStream, text: &[u8], cuts: &[usize], is_closed: bool) {
    let (mut rest, mut cuts) = (text, cuts.iter().cycle());
    while let Some(cut) = cuts.next().filter(|_| !rest.is_empty()) {
        let piece;
        (piece, rest) = rest.split_at(rest.len().min(*cut));
        output.write_all(piece).expect("sent");
        thread::yield_now();
    }
    if is_closed {
        output.shutdown(Shutdown::Write).expect("closed");
    }
}

#[test]
fn each_answer_is_that_of_its_request() {
    let settings = [
        ("LIMITS__READS_PER_CLIENT_BURST", "1000000"),
        ("LIMITS__POSTS_PER_CLIENT_BURST", "1000000"),
    ];
    let node = Node::start_with(Database::sqlite(), &settings);
    node.post("there before");
    let cuts = vec(prop_oneof![1..40_usize, 1_000..5_000_usize], 1..8);
    let strategy = (vec(requests(), 2..25), cuts, any::<bool>());
    let mut runner = TestRunner::new(Config {
        failure_persistence: None,
        ..Config::with_cases(80)
    });
    let run = runner.run(&strategy, |(all, cuts, is_closed)| {
        let answered = together(&node, &all, &cuts, is_closed);
        let expected: Vec<_> = all.iter().map(|asked| Some(alone(&node, asked))).collect();
        prop_assert_eq!(
            answered.len(),
            expected.len(),
            "nothing behind the last answer"
        );
        for ((asked, answered), expected) in all.iter().zip(answered).zip(expected) {
            prop_assert_eq!(answered, expected, "{:?}", asked);
        }
        Ok(())
    });
    run.unwrap_or_else(|error| panic!("{error}"));
}

/// As many as the server takes ahead, and many more.
#[test]
fn any_number_is_answered_in_order() {
    let node = Node::start(Database::sqlite());
    let all: Vec<_> = (0..4_000)
        .map(|n| Asked {
            method: if n % 2 == 0 { "HEAD" } else { "GET" },
            text: format!(
                "{} /nowhere-{n} HTTP/1.1\r\nHost: localhost\r\nAccept: text/plain\r\n\r\n",
                if n % 2 == 0 { "HEAD" } else { "GET" },
            ),
        })
        .collect();
    let answered = together(&node, &all, &[100_000], true);
    assert_eq!(answered.len(), all.len(), "nothing behind the last one");
    assert!(
        answered
            .iter()
            .flatten()
            .all(|answered| answered.status.contains("404")),
        "all are answered"
    );
    assert_eq!(answered.iter().flatten().count(), all.len());
}

/// What is refused before its body is read keeps its connection, if the body is there.
#[test]
fn a_body_that_is_not_read_does_not_end_the_connection() {
    let node = Node::start(Database::sqlite());
    for body in [1, 100, 3_000] {
        let text = format!(
            "POST /nowhere HTTP/1.1\r\nHost: localhost\r\nContent-Length: {body}\r\n\r\n{}",
            "x".repeat(body)
        );
        let all = vec![
            Asked {
                method: "POST",
                text
            };
            15
        ];
        let answered = together(&node, &all, &[100_000], true);
        let statuses: Vec<_> = answered.iter().flatten().map(|one| &one.status).collect();
        assert_eq!(statuses, [&statuses[0].clone(); 15], "{body} bytes each");
    }
}
