//! The files of a SQLite database that is in use: what it means that another program removes,
//! replaces or overwrites one of them, and whether a connection is open on what lies there now.
//!
//! - The database is gone: no connection is lent until a file lies there again.
//! - Another file lies there: connections are opened on it; a `-wal` of the file before is moved
//!   aside.
//! - The `-wal` was removed: what it held is saved into the database, then all connections are
//!   opened again.
//! - The `-shm` was removed: what the `-wal` holds is saved into the database, then the process
//!   ends, because other programs no longer wait for its locks.
//! - The database was written past SQLite: if what is there is sound and ours, all connections are
//!   opened again; otherwise the process ends.
//! - The `-wal` was written past SQLite: nothing more is acknowledged, and the process ends.
//! - A reading or a write met damage: nothing more is acknowledged. If what is there turns out to
//!   be sound, all connections are opened again; otherwise the process ends.
//!
//! [`FileObserver`] finds what happened, [`respond`] decides, and
//! [`FileWatch`](crate::FileWatch) carries it out.

mod finding;
mod overwritten;
mod response;
pub(crate) mod soundness;
mod wal;
mod watched_wal;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use parking_lot::Mutex;

use self::wal::{WalHeader, WalIndex};
pub(crate) use self::{
    finding::{FileFinding, FileObserver},
    response::{FileChecks, Response, Unfit, WalRest, respond},
};
use crate::{Fault, StoreError, files, identity};

/// Returns the error for a connection to a file that is not the database any more.
fn replaced() -> StoreError {
    StoreError::Disconnected("the database file was replaced".to_owned())
}

/// Which files a connection is open on.
#[derive(Clone, Debug, PartialEq, Eq)]
struct FileMark {
    /// The mark of the database.
    database: String,
    /// The mark of the `-wal`, if there is one.
    wal: Option<String>,
    /// Grows when all connections have to be opened again on the same files.
    generation: u64,
}

impl FileMark {
    /// Returns whether a connection on these files is open on those that lie there `now`.
    fn matches(&self, now: &Self) -> bool {
        self.database == now.database
            && self.generation == now.generation
            && (self.wal.is_none() || self.wal == now.wal)
    }
}

/// The files of one database. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct SqliteFiles(Arc<SharedFiles>);

#[derive(Debug)]
struct SharedFiles {
    path: PathBuf,
    /// Held while a connection is opened: one at a time.
    opening: Mutex<()>,
    in_use: Mutex<FilesInUse>,
}

/// What the connections of this process are open on.
#[derive(Debug, Default)]
struct FilesInUse {
    mark: Option<FileMark>,
    connections: usize,
    /// Kept open as long as connections are: to close it would give up their locks.
    shm: Option<(String, Arc<fs::File>)>,
    /// The `-wal`, to look whether it holds what SQLite wrote there.
    wal: Option<Arc<fs::File>>,
    /// What it held at the last look.
    held: Option<WalIndex>,
    /// How its header was then.
    header: Option<WalHeader>,
    generation: u64,
    /// What a reading found to be damaged, and the database that it read.
    damage: Option<(FileMark, Fault)>,
    /// Why no connection may be used any more.
    unusable: Option<String>,
}

impl SqliteFiles {
    pub(crate) fn new(path: &Path) -> Self {
        Self(Arc::new(SharedFiles {
            path: path.to_owned(),
            opening: Mutex::default(),
            in_use: Mutex::default(),
        }))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0.path
    }

    /// Returns what lies there now.
    fn now(&self) -> Result<FileMark, StoreError> {
        let generation = {
            let in_use = self.0.in_use.lock();
            if let Some(reason) = &in_use.unusable {
                return Err(StoreError::Unavailable(reason.clone()));
            }
            in_use.generation
        };
        Ok(FileMark {
            database: identity::file_mark(&self.0.path)?,
            wal: identity::file_mark(&self.wal()).ok(),
            generation,
        })
    }

    /// Returns the mark of the `-shm`, if there is one.
    fn shm_mark(&self) -> Option<String> {
        identity::file_mark(&self.shm()).ok()
    }

    /// Returns the mark of the `-shm`, and the file, to read what SQLite notes there.
    fn shm_file(&self) -> Option<(String, Arc<fs::File>)> {
        let mark = self.shm_mark()?;
        let mut in_use = self.0.in_use.lock();
        if in_use.shm.as_ref().is_none_or(|(known, _)| *known != mark) {
            in_use.shm = Some((mark, Arc::new(fs::File::open(self.shm()).ok()?)));
            // Until it is known which one belongs to it.
            in_use.wal = None;
        }
        in_use.shm.clone()
    }

    /// Checks that what is committed now is not lost: that nothing else than SQLite wrote the
    /// `-wal`, and that no damage is known.
    pub(crate) fn check(&self) -> Result<(), StoreError> {
        self.check_wal()?;
        self.damage().map_or(Ok(()), |damage| {
            Err(StoreError::Unavailable(damage.to_string()))
        })
    }

    fn shm(&self) -> PathBuf {
        files::companion(&self.0.path, "-shm")
    }

    fn wal(&self) -> PathBuf {
        files::companion(&self.0.path, "-wal")
    }

    /// Opens a connection on what lies there. Returns it with a note of that, to be dropped after
    /// it.
    ///
    /// # Errors
    /// If another file lies there than before, and is empty or not sound: it may be written at this
    /// moment. Also while the `-wal` that other connections are open on is not there: a second one
    /// would be made beside it, and each would miss what the other holds.
    pub(crate) fn open<C>(
        &self,
        connect: impl FnOnce() -> Result<C, StoreError>,
        check_other: impl FnOnce(&mut C) -> Result<(), StoreError>,
    ) -> Result<(C, OpenFile), StoreError> {
        let _one = self.0.opening.lock();
        // Read first, so that a file that is missing is not created.
        let before = self.now()?;
        let (used, connections) = {
            let in_use = self.0.in_use.lock();
            (in_use.mark.clone(), in_use.connections)
        };
        match &used {
            Some(mark) if mark.database != before.database => {
                if files::is_empty(&self.0.path) {
                    return Err(StoreError::Unavailable(format!(
                        "{} is empty",
                        self.0.path.display()
                    )));
                }
                self.set_old_wal_aside(mark, &before);
            }
            Some(mark) if connections > 0 && !mark.matches(&before) => {
                return Err(StoreError::Unavailable(format!(
                    "{} was removed while it was in use; what it held is being saved",
                    self.wal().display()
                )));
            }
            _ => {}
        }
        let mut connection = connect()?;
        if used.is_some_and(|mark| mark.database != before.database) {
            check_other(&mut connection)?;
        }
        let mark = self.now()?;
        if mark.database != before.database {
            return Err(replaced());
        }
        {
            let mut in_use = self.0.in_use.lock();
            in_use.mark = Some(mark.clone());
            in_use.connections += 1;
        }
        let files = self.clone();
        Ok((connection, OpenFile { files, mark }))
    }

    /// Moves the `-wal` of the database that lay there before out of the way: SQLite would take it
    /// for that of the one that lies there now.
    fn set_old_wal_aside(&self, used: &FileMark, now: &FileMark) {
        if used.wal.is_some() && used.wal == now.wal {
            self.set_wal_aside();
        }
    }

    fn set_wal_aside(&self) {
        let (wal, aside) = (self.wal(), files::companion(&self.0.path, "-wal.aside"));
        // It holds no more than an index of the other.
        let _ = fs::remove_file(self.shm());
        match fs::rename(&wal, &aside) {
            Ok(()) => tracing::warn!(
                path = %aside.display(),
                "the -wal of the database that was there before was moved aside"
            ),
            Err(error) => tracing::warn!(%error, path = %wal.display(), "cannot move aside"),
        }
    }

    /// Lets connections be opened on another `-wal`: what the one before held was saved.
    pub(crate) fn release_wal(&self) {
        self.0.in_use.lock().mark = None;
    }

    /// Has all connections opened again, on the same files.
    pub(crate) fn reopen_all(&self) {
        let mut in_use = self.0.in_use.lock();
        in_use.generation += 1;
        in_use.mark = None;
    }

    /// Records that the database is damaged, if something failed because of that.
    pub(crate) fn record_damage(&self, error: &StoreError) {
        if let (Some(fault), Ok(now)) = (error.damage(), self.now()) {
            self.0.in_use.lock().damage = Some((now, fault.clone()));
        }
    }

    /// Returns what was found to be damaged in the database that lies there now.
    pub(crate) fn damage(&self) -> Option<Fault> {
        let (mark, fault) = self.0.in_use.lock().damage.clone()?;
        let now = self.now().ok()?;
        let is_same = (&mark.database, mark.generation) == (&now.database, now.generation);
        is_same.then_some(fault)
    }

    /// Makes every later connection fail.
    pub(crate) fn give_up(&self, reason: &str, fate: WalFate) {
        let mut in_use = self.0.in_use.lock();
        in_use.unusable = Some(reason.to_owned());
        if fate == WalFate::Aside {
            self.set_wal_aside();
        }
    }
}

/// What becomes of a `-wal` when the process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WalFate {
    /// The last connection that is closed copies it into the database.
    Copied,
    /// It is left to the next program that opens the database, which recovers it.
    Left,
    /// It is moved away: it does not fit the database.
    Aside,
}

/// What a connection was opened on.
#[derive(Debug)]
pub(crate) struct OpenFile {
    files: SqliteFiles,
    mark: FileMark,
}

impl OpenFile {
    /// Begins to watch the files, after the connection has read from them.
    pub(crate) fn observe(&self) -> FileObserver {
        FileObserver::begin(&self.files, &self.mark)
    }

    /// Checks that the connection is open on the files that are at the path now.
    ///
    /// # Errors
    /// [`StoreError::Disconnected`] if it is not; [`StoreError::Unavailable`] if no file lies there
    /// or none may be used.
    pub(crate) fn ensure_current(&self) -> Result<(), StoreError> {
        if self.mark.matches(&self.files.now()?) {
            Ok(())
        } else {
            Err(replaced())
        }
    }
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        self.files.0.in_use.lock().connections -= 1;
    }
}
