//! The read that a request has in progress: from its first query to the end of its answer. How
//! many a client may have is for [`ClientGate::of_reads`](super::ClientGate::of_reads) to say.

use std::{cell::RefCell, future::Future, sync::Arc};

use super::GatePermit;

tokio::task_local! {
    /// What the request that is answered now has in progress.
    static IN_PROGRESS: RefCell<Option<ReadInProgress>>;
}

/// A read in progress. Each query of it holds a clone, because it goes on when its request is
/// dropped; so does the answer, because a client that does not read keeps it in memory. The read
/// ends with the last of them.
#[derive(Clone, Debug)]
pub struct ReadInProgress(
    #[expect(dead_code, reason = "released when it is dropped")] Arc<GatePermit>,
);

/// Answers a request. Returns the read that is in progress until the answer is sent, if there is
/// one.
pub async fn in_request<T>(answering: impl Future<Output = T>) -> (T, Option<ReadInProgress>) {
    let answering = async {
        let answer = answering.await;
        (answer, IN_PROGRESS.with(RefCell::take))
    };
    IN_PROGRESS.scope(RefCell::default(), answering).await
}

/// Begins a read of the request that is answered now.
pub fn begin(permit: GatePermit) {
    // Outside of a request nothing is counted.
    let _ = IN_PROGRESS.try_with(|read| read.replace(Some(ReadInProgress(Arc::new(permit)))));
}

/// Returns the read of the request that is answered now, if it has begun one.
#[must_use]
pub fn current() -> Option<ReadInProgress> {
    let read = IN_PROGRESS.try_with(|read| read.borrow().clone());
    read.ok().flatten()
}

/// Ends the read when it is dropped, and not with the answer: it was for what all readers share,
/// or the answer is a stream.
#[derive(Debug)]
pub struct EndsRead;

impl Drop for EndsRead {
    fn drop(&mut self) {
        let _ = IN_PROGRESS.try_with(RefCell::take);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::{Config, Overrides},
        limits::ClientGate,
    };

    fn gate() -> ClientGate {
        let config = Config::load(&Overrides::default(), []);
        ClientGate::of_reads(&config.expect("the defaults").limits)
    }

    fn enter(gate: &ClientGate) -> GatePermit {
        gate.enter(None).expect("room")
    }

    #[tokio::test]
    async fn a_reading_ends_with_its_queries_and_its_answer() {
        let gate = gate();
        let (query, held) = in_request(async {
            assert!(current().is_none());
            begin(enter(&gate));
            current()
        })
        .await;
        assert_eq!(gate.open(), 1);
        drop(held);
        assert_eq!(gate.open(), 1, "the query goes on");
        drop(query);
        assert_eq!(gate.open(), 0);
    }

    #[tokio::test]
    async fn what_is_shared_is_no_longer_a_reading_when_it_is_sent() {
        let gate = gate();
        let ((), held) = in_request(async {
            let ends = EndsRead;
            begin(enter(&gate));
            drop(ends);
        })
        .await;
        assert!(held.is_none() && gate.open() == 0);
    }
}
