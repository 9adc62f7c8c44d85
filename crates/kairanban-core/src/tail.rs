//! The newest stretch of a board's history, kept in memory for readers that come back.
//!
//! It has to be right for a reader that comes from another node, and so may stand at a revision
//! that this node never showed: nodes see bursts of commits cut into different pieces. What was
//! *touched* since is enough for such a reader as long as the list held all topics of the board. A
//! full list also changes by what was not touched (the oldest is pushed out, or comes back), so
//! between two states of a full list that this node showed there are revisions that it cannot
//! serve: holes.

use std::collections::{BTreeSet, VecDeque};

use crate::{Revision, TopicId};

/// Which topics changed at which revision, for every change after the floor.
#[derive(Clone, Debug, Default)]
pub struct Tail {
    floor: Revision,
    entries: VecDeque<(Revision, TopicId)>,
    /// From the first to before the second.
    holes: VecDeque<(Revision, Revision)>,
    entries_max: usize,
}

impl Tail {
    /// A tail that knows every change after `floor`, given in order, and keeps `entries_max`.
    #[must_use]
    pub fn new(floor: Revision, entries: impl IntoIterator<Item = (Revision, TopicId)>, entries_max: usize) -> Self {
        let mut tail = Self { floor, entries: entries.into_iter().collect(), holes: VecDeque::new(), entries_max };
        tail.forget();
        tail
    }

    /// Readers from before this revision cannot be served.
    #[must_use]
    pub const fn floor(&self) -> Revision {
        self.floor
    }

    /// The changes after the floor, in order.
    pub fn entries(&self) -> impl Iterator<Item = (Revision, TopicId)> {
        self.entries.iter().copied()
    }

    /// Adds topics that changed, with the revision of each, in order.
    pub(crate) fn record(&mut self, entries: impl IntoIterator<Item = (Revision, TopicId)>) {
        self.entries.extend(entries);
        self.forget();
    }

    /// Readers at revisions from `first` to before `end` cannot be served.
    pub(crate) fn leave_hole(&mut self, first: Revision, end: Revision) {
        self.holes.push_back((first, end));
    }

    fn forget(&mut self) {
        while self.entries.len() > self.entries_max {
            if let Some((forgotten, _)) = self.entries.pop_front() {
                self.floor = forgotten;
            }
        }
        while self.holes.front().is_some_and(|(_, end)| *end <= self.floor) {
            self.holes.pop_front();
        }
    }

    /// The topics that changed after `revision`, or `None` if a reader there cannot be served.
    pub(crate) fn since(&self, revision: Revision) -> Option<BTreeSet<TopicId>> {
        let in_hole = self.holes.iter().any(|(first, end)| (*first..*end).contains(&revision));
        let first = self.entries.partition_point(|(at, _)| *at <= revision);
        (revision >= self.floor && !in_hole).then(|| self.entries.range(first..).map(|(_, id)| *id).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn revision(number: u64) -> Revision {
        Revision::new(number).expect("a revision")
    }

    #[test]
    fn forgets_whole_revisions_only() {
        let entries = [(5, 1), (6, 1), (6, 2), (7, 3)].map(|(at, id)| (revision(at), TopicId(id)));
        let tail = Tail::new(revision(4), entries, 2);
        // One row of revision 6 is gone, so a reader at 5 cannot be served, one at 6 can.
        assert_eq!(tail.since(revision(5)), None);
        assert_eq!(tail.since(revision(6)), Some([TopicId(3)].into()));
        assert_eq!(tail.since(revision(9)), Some([].into()));
    }

    #[test]
    fn serves_nobody_who_stands_in_a_hole() {
        let mut tail = Tail::new(revision(4), [], 2);
        tail.record([(revision(6), TopicId(1))]);
        tail.leave_hole(revision(5), revision(6));
        assert_eq!([4, 5, 6].map(|at| tail.since(revision(at)).is_some()), [true, false, true]);
        tail.record([(revision(7), TopicId(1)), (revision(8), TopicId(2))]);
        assert!(tail.holes.is_empty(), "forgotten with its revisions");
    }
}
