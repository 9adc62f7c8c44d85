//! Reads from the database through the pool, and deletes what has expired.

mod data_version;
mod file_watch;
mod log;
mod titled_boards;
mod tokens;

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use kairanban_core::{
    Action, AuditEntry, Board, BoardLoad, BoardName, Epoch, LogPosition, LogRow, Policies,
    ReplayBuffer, ReplayRange, Revision, Scope, SearchText, Topic, TopicId, Verdict, VisibleBoards,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

pub use self::file_watch::{FileWatch, FileWatchError};
use crate::{
    AuditBounds, BoardHead, DatabaseAddress, LogPage, Page, PoolConnections, PoolWait, RowPage,
    SearchedTopics, StoreConfig, StoreError, TicketTimes, audit, browser_sessions, change_log,
    clock, connection::AnyConnection, history, idempotency, pool::Pool, replay, repository,
    sql::BATCHES, tickets as ticket_queries,
};

/// The database behind a pool. Cheap to clone.
///
/// Every call but [`permit`](Self::permit) blocks its thread: for the wait for a connection, and
/// for one statement or a few, each of which ends by [`StoreConfig::timeouts`]. If the network, or
/// the database, keeps silent, a call may take longer; so a caller that cannot wait limits it by
/// [`answer_max`](Self::answer_max), and lets the thread go on.
///
/// Where it says *if the database is away*, the error is [`StoreError::Unavailable`],
/// [`StoreError::Fault`] or, if the database answers but not as its schema promises,
/// [`StoreError::Internal`].
#[derive(Clone, Debug)]
pub struct Store {
    pub(crate) pool: Pool,
    permits: Arc<Semaphore>,
    config: StoreConfig,
    epoch: Epoch,
}

impl Store {
    /// Connects to the database, and finds out its epoch.
    ///
    /// # Errors
    /// If the database cannot be reached or is not migrated.
    pub fn open(config: StoreConfig) -> Result<Self, StoreError> {
        let pool = Pool::open(&config)?;
        let (LogPosition { epoch, .. }, _) = settle(&pool, &config.address, None)?;
        // One connection is reserved for the follower and the writer, which take no permit.
        let permits = usize::try_from(config.pool_max)
            .unwrap_or(usize::MAX)
            .saturating_sub(1)
            .clamp(1, Semaphore::MAX_PERMITS);
        Ok(Self {
            pool,
            permits: Arc::new(Semaphore::new(permits)),
            config,
            epoch,
        })
    }

    /// Waits for a permit to query the database. Keep it until the database has answered. There are
    /// about as many permits as connections, so that many requests wait in a queue, and not each in
    /// a thread of its own. Cancel safe.
    ///
    /// # Errors
    /// Infallible in practice: the semaphore is never closed.
    pub async fn permit(&self) -> Result<OwnedSemaphorePermit, StoreError> {
        let began = Instant::now();
        let permit = Arc::clone(&self.permits).acquire_owned().await;
        self.config.on_wait.call(PoolWait::Permit, began.elapsed());
        permit.map_err(|closed| StoreError::Internal(closed.to_string()))
    }

    /// Returns how many connections the pool has.
    #[must_use]
    pub fn connections(&self) -> PoolConnections {
        self.pool.state()
    }

    /// Returns the name of the kind of database.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        self.config.address.kind()
    }

    /// Returns whether a transaction pooler stands between this process and Postgres.
    #[must_use]
    pub const fn is_pooled(&self) -> bool {
        self.pool.is_pooled()
    }

    /// Returns the number of readings of the database so far.
    #[must_use]
    pub fn reads(&self) -> u64 {
        self.pool.reads()
    }

    /// Returns whether a reading failed although the database answered, since the last call.
    #[must_use]
    pub fn take_read_failure(&self) -> bool {
        self.pool.take_read_failure()
    }

    /// Finds out what keeps a server from reading, with what would help, if the database reports
    /// it: a table, a column or a grant that is missing.
    ///
    /// # Errors
    /// If the database is away.
    pub fn reading_fault(&self) -> Result<Option<String>, StoreError> {
        self.pool.reading_fault()
    }

    /// Returns the longest that an answer takes while the database answers: the wait for a
    /// connection, and the time of a statement.
    #[must_use]
    pub fn answer_max(&self) -> Duration {
        self.config.pool_wait + self.config.timeouts.statement
    }

    /// Returns the epoch that was found at the start.
    #[must_use]
    pub const fn epoch(&self) -> &Epoch {
        &self.epoch
    }

    /// Reads a board with its live list.
    ///
    /// # Errors
    /// [`StoreError::NoSuchBoard`], or if the database is away.
    pub fn load(&self, epoch: &Epoch, board: &BoardName) -> Result<BoardLoad, StoreError> {
        self.with(|connection| {
            repository::load(
                connection,
                epoch,
                board,
                self.config.topics_max,
                self.config.replay_max,
            )
        })
    }

    /// Reads the head of a board, which shows whether a list of it that was read before is still
    /// the newest.
    ///
    /// # Errors
    /// [`StoreError::NoSuchBoard`], or if the database is away.
    pub fn board_head(&self, board: &BoardName) -> Result<BoardHead, StoreError> {
        self.with(|connection| repository::board_head(connection, board))
    }

    /// Reads a part of a board's log, for readers who come back from further than what is read
    /// along with the board.
    ///
    /// # Errors
    /// If the database is away.
    pub fn replay(&self, range: &ReplayRange) -> Result<ReplayBuffer, StoreError> {
        let StoreConfig {
            topics_max,
            resume_max,
            replay_max,
            ..
        } = self.config;
        self.with(|connection| replay::read(connection, range, topics_max, resume_max, replay_max))
    }

    /// Returns the largest number of topics in a live list.
    #[must_use]
    pub const fn topics_max(&self) -> usize {
        self.config.topics_max
    }

    /// Returns how many changes of a board are kept for readers that come back.
    #[must_use]
    pub const fn replay_max(&self) -> usize {
        self.config.replay_max
    }

    /// Reads which board the database itself names as the default one, if it names one that exists.
    ///
    /// # Errors
    /// If the database is away.
    pub fn default_board(&self) -> Result<Option<BoardName>, StoreError> {
        self.with(repository::stored_default_board)
    }

    /// Reads the boards that are `visible`, in the order of their names: at most `limit`, those
    /// after the name `after_name`, or the first ones.
    ///
    /// # Errors
    /// If the database is away.
    pub fn boards(
        &self,
        visible: &VisibleBoards,
        after_name: Option<&BoardName>,
        limit: usize,
    ) -> Result<RowPage<Board, String>, StoreError> {
        self.with(|connection| repository::boards(connection, visible, after_name, limit))
    }

    /// Reads the policies of a board, for a caller whose token has `scope` there.
    ///
    /// # Errors
    /// [`StoreError::NoSuchBoard`], also if they may not read it, or if the database is away.
    pub fn policies(
        &self,
        board: &BoardName,
        scope: Option<Scope>,
    ) -> Result<Policies, StoreError> {
        let (_, policies) =
            self.with(|connection| repository::board_policies(connection, board))?;
        policies
            .authorize(scope, Action::Read)
            .map_err(|why| StoreError::not_permitted(why, board))?;
        Ok(policies)
    }

    /// Reads the policies of the boards with these names. Names of no board are left out.
    ///
    /// # Errors
    /// If the database is away.
    pub fn find_boards(
        &self,
        names: &[BoardName],
    ) -> Result<HashMap<BoardName, Policies>, StoreError> {
        self.with(|connection| repository::find_boards(connection, names))
    }

    /// Reads a board without its topics.
    ///
    /// # Errors
    /// [`StoreError::NoSuchBoard`], or if the database is away.
    pub fn board(&self, name: &BoardName) -> Result<Board, StoreError> {
        self.with(|connection| repository::board(connection, name))
    }

    /// Reads one topic of a board, archived or not.
    ///
    /// # Errors
    /// [`StoreError::NoSuchBoard`], [`StoreError::NoSuchTopic`], or if the database is away.
    pub fn topic(&self, board: &BoardName, id: TopicId) -> Result<Topic, StoreError> {
        self.with(|connection| repository::topic(connection, board, id))
    }

    /// Reads topics of a board, archived or not, the newest first. Those that cannot be read are
    /// left out of the page.
    ///
    /// # Errors
    /// [`StoreError::NoSuchBoard`], or if the database is away.
    pub fn page(&self, board: &BoardName, wanted: &Page) -> Result<RowPage<Topic>, StoreError> {
        self.with(|connection| repository::page(connection, board, wanted))
    }

    /// Searches the topics of a page for a text. Looks at `wanted.limit` topics, and returns as
    /// many or fewer.
    ///
    /// # Errors
    /// [`StoreError::NoSuchBoard`], or if the database is away.
    pub fn search(
        &self,
        board: &BoardName,
        text: &SearchText,
        wanted: &Page,
    ) -> Result<SearchedTopics, StoreError> {
        self.with(|connection| repository::search(connection, board, text, wanted))
    }

    /// Reads a page of one board's log, in the order of commits. The next one follows a place
    /// within a revision.
    ///
    /// # Errors
    /// [`StoreError::NoSuchBoard`], or if the database is away.
    pub fn log(
        &self,
        board: &BoardName,
        wanted: LogPage,
    ) -> Result<RowPage<LogRow, (Revision, i64)>, StoreError> {
        self.with(|connection| change_log::page(connection, board, wanted))
    }

    /// Reads the time of the database's clock.
    ///
    /// # Errors
    /// If the database is away.
    pub fn now(&self) -> Result<DateTime<Utc>, StoreError> {
        self.with(clock::read)
    }

    /// Reads what administrators did, the newest first: at most `limit` entries, with ids less than
    /// `before`, or the newest of all.
    ///
    /// # Errors
    /// If the database is away.
    pub fn audit(
        &self,
        before: Option<i64>,
        limit: usize,
    ) -> Result<RowPage<AuditEntry>, StoreError> {
        self.with(|connection| audit::page(connection, before, limit))
    }

    /// Deletes what has expired: tickets, sessions, and topics that were deleted before `undo`.
    /// Trims the audit to what is `kept`. Does some batches of each, each in a transaction of its
    /// own. Returns how many rows it deleted: zero if none is left.
    ///
    /// # Errors
    /// If the database is away.
    pub fn expire(
        &self,
        kept: AuditBounds,
        undo: Duration,
        tickets: TicketTimes,
    ) -> Result<usize, StoreError> {
        // If one kind fails, the others are done all the same.
        let each = [
            self.in_batches(|connection| repository::expire_undo(connection, undo)),
            self.in_batches(|connection| audit::trim(connection, kept)),
            self.in_batches(|connection| ticket_queries::expire(connection, tickets)),
            self.in_batches(browser_sessions::expire),
        ];
        each.into_iter().sum()
    }

    /// Deletes idempotency keys older than `age_max`, in some batches, each in a transaction
    /// of its own. Returns how many: zero if none is left.
    ///
    /// # Errors
    /// If the database is away.
    pub fn expire_keys(&self, age_max: Duration) -> Result<usize, StoreError> {
        self.in_batches(|connection| idempotency::expire(connection, age_max))
    }

    fn in_batches(
        &self,
        work: impl Fn(&mut AnyConnection) -> Result<usize, StoreError>,
    ) -> Result<usize, StoreError> {
        let mut gone = 0;
        for _ in 0..BATCHES {
            match self.write(&work)? {
                0 => break,
                went => gone += went,
            }
        }
        Ok(gone)
    }

    fn write<T>(
        &self,
        work: impl Fn(&mut AnyConnection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.pool.with_write_lock(work)
    }

    fn with<T>(
        &self,
        work: impl Fn(&mut AnyConnection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.pool.with(work)
    }
}

fn settle(
    pool: &Pool,
    address: &DatabaseAddress,
    known: Option<&LogPosition>,
) -> Result<(LogPosition, Verdict), StoreError> {
    let settled = if address.path().is_some() {
        pool.with(|connection| history::settled(connection, address, known))
    } else {
        Ok(None)
    };
    let settled = settled.and_then(|settled| match settled {
        Some(settled) => Ok(settled),
        None => pool.with_write_lock(|connection| history::settle(connection, address, known)),
    });
    // That a reading met damage decides whether a start waits.
    settled.map_err(|error| pool.damage().map_or(error, StoreError::Fault))
}
