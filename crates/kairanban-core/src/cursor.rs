//! Epochs and cursors: which history a reader has seen, and up to which revision.

use std::{fmt, str::FromStr, sync::Arc};

use thiserror::Error;

use crate::{BoardName, Revision, TextPattern};

/// The identity of one history of a database: 1 to 16 lower-case hex digits. A cursor of another
/// epoch is void.
///
/// It is one pointer in size, since every open stream keeps one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Epoch(Arc<Box<str>>);

/// Digits of an epoch, at most.
const EPOCH_CHARS_MAX: usize = 16;

/// The text is not a cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a cursor is <epoch>-<revision>: up to 16 lower-case hex digits, a dash and a number")]
pub struct CursorError;

impl Epoch {
    /// Returns the epoch's hex digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Epoch {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<Self, CursorError> {
        let is_hex = text
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if is_hex && (1..=EPOCH_CHARS_MAX).contains(&text.len()) {
            Ok(Self(Arc::new(text.into())))
        } else {
            Err(CursorError)
        }
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A place in history, written `<epoch>-<revision>`: SSE `id`, `ETag` and resume token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// The history that it belongs to.
    pub epoch: Epoch,
    /// The last revision that the reader has seen.
    pub revision: Revision,
}

impl Cursor {
    /// Describes cursors, up to 15 digits of the revision: the bound at 2^53 has no short pattern,
    /// and a million changes a second reach the sixteenth digit after thirty years.
    #[must_use]
    pub fn pattern() -> TextPattern {
        let regex = "^[0-9a-f]{1,16}-(0|[1-9][0-9]{0,14})$";
        TextPattern::new(regex, 3..=EPOCH_CHARS_MAX + 16)
    }

    /// Returns whether a reader at this cursor has seen everything up to `other`: it is in the same
    /// epoch, at the same revision or a later one. Two nodes may show the same list with different
    /// cursors, if the changes between them left no trace on it.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        self.epoch == other.epoch && self.revision >= other.revision
    }
}

impl FromStr for Cursor {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<Self, CursorError> {
        let (epoch, number) = text.split_once('-').ok_or(CursorError)?;
        // One spelling per cursor: `parse` alone would take `+7` and `007`.
        let canonical =
            number == "0" || number.starts_with(|first: char| matches!(first, '1'..='9'));
        let revision = number
            .parse()
            .ok()
            .and_then(Revision::new)
            .filter(|_| canonical);
        Ok(Self {
            epoch: epoch.parse()?,
            revision: revision.ok_or(CursorError)?,
        })
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.epoch, self.revision)
    }
}

/// A cursor of several boards: it claims those of the request, but for the ones that had ended when
/// it was sent. Written as a [`Cursor`], and behind it `~<board>` for each of these.
///
/// A client that comes back at the same address names them again, and has dropped what it held of
/// them: if one can be read by then, it needs the whole list (ADR 18).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MultiBoardCursor {
    /// The place in history that the other boards have reached.
    pub cursor: Cursor,
    /// The boards that it does not claim.
    pub without: Vec<BoardName>,
}

impl FromStr for MultiBoardCursor {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<Self, CursorError> {
        let mut parts = text.split('~');
        let cursor = parts.next().unwrap_or_default().parse()?;
        let without = parts
            .map(|board| board.parse().map_err(|_| CursorError))
            .collect::<Result<_, _>>()?;
        Ok(Self { cursor, without })
    }
}

impl fmt::Display for MultiBoardCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.cursor.fmt(f)?;
        self.without
            .iter()
            .try_for_each(|board| write!(f, "~{board}"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn refuses_everything_that_it_would_not_write() {
        for text in [
            "",
            "-",
            "a",
            "a-",
            "-1",
            "a-+1",
            "a-01",
            "a--1",
            "A-1",
            "g-1",
            "a-1 ",
            "a-9007199254740992",
            "0123456789abcdef0-1",
        ] {
            assert_eq!(text.parse::<Cursor>(), Err(CursorError), "{text:?}");
        }
    }

    fn cursor(text: &str) -> Cursor {
        text.parse().expect("a cursor")
    }

    #[test]
    fn covers_its_own_history_up_to_itself() {
        assert!(cursor("a-7").covers(&cursor("a-7")) && cursor("a-8").covers(&cursor("a-7")));
        assert!(!cursor("a-6").covers(&cursor("a-7")) && !cursor("b-8").covers(&cursor("a-7")));
    }

    #[test]
    fn a_cursor_of_several_boards_names_those_that_ended() {
        for (text, without) in [("e-1", ""), ("e-1~a", "a"), ("e-1~a-b~c", "a-b c")] {
            let read: MultiBoardCursor = text.parse().expect("a cursor");
            let names: Vec<_> = read.without.iter().map(BoardName::as_str).collect();
            assert_eq!(
                (read.cursor.to_string(), names.join(" ")),
                ("e-1".into(), without.into())
            );
            assert_eq!(read.to_string(), text);
        }
        for text in ["", "~a", "e-1~", "e-1~~a", "e-1~A", "e-1~a~", "e-01~a"] {
            assert_eq!(
                text.parse::<MultiBoardCursor>(),
                Err(CursorError),
                "{text:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn reads_what_it_writes(epoch in "[0-9a-f]{1,16}", number in 0_u64..1 << 53) {
            let text = format!("{epoch}-{number}");
            prop_assert_eq!(text.parse::<Cursor>().expect("a cursor").to_string(), text);
        }

        #[test]
        fn never_panics(text in ".*") {
            let _: Result<MultiBoardCursor, _> = text.parse();
        }
    }
}
