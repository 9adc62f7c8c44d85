//! Writes the log to stderr. `RUST_LOG` says what is logged.
//!
//! A log line can neither fail nor hold up the thread that writes it: lines wait in a bounded queue
//! for a thread that does nothing else. What finds no room there, and what stderr does not take (a
//! full disk, a closed pipe), is dropped and counted; the log reports how many lines that were as
//! soon as it can be written again.

mod throttle;

use std::{
    io::{self, Write},
    panic::PanicHookInfo,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;

pub use self::throttle::LogThrottle;

/// Lines that wait to be written.
const QUEUE: usize = 8_192;
/// Time limit of a last line on a terminal or a pipe.
const LAST_WORD_WAIT: Duration = Duration::from_millis(1_200);

/// The log. Dropping it writes what still waits, if stderr takes it within a second.
#[derive(Debug)]
pub struct Log {
    health: LogHealth,
    writing: Option<WorkerGuard>,
}

impl Drop for Log {
    fn drop(&mut self) {
        let writing = self.writing.take();
        // On a thread of its own: where stderr takes nothing, the library complains on stdout,
        // which may wait or panic.
        within_a_second("log-end", move || drop(writing));
    }
}

impl Log {
    /// Returns the handle that counts lost lines.
    #[must_use]
    pub const fn health(&self) -> &LogHealth {
        &self.health
    }
}

/// Counts the lines that could not be written. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct LogHealth(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    /// Lines that stderr did not take.
    refused: AtomicUsize,
    /// Lines that found no room in the queue.
    queue: OnceLock<ErrorCounter>,
    /// How many of both the log has reported.
    reported: AtomicUsize,
}

impl LogHealth {
    /// Returns how many lines were lost since the log could last be written.
    #[must_use]
    pub fn lost(&self) -> usize {
        self.all()
            .saturating_sub(self.0.reported.load(Ordering::Acquire))
    }

    /// Returns how many lines were lost since the start.
    #[must_use]
    pub fn all(&self) -> usize {
        self.0.refused.load(Ordering::Acquire)
            + self.0.queue.get().map_or(0, ErrorCounter::dropped_lines)
    }
}

/// Writes lines as long as that works. Never returns an error: the caller could do nothing with it.
struct Lossy<W> {
    out: W,
    health: LogHealth,
}

impl<W: Write> Lossy<W> {
    fn report_losses(&mut self) -> io::Result<()> {
        let (lost, all) = (self.health.lost(), self.health.all());
        if lost > 0 {
            writeln!(
                self.out,
                "kairanban: {lost} lines of the log were lost: it could not be written"
            )?;
            self.health.0.reported.store(all, Ordering::Release);
        }
        Ok(())
    }
}

impl<W: Write> Write for Lossy<W> {
    /// Takes one line or several, always whole ones.
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        if self
            .report_losses()
            .and_then(|()| self.out.write_all(lines))
            .is_err()
        {
            self.health.0.refused.fetch_add(1, Ordering::AcqRel);
        }
        Ok(lines.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        // What it did not take is counted already.
        let _ = self.out.flush();
        Ok(())
    }
}

/// Starts logging, as a server does; a second call does nothing.
#[must_use]
pub fn start() -> Log {
    start_with("info,actix_server=warn")
}

/// Starts logging, as a tool does in a terminal.
#[must_use]
pub fn start_quietly() -> Log {
    start_with("warn")
}

fn start_with(default: &str) -> Log {
    let (filter, fault) = filter(default, std::env::var("RUST_LOG").ok().as_deref());
    let colour = wants_colour(&io::stderr());
    let health = LogHealth::default();
    let stderr = Lossy {
        out: io::stderr(),
        health: health.clone(),
    };
    let queue = NonBlockingBuilder::default()
        .lossy(true)
        .buffered_lines_limit(QUEUE)
        .thread_name("log");
    let (queue, writing) = queue.finish(stderr);
    let _ = health.0.queue.set(queue.error_counter());
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(queue)
        .with_ansi(colour)
        .log_internal_errors(false);
    // An error says that logging has been started already.
    if log.try_init().is_err() {
        return Log {
            health: LogHealth::default(),
            writing: None,
        };
    }
    // The standard hook writes to stderr itself: it would wait for a pipe that is never read.
    std::panic::set_hook(Box::new(log_panic));
    if let Some(fault) = fault {
        tracing::warn!("RUST_LOG is ignored: {fault}");
    }
    Log {
        health,
        writing: Some(writing),
    }
}

/// Returns whether to print colours: on a terminal that has them, unless `NO_COLOR` is set.
#[must_use]
pub fn wants_colour(out: &impl io::IsTerminal) -> bool {
    let is_refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    out.is_terminal() && !is_refused && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// actix_http logs every request that it cannot read as an error: any client could fill the log
/// with those.
const UNLESS_NAMED: &str = "actix_http=off";

/// Returns what is logged: what RUST_LOG says, or else the default. A RUST_LOG that cannot be read
/// comes back as a fault.
fn filter(default: &str, rust_log: Option<&str>) -> (EnvFilter, Option<String>) {
    let of = |directives: &str| EnvFilter::try_new(format!("{UNLESS_NAMED},{directives}"));
    let by_default = || of(default).unwrap_or_default();
    match rust_log.map(of) {
        Some(Ok(filter)) => (filter, None),
        Some(Err(fault)) => (by_default(), Some(fault.to_string())),
        None => (by_default(), None),
    }
}

fn log_panic(panic: &PanicHookInfo<'_>) {
    let payload = panic.payload();
    let text = payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    let message = text.unwrap_or("no message");
    let location = panic
        .location()
        .map(ToString::to_string)
        .unwrap_or_default();
    let current = thread::current();
    let backtrace = std::backtrace::Backtrace::capture();
    if backtrace.status() == std::backtrace::BacktraceStatus::Captured {
        tracing::error!(location, thread = current.name(), %backtrace, "panicked: {message}");
    } else {
        tracing::error!(location, thread = current.name(), "panicked: {message}");
    }
}

/// Writes to a terminal or a pipe that may be stuck; gives up after a second. Returns whether it
/// was written.
#[must_use]
pub fn try_print(mut out: impl Write + Send + 'static, text: &str) -> bool {
    let text = text.to_owned();
    let written = within_a_second("last-word", move || {
        out.write_all(text.as_bytes()).and_then(|()| out.flush())
    });
    written.is_some_and(|written| written.is_ok())
}

/// Runs something that may block for ever; gives up after a second.
fn within_a_second<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let (done, is_done) = mpsc::channel();
    thread::Builder::new()
        .name(name.to_owned())
        // The caller may have given up.
        .spawn(move || drop(done.send(work())))
        .ok()?;
    is_done.recv_timeout(LAST_WORD_WAIT).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes nothing while its disk is full.
    #[derive(Default)]
    struct Disk {
        is_full: bool,
        lines: String,
    }

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.is_full {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.lines
                .push_str(std::str::from_utf8(bytes).expect("text"));
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_any_client_can_cause_is_logged_only_if_it_is_named() {
        let printed = |rust_log| filter("info", rust_log).0.to_string();
        assert_eq!(printed(None), "actix_http=off,info");
        assert_eq!(printed(Some("debug")), "actix_http=off,debug");
        assert_eq!(printed(Some("actix_http=warn")), "actix_http=warn");
        let (ignored, fault) = filter("info", Some("kairanban=loud"));
        assert_eq!(ignored.to_string(), "actix_http=off,info");
        assert!(fault.is_some());
    }

    #[test]
    fn lines_that_cannot_be_written_are_counted_and_reported_later() {
        let health = LogHealth::default();
        let mut log = Lossy {
            out: Disk::default(),
            health: health.clone(),
        };
        log.write_all(b"a\n").expect("never an error");
        log.out.is_full = true;
        for _ in 0..3 {
            log.write_all(b"lost\n").expect("never an error");
        }
        assert_eq!(health.lost(), 3);
        log.out.is_full = false;
        log.write_all(b"b\n").expect("never an error");
        assert_eq!(
            log.out.lines,
            "a\nkairanban: 3 lines of the log were lost: it could not be written\nb\n"
        );
        assert_eq!(health.lost(), 0);
    }
}
