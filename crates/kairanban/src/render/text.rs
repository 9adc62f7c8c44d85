//! Lists for a terminal, where fields have tabs between them. What a terminal would obey is
//! replaced: other programs write rows, too.

use bytes::Bytes;
use chrono_tz::Tz;
use kairanban_core::{Snapshot, Topic, terminal};

use crate::{encode::TEXT_SLOT, render::dates, service::IndexedBoard};

/// Renders the live list, a topic in a line, further lines of its comment indented; once for all
/// readers.
#[must_use]
pub fn live_list(snapshot: &Snapshot, zone: Tz) -> Bytes {
    snapshot.wire_cache().get_or_encode(TEXT_SLOT, || {
        let lines = snapshot.topics().iter().map(|topic| line(topic, zone));
        lines.collect::<String>().into()
    })
}

/// Renders topics that are not the live list, in the same lines.
#[must_use]
pub fn topics(topics: &[Topic], zone: Tz) -> String {
    topics.iter().map(|topic| line(topic, zone)).collect()
}

fn line(topic: &Topic, zone: Tz) -> String {
    let time = dates::minute(&topic.created_at, zone);
    terminal::topic_as_text(topic.id.0, &time, &topic.author, &topic.comment)
}

/// Renders the index: a board in a line, with the number of its topics, when the newest was posted,
/// and its title.
#[must_use]
pub fn boards(boards: &[IndexedBoard], zone: Tz) -> String {
    let lines = boards.iter().map(|IndexedBoard { board, newest }| {
        let newest = newest.as_ref();
        let newest = newest.map(|topic| dates::minute(&topic.created_at, zone));
        let title = terminal::harmless(board.title.as_str()).replace('\t', " ");
        let newest = newest.unwrap_or_default();
        format!("{}\t{}\t{newest}\t{title}\n", board.name, board.topics)
    });
    lines.collect()
}
