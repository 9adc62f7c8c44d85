//! Content negotiation: `Accept` and `Accept-Encoding`.
//!
//! The first line is a path, the second what is sent as `Accept-Encoding`, the others are what `Accept` holds.

use actix_web::http::header::HeaderValue;
use kairanban::fuzzing::{Form, accept};

use crate::request::{first_line, values, with_headers};

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
    forms: [Form; 3],
}

fn choose(path: &str, values: &[HeaderValue]) -> Chosen {
    let request = with_headers(path, "accept", values);
    let allowed = TYPES.map(|media_type| accept::allows(&request, media_type));
    Chosen {
        allowed: allowed.to_vec(),
        lines: accept::prefers_ndjson(&request),
        forms: [
            Form::of_page(&request),
            Form::of_post(&request),
            Form::of_error(&request),
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
        let expected = TYPES.map(|media_type| is_allowed(&ranges, media_type));
        assert_eq!(chosen.allowed, expected, "{values:?}");
        let named = |range: &(String, u32)| match range.0.as_str() {
            "text/html" | "application/xhtml+xml" => Some(Form::Html),
            "application/json" | "application/problem+json" => Some(Form::Json),
            "text/plain" => Some(Form::Text),
            _ => None,
        };
        let first = ranges.iter().find_map(named);
        let default = if path == "/" { Form::Text } else { Form::Json };
        let expected = [Form::Html, Form::Json, default].map(|form| first.unwrap_or(form));
        assert_eq!(chosen.forms, expected, "{values:?}");
    }
}

/// The ranges of a list by RFC 9110, each with its weight in thousandths. `None` for what is no such list, and for one with
/// parameters or capital letters.
fn slow_reading(list: &[u8]) -> Option<Vec<(String, u32)>> {
    let list = std::str::from_utf8(list).ok()?;
    let elements = list
        .split(',')
        .map(|element| element.trim_matches([' ', '\t']));
    let elements = elements.filter(|element| !element.is_empty());
    let ranges: Option<Vec<_>> = elements
        .map(|element| {
            let (family, kind) = element.split_once('/')?;
            let is_name = |text: &str| {
                let is_part =
                    |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "+-.".contains(c);
                !text.is_empty() && text.chars().all(is_part)
            };
            let is_range = match (family, kind) {
                ("*", "*") => true,
                (family, "*") => is_name(family),
                (family, kind) => is_name(family) && is_name(kind),
            };
            is_range.then(|| (element.to_owned(), 1_000))
        })
        .collect();
    ranges.filter(|ranges| !ranges.is_empty())
}

/// The range that fits most closely decides.
fn is_allowed(ranges: &[(String, u32)], media_type: &str) -> bool {
    let family = media_type.split('/').next().unwrap_or_default();
    let closest = [
        media_type.to_owned(),
        format!("{family}/*"),
        "*/*".to_owned(),
    ];
    let found = closest
        .iter()
        .find_map(|wanted| ranges.iter().find(|(range, _)| range == wanted));
    found.is_some_and(|(_, weight)| *weight > 0)
}

fn check_coding(coding: HeaderValue) {
    let request = |values: &[HeaderValue]| with_headers("/", "accept-encoding", values);
    let nothing = request(&[]);
    assert!(accept::allows_gzip(&nothing) && !accept::asks_for_gzip(&nothing));
    let request = request(std::slice::from_ref(&coding));
    assert_eq!(
        accept::asks_for_gzip(&request),
        accept::allows_gzip(&request)
    );
    if let Some(expected) = slow_coding(&coding) {
        assert_eq!(accept::allows_gzip(&request), expected, "{coding:?}");
    }
}

/// Whether a well-formed list accepts gzip. `None` for any other, and for one that names a coding twice.
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
    let of = |wanted: &str| weights.iter().find(|(coding, _)| *coding == wanted);
    Some(
        of("gzip")
            .or_else(|| of("*"))
            .is_some_and(|(_, takes)| *takes),
    )
}
