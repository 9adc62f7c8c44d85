//! Decides what a reader is sent next, one event of its board after the other.
//!
//! This is a pure state machine: [`ReaderPosition::on`] takes an event and returns a [`Step`].
//! Every stream follows it, and so do the tests that try out all orders of events
//! (`tests/model.rs`, `tests/interleavings.rs`).
//!
//! ```text
//! event           permission  staleness  what is sent
//! Update          -           -          nothing, if the reader has it; the patch; the list, over a gap
//! PolicyChanged   checked     -          nothing
//! HistoryReset    checked     fresh      nothing, if the reader has it; reset "epoch" and the list
//! Stale, Fresh    -           as it says nothing
//! Gone            -           -          the end of the board
//! Lagged          checked     as it is   as HistoryReset in a new epoch, or nothing; reset "lagged" and the list
//! ```

mod multi_board;

use std::{ops::Deref, sync::Arc};

use chrono::{DateTime, Utc};

use crate::{
    BoardEvent, BoardState, Cursor, Epoch, Lagged, ResetReason, Revision, Snapshot, Update,
};

pub use multi_board::{BoardEnd, MultiBoardPosition};

/// The position that a reader of one board has been brought to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReaderPosition {
    sent: Cursor,
}

/// What a stream does for one event, in the order of the fields.
#[derive(Debug)]
pub struct Step {
    /// Whether to check first that the reader may still read the board. A reader that may not is
    /// sent nothing more.
    pub check_permission: bool,
    /// Whether the shown list may be out of date, if that may have changed.
    pub staleness: Option<Staleness>,
    /// What the reader is sent.
    pub delivery: Delivery,
}

/// Since when a board that changed cannot be read, or that it can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Staleness {
    /// `None` if the board can be read.
    pub since: Option<DateTime<Utc>>,
}

/// What a reader is sent for one event.
#[derive(Debug)]
pub enum Delivery {
    /// Nothing, because the reader is up to date.
    Nothing,
    /// The patch to the list that the reader holds.
    Patch(Arc<Update>),
    /// The list of the update, because its patch does not fit the list that the reader holds.
    List(Arc<Update>),
    /// The whole list, after a `reset` if there is a reason for one.
    Snapshot {
        /// The list to send.
        snapshot: Arc<Snapshot>,
        /// The position that the reader comes from, if that is in the same epoch.
        since: Option<Revision>,
        /// Why what the reader holds is void, if it is.
        reset: Option<ResetReason>,
    },
    /// The end of the board, because it is gone: of the stream, or of this one of several
    /// ([`MultiBoardPosition::end`]).
    End,
}

impl ReaderPosition {
    /// Creates the position of a reader who was brought to `sent`.
    #[must_use]
    pub const fn new(sent: Cursor) -> Self {
        Self { sent }
    }

    /// Returns the cursor that the reader was brought to.
    #[must_use]
    pub const fn sent(&self) -> &Cursor {
        &self.sent
    }

    /// Takes the next event of the board, and moves to where the returned step brings the reader.
    /// `live` locks the board's state; it is called only for a reader that fell behind, since an
    /// update reaches every reader.
    pub fn on<S: Deref<Target = BoardState>>(
        &mut self,
        event: Result<BoardEvent, Lagged>,
        live: impl FnOnce() -> S,
    ) -> Step {
        match event {
            Ok(BoardEvent::Update(update)) => Step::unchecked(self.on_update(update)),
            Ok(BoardEvent::PolicyChanged) => Step::checked(Delivery::Nothing),
            Ok(BoardEvent::HistoryReset(snapshot)) => Step {
                // Another history may have made the board private.
                check_permission: true,
                // What could not be read was of the history before.
                staleness: Some(Staleness { since: None }),
                delivery: self.on_epoch(snapshot),
            },
            Ok(BoardEvent::Stale(since)) => Step::stale(Some(since)),
            Ok(BoardEvent::Fresh) => Step::stale(None),
            Ok(BoardEvent::Gone) => Step::unchecked(Delivery::End),
            Err(Lagged) => {
                let live = live();
                Step {
                    // One of the missed events may have made the board private.
                    check_permission: true,
                    staleness: Some(Staleness {
                        since: live.stale_since(),
                    }),
                    delivery: self.on_lag(live.last_known()),
                }
            }
        }
    }

    fn on_update(&mut self, update: Arc<Update>) -> Delivery {
        let since = self.sent.revision;
        // The list of a new epoch precedes its updates: any of another epoch is from before it.
        if !self.is_in(&update.patch.to.epoch) || update.revision() <= since {
            return Delivery::Nothing;
        }
        self.sent.revision = update.revision();
        // A patch from later than the reader's position would leave a gap.
        if update.patch.from > since {
            Delivery::List(update)
        } else {
            Delivery::Patch(update)
        }
    }

    /// Delivers the list of a new epoch, unless the reader has been sent one of it.
    fn on_epoch(&mut self, snapshot: Arc<Snapshot>) -> Delivery {
        if self.is_in(&snapshot.cursor().epoch) {
            return Delivery::Nothing;
        }
        self.sent = snapshot.cursor().clone();
        Delivery::Snapshot {
            snapshot,
            since: None,
            reset: Some(ResetReason::Epoch),
        }
    }

    /// Brings a reader that fell behind to the newest list. What its channel still holds is older.
    fn on_lag(&mut self, newest: Option<&Arc<Snapshot>>) -> Delivery {
        let Some(newest) = newest else {
            return Delivery::Nothing;
        };
        if !self.is_in(&newest.cursor().epoch) {
            return self.on_epoch(Arc::clone(newest));
        }
        let since = self.sent.revision;
        if newest.revision() <= since {
            return Delivery::Nothing;
        }
        self.sent.revision = newest.revision();
        Delivery::Snapshot {
            snapshot: Arc::clone(newest),
            since: Some(since),
            reset: Some(ResetReason::Lagged),
        }
    }

    fn is_in(&self, epoch: &Epoch) -> bool {
        self.sent.epoch == *epoch
    }
}

impl Step {
    const fn unchecked(delivery: Delivery) -> Self {
        Self {
            check_permission: false,
            staleness: None,
            delivery,
        }
    }

    const fn checked(delivery: Delivery) -> Self {
        Self {
            check_permission: true,
            staleness: None,
            delivery,
        }
    }

    const fn stale(since: Option<DateTime<Utc>>) -> Self {
        Self {
            check_permission: false,
            staleness: Some(Staleness { since }),
            delivery: Delivery::Nothing,
        }
    }
}

#[cfg(all(test, not(feature = "interleavings")))]
mod tests;
