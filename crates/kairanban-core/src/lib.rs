//! The part of kairanban that touches no outside world.
//!
//! A [`Topic`] is a notice on a board, a [`Snapshot`] is the board's live list at one
//! [`Revision`], a [`Patch`] turns one snapshot into a later one, and the [`Hub`] is the fan-out
//! point where updates meet the streams that wait for them.
//!
//! Nothing here opens a socket, a file or a database, and nothing reads a clock: whoever needs
//! the time is handed it. That is what makes the ordering rules testable as plain functions.

mod audit;
mod board;
mod change;
mod cursor;
mod forms;
mod hub;
mod idempotency;
mod invalid;
mod live;
mod patch;
mod policy;
mod revision;
mod snapshot;
pub mod sync;
mod tail;
mod token;
mod topic;

pub use audit::{Actor, AuditEntry};
pub use board::{Board, BoardId, BoardName, BoardTitle};
pub use change::{BoardChanges, Change, ChangeKind, LogEntry};
pub use cursor::{Cursor, CursorError, Epoch};
pub use forms::{Form, Forms};
pub use hub::{BoardChannel, Hub, Missed, News, Published, Subscription};
pub use idempotency::{IdempotencyKey, IdempotencyKeyError};
pub use invalid::{Invalid, InvalidReason};
pub use live::{Gap, LiveBoard, Loaded, Outdated, Resume};
pub use patch::{Op, Patch, Update};
pub use policy::{BoardChange, Policies, PostPolicy, ReadPolicy, Standing};
pub use revision::Revision;
pub use snapshot::{Applied, Digest, Snapshot};
pub use tail::Tail;
pub use token::{Scope, Token, TokenName, expiry};
pub use topic::{AUTHOR_CHARS_MAX, COMMENT_CHARS_MAX, NewTopic, Topic, TopicEdit, TopicId};
