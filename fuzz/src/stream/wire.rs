//! Reads a stream back: the chunks that frame it, and the events in it.

use kairanban::fuzzing::StreamFormat;
use serde_json::Value;

use super::shown::assert_is_one_line;
use crate::event_stream::{self, Event};

/// Checks the frame of HTTP/1.1 around a chunk.
pub fn assert_is_chunk(bytes: &[u8]) {
    if bytes.is_empty() {
        return;
    }
    let text = String::from_utf8_lossy(bytes);
    let (length, _) = text.split_once("\r\n").expect("a length");
    let payload = usize::from_str_radix(length, 16).expect("a length in hex");
    assert!(payload > 0, "an empty chunk ends the body");
    assert_eq!(bytes.len(), length.len() + payload + 4);
    assert!(bytes.ends_with(b"\r\n"));
}

/// Reads a whole stream. What is not shown to scripts is checked here.
pub fn read(format: StreamFormat, bytes: &[u8]) -> Vec<Event> {
    if format == StreamFormat::Ndjson {
        return read_lines(bytes);
    }
    let stream = event_stream::parse(bytes);
    assert_eq!((stream.unknown, stream.empty), (0, 0), "{format:?}");
    assert_eq!(stream.retry_ms, Some(9_000));
    assert!(stream.comments <= 1);
    assert!(bytes.starts_with(b"retry: 2345\n") && bytes.ends_with(b"\n\n"));
    stream.events
}

fn read_lines(bytes: &[u8]) -> Vec<Event> {
    let text = std::str::from_utf8(bytes).expect("UTF-8");
    assert!(text.ends_with('\n'));
    let mut last_id = String::new();
    let lines = text.split('\n').filter(|line| !line.is_empty());
    let events = lines.map(|line| {
        assert_is_one_line(line);
        let line: Value = serde_json::from_str(line).expect("JSON");
        let id = line.get("id").map(|id| id.as_str().expect("a text"));
        id.unwrap_or(&last_id).to_owned().clone_into(&mut last_id);
        Event {
            name: line["event"].as_str().expect("a name").to_owned(),
            data: line["data"].to_string(),
            last_id: last_id.clone(),
            has_id: id.is_some(),
        }
    });
    events.collect()
}
