//! What goes over the wire, as JSON.

use chrono::{DateTime, SecondsFormat, Utc};
use kairanban_core::{AuditEntry, Board, BoardName, ChangeKind, LogEntry, Op, Patch, Revision, Snapshot, Token, Topic};
use serde::{Serialize, Serializer};

/// A topic as clients see it.
#[derive(Debug, Serialize)]
pub struct TopicView<'a> {
    id: i64,
    comment: &'a str,
    author: &'a str,
    #[serde(serialize_with = "rfc3339")]
    created_at: DateTime<Utc>,
    #[serde(serialize_with = "rfc3339")]
    updated_at: DateTime<Utc>,
    revision: Revision,
}

impl<'a> From<&'a Topic> for TopicView<'a> {
    fn from(topic: &'a Topic) -> Self {
        let Topic { id, comment, author, created_at, updated_at, revision } = topic;
        Self { id: id.0, comment, author, created_at: *created_at, updated_at: *updated_at, revision: *revision }
    }
}

fn rfc3339<S: Serializer>(time: &DateTime<Utc>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&time.to_rfc3339_opts(SecondsFormat::Micros, true))
}

fn maybe_rfc3339<S: Serializer>(time: &Option<DateTime<Utc>>, serializer: S) -> Result<S::Ok, S::Error> {
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
pub(super) struct List<'a> {
    revision: Revision,
    contents: Vec<Content<'a>>,
}

#[derive(Serialize)]
struct Content<'a> {
    id: i64,
    comment: &'a str,
}

fn contents(snapshot: &Snapshot) -> Vec<Content<'_>> {
    snapshot.topics().iter().map(|topic| Content { id: topic.id.0, comment: &topic.comment }).collect()
}

pub(super) fn tutorial(snapshot: &Snapshot) -> Tutorial<'_> {
    Tutorial { contents: contents(snapshot) }
}

pub(super) fn list(snapshot: &Snapshot) -> List<'_> {
    List { revision: snapshot.revision(), contents: contents(snapshot) }
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

fn topic_views(snapshot: &Snapshot) -> Vec<TopicView<'_>> {
    snapshot.topics().iter().map(|topic| TopicView::from(topic.as_ref())).collect()
}

/// The REST list.
#[derive(Serialize)]
pub(super) struct Topics<'a> {
    topics: Vec<TopicView<'a>>,
    revision: Revision,
}

pub(super) fn topics(snapshot: &Snapshot) -> Topics<'_> {
    Topics { topics: topic_views(snapshot), revision: snapshot.revision() }
}

/// A board as clients see it.
#[derive(Serialize)]
pub(super) struct BoardView<'a> {
    name: &'a str,
    title: &'a str,
    read: &'static str,
    post: &'static str,
    revision: Revision,
    topics: u64,
}

impl<'a> From<&'a Board> for BoardView<'a> {
    fn from(board: &'a Board) -> Self {
        let Board { name, title, policies, revision, topics } = board;
        let (read, post) = (policies.read.as_str(), policies.post.as_str());
        Self { name: name.as_str(), title, read, post, revision: *revision, topics: *topics }
    }
}

/// A list of boards.
#[derive(Serialize)]
pub(super) struct Boards<'a> {
    pub(super) boards: Vec<BoardView<'a>>,
}

/// A token as administrators see it.
#[derive(Serialize)]
pub(super) struct TokenView<'a> {
    id: i64,
    name: &'a str,
    scope: &'static str,
    board: Option<&'a str>,
    #[serde(serialize_with = "rfc3339")]
    created_at: DateTime<Utc>,
    #[serde(serialize_with = "maybe_rfc3339")]
    expires_at: Option<DateTime<Utc>>,
    #[serde(serialize_with = "maybe_rfc3339")]
    revoked_at: Option<DateTime<Utc>>,
    #[serde(serialize_with = "maybe_rfc3339")]
    last_used_at: Option<DateTime<Utc>>,
}

impl<'a> From<&'a Token> for TokenView<'a> {
    fn from(token: &'a Token) -> Self {
        let Token { id, name, scope, board, created_at, expires_at, revoked_at, last_used_at } = token;
        Self {
            id: *id,
            name,
            scope: scope.as_str(),
            board: board.as_ref().map(BoardName::as_str),
            created_at: *created_at,
            expires_at: *expires_at,
            revoked_at: *revoked_at,
            last_used_at: *last_used_at,
        }
    }
}

/// A token that was just made.
#[derive(Serialize)]
pub(super) struct NewTokenView<'a> {
    /// The token itself, this once.
    pub(super) token: &'a str,
    #[serde(flatten)]
    pub(super) about: TokenView<'a>,
}

/// A list of tokens.
#[derive(Serialize)]
pub(super) struct Tokens<'a> {
    pub(super) tokens: Vec<TokenView<'a>>,
}

/// A ticket that was just made.
#[derive(Serialize)]
pub(super) struct TicketView<'a> {
    pub(super) ticket: &'a str,
    pub(super) board: &'a str,
    pub(super) use_within_s: u64,
}

/// What an administrator did.
#[derive(Serialize)]
pub(super) struct AuditView<'a> {
    id: i64,
    #[serde(serialize_with = "rfc3339")]
    at: DateTime<Utc>,
    actor: &'a str,
    token_id: Option<i64>,
    action: &'a str,
    board: Option<&'a str>,
    subject: Option<i64>,
}

impl<'a> From<&'a AuditEntry> for AuditView<'a> {
    fn from(entry: &'a AuditEntry) -> Self {
        let AuditEntry { id, at, actor, action, board, subject } = entry;
        let (actor, token_id) = (actor.name.as_str(), actor.token);
        Self { id: *id, at: *at, actor, token_id, action, board: board.as_deref(), subject: *subject }
    }
}

/// A stretch of the audit.
#[derive(Serialize)]
pub(super) struct Audit<'a> {
    pub(super) entries: Vec<AuditView<'a>>,
}

/// What a node does now.
#[derive(Debug, Serialize)]
pub struct Stats {
    /// Of the program.
    pub version: &'static str,
    /// Since the process began.
    pub uptime_s: u64,
    /// Open streams of this node.
    pub streams: usize,
    /// How many there may be.
    pub streams_max: usize,
    /// Boards that somebody watches or asked for lately.
    pub boards_in_memory: usize,
    /// The history that is followed.
    pub epoch: String,
    /// Everything up to here is published.
    pub revision: Revision,
    /// Since when the database has been away, if it is.
    #[serde(serialize_with = "maybe_rfc3339")]
    pub stale_since: Option<DateTime<Utc>>,
}

/// A page of topics, the newest first.
#[derive(Serialize)]
pub(super) struct Page<'a> {
    pub(super) topics: Vec<TopicView<'a>>,
}

/// A stretch of a board's log.
#[derive(Serialize)]
pub(super) struct Log {
    changes: Vec<ChangeView>,
}

#[derive(Serialize)]
struct ChangeView {
    revision: Revision,
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    topic_id: Option<i64>,
}

pub(super) fn log(entries: &[LogEntry]) -> Log {
    let kind = |kind| match kind {
        ChangeKind::Set => "set",
        ChangeKind::Delete => "delete",
        ChangeKind::Archive => "archive",
        ChangeKind::Clear => "clear",
        ChangeKind::Board => "board",
        ChangeKind::Token => "token",
    };
    let view = |entry: &LogEntry| ChangeView {
        revision: entry.revision,
        kind: kind(entry.kind),
        topic_id: entry.topic_id.map(|id| id.0),
    };
    Log { changes: entries.iter().map(view).collect() }
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
            Op::Set(topic) => Self::Set { topic: TopicView::from(topic.as_ref()) },
            Op::Delete { id, archived } => Self::Delete { id: id.0, archived: *archived },
        }
    }
}

/// Of `reset` and `bye`.
#[derive(Serialize)]
pub(super) struct Reason {
    pub(super) reason: &'static str,
}
