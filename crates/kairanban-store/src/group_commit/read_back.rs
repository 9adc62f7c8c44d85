//! Reads back what a group wrote, once its revision is drawn.

use std::time::Instant;

use diesel::prelude::*;
use kairanban_core::{ChangeKind, Revision, TopicId};

use crate::{
    StoreError,
    admin::{WriteEffect, WriteOutcome},
    change_log,
    connection::AnyConnection,
    error::Refusal,
    logged::{self, Changed},
    repository,
    rows::{self, WrittenTopic},
    schema::changes,
    sql::number,
    tokens,
    tx::Stamp,
    write::{Committed, CreatedTopic, Write, WriteAnswer, WriteResult},
};

/// Reads back what was written, and turns it into the answers and the report of the commit.
pub(super) fn read_back(
    connection: &mut AnyConnection,
    writes: &[&Write],
    written: Vec<Result<WriteEffect, StoreError>>,
    stamp: Option<Stamp>,
    began: Instant,
) -> Result<(Option<Committed>, Vec<WriteAnswer>), StoreError> {
    let (outcomes, changed): (Vec<Result<WriteOutcome, StoreError>>, Vec<_>) = written
        .into_iter()
        .map(|written| match written {
            Ok(WriteEffect { outcome, changed }) => (Ok(outcome), changed),
            Err(error) => (Err(error), Changed::Nothing),
        })
        .unzip();
    let ids: Vec<_> = outcomes.iter().filter_map(topic_id).collect();
    let topics = rows::topics_by_id(connection, &ids)?;
    logged::ensure(connection, &changed, &topics, stamp.as_ref())?;
    ensure_creations_stay(connection, writes, &outcomes, &topics, stamp.as_ref())?;
    let created = stamp
        .as_ref()
        .and_then(|stamp| created(writes, &outcomes, &topics, stamp));
    let is_any_answered = outcomes.iter().any(Result::is_ok);
    let answers = writes
        .iter()
        .zip(outcomes)
        .map(|(write, outcome)| answer(connection, write, outcome, &topics))
        .collect();
    let revision = match &stamp {
        Some(stamp) => Some(stamp.revision),
        // A repeated request changes nothing, but what it is answered must not be newer than what
        // is shown here. The topic's own revision does not say when it was committed: a bulk
        // transaction draws that long before its turn.
        None if is_any_answered => Some(change_log::head(connection)?),
        None => None,
    };
    let (last, before) = stamp
        .map(|stamp| (stamp.last, stamp.before))
        .unwrap_or_default();
    Ok((
        revision.map(|revision| Committed {
            revision,
            last,
            before,
            created,
            writes: writes.len(),
            began,
            // Until it is committed.
            ended: began,
        }),
        answers,
    ))
}

/// Returns the topic that a write was about.
const fn topic_id(outcome: &Result<WriteOutcome, StoreError>) -> Option<TopicId> {
    if let Ok(WriteOutcome::Topic(id) | WriteOutcome::Earlier(id)) = outcome {
        Some(*id)
    } else {
        None
    }
}

/// Refuses a transaction in which a new topic is gone already, unless it can be answered as it
/// stands.
///
/// In a group a trigger of the owner removed the topic, or a later write its board: committed one
/// by one, each write is answered by what it did itself. A trigger may remove the topic of a single
/// write, and keep it elsewhere; but a topic that it put in place of the removed one would be
/// shown.
fn ensure_creations_stay(
    connection: &mut AnyConnection,
    writes: &[&Write],
    outcomes: &[Result<WriteOutcome, StoreError>],
    topics: &[WrittenTopic],
    stamp: Option<&Stamp>,
) -> Result<(), StoreError> {
    let gone = writes
        .iter()
        .zip(outcomes)
        .find_map(|(write, outcome)| match (write, outcome) {
            (Write::CreateTopic(_), Ok(WriteOutcome::Topic(id)))
                if !topics.iter().any(|found| found.topic.id == *id) =>
            {
                Some(*id)
            }
            _ => None,
        });
    match (gone, stamp) {
        (None, _) | (Some(_), None) => Ok(()),
        (Some(_), Some(_)) if writes.len() > 1 => Err(StoreError::Refused(Refusal::default())),
        (Some(id), Some(stamp)) if has_other_topics(connection, stamp.revision, id)? => {
            Err(StoreError::refused(
                Some("a trigger put another row in place of the topic".to_owned()),
                false,
            ))
        }
        _ => Ok(()),
    }
}

/// Returns whether other topics than this one may have been written at the revision: a transaction
/// of thousands logs a `clear` for all of them.
fn has_other_topics(
    connection: &mut AnyConnection,
    revision: Revision,
    id: TopicId,
) -> Result<bool, StoreError> {
    let is_other_set = changes::kind
        .eq(ChangeKind::Set.as_str())
        .and(changes::topic_id.ne(id.0));
    let is_clear = changes::kind.eq(ChangeKind::Clear.as_str());
    let others = changes::table
        .filter(changes::revision.eq(number(revision)))
        .filter(is_other_set.assume_not_null().or(is_clear));
    Ok(diesel::select(diesel::dsl::exists(others)).get_result(connection)?)
}

/// Returns the topics that a group created, if that is all that happened: none of its writes was
/// anything else, and no trigger of another program did more.
fn created(
    writes: &[&Write],
    outcomes: &[Result<WriteOutcome, StoreError>],
    topics: &[WrittenTopic],
    stamp: &Stamp,
) -> Option<Vec<CreatedTopic>> {
    let mut created = Vec::new();
    for (write, outcome) in writes.iter().zip(outcomes) {
        let Write::CreateTopic(creation) = write else {
            return None;
        };
        // One that an earlier request had led to is older.
        let Ok(WriteOutcome::Topic(id)) = outcome else {
            continue;
        };
        let found = topics.iter().find(|found| {
            found.topic.id == *id && found.topic.revision == stamp.revision && found.is_live
        });
        created.extend(found.map(|found| CreatedTopic {
            board: creation.board.clone(),
            board_id: found.board_id,
            topic: found.topic.clone(),
        }));
    }
    (created.len() == stamp.changes).then_some(created)
}

fn answer(
    connection: &mut AnyConnection,
    write: &Write,
    outcome: Result<WriteOutcome, StoreError>,
    topics: &[WrittenTopic],
) -> WriteAnswer {
    match outcome? {
        WriteOutcome::Ended => Ok(WriteResult::Ended),
        WriteOutcome::Board(name) => repository::board(connection, &name).map(WriteResult::Board),
        WriteOutcome::Token(id) => {
            let token = tokens::by_id(connection, &[id])?.pop();
            token
                .map(|found| WriteResult::Token(found.token))
                .ok_or(StoreError::NoSuchToken(id))
        }
        WriteOutcome::Earlier(id) => match find(topics, id) {
            Some(found) => Ok(WriteResult::Topic(found.topic.clone())),
            None => Err(StoreError::TopicGone(id)),
        },
        WriteOutcome::Topic(id) => {
            match find(topics, id) {
                Some(found) => Ok(WriteResult::Topic(found.topic.clone())),
                // A new topic that is gone already: a trigger took it away.
                None if matches!(write, Write::CreateTopic(_)) => {
                    Err(StoreError::refused(None, false))
                }
                None => Err(StoreError::NoSuchTopic(id)),
            }
        }
    }
}

fn find(topics: &[WrittenTopic], id: TopicId) -> Option<&WrittenTopic> {
    topics.iter().find(|found| found.topic.id == id)
}
