//! Search: which text finds which.

use icu_casemap::CaseMapper;
use icu_normalizer::ComposingNormalizer;
use icu_properties::{
    CodePointSetData,
    props::{Dash, DefaultIgnorableCodePoint},
};

/// Folds a text for search: texts that differ by case, width, normal form, the kind of a dash or
/// characters that Unicode lets a program ignore (`Default_Ignorable_Code_Point`) are folded alike.
/// Turkish dotted and dotless letters come to `i`, since nothing says that a text is Turkish.
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
        .chars()
        .map(plain_sign)
        .collect()
}

/// Returns the sign that a reader types for one that looks like it. Keyboards and the tables of
/// Shift_JIS and CP932 disagree which of them a key or a code is.
fn plain_sign(c: char) -> char {
    match c {
        // Wave dashes and tildes, not all of which Unicode calls dashes.
        '\u{2053}' | '\u{223C}' | '\u{301C}' | '\u{3030}' => '~',
        '\u{2225}' => '\u{2016}',
        c if !c.is_ascii() && CodePointSetData::new::<Dash>().contains(c) => '-',
        c => c,
    }
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
            // As JIS and as CP932 have it, both ways, and as a keyboard without kana has it.
            ("10時\u{301C}", "10時\u{FF5E}"),
            ("10時\u{FF5E}", "10時\u{301C}"),
            ("10時\u{301C}", "10時~"),
            ("1\u{2212}2", "1\u{FF0D}2"),
            ("1\u{FF0D}2", "1\u{2212}2"),
            ("1\u{2212}2", "1-2"),
            ("1-2", "1\u{2212}2"),
            ("あ\u{2015}い", "あ\u{2014}い"),
            ("あ\u{2014}い", "あ\u{2015}い"),
            ("あ\u{2016}い", "あ\u{2225}い"),
            ("あ\u{2225}い", "あ\u{2016}い"),
            ("\u{A5}100", "\u{FFE5}100"),
            ("\u{FFE0}\u{FFE1}\u{FFE2}", "\u{A2}\u{A3}\u{AC}"),
            ("Wi\u{2011}Fi", "wi-fi"),
            ("Wi\u{2013}Fi", "wi-fi"),
            ("Ｗｉ\u{2010}Ｆｉ", "wi\u{2011}fi"),
        ] {
            assert!(SearchText::new(typed).is_in(text), "{typed} in {text}");
        }
        for (text, typed) in [
            ("回覧板", "解散"),
            ("Ärger", "arger"),
            ("ann", "anna"),
            ("コーヒー", "コ-ヒ-"),
        ] {
            assert!(!SearchText::new(typed).is_in(text), "{typed} in {text}");
        }
        assert!(
            !SearchText::new("\u{200B}").is_in("ann"),
            "an empty fold is in every text"
        );
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
            "\u{301C}",
            "\u{FF5E}",
            "\u{2212}",
            "\u{2225}\u{338}",
            "\u{223C}\u{338}",
            "\u{FE32}",
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
