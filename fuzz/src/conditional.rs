//! `If-Match` and `If-None-Match`: 304 only for those who have the list, 412 for those who demand
//! another.
//!
//! The first line is the cursor of the list. Lines that begin with `=` are what `If-Match` holds,
//! the others `If-None-Match`.

use actix_web::{HttpRequest, http::header::HeaderValue, test::TestRequest};
use kairanban::fuzzing::{has, has_tag, known_cursor};
use kairanban_core::Cursor;

use crate::request::{first_line, values};

/// What proxies put behind a tag when they compress its content.
const CODINGS: [&str; 7] = [
    "--gzip", "-gzip", ";gzip", ";br", "-br", "-zstd", "-deflate",
];

pub fn check(input: &[u8]) {
    let (cursor, lines) = first_line(input);
    let cursor = std::str::from_utf8(cursor)
        .ok()
        .and_then(|text| text.parse().ok());
    let cursor: Cursor = cursor.unwrap_or_else(|| "ab-7".parse().expect("a cursor"));
    let lines: Vec<&[u8]> = lines.split(|byte| *byte == b'\n').collect();
    let (demanded, known): (Vec<&[u8]>, Vec<&[u8]>) =
        lines.iter().partition(|line| line.starts_with(b"="));
    let demanded: Vec<&[u8]> = demanded.iter().map(|line| &line[1..]).collect();
    let demanded = if demanded.is_empty() {
        Vec::new()
    } else {
        values(&demanded.join(&b'\n'))
    };
    let known = if known.is_empty() {
        Vec::new()
    } else {
        values(&known.join(&b'\n'))
    };
    let request = request(&demanded, &known);
    let tag = format!("\"{cursor}\"");
    let (has_list, has_it) = (has(&request, &cursor), has_tag(&request, &tag));
    let sent = format!("{demanded:?} {known:?}");

    for read in [&has_list, &has_it] {
        if let Err(problem) = read {
            assert!(!demanded.is_empty() && problem.status == 412, "{sent}");
        }
    }
    let text: Vec<_> = known
        .iter()
        .map(|value| String::from_utf8_lossy(value.as_bytes()))
        .collect();
    let text = text.join(", ");
    assert!(
        !matches!(has_list, Ok(true)) || names(&text, &format!("{}-", cursor.epoch)),
        "{sent}"
    );
    assert!(
        !matches!(has_it, Ok(true)) || names(&text, &cursor.to_string()),
        "{sent}"
    );
    if let Some(cursor) = known_cursor(&request) {
        assert!(text.contains(&cursor.to_string()), "{sent}");
    }
    let (Some(demanded), Some(tags)) = (slow_reading(&demanded), slow_reading(&known)) else {
        return;
    };
    let is_demanded = demanded.is_empty()
        || demanded
            .iter()
            .any(|tag| !tag.is_weak && tag.fits(&cursor, Cursor::eq));
    let expected = |covers: fn(&Cursor, &Cursor) -> bool| {
        is_demanded.then(|| tags.iter().any(|tag| tag.fits(&cursor, covers)))
    };
    // An empty header demands what nothing is.
    if demanded.is_empty() && request.headers().contains_key("if-match") {
        return;
    }
    assert_eq!(has_list.ok(), expected(is_as_new), "{sent}");
    assert_eq!(has_it.ok(), expected(Cursor::eq), "{sent}");
}

fn names(tags: &str, part: &str) -> bool {
    tags.contains('*') || tags.contains(part)
}

fn is_as_new(found: &Cursor, ours: &Cursor) -> bool {
    found.epoch == ours.epoch && found.revision >= ours.revision
}

fn request(demanded: &[HeaderValue], known: &[HeaderValue]) -> HttpRequest {
    let named = demanded
        .iter()
        .map(|value| ("if-match", value))
        .chain(known.iter().map(|value| ("if-none-match", value)));
    named
        .fold(TestRequest::default(), |request, (name, value)| {
            request.append_header((name, value.clone()))
        })
        .to_http_request()
}

/// A tag of a list; `None` stands for `*`.
struct Tag {
    text: Option<String>,
    is_weak: bool,
}

impl Tag {
    fn fits(&self, ours: &Cursor, fits: impl Fn(&Cursor, &Cursor) -> bool) -> bool {
        let Some(text) = &self.text else {
            return true;
        };
        let bare = CODINGS.iter().find_map(|coding| text.strip_suffix(coding));
        let found: Option<Cursor> = bare.unwrap_or(text).parse().ok();
        found.is_some_and(|found| fits(&found, ours))
    }
}

/// Returns the tags of a list by RFC 9110, section 8.8.3, or `*` alone. `None` for what is neither.
fn slow_reading(values: &[HeaderValue]) -> Option<Vec<Tag>> {
    let mut tags = Vec::new();
    for value in values {
        let mut rest = value.to_str().ok()?;
        loop {
            rest = rest.trim_start_matches([' ', '\t', ',']);
            if rest.is_empty() {
                break;
            }
            if rest.trim_end_matches([' ', '\t', ',']) == "*" {
                tags.push(Tag {
                    text: None,
                    is_weak: false,
                });
                break;
            }
            let strong = rest.strip_prefix("W/");
            let opened = strong.unwrap_or(rest).strip_prefix('"')?;
            let (text, after) = opened.split_once('"')?;
            let after = after.trim_start_matches([' ', '\t']);
            if !text.chars().all(is_plain) || !(after.is_empty() || after.starts_with(',')) {
                return None;
            }
            tags.push(Tag {
                text: Some(text.to_owned()),
                is_weak: strong.is_some(),
            });
            rest = after;
        }
    }
    let has_star = tags.iter().any(|tag| tag.text.is_none());
    (!has_star || tags.len() == 1).then_some(tags)
}

/// Returns whether a character may stand in a tag. A backslash escapes nothing there, but some
/// readers think so.
fn is_plain(c: char) -> bool {
    matches!(c, '\x21' | '\x23'..='\x7e') && c != '\\'
}
