//! Encodes new comments as text in Server-Sent Events, and nothing else.

use std::sync::Arc;

use bytes::Bytes;
use kairanban_core::{Cursor, Op, Patch, Revision, Snapshot, StartAt, Topic, Update};

use super::{
    event_encoder::{EventEncoder, Framing},
    fragments::Fragments,
    sse::{self, Sse},
};

/// Sends each new comment in an event of its own.
pub(super) struct CommentEncoder;

impl EventEncoder for CommentEncoder {
    fn framing(&self) -> &'static dyn Framing {
        &Sse
    }

    fn snapshot(&self, _: &Fragments, snapshot: &Snapshot) -> Bytes {
        comments(snapshot.topics().iter(), snapshot.cursor())
    }

    fn patch(&self, _: &Fragments, patch: &Patch, _: &Snapshot) -> Bytes {
        let topics = patch.ops.iter().filter_map(|op| match op {
            Op::Set(topic) => Some(topic),
            Op::Delete { .. } => None,
        });
        comments(topics.filter(is_unedited), &patch.to)
    }

    fn update(&self, _: &Fragments, update: &Update) -> Bytes {
        comments(update.posted.iter(), &update.patch.to)
    }

    /// What is on the list is not new.
    fn may_send_list(&self) -> bool {
        false
    }

    /// Begins with the next comment: what is on the list is not new.
    fn default_start(&self) -> StartAt {
        StartAt::Now
    }

    fn list(&self, update: &Update) -> Option<Bytes> {
        Some(comments(update.posted.iter(), &update.patch.to))
    }

    fn snapshot_since(&self, snapshot: &Snapshot, revision: Revision) -> Option<Bytes> {
        let newer = snapshot.changed_since(revision);
        Some(comments(newer.filter(is_unedited), snapshot.cursor()))
    }
}

/// Encodes an event for each topic. Only the last has the cursor, because only the last completes a
/// state.
fn comments<'a>(topics: impl Iterator<Item = &'a Arc<Topic>>, cursor: &Cursor) -> Bytes {
    let mut topics = topics.peekable();
    let mut out = Vec::new();
    while let Some(topic) = topics.next() {
        let cursor = topics.peek().is_none().then_some(cursor);
        out.extend(sse::text(None, cursor, &topic.comment));
    }
    out.into()
}

/// Returns whether a topic was not edited since it was posted: the nearest to *new* for a reader
/// who was away.
fn is_unedited(topic: &&Arc<Topic>) -> bool {
    topic.edited_at.is_none()
}
