//! The follower: the one task per process that reads the change log in revision order, over all
//! boards, and publishes what changed.
//!
//! Everybody who knows of a commit wakes it, and it looks for itself; a signal may be lost, doubled
//! or late without harm, because it looks every `database.poll_ms` anyway. One publisher and
//! growing revisions: order cannot be lost.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use kairanban_core::{BoardChange, BoardChanges, BoardId, BoardName, Change, ChangeKind, Epoch, Hub, Published, Revision, Topic};
use kairanban_store::{BoardTouched, Committed, CreatedTopic, Store, StoreError, Stretch};
use tokio::{
    sync::{Notify, mpsc, watch},
    time::{sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{
    archiver::Archiver, auth::HeldTokens, blocking::answered_first, bulletin::HighWater, failpoint, shared_snapshots::Loader,
};

/// Asks the follower to look. Cheap to clone; asking twice before it looks is asking once.
#[derive(Clone, Debug, Default)]
pub struct Wake(Arc<Notify>);

impl Wake {
    /// Asks.
    pub fn wake(&self) {
        self.0.notify_one();
    }
}

/// Own commits that may wait for the follower; past that it reads them from the log.
const OWN_MAX: usize = 64;

/// Tells the follower of a commit of this process.
#[derive(Clone, Debug)]
pub struct OwnCommits {
    commits: mpsc::Sender<Committed>,
    wake: Wake,
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
    looks: u64,
    /// When it finished the last one.
    looked_at: Instant,
}

/// Where the follower is, for those who wait for it.
#[derive(Clone, Debug)]
pub struct Following {
    position: watch::Receiver<Position>,
    stale_since: watch::Receiver<Option<DateTime<Utc>>>,
    wake: Wake,
}

impl Following {
    /// A place that nobody leaves.
    #[cfg(test)]
    pub fn at_rest(cursor: &kairanban_core::Cursor) -> Self {
        let position = Position { epoch: cursor.epoch.clone(), revision: cursor.revision, looks: 0, looked_at: Instant::now() };
        Self { position: watch::channel(position).1, stale_since: watch::channel(None).1, wake: Wake::default() }
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
    pub async fn reached(&self, revision: Revision, at_most: Duration) -> bool {
        let mut position = self.position.clone();
        if position.borrow().revision >= revision {
            return true;
        }
        let mut stale_since = self.stale_since.clone();
        let reached = async {
            self.wake.wake();
            tokio::select! {
                reached = position.wait_for(|position| position.revision >= revision) => reached.is_ok(),
                // While the database is away there is nothing to wait for.
                _ = stale_since.wait_for(Option::is_some) => false,
            }
        };
        timeout(at_most, reached).await.unwrap_or(false)
    }

    /// Waits until the follower has looked once from now on, but not longer than `at_most`.
    pub async fn looked(&self, at_most: Duration) {
        let mut position = self.position.clone();
        let before = position.borrow().looks;
        let two_looks = async {
            // The first to finish may have begun before now.
            for look in 1..=2 {
                self.wake.wake();
                if position.wait_for(|position| position.looks >= before + look).await.is_err() {
                    return;
                }
            }
        };
        // In time or not, what is known now is what there is to go by.
        let _ = timeout(at_most, two_looks).await;
    }
}

/// Whom the follower tells, and who wakes it.
#[derive(Debug)]
pub struct Surroundings {
    pub(crate) store: Store,
    pub(crate) loader: Loader,
    pub(crate) hub: Arc<Hub>,
    pub(crate) held: HeldTokens,
    pub(crate) wake: Wake,
    pub(crate) archiver: Archiver,
    /// What readers of this node wait for.
    pub(crate) acknowledged: HighWater,
    pub(crate) poll: Duration,
}

/// The task.
#[derive(Debug)]
pub struct Follower {
    around: Surroundings,
    position: watch::Sender<Position>,
    stale_since: watch::Sender<Option<DateTime<Utc>>>,
    own: mpsc::Receiver<Committed>,
}

impl Follower {
    /// A follower that stands at the newest revision, the place to ask where it is, and the one to tell it of commits.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn new(around: Surroundings) -> Result<(Self, Following, OwnCommits), StoreError> {
        let start =
            Position { epoch: around.store.epoch().clone(), revision: around.store.head()?, looks: 0, looked_at: Instant::now() };
        let (position, at) = watch::channel(start);
        let (stale_since, stale) = watch::channel(None);
        let following = Following { position: at, stale_since: stale, wake: around.wake.clone() };
        let (commits, own) = mpsc::channel(OWN_MAX);
        let telling = OwnCommits { commits, wake: around.wake.clone() };
        Ok((Self { around, position, stale_since, own }, following, telling))
    }

    /// Follows until told to stop.
    pub async fn run(&mut self, stop: &CancellationToken) {
        let mut poll_at = Instant::now() + self.around.poll;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                Some(commit) = self.own.recv() => {
                    if let Ok(true) = self.publish_own(commit).await {
                        continue;
                    }
                    // Otherwise what came before it has to be read first.
                }
                () = self.around.wake.0.notified() => {}
                // However much is committed here, others are looked for.
                () = sleep_until(poll_at.into()) => {}
            }
            poll_at = Instant::now() + self.around.poll;
            failpoint::pass("follower");
            if failpoint::fires("follower-stuck") {
                std::future::pending::<()>().await;
            }
            match self.look().await {
                Ok(()) => self.fresh(),
                Err(error) => self.stale(&error),
            }
            self.position.send_modify(|position| (position.looks, position.looked_at) = (position.looks + 1, Instant::now()));
        }
    }

    /// Publishes what this process committed without reading it from the log, if it follows on what was published: the
    /// order of revisions is that of commits, so nothing can lie between. Tells whether it did.
    async fn publish_own(&self, commit: Committed) -> Result<bool, StoreError> {
        let Committed { revision, created } = commit;
        let at = self.position.borrow().revision;
        if revision <= at {
            return Ok(true);
        }
        if self.stale_since.borrow().is_some() || revision.get() != at.get() + 1 {
            return Ok(false);
        }
        let mut boards: BTreeMap<(BoardName, BoardId), Vec<Arc<Topic>>> = BTreeMap::new();
        for CreatedTopic { board, board_id, topic } in created.unwrap_or_default() {
            boards.entry((board, board_id)).or_default().push(Arc::new(topic));
        }
        for ((board, id), topics) in boards {
            match self.around.hub.publish_if(&board, id, &BoardChanges::created(revision, topics)) {
                // Nobody has it in memory, or it is called otherwise by now.
                None => return Ok(false),
                Some(Published::Reload) => self.reload(&board).await?,
                Some(_) => {}
            }
            self.around.archiver.look_at(&board);
        }
        self.reached(revision);
        Ok(true)
    }

    async fn look(&self) -> Result<(), StoreError> {
        if self.stale_since.borrow().is_some() {
            self.find_epoch().await?;
        }
        let after = self.position.borrow().revision;
        match answered_first(&self.around.store, move |store| store.changes_since(after)).await? {
            Stretch::Changes(changes) => {
                let Some(last) = changes.last() else { return Ok(()) };
                let head = last.revision;
                self.follow(&changes).await?;
                self.reached(head);
            }
            Stretch::Boards { head, boards } => {
                self.resync(boards).await?;
                self.reached(head);
            }
        }
        Ok(())
    }

    /// Publishes what changed, board by board.
    async fn follow(&self, changes: &[Change]) -> Result<(), StoreError> {
        let mut boards: BTreeMap<&BoardName, BoardChanges> = BTreeMap::new();
        let mut governed: HashMap<BoardId, BoardChange> = HashMap::new();
        for change in changes {
            if matches!(change.kind, ChangeKind::Board | ChangeKind::Unknown) {
                let now = BoardChange { revision: change.revision, standing: change.board.clone() };
                governed.insert(change.board_id, now);
            } else if let Some(board) = &change.board {
                boards.entry(&board.name).or_default().push(change);
            }
        }
        // Who may look comes before what there is to see.
        if changes.iter().any(|change| matches!(change.kind, ChangeKind::Token | ChangeKind::Unknown)) {
            self.look_at_tokens().await?;
        }
        self.around.hub.govern(&governed);
        for (board, changes) in &boards {
            if self.around.hub.publish(board, changes) == Published::Reload {
                self.reload(board).await?;
            }
        }
        // What a later version wrote can be read, if not followed.
        for change in changes.iter().filter(|change| change.kind == ChangeKind::Unknown) {
            if let Some(board) = change.board.as_ref().filter(|board| self.around.hub.miss(&board.name, change.revision)) {
                self.reload(&board.name).await?;
            }
        }
        let written = changes.iter().filter(|change| change.kind == ChangeKind::Set).filter_map(|change| change.board.as_ref());
        written.for_each(|board| self.around.archiver.look_at(&board.name));
        Ok(())
    }

    /// Reads the tokens anew that somebody came in by, and tells those whose token changed or ended.
    async fn look_at_tokens(&self) -> Result<(), StoreError> {
        let asked = self.around.held.begin_look();
        if asked.is_empty() {
            return Ok(());
        }
        let ids = asked.clone();
        let found = answered_first(&self.around.store, move |store| store.tokens_by_id(&ids)).await?;
        self.around.held.end_look(&asked, &found);
        Ok(())
    }

    /// Reads anew what somebody watches of boards that changed more than is worth following.
    async fn resync(&self, boards: Vec<BoardTouched>) -> Result<(), StoreError> {
        tracing::debug!(boards = boards.len(), "much changed at once, reading the boards anew");
        self.look_at_tokens().await?;
        let change = |board: &BoardTouched| BoardChange { revision: board.revision, standing: board.standing.clone() };
        self.around.hub.govern(&boards.iter().map(|board| (board.id, change(board))).collect());
        for board in &boards {
            let Some(now) = &board.standing else { continue };
            if self.around.hub.miss(&now.name, board.revision) {
                self.reload(&now.name).await?;
            }
            self.around.archiver.look_at(&now.name);
        }
        Ok(())
    }

    async fn reload(&self, board: &BoardName) -> Result<(), StoreError> {
        let epoch = self.position.borrow().epoch.clone();
        match self.around.loader.load(&epoch, board).await {
            // Outdated: nobody has been shown the board yet, and whoever reads it will read again.
            Ok(loaded) => {
                self.around.hub.install(&self.around.hub.channel(board), loaded, Instant::now()).map_or(Ok(()), |_| Ok(()))
            }
            // Gone meanwhile: a later change says so.
            Err(StoreError::NoSuchBoard(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Looks whether this is still the same database, now that it was away.
    async fn find_epoch(&self) -> Result<(), StoreError> {
        let (epoch, head) = answered_first(&self.around.store, |store| Ok((store.find_epoch()?, store.head()?))).await?;
        if epoch != self.position.borrow().epoch {
            tracing::warn!(%epoch, "this is another database than before: every stream begins anew");
            self.position.send_modify(|position| (position.epoch, position.revision) = (epoch, head));
            // A write of the old history may be lost with it; nobody must wait for it.
            self.around.acknowledged.reset(head);
            self.around.hub.clear();
            // Tokens may have come back, or gone, with the other history.
            self.look_at_tokens().await?;
        }
        Ok(())
    }

    fn reached(&self, head: Revision) {
        self.position.send_modify(|position| position.revision = position.revision.max(head));
    }

    fn fresh(&self) {
        if self.stale_since.send_if_modified(|stale| stale.take().is_some()) {
            tracing::info!("the database is back");
        }
    }

    fn stale(&self, error: &StoreError) {
        let first = |stale: &mut Option<DateTime<Utc>>| stale.is_none().then(|| *stale = Some(Utc::now())).is_some();
        if self.stale_since.send_if_modified(first) {
            tracing::warn!(%error, "the change log cannot be read");
        }
    }
}
