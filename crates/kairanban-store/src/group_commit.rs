//! Commits a group of writes: as one transaction if that works, otherwise each write as one of its
//! own.
//!
//! Whatever is wrong with one write costs the others nothing but time. Within the common
//! transaction a row that the database refuses is left out. What fails later (a deferred trigger,
//! at the commit) or spoils the transaction for all is found by committing one by one. That is safe
//! as long as the database answered: then nothing of the group was committed.

mod read_back;

use std::time::{Duration, Instant};

use diesel::Connection as _;

use self::read_back::read_back;
use crate::{
    Creation, StoreError,
    admin::Written,
    connection::AnyConnection,
    error::{Fault, Refusal},
    pool::Session,
    repository::{self, Created},
    tx::WriteTx,
    write::{Committed, Write, WriteAnswer},
};

/// Less time than this is not enough for a write.
const WRITE_MIN: Duration = Duration::from_millis(50);
/// The least that a write may take when many share the time that is left.
const SHARE_MIN: Duration = Duration::from_millis(100);

/// A group whose topics take longer than this has a slow one among them; it is more than any key is
/// waited for.
const SLOW: Duration = Duration::from_millis(500);

/// How long and how often a group is tried.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// No try begins after this.
    pub(crate) deadline: Instant,
    /// When the watcher answers in place of the worker: nothing is committed after this.
    pub(crate) abandoned_at: Instant,
    pub(crate) tries_max: usize,
}

impl Limits {
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

/// Commits a group of writes. Returns an answer for each.
pub(crate) fn commit(session: &mut Session, writes: &[Write], limits: Limits) -> GroupOutcome {
    let all: Vec<_> = writes.iter().collect();
    let left = limits.deadline.saturating_duration_since(Instant::now());
    let patience = if session.has_one_writer() {
        // Who does not get its turn would not get it for each by itself either.
        left
    } else {
        // The other half is for each by itself.
        left / 2
    };
    match commit_writes(session, &all, patience, limits, run_all) {
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
            one_by_one(session, &all, limits)
        }
    }
}

/// Checks whether writing works, by a transaction that changes nothing.
pub(crate) fn check(session: &mut Session, limits: Limits) -> GroupOutcome {
    let patience = limits.deadline.saturating_duration_since(Instant::now());
    GroupOutcome::of_check(check_within(session, patience))
}

fn check_within(session: &mut Session, patience: Duration) -> Result<(), StoreError> {
    let mut tx = WriteTx::on_session(session, patience)?;
    tx.run(AnyConnection::check_writing)?;
    tx.run(AnyConnection::check_stamping)?;
    tx.cancel()
}

/// Checks that the session may write, without a transaction.
pub(crate) fn check_session(session: &mut Session) -> GroupOutcome {
    GroupOutcome::of_check(session.check_writable())
}

fn one_by_one(session: &mut Session, writes: &[&Write], limits: Limits) -> GroupOutcome {
    let (mut commits, mut fault) = (Vec::new(), None);
    let mut answers: Vec<Option<WriteAnswer>> = writes.iter().map(|_| None).collect();
    for _ in 0..limits.tries_max.max(1) {
        let waiting: Vec<_> = (0..writes.len())
            .filter(|at| answers[*at].as_ref().is_none_or(is_worth_another_try))
            .collect();
        for (done, at) in waiting.iter().enumerate() {
            let left = limits.deadline.saturating_duration_since(Instant::now());
            if left < WRITE_MIN {
                break;
            }
            let others = u32::try_from(waiting.len() - done).unwrap_or(u32::MAX);
            let patience = (left / others).max(SHARE_MIN).min(left);
            match commit_alone(session, writes[*at], patience, limits, &mut fault) {
                Ok((committed, answer)) => {
                    commits.extend(committed);
                    answers[*at] = Some(answer);
                }
                // The connection is lost: nothing is known of this one, and the others would fare
                // no better.
                Err(StoreError::Unavailable(text)) => {
                    return ended(commits, answers, fault, &text);
                }
                Err(error) => answers[*at] = Some(Err(error)),
            }
        }
    }
    ended(commits, answers, fault, "the write took too long")
}

fn ended(
    commits: Vec<Committed>,
    answers: Vec<Option<WriteAnswer>>,
    fault: Option<StoreError>,
    text: &str,
) -> GroupOutcome {
    GroupOutcome {
        commits,
        fault,
        answers: answers
            .into_iter()
            .map(|answer| answer.unwrap_or_else(|| Err(StoreError::Unavailable(text.to_owned()))))
            .collect(),
    }
}

/// Returns whether another try may succeed in a moment. A key that is in use is for its client to
/// repeat: another try would keep the rest waiting.
const fn is_worth_another_try(answer: &WriteAnswer) -> bool {
    match answer {
        Err(StoreError::Refused(refusal)) => refusal.conflict,
        Err(error) => error.is_busy(),
        _ => false,
    }
}

/// Commits one write. If that fails and only a check can say why, and the check finds what keeps
/// all writes from the database, it is put into `fault`.
fn commit_alone(
    session: &mut Session,
    write: &Write,
    patience: Duration,
    limits: Limits,
    fault: &mut Option<StoreError>,
) -> Result<(Option<Committed>, WriteAnswer), StoreError> {
    let error = match commit_one(session, write, patience, limits) {
        Err(error) if error.is_doubtful() => error,
        done => return done,
    };
    if let Err(found) = check_within(session, patience) {
        *fault = Some(found.clone());
        return Err(found);
    }
    match error {
        // What was missing may have come meanwhile. A client that was refused would throw its post
        // away.
        StoreError::Fault(Fault { kind, .. }) if kind.may_be_the_rows() => {
            commit_one(session, write, patience, limits).map_err(StoreError::of_the_write_alone)
        }
        error => Err(error),
    }
}

fn commit_one(
    session: &mut Session,
    write: &Write,
    patience: Duration,
    limits: Limits,
) -> Result<(Option<Committed>, WriteAnswer), StoreError> {
    let (committed, mut answers) = commit_writes(session, &[write], patience, limits, run_each)?;
    let answer = answers
        .pop()
        .unwrap_or_else(|| Err(StoreError::Internal("nothing came of a write".to_owned())));
    Ok((committed, answer))
}

/// The outcome of one write of a group, before the revision is drawn.
type RunResult = Result<Written, StoreError>;

/// Commits writes as one transaction.
fn commit_writes(
    session: &mut Session,
    writes: &[&Write],
    patience: Duration,
    limits: Limits,
    run: impl FnOnce(&mut AnyConnection, &[&Write]) -> Result<Vec<RunResult>, StoreError>,
) -> Result<(Option<Committed>, Vec<WriteAnswer>), StoreError> {
    let began = Instant::now();
    let mut tx = WriteTx::on_session(session, patience)?;
    let outcomes = tx.run(|connection| run(connection, writes))?;
    tx.stamp()?;
    let stamp = tx.stamped()?;
    let (mut committed, answers) = tx.run(|connection| {
        let read = read_back(connection, writes, outcomes, stamp, began)?;
        limits.ensure_not_abandoned()?;
        Ok(read)
    })?;
    tx.commit()?;
    if let Some(committed) = &mut committed {
        committed.ended = Instant::now();
    }
    Ok((committed, answers))
}

/// Runs writes without savepoints: the first one that fails ends the transaction.
fn run_each(
    connection: &mut AnyConnection,
    writes: &[&Write],
) -> Result<Vec<RunResult>, StoreError> {
    let outcomes = writes
        .iter()
        .map(|write| run(connection, write))
        .collect::<Result<Vec<_>, _>>()?;
    // The commit itself could not say why it fails.
    connection.stamp_checked()?;
    Ok(outcomes.into_iter().map(Ok).collect())
}

/// Runs a group: new topics together, if that goes well; everything else, and what does not, each
/// under a savepoint.
fn run_all(
    connection: &mut AnyConnection,
    writes: &[&Write],
) -> Result<Vec<RunResult>, StoreError> {
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
            .map(|created| created.map(Written::from))
            .collect());
    }
    let mut created = create(connection, &creations)?.into_iter();
    writes
        .iter()
        .map(|write| match write {
            Write::CreateTopic(_) => created.next().map_or_else(
                || Err(StoreError::Internal("nothing came of a topic".to_owned())),
                |created| Ok(created.map(Written::from)),
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
        // One of them may be slow, as by a trigger of the owner's: here it would take the time of
        // all once more.
        Err(error) if began.elapsed() > SLOW => Err(error),
        Err(error) => {
            tracing::debug!(%error, "topics could not be written together");
            connection.ensure_in_write()?;
            repository::create_each(connection, wanted)
        }
        Ok(created) => Ok(created),
    }
}

/// Runs one write under a savepoint. What is wrong with the write is its own outcome; what is
/// wrong with the database ends the group.
fn alone(connection: &mut AnyConnection, write: &Write) -> Result<RunResult, StoreError> {
    let outcome = match savepoint(connection, |connection| run(connection, write)) {
        // Another program was quicker, and now what it did is there.
        Err(StoreError::Refused(Refusal { conflict: true, .. })) if write.reruns_on_conflict() => {
            savepoint(connection, |connection| run(connection, write))
        }
        outcome => outcome,
    };
    match outcome {
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

fn run(connection: &mut AnyConnection, write: &Write) -> RunResult {
    match write {
        Write::Administer { actor, command } => command.run(connection, actor),
        Write::CreateTopic(creation) => {
            repository::create_one(connection, creation).map(Written::from)
        }
    }
}

fn savepoint<T>(
    connection: &mut AnyConnection,
    work: impl FnOnce(&mut AnyConnection) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    connection.transaction(work)
}
