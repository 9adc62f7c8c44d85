//! Boards: their names and titles, and what is known of a board without its topics.

use std::{fmt, str::FromStr, sync::Arc};

use serde::Serialize;

use crate::{Invalid, InvalidReason, Policies, Revision, TextPattern, text::name_fault};

/// The database's key of a board.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BoardId(pub i64);

/// A board's name in addresses: `[a-z0-9][a-z0-9-]{0,62}`, except for a few reserved words. Cloning
/// shares the text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct BoardName(Arc<str>);

/// Words that addresses use, or may use one day, in the place of a board's name.
const RESERVED: [&str; 12] = [
    "admin", "all", "api", "assets", "b", "health", "livez", "metrics", "new", "readyz", "static",
    "stream",
];
const CHARS_MAX: usize = 63;

impl BoardName {
    /// Describes which names are allowed.
    #[must_use]
    pub fn pattern() -> TextPattern {
        TextPattern {
            reserved: &RESERVED,
            ..TextPattern::new("^[a-z0-9][a-z0-9-]*$", 1..=CHARS_MAX)
        }
    }

    /// Returns the name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for BoardName {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let reason = if RESERVED.contains(&text) {
            InvalidReason::Reserved
        } else if text.is_empty() {
            InvalidReason::Empty
        } else if text.len() > CHARS_MAX {
            InvalidReason::TooLong {
                chars_max: CHARS_MAX,
            }
        } else if text.starts_with('-')
            || !text
                .bytes()
                .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
        {
            InvalidReason::NotAName
        } else {
            return Ok(Self(text.into()));
        };
        Err(Invalid {
            field: "board",
            reason,
        })
    }
}

impl fmt::Display for BoardName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The longest title, in Unicode scalar values.
const TITLE_CHARS_MAX: usize = 200;

/// A board's title for people: one line that hides nothing; may be empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BoardTitle(String);

impl BoardTitle {
    /// Describes which titles are allowed.
    #[must_use]
    pub fn pattern() -> TextPattern {
        TextPattern::name_or_empty(TITLE_CHARS_MAX)
    }

    /// Returns the title as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for BoardTitle {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let title = text.trim();
        match name_fault(title, TITLE_CHARS_MAX) {
            None => Ok(Self(title.to_owned())),
            Some(reason) => Err(Invalid {
                field: "title",
                reason,
            }),
        }
    }
}

/// A board, without its topics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Board {
    /// The board's name in addresses.
    pub name: BoardName,
    /// The board's title; may be empty.
    pub title: String,
    /// Who may read it and post on it.
    pub policies: Policies,
    /// The revision of its newest change.
    pub revision: Revision,
    /// The number of topics that are not archived.
    pub topics: u64,
}

/// The name and the policies of a board.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BoardInfo {
    /// The board's name in addresses.
    pub name: BoardName,
    /// Who may read it and post on it.
    pub policies: Policies,
}

/// The result of creating, changing or deleting a board.
#[derive(Clone, Debug)]
pub struct BoardChange {
    /// The revision of its newest change.
    pub revision: Revision,
    /// The board's name and policies after the change; `None` if it was deleted.
    pub info: Option<BoardInfo>,
    /// The revision since which the name has meant this board, if that changed.
    pub named_at: Option<Revision>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_the_names_of_the_contract() {
        for name in ["main", "0", "a-b", "a-", &"x".repeat(63)] {
            assert_eq!(
                name.parse::<BoardName>().map(|name| name.to_string()),
                Ok(name.to_owned())
            );
        }
    }

    #[test]
    fn refuses_every_other_name() {
        for name in [
            "",
            "-a",
            "Main",
            "a.b",
            "a b",
            "é",
            "a/b",
            "..",
            "admin",
            "stream",
            &"x".repeat(64),
        ] {
            assert!(name.parse::<BoardName>().is_err(), "{name:?}");
        }
    }

    #[test]
    fn a_title_is_one_line() {
        assert_eq!(
            " 町内会 "
                .parse::<BoardTitle>()
                .map(|title| title.as_str().to_owned()),
            Ok("町内会".to_owned())
        );
        assert_eq!("".parse::<BoardTitle>(), Ok(BoardTitle::default()));
        for title in [
            "a\nb",
            "a\u{202E}b",
            "a\u{2028}b",
            "a\u{E0061}",
            "\u{3164}",
            "\u{200B}",
            &"x".repeat(201),
        ] {
            assert!(title.parse::<BoardTitle>().is_err(), "{title:?}");
        }
    }
}
