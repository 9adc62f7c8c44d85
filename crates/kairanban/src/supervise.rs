//! Supervises every long-lived task and thread: one that panics, or ends although it should not, is
//! restarted after a delay; one that keeps failing ends the process.

use std::{
    collections::BTreeMap,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, OnceLock},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use futures_util::FutureExt as _;
use parking_lot::Mutex;
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::metrics::TaskMetrics;

/// The delay before the first restart. It doubles with each failure in a row.
const WAIT_MIN: Duration = Duration::from_millis(100);
const WAIT_MAX: Duration = Duration::from_secs(2);
/// Failures in a row after which the process gives up.
const FAILURES_MAX: u32 = 8;
/// A task that ran this long has recovered.
const RECOVERED_AFTER: Duration = Duration::from_secs(60);
/// Interval at which a thread is checked.
const THREAD_CHECK: Duration = Duration::from_millis(100);

/// Starts tasks and keeps them running. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Supervisor(Arc<SupervisorInner>);

#[derive(Debug)]
struct SupervisorInner {
    stop: CancellationToken,
    tasks: TaskTracker,
    metrics: TaskMetrics,
    /// When each task last failed.
    failed_at: Mutex<BTreeMap<&'static str, Instant>>,
    /// The first vital task or thread that ended.
    lost: watch::Sender<Option<&'static str>>,
    /// What it ended for, if it was not a failure of its own.
    reason: OnceLock<String>,
}

impl SupervisorInner {
    fn new(metrics: TaskMetrics) -> Self {
        let lost = watch::channel(None).0;
        Self {
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
            metrics,
            failed_at: Mutex::default(),
            lost,
            reason: OnceLock::new(),
        }
    }
}

impl Supervisor {
    /// Creates a supervisor without tasks. `metrics` count the restarts.
    #[must_use]
    pub fn new(metrics: TaskMetrics) -> Self {
        Self(Arc::new(SupervisorInner::new(metrics)))
    }

    /// Returns the token that is cancelled when the tasks have to end.
    #[must_use]
    pub fn stop(&self) -> &CancellationToken {
        &self.0.stop
    }

    /// Keeps a task running until [`end`](Self::end).
    pub fn task(&self, name: &'static str, run: impl AsyncFnMut() + 'static) {
        let this = self.clone();
        self.0
            .tasks
            .spawn_local(async move { this.run_with_restarts(name, Ending::IsFailure, run).await });
    }

    /// Runs a future to its end, and again after each panic.
    pub async fn run_to_completion(&self, name: &'static str, run: impl AsyncFnMut()) {
        self.run_with_restarts(name, Ending::IsFine, run).await;
    }

    async fn run_with_restarts(
        &self,
        name: &'static str,
        ending: Ending,
        mut run: impl AsyncFnMut(),
    ) {
        self.0.metrics.started(name);
        let mut failures = Failures::default();
        loop {
            let began = Instant::now();
            let ended = AssertUnwindSafe(run()).catch_unwind().await;
            if ended.is_ok() && (ending == Ending::IsFine || self.0.stop.is_cancelled()) {
                return;
            }
            let Some(wait) = failures.next(began.elapsed()) else {
                return self.give_up(name);
            };
            self.log_restart(name, wait);
            tokio::select! {
                () = self.0.stop.cancelled() => return,
                () = sleep(wait) => {}
            }
        }
    }

    /// Keeps a thread running until [`end`](Self::end), which waits for it.
    ///
    /// # Errors
    /// If the system cannot start a thread.
    pub fn thread(&self, name: &'static str, run: impl FnMut() + Send + 'static) -> io::Result<()> {
        let this = self.clone();
        thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || this.run_thread_with_restarts(name, run))
            .map(|thread| self.require_thread(name, thread))
    }

    fn run_thread_with_restarts(&self, name: &'static str, mut run: impl FnMut()) {
        self.0.metrics.started(name);
        let mut failures = Failures::default();
        loop {
            let began = Instant::now();
            let ended = catch_unwind(AssertUnwindSafe(&mut run));
            if self.0.stop.is_cancelled() && ended.is_ok() {
                return;
            }
            let Some(wait) = failures.next(began.elapsed()) else {
                return self.give_up(name);
            };
            self.log_restart(name, wait);
            thread::park_timeout(wait);
        }
    }

    /// Ends the process when a thread ends that cannot be started again.
    pub fn require_thread(&self, name: &'static str, thread: JoinHandle<()>) {
        let this = self.clone();
        self.0.tasks.spawn_local(async move {
            while !thread.is_finished() {
                sleep(THREAD_CHECK).await;
            }
            if thread.join().is_err() || !this.0.stop.is_cancelled() {
                this.give_up(name);
            }
        });
    }

    fn log_restart(&self, name: &'static str, wait: Duration) {
        tracing::error!(
            task = name,
            ?wait,
            "ended unexpectedly; it is started again"
        );
        self.0.metrics.restarted(name);
        self.0.failed_at.lock().insert(name, Instant::now());
    }

    fn give_up(&self, name: &'static str) {
        tracing::error!(
            task = name,
            "ended, and cannot be started again; the process ends"
        );
        self.0.lost.send_replace(Some(name));
    }

    /// Ends the process for something that no restart of a task helps against.
    pub fn end_process(&self, name: &'static str, reason: &str) {
        tracing::error!(task = name, reason, "the process ends");
        let _ = self.0.reason.set(reason.to_owned());
        self.0.lost.send_replace(Some(name));
    }

    /// Returns why the process ends, if something has ended that cannot be started again.
    #[must_use]
    pub fn end_reason(&self) -> Option<String> {
        let name = self.has_lost()?;
        let failed = || format!("{name} ended, and cannot be started again; the log says why");
        Some(self.0.reason.get().cloned().unwrap_or_else(failed))
    }

    /// Waits until a vital task or thread has ended, and returns its name. Cancel safe.
    pub async fn lost(&self) -> &'static str {
        let mut lost = self.0.lost.subscribe();
        loop {
            let name = *lost.borrow_and_update();
            if let Some(name) = name {
                return name;
            }
            // The sender lives as long as this does.
            let _ = lost.changed().await;
        }
    }

    /// Returns the vital task or thread that has ended, if one has.
    #[must_use]
    pub fn has_lost(&self) -> Option<&'static str> {
        *self.0.lost.borrow()
    }

    /// Returns the tasks that have failed and not recovered since.
    #[must_use]
    pub fn failing_tasks(&self) -> Vec<&'static str> {
        let mut failed_at = self.0.failed_at.lock();
        failed_at.retain(|_, at| at.elapsed() < RECOVERED_AFTER);
        failed_at.keys().copied().collect()
    }

    /// Stops the tasks and waits for them. Returns whether all ended in time. If the future is
    /// dropped, they end all the same.
    pub async fn end(&self, at_most: Duration) -> bool {
        self.0.stop.cancel();
        self.0.tasks.close();
        timeout(at_most, self.0.tasks.wait()).await.is_ok()
    }
}

impl Default for Supervisor {
    /// Creates a supervisor without metrics.
    fn default() -> Self {
        Self::new(TaskMetrics::default())
    }
}

/// What it means when a task ends by itself.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ending {
    IsFailure,
    IsFine,
}

/// Counts failures in a row.
#[derive(Default)]
struct Failures(u32);

impl Failures {
    /// Returns the delay before the next attempt, or `None` to give up.
    fn next(&mut self, ran: Duration) -> Option<Duration> {
        if ran >= RECOVERED_AFTER {
            self.0 = 0;
        }
        self.0 += 1;
        let wait = WAIT_MIN
            .saturating_mul(1 << (self.0 - 1).min(16))
            .min(WAIT_MAX);
        (self.0 <= FAILURES_MAX).then_some(wait)
    }
}
