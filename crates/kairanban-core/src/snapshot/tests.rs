use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::{
    Op,
    fixtures::{changes, snapshot},
};

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
fn skips_what_it_already_holds() {
    let update = updated(snapshot(7, &[(1, 1), (2, 7)]).apply(
        &changes(&[(6, 1, false), (7, 2, true), (8, 3, true)]),
        &ReplayBuffer::default(),
        500,
    ));
    assert_eq!(pairs(&update.snapshot), [(1, 1), (2, 7), (3, 8)]);
}

#[test]
fn a_topic_that_came_and_went_in_between_is_no_change() {
    let now = snapshot(7, &[(1, 1)]);
    let Applied::Same(same) = now.apply(
        &changes(&[(8, 2, true), (9, 2, false)]),
        &ReplayBuffer::default(),
        500,
    ) else {
        panic!("the same")
    };
    assert_eq!((same.revision().get(), pairs(&same)), (9, pairs(&now)));
    // A reader of revision 7 still holds this list.
    assert_eq!(
        updated(same.apply(&changes(&[(10, 3, true)]), &ReplayBuffer::default(), 500))
            .patch
            .from
            .get(),
        7
    );
}

#[test]
fn a_full_board_pushes_out_its_oldest() {
    let update = updated(snapshot(3, &[(1, 1), (2, 2), (3, 3)]).apply(
        &changes(&[(4, 4, true), (4, 5, true)]),
        &ReplayBuffer::default(),
        3,
    ));
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
        full.apply(&changes(&[(4, 3, false)]), &ReplayBuffer::default(), 2),
        Applied::Reload
    ));
    assert!(matches!(
        full.apply(&changes(&[(4, 3, false)]), &ReplayBuffer::default(), 3),
        Applied::Updated(_)
    ));
}

#[test]
fn after_a_clear_only_the_database_knows_the_list() {
    let cleared = [(4, 2, true), (5, 0, false), (6, 7, true)];
    assert!(matches!(
        snapshot(3, &[(1, 1), (2, 2)]).apply(&changes(&cleared), &ReplayBuffer::default(), 500),
        Applied::Reload
    ));
    assert!(
        matches!(
            snapshot(6, &[(1, 1), (2, 2)]).apply(&changes(&cleared), &ReplayBuffer::default(), 500),
            Applied::Same(_)
        ),
        "known already"
    );
}

/// Applies a patch as a client does. Returns the list in id order.
fn patched(before: &Snapshot, patch: &Patch) -> Vec<(i64, u64)> {
    let mut list: BTreeMap<_, _> = pairs(before).into_iter().collect();
    for op in &patch.ops {
        match op {
            Op::Set(topic) => drop(list.insert(topic.id.0, topic.revision.get())),
            Op::Delete { id, .. } => drop(list.remove(&id.0)),
        }
    }
    list.into_iter().collect()
}

/// Returns the newest `topics_max` topics in id order.
fn newest(topics: &BTreeMap<i64, u64>, topics_max: usize) -> Vec<(i64, u64)> {
    let skipped = topics.len().saturating_sub(topics_max);
    let newest = topics.iter().skip(skipped);
    newest.map(|(id, at)| (*id, *at)).collect()
}

proptest! {
    /// Whatever happened, a client that applies the patch holds what the database shows.
    #[test]
    fn patches_lead_to_the_newest_topics(
        start in proptest::collection::btree_map(1_i64..30, 1_u64..10, 0..12),
        rows in proptest::collection::vec((1_i64..30, proptest::bool::ANY), 1..20),
        topics_max in 1_usize..12,
    ) {
        let start = newest(&start, topics_max);
        let before = snapshot(10, &start);
        let rows: Vec<_> = (11..).zip(rows).map(|(at, (id, shown))| (at, id, shown)).collect();
        let mut truth = BTreeMap::from_iter(start);
        for &(revision, id, shown) in &rows {
            if shown {
                truth.insert(id, revision);
            } else {
                truth.remove(&id);
            }
        }
        let expected = newest(&truth, topics_max);
        match before.apply(&changes(&rows), &ReplayBuffer::default(), topics_max) {
            Applied::Reload => prop_assert!(before.topics().len() >= topics_max),
            Applied::Same(same) => prop_assert_eq!(pairs(&same), expected),
            Applied::Updated(update) => {
                prop_assert_eq!(&patched(&before, &update.patch), &expected);
                prop_assert_eq!(pairs(&update.snapshot), expected);
                prop_assert_eq!(update.patch.digest, update.snapshot.digest());
            }
        }
    }
}

fn ids<'a>(topics: impl IntoIterator<Item = &'a Arc<Topic>>) -> Vec<i64> {
    topics.into_iter().map(|topic| topic.id.0).collect()
}

#[test]
fn what_was_not_on_the_list_is_posted_whatever_its_id() {
    let none = ReplayBuffer::default();
    let list = snapshot(3, &[(4, 2), (6, 3)]);
    let rows = changes(&[(4, 5, true), (4, 6, true), (4, 7, true)]);
    let update = updated(list.apply(&rows, &none, 500));
    assert_eq!(ids(&update.posted), [5, 7]);
    // Read from the database, a list that had room for older topics cannot show one that is not
    // new.
    for (topics_max, posted) in [(500, vec![1, 5]), (2, vec![5])] {
        let read = snapshot(4, &[(1, 4), (4, 2), (5, 4), (6, 3)]);
        let replaced = updated(list.replaced_by(read, &none, topics_max));
        assert_eq!(ids(&replaced.posted), posted);
    }
}

#[test]
fn what_is_back_on_the_list_is_not_posted() {
    let deleted = [(Revision::new(3).expect("a revision"), TopicId(5))];
    let history = ReplayBuffer::new(Revision::ZERO, deleted, 8);
    let rows = changes(&[(4, 5, true), (4, 6, true)]);
    let update = updated(snapshot(3, &[(4, 2)]).apply(&rows, &history, 500));
    assert_eq!(ids(&update.posted), [6]);
}

#[test]
fn a_bulk_transaction_counts_as_of_its_commit() {
    let stamp = |stamped_as, revision| BulkStamp {
        stamped_as: Revision::new(stamped_as).expect("a revision"),
        revision: Revision::new(revision).expect("a revision"),
    };
    let stamps = [stamp(2, 6), stamp(1, 7)];
    let list = snapshot(8, &[(1, 2), (2, 3), (3, 2), (4, 8)]).with_bulk_stamps(stamps);
    assert_eq!(list.bulk_stamps(), [stamp(2, 6)], "the other left nothing");
    let since = |at| ids(list.changed_since(Revision::new(at).expect("a revision")));
    assert_eq!(since(2), [1, 2, 3, 4]);
    assert_eq!(since(5), [1, 3, 4]);
    assert_eq!(since(6), [4]);
    let rows = changes(&[(9, 5, true)]);
    let next = updated(list.apply(&rows, &ReplayBuffer::default(), 500));
    let later = ids(next
        .snapshot
        .changed_since(Revision::new(5).expect("a revision")));
    assert_eq!(later, [1, 3, 4, 5]);
}

#[test]
fn what_the_log_had_before_it_was_published_is_posted() {
    // The history was read after the list, and the post was committed between.
    let early = [(Revision::new(4).expect("a revision"), TopicId(5))];
    let history = ReplayBuffer::new(Revision::ZERO, early, 8);
    let update = updated(snapshot(3, &[(4, 2)]).apply(&changes(&[(4, 5, true)]), &history, 500));
    assert_eq!(ids(&update.posted), [5]);
}
