//! Whether the log has what writes changed. Readers are shown nothing else, so a write that it has
//! not must not be acknowledged.

use diesel::prelude::*;
use kairanban_core::{BoardId, ChangeKind, Revision, TopicId};

use crate::{
    StoreError, classified, connection::AnyConnection, rows::WrittenTopic, schema::changes,
    sql::number, tx::Stamp,
};

/// What a write changed that the log has to show.
#[derive(Clone, Debug)]
pub(crate) enum Changed {
    /// Nothing that readers are shown.
    Nothing,
    /// A topic; one that was there `before` only if it is not as it was.
    Topic {
        id: TopicId,
        before: Option<Box<WrittenTopic>>,
    },
    /// A board, with its policies.
    Board(BoardId),
    /// A token, whichever it is.
    Token,
}

impl Changed {
    /// Notes a topic that is new, was put back or deleted.
    pub(crate) const fn topic(id: TopicId) -> Self {
        Self::Topic { id, before: None }
    }
}

/// Fails if the log lacks something of `changed` at the revision of its transaction, which is
/// stamped. Of `topics`, those that are there are as they are now.
///
/// It is not enough that the transaction drew a revision: that may be for what its other writes
/// changed.
pub(crate) fn ensure(
    connection: &mut AnyConnection,
    changed: &[Changed],
    topics: &[WrittenTopic],
    stamp: Option<&Stamp>,
) -> Result<(), StoreError> {
    let at = stamp.map(|stamp| stamp.revision);
    // A trigger of others may have stamped a topic, and kept its row of the log from it.
    let all = changed
        .iter()
        .filter(|changed| !matches!(changed, Changed::Nothing));
    let is_counted = stamp.is_some_and(|stamp| stamp.changes >= all.count());
    let mut tokens = 0;
    for changed in changed {
        let is_logged = match (changed, at) {
            (Changed::Nothing, _) => true,
            (Changed::Topic { id, before }, at) => {
                let now = topics.iter().find(|found| found.topic.id == *id);
                let is_as_before = before
                    .as_ref()
                    .zip(now)
                    .is_some_and(|(before, now)| now.shows_the_same(before));
                is_as_before
                    || match at {
                        // The stamp is for what the log has.
                        Some(at)
                            if is_counted && now.is_some_and(|now| now.topic.revision == at) =>
                        {
                            true
                        }
                        Some(at) => is_topic_logged(connection, at, *id)?,
                        None => false,
                    }
            }
            (Changed::Board(id), Some(at)) => is_board_logged(connection, at, *id)?,
            (Changed::Token, Some(at)) => {
                tokens += 1;
                tokens_logged(connection, at)? >= tokens
            }
            (Changed::Board(_) | Changed::Token, None) => false,
        };
        if !is_logged {
            return Err(classified::triggers_off());
        }
    }
    Ok(())
}

/// Returns whether a revision is of this topic, or of more topics than are logged one by one.
fn is_topic_logged(connection: &mut AnyConnection, at: Revision, id: TopicId) -> QueryResult<bool> {
    let is_clear = changes::kind.eq(ChangeKind::Clear.as_str());
    let rows = changes::table
        .filter(changes::revision.eq(number(at)))
        .filter(changes::topic_id.eq(id.0).assume_not_null().or(is_clear));
    diesel::select(diesel::dsl::exists(rows)).get_result(connection)
}

fn is_board_logged(connection: &mut AnyConnection, at: Revision, id: BoardId) -> QueryResult<bool> {
    let rows = changes::table
        .filter(changes::revision.eq(number(at)))
        .filter(changes::board_id.eq(id.0))
        .filter(changes::kind.eq(ChangeKind::Board.as_str()));
    diesel::select(diesel::dsl::exists(rows)).get_result(connection)
}

/// Returns how many tokens a revision is of; the log does not say which.
fn tokens_logged(connection: &mut AnyConnection, at: Revision) -> QueryResult<i64> {
    changes::table
        .filter(changes::revision.eq(number(at)))
        .filter(changes::kind.eq(ChangeKind::Token.as_str()))
        .count()
        .get_result(connection)
}
