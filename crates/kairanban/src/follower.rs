//! The follower: the one task of a process that reads the change log and publishes what changed.
//!
//! ```text
//!  the writer's commits   OwnCommits ──┐
//!  LISTEN, Redis          backplane  ──┤                              publishing
//!  SQLite's counter       data_version ┼─ Wake ─▶ Follower::run ──┬─▶ tokens      who may look
//!  a reader that waits    FollowerStatus┤         1 publish_own   ├─▶ policies    which streams end
//!  nothing at all         database.poll_ms        2 poll_log      └─▶ Hub         what there is to see
//!                                                     │
//!                                                     └─▶ settle: another history? ─▶ begin_epoch
//! ```
//!
//! **A wake carries no data** (ADR 1). Whatever learns of a commit wakes the follower, and the
//! follower reads the log itself. So a wake may be lost, doubled or late without harm: the log is
//! read every `database.poll_ms` anyway. Commits of this process are the exception: [`OwnCommits`]
//! carries their topics, and they are published without reading (ADR 9), if their revision follows
//! on the last one that was published. A notification from elsewhere is only a hint, which any
//! program can send: wrong hints cost at most `limits.empty_reads_per_s` readings.
//!
//! **Changes of the log are published by the follower alone**, in the order of revisions, over all
//! boards. A load that overtakes it, as for a reader, sends the difference under the board's lock
//! ([`Hub::install_since`]); [`BoardState`](kairanban_core::BoardState) refuses an older one.
//!
//! **Every reading begins with the last change that was read before** ([`position`]). If that is
//! not there any more, the database was restored, and a new epoch begins: memory is cleared, and
//! every reader is sent the list again.
//!
//! **One bad board stops only itself.** A board that cannot be read is stale and is retried
//! ([`stale`]); the rest goes on. If the log itself cannot be read, [`FollowerStatus::stale_since`]
//! reports since when, and the next wake tries again.

mod health;
mod new_epoch;
mod position;
mod publishing;
mod stale;

use std::{
    collections::BTreeMap,
    num::NonZero,
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use kairanban_core::{
    BoardChanges, BoardId, BoardName, Hub, KnownSince, LogPosition, LogRow, Revision, Topic,
    Verdict,
};
use kairanban_store::{Committed, CreatedTopic, Store, StoreError};
use tokio::{
    sync::{mpsc, watch},
    time::sleep_until,
};
use tokio_util::sync::CancellationToken;

use crate::{
    archiver::Archiver,
    auth::ActiveTokens,
    blocking::query_priority,
    board_directory::BoardDirectory,
    board_finder::AbsentBoards,
    board_loader::BoardLoader,
    empty_reads::EmptyReads,
    failpoint,
    high_water::HighWater,
    metrics::{FollowerMetrics, WakeSource},
};

use new_epoch::ADOPTED;
pub use position::{FollowerStatus, Position, Wake};
use stale::StaleBoards;

/// Commits of this process that may wait for the follower; past that it reads them from the log.
const OWN_MAX: usize = 64;

/// Notifies the follower of commits of this process.
#[derive(Clone, Debug)]
pub struct OwnCommits {
    commits: mpsc::Sender<Committed>,
    wake: Wake,
}

impl OwnCommits {
    /// Hands a commit to the follower, or wakes it to read the commit from the log.
    pub fn notify(&self, commit: Committed) {
        let is_enough = commit.created.is_some();
        // One that does not get through is found in the log.
        if !is_enough || self.commits.try_send(commit).is_err() {
            self.wake.wake(WakeSource::Own);
        }
    }
}

/// What the follower reads from, publishes to, and is woken by.
#[derive(Debug)]
pub struct FollowerDeps {
    pub(crate) store: Store,
    pub(crate) loader: BoardLoader,
    pub(crate) hub: Arc<Hub>,
    pub(crate) active_tokens: ActiveTokens,
    pub(crate) wake: Wake,
    pub(crate) metrics: FollowerMetrics,
    pub(crate) archiver: Archiver,
    /// The newest revision that this node has acknowledged.
    pub(crate) acknowledged: HighWater,
    /// The revision up to which the log was trimmed.
    pub(crate) trimmed_to: HighWater,
    pub(crate) poll: Duration,
    /// How often the tokens in use are read again although the log reports no change of them.
    pub(crate) reconcile: Duration,
    /// Longest delay between two attempts to load a board that cannot be read.
    pub(crate) retry_max: Duration,
    /// The names that requests asked for and that no board has.
    pub(crate) absent: AbsentBoards,
    /// The titles of boards, which pages show.
    pub(crate) directory: BoardDirectory,
    /// Readings per second after hints that turned out to be wrong.
    pub(crate) empty_reads_per_s: NonZero<u32>,
}

/// Reads the log and publishes it; see the [module](self).
#[derive(Debug)]
pub struct Follower {
    deps: FollowerDeps,
    position: watch::Sender<Position>,
    last_seen: watch::Sender<LogPosition>,
    stale_since: watch::Sender<Option<DateTime<Utc>>>,
    reading_fault: watch::Sender<Option<String>>,
    stale_boards: StaleBoards,
    own: mpsc::Receiver<Committed>,
    empty_reads: EmptyReads,
}

impl Follower {
    /// Creates a follower at the head of the log, with its status and with what notifies it of
    /// commits. If the database is not what this node saw last, a new epoch begins.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn new(
        deps: FollowerDeps,
        last_seen: Option<&LogPosition>,
    ) -> Result<(Self, FollowerStatus, OwnCommits), StoreError> {
        let (found, verdict) = deps.store.settle(last_seen)?;
        // Opening the database, or another node, may have drawn the epoch already.
        if last_seen.is_some_and(|seen| seen.epoch != found.epoch) {
            let reason = match verdict {
                Verdict::Draw(restored) => restored.as_str(),
                _ => ADOPTED,
            };
            tracing::warn!(epoch = %found.epoch, reason, "the database is not as this server last \
                saw it: a new epoch begins");
        }
        deps.trimmed_to.reset(deps.store.trimmed_to()?);
        let start = Position {
            epoch: found.epoch.clone(),
            revision: found.revision(),
            polls: 0,
            polled_at: Instant::now(),
            read_at: Instant::now(),
        };
        let (position, at) = watch::channel(start);
        let (last_seen, seen) = watch::channel(found);
        let (stale_since, stale) = watch::channel(None);
        let (reading_fault, fault) = watch::channel(None);
        let (stale_boards, boards) = StaleBoards::new(deps.retry_max);
        let wake = deps.wake.clone();
        let status = FollowerStatus {
            position: at,
            stale_since: stale,
            reading_fault: fault,
            stale_boards: boards,
            last_seen: seen,
            wake: wake.clone(),
        };
        let (commits, own) = mpsc::channel(OWN_MAX);
        let empty_reads = EmptyReads::new(deps.empty_reads_per_s, Instant::now());
        let follower = Self {
            deps,
            position,
            last_seen,
            stale_since,
            reading_fault,
            stale_boards,
            own,
            empty_reads,
        };
        Ok((follower, status, OwnCommits { commits, wake }))
    }

    /// Follows the log until `stop`.
    pub async fn run(&mut self, stop: &CancellationToken) {
        let mut poll_at = Instant::now() + self.deps.poll;
        let mut outdated_at = poll_at;
        let mut tokens_at = Instant::now().checked_add(self.deps.reconcile);
        loop {
            let next_at = self
                .stale_boards
                .next()
                .map_or(poll_at, |retry| retry.min(poll_at));
            let is_hint = tokio::select! {
                () = stop.cancelled() => return,
                Some(commit) = self.own.recv() => {
                    self.deps.metrics.woken(WakeSource::Own);
                    if self.publish_own(commit).await {
                        continue;
                    }
                    // Otherwise something before it has to be read first.
                    false
                }
                () = self.deps.wake.woken() => false,
                () = self.deps.wake.hinted(self.empty_reads.next_at()) => true,
                // However much is committed here, other programs commit as well.
                () = sleep_until(next_at.into()) => {
                    self.deps.metrics.woken(WakeSource::Poll);
                    false
                }
            };
            let before = self.last_seen.borrow().clone();
            let began = Instant::now();
            poll_at = began + self.deps.poll;
            failpoint::pass("follower");
            if failpoint::fires("follower-stuck") {
                std::future::pending::<()>().await;
            }
            match self.poll_log().await {
                Ok(()) => {
                    // Rows may have been changed while the triggers were off.
                    if tokens_at.is_some_and(|at| Instant::now() >= at)
                        && self.refresh_tokens().await.is_ok()
                    {
                        tokens_at = Instant::now().checked_add(self.deps.reconcile);
                    }
                    let is_back = self.stale_since.borrow().is_some();
                    if is_back || Instant::now() >= outdated_at {
                        self.reload_outdated().await;
                        outdated_at = Instant::now() + self.deps.poll;
                    }
                    self.fresh();
                    self.position
                        .send_modify(|position| position.read_at = began);
                }
                Err(error) => self.stale(&error),
            }
            self.count(is_hint, &before);
            self.check_reading().await;
            self.position.send_modify(|position| {
                (position.polls, position.polled_at) = (position.polls + 1, Instant::now())
            });
        }
    }

    /// Publishes what this process committed without reading it from the log, if it follows on what
    /// was published: the order of revisions is that of commits, so nothing can lie between.
    /// Returns whether it was published.
    async fn publish_own(&mut self, commit: Committed) -> bool {
        let Committed {
            revision,
            last,
            before,
            created,
            ended,
            ..
        } = commit;
        let at = self.position.borrow().revision;
        // It was read from the log already; or revisions are drawn a second time after a restore,
        // which only the log shows.
        if revision <= at {
            return false;
        }
        let Some(last) =
            last.filter(|_| self.stale_since.borrow().is_none() && revision.get() == at.get() + 1)
        else {
            return false;
        };
        // Another row before it than the last that was read: the database was restored, and has
        // come as far again.
        if self.last_seen.borrow().last != before {
            return false;
        }
        let mut boards: BTreeMap<(BoardName, BoardId), Vec<Arc<Topic>>> = BTreeMap::new();
        for CreatedTopic {
            board,
            board_id,
            topic,
        } in created.unwrap_or_default()
        {
            boards
                .entry((board, board_id))
                .or_default()
                .push(Arc::new(topic));
        }
        for ((board, id), topics) in boards {
            let mut changes = BoardChanges::created(revision, topics);
            changes.set_known_since(KnownSince::Commit(ended));
            // The board is not in memory, or has another name by now.
            if self.publish(&board, Some(id), &changes).await.is_none() {
                return false;
            }
            self.deps.archiver.request_archive(&board);
        }
        self.advance_to(Some(last));
        true
    }

    async fn poll_log(&mut self) -> Result<(), StoreError> {
        let acknowledged = self.deps.acknowledged.get();
        if self.stale_since.borrow().is_some() {
            self.settle().await?;
        }
        if !self.read_on().await? {
            self.settle().await?;
            // The history may be the same after all, and then nothing was read yet.
            if !self.read_on().await? {
                return Ok(());
            }
        }
        // What was acknowledged before the reading, and is missing, was lost with its history.
        self.deps
            .acknowledged
            .lower(acknowledged, self.position.borrow().revision);
        for board in self.stale_boards.due(Instant::now()) {
            // Its newest revision was noted when it became stale, and by each change since.
            self.reload(&board, Revision::ZERO).await;
        }
        Ok(())
    }

    /// Reads the log from where it was read last, and publishes it. Returns `false` if the history
    /// may be another one.
    async fn read_on(&mut self) -> Result<bool, StoreError> {
        let known = self.last_seen.borrow().clone();
        let Some(batch) =
            query_priority(&self.deps.store, move |store| store.changes_since(&known)).await?
        else {
            return Ok(false);
        };
        self.take(batch).await?;
        Ok(true)
    }

    fn advance_to(&self, last: Option<LogRow>) {
        let Some(last) = last else { return };
        let head = last.revision;
        self.last_seen.send_modify(|seen| seen.last = Some(last));
        self.position
            .send_modify(|position| position.revision = position.revision.max(head));
    }

    /// Loads the boards whose readers were sent a list without the newest change, because the
    /// database was away when they came, or because their own load failed.
    async fn reload_outdated(&mut self) {
        for board in self.deps.hub.outdated() {
            if !self.stale_boards.contains(&board) {
                self.reload(&board, Revision::ZERO).await;
            }
        }
    }
}
