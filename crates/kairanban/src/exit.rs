//! Maps the errors that end the program to exit codes.

use std::{fmt, io, process::ExitCode};

use crate::{config::ConfigError, telemetry};

/// Why the program ends with an error.
#[derive(Debug)]
pub enum ExitError {
    /// The configuration has a mistake: exit code 78, as in sysexits.h. A restart does not help.
    Config(ConfigError),
    /// The database cannot be used as it is: exit code 78, too.
    Unusable(String),
    /// The command line has a mistake: exit code 2, as of most programs.
    Usage(String),
    /// A server cannot be reached, or cannot do it now: exit code 69, as in sysexits.h. A retry may
    /// help.
    Unavailable(String),
    /// A signal with this number ended it: exit code 128 and the number, as of a shell.
    Signal(u8),
    /// Something else failed: exit code 1.
    Failed(String),
}

impl ExitError {
    /// Prints the error to stderr, and returns the exit code.
    #[must_use]
    pub fn report(&self) -> ExitCode {
        if !matches!(self, Self::Signal(_)) {
            // If stderr is closed, the exit code has to do.
            let _ = telemetry::try_print(io::stderr(), &format!("{self}\n"));
        }
        ExitCode::from(match *self {
            Self::Usage(_) => 2,
            Self::Config(_) | Self::Unusable(_) => 78,
            Self::Unavailable(_) => 69,
            Self::Signal(number) => number.saturating_add(128),
            Self::Failed(_) => 1,
        })
    }
}

impl fmt::Display for ExitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(error) => write!(
                f,
                "kairanban: configuration: {error}\nSee `kairanban config default` for every key."
            ),
            Self::Usage(text) => f.write_str(text),
            Self::Signal(number) => write!(f, "kairanban: ended by signal {number}"),
            Self::Unusable(text) | Self::Unavailable(text) | Self::Failed(text) => {
                write!(f, "kairanban: {text}")
            }
        }
    }
}

impl From<ConfigError> for ExitError {
    fn from(error: ConfigError) -> Self {
        Self::Config(error)
    }
}

impl From<serde_json::Error> for ExitError {
    fn from(error: serde_json::Error) -> Self {
        Self::Failed(error.to_string())
    }
}

impl From<io::Error> for ExitError {
    fn from(error: io::Error) -> Self {
        Self::Failed(error.to_string())
    }
}
