//! `kairanban post` posts on a board of a running server.

use std::io::{self, Read as _};

use clap::Args;
use kairanban_core::BoardName;

use super::remote::RemoteArgs;
use crate::exit::ExitError;

/// More than a server accepts, so that the server refuses it.
const READ_MAX: u64 = 1 << 20;

/// Explains how `kairanban post` ends.
pub(super) const HELP: &str = "\
It prints the id of the new topic. While the server cannot be reached, the post is repeated with the
same key up to five times, so that it is written once at most.

Examples:
  kairanban post main 'The bins are collected tomorrow'
  uptime | kairanban post main - --author \"$(hostname)\"

Exit status:
  0   posted
  1   refused, with the server's reason on stderr
  2   the command line is wrong
  69  the server cannot be reached, or cannot do it now
  78  the configuration is wrong";

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
    remote: RemoteArgs,
}

impl Post {
    /// Posts, and prints the topic's id. `here` is where this configuration would serve.
    pub(super) async fn run(self, here: &str) -> Result<(), ExitError> {
        let comment = if self.comment == "-" {
            io::read_to_string(io::stdin().take(READ_MAX))?
        } else {
            self.comment
        };
        let remote = self.remote.connect(here)?;
        let posted = remote.client.post(&self.board, &comment, &self.author);
        match posted.await {
            Ok(topic) => super::say(&format!("{}\n", topic.id)),
            Err(error) => Err(remote.explain(&error)),
        }
    }
}
