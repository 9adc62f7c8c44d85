//! `kairanban post` and `kairanban tail`: a board from the terminal, over the network like any
//! other client.

use std::io::{self, Read as _};

use clap::Args;
use kairanban_client::{BoardCopy, Client, ClientError, FollowEvent, ListOp, ListedTopic};
use kairanban_core::BoardName;

use crate::{config::SecretText, exit::ExitError};

/// The server and the token of a command.
#[derive(Args, Clone, Debug)]
pub(super) struct Remote {
    /// The server's address (default: the listen address of this configuration)
    #[arg(long, env = "KAIRANBAN_URL", value_name = "URL")]
    url: Option<String>,
    /// A token, if the board requires one
    #[arg(
        long,
        env = "KAIRANBAN_TOKEN",
        hide_env_values = true,
        value_name = "TOKEN"
    )]
    token: Option<SecretText>,
}

#[derive(Args, Clone, Debug)]
pub(super) struct Post {
    /// Name of the board
    board: BoardName,
    /// What to post; `-` reads it from standard input
    comment: String,
    /// Author of the topic
    #[arg(long, default_value = "")]
    author: String,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Args, Clone, Debug)]
pub(super) struct Tail {
    /// Name of the board
    board: BoardName,
    /// Print each step as JSON, a line each
    #[arg(long)]
    json: bool,
    /// End with an error at the first state that is not the server's, instead of reading the list
    /// again
    #[arg(long)]
    verify: bool,
    #[command(flatten)]
    remote: Remote,
}

impl Remote {
    fn client(&self, here: &str) -> Result<Client, ExitError> {
        Ok(Client::new(
            self.url.as_deref().unwrap_or(here),
            self.token(),
        )?)
    }

    fn token(&self) -> Option<String> {
        let token = self.token.as_ref()?.expose();
        (!token.is_empty()).then(|| token.to_owned())
    }

    /// Explains an error: without a token a private board looks like one that does not exist.
    fn explain(&self, error: ClientError) -> ExitError {
        let hint = match error {
            ClientError::NotFound(_) if self.token().is_none() => {
                ", or it is private: then name a token by --token or KAIRANBAN_TOKEN"
            }
            ClientError::NotAllowed(_) if self.token().is_none() => {
                "; pass it with --token or KAIRANBAN_TOKEN"
            }
            _ => "",
        };
        ExitError::Failed(format!("{error}{hint}"))
    }
}

impl Post {
    /// Posts, and prints the topic's id. `here` is where this configuration would serve.
    pub(super) async fn run(self, here: &str) -> Result<(), ExitError> {
        let comment = if self.comment == "-" {
            io::read_to_string(io::stdin().take(READ_MAX))?
        } else {
            self.comment
        };
        let topic = self
            .remote
            .client(here)?
            .post(&self.board, &comment, &self.author)
            .await
            .map_err(|error| self.remote.explain(error))?;
        super::say(&format!("{}\n", topic.id))
    }
}

/// More than a server accepts, so that the server refuses it.
const READ_MAX: u64 = 1 << 20;

impl Tail {
    /// Prints the list, then what happens, until interrupted.
    pub(super) async fn run(self, here: &str) -> Result<(), ExitError> {
        let mut follow = self.remote.client(here)?.follow(self.board.clone());
        loop {
            let event = tokio::select! {
                event = follow.next() => event,
                interrupted = tokio::signal::ctrl_c() => return Ok(interrupted?),
            };
            let text = match event {
                Ok(event) if self.json => json(&event, follow.copy()),
                Ok(event) => text(&event, follow.copy()),
                Err(ClientError::Differs { revision }) if !self.verify => {
                    tracing::warn!(
                        revision,
                        "the copy differed from the server's list, which is read again"
                    );
                    continue;
                }
                Err(error) => return Err(self.remote.explain(error)),
            };
            match super::print(&text) {
                // Broken pipe: stdout was closed, for example by `head`.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
                printed => printed?,
            }
        }
    }
}

/// Replaces control characters, which a terminal would obey; other programs may have written them.
fn without_controls(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '\u{FFFD}' } else { c })
        .collect()
}

fn line(sign: char, topic: &ListedTopic) -> String {
    let author = if topic.author.is_empty() {
        String::new()
    } else {
        format!("{}: ", topic.author)
    };
    let comment: Vec<_> = topic.comment.lines().map(without_controls).collect();
    format!(
        "{sign} {}\t{}{}\n",
        topic.id,
        without_controls(&author),
        comment.join("\n\t")
    )
}

fn text(event: &FollowEvent, copy: &BoardCopy) -> String {
    match event {
        FollowEvent::List => copy.topics().map(|topic| line('=', topic)).collect(),
        FollowEvent::Changed(ops) => ops
            .iter()
            .map(|op| match op {
                ListOp::Set { topic } => line('+', topic),
                ListOp::Delete { id, .. } => format!("- {id}\n"),
            })
            .collect(),
        FollowEvent::Stale(since) => format!("! the server's database is away since {since}\n"),
        FollowEvent::Fresh => "! the server's database is back\n".to_owned(),
        FollowEvent::Ended(why) => format!("! the board ended: {why}\n"),
        FollowEvent::Lost(why) => format!("! {why}; trying again\n"),
    }
}

fn json(event: &FollowEvent, copy: &BoardCopy) -> String {
    let revision = copy.revision();
    let value = match event {
        FollowEvent::List => {
            let topics: Vec<_> = copy.topics().collect();
            serde_json::json!({"event": "list", "revision": revision, "topics": topics})
        }
        FollowEvent::Changed(ops) => {
            serde_json::json!({"event": "changed", "revision": revision, "ops": ops})
        }
        FollowEvent::Stale(since) => serde_json::json!({"event": "stale", "since": since}),
        FollowEvent::Fresh => serde_json::json!({"event": "fresh"}),
        FollowEvent::Ended(why) => serde_json::json!({"event": "ended", "detail": why}),
        FollowEvent::Lost(why) => serde_json::json!({"event": "lost", "detail": why}),
    };
    format!("{value}\n")
}

impl From<ClientError> for ExitError {
    fn from(error: ClientError) -> Self {
        Self::Failed(error.to_string())
    }
}
