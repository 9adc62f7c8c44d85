//! Where a reader of several boards begins.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::{Opening, StartAt};
use crate::{BoardName, BoardState, Cursor, MultiBoardCursor, ResetReason, Revision, Snapshot};

/// A board as a stream opens it. All of it is read under one lock: a moment later the list may have
/// changed, or miss a change.
#[derive(Clone, Debug)]
pub struct OpenedBoard {
    /// What the reader is sent first.
    pub opening: Opening,
    /// The list that the opening leads to.
    pub snapshot: Arc<Snapshot>,
    /// Whether the list misses a change that was published.
    pub misses_change: bool,
    /// Since when the board cannot be read, if it cannot.
    pub stale_since: Option<DateTime<Utc>>,
}

/// What a reader of several boards is sent first.
#[derive(Clone, Debug)]
pub struct MultiBoardOpening {
    /// Why the reader's cursor is void, if it is.
    pub reset: Option<ResetReason>,
    /// The boards that the reader may read, in the order of the request.
    pub boards: Vec<OpenedBoard>,
    /// The cursor that the reader has then, for all of them. The other boards of the request, which
    /// it does not claim, ended before the stream began.
    pub cursor: MultiBoardCursor,
}

impl OpenedBoard {
    /// Opens a board as it is now. Returns `None` while it is not loaded.
    #[must_use]
    pub fn new(opening: Opening, board: &BoardState) -> Option<Self> {
        Some(Self {
            opening,
            snapshot: Arc::clone(board.last_known()?),
            misses_change: board.misses_change(),
            stale_since: board.stale_since(),
        })
    }

    /// Returns the revision up to which the reader has the board, if it began at `start`.
    fn reached(&self, start: &StartAt) -> Revision {
        let listed = self.snapshot.revision();
        match (&self.opening, start.cursor()) {
            // Another node may have sent it more than this one can show.
            (Opening::Nothing, Some(cursor)) => listed.max(cursor.revision),
            _ => listed,
        }
    }
}

/// Brings together what a reader who asks for `start` is sent first on each of several boards;
/// those that are `gone` it cannot read. Everything up to `published` was published before they
/// were opened. Returns `None` if a new epoch began between two of them.
///
/// A cursor that is void on one board is void on all, and then all begin with their lists. The new
/// cursor is `published`, unless a list misses a change: then it is only as far as that list is. If
/// a new epoch has begun since, it is as far as the earliest of the lists.
#[must_use]
pub fn merge_openings(
    start: &StartAt,
    published: Cursor,
    mut boards: Vec<OpenedBoard>,
    gone: Vec<BoardName>,
) -> Option<MultiBoardOpening> {
    let reset = boards.iter().find_map(|board| match board.opening {
        Opening::Snapshot { reset } => reset,
        _ => None,
    });
    if reset.is_some() {
        for board in &mut boards {
            board.opening = Opening::Snapshot { reset: None };
        }
    }
    let cursor = common_cursor(start, published, &boards)?;
    Some(MultiBoardOpening {
        reset,
        boards,
        cursor: MultiBoardCursor {
            cursor,
            without: gone,
        },
    })
}

fn common_cursor(start: &StartAt, published: Cursor, boards: &[OpenedBoard]) -> Option<Cursor> {
    let Some(first) = boards.first() else {
        return Some(published);
    };
    let epoch = &first.snapshot.cursor().epoch;
    if boards
        .iter()
        .any(|board| board.snapshot.cursor().epoch != *epoch)
    {
        return None;
    }
    let is_new = published.epoch != *epoch;
    let limits = boards
        .iter()
        .filter(|board| is_new || board.misses_change)
        .map(|board| board.reached(start));
    let revision = limits
        .chain((!is_new).then_some(published.revision))
        .min()?;
    Some(Cursor {
        epoch: epoch.clone(),
        revision,
    })
}

#[cfg(test)]
mod tests;
