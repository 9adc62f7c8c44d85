//! The thread that commits, the one that watches it, and what happens if the database keeps the
//! first too long.
//!
//! The worker takes a group from the queue, commits it and answers. It lays the answers down in
//! [`InFlight`] while it waits for the database, so that the watcher can answer in its place: then
//! the worker is abandoned together with its connection, and another goes on with the queue. No
//! commit passes from one thread to another, which would cost as much as the commit.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, mpsc::RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use parking_lot::{Condvar, Mutex};
use tokio::sync::oneshot;

use super::{CHECK_INTERVAL, Group, Groups, Job, WriterConfig};
use crate::{
    Committed, Store, StoreError, WriterHealth,
    group_commit::{self, GroupBounds, GroupOutcome},
    pool::DedicatedConnection,
    write::WriteAnswer,
};

type OnCommit = Arc<dyn Fn(Committed) + Send + Sync>;
type Answers = Vec<oneshot::Sender<WriteAnswer>>;

/// Queued writes wait no longer than this for a worker, if none can be started.
const NO_WORKER_WAIT: Duration = Duration::from_millis(100);

/// What worker and watcher share. Cheap to clone.
#[derive(Clone)]
pub(super) struct Shared(Arc<Inner>);

struct Inner {
    store: Store,
    config: WriterConfig,
    health: WriterHealth,
    on_commit: OnCommit,
    /// Locked by the worker while it waits for a group.
    groups: Mutex<Groups>,
    in_flight: Mutex<InFlight>,
    /// Notified when the worker has ended.
    changed: Condvar,
}

/// What the worker is doing.
#[derive(Default)]
struct InFlight {
    /// The worker at hand; one with another number was abandoned.
    worker: u64,
    /// Since when it waits for the database, if it does.
    since: Option<Instant>,
    /// The requests that it owes an answer.
    answers: Answers,
    end: Option<End>,
}

/// How the worker ended.
#[derive(Clone, Copy)]
enum End {
    /// There are no more writes, and will be none.
    Finished,
    Panicked,
}

impl Shared {
    pub(super) fn new(
        store: Store,
        config: WriterConfig,
        health: WriterHealth,
        on_commit: OnCommit,
        groups: Groups,
    ) -> Self {
        let groups = Mutex::new(groups);
        Self(Arc::new(Inner {
            store,
            config,
            health,
            on_commit,
            groups,
            in_flight: Mutex::default(),
            changed: Condvar::new(),
        }))
    }

    /// Keeps a worker going until there are no more writes.
    ///
    /// # Panics
    /// If a worker panicked outside of its commit: what it had committed may not have been
    /// reported.
    pub(super) fn watch(&self) {
        // Shared by every worker that has not ended, abandoned or not.
        let alive = Arc::new(());
        loop {
            if let Err(reason) = self.start(&alive) {
                self.0.health.set(reason.clone());
                if self.refuse_next(&reason).is_err() {
                    return;
                }
                continue;
            }
            match self.wait() {
                None => {}
                Some(End::Finished) => return,
                Some(End::Panicked) => panic!("the worker of the writer panicked"),
            }
        }
    }

    /// Starts a worker that replaces the one at hand, if there is one.
    fn start(&self, alive: &Arc<()>) -> Result<(), String> {
        // One reference is that of the handle itself.
        if Arc::strong_count(alive) - 1 > self.0.config.abandoned_max {
            return Err(
                "a connection to the database does not answer, and no other may be opened \
                 (database.write_abandoned_max)"
                    .to_owned(),
            );
        }
        let (shared, alive) = (self.clone(), Arc::clone(alive));
        let number = self.0.in_flight.lock().worker;
        thread::Builder::new()
            .name("writer-worker".to_owned())
            .spawn(move || {
                let _report = ReportPanic(&shared);
                shared.serve(number, shared.0.store.pool.dedicated());
                drop(alive);
            })
            .map(drop)
            .map_err(|error| format!("the system has no thread for the writer: {error}"))
    }

    /// Refuses what is queued, because there is no worker.
    fn refuse_next(&self, reason: &str) -> Result<(), RecvTimeoutError> {
        let next = self.0.groups.lock().next(NO_WORKER_WAIT);
        match next {
            Ok(group) => refuse(group.jobs.into_iter().map(|job| job.answer), reason),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Err(RecvTimeoutError::Disconnected),
        }
        Ok(())
    }

    /// Waits until the worker has ended, or is abandoned: then `None`.
    fn wait(&self) -> Option<End> {
        let mut in_flight = self.0.in_flight.lock();
        loop {
            if let Some(end) = in_flight.end {
                return Some(end);
            }
            let group_wait = self.0.config.group_wait;
            match in_flight.since.map(|since| since + group_wait) {
                Some(due) if due <= Instant::now() => break,
                Some(due) => drop(self.0.changed.wait_until(&mut in_flight, due)),
                // What begins meanwhile is not late before the next round.
                None => drop(self.0.changed.wait_for(&mut in_flight, group_wait / 4)),
            }
        }
        in_flight.worker += 1;
        in_flight.since = None;
        let answers = std::mem::take(&mut in_flight.answers);
        drop(in_flight);
        let reason = "a connection to the database does not answer";
        self.0.health.set(reason.to_owned());
        tracing::warn!(
            reason,
            writes = answers.len(),
            "a group of writes was not committed in time"
        );
        refuse(answers.into_iter(), reason);
        None
    }

    /// Commits groups until there are no more, or this worker is abandoned.
    fn serve(&self, number: u64, mut dedicated: DedicatedConnection) {
        let mut checked_at = Instant::now();
        loop {
            // Else only idle writers check, and other kinds of writes may go on all the time.
            if checked_at.elapsed() >= CHECK_INTERVAL && self.0.health.is_of_check() {
                checked_at = Instant::now();
                if !self.check(number, &mut dedicated) {
                    return;
                }
            }
            let next = self.0.groups.lock().next(CHECK_INTERVAL);
            let Group { jobs, has_retry } = match next {
                Ok(group) => group,
                Err(RecvTimeoutError::Timeout) => {
                    if !self.check(number, &mut dedicated) {
                        return;
                    }
                    continue;
                }
                Err(RecvTimeoutError::Disconnected) => return self.end(End::Finished),
            };
            let parts = jobs
                .into_iter()
                .map(|job| ((job.write, job.queued_at), job.answer));
            let (wanted, answers): (Vec<_>, Answers) = parts.unzip();
            let (writes, queued_at): (Vec<_>, Vec<_>) = wanted.into_iter().unzip();
            let outcome = self.run(
                number,
                answers,
                |bounds| group_commit::commit(&mut dedicated, &writes, has_retry, bounds),
                writes.len(),
            );
            match outcome {
                Ok((outcome, answers)) => {
                    let jobs = writes.into_iter().zip(queued_at).zip(answers);
                    let jobs = jobs.map(|((write, queued_at), answer)| Job {
                        write,
                        answer,
                        queued_at,
                    });
                    self.report(outcome, jobs.collect(), has_retry);
                }
                // After it was abandoned: what was committed all the same is reported, and nothing
                // else.
                Err(late) => {
                    return late
                        .commits
                        .into_iter()
                        .for_each(|committed| (self.0.on_commit)(committed));
                }
            }
        }
    }

    /// Finds out whether writing works, while there is nothing to write: nothing else would show
    /// it. False if this worker was abandoned meanwhile.
    fn check(&self, number: u64, dedicated: &mut DedicatedConnection) -> bool {
        let is_faulty = self.0.store.pool.take_write_failure() || self.0.health.is_faulty();
        let check = |bounds| {
            if is_faulty {
                group_commit::check(dedicated, bounds)
            } else {
                group_commit::check_dedicated(dedicated)
            }
        };
        let Ok((outcome, _)) = self.run(number, Vec::new(), check, 1) else {
            return false;
        };
        match outcome.fault {
            Some(error) => self.0.health.record(&error),
            None => self.0.health.clear(),
        }
        true
    }

    /// Works on the database, with the answers laid down where the watcher finds them. The outcome
    /// alone if it came so late that the watcher has answered.
    fn run(
        &self,
        number: u64,
        answers: Answers,
        work: impl FnOnce(GroupBounds) -> GroupOutcome,
        writes: usize,
    ) -> Result<(GroupOutcome, Answers), GroupOutcome> {
        let (now, config) = (Instant::now(), self.0.config);
        {
            let mut in_flight = self.0.in_flight.lock();
            (in_flight.since, in_flight.answers) = (Some(now), answers);
        }
        // Before the group is abandoned, so that its writes can be answered one by one.
        let (deadline, abandoned_at) = (now + config.patience(), now + config.group_wait);
        let bounds = GroupBounds {
            deadline,
            abandoned_at,
            tries_max: config.tries_max,
            lock_wait: config.lock_wait,
        };
        // A panic must not end the thread, or no write would ever be committed again.
        let outcome = catch_unwind(AssertUnwindSafe(|| work(bounds))).unwrap_or_else(|_| {
            let panicked = StoreError::Internal("the writer panicked".to_owned());
            GroupOutcome {
                commits: Vec::new(),
                answers: vec![Err(panicked.clone()); writes],
                fault: Some(panicked),
            }
        });
        let mut in_flight = self.0.in_flight.lock();
        if in_flight.worker != number {
            return Err(outcome);
        }
        in_flight.since = None;
        Ok((outcome, std::mem::take(&mut in_flight.answers)))
    }

    /// Reports the outcome of a group, and keeps those for later that were blocked.
    fn report(&self, outcome: GroupOutcome, jobs: Vec<Job>, has_retry: bool) {
        let GroupOutcome {
            commits,
            answers,
            fault,
        } = outcome;
        for (job, answer) in jobs.iter().zip(&answers) {
            match answer {
                Ok(_) => self.0.health.record_success(job.write.kind()),
                Err(error) if fault.is_none() => {
                    self.0.health.record_write(job.write.kind(), error);
                }
                Err(_) => {}
            }
        }
        if !commits.is_empty() {
            self.0.health.record_commit();
        }
        if let Some(fault) = fault {
            self.0.health.record(&fault);
        }
        commits
            .into_iter()
            .for_each(|committed| (self.0.on_commit)(committed));
        if has_retry && !answers.last().is_some_and(is_blocked) {
            let mut groups = self.0.groups.lock();
            let freed: Vec<_> = groups.blocked.free().collect();
            groups.held.extend(freed);
        }
        for (job, answer) in jobs.into_iter().zip(answers) {
            match answer {
                Err(error) if error.is_locked() => self.0.groups.lock().blocked.put(job, error),
                // A request that has gone has no use for its answer.
                answer => drop(job.answer.send(answer)),
            }
        }
    }

    fn end(&self, end: End) {
        self.0.in_flight.lock().end = Some(end);
        self.0.changed.notify_all();
    }
}

fn is_blocked(answer: &WriteAnswer) -> bool {
    answer.as_ref().is_err_and(StoreError::is_locked)
}

/// Reports to the watcher that its worker panicked.
struct ReportPanic<'a>(&'a Shared);

impl Drop for ReportPanic<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.end(End::Panicked);
        }
    }
}

fn refuse(answers: impl Iterator<Item = oneshot::Sender<WriteAnswer>>, reason: &str) {
    answers.for_each(|answer| drop(answer.send(Err(StoreError::Unavailable(reason.to_owned())))));
}
