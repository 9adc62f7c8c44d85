//! `kairanban token`: for the administrator at the server's own terminal.

use std::io;
#[cfg(unix)]
use std::{
    fs,
    os::{fd::AsFd, unix::fs::MetadataExt as _},
};

use chrono::{DateTime, TimeDelta, Utc};
use clap::Subcommand;
use kairanban_core::{BoardName, Scope, Token, TokenName, expiry};
use kairanban_store::{NewToken, Secret, Store, StoreError};

use super::{print, say};
use crate::exit::ExitError;

#[derive(Clone, Debug, Subcommand)]
pub(super) enum TokenCommand {
    /// Create a token and print it, this once
    Create {
        /// What it allows: read, post or admin
        #[arg(long)]
        scope: Scope,
        /// What it is for
        #[arg(long, default_value = "unnamed")]
        name: TokenName,
        /// For one board only
        #[arg(long)]
        board: Option<BoardName>,
        /// Days until it expires, at least one
        #[arg(long, allow_negative_numbers = true, value_parser = days)]
        days: Option<u32>,
    },
    /// List all tokens
    List,
    /// Revoke a token, by the number that `list` prints
    Revoke {
        /// The number of the token
        #[arg(allow_negative_numbers = true, value_parser = number)]
        id: i64,
    },
}

impl TokenCommand {
    pub(super) fn run(self, store: &Store) -> Result<(), ExitError> {
        match self {
            Self::Create {
                scope,
                name,
                board,
                days,
            } => {
                let now = store.now().map_err(failed)?;
                let expires_at = days.map(|days| expires_after(days, now)).transpose()?;
                create(
                    store,
                    &NewToken {
                        name,
                        scope,
                        board,
                        expires_at,
                    },
                )
            }
            Self::List => say(&store
                .tokens(0, usize::MAX)
                .map_err(failed)?
                .rows
                .iter()
                .map(line)
                .collect::<String>()),
            Self::Revoke { id } => {
                store.revoke_token(id).map_err(failed)?;
                say(&format!("Token {id} is revoked.\n"))
            }
        }
    }
}

fn days(text: &str) -> Result<u32, &'static str> {
    let days = text.parse().ok().filter(|days| *days > 0);
    days.ok_or("write a whole number of days, at least 1, as in 30")
}

fn number(text: &str) -> Result<i64, &'static str> {
    let number = text.parse().ok().filter(|number| *number > 0);
    number.ok_or("write the number that `kairanban token list` prints first, not the token itself")
}

fn expires_after(days: u32, now: DateTime<Utc>) -> Result<DateTime<Utc>, ExitError> {
    // What no calendar has is past the bound, too.
    let at = now
        .checked_add_signed(TimeDelta::days(days.into()))
        .unwrap_or(DateTime::<Utc>::MAX_UTC);
    expiry(at, now)
        .map_err(|fault| ExitError::Failed(format!("--days {days}: the end {}", fault.reason)))
}

/// Creates a token and prints it. One that cannot be printed is of no use to its owner, and does
/// not stay.
fn create(store: &Store, new: &NewToken) -> Result<(), ExitError> {
    if is_null_device(&io::stdout()) {
        return Err(ExitError::Failed(
            "stdout is closed, or /dev/null: the token would be lost, so none was made".to_owned(),
        ));
    }
    let secret = Secret::token().map_err(failed)?;
    let id = store.create_token(new, &secret).map_err(failed)?;
    // Alone on stdout, so that a script can take it.
    let Err(unprinted) = print(&format!("{}\n", secret.reveal())) else {
        return Ok(());
    };
    let end = match store.revoke_token(id) {
        Ok(()) => "it is revoked".to_owned(),
        Err(error) => {
            format!("revoke it by `kairanban token revoke {id}`, which failed just now: {error}")
        }
    };
    Err(ExitError::Failed(format!(
        "token {id} could not be printed ({unprinted}): {end}"
    )))
}

/// Returns whether `out` is the null device, which a stdout is that was closed before the start.
#[cfg(unix)]
fn is_null_device(out: &impl AsFd) -> bool {
    let out = device_of(out.as_fd().try_clone_to_owned().map(fs::File::from));
    out.is_some() && out == device_of(fs::File::open("/dev/null"))
}

#[cfg(unix)]
fn device_of(file: io::Result<fs::File>) -> Option<u64> {
    Some(file.ok()?.metadata().ok()?.rdev()).filter(|device| *device != 0)
}

#[cfg(not(unix))]
const fn is_null_device(_: &io::Stdout) -> bool {
    false
}

fn failed(error: StoreError) -> ExitError {
    ExitError::Failed(error.to_string())
}

fn day(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d").to_string()
}

fn line(token: &Token) -> String {
    let state = match (token.revoked_at, token.expires_at) {
        (Some(at), _) => format!("revoked {}", day(at)),
        (None, Some(at)) => format!("until {}", day(at)),
        (None, None) => "does not expire".to_owned(),
    };
    let board = token
        .board
        .as_ref()
        .map_or("all boards", |board| board.as_str());
    let used = token
        .last_used_at
        .map_or("never used".to_owned(), |at| format!("used {}", day(at)));
    format!(
        "{}\t{}\t{}\t{board}\t{state}\t{used}\n",
        token.id,
        token.scope.as_str(),
        token.name
    )
}
