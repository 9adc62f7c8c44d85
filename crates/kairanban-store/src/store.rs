//! The pool, and everything that a reader asks of the database.

mod log;

use std::{path::PathBuf, sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use diesel::Connection as _;
use kairanban_core::{
    Actor, AuditEntry, Board, BoardName, Epoch, Gap, Loaded, LogEntry, LogPosition, Policies,
    Scope, Tail, Token, Topic, TopicId, Verdict,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{
    BoardPlace, DatabaseAddress, Deed, FoundToken, LogPage, NewToken, Page, Secret, StoreError,
    TicketTimes, Timeouts, Visible, audit, change_log, clock, connection::AnyConnection,
    deed::Done, idempotency, identity, pool::Pool, repository, tokens,
};

/// How the database is used.
#[derive(Clone, Debug)]
pub struct StoreConfig {
    /// Where it is.
    pub address: DatabaseAddress,
    /// How long it may take.
    pub timeouts: Timeouts,
    /// How long the first connection may take.
    pub first_connect: Duration,
    /// Connections, at most.
    pub pool_max: u32,
    /// How long a caller waits for one of them.
    pub pool_wait: Duration,
    /// Topics in a live list.
    pub topics_max: usize,
    /// Changes of a board that are read along with it, for readers that come back.
    pub replay_max: usize,
    /// Changes of a board that are looked through for readers that come back from further away.
    pub resume_max: usize,
    /// Changes that are followed one by one; past that, boards are read anew.
    pub changes_max: usize,
}

/// The database behind a pool. Cheap to clone. Every call blocks.
#[derive(Clone, Debug)]
pub struct Store {
    pub(crate) pool: Pool,
    turns: Arc<Semaphore>,
    config: StoreConfig,
    epoch: Epoch,
}

impl Store {
    /// Connects, and finds out which epoch this is.
    ///
    /// # Errors
    /// If the database cannot be reached or is not migrated.
    pub fn open(config: StoreConfig) -> Result<Self, StoreError> {
        let pool = Pool::open(&config)?;
        let (LogPosition { epoch, .. }, _) = settle(&pool, &config.address, None)?;
        // One connection is left to those who wait for nobody: the follower and the writer.
        let turns = usize::try_from(config.pool_max)
            .unwrap_or(usize::MAX)
            .saturating_sub(1)
            .clamp(1, Semaphore::MAX_PERMITS);
        Ok(Self {
            pool,
            turns: Arc::new(Semaphore::new(turns)),
            config,
            epoch,
        })
    }

    /// Waits for a turn to ask the database, to be kept until it has answered. There are hardly more turns than connections, so
    /// that a crowd that wants to ask waits in line, and not each in a thread of its own.
    ///
    /// # Errors
    /// None: there are turns for as long as there is a store.
    pub async fn turn(&self) -> Result<OwnedSemaphorePermit, StoreError> {
        Arc::clone(&self.turns)
            .acquire_owned()
            .await
            .map_err(|closed| StoreError::Internal(closed.to_string()))
    }

    /// Whether a transaction pooler stands between this and Postgres.
    #[must_use]
    pub const fn is_pooled(&self) -> bool {
        self.pool.is_pooled()
    }

    /// Whether a reading failed, since this was last asked, although the database answered.
    #[must_use]
    pub fn take_suspicion(&self) -> bool {
        self.pool.take_suspicion()
    }

    /// What keeps a server from reading, with what would help, if it is something that the database says: a table, a column or
    /// a grant that is missing.
    ///
    /// # Errors
    /// If the database is away.
    pub fn reading_fault(&self) -> Result<Option<String>, StoreError> {
        self.pool.reading_fault()
    }

    /// The longest that an answer takes from a database that answers: until there is a connection, and
    /// for a statement.
    #[must_use]
    pub fn answer_max(&self) -> Duration {
        self.config.pool_wait + self.config.timeouts.statement
    }

    /// The incarnation of the database that was found at the start.
    #[must_use]
    pub const fn epoch(&self) -> &Epoch {
        &self.epoch
    }

    /// Reads a board.
    ///
    /// # Errors
    /// [`StoreError::NoSuchBoard`], or if the database is away.
    pub fn load(&self, epoch: &Epoch, board: &BoardName) -> Result<Loaded, StoreError> {
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

    /// How a board stands: enough to tell whether a list of it that was read before is still the newest.
    ///
    /// # Errors
    /// [`StoreError::NoSuchBoard`], or if the database is away.
    pub fn place_of(&self, board: &BoardName) -> Result<BoardPlace, StoreError> {
        self.with(|connection| repository::place_of(connection, board))
    }

    /// A board's history within a gap, for readers who come back from further than what is read along with
    /// the board.
    ///
    /// # Errors
    /// If the database is away.
    pub fn history(&self, gap: &Gap) -> Result<Tail, StoreError> {
        let StoreConfig {
            topics_max,
            resume_max,
            replay_max,
            ..
        } = self.config;
        self.with(|connection| {
            change_log::history(connection, gap, topics_max, resume_max, replay_max)
        })
    }

    /// Topics in a live list, at most.
    #[must_use]
    pub const fn topics_max(&self) -> usize {
        self.config.topics_max
    }

    /// Changes of a board that are kept for readers that come back.
    #[must_use]
    pub const fn replay_max(&self) -> usize {
        self.config.replay_max
    }

    /// The board that the database itself calls the default one, if it names one that is there.
    ///
    /// # Errors
    /// If the database is away.
    pub fn default_board(&self) -> Result<Option<BoardName>, StoreError> {
        self.with(repository::stored_default_board)
    }

    /// Boards in the order of their names, after one of them.
    ///
    /// # Errors
    /// If the database is away.
    pub fn boards(
        &self,
        visible: &Visible,
        after: Option<&BoardName>,
        limit: usize,
    ) -> Result<Vec<Board>, StoreError> {
        self.with(|connection| repository::boards(connection, visible, after, limit))
    }

    /// Who may do what on a board, for somebody whose token allows `right` there.
    ///
    /// # Errors
    /// [`StoreError::NoSuchBoard`], also if they may not read it, or if the database is away.
    pub fn policies(
        &self,
        board: &BoardName,
        right: Option<Scope>,
    ) -> Result<Policies, StoreError> {
        let (_, policies) =
            self.with(|connection| repository::board_policies(connection, board))?;
        repository::may_read(board, policies, right)?;
        Ok(policies)
    }

    /// A board without its topics.
    ///
    /// # Errors
    /// [`StoreError::NoSuchBoard`], or if the database is away.
    pub fn board(&self, name: &BoardName) -> Result<Board, StoreError> {
        self.with(|connection| repository::board_info(connection, name))
    }

    /// One topic of a board, archived or not.
    ///
    /// # Errors
    /// [`StoreError::NoSuchBoard`], [`StoreError::NoSuchTopic`], or if the database is away.
    pub fn topic(&self, board: &BoardName, id: TopicId) -> Result<Topic, StoreError> {
        self.with(|connection| repository::topic(connection, board, id))
    }

    /// Topics of a board, archived or not, the newest first.
    ///
    /// # Errors
    /// [`StoreError::NoSuchBoard`], or if the database is away.
    pub fn page(&self, board: &BoardName, wanted: &Page) -> Result<Vec<Topic>, StoreError> {
        self.with(|connection| repository::page(connection, board, wanted))
    }

    /// A stretch of one board's log, in order.
    ///
    /// # Errors
    /// [`StoreError::NoSuchBoard`], or if the database is away.
    pub fn log(&self, board: &BoardName, wanted: LogPage) -> Result<Vec<LogEntry>, StoreError> {
        self.with(|connection| change_log::page(connection, board, wanted))
    }

    /// The time, by the database's clock.
    ///
    /// # Errors
    /// If the database is away.
    pub fn now(&self) -> Result<DateTime<Utc>, StoreError> {
        self.with(clock::read)
    }

    /// Makes a token, from the server's own terminal. Returns its id.
    ///
    /// # Errors
    /// [`StoreError::NoSuchBoard`], or if the database is away.
    pub fn create_token(&self, new: &NewToken, secret: &Secret) -> Result<i64, StoreError> {
        match self.at_the_terminal(&Deed::CreateToken {
            new: new.clone(),
            secret: secret.clone(),
        })? {
            Done::Token(id) => Ok(id),
            _ => Err(StoreError::Internal(
                "a token that was made has no id".to_owned(),
            )),
        }
    }

    /// The tokens that some people show, each in its place, if they are ours, good or not. Notes that they were used.
    ///
    /// # Errors
    /// If the database is away.
    pub fn find_tokens(&self, secrets: &[String]) -> Result<Vec<Option<FoundToken>>, StoreError> {
        let (found, used) = self.with(|connection| tokens::find(connection, secrets))?;
        if !used.is_empty()
            && let Err(error) = self
                .pool
                .with_turn(|connection| tokens::note_use(connection, &used))
        {
            // They are no worse for that.
            tracing::warn!(%error, "it could not be noted that tokens were used");
        }
        Ok(found)
    }

    /// Tokens in the order of their keys, after one of them.
    ///
    /// # Errors
    /// If the database is away.
    pub fn tokens(&self, after: i64, limit: usize) -> Result<Vec<Token>, StoreError> {
        self.with(|connection| tokens::list(connection, after, limit))
    }

    /// Tokens by their keys, in no particular order; those that are gone are left out.
    ///
    /// # Errors
    /// If the database is away.
    pub fn tokens_by_id(&self, ids: &[i64]) -> Result<Vec<FoundToken>, StoreError> {
        self.with(|connection| tokens::by_id(connection, ids))
    }

    /// Ends a token, from the server's own terminal.
    ///
    /// # Errors
    /// [`StoreError::NoSuchToken`], or if the database is away.
    pub fn revoke_token(&self, id: i64) -> Result<(), StoreError> {
        self.at_the_terminal(&Deed::RevokeToken { id }).map(drop)
    }

    /// In a transaction that is not marked as a server's own: the servers must be told of it.
    fn at_the_terminal(&self, deed: &Deed) -> Result<Done, StoreError> {
        self.pool.with_turn(|connection| {
            let done = connection.transaction(|connection| {
                connection.lock_to_write()?;
                deed.run(connection, &Actor::terminal())
            });
            // Whether it was committed is unknown, so it must not be done again: a token would be good that nobody was shown.
            done.map_err(StoreError::final_word)
        })
    }

    /// Makes a ticket that stands for a token on one board.
    ///
    /// # Errors
    /// [`StoreError::NoSuchBoard`], or if the database is away.
    pub fn create_ticket(
        &self,
        token: i64,
        board: &BoardName,
        secret: &Secret,
    ) -> Result<(), StoreError> {
        self.pool
            .with_turn(|connection| tokens::create_ticket(connection, token, board, secret))
    }

    /// Uses a ticket for a board: the token that it stands for, good or not, if the ticket is good.
    ///
    /// # Errors
    /// If the database is away.
    pub fn use_ticket(
        &self,
        secret: &str,
        board: &BoardName,
        times: TicketTimes,
    ) -> Result<Option<FoundToken>, StoreError> {
        self.pool
            .with_turn(|connection| tokens::use_ticket(connection, secret, board, times))
    }

    /// What administrators did, the newest first, older than `before`.
    ///
    /// # Errors
    /// If the database is away.
    pub fn audit(&self, before: Option<i64>, limit: usize) -> Result<Vec<AuditEntry>, StoreError> {
        self.with(|connection| audit::page(connection, before, limit))
    }

    /// Forgets what is too old: audit entries past `audit_max`, topics deleted before `undo`, tickets.
    /// Gives how much went.
    ///
    /// # Errors
    /// If the database is away.
    pub fn forget(
        &self,
        audit_max: u64,
        undo: Duration,
        tickets: TicketTimes,
    ) -> Result<usize, StoreError> {
        self.pool.with_turn(|connection| {
            let deleted = repository::forget_deleted(connection, undo)?;
            Ok(audit::prune(connection, audit_max)?
                + deleted
                + tokens::forget_tickets(connection, tickets)?)
        })
    }

    /// Forgets idempotency keys older than `age_max`. Gives how many.
    ///
    /// # Errors
    /// If the database is away.
    pub fn forget_keys(&self, age_max: Duration) -> Result<usize, StoreError> {
        self.pool
            .with_turn(|connection| idempotency::forget(connection, age_max))
    }

    /// A connection of the caller's own, outside the pool, that only reads
    /// `PRAGMA data_version`; `None` on Postgres, which has other ways to tell.
    ///
    /// # Errors
    /// If the file cannot be opened.
    pub fn data_version(&self) -> Result<Option<DataVersion>, StoreError> {
        match self.config.address {
            DatabaseAddress::Postgres(_) => Ok(None),
            DatabaseAddress::Sqlite(ref path) => {
                let mark = identity::file_mark(path)?;
                let connection = AnyConnection::open(&self.config.address, self.config.timeouts)?;
                Ok(Some(DataVersion {
                    connection,
                    path: path.clone(),
                    mark,
                }))
            }
        }
    }

    fn with<T>(
        &self,
        work: impl Fn(&mut AnyConnection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.pool.with(work)
    }
}

/// Tells whether somebody else committed to the SQLite file.
pub struct DataVersion {
    connection: AnyConnection,
    path: PathBuf,
    /// The mark of the file that the connection was opened on.
    mark: String,
}

impl std::fmt::Debug for DataVersion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DataVersion")
    }
}

impl DataVersion {
    /// A number that is another one after a commit by any other connection, in whichever process.
    ///
    /// # Errors
    /// If the file cannot be read, or another one lies there now.
    pub fn read(&mut self) -> Result<i64, StoreError> {
        use diesel::RunQueryDsl;
        if identity::file_mark(&self.path)? != self.mark {
            return Err(StoreError::Disconnected(
                "another file lies there now".to_owned(),
            ));
        }
        let row: crate::rows::DataVersionRow =
            crate::rows::Fixed("PRAGMA data_version").get_result(&mut self.connection)?;
        Ok(row.data_version)
    }
}

fn settle(
    pool: &Pool,
    address: &DatabaseAddress,
    known: Option<&LogPosition>,
) -> Result<(LogPosition, Verdict), StoreError> {
    if address.path().is_some()
        && let Some(settled) =
            pool.with(|connection| identity::settled(connection, address, known))?
    {
        return Ok(settled);
    }
    pool.with_turn(|connection| identity::settle(connection, address, known))
}
