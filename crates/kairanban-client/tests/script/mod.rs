//! A server that plays a script, and the events that it sends.

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    thread::{self, JoinHandle},
    time::Duration,
};

use kairanban_client::{Client, Follow};
use kairanban_core::{BoardName, Digest};

/// For each response and event.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Answers one connection after the other, each with the next status and body, and keeps the heads of the requests.
pub struct ScriptedServer {
    base: String,
    answering: JoinHandle<Vec<String>>,
}

impl ScriptedServer {
    pub fn play(answers: Vec<(&'static str, String)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let base = format!("http://{}", listener.local_addr().expect("an address"));
        let answering = thread::spawn(move || {
            let answer = |(status, body): (&str, String)| {
                let (mut socket, _) = listener.accept().expect("a connection");
                socket
                    .set_read_timeout(Some(PATIENCE))
                    .expect("a time limit");
                let request = read_request(&mut socket);
                let head = format!(
                    "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                    body.len()
                );
                // In small pieces, which end within lines and within letters.
                for piece in (head + &body).as_bytes().chunks(7) {
                    socket.write_all(piece).expect("a client that reads");
                    socket.flush().expect("a client that reads");
                }
                request
            };
            answers.into_iter().map(answer).collect()
        });
        Self { base, answering }
    }

    pub fn client(&self) -> Client {
        Client::new(&self.base, Some("secret".to_owned())).expect("a client")
    }

    pub fn follow(&self) -> Follow {
        self.client().follow(board("main"))
    }

    /// The heads of all requests that the script had answers for.
    pub fn requests(self) -> Vec<String> {
        self.answering
            .join()
            .expect("the script was played to its end")
    }
}

/// The head of a request in lower case; its body, of the length that it names, is read too.
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

pub fn topic(id: u64, revision: u64, comment: &str) -> String {
    let time = "2026-11-25T00:00:00Z";
    format!(
        r#"{{"id":{id},"comment":"{comment}","author":"","created_at":"{time}","updated_at":"{time}","edited_at":null,"revision":{revision}}}"#
    )
}

pub fn digest(pairs: &[(u64, u64)]) -> String {
    Digest::of_pairs(pairs.iter().copied()).to_string()
}

/// A list of topics (id and revision).
pub fn snapshot(revision: u64, topics: &[(u64, u64)]) -> String {
    let list: Vec<_> = topics
        .iter()
        .map(|(id, revision)| topic(*id, *revision, "回覧板"))
        .collect();
    let (digest, list) = (digest(topics), list.join(","));
    format!(
        "id: e-{revision}\nevent: snapshot\ndata: \
         {{\"board\":\"main\",\"revision\":{revision},\"digest\":\"{digest}\",\"topics\":[{list}]}}\n\n"
    )
}

/// A patch that sets a topic, after which the list is `after`.
pub fn patch(from: u64, revision: u64, id: u64, after: &[(u64, u64)]) -> String {
    let (topic, digest) = (topic(id, revision, "new"), digest(after));
    format!(
        "id: e-{revision}\nevent: patch\ndata: \
         {{\"board\":\"main\",\"from\":{from},\"revision\":{revision},\"digest\":\"{digest}\",\"ops\":[{{\"op\":\"set\",\"topic\":{topic}}}]}}\n\n"
    )
}

/// So that a test does not wait before the next stream.
const AT_ONCE: &str = "retry: 1\n\n";

pub fn stream(events: &[&str]) -> (&'static str, String) {
    ("200 OK", AT_ONCE.to_owned() + &events.concat())
}
