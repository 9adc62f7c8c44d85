//! Rows as they come from the database, and what they stand for.

use std::sync::Arc;

use diesel::{
    Queryable,
    helper_types::Nullable as NullableColumn,
    prelude::*,
    sql_types::{BigInt, Binary, Nullable},
};
use kairanban_core::{
    BoardId, BoardInfo, Change, LogRow, Policies, PostPolicy, ReadPolicy, Revision, Topic, TopicId,
};

use crate::{
    StoreError,
    connection::AnyConnection,
    lenient::{self, AnyNumber, LossyText, Time},
    schema::{boards, changes, topics},
    sql::Piece,
};

/// A topic from the right side of a join; all of it is null where the board has no topic.
#[derive(Queryable)]
pub(crate) struct TopicRow {
    id: Option<i64>,
    comment: Option<LossyText>,
    author: Option<LossyText>,
    created_at: Option<Time>,
    updated_at: Option<Time>,
    edited_at: Option<Time>,
    revision: Option<AnyNumber>,
}

/// The columns of a [`TopicRow`].
pub(crate) type TopicColumns = (
    NullableColumn<topics::id>,
    NullableColumn<topics::comment>,
    NullableColumn<topics::author>,
    NullableColumn<topics::created_at>,
    NullableColumn<topics::updated_at>,
    NullableColumn<topics::edited_at>,
    NullableColumn<topics::revision>,
);

pub(crate) fn topic_columns() -> TopicColumns {
    (
        topics::id.nullable(),
        topics::comment.nullable(),
        topics::author.nullable(),
        topics::created_at.nullable(),
        topics::updated_at.nullable(),
        topics::edited_at.nullable(),
        topics::revision.nullable(),
    )
}

impl TopicRow {
    /// Returns the topic, if the join found one whose id is in range.
    pub(crate) fn into_topic(self) -> Option<Topic> {
        let id = self.id?;
        let (created_at, updated_at) = (
            self.created_at.unwrap_or(Time::UNREADABLE),
            self.updated_at.unwrap_or(Time::UNREADABLE),
        );
        let at = self.revision.and_then(AnyNumber::revision);
        let is_id = u64::try_from(id)
            .ok()
            .and_then(Revision::new)
            .is_some_and(|id| id > Revision::ZERO);
        if !is_id
            || at.is_none()
            || ![Some(created_at), Some(updated_at), self.edited_at]
                .into_iter()
                .flatten()
                .all(Time::is_exact)
        {
            lenient::log_unreadable("topics", id, is_id);
        }
        is_id.then(|| Topic {
            id: TopicId(id),
            comment: self.comment.map(|text| text.0).unwrap_or_default(),
            author: self.author.map(|text| text.0).unwrap_or_default(),
            created_at: created_at.utc(),
            updated_at: updated_at.utc(),
            edited_at: self.edited_at.map(Time::utc),
            revision: at.unwrap_or_default(),
        })
    }
}

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

/// The name and policies of a board, from the right side of a join; all of it is null where there
/// is no board.
#[derive(Queryable)]
pub(crate) struct BoardInfoRow {
    name: Option<LossyText>,
    read: Option<LossyText>,
    post: Option<LossyText>,
    named_by: Option<AnyNumber>,
}

/// The columns of a [`BoardInfoRow`].
pub(crate) type BoardInfoColumns = (
    NullableColumn<boards::name>,
    NullableColumn<boards::read>,
    NullableColumn<boards::post>,
    Piece<Nullable<BigInt>>,
);

/// The row of the log since which the board has had its name.
const NAMED_BY: &str = "(SELECT named_by FROM board_lives WHERE board_lives.board_id = boards.id)";

pub(crate) fn board_info_columns() -> BoardInfoColumns {
    (
        boards::name.nullable(),
        boards::read.nullable(),
        boards::post.nullable(),
        Piece::new(NAMED_BY),
    )
}

impl BoardInfoRow {
    /// Returns `None` for a name that another program chose and that no address can hold.
    pub(crate) fn into_info(self) -> Option<BoardInfo> {
        Some(BoardInfo {
            name: self.name?.0.parse().ok()?,
            policies: policies(self.read.as_ref(), self.post.as_ref()),
        })
    }
}

/// Reads policies. One that cannot be understood lets no one in.
pub(crate) fn policies(read: Option<&LossyText>, post: Option<&LossyText>) -> Policies {
    let (read, post) = (
        read.and_then(|text| text.0.parse().ok()),
        post.and_then(|text| text.0.parse().ok()),
    );
    Policies {
        read: read.unwrap_or(ReadPolicy::Token),
        post: post.unwrap_or(PostPolicy::Closed),
    }
}

/// A row of the change log.
#[derive(Queryable)]
pub(crate) struct StoredLogRow {
    pub(crate) id: i64,
    pub(crate) revision: AnyNumber,
    pub(crate) kind: LossyText,
    pub(crate) board_id: AnyNumber,
    pub(crate) topic_id: Option<i64>,
    pub(crate) at: Option<Vec<u8>>,
}

/// The columns of a [`StoredLogRow`].
pub(crate) type LogColumns = (
    changes::id,
    changes::revision,
    changes::kind,
    changes::board_id,
    changes::topic_id,
    Piece<Nullable<Binary>>,
);

pub(crate) fn log_columns(connection: &AnyConnection) -> LogColumns {
    (
        changes::id,
        changes::revision,
        changes::kind,
        changes::board_id,
        changes::topic_id,
        Piece::new(connection.log_time_sql()),
    )
}

impl StoredLogRow {
    /// Returns the row, or `None` if it has no place in the order.
    pub(crate) fn into_log_row(self) -> Option<LogRow> {
        let at = self.at.as_deref().unwrap_or_default();
        Some(LogRow {
            revision: self.revision.revision()?,
            id: self.id,
            kind: self.kind.0,
            board_id: self.board_id.0,
            topic_id: self.topic_id,
            at: String::from_utf8_lossy(at).into_owned(),
        })
    }
}

/// How the board of a row of the log stands now, and its topic.
#[derive(Queryable)]
pub(crate) struct ChangedRow {
    board: BoardInfoRow,
    topic: TopicRow,
}

pub(crate) fn changed_columns() -> (BoardInfoColumns, TopicColumns) {
    (board_info_columns(), topic_columns())
}

impl ChangedRow {
    /// Returns what the row of the log says happened.
    pub(crate) fn into_change(self, row: &LogRow) -> Change {
        Change {
            revision: row.revision,
            kind: row.kind(),
            board_id: BoardId(row.board_id),
            names_board: self
                .board
                .named_by
                .is_some_and(|named_by| named_by.0 == row.id),
            board: self.board.into_info(),
            topic_id: row.topic_id.map(TopicId),
            topic: self.topic.into_topic().map(Arc::new),
        }
    }
}

/// A topic that was just written.
#[derive(QueryableByName)]
pub(crate) struct CreatedRow {
    /// The id that was drawn for it.
    #[diesel(sql_type = Nullable<BigInt>)]
    pub(crate) drawn: Option<i64>,
    /// That id, if a row with it was written.
    #[diesel(sql_type = Nullable<BigInt>)]
    pub(crate) id: Option<i64>,
}
