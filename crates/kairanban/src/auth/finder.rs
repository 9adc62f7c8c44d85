//! Finding tokens by what their holders show. Who asks at the same time is answered by one query: when a crowd comes back
//! after a restart, each with a token, none of them waits long, and few requests lie about meanwhile.

use kairanban_store::{FoundToken, Store, StoreError};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::{
    blocking::{in_time, query_priority},
    failpoint,
};

/// Tokens in one query.
const BATCH: usize = 500;
/// Who finds no room in the queue waits for some.
const QUEUE: usize = 1_024;

/// Finds tokens. Cheap to clone.
#[derive(Clone, Debug)]
pub struct TokenFinder {
    store: Store,
    queue: mpsc::Sender<LookupRequest>,
}

/// The receiving end of the queue of lookups.
#[derive(Debug)]
pub struct Inquiries(mpsc::Receiver<LookupRequest>);

type Found = Result<Option<FoundToken>, StoreError>;

#[derive(Debug)]
struct LookupRequest {
    secret: String,
    answer: oneshot::Sender<Found>,
}

impl TokenFinder {
    /// The two ends of the queue.
    #[must_use]
    pub fn new(store: Store) -> (Self, Inquiries) {
        let (queue, inquiries) = mpsc::channel(QUEUE);
        (Self { store, queue }, Inquiries(inquiries))
    }

    /// Finds the token of a secret, good or not, as it is in the database now.
    ///
    /// # Errors
    /// If the database is away.
    pub async fn find(&self, secret: String) -> Found {
        let ended = || StoreError::Unavailable("the server is ending".to_owned());
        let found = async {
            let (answer, answered) = oneshot::channel();
            self.queue
                .send(LookupRequest { secret, answer })
                .await
                .map_err(|_| ended())?;
            answered.await.map_err(|_| ended())?
        };
        in_time(&self.store, found).await
    }
}

/// Answers lookups until the server stops.
pub async fn run(store: &Store, inquiries: &mut Inquiries, stop: &CancellationToken) {
    let mut batch = Vec::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            received = inquiries.0.recv_many(&mut batch, BATCH) => if received == 0 { return },
        }
        failpoint::pass("token-finder");
        // Who gave up waiting needs no answer.
        batch.retain(|inquiry| !inquiry.answer.is_closed());
        if batch.is_empty() {
            continue;
        }
        let secrets: Vec<_> = batch.iter().map(|inquiry| inquiry.secret.clone()).collect();
        let found = query_priority(store, move |store| store.find_tokens(&secrets)).await;
        let each: Vec<Found> = match found {
            Ok(tokens) => tokens.into_iter().map(Ok).collect(),
            Err(error) => vec![Err(error); batch.len()],
        };
        for (inquiry, found) in batch.drain(..).zip(each) {
            // It may have given up just now.
            let _ = inquiry.answer.send(found);
        }
    }
}
