//! Whether a database still holds the history that was read from it.
//!
//! Revisions alone cannot say: a restored database draws the same numbers again, for other changes.
//! So the last change that was read is remembered as it stood in the log, and every reading checks
//! that it still stands there.

use crate::{Epoch, Revision};

/// A row of the change log, as it stood there: a witness that the log is the one that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogRow {
    /// Its place in the order of commits.
    pub revision: Revision,
    /// The row's key.
    pub id: i64,
    /// What happened, as written.
    pub kind: String,
    /// The board's key.
    pub board_id: i64,
    /// The topic's key, if it is about one.
    pub topic_id: Option<i64>,
    /// When it was committed, as the database writes it. Two commits may draw the same numbers after a
    /// restore, but not at the same time.
    pub at: String,
}

/// The last place of a database's history that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogPosition {
    /// The history.
    pub epoch: Epoch,
    /// The mark of the database that it was read from.
    pub mark: String,
    /// The last change; `None` while there is none.
    pub last: Option<LogRow>,
}

impl LogPosition {
    /// The revision of the last change.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.last
            .as_ref()
            .map_or(Revision::ZERO, |last| last.revision)
    }
}

/// Where the last change that was read is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Witness {
    /// Still in the log, as it was read.
    Present,
    /// Trimmed: the log reaches back to a later revision only.
    Trimmed,
    /// Gone, or another change stands in its place.
    Gone,
}

/// A database, as it was found.
#[derive(Clone, Debug)]
pub struct Found<'a> {
    /// Its epoch, if it has one.
    pub epoch: Option<&'a Epoch>,
    /// The epochs that came before, in the same history.
    pub ancestors: &'a [Epoch],
    /// The mark that is stored in it.
    pub stored_mark: Option<&'a str>,
    /// The mark that it has.
    pub mark: &'a str,
    /// Where the last change that was read is.
    pub witness: Witness,
    /// Whether the next revisions to be drawn have been drawn before.
    pub is_counter_behind: bool,
}

/// What a database is to one who has read from it before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The same history: what was read still holds.
    Same,
    /// The same history, but the log no longer reaches back to what was read.
    Trimmed,
    /// Another epoch that is good as it is: drawn by another node or by an administrator, or that of
    /// another database, which has a history of its own.
    Adopt,
    /// A new epoch has to begin.
    Draw(Restored),
}

/// How it shows that a database was restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restored {
    /// It is another database than its own mark says, or it has no epoch.
    Mark,
    /// It is of an epoch that does not follow on the one that was known.
    Epoch,
    /// The last change that was read is not there as it was read.
    Change,
    /// The counter of revisions stands behind the log.
    Counter,
}

impl Restored {
    /// For the log.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Mark => "it is another database than its mark says",
            Self::Epoch => "its epoch does not follow on the last one",
            Self::Change => "the last change that was read is not there any more",
            Self::Counter => "its counter of revisions stands behind its log",
        }
    }
}

/// Judges a database by what is known of it, if anything.
#[must_use]
pub fn judge(known: Option<&LogPosition>, found: &Found<'_>) -> Verdict {
    // A mark may become more exact with a later version.
    let is_marked = |stored: &str| {
        found
            .mark
            .strip_prefix(stored)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let Some(epoch) = found
        .epoch
        .filter(|_| found.stored_mark.is_some_and(is_marked))
    else {
        return Verdict::Draw(Restored::Mark);
    };
    if found.is_counter_behind {
        return Verdict::Draw(Restored::Counter);
    }
    let Some(known) = known else {
        return Verdict::Adopt;
    };
    if *epoch == known.epoch {
        return match found.witness {
            Witness::Present => Verdict::Same,
            Witness::Trimmed => Verdict::Trimmed,
            Witness::Gone => Verdict::Draw(Restored::Change),
        };
    }
    if found.ancestors.contains(&known.epoch) || known.mark != found.mark {
        Verdict::Adopt
    } else {
        Verdict::Draw(Restored::Epoch)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn epoch(text: &str) -> Epoch {
        text.parse().expect("an epoch")
    }

    fn known() -> LogPosition {
        LogPosition {
            epoch: epoch("a"),
            mark: "1/2/3".to_owned(),
            last: None,
        }
    }

    fn found<'a>(epoch: &'a Epoch, ancestors: &'a [Epoch]) -> Found<'a> {
        Found {
            epoch: Some(epoch),
            ancestors,
            stored_mark: Some("1/2/3"),
            mark: "1/2/3",
            witness: Witness::Present,
            is_counter_behind: false,
        }
    }

    #[test]
    fn a_backup_of_the_same_epoch_is_noticed_by_the_last_change() {
        let same = epoch("a");
        let at = |witness| {
            judge(
                Some(&known()),
                &Found {
                    witness,
                    ..found(&same, &[])
                },
            )
        };
        assert_eq!(at(Witness::Present), Verdict::Same);
        assert_eq!(at(Witness::Gone), Verdict::Draw(Restored::Change));
        assert_eq!(
            at(Witness::Trimmed),
            Verdict::Trimmed,
            "trimming never looks like a restore"
        );
    }

    #[test]
    fn an_epoch_that_follows_on_ours_is_taken_and_an_older_one_is_not() {
        let (other, ours) = (epoch("b"), [epoch("a")]);
        assert_eq!(
            judge(
                Some(&known()),
                &Found {
                    witness: Witness::Gone,
                    ..found(&other, &ours)
                }
            ),
            Verdict::Adopt
        );
        assert_eq!(
            judge(Some(&known()), &found(&other, &[])),
            Verdict::Draw(Restored::Epoch)
        );
    }

    #[test]
    fn another_database_has_a_history_of_its_own() {
        let other = epoch("b");
        let exchanged = Found {
            stored_mark: Some("1/9/9"),
            mark: "1/9/9",
            witness: Witness::Gone,
            ..found(&other, &[])
        };
        assert_eq!(judge(Some(&known()), &exchanged), Verdict::Adopt);
        let copied = Found {
            mark: "1/9/9",
            ..found(&other, &[])
        };
        assert_eq!(
            judge(Some(&known()), &copied),
            Verdict::Draw(Restored::Mark)
        );
    }

    #[test]
    fn a_mark_may_become_more_exact() {
        let same = epoch("a");
        let marked = |stored| {
            judge(
                None,
                &Found {
                    stored_mark: stored,
                    ..found(&same, &[])
                },
            )
        };
        assert_eq!(
            [Some("1/2/3"), Some("1/2")].map(marked),
            [Verdict::Adopt; 2]
        );
        assert_eq!(
            [None, Some("1/2/33"), Some("1/")].map(marked),
            [Verdict::Draw(Restored::Mark); 3]
        );
    }

    proptest! {
        /// Whatever happens to a database and in whichever order its nodes look, they end up at one
        /// epoch, drawn once for each thing that happened.
        #[test]
        fn nodes_agree_on_one_epoch(
            steps in proptest::collection::vec((0_usize..3, proptest::bool::weighted(0.2)), 1..40),
        ) {
            let mut drawn = 1_u64;
            let mut database = (epoch("1"), Vec::<Epoch>::new());
            let backup = database.clone();
            // Each node: what it knows, and whether its last change is still there.
            let mut nodes: Vec<_> = (0..3).map(|_| (LogPosition { epoch: epoch("1"), ..known() }, Witness::Present)).collect();
            let mut restores = 0;
            let mut is_restored = false;
            for (at, restored) in steps {
                if restored && !is_restored {
                    // Back to the oldest state, of which nobody has read the last change.
                    database = backup.clone();
                    nodes.iter_mut().for_each(|(_, witness)| *witness = Witness::Gone);
                    (restores, is_restored) = (restores + 1, true);
                }
                let (known, witness) = &mut nodes[at];
                let found = Found { witness: *witness, ..found(&database.0, &database.1) };
                match judge(Some(known), &found) {
                    Verdict::Same | Verdict::Trimmed => {}
                    Verdict::Adopt => {
                        (known.epoch, *witness) = (database.0.clone(), Witness::Present);
                    }
                    Verdict::Draw(_) => {
                        let (before, ours) = (database.0.clone(), known.epoch.clone());
                        drawn += 1;
                        database.1.extend([before, ours]);
                        database.0 = epoch(&format!("{drawn:x}"));
                        (known.epoch, *witness) = (database.0.clone(), Witness::Present);
                        is_restored = false;
                    }
                }
            }
            // A node that slept through one restore may draw once more after the next.
            prop_assert!(drawn <= 1 + 3 * restores, "{drawn} epochs for {restores} restores");
            let settled = nodes.iter().filter(|(known, _)| known.epoch == database.0);
            for (known, witness) in settled {
                let found = Found { witness: *witness, ..found(&database.0, &database.1) };
                let expected = match witness {
                    Witness::Gone => Verdict::Draw(Restored::Change),
                    _ => Verdict::Same,
                };
                prop_assert_eq!(judge(Some(known), &found), expected);
            }
        }
    }
}
