//! Who may read a board, and who may post on it, as it is configured; `permission` decides by it.

use std::str::FromStr;

use crate::Invalid;

/// Who may read a board.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReadPolicy {
    /// All clients, with or without a token.
    #[default]
    Open,
    /// Clients with a token for it. To other clients the board does not exist.
    Token,
}

/// Who may post on a board.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PostPolicy {
    /// All clients that may read it.
    #[default]
    Open,
    /// Clients with a token for it whose scope allows posting.
    Token,
    /// No client, whatever its token.
    Closed,
}

/// The policies of a board.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policies {
    /// Who may read it.
    pub read: ReadPolicy,
    /// Who may post on it.
    pub post: PostPolicy,
}

impl ReadPolicy {
    /// All policies, the most open first.
    pub const ALL: [Self; 2] = [Self::Open, Self::Token];
    const WORDS: [&'static str; 2] = {
        let [open, token] = Self::ALL;
        [open.as_str(), token.as_str()]
    };

    /// Returns the policy as it is written in JSON and on the command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Token => "token",
        }
    }
}

impl PostPolicy {
    /// All policies, the most open first.
    pub const ALL: [Self; 3] = [Self::Open, Self::Token, Self::Closed];
    const WORDS: [&'static str; 3] = {
        let [open, token, closed] = Self::ALL;
        [open.as_str(), token.as_str(), closed.as_str()]
    };

    /// Returns the policy as it is written in JSON and on the command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Token => "token",
            Self::Closed => "closed",
        }
    }
}

impl FromStr for ReadPolicy {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        Invalid::word("read", text, &Self::ALL, &Self::WORDS)
    }
}

impl FromStr for PostPolicy {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        Invalid::word("post", text, &Self::ALL, &Self::WORDS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_are_the_words_of_the_contract() {
        for word in ["open", "token"] {
            assert_eq!(word.parse::<ReadPolicy>().map(ReadPolicy::as_str), Ok(word));
        }
        for word in ["open", "token", "closed"] {
            assert_eq!(word.parse::<PostPolicy>().map(PostPolicy::as_str), Ok(word));
        }
        assert_eq!(
            "closed".parse::<ReadPolicy>().map_err(|fault| fault.field),
            Err("read")
        );
        assert_eq!(
            "Open".parse::<PostPolicy>().map_err(|fault| fault.field),
            Err("post")
        );
    }
}
