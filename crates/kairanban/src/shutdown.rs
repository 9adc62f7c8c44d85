//! The planned end: a signal, then the drain.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::{failpoint, supervise::Supervisor};

/// The share of the grace in which streams are told; the rest is for them to go.
const SPREAD_SHARE: f64 = 0.7;
/// What one stream adds to the time in which all are told, so that a few are told at once and
/// thousands do not come back in the same second.
const PER_STREAM: Duration = Duration::from_millis(2);

/// Says that the server is ending. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Drain {
    announced: CancellationToken,
    token: CancellationToken,
    grace: Duration,
}

impl Drain {
    /// Nothing is ending yet.
    #[must_use]
    pub fn new(grace: Duration) -> Self {
        Self {
            announced: CancellationToken::new(),
            token: CancellationToken::new(),
            grace,
        }
    }

    /// The server will end soon: it goes on as before, but no new work should be sent to it.
    pub fn announce(&self) {
        self.announced.cancel();
    }

    /// Whether that is known.
    #[must_use]
    pub fn is_announced(&self) -> bool {
        self.announced.is_cancelled()
    }

    /// From now on the server is ending.
    pub fn begin(&self) {
        self.announce();
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
    pub fn disconnect_delay(&self, streams: usize) -> Duration {
        let all = PER_STREAM.saturating_mul(u32::try_from(streams).unwrap_or(u32::MAX));
        all.min(self.grace.mul_f64(SPREAD_SHARE))
            .mul_f64(fastrand::f64())
    }
}

/// Ctrl-C, and SIGTERM where there is such a thing. From here on they no longer end the process by themselves.
#[cfg(unix)]
#[derive(Debug)]
pub struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    /// Listens to them.
    ///
    /// # Errors
    /// If the system lets nobody listen to signals.
    pub fn new() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Waits for the next.
    ///
    /// # Errors
    /// Never.
    pub async fn next(&mut self) -> std::io::Result<()> {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
        Ok(())
    }
}

/// Ctrl-C.
#[cfg(not(unix))]
#[derive(Debug)]
pub struct Signals;

#[cfg(not(unix))]
impl Signals {
    /// Listens to it.
    ///
    /// # Errors
    /// Never.
    pub fn new() -> std::io::Result<Self> {
        Ok(Self)
    }

    /// Waits for the next.
    ///
    /// # Errors
    /// If the system lets nobody wait for it.
    pub async fn next(&mut self) -> std::io::Result<()> {
        tokio::signal::ctrl_c().await
    }
}

/// Keeps SIGHUP from ending the process: the terminal or the shell that started it may go away.
///
/// # Errors
/// If the system lets nobody wait for signals.
#[cfg(unix)]
pub fn outlive_hangups(supervisor: &Supervisor) -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    // From here on the signal no longer has its usual effect.
    let mut hangups = signal(SignalKind::hangup())?;
    let stop = supervisor.stop().clone();
    supervisor.task("hangups", async move || {
        while let Some(Some(())) = stop.run_until_cancelled(hangups.recv()).await {
            failpoint::pass("hangups");
            tracing::info!("SIGHUP changes nothing here; to end the server, send SIGTERM");
        }
    });
    Ok(())
}

/// There are none.
///
/// # Errors
/// Never.
#[cfg(not(unix))]
pub fn outlive_hangups(_: &Supervisor) -> std::io::Result<()> {
    Ok(())
}
