//! Defines the JSON of topics and events.

use chrono::{DateTime, SecondsFormat, Utc};
use kairanban_core::{Op, Patch, Revision, Snapshot, Topic};
use serde::{Serialize, Serializer};
use utoipa::ToSchema;

use crate::error::Problem;

/// A topic as clients see it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Topic)]
pub struct TopicView<'a> {
    #[schema(minimum = 1)]
    id: i64,
    comment: &'a str,
    /// Who says they wrote it; may be empty.
    author: &'a str,
    #[serde(serialize_with = "rfc3339")]
    created_at: DateTime<Utc>,
    #[serde(serialize_with = "rfc3339")]
    updated_at: DateTime<Utc>,
    /// When the text or the author last changed; null if they never did.
    #[serde(serialize_with = "rfc3339_or_null")]
    #[schema(required)]
    edited_at: Option<DateTime<Utc>>,
    /// The revision of its newest change.
    #[schema(value_type = i64, minimum = 0)]
    revision: Revision,
}

impl<'a> From<&'a Topic> for TopicView<'a> {
    fn from(topic: &'a Topic) -> Self {
        let Topic {
            id,
            comment,
            author,
            created_at,
            updated_at,
            edited_at,
            revision,
        } = topic;
        Self {
            id: id.0,
            comment,
            author,
            created_at: *created_at,
            updated_at: *updated_at,
            edited_at: *edited_at,
            revision: *revision,
        }
    }
}

/// Writes a time as programs read it: as exactly as the database has it.
pub fn exact_time(time: &DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Micros, true)
}

/// Writes a time as programs read it, to the second.
pub fn time_in_seconds(time: &DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// Writes a time as people read it.
pub fn shown_time(time: &DateTime<Utc>) -> String {
    time.format("%Y-%m-%d %H:%M UTC").to_string()
}

pub fn rfc3339<S: Serializer>(time: &DateTime<Utc>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&exact_time(time))
}

#[expect(clippy::ref_option, reason = "serde passes the field")]
pub fn rfc3339_or_null<S: Serializer>(
    time: &Option<DateTime<Utc>>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => rfc3339(time, serializer),
        None => serializer.serialize_none(),
    }
}

/// The tutorial's list: exactly these keys.
#[derive(Serialize)]
pub(super) struct Tutorial<'a> {
    contents: Vec<Content<'a>>,
}

/// The tutorial's list and the revision.
#[derive(Serialize)]
pub(super) struct ListView<'a> {
    revision: Revision,
    contents: Vec<Content<'a>>,
}

/// The list and the revision of one board of several.
#[derive(Serialize)]
pub(super) struct BoardListView<'a> {
    board: &'a str,
    revision: Revision,
    contents: Vec<Content<'a>>,
}

pub(super) fn board_list(snapshot: &Snapshot) -> BoardListView<'_> {
    BoardListView {
        board: snapshot.board().as_str(),
        revision: snapshot.revision(),
        contents: contents(snapshot),
    }
}

#[derive(Serialize)]
struct Content<'a> {
    id: i64,
    comment: &'a str,
}

fn contents(snapshot: &Snapshot) -> Vec<Content<'_>> {
    snapshot
        .topics()
        .iter()
        .map(|topic| Content {
            id: topic.id.0,
            comment: &topic.comment,
        })
        .collect()
}

pub(super) fn tutorial(snapshot: &Snapshot) -> Tutorial<'_> {
    Tutorial {
        contents: contents(snapshot),
    }
}

pub(super) fn list(snapshot: &Snapshot) -> ListView<'_> {
    ListView {
        revision: snapshot.revision(),
        contents: contents(snapshot),
    }
}

#[derive(Serialize)]
pub(super) struct SnapshotView<'a> {
    board: &'a str,
    revision: Revision,
    digest: String,
    topics: Vec<TopicView<'a>>,
}

pub(super) fn snapshot(snapshot: &Snapshot) -> SnapshotView<'_> {
    SnapshotView {
        board: snapshot.board().as_str(),
        revision: snapshot.revision(),
        digest: snapshot.digest().to_string(),
        topics: topic_views(snapshot),
    }
}

pub fn topic_views(snapshot: &Snapshot) -> Vec<TopicView<'_>> {
    snapshot
        .topics()
        .iter()
        .map(|topic| TopicView::from(topic.as_ref()))
        .collect()
}

#[derive(Serialize)]
pub(super) struct PatchView<'a> {
    board: &'a str,
    from: Revision,
    revision: Revision,
    digest: String,
    ops: Vec<OpView<'a>>,
}

#[derive(Serialize)]
#[serde(tag = "op", rename_all = "lowercase")]
enum OpView<'a> {
    Set {
        topic: TopicView<'a>,
    },
    Delete {
        id: i64,
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        archived: bool,
    },
}

pub(super) fn patch(patch: &Patch) -> PatchView<'_> {
    PatchView {
        board: patch.board.as_str(),
        from: patch.from,
        revision: patch.to.revision,
        digest: patch.digest.to_string(),
        ops: patch.ops.iter().map(OpView::from).collect(),
    }
}

impl<'a> From<&'a Op> for OpView<'a> {
    fn from(op: &'a Op) -> Self {
        match op {
            Op::Set(topic) => Self::Set {
                topic: TopicView::from(topic.as_ref()),
            },
            Op::Delete { id, archived } => Self::Delete {
                id: id.0,
                archived: *archived,
            },
        }
    }
}

/// The data of `ack` on a WebSocket.
#[derive(Serialize)]
pub(super) struct Ack<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) key: Option<&'a str>,
    pub(super) topic: TopicView<'a>,
}

/// The data of `error` on a WebSocket.
#[derive(Serialize)]
pub(super) struct Refused<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) key: Option<&'a str>,
    #[serde(flatten)]
    pub(super) problem: &'a Problem,
}

/// The data of `reset` and `bye` of one board of several.
#[derive(Serialize)]
pub(super) struct BoardReason<'a> {
    pub(super) board: &'a str,
    pub(super) reason: &'static str,
}

/// The data of `cursor`.
#[derive(Serialize)]
pub(super) struct CursorView {
    pub(super) revision: Revision,
}

/// The beginning of a line of NDJSON; its data follows.
#[derive(Serialize)]
pub(super) struct LineHead {
    pub(super) event: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) id: Option<String>,
}

/// The data of `bye` in NDJSON, which has no `retry` field.
#[derive(Serialize)]
pub(super) struct ByeView {
    #[serde(flatten)]
    pub(super) reason: ReasonView,
    pub(super) retry_ms: u128,
}

/// The data of `reset` and `bye`.
#[derive(Serialize)]
pub(super) struct ReasonView {
    pub(super) reason: &'static str,
}

/// Encodes `value` as JSON.
pub fn json(value: &impl Serialize) -> Vec<u8> {
    // Our views hold strings, numbers and lists, which JSON can always express.
    without_separators(serde_json::to_vec(value).unwrap_or_default())
}

/// Escapes the characters that Unicode takes for ends of lines: clients that split a stream by them
/// would cut an event in two. Within JSON they stand in strings only.
fn without_separators(json: Vec<u8>) -> Vec<u8> {
    const SEPARATORS: [(&str, &str); 3] = [
        ("\u{2028}", "\\u2028"),
        ("\u{2029}", "\\u2029"),
        ("\u{85}", "\\u0085"),
    ];
    let is_there =
        |(separator, _): &(&str, &str)| memchr::memmem::find(&json, separator.as_bytes()).is_some();
    if !SEPARATORS.iter().any(is_there) {
        return json;
    }
    let text = String::from_utf8_lossy(&json).into_owned();
    SEPARATORS
        .iter()
        .fold(text, |text, (separator, escape)| {
            text.replace(separator, escape)
        })
        .into_bytes()
}
