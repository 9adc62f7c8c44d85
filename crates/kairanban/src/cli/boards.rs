//! `kairanban boards` lists the boards of a running server.

use std::io::{self, IsTerminal as _};

use clap::Args;
use kairanban_client::ListedBoard;
use kairanban_core::terminal;
use serde::Serialize;

use super::{console, remote::RemoteArgs};
use crate::exit::ExitError;

/// Explains what `kairanban boards` prints.
pub(super) const HELP: &str = "\
It prints a line for each board that may be read, with tabs between name, number of topics, who may
read, who may post (open, held, token, closed) and title; on a terminal in columns.

Examples:
  kairanban boards
  kairanban boards --json | jq -r 'select(.post == \"open\").name'

Exit status:
  0   listed
  1   refused, with the server's reason on stderr
  2   the command line is wrong
  69  the server cannot be reached, or cannot do it now
  78  the configuration is wrong";

/// The names of the columns, on a terminal.
const HEADINGS: [&str; COLUMNS] = ["BOARD", "TOPICS", "READ", "POST", "TITLE"];
const COLUMNS: usize = 5;

#[derive(Args, Clone, Debug)]
pub(super) struct ListBoards {
    /// Print a JSON object for each board, a line each
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    remote: RemoteArgs,
}

impl ListBoards {
    /// Prints the boards. `here` is where this configuration would serve.
    pub(super) async fn run(self, here: &str) -> Result<(), ExitError> {
        let remote = self.remote.connect(here)?;
        let boards = match remote.client.boards().await {
            Ok(boards) => boards,
            Err(error) => return Err(remote.explain(&error)),
        };
        if boards.is_empty() {
            remote.note("there is no board that may be read");
        }
        super::say(&if self.json {
            boards.iter().map(json).collect::<Result<_, _>>()?
        } else if io::stdout().is_terminal() {
            in_columns(&boards)
        } else {
            boards
                .iter()
                .map(|board| cells(board).join("\t") + "\n")
                .collect::<String>()
        })
    }
}

/// A board as an event.
#[derive(Serialize)]
struct BoardObject<'a> {
    event: &'static str,
    #[serde(flatten)]
    board: &'a ListedBoard,
}

fn json(board: &ListedBoard) -> serde_json::Result<String> {
    let event = "board";
    console::json_line(&BoardObject { event, board })
}

fn cells(board: &ListedBoard) -> [String; COLUMNS] {
    let topics = board.topics.to_string();
    let texts = [&board.name, &topics, &board.read, &board.post, &board.title];
    texts.map(|text| terminal::harmless(text).replace('\t', " "))
}

fn in_columns(boards: &[ListedBoard]) -> String {
    let heading = HEADINGS.map(str::to_owned);
    let rows: Vec<_> = std::iter::once(heading)
        .chain(boards.iter().map(cells))
        .collect();
    let mut widths = [0; COLUMNS];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = terminal::width(cell).max(*width);
        }
    }
    let mut text = String::new();
    for row in &rows {
        for (cell, width) in row.iter().zip(widths) {
            text.push_str(cell);
            text.extend(std::iter::repeat_n(' ', width - terminal::width(cell) + 2));
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_by_what_a_terminal_shows() {
        let board = ListedBoard {
            name: "lost".to_owned(),
            title: "迷子\u{1b}[2J".to_owned(),
            read: "open".to_owned(),
            post: "token".to_owned(),
            revision: 3,
            topics: 12,
        };
        assert_eq!(
            in_columns(&[board]),
            "BOARD  TOPICS  READ  POST   TITLE\nlost   12      open  token  迷子\u{FFFD}[2J\n"
        );
    }
}
