//! What can go wrong between us and the database.

mod class;
mod conversions;

use std::time::Duration;

use kairanban_core::{BoardName, NotPermitted, TopicId};
use thiserror::Error;

pub use class::ErrorClass;

/// How SQLite says that a connection takes no writes.
pub(crate) const READ_ONLY_SQLITE: &str = "attempt to write a readonly database";
/// How SQLite says that there is no room.
pub(crate) const FULL_SQLITE: &str = "database or disk is full";
/// How SQLite says that the pages of a file do not fit together.
pub(crate) const MALFORMED_SQLITE: &str = "database disk image is malformed";
/// How SQLite says that a file has another format.
const NO_DATABASE_SQLITE: &str = "file is not a database";

/// Returns whether SQLite says by this text that a file is damaged, or no database.
pub(crate) fn is_damage_of_sqlite(text: &str) -> bool {
    [MALFORMED_SQLITE, NO_DATABASE_SQLITE].contains(&text)
        || text.starts_with("malformed database schema")
}

/// Why a read or a write failed.
#[derive(Clone, Debug, Error)]
pub enum StoreError {
    /// No board has this name.
    #[error("{} {}", Self::NO_BOARD, .0)]
    NoSuchBoard(BoardName),
    /// A board has this name already.
    #[error("a board named {0} exists already; choose another name")]
    BoardExists(BoardName),
    /// The board has no topic with this id.
    #[error("{} {}", Self::NO_TOPIC, .0.0)]
    NoSuchTopic(TopicId),
    /// No token has this id, or it was ended already.
    #[error("{} {}", Self::NO_TOKEN, .0)]
    NoSuchToken(i64),
    /// No session has this id, or it ended already.
    #[error("{} {}", Self::NO_SESSION, .0)]
    NoSuchSession(i64),
    /// The token has as many tickets as it may have. A client is sent a sentence of the server,
    /// which names the setting.
    #[error("this token has too many tickets")]
    TooManyTickets {
        /// How long until one of them is over.
        wait: Duration,
    },
    /// The topic is not deleted: it cannot be restored.
    #[error("topic {} is not deleted", .0.0)]
    TopicExists(TopicId),
    /// The topic is at another revision than the writer thinks. A client is sent a sentence of the
    /// server, which says what helps.
    #[error("topic {} was changed meanwhile", .0.0)]
    Changed(TopicId),
    /// The conditions of the request do not hold. The write was rolled back; nothing else is wrong
    /// with it. A client is sent a sentence of the server, which says what helps.
    #[error("the conditions of this request do not hold")]
    ConditionFailed,
    /// Posting on the board requires a token that allows it. A client is sent a sentence of the
    /// server, which says how to send one.
    #[error("posting on this board requires a token that allows it")]
    PostingRequiresToken {
        /// Whether there was one, that does not.
        shown: bool,
    },
    /// The board takes no more posts.
    #[error("this board is closed: it takes no posts")]
    Closed,
    /// The idempotency key stands for another request.
    #[error("this Idempotency-Key was used for another topic; use a new key for a new topic")]
    KeyReused,
    /// The topic that an earlier request with the idempotency key created was deleted since.
    #[error(
        "topic {}, which this Idempotency-Key created, was deleted since; use a new key to post it \
         again",
        .0.0
    )]
    TopicGone(TopicId),
    /// Another transaction that is still open has written the idempotency key. This write was
    /// rolled back, but the other request with the key may still be committed.
    #[error("an earlier request with this Idempotency-Key is still being written")]
    KeyInUse,
    /// The database refuses this write for good; it says nothing about any other.
    #[error("the database refuses this{}", .0.sentence.as_deref().map(|sentence| format!(": \
        {sentence}")).unwrap_or_default())]
    Refused(Refusal),
    /// The database answers, but cannot do it now. A write was rolled back.
    #[error("the database cannot do this now: {0}")]
    Fault(Fault),
    /// The database is away, busy or too slow, it cannot be read, or the queue before it is full. A
    /// write may or may not have been committed.
    #[error("{0}")]
    Unavailable(String),
    /// The connection turned out to be dead before anything was sent; inside the store, a reason
    /// to try another one.
    #[error("the connection was lost: {0}")]
    Disconnected(String),
    /// A fault that no input causes: a missing table, an impossible value.
    #[error("{0}")]
    Internal(String),
}

/// Why the database refuses a write.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refusal {
    /// What the owner of the database says in a RAISE of their own, if that is the cause.
    pub sentence: Option<String>,
    /// Whether it conflicts with another row, which may just have been written.
    pub(crate) conflict: bool,
    /// For administrators: the cause, if it may be something of the owner's that is to refuse
    /// nothing.
    pub(crate) cause: Option<String>,
}

/// What the owner has to do where the stamp is refused.
const LET_STAMP_PASS: &str =
    "let the triggers of topics pass an UPDATE that changes the revision alone";

/// What keeps the database from doing something now.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{kind}{text}")]
pub struct Fault {
    /// What kind of fault it is.
    pub kind: FaultKind,
    /// What the database says.
    pub text: String,
}

/// The kind of a fault, by what helps against it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum FaultKind {
    /// Others are in the way; it may work in a moment.
    #[error("")]
    Busy,
    /// Another transaction holds a lock that it needs, and is still open.
    #[error("another transaction holds what this needs; end it or wait: ")]
    Locked,
    /// A table, column, function or grant is missing.
    #[error("the installation is incomplete; run `kairanban migrate` and check the grants: ")]
    Installation,
    /// It takes no writes.
    #[error("the database is read-only: ")]
    ReadOnly,
    /// It has no room.
    #[error("the database is full: ")]
    Full,
    /// The sequence of ids is at its end.
    #[error(
        "the ids are used up: as the owner of the tables, set their sequence back to the largest \
         id in use (docs/DATABASE.md): "
    )]
    IdsUsedUp,
    /// The sequence of the log's own ids is at its end.
    #[error(
        "the ids of the change log are used up, as after a setval gone wrong: as the owner of the \
         tables, TRUNCATE changes RESTART IDENTITY and run `kairanban migrate --new-epoch` \
         (docs/DATABASE.md): "
    )]
    ChangeIdsUsedUp,
    /// The counter of revisions is at its end.
    #[error(
        "the revisions are used up, as after a restore or a setval gone wrong: as the owner of the \
         tables, empty the table changes, set the counter back and run `kairanban migrate \
         --new-epoch` (docs/DATABASE.md): "
    )]
    RevisionsUsedUp,
    /// Writes are not recorded, so no reader would see them.
    #[error("the triggers of the schema are off: ")]
    TriggersOff,
    /// The pages of a SQLite file do not fit together, or it is no database.
    #[error("the database is damaged; stop the server, and repair the file or restore a backup: ")]
    Damaged,
    /// Row-level security hides rows from the role of the server.
    #[error(
        "row-level security hides rows from the role of the server; as the owner of the tables, \
         turn it off, or grant the role BYPASSRLS: "
    )]
    RowSecurity,
    /// A rule of the owner's takes the place of a statement.
    #[error("a rule takes the place of what is written; as the owner of the table, drop it: ")]
    Rule,
    /// What is ours alone, a table or a function, refuses what a server writes, or a trigger of
    /// others on such a table keeps it from being recorded.
    #[error(
        "the schema is not as `kairanban migrate` makes it; as the owner of the tables, undo what \
         was changed: "
    )]
    Schema,
    /// What says nothing of the database: a code that is not known, raised by a trigger.
    #[error("")]
    Unclear,
    /// A fault of no other kind.
    #[error("")]
    Other,
}

impl FaultKind {
    /// Returns whether others cause it, who may be gone in a moment.
    pub(crate) const fn passes(self) -> bool {
        matches!(self, Self::Busy | Self::Locked)
    }

    /// Returns whether one row alone can meet this fault: by a trigger that needs what is missing.
    pub(crate) const fn may_be_the_rows(self) -> bool {
        matches!(self, Self::Installation | Self::Rule | Self::Unclear)
    }
}

impl StoreError {
    /// Begins the sentence about a name that no board has; the name follows.
    pub const NO_BOARD: &str = "no board is named";
    /// Begins the sentence about an id that no topic has; the id follows.
    pub const NO_TOPIC: &str = "there is no topic";
    /// Begins the sentence about an id that no valid token has; the id follows.
    pub const NO_TOKEN: &str = "no valid token has the id";
    /// Begins the sentence about an id that no session has; the id follows.
    pub const NO_SESSION: &str = "no session has the id";

    pub(crate) fn fault(kind: FaultKind, text: impl Into<String>) -> Self {
        Self::Fault(Fault {
            kind,
            text: text.into(),
        })
    }

    /// Creates the error for triggers of others on tables that are ours alone, with what drops
    /// them.
    pub(crate) fn foreign_triggers(remedy: &str) -> Self {
        let text = format!(
            "drop the triggers that are not kairanban's from tables that are kairanban's alone: \
             {remedy}"
        );
        Self::fault(FaultKind::Schema, text)
    }

    /// Creates the error for what a row, or a trigger of the owner's own, does wrong. An empty
    /// sentence counts as none.
    pub(crate) fn refused(sentence: Option<String>, conflict: bool) -> Self {
        Self::Refused(Refusal {
            sentence: sentence.filter(|sentence| !sentence.trim().is_empty()),
            conflict,
            cause: None,
        })
    }

    /// Creates the error for a row that is refused as it is stamped. `said` is the sentence that
    /// the database has for it, `cause` what administrators see.
    pub(crate) fn stamp_refused(said: Option<String>, cause: String) -> Self {
        Self::Refused(Refusal {
            sentence: Some(said.map_or_else(
                || LET_STAMP_PASS.to_owned(),
                |said| format!("{said}; {LET_STAMP_PASS}"),
            )),
            conflict: false,
            cause: Some(cause),
        })
    }

    /// Converts the error of a write that failed although all is there that writing takes: what the
    /// write brings along is at fault, such as a trigger of the owner's that fires for it.
    pub(crate) fn of_the_write_alone(self) -> Self {
        match self {
            Self::Fault(fault) if fault.kind.may_be_the_rows() => Self::Refused(Refusal {
                sentence: None,
                conflict: false,
                cause: Some(fault.text),
            }),
            // The triggers are there: one of their functions does not do what it should.
            Self::Fault(fault) if fault.kind == FaultKind::TriggersOff => Self::fault(
                FaultKind::Schema,
                "a change was not logged; compare the functions and triggers with those of an \
                 empty database",
            ),
            other => other,
        }
    }

    /// Returns the error of a caller who may not do something on a board.
    #[must_use]
    pub fn not_permitted(why: NotPermitted, board: &BoardName) -> Self {
        match why {
            NotPermitted::Hidden => Self::NoSuchBoard(board.clone()),
            NotPermitted::TokenRequired => Self::PostingRequiresToken { shown: false },
            NotPermitted::ScopeTooSmall => Self::PostingRequiresToken { shown: true },
            NotPermitted::Closed => Self::Closed,
        }
    }

    /// Returns whether other transactions are in the way, which may end in a moment.
    pub(crate) const fn is_busy(&self) -> bool {
        matches!(
            self,
            Self::Fault(Fault {
                kind: FaultKind::Busy,
                ..
            })
        )
    }

    /// Returns whether another transaction holds a lock that the write needs.
    pub(crate) const fn is_locked(&self) -> bool {
        matches!(
            self,
            Self::Fault(Fault {
                kind: FaultKind::Locked,
                ..
            })
        )
    }

    /// Converts the error of a step at which writers wait in turn: a lock that does not come is
    /// not that of a row.
    pub(crate) fn into_queue_wait(self) -> Self {
        match self {
            Self::Fault(fault) if fault.kind == FaultKind::Locked => {
                Self::fault(FaultKind::Busy, fault.text)
            }
            other => other,
        }
    }

    /// Returns whether only a check of the database says whose fault it is: the write's or the
    /// database's.
    pub(crate) fn needs_check(&self) -> bool {
        match self {
            Self::Fault(fault) => !fault.kind.passes(),
            Self::Refused(refusal) => refusal.cause.is_some(),
            _ => false,
        }
    }

    /// Returns whether another try may succeed in a while without help: others are in the way, the
    /// disk is full, the file is read-only, or the database is away.
    pub(crate) const fn may_pass(&self) -> bool {
        match self {
            Self::Fault(fault) => {
                fault.kind.passes() || matches!(fault.kind, FaultKind::Full | FaultKind::ReadOnly)
            }
            error => matches!(error, Self::Unavailable(_) | Self::Disconnected(_)),
        }
    }

    /// Returns the fault if it is that a SQLite file is damaged.
    pub(crate) fn damage(&self) -> Option<&Fault> {
        match self {
            Self::Fault(fault) if fault.kind == FaultKind::Damaged => Some(fault),
            _ => None,
        }
    }

    /// Returns whether the connection takes no writes. Nothing was written then.
    pub(crate) const fn is_read_only(&self) -> bool {
        matches!(
            self,
            Self::Fault(Fault {
                kind: FaultKind::ReadOnly,
                ..
            })
        )
    }

    /// Returns whether the connection may be at fault, so that it must not be used again.
    pub(crate) const fn is_connection_fault(&self) -> bool {
        match self {
            Self::Fault(fault) => {
                !fault.kind.passes()
                    && !matches!(fault.kind, FaultKind::TriggersOff | FaultKind::Schema)
            }
            other => matches!(
                other,
                Self::Unavailable(_) | Self::Disconnected(_) | Self::Internal(_)
            ),
        }
    }

    /// Converts the error of a step that must not be retried.
    pub(crate) fn without_retry(self) -> Self {
        match self {
            Self::Disconnected(text) => Self::Unavailable(text),
            other => other,
        }
    }

    /// Converts the error of a reading: its caller makes no difference between causes.
    pub(crate) fn of_reading(self) -> Self {
        match self {
            Self::Fault(fault) => Self::Unavailable(fault.to_string()),
            other => other.without_retry(),
        }
    }
}
