//! The list that `snapshot` and `patch` events lead to.

use std::collections::BTreeMap;

use kairanban_core::Digest;
use serde_json::Value;

use crate::{ensure, event_stream::Message};

/// A board's list, checked at each step.
#[derive(Debug, Default)]
pub(crate) struct List {
    pub(crate) revision: u64,
    pub(crate) topics: BTreeMap<u64, (u64, String)>,
}

impl List {
    /// Applies a `snapshot` or a `patch` event.
    ///
    /// # Errors
    /// If it does not apply, or its digest is not that of the list.
    pub(crate) fn apply(&mut self, message: &Message) -> Result<(), String> {
        let data = message.json()?;
        let revision = number(&data, "revision")?;
        if message.name == "snapshot" {
            self.topics.clear();
            for topic in data["topics"].as_array().ok_or("no topics")? {
                self.set(topic)?;
            }
        } else {
            let from = number(&data, "from")?;
            ensure(from <= self.revision && self.revision < revision, || {
                format!("{from}..{revision} at {}", self.revision)
            })?;
            for op in data["ops"].as_array().ok_or("no ops")? {
                self.apply_op(op)?;
            }
        }
        self.revision = revision;
        let topics = self.topics.iter();
        let digest = Digest::of_pairs(topics.map(|(id, (revision, _))| (*id, *revision)));
        let (digest, sent) = (digest.to_string(), &data["digest"]);
        ensure(*sent == digest.as_str(), || {
            format!(
                "the digest is {digest}, and the {} has {sent}",
                message.name
            )
        })
    }

    fn apply_op(&mut self, op: &Value) -> Result<(), String> {
        match op["op"].as_str() {
            Some("set") => self.set(&op["topic"]),
            Some("delete") => {
                let id = op["id"].as_u64().ok_or("a delete without an id")?;
                self.topics.remove(&id);
                Ok(())
            }
            _ => Err(format!("an unknown op: {op}")),
        }
    }

    fn set(&mut self, topic: &Value) -> Result<(), String> {
        let comment = topic["comment"].as_str().ok_or("no comment")?.to_owned();
        let (id, revision) = (number(topic, "id")?, number(topic, "revision")?);
        self.topics.insert(id, (revision, comment));
        Ok(())
    }

    pub(crate) fn shows(&self, comment: &str) -> bool {
        self.topics.values().any(|(_, shown)| shown == comment)
    }
}

fn number(data: &Value, key: &str) -> Result<u64, String> {
    data[key]
        .as_u64()
        .ok_or_else(|| format!("no {key} in {data}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(id: u64, revision: u64) -> String {
        format!(r#"{{"id":{id},"comment":"c{id}","revision":{revision}}}"#)
    }

    fn message(name: &str, data: impl Into<String>) -> Message {
        Message {
            name: name.to_owned(),
            id: Some("e-1".to_owned()),
            data: data.into(),
            retry: None,
        }
    }

    fn snapshot(revision: u64, digest: &str, topics: &[String]) -> Message {
        let topics = topics.join(",");
        message(
            "snapshot",
            format!(r#"{{"revision":{revision},"digest":"{digest}","topics":[{topics}]}}"#),
        )
    }

    /// Returns the list of docs/PROTOCOL.md, whose digest is documented there.
    fn documented() -> List {
        let mut list = List::default();
        list.apply(&snapshot(
            7,
            "8e8e44e4f764f322",
            &[topic(1, 1), topic(2, 7)],
        ))
        .expect("the documented digest");
        list
    }

    fn patch(from: u64, revision: u64, digest: &str, ops: &str) -> Message {
        message(
            "patch",
            format!(r#"{{"from":{from},"revision":{revision},"digest":"{digest}","ops":[{ops}]}}"#),
        )
    }

    #[test]
    fn a_list_follows_snapshots_and_patches() {
        let mut list = documented();
        let digest = Digest::of_pairs([(2, 7), (3, 9)].into_iter()).to_string();
        let set = format!(
            r#"{{"op":"set","topic":{}}},{{"op":"delete","id":1}}"#,
            topic(3, 9)
        );
        list.apply(&patch(6, 9, &digest, &set))
            .expect("a patch that begins earlier");
        assert_eq!(
            (list.revision, list.shows("c3"), list.shows("c1")),
            (9, true, false)
        );
        list.apply(&snapshot(2, "0000000000000000", &[]))
            .expect("a snapshot replaces everything, also by something older");
        assert_eq!((list.revision, list.topics.len()), (2, 0));
    }

    /// Returns the digest of the documented list without its first topic.
    fn digest_without_first() -> String {
        Digest::of_pairs([(2, 7)].into_iter()).to_string()
    }

    const DELETE: &str = r#"{"op":"delete","id":1}"#;

    #[track_caller]
    fn assert_breach(event: &Message, named: &str) {
        let error = documented().apply(event).expect_err("a breach");
        assert!(error.contains(named), "{error:?} for {event:?}");
    }

    #[test]
    fn a_patch_with_the_right_digest_is_applied() {
        let patch = patch(7, 8, &digest_without_first(), DELETE);
        documented().apply(&patch).expect("the right digest");
    }

    #[test]
    fn a_wrong_digest_or_revision_is_a_breach() {
        let right = digest_without_first();
        let wrong = patch(7, 8, "0000000000000000", DELETE);
        assert_breach(&wrong, "the digest is");
        assert_breach(&patch(8, 9, &right, DELETE), "8..9 at 7");
        assert_breach(&patch(7, 7, &right, DELETE), "7..7 at 7");
    }

    #[test]
    fn an_op_that_cannot_be_applied_is_a_breach() {
        for (op, named) in [
            (r#"{"op":"move","id":1}"#, "an unknown op"),
            (r#"{"op":"delete"}"#, "a delete without an id"),
            (
                r#"{"op":"set","topic":{"id":3,"revision":8}}"#,
                "no comment",
            ),
            (
                r#"{"op":"set","topic":{"comment":"c","revision":8}}"#,
                "no id",
            ),
        ] {
            assert_breach(&patch(7, 8, &digest_without_first(), op), named);
        }
    }

    #[test]
    fn a_missing_field_is_a_breach() {
        for (name, data, named) in [
            ("patch", r#"{"revision":8,"ops":[]}"#, "no from"),
            ("patch", r#"{"from":7,"revision":8}"#, "no ops"),
            ("patch", r#"{"from":-1,"revision":8,"ops":[]}"#, "no from"),
            ("snapshot", r#"{"topics":[]}"#, "no revision"),
            ("snapshot", r#"{"revision":8}"#, "no topics"),
            ("snapshot", r#"{"revision":8,"topics":[]}"#, "the digest is"),
            ("snapshot", "{", "in Message"),
        ] {
            assert_breach(&message(name, data), named);
        }
    }
}
