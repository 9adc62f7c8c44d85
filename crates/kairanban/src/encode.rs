//! Encodes what streams send.
//!
//! ```text
//! stream ── Encoder ── FORMATS[format] ──┬── WireSlot ······· encoded already? shared by all readers
//!                                        └── EventEncoder ─┬─ SseJson           list, patch             in Sse
//!                                                          ├─ Ndjson            ndjson                  in JsonLines
//!                                                          ├─ FragmentEncoder   html, html-list, turbo  in Sse
//!                                                          └─ CommentEncoder    raw                     in Sse
//! ```
//!
//! Snapshots and updates are encoded at most once per format, in the slots of the core's
//! `WireCache`. The table in `formats` is the only place that knows which format uses which encoder
//! and which slot.

mod comments;
mod encoder;
mod event_encoder;
mod formats;
mod fragments;
mod frame;
mod html;
mod ndjson;
mod sse;
mod views;

pub use encoder::{Bye, Encoder};
pub use formats::{
    BoardsOfStream, ENGLISH_PAGE_SLOT, FEED_SLOT, JAPANESE_PAGE_SLOT, LIVE_LIST_SLOT, StreamFormat,
    TEXT_SLOT,
};
pub use fragments::Fragments;
#[cfg(any(test, feature = "fuzzing"))]
pub use frame::payload_of;
pub use frame::{Chunk, Frame, Wire, block, gzip, gzip_of_parts, pieces_of};
pub use ndjson::{ack, refused};
pub use views::{
    TopicView, exact_time, json, rfc3339, rfc3339_or_null, time_in_seconds, topic_views,
};
