//! `If-None-Match`: 304 only for those who have the list.
//!
//! The first line is the cursor of the list, the others are what the header holds.

use actix_web::http::header::HeaderValue;
use kairanban::fuzzing::{has, has_tag, known_cursor};
use kairanban_core::Cursor;

use crate::request::{first_line, values, with_headers};

pub fn check(input: &[u8]) {
    let (cursor, lines) = first_line(input);
    let cursor = std::str::from_utf8(cursor)
        .ok()
        .and_then(|text| text.parse().ok());
    let cursor: Cursor = cursor.unwrap_or_else(|| "ab-7".parse().expect("a cursor"));
    let values = values(lines);
    let request = with_headers("/", "if-none-match", &values);
    let tag = format!("\"{cursor}\"");
    let (has_list, has_it) = (has(&request, &cursor), has_tag(&request, &tag));

    let bytes: Vec<&[u8]> = values.iter().map(HeaderValue::as_bytes).collect();
    let sent = String::from_utf8_lossy(&bytes.join(&b", "[..])).into_owned();
    let has_star = sent.contains('*');
    assert!(
        !has_list || has_star || sent.contains(&format!("{}-", cursor.epoch)),
        "{sent}"
    );
    assert!(!has_it || has_star || sent.contains(&tag), "{sent}");
    if let Some(known) = known_cursor(&request) {
        assert!(sent.contains(&known.to_string()), "{sent}");
    }
    if let Some(tags) = slow_reading(&values) {
        let is_star = |tag: &&str| **tag == *"*";
        let covers = |tag: &&str| {
            let known = inside(tag).and_then(|text| text.parse::<Cursor>().ok());
            known.is_some_and(|known| {
                known.epoch == cursor.epoch && known.revision >= cursor.revision
            })
        };
        let tags: Vec<&str> = tags.iter().map(String::as_str).collect();
        let star = tags.iter().any(is_star);
        assert_eq!(has_list, star || tags.iter().any(covers), "{sent}");
        assert_eq!(has_it, star || tags.contains(&tag.as_str()), "{sent}");
        let first = tags
            .iter()
            .find_map(|tag| inside(tag)?.parse::<Cursor>().ok());
        assert_eq!(known_cursor(&request), first, "{sent}");
        // One tag more, as it was sent or as a proxy weakened it.
        for own in [tag.clone(), format!("W/{tag}")] {
            let mut more = values.clone();
            more.push(own.parse().expect("a header"));
            let request = with_headers("/", "if-none-match", &more);
            assert!(has(&request, &cursor) && has_tag(&request, &tag), "{sent}");
        }
    }
}

fn inside(tag: &str) -> Option<&str> {
    tag.strip_prefix('"')?.strip_suffix('"')
}

/// The tags of a list by RFC 9110, without the mark of weak ones, or `*`. `None` for what is no such list, and for one with a
/// comma inside of a tag.
fn slow_reading(values: &[HeaderValue]) -> Option<Vec<String>> {
    let mut tags = Vec::new();
    for value in values {
        for element in value.to_str().ok()?.split(',') {
            let element = element.trim_matches([' ', '\t']);
            if element.is_empty() {
                continue;
            }
            let strong = element.strip_prefix("W/").unwrap_or(element);
            let is_tag_char = |c: char| matches!(c, '\x21' | '\x23'..='\x7e');
            let is_tag = inside(strong).is_some_and(|text| text.chars().all(is_tag_char));
            if !is_tag && element != "*" {
                return None;
            }
            tags.push(strong.to_owned());
        }
    }
    Some(tags)
}
