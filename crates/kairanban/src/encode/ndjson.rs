//! Encodes events as NDJSON: a line with a JSON object each. WebSockets send the same lines.

use std::time::Duration;

use bytes::Bytes;
use kairanban_core::{Cursor, Patch, Snapshot, Topic, Update};

use super::{
    event_encoder::{EventEncoder, Framing},
    fragments::Fragments,
    views::{self, TopicView, json},
};
use crate::error::Problem;

/// Sends a line of JSON for each event.
pub(super) struct Ndjson {
    /// Whether lists and patches carry a cursor. Those of a stream of several boards do not: only
    /// its `cursor` event does.
    pub(super) has_id: bool,
}

impl Ndjson {
    fn id(&self, cursor: &Cursor) -> Option<String> {
        self.has_id.then(|| cursor.to_string())
    }
}

impl EventEncoder for Ndjson {
    fn framing(&self) -> &'static dyn Framing {
        &JsonLines
    }

    fn snapshot(&self, _: &Fragments, snapshot: &Snapshot) -> Bytes {
        let id = self.id(snapshot.cursor());
        line("snapshot", id, &json(&views::snapshot(snapshot)))
    }

    fn patch(&self, _: &Fragments, patch: &Patch, _: &Snapshot) -> Bytes {
        line("patch", self.id(&patch.to), &json(&views::patch(patch)))
    }

    fn update(&self, fragments: &Fragments, update: &Update) -> Bytes {
        self.patch(fragments, &update.patch, &update.snapshot)
    }
}

/// The framing of NDJSON: a line for each event.
pub(super) struct JsonLines;

impl Framing for JsonLines {
    fn retry(&self, _: Duration) -> Bytes {
        Bytes::new()
    }

    fn event(&self, name: &'static str, id: Option<String>, json: Vec<u8>) -> Bytes {
        line(name, id.filter(|id| !id.is_empty()), &json)
    }

    fn keep_alive(&self) -> Bytes {
        Bytes::from_static(b"\n")
    }

    fn bye(&self, reason: views::ReasonView, retry: Duration) -> Bytes {
        let retry_ms = retry.as_millis();
        line("bye", None, &json(&views::ByeView { reason, retry_ms }))
    }
}

/// Puts an event into a line. `data` is JSON already, so it is put behind an object that is still
/// open.
fn line(event: &'static str, id: Option<String>, data: &[u8]) -> Bytes {
    let mut line = json(&views::LineHead { event, id });
    line.pop();
    line.reserve(data.len() + 16);
    line.extend(b",\"data\":");
    line.extend(data);
    line.extend(b"}\n");
    line.into()
}

/// Encodes the answer to a request on a socket that succeeded.
#[must_use]
pub fn ack(key: Option<&str>, topic: &Topic) -> Bytes {
    let topic = TopicView::from(topic);
    line("ack", None, &json(&views::Ack { key, topic }))
}

/// Encodes the answer to a request on a socket that failed.
#[must_use]
pub fn refused(key: Option<&str>, problem: &Problem) -> Bytes {
    line("error", None, &json(&views::Refused { key, problem }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_object_on_one_line() {
        let data = json(&serde_json::json!({"comment": "two\nlines"}));
        let cursor = Some("e-1".to_owned());
        let sent = JsonLines.event("cursor", cursor, data);
        let line = r#"{"event":"cursor","id":"e-1","data":{"comment":"two\nlines"}}"#;
        assert_eq!(sent, format!("{line}\n"));
        let reset = JsonLines.event("reset", Some(String::new()), b"{}".to_vec());
        assert_eq!(reset, "{\"event\":\"reset\",\"data\":{}}\n");
    }
}
