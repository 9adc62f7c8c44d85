//! What is done about a finding: the table of docs/RELIABILITY.md, in one place.

use std::time::Duration;

use super::{FileFinding, WalFate, replaced};
use crate::StoreError;

/// How long the `-shm` may be missing before the process ends: an operator may be about to put
/// another database there.
const SHM_PATIENCE: Duration = Duration::from_secs(1);

/// What is done about a finding.
#[derive(Clone, Debug)]
pub(crate) enum Response {
    /// Look again in a moment, by the same connection.
    TryAgain(StoreError),
    /// Open connections on the file that lies there, once there is one.
    OpenOther(StoreError),
    /// Open all connections again, on the same file.
    OpenAgain(&'static str),
    /// Open all connections again, on another `-wal`: what the one before held is in the database.
    OpenOnOtherWal(&'static str),
    /// End the process, without another write.
    End {
        /// What happened, and what to do, for the operator.
        reason: String,
        /// What becomes of the `-wal`.
        fate: WalFate,
    },
}

/// Why the database that lies there cannot be used.
#[derive(Clone, Debug)]
pub(crate) enum Unfit {
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

/// How much of an overwritten `-wal` is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WalRest {
    /// All of it: only its header was overwritten, and what it held is in the database now.
    Saved,
    /// The next program that opens the database finds there what counts.
    Kept,
    /// Not enough: what is there does not fit the database.
    Lost,
}

/// The checks on which a response depends. Each is made only when it is asked for.
pub(crate) trait FileChecks {
    /// Copies the `-wal`, which SQLite still has open, into the database.
    fn save_wal(&mut self) -> Result<(), StoreError>;

    /// Reads all of the `-wal`, and returns what is found there if SQLite did not write it so.
    fn look_at_whole_wal(&mut self) -> Option<FileFinding>;

    /// Reads what lies there from end to end, as a connection finds it that knows nothing of it.
    fn check_database(&mut self) -> Result<(), Unfit>;

    /// Returns whether the database is sound as it is without its `-wal`.
    fn is_sound_without_wal(&mut self) -> bool;

    /// Stops all use of the database, and finds out what is left of an overwritten `-wal`. `why` is
    /// what a caller is answered from then on.
    fn rest_of_wal(&mut self, why: &str) -> WalRest;
}

/// Decides what is done about a finding. It neither looks nor does anything by itself.
pub(crate) fn respond(finding: &FileFinding, checks: &mut impl FileChecks) -> Response {
    match finding {
        FileFinding::Gone(error) => Response::OpenOther(error.clone()),
        FileFinding::Replaced => Response::OpenOther(replaced()),
        FileFinding::WalOverwritten(what) => respond_to_overwritten_wal(what, checks),
        FileFinding::DatabaseOverwritten => respond_to_overwritten_database(checks),
        FileFinding::DamageMet(fault) => respond_to_damage(&fault.to_string(), checks),
        FileFinding::ShmRemoved(since) => match checks.save_wal() {
            Err(error) => respond_to_unsaved_wal(error),
            Ok(()) if *since < SHM_PATIENCE => Response::TryAgain(StoreError::Unavailable(
                "the -shm was removed while it was in use".to_owned(),
            )),
            Ok(()) => end(
                WalFate::Copied,
                "the -shm was removed while it was in use. All that was written is saved: start the \
                 server again",
            ),
        },
        FileFinding::WalRemoved => match checks.save_wal() {
            Err(error) => respond_to_unsaved_wal(error),
            Ok(()) => Response::OpenOnOtherWal(
                "the -wal was removed while it was in use; what it held was saved",
            ),
        },
    }
}

fn respond_to_unsaved_wal(error: StoreError) -> Response {
    if error.may_pass() {
        return Response::TryAgain(error);
    }
    end(
        WalFate::Copied,
        format!(
            "the -wal or -shm was removed while it was in use, and what was written last could not \
             be saved ({error}): check the database, or put a backup in its place"
        ),
    )
}

fn respond_to_overwritten_wal(what: &str, checks: &mut impl FileChecks) -> Response {
    match checks.rest_of_wal(what) {
        WalRest::Saved => end(
            WalFate::Copied,
            format!(
                "{what} (cp, dd?). All that was committed is saved in the database: end every \
                 program that uses it, and start the server again"
            ),
        ),
        WalRest::Kept => end(
            WalFate::Left,
            format!(
                "{what} (cp, truncate?). Transactions in it that are intact are kept; what was \
                 written last may be lost: end every program that uses the database, and start the \
                 server again"
            ),
        ),
        WalRest::Lost => end(
            WalFate::Aside,
            format!(
                "{what} (cp, truncate?), which was moved aside: the database is as SQLite last \
                 copied into it, and what was written later is lost. End every program that uses \
                 it, and start the server again, or put a backup in its place first, all its files \
                 at once"
            ),
        ),
    }
}

fn respond_to_overwritten_database(checks: &mut impl FileChecks) -> Response {
    match checks.check_database() {
        Ok(()) => Response::OpenAgain(
            "something other than SQLite wrote to the database (cp, truncate?); what is there now \
             is sound",
        ),
        Err(Unfit::Unknown(error)) => Response::TryAgain(error),
        Err(Unfit::Foreign(why)) => respond_to_foreign_database(
            "something other than SQLite wrote to the database (cp, truncate?)",
            &why,
        ),
        Err(Unfit::Damaged(error)) => end(
            WalFate::Aside,
            format!(
                "something other than SQLite wrote to the database (cp, truncate?), and it does not \
                 fit its -wal ({error}), which was moved aside. If you restored a backup, start the \
                 server again; otherwise put one in its place first"
            ),
        ),
    }
}

/// A `-wal` that does not fit a database which is sound without it is that of another one.
fn respond_to_damage(damage: &str, checks: &mut impl FileChecks) -> Response {
    if let Some(finding) = checks.look_at_whole_wal() {
        return respond(&finding, checks);
    }
    match checks.check_database() {
        Ok(()) => Response::OpenAgain("something met damage; what is there now is sound"),
        Err(Unfit::Unknown(error)) => Response::TryAgain(error),
        Err(Unfit::Foreign(why)) => respond_to_foreign_database("something met damage", &why),
        Err(Unfit::Damaged(_)) if !checks.is_sound_without_wal() => end(WalFate::Left, damage),
        Err(Unfit::Damaged(error)) => end(
            WalFate::Aside,
            format!(
                "the database does not fit its -wal ({error}), which was moved aside: was it copied \
                 over while it was in use? If you restored a backup, start the server again; \
                 otherwise put one in its place first"
            ),
        ),
    }
}

fn respond_to_foreign_database(what_happened: &str, why: &str) -> Response {
    end(
        WalFate::Aside,
        format!(
            "{what_happened}, and what is there now is sound, but not a database that a running \
             server can go on with ({why}). If it is to be used, start the server again; otherwise \
             put a backup in its place first"
        ),
    )
}

fn end(fate: WalFate, reason: impl Into<String>) -> Response {
    Response::End {
        reason: reason.into(),
        fate,
    }
}

#[cfg(test)]
mod tests;
