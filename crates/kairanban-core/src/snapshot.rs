//! A board's live list at one revision.

use std::{fmt, sync::Arc};

use crate::{BoardChanges, BoardName, Cursor, Forms, Op, Patch, Revision, Topic, TopicId, Update};

/// The live list of a board at one revision: the newest topics that are not archived, in id
/// order. Immutable; its wire forms are made once and shared.
#[derive(Debug)]
pub struct Snapshot {
    board: BoardName,
    cursor: Cursor,
    /// The list has shown the same since this revision.
    since: Revision,
    topics: Vec<Arc<Topic>>,
    digest: Digest,
    forms: Forms,
}

/// What applying changes to a snapshot came to.
#[derive(Debug)]
pub enum Applied {
    /// The list shows the same as before, at a later revision: what came in between went again.
    Same(Arc<Snapshot>),
    /// The next snapshot and the way to it.
    Updated(Arc<Update>),
    /// A full list lost topics, and older ones that are not archived yet may take their place; or the log
    /// says only that the list has to be read: only the database knows it.
    Reload,
}

impl Snapshot {
    /// `topics` in id order, as committed at `cursor`.
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
            digest,
            forms: Forms::default(),
        }
    }

    /// The board's name.
    #[must_use]
    pub const fn board(&self) -> &BoardName {
        &self.board
    }

    /// Its place in history.
    #[must_use]
    pub const fn cursor(&self) -> &Cursor {
        &self.cursor
    }

    /// The revision of the newest change in it.
    #[must_use]
    pub const fn revision(&self) -> Revision {
        self.cursor.revision
    }

    /// The topics, in id order.
    #[must_use]
    pub fn topics(&self) -> &[Arc<Topic>] {
        &self.topics
    }

    /// The topic with this id, if the list shows it.
    #[must_use]
    pub fn topic(&self, id: TopicId) -> Option<&Arc<Topic>> {
        self.topics
            .binary_search_by_key(&id, |topic| topic.id)
            .ok()
            .map(|at| &self.topics[at])
    }

    /// The list's fingerprint.
    #[must_use]
    pub const fn digest(&self) -> Digest {
        self.digest
    }

    /// Its wire forms.
    #[must_use]
    pub const fn forms(&self) -> &Forms {
        &self.forms
    }

    /// The snapshot after `changes`; those that it already holds are skipped.
    #[must_use]
    pub fn apply(&self, changes: &BoardChanges, topics_max: usize) -> Applied {
        let was_full = self.topics.len() >= topics_max;
        if changes.cleared_after(self.revision()) {
            return Applied::Reload;
        }
        let mut topics = self.topics.clone();
        for (id, state) in changes.after(self.revision()) {
            match (topics.binary_search_by_key(&id, |topic| topic.id), state) {
                (Ok(at), Some(topic)) => topics[at] = Arc::clone(topic),
                (Ok(at), None) => drop(topics.remove(at)),
                (Err(at), Some(topic)) => topics.insert(at, Arc::clone(topic)),
                (Err(_), None) => {}
            }
        }
        let archived = topics
            .drain(..topics.len().saturating_sub(topics_max))
            .map(|topic| topic.id)
            .collect::<Vec<_>>();
        // Below a full list there may be topics that are not archived yet: they come before any that
        // would stand below where the list began.
        let began = self.topics.first().map(|topic| topic.id);
        if was_full && (topics.len() < topics_max || topics.first().map(|topic| topic.id) < began) {
            return Applied::Reload;
        }
        let cursor = Cursor {
            epoch: self.cursor.epoch.clone(),
            revision: changes.revision(),
        };
        let next = Self::new(self.board.clone(), cursor, topics);
        self.towards(next, |id| archived.binary_search(&id).is_ok())
    }

    /// The way from this snapshot to a later one that was loaded anew. A topic that vanished below a
    /// full list was pushed out of it.
    #[must_use]
    pub fn replaced_by(&self, next: Self, topics_max: usize) -> Applied {
        let first = (next.topics.len() >= topics_max)
            .then(|| next.topics.first().map(|topic| topic.id))
            .flatten();
        self.towards(next, |id| first.is_some_and(|first| id < first))
    }

    fn towards(&self, mut next: Self, archived: impl Fn(TopicId) -> bool) -> Applied {
        let ops = difference(&self.topics, &next.topics, archived);
        if ops.is_empty() {
            next.since = self.since;
            return Applied::Same(Arc::new(next));
        }
        // Whoever was brought to any revision since then holds this list.
        let patch = Patch {
            board: self.board.clone(),
            from: self.since,
            to: next.cursor.clone(),
            digest: next.digest,
            ops,
        };
        // Ids grow: one that is higher than all that were here was not here before.
        let newest = self.topics.last().map(|topic| topic.id);
        let posted = next
            .topics
            .iter()
            .filter(|topic| Some(topic.id) > newest)
            .map(Arc::clone)
            .collect();
        Applied::Updated(Arc::new(Update::new(Arc::new(next), patch, posted)))
    }
}

/// The ops that turn one list in id order into another.
fn difference(
    old: &[Arc<Topic>],
    new: &[Arc<Topic>],
    archived: impl Fn(TopicId) -> bool,
) -> Vec<Op> {
    let kept = |topic: &&Arc<Topic>| new.binary_search_by_key(&topic.id, |new| new.id).is_ok();
    let gone = old
        .iter()
        .filter(|topic| !kept(topic))
        .map(|topic| Op::Delete {
            id: topic.id,
            archived: archived(topic.id),
        });
    let same = |topic: &&Arc<Topic>| {
        let before = old
            .binary_search_by_key(&topic.id, |old| old.id)
            .ok()
            .map(|at| &old[at]);
        before.is_some_and(|before| Arc::ptr_eq(before, topic) || before == *topic)
    };
    gone.chain(
        new.iter()
            .filter(|topic| !same(topic))
            .map(|topic| Op::Set(Arc::clone(topic))),
    )
    .collect()
}

/// A fingerprint of a live list, that a client can compute for itself: the sum over the list of
/// `mix(mix(id) + revision)`, modulo 2^64, where `mix` is one step of splitmix64.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Digest(u64);

impl Digest {
    fn of(topics: &[Arc<Topic>]) -> Self {
        Self::of_pairs(
            topics
                .iter()
                .map(|topic| (topic.id.get(), topic.revision.get())),
        )
    }

    /// Of the ids and revisions of the topics of a list, in any order.
    #[must_use]
    pub fn of_pairs(pairs: impl Iterator<Item = (u64, u64)>) -> Self {
        Self(
            pairs
                .map(|(id, revision)| mix(mix(id).wrapping_add(revision)))
                .fold(0, u64::wrapping_add),
        )
    }
}

/// Sixteen lower-case hex digits.
impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// One step of splitmix64 (Steele, Lea and Flood 2014): add the golden gamma, then finalise.
const fn mix(x: u64) -> u64 {
    let z = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::{BoardId, Change, ChangeKind};

    pub(crate) fn topic(id: i64, revision: u64) -> Arc<Topic> {
        let at = chrono::DateTime::UNIX_EPOCH;
        let revision = Revision::new(revision).expect("a revision");
        Arc::new(Topic {
            id: TopicId(id),
            comment: format!("r{revision}"),
            author: String::new(),
            created_at: at,
            updated_at: at,
            edited_at: None,
            revision,
        })
    }

    pub(crate) fn snapshot(revision: u64, topics: &[(i64, u64)]) -> Snapshot {
        let cursor = format!("e-{revision}").parse().expect("a cursor");
        Snapshot::new(
            "main".parse().expect("a name"),
            cursor,
            topics
                .iter()
                .map(|(id, revision)| topic(*id, *revision))
                .collect(),
        )
    }

    /// `(revision, id, shown)`: shown topics carry that revision; id 0 stands for a truncate.
    pub(crate) fn changes(rows: &[(u64, i64, bool)]) -> BoardChanges {
        let mut changes = BoardChanges::default();
        for &(revision, id, shown) in rows {
            let kind = match (id, shown) {
                (0, _) => ChangeKind::Clear,
                (_, true) => ChangeKind::Set,
                (_, false) => ChangeKind::Delete,
            };
            changes.push(&Change {
                revision: Revision::new(revision).expect("a revision"),
                kind,
                board_id: BoardId(1),
                board: None,
                names_board: false,
                topic_id: (id != 0).then_some(TopicId(id)),
                topic: shown.then(|| topic(id, revision)),
            });
        }
        changes
    }

    /// `(revision, id, (revision now, shown now))`: rows of the log with the state of a later reading.
    pub(crate) fn changes_as_of(rows: &[(u64, i64, (u64, bool))]) -> BoardChanges {
        let mut changes = BoardChanges::default();
        for &(revision, id, (now, shown)) in rows {
            changes.push(&Change {
                revision: Revision::new(revision).expect("a revision"),
                kind: if shown {
                    ChangeKind::Set
                } else {
                    ChangeKind::Delete
                },
                board_id: BoardId(1),
                board: None,
                names_board: false,
                topic_id: Some(TopicId(id)),
                topic: shown.then(|| topic(id, now)),
            });
        }
        changes
    }

    fn pairs(snapshot: &Snapshot) -> Vec<(i64, u64)> {
        snapshot
            .topics()
            .iter()
            .map(|topic| (topic.id.0, topic.revision.get()))
            .collect()
    }

    fn updated(applied: Applied) -> Arc<Update> {
        match applied {
            Applied::Updated(update) => update,
            other => panic!("expected an update, got {other:?}"),
        }
    }

    #[test]
    fn digest_is_the_one_of_the_contract() {
        assert_eq!(
            Digest::of_pairs([(1, 1), (2, 7)].into_iter()).to_string(),
            "8e8e44e4f764f322"
        );
    }

    #[test]
    fn skips_what_it_already_holds() {
        let update = updated(
            snapshot(7, &[(1, 1), (2, 7)])
                .apply(&changes(&[(6, 1, false), (7, 2, true), (8, 3, true)]), 500),
        );
        assert_eq!(pairs(&update.snapshot), [(1, 1), (2, 7), (3, 8)]);
    }

    #[test]
    fn a_topic_that_came_and_went_in_between_is_no_change() {
        let now = snapshot(7, &[(1, 1)]);
        let Applied::Same(same) = now.apply(&changes(&[(8, 2, true), (9, 2, false)]), 500) else {
            panic!("the same")
        };
        assert_eq!((same.revision().get(), pairs(&same)), (9, pairs(&now)));
        // Whoever was shown revision 7 is still on this list.
        assert_eq!(
            updated(same.apply(&changes(&[(10, 3, true)]), 500))
                .patch
                .from
                .get(),
            7
        );
    }

    #[test]
    fn a_full_board_pushes_out_its_oldest() {
        let update = updated(
            snapshot(3, &[(1, 1), (2, 2), (3, 3)])
                .apply(&changes(&[(4, 4, true), (4, 5, true)]), 3),
        );
        assert_eq!(pairs(&update.snapshot), [(3, 3), (4, 4), (5, 4)]);
        let ops = &update.patch.ops;
        assert!(matches!(
            ops[..2],
            [
                Op::Delete {
                    id: TopicId(1),
                    archived: true
                },
                Op::Delete {
                    id: TopicId(2),
                    archived: true
                }
            ]
        ));
        assert_eq!(ops.len(), 4);
    }

    #[test]
    fn a_delete_on_a_full_board_asks_the_database_who_moves_up() {
        let full = snapshot(3, &[(2, 2), (3, 3)]);
        assert!(matches!(
            full.apply(&changes(&[(4, 3, false)]), 2),
            Applied::Reload
        ));
        assert!(matches!(
            full.apply(&changes(&[(4, 3, false)]), 3),
            Applied::Updated(_)
        ));
    }

    #[test]
    fn after_a_clear_only_the_database_knows_the_list() {
        let cleared = [(4, 2, true), (5, 0, false), (6, 7, true)];
        assert!(matches!(
            snapshot(3, &[(1, 1), (2, 2)]).apply(&changes(&cleared), 500),
            Applied::Reload
        ));
        assert!(
            matches!(
                snapshot(6, &[(1, 1), (2, 2)]).apply(&changes(&cleared), 500),
                Applied::Same(_)
            ),
            "known already"
        );
    }

    proptest! {
        /// Whatever happened, a client that applies the patch holds what the database shows.
        #[test]
        fn patches_lead_to_the_newest_topics(
            start in proptest::collection::btree_map(1_i64..30, 1_u64..10, 0..12),
            rows in proptest::collection::vec((1_i64..30, proptest::bool::ANY), 1..20),
            topics_max in 1_usize..12,
        ) {
            let newest: Vec<_> = start.iter().rev().take(topics_max).map(|(id, at)| (*id, *at)).collect();
            let before = snapshot(10, &newest.iter().rev().copied().collect::<Vec<_>>());
            let rows: Vec<_> = rows.into_iter().enumerate().map(|(n, (id, shown))| (11 + n as u64, id, shown)).collect();
            let mut truth: BTreeMap<_, _> = newest.iter().copied().collect();
            for &(revision, id, shown) in &rows {
                if shown { truth.insert(id, revision); } else { truth.remove(&id); }
            }
            let expected: Vec<_> = truth.into_iter().rev().take(topics_max).collect();
            match before.apply(&changes(&rows), topics_max) {
                Applied::Reload => prop_assert!(before.topics().len() >= topics_max),
                Applied::Same(same) => prop_assert_eq!(pairs(&same), expected.into_iter().rev().collect::<Vec<_>>()),
                Applied::Updated(update) => {
                    let mut client: BTreeMap<_, _> = pairs(&before).into_iter().collect();
                    for op in &update.patch.ops {
                        match op {
                            Op::Set(topic) => { client.insert(topic.id.0, topic.revision.get()); }
                            Op::Delete { id, .. } => { client.remove(&id.0); }
                        }
                    }
                    let client: Vec<_> = client.into_iter().collect();
                    prop_assert_eq!(&client, &expected.into_iter().rev().collect::<Vec<_>>());
                    prop_assert_eq!(&client, &pairs(&update.snapshot));
                    prop_assert_eq!(update.patch.digest, update.snapshot.digest());
                }
            }
        }
    }
}
