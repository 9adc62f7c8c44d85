//! What texts look like, as the API's description says it: each pattern stands beside the rule
//! that it describes, and the tests here hold that they agree.

use std::ops::RangeInclusive;

/// Describes which texts a rule accepts, in the terms of OpenAPI.
#[derive(Clone, Debug)]
pub struct TextPattern {
    /// A regular expression in the part of ECMA 262 that other dialects read in the same way: no
    /// `\s`, `\d` or `\p`, no lookahead, characters beyond ASCII as `\uXXXX`.
    pub regex: String,
    /// How many Unicode code points the text has, as OpenAPI counts. `None` where the rule counts
    /// what is left of a text that is trimmed; then the expression bounds it.
    pub chars: Option<RangeInclusive<usize>>,
    /// Words that match the expression but are not allowed.
    pub reserved: &'static [&'static str],
}

impl TextPattern {
    /// Describes a text that matches an expression and has a number of characters.
    pub(crate) fn new(regex: &str, chars: RangeInclusive<usize>) -> Self {
        Self {
            regex: regex.to_owned(),
            chars: Some(chars),
            reserved: &[],
        }
    }

    /// Describes a line that people read as a name, of up to `chars_max` characters when it is
    /// trimmed. The expression does not tell those that hide a character beyond U+FFFF, or hold a
    /// noncharacter there, those that hide one that letters or emoji may need, and those that pile
    /// up marks on a letter.
    pub(crate) fn name(chars_max: usize) -> Self {
        Self::between_spaces(&name_chars(chars_max))
    }

    /// Describes the same of a line that may be empty.
    pub(crate) fn name_or_empty(chars_max: usize) -> Self {
        Self::between_spaces(&format!("({})?", name_chars(chars_max)))
    }

    /// Describes a text that is trimmed, and then has 1 to `chars_max` characters, none of them
    /// among the forbidden ones. `\r\n` counts as one character.
    pub(crate) fn lines(forbidden: &[&str], chars_max: usize) -> Self {
        let character = format!(r"(\r\n|[^{}])", forbidden.concat());
        Self::between_spaces(&kept(&character, forbidden, chars_max))
    }

    fn between_spaces(kept: &str) -> Self {
        Self {
            regex: format!("^[{WHITE}]*{kept}[{WHITE}]*$"),
            chars: None,
            reserved: &[],
        }
    }
}

/// Returns an expression for 1 to `chars_max` characters, the last of which would not be trimmed.
fn kept(character: &str, forbidden: &[&str], chars_max: usize) -> String {
    let (before, forbidden) = (chars_max - 1, forbidden.concat());
    format!("{character}{{0,{before}}}[^{forbidden}{WHITE}]")
}

fn name_chars(chars_max: usize) -> String {
    let forbidden = [CONTROL, BIDI, INVISIBLE, NONCHARACTERS];
    kept(&format!("[^{}]", forbidden.concat()), &forbidden, chars_max)
}

/// White space that is trimmed: Unicode's `White_Space`.
const WHITE: &str =
    r"\u0009-\u000d\u0020\u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000";

/// Control characters.
const CONTROL: &str = r"\u0000-\u001f\u007f-\u009f";

/// Control characters other than tab, line feed and carriage return.
pub(crate) const CONTROL_IN_LINES: &str = r"\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f";

/// Characters that set the direction of text, as in `text::is_bidi_control`.
pub(crate) const BIDI: &str = r"\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069";

/// Characters that show nothing, as in `text::is_invisible`: up to U+FFFF, and without those that
/// a letter or an emoji may need.
const INVISIBLE: &str = concat!(
    r"\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u200b\u200e\u200f",
    r"\u2028-\u202e\u2060-\u206f\u2800\u3164\ufe03-\ufe0d\ufeff\uffa0\ufff0-\ufffb",
);

/// Noncharacters, as in `text::is_noncharacter`: up to U+FFFF.
const NONCHARACTERS: &str = r"\ufdd0-\ufdef\ufffe\uffff";

/// The byte order mark.
pub(crate) const BYTE_ORDER_MARK: &str = r"\ufeff";

#[cfg(test)]
mod tests;
