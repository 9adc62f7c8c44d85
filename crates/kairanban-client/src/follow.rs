//! Follows boards: applies the events of a stream, and continues at the cursor after a lost
//! connection.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use kairanban_core::BoardName;
use russe::Message;
use serde::de::DeserializeOwned;

use crate::{
    BoardCopy, Client, ClientError, ListOp,
    reconnecting_stream::{ReconnectingStream, StreamEvent},
    wire::{BoardField, CursorEvent, PatchEvent, ReasonEvent, SnapshotEvent, StaleEvent},
};

/// What a followed board, or the connection to it, reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FollowEvent {
    /// The whole list was received; see [`Follow::copy`].
    List,
    /// The list changed by these steps.
    Changed(Vec<ListOp>),
    /// The server has not been able to read its database since then: the list may be out of date.
    Stale(DateTime<Utc>),
    /// The server can read its database again.
    Fresh,
    /// One of several boards ended, and why: it was deleted or renamed (`gone`), or may no longer
    /// be read (`auth`). Its list is empty now; the other boards go on. If there is a board of the
    /// name after a reconnect, its list is received like any other.
    Ended(String),
    /// The connection was lost, or the server refuses streams for the moment, and why. The next
    /// call reconnects.
    Lost(String),
    /// After [`Lost`](Self::Lost): the server answers again. What changed meanwhile follows.
    Back,
}

/// Follows one board; see [`Client::follow`].
#[derive(Debug)]
pub struct Follow {
    stream: ReconnectingStream,
    copy: BoardCopy,
}

impl Follow {
    pub(crate) fn new(client: Client, board: &BoardName) -> Self {
        Self {
            stream: ReconnectingStream::new(
                client,
                format!("/b/{board}/stream"),
                "format=patch".to_owned(),
            ),
            copy: BoardCopy::default(),
        }
    }

    /// Returns the list as of the last event.
    #[must_use]
    pub const fn copy(&self) -> &BoardCopy {
        &self.copy
    }

    /// Waits for the next event, and reconnects after lost connections and restarts of the server.
    /// Cancel safe: dropping the future loses no change.
    ///
    /// # Errors
    /// [`ClientError::Differs`] or [`ClientError::Protocol`] if an event cannot be applied: the
    /// next call requests the whole list. Another error if the server refuses the stream, for
    /// example because the board is gone or the token does not allow reading it.
    pub async fn next(&mut self) -> Result<FollowEvent, ClientError> {
        loop {
            let message = match self.stream.next(self.copy.cursor()).await? {
                StreamEvent::Message(message) => message,
                StreamEvent::Lost(why) => return Ok(FollowEvent::Lost(why)),
                StreamEvent::Back => return Ok(FollowEvent::Back),
            };
            match self.apply(&message) {
                Ok(Some(event)) => return Ok(event),
                Ok(None) => {}
                Err(error) => {
                    self.stream.close();
                    self.copy.reset();
                    return Err(error);
                }
            }
        }
    }

    fn apply(&mut self, message: &Message) -> Result<Option<FollowEvent>, ClientError> {
        Ok(match message.event.as_deref() {
            Some("snapshot") => {
                self.copy
                    .replace(parse::<SnapshotEvent>(message)?, cursor(message))?;
                Some(FollowEvent::List)
            }
            Some("patch") => self
                .copy
                .patch(parse::<PatchEvent>(message)?, cursor(message))?
                .map(FollowEvent::Changed),
            Some("reset") => {
                tracing::debug!(
                    reason = parse::<ReasonEvent>(message)?.reason,
                    "the server resets the list"
                );
                self.copy.reset();
                None
            }
            _ => stream_event(message)?,
        })
    }
}

/// Follows several boards in one stream, with one cursor; see [`Client::follow_many`].
#[derive(Debug)]
pub struct FollowMany {
    stream: ReconnectingStream,
    copies: BTreeMap<BoardName, BoardCopy>,
    cursor: Option<String>,
}

impl FollowMany {
    pub(crate) fn new(client: Client, boards: impl IntoIterator<Item = BoardName>) -> Self {
        let copies: BTreeMap<_, _> = boards
            .into_iter()
            .map(|board| (board, BoardCopy::default()))
            .collect();
        let query = copies
            .keys()
            .map(|board| format!("board={board}&"))
            .collect::<String>()
            + "format=patch";
        Self {
            stream: ReconnectingStream::new(client, "/stream".to_owned(), query),
            copies,
            cursor: None,
        }
    }

    /// Returns the list of a board as of the last event; `None` if the board is not followed.
    #[must_use]
    pub fn copy(&self, board: &BoardName) -> Option<&BoardCopy> {
        self.copies.get(board)
    }

    /// Returns the cursor that all boards have been brought to, but for those that ended; `None`
    /// before the first one.
    #[must_use]
    pub fn cursor(&self) -> Option<&str> {
        self.cursor.as_deref()
    }

    /// Waits for the next event as [`Follow::next`] does, and returns it with its board, if it is
    /// of one.
    ///
    /// # Errors
    /// As [`Follow::next`], for any of the boards.
    pub async fn next(&mut self) -> Result<(Option<BoardName>, FollowEvent), ClientError> {
        loop {
            let message = match self.stream.next(self.cursor.as_deref()).await? {
                StreamEvent::Message(message) => message,
                StreamEvent::Lost(why) => return Ok((None, FollowEvent::Lost(why))),
                StreamEvent::Back => return Ok((None, FollowEvent::Back)),
            };
            match self.apply(&message) {
                Ok(Some(event)) => return Ok(event),
                Ok(None) => {}
                Err(error) => {
                    self.stream.close();
                    self.reset();
                    return Err(error);
                }
            }
        }
    }

    fn apply(
        &mut self,
        message: &Message,
    ) -> Result<Option<(Option<BoardName>, FollowEvent)>, ClientError> {
        match message.event.as_deref() {
            Some("cursor") => {
                let CursorEvent { revision } = parse(message)?;
                self.cursor = cursor(message);
                let claims = self.cursor.as_deref().unwrap_or_default();
                for (board, copy) in &mut self.copies {
                    // Those that ended are named behind it.
                    if claims.split('~').all(|part| part != board.as_str()) {
                        copy.reach(revision);
                    }
                }
                Ok(None)
            }
            Some(name @ ("snapshot" | "patch" | "reset" | "bye")) => {
                match parse::<BoardField>(message)?.board {
                    Some(board) => self.apply_to_board(&board, message),
                    // The end of the stream.
                    None if name == "bye" => Ok(stream_event(message)?.map(|event| (None, event))),
                    None => {
                        self.reset();
                        Ok(None)
                    }
                }
            }
            _ => Ok(stream_event(message)?.map(|event| (None, event))),
        }
    }

    /// Applies a `snapshot`, `patch`, `reset` or `bye` of one board.
    fn apply_to_board(
        &mut self,
        board: &str,
        message: &Message,
    ) -> Result<Option<(Option<BoardName>, FollowEvent)>, ClientError> {
        let mut copies = self.copies.iter_mut();
        let Some((name, copy)) = copies.find(|(name, _)| name.as_str() == board) else {
            return Err(ClientError::Protocol(format!(
                "an event of the board {board:?}, which is not followed"
            )));
        };
        let event = match message.event.as_deref() {
            Some("snapshot") => {
                copy.replace(parse::<SnapshotEvent>(message)?, None)?;
                Some(FollowEvent::List)
            }
            Some("patch") => copy
                .patch(parse::<PatchEvent>(message)?, None)?
                .map(FollowEvent::Changed),
            Some("bye") => {
                copy.reset();
                Some(FollowEvent::Ended(parse::<ReasonEvent>(message)?.reason))
            }
            _ => {
                copy.reset();
                None
            }
        };
        Ok(event.map(|event| (Some(name.clone()), event)))
    }

    fn reset(&mut self) {
        self.copies.values_mut().for_each(BoardCopy::reset);
        self.cursor = None;
    }
}

/// Returns the event of a message that does not change a list.
fn stream_event(message: &Message) -> Result<Option<FollowEvent>, ClientError> {
    Ok(match message.event.as_deref() {
        Some("stale") => Some(FollowEvent::Stale(parse::<StaleEvent>(message)?.since)),
        Some("fresh") => Some(FollowEvent::Fresh),
        Some("bye") => {
            tracing::debug!(
                reason = parse::<ReasonEvent>(message)?.reason,
                "the server ends the stream"
            );
            None
        }
        // An event of a later version.
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
