//! The boards in a database: Postgres, or an embedded SQLite file.
//!
//! Everything here is synchronous and runs on blocking threads. Capture is the database's own
//! (triggers, see `migrations/`), so this crate only writes rows and reads the log; it
//! notifies only its caller. Where the two databases differ, `connection` decides.

mod address;
mod admin;
mod audit;
mod board_checksums;
mod browser_sessions;
mod change_log;
mod classified;
mod clock;
mod config;
mod connection;
mod error;
mod files;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod group_commit;
mod history;
mod idempotency;
mod identity;
mod lenient;
mod logged;
mod migrate;
mod needs;
mod pool;
mod replay;
mod repository;
mod row_page;
mod rows;
mod schema;
mod schema_objects;
mod secret;
mod sql;
mod sqlite_files;
mod start;
mod start_error;
mod store;
mod tickets;
mod tokens;
mod tx;
mod write;
mod writer;
mod writer_health;

pub use address::{DatabaseAddress, url_fault, without_secrets};
pub use admin::AdminCommand;
pub use audit::AuditBounds;
pub use board_checksums::{BoardContent, content_sum};
pub use browser_sessions::NewBrowserSession;
pub use change_log::{ChangeBatch, ChangedBoard, LogPage};
pub use config::{OnWait, PoolWait, StoreConfig};
pub use connection::{Timeouts, is_pooled};
pub use error::{ErrorClass, Fault, FaultKind, Refusal, StoreError};
pub use files::check_files;
pub use migrate::migrate;
pub use needs::channel_sql;
pub use pool::PoolConnections;
pub use repository::{
    BoardEdit, BoardHead, Creation, Page, RevisionCondition, SearchedTopics, TitledBoard,
};
pub use row_page::RowPage;
pub use secret::Secret;
pub use start::{Check, check, repair};
pub use start_error::StartError;
pub use store::{FileWatch, FileWatchError, Store};
pub use tickets::{NewTicket, TicketTimes};
pub use tokens::{FoundBrowserSession, FoundToken, NewToken, TokenKey};
pub use write::{Committed, CreatedTopic, Write, WriteResult};
pub use writer::{Writer, WriterConfig};
pub use writer_health::WriterHealth;
