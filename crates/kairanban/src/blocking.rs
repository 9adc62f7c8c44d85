//! Database work on a thread that may block.

use kairanban_store::{Store, StoreError};
use tokio::time::timeout;

/// Runs `work` on a blocking thread. Dropping the future does not stop it.
///
/// # Errors
/// Those of `work`, and one if it panicked.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, StoreError> + Send + 'static) -> Result<T, StoreError> {
    let span = tracing::Span::current();
    let done = tokio::task::spawn_blocking(move || span.in_scope(work)).await;
    done.unwrap_or_else(|error| Err(StoreError::Internal(error.to_string())))
}

/// Asks the database something, for somebody who waits. A server that is frozen, or a link that takes
/// everything and gives nothing, would otherwise keep them waiting for ever. What was asked goes on.
///
/// # Errors
/// Those of `ask`, and [`StoreError::Unavailable`] when there is no answer in time.
pub async fn answered<T: Send + 'static>(
    store: &Store,
    ask: impl FnOnce(&Store) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    let (at_most, store) = (store.answer_max(), store.clone());
    let late = |_| Err(StoreError::Unavailable("it does not answer".to_owned()));
    timeout(at_most, blocking(move || ask(&store))).await.unwrap_or_else(late)
}
