//! Why a value that a client sent is not allowed.

use thiserror::Error;

/// A value that parsed but is not allowed, with the field it was sent in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{field} {reason}")]
pub struct Invalid {
    /// The name of the field, as it is written in forms and JSON.
    pub field: &'static str,
    /// The rule that it breaks.
    pub reason: InvalidReason,
}

/// The rule that a value breaks. The text follows the field's name in a sentence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum InvalidReason {
    /// Empty, or nothing that a reader would see.
    #[error("must not be empty")]
    Empty,
    /// Too long, counted in Unicode scalar values.
    #[error("must have at most {chars_max} characters")]
    TooLong {
        /// The largest number of characters.
        chars_max: usize,
    },
    /// A control character other than newline and tab, or a bidirectional override.
    #[error("must not contain control, text direction or byte order characters")]
    ForbiddenCharacter,
    /// A control character, or an invisible one that no letter or emoji beside it needs.
    #[error(
        "must not contain control characters, or invisible ones that no letter or emoji beside \
         them needs"
    )]
    HiddenCharacter,
    /// A code point that Unicode reserves as a noncharacter.
    #[error("must not contain noncharacters, such as U+FFFE and U+FFFF")]
    Noncharacter,
    /// A text that is not a valid board name.
    #[error("must be lower-case letters, digits and dashes, not starting with a dash")]
    NotAName,
    /// A word that is not in the list of allowed ones.
    #[error("must be {}", one_of(words))]
    NotOneOf {
        /// The words that are allowed.
        words: &'static [&'static str],
    },
    /// More marks on one letter than any script has.
    #[error("must not pile up marks on one letter")]
    PiledMarks,
    /// A time that is not in the future.
    #[error("must lie in the future")]
    Past,
    /// A time that not every database can hold.
    #[error("must lie before the year 10000")]
    TooFar,
    /// A word that the server keeps for itself.
    #[error("is a reserved word")]
    Reserved,
}

impl Invalid {
    /// Finds the value that a text stands for: `words` are those of `all`, in the same order.
    pub(crate) fn word<T: Copy>(
        field: &'static str,
        text: &str,
        all: &[T],
        words: &'static [&'static str],
    ) -> Result<T, Self> {
        let at = words.iter().position(|word| *word == text);
        at.and_then(|at| all.get(at).copied()).ok_or(Self {
            field,
            reason: InvalidReason::NotOneOf { words },
        })
    }
}

/// Writes words as a phrase: `a, b or c`.
#[must_use]
pub fn one_of(words: &[&str]) -> String {
    match words {
        [first @ .., last] if !first.is_empty() => format!("{} or {last}", first.join(", ")),
        words => words.concat(),
    }
}

impl InvalidReason {
    /// Returns the stable code, which programs and translations use.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::TooLong { .. } => "too_long",
            Self::ForbiddenCharacter | Self::HiddenCharacter | Self::Noncharacter => {
                "forbidden_character"
            }
            Self::NotAName => "not_a_name",
            Self::NotOneOf { .. } => "not_one_of",
            Self::PiledMarks => "piled_marks",
            Self::Past => "past",
            Self::TooFar => "too_far",
            Self::Reserved => "reserved",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_allowed_words_are_a_phrase() {
        for (words, phrase) in [
            (&["a"][..], "must be a"),
            (&["a", "b"], "must be a or b"),
            (&["a", "b", "c"], "must be a, b or c"),
        ] {
            assert_eq!(InvalidReason::NotOneOf { words }.to_string(), phrase);
        }
    }
}
