//! A stream that is kept open from the beginning, and what it showed when.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use crate::{
    oracle::link::{Cut, PiecewiseAnswer},
    sse::{self, Event, Mirror},
};

const RETRY: Duration = Duration::from_millis(20);

/// A state that the stream completed; its digest was right.
struct CompletedList {
    at: Instant,
    epoch: String,
    revision: u64,
}

#[derive(Default)]
struct SeenLists {
    mirror: Mirror,
    states: Vec<CompletedList>,
    is_stale: bool,
    times_stale: usize,
    times_opened: usize,
}

/// A reader of a node's board. It connects again with its cursor if the stream ends.
pub(super) struct Watch {
    over: Arc<AtomicBool>,
    seen: Arc<Mutex<SeenLists>>,
    reader: JoinHandle<()>,
}

impl Watch {
    pub(super) fn start(address: SocketAddr) -> Self {
        let (over, seen) = (
            Arc::<AtomicBool>::default(),
            Arc::<Mutex<SeenLists>>::default(),
        );
        let (is_over, sees) = (Arc::clone(&over), Arc::clone(&seen));
        let reader = thread::spawn(move || {
            while !is_over.load(Ordering::SeqCst) {
                follow(address, &is_over, &sees);
                thread::park_timeout(RETRY);
            }
        });
        Self { over, seen, reader }
    }

    /// Whether the list of an epoch, up to this revision, was complete after `since`, and when
    /// first.
    pub(super) fn first_shown(
        &self,
        since: Instant,
        epoch: &str,
        revision: u64,
    ) -> Option<Instant> {
        let seen = self.seen();
        let states = seen
            .states
            .iter()
            .filter(|state| state.epoch == epoch && state.revision >= revision);
        // It may have been shown before the answer arrived.
        states.map(|state| state.at).min().map(|at| at.max(since))
    }

    /// Each topic that is shown, as id, revision and comment; `None` while the stream is marked
    /// stale or shows nothing yet.
    pub(super) fn list(&self) -> Option<Vec<String>> {
        let seen = self.seen();
        let shown = seen
            .mirror
            .topics
            .iter()
            .map(|(id, (revision, comment))| format!("{id} {revision} {comment}"));
        (!seen.is_stale && !seen.states.is_empty()).then(|| shown.collect())
    }

    pub(super) fn times_stale(&self) -> usize {
        self.seen().times_stale
    }

    pub(super) fn times_opened(&self) -> usize {
        self.seen().times_opened
    }

    /// Ends it. Panics if a digest was wrong or a revision fell.
    pub(super) fn end(self) {
        self.over.store(true, Ordering::SeqCst);
        self.reader
            .join()
            .expect("right digests and growing revisions");
    }

    fn seen(&self) -> MutexGuard<'_, SeenLists> {
        self.seen
            .lock()
            .expect("right digests and growing revisions")
    }
}

/// Reads a stream until its end, or until a heartbeat is missing.
fn follow(address: SocketAddr, is_over: &AtomicBool, seen: &Mutex<SeenLists>) {
    let cursor = seen.lock().expect("a lock").mirror.cursor.clone();
    let Some(mut answer) = open(address, &cursor) else {
        return;
    };
    seen.lock().expect("a lock").times_opened += 1;
    let mut text = String::new();
    while let Some(piece) = answer.piece() {
        text.push_str(&piece);
        while let Some(end) = text.find("\n\n") {
            let block: String = text.drain(..end + 2).collect();
            seen.lock().expect("a lock").take(&sse::parse(&block));
        }
        if is_over.load(Ordering::SeqCst) {
            return;
        }
    }
}

fn open(address: SocketAddr, cursor: &str) -> Option<PiecewiseAnswer> {
    let cut = Cut::connect(address, usize::MAX).ok()?;
    let answer = PiecewiseAnswer::get(
        cut,
        "/b/main/stream?format=patch",
        &[("Last-Event-ID", cursor)],
    )
    .ok()?;
    (answer.status == 200).then_some(answer)
}

impl SeenLists {
    fn take(&mut self, event: &Event) {
        self.mirror.take(event);
        match event.name.as_str() {
            "stale" => {
                self.is_stale = true;
                self.times_stale += 1;
            }
            "fresh" => self.is_stale = false,
            "snapshot" | "patch" => {
                let epoch = self
                    .mirror
                    .cursor
                    .split('-')
                    .next()
                    .unwrap_or_default()
                    .to_owned();
                self.states.push(CompletedList {
                    at: Instant::now(),
                    epoch,
                    revision: self.mirror.revision,
                });
            }
            _ => {}
        }
    }
}
