//! The position of a reader of several boards.

use std::ops::Deref;

use chrono::{DateTime, Utc};

use super::{Delivery, ReaderPosition, Staleness, Step};
use crate::{
    BoardEvent, BoardName, BoardState, Cursor, Lagged, MultiBoardCursor, MultiBoardOpening,
    OpenedBoard, ResetReason,
};

/// The positions that a reader has been brought to on several boards, and the one cursor for all of
/// them.
#[derive(Debug)]
pub struct MultiBoardPosition {
    /// By index of the board; `None` for one that ended.
    boards: Vec<Option<PositionOnBoard>>,
    /// All changes up to this cursor were sent, of all boards that it claims.
    cursor: MultiBoardCursor,
}

/// What the end of a board means for the reader of several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BoardEnd {
    /// It was the last board: the stream ends.
    OfStream,
    /// The reader is sent that this board ended; the others go on.
    OfBoard {
        /// The board that ended.
        board: BoardName,
        /// The reader's cursor, which does not claim the board any more, to be sent before: if the
        /// reader is cut off in between, it comes back without the board, and not to a patch for
        /// what it no longer holds. `None` while the reader holds no cursor.
        cursor: Option<MultiBoardCursor>,
    },
}

#[derive(Debug)]
struct PositionOnBoard {
    board: BoardName,
    position: ReaderPosition,
    /// Since when this board cannot be read, if it cannot.
    stale_since: Option<DateTime<Utc>>,
    /// A change that was published is missing from the list that the reader was sent.
    misses_change: bool,
}

impl PositionOnBoard {
    fn new(board: &OpenedBoard) -> Self {
        Self {
            board: board.snapshot.board().clone(),
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
            boards: opening
                .boards
                .iter()
                .map(|board| Some(PositionOnBoard::new(board)))
                .collect(),
            cursor: opening.cursor.clone(),
        }
    }

    /// Returns the cursor that all boards have been brought to, and which boards that does not
    /// claim.
    #[must_use]
    pub const fn cursor(&self) -> &MultiBoardCursor {
        &self.cursor
    }

    /// Returns since when one of the boards cannot be read, if one cannot.
    #[must_use]
    pub fn staleness(&self) -> Staleness {
        Staleness {
            since: self.remaining().filter_map(|board| board.stale_since).min(),
        }
    }

    /// Takes the next event of the board at index `at`, as [`ReaderPosition::on`] does. A `reset`
    /// that [is of all boards](ResetReason::is_of_all_boards) is sent once; staleness is that of
    /// all boards. Nothing follows on a board that ended: after [`Delivery::End`], or when the
    /// reader may no longer read it, the caller calls [`end`](Self::end).
    pub fn on<S: Deref<Target = BoardState>>(
        &mut self,
        at: usize,
        event: Result<BoardEvent, Lagged>,
        live: impl FnOnce() -> S,
    ) -> Step {
        let Some(board) = &mut self.boards[at] else {
            return Step::unchecked(Delivery::Nothing);
        };
        let is_fresh = matches!(event, Ok(BoardEvent::Fresh));
        let mut step = board.position.on(event, live);
        // A list that is sent misses nothing; nor does one that turned out to be still the same.
        if is_fresh || !matches!(step.delivery, Delivery::Nothing) {
            board.misses_change = false;
        }
        if let Some(Staleness { since }) = step.staleness {
            board.stale_since = since;
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

    /// Ends the board at index `at`: it was deleted, or the reader may no longer read it. Neither
    /// the cursor nor the staleness of the others waits for it any more. Returns what that means,
    /// or `None` if it had ended before.
    pub fn end(&mut self, at: usize) -> Option<BoardEnd> {
        let PositionOnBoard { board, .. } = self.boards[at].take()?;
        if self.remaining().next().is_none() {
            return Some(BoardEnd::OfStream);
        }
        self.cursor.without.push(board.clone());
        // After a reset the reader holds no cursor until all are in the new epoch.
        let epoch = &self.cursor.cursor.epoch;
        let is_held = self.remaining().all(|board| board.position.is_in(epoch));
        Some(BoardEnd::OfBoard {
            board,
            cursor: is_held.then(|| self.cursor.clone()),
        })
    }

    /// Moves the cursor to `published`, if that is further and the reader was sent everything up to
    /// there: in a new epoch, once every board was sent in it; while a board cannot be read, not at
    /// all. Returns whether it moved.
    pub fn advance(&mut self, published: &Cursor) -> bool {
        let advances = !self.cursor.cursor.covers(published)
            && self
                .remaining()
                .all(|board| board.is_complete() && board.position.is_in(&published.epoch));
        if advances {
            self.cursor.cursor.clone_from(published);
        }
        advances
    }

    fn remaining(&self) -> impl Iterator<Item = &PositionOnBoard> {
        self.boards.iter().flatten()
    }

    /// Returns whether another board has been sent in the epoch of the one at `at`.
    fn has_company_in_epoch(&self, at: usize) -> bool {
        let Some(this) = &self.boards[at] else {
            return false;
        };
        let epoch = &this.position.sent.epoch;
        let in_epoch = self.remaining().filter(|board| board.position.is_in(epoch));
        // The board itself is one of them.
        in_epoch.count() > 1
    }
}
