//! Each row of the table in docs/RELIABILITY.md, with what is done by it.

use std::collections::BTreeSet;

use super::*;
use crate::FaultKind;

/// What the checks find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    /// All is as it should be, but for what the finding is about.
    Sound,
    /// What the `-wal` holds cannot be saved, for this reason.
    Unsaved(FaultKind),
    /// The whole `-wal` is not as SQLite wrote it, and too little is left of it.
    WalLost,
    /// Only its header is not as SQLite wrote it.
    HeaderLost,
    /// Others are in the way.
    Busy,
    /// The database and its `-wal` do not fit together, but the database alone is sound.
    Unfit,
    /// The database is not sound either way.
    Damaged,
    /// The database is sound, but a running server cannot go on with it.
    Foreign,
}

impl FileChecks for Found {
    fn save_wal(&mut self) -> Result<(), StoreError> {
        match self {
            Self::Unsaved(kind) => Err(StoreError::fault(*kind, "it failed")),
            _ => Ok(()),
        }
    }

    fn look_at_whole_wal(&mut self) -> Option<FileFinding> {
        (*self == Self::WalLost).then(wal_overwritten)
    }

    fn check_database(&mut self) -> Result<(), Unfit> {
        match self {
            Self::Busy => Err(StoreError::fault(FaultKind::Busy, "database is locked").into()),
            Self::Unfit | Self::Damaged => Err(damage().into()),
            Self::Foreign => Err(Unfit::Foreign("it has no epoch".to_owned())),
            _ => Ok(()),
        }
    }

    fn is_sound_without_wal(&mut self) -> bool {
        *self != Self::Damaged
    }

    fn rest_of_wal(&mut self, _: &str) -> WalRest {
        match self {
            Self::WalLost => WalRest::Lost,
            Self::HeaderLost => WalRest::Saved,
            _ => WalRest::Kept,
        }
    }
}

/// What is done, without the words for the operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    TryAgain,
    OpenOther,
    OpenAgain,
    OpenOnOtherWal,
    End(WalFate),
}

impl From<Response> for Outcome {
    fn from(response: Response) -> Self {
        match response {
            Response::TryAgain(_) => Self::TryAgain,
            Response::OpenOther(_) => Self::OpenOther,
            Response::OpenAgain(_) => Self::OpenAgain,
            Response::OpenOnOtherWal(_) => Self::OpenOnOtherWal,
            Response::End { fate, .. } => Self::End(fate),
        }
    }
}

impl Outcome {
    /// What the document says of it.
    const fn words(self) -> &'static [&'static str] {
        match self {
            Self::TryAgain => &["tried again"],
            Self::OpenOther => &["connection"],
            Self::OpenAgain | Self::OpenOnOtherWal => &["connections are opened again"],
            Self::End(WalFate::Aside) => &["ends with 1", "moved aside"],
            Self::End(_) => &["ends with 1"],
        }
    }
}

fn damage() -> StoreError {
    StoreError::fault(FaultKind::Damaged, "database disk image is malformed")
}

fn gone() -> FileFinding {
    FileFinding::Gone(StoreError::Unavailable("No such file".to_owned()))
}

fn wal_overwritten() -> FileFinding {
    FileFinding::WalOverwritten("something other than SQLite wrote to it".to_owned())
}

fn met_damage() -> FileFinding {
    let fault = damage().damage().cloned();
    FileFinding::DamageMet(fault.expect("it is one"))
}

const GONE: &str = "the file is gone";
const OTHER_FILE: &str = "another file lies there, beside";
const EMPTY_FILE: &str = "another file lies there, and is empty";
const NO_WAL: &str = "the `-wal` was removed";
const NO_SHM: &str = "the `-shm` was removed";
const UNSAVED: &str = "the `-wal` or the `-shm` was removed, and";
const OVERWRITTEN: &str = "something other than SQLite wrote to the file";
const NOT_SOUND: &str = "the same, and it is not sound";
const FOREIGN: &str = "the same, and it is sound, but";
const CUT_WAL: &str = "the `-wal` was cut or written over";
const OLD_SHM: &str = "the `-shm` was set back";
const DAMAGE: &str = "a read or a write meets damage";
const CHANGED_HEADER: &str = "the header of the `-wal` was changed";
const CHANGED_WAL: &str = "bytes are changed in the middle of the `-wal`";
const WAIT: &str = "others are in the way of a check";

/// How the first cell of a row begins, what was found, what the checks find, and what is done.
fn table() -> Vec<(&'static str, FileFinding, Found, Outcome)> {
    use FaultKind::{Busy as Locked, Full, Other, ReadOnly};
    use FileFinding::{DatabaseOverwritten, Replaced, ShmRemoved, WalRemoved};
    use Found::{Busy, Damaged, Foreign, HeaderLost, Sound, Unfit, Unsaved, WalLost};
    use Outcome::{End, OpenAgain, OpenOnOtherWal, OpenOther, TryAgain};
    use WalFate::{Aside, Copied, Left};
    let long = SHM_PATIENCE;
    vec![
        (GONE, gone(), Sound, OpenOther),
        (OTHER_FILE, Replaced, Sound, OpenOther),
        (EMPTY_FILE, Replaced, Sound, OpenOther),
        (NO_WAL, WalRemoved, Sound, OpenOnOtherWal),
        (NO_SHM, ShmRemoved(Duration::ZERO), Sound, TryAgain),
        (NO_SHM, ShmRemoved(long), Sound, End(Copied)),
        (UNSAVED, WalRemoved, Unsaved(Other), End(Copied)),
        (WAIT, WalRemoved, Unsaved(ReadOnly), TryAgain),
        (UNSAVED, ShmRemoved(long), Unsaved(Other), End(Copied)),
        (OVERWRITTEN, DatabaseOverwritten, Sound, OpenAgain),
        (NOT_SOUND, DatabaseOverwritten, Unfit, End(Aside)),
        (NOT_SOUND, DatabaseOverwritten, Damaged, End(Aside)),
        (FOREIGN, DatabaseOverwritten, Foreign, End(Aside)),
        (CUT_WAL, wal_overwritten(), Sound, End(Left)),
        (CUT_WAL, wal_overwritten(), WalLost, End(Aside)),
        (OLD_SHM, wal_overwritten(), Sound, End(Left)),
        (CHANGED_HEADER, wal_overwritten(), HeaderLost, End(Copied)),
        (CHANGED_WAL, wal_overwritten(), WalLost, End(Aside)),
        (DAMAGE, met_damage(), Sound, OpenAgain),
        (DAMAGE, met_damage(), Damaged, End(Left)),
        (DAMAGE, met_damage(), Unfit, End(Aside)),
        (DAMAGE, met_damage(), Foreign, End(Aside)),
        (DAMAGE, met_damage(), WalLost, End(Aside)),
        (WAIT, DatabaseOverwritten, Busy, TryAgain),
        (WAIT, met_damage(), Busy, TryAgain),
        (WAIT, WalRemoved, Unsaved(Locked), TryAgain),
        (WAIT, WalRemoved, Unsaved(Full), TryAgain),
        (WAIT, ShmRemoved(long), Unsaved(Locked), TryAgain),
    ]
}

/// Returns the two cells of each row of the document's table.
fn documented() -> Vec<(&'static str, &'static str)> {
    let document = include_str!("../../../../../docs/RELIABILITY.md");
    let head = "| what happened while it runs | what it does |";
    let (_, rows) = document.split_once(head).expect("the table");
    rows.lines()
        .skip(2)
        .map_while(|line| line.strip_prefix("| ")?.split_once(" | "))
        .collect()
}

#[test]
fn each_finding_is_responded_to_as_documented() {
    let documented = documented();
    let mut named = BTreeSet::new();
    for (begins, finding, mut checks, expected) in table() {
        let outcome = Outcome::from(respond(&finding, &mut checks));
        assert_eq!(outcome, expected, "{begins}: {finding:?}");
        let rows = documented
            .iter()
            .filter(|(cell, _)| cell.starts_with(begins));
        let [(what, done)] = rows.collect::<Vec<_>>()[..] else {
            panic!("not one row begins with {begins:?}");
        };
        for words in outcome.words() {
            // That an end comes after some tries is not said.
            let is_first_try = begins == NO_SHM && outcome == Outcome::TryAgain;
            let is_said = done.contains(words) || is_first_try;
            assert!(is_said, "{what}: {words:?} is not in {done:?}");
        }
        named.insert(*what);
    }
    let others = documented.iter().filter(|(what, _)| !named.contains(what));
    assert_eq!(others.collect::<Vec<_>>(), [] as [&(&str, &str); 0]);
}

/// Every end says what an operator does next.
#[test]
fn every_end_names_the_next_step() {
    for (what, finding, mut checks, _) in table() {
        if let Response::End { reason, .. } = respond(&finding, &mut checks) {
            let steps = ["start the server", "backup"];
            assert!(
                steps.iter().any(|step| reason.contains(step)),
                "{what}: {reason}"
            );
        }
    }
}
