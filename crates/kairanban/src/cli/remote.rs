//! The server that a command talks to, over the network like any other client.

use std::io;

use clap::Args;
use kairanban_client::{Client, ClientError};
use kairanban_core::terminal;

use crate::{config::SecretText, exit::ExitError, telemetry};

/// The server and the token of a command.
#[derive(Args, Clone, Debug)]
pub(super) struct RemoteArgs {
    /// The server's address (default: the listen address of this configuration)
    #[arg(long, env = "KAIRANBAN_URL", value_name = "URL")]
    url: Option<String>,
    /// A token, if the board requires one; the variable keeps it out of the list of processes
    #[arg(
        long,
        env = "KAIRANBAN_TOKEN",
        hide_env_values = true,
        value_name = "TOKEN"
    )]
    token: Option<SecretText>,
}

/// A client of the server, and its address for messages.
pub(super) struct Remote {
    pub(super) client: Client,
    pub(super) address: String,
    has_token: bool,
}

impl RemoteArgs {
    /// Names the server; nothing is sent yet. `here` is where this configuration would serve.
    ///
    /// # Errors
    /// If its address is invalid.
    pub(super) fn connect(&self, here: &str) -> Result<Remote, ExitError> {
        let token = self.token.as_ref().map(SecretText::expose);
        let token = token.filter(|token| !token.is_empty()).map(str::to_owned);
        let has_token = token.is_some();
        let client = match Client::new(self.url.as_deref().unwrap_or(here), token) {
            Ok(client) => client,
            Err(error @ ClientError::BadUrl) => {
                return Err(ExitError::Usage(format!("error: --url: {error}")));
            }
            Err(error) => return Err(ExitError::Failed(error.to_string())),
        };
        Ok(Remote {
            address: client.address(),
            client,
            has_token,
        })
    }
}

impl Remote {
    /// Explains an error, and names the server: there may be several. Without a token a private
    /// board looks like one that does not exist.
    pub(super) fn explain(&self, error: &ClientError) -> ExitError {
        let hint = match error {
            ClientError::NotFound(_) if !self.has_token => {
                ", or it is private: then name a token by --token or KAIRANBAN_TOKEN"
            }
            ClientError::NotAllowed(_) if !self.has_token => {
                "; pass it with --token or KAIRANBAN_TOKEN"
            }
            _ => "",
        };
        let text = terminal::harmless(&format!("{}: {error}{hint}", self.address));
        if error.is_temporary() {
            ExitError::Unavailable(text)
        } else {
            ExitError::Failed(text)
        }
    }

    /// Reports on stderr what is no data: of the server or the connection.
    pub(super) fn note(&self, text: &str) {
        let text = terminal::harmless(&format!("kairanban: {}: {text}", self.address));
        // Without a reader of stderr the data goes on.
        let _ = telemetry::try_print(io::stderr(), &format!("{text}\n"));
    }
}
