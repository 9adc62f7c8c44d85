use super::*;
use crate::Patch;

fn cursor(text: &str) -> Cursor {
    text.parse().expect("a cursor")
}

/// A board whose list is at a cursor; `!` marks one that misses a change.
fn opened(text: &str, opening: Opening) -> OpenedBoard {
    let board = "main".parse().expect("a name");
    let list = cursor(text.trim_end_matches('!'));
    OpenedBoard {
        opening,
        snapshot: Arc::new(Snapshot::new(board, list, Vec::new())),
        misses_change: text.ends_with('!'),
        stale_since: None,
    }
}

const fn list(reset: Option<ResetReason>) -> Opening {
    Opening::Snapshot { reset }
}

fn patch(to: &str) -> Opening {
    let snapshot = opened(to, Opening::Nothing).snapshot;
    Opening::Patch(Patch {
        board: snapshot.board().clone(),
        from: Revision::ZERO,
        to: snapshot.cursor().clone(),
        digest: snapshot.digest(),
        ops: Vec::new(),
    })
}

const fn describe(opening: &Opening) -> &'static str {
    match opening {
        Opening::Nothing => "nothing",
        Opening::Patch(_) => "patch",
        Opening::SnapshotSince(_) => "list since",
        Opening::Snapshot { reset: None } => "list",
        Opening::Snapshot { reset: Some(_) } => "reset",
    }
}

#[test]
fn a_cursor_that_is_void_on_one_board_is_void_on_all() {
    let since = Opening::SnapshotSince(Revision::ZERO);
    let [epoch, future, trimmed] = [
        ResetReason::Epoch,
        ResetReason::Future,
        ResetReason::Trimmed,
    ]
    .map(|reason| list(Some(reason)));
    for (openings, expected) in [
        (vec![], ": "),
        (
            vec![Opening::Nothing, patch("e-9"), list(None)],
            ": nothing, patch, list",
        ),
        (vec![since, patch("e-9")], ": list since, patch"),
        (
            vec![patch("e-9"), trimmed, Opening::Nothing],
            "trimmed: list, list, list",
        ),
        (vec![future, epoch], "future: list, list"),
    ] {
        let boards = openings.into_iter().map(|opening| opened("e-9", opening));
        let merged = merge_openings(&StartAt::List, cursor("e-9"), boards.collect(), Vec::new());
        let MultiBoardOpening { reset, boards, .. } = merged.expect("one epoch");
        let openings = boards.iter().map(|board| describe(&board.opening));
        let reset = reset.map_or("", ResetReason::as_str);
        let found = format!("{reset}: {}", openings.collect::<Vec<_>>().join(", "));
        assert_eq!(found, expected);
    }
}

#[test]
fn lists_of_one_epoch_have_a_cursor_in_common() {
    for (published, lists, expected) in [
        ("e-5", "", Some("e-5")),
        ("e-5", "e-5", Some("e-5")),
        ("e-5", "e-2 e-7", Some("e-5")),
        ("e-5", "f-3", Some("f-3")),
        ("e-5", "f-4 f-3 f-6", Some("f-3")),
        ("e-5", "e-5 f-1", None),
        ("e-5", "f-1 e-5", None),
        ("f-5", "f-1 f-2 e-9", None),
        // No further than a list that misses a change.
        ("e-5", "e-4 e-3!", Some("e-3")),
        ("e-5", "e-4! e-2 e-3!", Some("e-3")),
        ("e-5", "e-7! e-2", Some("e-5")),
        ("e-5", "f-4 f-6!", Some("f-4")),
    ] {
        let boards = lists.split_whitespace();
        let boards = boards.map(|list| opened(list, Opening::Nothing)).collect();
        let merged = merge_openings(&StartAt::List, cursor(published), boards, Vec::new());
        let found = merged.map(|merged| merged.cursor.cursor);
        assert_eq!(found, expected.map(cursor), "{published}, then {lists}");
    }
}

#[test]
fn a_cursor_that_was_sent_is_not_taken_back() {
    let at = |text: &str| StartAt::Cursor(cursor(text));
    let trimmed = list(Some(ResetReason::Trimmed));
    for (start, opening, other, expected) in [
        // Another node has sent it what the list here misses.
        (at("e-4"), Opening::Nothing, Opening::Nothing, "e-4"),
        (at("e-2"), patch("e-3"), Opening::Nothing, "e-3"),
        (at("e-4"), Opening::Nothing, trimmed, "e-3"),
        (StartAt::Now, Opening::Nothing, Opening::Nothing, "e-3"),
    ] {
        let boards = vec![opened("e-3!", opening), opened("e-5", other)];
        let merged = merge_openings(&start, cursor("e-5"), boards, Vec::new());
        let merged = merged.expect("one epoch");
        assert_eq!(merged.cursor.cursor, cursor(expected), "{start:?}");
    }
}

#[test]
fn the_cursor_claims_the_boards_that_can_be_read() {
    let gone = vec!["blue".parse().expect("a name")];
    let boards = vec![opened("e-5", list(None))];
    let merged = merge_openings(&StartAt::List, cursor("e-5"), boards, gone);
    let merged = merged.expect("one epoch");
    assert_eq!(merged.cursor.to_string(), "e-5~blue");
}
