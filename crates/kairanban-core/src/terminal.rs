//! Text as a terminal can show it without obeying it. Other programs write rows too, so a comment
//! may hold what no form accepts.

use icu_properties::{CodePointMapData, props::EastAsianWidth};

use crate::text::{is_bidi_control, is_invisible, is_mark};

/// Stands for a character that is not shown.
const REPLACEMENT: char = '\u{FFFD}';

/// Returns whether a terminal or a pager may obey a character, or show the text around it in
/// another order or on another line, instead of printing it.
#[must_use]
pub fn is_obeyed(c: char) -> bool {
    c.is_control() || is_bidi_control(c) || matches!(c, '\u{2028}' | '\u{2029}')
}

/// Replaces the characters that a terminal would obey, also line ends; keeps tabs.
#[must_use]
pub fn harmless(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '\t' => c,
            c if is_obeyed(c) => REPLACEMENT,
            c => c,
        })
        .collect()
}

/// Returns the lines of a topic as text: its comment with the author before it, made harmless.
#[must_use]
pub fn topic_lines(author: &str, comment: &str) -> Vec<String> {
    let author = match harmless(author).replace('\t', " ") {
        author if author.is_empty() => author,
        author => format!("{author}: "),
    };
    let mut lines: Vec<_> = comment.lines().map(harmless).collect();
    match lines.first_mut() {
        Some(first) => first.insert_str(0, &author),
        None => lines.push(author),
    }
    lines
}

/// Writes a topic as fields with tabs between them, further lines of its comment behind a tab: so
/// that no line of a comment looks like a topic.
#[must_use]
pub fn topic_as_text(id: i64, time: &str, author: &str, comment: &str) -> String {
    let lines = topic_lines(author, comment).join("\n\t");
    format!("{id}\t{time}\t{lines}\n")
}

/// Breaks a line between words, or within one that is too wide, to rows of at most `first` and then
/// `rest` columns. A row has at least one character.
#[must_use]
pub fn wrap(line: &str, first: usize, rest: usize) -> Vec<String> {
    let line = line.replace('\t', "    ");
    let (mut rows, mut row, mut used) = (Vec::new(), String::new(), 0);
    for word in line.split_inclusive(' ') {
        let room = if rows.is_empty() { first } else { rest };
        if used > 0 && used + width(word.trim_end()) > room {
            rows.push(std::mem::take(&mut row).trim_end().to_owned());
            used = 0;
        }
        for c in word.chars() {
            let room = if rows.is_empty() { first } else { rest };
            // A space at the end of a full row is not needed.
            if used > 0 && used + columns(c) > room && c != ' ' {
                rows.push(std::mem::take(&mut row).trim_end().to_owned());
                used = 0;
            }
            row.push(c);
            used += columns(c);
        }
    }
    rows.push(row.trim_end().to_owned());
    rows
}

/// Returns how many columns a text takes on a terminal.
#[must_use]
pub fn width(text: &str) -> usize {
    text.chars().map(columns).sum()
}

/// Returns how many columns a character takes on a terminal.
fn columns(c: char) -> usize {
    if is_mark(c) || is_invisible(c) {
        return 0;
    }
    match CodePointMapData::<EastAsianWidth>::new().get(c) {
        EastAsianWidth::Wide | EastAsianWidth::Fullwidth => 2,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_a_terminal_obeys_is_replaced() {
        for c in [
            '\u{1b}', '\u{7}', '\r', '\n', '\u{7f}', '\u{9b}', '\u{202E}', '\u{2066}', '\u{200F}',
            '\u{2028}',
        ] {
            assert_eq!(harmless(&format!("a{c}b")), "a\u{FFFD}b", "{c:?}");
        }
        let kept = "回覧板 🏳️‍🌈\tשלום ﷽";
        assert_eq!(harmless(kept), kept);
    }

    #[test]
    fn a_comment_cannot_look_like_a_topic() {
        assert_eq!(
            topic_as_text(1, "now", "a\tb\nc", "x\n2\tnow\tadmin: y"),
            "1\tnow\ta b\u{FFFD}c: x\n\t2\tnow\tadmin: y\n"
        );
        assert_eq!(topic_as_text(1, "now", "", ""), "1\tnow\t\n");
    }

    #[test]
    fn lines_break_between_words_and_within_wide_ones() {
        assert_eq!(wrap("one two three", 9, 5), ["one two", "three"]);
        assert_eq!(wrap("abcdefgh", 3, 4), ["abc", "defg", "h"]);
        assert_eq!(wrap("回覧板です", 4, 6), ["回覧", "板です"]);
        assert_eq!(wrap("a  b", 9, 9), ["a  b"]);
        assert_eq!(wrap("", 9, 9), [""]);
        assert_eq!(wrap("回", 1, 1), ["回"]);
    }

    proptest! {
        #[test]
        fn rows_hold_the_whole_line_and_fit(line in "[ a-c回́]{0,60}", rest in 2usize..20) {
            let rows = wrap(&line, rest + 3, rest);
            let letters = |text: &str| text.replace(' ', "");
            prop_assert_eq!(letters(&rows.concat()), letters(&line));
            for (at, row) in rows.iter().enumerate() {
                prop_assert!(width(row) <= rest + if at == 0 { 3 } else { 0 }, "{:?}", rows);
            }
        }
    }
}
