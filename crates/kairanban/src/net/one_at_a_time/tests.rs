use proptest::prelude::*;

use super::*;

/// The lines behind the first one, and how actix may read them.
const LINES: [(&str, &str); 4] = [
    ("Host: a\r\n", "Host: a\r\n"),
    (
        "User-Agent: b\nHost: a\r\nCookie: c\r\n",
        "User-Agent: b\nHost: a\r\nCookie: c\r\n",
    ),
    (
        "Host: a\r\nConnection: Upgrade, c\r\nUpgrade: h2c\r\n",
        "Host: a\r\nConnection: Ignored, c\r\nIgnored: h2c\r\n",
    ),
    (
        "upgrade: websocket\nconnection: UPGRADE\nHost: a\n",
        "Ignored: websocket\nconnection: Ignored\nHost: a\n",
    ),
];

/// A head with these lines, what follows it, and what actix says of that.
fn request(kind: u8, lines: &str, body: &[u8]) -> (Vec<u8>, Option<BodyPart>) {
    let length = body.len() as u64;
    let head = format!("\r\nPOST / HTTP/1.1\r\n{lines}\r\n");
    let head = head.as_bytes();
    match kind {
        0 => (head.to_vec(), None),
        1 => (
            [head, body].concat(),
            Some(BodyPart::Bytes(length)).filter(|_| length > 0),
        ),
        _ => {
            let mut chunks = Vec::new();
            for chunk in body.chunks(7) {
                chunks.extend(format!("{:X};a=b\r\n", chunk.len()).as_bytes());
                chunks.extend([chunk, b"\r\n"].concat());
            }
            let end: &[u8] = if kind == 2 {
                b"0\r\n\r\n"
            } else {
                b"00\r\nA: b\r\n\r\n"
            };
            chunks.extend(end);
            ([head, chunks.as_slice()].concat(), Some(BodyPart::CHUNKED))
        }
    }
}

proptest! {
    #[test]
    fn each_request_ends_where_it_ends_however_it_comes(
        kinds in proptest::collection::vec(
            (0..4_u8, 0..LINES.len(), ".{0,20}|[\r\n0-9]{0,20}"),
            1..6,
        ),
        cuts in proptest::collection::vec(1..20_usize, 1..20),
    ) {
        let requests = kinds.iter().map(|(kind, lines, body)| {
            let (sent, read) = LINES[*lines];
            let (bytes, follows) = request(*kind, sent, body.as_bytes());
            (bytes, request(*kind, read, body.as_bytes()).0, follows)
        });
        let requests: Vec<_> = requests.collect();
        let all: Vec<u8> = requests.iter().flat_map(|(sent, ..)| sent.clone()).collect();
        let (mut rest, mut cuts) = (all.as_slice(), cuts.iter().cycle());
        let connection = OneAtATime::default();
        let mut come = Vec::new();
        for (_, expected, body) in &requests {
            let mut read = Vec::new();
            while connection.may_take_next(true) {
                if come.is_empty() || connection.holds() {
                    let cut = *cuts.next().expect("endless");
                    let piece;
                    (piece, rest) = rest.split_at(rest.len().min(cut));
                    prop_assert!(!piece.is_empty(), "it waits for more than there is");
                    come.extend_from_slice(piece);
                }
                connection.look_at_held(&mut come);
                read.extend(come.drain(..connection.follow(&come)));
                if connection.is_unknown() {
                    prop_assert!(!connection.may_take_next(true), "what follows is not known yet");
                    connection.head_is_read(*body);
                    prop_assert_eq!(connection.may_take_next(false), body.is_some());
                }
                if !connection.may_take_next(false) {
                    break;
                }
            }
            prop_assert_eq!(&read, expected);
        }
        prop_assert!(rest.is_empty() && come.is_empty(), "nothing is left");
    }

    #[test]
    fn bytes_that_come_at_once_are_read_as_those_that_come_in_pieces(
        lines in 0..LINES.len(),
        cut in 1..200_usize,
    ) {
        let (sent, read) = LINES[lines];
        let [mut sent, read] = [sent, read].map(|lines| request(0, lines, b"").0);
        let connection = OneAtATime::default();
        let end = sent.len().min(cut);
        let passed = connection.pass(&mut sent[..end]);
        let is_whole = end == sent.len();
        prop_assert_eq!(passed == end, is_whole || !connection.holds());
        prop_assert_eq!(&sent[..passed], &read[..passed]);
    }
}

/// actix says that such a head is too long.
#[test]
fn lines_without_an_end_are_not_held_for_ever() {
    let connection = OneAtATime::default();
    let mut all = b"GET / HTTP/1.1\r\nCookie: ".to_vec();
    all.resize(2 * HELD_MAX, b'a');
    let passed = connection.pass(&mut all);
    assert!(passed > HELD_MAX && !connection.holds() && connection.is_unknown());
}
