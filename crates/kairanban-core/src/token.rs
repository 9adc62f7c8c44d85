//! Who may do what.

use std::str::FromStr;

use chrono::{DateTime, Datelike as _, Utc};

use crate::{
    BoardName, Invalid, InvalidReason, TextPattern,
    pattern::{BIDI, CONTROL},
    topic::is_bidi_control,
};

/// What a token allows; each includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// Reading boards and following them.
    Read,
    /// Posting, where the board takes posts.
    Post,
    /// Everything that the API can do.
    Admin,
}

impl Scope {
    /// All scopes, the smallest first.
    pub const ALL: [Self; 3] = [Self::Read, Self::Post, Self::Admin];

    /// Returns the word for it in JSON and on the command line.
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
        let found = Self::ALL.into_iter().find(|scope| scope.as_str() == text);
        found.ok_or(Invalid {
            field: "scope",
            reason: InvalidReason::NotOneOf {
                words: "read, post or admin",
            },
        })
    }
}

/// Bound of a token's name, in Unicode scalar values.
const NAME_CHARS_MAX: usize = 80;
/// Times are compared as text on SQLite, and a fifth digit would sort before four.
const YEAR_MAX: i32 = 9999;

/// What a token is for, in the words of who created it: one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenName(String);

impl TokenName {
    /// Describes which names are allowed.
    #[must_use]
    pub fn pattern() -> TextPattern {
        TextPattern::trimmed_and_filled(&[CONTROL, BIDI], NAME_CHARS_MAX)
    }

    /// Returns the name, without white space at its ends.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for TokenName {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let name = text.trim();
        let reason = if name.is_empty() {
            InvalidReason::Empty
        } else if name.chars().nth(NAME_CHARS_MAX).is_some() {
            InvalidReason::TooLong {
                chars_max: NAME_CHARS_MAX,
            }
        } else if name.chars().any(|c| c.is_control() || is_bidi_control(c)) {
            InvalidReason::ForbiddenCharacter
        } else {
            return Ok(Self(name.to_owned()));
        };
        Err(Invalid {
            field: "name",
            reason,
        })
    }
}

/// Checks the end of a new token's time: it must be in the future, and within what both databases
/// hold.
///
/// # Errors
/// The rule that it breaks.
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

/// What is known of a token. The token itself is not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// The database's key of the token.
    pub id: i64,
    /// What it is for, in somebody's words.
    pub name: String,
    /// What the token allows, on its boards.
    pub scope: Scope,
    /// The one board that it is for; `None` for all.
    pub board: Option<BoardName>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it ends by itself.
    pub expires_at: Option<DateTime<Utc>>,
    /// When somebody ended it.
    pub revoked_at: Option<DateTime<Utc>>,
    /// When it was used last, to the minute.
    pub last_used_at: Option<DateTime<Utc>>,
}

impl Token {
    /// Whether it is good at that time.
    #[must_use]
    pub fn is_valid(&self, now: DateTime<Utc>) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|end| now < end)
    }

    /// Whether it allows that on that board (`None`: on all of them).
    #[must_use]
    pub fn allows(&self, scope: Scope, board: Option<&BoardName>) -> bool {
        self.scope >= scope && (self.board.is_none() || self.board.as_ref() == board)
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

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

    #[test]
    fn allows_what_its_scope_its_board_and_its_time_allow() {
        let now = DateTime::UNIX_EPOCH;
        let board = |name: &str| name.parse::<BoardName>().expect("a name");
        let token = Token {
            id: 1,
            name: "bot".to_owned(),
            scope: Scope::Post,
            board: Some(board("main")),
            created_at: now,
            expires_at: Some(now + TimeDelta::seconds(9)),
            revoked_at: None,
            last_used_at: None,
        };
        assert!(
            token.allows(Scope::Read, Some(&board("main")))
                && token.allows(Scope::Post, Some(&board("main")))
        );
        assert!(!token.allows(Scope::Admin, Some(&board("main"))));
        assert!(
            !token.allows(Scope::Read, Some(&board("other"))) && !token.allows(Scope::Read, None)
        );
        assert!(token.is_valid(now) && !token.is_valid(now + TimeDelta::seconds(9)));
        assert!(
            !Token {
                revoked_at: Some(now),
                ..token.clone()
            }
            .is_valid(now)
        );
        assert!(
            Token {
                board: None,
                ..token
            }
            .allows(Scope::Read, None)
        );
    }
}
