//! Makes requests of bytes.

use actix_web::{
    HttpRequest,
    http::header::{HeaderMap, HeaderName, HeaderValue},
    test::TestRequest,
};
use kairanban::fuzzing::Problem;

/// Splits bytes at the first line end.
pub fn first_line(input: &[u8]) -> (&[u8], &[u8]) {
    let end = input.iter().position(|byte| *byte == b'\n');
    let end = end.unwrap_or(input.len());
    (&input[..end], input.get(end + 1..).unwrap_or_default())
}

/// Makes a header of each line that a header can hold.
pub fn values(lines: &[u8]) -> Vec<HeaderValue> {
    lines
        .split(|byte| *byte == b'\n')
        .filter_map(|line| HeaderValue::from_bytes(line).ok())
        .collect()
}

pub fn headers(name: &'static str, values: &[HeaderValue]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for value in values {
        headers.append(HeaderName::from_static(name), value.clone());
    }
    headers
}

pub fn with_headers(path: &str, name: &'static str, values: &[HeaderValue]) -> HttpRequest {
    let request = TestRequest::with_uri(path);
    let request = values.iter().fold(request, |request, value| {
        request.append_header((name, value.clone()))
    });
    request.to_http_request()
}

/// Checks what every refusal of something unreadable has: a status, a code and a sentence, and the
/// fields at fault where it is about fields.
pub fn assert_helpful(problem: &Problem, fields: &[&str]) {
    assert!(
        matches!(problem.status, 400 | 415 | 422),
        "{problem:?} is the client's fault"
    );
    assert!(!problem.code.is_empty() && !problem.detail.is_empty());
    assert_eq!(problem.code == "invalid", !problem.errors.is_empty());
    for error in &problem.errors {
        assert!(
            fields.contains(&error.field) && error.detail.contains(error.field),
            "{problem:?} names the field"
        );
    }
    if problem.code == "unknown_key" {
        assert!(problem.detail.contains('`'), "{problem:?} names the key");
    }
    serde_json::to_string(problem).expect("JSON");
}
