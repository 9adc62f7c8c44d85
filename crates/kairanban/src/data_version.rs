//! Notices commits of other programs on SQLite, by `PRAGMA data_version`, ten times a second, on a
//! connection that does nothing else. It reads a counter in shared memory, no table. What happens
//! to the files themselves is noticed there, too.

use std::{io, thread, time::Duration};

use kairanban_store::{FileWatch, FileWatchError, Store, StoreError};
use tokio_util::sync::CancellationToken;

use crate::{failpoint, follower::Wake, metrics::WakeSource, supervise::Supervisor};

const NAME: &str = "data-version";
const INTERVAL: Duration = Duration::from_millis(100);

/// Starts the watching thread, if this is SQLite.
///
/// # Errors
/// If the system cannot start a thread.
pub fn start(store: Store, wake: Wake, supervisor: &Supervisor) -> io::Result<()> {
    if matches!(store.watch_file(), Ok(None)) {
        return Ok(());
    }
    let stop = supervisor.stop().clone();
    let ending = supervisor.clone();
    supervisor.thread(NAME, move || watch(&store, &wake, &ending, &stop))
}

fn watch(store: &Store, wake: &Wake, supervisor: &Supervisor, stop: &CancellationToken) {
    let (mut connection, mut last, mut outage) = (None, None, Outage::default());
    while !stop.is_cancelled() {
        if connection.is_none() {
            match store.watch_file() {
                Ok(opened) => connection = opened,
                Err(error) => outage.log(&error),
            }
        }
        failpoint::pass("data-version");
        match connection.as_mut().map(FileWatch::read) {
            Some(Ok(now)) => {
                outage.end();
                if last.replace(now) != Some(now) {
                    wake.wake(WakeSource::DataVersion);
                }
            }
            Some(Err(FileWatchError::Again(error))) => {
                outage.log(&error);
                wake.wake(WakeSource::DataVersion);
            }
            Some(Err(FileWatchError::Reopened(_))) => wake.wake(WakeSource::DataVersion),
            Some(Err(FileWatchError::Reopen(_))) => {
                // Another file may have this name now.
                connection = None;
                wake.wake(WakeSource::DataVersion);
            }
            Some(Err(FileWatchError::Unusable(reason))) => {
                supervisor.end_process(NAME, &reason);
                while !stop.is_cancelled() {
                    thread::park_timeout(INTERVAL);
                }
            }
            None => {}
        }
        thread::park_timeout(INTERVAL);
    }
    let last_look = connection.as_mut().map(FileWatch::read_last);
    if let Some(Err(FileWatchError::Unusable(reason))) = last_look {
        supervisor.end_process(NAME, &reason);
    }
}

/// What keeps the file from being watched: logged once for each cause, not for each try.
#[derive(Default)]
struct Outage(Option<String>);

impl Outage {
    fn log(&mut self, error: &StoreError) {
        let cause = error.to_string();
        if self.0.as_ref() != Some(&cause) {
            tracing::warn!(cause, "cannot watch the database file; polling goes on");
            self.0 = Some(cause);
        }
    }

    fn end(&mut self) {
        if self.0.take().is_some() {
            tracing::info!("the database file is watched again");
        }
    }
}
