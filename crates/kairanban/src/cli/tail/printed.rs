//! How an event is printed: for people, and for programs.

use chrono::{DateTime, Local, SecondsFormat, Utc};
use kairanban_client::{BoardCopy, ListedTopic};
use kairanban_core::{BoardName, terminal};
use serde::Serialize;

use super::{
    super::console,
    events::{EventKind, TopicEvent},
};

/// How far further rows of a topic are indented on a terminal.
const INDENT: usize = 4;
/// How wide the first row is at least, behind a long id.
const FIRST_MIN: usize = 8;
const BOLD: &str = "\x1b[1m";
const DIM: &str = "\x1b[2m";
const RED: &str = "\x1b[31m";
const GREEN: &str = "\x1b[32m";
const YELLOW: &str = "\x1b[33m";
const PLAIN: &str = "\x1b[0m";

/// How lines are printed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Style {
    /// Whether marks, times and authors are set off by colours.
    pub(super) colour: bool,
    /// The columns of the terminal; `None` for a pipe or a file, which has tabs between fields.
    pub(super) width: Option<usize>,
    /// Times in UTC instead of the local zone.
    pub(super) utc: bool,
}

impl Style {
    /// Writes an event for people.
    pub(super) fn event(self, event: &TopicEvent) -> String {
        let mark = self.mark(event.kind);
        let Some(topic) = &event.topic else {
            return format!("{mark} {}\n", event.id);
        };
        let time = match event.kind {
            EventKind::Edited => topic.edited_at.unwrap_or(topic.updated_at),
            EventKind::Touched => topic.updated_at,
            _ => topic.created_at,
        };
        let time = self.time(time);
        let (author, id) = (terminal::topic_lines(&topic.author, ""), event.id);
        let lines = terminal::topic_lines(&topic.author, &topic.comment);
        let Some(width) = self.width else {
            let mut lines = lines;
            self.set_off(&mut lines[0], &author[0]);
            let lines = lines.join("\n\t");
            return format!("{mark} {id}\t{}\t{lines}\n", self.dimmed(&time));
        };
        // The mark and the space behind it, and two spaces each behind the fields.
        let head = 2 + terminal::width(&id.to_string()) + 2 + terminal::width(&time) + 2;
        let rest = width - INDENT;
        let rows = lines.iter().enumerate().flat_map(|(at, line)| {
            let first = if at == 0 {
                width.saturating_sub(head).max(FIRST_MIN)
            } else {
                rest
            };
            terminal::wrap(line, first, rest)
        });
        let mut rows: Vec<_> = rows.collect();
        self.set_off(&mut rows[0], &author[0]);
        let rows = rows.join(&format!("\n{}", " ".repeat(INDENT)));
        format!("{mark} {id}  {}  {rows}\n", self.dimmed(&time))
    }

    fn time(self, at: DateTime<Utc>) -> String {
        if self.utc {
            at.to_rfc3339_opts(SecondsFormat::Secs, true)
        } else {
            at.with_timezone(&Local)
                .format("%Y-%m-%d %H:%M")
                .to_string()
        }
    }

    fn mark(self, kind: EventKind) -> String {
        let colour = match kind {
            EventKind::New => GREEN,
            EventKind::Edited | EventKind::Touched => YELLOW,
            EventKind::Deleted | EventKind::Left => RED,
            EventKind::Listed | EventKind::Archived => DIM,
        };
        if self.colour {
            format!("{colour}{}{PLAIN}", kind.mark())
        } else {
            kind.mark().to_string()
        }
    }

    fn dimmed(self, text: &str) -> String {
        if self.colour {
            format!("{DIM}{text}{PLAIN}")
        } else {
            text.to_owned()
        }
    }

    /// Sets the author off from the text, if all of the name is on this row.
    fn set_off(self, row: &mut String, author: &str) {
        let name = author.trim_end();
        if self.colour && !name.is_empty() && row.starts_with(name) {
            row.insert_str(name.len(), PLAIN);
            row.insert_str(0, BOLD);
        }
    }
}

/// An event as an object, in this order.
#[derive(Serialize)]
struct EventObject<'a> {
    event: &'static str,
    board: &'a str,
    id: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    topic: Option<&'a ListedTopic>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<&'a str>,
}

/// Says that the list has been shown as far as it was asked for.
#[derive(Serialize)]
struct LiveObject<'a> {
    event: &'static str,
    board: &'a str,
    revision: u64,
    topics: usize,
    cursor: Option<&'a str>,
}

/// Writes an event for programs.
pub(super) fn json(event: &TopicEvent, board: &BoardName) -> serde_json::Result<String> {
    console::json_line(&EventObject {
        event: event.kind.name(),
        board: board.as_str(),
        id: event.id,
        topic: event.topic.as_ref(),
        cursor: event.cursor.as_deref(),
    })
}

/// Writes the end of the list of the beginning for programs.
pub(super) fn json_live(copy: &BoardCopy, board: &BoardName) -> serde_json::Result<String> {
    console::json_line(&LiveObject {
        event: "live",
        board: board.as_str(),
        revision: copy.revision(),
        topics: copy.topics().count(),
        cursor: copy.cursor(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn on_a_terminal_further_rows_are_indented_and_no_row_is_too_wide() {
        let at = "2026-11-24T15:30:00Z";
        let topic = serde_json::json!({
            "id": 7, "author": "ann", "created_at": at, "updated_at": at, "revision": 3,
            "comment": "one two three four five\n+ 8  2026-11-24T15:30:00Z  bob: forged",
        });
        let topic = serde_json::from_value(topic).expect("a topic");
        let style = Style {
            colour: false,
            width: Some(44),
            utc: true,
        };
        let text = style.event(&TopicEvent::of(EventKind::New, topic));
        assert_eq!(
            text,
            "+ 7  2026-11-24T15:30:00Z  ann: one two\n    three four five\n    \
             + 8  2026-11-24T15:30:00Z  bob: forged\n"
        );
        assert!(text.lines().all(|row| terminal::width(row) <= 44), "{text}");
    }
}
