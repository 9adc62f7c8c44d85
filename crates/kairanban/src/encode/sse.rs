//! Encodes Server-Sent Events, with russe. User text goes into `data` alone.

use std::time::Duration;

use bytes::Bytes;
use kairanban_core::Cursor;
use russe::{Event, Message};

/// Encodes an event whose data is JSON. An empty `id` makes the client forget its cursor.
pub(super) fn event(name: Option<&'static str>, id: Option<String>, json: Vec<u8>) -> Bytes {
    encoded(name, id, String::from_utf8(json).unwrap_or_default())
}

/// Encodes an event whose data is text. A line break of any kind is one in it.
pub(super) fn text(name: Option<&'static str>, cursor: Option<&Cursor>, text: &str) -> Bytes {
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    encoded(name, cursor.map(ToString::to_string), text)
}

/// Encodes how long a client waits before it reconnects. It goes with the next event: by itself, some clients would take it for an
/// empty one.
pub(super) fn retry(wait: Duration) -> Bytes {
    Bytes::from(format!("retry: {}\n", wait.as_millis()))
}

/// Encodes a comment, which keeps a stream open and is not shown to scripts.
pub(super) const fn comment() -> Bytes {
    Bytes::from_static(b":\n\n")
}

fn encoded(name: Option<&'static str>, id: Option<String>, data: String) -> Bytes {
    let message = Message {
        data: data.into(),
        event: name.map(Into::into),
        retry: None,
        id: id.map(Into::into),
    };
    // Names and cursors have no line breaks, the only thing that the encoder refuses.
    Event::Message(message)
        .into_bytestring()
        .map(|text| text.into_bytes())
        .unwrap_or_default()
}
