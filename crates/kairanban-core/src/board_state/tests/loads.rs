//! Loads that come too late or too early.

use super::*;

fn change(revision: u64) -> BoardChanges {
    changes(&[(revision, 1, true)])
}

#[test]
fn a_board_that_changes_faster_than_its_readers_load_it_is_loaded_by_the_follower() {
    let (mut never_read, mut overtaken, now) = {
        let (board, now) = ready(7, &[]);
        (BoardState::default(), board, now)
    };
    overtaken.apply(&change(8), false, FULL);
    for board in [&mut never_read, &mut overtaken] {
        for revision in [9, 10] {
            assert!(
                matches!(
                    board.apply(&change(revision), true, FULL),
                    StateChange::None
                ),
                "its readers load it"
            );
        }
        assert!(board.install(loaded(9, &[(1, 9)]), now, FULL).is_err());
        assert!(matches!(
            board.apply(&change(11), false, FULL),
            StateChange::None
        ));
        assert!(matches!(
            board.apply(&change(12), true, FULL),
            StateChange::Reload
        ));
        board
            .install(loaded(12, &[(1, 12)]), now, FULL)
            .expect("read after the change");
        assert!(matches!(
            board.apply(&change(13), true, FULL),
            StateChange::Update(_)
        ));
    }
}

#[test]
fn readers_of_a_list_that_misses_a_change_are_sent_the_one_that_replaces_it() {
    let (mut board, now) = ready(7, &[]);
    board.apply(&changes(&[(8, 1, true)]), false, FULL);
    assert!(board.is_outdated());
    let Ok(StateChange::Update(update)) = board.install(loaded(8, &[(1, 8)]), now, FULL) else {
        panic!("readers may have come while the database was away")
    };
    assert!(
        update.patch.from > snapshot(7, &[]).revision() && update.snapshot.topics().len() == 1,
        "{update:?}"
    );
    assert!(!board.is_outdated() && shown(&board) == 8);
}

/// Returns a load with what the log says of the time before it: revisions and topics.
fn with_history(load: BoardLoad, history: &[(u64, i64)]) -> BoardLoad {
    let touched = history
        .iter()
        .map(|(at, id)| (Revision::new(*at).expect("a revision"), TopicId(*id)));
    BoardLoad {
        replay_buffer: ReplayBuffer::new(Revision::ZERO, touched, 8),
        ..load
    }
}

/// Returns whether a reader who comes back at a revision is sent the list.
fn is_whole(board: &BoardState, at: u64) -> bool {
    matches!(
        opening(board, at),
        Opening::Snapshot { .. } | Opening::SnapshotSince(_)
    )
}

#[test]
fn a_later_list_that_shows_what_the_log_does_not_say_is_reported_and_sent_whole() {
    let before = [(1, 3), (2, 7)];
    let after: [&[(i64, u64)]; 3] = [
        &[(1, 3), (3, 8)],
        &[(1, 3), (2, 7), (3, 8), (4, 0)],
        &[(1, 0), (2, 7), (3, 8)],
    ];
    for (list, is_followed) in after
        .into_iter()
        .flat_map(|list| [(list, true), (list, false)])
    {
        let (mut board, now) = ready(7, &before);
        if !is_followed {
            board.apply(&changes(&[(8, 3, true)]), false, FULL);
        }
        let load = with_history(loaded(8, list), &[(3, 1), (7, 2), (8, 3)]);
        let Ok(StateChange::Differs(Some(update))) = board.install(load, now, FULL) else {
            panic!("{list:?} is not what the log says")
        };
        assert_eq!(update.snapshot.topics().len(), list.len());
        assert!(
            update.patch.from > snapshot(7, &[]).revision(),
            "{update:?}"
        );
        assert!(is_whole(&board, 7), "{list:?}");
        // Nor by what the log says later.
        let range = board
            .unread_since(Revision::ZERO)
            .expect("nothing is known");
        board.backfill(
            &range,
            &with_history(loaded(8, &[]), &[(8, 3)]).replay_buffer,
        );
        assert!(is_whole(&board, 7), "{list:?}");
        let later = with_history(loaded(9, list), &[(3, 1), (7, 2), (8, 3), (9, 5)]);
        assert!(matches!(
            board.install(later, now, FULL),
            Ok(StateChange::None)
        ));
        assert!(is_whole(&board, 7), "{list:?}");
        assert!(matches!(opening(&board, 8), Opening::Patch(_)), "{list:?}");
    }
}

/// A full list lets in older topics when one of it is deleted; the log knows them from before.
#[test]
fn what_a_full_list_lets_in_is_not_taken_for_what_the_log_does_not_say() {
    const MAX: usize = 3;
    let after: [(&[(i64, u64)], bool); 5] = [
        (&[(1, 1), (2, 2), (3, 3)], true),
        (&[(1, 0), (2, 2), (3, 3)], false),
        (&[(2, 2), (3, 3), (9, 0)], false),
        (&[(1, 1), (2, 5), (3, 3)], false),
        (&[(1, 1), (3, 3)], false),
    ];
    for (list, is_logged) in after {
        let (mut board, now) = (BoardState::default(), Instant::now());
        let shown = loaded(7, &[(2, 2), (3, 3), (4, 4)]);
        board.install(shown, now, MAX).expect("nothing missed");
        let mut load = with_history(loaded(8, list), &[(8, 4)]);
        let at = load.snapshot.revision();
        load.replay_buffer.raise_floor(at);
        match board.install(load, now, MAX).expect("newer") {
            StateChange::Update(_) => assert!(is_logged, "{list:?}"),
            StateChange::Differs(Some(_)) => assert!(!is_logged, "{list:?}"),
            other => panic!("{list:?}: {other:?}"),
        }
        assert!(is_whole(&board, 7), "{list:?}");
    }
}

#[test]
fn an_older_load_changes_nothing() {
    let (mut board, now) = ready(7, &[(1, 7)]);
    board.apply(&changes(&[(8, 2, true)]), true, FULL);
    let old = BoardLoad {
        policies: Policies {
            read: crate::ReadPolicy::Token,
            ..Policies::default()
        },
        ..loaded(7, &[(1, 7)])
    };
    assert!(matches!(
        board.install(old, now, FULL),
        Ok(StateChange::None)
    ));
    assert_eq!(
        (shown(&board), board.policies()),
        (8, Some(Policies::default()))
    );
}
