//! Writers that post all the time, and what became of each post.

use std::{
    collections::HashSet,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, OnceLock},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use crate::oracle::link;

const WRITERS: u64 = 8;
/// Between two comments of a writer: an unbounded load would use up the ports of the machine.
const PAUSE: Duration = Duration::from_millis(5);
/// Before a post is repeated.
const RETRY: Duration = Duration::from_millis(20);

/// A request: when it was sent and when it was answered; no status if the connection broke first.
pub(super) struct Try {
    pub(super) began: Instant,
    pub(super) answered: Instant,
    pub(super) status: Option<u16>,
}

/// A comment that the server acknowledged, with the times of the request that was.
#[derive(Clone)]
pub(super) struct Acknowledged {
    pub(super) comment: String,
    pub(super) began: Instant,
    pub(super) answered: Instant,
}

#[derive(Default)]
pub(super) struct Record {
    pub(super) tries: Vec<Try>,
    pub(super) acknowledged: Vec<Acknowledged>,
    /// Comments that were sent more than once, and how often they were sent again in all.
    pub(super) repeated: HashSet<String>,
    pub(super) repeats: usize,
    /// Comments that were not acknowledged in time after the end of the load.
    pub(super) given_up: Vec<String>,
}

#[derive(Default)]
struct Shared {
    over: OnceLock<Instant>,
    record: Mutex<Record>,
}

/// Writers at work. Each comment is repeated under its key until it is acknowledged, also after the
/// end of the load.
pub(super) struct Load {
    shared: Arc<Shared>,
    patience: Duration,
    writers: Vec<JoinHandle<()>>,
}

impl Load {
    /// Starts the writers. `patience` is how long to wait for anything that should happen.
    pub(super) fn start(address: SocketAddr, patience: Duration) -> Self {
        let shared = Arc::new(Shared::default());
        let writers = (0..WRITERS)
            .map(|writer| {
                let shared = Arc::clone(&shared);
                thread::spawn(move || shared.write(address, writer, patience))
            })
            .collect();
        Self {
            shared,
            patience,
            writers,
        }
    }

    /// Waits for the first acknowledgement of a post that began after `since`.
    pub(super) fn next_after(&self, since: Instant) -> Option<Acknowledged> {
        self.wait(|record| {
            let later = record.acknowledged.iter().filter(|one| one.began >= since);
            later.min_by_key(|one| one.answered).cloned()
        })
    }

    /// Goes on for a while, and until `count` posts that began after it was called are
    /// acknowledged. Returns whether they were.
    pub(super) fn go_on(&self, time: Duration, count: usize) -> bool {
        let since = Instant::now();
        let enough = self.wait(|record| {
            let later = record
                .acknowledged
                .iter()
                .rev()
                .take_while(|one| one.answered >= since);
            (later.filter(|one| one.began >= since).count() >= count && since.elapsed() >= time)
                .then_some(())
        });
        enough.is_some()
    }

    /// Ends the load, once every post that was begun is acknowledged.
    pub(super) fn end(self) -> Record {
        self.shared.over.get_or_init(Instant::now);
        self.writers
            .into_iter()
            .for_each(|writer| writer.join().expect("a writer"));
        std::mem::take(&mut *self.shared.record())
    }

    fn wait<T>(&self, find: impl Fn(&Record) -> Option<T>) -> Option<T> {
        let deadline = Instant::now() + self.patience;
        while Instant::now() < deadline {
            let found = find(&self.shared.record());
            if found.is_some() {
                return found;
            }
            thread::park_timeout(Duration::from_millis(10));
        }
        None
    }
}

impl Shared {
    fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().expect("a lock")
    }

    fn write(&self, address: SocketAddr, writer: u64, patience: Duration) {
        let mut comments = (0..).map(|n| format!("h{writer}-{n}"));
        // Only here: a post whose answer was lost is repeated after the end, too.
        while self.over.get().is_none() {
            let comment = comments.next().expect("a comment");
            if !self.post_until_acknowledged(address, &comment, patience) {
                self.record().given_up.push(comment);
                return;
            }
            thread::park_timeout(PAUSE);
        }
    }

    fn post_until_acknowledged(
        &self,
        address: SocketAddr,
        comment: &str,
        patience: Duration,
    ) -> bool {
        let mut first = true;
        while first || self.over.get().is_none_or(|over| over.elapsed() < patience) {
            let began = Instant::now();
            let status = link::post(address, comment);
            let answered = Instant::now();
            let mut record = self.record();
            record.tries.push(Try {
                began,
                answered,
                status,
            });
            if !first {
                record.repeats += 1;
                record.repeated.insert(comment.to_owned());
            }
            if status == Some(201) {
                record.acknowledged.push(Acknowledged {
                    comment: comment.to_owned(),
                    began,
                    answered,
                });
                return true;
            }
            drop(record);
            first = false;
            thread::park_timeout(RETRY);
        }
        false
    }
}
