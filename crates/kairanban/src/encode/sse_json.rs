//! Encodes lists and patches as JSON in Server-Sent Events.

use bytes::Bytes;
use kairanban_core::{Cursor, Patch, Snapshot};

use super::{
    event_encoder::EventEncoder,
    fragments::Fragments,
    sse,
    views::{self, json},
};

/// Sends JSON in Server-Sent Events.
pub(super) struct SseJson {
    /// The name of the event that carries the list; `None` for an unnamed event.
    pub(super) list_event: Option<&'static str>,
    /// Whether events carry a cursor. Those of a stream of several boards do not: only its `cursor` event does.
    pub(super) has_id: bool,
    /// Encodes the whole list.
    pub(super) list: fn(&Snapshot) -> Vec<u8>,
}

impl SseJson {
    fn id(&self, cursor: &Cursor) -> Option<String> {
        self.has_id.then(|| cursor.to_string())
    }
}

impl EventEncoder for SseJson {
    fn snapshot(&self, _: &Fragments, snapshot: &Snapshot) -> Bytes {
        let id = self.id(snapshot.cursor());
        sse::event(self.list_event, id, (self.list)(snapshot))
    }

    fn patch(&self, _: &Fragments, patch: &Patch, _: &Snapshot) -> Bytes {
        let id = self.id(&patch.to);
        sse::event(Some("patch"), id, json(&views::patch(patch)))
    }
}
