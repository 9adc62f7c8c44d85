//! The follower: the one task per process that reads the change log in revision order, over all
//! boards, and publishes what changed.
//!
//! Everybody who knows of a commit wakes it, and it looks for itself; a signal may be lost, doubled
//! or late without harm, because it looks every `database.poll_ms` anyway. One publisher and
//! growing revisions: order cannot be lost.
//!
//! Every reading begins with the last change that was read before. If that is not there any more, the
//! database was restored, and a new epoch begins.

mod position;
mod stale;

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use kairanban_core::{
    BoardChange, BoardChanges, BoardId, BoardName, Change, ChangeKind, Hub, LogPosition, LogRow,
    Published, Revision, Topic, Verdict,
};
use kairanban_store::{ChangeBatch, ChangedBoard, Committed, CreatedTopic, Store, StoreError};
use tokio::{
    sync::{mpsc, watch},
    time::sleep_until,
};
use tokio_util::sync::CancellationToken;

use crate::{
    archiver::Archiver,
    auth::ActiveTokens,
    blocking::query_priority,
    board_loader::{BoardLoader, LoadError},
    failpoint,
    service::HighWater,
};

use position::OWN_MAX;
pub use position::{FollowerStatus, OwnCommits, Position, Wake};
use stale::StaleBoards;

/// Why readers are sent the list again if the epoch is new, and this node did not draw it.
const ADOPTED: &str = "another one was drawn, or it is another database";

/// Whom the follower tells, and who wakes it.
#[derive(Debug)]
pub struct FollowerDeps {
    pub(crate) store: Store,
    pub(crate) loader: BoardLoader,
    pub(crate) hub: Arc<Hub>,
    pub(crate) held: ActiveTokens,
    pub(crate) wake: Wake,
    pub(crate) archiver: Archiver,
    /// What readers of this node wait for.
    pub(crate) acknowledged: HighWater,
    /// The revision up to which the log was trimmed.
    pub(crate) trimmed_to: HighWater,
    pub(crate) poll: Duration,
    /// Between two tries to read a board that cannot be read, at most.
    pub(crate) retry_max: Duration,
}

/// The task.
#[derive(Debug)]
pub struct Follower {
    deps: FollowerDeps,
    position: watch::Sender<Position>,
    last_seen: watch::Sender<LogPosition>,
    stale_since: watch::Sender<Option<DateTime<Utc>>>,
    reading_fault: watch::Sender<Option<String>>,
    stale_boards: StaleBoards,
    own: mpsc::Receiver<Committed>,
}

impl Follower {
    /// A follower that stands at the newest place of the log, the place to ask where it is, and the one to tell it of commits.
    /// If the database is not what this node saw last, a new epoch begins.
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
            let reason = if let Verdict::Draw(restored) = verdict {
                restored.as_str()
            } else {
                ADOPTED
            };
            tracing::warn!(epoch = %found.epoch, reason, "the database is not as this server last saw it: a new epoch begins");
        }
        deps.trimmed_to.reset(deps.store.trimmed_to()?);
        let start = Position {
            epoch: found.epoch.clone(),
            revision: found.revision(),
            looks: 0,
            looked_at: Instant::now(),
        };
        let (position, at) = watch::channel(start);
        let (last_seen, seen) = watch::channel(found);
        let (stale_since, stale) = watch::channel(None);
        let (reading_fault, fault) = watch::channel(None);
        let (stale_boards, boards) = StaleBoards::new(deps.retry_max);
        let wake = deps.wake.clone();
        let following = FollowerStatus {
            position: at,
            stale_since: stale,
            reading_fault: fault,
            stale_boards: boards,
            last_seen: seen,
            wake: wake.clone(),
        };
        let (commits, own) = mpsc::channel(OWN_MAX);
        let follower = Self {
            deps,
            position,
            last_seen,
            stale_since,
            reading_fault,
            stale_boards,
            own,
        };
        Ok((follower, following, OwnCommits { commits, wake }))
    }

    /// Follows until told to stop.
    pub async fn run(&mut self, stop: &CancellationToken) {
        let mut poll_at = Instant::now() + self.deps.poll;
        loop {
            let next_at = self
                .stale_boards
                .next()
                .map_or(poll_at, |retry| retry.min(poll_at));
            tokio::select! {
                () = stop.cancelled() => return,
                Some(commit) = self.own.recv() => {
                    if self.publish_own(commit).await {
                        continue;
                    }
                    // Otherwise what came before it has to be read first.
                }
                () = self.deps.wake.0.notified() => {}
                // However much is committed here, others are looked for.
                () = sleep_until(next_at.into()) => {}
            }
            poll_at = Instant::now() + self.deps.poll;
            failpoint::pass("follower");
            if failpoint::fires("follower-stuck") {
                std::future::pending::<()>().await;
            }
            match self.poll_log().await {
                Ok(()) => self.fresh(),
                Err(error) => self.stale(&error),
            }
            self.check_reading().await;
            self.position.send_modify(|position| {
                (position.looks, position.looked_at) = (position.looks + 1, Instant::now())
            });
        }
    }

    /// Publishes what this process committed without reading it from the log, if it follows on what was published: the
    /// order of revisions is that of commits, so nothing can lie between. Tells whether it did.
    async fn publish_own(&mut self, commit: Committed) -> bool {
        let Committed {
            revision,
            last,
            before,
            created,
        } = commit;
        let at = self.position.borrow().revision;
        // Read from the log already; or revisions are drawn a second time, after a restore, which only the log can say.
        if revision <= at {
            return false;
        }
        let Some(last) =
            last.filter(|_| self.stale_since.borrow().is_none() && revision.get() == at.get() + 1)
        else {
            return false;
        };
        // Another row before it than the last that was read: the database was restored, and has come as far again.
        let is_next = match (&self.last_seen.borrow().last, &before) {
            (Some(read), Some(before)) => before.is(read),
            (read, before) => read.is_none() && before.is_none(),
        };
        if !is_next {
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
            match self
                .deps
                .hub
                .publish_if(&board, id, &BoardChanges::created(revision, topics))
            {
                // Nobody has it in memory, or it is called otherwise by now.
                None => return false,
                Some(Published::Reload) => self.reload(&board, revision).await,
                Some(_) => {}
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
        // What was acknowledged before the reading and is not there was lost with its history.
        self.deps
            .acknowledged
            .lower(acknowledged, self.position.borrow().revision);
        for board in self.stale_boards.due(Instant::now()) {
            // How far it changed was noted when it became stale, and by each change since.
            self.reload(&board, Revision::ZERO).await;
        }
        Ok(())
    }

    /// Reads the log from where it was read last, and publishes it. Tells whether it could: it may be another history.
    async fn read_on(&mut self) -> Result<bool, StoreError> {
        let known = self.last_seen.borrow().clone();
        let Some(stretch) =
            query_priority(&self.deps.store, move |store| store.changes_since(&known)).await?
        else {
            return Ok(false);
        };
        self.take(stretch).await?;
        Ok(true)
    }

    /// Publishes a stretch of the log.
    async fn take(&mut self, stretch: ChangeBatch) -> Result<(), StoreError> {
        match stretch {
            ChangeBatch::Changes { changes, last } => {
                if last.is_some() {
                    self.follow(&changes).await?;
                    self.advance_to(last);
                }
            }
            ChangeBatch::Boards { last, boards } => {
                self.resync(boards).await?;
                self.advance_to(last);
            }
        }
        Ok(())
    }

    /// Publishes what changed, board by board.
    async fn follow(&mut self, changes: &[Change]) -> Result<(), StoreError> {
        let mut boards: BTreeMap<&BoardName, BoardChanges> = BTreeMap::new();
        let mut governed: HashMap<BoardId, BoardChange> = HashMap::new();
        for change in changes {
            if matches!(change.kind, ChangeKind::Board | ChangeKind::Unknown) {
                let known = governed
                    .get(&change.board_id)
                    .and_then(|known| known.named_at);
                let named_at = change.names_board.then_some(change.revision).max(known);
                let now = BoardChange {
                    revision: change.revision,
                    standing: change.board.clone(),
                    named_at,
                };
                governed.insert(change.board_id, now);
            } else if let Some(board) = &change.board {
                boards.entry(&board.name).or_default().push(change);
            }
        }
        // Who may look comes before what there is to see.
        if changes
            .iter()
            .any(|change| matches!(change.kind, ChangeKind::Token | ChangeKind::Unknown))
        {
            self.refresh_tokens().await?;
        }
        self.deps.hub.apply_policies(&governed);
        for (board, changes) in &boards {
            if self.deps.hub.publish(board, changes) == Published::Reload {
                self.reload(board, changes.revision()).await;
            }
        }
        // What a later version wrote can be read, if not followed.
        for change in changes
            .iter()
            .filter(|change| change.kind == ChangeKind::Unknown)
        {
            if let Some(board) = change
                .board
                .as_ref()
                .filter(|board| self.deps.hub.mark_stale(&board.name, change.revision))
            {
                self.reload(&board.name, change.revision).await;
            }
        }
        let written = changes
            .iter()
            .filter(|change| change.kind == ChangeKind::Set)
            .filter_map(|change| change.board.as_ref());
        written.for_each(|board| self.deps.archiver.request_archive(&board.name));
        Ok(())
    }

    /// Reads the tokens anew that somebody came in by, and tells those whose token changed or ended.
    async fn refresh_tokens(&self) -> Result<(), StoreError> {
        let asked = self.deps.held.begin_refresh();
        if asked.is_empty() {
            return Ok(());
        }
        let ids = asked.clone();
        let found = query_priority(&self.deps.store, move |store| store.tokens_by_id(&ids)).await?;
        self.deps.held.finish_refresh(&asked, &found);
        Ok(())
    }

    /// Reads anew what somebody watches of boards that changed more than is worth following.
    async fn resync(&mut self, boards: Vec<ChangedBoard>) -> Result<(), StoreError> {
        tracing::debug!(
            boards = boards.len(),
            "much changed at once, reading the boards anew"
        );
        self.refresh_tokens().await?;
        let change = |board: &ChangedBoard| BoardChange {
            revision: board.revision,
            standing: board.standing.clone(),
            named_at: None,
        };
        self.deps.hub.apply_policies(
            &boards
                .iter()
                .map(|board| (board.id, change(board)))
                .collect(),
        );
        for board in &boards {
            let Some(now) = &board.standing else { continue };
            if self.deps.hub.mark_stale(&now.name, board.revision) {
                self.reload(&now.name, board.revision).await;
            }
            self.deps.archiver.request_archive(&now.name);
        }
        Ok(())
    }

    /// Reads a board that changed up to `revision`. One that cannot be read holds up no other: its readers hear that it is
    /// stale, and it is tried again.
    async fn reload(&mut self, board: &BoardName, revision: Revision) {
        let epoch = self.position.borrow().epoch.clone();
        match self.deps.loader.load(&epoch, board).await {
            Ok(_) => {
                if self.stale_boards.remove(board) {
                    tracing::info!(%board, "the board can be read again");
                }
            }
            // Read too early: a later change says so. A stale board is tried again anyway.
            Err(LoadError::Stale(_)) => {}
            // Gone meanwhile: a later change says so.
            Err(LoadError::Store(StoreError::NoSuchBoard(_))) => {
                self.stale_boards.remove(board);
            }
            Err(LoadError::Store(error)) => {
                // Before its readers hear of it: `/readyz` names it to whoever asks then.
                if self.stale_boards.add(board, Instant::now()) {
                    tracing::warn!(%error, %board, "the board cannot be read; its readers hear that it is stale, and it is tried again");
                }
                self.deps.hub.become_stale(board, Utc::now(), revision);
            }
        }
    }

    /// Finds out whether this is still the history that was followed.
    async fn settle(&mut self) -> Result<(), StoreError> {
        let known = self.last_seen.borrow().clone();
        let asked = known.clone();
        let (found, verdict, trimmed_to) = query_priority(&self.deps.store, move |store| {
            let (found, verdict) = store.settle(Some(&asked))?;
            Ok((found, verdict, store.trimmed_to()?))
        })
        .await?;
        match verdict {
            Verdict::Same => {
                // The same database may have got a more exact mark.
                self.last_seen.send_if_modified(|seen| {
                    std::mem::replace(&mut seen.mark, found.mark.clone()) != found.mark
                });
                Ok(())
            }
            Verdict::Trimmed => {
                let stretch = query_priority(&self.deps.store, move |store| {
                    store.boards_since(known.revision())
                })
                .await?;
                self.take(stretch).await
            }
            Verdict::Adopt => self.begin_epoch(found, trimmed_to, ADOPTED).await,
            Verdict::Draw(restored) => self.begin_epoch(found, trimmed_to, restored.as_str()).await,
        }
    }

    /// Forgets the old history, and sends every reader the list of the new one.
    async fn begin_epoch(
        &mut self,
        found: LogPosition,
        trimmed_to: Revision,
        reason: &str,
    ) -> Result<(), StoreError> {
        // Tokens may have come back, or gone, with the other history: who may look comes before what there is to see. If they
        // cannot be read, nothing has begun, and the next look finds the new epoch again.
        self.refresh_tokens().await?;
        let (epoch, head) = (found.epoch.clone(), found.revision());
        tracing::warn!(%epoch, reason, "a new epoch begins: every reader is sent the list again");
        self.last_seen.send_replace(found);
        // Whoever waits for a revision goes on only when the old lists are gone.
        self.position.send_if_modified(|position| {
            (position.epoch, position.revision) = (epoch.clone(), position.revision.min(head));
            false
        });
        self.deps.trimmed_to.reset(trimmed_to);
        self.stale_boards.clear();
        let watched = self.deps.hub.restart(&epoch);
        self.position
            .send_modify(|position| position.revision = head);
        for board in watched {
            self.reload(&board, Revision::ZERO).await;
        }
        Ok(())
    }

    fn advance_to(&self, last: Option<LogRow>) {
        let Some(last) = last else { return };
        let head = last.revision;
        self.last_seen.send_modify(|seen| seen.last = Some(last));
        self.position
            .send_modify(|position| position.revision = position.revision.max(head));
    }

    /// Finds out what is missing, after a reading failed although the database answered, and until it is there.
    async fn check_reading(&self) {
        if !self.deps.store.take_suspicion() && self.reading_fault.borrow().is_none() {
            return;
        }
        // While it is away, what was missing still is as far as anybody knows.
        let Ok(found) = query_priority(&self.deps.store, Store::reading_fault).await else {
            return;
        };
        let is_new = self
            .reading_fault
            .send_if_modified(|fault| std::mem::replace(fault, found.clone()) != found);
        match found {
            Some(reason) if is_new => tracing::error!(%reason, "reading does not work"),
            None if is_new => tracing::info!("reading works again"),
            _ => {}
        }
    }

    fn fresh(&self) {
        if self
            .stale_since
            .send_if_modified(|stale| stale.take().is_some())
        {
            tracing::info!("the database is back");
        }
    }

    fn stale(&self, error: &StoreError) {
        let first = |stale: &mut Option<DateTime<Utc>>| {
            stale.is_none().then(|| *stale = Some(Utc::now())).is_some()
        };
        if self.stale_since.send_if_modified(first) {
            tracing::warn!(%error, "the change log cannot be read");
        }
    }
}
