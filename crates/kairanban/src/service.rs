//! Reads, watches and writes boards, for every protocol.

mod board_view;
mod lookup;
mod navigation;
mod watching;
mod writing;

use std::{sync::Arc, time::Duration};

use kairanban_core::{BoardName, Hub, Policies, Revision};
use kairanban_store::{PoolConnections, Store, StoreError, Writer, WriterHealth};
use thiserror::Error;

use crate::{
    auth::Authenticator,
    board_directory::BoardDirectory,
    board_finder::{AbsentBoards, BoardFinder},
    board_loader::BoardLoader,
    follower::FollowerStatus,
    high_water::HighWater,
    metrics::WriteMetrics,
};

pub use board_view::{BoardView, CATCH_UP};
pub use lookup::SearchedPage;
pub use navigation::{IndexedBoard, Navigation, title_or_name};
pub use watching::Watch;
pub use writing::on_commit;

/// Reads, watches and writes boards. Cheap to clone.
///
/// What reads or watches is cancel safe: a future that is dropped leaves nothing behind but,
/// perhaps, a query that goes on until the database answers it. What writes is not: a write whose
/// future is dropped is committed all the same, or not. All futures end within the times of the
/// configuration, or of the caller, while the database is away as well.
#[derive(Clone, Debug)]
pub struct BoardService {
    deps: Arc<ServiceDeps>,
}

/// Counts a read of the database that a reader's start needs, and returns whether the reader may
/// have it.
pub type ReadQuota<'a> = &'a dyn Fn() -> bool;

/// Why a board cannot be watched.
#[derive(Debug, Error)]
pub enum WatchError {
    /// The start needs a read of the database, and the reader has had too many of them.
    #[error("too many reads of the database")]
    TooManyReads,
    /// The board does not exist, or it cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What a [`BoardService`] works with.
#[derive(Debug)]
pub(crate) struct ServiceDeps {
    pub(crate) store: Store,
    pub(crate) loader: BoardLoader,
    pub(crate) hub: Arc<Hub>,
    pub(crate) writer: Writer,
    pub(crate) metrics: WriteMetrics,
    pub(crate) follower: FollowerStatus,
    pub(crate) authenticator: Authenticator,
    pub(crate) finder: BoardFinder,
    /// The names that requests asked for and that no board has.
    pub(crate) absent: AbsentBoards,
    /// The titles of boards, which pages show.
    pub(crate) directory: BoardDirectory,
    /// The newest revision that this node has acknowledged to a writer: no reader here is shown
    /// less.
    pub(crate) acknowledged: HighWater,
    /// The revision up to which the change log is trimmed.
    pub(crate) trimmed_to: HighWater,
    pub(crate) cache_ttl: Duration,
    pub(crate) write_wait: Duration,
    /// How long a deleted topic can be restored.
    pub(crate) undo: Duration,
}

impl BoardService {
    pub(crate) fn new(deps: ServiceDeps) -> Self {
        Self {
            deps: Arc::new(deps),
        }
    }

    pub(crate) fn store(&self) -> &Store {
        &self.deps.store
    }

    /// Returns what authenticates callers.
    #[must_use]
    pub fn authenticator(&self) -> &Authenticator {
        &self.deps.authenticator
    }

    /// Returns whether a board is public, as far as memory knows.
    #[must_use]
    pub fn is_public(&self, board: &BoardName) -> bool {
        let policies = self.deps.hub.policies(board);
        policies.is_some_and(Policies::is_public)
    }

    /// Returns the number of boards in memory.
    #[must_use]
    pub fn boards_in_memory(&self) -> usize {
        self.deps.hub.len()
    }

    /// Returns the number of reads of the database so far.
    #[must_use]
    pub fn database_reads(&self) -> u64 {
        self.deps.store.reads()
    }

    /// Returns how many connections to the database there are.
    #[must_use]
    pub fn connections(&self) -> PoolConnections {
        self.deps.store.connections()
    }

    /// Returns the newest revision that this node has acknowledged to a writer.
    #[must_use]
    pub fn acknowledged(&self) -> Revision {
        self.deps.acknowledged.get()
    }

    /// Returns the name of the kind of database.
    #[must_use]
    pub fn database_kind(&self) -> &'static str {
        self.deps.store.kind()
    }

    /// Returns what the writer reports about its health.
    #[must_use]
    pub fn writer_health(&self) -> &WriterHealth {
        self.deps.writer.health()
    }

    /// Returns the status of the follower.
    #[must_use]
    pub fn follower(&self) -> &FollowerStatus {
        &self.deps.follower
    }
}
