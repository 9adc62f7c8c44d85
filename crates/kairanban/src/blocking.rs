//! Runs database work on threads that may block.

use std::sync::Arc;

use kairanban_store::{Store, StoreError};
use parking_lot::Mutex;
use tokio::time::{error::Elapsed, timeout};

use crate::limits::read_in_progress;

/// The most statements in one piece of background work.
const BACKGROUND_ANSWERS: u32 = 10;

/// Runs `work` on a blocking thread. Dropping the future does not stop it, and the read that the
/// request has in progress lasts as long.
///
/// # Errors
/// The errors of `work`; one more if it panics.
pub async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    let (span, read) = (tracing::Span::current(), read_in_progress::current());
    let work = move || {
        let _in_progress = read;
        span.in_scope(work)
    };
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(StoreError::Internal(error.to_string())))
}

/// Queries the database for a request, once there is a permit. The time is limited, because a
/// frozen server, or a broken link, would let the request wait for ever. The query itself goes on,
/// without the permit then: others would lack it for as long. If the future is dropped, it goes on
/// with the permit.
///
/// # Errors
/// Those of `ask`, and [`StoreError::Unavailable`] when there is no answer in time.
pub async fn query<T: Send + 'static>(
    store: &Store,
    ask: impl FnOnce(&Store) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    let permit = Arc::new(Mutex::new(None));
    let answer = timeout(store.answer_max(), async {
        *permit.lock() = Some(store.permit().await?);
        let (kept, store) = (Arc::clone(&permit), store.clone());
        blocking(move || {
            let done = ask(&store);
            drop(kept.lock().take());
            done
        })
        .await
    });
    let answer = answer.await;
    // A client that goes away before keeps it: else one client could start any number of queries.
    drop(permit.lock().take());
    answer.unwrap_or_else(no_answer)
}

/// Queries the database for many requests, as the follower does: without waiting for a permit
/// behind theirs. Dropping the future does not stop the query.
///
/// # Errors
/// As [`query`].
pub async fn query_priority<T: Send + 'static>(
    store: &Store,
    ask: impl FnOnce(&Store) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    let asked = store.clone();
    in_time(store, blocking(move || ask(&asked))).await
}

/// Runs several statements in the background. The time is limited, so that a connection that never
/// answers does not stop the task. Dropping the future does not stop the statements.
///
/// # Errors
/// As [`query`].
pub async fn in_the_background<T: Send + 'static>(
    store: &Store,
    work: impl FnOnce(&Store) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    let (patience, asked) = (store.answer_max() * BACKGROUND_ANSWERS, store.clone());
    let work = blocking(move || work(&asked));
    timeout(patience, work).await.unwrap_or_else(no_answer)
}

/// Limits `answer` to the time that the database may take. As cancel safe as `answer`.
///
/// # Errors
/// [`StoreError::Unavailable`] if it takes longer, and those of `answer`.
pub async fn in_time<T>(
    store: &Store,
    answer: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    let answer = timeout(store.answer_max(), answer).await;
    answer.unwrap_or_else(no_answer)
}

fn no_answer<T>(_: Elapsed) -> Result<T, StoreError> {
    Err(unanswered())
}

/// Returns the error of a query without an answer in time.
pub fn unanswered() -> StoreError {
    StoreError::Unavailable("the database does not answer".to_owned())
}
