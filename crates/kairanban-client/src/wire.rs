//! What the server sends, as it sends it.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// A notice on a board.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Topic {
    /// Its key.
    pub id: i64,
    /// The text.
    pub comment: String,
    /// Who says they wrote it; may be empty.
    pub author: String,
    /// When it was first written.
    pub created_at: DateTime<Utc>,
    /// When its row last changed, as its writers keep it.
    pub updated_at: DateTime<Utc>,
    /// When its text or author last changed; `None` if they never did, or if the server is too old to say.
    #[serde(default)]
    pub edited_at: Option<DateTime<Utc>>,
    /// The revision of its newest change.
    pub revision: u64,
}

/// One step of a patch.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(tag = "op", rename_all = "lowercase")]
pub enum Op {
    /// The topic is there, as it stands here.
    Set {
        /// The topic.
        topic: Topic,
    },
    /// The topic is not there.
    Delete {
        /// Its key.
        id: i64,
        /// Because the board is full.
        #[serde(default)]
        archived: bool,
    },
}

#[derive(Debug, Deserialize)]
pub(crate) struct Snapshot {
    pub(crate) revision: u64,
    pub(crate) digest: String,
    pub(crate) topics: Vec<Topic>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Patch {
    pub(crate) from: u64,
    pub(crate) revision: u64,
    pub(crate) digest: String,
    pub(crate) ops: Vec<Op>,
}

/// The board that an event of several is about; none, if about all of them.
#[derive(Debug, Deserialize)]
pub(crate) struct OfBoard {
    pub(crate) board: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Place {
    pub(crate) revision: u64,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Reason {
    pub(crate) reason: String,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Stale {
    pub(crate) since: DateTime<Utc>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Problem {
    pub(crate) detail: String,
}
