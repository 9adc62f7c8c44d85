//! The application: what can be done with boards, whatever the protocol.

mod board_view;
mod lookup;
mod watching;
mod writing;

use std::{sync::Arc, time::Duration};

use kairanban_core::{BoardName, Hub, Policies};
use kairanban_store::{Store, Writer, WriterHealth};

use crate::{
    auth::Authenticator, board_loader::BoardLoader, follower::FollowerStatus, high_water::HighWater,
};

pub use board_view::{BoardView, CATCH_UP};
pub use lookup::SearchedPage;
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
    pub(crate) authenticator: Authenticator,
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

    /// Finds out who asks.
    #[must_use]
    pub fn authenticator(&self) -> &Authenticator {
        &self.parts.authenticator
    }

    /// Whether everybody may read a board, as far as memory knows.
    #[must_use]
    pub fn is_open(&self, board: &BoardName) -> bool {
        self.parts
            .hub
            .channel(board)
            .live()
            .policies()
            .is_some_and(Policies::is_public)
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
