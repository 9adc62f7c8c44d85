//! The application: what can be done with boards, whatever the protocol.

mod board_view;
mod lookup;
mod watching;
mod writing;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use kairanban_core::{BoardName, Hub, ReadPolicy, Revision};
use kairanban_store::{Store, Writer, WriterHealth};

use crate::{
    auth::{ActiveTokens, TokenFinder},
    board_loader::BoardLoader,
    follower::FollowerStatus,
};

pub use board_view::{BoardView, CATCH_UP};
pub use watching::Watch;
pub use writing::on_commit;

/// Boards, for whoever asks. Cheap to clone.
#[derive(Clone, Debug)]
pub struct BoardService {
    parts: Arc<Parts>,
}

#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) store: Store,
    pub(crate) loader: BoardLoader,
    pub(crate) hub: Arc<Hub>,
    pub(crate) writer: Writer,
    pub(crate) following: FollowerStatus,
    pub(crate) held: ActiveTokens,
    pub(crate) finder: TokenFinder,
    /// The newest revision that this node has acknowledged to a writer: no reader here is shown less.
    pub(crate) acknowledged: HighWater,
    /// The revision up to which the change log is forgotten.
    pub(crate) trimmed_to: HighWater,
    pub(crate) cache_ttl: Duration,
    pub(crate) write_wait: Duration,
    /// How long a deleted topic can be put back.
    pub(crate) undo: Duration,
}

impl BoardService {
    pub(crate) fn new(parts: Parts) -> Self {
        Self {
            parts: Arc::new(parts),
        }
    }

    pub(crate) fn store(&self) -> &Store {
        &self.parts.store
    }

    pub(crate) fn finder(&self) -> &TokenFinder {
        &self.parts.finder
    }

    pub(crate) fn held(&self) -> &ActiveTokens {
        &self.parts.held
    }

    /// Whether everybody may read a board, as far as memory knows.
    #[must_use]
    pub fn is_open(&self, board: &BoardName) -> bool {
        self.parts
            .hub
            .channel(board)
            .live()
            .policies()
            .is_some_and(|policies| policies.read == ReadPolicy::Open)
    }

    /// How many boards are in memory.
    #[must_use]
    pub fn boards_in_memory(&self) -> usize {
        self.parts.hub.len()
    }

    /// What keeps writes from the database.
    #[must_use]
    pub fn writer_health(&self) -> &WriterHealth {
        self.parts.writer.health()
    }

    /// Where the follower is.
    #[must_use]
    pub fn following(&self) -> &FollowerStatus {
        &self.parts.following
    }
}

/// A revision that only grows, shared between threads.
#[derive(Clone, Debug, Default)]
pub struct HighWater(Arc<AtomicU64>);

impl HighWater {
    /// Raises it.
    pub fn raise(&self, revision: Revision) {
        // Publishes nothing but the number itself.
        self.0.fetch_max(revision.get(), Ordering::AcqRel);
    }

    /// Lowers it to `revision`, unless it was raised since it was `seen`.
    pub fn lower(&self, seen: Revision, revision: Revision) {
        if revision < seen {
            // Raised meanwhile: it is looked at again the next time.
            let _ = self.0.compare_exchange(
                seen.get(),
                revision.get(),
                Ordering::AcqRel,
                Ordering::Acquire,
            );
        }
    }

    /// Begins again, with another history.
    pub fn reset(&self, revision: Revision) {
        self.0.store(revision.get(), Ordering::Release);
    }

    /// The newest.
    #[must_use]
    pub fn get(&self) -> Revision {
        Revision::new(self.0.load(Ordering::Acquire)).unwrap_or_default()
    }
}
