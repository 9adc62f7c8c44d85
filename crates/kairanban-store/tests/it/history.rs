//! A reader who comes back is brought to the list by what the log says alone, wherever it stood.

use std::{collections::BTreeMap, env, time::Instant};

use kairanban_core::{
    BoardState, Cursor, Hub, LogBounds, Op, Opening, OpeningPlan, Revision, Snapshot, StartAt,
    plan_opening,
};
use kairanban_store::{Store, StoreConfig};

use crate::place::{Foreign, Place, config, main};

crate::on_both!(
    any_cursor_leads_to_the_list_from_the_log_alone,
    a_long_history_of_few_topics_is_a_short_patch
);

/// Ids and revisions of what a board shows.
type TopicRevisions = BTreeMap<i64, u64>;

fn shown(snapshot: &Snapshot) -> TopicRevisions {
    snapshot
        .topics()
        .iter()
        .map(|topic| (topic.id.0, topic.revision.get()))
        .collect()
}

fn list(place: &Place) -> (Revision, TopicRevisions) {
    let snapshot = place.load().snapshot;
    (snapshot.revision(), shown(&snapshot))
}

fn plan(start: &StartAt, board: &BoardState) -> OpeningPlan {
    let log = LogBounds {
        published: Revision::ZERO,
        trimmed_to: Revision::ZERO,
    };
    plan_opening(start, board, log).expect("ready")
}

/// The list to which a node that has just come up leads a reader who holds `held` from `revision`;
/// and whether by a patch.
fn resumed(store: &Store, revision: Revision, held: &TopicRevisions) -> (TopicRevisions, bool) {
    let hub = Hub::new(store.topics_max(), 8);
    let channel = hub.channel(&main());
    let loaded = store.load(store.epoch(), &main()).expect("the board");
    hub.install(&channel, loaded, Instant::now())
        .expect("nothing missed");
    let start = StartAt::Cursor(Cursor {
        epoch: store.epoch().clone(),
        revision,
    });
    let unread = plan(&start, &channel.live()).unread;
    if let Some(range) = unread {
        let read = store.replay(&range).expect("the log");
        channel.live().backfill(&range, &read);
    }
    let live = channel.live();
    match plan(&start, &live).opening {
        Opening::Nothing => (held.clone(), false),
        Opening::SnapshotSince(_) | Opening::Snapshot { .. } => {
            (shown(live.last_known().expect("ready")), false)
        }
        Opening::Patch(patch) => (patched(held, patch.ops), true),
    }
}

fn patched(held: &TopicRevisions, ops: impl IntoIterator<Item = Op>) -> TopicRevisions {
    let mut list = held.clone();
    for op in ops {
        match op {
            Op::Set(topic) => drop(list.insert(topic.id.0, topic.revision.get())),
            Op::Delete { id, .. } => drop(list.remove(&id.0)),
        }
    }
    list
}

fn store_with(place: &Place, replay_max: usize) -> Store {
    Store::open(StoreConfig {
        replay_max,
        ..config(&place.address)
    })
    .expect("a store")
}

fn any_cursor_leads_to_the_list_from_the_log_alone(place: &Place) {
    let seed = env::var("KAIRANBAN_TEST_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
        .unwrap_or_else(|| fastrand::u64(..));
    let mut random = fastrand::Rng::with_seed(seed);
    let mut foreign = place.foreign();
    foreign.run("INSERT INTO boards (name) VALUES ('two')");
    let stores = [store_with(place, 3), store_with(place, 100)];
    let (mut known, mut patches) = (vec![list(place)], 0);
    for _ in 0..60 {
        change_something(place, &mut foreign, &mut random);
        let (now, shown) = list(place);
        known.push((now, shown.clone()));
        for store in &stores {
            for (revision, held) in &known {
                let (led_to, by_patch) = resumed(store, *revision, held);
                assert_eq!(
                    led_to, shown,
                    "from {revision} to {now}; KAIRANBAN_TEST_SEED={seed}"
                );
                patches += usize::from(by_patch);
            }
        }
    }
    assert!(patches > 0, "the log is of use; KAIRANBAN_TEST_SEED={seed}");
}

fn change_something(place: &Place, foreign: &mut Foreign, random: &mut fastrand::Rng) {
    match random.u32(..12) {
        0 => {
            let archived = place.store.archive(&main(), random.usize(1..4));
            archived.expect("archived");
        }
        1 if random.u32(..8) == 0 => foreign.run("DELETE FROM topics"),
        2 if random.u32(..4) == 0 => foreign
            .run("UPDATE topics SET archived = true WHERE id IN (SELECT min(id) FROM topics)"),
        _ => foreign.run(&transaction(random)),
    }
}

/// The newest topic of a board, or one of the six before it.
fn any_topic(random: &mut fastrand::Rng, board: u32) -> String {
    let offset = random.u32(..7);
    format!(
        "(SELECT id FROM topics WHERE board_id = {board} ORDER BY id DESC \
         LIMIT 1 OFFSET {offset})"
    )
}

/// A few changes in one transaction, on a board that shows five topics.
fn transaction(random: &mut fastrand::Rng) -> String {
    let statements = (0..random.u32(1..4)).map(|_| match random.u32(..9) {
        0..=3 => "INSERT INTO topics (board_id, comment) VALUES (1, 'new')".to_owned(),
        4 | 5 => format!(
            "UPDATE topics SET comment = comment || '!' WHERE id = {}",
            any_topic(random, 1)
        ),
        6 => format!("DELETE FROM topics WHERE id = {}", any_topic(random, 1)),
        7 => format!(
            "UPDATE topics SET board_id = 2 WHERE id = {}",
            any_topic(random, 1)
        ),
        _ => format!(
            "UPDATE topics SET board_id = 1 WHERE id = {}",
            any_topic(random, 2)
        ),
    });
    format!(
        "BEGIN; {}; COMMIT",
        statements.collect::<Vec<_>>().join("; ")
    )
}

fn a_long_history_of_few_topics_is_a_short_patch(place: &Place) {
    let mut foreign = place.foreign();
    foreign.run("INSERT INTO topics (board_id, comment) VALUES (1, 'a'), (1, 'b'), (1, 'c')");
    let (revision, held) = list(place);
    for n in 0..40 {
        foreign.run(&format!(
            "UPDATE topics SET comment = 'b{n}' WHERE comment LIKE 'b%'"
        ));
    }
    let store = store_with(place, 8);
    let (now, by_patch) = resumed(&store, revision, &held);
    assert!(by_patch && now == list(place).1);
    // What is read along with the board does not reach that far.
    assert!(
        store
            .load(store.epoch(), &main())
            .expect("the board")
            .replay_buffer
            .floor()
            > revision
    );
}
