//! The text of a comment in pieces: links, and the words that were searched for.
//!
//! A link is an address that begins with `http://` or `https://`. It ends before the first
//! character that no address holds, as every one that is not ASCII: Japanese goes on behind an
//! address without a space. A full stop, or a bracket that was opened before the address, is not
//! part of it. `web/app/rows.ts` follows the same rule, and both are tested with
//! `web/e2e/links.json`.

use std::ops::Range;

use serde::Serialize;

/// A piece of a comment.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct CommentPiece<'a> {
    /// The address, if it is a link.
    pub href: Option<&'a str>,
    /// Its text, in one run or several.
    pub runs: Vec<TextRun<'a>>,
}

/// A run of text.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct TextRun<'a> {
    text: &'a str,
    /// Whether it was searched for.
    found: bool,
}

/// Splits a comment at its links, and at what was searched for.
pub fn pieces<'a>(comment: &'a str, sought: &str) -> Vec<CommentPiece<'a>> {
    let sought: Vec<char> = sought.trim().chars().map(folded).collect();
    let piece = |text, is_link: bool| CommentPiece {
        href: is_link.then_some(text),
        runs: runs(text, &sought),
    };
    let (mut all, mut from) = (Vec::new(), 0);
    while let Some(link) = next_link(comment, from) {
        if from < link.start {
            all.push(piece(&comment[from..link.start], false));
        }
        from = link.end;
        all.push(piece(&comment[link], true));
    }
    if from < comment.len() {
        all.push(piece(&comment[from..], false));
    }
    all
}

const AFTER_SCHEME: &str = "://";

/// Finds the first link that begins at `from` or later.
fn next_link(text: &str, from: usize) -> Option<Range<usize>> {
    let mut separators = text[from..].match_indices(AFTER_SCHEME);
    separators.find_map(|(at, _)| {
        let (before, rest) = (
            &text[from..from + at],
            &text[from + at + AFTER_SCHEME.len()..],
        );
        let scheme = before.len()
            - before
                .bytes()
                .rev()
                .take_while(u8::is_ascii_alphanumeric)
                .count();
        let is_web = ["http", "https"]
            .iter()
            .any(|known| before[scheme..].eq_ignore_ascii_case(known));
        let length = end_of_address(rest);
        let begins_with_host = rest.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '[');
        (is_web && begins_with_host && length > 0).then(|| {
            let start = from + scheme;
            start..from + at + AFTER_SCHEME.len() + length
        })
    })
}

/// Returns how long the address is with which a text begins.
fn end_of_address(text: &str) -> usize {
    let is_part =
        |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~:/?#[]@!$&'()*+,;=%".contains(byte);
    let mut end = text.bytes().take_while(|byte| is_part(byte)).count();
    loop {
        let address = &text[..end];
        let closes = |open, close| {
            address.ends_with(close)
                && address.matches(close).count() > address.matches(open).count()
        };
        if address.ends_with(['.', ',', ':', ';', '!', '?', '\'', '*', '(', '['])
            || closes('(', ')')
            || closes('[', ']')
        {
            end -= 1;
        } else {
            return end;
        }
    }
}

/// Splits a text where it holds what was searched for, whatever the case and the width of its
/// letters.
fn runs<'a>(text: &'a str, sought: &[char]) -> Vec<TextRun<'a>> {
    let letters: Vec<(usize, char)> = text.char_indices().map(|(at, c)| (at, folded(c))).collect();
    let starts_here = |at: usize| {
        let here = letters.get(at..at + sought.len());
        here.is_some_and(|here| here.iter().map(|(_, c)| c).eq(sought))
    };
    let offset = |at: usize| letters.get(at).map_or(text.len(), |(offset, _)| *offset);
    let (mut all, mut from, mut at) = (Vec::new(), 0, 0);
    let mut push = |text: &'a str, found| {
        if !text.is_empty() {
            all.push(TextRun { text, found });
        }
    };
    while !sought.is_empty() && at < letters.len() {
        if starts_here(at) {
            let end = offset(at + sought.len());
            push(&text[from..offset(at)], false);
            push(&text[offset(at)..end], true);
            (from, at) = (end, at + sought.len());
        } else {
            at += 1;
        }
    }
    push(&text[from..], false);
    all
}

/// Returns the letter that stands for both cases and both widths of one.
fn folded(c: char) -> char {
    let narrow = match c {
        '\u{FF01}'..='\u{FF5E}' => char::from_u32(u32::from(c) - 0xFEE0).unwrap_or(c),
        '\u{3000}' => ' ',
        _ => c,
    };
    narrow.to_lowercase().next().unwrap_or(narrow)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(piece: &CommentPiece<'_>) -> String {
        piece.runs.iter().map(|run| run.text).collect()
    }

    #[test]
    fn links_are_those_that_the_page_makes() {
        let cases: Vec<(String, Vec<String>)> =
            serde_json::from_str(include_str!("../../../../../web/e2e/links.json")).expect("JSON");
        for (comment, links) in cases {
            let pieces = pieces(&comment, "");
            let found = pieces.iter().filter_map(|piece| piece.href);
            assert!(found.eq(links.iter().map(String::as_str)), "{pieces:?}");
            assert_eq!(pieces.iter().map(text).collect::<String>(), comment);
        }
    }

    #[test]
    fn what_was_searched_for_is_found_in_either_case_and_width() {
        let found = |comment: &str, sought: &str| {
            let pieces = pieces(comment, sought);
            let runs = pieces.iter().flat_map(|piece| &piece.runs);
            let found = runs.filter(|run| run.found);
            found.map(|run| run.text.to_owned()).collect::<Vec<_>>()
        };
        for (comment, sought, all) in [
            ("A cat, a Cat, a CAT", "cat", &["cat", "Cat", "CAT"][..]),
            ("ＣＡＴと猫", "cat", &["ＣＡＴ"]),
            ("猫と猫", "猫", &["猫", "猫"]),
            ("aaaa", "aa", &["aa", "aa"]),
            ("https://cat.example/", "cat", &["cat"]),
            ("nothing", "cat", &[]),
            ("nothing", " ", &[]),
        ] {
            assert_eq!(found(comment, sought), all, "{comment} {sought}");
        }
    }
}
