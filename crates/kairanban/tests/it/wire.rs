//! HTTP by hand, so that the tests see bytes and not a library's idea of them.

use std::{
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            line.split_once(": ")
                .filter(|(key, _)| key.eq_ignore_ascii_case(name))
                .map(|(_, value)| value)
        })
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Asserts that the answer is a problem with this status and code.
    #[track_caller]
    pub(crate) fn assert_problem(&self, status: u16, code: &str) {
        let problem = (self.status, self.json()["code"].as_str().map(str::to_owned));
        assert_eq!(problem, (status, Some(code.to_owned())), "{self:?}");
    }

    /// A string of the answer.
    #[track_caller]
    pub(crate) fn text(&self, key: &str) -> String {
        let answer = self.json();
        let text = answer[key].as_str();
        text.unwrap_or_else(|| panic!("no {key}: {self:?}"))
            .to_owned()
    }
}

/// Posts to the default board, as `curl -d` does.
pub(crate) fn post(address: SocketAddr, comment: &str) -> Answer {
    let headers = [("Content-Type", "text/plain")];
    request(address, "POST", "/", &headers, comment.as_bytes())
}

/// Sends one request on a connection of its own.
pub(crate) fn request(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Answer {
    let mut connection = connect(address);
    connection
        .write_all(&message(
            method,
            path,
            &[headers, &[("Connection", "close")]].concat(),
            body,
        ))
        .expect("sent");
    read_answer(&mut BufReader::new(connection), method == "HEAD")
}

pub(crate) fn connect(address: SocketAddr) -> TcpStream {
    let connection = TcpStream::connect(address).expect("a connection");
    connection
        .set_read_timeout(Some(PATIENCE))
        .expect("a time limit");
    connection
}

pub(crate) fn message(method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let headers: String = headers
        .iter()
        .map(|(name, value)| format!("{name}: {value}\r\n"))
        .collect();
    let length = if body.is_empty() && method != "POST" {
        String::new()
    } else {
        format!("Content-Length: {}\r\n", body.len())
    };
    [
        format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n{headers}{length}\r\n").as_bytes(),
        body,
    ]
    .concat()
}

pub(crate) fn read_answer(reader: &mut impl BufRead, head_only: bool) -> Answer {
    let (status, head) = read_head(reader);
    let mut body = Vec::new();
    if !head_only {
        if head.to_lowercase().contains("transfer-encoding: chunked") {
            while let Some(chunk) = read_chunk(reader) {
                body.extend(chunk);
            }
        } else {
            reader.read_to_end(&mut body).expect("a body");
        }
    }
    Answer {
        status,
        head,
        body: String::from_utf8(body).expect("text"),
    }
}

pub(crate) fn read_head(reader: &mut impl BufRead) -> (u16, String) {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert!(
            reader.read_line(&mut head).expect("a line") > 0,
            "the connection ended within the head: {head:?}"
        );
    }
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .expect("a status");
    (status, head)
}

/// One chunk, or `None` at the end.
pub(crate) fn read_chunk(reader: &mut impl BufRead) -> Option<Vec<u8>> {
    let mut size = String::new();
    if reader.read_line(&mut size).ok()? == 0 {
        return None;
    }
    let size = usize::from_str_radix(size.trim(), 16).expect("a chunk's size");
    let mut chunk = vec![0; size + 2];
    reader.read_exact(&mut chunk).ok()?;
    chunk.truncate(size);
    Some(chunk).filter(|chunk| !chunk.is_empty())
}

/// What has arrived, or `None` at the end.
pub(crate) fn read_some(reader: &mut impl BufRead) -> Option<Vec<u8>> {
    let some = reader.fill_buf().ok()?.to_vec();
    reader.consume(some.len());
    Some(some).filter(|some| !some.is_empty())
}
