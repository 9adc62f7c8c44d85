//! Text: which characters a text may hold, and how it is found again. Characters are judged by
//! their Unicode properties, so that a later version of Unicode needs no list of ours.

mod hidden;
mod search;

use icu_properties::{
    CodePointMapData, CodePointSetData,
    props::{
        BidiControl, DefaultIgnorableCodePoint, GeneralCategory, NoncharacterCodePoint,
        PatternWhiteSpace, PrependedConcatenationMark, WhiteSpace,
    },
};

pub use self::search::{SearchText, fold};
use crate::InvalidReason;

/// The most combining marks on one letter; the tallest stacks of living scripts have about half of
/// that.
const MARKS_MAX: usize = 10;

/// Characters that reorder what stands around them, so that text reads as what it is not.
pub(crate) fn is_bidi_control(c: char) -> bool {
    CodePointSetData::new::<BidiControl>().contains(c)
}

/// Returns whether a character shows nothing by itself: two texts that differ by it look alike.
pub(crate) fn is_invisible(c: char) -> bool {
    // A braille cell without dots is a symbol to Unicode, and so is the sign for a missing note.
    const BLANKS: [char; 2] = ['\u{2800}', '\u{1D159}'];
    CodePointSetData::new::<DefaultIgnorableCodePoint>().contains(c)
        || match CodePointMapData::<GeneralCategory>::new().get(c) {
            // Some format characters are signs around a number.
            GeneralCategory::Format => {
                !CodePointSetData::new::<PrependedConcatenationMark>().contains(c)
            }
            GeneralCategory::LineSeparator | GeneralCategory::ParagraphSeparator => true,
            _ => BLANKS.contains(&c),
        }
}

/// Returns whether a character stands on, under or in the one before it.
pub(crate) fn is_mark(c: char) -> bool {
    matches!(
        CodePointMapData::<GeneralCategory>::new().get(c),
        GeneralCategory::NonspacingMark
            | GeneralCategory::SpacingMark
            | GeneralCategory::EnclosingMark
    )
}

/// Returns whether Unicode keeps a code point from ever being a character.
pub(crate) fn is_noncharacter(c: char) -> bool {
    CodePointSetData::new::<NoncharacterCodePoint>().contains(c)
}

/// Returns whether a text would be shown as an empty one.
#[must_use]
pub fn looks_empty(text: &str) -> bool {
    text.chars().all(|c| {
        CodePointSetData::new::<WhiteSpace>().contains(c)
            || CodePointSetData::new::<PatternWhiteSpace>().contains(c)
            || is_invisible(c)
            || c.is_control()
    })
}

/// Returns whether more marks stand on a letter than any script has: they would grow out of their
/// line, over the topics above and below.
pub(crate) fn piles_marks(text: &str) -> bool {
    let mut marks = 0;
    text.chars().any(|c| {
        marks = if is_mark(c) { marks + 1 } else { 0 };
        marks > MARKS_MAX
    })
}

/// Returns what is wrong with a trimmed line that people read as a name: the author of a topic, the
/// title of a board, the name of a token. Two that differ must not look alike because one of them
/// holds what shows nothing.
pub(crate) fn name_fault(name: &str, chars_max: usize) -> Option<InvalidReason> {
    if name.chars().nth(chars_max).is_some() {
        Some(InvalidReason::TooLong { chars_max })
    } else if name.chars().any(char::is_control) || hidden::hides_something(name) {
        Some(InvalidReason::HiddenCharacter)
    } else if name.chars().any(is_noncharacter) {
        Some(InvalidReason::Noncharacter)
    } else if piles_marks(name) {
        Some(InvalidReason::PiledMarks)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two at the end of each plane, and 32 more (Unicode, section 23.7).
    #[test]
    fn no_name_holds_a_noncharacter() {
        let found = ('\0'..=char::MAX).filter(|c| is_noncharacter(*c));
        let fault = |c: char| name_fault(&format!("a{c}"), 80);
        assert!(
            found
                .clone()
                .all(|c| fault(c) == Some(InvalidReason::Noncharacter))
        );
        assert_eq!(found.count(), 66);
        assert_eq!(fault('\u{fffd}').or(fault('\u{10fffd}')), None);
    }

    #[test]
    fn characters_that_show_nothing_are_known() {
        for c in "\u{AD}\u{34F}\u{115F}\u{1160}\u{180E}\u{200B}\u{200C}\u{2028}\u{2060}\u{2064}\u{2800}\u{3164}\u{FE00}\u{FE0F}\u{FEFF}\u{FFA0}\u{FFF9}\u{1D159}\u{E0020}\u{E007F}\u{E0100}".chars() {
            assert!(is_invisible(c), "{c:?}");
            assert!(looks_empty(&format!(" {c}\u{3000}")), "{c:?}");
            assert!(hidden::hides_something(&format!("ann{c}")), "{c:?}");
        }
        for c in "aé板ا्👍−\u{600}".chars() {
            assert!(!is_invisible(c) && !looks_empty(&c.to_string()), "{c:?}");
        }
    }
}
