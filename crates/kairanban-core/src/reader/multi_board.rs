//! The position of a reader of several boards.

use std::ops::Deref;

use chrono::{DateTime, Utc};

use super::{Delivery, ReaderPosition, Staleness, Step};
use crate::{BoardEvent, BoardState, Cursor, Lagged, ResetReason};

/// The positions that a reader has been brought to on several boards, and the one cursor for all of them.
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
}

impl MultiBoardPosition {
    /// Creates the position of a reader who has `cursor`, and for each board was brought to a position and knows since when it
    /// cannot be read.
    #[must_use]
    pub fn new(
        boards: impl IntoIterator<Item = (ReaderPosition, Option<DateTime<Utc>>)>,
        cursor: Cursor,
    ) -> Self {
        Self {
            boards: boards
                .into_iter()
                .map(|(position, stale_since)| PositionOnBoard {
                    position,
                    stale_since,
                })
                .collect(),
            cursor,
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

    /// Takes the next event of the board at index `at`, as [`ReaderPosition::on`] does. A `reset` that
    /// [is of all boards](ResetReason::is_of_all_boards) is sent once; staleness is that of all boards.
    pub fn on<S: Deref<Target = BoardState>>(
        &mut self,
        at: usize,
        event: Result<BoardEvent, Lagged>,
        live: impl FnOnce() -> S,
    ) -> Step {
        let mut step = self.boards[at].position.on(event, live);
        if let Some(Staleness { since }) = step.staleness {
            self.boards[at].stale_since = since;
            step.staleness = Some(self.staleness());
        }
        if let Delivery::Snapshot { reset, .. } = &mut step.delivery
            && reset.is_some_and(ResetReason::is_of_all_boards)
            && self.has_company_in_epoch(at)
        {
            // The first board of the epoch invalidated all that the reader held; the others follow as they are read.
            *reset = None;
        }
        step
    }

    /// Moves the cursor to `published`, up to which everything was sent, if that is further. In a new epoch only once every
    /// board was sent in it. Returns whether it moved.
    pub fn advance(&mut self, published: &Cursor) -> bool {
        let advances = !self.cursor.covers(published)
            && self
                .boards
                .iter()
                .all(|board| board.position.is_in(&published.epoch));
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
