//! Pieces of SQL, and numbers as the database takes and returns them. Knows neither of the
//! databases.

use std::marker::PhantomData;

use diesel::{
    backend::Backend,
    expression::{AppearsOnTable, TypedExpressionType, ValidGrouping, is_aggregate},
    prelude::*,
    query_builder::{AstPass, Query, QueryFragment, QueryId},
    serialize::ToSql,
    sql_types::{BigInt, Bool, HasSqlType, Nullable, Text, Untyped},
};
use kairanban_core::{LogPosition, Revision};

use crate::StoreError;

/// The largest revision. A row past it has no place in the order, and is treated as if it did not
/// exist.
pub(crate) const REVISION_MAX: i64 = (1 << 53) - 1;

/// How many rows that are too old go in one transaction: few enough that it ends long before a
/// statement times out, and that other writers get in between.
pub(crate) const BATCH: usize = 5_000;

/// How many such transactions are one piece of work.
pub(crate) const BATCHES: usize = 10;

/// What changes what a board shows; as the index on `changes` has it.
pub(crate) const NOT_ARCHIVE: &str = "kind <> 'archive'";

/// Selects the revision of a board, which is that of its newest change (ADR 11), within a statement
/// that knows the board's id as `board_id`.
pub(crate) fn board_revision_sql(board_id: &str) -> String {
    format!(
        "coalesce((SELECT max(changes.revision) FROM changes WHERE changes.board_id = {board_id} \
         AND changes.{NOT_ARCHIVE} AND changes.revision BETWEEN 0 AND {REVISION_MAX}), 0)"
    )
}

/// Reads a revision.
///
/// # Errors
/// [`StoreError::Internal`] if it is negative or too large.
pub(crate) fn revision(number: i64) -> Result<Revision, StoreError> {
    let revision = u64::try_from(number).ok().and_then(Revision::new);
    revision.ok_or_else(|| {
        StoreError::Internal(format!(
            "the database holds {number} where a revision should be"
        ))
    })
}

/// Converts a revision into a value of the database.
pub(crate) fn number(revision: Revision) -> i64 {
    // Below 2^53 by construction.
    i64::try_from(revision.get()).unwrap_or(i64::MAX)
}

/// Converts a bound on rows into a `LIMIT`. It leaves room for one row more.
pub(crate) fn row_limit(rows: usize) -> i64 {
    i64::try_from(rows).unwrap_or(i64::MAX).min(i64::MAX - 1)
}

/// The row of a query that selects one number, as `number`.
#[derive(QueryableByName)]
pub(crate) struct Number {
    #[diesel(sql_type = Nullable<BigInt>)]
    pub(crate) number: Option<i64>,
}

/// A piece of SQL that is always the same. Unlike [`diesel::dsl::sql`] it lets the connection keep
/// the statement prepared.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Piece<ST>(pub(crate) &'static str, PhantomData<ST>);

impl<ST> Piece<ST> {
    pub(crate) const fn new(text: &'static str) -> Self {
        Self(text, PhantomData)
    }
}

impl<ST> QueryId for Piece<ST> {
    type QueryId = ();
    // Diesel keeps it prepared by its text.
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

/// Whether a row of the log is this one or later. In one comparison, so that an index finds where
/// that begins.
#[derive(Clone, Copy, Debug, QueryId)]
pub(crate) struct AtOrAfter {
    revision: i64,
    id: i64,
}

impl AtOrAfter {
    /// Starts at the row that was read last, or at the beginning.
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
    // Diesel keeps it prepared by its text.
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<DB: Backend> QueryFragment<DB> for Fixed {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, DB>) -> QueryResult<()> {
        out.push_sql(self.0);
        Ok(())
    }
}

impl<C: Connection> RunQueryDsl<C> for Fixed {}

/// A [`Fixed`] statement of Postgres with one value, a text, at its `$1`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FixedWithText<'t> {
    before: &'static str,
    text: &'t str,
    after: &'static str,
}

impl<'t> FixedWithText<'t> {
    pub(crate) fn new(statement: &'static str, text: &'t str) -> Self {
        let (before, after) = statement.split_once("$1").unwrap_or((statement, ""));
        Self {
            before,
            text,
            after,
        }
    }
}

impl Query for FixedWithText<'_> {
    type SqlType = Untyped;
}

impl QueryId for FixedWithText<'_> {
    type QueryId = ();
    // Diesel keeps it prepared by its text.
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<DB> QueryFragment<DB> for FixedWithText<'_>
where
    DB: Backend + HasSqlType<Text>,
    str: ToSql<Text, DB>,
{
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, DB>) -> QueryResult<()> {
        out.push_sql(self.before);
        out.push_bind_param::<Text, _>(self.text)?;
        out.push_sql(self.after);
        Ok(())
    }
}

impl<C: Connection> RunQueryDsl<C> for FixedWithText<'_> {}

/// The row of `PRAGMA data_version`.
#[derive(QueryableByName)]
pub(crate) struct DataVersionRow {
    #[diesel(sql_type = BigInt)]
    pub(crate) data_version: i64,
}

/// Draws the id of a new topic on Postgres. To look costs less than to move, for nothing.
pub(crate) const DRAW_TOPIC_ID: &str = "\
    (SELECT CASE WHEN id > coalesce((SELECT max(topics.id) FROM topics), 0) THEN id \
    ELSE (SELECT nextval('topics_id_seq') FROM move_topic_ids()) END \
    FROM (SELECT nextval('topics_id_seq') AS id) AS drawn)";
