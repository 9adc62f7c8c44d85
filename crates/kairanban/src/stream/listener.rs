//! Lets a task await what a stream sends next: for an ordinary body, and for a WebSocket.

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

/// Awaits what a stream sends next.
pub struct Listener<S: UpdateSource> {
    /// The stream.
    pub source: S,
    waker: Rc<ListenerWaker>,
    _registrations: S::Registrations,
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

impl<S: UpdateSource> Listener<S> {
    /// Creates a listener that is woken by the events of `source`.
    #[must_use]
    pub fn new(source: S, dispatchers: &WorkerDispatchers) -> Self {
        let waker = Rc::new(ListenerWaker(Cell::default()));
        let subscriber: Weak<dyn Subscriber> = Rc::<ListenerWaker>::downgrade(&waker);
        Self {
            _registrations: source.join(dispatchers, subscriber),
            source,
            waker,
        }
    }

    /// Returns what to send next, or `None` at the end. Cancel safe: dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Vec<Chunk>> {
        poll_fn(|cx| {
            self.waker.0.set(Some(cx.waker().clone()));
            self.source.poll_next(cx)
        })
        .await
    }
}
