//! Server-Sent Events. The encoding is russe's; user text goes into `data` alone.

use bytes::Bytes;
use kairanban_core::Cursor;
use russe::{Event, Message};
use serde::Serialize;

/// An event that completes a state: with the cursor that a client comes back with.
pub(super) fn event(
    name: Option<&'static str>,
    cursor: Option<&Cursor>,
    data: &impl Serialize,
) -> Bytes {
    message(name, cursor.map(ToString::to_string), data)
}

/// An event without an id.
pub fn named(name: &'static str, data: &impl Serialize) -> Bytes {
    message(Some(name), None, data)
}

/// `reset`, with the empty id.
pub(super) fn reset(data: &impl Serialize) -> Bytes {
    message(Some("reset"), Some(String::new()), data)
}

/// How long to wait before coming back.
#[must_use]
pub fn retry(ms: u64) -> Bytes {
    Bytes::from(format!("retry: {ms}\n\n"))
}

/// A line that says nothing.
#[must_use]
pub const fn comment() -> Bytes {
    Bytes::from_static(b":\n\n")
}

/// An event whose data is text. A line break of any kind is one in it.
pub(super) fn text(name: Option<&'static str>, cursor: Option<&Cursor>, text: String) -> Bytes {
    encoded(
        name,
        cursor.map(ToString::to_string),
        text.replace("\r\n", "\n").replace('\r', "\n"),
    )
}

fn message(name: Option<&'static str>, id: Option<String>, data: &impl Serialize) -> Bytes {
    encoded(
        name,
        id,
        String::from_utf8(super::json(data)).unwrap_or_default(),
    )
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
