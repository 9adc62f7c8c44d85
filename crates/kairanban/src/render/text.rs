//! The live list for a terminal.

use bytes::Bytes;
use kairanban_core::Snapshot;

use crate::encode::TEXT_SLOT;

/// Renders a topic in a line, further lines of its comment indented; once for all readers.
#[must_use]
pub fn live_list(snapshot: &Snapshot) -> Bytes {
    snapshot.wire_cache().get_or_encode(TEXT_SLOT, || {
        let lines = snapshot
            .topics()
            .iter()
            .map(|topic| format!("{}\t{}\n", topic.id.0, topic.comment.replace('\n', "\n\t")));
        lines.collect::<String>().into()
    })
}
