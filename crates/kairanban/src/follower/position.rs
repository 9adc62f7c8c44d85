//! Reports how far the follower has read, and wakes it.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use kairanban_core::{BoardName, Cursor, Epoch, LogPosition, Revision};
use tokio::{
    sync::{Notify, watch},
    time::{sleep_until, timeout},
};

use crate::metrics::{FollowerMetrics, WakeSource};

/// Wakes the follower. Cheap to clone; two wakes before it reads the log are one.
#[derive(Clone, Debug, Default)]
pub struct Wake {
    commits: Arc<Notify>,
    hints: Arc<Notify>,
    metrics: FollowerMetrics,
}

impl Wake {
    /// Creates a signal; `metrics` count how often it is given.
    #[must_use]
    pub fn new(metrics: FollowerMetrics) -> Self {
        Self {
            commits: Arc::default(),
            hints: Arc::default(),
            metrics,
        }
    }

    /// Asks the follower to read the log at once, because something was committed.
    pub fn wake(&self, source: WakeSource) {
        self.metrics.woken(source);
        self.commits.notify_one();
    }

    /// Asks the follower to read the log, because a notification reports a commit. Any program can
    /// send notifications, as often as it likes: if they turn out to be wrong, the follower reads
    /// less often ([`EmptyReads`](crate::empty_reads::EmptyReads)).
    pub fn hint(&self, source: WakeSource) {
        self.metrics.woken(source);
        self.hints.notify_one();
    }

    pub(super) async fn woken(&self) {
        self.commits.notified().await;
    }

    /// Waits for a hint, but not before `at`. Dropping the future loses none.
    pub(super) async fn hinted(&self, at: Instant) {
        sleep_until(at.into()).await;
        self.hints.notified().await;
    }
}

/// How far the follower is.
#[derive(Clone, Debug)]
pub struct Position {
    /// The history that it follows.
    pub epoch: Epoch,
    /// The revision up to which everything is published.
    pub revision: Revision,
    /// The number of polls of the log that it has finished.
    pub(super) polls: u64,
    /// When it finished the last poll.
    pub(super) polled_at: Instant,
    /// When the last poll began that read the log to its end.
    pub(super) read_at: Instant,
}

/// Reports how far the follower has read, and what it cannot read. Cheap to clone.
#[derive(Clone, Debug)]
pub struct FollowerStatus {
    pub(super) position: watch::Receiver<Position>,
    pub(super) stale_since: watch::Receiver<Option<DateTime<Utc>>>,
    /// What the database reports as missing that reading needs.
    pub(super) reading_fault: watch::Receiver<Option<String>>,
    /// Boards that cannot be read although the log can.
    pub(super) stale_boards: watch::Receiver<BTreeSet<BoardName>>,
    pub(super) last_seen: watch::Receiver<LogPosition>,
    pub(super) wake: Wake,
}

impl FollowerStatus {
    /// Creates the status of a follower that stands still at `cursor`.
    #[cfg(test)]
    pub fn at_rest(cursor: &Cursor) -> Self {
        let position = Position {
            epoch: cursor.epoch.clone(),
            revision: cursor.revision,
            polls: 0,
            polled_at: Instant::now(),
            read_at: Instant::now(),
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

    /// Returns the epoch of the history that is followed.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.position.borrow().epoch.clone()
    }

    /// Returns the revision up to which everything is published.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.position.borrow().revision
    }

    /// Returns both as one cursor. Asked for one after the other, they could be of two epochs.
    #[must_use]
    pub fn cursor(&self) -> Cursor {
        let position = self.position.borrow();
        Cursor {
            epoch: position.epoch.clone(),
            revision: position.revision,
        }
    }

    /// Returns since when the database has been away, if it is.
    #[must_use]
    pub fn stale_since(&self) -> Option<DateTime<Utc>> {
        *self.stale_since.borrow()
    }

    /// Returns whether what is in memory may be dropped or read again because of its age: not while
    /// the database is away, when nothing could replace it.
    #[must_use]
    pub fn may_expire(&self) -> bool {
        self.stale_since().is_none()
    }

    /// Returns since when a list may be out of date: since the database has been away, or since
    /// `board`, when its board could not be read.
    #[must_use]
    pub fn list_stale_since(&self, board: Option<DateTime<Utc>>) -> Option<DateTime<Utc>> {
        self.stale_since().or(board)
    }

    /// Returns what keeps this server from reading, if the database reports it: a missing table,
    /// column or grant.
    #[must_use]
    pub fn reading_fault(&self) -> Option<String> {
        self.reading_fault.borrow().clone()
    }

    /// Returns the boards that cannot be read, while the rest can.
    #[must_use]
    pub fn stale_boards(&self) -> BTreeSet<BoardName> {
        self.stale_boards.borrow().clone()
    }

    /// Returns the last position in the log that was read.
    #[must_use]
    pub fn last_seen(&self) -> LogPosition {
        self.last_seen.borrow().clone()
    }

    /// Notifies of each further position that was read.
    #[must_use]
    pub fn positions(&self) -> watch::Receiver<LogPosition> {
        self.last_seen.clone()
    }

    /// Returns the time since the last poll.
    #[must_use]
    pub fn silence(&self) -> Duration {
        self.position.borrow().polled_at.elapsed()
    }

    /// Returns how long ago the last poll began that read the log to its end: what was committed
    /// before that is shown.
    #[must_use]
    pub fn since_reading(&self) -> Duration {
        self.position.borrow().read_at.elapsed()
    }

    /// Notifies when the database goes away and comes back.
    #[must_use]
    pub fn staleness(&self) -> watch::Receiver<Option<DateTime<Utc>>> {
        self.stale_since.clone()
    }

    /// Waits until everything up to `revision` is published, for `at_most`. Returns whether it is.
    /// Cancel safe.
    pub async fn wait_for_revision(&self, revision: Revision, at_most: Duration) -> bool {
        let mut position = self.position.clone();
        // Reads both in one borrow: a new epoch may begin between two.
        let epoch = {
            let now = position.borrow();
            if now.revision >= revision {
                return true;
            }
            now.epoch.clone()
        };
        let mut stale_since = self.stale_since.clone();
        let reached = async {
            self.wake.wake(WakeSource::Reader);
            tokio::select! {
                // In another history there may be nothing to wait for.
                reached = position.wait_for(|now| {
                    now.revision >= revision || now.epoch != epoch
                }) => reached.is_ok(),
                // While the database is away there is nothing to wait for.
                _ = stale_since.wait_for(Option::is_some) => false,
            }
        };
        timeout(at_most, reached).await.unwrap_or(false)
    }

    /// Asks the follower for a poll by `ask`, and waits at most `at_most` until it has begun and
    /// finished one. Returns whether the database answered it. Cancel safe.
    pub async fn wait_for_poll(&self, ask: fn(&Wake, WakeSource), at_most: Duration) -> bool {
        let mut position = self.position.clone();
        let before = position.borrow().polls;
        let two_polls = async {
            // The first to finish may have begun before now.
            for poll in 1..=2 {
                ask(&self.wake, WakeSource::Reader);
                if position
                    .wait_for(|position| position.polls >= before + poll)
                    .await
                    .is_err()
                {
                    return false;
                }
            }
            self.stale_since.borrow().is_none()
        };
        timeout(at_most, two_polls).await.unwrap_or(false)
    }
}
