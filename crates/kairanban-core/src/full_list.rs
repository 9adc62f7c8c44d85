//! When a live list is full, and what follows from it.
//!
//! A live list shows at most `topics_max` topics, the newest ones that are not archived. A full one
//! has no room left: each new topic pushes out the oldest, which is archived a moment later. Until
//! then it takes its place again if a newer topic goes. So what is older than a full list is known
//! to the database alone.
//!
//! The statements of the store say the same in SQL, by `LIMIT` and `OFFSET`.

use std::sync::Arc;

use crate::{Topic, TopicId};

/// Returns whether a list of `shown` topics is full: there may be older ones.
#[must_use]
pub const fn is_full(shown: usize, topics_max: usize) -> bool {
    shown >= topics_max
}

/// Returns how many of `live` topics that are not archived a list does not show: the oldest, which
/// are archived next.
#[must_use]
pub const fn surplus(live: usize, topics_max: usize) -> usize {
    live.saturating_sub(topics_max)
}

/// Returns the first topic of a list in id order, if the list is full: older ones may wait to be
/// archived, and are no new topics if they are back.
#[must_use]
pub fn first_if_full(topics: &[Arc<Topic>], topics_max: usize) -> Option<TopicId> {
    let first = topics.first()?;
    is_full(topics.len(), topics_max).then_some(first.id)
}

/// Returns how many deletions a list of `shown` topics can have seen lately without having been
/// full before any of them.
#[must_use]
pub const fn deletions_while_not_full(shown: usize, topics_max: usize) -> usize {
    topics_max.saturating_sub(shown).saturating_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_before_few_enough_deletions_was_not_full() {
        for (shown, topics_max) in (0..6).flat_map(|shown| (1..6).map(move |max| (shown, max))) {
            let deletions = deletions_while_not_full(shown, topics_max);
            assert!(deletions == 0 || !is_full(shown + deletions, topics_max));
            assert!(is_full(shown + deletions + 1, topics_max));
        }
    }

    #[test]
    fn a_full_list_shows_what_is_no_surplus() {
        for (live, topics_max) in (0..6).flat_map(|live| (1..6).map(move |max| (live, max))) {
            let shown = live - surplus(live, topics_max);
            assert_eq!(shown, live.min(topics_max));
            assert_eq!(is_full(shown, topics_max), is_full(live, topics_max));
        }
    }
}
