//! Detects that a database no longer holds the history that was read from it.
//!
//! Revisions alone do not show it: a restored database draws the same numbers again, for other
//! changes. So the last change that was read is remembered as it was in the log, and every reading
//! checks that it is still there.

use crate::{Epoch, LogRow, Revision};

/// The last place of a database's history that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogPosition {
    /// The history that was read.
    pub epoch: Epoch,
    /// The mark of the database that it was read from.
    pub mark: String,
    /// The last change that was read; `None` if the log was empty.
    pub last: Option<LogRow>,
}

impl LogPosition {
    /// Returns the revision of the last change, or zero without one.
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
    /// Gone, or replaced by another change.
    Gone,
}

/// What a database was found to hold.
#[derive(Clone, Debug)]
pub struct FoundDatabase<'a> {
    /// The database's epoch, if it has one.
    pub epoch: Option<&'a Epoch>,
    /// The epochs that came before, in the same history.
    pub ancestors: &'a [Epoch],
    /// The mark that is stored in the database.
    pub stored_mark: Option<&'a str>,
    /// The mark that fits the database, computed from it.
    pub mark: &'a str,
    /// Where the last change that was read is now.
    pub witness: Witness,
    /// Whether the next revisions to be drawn have been drawn before.
    pub is_counter_behind: bool,
}

/// How a database relates to the history that was read before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The same history: what was read still holds.
    Same,
    /// The same history, but the log no longer reaches back to what was read.
    Trimmed,
    /// Another epoch, to be adopted as it is: drawn by another node or by an administrator, or that
    /// of another database, which has a history of its own.
    Adopt,
    /// A new epoch has to begin.
    Draw(Restored),
}

/// The evidence that a database was restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restored {
    /// It is another database than its own mark says, or it has no epoch.
    Mark,
    /// Its epoch does not follow on the known one.
    Epoch,
    /// The last change that was read is not there as it was read.
    Change,
    /// The counter of revisions is behind the log.
    Counter,
}

impl Restored {
    /// Returns a phrase for the server's log.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Mark => "it is another database than its mark says",
            Self::Epoch => "its epoch does not follow on the last one",
            Self::Change => "the last change that was read is missing",
            Self::Counter => "its counter of revisions is behind its log",
        }
    }
}

impl FoundDatabase<'_> {
    /// Returns whether the stored mark is that of this database. A mark may become more exact with
    /// a later version.
    fn is_marked(&self) -> bool {
        self.stored_mark
            .and_then(|stored| self.mark.strip_prefix(stored))
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

/// Decides whether a database still holds the history that was read from it, if any was.
#[must_use]
pub fn judge(known: Option<&LogPosition>, found: &FoundDatabase<'_>) -> Verdict {
    let Some(epoch) = found.epoch.filter(|_| found.is_marked()) else {
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

    fn found<'a>(epoch: &'a Epoch, ancestors: &'a [Epoch]) -> FoundDatabase<'a> {
        FoundDatabase {
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
        for (witness, verdict) in [
            (Witness::Present, Verdict::Same),
            (Witness::Gone, Verdict::Draw(Restored::Change)),
            // Trimming never looks like a restore.
            (Witness::Trimmed, Verdict::Trimmed),
        ] {
            let found = FoundDatabase {
                witness,
                ..found(&same, &[])
            };
            assert_eq!(judge(Some(&known()), &found), verdict);
        }
    }

    #[test]
    fn an_epoch_that_follows_on_ours_is_taken_and_an_older_one_is_not() {
        let (other, ours) = (epoch("b"), [epoch("a")]);
        assert_eq!(
            judge(
                Some(&known()),
                &FoundDatabase {
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
        let exchanged = FoundDatabase {
            stored_mark: Some("1/9/9"),
            mark: "1/9/9",
            witness: Witness::Gone,
            ..found(&other, &[])
        };
        assert_eq!(judge(Some(&known()), &exchanged), Verdict::Adopt);
        let copied = FoundDatabase {
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
        for (stored_mark, verdict) in [
            (Some("1/2/3"), Verdict::Adopt),
            (Some("1/2"), Verdict::Adopt),
            (None, Verdict::Draw(Restored::Mark)),
            (Some("1/2/33"), Verdict::Draw(Restored::Mark)),
            (Some("1/"), Verdict::Draw(Restored::Mark)),
        ] {
            let found = FoundDatabase {
                stored_mark,
                ..found(&same, &[])
            };
            assert_eq!(judge(None, &found), verdict, "{stored_mark:?}");
        }
    }

    /// A database, its backup, and the nodes that read from it.
    struct Cluster {
        epoch: Epoch,
        ancestors: Vec<Epoch>,
        /// Each node: what it knows, and whether its last change is still there.
        nodes: Vec<(LogPosition, Witness)>,
        is_restored: bool,
        restores: u64,
        /// The number of the newest epoch.
        drawn: u64,
    }

    impl Cluster {
        fn new() -> Self {
            let position = LogPosition {
                epoch: epoch("1"),
                ..known()
            };
            Self {
                epoch: epoch("1"),
                ancestors: Vec::new(),
                nodes: vec![(position, Witness::Present); 3],
                is_restored: false,
                restores: 0,
                drawn: 1,
            }
        }

        /// Goes back to the oldest state, in which the last change of each node is missing.
        fn restore(&mut self) {
            (self.epoch, self.ancestors) = (epoch("1"), Vec::new());
            for (_, witness) in &mut self.nodes {
                *witness = Witness::Gone;
            }
            self.is_restored = true;
            self.restores += 1;
        }

        fn verdict(&self, node: usize) -> Verdict {
            let (known, witness) = &self.nodes[node];
            let found = FoundDatabase {
                witness: *witness,
                ..found(&self.epoch, &self.ancestors)
            };
            judge(Some(known), &found)
        }

        /// A node reads the database, and draws a new epoch or adopts the one that it finds.
        fn poll(&mut self, node: usize) {
            match self.verdict(node) {
                Verdict::Same | Verdict::Trimmed => return,
                Verdict::Adopt => {}
                Verdict::Draw(_) => {
                    let known = self.nodes[node].0.epoch.clone();
                    self.drawn += 1;
                    let drawn = epoch(&format!("{:x}", self.drawn));
                    let before = std::mem::replace(&mut self.epoch, drawn);
                    self.ancestors.extend([before, known]);
                    self.is_restored = false;
                }
            }
            let (known, witness) = &mut self.nodes[node];
            (known.epoch, *witness) = (self.epoch.clone(), Witness::Present);
        }
    }

    proptest! {
        /// Whatever happens to a database and in whichever order its nodes read it, they end up at
        /// one epoch, drawn once for each thing that happened.
        #[test]
        fn nodes_agree_on_one_epoch(
            steps in proptest::collection::vec((0_usize..3, proptest::bool::weighted(0.2)), 1..40),
        ) {
            let mut cluster = Cluster::new();
            for (node, is_restored) in steps {
                if is_restored && !cluster.is_restored {
                    cluster.restore();
                }
                cluster.poll(node);
            }
            // A node that slept through one restore may draw once more after the next.
            prop_assert!(
                cluster.drawn <= 1 + 3 * cluster.restores,
                "{} epochs for {} restores", cluster.drawn, cluster.restores
            );
            for (node, (known, witness)) in cluster.nodes.iter().enumerate() {
                let expected = match witness {
                    Witness::Gone => Verdict::Draw(Restored::Change),
                    _ => Verdict::Same,
                };
                if known.epoch == cluster.epoch {
                    prop_assert_eq!(cluster.verdict(node), expected);
                }
            }
        }
    }
}
