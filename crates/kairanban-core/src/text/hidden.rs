//! Invisible characters in names. Each is refused, but where the letters or the emoji around it
//! need it: joiners as UAX #31 (section 2.3.1) and the core specification have them, emoji by
//! UTS #51, and variants of kanji and of Mongolian letters.

use icu_properties::{
    CodePointMapData, CodePointSetData,
    props::{
        CanonicalCombiningClass, ExtendedPictographic, GeneralCategory, GeneralCategoryGroup,
        Ideographic, IndicSyllabicCategory, JoiningType, Script,
    },
};

use super::{is_invisible, is_mark};

/// Keeps letters apart, or shows a virama.
const NON_JOINER: char = '\u{200C}';
/// Joins letters, or emoji to one.
const JOINER: char = '\u{200D}';
/// Follows an emoji, and shows it as text.
const TEXT_STYLE: char = '\u{FE0E}';
/// Follows an emoji, and shows it as one.
const EMOJI_STYLE: char = '\u{FE0F}';
/// Makes a key of a digit.
const KEYCAP: char = '\u{20E3}';
/// What the property of skin tones covers.
const SKIN_TONES: std::ops::RangeInclusive<char> = '\u{1F3FB}'..='\u{1F3FF}';
/// The emoji that tags make the flag of a region.
const BLACK_FLAG: char = '\u{1F3F4}';
/// Tags are ASCII, moved up by this.
const TAGS: u32 = 0xE_0000;

/// Returns whether a text holds an invisible character that nothing beside it needs.
pub(super) fn hides_something(text: &str) -> bool {
    let chars: Vec<char> = text.chars().collect();
    (0..chars.len()).any(|at| is_invisible(chars[at]) && !is_needed(&chars, at))
}

fn is_needed(chars: &[char], at: usize) -> bool {
    let (before, after) = (&chars[..at], &chars[at + 1..]);
    let Some(&base) = before.last() else {
        return false;
    };
    match chars[at] {
        NON_JOINER => {
            parts_joined_letters(before, after)
                || (follows_virama(before) && next_but_marks(after).is_some_and(is_letter))
        }
        JOINER => {
            joins_emoji(base, after)
                || (follows_virama(before) && !next_but_marks(after).is_some_and(is_vowel_sign))
                || (is_ra_with_a_joiner(base) && after.first().is_some_and(|c| is_virama(*c)))
        }
        EMOJI_STYLE if matches!(base, '0'..='9' | '#' | '*') => after.first() == Some(&KEYCAP),
        EMOJI_STYLE | TEXT_STYLE => is_pictograph(base),
        '\u{FE00}'..='\u{FE02}' | '\u{E0100}'..='\u{E01EF}' => {
            CodePointSetData::new::<Ideographic>().contains(base)
        }
        '\u{180B}'..='\u{180D}' | '\u{180F}' => is_mongolian_letter(base),
        // Stands before the last letter of a word, apart from the others.
        '\u{180E}' => {
            ends_mongolian(before) && matches!(after.first(), Some('\u{1820}' | '\u{1821}'))
        }
        c if as_tag(c).is_some() => is_in_a_flag(chars, at),
        _ => false,
    }
}

fn is_pictograph(c: char) -> bool {
    CodePointSetData::new::<ExtendedPictographic>().contains(c)
}

fn joins_emoji(base: char, after: &[char]) -> bool {
    (is_pictograph(base) || base == EMOJI_STYLE || SKIN_TONES.contains(&base))
        && after.first().is_some_and(|c| is_pictograph(*c))
}

fn is_letter(c: char) -> bool {
    GeneralCategoryGroup::Letter.contains(CodePointMapData::<GeneralCategory>::new().get(c))
}

fn is_virama(c: char) -> bool {
    CodePointMapData::<CanonicalCombiningClass>::new().get(c) == CanonicalCombiningClass::Virama
}

fn is_vowel_sign(c: char) -> bool {
    CodePointMapData::<IndicSyllabicCategory>::new().get(c) == IndicSyllabicCategory::VowelDependent
}

/// Letters whose form before a virama a joiner selects: RA of Bengali and of Kannada.
const fn is_ra_with_a_joiner(c: char) -> bool {
    matches!(c, '\u{9B0}' | '\u{CB0}')
}

/// Returns whether a mark has a place of its own around a letter, so that normal forms move it.
fn is_ordered_mark(c: char) -> bool {
    CodePointMapData::<GeneralCategory>::new().get(c) == GeneralCategory::NonspacingMark
        && !matches!(
            CodePointMapData::<CanonicalCombiningClass>::new().get(c),
            CanonicalCombiningClass::NotReordered | CanonicalCombiningClass::Virama
        )
}

/// Returns the next character that no normal form moves.
fn next_but_marks(after: &[char]) -> Option<char> {
    after.iter().copied().find(|c| !is_ordered_mark(*c))
}

/// Returns whether a text ends with a letter that has a virama.
fn follows_virama(before: &[char]) -> bool {
    let mut back = before
        .iter()
        .rev()
        .copied()
        .skip_while(|c| is_ordered_mark(*c));
    back.next().is_some_and(is_virama) && back.find(|c| !is_mark(*c)).is_some_and(is_letter)
}

/// Returns whether the letters on both sides would be joined.
fn parts_joined_letters(before: &[char], after: &[char]) -> bool {
    matches!(
        joining_type(before.iter().rev()),
        Some(JoiningType::LeftJoining | JoiningType::DualJoining)
    ) && matches!(
        joining_type(after.iter()),
        Some(JoiningType::RightJoining | JoiningType::DualJoining)
    )
}

/// Returns how the first letter joins others; marks on it and on the one before make no difference.
fn joining_type<'a>(mut letters: impl Iterator<Item = &'a char>) -> Option<JoiningType> {
    letters.find_map(|c| {
        let joining = CodePointMapData::<JoiningType>::new().get(*c);
        (joining != JoiningType::Transparent).then_some(joining)
    })
}

fn is_mongolian_letter(c: char) -> bool {
    is_letter(c) && CodePointMapData::<Script>::new().get(c) == Script::Mongolian
}

/// Returns whether a text ends with a Mongolian letter, or with a variant of one.
fn ends_mongolian(before: &[char]) -> bool {
    let mut back = before.iter().rev();
    let last = back.find(|c| !matches!(c, '\u{180B}'..='\u{180D}' | '\u{180F}'));
    last.is_some_and(|c| is_mongolian_letter(*c))
}

/// Returns the ASCII character that a tag stands for; DEL ends a sequence of tags.
fn as_tag(c: char) -> Option<u8> {
    let ascii = u8::try_from(u32::from(c).checked_sub(TAGS)?).ok()?;
    (0x20..=0x7F).contains(&ascii).then_some(ascii)
}

/// Returns whether a tag is part of a flag: of the black one, with the region of a country in small
/// letters (`gbeng`), and the end.
fn is_in_a_flag(chars: &[char], at: usize) -> bool {
    let before = chars[..at].iter().rev();
    let from = at - before.take_while(|c| as_tag(**c).is_some()).count();
    let tags: Vec<u8> = chars[from..].iter().map_while(|c| as_tag(*c)).collect();
    let is_region = match tags.as_slice() {
        [a, b, region @ .., 0x7F] => {
            a.is_ascii_lowercase()
                && b.is_ascii_lowercase()
                && (1..=4).contains(&region.len())
                && region
                    .iter()
                    .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit())
        }
        _ => false,
    };
    is_region && from > 0 && chars[from - 1] == BLACK_FLAG
}

#[cfg(test)]
mod tests {
    use icu_properties::props::DefaultIgnorableCodePoint;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn emoji_and_letters_keep_what_makes_them() {
        for name in [
            "❤\u{FE0F}",
            "❤\u{FE0E}",
            "👩\u{200D}👧",
            "👩🏽\u{200D}🚀",
            "🏳\u{FE0F}\u{200D}🌈",
            "1\u{FE0F}\u{20E3}",
            "🏴\u{E0067}\u{E0062}\u{E0065}\u{E006E}\u{E0067}\u{E007F}",
            "🏴\u{E0075}\u{E0073}\u{E0063}\u{E0061}\u{E007F}",
            "辻\u{E0100}",
            "葛\u{E0101}城",
            "神\u{FE00}",
            // Persian, with a vowel sign and a shadda at the joint, too.
            "می\u{200C}خواهم",
            "می\u{64E}\u{651}\u{200C}خواهم",
            // Hindi, Malayalam, Sinhala, Bengali.
            "क\u{94D}\u{200D}ष",
            "क\u{94D}\u{200C}ष",
            "ന\u{D4D}\u{200D}",
            "ශ\u{DCA}\u{200D}රී",
            "র\u{200D}\u{9CD}যাব",
            "\u{182E}\u{1823}\u{1829}\u{180B}\u{182D}",
            "\u{182A}\u{182F}\u{180B}\u{180E}\u{1820}",
        ] {
            assert!(!hides_something(name), "{name} {name:?}");
            assert!(!hides_something(&format!("ann {name} bob")), "{name:?}");
        }
    }

    #[test]
    fn nothing_hides_where_nothing_needs_it() {
        for text in [
            "ann1\u{FE0F}",
            "1\u{FE0E}",
            "ann1\u{200D}",
            "😀\u{200D}",
            "辻\u{E0100}\u{E0101}",
            "ann\u{E0100}",
            "ann\u{FE0F}",
            "ann\u{FE0E}",
            "ann\u{200D}",
            "👩\u{200D}\u{200D}",
            "❤\u{FE0F}\u{FE0F}",
            "❤\u{FE0E}\u{FE0F}",
            // Not between letters that join, not after a virama, or twice.
            "می\u{200C}",
            "\u{200C}خواهم",
            "د\u{200C}خ",
            "می\u{200C}\u{200C}خ",
            "an\u{200C}n",
            "क\u{200D}ष",
            "क\u{94D}\u{200D}\u{200D}ष",
            "क\u{94D}\u{200D}\u{93F}",
            "क\u{94D}\u{200C}",
            "\u{94D}\u{200D}",
            "ক\u{200D}\u{9CD}য",
            "ann\u{180B}",
            "\u{182E}\u{180B}\u{180B}",
            "\u{182A}\u{180E}",
            "a\u{180E}\u{1820}",
            // No flag: no end, no base, no region, a message.
            "ann\u{E0020}",
            "🏴\u{E0067}\u{E0062}\u{E0065}\u{E006E}\u{E0067}",
            "😀\u{E0067}\u{E0062}\u{E0065}\u{E006E}\u{E0067}\u{E007F}",
            "ann\u{E0067}\u{E0062}\u{E0065}\u{E006E}\u{E0067}\u{E007F}",
            "🏴\u{E007F}",
            "🏴\u{E0067}\u{E0062}\u{E007F}",
            "🏴\u{E0073}\u{E0065}\u{E0063}\u{E0072}\u{E0065}\u{E0074}\u{E0073}\u{E007F}",
            "🏴\u{E0068}\u{E0069}\u{E0020}\u{E0061}\u{E007F}",
            "🏴\u{E0067}\u{E0062}\u{E0065}\u{E006E}\u{E0067}\u{E007F}\u{E0061}",
        ] {
            assert!(hides_something(text), "{text:?}");
        }
    }

    fn invisible() -> impl Strategy<Value = char> {
        let all = CodePointSetData::new::<DefaultIgnorableCodePoint>();
        let all: Vec<_> = all.iter_ranges().flatten().collect();
        prop::sample::select(all).prop_filter_map("a surrogate", char::from_u32)
    }

    proptest! {
        /// Letters of scripts without joiners, digits and spaces need nothing that shows nothing.
        #[test]
        fn a_name_that_needs_nothing_hides_nothing(
            name in "[a-zA-Z0-9éßñА-я가-힣ぁ-んァ-ヶ _.-]{1,12}",
            at in any::<prop::sample::Index>(),
            hidden in prop::collection::vec(invisible(), 1..6),
        ) {
            prop_assert!(!hides_something(&name));
            let mut chars: Vec<char> = name.chars().collect();
            let at = at.index(chars.len() + 1);
            chars.splice(at..at, hidden);
            let text: String = chars.into_iter().collect();
            prop_assert!(hides_something(&text), "{text:?}");
        }
    }
}
