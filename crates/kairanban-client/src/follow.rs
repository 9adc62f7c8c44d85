//! Following boards: one stream after the other, each from where the last one ended.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use kairanban_core::BoardName;
use russe::Message;
use serde::de::DeserializeOwned;

use crate::{
    Client, ClientError, Copy, Op,
    line::{Heard, Line},
    wire::{OfBoard, Patch, Place, Reason, Snapshot, Stale},
};

/// What happened on a board.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// The list was read anew; see [`Follow::copy`].
    List,
    /// The list changed by this.
    Changed(Vec<Op>),
    /// The server's database has been away since then: the list may be old.
    Stale(DateTime<Utc>),
    /// It is back.
    Fresh,
    /// The connection was lost, and is tried again.
    Lost(String),
}

/// A board being followed.
#[derive(Debug)]
pub struct Follow {
    line: Line,
    copy: Copy,
}

impl Follow {
    pub(crate) fn new(client: Client, board: &BoardName) -> Self {
        Self {
            line: Line::new(
                client,
                format!("/b/{board}/stream"),
                "format=patch".to_owned(),
            ),
            copy: Copy::default(),
        }
    }

    /// The list, as far as it was followed.
    #[must_use]
    pub const fn copy(&self) -> &Copy {
        &self.copy
    }

    /// Waits for the next thing that happens, through lost connections and restarts of the server.
    /// After [`ClientError::Differs`] it goes on with a list read anew. Dropping the future loses nothing.
    ///
    /// # Errors
    /// [`ClientError::Differs`]; and, for good, if the board is gone or the token no longer allows it,
    /// or the server speaks another language.
    pub async fn next(&mut self) -> Result<News, ClientError> {
        loop {
            let message = match self.line.next(self.copy.cursor()).await? {
                Heard::Message(message) => message,
                Heard::Lost(why) => return Ok(News::Lost(why)),
            };
            match self.take(&message) {
                Ok(Some(news)) => return Ok(news),
                Ok(None) => {}
                Err(error) => {
                    self.line.hang_up();
                    self.copy.reset();
                    return Err(error);
                }
            }
        }
    }

    fn take(&mut self, message: &Message) -> Result<Option<News>, ClientError> {
        Ok(match message.event.as_deref() {
            Some("snapshot") => {
                self.copy
                    .replace(parse::<Snapshot>(message)?, cursor(message))?;
                Some(News::List)
            }
            Some("patch") => self
                .copy
                .patch(parse::<Patch>(message)?, cursor(message))?
                .map(News::Changed),
            Some("reset") => {
                tracing::debug!(
                    reason = parse::<Reason>(message)?.reason,
                    "the server begins anew"
                );
                self.copy.reset();
                None
            }
            _ => of_the_stream(message)?,
        })
    }
}

/// Several boards being followed in one stream, with one cursor.
#[derive(Debug)]
pub struct FollowMany {
    line: Line,
    copies: BTreeMap<BoardName, Copy>,
    cursor: Option<String>,
}

impl FollowMany {
    pub(crate) fn new(client: Client, boards: impl IntoIterator<Item = BoardName>) -> Self {
        let copies: BTreeMap<_, _> = boards
            .into_iter()
            .map(|board| (board, Copy::default()))
            .collect();
        let query = copies
            .keys()
            .map(|board| format!("board={board}&"))
            .collect::<String>()
            + "format=patch";
        Self {
            line: Line::new(client, "/stream".to_owned(), query),
            copies,
            cursor: None,
        }
    }

    /// The list of a board, as far as it was followed.
    #[must_use]
    pub fn copy(&self, board: &BoardName) -> Option<&Copy> {
        self.copies.get(board)
    }

    /// The place in history that all of them have come to.
    #[must_use]
    pub fn cursor(&self) -> Option<&str> {
        self.cursor.as_deref()
    }

    /// Waits for the next thing that happens, as [`Follow::next`]; with the board, if it is about one.
    ///
    /// # Errors
    /// As [`Follow::next`], for any of the boards.
    pub async fn next(&mut self) -> Result<(Option<BoardName>, News), ClientError> {
        loop {
            let message = match self.line.next(self.cursor.as_deref()).await? {
                Heard::Message(message) => message,
                Heard::Lost(why) => return Ok((None, News::Lost(why))),
            };
            match self.take(&message) {
                Ok(Some(news)) => return Ok(news),
                Ok(None) => {}
                Err(error) => {
                    self.line.hang_up();
                    self.reset();
                    return Err(error);
                }
            }
        }
    }

    fn take(
        &mut self,
        message: &Message,
    ) -> Result<Option<(Option<BoardName>, News)>, ClientError> {
        match message.event.as_deref() {
            Some("cursor") => {
                let Place { revision } = parse(message)?;
                self.copies
                    .values_mut()
                    .for_each(|copy| copy.reach(revision));
                self.cursor = cursor(message);
                return Ok(None);
            }
            Some("snapshot" | "patch" | "reset") => {}
            _ => return Ok(of_the_stream(message)?.map(|news| (None, news))),
        }
        let OfBoard { board } = parse(message)?;
        let Some(board) = board else {
            // For all of them.
            self.reset();
            return Ok(None);
        };
        let unknown = || {
            ClientError::Protocol(format!(
                "news of the board {board:?}, which is not followed"
            ))
        };
        let (name, copy) = self
            .copies
            .iter_mut()
            .find(|(name, _)| name.as_str() == board)
            .ok_or_else(unknown)?;
        let news = match message.event.as_deref() {
            Some("snapshot") => {
                copy.replace(parse::<Snapshot>(message)?, None)?;
                Some(News::List)
            }
            Some("patch") => copy
                .patch(parse::<Patch>(message)?, None)?
                .map(News::Changed),
            _ => {
                copy.reset();
                None
            }
        };
        Ok(news.map(|news| (Some(name.clone()), news)))
    }

    fn reset(&mut self) {
        self.copies.values_mut().for_each(Copy::reset);
        self.cursor = None;
    }
}

/// What does not concern one board's list.
fn of_the_stream(message: &Message) -> Result<Option<News>, ClientError> {
    Ok(match message.event.as_deref() {
        Some("stale") => Some(News::Stale(parse::<Stale>(message)?.since)),
        Some("fresh") => Some(News::Fresh),
        Some("bye") => {
            tracing::debug!(
                reason = parse::<Reason>(message)?.reason,
                "the server ends the stream"
            );
            None
        }
        // What a later server may add.
        _ => None,
    })
}

fn cursor(message: &Message) -> Option<String> {
    message
        .id
        .as_ref()
        .map(ToString::to_string)
        .filter(|id| !id.is_empty())
}

fn parse<T: DeserializeOwned>(message: &Message) -> Result<T, ClientError> {
    Ok(serde_json::from_str(&message.data)?)
}
