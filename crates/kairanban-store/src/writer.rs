//! Group commit: one thread takes the writes that are queued and has them committed together (see
//! `group_commit`).
//!
//! A commit waits for the disk once, however many writes it carries, so under load the board takes
//! as many posts as fit in a transaction rather than one per flush of the disk. The thread reports
//! the commit itself, before it answers: the request that asked for a write may be gone by then.
//!
//! A second thread watches it: if the database does not answer in time, the writes are answered all
//! the same, and another thread with another connection goes on with the queue.

mod blocked;
mod worker;

use std::{
    collections::{HashSet, VecDeque},
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use tokio::sync::oneshot;

use self::{blocked::Blocked, worker::Shared};
use crate::{
    Committed, Store, StoreError, Write, WriterHealth, error::FaultKind, write::WriteAnswer,
};

/// Bounds of the writer.
#[derive(Clone, Copy, Debug)]
pub struct WriterConfig {
    /// Writes that may wait; one more is refused.
    pub queue_max: usize,
    /// Writes in one transaction.
    pub group_max: usize,
    /// The longest that a group may take; a connection that answers later is abandoned.
    pub group_wait: Duration,
    /// How often a write is tried that others are in the way of.
    pub tries_max: usize,
    /// Connections that may be abandoned at once.
    pub abandoned_max: usize,
    /// How long a group waits for a lock that another transaction holds. Postgres only.
    pub lock_wait: Duration,
}

impl WriterConfig {
    /// Returns how long a write is tried: before its group is abandoned, so that it can be answered
    /// by what was in its way.
    pub(crate) fn patience(&self) -> Duration {
        self.group_wait * 7 / 8
    }
}

/// Between two checks whether writing works, while nothing is written.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

struct Job {
    write: Write,
    answer: oneshot::Sender<WriteAnswer>,
    queued_at: Instant,
}

/// A handle to the writing thread. The thread ends, with its queue written, when the last is
/// dropped.
#[derive(Clone, Debug)]
pub struct Writer {
    queue: SyncSender<Job>,
    health: WriterHealth,
}

impl Writer {
    /// Starts the thread. `on_commit` is called after each commit, before the answers.
    ///
    /// # Errors
    /// If the system has no thread.
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
            blocked: Blocked::new(config.lock_wait, config.patience(), config.queue_max),
            group_max: config.group_max,
        };
        let shared = Shared::new(store, config, health.clone(), Arc::new(on_commit), groups);
        let thread = thread::Builder::new()
            .name("writer".to_owned())
            .spawn(move || shared.watch())?;
        Ok((Self { queue, health }, thread))
    }

    /// Returns what keeps writes from the database, for `/readyz`.
    #[must_use]
    pub const fn health(&self) -> &WriterHealth {
        &self.health
    }

    /// Queues a write and waits until it is committed: as long as the writer takes, which answers
    /// each write in the end. Not cancel safe: a write whose future is dropped is committed all the
    /// same, or not.
    ///
    /// # Errors
    /// If the write is refused, or the database or the queue has no room for it.
    pub async fn write(&self, write: Write) -> WriteAnswer {
        let (answer, answered) = oneshot::channel();
        let job = Job {
            write,
            answer,
            queued_at: Instant::now(),
        };
        self.queue
            .try_send(job)
            .map_err(|_| StoreError::fault(FaultKind::Busy, "too many writes are waiting"))?;
        answered
            .await
            .unwrap_or_else(|_| Err(StoreError::Unavailable("the writer stopped".to_owned())))
    }
}

/// Writes that one transaction carries.
struct Group {
    jobs: Vec<Job>,
    /// Whether the last of them was blocked before.
    has_retry: bool,
}

/// What is queued, in groups that one transaction can carry: at most one write per topic and per
/// idempotency key, so that each write's answer is that write's.
struct Groups {
    jobs: Receiver<Job>,
    held: VecDeque<Job>,
    blocked: Blocked,
    group_max: usize,
}

impl Groups {
    /// Waits for the next group, at most for `patience`.
    fn next(&mut self, patience: Duration) -> Result<Group, RecvTimeoutError> {
        let first = match self.held.pop_front() {
            Some(job) => Ok(job),
            None => self.receive(self.blocked.idle_time(patience)),
        };
        let (mut jobs, nothing) = match first {
            Ok(job) => (vec![job], None),
            Err(error) => (Vec::new(), Some(error)),
        };
        let mut targets: HashSet<_> = jobs.iter().filter_map(|job| job.write.target()).collect();
        while !jobs.is_empty() && jobs.len() < self.group_max {
            let Some(job) = self.held.pop_front().or_else(|| self.jobs.try_recv().ok()) else {
                break;
            };
            if job.write.target().is_some_and(|this| !targets.insert(this)) {
                self.held.push_front(job);
                break;
            }
            jobs.push(job);
        }
        // In the order of their keys, as every node does it: they would deadlock otherwise.
        jobs.sort_by_key(|job| job.write.target());
        let retry = self.blocked.take_due(&targets);
        let has_retry = retry.is_some();
        jobs.extend(retry);
        match nothing {
            Some(error) if jobs.is_empty() => Err(error),
            _ => Ok(Group { jobs, has_retry }),
        }
    }

    /// Waits for a write that was not tried yet.
    fn receive(&self, patience: Duration) -> Result<Job, RecvTimeoutError> {
        match self.jobs.recv_timeout(patience) {
            // There will be no others, but those that are blocked are answered first.
            Err(RecvTimeoutError::Disconnected) if !self.blocked.is_empty() => {
                thread::park_timeout(patience);
                Err(RecvTimeoutError::Timeout)
            }
            received => received,
        }
    }
}
