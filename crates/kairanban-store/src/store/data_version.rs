//! Whether another process committed to a SQLite file, and whether its files are still in place.

use std::time::{Duration, Instant};

use diesel::{
    QueryableByName, RunQueryDsl as _, connection::SimpleConnection as _, sql_types::BigInt,
};
use thiserror::Error;

use super::Store;
use crate::{
    StoreError,
    classified::sqlite::meaning,
    connection::AnyConnection,
    files, identity, migrate,
    sql::{DataVersionRow, Fixed},
    sqlite_files::{OpenFile, OverwriteWatch, SqliteFiles, WalFate, WalPass, replaced, soundness},
};

/// How long the `-shm` may be missing before the process ends: an operator may be about to put
/// another database there.
const SHM_PATIENCE: Duration = Duration::from_secs(1);

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

impl Store {
    /// Opens a connection for the caller alone, outside the pool, that only reads `PRAGMA
    /// data_version`; `None` on Postgres, which has other ways to notify.
    ///
    /// # Errors
    /// If the file cannot be opened.
    pub fn data_version(&self) -> Result<Option<DataVersion>, StoreError> {
        let Some(files) = self.pool.files() else {
            return Ok(None);
        };
        let (mut connection, open) = files.open(
            || AnyConnection::open(&self.config.address, self.config.timeouts),
            soundness::check,
        )?;
        // After a crash the notes say that copying is under way.
        let _ = connection.batch_execute("PRAGMA wal_checkpoint(PASSIVE)");
        let (shm, notes) = files.shm_file().unzip();
        files.watch_wal(&open.mark);
        Ok(Some(DataVersion {
            watch: notes.map(|notes| OverwriteWatch::begin(files, notes)),
            shm,
            is_overwritten: false,
            wal_pass: WalPass::default(),
            without_shm: None,
            files: files.clone(),
            connection: Some(connection),
            open,
            store: self.clone(),
        }))
    }

    /// Checks what lies there, as a connection finds it that knows nothing of it, and empties the
    /// `-wal` if it is sound.
    fn check_file(&self) -> Result<(), Unfit> {
        // SQLite would delete the -wal of an empty one.
        if self.config.address.path().is_some_and(files::is_empty) {
            return Err(Unfit::Damaged("it is empty".to_owned()));
        }
        // Without its settings: what may be another program's is not changed.
        let mut connection = AnyConnection::connect(&self.config.address, self.config.timeouts)
            .map_err(StoreError::from)?;
        soundness::check_all(&mut connection)?;
        check_is_ours(&mut connection)?;
        // After a crash SQLite would put it over the database again.
        empty_wal(&mut connection)?;
        if self
            .config
            .address
            .path()
            .is_some_and(soundness::is_in_wal_mode)
        {
            Ok(())
        } else {
            Err(Unfit::Foreign("it is not in WAL mode yet".to_owned()))
        }
    }
}

/// Why the database that lies there cannot be used.
enum Unfit {
    /// Another try may find that it can: others are in the way, or the disk is full.
    Unknown(StoreError),
    /// Its pages do not fit together.
    Damaged(String),
    /// It is sound, but a running server cannot go on with it.
    Foreign(String),
}

impl From<StoreError> for Unfit {
    fn from(error: StoreError) -> Self {
        match error {
            error if error.may_pass() => Self::Unknown(error),
            StoreError::Fault(fault) => Self::Damaged(fault.text),
            error => Self::Damaged(error.to_string()),
        }
    }
}

/// Checks that a sound database is one of kairanban's, at this version's schema.
fn check_is_ours(connection: &mut AnyConnection) -> Result<(), Unfit> {
    let of_schema = |error: StoreError| match error {
        error if error.may_pass() || error.damage().is_some() => error.into(),
        error => Unfit::Foreign(error.to_string()),
    };
    let epoch = identity::stored_epoch(connection).map_err(|error| of_schema(meaning(error)))?;
    if epoch.is_none() {
        return Err(Unfit::Foreign("it has no epoch".to_owned()));
    }
    let pending = migrate::pending_names(connection).map_err(of_schema)?;
    if pending.is_empty() {
        Ok(())
    } else {
        let pending = pending.join(", ");
        Err(Unfit::Foreign(format!("it lacks {pending}")))
    }
}

/// Copies all of the `-wal` into the database, and empties it.
fn empty_wal(connection: &mut AnyConnection) -> Result<(), StoreError> {
    let done: CheckpointRow = Fixed("PRAGMA wal_checkpoint(TRUNCATE)")
        .get_result(connection)
        .map_err(meaning)?;
    if done.busy == 0 {
        Ok(())
    } else {
        Err(StoreError::Unavailable(
            "the -wal was removed, and other connections are using it".to_owned(),
        ))
    }
}

#[derive(QueryableByName)]
struct CheckpointRow {
    #[diesel(sql_type = BigInt)]
    busy: i64,
}

/// Shows whether another connection committed to the SQLite file.
pub struct DataVersion {
    /// `None` once it was left open for good.
    connection: Option<AnyConnection>,
    open: OpenFile,
    files: SqliteFiles,
    shm: Option<String>,
    watch: Option<OverwriteWatch>,
    is_overwritten: bool,
    wal_pass: WalPass,
    /// Since when the `-shm` is another one.
    without_shm: Option<Instant>,
    store: Store,
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
    /// If the file cannot be read, or something was done to it past SQLite.
    pub fn read(&mut self) -> Result<i64, FileWatchError> {
        let now = self.files.now().map_err(FileWatchError::Reopen)?;
        let watch = self.watch.as_mut();
        self.is_overwritten |= watch.is_some_and(OverwriteWatch::is_overwritten);
        if now.database != self.open.mark.database {
            return Err(FileWatchError::Reopen(replaced()));
        }
        // Before anything of it is copied into the database.
        let read = self.files.read_wal(&mut self.wal_pass);
        if let Err(error) = read.and_then(|()| self.files.check_wal()) {
            return Err(self.end_without_wal(&error));
        }
        // Before anything is written there, as by saving a -wal.
        if self.is_overwritten {
            return Err(self.check_overwritten());
        }
        if let Some(damage) = self.files.damage() {
            return Err(self.check_damaged(&damage.to_string()));
        }
        if self.files.shm_mark() != self.shm {
            self.without_shm.get_or_insert_with(Instant::now);
        }
        if now.wal != self.open.mark.wal || self.without_shm.is_some() {
            return Err(self.save_wal());
        }
        let version = self.connection().and_then(|connection| {
            let row: DataVersionRow = Fixed("PRAGMA data_version").get_result(connection)?;
            Ok(row.data_version)
        });
        // Another connection would not know what the -wal held.
        version.map_err(|error| match self.files.check_wal() {
            Ok(()) => FileWatchError::Reopen(error),
            Err(error) => self.end_without_wal(&error),
        })
    }

    fn connection(&mut self) -> Result<&mut AnyConnection, StoreError> {
        let gone = || StoreError::Unavailable("the database is not used any more".to_owned());
        self.connection.as_mut().ok_or_else(gone)
    }

    /// Saves what a `-wal` holds that was removed, or whose `-shm` was. Without the same `-shm`
    /// other programs no longer wait for our locks, nor we for theirs.
    fn save_wal(&mut self) -> FileWatchError {
        let pool = self.store.pool.clone();
        // Until the next `-wal` is watched.
        let _lock = match pool.write_lock(None) {
            Ok(lock) => lock,
            Err(error) => return FileWatchError::Again(error),
        };
        match (self.connection().and_then(empty_wal), self.without_shm) {
            (Err(error), _) if error.may_pass() => FileWatchError::Again(error),
            (Err(error), _) => self.end(
                &format!(
                    "the -wal or -shm was removed while it was in use, and what was written last \
                     could not be saved ({error}): check the database, or put a backup in its place"
                ),
                WalFate::Copied,
            ),
            (Ok(()), None) => {
                self.files.let_wal_go();
                self.reopen("the -wal was removed while it was in use; what it held was saved")
            }
            (Ok(()), Some(since)) if since.elapsed() < SHM_PATIENCE => FileWatchError::Again(
                StoreError::Unavailable("the -shm was removed while it was in use".to_owned()),
            ),
            (Ok(()), Some(_)) => self.end(
                "the -shm was removed while it was in use. All that was written is saved: start \
                 the server again",
                WalFate::Copied,
            ),
        }
    }

    fn check_overwritten(&mut self) -> FileWatchError {
        let pool = self.store.pool.clone();
        let _lock = match pool.write_lock(None) {
            Ok(lock) => lock,
            Err(error) => return FileWatchError::Again(error),
        };
        match self.store.check_file() {
            Err(Unfit::Unknown(error)) => FileWatchError::Again(error),
            Err(Unfit::Foreign(why)) => self.end_with_another(
                "something other than SQLite wrote to the database (cp, truncate?)",
                &why,
            ),
            Err(Unfit::Damaged(error)) => self.end(
                &format!(
                    "something other than SQLite wrote to the database (cp, truncate?), and it does \
                     not fit its -wal ({error}), which was moved aside. If you restored a backup, \
                     start the server again; otherwise put one in its place first"
                ),
                WalFate::Aside,
            ),
            Ok(()) => {
                self.files.reopen_all();
                self.reopen(
                    "something other than SQLite wrote to the database (cp, truncate?); what is there \
                     now is sound",
                )
            }
        }
    }

    /// Checks what lies there after something met damage. A `-wal` that does not fit a database
    /// which is sound without it is that of another one.
    fn check_damaged(&mut self, damage: &str) -> FileWatchError {
        self.files.wait_for_end_of_copying();
        if let Err(error) = self.read_all_of_wal() {
            return self.end_without_wal(&error);
        }
        let pool = self.store.pool.clone();
        let _lock = match pool.write_lock(None) {
            Ok(lock) => lock,
            Err(error) => return FileWatchError::Again(error),
        };
        let error = match self.store.check_file() {
            Ok(()) => {
                self.files.reopen_all();
                return self.reopen("something met damage; what is there now is sound");
            }
            Err(Unfit::Unknown(error)) => return FileWatchError::Again(error),
            Err(Unfit::Foreign(why)) => return self.end_with_another("something met damage", &why),
            Err(Unfit::Damaged(error)) => error,
        };
        if soundness::check_without_wal(self.files.path(), self.store.config.timeouts).is_err() {
            return self.end(damage, WalFate::Left);
        }
        self.end(
            &format!(
                "the database does not fit its -wal ({error}), which was moved aside: was it \
                 copied over while it was in use? If you restored a backup, start the server \
                 again; otherwise put one in its place first"
            ),
            WalFate::Aside,
        )
    }

    /// Ends with a database that is sound, and that no connection can go on with.
    fn end_with_another(&mut self, what_happened: &str, why: &str) -> FileWatchError {
        self.end(
            &format!(
                "{what_happened}, and what is there now is sound, but not a database that a \
                 running server can go on with ({why}). If it is to be used, start the server \
                 again; otherwise put a backup in its place first"
            ),
            WalFate::Aside,
        )
    }

    /// Looks a last time, before the last connection that is closed copies the `-wal` into the
    /// database.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn read_last(&mut self) -> Result<(), FileWatchError> {
        self.read()?;
        let all = self.read_all_of_wal();
        all.map_err(|error| self.end_without_wal(&error))
    }

    /// Reads all of the `-wal`, unless it is very large.
    fn read_all_of_wal(&mut self) -> Result<(), StoreError> {
        const STEPS_MAX: usize = 512;
        self.wal_pass = WalPass::default();
        for _ in 0..STEPS_MAX {
            self.files.read_wal(&mut self.wal_pass)?;
            if self.wal_pass.is_done() {
                break;
            }
        }
        Ok(())
    }

    /// Goes on with another connection to what lies there now.
    fn reopen(&mut self, reason: &'static str) -> FileWatchError {
        tracing::warn!(reason, "the database file is opened again");
        match self.store.data_version() {
            Ok(Some(opened)) => {
                *self = opened;
                FileWatchError::Reopened(reason)
            }
            Ok(None) => FileWatchError::Reopen(StoreError::Disconnected(reason.to_owned())),
            Err(error) => FileWatchError::Reopen(error),
        }
    }

    /// Saves of a `-wal` that was overwritten what still stands there: what SQLite would copy of it
    /// now is not what it wrote.
    fn end_without_wal(&mut self, error: &StoreError) -> FileWatchError {
        let pool = self.store.pool.clone();
        // A write that goes on longer is not acknowledged.
        let _lock = pool.write_lock(None);
        self.files.give_up(&error.to_string(), WalFate::Left);
        self.files.wait_for_end_of_copying();
        if self.files.wal_has_what_counts() {
            return self.end(
                &format!(
                    "{error} (cp, truncate?). Transactions in it that are intact are kept; what was written \
                     last may be lost: end every program that uses the database, and start the \
                     server again"
                ),
                WalFate::Left,
            );
        }
        self.end(
            &format!(
                "{error} (cp, truncate?), which was moved aside: the database is as SQLite last \
                 copied into it, and what was written later is lost. End every program that uses \
                 it, and start the server again, or put a backup in its place first, all its files \
                 at once"
            ),
            WalFate::Aside,
        )
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
