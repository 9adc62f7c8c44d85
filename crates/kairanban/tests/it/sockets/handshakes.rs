//! Handshakes by hand: an invalid one is refused with what to send (RFC 6455, section 4.2.2), and a
//! connection that is lost is no fault.

use std::{
    io::{BufReader, Read as _, Write as _},
    net::Shutdown,
};

use super::frames::{FINAL, TEXT, close_code, frame, handshake};
use crate::{
    node::{Database, Node},
    wire,
};

const GOOD: &str = "GET /b/main/ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n\
                    Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

fn with(from: &str, to: &str) -> String {
    assert!(GOOD.contains(from), "{from}");
    GOOD.replacen(from, to, 1)
}

/// What is replaced in a good handshake, by what, and the status of the answer.
const HANDSHAKES: [(&str, &str, u16); 17] = [
    ("", "", 101),
    ("websocket", "WebSocket", 101),
    (
        "Connection: Upgrade",
        "Connection: keep-alive, Upgrade",
        101,
    ),
    ("Version: 13", "Version: 8", 426),
    ("Version: 13", "Version: 14", 426),
    ("Version: 13", "Version: 13, 8", 426),
    ("Sec-WebSocket-Version: 13\r\n", "", 426),
    ("Upgrade: websocket\r\n", "", 426),
    ("websocket", "h2c", 426),
    ("websocket", "h2c, websocket", 426),
    ("websocket", "websocket\r\nUpgrade: h2c", 426),
    ("Connection: Upgrade", "Connection: close", 426),
    ("HTTP/1.1", "HTTP/1.0", 426),
    ("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", "", 400),
    (
        "\r\n\r\n",
        "\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
        400,
    ),
    ("\r\n\r\n", "\r\nContent-Length: 3\r\n\r\n", 400),
    ("\r\n\r\n", "\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
];

#[test]
fn what_is_no_handshake_is_refused_with_what_to_send() {
    let node = Node::start(Database::sqlite());
    for (good, other, status) in HANDSHAKES {
        let request = with(good, other);
        let mut connection = wire::connect(node.address);
        connection.write_all(request.as_bytes()).expect("sent");
        let (answered, head) = wire::read_head(&mut BufReader::new(connection));
        assert_eq!(answered, status, "{request}{head}");
        let head = head.to_lowercase();
        let says =
            head.contains("sec-websocket-version: 13") && head.contains("upgrade: websocket");
        assert!(status != 426 || says, "{request}{head}");
    }
}

#[test]
fn a_second_key_is_named() {
    let node = Node::start(Database::sqlite());
    let key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    for second in [key, "sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"] {
        let request = with(key, &format!("{key}{second}Accept: text/plain\r\n"));
        let mut connection = wire::connect(node.address);
        connection.write_all(request.as_bytes()).expect("sent");
        let answer = wire::read_answer(&mut BufReader::new(connection), false);
        assert_eq!(answer.status, 400, "{answer:?}");
        assert!(
            answer.body.contains("only one Sec-WebSocket-Key"),
            "{answer:?}"
        );
    }
}

#[test]
fn a_side_that_is_closed_without_a_close_frame_is_no_fault() {
    let node = Node::start(Database::sqlite());
    let half_a_frame = &frame(FINAL | TEXT, b"half")[..7];
    for sent in [&b""[..], half_a_frame] {
        let mut input = handshake(&node);
        input.get_mut().write_all(sent).expect("sent");
        input.get_ref().shutdown(Shutdown::Write).expect("closed");
        let code = close_code(&mut input);
        assert!(matches!(code, None | Some(0)), "{code:?}");
    }
}

#[test]
fn what_came_before_the_side_was_closed_is_answered() {
    let node = Node::start(Database::sqlite());
    for n in 0..20 {
        let mut input = handshake(&node);
        let text = format!(r#"{{"op":"create","comment":"{n}"}}"#);
        let message = frame(FINAL | TEXT, text.as_bytes());
        input.get_mut().write_all(&message).expect("sent");
        input.get_ref().shutdown(Shutdown::Write).expect("closed");
        let mut answered = Vec::new();
        input.read_to_end(&mut answered).expect("an end");
        let answered = String::from_utf8_lossy(&answered);
        assert!(answered.contains(r#""event":"ack""#), "{n}: {answered}");
    }
}
