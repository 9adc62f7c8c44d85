//! Database work on a thread that may block.

use kairanban_store::StoreError;

/// Runs `work` on a blocking thread. Dropping the future does not stop it.
///
/// # Errors
/// Those of `work`, and one if it panicked.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, StoreError> + Send + 'static) -> Result<T, StoreError> {
    let span = tracing::Span::current();
    let done = tokio::task::spawn_blocking(move || span.in_scope(work)).await;
    done.unwrap_or_else(|error| Err(StoreError::Internal(error.to_string())))
}
