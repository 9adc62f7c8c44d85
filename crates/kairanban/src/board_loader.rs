//! Loads boards: reads one, and installs it in the hub. Nothing else does both, or decides what a
//! failure of it means ([`LoadError`]).

use std::{sync::Arc, time::Instant};

use chrono::Utc;
use kairanban_core::{
    BoardChannel, BoardId, BoardLoad, BoardName, Hub, LogPosition, OutdatedLoad, Published,
    Revision,
};
use kairanban_store::StoreError;
use thiserror::Error;
use tokio::sync::mpsc;

use crate::{metrics::CacheMetrics, shared_snapshots::BoardSource};

/// Reports that may wait; one that finds no room is made again by the next comparison of all
/// boards.
const REPORTS_MAX: usize = 64;

/// Receives the boards that show what the log does not say.
pub type Reports = mpsc::Receiver<BoardId>;

/// Why a board was not loaded.
#[derive(Debug, Error)]
pub enum LoadError {
    /// It changed while it was read, or the database was restored: read it again.
    #[error(transparent)]
    Outdated(#[from] OutdatedLoad),
    /// No board has this name: it was deleted or renamed. A change of the log ends its streams.
    #[error("{}", StoreError::NoSuchBoard(.0.clone()))]
    Gone(BoardName),
    /// It could not be read. The last list counts, if there is one, and is marked by
    /// [`BoardLoader::mark_stale`].
    #[error(transparent)]
    Failed(StoreError),
}

impl From<StoreError> for LoadError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NoSuchBoard(board) => Self::Gone(board),
            error => Self::Failed(error),
        }
    }
}

/// Reads boards into memory, and reports those that differ from what is shown at the same revision.
/// Cheap to clone.
#[derive(Clone, Debug)]
pub struct BoardLoader {
    source: BoardSource,
    hub: Arc<Hub>,
    metrics: CacheMetrics,
    reports: mpsc::Sender<BoardId>,
}

impl BoardLoader {
    /// Creates a loader, and the queue of its reports.
    #[must_use]
    pub fn new(source: BoardSource, hub: Arc<Hub>, metrics: CacheMetrics) -> (Self, Reports) {
        let (reports, received) = mpsc::channel(REPORTS_MAX);
        let loader = Self {
            source,
            hub,
            metrics,
            reports,
        };
        (loader, received)
    }

    /// Loads a board of the history that was read up to `known` into the channel that has its name
    /// once it was read. Cancel safe: a load is installed as a whole or not at all.
    ///
    /// # Errors
    /// As [`LoadError`] has them.
    pub async fn load(&self, known: &LogPosition, board: &BoardName) -> Result<(), LoadError> {
        let load = self.source.read(known, board).await?.ok_or(OutdatedLoad)?;
        let channel = self.hub.channel(board);
        self.install(load, |load| {
            self.hub.install(&channel, load, Instant::now())
        })
    }

    /// Loads a board of the history that was read up to `known` into a channel that its reader has
    /// subscribed to.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub async fn load_into(
        &self,
        channel: &BoardChannel,
        known: &LogPosition,
    ) -> Result<(), LoadError> {
        let began = channel.live().invalidations();
        let load = self.source.read(known, &channel.board).await?;
        let load = load.ok_or(OutdatedLoad)?;
        self.install(load, |load| {
            self.hub.install_since(channel, began, load, Instant::now())
        })
    }

    /// Marks a board that could not be read, although it changed up to `revision`, and notifies its
    /// readers. It is marked until the follower, or the next reader, has loaded a newer list.
    pub fn mark_stale(&self, board: &BoardName, revision: Revision) {
        self.hub.become_stale(board, Utc::now(), revision);
    }

    fn install(
        &self,
        load: BoardLoad,
        install: impl FnOnce(BoardLoad) -> Result<Published, OutdatedLoad>,
    ) -> Result<(), LoadError> {
        self.metrics.loaded();
        let id = load.board_id;
        if install(load)? == Published::Differs {
            // If the queue is full, the next comparison finds it.
            let _ = self.reports.try_send(id);
        }
        Ok(())
    }
}
