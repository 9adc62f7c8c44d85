//! Reads back what a group wrote, once its revision is drawn.

use kairanban_core::Revision;

use super::RunResult;
use crate::{
    StoreError,
    admin::AdminOutcome,
    classified,
    connection::AnyConnection,
    error::Refusal,
    repository::{self, WrittenTopic},
    stamp::Stamp,
    tokens,
    write::{Committed, CreatedTopic, Write, WriteAnswer, WriteResult},
};

/// Reads what was written, as it stands in the database now.
pub(super) fn read_back(
    connection: &mut AnyConnection,
    writes: &[&Write],
    outcomes: Vec<RunResult>,
    stamp: Option<Stamp>,
) -> Result<(Option<Committed>, Vec<WriteAnswer>), StoreError> {
    let topic_id = |outcome: &RunResult| {
        if let Ok(AdminOutcome::Topic(id)) = outcome {
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
    let changed = writes
        .iter()
        .zip(&outcomes)
        .any(|(write, outcome)| outcome.is_ok() && write.always_changes());
    if topics
        .iter()
        .any(|found| found.topic.revision == Revision::ZERO)
        || (changed && stamp.is_none())
    {
        return Err(classified::triggers_off());
    }
    let created = stamp
        .as_ref()
        .and_then(|stamp| created(writes, &outcomes, &topics, stamp));
    let answers = writes
        .iter()
        .zip(outcomes)
        .map(|(write, outcome)| answer(connection, write, outcome, &topics))
        .collect();
    let revision = stamp.as_ref().map(|stamp| stamp.revision).max(newest);
    let (last, before) = stamp
        .map(|stamp| (stamp.last, stamp.before))
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
    outcomes: &[RunResult],
    topics: &[WrittenTopic],
    stamp: &Stamp,
) -> Option<Vec<CreatedTopic>> {
    let mut created = Vec::new();
    for (write, outcome) in writes.iter().zip(outcomes) {
        let creation = write.creation()?;
        let Ok(AdminOutcome::Topic(id)) = outcome else {
            continue;
        };
        // One that an earlier request had led to is older.
        let is_new = |found: &&WrittenTopic| {
            found.topic.id == *id && found.topic.revision == stamp.revision && found.is_live
        };
        let found = topics.iter().find(is_new);
        let created_topic = |found: &WrittenTopic| CreatedTopic {
            board: creation.board.clone(),
            board_id: found.board_id,
            topic: found.topic.clone(),
        };
        created.extend(found.map(created_topic));
    }
    (created.len() == stamp.changes).then_some(created)
}

fn answer(
    connection: &mut AnyConnection,
    write: &Write,
    outcome: RunResult,
    topics: &[WrittenTopic],
) -> WriteAnswer {
    match outcome? {
        AdminOutcome::Deleted => Ok(WriteResult::Deleted),
        AdminOutcome::Board(name) => {
            repository::board_info(connection, &name).map(WriteResult::Board)
        }
        AdminOutcome::Token(id) => {
            let token = tokens::by_id(connection, &[id])?.pop();
            token
                .map(|found| WriteResult::Token(found.token))
                .ok_or(StoreError::NoSuchToken(id))
        }
        AdminOutcome::Topic(id) => {
            let found = topics.iter().find(|found| found.topic.id == id);
            // A new topic that is gone already: a trigger took it away.
            let gone = || {
                write.creation().map_or(StoreError::NoSuchTopic(id), |_| {
                    StoreError::Refused(Refusal::default())
                })
            };
            found
                .map(|found| WriteResult::Topic(found.topic.clone()))
                .ok_or_else(gone)
        }
    }
}
