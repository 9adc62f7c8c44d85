//! Where a stream begins: cursors, `Last-Event-ID`, `since=`, and the boards of a stream of
//! several.
//!
//! The input is a line, which is sent as `Last-Event-ID` if it begins with `=`, and a query.

use std::time::Duration;

use actix_web::{http::header::HeaderValue, test::TestRequest};
use kairanban::fuzzing::{StreamFormat, start, start_of_many};
use kairanban_core::{BoardName, Cursor, MultiBoardCursor, StartAt};

use crate::request::{assert_helpful, first_line};

/// More than any query here names.
const BOARDS_MAX: usize = 5;

pub fn check(input: &[u8]) {
    let (line, query) = first_line(input);
    let Ok(query) = std::str::from_utf8(query) else {
        return;
    };
    if let Ok(text) = std::str::from_utf8(line) {
        check_cursor(text.trim_start_matches('='));
    }
    let header = line.strip_prefix(b"=").map(HeaderValue::from_bytes);
    let header = match header.transpose() {
        Ok(header) => header,
        Err(_) => return,
    };
    let request = TestRequest::default();
    let request = match &header {
        Some(value) => request.insert_header(("last-event-id", value.clone())),
        None => request,
    };
    let request = request.to_http_request();
    let header = header.as_ref().map(|value| value.to_str().unwrap_or("?"));

    let pairs: Vec<(String, String)> = form_urlencoded::parse(query.as_bytes())
        .into_owned()
        .collect();
    if let Some(begins) = start(&request, query, StreamFormat::Patch) {
        check_precedence(header, &pairs, begins.as_ref().ok());
        if let Err(problem) = begins {
            assert_helpful(&problem, &[]);
            assert_eq!(problem.path.as_deref(), Some("since"), "{problem:?}");
        }
    }
    match start_of_many(&request, pairs, BOARDS_MAX) {
        Ok((boards, _)) => {
            assert!((1..=BOARDS_MAX).contains(&boards.len()));
            for (at, board) in boards.iter().enumerate() {
                assert!(!boards[..at].contains(board), "{board} twice");
                let again: BoardName = board.as_str().parse().expect("a name");
                assert_eq!(again, *board);
            }
        }
        Err(problem) if problem.status == 404 => {}
        Err(problem) => {
            assert_helpful(&problem, &[]);
            assert!(problem.path.is_some(), "{problem:?} names the parameter");
        }
    }
}

/// Checks that a cursor is written in one way only, and that a reading by hand is the same.
fn check_cursor(text: &str) {
    let parsed = text.parse::<Cursor>();
    let by_hand = text.split_once('-').filter(|(epoch, number)| {
        let is_number = number.chars().all(|c| c.is_ascii_digit())
            && (*number == "0" || !number.starts_with('0'))
            && matches!(number.parse::<u128>(), Ok(number) if number < 1 << 53);
        (1..=16).contains(&epoch.len()) && epoch.chars().all(is_hex) && is_number
    });
    assert_eq!(parsed.is_ok(), by_hand.is_some(), "{text:?}");
    if let Ok(cursor) = &parsed {
        assert_eq!(cursor.to_string(), text);
        assert!(text.len() < 40 && cursor.covers(cursor));
        assert_eq!(text.parse::<StartAt>(), Ok(StartAt::Cursor(cursor.clone())));
    }
    if let Ok(StartAt::CursorWithout(cursor)) = text.parse() {
        assert_eq!(cursor.to_string(), text);
        assert!(!cursor.without.is_empty() && text.contains('~'));
    }
    if let Ok(StartAt::Ago(ago)) = text.parse() {
        let (number, unit) = text.split_at(text.len() - 1);
        let unit_s = ["s", "m", "h", "d"].iter().position(|name| *name == unit);
        let unit_s = [1, 60, 3_600, 86_400][unit_s.expect("a unit")];
        let number: u64 = number.parse().expect("a number");
        assert_eq!(ago, Duration::from_secs(number * unit_s));
    }
}

fn is_hex(c: char) -> bool {
    matches!(c, '0'..='9' | 'a'..='f')
}

/// Checks that what a header names counts before any parameter, and of these the first in this
/// order; and that only `since` is more than a cursor.
fn check_precedence(header: Option<&str>, pairs: &[(String, String)], begins: Option<&StartAt>) {
    let id = header
        .or_else(|| first_named(pairs, "last_event_id"))
        .or_else(|| first_named(pairs, "lastEventId"));
    let expected = match id {
        Some("") => Some(StartAt::List),
        Some(id) => Some(match id.parse::<MultiBoardCursor>() {
            Ok(cursor) if cursor.without.is_empty() => StartAt::Cursor(cursor.cursor),
            Ok(cursor) => StartAt::CursorWithout(cursor),
            Err(_) => StartAt::Invalid,
        }),
        None => match first_named(pairs, "since") {
            None | Some("") => Some(StartAt::List),
            Some(since) => since.parse().ok(),
        },
    };
    assert_eq!(begins, expected.as_ref(), "{header:?} {pairs:?}");
}

fn first_named<'p>(pairs: &'p [(String, String)], wanted: &str) -> Option<&'p str> {
    let named = pairs.iter().find(|(name, _)| name == wanted);
    named.map(|(_, value)| value.as_str())
}
