//! A server that plays a script, and the events that it sends.

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    thread::{self, JoinHandle},
    time::Duration,
};

use kairanban_client::{Client, Follow};
use kairanban_core::{BoardName, Digest};
use serde_json::{Value, json};

/// The longest wait for a response or an event.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// A server that answers each connection with the next status and body, and keeps the heads of the
/// requests.
pub struct ScriptedServer {
    base: String,
    answering: JoinHandle<Vec<String>>,
}

impl ScriptedServer {
    pub fn play(answers: Vec<(&'static str, String)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let base = format!("http://{}", listener.local_addr().expect("an address"));
        let answering = thread::spawn(move || {
            let answers = answers.into_iter();
            answers
                .map(|(status, body)| answer(&listener, status, &body))
                .collect()
        });
        Self { base, answering }
    }

    pub fn client(&self) -> Client {
        Client::new(&self.base, Some("secret".to_owned())).expect("a client")
    }

    pub fn follow(&self) -> Follow {
        self.client().follow(board("main"))
    }

    /// Waits until the script has been played to its end. Returns the heads of the requests.
    pub fn requests(self) -> Vec<String> {
        self.answering
            .join()
            .expect("the script was played to its end")
    }
}

/// Answers the next connection, and returns the head of its request.
fn answer(listener: &TcpListener, status: &str, body: &str) -> String {
    let (mut socket, _) = listener.accept().expect("a connection");
    socket
        .set_read_timeout(Some(PATIENCE))
        .expect("a time limit");
    let request = read_request(&mut socket);
    let length = body.len();
    let head =
        format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
    // In small pieces, which end within lines and within letters.
    for piece in (head + body).as_bytes().chunks(7) {
        socket.write_all(piece).expect("a client that reads");
        socket.flush().expect("a client that reads");
    }
    request
}

/// Reads a request with its body, and returns its head in lower case.
fn read_request(socket: &mut TcpStream) -> String {
    let (mut read, mut buffer) = (Vec::new(), [0; 1_024]);
    loop {
        let length = socket.read(&mut buffer).expect("a request");
        read.extend(&buffer[..length]);
        let text = String::from_utf8_lossy(&read).to_lowercase();
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: ")?.parse().ok())
            .unwrap_or(0);
        if body.len() >= length {
            return head.to_owned();
        }
    }
}

pub fn board(name: &str) -> BoardName {
    name.parse().expect("a name")
}

pub fn header<'a>(request: &'a str, name: &str) -> Option<&'a str> {
    request
        .lines()
        .find_map(|line| line.split_once(": ").filter(|(key, _)| *key == name))
        .map(|(_, value)| value)
}

fn topic_json(id: u64, revision: u64, comment: &str) -> Value {
    let time = "2026-11-25T00:00:00Z";
    json!({
        "id": id, "comment": comment, "author": "", "revision": revision,
        "created_at": time, "updated_at": time, "edited_at": null,
    })
}

pub fn topic(id: u64, revision: u64, comment: &str) -> String {
    topic_json(id, revision, comment).to_string()
}

pub fn digest(pairs: &[(u64, u64)]) -> String {
    Digest::of_pairs(pairs.iter().copied()).to_string()
}

fn event(revision: u64, name: &str, data: &Value) -> String {
    format!("id: e-{revision}\nevent: {name}\ndata: {data}\n\n")
}

/// Makes the `snapshot` event of a list of topics (id and revision).
pub fn snapshot(revision: u64, topics: &[(u64, u64)]) -> String {
    let list: Vec<_> = topics
        .iter()
        .map(|(id, revision)| topic_json(*id, *revision, "回覧板"))
        .collect();
    let digest = digest(topics);
    let data = json!({"board": "main", "revision": revision, "digest": digest, "topics": list});
    event(revision, "snapshot", &data)
}

/// Makes the `patch` event that sets a topic, after which the list is `after`.
pub fn patch(from: u64, revision: u64, id: u64, after: &[(u64, u64)]) -> String {
    let op = json!({"op": "set", "topic": topic_json(id, revision, "new")});
    let data = json!({
        "board": "main", "from": from, "revision": revision,
        "digest": digest(after), "ops": [op],
    });
    event(revision, "patch", &data)
}

/// The first line of each stream, so that the client reconnects without a wait.
const AT_ONCE: &str = "retry: 1\n\n";

pub fn stream(events: &[&str]) -> (&'static str, String) {
    ("200 OK", AT_ONCE.to_owned() + &events.concat())
}
