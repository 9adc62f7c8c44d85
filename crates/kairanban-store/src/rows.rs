//! Rows as they come from the database, and what they stand for.

use std::sync::Arc;

use diesel::{
    Queryable,
    helper_types::Nullable as NullableColumn,
    prelude::*,
    sql_types::{BigInt, Nullable},
};
use kairanban_core::{
    BoardInfo, Change, ChangeKind, LogRow, Policies, PostPolicy, ReadPolicy, Revision, Topic,
    TopicId,
};

use crate::{
    StoreError,
    lenient::{self, AnyNumber, LossyText, Time},
    schema::{boards, topics},
    sql::{Piece, revision},
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
    /// The topic, if the join found one whose id is in range.
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
            lenient::log_unreadable("topics", id);
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

/// The name and policies of a board, from the right side of a join; all of it is null where there is no board.
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

/// A row of the change log, with the board's name and the topic as they stand now.
#[derive(Queryable)]
pub(crate) struct ChangeRow {
    pub(crate) id: i64,
    pub(crate) revision: i64,
    kind: LossyText,
    board_id: AnyNumber,
    board: BoardInfoRow,
    topic_id: Option<i64>,
    topic: TopicRow,
    at: Option<Vec<u8>>,
}

impl ChangeRow {
    /// The row as it stands in the log.
    pub(crate) fn log_row(&self) -> Result<LogRow, StoreError> {
        let at = String::from_utf8_lossy(self.at.as_deref().unwrap_or_default()).into_owned();
        Ok(LogRow {
            revision: revision(self.revision)?,
            id: self.id,
            kind: self.kind.0.clone(),
            board_id: self.board_id.0,
            topic_id: self.topic_id,
            at,
        })
    }

    pub(crate) fn into_change(self) -> Result<Change, StoreError> {
        Ok(Change {
            revision: revision(self.revision)?,
            kind: ChangeKind::of_word(&self.kind.0),
            board_id: kairanban_core::BoardId(self.board_id.0),
            names_board: self
                .board
                .named_by
                .is_some_and(|named_by| named_by.0 == self.id),
            board: self.board.into_info(),
            topic_id: self.topic_id.map(TopicId),
            topic: self.topic.into_topic().map(Arc::new),
        })
    }
}

/// A topic that was just written.
#[derive(QueryableByName)]
pub(crate) struct CreatedRow {
    /// The id that was drawn for it.
    #[diesel(sql_type = Nullable<BigInt>)]
    pub(crate) drawn: Option<i64>,
    /// The same, if a row with it was written.
    #[diesel(sql_type = Nullable<BigInt>)]
    pub(crate) id: Option<i64>,
}
