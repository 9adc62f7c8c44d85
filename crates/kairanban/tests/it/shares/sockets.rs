//! Messages on a WebSocket count like posts, readable or not.

use std::{io::Read as _, io::Write as _};

use crate::{
    node::{Database, Node},
    sockets::frames::{CLOSE, FINAL, TEXT, frame, handshake},
};

/// Reads frames up to the end. Returns their texts, and the code and the reason of the close frame.
fn texts_and_close(mut input: impl std::io::Read) -> (Vec<String>, Option<(u16, String)>) {
    let (mut texts, mut close) = (Vec::new(), None);
    let mut head = [0; 2];
    while input.read_exact(&mut head).is_ok() {
        let mut length = usize::from(head[1] & 0x7f);
        if length == 126 {
            let mut long = [0; 2];
            input.read_exact(&mut long).expect("a length");
            length = usize::from(u16::from_be_bytes(long));
        }
        let mut content = vec![0; length];
        input.read_exact(&mut content).expect("the content");
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text");
        if head[0] == FINAL | CLOSE {
            let code = u16::from_be_bytes([content[0], content[1]]);
            close = Some((code, text(&content[2..])));
        } else if head[0] == FINAL | TEXT {
            texts.push(text(&content));
        }
    }
    (texts, close)
}

#[test]
fn a_client_that_sends_only_rubbish_is_refused_and_then_closed_with_a_reason() {
    for rubbish in [
        "hello",
        "[]",
        r#"{"op":"destroy"}"#,
        r#"{"op":"create","comment":" "}"#,
        r#"{"op":"create","comment":"x","id":1}"#,
    ] {
        let settings = [
            ("LIMITS__POSTS_PER_CLIENT_BURST", "5"),
            ("LIMITS__BAD_MESSAGES_MAX", "20"),
        ];
        let node = Node::start_with(Database::sqlite(), &settings);
        let input = handshake(&node);
        let mut output = input.get_ref().try_clone().expect("a socket");
        let flood = frame(FINAL | TEXT, rubbish.as_bytes()).repeat(40);
        output.write_all(&flood).expect("sent");
        let (texts, close) = texts_and_close(input);
        let count = |status: &str| texts.iter().filter(|text| text.contains(status)).count();
        let refused = count(r#""status":429"#);
        assert!(
            (5..=15).contains(&refused) && count(r#""status":4"#) == 20,
            "{rubbish}: {texts:?}"
        );
        let (code, reason) = close.expect("a close frame");
        assert_eq!(code, 1008, "{rubbish}");
        assert!(reason.contains("limits.bad_messages_max"), "{reason}");
        let share = count("limits.posts_per_client_per_s");
        assert_eq!(share, refused, "they count against the share for posts");
    }
}

#[test]
fn a_client_that_sends_something_good_in_between_stays() {
    let settings = [("LIMITS__BAD_MESSAGES_MAX", "3")];
    let node = Node::start_with(Database::sqlite(), &settings);
    let mut input = handshake(&node);
    let mut output = input.get_ref().try_clone().expect("a socket");
    for _ in 0..5 {
        for text in ["hello", "hello", r#"{"op":"create","comment":"x"}"#] {
            output
                .write_all(&frame(FINAL | TEXT, text.as_bytes()))
                .expect("sent");
        }
    }
    output.write_all(&frame(FINAL | CLOSE, b"")).expect("sent");
    let mut all = Vec::new();
    input.read_to_end(&mut all).expect("an end");
    let all = String::from_utf8_lossy(&all);
    assert_eq!(all.matches(r#""event":"ack""#).count(), 5, "{all}");
}
