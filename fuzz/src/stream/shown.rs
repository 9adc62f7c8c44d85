//! What a reader must be sent, and how it is compared with what it was sent.

use std::sync::Arc;

use kairanban::fuzzing::StreamFormat;
use kairanban_core::Topic;
use serde_json::Value;

use crate::event_stream::Event;

/// An event that a reader must be sent.
#[derive(Debug)]
pub struct Shown {
    name: &'static str,
    id: Option<String>,
    content: ShownContent,
}

/// What an event carries.
#[derive(Debug)]
pub enum ShownContent {
    /// JSON that means this.
    Json(Value),
    /// Text, with LF as line ends.
    Text(String),
    /// The whole list, in HTML.
    Html(Vec<Arc<Topic>>),
    /// Checked elsewhere.
    Unread,
}

impl Shown {
    pub fn new(name: &'static str, id: Option<String>, content: ShownContent) -> Self {
        Self { name, id, content }
    }

    pub fn assert_is(&self, event: &Event, format: StreamFormat) {
        assert_eq!(event.name, self.name, "{format:?}");
        // NDJSON has no way to empty an id.
        let id = self
            .id
            .as_ref()
            .filter(|id| format != StreamFormat::Ndjson || !id.is_empty());
        assert_eq!(event.has_id.then_some(&event.last_id), id, "{format:?}");
        let is_markup = match format {
            StreamFormat::Html | StreamFormat::HtmlList | StreamFormat::Turbo => true,
            StreamFormat::Tutorial
            | StreamFormat::List
            | StreamFormat::Patch
            | StreamFormat::Ndjson
            | StreamFormat::Raw => false,
        };
        match &self.content {
            ShownContent::Json(expected) => {
                if format != StreamFormat::Ndjson {
                    assert_is_one_line(&event.data);
                }
                let mut data: Value = serde_json::from_str(&event.data).expect("JSON");
                if let Some(object) = data.as_object_mut().filter(|_| self.name == "bye") {
                    object.remove("retry_ms");
                }
                assert_eq!(data, *expected, "{format:?}");
            }
            ShownContent::Text(text) => assert_eq!(event.data, lines(text)),
            ShownContent::Html(topics) => assert_shows(&event.data, topics),
            ShownContent::Unread if is_markup => assert!(!event.data.is_empty()),
            ShownContent::Unread => drop(serde_json::from_str::<Value>(&event.data).expect("JSON")),
        }
    }
}

/// Asserts that a frame is one line, also for clients that split at what Unicode takes for the end
/// of a line.
pub fn assert_is_one_line(text: &str) {
    assert!(
        !text.contains(['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}']),
        "{text:?}"
    );
}

/// Returns the text with LF as line ends.
fn lines(text: &str) -> String {
    text.replace("\r\n", "\n").replace('\r', "\n")
}

/// Reads the topics in HTML, which no text of a user can have added tags to.
fn assert_shows(html: &str, topics: &[Arc<Topic>]) {
    let comments: Vec<_> = topics.iter().map(|topic| lines(&topic.comment)).collect();
    assert_eq!(
        between(html, r#"<p class="comment" dir="auto">"#, "</p>"),
        comments
    );
    let authors = topics.iter().map(|topic| lines(&topic.author));
    let authors: Vec<_> = authors.filter(|author| !author.is_empty()).collect();
    assert_eq!(
        between(html, r#"<b class="author" dir="auto">"#, "</b>"),
        authors
    );
    // In each topic `<li>`, two `<p>` and `<time>`, and their ends; perhaps `<b>`.
    let tags = html.matches('<').count();
    let around = if html.starts_with("<turbo-stream") {
        4
    } else {
        0
    };
    let empty = if topics.is_empty() { 2 } else { 0 };
    assert_eq!(
        tags,
        topics.len() * 8 + authors.len() * 2 + around + empty,
        "{html}"
    );
    assert_eq!(html.matches('>').count(), tags, "{html}");
}

/// Returns the texts that stand between two tags.
fn between(html: &str, from: &str, to: &str) -> Vec<String> {
    let parts = html.split(from).skip(1);
    parts
        .map(|part| unescaped(part.split(to).next().unwrap_or_default()))
        .collect()
}

fn unescaped(text: &str) -> String {
    text.replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&quot;", "\"")
        .replace("&#x27;", "'")
        .replace("&#x2f;", "/")
        .replace("&#x2028;", "\u{2028}")
        .replace("&#x2029;", "\u{2029}")
        .replace("&amp;", "&")
}
