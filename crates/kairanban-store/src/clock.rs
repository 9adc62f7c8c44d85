//! The database's clock. Row times are made by it and compared with it, in the statement itself:
//! what a node thinks the time is decides nothing.

use std::time::Duration;

use chrono::{DateTime, NaiveDateTime, Utc};
use diesel::{
    backend::Backend,
    expression::{AppearsOnTable, ValidGrouping, is_aggregate},
    prelude::*,
    query_builder::{AstPass, QueryFragment, QueryId},
    serialize::ToSql,
    sql_types::{HasSqlType, Text, Timestamp},
};

use crate::{StoreError, connection::AnyConnection};

/// Nothing is older, and no calendar ends before. Seconds.
const AGES: u64 = 1_000 * 366 * 24 * 60 * 60;

/// The database's time at the beginning of the statement, or some time before.
#[derive(Clone, Debug, QueryId)]
pub(crate) struct DatabaseTime {
    /// The SQL before and behind `ago`.
    sql: (&'static str, &'static str),
    /// As both databases read it: a number of seconds, with the word.
    ago: String,
}

impl AnyConnection {
    /// Returns the database's time, to use in a statement.
    pub(crate) fn now(&self) -> DatabaseTime {
        self.ago(Duration::ZERO)
    }

    /// Returns the database's time `time` ago, to use in a statement.
    pub(crate) fn ago(&self, time: Duration) -> DatabaseTime {
        let time = time.min(Duration::from_secs(AGES));
        DatabaseTime {
            sql: self.ago_sql(),
            ago: format!("{}.{:06} seconds", time.as_secs(), time.subsec_micros()),
        }
    }
}

impl DatabaseTime {
    /// Returns it as a piece of SQL.
    pub(crate) fn text(&self) -> String {
        format!("{}'{}'{}", self.sql.0, self.ago, self.sql.1)
    }
}

impl Expression for DatabaseTime {
    type SqlType = Timestamp;
}

impl ValidGrouping<()> for DatabaseTime {
    type IsAggregate = is_aggregate::Never;
}

impl<From> AppearsOnTable<From> for DatabaseTime {}

impl<From> SelectableExpression<From> for DatabaseTime {}

impl<DB> QueryFragment<DB> for DatabaseTime
where
    DB: Backend + HasSqlType<Text>,
    String: ToSql<Text, DB>,
{
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, DB>) -> QueryResult<()> {
        out.push_sql(self.sql.0);
        out.push_bind_param::<Text, _>(&self.ago)?;
        out.push_sql(self.sql.1);
        Ok(())
    }
}

/// Reads the clock by itself.
pub(crate) fn read(connection: &mut AnyConnection) -> Result<DateTime<Utc>, StoreError> {
    let now: NaiveDateTime = diesel::select(connection.now()).get_result(connection)?;
    Ok(now.and_utc())
}
