//! Topics, the notices on a board, and the rules for their text.

use chrono::{DateTime, Utc};

use crate::{
    Invalid, InvalidReason, Revision, TextPattern,
    pattern::{BIDI, BYTE_ORDER_MARK, CONTROL_IN_LINES},
    text::{is_bidi_control, looks_empty, name_fault, piles_marks},
};

/// The longest comment, in Unicode scalar values.
pub const COMMENT_CHARS_MAX: usize = 2_000;
/// The longest author, in Unicode scalar values.
pub const AUTHOR_CHARS_MAX: usize = 80;

/// The database's key of a topic; never used twice, not even after a delete.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicId(pub i64);

impl TopicId {
    /// Returns the id as a number, for the digest. The schema keeps ids positive.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0.unsigned_abs()
    }
}

/// A notice on a board, as committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    /// The topic's key in the database.
    pub id: TopicId,
    /// The text, with LF as line ends if this server wrote it.
    pub comment: String,
    /// The author's name as they sent it; may be empty.
    pub author: String,
    /// When it was first written.
    pub created_at: DateTime<Utc>,
    /// When its row last changed, as set by its writers.
    pub updated_at: DateTime<Utc>,
    /// When its text or author last changed, as the database records it; `None` if neither did.
    pub edited_at: Option<DateTime<Utc>>,
    /// The revision of its newest change.
    pub revision: Revision,
}

/// A valid topic to write: proof that text and author keep the rules of the contract.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewTopic {
    comment: String,
    author: String,
}

impl NewTopic {
    /// Describes which comments are allowed. The expression does not tell those that consist of
    /// invisible characters only, or pile up marks on a letter.
    #[must_use]
    pub fn comment_pattern() -> TextPattern {
        let forbidden = [CONTROL_IN_LINES, BIDI, BYTE_ORDER_MARK];
        TextPattern::lines(&forbidden, COMMENT_CHARS_MAX)
    }

    /// Describes which authors are allowed.
    #[must_use]
    pub fn author_pattern() -> TextPattern {
        TextPattern::name_or_empty(AUTHOR_CHARS_MAX)
    }

    /// Trims and checks text and author. Reports all fields at fault, not only the first.
    ///
    /// # Errors
    /// One [`Invalid`] per field at fault.
    pub fn try_new(comment: &str, author: &str) -> Result<Self, Vec<Invalid>> {
        let (comment, author) = (trim_comment(comment), author.trim().to_owned());
        let faults = faults(Some(&comment), Some(&author));
        if faults.is_empty() {
            Ok(Self { comment, author })
        } else {
            Err(faults)
        }
    }

    /// Returns the text of the topic.
    #[must_use]
    pub fn comment(&self) -> &str {
        &self.comment
    }

    /// Returns the author's name; may be empty.
    #[must_use]
    pub fn author(&self) -> &str {
        &self.author
    }
}

/// A valid edit of a topic: proof that the new text and author keep the rules of the contract.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicEdit {
    comment: Option<String>,
    author: Option<String>,
}

impl TopicEdit {
    /// Trims and checks what is to change. Reports all fields at fault, not only the first.
    ///
    /// # Errors
    /// One [`Invalid`] per field at fault.
    pub fn try_new(comment: Option<&str>, author: Option<&str>) -> Result<Self, Vec<Invalid>> {
        let (comment, author) = (
            comment.map(trim_comment),
            author.map(|author| author.trim().to_owned()),
        );
        let faults = faults(comment.as_deref(), author.as_deref());
        if faults.is_empty() {
            Ok(Self { comment, author })
        } else {
            Err(faults)
        }
    }

    /// Returns the new text, if it changes.
    #[must_use]
    pub fn comment(&self) -> Option<&str> {
        self.comment.as_deref()
    }

    /// Returns the new author, if it changes.
    #[must_use]
    pub fn author(&self) -> Option<&str> {
        self.author.as_deref()
    }
}

fn trim_comment(comment: &str) -> String {
    comment
        .replace("\r\n", "\n")
        .replace('\r', "\n")
        .trim()
        .to_owned()
}

fn faults(comment: Option<&str>, author: Option<&str>) -> Vec<Invalid> {
    let comment = comment.and_then(comment_fault).map(|reason| Invalid {
        field: "comment",
        reason,
    });
    let author = author.and_then(|author| name_fault(author, AUTHOR_CHARS_MAX));
    let author = author.map(|reason| Invalid {
        field: "author",
        reason,
    });
    comment.into_iter().chain(author).collect()
}

fn comment_fault(comment: &str) -> Option<InvalidReason> {
    if looks_empty(comment) {
        Some(InvalidReason::Empty)
    } else if comment.chars().nth(COMMENT_CHARS_MAX).is_some() {
        Some(InvalidReason::TooLong {
            chars_max: COMMENT_CHARS_MAX,
        })
    } else {
        let is_forbidden = comment.chars().any(|c| {
            (c.is_control() && !matches!(c, '\n' | '\t')) || is_bidi_control(c) || c == '\u{FEFF}'
        });
        if is_forbidden {
            Some(InvalidReason::ForbiddenCharacter)
        } else {
            piles_marks(comment).then_some(InvalidReason::PiledMarks)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(comment: &str, author: &str) -> Vec<(&'static str, &'static str)> {
        let faults = NewTopic::try_new(comment, author).err().unwrap_or_default();
        faults
            .into_iter()
            .map(|fault| (fault.field, fault.reason.code()))
            .collect()
    }

    #[test]
    fn trims_and_makes_line_ends_one() {
        let topic = NewTopic::try_new(" a\r\nb\rc\n ", " ann ").expect("allowed");
        assert_eq!((topic.comment(), topic.author()), ("a\nb\nc", "ann"));
    }

    #[test]
    fn counts_scalar_values_not_bytes() {
        assert_eq!(reason(&"板".repeat(2_000), &"名".repeat(80)), []);
        assert_eq!(
            reason(&"板".repeat(2_001), &"名".repeat(81)),
            [("comment", "too_long"), ("author", "too_long")]
        );
    }

    #[test]
    fn refuses_what_shows_nothing() {
        for comment in ["", "  \n", "\u{3000}", "\u{200B}", "\u{200B} \u{FEFF}"] {
            assert_eq!(reason(comment, ""), [("comment", "empty")], "{comment:?}");
        }
    }

    #[test]
    fn refuses_what_lies_about_the_text() {
        for c in [
            '\0', '\u{1B}', '\u{7}', '\u{7F}', '\u{85}', '\u{202E}', '\u{2066}', '\u{FEFF}',
        ] {
            assert_eq!(
                reason(&format!("a{c}b"), ""),
                [("comment", "forbidden_character")],
                "{c:?}"
            );
            assert_eq!(
                reason("a", &format!("a{c}b")),
                [("author", "forbidden_character")],
                "{c:?}"
            );
        }
        assert_eq!(
            reason("a", "a\u{200B}b"),
            [("author", "forbidden_character")]
        );
    }

    #[test]
    fn refuses_marks_piled_on_marks() {
        assert_eq!(
            reason(&format!("a{}", "\u{0301}".repeat(40)), ""),
            [("comment", "piled_marks")]
        );
        assert_eq!(
            reason("a", &format!("a{}", "\u{0323}".repeat(11))),
            [("author", "piled_marks")]
        );
        assert_eq!(
            reason(&"e\u{0301}\u{0323}".repeat(40), ""),
            [],
            "a few on each letter are writing"
        );
    }

    #[test]
    fn takes_every_script_and_what_looks_like_markup() {
        for comment in [
            "回覧板",
            "مرحبا",
            "שלום",
            "བསྒྲུབས",
            "ก็ไม่ได้",
            "👍🏽❤\u{FE0F}",
            "👩\u{200D}👧",
            "<script>alert(1)</script>",
            "'; DROP TABLE topics;--",
            "a\tb\nc",
        ] {
            assert_eq!(reason(comment, ""), [], "{comment:?}");
        }
    }
}
