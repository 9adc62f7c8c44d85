//! The position of a reader of several boards.

use super::*;
use crate::{MultiBoardOpening, OpenedBoard, Opening};

fn opened(at: &str) -> OpenedBoard {
    OpenedBoard {
        opening: Opening::Nothing,
        snapshot: list(at),
        misses_change: false,
        stale_since: None,
    }
}

fn reader_of(boards: Vec<OpenedBoard>) -> MultiBoardPosition {
    MultiBoardPosition::new(&MultiBoardOpening {
        reset: None,
        boards,
        cursor: "e-5".parse().expect("a cursor"),
    })
}

fn both(first: &str, second: &str) -> MultiBoardPosition {
    reader_of([first, second].map(opened).into())
}

#[test]
fn a_new_epoch_resets_all_boards_once() {
    let (mut reader, state) = (both("e-5", "e-4"), BoardState::default());
    for (at, epoch, expected, advances) in [
        (1, "f-3", "check, fresh, list f-3 after reset epoch", false),
        // The cursor is for both boards, so it waits for both.
        (0, "f-2", "check, fresh, list f-2", true),
        (0, "f-2", "check, fresh, nothing", false),
    ] {
        let step = reader.on(at, reset(epoch), || &state);
        assert_eq!(said(&step), expected);
        assert_eq!(reader.advance(&cursor("f-3")), advances, "{expected}");
    }
}

#[test]
fn a_reader_that_fell_behind_on_one_board_keeps_the_others() {
    let mut reader = both("e-5", "e-4");
    let channel = hub("e-9").channel(&"main".parse().expect("a name"));
    let step = reader.on(1, Err(Lagged), || channel.live());
    assert_eq!(
        said(&step),
        "check, fresh, list e-9 since 4 after reset lagged"
    );
    assert_eq!(
        said(&reader.on(0, update(5, 6), || channel.live())),
        "patch to e-6"
    );
    assert!(reader.advance(&cursor("e-9")) && !reader.advance(&cursor("e-8")));
}

#[test]
fn boards_are_stale_since_the_first_of_them() {
    let (mut reader, state) = (both("e-5", "e-5"), BoardState::default());
    let [first, second] = [1, 2].map(|s| DateTime::from_timestamp(s, 0).expect("a time"));
    for (at, event, since) in [
        (1, BoardEvent::Stale(second), Some(second)),
        (0, BoardEvent::Stale(first), Some(first)),
        (0, BoardEvent::Fresh, Some(second)),
        (1, BoardEvent::Fresh, None),
    ] {
        let step = reader.on(at, Ok(event), || &state);
        assert_eq!(step.staleness, Some(Staleness { since }));
    }
}

#[test]
fn the_cursor_waits_for_a_board_that_cannot_be_read() {
    let state = BoardState::default();
    for (event, expected) in [
        (BoardEvent::Fresh, "fresh, nothing"),
        (reset("e-5").expect("an event"), "check, fresh, nothing"),
    ] {
        let mut reader = both("e-5", "e-5");
        let stale = BoardEvent::Stale(DateTime::UNIX_EPOCH);
        reader.on(0, Ok(stale), || &state);
        reader.on(1, update(5, 6), || &state);
        assert!(!reader.advance(&cursor("e-6")));
        assert_eq!(said(&reader.on(0, Ok(event), || &state)), expected);
        assert!(reader.advance(&cursor("e-6")));
    }
}

#[test]
fn the_cursor_waits_for_a_list_that_misses_a_change() {
    let state = BoardState::default();
    for (event, expected) in [
        (update(4, 5), false),
        (Ok(BoardEvent::PolicyChanged), false),
        (update(5, 6), true),
        (update(6, 8), true),
        (Ok(BoardEvent::Fresh), true),
    ] {
        let outdated = OpenedBoard {
            misses_change: true,
            ..opened("e-5")
        };
        let mut reader = reader_of(vec![outdated, opened("e-5")]);
        reader.on(1, update(5, 6), || &state);
        assert!(!reader.advance(&cursor("e-6")));
        let about = format!("{event:?}");
        reader.on(0, event, || &state);
        assert_eq!(reader.advance(&cursor("e-6")), expected, "{about}");
    }
}

/// Says what the end of a board means: its cursor, and the board, or that the stream ends.
fn ends(reader: &mut MultiBoardPosition, at: usize) -> String {
    match reader.end(at) {
        None => "nothing".to_owned(),
        Some(BoardEnd::OfStream) => "the stream".to_owned(),
        Some(BoardEnd::OfBoard { board, cursor }) => {
            let cursor = cursor.map_or("no cursor".to_owned(), |cursor| cursor.to_string());
            format!("{cursor}, {board}")
        }
    }
}

/// Boards `red`, `blue` and `green` at `e-5`.
fn three() -> MultiBoardPosition {
    let boards = ["red", "blue", "green"].map(|name| OpenedBoard {
        snapshot: Arc::new(Snapshot::new(
            name.parse().expect("a name"),
            cursor("e-5"),
            Vec::new(),
        )),
        ..opened("e-5")
    });
    reader_of(boards.into())
}

#[test]
fn a_board_that_ends_ends_alone_and_the_last_one_ends_the_stream() {
    let (mut reader, state) = (three(), BoardState::default());
    let gone = reader.on(1, Ok(BoardEvent::Gone), || &state);
    assert_eq!(said(&gone), "end");
    assert_eq!(ends(&mut reader, 1), "e-5~blue, blue");
    assert_eq!(ends(&mut reader, 1), "nothing");
    assert_eq!(said(&reader.on(1, update(5, 6), || &state)), "nothing");
    assert_eq!(said(&reader.on(0, update(5, 6), || &state)), "patch to e-6");
    assert!(reader.advance(&cursor("e-6")));
    assert_eq!(reader.cursor().to_string(), "e-6~blue");
    assert_eq!(ends(&mut reader, 0), "e-6~blue~red, red");
    assert_eq!(ends(&mut reader, 2), "the stream");
}

#[test]
fn neither_the_cursor_nor_staleness_waits_for_a_board_that_ended() {
    let (mut reader, state) = (three(), BoardState::default());
    reader.on(0, Ok(BoardEvent::Stale(DateTime::UNIX_EPOCH)), || &state);
    reader.on(1, update(5, 6), || &state);
    assert!(!reader.advance(&cursor("e-6")));
    assert_eq!(ends(&mut reader, 0), "e-5~red, red");
    assert_eq!(reader.staleness(), Staleness { since: None });
    assert!(reader.advance(&cursor("e-6")));
}

#[test]
fn a_board_that_ends_in_a_new_epoch_leaves_its_reset_to_the_others() {
    let state = BoardState::default();
    // It is not there in the new history, or ends once it was sent in it.
    for (is_sent_first, cursor_with_end) in [(false, "no cursor, red"), (true, "e-5~red, red")] {
        let mut reader = three();
        if is_sent_first {
            reader.on(0, reset("f-2"), || &state);
            assert_eq!(ends(&mut reader, 0), cursor_with_end);
        }
        let others = [
            "check, fresh, list f-2 after reset epoch",
            "check, fresh, list f-3",
        ];
        for (at, epoch, expected) in [(1, "f-2", others[0]), (2, "f-3", others[1])] {
            let step = reader.on(at, reset(epoch), || &state);
            assert_eq!(said(&step), expected);
        }
        if !is_sent_first {
            assert!(!reader.advance(&cursor("f-3")), "it waits for the first");
            assert_eq!(ends(&mut reader, 0), cursor_with_end);
        }
        assert!(reader.advance(&cursor("f-3")));
        assert_eq!(reader.cursor().to_string(), "f-3~red");
    }
}
