//! Hides from actix requests to switch to another protocol, except for handshakes of WebSockets.
//!
//! A server may ignore any such request and answer as if it were not there (RFC 9110, section 7.8).
//! actix does neither: it takes what follows `Upgrade: websocket` for a body without an end,
//! whatever the method, and closes the connection after it has answered `Connection: upgrade`,
//! without a word. Java's HTTP client and `curl --http2` send that with each request that may lead
//! to HTTP/2. So what asks for it is overwritten before actix reads it.

use actix_http::{ConnectionType, RequestHead, ResponseHead};
use actix_web::http::Method;

/// Overwrites a name. It is as long, and means nothing.
const IGNORED: &[u8; 7] = b"Ignored";

/// What of the first line of a request says whether a WebSocket may begin with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestLine {
    /// The first bytes, as far as they have come.
    first: u32,
    /// The last bytes.
    last: u64,
    length: usize,
}

impl RequestLine {
    /// A line of which nothing has come.
    pub const EMPTY: Self = Self {
        first: 0,
        last: 0,
        length: 0,
    };

    /// Returns whether nothing of the line has come.
    pub const fn is_empty(self) -> bool {
        self.length == 0
    }

    /// Returns the line with one more byte. The end of the line is not part of it.
    pub fn with(mut self, byte: u8) -> Self {
        if byte != b'\r' {
            if self.length < size_of::<u32>() {
                self.first = self.first << 8 | u32::from(byte);
            }
            self.last = self.last << 8 | u64::from(byte);
            self.length += 1;
        }
        self
    }

    /// Returns whether it is a GET by HTTP/1.1, as a handshake is (RFC 6455, section 4.1).
    pub const fn may_begin_web_socket(self) -> bool {
        self.first == u32::from_be_bytes(*b"GET ") && self.last == u64::from_be_bytes(*b"HTTP/1.1")
    }
}

/// Returns whether a line that begins with this byte may be `Connection` or `Upgrade`.
pub const fn may_ask(first: u8) -> bool {
    matches!(first, b'C' | b'c' | b'U' | b'u')
}

/// Overwrites what asks for another protocol in the last lines of a head. They stay if they ask for
/// a WebSocket, and one may begin here.
pub fn ignore_upgrade(lines: &mut [u8], may_begin_web_socket: bool) {
    if may_begin_web_socket
        && names(lines, b"Upgrade", b"websocket")
        && names(lines, b"Connection", b"upgrade")
    {
        return;
    }
    for line in lines.split_mut(|byte| *byte == b'\n') {
        let (name, value) = line.split_at_mut(name_length(line));
        if name.eq_ignore_ascii_case(b"Upgrade") {
            name.copy_from_slice(IGNORED);
        } else if name.eq_ignore_ascii_case(b"Connection") {
            for element in value[1..].split_mut(|byte| *byte == b',') {
                let element = trimmed(element);
                if element.eq_ignore_ascii_case(b"upgrade") {
                    element.copy_from_slice(IGNORED);
                }
            }
        }
    }
}

/// Returns whether actix reads what follows this head as another protocol.
pub fn may_leave_http(head: &RequestHead) -> bool {
    head.upgrade() || head.method == Method::CONNECT
}

/// Closes the connection after this answer: actix reads what follows such a request as another
/// protocol.
pub fn close_after(head: &mut ResponseHead) {
    head.set_connection_type(ConnectionType::Close);
}

/// Returns whether one of the lines with this name has the element in its list.
fn names(lines: &[u8], name: &[u8], element: &[u8]) -> bool {
    lines
        .split(|byte| *byte == b'\n')
        .map(|line| line.split_at(name_length(line)))
        .filter(|(found, _)| found.eq_ignore_ascii_case(name))
        .flat_map(|(_, value)| value[1..].split(|byte| *byte == b','))
        .any(|found| found.trim_ascii().eq_ignore_ascii_case(element))
}

/// Returns the length of the name of a line: up to its colon; 0 if it has none.
fn name_length(line: &[u8]) -> usize {
    memchr::memchr(b':', line).unwrap_or_default()
}

fn trimmed(element: &mut [u8]) -> &mut [u8] {
    let begin = element.len() - element.trim_ascii_start().len();
    let length = element.trim_ascii().len();
    &mut element[begin..begin + length]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ignored(lines: &str, may_begin_web_socket: bool) -> String {
        let mut lines = lines.as_bytes().to_vec();
        ignore_upgrade(&mut lines, may_begin_web_socket);
        String::from_utf8(lines).expect("text")
    }

    #[test]
    fn what_asks_for_another_protocol_is_overwritten() {
        for (sent, read) in [
            ("Upgrade: h2c\r\n", "Ignored: h2c\r\n"),
            ("upgrade:websocket\n", "Ignored:websocket\n"),
            (
                "Connection: Upgrade, HTTP2-Settings\r\nUPGRADE: h2c\r\n",
                "Connection: Ignored, HTTP2-Settings\r\nIgnored: h2c\r\n",
            ),
            (
                "connection:keep-alive,\tuPGRADE ,close\r\n",
                "connection:keep-alive,\tIgnored ,close\r\n",
            ),
            (
                "Connection: upgrade\r\nX: y\r\nConnection: upgrade\r\n",
                "Connection: Ignored\r\nX: y\r\nConnection: Ignored\r\n",
            ),
        ] {
            for may_begin_web_socket in [false, true] {
                assert_eq!(ignored(sent, may_begin_web_socket), read);
            }
        }
    }

    #[test]
    fn a_handshake_stays_where_one_may_begin() {
        for sent in [
            "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
            "UPGRADE: h2c , WebSocket\r\nA: b\r\nconnection: keep-alive,upgrade\r\n\r\n",
            "Upgrade: h2c\r\nUpgrade: websocket\r\nConnection: a\r\nConnection: Upgrade\r\n\r\n",
        ] {
            assert_eq!(ignored(sent, true), sent);
            assert!(!ignored(sent, false).to_lowercase().contains("upgrade"));
        }
    }

    #[test]
    fn all_else_stays() {
        for sent in [
            "",
            "\r\n",
            "\n",
            ":",
            ": upgrade\r\n",
            "upgrade",
            "Connection\r\n",
            "Upgrade-Insecure-Requests: 1\r\nConnection: keep-alive, upgrades\r\n",
            "User-Agent: Upgrade: websocket\r\nCookie: Connection=upgrade\r\n",
            "Connection: \"upgrade\"\r\n",
        ] {
            assert_eq!(ignored(sent, false), sent);
            assert_eq!(ignored(sent, true), sent);
        }
    }

    #[test]
    fn a_web_socket_begins_with_a_get_by_http_1_1() {
        for (line, expected) in [
            ("GET /b/main/ws HTTP/1.1\r", true),
            ("GET  HTTP/1.1", true),
            ("GET /b/main/ws HTTP/1.0\r", false),
            ("get /b/main/ws HTTP/1.1", false),
            ("GETS / HTTP/1.1", false),
            ("POST / HTTP/1.1", false),
            ("GET ", false),
            ("", false),
        ] {
            let bytes = line.bytes();
            let line = bytes.fold(RequestLine::EMPTY, RequestLine::with);
            assert_eq!(line.may_begin_web_socket(), expected, "{line:?}");
        }
    }
}
