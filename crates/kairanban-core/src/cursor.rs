//! Epoch and cursor: where in which history a reader stands.

use std::{fmt, str::FromStr, sync::Arc};

use thiserror::Error;

use crate::Revision;

/// One incarnation of one database: 1 to 16 lower-case hex digits. A cursor of another epoch
/// means nothing here.
///
/// One pointer: every open stream keeps one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Epoch(Arc<Box<str>>);

/// Text that is no cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a cursor is <epoch>-<revision>: up to 16 lower-case hex digits, a dash and a number")]
pub struct CursorError;

impl Epoch {
    /// The epoch's digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Epoch {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<Self, CursorError> {
        let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        let fits = (1..=16).contains(&text.len()) && text.bytes().all(hex);
        if fits {
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
    /// The history it belongs to.
    pub epoch: Epoch,
    /// The place in it.
    pub revision: Revision,
}

impl Cursor {
    /// Whether whoever stands here has seen all that was there at `other`: in the same history, as
    /// far or further. Nodes may give the same list different cursors, if what came between left
    /// no trace on it.
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

    #[test]
    fn covers_its_own_history_up_to_itself() {
        let cursor = |text: &str| text.parse::<Cursor>().expect("a cursor");
        assert!(cursor("a-7").covers(&cursor("a-7")) && cursor("a-8").covers(&cursor("a-7")));
        assert!(!cursor("a-6").covers(&cursor("a-7")) && !cursor("b-8").covers(&cursor("a-7")));
    }

    proptest! {
        #[test]
        fn reads_what_it_writes(epoch in "[0-9a-f]{1,16}", number in 0_u64..1 << 53) {
            let text = format!("{epoch}-{number}");
            prop_assert_eq!(text.parse::<Cursor>().expect("a cursor").to_string(), text);
        }

        #[test]
        fn never_panics(text in ".*") {
            let _: Result<Cursor, _> = text.parse();
        }
    }
}
