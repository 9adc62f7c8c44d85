//! Logs, to stderr. `RUST_LOG` says how much.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

/// Starts logging, as a server does; a second call does nothing.
pub fn start() {
    // actix_http calls every request that cannot be read an error; anybody could fill the log with those.
    start_with("info,actix_server=warn,actix_http=off");
}

/// Starts logging, as a tool does that somebody watches.
pub fn start_quietly() {
    start_with("warn");
}

fn start_with(default: &str) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(colour);
    // An error says that somebody has started it already.
    let _ = log.try_init();
}
