//! Writes that another transaction is in the way of: they are tried again later, behind others.
//!
//! One at a time, and not in every group: a group that has one may wait for its lock. Once one of
//! them gets through, whatever was in the way may be gone, and all are tried.

use std::{
    collections::{HashSet, VecDeque},
    time::{Duration, Instant},
};

use super::Job;
use crate::{StoreError, admin::WriteTarget};

/// Between two tries, in waits for a lock: at most a fifth of the writer's time is spent waiting.
const PAUSE_WAITS: u32 = 4;

/// The writes that are blocked, the next to try first.
pub(super) struct Blocked {
    jobs: VecDeque<(Job, StoreError)>,
    /// No write is tried before this.
    next_try: Instant,
    pause: Duration,
    /// The most writes that are kept; any other is answered at once.
    jobs_max: usize,
    /// How long a write is tried, from when it was queued.
    patience: Duration,
}

impl Blocked {
    pub(super) fn new(lock_wait: Duration, patience: Duration, jobs_max: usize) -> Self {
        Self {
            jobs: VecDeque::new(),
            next_try: Instant::now(),
            pause: lock_wait * PAUSE_WAITS,
            jobs_max,
            patience,
        }
    }

    /// Keeps a write for later, or answers it with the error if there is no later.
    pub(super) fn put(&mut self, job: Job, error: StoreError) {
        let now = Instant::now();
        if self.jobs.len() >= self.jobs_max || self.is_over(&job, now) {
            return answer(job, error);
        }
        if self.jobs.is_empty() {
            self.next_try = self.next_try.max(now + self.pause);
        }
        self.jobs.push_back((job, error));
    }

    /// Returns all of them, to be tried: what was in the way of one is gone.
    pub(super) fn free(&mut self) -> impl Iterator<Item = Job> {
        self.jobs.drain(..).map(|(job, _)| job)
    }

    /// Returns whether nothing is kept.
    pub(super) fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }

    /// Returns how long there is nothing to do for them; `most` at the most.
    pub(super) fn idle_time(&self, most: Duration) -> Duration {
        let Some(over) = self.jobs.iter().map(|(job, _)| job.queued_at).min() else {
            return most;
        };
        let due = self.next_try.min(over + self.patience);
        due.saturating_duration_since(Instant::now()).min(most)
    }

    /// Answers those whose time is over. Returns the next to try, if it is time for one that shares
    /// none of `targets`.
    pub(super) fn take_due(&mut self, targets: &HashSet<WriteTarget>) -> Option<Job> {
        let now = Instant::now();
        for _ in 0..self.jobs.len() {
            let (job, error) = self.jobs.pop_front()?;
            if self.is_over(&job, now) {
                answer(job, error);
            } else {
                self.jobs.push_back((job, error));
            }
        }
        if self.next_try > now {
            return None;
        }
        let at = self.jobs.iter().position(|(job, _)| {
            let target = job.write.target();
            target.is_none_or(|target| !targets.contains(&target))
        })?;
        self.next_try = now + self.pause;
        self.jobs.remove(at).map(|(job, _)| job)
    }

    fn is_over(&self, job: &Job, now: Instant) -> bool {
        job.queued_at + self.patience <= now
    }
}

fn answer(job: Job, error: StoreError) {
    // A request that has gone has no use for its answer.
    drop(job.answer.send(Err(error)));
}
