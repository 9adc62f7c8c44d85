//! A board's live list at one revision, and the next one: from changes that the log reports, or
//! from a list that was read.

mod difference;

use std::sync::Arc;

use crate::{
    BoardChanges, BoardName, Cursor, Digest, KnownSince, Patch, ReplayBuffer, Revision, Topic,
    TopicId, WireCache, full_list,
};
use difference::Difference;

/// The live list of a board at one revision: the newest topics that are not archived, in id
/// order. Immutable; its encodings are made once and shared.
#[derive(Debug)]
pub struct Snapshot {
    board: BoardName,
    cursor: Cursor,
    /// The list has shown the same since this revision.
    since: Revision,
    topics: Vec<Arc<Topic>>,
    bulk_stamps: Arc<[BulkStamp]>,
    digest: Digest,
    wire_cache: WireCache,
}

/// The number that the topics of a bulk transaction bear as their revision, and the revision of its
/// commit.
///
/// A transaction of thousands of topics stamps them before its turn in the order of commits, so the
/// number on them is lower than revisions that readers were sent before it committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BulkStamp {
    /// The number on its topics.
    pub stamped_as: Revision,
    /// Its place in the order of commits.
    pub revision: Revision,
}

impl Snapshot {
    /// Creates the list of `topics` as committed at `cursor`. They must be in id order.
    #[must_use]
    pub fn new(board: BoardName, cursor: Cursor, topics: Vec<Arc<Topic>>) -> Self {
        debug_assert!(
            topics.is_sorted_by_key(|topic| topic.id),
            "topics in id order"
        );
        let digest = Digest::of(&topics);
        Self {
            since: cursor.revision,
            board,
            cursor,
            topics,
            bulk_stamps: Arc::default(),
            digest,
            wire_cache: WireCache::default(),
        }
    }

    /// Adds the bulk transactions that changed the board, as far as the log knows them. Those that
    /// left nothing on the list are dropped.
    #[must_use]
    pub fn with_bulk_stamps(mut self, stamps: impl IntoIterator<Item = BulkStamp>) -> Self {
        let stamps = stamps.into_iter().filter(|stamp| {
            let mut topics = self.topics.iter();
            topics.any(|topic| topic.revision == stamp.stamped_as)
        });
        self.bulk_stamps = stamps.collect();
        self
    }

    /// Returns the bulk transactions whose topics it shows.
    #[must_use]
    pub fn bulk_stamps(&self) -> &[BulkStamp] {
        &self.bulk_stamps
    }

    /// Returns the topics that were committed after `revision`.
    pub fn changed_since(&self, revision: Revision) -> impl Iterator<Item = &Arc<Topic>> {
        let topics = self.topics.iter();
        topics.filter(move |topic| self.committed_at(topic) > revision)
    }

    /// Returns the revision of the commit that a topic is of.
    fn committed_at(&self, topic: &Topic) -> Revision {
        let mut stamps = self.bulk_stamps.iter();
        stamps
            .find(|stamp| stamp.stamped_as == topic.revision)
            .map_or(topic.revision, |stamp| stamp.revision)
    }

    /// Returns the board's name.
    #[must_use]
    pub const fn board(&self) -> &BoardName {
        &self.board
    }

    /// Returns its position in the board's history.
    #[must_use]
    pub const fn cursor(&self) -> &Cursor {
        &self.cursor
    }

    /// Returns the revision of the newest change in it.
    #[must_use]
    pub const fn revision(&self) -> Revision {
        self.cursor.revision
    }

    /// Returns the topics in id order.
    #[must_use]
    pub fn topics(&self) -> &[Arc<Topic>] {
        &self.topics
    }

    /// Returns the topic with this id, if the list shows it.
    #[must_use]
    pub fn topic(&self, id: TopicId) -> Option<&Arc<Topic>> {
        self.topics
            .binary_search_by_key(&id, |topic| topic.id)
            .ok()
            .map(|at| &self.topics[at])
    }

    /// Returns the list's checksum.
    #[must_use]
    pub const fn digest(&self) -> Digest {
        self.digest
    }

    /// Returns the cache of its encodings.
    #[must_use]
    pub const fn wire_cache(&self) -> &WireCache {
        &self.wire_cache
    }

    /// Returns the snapshot after `changes`, and the patch to it. Changes that this snapshot
    /// already holds are skipped. Topics in `history`, which reaches up to this snapshot, do not
    /// count as new.
    #[must_use]
    pub fn apply(
        &self,
        changes: &BoardChanges,
        history: &ReplayBuffer,
        topics_max: usize,
    ) -> Applied {
        if changes.cleared_after(self.revision()) {
            return Applied::Reload;
        }
        let mut topics = self.topics().to_vec();
        for (id, state) in changes.after(self.revision()) {
            match (topics.binary_search_by_key(&id, |topic| topic.id), state) {
                (Ok(at), Some(topic)) => topics[at] = Arc::clone(topic),
                (Ok(at), None) => drop(topics.remove(at)),
                (Err(at), Some(topic)) => topics.insert(at, Arc::clone(topic)),
                (Err(_), None) => {}
            }
        }
        // Pushed out by what came before in the same reading, and archived by now: what went after
        // that has not made room for it.
        let known = self.revision();
        topics.retain(|topic| !changes.is_archived_after(topic.id, known));
        let pushed_out = topics
            .drain(..full_list::surplus(topics.len(), topics_max))
            .map(|topic| topic.id)
            .collect::<Vec<_>>();
        // Older than a full list there may be topics that are not archived yet. They take their
        // places before any topic that is older than the first one was.
        if let Some(began) = full_list::first_if_full(self.topics(), topics_max)
            && (!full_list::is_full(topics.len(), topics_max)
                || topics.first().is_some_and(|topic| topic.id < began))
        {
            return Applied::Reload;
        }
        let cursor = Cursor {
            epoch: self.cursor().epoch.clone(),
            revision: changes.revision(),
        };
        let mut next = Self::new(self.board().clone(), cursor, topics);
        next.bulk_stamps = Arc::clone(&self.bulk_stamps);
        let difference = Difference::between(self.topics(), next.topics());
        let posted = self.posted(&difference, history, topics_max);
        self.towards(next, difference, posted, changes.known_since(), |id| {
            pushed_out.binary_search(&id).is_ok() || changes.is_archived_after(id, known)
        })
    }

    /// Returns the patch from this snapshot to a later one that was read from the database. A topic
    /// that vanished below a full list counts as archived; topics in `history` do not count as new.
    #[must_use]
    pub fn replaced_by(&self, next: Self, history: &ReplayBuffer, topics_max: usize) -> Applied {
        let first = full_list::first_if_full(next.topics(), topics_max);
        let difference = Difference::between(self.topics(), next.topics());
        let posted = self.posted(&difference, history, topics_max);
        self.towards(next, difference, posted, None, |id| {
            first.is_some_and(|first| id < first)
        })
    }

    /// Returns whether another list shows the same.
    pub(crate) fn shows_same_as(&self, other: &Self) -> bool {
        Difference::between(self.topics(), other.topics()).is_empty()
    }

    /// Returns whether a later list differs in nothing but topics that changed since, by `history`,
    /// or `None` if that does not reach back so far.
    pub(crate) fn is_followed_by(&self, later: &Self, history: &ReplayBuffer) -> Option<bool> {
        let changed = history.since(self.revision())?;
        let difference = Difference::between(self.topics(), later.topics());
        Some(difference.topic_ids().all(|id| changed.contains(&id)))
    }

    /// Returns the topics of a later list that were posted since this one, as far as `history`
    /// knows.
    pub(crate) fn posted_on(
        &self,
        later: &Self,
        history: &ReplayBuffer,
        topics_max: usize,
    ) -> Vec<Arc<Topic>> {
        let difference = Difference::between(self.topics(), later.topics());
        self.posted(&difference, history, topics_max)
    }

    /// Returns which topics of the difference to a later list were posted since this one.
    ///
    /// Ids do not say what is new, since they are drawn before the commit: a post with a lower one
    /// may be committed later. New is what was not here, neither deleted lately nor too old for a
    /// full list.
    fn posted(
        &self,
        difference: &Difference,
        history: &ReplayBuffer,
        topics_max: usize,
    ) -> Vec<Arc<Topic>> {
        let first = full_list::first_if_full(self.topics(), topics_max);
        let added = difference.added();
        added
            .filter(|topic| Some(topic.id) > first)
            .filter(|topic| !history.has_changed(topic.id, self.revision()))
            .map(Arc::clone)
            .collect()
    }

    /// Returns the patch to `next`, with `archived` to say which of the removed topics were pushed
    /// out.
    fn towards(
        &self,
        mut next: Self,
        difference: Difference,
        posted: Vec<Arc<Topic>>,
        known_since: Option<KnownSince>,
        archived: impl Fn(TopicId) -> bool,
    ) -> Applied {
        if difference.is_empty() {
            next.since = self.since;
            return Applied::Same(Arc::new(next));
        }
        // A reader at any revision since then holds this list.
        let patch = Patch {
            board: self.board().clone(),
            from: self.since,
            to: next.cursor().clone(),
            digest: next.digest(),
            ops: difference.into_ops(archived),
        };
        let mut update = Update::new(Arc::new(next), patch, posted);
        update.known_since = known_since;
        Applied::Updated(Arc::new(update))
    }
}

/// One change of a board's list, as it is sent to all readers: the new list, and the patch to it.
#[derive(Debug)]
pub struct Update {
    /// The list after the change.
    pub snapshot: Arc<Snapshot>,
    /// The patch from the list before to this one.
    pub patch: Patch,
    /// The topics that are new on the list, not only changed or back on it.
    pub posted: Vec<Arc<Topic>>,
    /// Since when the server has known of the change, if it learned of it as one.
    pub known_since: Option<KnownSince>,
    wire_cache: WireCache,
}

impl Update {
    pub(crate) fn new(snapshot: Arc<Snapshot>, patch: Patch, posted: Vec<Arc<Topic>>) -> Self {
        Self {
            snapshot,
            patch,
            posted,
            known_since: None,
            wire_cache: WireCache::default(),
        }
    }

    /// Returns the revision that it leads to.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.snapshot.revision()
    }

    /// Returns the cache of its encodings.
    #[must_use]
    pub const fn wire_cache(&self) -> &WireCache {
        &self.wire_cache
    }
}

/// The result of applying changes to a snapshot.
#[derive(Debug)]
pub enum Applied {
    /// The list shows the same as before, at a later revision: what was added in between was
    /// removed again.
    Same(Arc<Snapshot>),
    /// The next snapshot and the way to it.
    Updated(Arc<Update>),
    /// A full list lost topics, and older ones that are not archived yet may take their place; or
    /// the log says only that the list has to be read: only the database knows it.
    Reload,
}

#[cfg(test)]
mod tests;
