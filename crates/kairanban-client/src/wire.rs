//! The JSON that the server sends.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// A notice on a board.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct ListedTopic {
    /// The topic's id, which is never used again.
    pub id: i64,
    /// The text of the topic.
    pub comment: String,
    /// The author's name as they sent it; may be empty.
    pub author: String,
    /// When it was first written.
    pub created_at: DateTime<Utc>,
    /// When its row last changed, as set by its writers.
    pub updated_at: DateTime<Utc>,
    /// When its text or author last changed; `None` if neither did, or if the server is of an older
    /// version.
    #[serde(default)]
    pub edited_at: Option<DateTime<Utc>>,
    /// The revision of its newest change.
    pub revision: u64,
}

/// A board, as a list of boards shows it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct ListedBoard {
    /// The name in the board's address.
    pub name: String,
    /// The title; empty if it has none.
    pub title: String,
    /// Who may read it: `open` or `token`.
    pub read: String,
    /// Who may post on it: `open`, `token` or `closed`.
    pub post: String,
    /// The revision of its newest change.
    pub revision: u64,
    /// How many topics it has that are not archived.
    pub topics: u64,
}

#[derive(Debug, Deserialize)]
pub(crate) struct BoardsPage {
    pub(crate) boards: Vec<ListedBoard>,
}

/// One step of a patch.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(tag = "op", rename_all = "lowercase")]
pub enum ListOp {
    /// Insert the topic by id, or replace it.
    Set {
        /// The topic as it is now.
        topic: ListedTopic,
    },
    /// Remove the topic, if the list has it.
    Delete {
        /// The id of the topic.
        id: i64,
        /// Whether a full board pushed it out, instead of a delete.
        #[serde(default)]
        archived: bool,
    },
}

#[derive(Debug, Deserialize)]
pub(crate) struct SnapshotEvent {
    pub(crate) revision: u64,
    pub(crate) digest: String,
    pub(crate) topics: Vec<ListedTopic>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct PatchEvent {
    pub(crate) from: u64,
    pub(crate) revision: u64,
    pub(crate) digest: String,
    pub(crate) ops: Vec<ListOp>,
}

/// The board of an event on a stream of several boards; `None` if the event is about all of them.
#[derive(Debug, Deserialize)]
pub(crate) struct BoardField {
    pub(crate) board: Option<String>,
}

/// A `cursor` event: all boards of the stream that go on have been brought to this revision.
#[derive(Debug, Deserialize)]
pub(crate) struct CursorEvent {
    pub(crate) revision: u64,
}

/// A `reset` or `bye` event.
#[derive(Debug, Deserialize)]
pub(crate) struct ReasonEvent {
    pub(crate) reason: String,
}

#[derive(Debug, Deserialize)]
pub(crate) struct StaleEvent {
    pub(crate) since: DateTime<Utc>,
}

/// An error response, as in RFC 9457.
#[derive(Debug, Deserialize)]
pub(crate) struct ProblemDetails {
    pub(crate) detail: String,
}
