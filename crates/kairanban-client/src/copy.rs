//! A board as a client keeps it. Plain data: no connection, no clock.

use std::collections::BTreeMap;

use kairanban_core::Digest;

use crate::{
    ClientError,
    wire::{Op, Patch, Snapshot, Topic},
};

/// The live list of a board, as far as it was followed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Copy {
    cursor: Option<String>,
    revision: u64,
    topics: BTreeMap<i64, Topic>,
}

impl Copy {
    /// The topics, in the order of their ids.
    pub fn topics(&self) -> impl DoubleEndedIterator<Item = &Topic> {
        self.topics.values()
    }

    /// The revision of the list.
    #[must_use]
    pub const fn revision(&self) -> u64 {
        self.revision
    }

    /// The list's place in history: where to go on from.
    #[must_use]
    pub fn cursor(&self) -> Option<&str> {
        self.cursor.as_deref()
    }

    /// Forgets everything, as the server asks.
    pub(crate) fn reset(&mut self) {
        *self = Self::default();
    }

    /// The list is as it is at this revision, too.
    pub(crate) fn reach(&mut self, revision: u64) {
        self.revision = self.revision.max(revision);
    }

    /// Takes the whole list.
    pub(crate) fn replace(
        &mut self,
        snapshot: Snapshot,
        cursor: Option<String>,
    ) -> Result<(), ClientError> {
        self.topics = snapshot
            .topics
            .into_iter()
            .map(|topic| (topic.id, topic))
            .collect();
        self.complete(snapshot.revision, cursor, &snapshot.digest)
    }

    /// Takes what changed. Gives the steps, or `None` if the copy has them already.
    pub(crate) fn patch(
        &mut self,
        patch: Patch,
        cursor: Option<String>,
    ) -> Result<Option<Vec<Op>>, ClientError> {
        if patch.revision <= self.revision {
            return Ok(None);
        }
        if patch.from > self.revision {
            return Err(ClientError::Protocol(format!(
                "a patch from {} for a list at {}",
                patch.from, self.revision
            )));
        }
        for op in &patch.ops {
            match op {
                Op::Set { topic } => drop(self.topics.insert(topic.id, topic.clone())),
                Op::Delete { id, .. } => drop(self.topics.remove(id)),
            }
        }
        self.complete(patch.revision, cursor, &patch.digest)?;
        Ok(Some(patch.ops))
    }

    fn complete(
        &mut self,
        revision: u64,
        cursor: Option<String>,
        digest: &str,
    ) -> Result<(), ClientError> {
        (self.revision, self.cursor) = (revision, cursor);
        let ours = Digest::of_pairs(
            self.topics
                .values()
                .map(|topic| (topic.id.unsigned_abs(), topic.revision)),
        );
        if ours.to_string() == digest {
            Ok(())
        } else {
            Err(ClientError::Differs { revision })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(id: i64, revision: u64) -> String {
        format!(
            r#"{{"id":{id},"comment":"c","author":"","created_at":"2026-01-01T00:00:00Z","updated_at":"2026-01-01T00:00:00Z","revision":{revision}}}"#
        )
    }

    fn snapshot(revision: u64, digest: &str, topics: &[String]) -> Snapshot {
        let text = format!(
            r#"{{"revision":{revision},"digest":"{digest}","topics":[{}]}}"#,
            topics.join(",")
        );
        serde_json::from_str(&text).expect("a snapshot")
    }

    #[test]
    fn follows_patches_and_checks_the_digest_of_the_contract() {
        let mut copy = Copy::default();
        let list = snapshot(7, "8e8e44e4f764f322", &[topic(1, 1), topic(2, 7)]);
        copy.replace(list, Some("e-7".to_owned()))
            .expect("the digest of the contract");
        let patch = |from: u64, to: u64, digest: &str| -> Patch {
            let text = format!(
                r#"{{"from":{from},"revision":{to},"digest":"{digest}","ops":[{{"op":"delete","id":1}}]}}"#
            );
            serde_json::from_str(&text).expect("a patch")
        };
        assert_eq!(copy.patch(patch(5, 7, "?"), None).expect("old"), None);
        assert!(copy.patch(patch(8, 9, "?"), None).is_err(), "a hole");
        assert!(matches!(
            copy.clone().patch(patch(7, 8, "0000000000000000"), None),
            Err(ClientError::Differs { revision: 8 })
        ));
        let left = Digest::of_pairs([(2, 7)].into_iter()).to_string();
        assert_eq!(
            copy.patch(patch(7, 8, &left), Some("e-8".to_owned()))
                .expect("right")
                .map(|ops| ops.len()),
            Some(1)
        );
        assert_eq!(
            (copy.revision(), copy.cursor(), copy.topics().count()),
            (8, Some("e-8"), 1)
        );
    }
}
