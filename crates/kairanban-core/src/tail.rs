//! The newest stretch of a board's history, kept in memory for readers that come back.

use std::collections::{BTreeSet, VecDeque};

use crate::{Revision, TopicId};

/// Which topics changed at which revision, for every change after the floor.
#[derive(Clone, Debug, Default)]
pub struct Tail {
    floor: Revision,
    entries: VecDeque<(Revision, TopicId)>,
    entries_max: usize,
}

impl Tail {
    /// A tail that knows every change after `floor`, given in order, and keeps `entries_max`.
    #[must_use]
    pub fn new(floor: Revision, entries: impl IntoIterator<Item = (Revision, TopicId)>, entries_max: usize) -> Self {
        let mut tail = Self { floor, entries: VecDeque::new(), entries_max };
        for (revision, id) in entries {
            tail.record(revision, [id]);
        }
        tail
    }

    /// Adds the topics that changed at `revision`; the oldest make room.
    pub(crate) fn record(&mut self, revision: Revision, ids: impl IntoIterator<Item = TopicId>) {
        self.entries.extend(ids.into_iter().map(|id| (revision, id)));
        while self.entries.len() > self.entries_max {
            if let Some((forgotten, _)) = self.entries.pop_front() {
                self.floor = forgotten;
            }
        }
    }

    /// The topics that changed after `revision`, or `None` if that is further back than the tail.
    pub(crate) fn since(&self, revision: Revision) -> Option<BTreeSet<TopicId>> {
        let first = self.entries.partition_point(|(at, _)| *at <= revision);
        (revision >= self.floor).then(|| self.entries.range(first..).map(|(_, id)| *id).collect())
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
}
