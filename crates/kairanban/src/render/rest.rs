//! Bodies of `/api/v1`, and their schemas for the OpenAPI document.

mod topic_list;

use chrono::{DateTime, Utc};
use kairanban_core::{
    AuditEntry, Board, BoardName, BrowserSession, LogRow, Revision, Token, Topic,
};
use kairanban_store::{Secret, TicketTimes};
use serde::Serialize;
use utoipa::ToSchema;

pub use self::topic_list::{TopicListView, live_list, live_list_in_gzip, search_page, topic_page};

use super::schemas::{ChangeKindSchema, PostPolicySchema, ReadPolicySchema, ScopeSchema};
use crate::encode::{TopicView, json, rfc3339, rfc3339_or_null};

/// Renders one topic as JSON.
#[must_use]
pub fn topic(topic: &Topic) -> Vec<u8> {
    json(&TopicView::from(topic))
}

/// A board, without its topics.
#[derive(Serialize, ToSchema)]
#[schema(as = Board)]
pub struct BoardSummary<'a> {
    name: &'a str,
    /// The title; empty if it has none.
    title: &'a str,
    /// Who may read it: every client (`open`), or clients with a token for it (`token`).
    #[schema(value_type = ReadPolicySchema)]
    read: &'static str,
    /// Who may post on it: every client that may read it, clients with a token for it, or no client
    /// (`closed`).
    #[schema(value_type = PostPolicySchema)]
    post: &'static str,
    /// The revision of its newest change.
    #[schema(value_type = i64, minimum = 0)]
    revision: Revision,
    /// How many it has that are not archived.
    topics: u64,
}

impl<'a> From<&'a Board> for BoardSummary<'a> {
    fn from(board: &'a Board) -> Self {
        let Board {
            name,
            title,
            policies,
            revision,
            topics,
        } = board;
        let (read, post) = (policies.read.as_str(), policies.post.as_str());
        Self {
            name: name.as_str(),
            title,
            read,
            post,
            revision: *revision,
            topics: *topics,
        }
    }
}

/// Boards in the order of their names.
#[derive(Serialize, ToSchema)]
#[schema(as = Boards)]
pub struct BoardsView<'a> {
    boards: Vec<BoardSummary<'a>>,
}

/// Renders one board, as JSON.
#[must_use]
pub fn board(board: &Board) -> Vec<u8> {
    json(&BoardSummary::from(board))
}

/// Renders a list of boards.
#[must_use]
pub fn boards(boards: &[Board]) -> Vec<u8> {
    json(&BoardsView {
        boards: boards.iter().map(BoardSummary::from).collect(),
    })
}

/// What is known of a token. The token itself is not.
#[derive(Serialize, ToSchema)]
#[schema(as = Token)]
pub struct TokenView<'a> {
    #[schema(minimum = 1)]
    id: i64,
    name: &'a str,
    /// What it allows: `read`, `post` or `admin`; each includes those before it.
    #[schema(value_type = ScopeSchema)]
    scope: &'static str,
    /// The one board that it is for; null for all.
    board: Option<&'a str>,
    #[serde(serialize_with = "rfc3339")]
    created_at: DateTime<Utc>,
    /// When the token expires.
    #[serde(serialize_with = "rfc3339_or_null")]
    expires_at: Option<DateTime<Utc>>,
    /// When it was revoked.
    #[serde(serialize_with = "rfc3339_or_null")]
    revoked_at: Option<DateTime<Utc>>,
    /// When it was last used, to the minute; null if it was never used.
    #[serde(serialize_with = "rfc3339_or_null")]
    last_used_at: Option<DateTime<Utc>>,
}

impl<'a> From<&'a Token> for TokenView<'a> {
    fn from(token: &'a Token) -> Self {
        let Token {
            id,
            name,
            scope,
            board,
            created_at,
            expires_at,
            revoked_at,
            last_used_at,
        } = token;
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
#[derive(Serialize, ToSchema)]
#[schema(as = NewToken)]
pub struct NewTokenView<'a> {
    /// The token itself, this once.
    token: &'a str,
    #[serde(flatten)]
    about: TokenView<'a>,
}

/// Tokens in the order of their ids.
#[derive(Serialize, ToSchema)]
#[schema(as = Tokens)]
pub struct TokensView<'a> {
    tokens: Vec<TokenView<'a>>,
}

/// Renders what is known of a token, without its secret.
#[must_use]
pub fn token(token: &Token) -> Vec<u8> {
    json(&TokenView::from(token))
}

/// Renders a token that was just made, with its secret.
#[must_use]
pub fn new_token(token: &Token, secret: &Secret) -> Vec<u8> {
    json(&NewTokenView {
        token: secret.reveal(),
        about: TokenView::from(token),
    })
}

/// Renders a list of tokens.
#[must_use]
pub fn tokens(tokens: &[Token]) -> Vec<u8> {
    json(&TokensView {
        tokens: tokens.iter().map(TokenView::from).collect(),
    })
}

/// A browser that is signed in, without its secret.
#[derive(Serialize, ToSchema)]
#[schema(as = Session)]
pub struct SessionView<'a> {
    #[schema(minimum = 1)]
    id: i64,
    /// The token that it stands for, and ends with.
    #[schema(minimum = 1)]
    token_id: i64,
    /// The name of that token.
    name: &'a str,
    #[schema(value_type = ScopeSchema)]
    scope: &'static str,
    /// The one board that the token is for; null for all of them.
    board: Option<&'a str>,
    /// When the browser signed in.
    #[serde(serialize_with = "rfc3339")]
    created_at: DateTime<Utc>,
    #[serde(serialize_with = "rfc3339")]
    expires_at: DateTime<Utc>,
    /// When it was last used, to the minute; null if it was never used.
    #[serde(serialize_with = "rfc3339_or_null")]
    last_used_at: Option<DateTime<Utc>>,
}

impl<'a> From<&'a BrowserSession> for SessionView<'a> {
    fn from(session: &'a BrowserSession) -> Self {
        Self {
            id: session.id,
            token_id: session.token.id,
            name: &session.token.name,
            scope: session.token.scope.as_str(),
            board: session.token.board.as_ref().map(BoardName::as_str),
            created_at: session.created_at,
            expires_at: session.expires_at,
            last_used_at: session.last_used_at,
        }
    }
}

/// Sessions in the order of their ids.
#[derive(Serialize, ToSchema)]
#[schema(as = Sessions)]
pub struct SessionsView<'a> {
    sessions: Vec<SessionView<'a>>,
}

/// Renders a list of sessions.
#[must_use]
pub fn sessions(sessions: &[BrowserSession]) -> Vec<u8> {
    json(&SessionsView {
        sessions: sessions.iter().map(SessionView::from).collect(),
    })
}

/// A ticket that was just made.
#[derive(Serialize, ToSchema)]
#[schema(as = Ticket)]
pub struct TicketView<'a> {
    /// For `?ticket=` behind the address of the board's stream.
    ticket: &'a str,
    board: &'a str,
    /// Until then it has to be used first.
    use_within_s: u64,
}

/// Renders a ticket that was just created.
#[must_use]
pub fn ticket(ticket: &Secret, board: &BoardName, times: TicketTimes) -> Vec<u8> {
    json(&TicketView {
        ticket: ticket.reveal(),
        board: board.as_str(),
        use_within_s: times.first_use.as_secs(),
    })
}

/// What an administrator did.
#[derive(Serialize, ToSchema)]
#[schema(as = AuditEntry)]
pub struct AuditView<'a> {
    #[schema(minimum = 1)]
    id: i64,
    #[serde(serialize_with = "rfc3339")]
    at: DateTime<Utc>,
    /// The name of the token that allowed it, or `terminal`.
    actor: &'a str,
    /// That token; null for the server's own terminal.
    token_id: Option<i64>,
    /// What was done, as in `topic.delete`.
    action: &'a str,
    /// The board's name then.
    board: Option<&'a str>,
    /// The id of the topic, the token or the session.
    subject: Option<i64>,
}

impl<'a> From<&'a AuditEntry> for AuditView<'a> {
    fn from(entry: &'a AuditEntry) -> Self {
        let AuditEntry {
            id,
            at,
            actor,
            action,
            board,
            subject,
        } = entry;
        let (actor, token_id) = (actor.name.as_str(), actor.token);
        Self {
            id: *id,
            at: *at,
            actor,
            token_id,
            action,
            board: board.as_deref(),
            subject: *subject,
        }
    }
}

/// What administrators did, the newest first.
#[derive(Serialize, ToSchema)]
#[schema(as = Audit)]
pub struct AuditPageView<'a> {
    entries: Vec<AuditView<'a>>,
}

/// Renders a page of the audit.
#[must_use]
pub fn audit(entries: &[AuditEntry]) -> Vec<u8> {
    json(&AuditPageView {
        entries: entries.iter().map(AuditView::from).collect(),
    })
}

/// What this node does now.
#[derive(Debug, Serialize, ToSchema)]
pub struct Stats {
    /// The version of the program.
    pub version: &'static str,
    /// Since the process began.
    pub uptime_s: u64,
    /// Open streams of this node.
    pub streams: usize,
    /// How many there may be.
    pub streams_max: usize,
    /// Reads of the database by this node, since the process began.
    pub database_reads: u64,
    /// Boards in memory: watched, or read lately.
    pub boards_in_memory: usize,
    /// The history that is followed.
    pub epoch: String,
    /// Everything up to here is published.
    #[schema(value_type = i64, minimum = 0)]
    pub revision: Revision,
    /// Since when the database has been away, if it is.
    #[serde(serialize_with = "rfc3339_or_null")]
    pub stale_since: Option<DateTime<Utc>>,
}

/// Renders what this node does now.
#[must_use]
pub fn stats(stats: &Stats) -> Vec<u8> {
    json(stats)
}

/// A page of a board's log, in the order of commits.
#[derive(Serialize, ToSchema)]
#[schema(as = Changes)]
pub struct ChangesView {
    changes: Vec<ChangeView>,
}

/// Something that happened to a board, without text.
#[derive(Serialize, ToSchema)]
#[schema(as = Change)]
pub struct ChangeView {
    #[schema(value_type = i64, minimum = 1)]
    revision: Revision,
    /// `set`, `delete`, `archive`, `clear` (all topics at once) or `board` (the board itself).
    #[schema(value_type = ChangeKindSchema)]
    kind: &'static str,
    /// The topic, if it is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1)]
    topic_id: Option<i64>,
}

impl From<&LogRow> for ChangeView {
    fn from(row: &LogRow) -> Self {
        Self {
            revision: row.revision,
            kind: row.kind().as_str(),
            topic_id: row.topic_id,
        }
    }
}

/// Renders a page of a board's log.
#[must_use]
pub fn changes(rows: &[LogRow]) -> Vec<u8> {
    json(&ChangesView {
        changes: rows.iter().map(ChangeView::from).collect(),
    })
}
