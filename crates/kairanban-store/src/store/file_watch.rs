//! Watches the files of a SQLite database for commits of other connections and for what other
//! programs do to the files themselves, and carries out the response.
//!
//! ```text
//!  FileObserver::look ──▶ FileFinding ──▶ respond ──▶ Response ──▶ FileWatch::carry_out
//!                                           │  ▲
//!                                           ▼  │
//!                                        FileChecks   under the write lock
//! ```

mod checks;

use diesel::connection::SimpleConnection as _;
use thiserror::Error;

use self::checks::WatchChecks;
use super::{Store, data_version};
use crate::{
    StoreError,
    connection::AnyConnection,
    sqlite_files::{
        FileFinding, FileObserver, OpenFile, Response, SqliteFiles, WalFate, respond, soundness,
    },
};

/// Why the file cannot be watched.
#[derive(Debug, Error)]
pub enum FileWatchError {
    /// It has to be watched by another connection: another file may lie there.
    #[error(transparent)]
    Reopen(StoreError),
    /// The same connection is to try it again.
    #[error(transparent)]
    Again(StoreError),
    /// What lies there now is watched already, by another connection.
    #[error("{0}")]
    Reopened(&'static str),
    /// No connection of this process may be used any more.
    #[error("{0}")]
    Unusable(String),
}

/// Watches a SQLite file by a connection of its own.
pub struct FileWatch {
    /// `None` once it was left open for good.
    connection: Option<AnyConnection>,
    /// Dropped after the connection.
    _open: OpenFile,
    observer: FileObserver,
    files: SqliteFiles,
    store: Store,
}

impl std::fmt::Debug for FileWatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FileWatch")
    }
}

impl Store {
    /// Opens a connection for the caller alone, outside the pool, that watches the SQLite file;
    /// `None` on Postgres, which has other ways to notify.
    ///
    /// # Errors
    /// If the file cannot be opened.
    pub fn watch_file(&self) -> Result<Option<FileWatch>, StoreError> {
        let Some(files) = self.pool.files() else {
            return Ok(None);
        };
        let (mut connection, open) = files.open(
            || AnyConnection::open(&self.config.address, self.config.timeouts),
            soundness::check,
        )?;
        // After a crash the notes say that copying is under way.
        let _ = connection.batch_execute("PRAGMA wal_checkpoint(PASSIVE)");
        Ok(Some(FileWatch {
            observer: open.observe(),
            files: files.clone(),
            connection: Some(connection),
            _open: open,
            store: self.clone(),
        }))
    }
}

impl FileWatch {
    /// Reads a number that changes with each commit of any other connection, in whichever process.
    ///
    /// # Errors
    /// If the file cannot be read, or something was done to it past SQLite.
    pub fn read(&mut self) -> Result<i64, FileWatchError> {
        if let Some(finding) = self.observer.look() {
            return Err(self.handle(&finding));
        }
        let connection = self.connection.as_mut().ok_or_else(not_used);
        let version = connection.and_then(data_version::read);
        // Another connection would not know what the -wal held.
        version.map_err(|error| match self.observer.look_at_wal() {
            Some(finding) => self.handle(&finding),
            None => FileWatchError::Reopen(error),
        })
    }

    /// Looks a last time, before the last connection that is closed copies the `-wal` into the
    /// database.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn read_last(&mut self) -> Result<(), FileWatchError> {
        self.read()?;
        match self.observer.look_at_whole_wal() {
            Some(finding) => Err(self.handle(&finding)),
            None => Ok(()),
        }
    }

    /// Finds the response to a finding, and carries it out.
    fn handle(&mut self, finding: &FileFinding) -> FileWatchError {
        let pool = self.store.pool.clone();
        // Until connections are open on what is there then.
        let _lock = match finding {
            FileFinding::Gone(_) | FileFinding::Replaced => None,
            // A write that goes on longer is not acknowledged.
            FileFinding::WalOverwritten(_) => pool.write_lock(None).ok().flatten(),
            _ => match pool.write_lock(None) {
                Ok(lock) => lock,
                Err(error) => return FileWatchError::Again(error),
            },
        };
        let mut checks = WatchChecks {
            store: &self.store,
            files: &self.files,
            connection: self.connection.as_mut(),
            observer: &mut self.observer,
        };
        let response = respond(finding, &mut checks);
        self.carry_out(response)
    }

    fn carry_out(&mut self, response: Response) -> FileWatchError {
        match response {
            Response::TryAgain(error) => FileWatchError::Again(error),
            Response::OpenOther(error) => FileWatchError::Reopen(error),
            Response::OpenAgain(reason) => {
                self.files.reopen_all();
                self.reopen(reason)
            }
            Response::OpenOnOtherWal(reason) => {
                self.files.release_wal();
                self.reopen(reason)
            }
            Response::End { reason, fate } => self.end(&reason, fate),
        }
    }

    /// Goes on with another connection to what lies there now.
    fn reopen(&mut self, reason: &'static str) -> FileWatchError {
        tracing::warn!(reason, "the database file is opened again");
        match self.store.watch_file() {
            Ok(Some(opened)) => {
                *self = opened;
                FileWatchError::Reopened(reason)
            }
            Ok(None) => FileWatchError::Reopen(StoreError::Disconnected(reason.to_owned())),
            Err(error) => FileWatchError::Reopen(error),
        }
    }

    fn end(&mut self, reason: &str, fate: WalFate) -> FileWatchError {
        let reason = format!("{}: {reason}", self.files.path().display());
        self.files.give_up(&reason, fate);
        // The last connection that is closed would copy the -wal into the database.
        if fate != WalFate::Copied {
            std::mem::forget(self.connection.take());
        }
        FileWatchError::Unusable(reason)
    }
}

fn not_used() -> StoreError {
    StoreError::Unavailable("the database is not used any more".to_owned())
}
