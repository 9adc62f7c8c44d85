//! Whether another process committed to a SQLite file.

use std::path::PathBuf;

use diesel::RunQueryDsl as _;

use super::Store;
use crate::{
    DatabaseAddress, StoreError,
    connection::AnyConnection,
    identity,
    sql::{DataVersionRow, Fixed},
};

impl Store {
    /// Opens a connection for the caller alone, outside the pool, that only reads `PRAGMA
    /// data_version`; `None` on Postgres, which has other ways to notify.
    ///
    /// # Errors
    /// If the file cannot be opened.
    pub fn data_version(&self) -> Result<Option<DataVersion>, StoreError> {
        match self.config.address {
            DatabaseAddress::Postgres(_) => Ok(None),
            DatabaseAddress::Sqlite(ref path) => {
                let mark = identity::file_mark(path)?;
                let connection = AnyConnection::open(&self.config.address, self.config.timeouts)?;
                Ok(Some(DataVersion {
                    connection,
                    path: path.clone(),
                    mark,
                }))
            }
        }
    }
}

/// Shows whether another connection committed to the SQLite file.
pub struct DataVersion {
    connection: AnyConnection,
    path: PathBuf,
    /// The mark of the file that the connection was opened on.
    mark: String,
}

impl std::fmt::Debug for DataVersion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DataVersion")
    }
}

impl DataVersion {
    /// Reads a number that changes with each commit of any other connection, in whichever process.
    ///
    /// # Errors
    /// If the file cannot be read, or another one lies there now.
    pub fn read(&mut self) -> Result<i64, StoreError> {
        if identity::file_mark(&self.path)? != self.mark {
            return Err(StoreError::Disconnected(
                "another file lies there now".to_owned(),
            ));
        }
        let row: DataVersionRow = Fixed("PRAGMA data_version").get_result(&mut self.connection)?;
        Ok(row.data_version)
    }
}
