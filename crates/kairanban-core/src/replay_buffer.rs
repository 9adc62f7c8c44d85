//! The newest stretch of a board's history, kept in memory for readers that come back.
//!
//! It has to be right for a reader that comes from another node, and so may stand at a revision
//! that this node never showed: nodes see bursts of commits cut into different pieces. What was
//! *touched* since is enough for such a reader as long as the list held all topics of the board. A
//! full list also changes by what was not touched (the oldest is pushed out, or comes back), so
//! between two states of a full list that this node showed there are revisions that it cannot
//! serve: holes.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::{Revision, TopicId};

/// Which topics changed after the floor, and at which revision last.
#[derive(Clone, Debug, Default)]
pub struct ReplayBuffer {
    floor: Revision,
    /// Each topic once, in the order of revisions.
    entries: VecDeque<(Revision, TopicId)>,
    /// From the first to before the second.
    holes: VecDeque<(Revision, Revision)>,
    entries_max: usize,
}

impl ReplayBuffer {
    /// A tail that knows every topic that changed after `floor`, and keeps the `entries_max` that changed last.
    #[must_use]
    pub fn new(
        floor: Revision,
        entries: impl IntoIterator<Item = (Revision, TopicId)>,
        entries_max: usize,
    ) -> Self {
        let mut tail = Self {
            floor,
            entries: VecDeque::new(),
            holes: VecDeque::new(),
            entries_max,
        };
        tail.record(entries);
        tail
    }

    /// Readers from before this revision cannot be served.
    #[must_use]
    pub const fn floor(&self) -> Revision {
        self.floor
    }

    /// The topics that changed after the floor, in the order of their last change.
    pub fn entries(&self) -> impl Iterator<Item = (Revision, TopicId)> {
        self.entries.iter().copied()
    }

    /// Adds topics that changed, with the revision of each.
    pub(crate) fn record(&mut self, entries: impl IntoIterator<Item = (Revision, TopicId)>) {
        let mut last = BTreeMap::new();
        for (at, id) in entries {
            let known = last.entry(id).or_insert(at);
            *known = at.max(*known);
        }
        for (at, id) in &self.entries {
            last.entry(*id).and_modify(|known| *known = *at.max(known));
        }
        self.entries.retain(|(_, id)| !last.contains_key(id));
        // Mostly what is added is newer than what is there.
        let oldest = last.values().min().copied();
        let from = self.entries.partition_point(|(at, _)| Some(*at) < oldest);
        self.entries
            .extend(last.into_iter().map(|(id, at)| (at, id)));
        self.entries.make_contiguous()[from..].sort_unstable();
        self.forget();
    }

    /// Readers at revisions from `first` to before `end` cannot be served.
    pub(crate) fn leave_gap(&mut self, first: Revision, end: Revision) {
        self.holes.push_back((first, end));
        self.forget();
    }

    /// Takes an older stretch of the same history, that reaches up to `upto`. Not if there is a gap between.
    pub(crate) fn extend_back(&mut self, older: &Self, upto: Revision) {
        if older.floor < self.floor && self.floor <= upto {
            self.floor = older.floor;
            self.record(older.entries());
        }
    }

    fn forget(&mut self) {
        while self.entries.len() > self.entries_max {
            if let Some((forgotten, _)) = self.entries.pop_front() {
                self.floor = self.floor.max(forgotten);
            }
        }
        // A board whose few topics change for ever would otherwise never forget a hole.
        while self
            .holes
            .front()
            .is_some_and(|(_, end)| *end <= self.floor || self.holes.len() > self.entries_max)
        {
            if let Some((_, end)) = self.holes.pop_front() {
                self.floor = self.floor.max(end);
            }
        }
    }

    /// The topics that changed after `revision`, or `None` if a reader there cannot be served.
    pub(crate) fn since(&self, revision: Revision) -> Option<BTreeSet<TopicId>> {
        let in_hole = self
            .holes
            .iter()
            .any(|(first, end)| (*first..*end).contains(&revision));
        let first = self.entries.partition_point(|(at, _)| *at <= revision);
        (revision >= self.floor && !in_hole)
            .then(|| self.entries.range(first..).map(|(_, id)| *id).collect())
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
        let tail = ReplayBuffer::new(revision(4), entries, 2);
        // One row of revision 6 is gone, so a reader at 5 cannot be served, one at 6 can.
        assert_eq!(tail.since(revision(5)), None);
        assert_eq!(tail.since(revision(6)), Some([TopicId(3)].into()));
        assert_eq!(tail.since(revision(9)), Some([].into()));
    }

    #[test]
    fn serves_nobody_who_stands_in_a_hole() {
        let mut tail = ReplayBuffer::new(revision(4), [], 2);
        tail.record([(revision(6), TopicId(1))]);
        tail.leave_gap(revision(5), revision(6));
        assert_eq!(
            [4, 5, 6].map(|at| tail.since(revision(at)).is_some()),
            [true, false, true]
        );
        tail.record([(revision(7), TopicId(2)), (revision(8), TopicId(3))]);
        assert!(tail.holes.is_empty(), "forgotten with its revisions");
    }

    #[test]
    fn a_topic_that_changes_for_ever_takes_one_place() {
        let mut tail = ReplayBuffer::new(revision(4), [(revision(5), TopicId(9))], 2);
        for at in 6..1_000 {
            tail.record([(revision(at), TopicId(1))]);
            tail.leave_gap(revision(at - 1), revision(at));
        }
        assert_eq!(tail.since(revision(999)), Some([].into()));
        assert!(
            tail.holes.len() <= 2 && tail.floor() >= revision(900),
            "holes take places too: {tail:?}"
        );
    }

    #[test]
    fn an_older_stretch_serves_readers_from_further_back() {
        let mut tail = ReplayBuffer::new(
            revision(6),
            [(revision(7), TopicId(1)), (revision(8), TopicId(2))],
            8,
        );
        let older = ReplayBuffer::new(
            revision(2),
            [
                (revision(3), TopicId(2)),
                (revision(4), TopicId(3)),
                (revision(7), TopicId(1)),
            ],
            8,
        );
        assert!(tail.since(revision(2)).is_none());
        tail.extend_back(&older, revision(5));
        assert!(
            tail.since(revision(2)).is_none(),
            "what was between 5 and 6 is not known"
        );
        tail.extend_back(&older, revision(7));
        assert_eq!(tail.since(revision(2)), Some([1, 2, 3].map(TopicId).into()));
        assert_eq!(tail.since(revision(4)), Some([1, 2].map(TopicId).into()));
        assert_eq!(
            tail.entries().map(|(at, _)| at.get()).collect::<Vec<_>>(),
            [4, 7, 8]
        );
    }
}
