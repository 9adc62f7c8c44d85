//! `PRAGMA data_version`: whether another connection committed to a SQLite file.

use diesel::RunQueryDsl as _;

use crate::{
    StoreError,
    connection::AnyConnection,
    sql::{DataVersionRow, Fixed},
};

/// Reads a number that changes with each commit of any other connection, in whichever process. It
/// is read from shared memory, not from the file.
pub(super) fn read(connection: &mut AnyConnection) -> Result<i64, StoreError> {
    let row: DataVersionRow = Fixed("PRAGMA data_version").get_result(connection)?;
    Ok(row.data_version)
}
