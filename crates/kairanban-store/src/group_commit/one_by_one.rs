//! Commits writes one by one, where they cannot be committed together.

use std::time::{Duration, Instant};

use super::{GroupBounds, GroupOutcome, check_within, commit_writes, run};
use crate::{
    StoreError,
    admin::WriteEffect,
    connection::AnyConnection,
    error::{Fault, FaultKind},
    pool::DedicatedConnection,
    write::{Committed, Write, WriteAnswer},
};

/// Less time than this is not enough for a write.
const WRITE_MIN: Duration = Duration::from_millis(50);
/// The least that a write may take when many share the time that is left.
const SHARE_MIN: Duration = Duration::from_millis(100);

/// Commits each write by itself, until all are done or the time is over. Returns an answer for
/// each.
pub(super) fn one_by_one(
    dedicated: &mut DedicatedConnection,
    writes: &[&Write],
    mut bounds: GroupBounds,
) -> GroupOutcome {
    let (mut commits, mut fault) = (Vec::new(), None);
    let mut answers: Vec<Option<WriteAnswer>> = writes.iter().map(|_| None).collect();
    for _ in 0..bounds.tries_max.max(1) {
        let waiting: Vec<_> = (0..writes.len())
            .filter(|at| answers[*at].as_ref().is_none_or(is_worth_another_try))
            .collect();
        for (done, at) in waiting.iter().enumerate() {
            let left = bounds.deadline.saturating_duration_since(Instant::now());
            if left < WRITE_MIN {
                break;
            }
            let others = u32::try_from(waiting.len() - done).unwrap_or(u32::MAX);
            let patience = (left / others).max(SHARE_MIN).min(left);
            match commit_alone(dedicated, writes[*at], patience, bounds, &mut fault) {
                Ok((committed, answer)) => {
                    commits.extend(committed);
                    answers[*at] = Some(answer);
                }
                // The connection is lost: nothing is known of this one, and the others would fare
                // no better.
                Err(StoreError::Unavailable(text)) => {
                    return ended(commits, answers, fault, &text);
                }
                Err(error) => {
                    if error.is_locked() {
                        bounds = bounds.without_lock_wait();
                    }
                    answers[*at] = Some(Err(error));
                }
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
/// repeat, and a lock of others for the writer to try later: both would keep the rest waiting.
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
    dedicated: &mut DedicatedConnection,
    write: &Write,
    patience: Duration,
    bounds: GroupBounds,
    fault: &mut Option<StoreError>,
) -> Result<(Option<Committed>, WriteAnswer), StoreError> {
    let error = match commit_one(dedicated, write, patience, bounds) {
        Err(error) if error.needs_check() => error,
        done => return done,
    };
    if let Err(found) = check_within(dedicated, bounds.wait_limits(patience)) {
        if found.is_locked() {
            // In a language that is not known it says so only to the check.
            let is_unknown =
                matches!(&error, StoreError::Fault(fault) if fault.kind == FaultKind::Other);
            return Err(if is_unknown { found } else { error });
        }
        *fault = Some(found.clone());
        return Err(found);
    }
    match error {
        // What was missing may have come meanwhile. A client that was refused would throw its post
        // away.
        StoreError::Fault(Fault { kind, .. })
            if kind.may_be_the_rows()
                || matches!(kind, FaultKind::Schema | FaultKind::TriggersOff) =>
        {
            commit_one(dedicated, write, patience, bounds).map_err(StoreError::of_the_write_alone)
        }
        error => Err(error),
    }
}

fn commit_one(
    dedicated: &mut DedicatedConnection,
    write: &Write,
    patience: Duration,
    bounds: GroupBounds,
) -> Result<(Option<Committed>, WriteAnswer), StoreError> {
    let (committed, mut answers) = commit_writes(dedicated, &[write], patience, bounds, run_each)?;
    let answer = answers
        .pop()
        .unwrap_or_else(|| Err(StoreError::Internal("a write has no outcome".to_owned())));
    Ok((committed, answer))
}

/// Runs writes without savepoints: the first one that fails ends the transaction.
fn run_each(
    connection: &mut AnyConnection,
    writes: &[&Write],
) -> Result<Vec<Result<WriteEffect, StoreError>>, StoreError> {
    let outcomes = writes
        .iter()
        .map(|write| run(connection, write))
        .collect::<Result<Vec<_>, _>>()?;
    // The commit itself could not say why it fails.
    connection.stamp_checked()?;
    Ok(outcomes.into_iter().map(Ok).collect())
}
