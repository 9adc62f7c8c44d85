//! Looks at the `-wal` that connections are open on.

use std::{fs, path::PathBuf, sync::Arc, thread, time::Duration};

use thiserror::Error;

use super::{
    FileMark, SqliteFiles,
    wal::{self, WalFound, WalHeader, WalIndex, WalPass},
};
use crate::StoreError;

/// Something other than SQLite wrote to the `-wal`, or set the `-shm` back.
#[derive(Clone, Debug, Error)]
#[error("something other than SQLite wrote to {}", .0.display())]
pub(crate) struct WalOverwritten(PathBuf);

impl From<WalOverwritten> for StoreError {
    fn from(error: WalOverwritten) -> Self {
        Self::Unavailable(error.to_string())
    }
}

impl SqliteFiles {
    /// Begins to watch the `-wal` that `mark` says connections are open on.
    pub(super) fn watch_wal(&self, mark: &FileMark) {
        let file = fs::File::open(self.wal()).ok().map(Arc::new);
        let mut in_use = self.0.in_use.lock();
        (in_use.wal, in_use.held) = (mark.wal.clone().and(file), None);
    }

    /// Looks whether the `-wal`, as far as it is watched, holds what SQLite wrote there, also what
    /// it held at the last look.
    ///
    /// # Errors
    /// If something else wrote it: what is committed to it then is lost.
    pub(super) fn check_wal(&self) -> Result<(), WalOverwritten> {
        let Some((wal, shm, held)) = self.watched() else {
            return Ok(());
        };
        match wal::inspect(&wal, &shm, held.as_ref()) {
            Ok(WalFound::Fits(index)) => {
                index.iter().for_each(|index| self.remember(&wal, *index));
                Ok(())
            }
            Ok(WalFound::Overwritten) => Err(WalOverwritten(self.wal())),
            // What cannot be read, as on systems other than Unix, says nothing.
            Err(_) => Ok(()),
        }
    }

    /// Notes what the `-wal` holds, with its header, which is the same until SQLite begins with the
    /// first frame again.
    fn remember(&self, wal: &fs::File, index: WalIndex) {
        let known = self.0.in_use.lock().header;
        let header = known
            .filter(|header| header.is_of(&index))
            .or_else(|| WalHeader::read(wal, &index).ok().flatten());
        let mut in_use = self.0.in_use.lock();
        (in_use.held, in_use.header) = (Some(index), header);
    }

    /// Reads the next part of the `-wal`.
    ///
    /// # Errors
    /// If something other than SQLite wrote to it.
    pub(super) fn read_wal(&self, pass: &mut WalPass) -> Result<(), WalOverwritten> {
        match self.watched().map(|(wal, shm, _)| pass.step(&wal, &shm)) {
            Some(Ok(false)) => Err(WalOverwritten(self.wal())),
            _ => Ok(()),
        }
    }

    /// Waits until nothing writes the `-wal` any more, as `cp` does after it has emptied it.
    pub(crate) fn wait_for_end_of_copying(&self) {
        const STEP: Duration = Duration::from_millis(100);
        const STEPS_MAX: usize = 20;
        let mut last = None;
        for _ in 0..STEPS_MAX {
            let now = fs::metadata(self.wal()).and_then(|wal| Ok((wal.len(), wal.modified()?)));
            let now = now.ok();
            if last.replace(now) == Some(now) {
                return;
            }
            thread::park_timeout(STEP);
        }
    }

    /// Returns whether SQLite finds all that counts in a `-wal` that was overwritten, when no
    /// connection is open any more.
    pub(crate) fn wal_has_all_committed_frames(&self) -> bool {
        self.watched().is_some_and(|(wal, shm, held)| {
            wal::has_all_committed_frames(&wal, &shm, held.as_ref()).unwrap_or(false)
        })
    }

    /// Returns whether an overwritten `-wal` holds all that was committed, and only its header is
    /// another one: then a connection that is open can still copy it.
    pub(crate) fn wal_has_all_but_its_header(&self) -> bool {
        let header = self.0.in_use.lock().header;
        let watched = self.watched().zip(header);
        watched.is_some_and(|((wal, shm, held), header)| {
            wal::has_all_but_the_header(&wal, &shm, held.as_ref(), header).unwrap_or(false)
        })
    }

    fn watched(&self) -> Option<(Arc<fs::File>, Arc<fs::File>, Option<WalIndex>)> {
        let in_use = self.0.in_use.lock();
        let (wal, shm) = (in_use.wal.as_ref()?, in_use.shm.as_ref()?);
        Some((Arc::clone(wal), Arc::clone(&shm.1), in_use.held))
    }
}
