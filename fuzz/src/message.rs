//! Messages on a WebSocket, and the answers to them.
//!
//! The input is the message.

use kairanban::fuzzing::{ack, message, refused};
use kairanban_core::{IdempotencyKey, NewTopic, Revision, Topic, TopicId};
use serde_json::Value;

use crate::request::assert_helpful;

pub fn check(input: &[u8]) {
    // A frame of text is UTF-8, or the connection ends before this.
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    let other = serde_json::from_str::<Value>(text).ok();
    match message(text) {
        Ok((topic, key)) => {
            let value = other.expect("what is taken is JSON");
            assert_eq!(value["op"], "create");
            let comment = value["comment"].as_str().expect("a comment");
            let author = value.get("author").map_or(Some(""), Value::as_str);
            let expected = NewTopic::try_new(comment, author.expect("a text"));
            assert_eq!(expected.as_ref(), Ok(&topic));
            let key = key.as_ref().map(IdempotencyKey::as_str);
            assert_eq!(value.get("key").and_then(Value::as_str), key);
            check_ack(key, topic.comment(), topic.author());
        }
        Err((key, problem)) => {
            assert_helpful(&problem, &["comment", "author"]);
            let answer = one_line(&refused(key.as_deref(), &problem));
            assert_eq!(answer["event"], "error");
            assert_eq!(answer["data"]["code"], problem.code);
            assert_eq!(answer["data"]["detail"], problem.detail);
            assert_eq!(
                answer["data"].get("key").and_then(Value::as_str),
                key.as_deref()
            );
        }
    }
    check_ack(Some(text), text, text);
}

fn topic_of(comment: &str, author: &str) -> Topic {
    let time = chrono::DateTime::UNIX_EPOCH;
    Topic {
        id: TopicId(7),
        comment: comment.to_owned(),
        author: author.to_owned(),
        created_at: time,
        updated_at: time,
        edited_at: None,
        revision: Revision::ZERO,
    }
}

fn check_ack(key: Option<&str>, comment: &str, author: &str) {
    let answer = one_line(&ack(key, &topic_of(comment, author)));
    assert_eq!(answer["event"], "ack");
    assert_eq!(answer["data"].get("key").and_then(Value::as_str), key);
    assert_eq!(answer["data"]["topic"]["comment"], comment);
    assert_eq!(answer["data"]["topic"]["author"], author);
}

/// Reads the only line of an answer.
fn one_line(bytes: &[u8]) -> Value {
    let text = std::str::from_utf8(bytes).expect("UTF-8");
    let line = text.strip_suffix('\n').expect("a line");
    assert!(
        !line.contains(['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}']),
        "{line:?}"
    );
    serde_json::from_str(line).expect("JSON")
}
