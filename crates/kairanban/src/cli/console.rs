//! The terminal, or whatever else stdout is.

use std::io::{self, IsTerminal as _};

use clap::ValueEnum;
use kairanban_core::terminal;
use serde::Serialize;

use crate::telemetry;

/// Narrower terminals break lines themselves.
const WIDTH_MIN: usize = 40;

/// When to print colours.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum ColourChoice {
    /// On a terminal, unless NO_COLOR is set
    Auto,
    /// Always, also into a pipe
    Always,
    /// Never, also on a terminal
    Never,
}

impl ColourChoice {
    /// Decides it for stdout.
    pub(super) fn is_on(self) -> bool {
        match self {
            Self::Always => true,
            Self::Never => false,
            Self::Auto => telemetry::wants_colour(&io::stdout()),
        }
    }
}

/// Returns the columns of the terminal; `None` for a pipe, a file or a narrow one.
pub(super) fn width() -> Option<usize> {
    if !io::stdout().is_terminal() {
        return None;
    }
    columns().filter(|columns| *columns >= WIDTH_MIN)
}

#[cfg(unix)]
fn columns() -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(io::stdout()).ok()?;
    Some(size.ws_col.into())
}

#[cfg(not(unix))]
fn columns() -> Option<usize> {
    None
}

/// Writes JSON on one line. What a terminal would obey is escaped in it, which changes no value.
///
/// # Errors
/// None for the values that are printed: their keys are text.
pub(super) fn json_line(value: &impl Serialize) -> serde_json::Result<String> {
    let mut line = String::new();
    for c in serde_json::to_string(value)?.chars() {
        if terminal::is_obeyed(c) {
            // All of them are in the basic plane.
            line.push_str(&format!("\\u{:04x}", u32::from(c)));
        } else {
            line.push(c);
        }
    }
    line.push('\n');
    Ok(line)
}

/// Waits until no program can read stdout any more, as after `head -1`: nothing need be written to
/// notice. Cancel safe.
#[cfg(unix)]
pub(super) async fn closed() {
    use rustix::event::{PollFd, PollFlags, poll};
    let (end, ended) = tokio::sync::oneshot::channel();
    // Neither the terminal nor a file ends, so this thread may outlive all others.
    let watching = std::thread::Builder::new().spawn(move || {
        let stdout = io::stdout();
        let mut watched = [PollFd::new(&stdout, PollFlags::empty())];
        while let Err(rustix::io::Errno::INTR) = poll(&mut watched, None) {}
        let is_closed = watched[0]
            .revents()
            .intersects(PollFlags::ERR | PollFlags::HUP);
        if is_closed {
            // The command may have ended for another reason.
            let _ = end.send(());
        }
    });
    if watching.is_err() || ended.await.is_err() {
        // It is not known: the next line that is written finds out.
        std::future::pending::<()>().await;
    }
}

#[cfg(not(unix))]
pub(super) async fn closed() {
    std::future::pending::<()>().await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_stays_what_it_is_and_does_not_drive_a_terminal() {
        let text = "a\u{1b}\u{9b}2J\u{202E}\u{7f}\u{2028}é🎉";
        let line = json_line(&serde_json::json!({ "comment": text })).expect("JSON");
        assert!(
            !line.trim_end().chars().any(terminal::is_obeyed),
            "{line:?}"
        );
        let value: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!(value["comment"], text);
    }
}
