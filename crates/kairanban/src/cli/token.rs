//! `kairanban token`: for the administrator at the server's own terminal.

use chrono::TimeDelta;
use clap::Subcommand;
use kairanban_core::{BoardName, Scope, Token, TokenName};
use kairanban_store::{NewToken, Secret, Store, StoreError};

use super::{CliError, say};

#[derive(Clone, Debug, Subcommand)]
pub(super) enum TokenCommand {
    /// Make a token and print it, this once
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
        /// Days until it ends by itself
        #[arg(long)]
        days: Option<u32>,
    },
    /// Print what is known of all tokens
    List,
    /// End a token, by the number that `list` prints
    Revoke {
        /// The number
        id: i64,
    },
}

impl TokenCommand {
    pub(super) fn run(self, store: &Store) -> Result<(), CliError> {
        match self {
            Self::Create { scope, name, board, days } => {
                let now = store.now().map_err(failed)?;
                let expires_at = days.map(|days| now + TimeDelta::days(days.into()));
                let secret = Secret::token().map_err(failed)?;
                store.create_token(&NewToken { name, scope, board, expires_at }, &secret).map_err(failed)?;
                // Alone on stdout, so that a script can take it.
                say(&format!("{}\n", secret.reveal()))
            }
            Self::List => say(&store.tokens(0, usize::MAX).map_err(failed)?.iter().map(line).collect::<String>()),
            Self::Revoke { id } => {
                store.revoke_token(id).map_err(failed)?;
                say(&format!("Token {id} is revoked.\n"))
            }
        }
    }
}

fn failed(error: StoreError) -> CliError {
    CliError::Failed(error.to_string())
}

fn line(token: &Token) -> String {
    let day = |at: chrono::DateTime<chrono::Utc>| at.format("%Y-%m-%d").to_string();
    let state = match (token.revoked_at, token.expires_at) {
        (Some(at), _) => format!("revoked {}", day(at)),
        (None, Some(at)) => format!("until {}", day(at)),
        (None, None) => "no end".to_owned(),
    };
    let board = token.board.as_ref().map_or("all boards", |board| board.as_str());
    let used = token.last_used_at.map_or("never used".to_owned(), |at| format!("used {}", day(at)));
    format!("{}\t{}\t{}\t{board}\t{state}\t{used}\n", token.id, token.scope.as_str(), token.name)
}
