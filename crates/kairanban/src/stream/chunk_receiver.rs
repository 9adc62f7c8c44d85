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
use crate::{encode::Chunk, metrics::Sent};

/// Awaits what a stream sends next.
pub struct ChunkReceiver<S: UpdateSource> {
    /// The stream that sends the chunks.
    pub source: S,
    waker: Rc<ReceiverWaker>,
    _registrations: S::Registrations,
}

/// Wakes the task that waits, when there are events.
struct ReceiverWaker {
    waker: Cell<Option<Waker>>,
    /// Whether something happened since the stream was last sent anything.
    notified: Cell<bool>,
}

impl Subscriber for ReceiverWaker {
    fn notify(&self, _: &mut Sent) {
        self.notified.set(true);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

impl<S: UpdateSource> ChunkReceiver<S> {
    /// Creates a receiver that is woken by the events of `source`.
    #[must_use]
    pub fn new(mut source: S, dispatchers: &WorkerDispatchers) -> Self {
        let waker = Rc::new(ReceiverWaker {
            waker: Cell::default(),
            notified: Cell::default(),
        });
        let subscriber: Weak<dyn Subscriber> = Rc::<ReceiverWaker>::downgrade(&waker);
        Self {
            _registrations: source.join(dispatchers, subscriber),
            source,
            waker,
        }
    }

    /// Returns what to send next, or `None` at the end. Cancel safe: dropping the future loses
    /// nothing.
    pub async fn next(&mut self) -> Option<Vec<Chunk>> {
        let chunks = poll_fn(|cx| {
            self.waker.waker.set(Some(cx.waker().clone()));
            self.source.poll_next(cx)
        })
        .await?;
        let sent = sent(&chunks);
        if self.waker.notified.take() {
            self.source.metrics().updates_sent(sent, None);
        } else {
            self.source.metrics().others_sent(sent);
        }
        Some(chunks)
    }
}

/// Returns how much it is to send some chunks.
#[must_use]
pub fn sent(chunks: &[Chunk]) -> Sent {
    let mut sent = Sent::default();
    for chunk in chunks {
        sent.add(usize::from(!chunk.is_end()), chunk.as_ref().len());
    }
    sent
}
