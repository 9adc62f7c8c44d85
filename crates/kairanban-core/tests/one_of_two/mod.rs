//! A reader of two boards, one of which is deleted while it opens its stream and receives: that one
//! ends alone, and no cursor claims it from then on.

use std::{
    collections::{BTreeMap, HashMap},
    time::{Duration, Instant},
};

use kairanban_core::{
    BoardChange, BoardChanges, BoardEnd, BoardId, BoardLoad, BoardName, Delivery, Hub, LogBounds,
    MultiBoardCursor, MultiBoardPosition, OpenedBoard, Policies, Published, ReplayBuffer, Snapshot,
    StartAt, Subscription, merge_openings, plan_opening,
};
use shuttle::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use crate::{
    rounds,
    values::{apply, cursor, listed, revision, topic},
};

/// The first stays; the second is deleted.
const BOARDS: [&str; 2] = ["stays", "goes"];
/// The commit that deletes it. The others post on the first.
const DELETION: u64 = 2;
const COMMITS: u64 = 4;

fn name(board: usize) -> BoardName {
    BOARDS[board].parse().expect("a name")
}

fn id(board: usize) -> BoardId {
    BoardId(i64::try_from(board).expect("a small number"))
}

/// Returns what the first board shows.
fn list_at(revision: u64) -> BTreeMap<i64, u64> {
    (1..=revision)
        .filter(|at| *at != DELETION)
        .map(|at| (i64::try_from(at).expect("a small number"), at))
        .collect()
}

/// What the threads share.
struct World {
    hub: Hub,
    /// The number of commits so far.
    head: AtomicU64,
    /// The commits that are published.
    published: AtomicU64,
}

impl World {
    fn new() -> Self {
        Self {
            // Some fall behind.
            hub: Hub::new(10, 2),
            head: AtomicU64::new(0),
            published: AtomicU64::new(0),
        }
    }

    fn published(&self) -> u64 {
        self.published.load(Ordering::SeqCst)
    }

    fn read(&self, board: usize) -> Option<BoardLoad> {
        let head = self.head.load(Ordering::SeqCst);
        if board == 1 && head >= DELETION {
            return None;
        }
        let list = if board == 0 {
            list_at(head)
        } else {
            BTreeMap::new()
        };
        let at = list.values().max().copied().unwrap_or(0);
        let topics = list.into_iter().map(|(id, at)| topic(id, at)).collect();
        Some(BoardLoad {
            board_id: id(board),
            policies: Policies::default(),
            replay_buffer: ReplayBuffer::new(revision(at), [], 8),
            named_at: revision(0),
            snapshot: Snapshot::new(name(board), cursor(at), topics),
        })
    }

    /// Commits, and publishes each commit, as the follower does.
    fn follow(&self) {
        for at in 1..=COMMITS {
            self.head.store(at, Ordering::SeqCst);
            if at == DELETION {
                let change = BoardChange {
                    revision: revision(at),
                    info: None,
                    named_at: None,
                };
                self.hub.apply_policies(&HashMap::from([(id(1), change)]));
            } else {
                let id = i64::try_from(at).expect("a small number");
                let changes = BoardChanges::created(revision(at), [topic(id, at)]);
                if self.hub.publish(&name(0), None, &changes) == Some(Published::Reload) {
                    let channel = self.hub.channel(&name(0));
                    let load = self.read(0).expect("it stays");
                    let installed = self.hub.install(&channel, load, Instant::now());
                    installed.expect("the newest");
                }
            }
            self.published.store(at, Ordering::SeqCst);
        }
    }

    /// Subscribes first, and takes the snapshot second, if the board is there.
    fn open(&self, board: usize) -> Option<(Subscription, OpenedBoard)> {
        let subscription = self.hub.subscribe(&name(board));
        let channel = &subscription.channel;
        loop {
            let live = channel.live();
            if live.current(true, Instant::now(), Duration::MAX).is_some() {
                let log = LogBounds {
                    published: revision(self.published()),
                    trimmed_to: revision(0),
                };
                let plan = plan_opening(&StartAt::List, &live, log).expect("it is loaded");
                let opened = OpenedBoard::new(plan.opening, &live).expect("it is loaded");
                drop(live);
                return Some((subscription, opened));
            }
            let began = live.invalidations();
            drop(live);
            let load = self.read(board)?;
            // A load that is too early fails, and is repeated.
            let _ = self.hub.install_since(channel, began, load, Instant::now());
        }
    }
}

struct Reader {
    subscriptions: Vec<Option<Subscription>>,
    position: MultiBoardPosition,
    list: BTreeMap<i64, u64>,
}

impl Reader {
    fn join(world: &World) -> Self {
        let published = world.published();
        let (first, second) = (world.open(0).expect("it stays"), world.open(1));
        let gone = if second.is_none() {
            vec![name(1)]
        } else {
            Vec::new()
        };
        let opened = [Some(first), second].into_iter().flatten();
        let (subscriptions, boards): (Vec<_>, Vec<_>) = opened.unzip();
        let list = listed(&boards[0].snapshot);
        let opening = merge_openings(&StartAt::List, cursor(published), boards, gone);
        let opening = opening.expect("one epoch");
        let reader = Self {
            subscriptions: subscriptions.into_iter().map(Some).collect(),
            position: MultiBoardPosition::new(&opening),
            list,
        };
        reader.check(reader.position.cursor());
        reader
    }

    /// Does what a stream does when it is woken.
    fn receive(&mut self, world: &World) {
        let published = cursor(world.published());
        for at in 0..self.subscriptions.len() {
            while let Some(subscription) = &mut self.subscriptions[at]
                && let Some(event) = subscription.try_next()
            {
                let channel = std::sync::Arc::clone(&subscription.channel);
                let step = self.position.on(at, event, || channel.live());
                match step.delivery {
                    Delivery::Nothing => {}
                    Delivery::Patch(update) => apply(&mut self.list, &update.patch.ops),
                    Delivery::List(update) => self.list = listed(&update.snapshot),
                    Delivery::Snapshot { snapshot, .. } => self.list = listed(&snapshot),
                    Delivery::End => self.end(at),
                }
            }
        }
        if self.position.advance(&published) {
            self.check(self.position.cursor());
        }
    }

    fn end(&mut self, at: usize) {
        self.subscriptions[at] = None;
        let Some(BoardEnd::OfBoard { board, cursor }) = self.position.end(at) else {
            panic!("the first board stays");
        };
        assert_eq!(board, name(1));
        self.check(&cursor.expect("one epoch"));
    }

    /// The list is as far as the cursor says; the second board is claimed to its end at most.
    fn check(&self, cursor: &MultiBoardCursor) {
        let claimed = cursor.cursor.revision.get();
        let newest = self.list.values().max().copied().unwrap_or(0);
        assert_eq!(self.list, list_at(claimed.max(newest)), "at {cursor}");
        let is_claimed = cursor.without.is_empty();
        assert!(
            !is_claimed || claimed < DELETION,
            "{cursor} claims a board that is gone"
        );
    }
}

fn a_board_is_deleted_under_two_readers(is_in_memory: bool) {
    let world = Arc::new(World::new());
    if is_in_memory {
        for board in 0..2 {
            let load = world.read(board).expect("both are there");
            let channel = world.hub.channel(&name(board));
            let installed = world.hub.install(&channel, load, Instant::now());
            installed.expect("nothing missed");
        }
    }
    let reading = [(); 2].map(|()| {
        let world = Arc::clone(&world);
        thread::spawn(move || {
            let mut reader = Reader::join(&world);
            reader.receive(&world);
            reader
        })
    });
    world.follow();
    for reader in reading {
        let mut reader = reader.join().expect("a reader");
        reader.receive(&world);
        assert_eq!(reader.list, list_at(COMMITS), "the newest in the end");
        let at = reader.position.cursor().to_string();
        assert_eq!(
            at,
            format!("e-{COMMITS}~goes"),
            "without the board that is gone"
        );
    }
}

#[test]
fn a_board_that_is_deleted_ends_alone() {
    shuttle::check_random(|| a_board_is_deleted_under_two_readers(false), rounds() / 2);
    shuttle::check_random(|| a_board_is_deleted_under_two_readers(true), rounds() / 2);
}

#[test]
fn it_does_so_with_few_switches() {
    shuttle::check_pct(
        || a_board_is_deleted_under_two_readers(false),
        rounds() / 2,
        3,
    );
    shuttle::check_pct(
        || a_board_is_deleted_under_two_readers(true),
        rounds() / 2,
        3,
    );
}
