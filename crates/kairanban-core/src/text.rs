//! Text: which characters a text may hold, and how it is found again. Characters are judged by
//! their Unicode properties, so that a later version of Unicode needs no list of ours.

use icu_casemap::CaseMapper;
use icu_normalizer::ComposingNormalizer;
use icu_properties::{
    CodePointMapData, CodePointSetData,
    props::{
        BidiControl, DefaultIgnorableCodePoint, EastAsianWidth, ExtendedPictographic,
        GeneralCategory, Ideographic, PatternWhiteSpace, PrependedConcatenationMark, WhiteSpace,
    },
};

/// Follows an emoji, and shows it as one.
const EMOJI_STYLE: char = '\u{FE0F}';
/// Makes a key of a digit.
const KEYCAP: char = '\u{20E3}';
/// Joins emoji to one.
const JOINER: char = '\u{200D}';
/// What the property of skin tones covers.
const SKIN_TONES: std::ops::RangeInclusive<char> = '\u{1F3FB}'..='\u{1F3FF}';

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

/// Returns how many columns a character takes on a terminal.
pub(crate) fn columns(c: char) -> usize {
    if is_mark(c) || is_invisible(c) {
        return 0;
    }
    match CodePointMapData::<EastAsianWidth>::new().get(c) {
        EastAsianWidth::Wide | EastAsianWidth::Fullwidth => 2,
        _ => 1,
    }
}

/// Returns whether a text would be shown as an empty one.
pub(crate) fn looks_empty(text: &str) -> bool {
    text.chars().all(|c| {
        CodePointSetData::new::<WhiteSpace>().contains(c)
            || CodePointSetData::new::<PatternWhiteSpace>().contains(c)
            || is_invisible(c)
            || c.is_control()
    })
}

/// Returns whether a text holds an invisible character that does not belong to an emoji.
pub(crate) fn hides_something(text: &str) -> bool {
    let chars: Vec<char> = text.chars().collect();
    (0..chars.len()).any(|at| is_invisible(chars[at]) && !belongs(&chars, at))
}

/// Returns whether an invisible character is part of what stands before it: of an emoji, or of a
/// variant of a kanji.
fn belongs(chars: &[char], at: usize) -> bool {
    let before = at.checked_sub(1).map(|before| chars[before]);
    let (after, Some(before)) = (chars.get(at + 1), before) else {
        return false;
    };
    let is_pictograph = |c: char| CodePointSetData::new::<ExtendedPictographic>().contains(c);
    match chars[at] {
        EMOJI_STYLE => {
            is_pictograph(before)
                || (matches!(before, '0'..='9' | '#' | '*') && after == Some(&KEYCAP))
        }
        JOINER => {
            let is_joined =
                is_pictograph(before) || before == EMOJI_STYLE || SKIN_TONES.contains(&before);
            is_joined && after.is_some_and(|c| is_pictograph(*c))
        }
        '\u{FE00}'..='\u{FE02}' | '\u{E0100}'..='\u{E01EF}' => {
            CodePointSetData::new::<Ideographic>().contains(before)
        }
        _ => false,
    }
}

/// Folds a text for search: texts that differ by case, width, normal form or invisible characters
/// are folded alike. Turkish dotted and dotless letters come to `i`, since nothing says that a text
/// is Turkish.
#[must_use]
pub fn fold(text: &str) -> String {
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    let visible: String = text
        .chars()
        .filter(|c| !CodePointSetData::new::<DefaultIgnorableCodePoint>().contains(*c))
        .collect();
    // Folding may undo the normal form, and the other way round.
    let once = normalized(&CaseMapper::new().fold_string(&normalized(&visible)));
    normalized(&CaseMapper::new().fold_string(&once))
        .replace('ı', "i")
        .replace("i\u{307}", "i")
}

fn normalized(text: &str) -> String {
    ComposingNormalizer::new_nfkc().normalize(text).into_owned()
}

/// What is searched for. Cheap to ask many times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SearchText {
    raw: String,
    folded: String,
}

impl SearchText {
    /// Prepares a text as a reader typed it.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self {
            raw: text.to_owned(),
            folded: fold(text),
        }
    }

    /// Returns whether a text contains this: as it stands, which finds parts of a composed letter
    /// too, or folded.
    #[must_use]
    pub fn is_in(&self, text: &str) -> bool {
        text.contains(&self.raw) || (!self.folded.is_empty() && fold(text).contains(&self.folded))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_text_is_found_as_a_reader_types_it() {
        for (text, typed) in [
            ("ＮＨＫ受信料", "nhk"),
            ("ＮＨＫ受信料", "NHK受信"),
            ("NHK受信料", "ｎｈｋ"),
            ("ÄRGER im Treppenhaus", "ärger"),
            ("A\u{308}RGER", "ärger"),
            ("МОСКВА", "москва"),
            ("İstanbul", "istanbul"),
            ("İSTANBUL", "istanbul"),
            ("ISPARTA", "ısparta"),
            ("ﾊﾟｿｺﾝ教室", "パソコン"),
            ("ハ\u{309A}ソコン", "パソコン"),
            ("㈱回覧", "(株)"),
            ("Straße", "STRASSE"),
            ("ΟΔΟΣ", "οδος"),
            ("an\u{200B}n", "ann"),
        ] {
            assert!(SearchText::new(typed).is_in(text), "{typed} in {text}");
        }
        for (text, typed) in [("回覧板", "解散"), ("Ärger", "arger"), ("ann", "anna")] {
            assert!(!SearchText::new(typed).is_in(text), "{typed} in {text}");
        }
        assert!(
            !SearchText::new("\u{200B}").is_in("ann"),
            "an empty fold is in every text"
        );
    }

    #[test]
    fn characters_that_show_nothing_are_known() {
        for c in "\u{AD}\u{34F}\u{115F}\u{1160}\u{180E}\u{200B}\u{200C}\u{2028}\u{2060}\u{2064}\u{2800}\u{3164}\u{FE00}\u{FE0F}\u{FEFF}\u{FFA0}\u{FFF9}\u{1D159}\u{E0020}\u{E007F}\u{E0100}".chars() {
            assert!(is_invisible(c), "{c:?}");
            assert!(looks_empty(&format!(" {c}\u{3000}")), "{c:?}");
            assert!(hides_something(&format!("ann{c}")), "{c:?}");
        }
        for c in "aé板ا्👍−\u{600}".chars() {
            assert!(!is_invisible(c) && !looks_empty(&c.to_string()), "{c:?}");
        }
    }

    #[test]
    fn emoji_keep_what_makes_them() {
        for emoji in [
            "❤\u{FE0F}",
            "👩\u{200D}👧",
            "👩🏽\u{200D}🚀",
            "🏳\u{FE0F}\u{200D}🌈",
            "1\u{FE0F}\u{20E3}",
        ] {
            assert!(!hides_something(&format!("ann {emoji}")), "{emoji}");
        }
        for name in ["辻\u{E0100}", "葛\u{E0101}城", "神\u{FE00}"] {
            assert!(!hides_something(name), "{name}");
        }
        for text in [
            "ann1\u{FE0F}",
            "ann1\u{200D}",
            "😀\u{200D}",
            "辻\u{E0100}\u{E0101}",
            "ann\u{E0100}",
            "ann\u{FE0F}",
            "ann\u{200D}",
            "👩\u{200D}\u{200D}",
            "❤\u{FE0F}\u{FE0F}",
        ] {
            assert!(hides_something(text), "{text:?}");
        }
    }

    /// Returns texts of all kinds, with more of what folding trips over than chance would have.
    fn text() -> impl Strategy<Value = String> {
        let odd = prop::sample::select(vec![
            "ＮＨＫ",
            "Ä",
            "A\u{308}",
            "ﾊﾟ",
            "ハ\u{309A}",
            "İ",
            "ı",
            "ß",
            "ẞ",
            "Σ",
            "ς",
            "ﬃ",
            "㈱",
            "\u{345}",
            "\u{200D}",
            "각",
            "ᄀ",
            "ᅡ",
            "\u{F71}\u{F72}",
            "ǰ",
            "ŉ",
            "K",
            "☎\u{FE0F}",
        ]);
        prop::collection::vec(
            prop_oneof![
                odd.prop_map(str::to_owned),
                any::<char>().prop_map(String::from)
            ],
            0..24,
        )
        .prop_map(|parts| parts.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        /// Any part of a text finds it, wherever it was cut.
        #[test]
        fn every_part_of_a_text_finds_it(text in text(), cut in any::<prop::sample::Index>(), end in any::<prop::sample::Index>()) {
            let chars: Vec<char> = text.chars().collect();
            let (a, b) = (cut.index(chars.len() + 1), end.index(chars.len() + 1));
            let part: String = chars[a.min(b)..a.max(b)].iter().collect();
            prop_assert!(SearchText::new(&part).is_in(&text));
        }

        #[test]
        fn folding_twice_changes_nothing(text in text()) {
            let folded = fold(&text);
            prop_assert_eq!(fold(&folded), folded);
        }

        /// In small letters and in each normal form.
        #[test]
        fn the_whole_text_is_found_in_every_form(text in text()) {
            let nfd = icu_normalizer::DecomposingNormalizer::new_nfd();
            let nfkd = icu_normalizer::DecomposingNormalizer::new_nfkd();
            let nfc = ComposingNormalizer::new_nfc();
            for other in [
                nfd.normalize(&text).into_owned(),
                nfkd.normalize(&text).into_owned(),
                nfc.normalize(&text).into_owned(),
                text.to_lowercase(),
            ] {
                let found = SearchText::new(&other);
                prop_assert!(found.folded.is_empty() || found.is_in(&text), "{other:?}");
            }
        }
    }
}
