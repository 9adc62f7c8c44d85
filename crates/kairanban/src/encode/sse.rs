//! Encodes events as Server-Sent Events, with russe. User text goes into `data` alone.

use std::time::Duration;

use bytes::Bytes;
use kairanban_core::{Cursor, Patch, Snapshot, Update};
use russe::{Event, Message};

use super::{
    event_encoder::{EventEncoder, Framing},
    fragments::Fragments,
    views::{self, ReasonView, json},
};

/// The framing of Server-Sent Events.
pub(super) struct Sse;

impl Framing for Sse {
    fn retry(&self, wait: Duration) -> Bytes {
        retry(wait)
    }

    fn event(&self, name: &'static str, id: Option<String>, json: Vec<u8>) -> Bytes {
        event(Some(name), id, json)
    }

    fn keep_alive(&self) -> Bytes {
        comment()
    }

    fn bye(&self, reason: ReasonView, wait: Duration) -> Bytes {
        let bye = event(Some("bye"), None, json(&reason));
        [retry(wait), bye].concat().into()
    }
}

/// Sends events with JSON.
pub(super) struct SseJson {
    /// The name of the event that carries the list; `None` for an unnamed event.
    pub(super) list_event: Option<&'static str>,
    /// Whether events carry a cursor. Those of a stream of several boards do not: only its `cursor`
    /// event does.
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
    fn framing(&self) -> &'static dyn Framing {
        &Sse
    }

    fn snapshot(&self, _: &Fragments, snapshot: &Snapshot) -> Bytes {
        let id = self.id(snapshot.cursor());
        event(self.list_event, id, (self.list)(snapshot))
    }

    fn patch(&self, _: &Fragments, patch: &Patch, _: &Snapshot) -> Bytes {
        let id = self.id(&patch.to);
        event(Some("patch"), id, json(&views::patch(patch)))
    }

    fn update(&self, fragments: &Fragments, update: &Update) -> Bytes {
        self.patch(fragments, &update.patch, &update.snapshot)
    }
}

/// Encodes an event whose data is JSON. An empty `id` makes the client drop its cursor.
fn event(name: Option<&'static str>, id: Option<String>, json: Vec<u8>) -> Bytes {
    encoded(name, id, String::from_utf8(json).unwrap_or_default())
}

/// Encodes an event whose data is text. A line break of any kind is one in it.
pub(super) fn text(name: Option<&'static str>, cursor: Option<&Cursor>, text: &str) -> Bytes {
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    encoded(name, cursor.map(ToString::to_string), text)
}

/// Encodes how long a client waits before it reconnects. It goes with the next event: by itself,
/// some clients would take it for an empty one.
fn retry(wait: Duration) -> Bytes {
    Bytes::from(format!("retry: {}\n", wait.as_millis()))
}

/// Encodes a comment, which keeps a stream open and is not shown to scripts. No empty line follows
/// it: some clients would take that for the end of an empty event.
const fn comment() -> Bytes {
    Bytes::from_static(b":\n")
}

/// Encodes an event, its id last: some clients keep the id of an event that the end of the
/// connection cut short, and would go on behind an event that they never had.
fn encoded(name: Option<&'static str>, id: Option<String>, data: String) -> Bytes {
    let message = Message {
        data: data.into(),
        event: name.map(Into::into),
        retry: None,
        id: None,
    };
    // Names have no line breaks, the only thing that the encoder refuses.
    let event = Event::Message(message).into_bytestring();
    let event = event.map(|text| text.into_bytes()).unwrap_or_default();
    match (id, event.strip_suffix(b"\n")) {
        (Some(id), Some(lines)) => [lines, b"id: ", id.as_bytes(), b"\n\n"].concat().into(),
        _ => event,
    }
}
