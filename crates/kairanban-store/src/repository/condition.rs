//! What a writer demands of the revision of a topic.

use diesel::{BoolExpressionMethods as _, ExpressionMethods as _, IntoSql as _, sql_types::Bool};
use kairanban_core::{BoardId, BoardName, Revision, TopicId};

use crate::{StoreError, connection::AnyConnection, schema::topics, sql::number};

/// What the revision of a topic has to be for it to be written. The default demands nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RevisionCondition {
    /// It must be one of these.
    pub among: Option<Vec<Revision>>,
    /// It must be none of these.
    pub not_among: Vec<Revision>,
    /// The topic must not exist.
    pub absent: bool,
}

impl RevisionCondition {
    /// Returns whether a topic at this revision may be written.
    #[must_use]
    pub fn admits(&self, revision: Revision) -> bool {
        let is_among = self.among.as_ref();
        is_among.is_none_or(|among| among.contains(&revision))
            && !self.not_among.contains(&revision)
            && !self.absent
    }

    /// Returns the one revision at which the topic may be written now; `None` for any.
    ///
    /// # Errors
    /// [`StoreError::Changed`] if it is at another one, or if there is no such topic.
    pub(super) fn resolve(
        &self,
        connection: &mut AnyConnection,
        board: &BoardName,
        id: TopicId,
    ) -> Result<Option<Revision>, StoreError> {
        if *self == Self::default() {
            return Ok(None);
        }
        let now = super::topics::topic(connection, board, id)?.revision;
        if self.admits(now) {
            // Another program may write it before we do.
            Ok(Some(now))
        } else {
            Err(StoreError::Changed(id))
        }
    }
}

impl From<Option<Revision>> for RevisionCondition {
    fn from(expected: Option<Revision>) -> Self {
        Self {
            among: expected.map(|revision| vec![revision]),
            ..Self::default()
        }
    }
}

/// Selects a topic of a board, at the revision `expected` if that is given.
#[diesel::dsl::auto_type]
pub(super) fn is_topic(board: BoardId, id: TopicId, expected: Option<Revision>) -> _ {
    let (board, id): (i64, i64) = (board.0, id.0);
    let (any, at): (bool, i64) = (expected.is_none(), number(expected.unwrap_or_default()));
    topics::id
        .eq(id)
        .and(topics::board_id.eq(board))
        .and(any.into_sql::<Bool>().or(topics::revision.eq(at)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revision_is_admitted_if_it_is_among_those_wanted_and_none_that_is_not() {
        let [one, two, three] = [1, 2, 3].map(|number| Revision::new(number).expect("a revision"));
        let admitted = |condition: RevisionCondition| {
            [one, two, three].map(|revision| condition.admits(revision))
        };
        assert_eq!(admitted(RevisionCondition::default()), [true; 3]);
        assert_eq!(admitted(Some(two).into()), [false, true, false]);
        let condition = RevisionCondition {
            among: Some(vec![one, two]),
            not_among: vec![two],
            absent: false,
        };
        assert_eq!(admitted(condition), [true, false, false]);
        let absent = RevisionCondition {
            absent: true,
            ..RevisionCondition::default()
        };
        assert_eq!(admitted(absent), [false; 3]);
    }
}
