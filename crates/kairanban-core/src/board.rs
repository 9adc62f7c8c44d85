//! The address one subscribes to.

use std::{fmt, str::FromStr, sync::Arc};

use serde::Serialize;

use crate::{Invalid, InvalidReason};

/// The database's key of a board.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BoardId(pub i64);

/// A board's name as it stands in addresses: `[a-z0-9][a-z0-9-]{0,62}`, and none of the words
/// that an address of the server may need. Cloning shares the text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct BoardName(Arc<str>);

/// Words that stand, or may one day stand, where a board's name does.
const RESERVED: [&str; 12] =
    ["admin", "all", "api", "assets", "b", "health", "livez", "metrics", "new", "readyz", "static", "stream"];
const CHARS_MAX: usize = 63;

impl BoardName {
    /// The name's text.
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
            InvalidReason::TooLong { chars_max: CHARS_MAX }
        } else if text.starts_with('-') || !text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-')) {
            InvalidReason::NotAName
        } else {
            return Ok(Self(text.into()));
        };
        Err(Invalid { field: "board", reason })
    }
}

impl fmt::Display for BoardName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_the_names_of_the_contract_and_no_other() {
        for name in ["main", "0", "a-b", "a-", &"x".repeat(63)] {
            assert_eq!(name.parse::<BoardName>().map(|name| name.to_string()), Ok(name.to_owned()));
        }
        for name in ["", "-a", "Main", "a.b", "a b", "é", "a/b", "..", "admin", "stream", &"x".repeat(64)] {
            assert!(name.parse::<BoardName>().is_err(), "{name:?}");
        }
    }
}
