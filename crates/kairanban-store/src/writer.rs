//! Group commit: one thread takes the writes that are queued and commits them as one transaction.
//!
//! A commit waits for the disk once, however many writes it carries, so under load the board takes
//! as many posts as fit in a transaction rather than as many as the disk has turns. Each write has
//! its own savepoint: a bad one fails alone. The thread tells of the commit itself, before anybody
//! is answered: the request that asked for a write may be gone by then.

use std::{
    collections::{HashSet, VecDeque},
    panic::{AssertUnwindSafe, catch_unwind},
    thread,
};

use diesel::Connection as _;
use kairanban_core::{
    Actor, Board, BoardId, BoardName, IdempotencyKey, LogRow, NewTopic, Revision, Scope, Token, Topic, TopicId,
};
use tokio::sync::{mpsc, oneshot};

use crate::{
    Deed, Store, StoreError,
    change_log::{self, Stamped},
    connection::AnyConnection,
    deed::Done,
    repository::{self, Creation},
    tokens,
};

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
}

type Answer = Result<Written, StoreError>;

struct Job {
    write: Write,
    answer: oneshot::Sender<Answer>,
}

/// A handle to the writing thread. The thread ends, with its queue written, when the last is dropped.
#[derive(Clone, Debug)]
pub struct Writer {
    queue: mpsc::Sender<Job>,
}

impl Writer {
    /// Starts the thread. `on_commit` is called on it after each commit, before the answers.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub fn start(
        store: Store,
        config: WriterConfig,
        on_commit: impl Fn(Committed) + Send + 'static,
    ) -> std::io::Result<(Self, thread::JoinHandle<()>)> {
        let (queue, jobs) = mpsc::channel(config.queue_max);
        let work = move || {
            Groups { jobs, held: VecDeque::new(), group_max: config.group_max }
                .for_each(|group| commit(&store, group, &on_commit))
        };
        let thread = thread::Builder::new().name("writer".to_owned()).spawn(work)?;
        Ok((Self { queue }, thread))
    }

    /// Queues a write and waits until it is committed. Dropping the future does not undo it.
    ///
    /// # Errors
    /// If the write is refused, or the database or the queue has no room for it.
    pub async fn write(&self, write: Write) -> Answer {
        let (answer, answered) = oneshot::channel();
        let full = |_| StoreError::Unavailable("too many writes are waiting".to_owned());
        self.queue.try_send(Job { write, answer }).map_err(full)?;
        answered.await.unwrap_or_else(|_| Err(StoreError::Unavailable("the writer stopped".to_owned())))
    }
}

/// What is queued, in groups that one transaction can carry: at most one write per topic and per
/// idempotency key, so that each write's answer is that write's.
struct Groups {
    jobs: mpsc::Receiver<Job>,
    held: VecDeque<Job>,
    group_max: usize,
}

impl Iterator for Groups {
    type Item = Vec<Job>;

    fn next(&mut self) -> Option<Vec<Job>> {
        let first = self.held.pop_front().or_else(|| self.jobs.blocking_recv())?;
        let mut touched: HashSet<_> = first.write.touches().into_iter().collect();
        let mut group = vec![first];
        while group.len() < self.group_max {
            let Some(job) = self.held.pop_front().or_else(|| self.jobs.try_recv().ok()) else { break };
            if job.write.touches().is_some_and(|this| !touched.insert(this)) {
                self.held.push_front(job);
                break;
            }
            group.push(job);
        }
        // In the order of their keys, as every node does it: they would deadlock otherwise.
        group.sort_by_key(|job| job.write.touches());
        Some(group)
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
            Self::CreateTopic { board, key, .. } => key.clone().map(|key| Touched::Key(board.clone(), key)),
            Self::Administer { deed, .. } => match deed {
                Deed::UpdateTopic { id, .. } | Deed::DeleteTopic { id, .. } | Deed::RestoreTopic { id, .. } => {
                    Some(Touched::Topic(*id))
                }
                Deed::CreateBoard { board, .. } | Deed::UpdateBoard { board, .. } | Deed::DeleteBoard { board } => {
                    Some(Touched::Board(board.clone()))
                }
                Deed::CreateToken { .. } | Deed::RevokeToken { .. } => None,
            },
        }
    }

    /// Whether a constraint may refuse it because somebody else was quicker: took the key or the
    /// name, or deleted the board. Done again, it finds what they did.
    const fn may_be_late(&self) -> bool {
        use Deed::{CreateBoard, CreateToken, RestoreTopic};
        let deed = match self {
            Self::CreateTopic { .. } => return true,
            Self::Administer { deed, .. } => deed,
        };
        matches!(deed, CreateBoard { .. } | CreateToken { .. } | RestoreTopic { .. })
    }

    fn run(&self, connection: &mut AnyConnection) -> Result<Done, StoreError> {
        match (self, self.creation()) {
            (Self::Administer { actor, deed }, _) => deed.run(connection, actor),
            (_, creation) => {
                let created = repository::create_topics(connection, creation.as_slice())?.pop();
                created.unwrap_or(Err(StoreError::Internal("nothing came of a write".to_owned()))).map(Done::Topic)
            }
        }
    }

    /// What it creates, if that is what it does.
    const fn creation(&self) -> Option<Creation<'_>> {
        match self {
            Self::CreateTopic { board, topic, key, right } => Some(Creation { board, topic, key: key.as_ref(), right: *right }),
            Self::Administer { .. } => None,
        }
    }
}

fn commit(store: &Store, group: Vec<Job>, on_commit: &impl Fn(Committed)) {
    let writes: Vec<_> = group.iter().map(|job| &job.write).collect();
    // A panic must not end the thread, or no write would ever be committed again.
    let done = catch_unwind(AssertUnwindSafe(|| commit_writes(store, &writes)))
        .unwrap_or_else(|_| Err(StoreError::Internal("the writer panicked".to_owned())));
    match done {
        Ok((committed, answers)) => {
            if let Some(committed) = committed {
                on_commit(committed);
            }
            // Whoever does not wait for the answer any more has no use for it.
            group.into_iter().zip(answers).for_each(|(job, answer)| drop(job.answer.send(answer)));
        }
        Err(error) => {
            tracing::warn!(%error, writes = group.len(), "a group of writes was not committed");
            let text = error.to_string();
            group.into_iter().for_each(|job| drop(job.answer.send(Err(StoreError::Unavailable(text.clone())))));
        }
    }
}

type Outcome = Result<Done, StoreError>;

fn commit_writes(store: &Store, writes: &[&Write]) -> Result<(Option<Committed>, Vec<Answer>), StoreError> {
    let run_all = |connection: &mut AnyConnection| run_all(connection, writes);
    let read_back = |connection: &mut AnyConnection, outcomes: Vec<Outcome>| {
        let topic_id = |outcome: &Outcome| if let Ok(Done::Topic(id)) = outcome { Some(*id) } else { None };
        let topics = repository::topics_by_id(connection, &outcomes.iter().filter_map(topic_id).collect::<Vec<_>>())?;
        // A repeated request changes nothing, but what it is answered must not be newer than what is shown here.
        let newest = topics.iter().map(|(_, topic)| topic.revision).max();
        let stamped = change_log::stamped(connection)?;
        let created = stamped.as_ref().and_then(|stamped| created(writes, &outcomes, &topics, stamped));
        let answers = outcomes.into_iter().map(|outcome| answer(connection, outcome, &topics)).collect();
        let revision = stamped.as_ref().map(|stamped| stamped.revision).max(newest);
        let last = stamped.and_then(|stamped| stamped.last).filter(|last| Some(last.revision) == revision);
        Ok((revision.map(|revision| Committed { revision, last, created }), answers))
    };
    store.pool.write(run_all, read_back)
}

/// The topics that a group created, if that is all that happened: none of its writes was anything else, and no trigger of
/// somebody else's did more.
fn created(writes: &[&Write], outcomes: &[Outcome], topics: &[(BoardId, Topic)], stamped: &Stamped) -> Option<Vec<CreatedTopic>> {
    let mut created = Vec::new();
    for (write, outcome) in writes.iter().zip(outcomes) {
        let creation = write.creation()?;
        let Ok(Done::Topic(id)) = outcome else { continue };
        // One that an earlier request had led to is older.
        let found = topics.iter().find(|(_, topic)| topic.id == *id && topic.revision == stamped.revision);
        let created_topic = |(board_id, topic): &(BoardId, Topic)| CreatedTopic {
            board: creation.board.clone(),
            board_id: *board_id,
            topic: topic.clone(),
        };
        created.extend(found.map(created_topic));
    }
    (created.len() == stamped.changes).then_some(created)
}

/// Runs a group: new topics together, if that goes well; everything else, and what does not, each alone.
fn run_all(connection: &mut AnyConnection, writes: &[&Write]) -> Result<Vec<Outcome>, StoreError> {
    let creations: Vec<_> = writes.iter().filter_map(|write| write.creation()).collect();
    let mut created = match creations.len() {
        // A single one has its savepoint anyway.
        0 | 1 => Vec::new(),
        _ => together(connection, &creations)?.unwrap_or_default(),
    }
    .into_iter();
    let outcome = |write: &&Write| match write.creation().and_then(|_| created.next()) {
        Some(created) => Ok(created.map(Done::Topic)),
        None => alone(connection, write),
    };
    writes.iter().map(outcome).collect()
}

/// Creates topics together under a savepoint. `None` if one of them spoilt it for all: each has to be tried alone.
fn together(
    connection: &mut AnyConnection,
    creations: &[Creation<'_>],
) -> Result<Option<Vec<Result<TopicId, StoreError>>>, StoreError> {
    match connection.transaction(|connection| repository::create_topics(connection, creations)) {
        Err(error) if error.taints() => Err(error),
        Err(error) => {
            tracing::debug!(%error, "topics could not be written together");
            Ok(None)
        }
        Ok(created) => Ok(Some(created)),
    }
}

/// Runs one write under a savepoint. What is wrong with the write is its own outcome; what is
/// wrong with the database ends the group.
fn alone(connection: &mut AnyConnection, write: &Write) -> Result<Outcome, StoreError> {
    let mut run = || connection.transaction(|connection| write.run(connection));
    let outcome = match run() {
        // Somebody else was quicker, and now what they did is there.
        Err(StoreError::Refused(_)) if write.may_be_late() => run(),
        outcome => outcome,
    };
    match outcome {
        Err(error) if error.taints() => Err(error),
        outcome => Ok(outcome),
    }
}

fn answer(connection: &mut AnyConnection, outcome: Outcome, topics: &[(BoardId, Topic)]) -> Answer {
    match outcome? {
        Done::Gone => Ok(Written::Deleted),
        Done::Board(name) => repository::board_info(connection, &name).map(Written::Board),
        Done::Token(id) => {
            let token = tokens::by_id(connection, &[id])?.pop();
            token.map(|found| Written::Token(found.token)).ok_or(StoreError::NoSuchToken(id))
        }
        Done::Topic(id) => {
            let found = topics.iter().find(|(_, topic)| topic.id == id);
            found.map(|(_, topic)| Written::Topic(topic.clone())).ok_or(StoreError::NoSuchTopic(id))
        }
    }
}
