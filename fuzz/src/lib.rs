//! Fuzz targets: what strangers send, and what other programs store.
//!
//! Each module has a `check`, which feeds bytes to the program's own functions and asserts what
//! must hold whatever the bytes are. `fuzz_targets/` has a libFuzzer program for each;
//! `tests/corpus.rs` runs them on the files in `corpus/`.

pub mod accept;
pub mod body;
pub mod conditional;
pub mod event_stream;
pub mod forwarded;
pub mod message;
mod request;
pub mod rows;
pub mod start;
pub mod stream;

/// Checks what must hold for some bytes.
pub type TargetCheck = fn(&[u8]);

/// Every target, by its name.
pub const TARGETS: [(&str, TargetCheck); 8] = [
    ("accept", accept::check),
    ("body", body::check),
    ("conditional", conditional::check),
    ("forwarded", forwarded::check),
    ("message", message::check),
    ("rows", rows::check),
    ("start", start::check),
    ("stream", stream::check),
];
