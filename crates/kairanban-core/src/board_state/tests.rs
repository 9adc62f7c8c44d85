mod cursors;
mod loads;

use super::*;
use crate::{
    Cursor, LogBounds, Op, Opening, ResetReason, StartAt, TopicId,
    fixtures::{changes, snapshot},
    plan_opening,
};

const TTL: Duration = Duration::from_secs(60);

const FULL: usize = 500;

fn loaded(revision: u64, topics: &[(i64, u64)]) -> BoardLoad {
    let snapshot = snapshot(revision, topics);
    let replay_buffer = ReplayBuffer::new(snapshot.revision(), [], 8);
    BoardLoad {
        board_id: BoardId(1),
        policies: Policies::default(),
        snapshot,
        replay_buffer,
        named_at: Revision::ZERO,
    }
}

fn ready(revision: u64, topics: &[(i64, u64)]) -> (BoardState, Instant) {
    let (mut board, now) = (BoardState::default(), Instant::now());
    board
        .install(loaded(revision, topics), now, FULL)
        .expect("nothing missed");
    (board, now)
}

#[test]
fn a_list_without_a_history_before_it_is_sent_whole() {
    let (mut board, now) = ready(5, &[(1, 1), (2, 2)]);
    // The log says that rows may have changed without a revision, up to 7.
    let found = BoardLoad {
        replay_buffer: ReplayBuffer::new(snapshot(7, &[]).revision(), [], 8),
        ..loaded(7, &[(1, 1), (2, 2)])
    };
    let Ok(StateChange::Update(update)) = board.install(found, now, FULL) else {
        panic!("readers may hold another list")
    };
    assert!(
        update.patch.from > snapshot(5, &[]).revision() && update.patch.ops.is_empty(),
        "{update:?}"
    );
    assert_eq!(update.snapshot.topics().len(), 2);
}

/// Returns what a reader is sent who comes back with a cursor at `revision`.
fn opening(board: &BoardState, revision: u64) -> Opening {
    let start = StartAt::Cursor(format!("e-{revision}").parse().expect("a cursor"));
    let log = LogBounds {
        published: Revision::ZERO,
        trimmed_to: Revision::ZERO,
    };
    plan_opening(&start, board, log).expect("ready").opening
}

fn is_void(opening: &Opening) -> bool {
    let trimmed = Some(ResetReason::Trimmed);
    matches!(opening, Opening::Snapshot { reset } if *reset == trimmed)
}

fn shown(board: &BoardState) -> u64 {
    board
        .last_known()
        .map_or(0, |snapshot| snapshot.revision().get())
}

#[test]
fn a_change_between_load_and_install_is_not_lost() {
    let mut board = BoardState::default();
    board.apply(&changes(&[(8, 1, true)]), true, FULL);
    assert!(board.install(loaded(7, &[]), Instant::now(), FULL).is_err());
    assert!(
        board
            .install(loaded(8, &[(1, 8)]), Instant::now(), FULL)
            .is_ok()
    );
}

#[test]
fn a_late_load_does_not_open_a_board_that_was_made_private_meanwhile() {
    let (mut board, now) = ready(7, &[(1, 7)]);
    let private = Policies {
        read: crate::ReadPolicy::Token,
        ..Policies::default()
    };
    board.apply_policies(private, Revision::new(8).expect("a revision"), None);
    assert!(
        board.install(loaded(7, &[(1, 7)]), now, FULL).is_err(),
        "read before"
    );
    assert_eq!(board.policies(), Some(private));
    assert!(
        board.install(loaded(8, &[(1, 7)]), now, FULL).is_ok(),
        "read after"
    );
}

#[test]
fn a_patch_out_of_a_burst_has_only_what_was_touched_since() {
    let (mut board, _) = ready(1, &[]);
    board.apply(
        &changes(&[(2, 1, true), (3, 2, true), (4, 3, true)]),
        true,
        FULL,
    );
    let Opening::Patch(patch) = opening(&board, 3) else {
        panic!("a patch")
    };
    assert_eq!(
        patch
            .ops
            .iter()
            .map(|op| op.topic_id().0)
            .collect::<Vec<_>>(),
        [3],
        "and not the whole burst"
    );
}

#[test]
fn a_late_load_never_steps_back() {
    let (mut board, now) = ready(7, &[(1, 7)]);
    assert!(matches!(
        board.apply(&changes(&[(8, 2, true)]), true, FULL),
        StateChange::Update(_)
    ));
    assert!(matches!(
        board.install(loaded(7, &[(1, 7)]), now, FULL),
        Ok(StateChange::None)
    ));
    assert_eq!(shown(&board), 8);
}

#[test]
fn a_load_that_overtakes_the_follower_is_sent_to_the_readers() {
    let (mut board, now) = ready(7, &[(1, 7)]);
    assert!(matches!(
        board.install(loaded(8, &[(1, 7), (2, 8)]), now, FULL),
        Ok(StateChange::Update(_))
    ));
    assert!(
        matches!(
            board.apply(&changes(&[(8, 2, true)]), true, FULL),
            StateChange::None
        ),
        "sent already"
    );
}

#[test]
fn unwatched_it_lives_for_the_ttl_and_dies_by_a_change() {
    let (mut board, now) = ready(7, &[(1, 7)]);
    assert!(
        board
            .current(false, now + TTL - Duration::from_millis(1), TTL)
            .is_some()
    );
    assert!(board.current(false, now + TTL, TTL).is_none());
    assert!(
        board.current(true, now + TTL, TTL).is_some(),
        "the follower keeps a watched board"
    );
    board.apply(&changes(&[(8, 2, true)]), false, FULL);
    assert!(board.current(false, now, TTL).is_none());
    assert!(
        board.last_known().is_some(),
        "still what is shown while the database is away"
    );
    assert!(board.install(loaded(7, &[(1, 7)]), now, FULL).is_err());
}

#[test]
fn resumes_by_what_changed_and_by_the_list_when_that_is_too_far() {
    let (mut board, _) = ready(7, &[(1, 3), (2, 7)]);
    board.apply(&changes(&[(8, 1, false), (9, 3, true)]), true, FULL);
    assert!(matches!(opening(&board, 9), Opening::Nothing));
    assert!(matches!(opening(&board, 6), Opening::SnapshotSince(_)));
    let Opening::Patch(patch) = opening(&board, 7) else {
        panic!("a patch")
    };
    assert_eq!((patch.from.get(), patch.to.revision.get()), (7, 9));
    assert!(matches!(patch.ops[..], [Op::Delete { .. }, Op::Set(_)]));
}

#[test]
fn a_cursor_from_before_the_board_had_its_name_is_no_base_for_a_patch() {
    let (mut board, now) = (BoardState::default(), Instant::now());
    let named_at = Revision::new(5).expect("a revision");
    let replay_buffer = ReplayBuffer::new(Revision::ZERO, [(named_at, TopicId(1))], 8);
    board
        .install(
            BoardLoad {
                named_at,
                replay_buffer,
                ..loaded(7, &[(1, 7)])
            },
            now,
            FULL,
        )
        .expect("nothing missed");
    for (at, is_other) in [(0, true), (4, true), (5, false), (7, false)] {
        let opening = opening(&board, at);
        assert_eq!(is_void(&opening), is_other, "at {at}: {opening:?}");
    }
    board.apply_policies(
        Policies::default(),
        Revision::new(9).expect("a revision"),
        Revision::new(9),
    );
    assert!(is_void(&opening(&board, 7)), "named again");
}

#[test]
fn another_list_at_the_same_revision_is_found_out() {
    let (mut board, now) = ready(7, &[(1, 7)]);
    assert!(matches!(
        board.install(loaded(7, &[(1, 7)]), now, FULL),
        Ok(StateChange::None)
    ));
    assert!(matches!(
        board.install(loaded(7, &[(1, 7), (2, 0)]), now, FULL),
        Ok(StateChange::Differs(None))
    ));
    assert_eq!(
        board.last_known().map(|shown| shown.topics().len()),
        Some(1),
        "one list at one cursor"
    );
    assert!(
        matches!(
            board.apply(&changes(&[(8, 0, false)]), true, FULL),
            StateChange::Reload
        ),
        "until the log says so"
    );
    assert!(matches!(
        board.install(loaded(8, &[(1, 7), (2, 0)]), now, FULL),
        Ok(StateChange::Update(_))
    ));
}

#[test]
fn a_board_that_cannot_be_read_is_stale_until_it_is() {
    let (mut board, now) = ready(7, &[(1, 7)]);
    board.become_stale(DateTime::UNIX_EPOCH, Revision::new(8).expect("a revision"));
    assert!(board.current(true, now, TTL).is_none() && board.last_known().is_some());
    assert!(matches!(
        board.apply(&changes(&[(9, 2, true)]), true, FULL),
        StateChange::None
    ));
    assert!(
        board.install(loaded(8, &[(1, 7)]), now, FULL).is_err(),
        "read before the last change"
    );
    assert!(board.stale_since().is_some());
    assert!(
        matches!(
            board.install(loaded(9, &[(1, 7), (2, 9)]), now, FULL),
            Ok(StateChange::Update(_))
        ),
        "sent to its readers"
    );
    assert!(board.stale_since().is_none() && board.current(true, now, TTL).is_some());
}

#[test]
fn a_new_epoch_begins_with_its_list_however_early_that_is() {
    let (mut board, now) = ready(7, &[(1, 7)]);
    board.restart("f".parse().expect("an epoch"));
    assert!(board.last_known().is_none());
    assert!(
        board.install(loaded(9, &[(1, 7)]), now, FULL).is_err(),
        "of the old epoch"
    );
    assert!(matches!(
        board.install(of_epoch_f(3, &[(1, 3)]), now, FULL),
        Ok(StateChange::HistoryReset(_))
    ));
    assert!(
        matches!(
            board.install(of_epoch_f(3, &[(1, 3)]), now, FULL),
            Ok(StateChange::None)
        ),
        "once"
    );
    assert!(
        board.install(loaded(9, &[(1, 7)]), now, FULL).is_err(),
        "also later"
    );
}

fn of_epoch_f(revision: u64, topics: &[(i64, u64)]) -> BoardLoad {
    let listed = snapshot(revision, topics);
    let cursor = Cursor {
        epoch: "f".parse().expect("an epoch"),
        revision: listed.revision(),
    };
    BoardLoad {
        snapshot: Snapshot::new(listed.board().clone(), cursor, listed.topics().to_vec()),
        ..loaded(revision, &[])
    }
}
