//! The oracle: many write, many read, everything breaks; and every list that was ever shown is
//! held against the change log.
//!
//! Writers post over HTTP, repeating under one key until they are answered, and by `psql` or
//! `sqlite3` in transactions of which some roll back and some are held open: single rows and bulk,
//! ids of their own, values out of range, in the role of a replica, boards that are deleted and
//! made again. An owner's trigger refuses some posts. Streams of all formats are cut at
//! random bytes and come back to a random node with their cursor. Nodes are killed and started
//! again, by the toss of a coin with the log on a full disk; sessions of theirs freeze, rows change
//! past the triggers, and backups are restored, while the nodes run or while they are stopped. In
//! the end the log is replayed: each list that a stream showed was the list at that revision of
//! that epoch, revisions never fell, all readers stand where the database stands, and each
//! acknowledged topic is there once, unless a backup from before it was restored.
//!
//! `KAIRANBAN_TEST_SEED` replays a run's choices (not its timing), `KAIRANBAN_ORACLE_SECONDS` makes
//! it long; see `scripts/oracle`.

mod accidents;
mod followers;
pub(crate) mod link;
mod readers;
mod trouble;
mod truth;
mod views;
mod writers;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    env,
    io::Write as _,
    net::SocketAddr,
    sync::{
        Arc, Mutex, OnceLock, RwLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use crate::node::{Database, Node};
use readers::ReaderKind;
use trouble::Trouble;
use truth::Truth;
use views::Completed;
use writers::Posted;

pub(crate) use writers::moderate;

/// The boards; readers of several watch both.
pub(crate) const BOARDS: [&str; 2] = ["main", "two"];
/// For readers to come to the last state once all writers have ended.
const SETTLE: Duration = Duration::from_secs(30);
#[test]
fn every_list_ever_shown_was_committed_postgres() {
    run(Database::postgres(), 2);
}

#[test]
fn every_list_ever_shown_was_committed_sqlite() {
    run(Database::sqlite(), 1);
}

/// What a stream showed.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Shown {
    /// A list by its digest, which the reader has checked.
    Digest(String),
    /// A list by its ids.
    Ids(Vec<i64>),
}

/// What all writers and readers of a run share.
pub(crate) struct Run {
    pub(crate) seed: u64,
    pub(crate) addresses: Vec<SocketAddr>,
    /// No writer begins another write, and no stream is cut any more.
    pub(crate) over: AtomicBool,
    /// Where the database stands when all has been written.
    pub(crate) last: OnceLock<Truth>,
    pub(crate) events: AtomicU64,
    pub(crate) streams: AtomicU64,
    /// How many readers of each kind came back with a cursor and were sent a patch.
    pub(crate) resumed: Mutex<BTreeMap<ReaderKind, u64>>,
    /// Held for reading by who writes, for writing while something happens to the database.
    pub(crate) accident: RwLock<()>,
    pub(crate) posted: Mutex<Posted>,
    shown: Mutex<HashMap<(String, usize, u64), HashSet<Shown>>>,
    faults: Mutex<BTreeSet<String>>,
}

impl Run {
    fn new(seed: u64, nodes: &[Node]) -> Self {
        Self {
            seed,
            addresses: nodes.iter().map(|node| node.address).collect(),
            over: AtomicBool::new(false),
            last: OnceLock::new(),
            events: AtomicU64::new(0),
            streams: AtomicU64::new(0),
            resumed: Mutex::default(),
            accident: RwLock::default(),
            posted: Mutex::default(),
            shown: Mutex::default(),
            faults: Mutex::default(),
        }
    }

    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }

    /// Reports the figures, and fails if there was a fault.
    fn report(&self, happened: &str, checked: usize) {
        self.check_resumed();
        let faults = self.faults.lock().expect("a lock");
        let report = format!(
            "oracle: {happened}, {} acknowledged, {} events on {} streams, {} of them resumed by a \
             patch, {checked} lists held against the log, {} faults\n",
            self.posted.lock().expect("a lock").len(),
            self.events.load(Ordering::Relaxed),
            self.streams.load(Ordering::Relaxed),
            self.resumed.lock().expect("a lock").values().sum::<u64>(),
            faults.len()
        );
        std::io::stderr()
            .write_all(report.as_bytes())
            .expect("written");
        assert!(
            faults.is_empty(),
            "KAIRANBAN_TEST_SEED={}\n{:#?}",
            self.seed,
            faults.iter().take(20).collect::<Vec<_>>()
        );
    }

    /// Readers who always begin with the list would see no fault of resuming: each kind that can be
    /// sent a patch must have been.
    fn check_resumed(&self) {
        let resumed = self.resumed.lock().expect("a lock");
        for kind in readers::SENT_PATCHES {
            if !resumed.contains_key(&kind) {
                self.fault(format!("{kind:?}: no reader was resumed by a patch"));
            }
        }
    }

    /// The address of any of the nodes.
    pub(crate) fn any_address(&self, random: &mut fastrand::Rng) -> SocketAddr {
        self.addresses[random.usize(..self.addresses.len())]
    }

    pub(crate) fn saw(&self, (epoch, board, revision, shown): Completed) {
        self.events.fetch_add(1, Ordering::Relaxed);
        self.shown
            .lock()
            .expect("a lock")
            .entry((epoch, board, revision))
            .or_default()
            .insert(shown);
    }

    pub(crate) fn fault(&self, text: String) {
        self.faults.lock().expect("a lock").insert(text);
    }
}

fn number(name: &str) -> Option<u64> {
    env::var(name).ok().and_then(|text| text.parse().ok())
}

fn run(database: Database, nodes: usize) {
    let seed = number("KAIRANBAN_TEST_SEED").unwrap_or_else(|| fastrand::u64(..1 << 32));
    let time = Duration::from_secs(number("KAIRANBAN_ORACLE_SECONDS").unwrap_or(12));
    let streams = number("KAIRANBAN_ORACLE_STREAMS").unwrap_or(200);
    let mut random = fastrand::Rng::with_seed(seed);
    let topics_max = [8, 40][random.usize(..2)];
    let mut nodes = start(database, nodes, topics_max);
    let database = nodes[0].database.twin();
    database.sql("INSERT INTO boards (name) VALUES ('two');");
    writers::moderate(&database);
    let run = Arc::new(Run::new(seed, &nodes));
    let mut trouble = Trouble::new(&run, &mut nodes, Truth::begin(&database, topics_max));
    let writing = writers::start(&run, &database);
    let reading = readers::start(&run, streams);
    trouble.go_on(&mut random, time);
    run.over.store(true, Ordering::SeqCst);
    writing
        .into_iter()
        .for_each(|writer| writer.join().expect("a writer"));
    let Trouble {
        mut truth, done, ..
    } = trouble;
    truth.replay(&database);
    let checked = check_shown(&run, &truth);
    check_posted(&run, &database, &run.posted.lock().expect("a lock"));
    assert!(run.last.set(truth).is_ok());
    reading
        .into_iter()
        .for_each(|reader| reader.join().expect("a reader"));
    let kind = if database.is_postgres() {
        "Postgres, 2 nodes"
    } else {
        "SQLite, 1 node"
    };
    let settings = format!(
        "{kind}, seed {seed}, {} s, boards of {topics_max}",
        time.as_secs()
    );
    run.report(&format!("{settings}: {done}"), checked);
}

fn start(database: Database, count: usize, topics_max: usize) -> Vec<Node> {
    let topics_max = topics_max.to_string();
    let settings = [
        ("BOARD__TOPICS_MAX", topics_max.as_str()),
        ("LIMITS__STREAMS_PER_CLIENT_MAX", "10000"),
        ("HISTORY__CHANGES_MAX", "100000000"),
        // So that everything happens that rarely does: lags, long gaps, further readings, rotation.
        ("STREAM__LAG_MAX", "8"),
        ("STREAM__REPLAY_MAX", "60"),
        ("STREAM__LIFETIME_S", "8"),
        ("STREAM__HEARTBEAT_S", "1"),
        ("STREAM__RETRY_MIN_MS", "10"),
        ("STREAM__RETRY_MAX_MS", "200"),
        ("DATABASE__CHANGES_MAX", "60"),
        ("SERVER__DRAIN_S", "1"),
        ("HISTORY__RECONCILE_S", "2"),
    ];
    let first = Node::start_with(database, &settings);
    let mut nodes = vec![first];
    while nodes.len() < count {
        nodes.push(nodes[0].sibling());
    }
    nodes
}

/// Each list that was shown is the one of its revision. Returns how many there were.
fn check_shown(run: &Run, truth: &Truth) -> usize {
    let shown = run.shown.lock().expect("a lock");
    for ((epoch, board, revision), lists) in &*shown {
        for list in lists {
            if let Err(fault) = truth.holds(epoch, *board, *revision, list) {
                run.fault(fault);
            }
        }
    }
    shown.values().map(HashSet::len).sum()
}

/// Each acknowledged comment is there once.
fn check_posted(run: &Run, database: &Database, posted: &Posted) {
    let found = database.sql("SELECT comment FROM topics WHERE comment LIKE 'h%';");
    let mut count: HashMap<&str, u32> = HashMap::new();
    // Others have put marks behind some.
    found
        .lines()
        .for_each(|comment| *count.entry(comment.trim_end_matches('x')).or_default() += 1);
    for comment in posted {
        match count.get(comment.as_str()) {
            Some(1) => {}
            other => run.fault(format!(
                "{comment} was acknowledged and is there {} times",
                other.unwrap_or(&0)
            )),
        }
    }
}
