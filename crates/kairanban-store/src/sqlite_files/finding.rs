//! What another program did to the files of a database that is in use.

use std::time::{Duration, Instant};

use super::{
    FileMark, SqliteFiles, overwritten::OverwriteWatch, wal::WalPass, watched_wal::WalOverwritten,
};
use crate::{Fault, StoreError};

/// What another program did to the files, or what a statement met in them.
#[derive(Clone, Debug)]
pub(crate) enum FileFinding {
    /// No file lies at the path, or none that can be looked at.
    Gone(StoreError),
    /// Another file lies there.
    Replaced,
    /// Something other than SQLite wrote to the `-wal`, or set the `-shm` back. In words.
    WalOverwritten(String),
    /// Something other than SQLite wrote to the database.
    DatabaseOverwritten,
    /// A statement met damage.
    DamageMet(Fault),
    /// The `-shm` was removed, that long ago; the `-wal` may be, too.
    ShmRemoved(Duration),
    /// The `-wal` was removed.
    WalRemoved,
}

impl From<WalOverwritten> for FileFinding {
    fn from(error: WalOverwritten) -> Self {
        Self::WalOverwritten(error.to_string())
    }
}

/// Compares the files with how they were when a connection was opened on them.
pub(crate) struct FileObserver {
    files: SqliteFiles,
    opened: FileMark,
    shm: Option<String>,
    overwrites: Option<OverwriteWatch>,
    /// Whether the database was overwritten, at this look or at one before.
    is_overwritten: bool,
    wal_pass: WalPass,
    /// Since when the `-shm` is another one.
    without_shm: Option<Instant>,
}

impl FileObserver {
    /// Notes how the files are, on which a connection was `opened` and has read.
    pub(super) fn begin(files: &SqliteFiles, opened: &FileMark) -> Self {
        let (shm, notes) = files.shm_file().unzip();
        files.watch_wal(opened);
        Self {
            files: files.clone(),
            opened: opened.clone(),
            shm,
            overwrites: notes.map(|notes| OverwriteWatch::begin(files, notes)),
            is_overwritten: false,
            wal_pass: WalPass::default(),
            without_shm: None,
        }
    }

    /// Returns the first thing that is not as it should be. What has to be known before anything is
    /// written comes first: a `-wal` that does not hold what SQLite wrote must not be copied into
    /// the database, and nothing into a database that is another one.
    pub(crate) fn look(&mut self) -> Option<FileFinding> {
        let now = match self.files.now() {
            Ok(now) => now,
            Err(error) => return Some(FileFinding::Gone(error)),
        };
        // Also if something else comes first: the next look compares with how the file is now.
        let is_overwritten = self.is_overwritten();
        if now.database != self.opened.database {
            return Some(FileFinding::Replaced);
        }
        let part = self.files.read_wal(&mut self.wal_pass);
        if let Err(error) = part.and_then(|()| self.files.check_wal()) {
            return Some(error.into());
        }
        if is_overwritten {
            return Some(FileFinding::DatabaseOverwritten);
        }
        if let Some(damage) = self.files.damage() {
            return Some(FileFinding::DamageMet(damage));
        }
        if self.files.shm_mark() != self.shm {
            self.without_shm.get_or_insert_with(Instant::now);
        }
        if let Some(since) = self.without_shm {
            return Some(FileFinding::ShmRemoved(since.elapsed()));
        }
        (now.wal != self.opened.wal).then_some(FileFinding::WalRemoved)
    }

    /// Returns whether something other than SQLite wrote to the database, now or before.
    pub(crate) fn is_overwritten(&mut self) -> bool {
        let overwrites = self.overwrites.as_mut();
        self.is_overwritten |= overwrites.is_some_and(OverwriteWatch::is_overwritten);
        self.is_overwritten
    }

    /// Looks at the `-wal` alone.
    pub(crate) fn look_at_wal(&self) -> Option<FileFinding> {
        self.files.check_wal().err().map(FileFinding::from)
    }

    /// Looks at all of the `-wal`, unless it is very large: what was changed in the middle of it
    /// shows.
    pub(crate) fn look_at_whole_wal(&mut self) -> Option<FileFinding> {
        const STEPS_MAX: usize = 512;
        self.wal_pass = WalPass::default();
        for _ in 0..STEPS_MAX {
            if let Err(error) = self.files.read_wal(&mut self.wal_pass) {
                return Some(error.into());
            }
            if self.wal_pass.is_done() {
                break;
            }
        }
        None
    }
}
