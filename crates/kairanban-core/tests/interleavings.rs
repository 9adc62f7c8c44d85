//! Runs the real hub under shuttle, which interleaves its threads in many ways: a follower
//! publishes while readers load the board, subscribe and receive. At every step each reader's list
//! is one that was committed, and in the end it is the newest. In `one_of_two` one of two
//! boards is deleted meanwhile.

mod one_of_two;
mod values;

use std::{
    collections::BTreeMap,
    env,
    time::{Duration, Instant},
};

use kairanban_core::{
    BoardChanges, BoardId, BoardInfo, BoardLoad, Change, ChangeKind, Delivery, Hub, LogBounds,
    Opening, Policies, Published, ReaderPosition, ReplayBuffer, Snapshot, StartAt, Subscription,
    TopicId, plan_opening,
};
use shuttle::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};
use values::{apply, board, cursor, listed, revision, topic};

/// The number of commits. Each adds the topic of its own number, but every third deletes the one
/// before.
const COMMITS: u64 = 4;
const TOPICS_MAX: usize = 2;
const LAG_MAX: usize = 1;

/// The database: the number of commits so far.
type Head = Arc<AtomicU64>;

fn all_at(revision: u64) -> BTreeMap<i64, u64> {
    let mut topics = BTreeMap::new();
    for at in 1..=revision {
        let id = i64::try_from(at).expect("a small number");
        if at % 3 == 0 {
            topics.remove(&(id - 1));
        } else {
            topics.insert(id, at);
        }
    }
    topics
}

fn list_at(revision: u64) -> BTreeMap<i64, u64> {
    all_at(revision)
        .into_iter()
        .rev()
        .take(TOPICS_MAX)
        .collect()
}

fn load(head: &Head) -> BoardLoad {
    let at = head.load(Ordering::SeqCst);
    let topics = list_at(at)
        .into_iter()
        .map(|(id, at)| topic(id, at))
        .collect();
    let snapshot = Snapshot::new(board(), cursor(at), topics);
    BoardLoad {
        board_id: BoardId(1),
        policies: Policies::default(),
        replay_buffer: ReplayBuffer::new(revision(at), [], 8),
        named_at: revision(0),
        snapshot,
    }
}

fn changes(after: u64, upto: u64) -> BoardChanges {
    let (now, mut changes) = (all_at(upto), BoardChanges::default());
    for at in after + 1..=upto {
        let is_delete = at % 3 == 0;
        let id = i64::try_from(at).expect("a small number") - i64::from(is_delete);
        changes.push(&Change {
            revision: revision(at),
            kind: if is_delete {
                ChangeKind::Delete
            } else {
                ChangeKind::Set
            },
            board_id: BoardId(1),
            board: Some(BoardInfo {
                name: board(),
                policies: Policies::default(),
            }),
            names_board: false,
            topic_id: Some(TopicId(id)),
            topic: now.get(&id).map(|at| topic(id, *at)),
        });
    }
    changes
}

/// Commits, and publishes each second commit together with the one before, as the follower does.
fn follow(hub: &Hub, head: &Head) {
    for at in 1..=COMMITS {
        head.store(at, Ordering::SeqCst);
        // Each poll finds two commits.
        if at % 2 == 0
            && hub.publish(&board(), None, &changes(at - 2, at)) == Some(Published::Reload)
        {
            // The load cannot be outdated: only this thread publishes.
            hub.install(&hub.channel(&board()), load(head), Instant::now())
                .expect("the newest");
        }
    }
}

struct Reader {
    subscription: Subscription,
    position: ReaderPosition,
    list: BTreeMap<i64, u64>,
}

fn is_loaded(subscription: &Subscription) -> bool {
    let live = subscription.channel.live();
    live.current(true, Instant::now(), Duration::MAX).is_some()
}

impl Reader {
    /// Subscribes first, and takes the snapshot second, read from the database if it is not in
    /// memory.
    fn join(hub: &Hub, head: &Head, seen: u64) -> Self {
        let subscription = hub.subscribe(&board());
        while !is_loaded(&subscription) {
            // A load that is too early fails, and is repeated.
            let _ = hub.install(&subscription.channel, load(head), Instant::now());
        }
        let live = subscription.channel.live();
        let snapshot = std::sync::Arc::clone(live.last_known().expect("just read"));
        let log = LogBounds {
            published: revision(head.load(Ordering::SeqCst)),
            trimmed_to: revision(0),
        };
        let plan = plan_opening(&StartAt::Cursor(cursor(seen)), &live, log).expect("just read");
        drop(live);
        let mut list = list_at(seen);
        let mut at = snapshot.cursor().clone();
        match plan.opening {
            Opening::Nothing if seen > snapshot.revision().get() => at = cursor(seen),
            Opening::Nothing => {}
            Opening::Patch(patch) => apply(&mut list, &patch.ops),
            Opening::SnapshotSince(_) => list = listed(&snapshot),
            Opening::Snapshot { reset } => panic!("no reason for a reset: {reset:?}"),
        }
        let reader = Self {
            subscription,
            position: ReaderPosition::new(at),
            list,
        };
        reader.check();
        reader
    }

    /// Receives all events that wait.
    fn receive(&mut self) {
        while let Some(event) = self.subscription.try_next() {
            let channel = &self.subscription.channel;
            match self.position.on(event, || channel.live()).delivery {
                Delivery::Nothing => {}
                Delivery::Patch(update) => apply(&mut self.list, &update.patch.ops),
                Delivery::List(update) => self.list = listed(&update.snapshot),
                Delivery::Snapshot { snapshot, .. } => self.list = listed(&snapshot),
                Delivery::End => panic!("the board is there"),
            }
            self.check();
        }
    }

    fn check(&self) {
        let at = self.position.sent().revision.get();
        assert_eq!(self.list, list_at(at), "at {at}");
    }
}

pub(crate) fn rounds() -> usize {
    env::var("KAIRANBAN_INTERLEAVINGS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(10_000)
}

/// Runs a follower and two readers, for a board that has no readers yet and may be in memory.
fn one_follower_and_two_readers(is_in_memory: bool) {
    let (hub, head) = (Arc::new(Hub::new(TOPICS_MAX, LAG_MAX)), Head::default());
    if is_in_memory {
        hub.install(&hub.channel(&board()), load(&head), Instant::now())
            .expect("nothing missed");
    }
    let readers: Vec<_> = [0, 1]
        .map(|seen| {
            let (hub, head) = (Arc::clone(&hub), Arc::clone(&head));
            thread::spawn(move || {
                let mut reader = Reader::join(&hub, &head, seen.min(head.load(Ordering::SeqCst)));
                reader.receive();
                reader
            })
        })
        .into_iter()
        .collect();
    follow(&hub, &head);
    for reader in readers {
        let mut reader = reader.join().expect("a reader");
        reader.receive();
        assert_eq!(reader.list, list_at(COMMITS), "the newest in the end");
    }
}

#[test]
fn no_interleaving_shows_what_was_not_committed() {
    shuttle::check_random(|| one_follower_and_two_readers(false), rounds());
    shuttle::check_random(|| one_follower_and_two_readers(true), rounds());
}

#[test]
fn nor_does_one_with_few_switches() {
    // Probabilistic concurrency testing: finds what needs few switches of threads at just the right
    // places.
    shuttle::check_pct(|| one_follower_and_two_readers(false), rounds(), 3);
    shuttle::check_pct(|| one_follower_and_two_readers(true), rounds(), 3);
}
