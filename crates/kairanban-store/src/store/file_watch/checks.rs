//! The checks of what lies at the path of a SQLite database, on which a response depends.

use diesel::{QueryableByName, RunQueryDsl as _, sql_types::BigInt};

use super::not_used;
use crate::{
    StoreError,
    classified::sqlite::meaning,
    connection::AnyConnection,
    files, identity, migrate,
    sql::Fixed,
    sqlite_files::{
        FileChecks, FileFinding, FileObserver, SqliteFiles, Unfit, WalFate, WalRest, soundness,
    },
    store::Store,
};

/// The checks of a watch that has the write lock.
pub(super) struct WatchChecks<'w> {
    pub(super) store: &'w Store,
    pub(super) files: &'w SqliteFiles,
    /// What the watch reads with: it was opened before anything happened.
    pub(super) connection: Option<&'w mut AnyConnection>,
    pub(super) observer: &'w mut FileObserver,
}

impl FileChecks for WatchChecks<'_> {
    fn save_wal(&mut self) -> Result<(), StoreError> {
        empty_wal(self.connection.as_mut().ok_or_else(not_used)?)
    }

    fn look_at_whole_wal(&mut self) -> Option<FileFinding> {
        self.files.wait_for_end_of_copying();
        self.observer.look_at_whole_wal()
    }

    fn check_database(&mut self) -> Result<(), Unfit> {
        let config = &self.store.config;
        // SQLite would delete the -wal of an empty one.
        if files::is_empty(self.files.path()) {
            return Err(Unfit::Damaged("it is empty".to_owned()));
        }
        // Without its settings: a database that may be another program's is not changed.
        let mut connection =
            AnyConnection::connect(&config.address, config.timeouts).map_err(StoreError::from)?;
        soundness::check_all(&mut connection)?;
        check_is_ours(&mut connection)?;
        // After a crash SQLite would put it over the database again.
        empty_wal(&mut connection)?;
        if soundness::is_in_wal_mode(self.files.path()) {
            Ok(())
        } else {
            Err(Unfit::Foreign("it is not in WAL mode yet".to_owned()))
        }
    }

    fn is_sound_without_wal(&mut self) -> bool {
        let timeouts = self.store.config.timeouts;
        soundness::check_without_wal(self.files.path(), timeouts).is_ok()
    }

    fn rest_of_wal(&mut self, why: &str) -> WalRest {
        self.files.give_up(why, WalFate::Left);
        self.files.wait_for_end_of_copying();
        let can_be_saved =
            self.files.wal_has_all_but_its_header() && !self.observer.is_overwritten();
        if can_be_saved && self.save_wal().is_ok() {
            WalRest::Saved
        } else if self.files.wal_has_all_committed_frames() {
            WalRest::Kept
        } else {
            WalRest::Lost
        }
    }
}

/// Checks that a sound database is one of kairanban's, at this version's schema.
fn check_is_ours(connection: &mut AnyConnection) -> Result<(), Unfit> {
    let of_schema = |error: StoreError| match error {
        error if error.may_pass() || error.damage().is_some() => error.into(),
        StoreError::Fault(fault) => Unfit::Foreign(fault.text),
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

#[derive(QueryableByName)]
struct CheckpointRow {
    #[diesel(sql_type = BigInt)]
    busy: i64,
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
            "other connections are using the -wal".to_owned(),
        ))
    }
}
