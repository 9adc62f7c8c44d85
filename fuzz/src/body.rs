//! A post in its three forms: a form, text, JSON.
//!
//! The input is a `Content-Type`, a line end, and the body.

use std::borrow::Cow;

use actix_web::{http::header::HeaderValue, test::TestRequest};
use kairanban::fuzzing::{Problem, topic};
use kairanban_core::NewTopic;
use serde_json::Value;

use crate::request::{assert_helpful, first_line};

const FORM: &str = "application/x-www-form-urlencoded";
const TEXT: &str = "text/plain";
const JSON: &str = "application/json";

pub fn check(input: &[u8]) {
    let (media_type, body) = first_line(input);
    let Ok(header) = HeaderValue::from_bytes(media_type) else {
        return;
    };
    let kind = String::from_utf8_lossy(media_type);
    let kind = kind.split(';').next().unwrap_or_default().trim();
    let kind = kind.to_ascii_lowercase();
    let read = read(header, body);
    match &read {
        Ok(topic) => {
            assert!([FORM, TEXT, JSON].contains(&kind.as_str()), "{kind:?}");
            assert_keeps_the_rules(topic);
            assert_reads_the_same_again(topic);
        }
        Err(problem) => {
            assert_helpful(problem, &["comment", "author"]);
            if media_type == kind.as_bytes() {
                let known = [FORM, TEXT, JSON].contains(&kind.as_str());
                assert_eq!(problem.status != 415, known, "{kind:?}: {problem:?}");
            }
        }
    }
    if let Some(fields) = slow_reading(&kind, body)
        && read.as_ref().err().is_none_or(|error| error.status != 415)
    {
        assert_agrees(&read, fields);
    }
}

fn read(media_type: HeaderValue, body: &[u8]) -> Result<NewTopic, Problem> {
    let request = TestRequest::post().insert_header(("content-type", media_type));
    topic(&request.to_http_request(), body)
}

fn assert_keeps_the_rules(topic: &NewTopic) {
    let (comment, author) = (topic.comment(), topic.author());
    assert!((1..=2_000).contains(&comment.chars().count()));
    assert!(author.chars().count() <= 80);
    assert_eq!((comment.trim(), author.trim()), (comment, author));
    assert!(comment.chars().all(is_line_text), "{comment:?}");
    assert!(!author.chars().any(char::is_control), "{author:?}");
}

fn is_line_text(c: char) -> bool {
    !c.is_control() || matches!(c, '\n' | '\t')
}

fn assert_reads_the_same_again(topic: &NewTopic) {
    let json = serde_json::json!({"comment": topic.comment(), "author": topic.author()});
    let form = form_urlencoded::Serializer::new(String::new())
        .append_pair("comment", topic.comment())
        .append_pair("author", topic.author())
        .finish();
    for (media_type, body) in [(JSON, json.to_string()), (FORM, form)] {
        let again = read(HeaderValue::from_static(media_type), body.as_bytes());
        assert_eq!(again.as_ref().ok(), Some(topic), "{media_type} {body}");
    }
    if topic.author().is_empty() {
        let again = read(HeaderValue::from_static(TEXT), topic.comment().as_bytes());
        assert_eq!(again.as_ref().ok(), Some(topic));
    }
}

/// Reads comment and author by other libraries. `None` where these take what we refuse, or the
/// other way round.
fn slow_reading(kind: &str, body: &[u8]) -> Option<(String, String)> {
    match kind {
        TEXT => Some((String::from_utf8(body.to_vec()).ok()?, String::new())),
        JSON => {
            let Value::Object(object) = serde_json::from_slice(body).ok()? else {
                return None;
            };
            if object.keys().any(|key| key != "comment" && key != "author") {
                return None;
            }
            let author = object.get("author").map_or(Some(""), Value::as_str)?;
            let comment = object.get("comment")?.as_str()?;
            Some((comment.to_owned(), author.to_owned()))
        }
        FORM => {
            let pairs: Vec<_> = form_urlencoded::parse(body).collect();
            // The library replaces what is not UTF-8, and keeps a lone `%`.
            let is_doubtful = pairs.iter().any(|(name, value)| {
                name.contains(['\u{FFFD}', '%']) || value.contains(['\u{FFFD}', '%'])
            });
            let (comments, authors) = (values_of(&pairs, "comment"), values_of(&pairs, "author"));
            match (comments.as_slice(), authors.as_slice()) {
                ([comment], []) if !is_doubtful => Some((comment.clone(), String::new())),
                ([comment], [author]) if !is_doubtful => Some((comment.clone(), author.clone())),
                _ => None,
            }
        }
        _ => None,
    }
}

fn values_of(pairs: &[(Cow<'_, str>, Cow<'_, str>)], wanted: &str) -> Vec<String> {
    let named = pairs.iter().filter(|(name, _)| name == wanted);
    named.map(|(_, value)| value.to_string()).collect()
}

fn assert_agrees(read: &Result<NewTopic, Problem>, (comment, author): (String, String)) {
    match (read, NewTopic::try_new(&comment, &author)) {
        (Ok(topic), Ok(expected)) => assert_eq!(*topic, expected),
        (Err(problem), Err(faults)) if problem.status == 422 => {
            let fields: Vec<_> = problem.errors.iter().map(|error| error.field).collect();
            let expected: Vec<_> = faults.iter().map(|fault| fault.field).collect();
            assert_eq!(fields, expected);
        }
        // What another library takes for the last of two is one too many here.
        (Err(problem), _) if problem.detail.contains("duplicate field") => {}
        (read, expected) => panic!("{read:?} instead of {expected:?}"),
    }
}
