//! The boards in a database: Postgres, or an embedded SQLite file.
//!
//! Everything here is synchronous and runs on blocking threads. Capture is the database's own
//! (triggers, see `migrations/`), so this crate only writes rows and reads the log; it never
//! tells anybody but its caller. Where the two databases differ, [`connection`] decides.

mod address;
mod audit;
mod change_log;
mod classified;
mod clock;
mod connection;
mod deed;
mod error;
mod files;
mod group_commit;
mod history;
mod idempotency;
mod identity;
mod lenient;
mod migrate;
mod needs;
mod pool;
mod repository;
mod rights;
mod rows;
mod schema;
mod start;
mod store;
mod tokens;
mod writer;
mod writer_health;

pub use address::{DatabaseAddress, url_fault};
pub use change_log::{BoardTouched, LogPage, RowBefore, Stretch};
pub use connection::{Timeouts, is_pooled};
pub use deed::Deed;
pub use error::{Fault, FaultKind, Refusal, StoreError};
pub use files::check_files;
pub use history::{BoardContent, content_sum};
pub use migrate::migrate;
pub use repository::{BoardEdit, BoardPlace, Page, Visible};
pub use start::{Check, StartError, check};
pub use store::{DataVersion, Store, StoreConfig};
pub use tokens::{FoundToken, NewToken, Secret, TicketTimes};
pub use writer::{Committed, CreatedTopic, Write, Writer, WriterConfig, Written};
pub use writer_health::WriterHealth;
