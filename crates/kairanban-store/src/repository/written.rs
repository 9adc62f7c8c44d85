//! Topics as a write finds them, and as it leaves them.

use diesel::prelude::*;
use kairanban_core::{BoardId, Topic, TopicId};

use crate::{
    StoreError,
    connection::AnyConnection,
    rows::{TopicRow, topic_columns},
    schema::topics,
};

/// A topic as a write found or left it.
#[derive(Clone, Debug)]
pub(crate) struct WrittenTopic {
    pub(crate) board_id: BoardId,
    /// Whether its board shows it: a trigger of another program may have archived it.
    pub(crate) is_live: bool,
    pub(crate) topic: Topic,
}

impl WrittenTopic {
    /// Returns whether all but its revision is as it was.
    pub(crate) fn shows_the_same(&self, before: &Self) -> bool {
        let topic = Topic {
            revision: before.topic.revision,
            ..self.topic.clone()
        };
        (self.board_id, self.is_live, topic)
            == (before.board_id, before.is_live, before.topic.clone())
    }
}

/// Topics by their keys, in no particular order; those that are gone are left out.
pub(crate) fn topics_by_id(
    connection: &mut AnyConnection,
    ids: &[TopicId],
) -> Result<Vec<WrittenTopic>, StoreError> {
    let all = topics::table.select((topics::board_id, topics::archived, topic_columns()));
    let rows: Vec<(i64, bool, TopicRow)> = match ids {
        // Most groups of writes are of one; a statement for any number could not be kept prepared.
        [only] => all.filter(topics::id.eq(only.0)).load(connection)?,
        ids => all
            .filter(topics::id.eq_any(ids.iter().map(|id| id.0)))
            .load(connection)?,
    };
    Ok(rows
        .into_iter()
        .filter_map(|(board_id, archived, row)| {
            Some(WrittenTopic {
                board_id: BoardId(board_id),
                is_live: !archived,
                topic: row.into_topic()?,
            })
        })
        .collect())
}
