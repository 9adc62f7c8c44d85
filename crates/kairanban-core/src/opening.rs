//! Where a reader begins: what it asks for, and what it is sent first.
//!
//! What a cursor is worth is decided here only: by [`plan_opening`] for a stream, by
//! [`LogStart::check`] for the pages of a board's log, and by [`is_future`] before the database is
//! asked whether it is as new. Nothing here reads anything. The caller brings the board into
//! memory, and reads the part of the log that the plan names.

mod multi_board;

use std::{str::FromStr, time::Duration};

use thiserror::Error;

use crate::{
    BoardState, Cursor, Epoch, MultiBoardCursor, Patch, ReplayRange, ResetReason, Revision,
};

pub use multi_board::{MultiBoardOpening, OpenedBoard, merge_openings};

/// Where a reader asks to begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StartAt {
    /// With the whole list.
    List,
    /// With the next change.
    Now,
    /// With what changed after a cursor.
    Cursor(Cursor),
    /// With what changed after a cursor of several boards; on a board that it does not claim, with
    /// the whole list.
    CursorWithout(MultiBoardCursor),
    /// With what changed in the time up to now. Has to be looked up, which makes it
    /// [`Then`](Self::Then).
    Ago(Duration),
    /// With what changed after a time, which was this place in history; if the board is younger,
    /// with its beginning.
    Then(Cursor),
    /// At something that is not a cursor.
    Invalid,
}

/// The text does not say where to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("expected a cursor, `now`, `earliest`, or a time ago such as `10m` (s, m, h or d)")]
pub struct StartAtError;

impl StartAt {
    /// Begins at an id that the reader was once sent: a cursor, and nothing else that `since`
    /// takes. An empty one is what a reader has after a `reset`, and begins as `default` says.
    #[must_use]
    pub fn of_id(id: &str, default: Self) -> Self {
        if id.is_empty() {
            return default;
        }
        id.parse().map_or(Self::Invalid, Self::after)
    }

    /// Begins with what changed after a cursor.
    #[must_use]
    pub fn after(cursor: MultiBoardCursor) -> Self {
        if cursor.without.is_empty() {
            Self::Cursor(cursor.cursor)
        } else {
            Self::CursorWithout(cursor)
        }
    }

    /// Returns the place in history to begin after, if it is known.
    #[must_use]
    pub const fn cursor(&self) -> Option<&Cursor> {
        match self {
            Self::Cursor(cursor)
            | Self::CursorWithout(MultiBoardCursor { cursor, .. })
            | Self::Then(cursor) => Some(cursor),
            Self::List | Self::Now | Self::Ago(_) | Self::Invalid => None,
        }
    }
}

/// Reads a cursor, `now`, `earliest` (the list), or a number of seconds, minutes, hours
/// or days, as in `10m`.
impl FromStr for StartAt {
    type Err = StartAtError;

    fn from_str(text: &str) -> Result<Self, StartAtError> {
        match text {
            "earliest" => Ok(Self::List),
            "now" => Ok(Self::Now),
            _ => ago(text)
                .map(Self::Ago)
                .or_else(|| text.parse().ok().map(Self::after))
                .ok_or(StartAtError),
        }
    }
}

fn ago(text: &str) -> Option<Duration> {
    let unit_s = match text.bytes().last()? {
        b's' => 1,
        b'm' => 60,
        b'h' => 3_600,
        b'd' => 86_400,
        _ => return None,
    };
    let number = &text[..text.len() - 1];
    let digits = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    let count = number.parse::<u32>().ok().filter(|_| digits)?;
    Some(Duration::from_secs(u64::from(count) * unit_s))
}

/// What a reader is sent first.
#[derive(Clone, Debug)]
pub enum Opening {
    /// Nothing, because the reader is up to date, or asked for changes only.
    Nothing,
    /// What changed since its cursor.
    Patch(Patch),
    /// The list, because the patch from this revision would be longer, or is not known any more.
    /// What the reader holds is not void.
    SnapshotSince(Revision),
    /// The whole list, after a `reset` if the reader's cursor is void.
    Snapshot {
        /// Why the reader's cursor is void, if it sent one.
        reset: Option<ResetReason>,
    },
}

/// How to open a stream.
#[derive(Clone, Debug)]
pub struct OpeningPlan {
    /// What to send, by what is in memory.
    pub opening: Opening,
    /// What to read of the log first: with it the next plan may be a patch. If it cannot be read,
    /// the opening holds.
    pub unread: Option<ReplayRange>,
}

impl From<Opening> for OpeningPlan {
    fn from(opening: Opening) -> Self {
        Self {
            opening,
            unread: None,
        }
    }
}

/// Which part of the log this server knows, over all boards.
#[derive(Clone, Copy, Debug)]
pub struct LogBounds {
    /// All changes up to this revision are published.
    pub published: Revision,
    /// Changes before this revision may have been deleted from the log.
    pub trimmed_to: Revision,
}

/// Where to begin in the log of one board.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogStart {
    /// With its first row.
    Beginning,
    /// After a revision that the reader has seen whole.
    After(Cursor),
    /// Within a revision, of which the reader has seen a part.
    Within(Cursor),
}

impl LogStart {
    /// Returns the revision to begin after, or within.
    #[must_use]
    pub const fn revision(&self) -> Revision {
        match self {
            Self::Beginning => Revision::ZERO,
            Self::After(cursor) | Self::Within(cursor) => cursor.revision,
        }
    }

    /// Checks whether the log of a board, which has had its name since `named_at`, is whole from
    /// here on.
    ///
    /// # Errors
    /// Why it is not: [`ResetReason::Epoch`] or [`ResetReason::Trimmed`].
    pub fn check(
        &self,
        epoch: &Epoch,
        named_at: Revision,
        trimmed_to: Revision,
    ) -> Result<(), ResetReason> {
        // The beginning, and what follows a row of the board's own, are this board's in any case.
        let void = match self {
            Self::Beginning => None,
            Self::After(cursor) => void(cursor, epoch, named_at),
            Self::Within(cursor) => void(cursor, epoch, Revision::ZERO),
        };
        match void {
            Some(reason) => Err(reason),
            None if is_trimmed(self.revision(), trimmed_to) => Err(ResetReason::Trimmed),
            None => Ok(()),
        }
    }
}

/// Returns why a cursor says nothing about a board that has had its name since `named_at`.
fn void(cursor: &Cursor, epoch: &Epoch, named_at: Revision) -> Option<ResetReason> {
    if cursor.epoch != *epoch {
        Some(ResetReason::Epoch)
    } else if cursor.revision < named_at {
        // The name meant another board.
        Some(ResetReason::Trimmed)
    } else {
        None
    }
}

/// Returns whether a cursor is from the future: of the same epoch as `newest`, the newest change
/// that is known here, and after it.
#[must_use]
pub fn is_future(cursor: &Cursor, newest: &Cursor) -> bool {
    cursor.epoch == newest.epoch && cursor.revision > newest.revision
}

/// Returns whether the log may have lost rows after this revision.
fn is_trimmed(revision: Revision, trimmed_to: Revision) -> bool {
    revision < trimmed_to
}

/// Decides what a reader of `board` who asks for `start` is sent first. Returns `None` while the
/// board is not loaded.
///
/// A [`StartAt::Ago`] that was not looked up begins with the list.
#[must_use]
pub fn plan_opening(start: &StartAt, board: &BoardState, log: LogBounds) -> Option<OpeningPlan> {
    let opening = match start {
        StartAt::Cursor(cursor) => return plan_after(cursor, board, log),
        StartAt::CursorWithout(MultiBoardCursor { cursor, without }) => {
            if !without.contains(board.last_known()?.board()) {
                return plan_after(cursor, board, log);
            }
            Opening::Snapshot { reset: None }
        }
        StartAt::Then(cursor) => {
            let revision = cursor.revision.max(board.named_at());
            let epoch = cursor.epoch.clone();
            return plan_after(&Cursor { epoch, revision }, board, log);
        }
        StartAt::Now => Opening::Nothing,
        StartAt::List | StartAt::Ago(_) => Opening::Snapshot { reset: None },
        StartAt::Invalid => reset(ResetReason::Invalid),
    };
    board.last_known().map(|_| opening.into())
}

const fn reset(reason: ResetReason) -> Opening {
    Opening::Snapshot {
        reset: Some(reason),
    }
}

fn plan_after(cursor: &Cursor, board: &BoardState, log: LogBounds) -> Option<OpeningPlan> {
    let newest = board.last_known()?.cursor();
    let known = Cursor {
        epoch: newest.epoch.clone(),
        revision: newest.revision.max(log.published),
    };
    let revision = cursor.revision;
    let opening = if let Some(reason) = void(cursor, &newest.epoch, board.named_at()) {
        reset(reason)
    } else if is_future(cursor, &known) {
        reset(ResetReason::Future)
    } else if revision >= newest.revision {
        Opening::Nothing
    } else if let Some(patch) = board.patch_since(revision) {
        Opening::Patch(patch)
    } else if is_trimmed(revision, log.trimmed_to) {
        reset(ResetReason::Trimmed)
    } else {
        return Some(OpeningPlan {
            opening: Opening::SnapshotSince(revision),
            unread: board.unread_since(revision),
        });
    };
    Some(opening.into())
}

#[cfg(test)]
mod tests;
