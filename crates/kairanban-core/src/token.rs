//! Tokens: what they allow, and for how long.

use std::str::FromStr;

use chrono::{DateTime, Datelike as _, Utc};

use crate::{BoardName, Invalid, InvalidReason, TextPattern, text::name_fault};

/// What a token allows; each includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// Reading boards, also private ones.
    Read,
    /// Posting on boards, also those that require a token.
    Post,
    /// Everything, with the administrative commands.
    Admin,
}

impl Scope {
    /// All scopes, the smallest first.
    pub const ALL: [Self; 3] = [Self::Read, Self::Post, Self::Admin];
    const WORDS: [&'static str; 3] = {
        let [read, post, admin] = Self::ALL;
        [read.as_str(), post.as_str(), admin.as_str()]
    };

    /// Returns the scope as it is written in JSON and on the command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Post => "post",
            Self::Admin => "admin",
        }
    }
}

impl FromStr for Scope {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        Invalid::word("scope", text, &Self::ALL, &Self::WORDS)
    }
}

/// The longest name of a token, in Unicode scalar values.
const NAME_CHARS_MAX: usize = 80;
/// Times are compared as text on SQLite, and a fifth digit would sort before four.
const YEAR_MAX: i32 = 9999;

/// A token's name, which says for people what it is for, and in the audit who did something: one
/// line that hides nothing, not empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenName(String);

impl TokenName {
    /// Describes which names are allowed.
    #[must_use]
    pub fn pattern() -> TextPattern {
        TextPattern::name(NAME_CHARS_MAX)
    }

    /// Returns the name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for TokenName {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let name = text.trim();
        let fault = if name.is_empty() {
            Some(InvalidReason::Empty)
        } else {
            name_fault(name, NAME_CHARS_MAX)
        };
        match fault {
            None => Ok(Self(name.to_owned())),
            Some(reason) => Err(Invalid {
                field: "name",
                reason,
            }),
        }
    }
}

/// Checks the time at which a new token is to expire: it must be in the future, and one that both
/// databases can hold. Returns it.
///
/// # Errors
/// [`InvalidReason::Past`] or [`InvalidReason::TooFar`], for the field `expires_at`.
pub fn expiry(at: DateTime<Utc>, now: DateTime<Utc>) -> Result<DateTime<Utc>, Invalid> {
    let reason = if at <= now {
        InvalidReason::Past
    } else if at.year() > YEAR_MAX {
        InvalidReason::TooFar
    } else {
        return Ok(at);
    };
    Err(Invalid {
        field: "expires_at",
        reason,
    })
}

/// Token metadata, without the secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// The token's key in the database.
    pub id: i64,
    /// What it is for, in its maker's words.
    pub name: String,
    /// What the token allows.
    pub scope: Scope,
    /// The only board that it is for; `None` for all boards.
    pub board: Option<BoardName>,
    /// When it was created.
    pub created_at: DateTime<Utc>,
    /// When it expires; `None` if it does not.
    pub expires_at: Option<DateTime<Utc>>,
    /// When it was revoked; `None` if it was not.
    pub revoked_at: Option<DateTime<Utc>>,
    /// When it was last used, to the minute; `None` if it was never used.
    pub last_used_at: Option<DateTime<Utc>>,
}

/// A browser that is signed in with a token, without its secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrowserSession {
    /// The session's key in the database.
    pub id: i64,
    /// The token that it stands for.
    pub token: Token,
    /// When the browser signed in.
    pub created_at: DateTime<Utc>,
    /// When it ends by itself.
    pub expires_at: DateTime<Utc>,
    /// When it was last used, to the minute; `None` if it was never used.
    pub last_used_at: Option<DateTime<Utc>>,
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    #[test]
    fn a_name_hides_nothing() {
        for name in ["ann", " 町内会 ", "می\u{200C}خواهم"] {
            assert!(name.parse::<TokenName>().is_ok(), "{name:?}");
        }
        for name in [
            "",
            " ",
            "\u{3164}",
            "ann\u{E0061}",
            "a\u{2028}b",
            "a\u{202E}b",
        ] {
            assert!(name.parse::<TokenName>().is_err(), "{name:?}");
        }
    }

    #[test]
    fn a_token_ends_in_a_time_to_come_that_a_database_can_hold() {
        let now = DateTime::UNIX_EPOCH;
        let last = DateTime::parse_from_rfc3339("9999-12-31T23:59:59.999999Z")
            .expect("a time")
            .to_utc();
        for good in [now + TimeDelta::microseconds(1), last] {
            assert_eq!(expiry(good, now), Ok(good));
        }
        for bad in [
            now,
            now - TimeDelta::days(1),
            DateTime::<Utc>::MIN_UTC,
            last + TimeDelta::microseconds(1),
            DateTime::<Utc>::MAX_UTC,
        ] {
            assert!(expiry(bad, now).is_err(), "{bad}");
        }
    }
}
