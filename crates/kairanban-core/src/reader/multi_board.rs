//! The position of a reader of several boards.

use std::ops::Deref;

use chrono::{DateTime, Utc};

use super::{Delivery, ReaderPosition, Staleness, Step};
use crate::{BoardEvent, BoardState, Cursor, Lagged, MultiBoardOpening, OpenedBoard, ResetReason};

/// The positions that a reader has been brought to on several boards, and the one cursor for all of
/// them.
#[derive(Debug)]
pub struct MultiBoardPosition {
    boards: Vec<PositionOnBoard>,
    /// All changes of all boards up to this cursor were sent.
    cursor: Cursor,
}

#[derive(Debug)]
struct PositionOnBoard {
    position: ReaderPosition,
    /// Since when this board cannot be read, if it cannot.
    stale_since: Option<DateTime<Utc>>,
    /// A change that was published is missing from the list that the reader was sent.
    misses_change: bool,
}

impl PositionOnBoard {
    fn new(board: &OpenedBoard) -> Self {
        Self {
            position: ReaderPosition::new(board.snapshot.cursor().clone()),
            stale_since: board.stale_since,
            misses_change: board.misses_change,
        }
    }

    /// Returns whether the reader was sent all that was published of this board. Of a board that
    /// cannot be read, changes are published without an event.
    const fn is_complete(&self) -> bool {
        !self.misses_change && self.stale_since.is_none()
    }
}

impl MultiBoardPosition {
    /// Creates the position of a reader who was sent an opening.
    #[must_use]
    pub fn new(opening: &MultiBoardOpening) -> Self {
        Self {
            boards: opening.boards.iter().map(PositionOnBoard::new).collect(),
            cursor: opening.cursor.clone(),
        }
    }

    /// Returns since when one of the boards cannot be read, if one cannot.
    #[must_use]
    pub fn staleness(&self) -> Staleness {
        Staleness {
            since: self
                .boards
                .iter()
                .filter_map(|board| board.stale_since)
                .min(),
        }
    }

    /// Takes the next event of the board at index `at`, as [`ReaderPosition::on`] does. A `reset`
    /// that [is of all boards](ResetReason::is_of_all_boards) is sent once; staleness is that of
    /// all boards.
    pub fn on<S: Deref<Target = BoardState>>(
        &mut self,
        at: usize,
        event: Result<BoardEvent, Lagged>,
        live: impl FnOnce() -> S,
    ) -> Step {
        let is_fresh = matches!(event, Ok(BoardEvent::Fresh));
        let mut step = self.boards[at].position.on(event, live);
        // A list that is sent misses nothing; nor does one that turned out to be still the same.
        if is_fresh || !matches!(step.delivery, Delivery::Nothing) {
            self.boards[at].misses_change = false;
        }
        if let Some(Staleness { since }) = step.staleness {
            self.boards[at].stale_since = since;
            step.staleness = Some(self.staleness());
        }
        if let Delivery::Snapshot { reset, .. } = &mut step.delivery
            && reset.is_some_and(ResetReason::is_of_all_boards)
            && self.has_company_in_epoch(at)
        {
            // The first board of the epoch invalidated all that the reader held; the others follow
            // as they are read.
            *reset = None;
        }
        step
    }

    /// Moves the cursor to `published`, if that is further and the reader was sent everything up to
    /// there: in a new epoch, once every board was sent in it; while a board cannot be read, not at
    /// all. Returns whether it moved.
    pub fn advance(&mut self, published: &Cursor) -> bool {
        let advances = !self.cursor.covers(published)
            && self
                .boards
                .iter()
                .all(|board| board.is_complete() && board.position.is_in(&published.epoch));
        if advances {
            self.cursor.clone_from(published);
        }
        advances
    }

    /// Returns whether another board has been sent in the epoch of the one at `at`.
    fn has_company_in_epoch(&self, at: usize) -> bool {
        let epoch = &self.boards[at].position.sent.epoch;
        let mut others = self
            .boards
            .iter()
            .enumerate()
            .filter(|(other, _)| *other != at);
        others.any(|(_, board)| board.position.is_in(epoch))
    }
}
