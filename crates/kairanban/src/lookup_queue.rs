//! A queue of lookups, so that one query answers all that arrive at the same time.

use kairanban_store::{Store, StoreError};
use tokio::sync::{mpsc, oneshot};

use crate::blocking::in_time;

/// Lookups in one query.
pub const BATCH: usize = 500;
/// Lookups in the queue. Those that find no room wait for some.
const QUEUE: usize = 1_024;

/// The end of the queue where callers ask. Cheap to clone.
#[derive(Clone, Debug)]
pub struct LookupQueue<Q, A> {
    store: Store,
    queue: mpsc::Sender<Lookup<Q, A>>,
}

/// What a caller asks for.
#[derive(Debug)]
pub struct Lookup<Q, A> {
    pub asked: Q,
    answer: oneshot::Sender<Result<A, StoreError>>,
}

impl<Q, A> LookupQueue<Q, A> {
    /// Creates the two ends of a queue.
    pub fn new(store: Store) -> (Self, mpsc::Receiver<Lookup<Q, A>>) {
        let (queue, lookups) = mpsc::channel(QUEUE);
        (Self { store, queue }, lookups)
    }

    /// Asks, and waits for the answer. Cancel safe: the lookup of a caller that has gone changes
    /// nothing.
    ///
    /// # Errors
    /// That of the answer, or if it does not come in time.
    pub async fn ask(&self, asked: Q) -> Result<A, StoreError> {
        let ended = || StoreError::Unavailable("the server is ending".to_owned());
        let answered = async {
            let (answer, answered) = oneshot::channel();
            let lookup = Lookup { asked, answer };
            self.queue.send(lookup).await.map_err(|_| ended())?;
            answered.await.map_err(|_| ended())?
        };
        in_time(&self.store, answered).await
    }
}

impl<Q, A> Lookup<Q, A> {
    /// Returns whether the caller still waits.
    pub fn is_awaited(&self) -> bool {
        !self.answer.is_closed()
    }

    /// Answers the caller.
    pub fn answer(self, answer: Result<A, StoreError>) {
        // It may have given up just now.
        let _ = self.answer.send(answer);
    }
}
