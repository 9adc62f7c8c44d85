//! The planned end: a signal, then the drain.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

/// The share of the grace in which streams are told; the rest is for them to go.
const SPREAD_SHARE: f64 = 0.7;
/// What one stream adds to the time in which all are told, so that a few are told at once and
/// thousands do not come back in the same second.
const PER_STREAM: Duration = Duration::from_millis(2);

/// Says that the server is ending. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Drain {
    token: CancellationToken,
    grace: Duration,
}

impl Drain {
    /// Nothing is ending yet.
    #[must_use]
    pub fn new(grace: Duration) -> Self {
        Self { token: CancellationToken::new(), grace }
    }

    /// From now on the server is ending.
    pub fn begin(&self) {
        self.token.cancel();
    }

    /// Whether it is.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.token.is_cancelled()
    }

    /// Waits for it.
    pub async fn begun(&self) {
        self.token.cancelled().await;
    }

    /// When one of `streams` is told, from the beginning: at random, so that all are spread out.
    #[must_use]
    pub fn turn(&self, streams: usize) -> Duration {
        let all = PER_STREAM.saturating_mul(u32::try_from(streams).unwrap_or(u32::MAX));
        all.min(self.grace.mul_f64(SPREAD_SHARE)).mul_f64(fastrand::f64())
    }
}

/// Waits for Ctrl-C, or SIGTERM where there is such a thing.
///
/// # Errors
/// If the system lets nobody wait for signals.
#[cfg(unix)]
pub async fn signal() -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}

/// Waits for Ctrl-C.
///
/// # Errors
/// If the system lets nobody wait for it.
#[cfg(not(unix))]
pub async fn signal() -> std::io::Result<()> {
    tokio::signal::ctrl_c().await
}
