use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::fixtures::{changes, snapshot};

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
    // A reader of revision 7 still holds this list.
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
        snapshot(3, &[(1, 1), (2, 2), (3, 3)]).apply(&changes(&[(4, 4, true), (4, 5, true)]), 3),
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
        match before.apply(&changes(&rows), topics_max) {
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
