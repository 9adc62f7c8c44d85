//! Commits a group of writes: as one transaction if that works, otherwise each write as one of its own.
//!
//! Whatever is wrong with one write costs the others nothing but time. Within the common transaction a row that the database
//! refuses is left out. What fails later (a deferred trigger, at the commit) or spoils the transaction for all is found by
//! committing one by one. That is safe as long as the database answered: then nothing of the group was committed.

use std::time::{Duration, Instant};

use diesel::Connection as _;
use kairanban_core::{Revision, TopicId};

use crate::{
    StoreError,
    change_log::{self, Stamped},
    classified,
    connection::AnyConnection,
    deed::Done,
    error::{FaultKind, Refusal},
    pool::Session,
    repository::{self, Creation, Found},
    tokens,
    writer::{Answer, Committed, CreatedTopic, Write, Written},
};

/// Less time than this is not enough for a write.
const WRITE_MIN: Duration = Duration::from_millis(50);
/// The least that a write may take when many share the time that is left.
const SHARE_MIN: Duration = Duration::from_millis(100);

/// A group whose topics take longer than this has a slow one among them; it is more than any key is waited for.
const SLOW: Duration = Duration::from_millis(500);

/// How long and how often a group is tried.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// When trying ends.
    pub(crate) deadline: Instant,
    /// When the group is answered all the same: nothing is committed after that.
    pub(crate) abandoned_at: Instant,
    pub(crate) tries_max: usize,
}

/// What came of a group.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) commits: Vec<Committed>,
    /// One for each write.
    pub(crate) answers: Vec<Answer>,
}

/// Commits writes.
pub(crate) fn commit(session: &mut Session, writes: &[Write], limits: Limits) -> Outcome {
    let all: Vec<_> = writes.iter().collect();
    // The other half is for each by itself.
    let patience = limits.deadline.saturating_duration_since(Instant::now()) / 2;
    match commit_writes(session, &all, patience, limits, run_all) {
        Ok((committed, answers)) => Outcome {
            commits: committed.into_iter().collect(),
            answers,
        },
        Err(StoreError::Unavailable(text)) => {
            tracing::warn!(
                text,
                writes = writes.len(),
                "a group of writes was not committed"
            );
            Outcome {
                commits: Vec::new(),
                answers: vec![Err(StoreError::Unavailable(text)); writes.len()],
            }
        }
        Err(error) => {
            tracing::debug!(%error, writes = writes.len(), "a group of writes is committed one by one");
            one_by_one(session, &all, limits)
        }
    }
}

/// Checks whether writing works, by a transaction that changes nothing.
pub(crate) fn check(session: &mut Session, limits: Limits) -> Outcome {
    let patience = limits.deadline.saturating_duration_since(Instant::now());
    let checked = session.write(patience, AnyConnection::check_writing, |_, ()| Ok(()));
    Outcome {
        commits: Vec::new(),
        answers: checked.err().map(Err).into_iter().collect(),
    }
}

/// Looks whether the session may write, without a transaction.
pub(crate) fn look(session: &mut Session) -> Outcome {
    Outcome {
        commits: Vec::new(),
        answers: session
            .check_writable()
            .err()
            .map(Err)
            .into_iter()
            .collect(),
    }
}

fn one_by_one(session: &mut Session, writes: &[&Write], limits: Limits) -> Outcome {
    let mut commits = Vec::new();
    let mut answers: Vec<Option<Answer>> = writes.iter().map(|_| None).collect();
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
            match commit_one(session, writes[*at], patience, limits) {
                Ok((committed, answer)) => {
                    commits.extend(committed);
                    answers[*at] = Some(answer);
                }
                // The connection is lost: nothing is known of this one, and the others would fare no better.
                Err(StoreError::Unavailable(text)) => return ended(commits, answers, &text),
                Err(error) => answers[*at] = Some(Err(error)),
            }
        }
    }
    ended(commits, answers, "the write took too long")
}

fn ended(commits: Vec<Committed>, answers: Vec<Option<Answer>>, text: &str) -> Outcome {
    let late = || Err(StoreError::Unavailable(text.to_owned()));
    Outcome {
        commits,
        answers: answers
            .into_iter()
            .map(|answer| answer.unwrap_or_else(late))
            .collect(),
    }
}

/// Whether it may go well in a moment. A key that is in use is for its client to repeat: another try would keep the rest waiting.
const fn is_worth_another_try(answer: &Answer) -> bool {
    match answer {
        Err(StoreError::Refused(refusal)) => refusal.conflict,
        Err(error) => error.is_busy(),
        _ => false,
    }
}

fn commit_one(
    session: &mut Session,
    write: &Write,
    patience: Duration,
    limits: Limits,
) -> Result<(Option<Committed>, Answer), StoreError> {
    let run = |connection: &mut AnyConnection, writes: &[&Write]| {
        let outcomes = writes
            .iter()
            .map(|write| run(connection, write))
            .collect::<Result<Vec<_>, _>>()?;
        // The commit itself could not say why it fails.
        connection.check_constraints()?;
        Ok(outcomes.into_iter().map(Ok).collect())
    };
    let missing = || Err(StoreError::Internal("nothing came of a write".to_owned()));
    match commit_writes(session, &[write], patience, limits, run) {
        Ok((committed, mut answers)) => Ok((committed, answers.pop().unwrap_or_else(missing))),
        // A reading that failed does not say why.
        Err(StoreError::Fault(fault)) if fault.kind == FaultKind::Other => {
            let checked = session.write(patience, AnyConnection::check_writing, |_, ()| Ok(()));
            Err(checked.err().unwrap_or(StoreError::Fault(fault)))
        }
        Err(error) => Err(error),
    }
}

type DoneResult = Result<Done, StoreError>;

/// Runs writes as one transaction.
fn commit_writes(
    session: &mut Session,
    writes: &[&Write],
    patience: Duration,
    limits: Limits,
    run: impl Fn(&mut AnyConnection, &[&Write]) -> Result<Vec<DoneResult>, StoreError>,
) -> Result<(Option<Committed>, Vec<Answer>), StoreError> {
    let work = |connection: &mut AnyConnection| run(connection, writes);
    session.write(patience, work, |connection, outcomes| {
        let read = read_back(connection, writes, outcomes)?;
        if Instant::now() > limits.abandoned_at {
            return Err(StoreError::Unavailable(
                "the write took too long".to_owned(),
            ));
        }
        Ok(read)
    })
}

/// Reads what was written, as it stands in the database now.
fn read_back(
    connection: &mut AnyConnection,
    writes: &[&Write],
    outcomes: Vec<DoneResult>,
) -> Result<(Option<Committed>, Vec<Answer>), StoreError> {
    let topic_id = |outcome: &DoneResult| {
        if let Ok(Done::Topic(id)) = outcome {
            Some(*id)
        } else {
            None
        }
    };
    let topics = repository::topics_by_id(
        connection,
        &outcomes.iter().filter_map(topic_id).collect::<Vec<_>>(),
    )?;
    // A repeated request changes nothing, but what it is answered must not be newer than what is shown here.
    let newest = topics.iter().map(|found| found.topic.revision).max();
    let stamped = change_log::stamped(connection)?;
    let changed = writes
        .iter()
        .zip(&outcomes)
        .any(|(write, outcome)| outcome.is_ok() && write.always_changes());
    if topics
        .iter()
        .any(|found| found.topic.revision == Revision::ZERO)
        || (changed && stamped.is_none())
    {
        return Err(classified::triggers_off());
    }
    let created = stamped
        .as_ref()
        .and_then(|stamped| created(writes, &outcomes, &topics, stamped));
    let answers = writes
        .iter()
        .zip(outcomes)
        .map(|(write, outcome)| answer(connection, write, outcome, &topics))
        .collect();
    let revision = stamped.as_ref().map(|stamped| stamped.revision).max(newest);
    let (last, before) = stamped
        .map(|stamped| (stamped.last, stamped.before))
        .unwrap_or_default();
    let last = last.filter(|last| Some(last.revision) == revision);
    Ok((
        revision.map(|revision| Committed {
            revision,
            last,
            before,
            created,
        }),
        answers,
    ))
}

/// The topics that a group created, if that is all that happened: none of its writes was anything else, and no trigger of
/// another program did more.
fn created(
    writes: &[&Write],
    outcomes: &[DoneResult],
    topics: &[Found],
    stamped: &Stamped,
) -> Option<Vec<CreatedTopic>> {
    let mut created = Vec::new();
    for (write, outcome) in writes.iter().zip(outcomes) {
        let creation = write.creation()?;
        let Ok(Done::Topic(id)) = outcome else {
            continue;
        };
        // One that an earlier request had led to is older.
        let is_new = |found: &&Found| {
            found.topic.id == *id && found.topic.revision == stamped.revision && found.is_live
        };
        let found = topics.iter().find(is_new);
        let created_topic = |found: &Found| CreatedTopic {
            board: creation.board.clone(),
            board_id: found.board_id,
            topic: found.topic.clone(),
        };
        created.extend(found.map(created_topic));
    }
    (created.len() == stamped.changes).then_some(created)
}

/// Runs a group: new topics together, if that goes well; everything else, and what does not, each under a savepoint.
fn run_all(
    connection: &mut AnyConnection,
    writes: &[&Write],
) -> Result<Vec<DoneResult>, StoreError> {
    let creations: Vec<_> = writes.iter().filter_map(|write| write.creation()).collect();
    if let ([_], [only]) = (writes, creations.as_slice()) {
        // Without neighbours to save it needs no savepoint, which costs two round trips.
        return Ok(repository::create_topics(connection, &[*only])?
            .into_iter()
            .map(|created| created.map(Done::Topic))
            .collect());
    }
    let mut created = create(connection, &creations)?.into_iter();
    let outcome = |write: &&Write| match write.creation().and_then(|_| created.next()) {
        Some(created) => Ok(created.map(Done::Topic)),
        None => alone(connection, write),
    };
    writes.iter().map(outcome).collect()
}

fn create(
    connection: &mut AnyConnection,
    wanted: &[Creation<'_>],
) -> Result<Vec<Result<TopicId, StoreError>>, StoreError> {
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let began = Instant::now();
    match savepoint(connection, |connection| {
        repository::create_topics(connection, wanted)
    }) {
        Err(error @ (StoreError::Unavailable(_) | StoreError::Disconnected(_))) => Err(error),
        // One of them may be slow, as by a trigger of the owner's: here it would take the time of all once more.
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
fn alone(connection: &mut AnyConnection, write: &Write) -> Result<DoneResult, StoreError> {
    let mut run = || savepoint(connection, |connection| run(connection, write));
    let outcome = match run() {
        // Another program was quicker, and now what it did is there.
        Err(StoreError::Refused(Refusal { conflict: true, .. })) if write.may_be_late() => run(),
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

fn run(connection: &mut AnyConnection, write: &Write) -> DoneResult {
    match write {
        Write::Administer { actor, deed } => deed.run(connection, actor),
        Write::CreateTopic {
            board,
            topic,
            key,
            right,
        } => {
            let creation = Creation {
                board,
                topic,
                key: key.as_ref(),
                right: *right,
            };
            repository::create_one(connection, &creation).map(Done::Topic)
        }
    }
}

fn savepoint<T>(
    connection: &mut AnyConnection,
    work: impl FnOnce(&mut AnyConnection) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    connection.transaction(work)
}

fn answer(
    connection: &mut AnyConnection,
    write: &Write,
    outcome: DoneResult,
    topics: &[Found],
) -> Answer {
    match outcome? {
        Done::Gone => Ok(Written::Deleted),
        Done::Board(name) => repository::board_info(connection, &name).map(Written::Board),
        Done::Token(id) => {
            let token = tokens::by_id(connection, &[id])?.pop();
            token
                .map(|found| Written::Token(found.token))
                .ok_or(StoreError::NoSuchToken(id))
        }
        Done::Topic(id) => {
            let found = topics.iter().find(|found| found.topic.id == id);
            // A new topic that is gone already: a trigger took it away.
            let gone = || {
                write.creation().map_or(StoreError::NoSuchTopic(id), |_| {
                    StoreError::Refused(Refusal::default())
                })
            };
            found
                .map(|found| Written::Topic(found.topic.clone()))
                .ok_or_else(gone)
        }
    }
}
