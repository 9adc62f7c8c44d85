//! Rows as they come from the database, and what they stand for.

use chrono::NaiveDateTime;
use diesel::{
    Queryable,
    backend::Backend,
    expression::{AppearsOnTable, ValidGrouping, is_aggregate},
    helper_types::Nullable as NullableColumn,
    prelude::*,
    query_builder::{AstPass, Query, QueryFragment, QueryId},
    sql_types::{BigInt, Binary, Nullable, Text, Untyped},
};
use kairanban_core::{Change, ChangeKind, Policies, PostPolicy, ReadPolicy, Revision, Standing, Topic, TopicId};
use std::sync::Arc;

use crate::{
    StoreError,
    schema::{boards, topics},
};

/// A topic from the right side of a join; all of it is null where there is none.
///
/// Text is read as bytes: another program may have put bytes into a SQLite text that are no
/// UTF-8, and one such row must not hide the rest of the board.
#[derive(Queryable)]
pub(crate) struct TopicRow {
    id: Option<i64>,
    comment: Option<Vec<u8>>,
    author: Option<Vec<u8>>,
    created_at: Option<NaiveDateTime>,
    updated_at: Option<NaiveDateTime>,
    revision: Option<i64>,
}

/// A text column, read as bytes. Unlike a piece of SQL of our own it lets the connection keep the statement prepared.
#[derive(Clone, Copy, Debug, QueryId)]
pub(crate) struct AsBytes<C>(C);

impl<C> Expression for AsBytes<C> {
    type SqlType = Nullable<Binary>;
}

impl<C> ValidGrouping<()> for AsBytes<C> {
    type IsAggregate = is_aggregate::No;
}

impl<C, From> AppearsOnTable<From> for AsBytes<C> {}

impl<C, From> SelectableExpression<From> for AsBytes<C> {}

impl<C: QueryFragment<DB>, DB: Backend> QueryFragment<DB> for AsBytes<C> {
    fn walk_ast<'b>(&'b self, out: AstPass<'_, 'b, DB>) -> QueryResult<()> {
        self.0.walk_ast(out)
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
    AsBytes<topics::comment>,
    AsBytes<topics::author>,
    NullableColumn<topics::created_at>,
    NullableColumn<topics::updated_at>,
    NullableColumn<topics::revision>,
);

pub(crate) fn topic_columns() -> TopicColumns {
    (
        topics::id.nullable(),
        AsBytes(topics::comment),
        AsBytes(topics::author),
        topics::created_at.nullable(),
        topics::updated_at.nullable(),
        topics::revision.nullable(),
    )
}

impl TopicRow {
    /// The topic, if the join found one.
    pub(crate) fn into_topic(self) -> Result<Option<Topic>, StoreError> {
        let (Some(id), Some(created_at), Some(updated_at), Some(at)) = (self.id, self.created_at, self.updated_at, self.revision)
        else {
            return Ok(None);
        };
        let text = |bytes: Option<Vec<u8>>| String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned();
        Ok(Some(Topic {
            id: TopicId(id),
            comment: text(self.comment),
            author: text(self.author),
            created_at: created_at.and_utc(),
            updated_at: updated_at.and_utc(),
            revision: revision(at)?,
        }))
    }
}

/// How a board stands, from the right side of a join.
#[derive(Queryable)]
pub(crate) struct StandingRow {
    name: Option<String>,
    read: Option<String>,
    post: Option<String>,
}

pub(crate) type StandingColumns = (NullableColumn<boards::name>, NullableColumn<boards::read>, NullableColumn<boards::post>);

pub(crate) fn standing_columns() -> StandingColumns {
    (boards::name.nullable(), boards::read.nullable(), boards::post.nullable())
}

impl StandingRow {
    /// A name that another program chose and that no address can hold is nobody's board.
    pub(crate) fn into_standing(self) -> Option<Standing> {
        Some(Standing { name: self.name?.parse().ok()?, policies: policies(&self.read?, &self.post?) })
    }
}

/// What cannot be understood lets nobody in.
pub(crate) fn policies(read: &str, post: &str) -> Policies {
    Policies { read: read.parse().unwrap_or(ReadPolicy::Token), post: post.parse().unwrap_or(PostPolicy::Closed) }
}

/// A row of the change log, with the board's name and the topic as they stand now.
#[derive(Queryable)]
pub(crate) struct ChangeRow {
    revision: i64,
    kind: String,
    board_id: i64,
    board: StandingRow,
    topic_id: Option<i64>,
    topic: TopicRow,
}

impl ChangeRow {
    pub(crate) fn into_change(self) -> Result<Change, StoreError> {
        Ok(Change {
            revision: revision(self.revision)?,
            kind: kind(&self.kind),
            board_id: kairanban_core::BoardId(self.board_id),
            board: self.board.into_standing(),
            topic_id: self.topic_id.map(TopicId),
            topic: self.topic.into_topic()?.map(Arc::new),
        })
    }
}

pub(crate) fn revision(number: i64) -> Result<Revision, StoreError> {
    let revision = u64::try_from(number).ok().and_then(Revision::new);
    revision.ok_or_else(|| StoreError::Internal(format!("the database holds {number} where a revision should be")))
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
}

/// A topic that was just written.
#[derive(QueryableByName)]
pub(crate) struct CreatedRow {
    #[diesel(sql_type = BigInt)]
    pub(crate) id: i64,
    #[diesel(sql_type = BigInt)]
    pub(crate) board_id: i64,
    #[diesel(sql_type = Text)]
    pub(crate) comment: String,
    #[diesel(sql_type = Text)]
    pub(crate) author: String,
}

/// Of `PRAGMA data_version`.
#[derive(QueryableByName)]
pub(crate) struct DataVersionRow {
    #[diesel(sql_type = BigInt)]
    pub(crate) data_version: i64,
}
