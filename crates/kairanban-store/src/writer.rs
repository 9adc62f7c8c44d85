//! Group commit: one thread takes the writes that are queued and has them committed together (see `group_commit`).
//!
//! A commit waits for the disk once, however many writes it carries, so under load the board takes
//! as many posts as fit in a transaction rather than as many as the disk has turns. The thread reports the
//! commit itself, before anybody is answered: the request that asked for a write may be gone by then.
//!
//! A second thread watches it: if the database does not answer in time, the writes are answered all the same, and another
//! thread with another session goes on with the queue.

mod worker;

use std::{
    collections::{HashSet, VecDeque},
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread,
    time::Duration,
};

use kairanban_core::{
    Actor, Board, BoardId, BoardName, IdempotencyKey, LogRow, NewTopic, Revision, Scope, Token,
    Topic, TopicId,
};
use tokio::sync::oneshot;

use self::worker::Shared;
use crate::{Deed, RowBefore, Store, StoreError, WriterHealth, repository::Creation};

/// What to write.
#[derive(Clone, Debug)]
pub enum Write {
    /// A new topic on a board that exists.
    CreateTopic {
        /// The board.
        board: BoardName,
        /// The topic.
        topic: NewTopic,
        /// What the client calls the request; the same key leads to the same topic.
        key: Option<IdempotencyKey>,
        /// What the client's token allows on this board, if it showed one.
        right: Option<Scope>,
    },
    /// What an administrator does.
    Administer {
        /// Who.
        actor: Actor,
        /// What.
        deed: Deed,
    },
}

/// What was written, as committed.
#[derive(Clone, Debug)]
pub enum Written {
    /// The board as it stands.
    Board(Board),
    /// The topic as it stands.
    Topic(Topic),
    /// The token, but for itself.
    Token(Token),
    /// Gone.
    Deleted,
}

/// Tells of a commit.
#[derive(Clone, Debug)]
pub struct Committed {
    /// The newest revision that its writers are told of.
    pub revision: Revision,
    /// The last row of the log that has this revision, if it is this commit's.
    pub last: Option<LogRow>,
    /// The row of the log before those of this commit.
    pub before: Option<RowBefore>,
    /// The new topics that were all it did, if so: whoever has followed all revisions before this one need not read them.
    pub created: Option<Vec<CreatedTopic>>,
}

/// A topic that a commit created.
#[derive(Clone, Debug)]
pub struct CreatedTopic {
    /// What its board was called when it was looked for.
    pub board: BoardName,
    /// The board's key.
    pub board_id: BoardId,
    /// The topic, as committed.
    pub topic: Topic,
}

/// Bounds of the writer.
#[derive(Clone, Copy, Debug)]
pub struct WriterConfig {
    /// Writes that may wait; one more is refused.
    pub queue_max: usize,
    /// Writes in one transaction.
    pub group_max: usize,
    /// The longest that a group may take; a session that answers later is abandoned.
    pub group_wait: Duration,
    /// How often a write is tried that others are in the way of.
    pub tries_max: usize,
    /// Sessions that may be abandoned at once.
    pub abandoned_max: usize,
}

pub(crate) type Answer = Result<Written, StoreError>;

/// Between two checks whether writing works, while nothing is written.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

struct Job {
    write: Write,
    answer: oneshot::Sender<Answer>,
}

/// A handle to the writing thread. The thread ends, with its queue written, when the last is dropped.
#[derive(Clone, Debug)]
pub struct Writer {
    queue: SyncSender<Job>,
    health: WriterHealth,
}

impl Writer {
    /// Starts the thread. `on_commit` is called after each commit, before the answers.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub fn start(
        store: Store,
        config: WriterConfig,
        on_commit: impl Fn(Committed) + Send + Sync + 'static,
    ) -> std::io::Result<(Self, thread::JoinHandle<()>)> {
        let (queue, jobs) = sync_channel(config.queue_max);
        let health = WriterHealth::default();
        let groups = Groups {
            jobs,
            held: VecDeque::new(),
            group_max: config.group_max,
        };
        let shared = Shared::new(store, config, health.clone(), Arc::new(on_commit), groups);
        let work = move || shared.watch();
        let thread = thread::Builder::new()
            .name("writer".to_owned())
            .spawn(work)?;
        Ok((Self { queue, health }, thread))
    }

    /// What keeps writes from the database, for `/readyz`.
    #[must_use]
    pub const fn health(&self) -> &WriterHealth {
        &self.health
    }

    /// Queues a write and waits until it is committed. Dropping the future does not undo it.
    ///
    /// # Errors
    /// If the write is refused, or the database or the queue has no room for it.
    pub async fn write(&self, write: Write) -> Answer {
        let (answer, answered) = oneshot::channel();
        let full = |_| StoreError::Unavailable("too many writes are waiting".to_owned());
        self.queue.try_send(Job { write, answer }).map_err(full)?;
        answered
            .await
            .unwrap_or_else(|_| Err(StoreError::Unavailable("the writer stopped".to_owned())))
    }
}

/// What is queued, in groups that one transaction can carry: at most one write per topic and per
/// idempotency key, so that each write's answer is that write's.
struct Groups {
    jobs: Receiver<Job>,
    held: VecDeque<Job>,
    group_max: usize,
}

impl Groups {
    /// Waits for the next group, at most for `patience`.
    fn next(&mut self, patience: Duration) -> Result<Vec<Job>, RecvTimeoutError> {
        let first = self
            .held
            .pop_front()
            .map_or_else(|| self.jobs.recv_timeout(patience), Ok)?;
        let mut touched: HashSet<_> = first.write.touches().into_iter().collect();
        let mut group = vec![first];
        while group.len() < self.group_max {
            let Some(job) = self.held.pop_front().or_else(|| self.jobs.try_recv().ok()) else {
                break;
            };
            if job
                .write
                .touches()
                .is_some_and(|this| !touched.insert(this))
            {
                self.held.push_front(job);
                break;
            }
            group.push(job);
        }
        // In the order of their keys, as every node does it: they would deadlock otherwise.
        group.sort_by_key(|job| job.write.touches());
        Ok(group)
    }
}

/// What no other write of the same transaction may touch.
#[derive(PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Touched {
    Board(BoardName),
    Topic(TopicId),
    Key(BoardName, IdempotencyKey),
}

impl Write {
    fn touches(&self) -> Option<Touched> {
        match self {
            Self::CreateTopic { board, key, .. } => {
                key.clone().map(|key| Touched::Key(board.clone(), key))
            }
            Self::Administer { deed, .. } => match deed {
                Deed::UpdateTopic { id, .. }
                | Deed::DeleteTopic { id, .. }
                | Deed::RestoreTopic { id, .. } => Some(Touched::Topic(*id)),
                Deed::CreateBoard { board, .. }
                | Deed::UpdateBoard { board, .. }
                | Deed::DeleteBoard { board } => Some(Touched::Board(board.clone())),
                Deed::CreateToken { .. } | Deed::RevokeToken { .. } => None,
            },
        }
    }

    /// Whether a constraint may refuse it because somebody else was quicker: took the key or the
    /// name, or deleted the board. Done again, it finds what they did.
    pub(crate) const fn may_be_late(&self) -> bool {
        use Deed::{CreateBoard, CreateToken, RestoreTopic};
        let deed = match self {
            Self::CreateTopic { .. } => return true,
            Self::Administer { deed, .. } => deed,
        };
        matches!(
            deed,
            CreateBoard { .. } | CreateToken { .. } | RestoreTopic { .. }
        )
    }

    /// Whether it changes what readers see whenever it is done.
    pub(crate) const fn always_changes(&self) -> bool {
        let Self::Administer { deed, .. } = self else {
            return false;
        };
        !matches!(deed, Deed::UpdateTopic { .. } | Deed::UpdateBoard { .. })
    }

    /// What it creates, if that is what it does.
    pub(crate) const fn creation(&self) -> Option<Creation<'_>> {
        match self {
            Self::CreateTopic {
                board,
                topic,
                key,
                right,
            } => Some(Creation {
                board,
                topic,
                key: key.as_ref(),
                right: *right,
            }),
            Self::Administer { .. } => None,
        }
    }
}
