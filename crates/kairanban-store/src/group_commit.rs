//! Commits a group of writes: as one transaction if that works, otherwise each write as one of its
//! own.
//!
//! Whatever is wrong with one write costs the others nothing but time. Within the common
//! transaction a row that the database refuses is left out. What fails later (a deferred trigger,
//! at the commit) or aborts the transaction for all is found by committing one by one. That is safe
//! as long as the database answered: then nothing of the group was committed.
//!
//! A lock that another transaction holds is waited for once in a group, and shortly; writes that
//! need one after that do not wait. The writer tries those again later (see `writer/blocked.rs`).

mod one_by_one;
mod read_back;

use std::time::{Duration, Instant};

use diesel::Connection as _;

use self::{one_by_one::one_by_one, read_back::read_back};
use crate::{
    Creation, StoreError,
    admin::WriteEffect,
    connection::{AnyConnection, WaitLimits},
    error::Refusal,
    pool::DedicatedConnection,
    repository::{self, Created},
    tx::WriteTx,
    write::{Committed, Write, WriteAnswer},
};

/// A group whose topics take longer than this has a slow one among them; it is more than any key is
/// waited for.
const SLOW: Duration = Duration::from_millis(500);

/// How long and how often a group is tried.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GroupBounds {
    /// No try begins after this.
    pub(crate) deadline: Instant,
    /// When the watcher answers in place of the worker: nothing is committed after this.
    pub(crate) abandoned_at: Instant,
    pub(crate) tries_max: usize,
    /// How long a lock is waited for that another transaction holds.
    pub(crate) lock_wait: Duration,
}

impl GroupBounds {
    /// Returns the bounds that are left once a lock was waited for.
    const fn without_lock_wait(self) -> Self {
        Self {
            lock_wait: Duration::ZERO,
            ..self
        }
    }

    const fn wait_limits(&self, statement: Duration) -> WaitLimits {
        WaitLimits {
            statement,
            lock: self.lock_wait,
        }
    }

    fn ensure_not_abandoned(&self) -> Result<(), StoreError> {
        if Instant::now() > self.abandoned_at {
            return Err(StoreError::Unavailable(
                "the write took too long".to_owned(),
            ));
        }
        Ok(())
    }
}

/// The outcome of a group.
#[derive(Debug)]
pub(crate) struct GroupOutcome {
    pub(crate) commits: Vec<Committed>,
    /// One for each write.
    pub(crate) answers: Vec<WriteAnswer>,
    /// What keeps all writes from the database, if a check has found something.
    pub(crate) fault: Option<StoreError>,
}

impl GroupOutcome {
    /// Creates the outcome of a check.
    fn of_check(checked: Result<(), StoreError>) -> Self {
        Self {
            commits: Vec::new(),
            answers: Vec::new(),
            fault: checked.err(),
        }
    }
}

/// Commits a group of writes. Returns an answer for each. If `has_retry`, another transaction was
/// in the way of the last one before, and may be still.
pub(crate) fn commit(
    dedicated: &mut DedicatedConnection,
    writes: &[Write],
    has_retry: bool,
    bounds: GroupBounds,
) -> GroupOutcome {
    let all: Vec<_> = writes.iter().collect();
    let left = bounds.deadline.saturating_duration_since(Instant::now());
    let wait_limits = if dedicated.has_one_writer() {
        // If the group does not get its turn, neither would each write by itself.
        left
    } else {
        // The other half is for each by itself.
        left / 2
    };
    match commit_writes(
        dedicated,
        &all,
        wait_limits,
        bounds,
        |connection, writes| run_all(connection, writes, has_retry),
    ) {
        Ok((committed, answers)) => GroupOutcome {
            commits: committed.into_iter().collect(),
            answers,
            fault: None,
        },
        Err(StoreError::Unavailable(text)) => {
            tracing::warn!(
                text,
                writes = writes.len(),
                "a group of writes was not committed"
            );
            GroupOutcome {
                commits: Vec::new(),
                answers: vec![Err(StoreError::Unavailable(text)); writes.len()],
                fault: None,
            }
        }
        Err(error) => {
            tracing::debug!(%error, writes = writes.len(), "a group of writes is committed one by \
                one");
            let bounds = if error.is_locked() {
                bounds.without_lock_wait()
            } else {
                bounds
            };
            one_by_one(dedicated, &all, bounds)
        }
    }
}

/// Checks whether writing works, by a transaction that changes nothing.
pub(crate) fn check(dedicated: &mut DedicatedConnection, bounds: GroupBounds) -> GroupOutcome {
    let wait_limits = bounds.deadline.saturating_duration_since(Instant::now());
    match check_within(dedicated, bounds.wait_limits(wait_limits)) {
        // That one table is locked says nothing about the others.
        Err(error) if error.is_locked() => check_dedicated(dedicated),
        checked => GroupOutcome::of_check(checked),
    }
}

fn check_within(
    dedicated: &mut DedicatedConnection,
    wait_limits: WaitLimits,
) -> Result<(), StoreError> {
    let mut tx = WriteTx::on_dedicated(dedicated, wait_limits)?;
    tx.run(AnyConnection::check_writing)?;
    tx.run(|connection| {
        connection.wait_for_write_order()?;
        connection
            .check_stamping()
            .map_err(StoreError::into_queue_wait)
    })?;
    tx.cancel()
}

/// Checks that the connection may write, without a transaction.
pub(crate) fn check_dedicated(dedicated: &mut DedicatedConnection) -> GroupOutcome {
    GroupOutcome::of_check(dedicated.check_writable())
}

/// Commits writes as one transaction.
fn commit_writes(
    dedicated: &mut DedicatedConnection,
    writes: &[&Write],
    wait_limits: Duration,
    bounds: GroupBounds,
    run: impl FnOnce(
        &mut AnyConnection,
        &[&Write],
    ) -> Result<Vec<Result<WriteEffect, StoreError>>, StoreError>,
) -> Result<(Option<Committed>, Vec<WriteAnswer>), StoreError> {
    let began = Instant::now();
    let mut tx = WriteTx::on_dedicated(dedicated, bounds.wait_limits(wait_limits))?;
    let outcomes = tx.run(|connection| run(connection, writes))?;
    if outcomes.iter().all(Result::is_err) {
        // To read back could take what is locked.
        tx.cancel()?;
        let errors = outcomes.into_iter().filter_map(Result::err);
        return Ok((None, errors.map(Err).collect()));
    }
    tx.stamp()?;
    let stamp = tx.stamped()?;
    let (mut committed, answers) = tx.run(|connection| {
        let read = read_back(connection, writes, outcomes, stamp, began)?;
        bounds.ensure_not_abandoned()?;
        Ok(read)
    })?;
    tx.commit()?;
    if let Some(committed) = &mut committed {
        committed.ended = Instant::now();
    }
    Ok((committed, answers))
}

/// Runs a group: new topics together, if that goes well; everything else, and what does not, each
/// under a savepoint. What is tried again comes last, so that it cannot fail what goes together.
fn run_all(
    connection: &mut AnyConnection,
    writes: &[&Write],
    has_retry: bool,
) -> Result<Vec<Result<WriteEffect, StoreError>>, StoreError> {
    if let ([fresh @ .., retry], true) = (writes, has_retry && writes.len() > 1) {
        let mut outcomes = run_all(connection, fresh, false)?;
        outcomes.push(alone(connection, retry)?);
        return Ok(outcomes);
    }
    let creations: Vec<_> = writes
        .iter()
        .filter_map(|write| match write {
            Write::CreateTopic(creation) => Some(creation),
            Write::Administer { .. } => None,
        })
        .collect();
    if let ([_], [only]) = (writes, creations.as_slice()) {
        // Without neighbours to save it needs no savepoint, which costs two round trips.
        return Ok(repository::create_topics(connection, &[only])?
            .into_iter()
            .map(|created| created.map(WriteEffect::from))
            .collect());
    }
    let mut created = create(connection, &creations)?.into_iter();
    writes
        .iter()
        .map(|write| match write {
            Write::CreateTopic(_) => created.next().map_or_else(
                || Err(StoreError::Internal("a topic has no outcome".to_owned())),
                |created| Ok(created.map(WriteEffect::from)),
            ),
            Write::Administer { .. } => alone(connection, write),
        })
        .collect()
}

fn create(
    connection: &mut AnyConnection,
    wanted: &[&Creation],
) -> Result<Vec<Result<Created, StoreError>>, StoreError> {
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let began = Instant::now();
    match savepoint(connection, |connection| {
        repository::create_topics(connection, wanted)
    }) {
        Err(error @ (StoreError::Unavailable(_) | StoreError::Disconnected(_))) => Err(error),
        // One of them may be slow, as by an owner's trigger: here it would take the time of
        // all once more.
        Err(error) if began.elapsed() > SLOW => Err(error),
        Err(error) => {
            tracing::debug!(%error, "topics could not be written together");
            connection.ensure_in_write()?;
            if error.is_locked() {
                connection.stop_waiting_for_locks()?;
            }
            repository::create_each(connection, wanted)
        }
        Ok(created) => Ok(created),
    }
}

/// Runs one write under a savepoint. What is wrong with the write is its own outcome; what is
/// wrong with the database ends the group.
fn alone(
    connection: &mut AnyConnection,
    write: &Write,
) -> Result<Result<WriteEffect, StoreError>, StoreError> {
    let outcome = match savepoint(connection, |connection| run(connection, write)) {
        // Another program was quicker, and now what it did is there.
        Err(StoreError::Refused(Refusal { conflict: true, .. })) if write.reruns_on_conflict() => {
            savepoint(connection, |connection| run(connection, write))
        }
        outcome => outcome,
    };
    match outcome {
        Err(error) if error.is_locked() => {
            connection.stop_waiting_for_locks()?;
            Ok(Err(error))
        }
        Err(
            error @ (StoreError::Fault(_)
            | StoreError::Unavailable(_)
            | StoreError::Disconnected(_)),
        ) => Err(error),
        Err(error) => {
            connection.ensure_in_write()?;
            Ok(Err(error))
        }
        outcome => Ok(outcome),
    }
}

fn run(connection: &mut AnyConnection, write: &Write) -> Result<WriteEffect, StoreError> {
    match write {
        Write::Administer {
            actor,
            command,
            is_admitted,
        } => {
            let effect = command.run(connection, actor)?;
            is_admitted
                .then_some(effect)
                .ok_or(StoreError::ConditionFailed)
        }
        Write::CreateTopic(creation) => {
            repository::create_one(connection, creation).map(WriteEffect::from)
        }
    }
}

fn savepoint<T>(
    connection: &mut AnyConnection,
    work: impl FnOnce(&mut AnyConnection) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    connection.transaction(work)
}
