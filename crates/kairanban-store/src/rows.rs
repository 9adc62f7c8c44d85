//! Rows as they come from the database, and what they stand for.

use diesel::{
    Queryable,
    backend::Backend,
    expression::{AppearsOnTable, TypedExpressionType, ValidGrouping, is_aggregate},
    helper_types::Nullable as NullableColumn,
    prelude::*,
    query_builder::{AstPass, Query, QueryFragment, QueryId},
    serialize::ToSql,
    sql_types::{BigInt, Bool, HasSqlType, Nullable, Text, Untyped},
};
use kairanban_core::{
    Change, ChangeKind, LogPosition, LogRow, Policies, PostPolicy, ReadPolicy, Revision, Standing,
    Topic, TopicId,
};
use std::{marker::PhantomData, sync::Arc};

use crate::{
    StoreError,
    change_log::RowBefore,
    lenient::{self, AnyNumber, LossyText, Time},
    schema::{boards, topics},
};

/// A topic from the right side of a join; all of it is null where there is none.
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

/// A piece of SQL that is always the same. Unlike [`diesel::dsl::sql`] it lets the connection keep the statement prepared.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Piece<ST>(pub(crate) &'static str, PhantomData<ST>);

impl<ST> Piece<ST> {
    pub(crate) const fn new(text: &'static str) -> Self {
        Self(text, PhantomData)
    }
}

impl<ST> QueryId for Piece<ST> {
    type QueryId = ();
    // It is known by its text.
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<ST: TypedExpressionType> Expression for Piece<ST> {
    type SqlType = ST;
}

impl<ST> ValidGrouping<()> for Piece<ST> {
    type IsAggregate = is_aggregate::No;
}

impl<ST: TypedExpressionType, From> AppearsOnTable<From> for Piece<ST> {}

impl<ST: TypedExpressionType, From> SelectableExpression<From> for Piece<ST> {}

impl<ST, DB: Backend> QueryFragment<DB> for Piece<ST> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, DB>) -> QueryResult<()> {
        out.push_sql(self.0);
        Ok(())
    }
}

/// Whether a row of the log is this one or later. In one comparison, so that an index finds where that begins.
#[derive(Clone, Copy, Debug, QueryId)]
pub(crate) struct AtOrAfter {
    revision: i64,
    id: i64,
}

impl AtOrAfter {
    /// From the row that was read last, or from the beginning.
    pub(crate) fn last_of(position: &LogPosition) -> Self {
        let (revision, id) = position
            .last
            .as_ref()
            .map_or((0, 0), |last| (number(last.revision), last.id));
        Self { revision, id }
    }
}

impl Expression for AtOrAfter {
    type SqlType = Bool;
}

impl ValidGrouping<()> for AtOrAfter {
    type IsAggregate = is_aggregate::No;
}

impl<From> AppearsOnTable<From> for AtOrAfter {}

impl<From> SelectableExpression<From> for AtOrAfter {}

impl<DB> QueryFragment<DB> for AtOrAfter
where
    DB: Backend + HasSqlType<BigInt>,
    i64: ToSql<BigInt, DB>,
{
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, DB>) -> QueryResult<()> {
        out.push_sql("(changes.revision, changes.id) >= (");
        out.push_bind_param::<BigInt, _>(&self.revision)?;
        out.push_sql(", ");
        out.push_bind_param::<BigInt, _>(&self.id)?;
        out.push_sql(")");
        Ok(())
    }
}

/// A whole statement that is always the same, so that the connection may keep it prepared.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fixed(pub(crate) &'static str);

impl Query for Fixed {
    type SqlType = Untyped;
}

impl QueryId for Fixed {
    type QueryId = ();
    // It is known by its text.
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<DB: Backend> QueryFragment<DB> for Fixed {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, DB>) -> QueryResult<()> {
        out.push_sql(self.0);
        Ok(())
    }
}

impl<C: Connection> RunQueryDsl<C> for Fixed {}

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
    /// The topic, if the join found one that has an id as they are given.
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
            lenient::note("topics", id);
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

/// How a board stands, from the right side of a join.
#[derive(Queryable)]
pub(crate) struct StandingRow {
    name: Option<LossyText>,
    read: Option<LossyText>,
    post: Option<LossyText>,
    named_by: Option<AnyNumber>,
}

pub(crate) type StandingColumns = (
    NullableColumn<boards::name>,
    NullableColumn<boards::read>,
    NullableColumn<boards::post>,
    Piece<Nullable<BigInt>>,
);

/// The row of the log since which the board has had its name.
const NAMED_BY: &str = "(SELECT named_by FROM board_lives WHERE board_lives.board_id = boards.id)";

pub(crate) fn standing_columns() -> StandingColumns {
    (
        boards::name.nullable(),
        boards::read.nullable(),
        boards::post.nullable(),
        Piece::new(NAMED_BY),
    )
}

impl StandingRow {
    /// A name that another program chose and that no address can hold is nobody's board.
    pub(crate) fn into_standing(self) -> Option<Standing> {
        Some(Standing {
            name: self.name?.0.parse().ok()?,
            policies: policies(self.read.as_ref(), self.post.as_ref()),
        })
    }
}

/// What cannot be understood lets nobody in.
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
    board: StandingRow,
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
            kind: kind(&self.kind.0),
            board_id: kairanban_core::BoardId(self.board_id.0),
            names_board: self
                .board
                .named_by
                .is_some_and(|named_by| named_by.0 == self.id),
            board: self.board.into_standing(),
            topic_id: self.topic_id.map(TopicId),
            topic: self.topic.into_topic().map(Arc::new),
        })
    }
}

pub(crate) fn revision(number: i64) -> Result<Revision, StoreError> {
    let revision = u64::try_from(number).ok().and_then(Revision::new);
    revision.ok_or_else(|| {
        StoreError::Internal(format!(
            "the database holds {number} where a revision should be"
        ))
    })
}

pub(crate) fn number(revision: Revision) -> i64 {
    // Below 2^53 by construction.
    i64::try_from(revision.get()).unwrap_or(i64::MAX)
}

pub(crate) fn kind(text: &str) -> ChangeKind {
    match text {
        "set" => ChangeKind::Set,
        "delete" => ChangeKind::Delete,
        "archive" => ChangeKind::Archive,
        "clear" => ChangeKind::Clear,
        "board" => ChangeKind::Board,
        "token" => ChangeKind::Token,
        _ => ChangeKind::Unknown,
    }
}

/// Of a raw query with one number.
#[derive(QueryableByName)]
pub(crate) struct Number {
    #[diesel(sql_type = Nullable<BigInt>)]
    pub(crate) number: Option<i64>,
}

/// The revision of a transaction, and how many changes it has.
#[derive(QueryableByName)]
pub(crate) struct StampedRow {
    #[diesel(sql_type = Nullable<BigInt>)]
    pub(crate) number: Option<i64>,
    #[diesel(sql_type = BigInt)]
    pub(crate) changes: i64,
    #[diesel(sql_type = Nullable<BigInt>)]
    id: Option<i64>,
    #[diesel(sql_type = Nullable<Text>)]
    kind: Option<String>,
    #[diesel(sql_type = Nullable<BigInt>)]
    board_id: Option<i64>,
    #[diesel(sql_type = Nullable<BigInt>)]
    topic_id: Option<i64>,
    #[diesel(sql_type = Nullable<Text>)]
    at: Option<String>,
    #[diesel(sql_type = Nullable<BigInt>)]
    before_revision: Option<i64>,
    #[diesel(sql_type = Nullable<BigInt>)]
    before_id: Option<i64>,
    #[diesel(sql_type = Nullable<Text>)]
    before_at: Option<String>,
}

impl StampedRow {
    /// The row of the log before all that have the revision.
    pub(crate) fn before(&self) -> Option<RowBefore> {
        let revision = AnyNumber(self.before_revision?).revision()?;
        Some(RowBefore {
            revision,
            id: self.before_id?,
            at: self.before_at.clone().unwrap_or_default(),
        })
    }

    /// The last row of the log that has the revision.
    pub(crate) fn last(self, revision: Revision) -> Option<LogRow> {
        let Self {
            id,
            kind,
            board_id,
            topic_id,
            at,
            ..
        } = self;
        Some(LogRow {
            revision,
            id: id?,
            kind: kind?,
            board_id: board_id?,
            topic_id,
            at: at.unwrap_or_default(),
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

/// Of `PRAGMA data_version`.
#[derive(QueryableByName)]
pub(crate) struct DataVersionRow {
    #[diesel(sql_type = BigInt)]
    pub(crate) data_version: i64,
}
