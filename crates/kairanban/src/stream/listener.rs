//! Feeds a stream to what asks for one piece after the other: an ordinary body, a WebSocket.

use std::{
    cell::Cell,
    future::poll_fn,
    rc::{Rc, Weak},
    task::Waker,
};

use super::{
    UpdateSource,
    dispatcher::{Subscriber, WorkerDispatchers},
};
use crate::encode::Chunk;

/// Asks a stream for its pieces.
pub struct Listener<F: UpdateSource> {
    /// The stream that is asked.
    pub feed: F,
    waker: Rc<ListenerWaker>,
    _seats: F::Registrations,
}

/// Wakes the task that waits, when there are events.
struct ListenerWaker(Cell<Option<Waker>>);

impl Subscriber for ListenerWaker {
    fn notify(&self) {
        if let Some(waker) = self.0.take() {
            waker.wake();
        }
    }
}

impl<F: UpdateSource> Listener<F> {
    /// Creates a listener that is woken by the events of `feed`.
    #[must_use]
    pub fn new(feed: F, dispatchers: &WorkerDispatchers) -> Self {
        let waker = Rc::new(ListenerWaker(Cell::default()));
        let subscriber: Weak<dyn Subscriber> = Rc::<ListenerWaker>::downgrade(&waker);
        Self {
            _seats: feed.join(dispatchers, subscriber),
            feed,
            waker,
        }
    }

    /// Returns what to send next, or `None` at the end. Cancel safe: dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Vec<Chunk>> {
        poll_fn(|cx| {
            self.waker.0.set(Some(cx.waker().clone()));
            self.feed.poll_next(cx)
        })
        .await
    }
}
