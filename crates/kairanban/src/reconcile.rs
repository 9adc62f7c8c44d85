//! Compares what is in memory, or was the last time, with what the database holds, board by board
//! and spread over the interval: rows may have been changed without a revision (by a replica's
//! role, or while the triggers were off), and nothing else would ever show them. A difference is
//! logged as a change, once for all nodes, so that all of them read it. Each round begins with the
//! triggers: once they are turned off and on again they do not fire for replicated rows any more.

mod compared_boards;

use std::{
    collections::{BTreeSet, HashMap},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use kairanban_core::{BoardId, Hub, Revision, ShownBoard};
use kairanban_store::{BoardContent, Store, StoreError, content_sum};
use tokio::time::{Interval, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::{
    blocking::query,
    board_loader::{BoardLoader, LoadError, Reports},
    failpoint,
    follower::FollowerStatus,
};
use compared_boards::ComparedBoards;

/// Slices of a round, so that no query reads all boards.
const SLICES: usize = 30;

/// The task that compares memory with the database; see the [module](self).
#[derive(Debug)]
pub struct Reconcile {
    store: Store,
    loader: BoardLoader,
    hub: Arc<Hub>,
    follower: FollowerStatus,
    reports: Reports,
    bounds: ReconcileBounds,
}

/// How often boards are compared, and how many that are not in memory.
#[derive(Clone, Debug)]
pub struct ReconcileBounds {
    /// Each board once in this time.
    pub interval: Duration,
    /// Boards that were in memory before.
    pub compared_max: usize,
    /// Where it is kept what they were.
    pub folder: PathBuf,
}

/// What the task has found so far.
#[derive(Debug)]
struct Findings {
    /// What the boards were the last time.
    compared: ComparedBoards,
    /// The number of boards that differed.
    count: u64,
    /// The checksums of a board when it was logged last: in the database, in memory.
    logged: HashMap<BoardId, (i64, i64)>,
    /// Why the triggers could not be restored, as it was logged last.
    triggers: Option<String>,
}

impl Reconcile {
    /// Creates a task that compares the boards in memory, and those that were.
    #[must_use]
    pub const fn new(
        store: Store,
        loader: BoardLoader,
        hub: Arc<Hub>,
        follower: FollowerStatus,
        reports: Reports,
        bounds: ReconcileBounds,
    ) -> Self {
        Self {
            store,
            loader,
            hub,
            follower,
            reports,
            bounds,
        }
    }

    /// Compares the boards, slice by slice, until `stop`.
    pub async fn run(&mut self, stop: &CancellationToken) {
        let ReconcileBounds {
            interval: every,
            compared_max,
            folder,
        } = &self.bounds;
        let mut findings = Findings {
            compared: ComparedBoards::read(folder, self.store.topics_max(), *compared_max),
            count: 0,
            logged: HashMap::new(),
            triggers: None,
        };
        let slices = u32::try_from(SLICES).unwrap_or(1);
        let mut ticks = interval((*every / slices).max(Duration::from_millis(1)));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.repair(&mut findings).await;
            let shown = self.hub.shown().into_iter().map(|shown| shown.board_id);
            let boards: BTreeSet<_> = shown.chain(findings.compared.ids()).collect();
            let slice = boards.len().div_ceil(SLICES).max(1);
            for at in 0..SLICES {
                if !self.tick(&mut ticks, &mut findings, stop).await {
                    return Self::save_findings(&mut findings).await;
                }
                failpoint::pass("reconcile");
                let ids: Vec<_> = boards
                    .iter()
                    .skip(at * slice)
                    .take(slice)
                    .copied()
                    .collect();
                self.compare(&ids, &mut findings).await;
            }
            Self::save_findings(&mut findings).await;
        }
    }

    /// Restores the triggers, so that rows of replication draw a revision again. Logs each new
    /// reason why that failed.
    async fn repair(&self, findings: &mut Findings) {
        if self.follower.stale_since().is_some() {
            return;
        }
        let found = query(&self.store, Store::repair)
            .await
            .err()
            .map(|error| error.to_string());
        if let Some(error) = found
            .as_ref()
            .filter(|found| findings.triggers.as_ref() != Some(found))
        {
            tracing::warn!(%error, "rows that replication brings draw no revision; as the owner, \
                run `kairanban migrate`");
        }
        findings.triggers = found;
    }

    /// Saves what the boards were, for the next start.
    async fn save_findings(findings: &mut Findings) {
        if let Err(error) = findings.compared.write().await {
            tracing::warn!(%error, "cannot keep in server.data_dir what boards were when they were \
                compared; rows that change without a revision while the server is away are not noticed");
        }
    }

    /// Waits for the next slice, and handles the reports that arrive meanwhile. Returns `false` at
    /// the end.
    async fn tick(
        &mut self,
        ticks: &mut Interval,
        findings: &mut Findings,
        stop: &CancellationToken,
    ) -> bool {
        loop {
            tokio::select! {
                () = stop.cancelled() => return false,
                _ = ticks.tick() => return true,
                Some(board) = self.reports.recv() => self.compare(&[board], findings).await,
            }
        }
    }

    /// Compares boards with the database, unless that is away.
    async fn compare(&self, ids: &[BoardId], findings: &mut Findings) {
        if ids.is_empty() || self.follower.stale_since().is_some() {
            return;
        }
        if let Err(error) = self.try_compare(ids, findings).await {
            tracing::warn!(%error, "could not compare the boards with the database");
        }
    }

    async fn try_compare(
        &self,
        ids: &[BoardId],
        findings: &mut Findings,
    ) -> Result<(), StoreError> {
        // In this order: what was published up to `reached` is shown, and what is shown is in the
        // database.
        let (epoch, reached) = (self.follower.epoch(), self.follower.revision());
        findings.compared.begin(&epoch);
        let shown: HashMap<_, _> = self
            .hub
            .shown()
            .into_iter()
            .map(|shown| (shown.board_id, shown))
            .collect();
        let asked = ids.to_vec();
        let contents = query(&self.store, move |store| store.contents(&asked)).await?;
        if self.follower.epoch() != epoch {
            return Ok(());
        }
        for content in contents {
            let shown = shown.get(&content.id);
            if findings.compared.differs(&content) {
                if self
                    .log(content.id, content.revision, false, findings)
                    .await
                {
                    findings.compared.note(&content, shown.is_some());
                }
                continue;
            }
            let Some(shown) = shown else {
                findings.compared.note(&content, false);
                continue;
            };
            let at = shown.snapshot.revision();
            if let Some(unlogged_at) = shown.unlogged_at {
                // Memory shows it already, so nothing else would find it.
                if self.log(content.id, unlogged_at, false, findings).await {
                    let channel = self.hub.channel(shown.snapshot.board());
                    channel.live().note_logged(unlogged_at);
                }
            } else if content.revision == at {
                self.compare_one(shown, &content, findings).await;
            } else if content.revision > at && content.revision <= reached {
                // A change that no list shows, such as a new title, or one that the log lacks.
                self.read_again(shown).await?;
            }
        }
        Ok(())
    }

    async fn compare_one(
        &self,
        shown: &ShownBoard,
        content: &BoardContent,
        findings: &mut Findings,
    ) {
        let is_board = content.info.as_ref().is_none_or(|info| {
            info.name != *shown.snapshot.board() || info.policies != shown.policies
        });
        let sums = (content.sum, content_sum(&shown.snapshot));
        if !is_board && sums.0 == sums.1 {
            findings.logged.remove(&content.id);
            findings.compared.note(content, true);
        } else if (is_board || findings.logged.get(&content.id) != Some(&sums))
            && self
                .log(content.id, content.revision, is_board, findings)
                .await
        {
            // If loading it again does not help, it would not the next time.
            findings.logged.insert(content.id, sums);
        }
    }

    /// Logs that the log lacks something of a board that was read at `revision`. Returns whether
    /// the log says so now.
    #[expect(
        clippy::cognitive_complexity,
        reason = "each log line expands to branches, which count"
    )]
    async fn log(
        &self,
        board: BoardId,
        revision: Revision,
        is_board: bool,
        findings: &mut Findings,
    ) -> bool {
        findings.count += 1;
        tracing::warn!(
            board = board.0, %revision, found = findings.count,
            "the database shows something else of this board than its log says: rows were changed \
             without a revision (triggers off?)"
        );
        match query(&self.store, move |store| {
            store.log_missed(board, revision, is_board)
        })
        .await
        {
            // The follower reads it like any other commit.
            Ok(logged) => {
                tracing::info!(
                    board = board.0,
                    logged,
                    "every server reads the board again"
                );
                true
            }
            Err(error) => {
                tracing::warn!(%error, board = board.0, "could not log the difference; the next \
                    round tries again");
                false
            }
        }
    }

    async fn read_again(&self, shown: &ShownBoard) -> Result<(), StoreError> {
        let (known, board) = (self.follower.last_seen(), shown.snapshot.board());
        match self
            .loader
            .load_into(&self.hub.channel(board), &known)
            .await
        {
            Ok(()) | Err(LoadError::Outdated(_) | LoadError::Gone(_)) => Ok(()),
            Err(LoadError::Failed(error)) => Err(error),
        }
    }
}
