//! Retries boards that cannot be read while the rest of the database can, each by itself, with
//! growing delays.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use kairanban_core::BoardName;
use tokio::sync::watch;

/// Delay before the first retry.
const RETRY_MIN: Duration = Duration::from_millis(250);

/// The boards that cannot be read, and when to retry each of them.
#[derive(Debug)]
pub(super) struct StaleBoards {
    retries: BTreeMap<BoardName, Retry>,
    retry_max: Duration,
    names: watch::Sender<BTreeSet<BoardName>>,
}

#[derive(Clone, Copy, Debug)]
struct Retry {
    at: Instant,
    wait: Duration,
}

impl StaleBoards {
    /// Creates an empty set, and what reports the names in it.
    pub(super) fn new(retry_max: Duration) -> (Self, watch::Receiver<BTreeSet<BoardName>>) {
        let (names, seen) = watch::channel(BTreeSet::new());
        (
            Self {
                retries: BTreeMap::new(),
                retry_max,
                names,
            },
            seen,
        )
    }

    /// Adds a board that could not be read. Returns whether that is new.
    pub(super) fn add(&mut self, board: &BoardName, now: Instant) -> bool {
        let known = self.retries.get(board).copied();
        let wait = known
            .map_or(RETRY_MIN, |retry| retry.wait * 2)
            .min(self.retry_max.max(RETRY_MIN));
        self.retries.insert(
            board.clone(),
            Retry {
                at: now + wait,
                wait,
            },
        );
        self.names
            .send_if_modified(|names| names.insert(board.clone()));
        known.is_none()
    }

    /// Removes a board that was read, or is gone. Returns whether it was stale.
    pub(super) fn remove(&mut self, board: &BoardName) -> bool {
        self.names.send_if_modified(|names| names.remove(board));
        self.retries.remove(board).is_some()
    }

    /// Returns whether a board is in the set, and retried.
    pub(super) fn contains(&self, board: &BoardName) -> bool {
        self.retries.contains_key(board)
    }

    /// Removes all boards, because they belong to another history.
    pub(super) fn clear(&mut self) {
        self.retries.clear();
        self.names.send_modify(BTreeSet::clear);
    }

    /// Returns when the next board is due.
    pub(super) fn next(&self) -> Option<Instant> {
        self.retries.values().map(|retry| retry.at).min()
    }

    /// Returns the boards that are due.
    pub(super) fn due(&self, now: Instant) -> Vec<BoardName> {
        self.retries
            .iter()
            .filter(|(_, retry)| retry.at <= now)
            .map(|(board, _)| board.clone())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_board_is_tried_less_and_less_often_until_it_is_read() {
        let (mut stale, names) = StaleBoards::new(Duration::from_secs(1));
        let (board, now): (BoardName, _) = ("main".parse().expect("a name"), Instant::now());
        assert!(
            stale.add(&board, now) && !stale.add(&board, now),
            "new once"
        );
        assert_eq!(
            (stale.due(now).len(), stale.due(now + RETRY_MIN * 2).len()),
            (0, 1)
        );
        for _ in 0..9 {
            stale.add(&board, now);
        }
        assert_eq!(
            stale.next(),
            Some(now + Duration::from_secs(1)),
            "but not for ever"
        );
        assert!(names.borrow().contains(&board));
        assert!(
            stale.remove(&board)
                && !stale.remove(&board)
                && names.borrow().is_empty()
                && stale.next().is_none()
        );
    }
}
