//! Finds boards by the names that requests ask for, and remembers the names that no board has.
//!
//! Any client can make up names. So one query answers all lookups of a moment, queries that found
//! nothing are paced ([`EmptyReads`]), and for a moment (`cache.absent_ms`) a name that no board
//! has is answered from memory. The follower evicts all such names when the log reports any change
//! of a board, and when a new epoch begins.
//!
//! A board that is hidden from the caller is remembered like a missing one, for callers who may not
//! read it: neither the answer nor its time shows the difference.

use std::{
    collections::{BTreeSet, HashMap},
    num::NonZero,
    sync::Arc,
    time::{Duration, Instant},
};

use kairanban_core::{BoardName, Policies, Scope};
use kairanban_store::{Store, StoreError};
use parking_lot::Mutex;
use tokio::{sync::mpsc, time::sleep_until};
use tokio_util::sync::CancellationToken;

use crate::{
    blocking::query_priority,
    empty_reads::EmptyReads,
    failpoint,
    lookup_queue::{BATCH, Lookup, LookupQueue},
};

/// Remembers names that no board has. Cheap to clone.
#[derive(Clone, Debug)]
pub struct AbsentBoards {
    names: Arc<Mutex<AbsentNames>>,
    ttl: Duration,
    max: usize,
}

#[derive(Debug, Default)]
struct AbsentNames {
    /// Grows whenever all names are evicted. What was read before that is not remembered after
    /// it.
    generation: u64,
    known: HashMap<BoardName, Absence>,
}

#[derive(Clone, Copy, Debug)]
struct Absence {
    until: Instant,
    /// The policies of a board that is hidden from strangers; `None` if there is no board.
    hidden: Option<Policies>,
}

impl AbsentBoards {
    /// Creates a memory of at most `max` names, each of which is remembered for `ttl`.
    #[must_use]
    pub fn new(ttl: Duration, max: usize) -> Self {
        Self {
            names: Arc::default(),
            ttl,
            max,
        }
    }

    /// Evicts all names, because a board may have got one of them.
    pub fn clear(&self) {
        let mut names = self.names.lock();
        names.generation += 1;
        names.known.clear();
    }

    /// Returns whether no board is known to have the name, for a caller whose token has `scope`
    /// there.
    #[must_use]
    pub fn holds(&self, board: &BoardName, scope: Option<Scope>, now: Instant) -> bool {
        let names = self.names.lock();
        let absence = names.known.get(board).filter(|absence| now < absence.until);
        absence.is_some_and(|absence| {
            absence
                .hidden
                .is_none_or(|hidden| !hidden.is_readable(scope))
        })
    }

    fn generation(&self) -> u64 {
        self.names.lock().generation
    }

    /// Remembers a name that was read after `generation` began.
    fn remember(&self, board: BoardName, hidden: Option<Policies>, generation: u64, now: Instant) {
        let mut names = self.names.lock();
        if names.generation != generation {
            return;
        }
        if names.known.len() >= self.max {
            names.known.retain(|_, absence| now < absence.until);
        }
        // A client that makes up that many names in a moment makes the memory useless, but no
        // larger.
        if names.known.len() < self.max {
            let until = now + self.ttl;
            names.known.insert(board, Absence { until, hidden });
        }
    }
}

/// Finds boards. Cheap to clone.
#[derive(Clone, Debug)]
pub struct BoardFinder(LookupQueue<AskedBoard, ()>);

/// The receiving end of the queue of lookups.
#[derive(Debug)]
pub struct BoardLookups {
    queue: mpsc::Receiver<Lookup<AskedBoard, ()>>,
    absent: AbsentBoards,
    empty_reads: EmptyReads,
}

#[derive(Clone, Debug)]
struct AskedBoard {
    board: BoardName,
    scope: Option<Scope>,
}

impl BoardFinder {
    /// Creates the two ends of the queue.
    #[must_use]
    pub fn new(
        store: Store,
        absent: AbsentBoards,
        empty_reads_per_s: NonZero<u32>,
    ) -> (Self, BoardLookups) {
        let (queue, lookups) = LookupQueue::new(store);
        let lookups = BoardLookups {
            queue: lookups,
            absent,
            empty_reads: EmptyReads::new(empty_reads_per_s, Instant::now()),
        };
        (Self(queue), lookups)
    }

    /// Asks the database whether there is a board that a caller may read whose token has `scope`
    /// there. Cancel safe.
    ///
    /// # Errors
    /// [`StoreError::NoSuchBoard`], also if the caller may not read it, or if the database is away.
    pub async fn check(&self, board: BoardName, scope: Option<Scope>) -> Result<(), StoreError> {
        self.0.ask(AskedBoard { board, scope }).await
    }
}

/// Answers lookups until the server stops.
pub async fn run(store: &Store, lookups: &mut BoardLookups, stop: &CancellationToken) {
    let mut batch = Vec::new();
    loop {
        let next = async {
            let received = lookups.queue.recv_many(&mut batch, BATCH).await;
            // What comes meanwhile is answered by the same query.
            sleep_until(lookups.empty_reads.next_at().into()).await;
            received
        };
        tokio::select! {
            () = stop.cancelled() => return,
            received = next => if received == 0 { return },
        }
        failpoint::pass("board-finder");
        while batch.len() < BATCH
            && let Ok(lookup) = lookups.queue.try_recv()
        {
            batch.push(lookup);
        }
        // A caller that gave up waiting needs no answer.
        batch.retain(Lookup::is_awaited);
        if !batch.is_empty() {
            answer(store, lookups, std::mem::take(&mut batch)).await;
        }
    }
}

async fn answer(store: &Store, lookups: &mut BoardLookups, batch: Vec<Lookup<AskedBoard, ()>>) {
    let names: BTreeSet<_> = batch
        .iter()
        .map(|lookup| lookup.asked.board.clone())
        .collect();
    let generation = lookups.absent.generation();
    let asked: Vec<_> = names.iter().cloned().collect();
    let found = query_priority(store, move |store| store.find_boards(&asked)).await;
    let found = match found {
        Ok(found) => found,
        Err(error) => {
            for lookup in batch {
                lookup.answer(Err(error.clone()));
            }
            return;
        }
    };
    let now = Instant::now();
    for name in names {
        let policies = found.get(&name).copied();
        if !policies.is_some_and(Policies::is_public) {
            lookups.absent.remember(name, policies, generation, now);
        }
    }
    let mut is_empty = true;
    for lookup in batch {
        let policies = found.get(&lookup.asked.board).copied();
        let answer = if policies.is_some_and(|policies| policies.is_readable(lookup.asked.scope)) {
            is_empty = false;
            Ok(())
        } else {
            Err(StoreError::NoSuchBoard(lookup.asked.board.clone()))
        };
        lookup.answer(answer);
    }
    if is_empty {
        lookups.empty_reads.count(now);
    }
}

#[cfg(test)]
mod tests {
    use kairanban_core::{PostPolicy, ReadPolicy};

    use super::*;

    fn name(text: &str) -> BoardName {
        text.parse().expect("a name")
    }

    #[test]
    fn a_name_is_remembered_for_a_while_and_until_a_board_changes() {
        let (absent, now) = (AbsentBoards::new(Duration::from_secs(1), 9), Instant::now());
        let holds = |text, at| absent.holds(&name(text), None, at);
        absent.remember(name("a"), None, absent.generation(), now);
        assert!(holds("a", now) && !holds("c", now));
        assert!(!holds("a", now + Duration::from_secs(1)));
        let before = absent.generation();
        absent.clear();
        assert!(!holds("a", now));
        absent.remember(name("a"), None, before, now);
        assert!(!holds("a", now), "it was read before a board changed");
    }

    #[test]
    fn a_hidden_board_is_absent_for_strangers_only() {
        let (absent, now) = (AbsentBoards::new(Duration::from_secs(1), 9), Instant::now());
        let hidden = Policies {
            read: ReadPolicy::Token,
            post: PostPolicy::Token,
        };
        absent.remember(name("a"), Some(hidden), absent.generation(), now);
        absent.remember(name("c"), None, absent.generation(), now);
        for (board, scope, expected) in [
            ("a", None, true),
            ("a", Some(Scope::Read), false),
            ("c", None, true),
            ("c", Some(Scope::Admin), true),
        ] {
            assert_eq!(
                absent.holds(&name(board), scope, now),
                expected,
                "{board} {scope:?}"
            );
        }
    }

    #[test]
    fn the_memory_is_bounded() {
        let (absent, now) = (
            AbsentBoards::new(Duration::from_secs(1), 100),
            Instant::now(),
        );
        for number in 0..1_000 {
            let board = name(&format!("b{number}"));
            absent.remember(board, None, absent.generation(), now);
        }
        assert_eq!(absent.names.lock().known.len(), 100);
        let later = now + Duration::from_secs(1);
        absent.remember(name("later"), None, absent.generation(), later);
        assert!(absent.holds(&name("later"), None, later));
        assert_eq!(
            absent.names.lock().known.len(),
            1,
            "what is over makes room"
        );
    }
}
