//! Why the program ends with an error, and with which exit code.

use std::{fmt, io, process::ExitCode};

use crate::{config::ConfigError, telemetry};

/// Why the program ends with an error.
#[derive(Debug)]
pub enum ExitError {
    /// The configuration has a mistake: exit code 78, as sysexits.h has it. Starting again does not help.
    Config(ConfigError),
    /// The database cannot be used as it is: the same.
    Unusable(String),
    /// Something did not work: exit code 1.
    Failed(String),
}

impl ExitError {
    /// Says it on stderr and gives the exit code.
    #[must_use]
    pub fn report(&self) -> ExitCode {
        // If stderr is gone there is nobody left to tell.
        let _ = telemetry::try_to_say(io::stderr(), &format!("kairanban: {self}\n"));
        ExitCode::from(match self {
            Self::Config(_) | Self::Unusable(_) => 78,
            Self::Failed(_) => 1,
        })
    }
}

impl fmt::Display for ExitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(error) => write!(
                f,
                "configuration: {error}\nSee `kairanban config default` for every key."
            ),
            Self::Unusable(text) | Self::Failed(text) => f.write_str(text),
        }
    }
}

impl From<ConfigError> for ExitError {
    fn from(error: ConfigError) -> Self {
        Self::Config(error)
    }
}

impl From<io::Error> for ExitError {
    fn from(error: io::Error) -> Self {
        Self::Failed(error.to_string())
    }
}
