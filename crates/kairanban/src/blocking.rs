//! Database work on a thread that may block.

use kairanban_store::{Store, StoreError};
use tokio::time::timeout;

/// Statements, at most, of one piece of work in the background.
const BACKGROUND_ANSWERS: u32 = 10;

/// Runs `work` on a blocking thread. Dropping the future does not stop it.
///
/// # Errors
/// Those of `work`, and one if it panicked.
pub async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    let span = tracing::Span::current();
    let done = tokio::task::spawn_blocking(move || span.in_scope(work)).await;
    done.unwrap_or_else(|error| Err(StoreError::Internal(error.to_string())))
}

/// Asks the database something, for somebody who waits, when it is their turn. A server that is frozen, or a link that takes
/// everything and gives nothing, would otherwise keep them waiting for ever. What was asked goes on.
///
/// # Errors
/// Those of `ask`, and [`StoreError::Unavailable`] when there is no answer in time.
pub async fn query<T: Send + 'static>(
    store: &Store,
    ask: impl FnOnce(&Store) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    in_time(store, async {
        let (turn, store) = (store.permit().await?, store.clone());
        blocking(move || {
            let _turn = turn;
            ask(&store)
        })
        .await
    })
    .await
}

/// The same for who asks for many, as the follower does: no crowd is before it.
///
/// # Errors
/// As [`answered`].
pub async fn query_priority<T: Send + 'static>(
    store: &Store,
    ask: impl FnOnce(&Store) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    let asked = store.clone();
    in_time(store, blocking(move || ask(&asked))).await
}

/// The same for several statements in the background. A session that never answers must not end it for ever.
///
/// # Errors
/// As [`answered`].
pub async fn in_the_background<T: Send + 'static>(
    store: &Store,
    work: impl FnOnce(&Store) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    let (patience, asked) = (store.answer_max() * BACKGROUND_ANSWERS, store.clone());
    let late = |_| Err(StoreError::Unavailable("it does not answer".to_owned()));
    timeout(patience, blocking(move || work(&asked)))
        .await
        .unwrap_or_else(late)
}

/// What does not come in the time that the database may take is [`StoreError::Unavailable`].
///
/// # Errors
/// That, and those of `answer`.
pub async fn in_time<T>(
    store: &Store,
    answer: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    let late = |_| Err(StoreError::Unavailable("it does not answer".to_owned()));
    timeout(store.answer_max(), answer)
        .await
        .unwrap_or_else(late)
}
