//! The part of kairanban that touches no outside world.
//!
//! A [`Topic`] is a notice on a board, a [`Snapshot`] is the board's live list at one
//! [`Revision`], a [`Patch`] turns one snapshot into a later one, and the [`Hub`] is the fan-out
//! point where updates meet the streams that wait for them.
//!
//! Nothing here opens a socket, a file or a database, and nothing reads a clock: the time is
//! passed in. That is what makes the ordering rules testable as plain functions.

mod audit;
mod board;
mod board_state;
mod change;
mod cursor;
mod digest;
#[cfg(test)]
mod fixtures;
pub mod full_list;
mod history;
mod hub;
mod idempotency;
mod invalid;
mod opening;
mod patch;
mod pattern;
mod permission;
mod policy;
mod reader;
mod replay_buffer;
mod reset;
mod revision;
mod snapshot;
pub mod sync;
pub mod terminal;
mod text;
mod token;
mod topic;
mod wire_cache;

pub use audit::{Actor, AuditEntry};
pub use board::{Board, BoardChange, BoardId, BoardInfo, BoardName, BoardTitle};
pub use board_state::{BoardLoad, BoardState, OutdatedLoad, ReplayRange};
pub use change::{BoardChanges, Change, ChangeKind, KnownSince, ListEffect, LogRow};
pub use cursor::{Cursor, CursorError, Epoch, MultiBoardCursor};
pub use digest::{Digest, hex};
pub use history::{FoundDatabase, LogPosition, Restored, Verdict, Witness, judge};
pub use hub::{BoardChannel, BoardEvent, Hub, Lagged, Published, ShownBoard, Subscription};
pub use idempotency::{IdempotencyKey, IdempotencyKeyError};
pub use invalid::{Invalid, InvalidReason, one_of};
pub use opening::{
    LogBounds, LogStart, MultiBoardOpening, OpenedBoard, Opening, OpeningPlan, StartAt,
    StartAtError, is_future, merge_openings, plan_opening,
};
pub use patch::{Op, Patch};
pub use pattern::TextPattern;
pub use permission::{Action, NotPermitted, VisibleBoards};
pub use policy::{Policies, PostPolicy, ReadPolicy};
pub use reader::{BoardEnd, Delivery, MultiBoardPosition, ReaderPosition, Staleness, Step};
pub use replay_buffer::ReplayBuffer;
pub use reset::ResetReason;
pub use revision::Revision;
pub use snapshot::{Applied, BulkStamp, Snapshot, Update};
pub use text::{SearchText, fold, looks_empty};
pub use token::{BrowserSession, Scope, Token, TokenName, expiry};
pub use topic::{AUTHOR_CHARS_MAX, COMMENT_CHARS_MAX, NewTopic, Topic, TopicEdit, TopicId};
pub use wire_cache::{WireCache, WireSlot};
