//! Ends the server as planned: a signal, then the drain.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::{failpoint, supervise::Supervisor};

/// The share of the grace in which streams are ended; the rest is for their clients to leave.
const SPREAD_SHARE: f64 = 0.7;
/// What one stream adds to the time in which all are ended, so that a few end at once and
/// thousands do not come back in the same second.
const PER_STREAM: Duration = Duration::from_millis(2);

/// Announces that the server is ending. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Drain {
    announced: CancellationToken,
    token: CancellationToken,
    grace: Duration,
}

impl Drain {
    /// Creates a drain that has not begun. `grace` is the time for streams and requests to end.
    #[must_use]
    pub fn new(grace: Duration) -> Self {
        Self {
            announced: CancellationToken::new(),
            token: CancellationToken::new(),
            grace,
        }
    }

    /// Announces that the server will end soon: it serves as before, but `/readyz` fails.
    pub fn announce(&self) {
        self.announced.cancel();
    }

    /// Returns whether the end has been announced.
    #[must_use]
    pub fn is_announced(&self) -> bool {
        self.announced.is_cancelled()
    }

    /// Begins the end of the server.
    pub fn begin(&self) {
        self.announce();
        self.token.cancel();
    }

    /// Returns whether the server is ending.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.token.is_cancelled()
    }

    /// Waits until the server is ending. Cancel safe.
    pub async fn begun(&self) {
        self.token.cancelled().await;
    }

    /// Returns how long after the beginning one of `streams` ends: at random, so that all are
    /// spread out.
    #[must_use]
    pub fn disconnect_delay(&self, streams: usize) -> Duration {
        let all = PER_STREAM.saturating_mul(u32::try_from(streams).unwrap_or(u32::MAX));
        all.min(self.grace.mul_f64(SPREAD_SHARE))
            .mul_f64(fastrand::f64())
    }
}

/// Ctrl-C, and SIGTERM where there is such a thing. From here on they no longer end the process by
/// themselves.
#[cfg(unix)]
#[derive(Debug)]
pub struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    /// Starts to listen for the signals.
    ///
    /// # Errors
    /// If the system does not allow it.
    pub fn new() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Waits for the next signal, and returns its number. Cancel safe.
    ///
    /// # Errors
    /// Never.
    pub async fn next(&mut self) -> std::io::Result<u8> {
        tokio::select! {
            _ = self.interrupt.recv() => Ok(2),
            _ = self.terminate.recv() => Ok(15),
        }
    }
}

/// Ctrl-C; other systems have no SIGTERM.
#[cfg(not(unix))]
#[derive(Debug)]
pub struct Signals;

#[cfg(not(unix))]
impl Signals {
    /// Starts to listen for the signal.
    ///
    /// # Errors
    /// Never.
    pub fn new() -> std::io::Result<Self> {
        Ok(Self)
    }

    /// Waits for the next signal, and returns its number. Cancel safe.
    ///
    /// # Errors
    /// If the system does not allow it.
    pub async fn next(&mut self) -> std::io::Result<u8> {
        tokio::signal::ctrl_c().await.map(|()| 2)
    }
}

/// Keeps SIGHUP from ending the process: the terminal or the shell that started it may go away.
///
/// # Errors
/// If the system does not allow it.
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

/// Does nothing: this system has no SIGHUP.
///
/// # Errors
/// Never.
#[cfg(not(unix))]
pub fn outlive_hangups(_: &Supervisor) -> std::io::Result<()> {
    Ok(())
}
