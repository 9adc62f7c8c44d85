//! The real hub, with its threads interleaved in ever new ways by shuttle: a follower that publishes, readers
//! that read the board, subscribe and receive, all at once. Each reader's list is one that was committed at
//! every step, and in the end the newest.

mod values;

use std::{
    collections::BTreeMap,
    env,
    time::{Duration, Instant},
};

use kairanban_core::{
    BoardChanges, BoardEvent, BoardId, BoardInfo, BoardLoad, Change, ChangeKind, Hub, Lagged,
    LogBounds, Opening, Policies, Published, ReplayBuffer, Snapshot, StartAt, Subscription,
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

/// Commits; the topic of each is its number, but every third takes the one before away.
const COMMITS: u64 = 4;
const TOPICS_MAX: usize = 2;
const LAG_MAX: usize = 1;

/// The database: how much is committed.
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
        tail: ReplayBuffer::new(revision(at), [], 8),
        named_at: revision(0),
        snapshot,
    }
}

fn changes(after: u64, upto: u64) -> BoardChanges {
    let (now, mut changes) = (all_at(upto), BoardChanges::default());
    for at in after + 1..=upto {
        let takes_away = at % 3 == 0;
        let id = i64::try_from(at).expect("a small number") - i64::from(takes_away);
        changes.push(&Change {
            revision: revision(at),
            kind: if takes_away {
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

/// Commits, and publishes what was committed, as the follower does.
fn follow(hub: &Hub, head: &Head) {
    for at in 1..=COMMITS {
        head.store(at, Ordering::SeqCst);
        // Every other time it looks, it finds two.
        if at % 2 == 0 && hub.publish(&board(), &changes(at - 2, at)) == Published::Reload {
            // The load cannot be stale: only this thread publishes.
            hub.install(&hub.channel(&board()), load(head), Instant::now())
                .expect("the newest");
        }
    }
}

struct Reader {
    subscription: Subscription,
    sent: u64,
    list: BTreeMap<i64, u64>,
}

impl Reader {
    /// Subscribes first, and takes the snapshot second, read from the database if it is not in memory.
    fn join(hub: &Hub, head: &Head, held: u64) -> Self {
        let subscription = hub.subscribe(&board());
        loop {
            let live = subscription.channel.live();
            if live.current(true, Instant::now(), Duration::MAX).is_some() {
                break;
            }
            drop(live);
            // Too early: again.
            let _ = hub.install(&subscription.channel, load(head), Instant::now());
        }
        let live = subscription.channel.live();
        let snapshot = std::sync::Arc::clone(live.last_known().expect("just read"));
        let log = LogBounds {
            published: revision(head.load(Ordering::SeqCst)),
            trimmed_to: revision(0),
        };
        let plan = plan_opening(&StartAt::Cursor(cursor(held)), &live, log).expect("just read");
        drop(live);
        let mut reader = Self {
            subscription,
            sent: snapshot.revision().get(),
            list: list_at(held),
        };
        match plan.opening {
            Opening::Nothing => reader.sent = held.max(reader.sent),
            Opening::Patch(patch) => apply(&mut reader.list, &patch.ops),
            Opening::SnapshotSince(_) => reader.list = listed(&snapshot),
            Opening::Snapshot { reset } => panic!("no reason for a reset: {reset:?}"),
        }
        reader.check();
        reader
    }

    /// Takes all that waits.
    fn receive(&mut self) {
        while let Some(next) = self.subscription.try_next() {
            match next {
                Ok(BoardEvent::Update(update)) if update.revision().get() > self.sent => {
                    if update.patch.from.get() > self.sent {
                        self.list = listed(&update.snapshot);
                    } else {
                        apply(&mut self.list, &update.patch.ops);
                    }
                    self.sent = update.revision().get();
                }
                Ok(_) => {}
                Err(Lagged) => {
                    let newest = self
                        .subscription
                        .channel
                        .live()
                        .last_known()
                        .map(std::sync::Arc::clone)
                        .expect("read before");
                    if newest.revision().get() > self.sent {
                        (self.list, self.sent) = (listed(&newest), newest.revision().get());
                    }
                }
            }
            self.check();
        }
    }

    fn check(&self) {
        assert_eq!(self.list, list_at(self.sent), "at {}", self.sent);
    }
}

fn rounds() -> usize {
    env::var("KAIRANBAN_INTERLEAVINGS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(10_000)
}

/// The board may be in memory already, with nobody watching.
fn one_follower_and_two_readers(is_in_memory: bool) {
    let (hub, head) = (Arc::new(Hub::new(TOPICS_MAX, LAG_MAX)), Head::default());
    if is_in_memory {
        hub.install(&hub.channel(&board()), load(&head), Instant::now())
            .expect("nothing missed");
    }
    let readers: Vec<_> = [0, 1]
        .map(|held| {
            let (hub, head) = (Arc::clone(&hub), Arc::clone(&head));
            thread::spawn(move || {
                let mut reader = Reader::join(&hub, &head, held.min(head.load(Ordering::SeqCst)));
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
    // Probabilistic concurrency testing: finds what needs few switches of threads at just the right places.
    shuttle::check_pct(|| one_follower_and_two_readers(false), rounds(), 3);
    shuttle::check_pct(|| one_follower_and_two_readers(true), rounds(), 3);
}
