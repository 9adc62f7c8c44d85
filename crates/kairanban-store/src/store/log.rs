//! The change log: reading it, checking that it is the same as before, and keeping it short.

use std::time::Duration;

use kairanban_core::{BoardId, BoardName, LogPosition, Revision, Verdict};

use super::Store;
use crate::{
    BoardContent, ChangeBatch, StoreError, board_checksums, change_log, classified,
    connection::AnyConnection, history, identity, migrate, sql::BATCHES, start, tx::WriteTx,
};

/// How long a running server waits for the tables to change their triggers. Writers wait behind it.
const TABLES_WAIT: Duration = Duration::from_millis(200);

impl Store {
    /// Finds out whether the database still holds the history that was read up to `known`, and
    /// begins a new epoch if it was restored. Returns the newest place in its log.
    ///
    /// # Errors
    /// If the database is away.
    pub fn settle(
        &self,
        known: Option<&LogPosition>,
    ) -> Result<(LogPosition, Verdict), StoreError> {
        super::settle(&self.pool, &self.config.address, known)
    }

    /// Reads everything committed after `known`. Returns `None` if the log no longer has `known` as
    /// it was read: then [`settle`](Self::settle) finds out what happened.
    ///
    /// # Errors
    /// If the database is away.
    pub fn changes_since(&self, known: &LogPosition) -> Result<Option<ChangeBatch>, StoreError> {
        self.of_history(known, |connection| {
            change_log::since(connection, known, self.config.changes_max)
        })
    }

    /// Reads something, and returns it if the log has `known` as it was read then and still has it
    /// afterwards: then what was read is of that history. Otherwise the database was restored.
    ///
    /// # Errors
    /// Those of `read`, or if the database is away.
    pub fn read_of<T>(
        &self,
        known: &LogPosition,
        read: impl FnOnce(&Self) -> Result<T, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        let found = read(self)?;
        let rows = self.of_history(known, |connection| {
            change_log::rows_since(connection, known, 1)
        })?;
        let is_same = rows.is_some()
            || self
                .with(|connection| history::still_holds(connection, &self.config.address, known))?;
        Ok(is_same.then_some(found))
    }

    fn of_history<T>(
        &self,
        known: &LogPosition,
        read: impl Fn(&mut AnyConnection) -> Result<Option<T>, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        // A file is known by what lies there, not by what a connection may hold open.
        let file = self
            .config
            .address
            .path()
            .map(identity::file_mark)
            .transpose()?;
        if file.is_some_and(|mark| mark != known.mark) {
            return Ok(None);
        }
        self.with(read)
    }

    /// Reads which boards changed after a revision, even if the log was trimmed since, and how far
    /// the log reaches.
    ///
    /// # Errors
    /// If the database is away.
    pub fn boards_since(&self, after: Revision) -> Result<ChangeBatch, StoreError> {
        self.with(|connection| change_log::boards_since(connection, after))
    }

    /// Reads the name, the revision and the checksum of boards, all of one moment.
    ///
    /// # Errors
    /// If the database is away.
    pub fn contents(&self, boards: &[BoardId]) -> Result<Vec<BoardContent>, StoreError> {
        let topics_max = self.config.topics_max;
        self.with(|connection| board_checksums::contents(connection, boards, topics_max))
    }

    /// Logs what the log has missed of a board that was seen at a revision: that its list has to be
    /// read, and, if `is_board`, that the board itself changed. Returns whether it did; another
    /// node may have been quicker.
    ///
    /// # Errors
    /// If the database is away.
    pub fn log_missed(
        &self,
        board: BoardId,
        seen: Revision,
        is_board: bool,
    ) -> Result<bool, StoreError> {
        WriteTx::commit_on_pool(&self.pool, |tx| {
            let is_logged = tx
                .run(|connection| board_checksums::log_missed(connection, board, seen, is_board))?;
            tx.stamp()?;
            // A row without a revision has no place in the order, and would be in the log for good.
            if is_logged && tx.stamped()?.is_none() {
                return tx.run(|_| Err(classified::triggers_off()));
            }
            Ok(is_logged)
        })
    }

    /// Makes our triggers fire again for the rows that replication brings (turning them off and on
    /// ends that), and takes our functions from PUBLIC, if a restore returned them.
    /// Waits only a moment for the tables: writers would have to wait behind it. SQLite has no such
    /// triggers.
    ///
    /// # Errors
    /// If the tables belong to another role, or are in use, or the database is away.
    pub fn repair(&self) -> Result<(), StoreError> {
        self.with(|connection| {
            start::repair_sequences(connection, TABLES_WAIT)?;
            migrate::repair(connection, TABLES_WAIT)
        })
    }

    /// Reads the newest committed revision.
    ///
    /// # Errors
    /// If the database is away.
    pub fn head(&self) -> Result<Revision, StoreError> {
        self.with(change_log::head)
    }

    /// Reads the revision up to which the change log may have been trimmed.
    ///
    /// # Errors
    /// If the database is away.
    pub fn trimmed_to(&self) -> Result<Revision, StoreError> {
        self.with(history::trimmed_to)
    }

    /// Archives at most `batch` topics that a full board no longer shows. Returns how many.
    ///
    /// # Errors
    /// If the database is away.
    pub fn archive(&self, board: &BoardName, batch: usize) -> Result<usize, StoreError> {
        let topics_max = self.config.topics_max;
        // Most of the time there is nothing to do, and then no other writer has to wait.
        if !self.with(|connection| change_log::is_overfull(connection, board, topics_max))? {
            return Ok(0);
        }
        WriteTx::commit_on_pool(&self.pool, |tx| {
            let moved =
                tx.run(|connection| change_log::archive(connection, board, topics_max, batch))?;
            tx.stamp()?;
            // Readers that come back would not be sent what has left the list.
            if moved > 0 && tx.stamped()?.is_none() {
                return tx.run(|_| Err(classified::triggers_off()));
            }
            Ok(moved)
        })
    }

    /// Reads the newest revision that was committed that long ago or before, by the database's
    /// clock, or zero.
    ///
    /// # Errors
    /// If the database is away.
    pub fn head_before(&self, ago: Duration) -> Result<Revision, StoreError> {
        self.with(|connection| change_log::head_before(connection, ago))
    }

    /// Deletes the oldest changes past `changes_max` and those older than `age_max`, in some
    /// batches, each in a transaction of its own. Returns how many went:
    /// zero if none is left that has to.
    ///
    /// # Errors
    /// If the database is away.
    pub fn trim_log(&self, changes_max: u64, age_max: Duration) -> Result<usize, StoreError> {
        let mut left =
            self.with(|connection| change_log::oldest(connection, changes_max, age_max))?;
        let (mut gone, mut batches) = (0, 0);
        while let Some(oldest) = left.filter(|_| batches < BATCHES) {
            let (went, next) = self.write(|connection| change_log::trim(connection, oldest))?;
            gone += went;
            // What stays costs next to nothing.
            batches += usize::from(went > 0);
            left = next;
        }
        Ok(gone)
    }
}
