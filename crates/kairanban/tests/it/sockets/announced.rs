//! Frames that announce more than they may have: the server does not wait for what they announce.

use std::{
    fs,
    io::{Read, Write as _},
    time::{Duration, Instant},
};

use super::frames::{BINARY, CLOSE, FINAL, PING, PONG, TEXT, close_code, handshake};
use crate::node::{Database, Node};

const MAX: u64 = 1_000;
const SETTINGS: [(&str, &str); 1] = [("LIMITS__BODY_BYTES_MAX", "1000")];

/// A head with its length in 16 or 64 bits.
fn head(first: u8, length: u64) -> Vec<u8> {
    let mut head = vec![first];
    if let Ok(short) = u16::try_from(length) {
        head.push(0x80 | 126);
        head.extend(short.to_be_bytes());
    } else {
        head.push(0x80 | 127);
        head.extend(length.to_be_bytes());
    }
    head
}

/// Reads up to the close frame, and returns its code. Nothing else has such bytes.
fn first_close_code(input: &mut impl Read) -> Option<u16> {
    let (mut seen, mut byte) = (Vec::new(), [0]);
    while input.read_exact(&mut byte).is_ok() {
        seen.extend(byte);
        if let [.., 0x88, _, high, low] = seen[..] {
            return Some(u16::from_be_bytes([high, low]));
        }
    }
    None
}

#[test]
fn a_frame_is_refused_by_what_it_announces() {
    let node = Node::start_with(Database::sqlite(), &SETTINGS);
    let control = [FINAL | CLOSE, FINAL | PING, FINAL | PONG].map(|first| (first, 1002, 126));
    let data = [FINAL | TEXT, TEXT, FINAL | BINARY, BINARY].map(|first| (first, 1009, MAX + 1));
    let mut wrong = Vec::new();
    for (first, expected, least) in control.into_iter().chain(data) {
        for length in [
            least,
            65_535,
            65_536,
            1 << 31,
            1 << 40,
            (1 << 63) - 1,
            1 << 63,
        ] {
            let bytes = head(first, length);
            for cut in [0, 1, bytes.len() - 1] {
                let mut input = handshake(&node);
                let began = Instant::now();
                for piece in [&bytes[..cut], &bytes[cut..]] {
                    input.get_mut().write_all(piece).expect("sent");
                    // Each piece is a packet of its own.
                    std::thread::park_timeout(Duration::from_millis(2));
                }
                let code = first_close_code(&mut input);
                let took = began.elapsed();
                if code != Some(expected) || took > Duration::from_secs(2) {
                    wrong.push(format!("{first:x} of {length}: {code:?} after {took:?}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn fragments_are_refused_by_what_they_announce_together() {
    let node = Node::start_with(Database::sqlite(), &SETTINGS);
    let mut input = handshake(&node);
    let mut bytes = head(TEXT, 700);
    bytes.extend([0; 704]);
    bytes.extend(head(0, 301));
    input.get_mut().write_all(&bytes).expect("sent");
    assert_eq!(close_code(&mut input), Some(1009));
}

fn resident_kib(node: &Node) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", node.pid())).expect("/proc");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok())
        .expect("a size")
}

/// Whatever a client sends behind such a head is not kept.
#[test]
fn what_is_announced_takes_no_memory() {
    let node = Node::start(Database::sqlite());
    let before = resident_kib(&node);
    for first in [
        TEXT,
        FINAL | TEXT,
        FINAL | BINARY,
        FINAL | PING,
        FINAL | PONG,
    ] {
        let mut input = handshake(&node);
        input
            .get_mut()
            .write_all(&head(first, 1 << 40))
            .expect("sent");
        let piece = vec![b'a'; 1 << 20];
        for _ in 0..100 {
            // The server hangs up on who goes on.
            if input.get_mut().write_all(&piece).is_err() {
                break;
            }
        }
        let grown = resident_kib(&node).saturating_sub(before);
        assert!(grown < 20_000, "{first:x}: {grown} KiB more");
    }
}
