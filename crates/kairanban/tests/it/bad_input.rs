//! Every request of `bad_input.toml`: the status, nothing stored, no event, and the next one is
//! answered.

use std::{
    io::{BufReader, Read as _, Write as _},
    net::SocketAddr,
    time::{Duration, Instant},
};

use serde::Deserialize;

use crate::{
    node::{Database, Node},
    wire,
};

crate::on_both!(
    every_bad_request_has_its_answer,
    a_refused_body_is_not_taken_for_the_next_request
);

/// A client that dribbles its request holds a connection, but not for long.
#[test]
fn a_request_that_does_not_arrive_is_given_up() {
    let node = Node::start_with(
        Database::sqlite(),
        &[("LIMITS__HEAD_WAIT_S", "1"), ("LIMITS__BODY_WAIT_S", "1")],
    );
    let head =
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nContent-Length: 60000\r\n";
    for (kind, sent) in [("head", head.to_owned()), ("body", format!("{head}\r\n"))] {
        let began = Instant::now();
        let mut connection = wire::connect(node.address);
        connection.write_all(sent.as_bytes()).expect("sent");
        connection
            .set_read_timeout(Some(Duration::from_millis(100)))
            .expect("a time limit");
        let mut answer = Vec::new();
        let mut piece = [0; 4096];
        while began.elapsed() < Duration::from_secs(8) {
            match connection.read(&mut piece) {
                Ok(0) => break,
                Ok(read) => answer.extend(&piece[..read]),
                // Nothing yet: a bit more of the request.
                Err(_) => drop(connection.write_all(b"x")),
            }
        }
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert!(answer.contains(" 408 "), "{kind}: {answer}");
        assert!(
            began.elapsed() < Duration::from_secs(4),
            "{kind}: {:?}",
            began.elapsed()
        );
    }
    assert_eq!(
        node.get("/api/v1/boards/main/topics").json()["topics"],
        serde_json::json!([])
    );
}

#[derive(Deserialize)]
struct Table {
    case: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    row: String,
    send: Option<String>,
    raw: Option<String>,
    #[serde(default)]
    head: Vec<String>,
    body: Option<String>,
    json: Option<String>,
    form: Option<String>,
    text: Option<String>,
    status: Vec<u16>,
    #[serde(default)]
    stored: bool,
    /// What must not stand in the answer.
    absent: Option<String>,
}

impl Case {
    fn bytes(&self) -> Vec<u8> {
        if let Some(raw) = &self.raw {
            return expand(raw);
        }
        let kinds = [
            (&self.json, "Content-Type: application/json"),
            (
                &self.form,
                "Content-Type: application/x-www-form-urlencoded",
            ),
            (&self.text, "Content-Type: text/plain"),
            (&self.body, ""),
        ];
        let (body, kind) = kinds
            .iter()
            .find_map(|(body, kind)| body.as_ref().map(|body| (expand(body), *kind)))
            .unwrap_or_default();
        let mut head = vec![
            format!("{} HTTP/1.1", self.send.as_deref().expect("send or raw")),
            "Host: localhost".to_owned(),
        ];
        head.extend(self.head.iter().cloned());
        head.extend([
            kind.to_owned(),
            format!("Content-Length: {}", body.len()),
            "Connection: close".to_owned(),
        ]);
        let head: Vec<_> = head
            .iter()
            .filter(|line| !line.is_empty())
            .map(|line| [&expand(line), b"\r\n".as_slice()].concat())
            .collect();
        [&head.concat(), b"\r\n".as_slice(), &body].concat()
    }
}

/// Fills in addresses, «x*70000» and «ff».
fn expand(text: &str) -> Vec<u8> {
    let addresses = [
        ("{B}", "/api/v1/boards/main/topics"),
        ("{F}", "/b/main"),
        ("{E}", "/b/main/stream"),
    ];
    let text = addresses
        .iter()
        .fold(text.to_owned(), |text, (name, address)| {
            text.replace(name, address)
        });
    let mut pieces = text.split('«');
    let mut bytes = pieces.next().unwrap_or_default().as_bytes().to_vec();
    for piece in pieces {
        let (token, rest) = piece.split_once('»').expect("»");
        match token.rsplit_once('*') {
            Some(("00", times)) => bytes.extend(vec![0; times.parse().expect("a number")]),
            Some((what, times)) => {
                bytes.extend(what.repeat(times.parse().expect("a number")).into_bytes())
            }
            None => bytes.push(u8::from_str_radix(token, 16).expect("a byte")),
        }
        bytes.extend(rest.as_bytes());
    }
    bytes
}

/// The status and the whole answer; 0 if there was none.
fn ask(address: SocketAddr, request: &[u8]) -> (u16, String) {
    let mut connection = wire::connect(address);
    connection
        .set_read_timeout(Some(Duration::from_secs(8)))
        .expect("a time limit");
    // It may be cut off while we still write.
    let _ = connection.write_all(request);
    let mut answer = Vec::new();
    let mut piece = [0; 4096];
    // To the end of the head and a bit: some of these connections stay open.
    while let Ok(read @ 1..) = connection.read(&mut piece) {
        answer.extend(&piece[..read]);
        if answer.windows(4).any(|end| end == b"\r\n\r\n") {
            break;
        }
    }
    let answer = String::from_utf8_lossy(&answer).into_owned();
    (
        answer
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok())
            .unwrap_or(0),
        answer,
    )
}

fn tag_of_list(node: &Node) -> Option<String> {
    let list = node.get("/api/v1/boards/main/topics");
    list.header("etag").map(str::to_owned)
}

fn every_bad_request_has_its_answer(database: Database) {
    // The table has more invalid tokens than one client may try in a minute.
    let node = Node::start_with(database, &[("LIMITS__BAD_TOKENS_PER_MIN", "1000")]);
    let text = include_str!("bad_input.toml");
    let table: Table = toml::from_str(text).expect("cases");
    let mut stream = node.stream("/b/main/stream?since=now");
    let mut wrong = Vec::new();
    for case in &table.case {
        let before = tag_of_list(&node);
        let (status, answer) = ask(node.address, &case.bytes());
        if !case.status.contains(&status) {
            wrong.push(format!(
                "{}: {status} instead of {:?}: {answer:.300}",
                case.row, case.status
            ));
        }
        if case
            .absent
            .as_ref()
            .is_some_and(|absent| answer.contains(absent))
        {
            wrong.push(format!("{}: {answer}", case.row));
        }
        // The next request is answered, and nothing was stored but what should be.
        if (tag_of_list(&node) != before) != case.stored {
            wrong.push(format!("{}: stored or not", case.row));
        }
        if case.stored {
            stream.event();
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        table.case.len(),
        wrong.join("\n")
    );
    stream.quiet_for(Duration::from_millis(300));
}

/// On a connection that stays open, what is left of a refused request must not become the next one.
fn a_refused_body_is_not_taken_for_the_next_request(database: Database) {
    let node = Node::start(database);
    let hidden =
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nContent-Length: 6\r\n\r\nhidden";
    for (kind, status) in [("application/xml", 415), ("application/json", 400)] {
        let mut connection = wire::connect(node.address);
        let request = wire::message("POST", "/", &[("Content-Type", kind)], hidden.as_bytes());
        connection.write_all(&request).expect("sent");
        let mut reader = BufReader::new(&connection);
        let (answered, _) = wire::read_head(&mut reader);
        assert_eq!(answered, status);
        // Either closed, or a new request is answered as itself.
        let _ =
            (&connection).write_all(b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        let mut rest = String::new();
        let _ = reader.read_to_string(&mut rest);
        assert!(!rest.contains("201 Created"), "{rest}");
    }
    assert_eq!(
        node.get("/api/v1/boards/main/topics").json()["topics"],
        serde_json::json!([])
    );
}
