//! Frames as bytes: every fault is answered with its close code (RFC 6455), and the connection
//! ends.

use std::{
    io::{BufReader, Read, Write as _},
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

use crate::{
    node::{Database, Node},
    wire,
};

pub(crate) const TEXT: u8 = 1;
pub(crate) const BINARY: u8 = 2;
pub(crate) const CLOSE: u8 = 8;
pub(crate) const PING: u8 = 9;
pub(crate) const PONG: u8 = 10;
pub(crate) const FINAL: u8 = 0x80;

/// The headers that ask for a socket.
pub(crate) const HANDSHAKE: [(&str, &str); 4] = [
    ("Connection", "Upgrade"),
    ("Upgrade", "websocket"),
    ("Sec-WebSocket-Version", "13"),
    ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
];

/// A frame with a mask of zeros, which leaves the content as it is.
pub(crate) fn frame(first: u8, content: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match u16::try_from(content.len()) {
        Ok(short) if short < 126 => frame.push(0x80 | short.to_be_bytes()[1]),
        Ok(long) => {
            frame.push(0x80 | 126);
            frame.extend(long.to_be_bytes());
        }
        Err(_) => {
            frame.push(0x80 | 127);
            frame.extend((content.len() as u64).to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.extend(content);
    frame
}

pub(crate) fn handshake(node: &Node) -> BufReader<TcpStream> {
    handshake_at(node, "/b/main/ws")
}

fn handshake_at(node: &Node, path: &str) -> BufReader<TcpStream> {
    handshake_from(node, path, &[])
}

/// Opens a socket by a request with more headers.
pub(crate) fn handshake_from(
    node: &Node,
    path: &str,
    more: &[(&str, &str)],
) -> BufReader<TcpStream> {
    let (status, input) = ask_for_socket(node, path, more);
    assert_eq!(status, 101);
    input
}

/// Asks for a socket. Returns the status of the answer, and what follows it.
pub(crate) fn ask_for_socket(
    node: &Node,
    path: &str,
    more: &[(&str, &str)],
) -> (u16, BufReader<TcpStream>) {
    let mut connection = wire::connect(node.address);
    connection
        .write_all(&wire::message(
            "GET",
            path,
            &[&HANDSHAKE, more].concat(),
            b"",
        ))
        .expect("sent");
    let mut input = BufReader::new(connection);
    (wire::read_head(&mut input).0, input)
}

/// Reads frames up to the end of the connection. Returns the code of the close frame; 0 stands for
/// one without a code.
pub(crate) fn close_code(input: &mut impl Read) -> Option<u16> {
    let mut code = None;
    let mut head = [0; 2];
    while input.read_exact(&mut head).is_ok() {
        let mut length = u64::from(head[1]);
        if length == 126 {
            let mut long = [0; 2];
            input.read_exact(&mut long).expect("a length");
            length = u64::from(u16::from_be_bytes(long));
        } else if length == 127 {
            let mut long = [0; 8];
            input.read_exact(&mut long).expect("a length");
            length = u64::from_be_bytes(long);
        }
        let mut content = Vec::new();
        input
            .take(length)
            .read_to_end(&mut content)
            .expect("a frame");
        if head[0] & 0xf == CLOSE {
            code = Some(
                content
                    .first_chunk()
                    .map_or(0, |code| u16::from_be_bytes(*code)),
            );
        }
    }
    code
}

/// A close frame with a mask that changes each byte.
fn masked(content: &[u8]) -> Vec<u8> {
    let mut frame = frame(FINAL | CLOSE, content);
    let mask = [0x37, 0xfa, 0x21, 0x3d];
    let (head, masked) = frame.split_at_mut(6);
    head[2..].copy_from_slice(&mask);
    for (byte, mask) in masked.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
    frame
}

/// A fault of a client: its name, the close code that it gets, and the bytes.
type ClientFault = (&'static str, u16, Vec<u8>);

fn faults_of_text() -> Vec<ClientFault> {
    let half = [frame(TEXT, b"\xe5"), frame(FINAL, b"\x9b")].concat();
    vec![
        (
            "bytes that are no UTF-8",
            1007,
            frame(FINAL | TEXT, b"\xff\xfe"),
        ),
        ("half a character at the end of fragments", 1007, half),
        ("an overlong form", 1007, frame(FINAL | TEXT, b"\xc0\x80")),
        ("a surrogate", 1007, frame(FINAL | TEXT, b"\xed\xa0\x80")),
        (
            "a reason that is no UTF-8",
            1007,
            frame(FINAL | CLOSE, b"\x03\xe8\xff"),
        ),
        (
            "half a character of a reason",
            1007,
            masked(b"\x03\xe8\xe5\x9b"),
        ),
    ]
}

fn faults_of_frames() -> Vec<ClientFault> {
    let within = [frame(TEXT, b"a"), frame(FINAL | TEXT, b"b")].concat();
    vec![
        ("no mask", 1002, vec![FINAL | TEXT, 2, b'{', b'}']),
        ("an opcode that does not exist", 1002, frame(FINAL | 3, b"")),
        (
            "a control opcode that does not exist",
            1002,
            frame(FINAL | 11, b""),
        ),
        ("a continuation of nothing", 1002, frame(FINAL, b"a")),
        ("a message within another", 1002, within),
        ("a ping of 126 bytes", 1002, frame(FINAL | PING, &[0; 126])),
        ("a ping in fragments", 1002, frame(PING, b"a")),
        ("reserved bits", 1002, frame(FINAL | 0x40 | TEXT, b"{}")),
        ("half a close code", 1002, frame(FINAL | CLOSE, b"\x03")),
        (
            "a close code that does not exist",
            1002,
            frame(FINAL | CLOSE, b"\x03\xec"),
        ),
    ]
}

/// Frames that are well formed, and end the connection all the same.
fn other_ends() -> Vec<ClientFault> {
    let long = [b'a'; 70_000];
    let fragments = [frame(TEXT, &long[..40_000]), frame(FINAL, &long[..40_000])].concat();
    vec![
        ("a long frame", 1009, frame(FINAL | TEXT, &long)),
        ("long fragments", 1009, fragments),
        ("a binary message", 1003, frame(FINAL | BINARY, b"a")),
        ("a close", 1000, frame(FINAL | CLOSE, b"\x03\xe8bye")),
        ("a close without a code", 0, frame(FINAL | CLOSE, b"")),
    ]
}

fn faults() -> impl Iterator<Item = ClientFault> {
    faults_of_text()
        .into_iter()
        .chain(faults_of_frames())
        .chain(other_ends())
}

#[test]
fn each_fault_has_its_close_code_and_ends_the_connection() {
    let node = Node::start_with(Database::sqlite(), &[("LIMITS__BODY_BYTES_MAX", "65536")]);
    let mut wrong = Vec::new();
    for (what, expected, bytes) in faults() {
        let mut input = handshake(&node);
        let began = Instant::now();
        // The server may have closed before all of it was sent.
        let _ = input.get_mut().write_all(&bytes);
        let code = close_code(&mut input);
        if code != Some(expected) || began.elapsed() > Duration::from_secs(3) {
            wrong.push(format!(
                "{what}: {code:?} after {:?}, not {expected}",
                began.elapsed()
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// actix alone waits a second for the client to hang up, and the client waits for us. The quickest
/// of a few tries shows it.
fn quickest(mut attempt: impl FnMut() -> Duration) {
    let took = (0..5).map(|_| attempt()).min().expect("a try");
    assert!(took < Duration::from_millis(500), "{took:?}");
}

#[test]
fn a_close_is_read_in_whatever_pieces_it_comes() {
    let node = Node::start(Database::sqlite());
    for (code, content) in [
        (1000, "bye".as_bytes()),
        (1000, "\u{56de}\u{89a7}\u{677f}".as_bytes()),
        (1007, b"bye\xff"),
    ] {
        let content = [&[3, 0xe8], content].concat();
        let mut input = handshake(&node);
        input.get_ref().set_nodelay(true).expect("set");
        for byte in masked(&content) {
            // The server may have closed before all of it was sent.
            let _ = input.get_mut().write_all(&[byte]);
            thread::yield_now();
        }
        assert_eq!(close_code(&mut input), Some(code), "{content:?}");
    }
}

#[test]
fn a_close_of_the_client_ends_the_connection_at_once() {
    let node = Node::start(Database::sqlite());
    quickest(|| {
        let mut input = handshake(&node);
        let began = Instant::now();
        input
            .get_mut()
            .write_all(&frame(FINAL | CLOSE, b"\x03\xe8"))
            .expect("sent");
        assert_eq!(close_code(&mut input), Some(1000));
        began.elapsed()
    });
}

#[test]
fn the_client_s_answer_to_a_close_ends_the_connection_at_once() {
    let node = Node::start(Database::sqlite());
    quickest(|| {
        node.database
            .sql("INSERT INTO boards (name) VALUES ('short');");
        let mut input = handshake_at(&node, "/b/short/ws");
        node.database
            .sql("DELETE FROM boards WHERE name = 'short';");
        let mut seen = Vec::new();
        while !seen.ends_with(b"\x88\x02\x03\xe8") {
            let mut byte = [0];
            input.read_exact(&mut byte).expect("a close frame");
            seen.extend(byte);
        }
        let began = Instant::now();
        input
            .get_mut()
            .write_all(&frame(FINAL | CLOSE, b"\x03\xe8"))
            .expect("sent");
        let mut rest = Vec::new();
        input.read_to_end(&mut rest).expect("an end");
        began.elapsed()
    });
}
