//! Floods on WebSockets, beside a neighbour: messages that cannot be read, and frames that are no
//! messages.

use std::{
    io::{Read as _, Write as _},
    thread,
};

use super::flood::{CONNECTIONS, FLOOD, Place, beside_a_neighbour};
use crate::{
    node::Node,
    sockets::frames::{FINAL, PING, PONG, TEXT, ask_for_socket, close_code, frame, handshake_from},
};

/// Frames that are no messages, each on sockets that are opened again when they are closed.
pub(super) const FRAMES: [(&str, u8); 3] = [
    ("a ping", FINAL | PING),
    ("a pong that answers none", FINAL | PONG),
    ("a fragment", 0),
];

/// Floods the server with frames on several sockets at a time. Returns what is wrong with that.
pub(super) fn flood_with_frames(place: &Place, round: u8, first: u8) -> Option<String> {
    let client = format!("192.0.2.{round}");
    let (ends, held_up) = beside_a_neighbour(place, round, || {
        thread::scope(|scope| {
            let client = client.as_str();
            let parts: Vec<_> = (0..CONNECTIONS)
                .map(|_| scope.spawn(move || flood_again_and_again(&place.node, client, first)))
                .collect();
            let ends = parts
                .into_iter()
                .flat_map(|part| part.join().expect("a part"));
            ends.collect::<Vec<_>>()
        })
    });
    // A client without a share may not open another one either.
    let are_refused = ends.iter().all(|end| matches!(end, Some(1008 | 429)));
    if !are_refused || !ends.contains(&Some(1008)) {
        return Some(format!("the sockets ended with {ends:?}"));
    }
    held_up
}

/// Returns how some sockets end, one after the other: the close code, or the status of a refusal.
fn flood_again_and_again(node: &Node, client: &str, first: u8) -> Vec<Option<u16>> {
    let attempts = 0..3;
    let end = attempts.map(|_| {
        let from = [("X-Forwarded-For", client)];
        let (status, mut input) = ask_for_socket(node, "/b/main/ws", &from);
        if status != 101 {
            return Some(status);
        }
        let mut output = input.get_ref().try_clone().expect("a socket");
        thread::scope(|scope| {
            scope.spawn(move || {
                // The first of fragments names the kind of the message.
                let mut flood = if first == 0 {
                    frame(TEXT, b"x")
                } else {
                    Vec::new()
                };
                flood.extend(frame(first, b"x").repeat(FLOOD));
                // The server hangs up on who goes on.
                while output.write_all(&flood).is_ok() {}
            });
            close_code(&mut input)
        })
    });
    end.collect()
}

/// Floods the server with messages that cannot be read, on a WebSocket. Returns what is wrong with
/// that.
pub(super) fn flood_a_socket(place: &Place, round: u8) -> Option<String> {
    let (answers, held_up) = beside_a_neighbour(place, round, || {
        let input = handshake_from(
            &place.node,
            "/b/main/ws",
            &[("X-Forwarded-For", "192.0.2.250")],
        );
        let mut output = input.get_ref().try_clone().expect("a socket");
        let mut answers = String::new();
        thread::scope(|scope| {
            scope.spawn(move || {
                for _ in 0..FLOOD / 10 {
                    output
                        .write_all(&frame(FINAL | TEXT, b"hello").repeat(10))
                        .expect("sent");
                }
            });
            let mut input = input;
            let mut room = [0; 65_536];
            while answers.matches(r#""event":"error""#).count() < FLOOD {
                let count = input.read(&mut room).expect("answers");
                assert!(count > 0, "closed: {answers:.2000}");
                answers.push_str(&String::from_utf8_lossy(&room[..count]));
            }
        });
        answers
    });
    let refused = answers.matches(r#""status":429"#).count();
    if refused < FLOOD - 100 {
        return Some(format!("{refused} of {FLOOD} were refused"));
    }
    held_up
}
