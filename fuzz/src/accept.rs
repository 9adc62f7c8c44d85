//! Content negotiation: `Accept` and `Accept-Encoding`.
//!
//! The first line is a path, the second what is sent as `Accept-Encoding`, the others are what
//! `Accept` holds.

use actix_web::http::header::HeaderValue;
use kairanban::fuzzing::{Representation, accept};

use crate::request::{first_line, values, with_headers};

const ACCEPT_ENCODING: &str = "accept-encoding";
const FORMS: [Representation; 3] = [
    Representation::Html,
    Representation::Json,
    Representation::Text,
];
const TYPES: [&str; 5] = [
    "text/event-stream",
    "application/x-ndjson",
    "text/html",
    "application/json",
    "text/plain",
];

pub fn check(input: &[u8]) {
    let (path, rest) = first_line(input);
    let (coding, lines) = first_line(rest);
    let path = if path.starts_with(b"/api/") {
        "/api/v1/x"
    } else {
        "/"
    };
    check_accept(path, &values(lines));
    if let Ok(coding) = HeaderValue::from_bytes(coding) {
        check_coding(coding);
    }
}

/// What was decided for a request.
#[derive(Debug, PartialEq)]
struct Chosen {
    allowed: Vec<bool>,
    lines: bool,
    forms: [Representation; 3],
}

fn choose(path: &str, values: &[HeaderValue]) -> Chosen {
    let request = with_headers(path, "accept", values);
    let allowed = TYPES.map(|media_type| accept::allows(&request, media_type));
    Chosen {
        allowed: allowed.to_vec(),
        lines: accept::prefers_ndjson(&request),
        forms: [
            Representation::of_page(&request),
            Representation::of_post(&request),
            Representation::of_error(&request),
        ],
    }
}

fn check_accept(path: &str, values: &[HeaderValue]) {
    let chosen = choose(path, values);
    if values.is_empty() {
        assert!(chosen.allowed.iter().all(|allowed| *allowed) && !chosen.lines);
    }
    // Parameters of a type follow its name and decide nothing.
    for media_type in TYPES {
        let with = format!("{media_type}; charset=utf-8");
        let request = with_headers(path, "accept", values);
        assert_eq!(
            accept::allows(&request, &with),
            accept::allows(&request, media_type)
        );
    }
    let bytes: Vec<&[u8]> = values.iter().map(HeaderValue::as_bytes).collect();
    let joined = bytes.join(&b", "[..]);
    // Within quotes a comma separates nothing.
    if !joined.contains(&b'"') && joined.is_ascii() && !values.is_empty() {
        let joined = HeaderValue::from_bytes(&joined).expect("a header");
        assert_eq!(choose(path, &[joined]), chosen, "{values:?}");
    }
    if let Some(ranges) = slow_reading(&joined) {
        let expected = TYPES.map(|media_type| weight(&ranges, media_type) > 0);
        assert_eq!(chosen.allowed, expected, "{values:?}");
        let default = if path == "/" {
            Representation::Text
        } else {
            Representation::Json
        };
        for (chosen, default) in
            chosen
                .forms
                .into_iter()
                .zip([Representation::Html, Representation::Json, default])
        {
            assert_is_wanted(chosen, default, &ranges);
        }
    }
}

fn names(form: Representation) -> &'static [&'static str] {
    match form {
        Representation::Html => &["text/html", "application/xhtml+xml"],
        Representation::Json => &["application/json", "application/problem+json"],
        Representation::Text => &["text/plain"],
    }
}

/// Returns the highest weight of the names of a form.
fn weight_of(ranges: &[(String, u32)], form: Representation) -> u32 {
    let weights = names(form).iter().map(|name| weight(ranges, name));
    weights.max().unwrap_or_default()
}

/// Asserts that no other form has a higher weight, and that of those with the same weight none is
/// named before it.
fn assert_is_wanted(chosen: Representation, default: Representation, ranges: &[(String, u32)]) {
    let highest = FORMS.map(|form| weight_of(ranges, form)).into_iter().max();
    if highest == Some(0) {
        // The first that no range refuses, if there is one. Its other names count only where a
        // range has them.
        let is_refused = names(chosen).iter().enumerate().any(|(at, name)| {
            closest_range(ranges, name).is_some_and(|(range, _)| at == 0 || range == name)
        });
        assert!(!is_refused || chosen == default, "{ranges:?}");
    } else {
        assert_eq!(Some(weight_of(ranges, chosen)), highest, "{ranges:?}");
    }
    // Where all weigh the same, the first that is named.
    if ranges.iter().all(|(_, weight)| *weight == 1_000) {
        let first = ranges.iter().find_map(|(range, _)| {
            let mut forms = FORMS.into_iter();
            forms.find(|form| names(*form).contains(&range.as_str()))
        });
        if let Some(first) = first {
            assert_eq!(chosen, first, "{ranges:?}");
        }
    }
}

/// Returns the ranges of a list by RFC 9110, section 12.5.1, each with its weight in thousandths.
/// `None` for what is no such list, and for one with other parameters.
fn slow_reading(list: &[u8]) -> Option<Vec<(String, u32)>> {
    let list = std::str::from_utf8(list).ok()?.to_ascii_lowercase();
    let elements = list
        .split(',')
        .map(|element| element.trim_matches([' ', '\t']));
    let elements = elements.filter(|element| !element.is_empty());
    let ranges: Option<Vec<_>> = elements
        .map(|element| {
            let (range, weight) = match element.split_once(';') {
                Some((range, parameter)) => {
                    let range = range.trim_end_matches([' ', '\t']);
                    (
                        range,
                        parameter
                            .trim_start_matches([' ', '\t'])
                            .strip_prefix("q=")?,
                    )
                }
                None => (element, "1"),
            };
            let (family, kind) = range.split_once('/')?;
            let is_range = match (family, kind) {
                ("*", "*") => true,
                (family, "*") => is_name(family),
                (family, kind) => is_name(family) && is_name(kind),
            };
            Some((range.to_owned(), thousandths(weight)?)).filter(|_| is_range)
        })
        .collect();
    ranges.filter(|ranges| !ranges.is_empty())
}

fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text
            .chars()
            .all(|c| matches!(c, 'a'..='z' | '0'..='9' | '+' | '-' | '.'))
}

/// Returns a weight: 0 or 1, and perhaps a point and up to three digits.
fn thousandths(text: &str) -> Option<u32> {
    let (whole, digits) = text.split_once('.').unwrap_or((text, ""));
    let is_weight = matches!(whole, "0" | "1")
        && digits.len() <= 3
        && digits.bytes().all(|digit| digit.is_ascii_digit());
    let weight: u32 = format!("{whole}{digits:0<3}").parse().ok()?;
    (is_weight && weight <= 1_000).then_some(weight)
}

/// Returns the weight of a type: that of the range that fits most closely.
fn weight(ranges: &[(String, u32)], media_type: &str) -> u32 {
    closest_range(ranges, media_type).map_or(0, |(_, weight)| *weight)
}

/// Returns the range that fits a type most closely.
fn closest_range<'r>(ranges: &'r [(String, u32)], media_type: &str) -> Option<&'r (String, u32)> {
    let family = media_type.split('/').next().unwrap_or_default();
    let closest = [media_type, &format!("{family}/*"), "*/*"];
    closest
        .iter()
        .find_map(|wanted| ranges.iter().find(|(range, _)| range == wanted))
}

fn check_coding(coding: HeaderValue) {
    let nothing = with_headers("/", ACCEPT_ENCODING, &[]);
    assert!(accept::allows_gzip(&nothing) && !accept::asks_for_gzip(&nothing));
    let request = with_headers("/", ACCEPT_ENCODING, std::slice::from_ref(&coding));
    let asks = accept::asks_for_gzip(&request);
    assert!(!asks || accept::allows_gzip(&request));
    if let Some(expected) = slow_coding(&coding) {
        assert_eq!(accept::allows_gzip(&request), expected, "{coding:?}");
        let text = coding.to_str().unwrap_or_default();
        let is_preferred = expected && !text.contains("identity");
        assert!(asks || !is_preferred, "{coding:?}");
    }
}

/// Returns whether a well-formed list accepts gzip. `None` for any other, and for one that names a
/// coding twice.
fn slow_coding(list: &HeaderValue) -> Option<bool> {
    let mut weights: Vec<(&str, bool)> = Vec::new();
    for element in list.to_str().ok()?.split(',') {
        let element = element.trim_matches([' ', '\t']);
        let (coding, weight) = element.split_once(";q=").unwrap_or((element, "1"));
        let is_known = ["gzip", "deflate", "br", "identity", "*"].contains(&coding);
        let is_weight = matches!(weight, "0" | "1" | "0.5" | "0.001" | "0.000" | "1.0");
        let is_new = weights.iter().all(|(earlier, _)| *earlier != coding);
        if !(is_known && is_weight && is_new) {
            return None;
        }
        weights.push((coding, !matches!(weight, "0" | "0.000")));
    }
    let closest = ["gzip", "*"]
        .iter()
        .find_map(|wanted| weights.iter().find(|(coding, _)| coding == wanted));
    Some(closest.is_some_and(|(_, takes)| *takes))
}
