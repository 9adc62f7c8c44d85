//! The newest part of a board's log, kept in memory for readers that come back.
//!
//! It has to be right for a reader that comes from another node, whose cursor may be at a revision
//! that this node never showed (ADR 5): nodes read a burst of commits in different pieces. Such a
//! reader needs only the topics that were *touched* since, as long as the list held all topics of
//! the board. A full list also changes by what was not touched (the oldest topic is pushed out, or
//! comes back), so between two states of a full list that this node showed there is a gap:
//! revisions that it cannot serve.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::{Revision, TopicId};

/// The topics that changed after a revision, the floor, and the revision of each one's last change.
#[derive(Clone, Debug, Default)]
pub struct ReplayBuffer {
    floor: Revision,
    /// Each topic once, in the order of revisions.
    entries: VecDeque<(Revision, TopicId)>,
    /// Ranges of revisions, from the first to before the second.
    gaps: VecDeque<(Revision, Revision)>,
    entries_max: usize,
}

impl ReplayBuffer {
    /// Creates a buffer that knows every topic that changed after `floor`, and keeps the
    /// `entries_max` that changed last.
    #[must_use]
    pub fn new(
        floor: Revision,
        entries: impl IntoIterator<Item = (Revision, TopicId)>,
        entries_max: usize,
    ) -> Self {
        let mut buffer = Self {
            floor,
            entries: VecDeque::new(),
            gaps: VecDeque::new(),
            entries_max,
        };
        buffer.record(entries);
        buffer
    }

    /// Returns the floor: readers from before this revision cannot be served.
    #[must_use]
    pub const fn floor(&self) -> Revision {
        self.floor
    }

    /// Returns the topics that changed after the floor, in the order of their last change.
    pub fn entries(&self) -> impl Iterator<Item = (Revision, TopicId)> {
        self.entries.iter().copied()
    }

    /// Returns whether the topic changed last between the floor and `revision`.
    pub(crate) fn has_changed(&self, topic: TopicId, revision: Revision) -> bool {
        let upto = self.entries.partition_point(|(at, _)| *at <= revision);
        self.entries.range(..upto).any(|(_, id)| *id == topic)
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
        self.evict();
    }

    /// Notes that readers at revisions from `first` to before `end` cannot be served.
    pub(crate) fn leave_gap(&mut self, first: Revision, end: Revision) {
        self.gaps.push_back((first, end));
        self.evict();
    }

    /// Adds an older part of the same log, which reaches up to `upto`. Does nothing if that
    /// leaves a gap.
    pub(crate) fn extend_back(&mut self, older: &Self, upto: Revision) {
        if older.floor < self.floor && self.floor <= upto {
            self.floor = older.floor;
            self.record(older.entries());
        }
    }

    /// Notes that readers from before `floor` cannot be served. The topics are still known to have
    /// changed.
    pub(crate) fn raise_floor(&mut self, floor: Revision) {
        self.floor = self.floor.max(floor);
    }

    /// Evicts the oldest entries and gaps over the limit, and raises the floor past them.
    fn evict(&mut self) {
        while self.entries.len() > self.entries_max {
            if let Some((evicted, _)) = self.entries.pop_front() {
                self.floor = self.floor.max(evicted);
            }
        }
        // The gaps of a board whose few topics change again and again would otherwise never be
        // evicted.
        while self
            .gaps
            .front()
            .is_some_and(|(_, end)| *end <= self.floor || self.gaps.len() > self.entries_max)
        {
            if let Some((_, end)) = self.gaps.pop_front() {
                self.floor = self.floor.max(end);
            }
        }
    }

    /// Returns the topics that changed after `revision`, or `None` if a reader there cannot be
    /// served.
    pub(crate) fn since(&self, revision: Revision) -> Option<BTreeSet<TopicId>> {
        let is_in_gap = self
            .gaps
            .iter()
            .any(|(first, end)| (*first..*end).contains(&revision));
        let first = self.entries.partition_point(|(at, _)| *at <= revision);
        (revision >= self.floor && !is_in_gap)
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
    fn evicts_whole_revisions_only() {
        let entries = [(5, 1), (6, 1), (6, 2), (7, 3)].map(|(at, id)| (revision(at), TopicId(id)));
        let buffer = ReplayBuffer::new(revision(4), entries, 2);
        // One row of revision 6 is gone, so a reader at 5 cannot be served, one at 6 can.
        assert_eq!(buffer.since(revision(5)), None);
        assert_eq!(buffer.since(revision(6)), Some([TopicId(3)].into()));
        assert_eq!(buffer.since(revision(9)), Some([].into()));
    }

    #[test]
    fn serves_no_reader_in_a_gap() {
        let mut buffer = ReplayBuffer::new(revision(4), [], 2);
        buffer.record([(revision(6), TopicId(1))]);
        buffer.leave_gap(revision(5), revision(6));
        assert_eq!(
            [4, 5, 6].map(|at| buffer.since(revision(at)).is_some()),
            [true, false, true]
        );
        buffer.record([(revision(7), TopicId(2)), (revision(8), TopicId(3))]);
        assert!(buffer.gaps.is_empty(), "evicted with its revisions");
    }

    #[test]
    fn a_topic_that_changes_for_ever_takes_one_entry() {
        let mut buffer = ReplayBuffer::new(revision(4), [(revision(5), TopicId(9))], 2);
        for at in 6..1_000 {
            buffer.record([(revision(at), TopicId(1))]);
            buffer.leave_gap(revision(at - 1), revision(at));
        }
        assert_eq!(buffer.since(revision(999)), Some([].into()));
        assert!(
            buffer.gaps.len() <= 2 && buffer.floor() >= revision(900),
            "gaps take entries too: {buffer:?}"
        );
    }

    #[test]
    fn an_older_part_serves_readers_from_further_back() {
        let mut buffer = ReplayBuffer::new(
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
        assert!(buffer.since(revision(2)).is_none());
        buffer.extend_back(&older, revision(5));
        assert!(
            buffer.since(revision(2)).is_none(),
            "what was between 5 and 6 is not known"
        );
        buffer.extend_back(&older, revision(7));
        assert_eq!(
            buffer.since(revision(2)),
            Some([1, 2, 3].map(TopicId).into())
        );
        assert_eq!(buffer.since(revision(4)), Some([1, 2].map(TopicId).into()));
        assert_eq!(
            buffer.entries().map(|(at, _)| at.get()).collect::<Vec<_>>(),
            [4, 7, 8]
        );
    }
}
