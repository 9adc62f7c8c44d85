//! The revision of a write transaction, and its rows of the log, before it is committed.

use diesel::{
    QueryableByName, RunQueryDsl as _,
    sql_types::{BigInt, Nullable, Text},
};
use kairanban_core::{LogRow, Revision};

use crate::{StoreError, connection::AnyConnection, lenient::AnyNumber, sql::Fixed};

/// The place of a transaction in the order of commits, and what it wrote to the log.
#[derive(Clone, Debug)]
pub(crate) struct Stamp {
    /// The revision of the transaction.
    pub(crate) revision: Revision,
    /// How many rows of the log have it.
    pub(crate) changes: usize,
    /// The last row of the log that has it.
    pub(crate) last: Option<LogRow>,
    /// The row before all that have it.
    pub(crate) before: Option<RowBefore>,
}

/// The row of the log before those of a commit. A reader that has read the log up to the commit has read this row last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowBefore {
    /// The revision of the row.
    pub revision: Revision,
    /// The key of the row.
    pub id: i64,
    /// When it was committed, as text of the database.
    pub at: String,
}

impl RowBefore {
    /// Whether this is the row `read`.
    #[must_use]
    pub fn is(&self, read: &LogRow) -> bool {
        (self.revision, self.id, &self.at) == (read.revision, read.id, &read.at)
    }
}

/// Reads what this transaction came to, once its revision is drawn. Returns `None` if nothing changed.
pub(crate) fn read(connection: &mut AnyConnection) -> Result<Option<Stamp>, StoreError> {
    let row: StampRow = Fixed(connection.stamped_revision_sql()).get_result(connection)?;
    let changes = usize::try_from(row.changes).unwrap_or(usize::MAX);
    let Some(at) = row.number.and_then(|number| AnyNumber(number).revision()) else {
        return Ok(None);
    };
    Ok(Some(Stamp {
        revision: at,
        changes,
        before: row.before(),
        last: row.last(at),
    }))
}

/// A [`Stamp`] as the statement selects it.
#[derive(QueryableByName)]
struct StampRow {
    #[diesel(sql_type = Nullable<BigInt>)]
    number: Option<i64>,
    #[diesel(sql_type = BigInt)]
    changes: i64,
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

impl StampRow {
    /// The row of the log before all that have the revision.
    fn before(&self) -> Option<RowBefore> {
        let revision = AnyNumber(self.before_revision?).revision()?;
        Some(RowBefore {
            revision,
            id: self.before_id?,
            at: self.before_at.clone().unwrap_or_default(),
        })
    }

    /// The last row of the log that has the revision.
    fn last(self, revision: Revision) -> Option<LogRow> {
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
