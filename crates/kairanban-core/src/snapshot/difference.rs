//! How two lists are compared. Nothing else decides what is gone, what is new, and what changed.

use std::sync::Arc;

use crate::{Op, Topic, TopicId};

/// In what a list differs from an earlier one.
#[derive(Debug, Default)]
pub(super) struct Difference {
    removed: Vec<TopicId>,
    /// The topics that are new or changed, and whether they are new.
    set: Vec<(Arc<Topic>, bool)>,
}

impl Difference {
    /// Compares two lists in id order, in one pass.
    pub(super) fn between(earlier: &[Arc<Topic>], later: &[Arc<Topic>]) -> Self {
        let mut difference = Self::default();
        let mut earlier = earlier.iter().peekable();
        for topic in later {
            while let Some(gone) = earlier.next_if(|before| before.id < topic.id) {
                difference.removed.push(gone.id);
            }
            match earlier.next_if(|before| before.id == topic.id) {
                Some(before) if Arc::ptr_eq(before, topic) || before == topic => {}
                before => difference.set.push((Arc::clone(topic), before.is_none())),
            }
        }
        difference.removed.extend(earlier.map(|topic| topic.id));
        difference
    }

    /// Returns whether the lists show the same.
    pub(super) const fn is_empty(&self) -> bool {
        self.removed.is_empty() && self.set.is_empty()
    }

    /// Returns the topics in which the lists differ.
    pub(super) fn topic_ids(&self) -> impl Iterator<Item = TopicId> {
        let set = self.set.iter().map(|(topic, _)| topic.id);
        self.removed.iter().copied().chain(set)
    }

    /// Returns the topics that only the later list shows.
    pub(super) fn added(&self) -> impl Iterator<Item = &Arc<Topic>> {
        let added = self.set.iter().filter(|(_, is_new)| *is_new);
        added.map(|(topic, _)| topic)
    }

    /// Returns the ops that turn the earlier list into the later one: first the deletes, then the
    /// sets, each in id order. `archived` decides which of the deleted topics were pushed out.
    pub(super) fn into_ops(self, archived: impl Fn(TopicId) -> bool) -> Vec<Op> {
        let deletes = self.removed.into_iter().map(|id| Op::Delete {
            id,
            archived: archived(id),
        });
        let sets = self.set.into_iter().map(|(topic, _)| Op::Set(topic));
        deletes.chain(sets).collect()
    }
}
