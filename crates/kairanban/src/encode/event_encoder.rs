//! What every format implements: [`EventEncoder`] encodes what happens on a board, and the
//! [`Framing`] that it names puts events on the wire. All formats but one are Server-Sent Events.

use std::time::Duration;

use bytes::Bytes;
use kairanban_core::{Patch, Revision, Snapshot, StartAt, Update};

use super::{fragments::Fragments, views::ReasonView};

/// Encodes the events of a stream.
pub(super) trait EventEncoder: Sync {
    /// Returns how its events stand on the wire.
    fn framing(&self) -> &'static dyn Framing;

    /// Encodes the whole list.
    fn snapshot(&self, fragments: &Fragments, snapshot: &Snapshot) -> Bytes;

    /// Encodes the patch that leads to `after`.
    fn patch(&self, fragments: &Fragments, patch: &Patch, after: &Snapshot) -> Bytes;

    /// Encodes an update as it is published: for most formats, as a patch for a reader who comes
    /// back.
    fn update(&self, fragments: &Fragments, update: &Update) -> Bytes;

    /// Returns whether the list may be sent instead of a patch that leads to it.
    fn may_send_list(&self) -> bool {
        true
    }

    /// Returns where a reader begins who does not ask for a place.
    fn default_start(&self) -> StartAt {
        StartAt::List
    }

    /// Encodes the list of an update, or returns `None` if that is the same as any other list.
    fn list(&self, _update: &Update) -> Option<Bytes> {
        None
    }

    /// Encodes the part of the list that is newer than `revision`, or returns `None` if the format
    /// sends whole lists.
    fn snapshot_since(&self, _snapshot: &Snapshot, _revision: Revision) -> Option<Bytes> {
        None
    }
}

/// Encodes what is the same in all formats that share a framing.
pub(super) trait Framing: Sync {
    /// Encodes the beginning of a stream, with the time to wait before reconnecting.
    fn retry(&self, wait: Duration) -> Bytes;

    /// Encodes an event that completes no state. An empty `id` makes the client drop its cursor.
    fn event(&self, name: &'static str, id: Option<String>, json: Vec<u8>) -> Bytes;

    /// Encodes a heartbeat that scripts cannot see.
    fn keep_alive(&self) -> Bytes;

    /// Encodes the planned end of a stream, with the time to wait before reconnecting.
    fn bye(&self, reason: ReasonView, wait: Duration) -> Bytes;
}
