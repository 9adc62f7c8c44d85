//! Whether a database in WAL mode was written past SQLite, as by `cp` or `truncate`.
//!
//! SQLite writes such a file only to copy pages of the `-wal` into it, and notes that in the `-shm`
//! before and after, whichever program does it. What changes without a note was written by
//! something else.

use std::{fs, io, path::PathBuf, sync::Arc, time::SystemTime};

use super::SqliteFiles;

/// Where the `-shm` has the salt of the `-wal`, and how many of its frames are copied, and are to
/// be. The layout is part of SQLite's file format.
const SALT: u64 = 32;
const COPIED: u64 = 96;
pub(super) const TO_COPY: u64 = 128;

/// What the `-shm` says of copying.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Copying {
    salt: [u8; 8],
    copied: [u8; 4],
    to_copy: [u8; 4],
}

impl Copying {
    fn read(shm: &fs::File) -> io::Result<Self> {
        let (mut salt, mut copied, mut to_copy) = ([0; 8], [0; 4], [0; 4]);
        read_at(shm, &mut salt, SALT)?;
        read_at(shm, &mut copied, COPIED)?;
        read_at(shm, &mut to_copy, TO_COPY)?;
        Ok(Self {
            salt,
            copied,
            to_copy,
        })
    }

    fn is_under_way(&self) -> bool {
        self.copied != self.to_copy
    }
}

/// Compares a database with how it was the last time.
pub(crate) struct OverwriteWatch {
    path: PathBuf,
    shm: Arc<fs::File>,
    last: Option<(Copying, u64, SystemTime)>,
}

impl OverwriteWatch {
    /// Notes how the database is now.
    pub(crate) fn begin(files: &SqliteFiles, shm: Arc<fs::File>) -> Self {
        let mut watch = Self {
            path: files.path().to_owned(),
            shm,
            last: None,
        };
        let _ = watch.is_overwritten();
        watch
    }

    /// Returns whether something other than SQLite wrote to the database since the last call.
    pub(crate) fn is_overwritten(&mut self) -> bool {
        self.read_marks().unwrap_or(false)
    }

    fn read_marks(&mut self) -> io::Result<bool> {
        // In this order: what was copied between two calls shows in the notes around it.
        let before = Copying::read(&self.shm)?;
        let file = fs::metadata(&self.path)?;
        let now = (file.len(), file.modified()?);
        let after = Copying::read(&self.shm)?;
        let last = self.last.replace((before, now.0, now.1));
        Ok(last.is_some_and(|(noted, len, modified)| {
            (len, modified) != now && noted == after && !noted.is_under_way()
        }))
    }
}

#[cfg(unix)]
pub(super) fn read_at(file: &fs::File, bytes: &mut [u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, bytes, offset)
}

#[cfg(not(unix))]
pub(super) fn read_at(_: &fs::File, _: &mut [u8], _: u64) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}
