//! A stream for somebody who asks for one piece after the other: an ordinary body, a WebSocket.

use std::{
    cell::Cell,
    future::poll_fn,
    rc::{Rc, Weak},
    task::Waker,
};

use super::{
    Feed,
    round::{Member, Rounds},
};
use crate::render::Chunk;

/// Asks a stream for its pieces.
pub struct Listener<F: Feed> {
    /// The stream.
    pub feed: F,
    bell: Rc<Bell>,
    _seats: F::Seats,
}

/// Wakes whoever waits when there is news.
struct Bell(Cell<Option<Waker>>);

impl Member for Bell {
    fn call(&self) {
        if let Some(waker) = self.0.take() {
            waker.wake();
        }
    }
}

impl<F: Feed> Listener<F> {
    /// Listens to `feed`.
    #[must_use]
    pub fn new(feed: F, rounds: &Rounds) -> Self {
        let bell = Rc::new(Bell(Cell::default()));
        let member: Weak<dyn Member> = Rc::<Bell>::downgrade(&bell);
        Self {
            _seats: feed.join(rounds, member),
            feed,
            bell,
        }
    }

    /// What to send next, or `None` at the end. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Vec<Chunk>> {
        poll_fn(|cx| {
            self.bell.0.set(Some(cx.waker().clone()));
            self.feed.poll_next(cx)
        })
        .await
    }
}
