//! Logs, to stderr. `RUST_LOG` says how much.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

/// Starts logging; a second call does nothing.
pub fn start() {
    // actix_http calls every request that cannot be read an error; anybody could fill the log with those.
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info,actix_server=warn,actix_http=off"));
    let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(colour);
    // An error says that somebody has started it already.
    let _ = log.try_init();
}
