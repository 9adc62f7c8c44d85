use std::time::Instant;

use super::*;
use crate::{
    BoardId, BoardLoad, Policies, ReplayBuffer, TopicId,
    fixtures::{changes, snapshot},
};

const TOPICS_MAX: usize = 500;

fn revision(number: u64) -> Revision {
    Revision::new(number).expect("a revision")
}

/// A board that got its name at 2 and shows two topics at 9. Memory knows what changed after 5.
fn board() -> BoardState {
    let mut board = BoardState::default();
    let load = BoardLoad {
        board_id: BoardId(1),
        policies: Policies::default(),
        snapshot: snapshot(7, &[(1, 6), (2, 7)]),
        replay_buffer: ReplayBuffer::new(
            revision(5),
            [(revision(6), TopicId(1)), (revision(7), TopicId(2))],
            8,
        ),
        named_at: revision(2),
    };
    board
        .install(load, Instant::now(), TOPICS_MAX)
        .expect("nothing missed");
    board.apply(&changes(&[(8, 1, false), (9, 3, true)]), true, TOPICS_MAX);
    board
}

fn at(cursor: &str) -> StartAt {
    cursor.parse().expect("a cursor")
}

fn then(cursor: &str) -> StartAt {
    StartAt::Then(cursor.parse().expect("a cursor"))
}

fn plan(start: &StartAt, board: &BoardState) -> String {
    let log = LogBounds {
        published: revision(11),
        trimmed_to: revision(4),
    };
    describe(plan_opening(start, board, log))
}

fn describe(plan: Option<OpeningPlan>) -> String {
    let Some(OpeningPlan { opening, unread }) = plan else {
        return "not loaded".to_owned();
    };
    let opening = match opening {
        Opening::Nothing => "nothing".to_owned(),
        Opening::Patch(patch) => format!("patch of {} from {}", patch.ops.len(), patch.from),
        Opening::SnapshotSince(revision) => format!("list since {revision}"),
        Opening::Snapshot { reset: None } => "list".to_owned(),
        Opening::Snapshot {
            reset: Some(reason),
        } => format!("reset {}", reason.as_str()),
    };
    match unread {
        None => opening,
        Some(ReplayRange { after, upto, .. }) => format!("{opening}; read {after} to {upto}"),
    }
}

#[test]
fn each_start_has_its_opening() {
    let board = board();
    for (why, start, expected) in [
        ("earliest", StartAt::List, "list"),
        ("now", StartAt::Now, "nothing"),
        ("invalid", StartAt::Invalid, "reset invalid"),
        ("not looked up", StartAt::Ago(Duration::ZERO), "list"),
        ("epoch", at("f-9"), "reset epoch"),
        ("epoch before all else", at("f-1"), "reset epoch"),
        ("future", at("e-12"), "reset future"),
        (
            "published, and nothing on this board",
            at("e-11"),
            "nothing",
        ),
        ("up to date", at("e-9"), "nothing"),
        ("patch", at("e-8"), "patch of 1 from 8"),
        ("as long as the list", at("e-7"), "patch of 2 from 7"),
        ("longer than the list", at("e-5"), "list since 5"),
        ("too far for memory", at("e-4"), "list since 4; read 4 to 9"),
        ("trimmed", at("e-3"), "reset trimmed"),
        ("other board", at("e-1"), "reset trimmed"),
        (
            "a cursor without others",
            at("e-8~a~c"),
            "patch of 1 from 8",
        ),
        ("one without the board", at("e-8~a~main"), "list"),
        ("one of another epoch", at("f-8~a"), "reset epoch"),
        (
            "one of another epoch, without the board",
            at("f-8~main"),
            "list",
        ),
        ("a time, up to date", then("e-10"), "nothing"),
        ("a time, patch", then("e-8"), "patch of 1 from 8"),
        ("a time of another epoch", then("f-8"), "reset epoch"),
        (
            "a time before the board, trimmed",
            then("e-1"),
            "reset trimmed",
        ),
    ] {
        assert_eq!(plan(&start, &board), expected, "{why}");
    }
}

#[test]
fn only_a_later_cursor_of_the_same_epoch_is_from_the_future() {
    let newest: Cursor = "e-9".parse().expect("a cursor");
    for (cursor, expected) in [
        ("e-10", true),
        ("e-9", false),
        ("e-8", false),
        ("f-10", false),
    ] {
        let cursor: Cursor = cursor.parse().expect("a cursor");
        assert_eq!(is_future(&cursor, &newest), expected, "{cursor}");
    }
}

#[test]
fn a_time_before_the_board_is_its_beginning() {
    let log = LogBounds {
        published: revision(9),
        trimmed_to: Revision::ZERO,
    };
    assert_eq!(
        describe(plan_opening(&then("e-1"), &board(), log)),
        "list since 2; read 2 to 9"
    );
}

#[test]
fn nothing_is_decided_before_the_board_is_loaded() {
    for text in ["now", "earliest", "e-1", "10m"] {
        let start = text.parse().expect("a start");
        assert_eq!(plan(&start, &BoardState::default()), "not loaded", "{text}");
    }
}

/// As [`plan_opening`], with a log that was never trimmed.
fn plan_at(cursor: &str, board: &BoardState) -> OpeningPlan {
    let log = LogBounds {
        published: revision(9),
        trimmed_to: Revision::ZERO,
    };
    plan_opening(&at(cursor), board, log).expect("a plan")
}

#[test]
fn the_log_is_read_once_and_once_more_from_the_beginning() {
    let mut board = board();
    let range = plan_at("e-4", &board).unread.expect("a range");
    // One that reaches no further back than memory does.
    board.backfill(&range, &ReplayBuffer::new(revision(7), [], 8));
    assert!(plan_at("e-4", &board).unread.is_none());
    let range = plan_at("e-3", &board).unread.expect("a range");
    assert_eq!((range.after, range.upto), (Revision::ZERO, revision(9)));
    let first = (revision(1), TopicId(1));
    board.backfill(&range, &ReplayBuffer::new(Revision::ZERO, [first], 8));
    for cursor in ["e-3", "e-2"] {
        let OpeningPlan { opening, unread } = plan_at(cursor, &board);
        assert!(
            matches!(opening, Opening::SnapshotSince(_)) && unread.is_none(),
            "three topics changed, and two are shown: {opening:?}"
        );
    }
}

fn read(text: &str) -> String {
    match text.parse() {
        Ok(StartAt::List) => "list".to_owned(),
        Ok(StartAt::Now) => "now".to_owned(),
        Ok(StartAt::Cursor(cursor)) => cursor.to_string(),
        Ok(StartAt::CursorWithout(MultiBoardCursor { cursor, without })) => {
            format!("{cursor}, but not of {}", without[0])
        }
        Ok(StartAt::Ago(time)) => format!("{} s ago", time.as_secs()),
        Ok(other) => format!("{other:?}"),
        Err(StartAtError) => "refused".to_owned(),
    }
}

#[test]
fn text_names_a_start_or_is_refused() {
    for (text, start) in [
        ("earliest", "list"),
        ("now", "now"),
        ("a-1", "a-1"),
        ("a-1~c", "a-1, but not of c"),
        ("0s", "0 s ago"),
        ("10m", "600 s ago"),
        ("3h", "10800 s ago"),
        ("2d", "172800 s ago"),
    ] {
        assert_eq!(read(text), start, "{text}");
    }
    for junk in [
        "",
        "abc",
        "yesterday",
        "m",
        "10",
        "+1m",
        "1e3s",
        "99999999999d",
        "-1",
        "a-01",
        "a-1~",
        "now~c",
        "Now",
        "18446744073709551616",
        "十m",
        &"x".repeat(10_000),
    ] {
        assert_eq!(read(junk), "refused", "{junk:.20}");
    }
}

#[test]
fn an_id_is_a_cursor_or_nothing_else() {
    for default in [StartAt::List, StartAt::Now] {
        let of_id = |id| StartAt::of_id(id, default.clone());
        assert_eq!(of_id(""), default);
        for cursor in ["a-1", "a-1~c"] {
            assert_eq!(of_id(cursor), at(cursor));
        }
        for other in ["now", "earliest", "10m", "0s", "junk", " ", "a-01", "a-1~"] {
            assert_eq!(of_id(other), StartAt::Invalid, "{other:?}");
        }
    }
}

#[test]
fn a_log_is_read_from_where_it_is_whole() {
    let epoch = "a".parse().expect("an epoch");
    let cursor: Cursor = "a-5".parse().expect("a cursor");
    let (after, within) = (LogStart::After(cursor.clone()), LogStart::Within(cursor));
    let other = LogStart::After("b-5".parse().expect("a cursor"));
    for (start, named_at, trimmed_to, expected) in [
        (&LogStart::Beginning, 9, 0, Ok(())),
        (&LogStart::Beginning, 0, 1, Err(ResetReason::Trimmed)),
        (&after, 5, 5, Ok(())),
        (&after, 6, 0, Err(ResetReason::Trimmed)),
        (&after, 0, 6, Err(ResetReason::Trimmed)),
        (&within, 6, 0, Ok(())),
        (&within, 0, 6, Err(ResetReason::Trimmed)),
        (&other, 0, 0, Err(ResetReason::Epoch)),
    ] {
        let checked = start.check(&epoch, revision(named_at), revision(trimmed_to));
        assert_eq!(checked, expected, "{start:?}");
    }
}
