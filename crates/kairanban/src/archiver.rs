//! Archives topics that a full board no longer shows, in transactions of the server's own, after
//! the write that pushed them out.

use std::{collections::BTreeSet, time::Duration};

use kairanban_core::BoardName;
use kairanban_store::Store;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::{blocking::in_the_background, failpoint};

/// Topics in one transaction: it delays other commits, so it is short.
const BATCH: usize = 500;
/// How long boards are gathered. A full board overflows with each topic, and what has left the list
/// can wait, so that not every post is followed by a transaction of the server's own.
const GATHER: Duration = Duration::from_secs(1);
/// Boards in the queue. One that finds no room waits for its next topic.
const QUEUE: usize = 1_024;

/// Requests that boards are archived. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Archiver(mpsc::Sender<BoardName>);

/// The receiving end of the queue: the boards to archive.
#[derive(Debug)]
pub struct ArchiveRequests {
    queue: mpsc::Receiver<BoardName>,
    /// Boards that were taken from the queue, and not archived yet.
    boards: BTreeSet<BoardName>,
}

impl Archiver {
    /// Creates the two ends of the queue.
    #[must_use]
    pub fn new() -> (Self, ArchiveRequests) {
        let (sender, receiver) = mpsc::channel(QUEUE);
        (
            Self(sender),
            ArchiveRequests {
                queue: receiver,
                boards: BTreeSet::new(),
            },
        )
    }

    /// Requests that a board is archived, after a write to it.
    pub fn request_archive(&self, board: &BoardName) {
        // If the queue is full, the next topic on that board requests it again.
        let _ = self.0.try_send(board.clone());
    }
}

/// Archives the boards in the queue until `stop`.
pub async fn run(store: &Store, requests: &mut ArchiveRequests, stop: &CancellationToken) {
    let ArchiveRequests { queue, boards } = requests;
    loop {
        // After a panic some are left from before.
        if boards.is_empty() {
            tokio::select! {
                () = stop.cancelled() => return,
                board = queue.recv() => boards.extend(board),
            }
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(GATHER) => {}
        }
        boards.extend(std::iter::from_fn(|| queue.try_recv().ok()));
        failpoint::pass("archiver");
        while let Some(board) = boards.pop_first() {
            if let Err(error) = archive(store, &board).await {
                tracing::warn!(%error, %board, "could not archive; the next topic tries again");
            }
        }
    }
}

async fn archive(store: &Store, board: &BoardName) -> Result<(), kairanban_store::StoreError> {
    loop {
        let board = board.clone();
        if in_the_background(store, move |store| store.archive(&board, BATCH)).await? < BATCH {
            return Ok(());
        }
    }
}
