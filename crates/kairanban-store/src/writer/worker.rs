//! The thread that waits for the database, and what happens if it waits too long.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread,
    time::Instant,
};

use super::{Answer, Committed, Write, WriterConfig};
use crate::{
    Store, StoreError, WriterHealth,
    group_commit::{self, Limits, Outcome},
    pool::Session,
};

type OnCommit = Arc<dyn Fn(Committed) + Send + Sync>;

/// What a worker is given to do.
enum Task {
    /// To commit a group.
    Commit(Vec<Write>),
    /// To check whether writing works, by a transaction that changes nothing.
    Check,
    /// To look whether the session may write, which costs next to nothing.
    Look,
}

/// The worker at hand, and how others take its place.
pub(super) struct Workers {
    store: Store,
    config: WriterConfig,
    health: WriterHealth,
    on_commit: OnCommit,
    current: Option<Worker>,
    /// Shared by every worker that has not ended, abandoned or not.
    alive: Arc<()>,
}

struct Worker {
    tasks: SyncSender<Task>,
    outcomes: Receiver<Outcome>,
}

impl Workers {
    pub(super) fn new(store: Store, config: WriterConfig, health: WriterHealth, on_commit: OnCommit) -> Self {
        Self { store, config, health, on_commit, current: None, alive: Arc::new(()) }
    }

    /// Has writes committed. Returns an answer to each of them.
    pub(super) fn commit(&mut self, writes: Vec<Write>) -> Vec<Answer> {
        let count = writes.len();
        match self.run(Task::Commit(writes)) {
            Ok(Outcome { commits, answers }) => {
                answers.iter().filter_map(|answer| answer.as_ref().err()).for_each(|error| self.health.note(error));
                if !commits.is_empty() {
                    self.health.clear();
                }
                commits.into_iter().for_each(|committed| (self.on_commit)(committed));
                answers
            }
            Err(reason) => {
                tracing::warn!(reason, writes = count, "a group of writes was not committed in time");
                vec![Err(StoreError::Unavailable(reason)); count]
            }
        }
    }

    /// Finds out whether writing works, while there is nothing to write: nothing else would show it.
    pub(super) fn check(&mut self) {
        let is_faulty = self.health.is_faulty();
        if let Ok(outcome) = self.run(if is_faulty { Task::Check } else { Task::Look }) {
            match outcome.answers.into_iter().find_map(Result::err) {
                Some(error) => self.health.note(&error),
                None if is_faulty => self.health.clear(),
                None => {}
            }
        }
    }

    /// Gives a task to the worker. If the answer does not come in time, the worker is abandoned with its session; whether
    /// its writes were committed is unknown.
    fn run(&mut self, task: Task) -> Result<Outcome, String> {
        let worker = match self.current.take() {
            Some(worker) => worker,
            None => self.start().inspect_err(|reason| self.health.set(reason.clone()))?,
        };
        let ended = |_| "the worker of the writer ended".to_owned();
        worker.tasks.send(task).map_err(ended)?;
        match worker.outcomes.recv_timeout(self.config.group_wait) {
            Ok(outcome) => {
                self.current = Some(worker);
                Ok(outcome)
            }
            Err(RecvTimeoutError::Timeout) => {
                let reason = "a session of the database does not answer".to_owned();
                self.health.set(reason.clone());
                Err(reason)
            }
            Err(RecvTimeoutError::Disconnected) => Err("the worker of the writer ended".to_owned()),
        }
    }

    fn start(&self) -> Result<Worker, String> {
        // One for the handle that is kept here.
        if Arc::strong_count(&self.alive) - 1 > self.config.abandoned_max {
            return Err(
                "a session of the database does not answer, and no other may be opened (database.write_abandoned_max)".to_owned()
            );
        }
        let (tasks, queue) = sync_channel::<Task>(1);
        let (sender, outcomes) = sync_channel(1);
        let (session, config, on_commit, alive) =
            (self.store.pool.session(), self.config, Arc::clone(&self.on_commit), Arc::clone(&self.alive));
        let work = move || {
            serve(session, config, queue, |outcome| {
                // After it was abandoned: what was committed all the same is reported from here.
                let late = sender.send(outcome).err();
                late.into_iter().flat_map(|late| late.0.commits).for_each(|committed| on_commit(committed));
            });
            drop(alive);
        };
        let started = thread::Builder::new().name("writer-worker".to_owned()).spawn(work);
        started.map(|_| Worker { tasks, outcomes }).map_err(|error| format!("the system has no thread for the writer: {error}"))
    }
}

/// Works until there are no more tasks.
fn serve(mut session: Session, config: WriterConfig, tasks: Receiver<Task>, report: impl Fn(Outcome)) {
    for task in tasks {
        // Before the group is abandoned, so that its writes can be answered one by one.
        let (deadline, abandoned_at) = (Instant::now() + config.group_wait * 7 / 8, Instant::now() + config.group_wait);
        let limits = Limits { deadline, abandoned_at, tries_max: config.tries_max };
        let work = || match &task {
            Task::Commit(writes) => group_commit::commit(&mut session, writes, limits),
            Task::Check => group_commit::check(&mut session, limits),
            Task::Look => group_commit::look(&mut session),
        };
        // A panic must not end the thread, or no write would ever be committed again.
        let outcome = catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
            let panicked = StoreError::Internal("the writer panicked".to_owned());
            let count = if let Task::Commit(writes) = &task { writes.len() } else { 1 };
            Outcome { commits: Vec::new(), answers: vec![Err(panicked); count] }
        });
        report(outcome);
    }
}
