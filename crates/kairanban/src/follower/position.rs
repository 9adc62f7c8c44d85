//! Where the follower is, for those who wait for it, and how it is woken.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use kairanban_core::{BoardName, Epoch, LogPosition, Revision};
use kairanban_store::Committed;
use tokio::{
    sync::{Notify, mpsc, watch},
    time::timeout,
};

/// Asks the follower to look. Cheap to clone; asking twice before it looks is asking once.
#[derive(Clone, Debug, Default)]
pub struct Wake(pub(super) Arc<Notify>);

impl Wake {
    /// Asks.
    pub fn wake(&self) {
        self.0.notify_one();
    }
}

/// Own commits that may wait for the follower; past that it reads them from the log.
pub(super) const OWN_MAX: usize = 64;

/// Tells the follower of a commit of this process.
#[derive(Clone, Debug)]
pub struct OwnCommits {
    pub(super) commits: mpsc::Sender<Committed>,
    pub(super) wake: Wake,
}

impl OwnCommits {
    /// Tells.
    pub fn tell(&self, commit: Committed) {
        let is_enough = commit.created.is_some();
        // One that does not get through is found in the log.
        if !is_enough || self.commits.try_send(commit).is_err() {
            self.wake.wake();
        }
    }
}

/// How far the follower is.
#[derive(Clone, Debug)]
pub struct Position {
    /// The history that it follows.
    pub epoch: Epoch,
    /// Everything up to here is published.
    pub revision: Revision,
    /// Looks that it has finished.
    pub(super) looks: u64,
    /// When it finished the last one.
    pub(super) looked_at: Instant,
}

/// Where the follower is, for those who wait for it.
#[derive(Clone, Debug)]
pub struct FollowerStatus {
    pub(super) position: watch::Receiver<Position>,
    pub(super) stale_since: watch::Receiver<Option<DateTime<Utc>>>,
    /// What the database says is missing that reading takes.
    pub(super) reading_fault: watch::Receiver<Option<String>>,
    /// Boards that cannot be read although the log can.
    pub(super) stale_boards: watch::Receiver<BTreeSet<BoardName>>,
    pub(super) last_seen: watch::Receiver<LogPosition>,
    pub(super) wake: Wake,
}

impl FollowerStatus {
    /// A place that nobody leaves.
    #[cfg(test)]
    pub fn at_rest(cursor: &kairanban_core::Cursor) -> Self {
        let position = Position {
            epoch: cursor.epoch.clone(),
            revision: cursor.revision,
            looks: 0,
            looked_at: Instant::now(),
        };
        let last_seen = LogPosition {
            epoch: cursor.epoch.clone(),
            mark: String::new(),
            last: None,
        };
        Self {
            position: watch::channel(position).1,
            stale_since: watch::channel(None).1,
            reading_fault: watch::channel(None).1,
            stale_boards: watch::channel(BTreeSet::new()).1,
            last_seen: watch::channel(last_seen).1,
            wake: Wake::default(),
        }
    }

    /// The history that is followed.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.position.borrow().epoch.clone()
    }

    /// Everything up to here is published.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.position.borrow().revision
    }

    /// Since when the database has been away, if it is.
    #[must_use]
    pub fn stale_since(&self) -> Option<DateTime<Utc>> {
        *self.stale_since.borrow()
    }

    /// What keeps this server from reading, if the database says it: a table, a column or a grant that is missing.
    #[must_use]
    pub fn reading_fault(&self) -> Option<String> {
        self.reading_fault.borrow().clone()
    }

    /// The boards that cannot be read, while the rest can.
    #[must_use]
    pub fn stale_boards(&self) -> BTreeSet<BoardName> {
        self.stale_boards.borrow().clone()
    }

    /// The last place of the log that was read, each time that it is another one.
    #[must_use]
    pub fn last_seen(&self) -> watch::Receiver<LogPosition> {
        self.last_seen.clone()
    }

    /// How long ago the follower last looked.
    #[must_use]
    pub fn silence(&self) -> Duration {
        self.position.borrow().looked_at.elapsed()
    }

    /// Tells when the database goes away and comes back.
    #[must_use]
    pub fn staleness(&self) -> watch::Receiver<Option<DateTime<Utc>>> {
        self.stale_since.clone()
    }

    /// Waits until everything up to `revision` is published, but not longer than `at_most`. Tells
    /// whether it is.
    pub async fn wait_for_revision(&self, revision: Revision, at_most: Duration) -> bool {
        let mut position = self.position.clone();
        // Both of one moment: a new epoch may begin between two looks.
        let epoch = {
            let now = position.borrow();
            if now.revision >= revision {
                return true;
            }
            now.epoch.clone()
        };
        let mut stale_since = self.stale_since.clone();
        let reached = async {
            self.wake.wake();
            tokio::select! {
                // In another history there may be nothing to wait for.
                reached = position.wait_for(|position| position.revision >= revision || position.epoch != epoch) => reached.is_ok(),
                // While the database is away there is nothing to wait for.
                _ = stale_since.wait_for(Option::is_some) => false,
            }
        };
        timeout(at_most, reached).await.unwrap_or(false)
    }

    /// Waits until the follower has looked once from now on, but not longer than `at_most`.
    pub async fn wait_for_poll(&self, at_most: Duration) {
        let mut position = self.position.clone();
        let before = position.borrow().looks;
        let two_looks = async {
            // The first to finish may have begun before now.
            for look in 1..=2 {
                self.wake.wake();
                if position
                    .wait_for(|position| position.looks >= before + look)
                    .await
                    .is_err()
                {
                    return;
                }
            }
        };
        // In time or not, what is known now is what there is to go by.
        let _ = timeout(at_most, two_looks).await;
    }
}
