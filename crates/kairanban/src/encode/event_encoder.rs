//! The trait that each way of encoding a stream implements.

use std::time::Duration;

use bytes::Bytes;
use kairanban_core::{Patch, Revision, Snapshot, Update};

use super::{
    fragments::Fragments,
    sse,
    views::{ReasonView, json},
};

/// Encodes the events of a stream. The provided methods are those of Server-Sent Events, for formats that send the same
/// data for an update as for a reader who comes back.
pub(super) trait EventEncoder: Sync {
    /// Encodes the whole list.
    fn snapshot(&self, fragments: &Fragments, snapshot: &Snapshot) -> Bytes;

    /// Encodes the patch that leads to `after`.
    fn patch(&self, fragments: &Fragments, patch: &Patch, after: &Snapshot) -> Bytes;

    /// Encodes an update as it is published.
    fn update(&self, fragments: &Fragments, update: &Update) -> Bytes {
        self.patch(fragments, &update.patch, &update.snapshot)
    }

    /// Encodes the part of the list that is newer than `revision`, or returns `None` if the format sends whole lists.
    fn snapshot_since(&self, _snapshot: &Snapshot, _revision: Revision) -> Option<Bytes> {
        None
    }

    /// Encodes the beginning of a stream, with the time to wait before reconnecting.
    fn opening(&self, retry: Duration) -> Bytes {
        sse::retry(retry)
    }

    /// Encodes an event that completes no state. An empty `id` makes the client forget its cursor.
    fn event(&self, name: &'static str, id: Option<String>, json: Vec<u8>) -> Bytes {
        sse::event(Some(name), id, json)
    }

    /// Encodes a heartbeat that scripts cannot see.
    fn keep_alive(&self) -> Bytes {
        sse::comment()
    }

    /// Encodes the planned end of a stream, with the time to wait before reconnecting.
    fn bye(&self, reason: ReasonView, retry: Duration) -> Bytes {
        let bye = sse::event(Some("bye"), None, json(&reason));
        [sse::retry(retry), bye].concat().into()
    }
}
