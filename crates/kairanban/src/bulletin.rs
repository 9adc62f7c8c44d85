//! The application: what can be done with boards, whatever the protocol.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use kairanban_core::{
    Board, BoardChannel, BoardName, BoardTitle, Cursor, Hub, IdempotencyKey, LogEntry, NewTopic, Patch, Resume, Revision,
    Snapshot, Subscription, Topic, TopicEdit, TopicId,
};
use kairanban_store::{Committed, LogPage, Page, Store, StoreError, Write, Writer, Written};
use tokio::time::timeout;

use crate::{auth::Administrator, blocking::blocking, follower::Following, shutdown::Drain};

/// How long a reader waits for the follower to come as far as what this node has acknowledged.
const CATCH_UP: Duration = Duration::from_secs(2);
/// Readings of a board that changes faster than it can be read.
const LOADS_MAX: usize = 5;

/// A revision that only grows, shared between threads.
#[derive(Clone, Debug, Default)]
pub struct HighWater(Arc<AtomicU64>);

impl HighWater {
    /// Raises it.
    pub fn raise(&self, revision: Revision) {
        // Publishes nothing but the number itself.
        self.0.fetch_max(revision.get(), Ordering::AcqRel);
    }

    /// Begins anew, with another history.
    pub fn reset(&self, revision: Revision) {
        self.0.store(revision.get(), Ordering::Release);
    }

    /// The newest.
    #[must_use]
    pub fn get(&self) -> Revision {
        Revision::new(self.0.load(Ordering::Acquire)).unwrap_or_default()
    }
}

/// A snapshot, and since when it may have been overtaken because the database is away.
#[derive(Clone, Debug)]
pub struct Reading {
    /// The list.
    pub snapshot: Arc<Snapshot>,
    /// Since when nothing newer could be read.
    pub stale_since: Option<DateTime<Utc>>,
}

/// Where a reader says it stands.
#[derive(Clone, Debug)]
pub enum Since {
    /// Nowhere: it wants the list.
    Start,
    /// At whatever is newest: it wants no list.
    Now,
    /// At something that is no cursor.
    Invalid,
    /// At a cursor.
    Cursor(Cursor),
}

/// Why a reader's cursor could not be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResetReason {
    /// It belongs to another history.
    Epoch,
    /// The log does not reach back that far.
    Trimmed,
    /// The database has not come that far.
    Future,
    /// The reader fell too far behind.
    Lagged,
    /// It is no cursor.
    Invalid,
}

/// What a reader has to be sent first.
#[derive(Debug)]
pub enum First {
    /// Nothing: it is up to date, or wants to hear of changes only.
    Nothing,
    /// What changed since its cursor.
    Patch(Patch),
    /// The list; with the reason, if its cursor could not be served.
    Snapshot(Option<ResetReason>),
}

/// A reader's place on a board.
#[derive(Debug)]
pub struct Watch {
    /// Updates from before the snapshot on.
    pub subscription: Subscription,
    /// The list that the reader stands at once it was sent the first thing.
    pub snapshot: Arc<Snapshot>,
    /// That thing.
    pub first: First,
}

/// Boards, for whoever asks. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Bulletin {
    parts: Arc<Parts>,
}

#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) store: Store,
    pub(crate) hub: Arc<Hub>,
    pub(crate) writer: Writer,
    pub(crate) following: Following,
    /// The newest revision that this node has acknowledged to a writer: no reader here is shown less.
    pub(crate) acknowledged: HighWater,
    /// The revision up to which the change log is forgotten.
    pub(crate) trimmed_to: HighWater,
    pub(crate) cache_ttl: Duration,
    pub(crate) write_wait: Duration,
}

impl Bulletin {
    pub(crate) fn new(parts: Parts) -> Self {
        Self { parts: Arc::new(parts) }
    }

    pub(crate) fn store(&self) -> &Store {
        &self.parts.store
    }

    /// Where the follower is.
    #[must_use]
    pub fn following(&self) -> &Following {
        &self.parts.following
    }

    /// The live list of a board.
    ///
    /// # Errors
    /// [`StoreError::NoSuchBoard`]; [`StoreError::Unavailable`] if there is nothing to show for it.
    pub async fn read(&self, board: &BoardName) -> Result<Reading, StoreError> {
        let settled = self.parts.following.reached(self.parts.acknowledged.get(), CATCH_UP).await;
        let channel = self.parts.hub.channel(board);
        let snapshot = self.current(board, &channel).await.inspect_err(|error| self.forget(board, &channel, error))?;
        let stale_since = self.parts.following.stale_since().or_else(|| (!settled).then(Utc::now));
        Ok(Reading { snapshot, stale_since })
    }

    /// A place among a board's readers.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub async fn watch(&self, board: &BoardName, since: Since) -> Result<Watch, StoreError> {
        // First the subscription, then the snapshot: no update can fall between.
        let subscription = self.parts.hub.subscribe(board);
        self.parts.following.reached(self.parts.acknowledged.get(), CATCH_UP).await;
        if let Since::Cursor(cursor) = &since {
            self.catch_up_with(cursor).await;
        }
        if let Err(error) = self.current(board, &subscription.channel).await {
            let Subscription { channel, receiver } = subscription;
            drop(receiver);
            self.forget(board, &channel, &error);
            return Err(error);
        }
        let unavailable = || StoreError::Unavailable("the board could not be read".to_owned());
        let live = subscription.channel.live();
        let snapshot = Arc::clone(live.last_known().ok_or_else(unavailable)?);
        let first = match since {
            Since::Start => First::Snapshot(None),
            Since::Now => First::Nothing,
            Since::Invalid => First::Snapshot(Some(ResetReason::Invalid)),
            Since::Cursor(cursor) => match self.refusal(&cursor, &snapshot) {
                Some(reason) => First::Snapshot(Some(reason)),
                None => match live.resume(&cursor).ok_or_else(unavailable)? {
                    Resume::UpToDate => First::Nothing,
                    Resume::Patch(patch) => First::Patch(patch),
                    Resume::Snapshot(_) => First::Snapshot(self.is_trimmed(&cursor).then_some(ResetReason::Trimmed)),
                },
            },
        };
        drop(live);
        Ok(Watch { subscription, snapshot, first })
    }

    /// The live list once it is another one than at `known`, or when `at_most` has passed, or when the
    /// server ends.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub async fn wait(&self, board: &BoardName, known: &Cursor, at_most: Duration, drain: &Drain) -> Result<Reading, StoreError> {
        let mut watch = self.watch(board, Since::Now).await?;
        let is_news = |snapshot: &Snapshot| snapshot.cursor() != known;
        let news = async {
            // An end or a lag says as much as an update: look at what there is.
            while !is_news(&watch.snapshot) {
                let Ok(Some(update)) = watch.subscription.receiver.recv().await else { return };
                watch.snapshot = Arc::clone(&update.snapshot);
            }
        };
        tokio::select! {
            _ = timeout(at_most, news) => {}
            () = drain.begun() => {}
        }
        self.read(board).await
    }

    /// One topic, archived or not.
    ///
    /// # Errors
    /// [`StoreError::NoSuchBoard`], [`StoreError::NoSuchTopic`], or if the database is away.
    pub async fn topic(&self, board: BoardName, id: TopicId) -> Result<Topic, StoreError> {
        let store = self.parts.store.clone();
        blocking(move || store.topic(&board, id)).await
    }

    /// Topics, archived or not, the newest first.
    ///
    /// # Errors
    /// [`StoreError::NoSuchBoard`], or if the database is away.
    pub async fn page(&self, board: BoardName, wanted: Page) -> Result<Vec<Topic>, StoreError> {
        let store = self.parts.store.clone();
        blocking(move || store.page(&board, &wanted)).await
    }

    /// A stretch of the board's log, or `None` if it was forgotten.
    ///
    /// # Errors
    /// [`StoreError::NoSuchBoard`], or if the database is away.
    pub async fn log(&self, board: BoardName, wanted: LogPage) -> Result<Option<Vec<LogEntry>>, StoreError> {
        let store = self.parts.store.clone();
        let read = blocking(move || Ok((store.log(&board, wanted)?, store.trimmed_to()?)));
        let (entries, trimmed_to) = read.await?;
        Ok((wanted.after >= trimmed_to).then_some(entries))
    }

    /// Writes a topic, or finds the one that the same `key` led to before. Dropping the future does
    /// not undo it.
    ///
    /// # Errors
    /// [`StoreError::NoSuchBoard`]; [`StoreError::Unavailable`], after which nobody knows whether
    /// the topic was written.
    pub async fn create_topic(
        &self,
        board: BoardName,
        topic: NewTopic,
        key: Option<IdempotencyKey>,
    ) -> Result<Topic, StoreError> {
        self.write_topic(Write::CreateTopic { board, topic, key }).await
    }

    /// Changes a topic; if `expected` is given, only one that is still at that revision.
    ///
    /// # Errors
    /// [`StoreError::NoSuchTopic`], [`StoreError::Changed`], and as [`create_topic`](Self::create_topic).
    pub async fn update_topic(
        &self,
        _: &Administrator,
        board: BoardName,
        id: TopicId,
        edit: TopicEdit,
        expected: Option<Revision>,
    ) -> Result<Topic, StoreError> {
        self.write_topic(Write::UpdateTopic { board, id, edit, expected }).await
    }

    /// Deletes a topic; if `expected` is given, only one that is still at that revision.
    ///
    /// # Errors
    /// As [`update_topic`](Self::update_topic).
    pub async fn delete_topic(
        &self,
        _: &Administrator,
        board: BoardName,
        id: TopicId,
        expected: Option<Revision>,
    ) -> Result<(), StoreError> {
        self.write(Write::DeleteTopic { board, id, expected }).await.map(drop)
    }

    async fn write_topic(&self, write: Write) -> Result<Topic, StoreError> {
        match self.write(write).await? {
            Written::Topic(topic) => Ok(topic),
            other => Err(unexpected(&other)),
        }
    }

    /// A board without its topics.
    ///
    /// # Errors
    /// [`StoreError::NoSuchBoard`], or if the database is away.
    pub async fn board(&self, name: BoardName) -> Result<Board, StoreError> {
        let store = self.parts.store.clone();
        blocking(move || store.board(&name)).await
    }

    /// Boards in the order of their names, after one of them.
    ///
    /// # Errors
    /// If the database is away.
    pub async fn boards(&self, after: Option<BoardName>, limit: usize) -> Result<Vec<Board>, StoreError> {
        let store = self.parts.store.clone();
        blocking(move || store.boards(after.as_ref(), limit)).await
    }

    /// Makes a board.
    ///
    /// # Errors
    /// [`StoreError::BoardExists`], and as [`create_topic`](Self::create_topic).
    pub async fn create_board(&self, _: &Administrator, board: BoardName, title: BoardTitle) -> Result<Board, StoreError> {
        self.write_board(Write::CreateBoard { board, title }).await
    }

    /// Gives a board another title.
    ///
    /// # Errors
    /// As [`create_topic`](Self::create_topic).
    pub async fn update_board(&self, _: &Administrator, board: BoardName, title: BoardTitle) -> Result<Board, StoreError> {
        self.write_board(Write::UpdateBoard { board, title }).await
    }

    /// Deletes a board with its topics; its streams end.
    ///
    /// # Errors
    /// As [`create_topic`](Self::create_topic).
    pub async fn delete_board(&self, _: &Administrator, board: BoardName) -> Result<(), StoreError> {
        self.write(Write::DeleteBoard { board }).await.map(drop)
    }

    async fn write_board(&self, write: Write) -> Result<Board, StoreError> {
        match self.write(write).await? {
            Written::Board(board) => Ok(board),
            other => Err(unexpected(&other)),
        }
    }

    async fn write(&self, write: Write) -> Result<Written, StoreError> {
        let too_long = |_| Err(StoreError::Unavailable("the write took too long".to_owned()));
        timeout(self.parts.write_wait, self.parts.writer.write(write)).await.unwrap_or_else(too_long)
    }

    /// The newest snapshot in memory, read from the database if there is none that counts. Readers
    /// that arrive together cost one reading.
    async fn current(&self, board: &BoardName, channel: &Arc<BoardChannel>) -> Result<Arc<Snapshot>, StoreError> {
        if let Some(snapshot) = self.cached(channel) {
            return Ok(snapshot);
        }
        let _turn = channel.loading.lock().await;
        for _ in 0..LOADS_MAX {
            // Whoever had the turn before may have read it.
            if let Some(snapshot) = self.cached(channel) {
                return Ok(snapshot);
            }
            let (store, epoch, name) = (self.parts.store.clone(), self.parts.following.epoch(), board.clone());
            match blocking(move || store.load(&epoch, &name)).await {
                Ok(loaded) => {
                    let installed = self.parts.hub.install(channel, loaded, Instant::now()).is_ok();
                    if let Some(snapshot) = channel.live().last_known().filter(|_| installed) {
                        return Ok(Arc::clone(snapshot));
                    }
                }
                Err(error @ StoreError::NoSuchBoard(_)) => return Err(error),
                // While the database is away, the last word counts.
                Err(error) => return channel.live().last_known().map(Arc::clone).ok_or(error),
            }
        }
        Err(StoreError::Unavailable("the board changes faster than it can be read".to_owned()))
    }

    fn cached(&self, channel: &BoardChannel) -> Option<Arc<Snapshot>> {
        let live = channel.live();
        let current = live.current(channel.is_watched(), Instant::now(), self.parts.cache_ttl);
        // While the database is away nothing expires.
        let current = current.or_else(|| live.last_known().filter(|_| self.parts.following.stale_since().is_some()));
        current.map(Arc::clone)
    }

    /// Keeps no memory of names that somebody made up.
    fn forget(&self, board: &BoardName, channel: &Arc<BoardChannel>, error: &StoreError) {
        if matches!(error, StoreError::NoSuchBoard(_)) {
            self.parts.hub.forget(board, channel);
        }
    }

    /// Asks the database before a cursor is called one from the future: another node may have given it.
    async fn catch_up_with(&self, cursor: &Cursor) {
        let following = &self.parts.following;
        if cursor.epoch == following.epoch() && !following.reached(cursor.revision, Duration::ZERO).await {
            following.looked(CATCH_UP).await;
        }
    }

    fn refusal(&self, cursor: &Cursor, snapshot: &Snapshot) -> Option<ResetReason> {
        if cursor.epoch != snapshot.cursor().epoch {
            Some(ResetReason::Epoch)
        } else if cursor.revision > snapshot.revision().max(self.parts.following.revision()) {
            Some(ResetReason::Future)
        } else {
            None
        }
    }

    fn is_trimmed(&self, cursor: &Cursor) -> bool {
        cursor.revision < self.parts.trimmed_to.get()
    }
}

fn unexpected(written: &Written) -> StoreError {
    StoreError::Internal(format!("a write was answered by {written:?}"))
}

/// What the writing thread does after each commit, before it answers anybody.
pub(crate) fn on_commit(
    acknowledged: HighWater,
    wake: crate::follower::Wake,
    backplane: crate::backplane::Backplane,
) -> impl Fn(Committed) + Send + 'static {
    move |commit| {
        acknowledged.raise(commit.revision);
        wake.wake();
        backplane.tell();
    }
}
