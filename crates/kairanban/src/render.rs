//! Wire forms of snapshots and patches. Each is encoded at most once and shared (`Forms` in the core).

pub mod page;
pub mod rest;
mod sse;
mod views;

use bytes::Bytes;
use kairanban_core::{Form, Patch, Snapshot, Update};

use crate::bulletin::ResetReason;
pub use sse::{comment, named, retry};
pub use views::TopicView;

/// What a stream speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// The tutorial's: unnamed events with the whole list.
    Tutorial,
    /// The same, plus the revision.
    List,
    /// `snapshot`, then `patch`.
    Patch,
}

impl Dialect {
    /// The whole list, as an event.
    #[must_use]
    pub fn snapshot(self, snapshot: &Snapshot) -> Bytes {
        let form = match self {
            Self::Tutorial => Form::Tutorial,
            Self::List => Form::List,
            Self::Patch => Form::Snapshot,
        };
        snapshot.form(form, |snapshot| match self {
            Self::Tutorial => sse::event(None, Some(snapshot.cursor()), &views::tutorial(snapshot)),
            Self::List => sse::event(None, Some(snapshot.cursor()), &views::list(snapshot)),
            Self::Patch => sse::event(Some("snapshot"), Some(snapshot.cursor()), &views::snapshot(snapshot)),
        })
    }

    /// What a change is told by.
    #[must_use]
    pub fn update(self, update: &Update) -> Bytes {
        match self {
            Self::Tutorial | Self::List => self.snapshot(&update.snapshot),
            Self::Patch => update.patch_form(patch),
        }
    }

    /// What a reader is told by who has missed exactly `patch`, which leads to `snapshot`.
    #[must_use]
    pub fn missed(self, missed: &Patch, snapshot: &Snapshot) -> Bytes {
        match self {
            Self::Tutorial | Self::List => self.snapshot(snapshot),
            Self::Patch => patch(missed),
        }
    }
}

fn patch(patch: &Patch) -> Bytes {
    sse::event(Some("patch"), Some(&patch.to), &views::patch(patch))
}

/// The `reset` event; a snapshot follows. The empty id makes a client forget its cursor.
#[must_use]
pub fn reset(reason: ResetReason) -> Bytes {
    let reason = match reason {
        ResetReason::Epoch => "epoch",
        ResetReason::Trimmed => "trimmed",
        ResetReason::Future => "future",
        ResetReason::Lagged => "lagged",
        ResetReason::Invalid => "invalid",
    };
    sse::reset(&views::Reason { reason })
}

/// Why a stream ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bye {
    /// It has lived long enough; come back.
    Rotate,
    /// The server stops.
    Shutdown,
    /// The board is gone.
    Gone,
    /// The reader may no longer read the board.
    Auth,
    /// There is no room.
    Limit,
    /// The board cannot be read now.
    Unavailable,
}

/// The planned end of a stream: `bye`, with the time to wait before coming back.
#[must_use]
pub fn bye(reason: Bye, retry_ms: u64) -> Bytes {
    let reason = match reason {
        Bye::Rotate => "rotate",
        Bye::Shutdown => "shutdown",
        Bye::Gone => "gone",
        Bye::Auth => "auth",
        Bye::Limit => "limit",
        Bye::Unavailable => "unavailable",
    };
    [retry(retry_ms), named("bye", &views::Reason { reason })].concat().into()
}

fn json(value: &impl serde::Serialize) -> Vec<u8> {
    // Our views hold strings, numbers and lists: nothing that JSON cannot say.
    serde_json::to_vec(value).unwrap_or_default()
}
