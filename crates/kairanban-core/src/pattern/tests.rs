use proptest::{prelude::*, test_runner::TestRunner};
use regex::{Regex, RegexBuilder};

use super::TextPattern;
use crate::{
    BoardName, BoardTitle, Cursor, IdempotencyKey, Invalid, InvalidReason, NewTopic, TokenName,
    text::{is_invisible, is_noncharacter},
};

/// A rule beside its pattern.
struct Case {
    name: &'static str,
    pattern: TextPattern,
    regex: Regex,
    accepts: fn(&str) -> bool,
}

impl Case {
    fn new(name: &'static str, pattern: TextPattern, accepts: fn(&str) -> bool) -> Self {
        let regex = RegexBuilder::new(&pattern.regex)
            .size_limit(100 << 20)
            .build()
            .expect("a regular expression");
        Self {
            name,
            pattern,
            regex,
            accepts,
        }
    }

    fn describes(&self, text: &str) -> bool {
        let bounds = self.pattern.chars.as_ref();
        bounds.is_none_or(|bounds| bounds.contains(&text.chars().count()))
            && self.regex.is_match(text)
            && !self.pattern.reserved.contains(&text)
    }

    fn agrees(&self, text: &str) -> bool {
        (self.accepts)(text) == self.describes(text)
    }
}

fn cases() -> [Case; 7] {
    [
        Case::new("board", BoardName::pattern(), |text| {
            text.parse::<BoardName>().is_ok()
        }),
        Case::new("title", BoardTitle::pattern(), |text| {
            is_described_name(text, |text| text.parse::<BoardTitle>().err())
        }),
        Case::new("token name", TokenName::pattern(), |text| {
            is_described_name(text, |text| text.parse::<TokenName>().err())
        }),
        Case::new("key", IdempotencyKey::pattern(), |text| {
            text.parse::<IdempotencyKey>().is_ok()
        }),
        // The pattern ends where the sixteenth digit of a revision begins.
        Case::new("cursor", Cursor::pattern(), |text| {
            text.parse::<Cursor>()
                .is_ok_and(|cursor| cursor.revision.get() < 1_000_000_000_000_000)
        }),
        Case::new("comment", NewTopic::comment_pattern(), |text| {
            is_described(text, &NewTopic::try_new(text, ""))
        }),
        Case::new("author", NewTopic::author_pattern(), |text| {
            is_described_name(text, |text| Some(NewTopic::try_new("a", text).err()?[0]))
        }),
    ]
}

/// Returns whether a topic is allowed, or is refused for one of the two reasons that the patterns
/// leave to words: marks cannot be counted in every dialect, and no expression without lookahead
/// both counts characters and finds a visible one.
fn is_described(text: &str, checked: &Result<NewTopic, Vec<Invalid>>) -> bool {
    let Err(faults) = checked else {
        return true;
    };
    let is_piled = faults[0].reason == InvalidReason::PiledMarks;
    // The rule looks for something visible first, so the rest of it has to be asked again.
    let visible = format!("a{}", text.trim());
    let is_invisible = faults[0].reason == InvalidReason::Empty
        && !text.trim().is_empty()
        && NewTopic::try_new(&visible, "").is_ok();
    is_piled || is_invisible
}

/// Returns whether a name is allowed, or is refused for piled marks or for invisible characters and
/// noncharacters of those that the pattern does not name alone.
fn is_described_name(text: &str, fault: fn(&str) -> Option<Invalid>) -> bool {
    const IN_CONTEXT: &str = "\u{180b}\u{180c}\u{180d}\u{180e}\u{180f}\u{200c}\u{200d}\
        \u{fe00}\u{fe01}\u{fe02}\u{fe0e}\u{fe0f}";
    let named = text.replace(
        |c: char| {
            (is_invisible(c) && IN_CONTEXT.contains(c))
                || (c > '\u{ffff}' && (is_invisible(c) || is_noncharacter(c)))
        },
        "a",
    );
    let found = match fault(text).map(|fault| fault.reason) {
        Some(InvalidReason::HiddenCharacter | InvalidReason::Noncharacter) => {
            fault(&named).map(|fault| fault.reason)
        }
        found => found,
    };
    matches!(found, None | Some(InvalidReason::PiledMarks))
}

/// The characters on both sides of each boundary in the patterns, and some that the names are of.
const CHARS: &str = "\0\u{8}\t\n\u{b}\u{c}\r\u{e}\u{1f} !~\u{7f}\u{80}\u{85}\u{9f}\u{a0}\u{ad}\
    \u{61c}\u{1680}\u{180e}\u{2000}\u{200a}\u{200b}\u{200e}\u{2028}\u{202a}\u{202f}\u{205f}\
    \u{2060}\u{2066}\u{3000}\u{301}\u{fdcf}\u{fdd0}\u{fdef}\u{fdf0}\u{feff}\u{fff9}\u{fffd}\
    \u{ffff}\u{10ffff}azfg0189AZ-_.回é";

fn texts() -> impl Strategy<Value = String> {
    let pool: Vec<char> = CHARS.chars().collect();
    let short = prop::collection::vec(
        prop_oneof![3 => prop::sample::select(pool), 1 => any::<char>()],
        0..6,
    );
    let short = short.prop_map(|chars| chars.into_iter().collect::<String>());
    // Up to and over the length of each kind, with something else at either end.
    let bounds = prop::sample::select(vec![63, 80, 200, 255, 2_000]);
    let lengths = (bounds, 0..6_usize).prop_map(|(bound, more)| bound - 3 + more);
    let units = prop::sample::select(vec!["a", "回", "!", "\n", "\r\n", "a ", "-"]);
    let long = ("[ \ta-]?", lengths, units, "[ \r\na]?")
        .prop_map(|(before, count, unit, after)| format!("{before}a{}{after}", unit.repeat(count)));
    prop_oneof![
        20 => short,
        1 => long,
        5 => "[0-9a-g]{0,17}-?[0-9+]{0,17}",
        5 => "[a-z0-9-]{1,64}",
    ]
}

#[test]
fn each_rule_accepts_what_its_pattern_describes() {
    let cases = cases();
    let checked = TestRunner::new(ProptestConfig::with_cases(1_500)).run(&texts(), |text| {
        for case in &cases {
            prop_assert!(case.agrees(&text), "{}: {text:?}", case.name);
        }
        Ok(())
    });
    assert_eq!(checked, Ok(()));
}

#[test]
fn each_rule_agrees_on_each_character_wherever_it_stands() {
    let cases = cases();
    let far = ('\u{fdc0}'..='\u{10000}').chain(['\u{10ffff}']);
    for c in ('\0'..='\u{3170}').chain(far) {
        for text in [
            format!("{c}"),
            format!("{c}a"),
            format!("a{c}"),
            format!("a{c}a"),
        ] {
            for case in &cases {
                assert!(case.agrees(&text), "{}: {text:?}", case.name);
            }
        }
    }
}

#[test]
fn each_rule_agrees_on_reserved_words_and_bounds() {
    for case in cases() {
        for word in case.pattern.reserved {
            assert!(!(case.accepts)(word) && case.regex.is_match(word), "{word}");
        }
        for chars in [0, 1, 63, 64, 80, 81, 200, 201, 255, 256, 2_000, 2_001] {
            for unit in ["a", "回"] {
                for space in ["", " ", "\r\n"] {
                    let text = format!("{space}{}{space}", unit.repeat(chars));
                    assert!(case.agrees(&text), "{}: {chars} {text:?}", case.name);
                }
            }
        }
    }
}
