//! A client's copy of a board's list. It is plain data: no connection, no clock.

use std::collections::BTreeMap;

use kairanban_core::Digest;

use crate::{
    ClientError,
    wire::{ListOp, ListedTopic, PatchEvent, SnapshotEvent},
};

/// The live list of a board, as of the last event that the client received.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BoardCopy {
    cursor: Option<String>,
    revision: u64,
    topics: BTreeMap<i64, ListedTopic>,
}

impl BoardCopy {
    /// Returns the topics in the order of their ids.
    pub fn topics(&self) -> impl DoubleEndedIterator<Item = &ListedTopic> {
        self.topics.values()
    }

    /// Returns the revision of the list; 0 before the first list.
    #[must_use]
    pub const fn revision(&self) -> u64 {
        self.revision
    }

    /// Returns the cursor to continue from: `None` before the first list, and for a board of
    /// several, which share a cursor.
    #[must_use]
    pub fn cursor(&self) -> Option<&str> {
        self.cursor.as_deref()
    }

    /// Drops everything, because the server sent `reset`.
    pub(crate) fn reset(&mut self) {
        *self = Self::default();
    }

    /// Moves to a later revision, at which the list is the same.
    pub(crate) fn reach(&mut self, revision: u64) {
        self.revision = self.revision.max(revision);
    }

    /// Replaces the whole list.
    ///
    /// # Errors
    /// [`ClientError::Differs`] if its digest is wrong.
    pub(crate) fn replace(
        &mut self,
        snapshot: SnapshotEvent,
        cursor: Option<String>,
    ) -> Result<(), ClientError> {
        self.topics = snapshot
            .topics
            .into_iter()
            .map(|topic| (topic.id, topic))
            .collect();
        self.complete(snapshot.revision, cursor, &snapshot.digest)
    }

    /// Applies a patch. Returns its steps, or `None` if the copy has them already.
    ///
    /// # Errors
    /// [`ClientError::Protocol`] if the patch begins after the copy, [`ClientError::Differs`] if
    /// the digest of the list is wrong then.
    pub(crate) fn patch(
        &mut self,
        patch: PatchEvent,
        cursor: Option<String>,
    ) -> Result<Option<Vec<ListOp>>, ClientError> {
        if patch.revision <= self.revision {
            return Ok(None);
        }
        if patch.from > self.revision {
            return Err(ClientError::Protocol(format!(
                "the list is at revision {1}, and the patch begins at {0}",
                patch.from, self.revision
            )));
        }
        for op in &patch.ops {
            match op {
                ListOp::Set { topic } => drop(self.topics.insert(topic.id, topic.clone())),
                ListOp::Delete { id, .. } => drop(self.topics.remove(id)),
            }
        }
        self.complete(patch.revision, cursor, &patch.digest)?;
        Ok(Some(patch.ops))
    }

    /// Records the revision that the list was brought to, and checks its digest.
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
    use serde_json::{Value, json};

    use super::*;

    fn topic(id: i64, revision: u64) -> Value {
        let time = "2026-01-01T00:00:00Z";
        json!({
            "id": id, "comment": "c", "author": "", "revision": revision,
            "created_at": time, "updated_at": time,
        })
    }

    /// Returns the list of the contract, at revision 7.
    fn copy() -> BoardCopy {
        let list = json!({
            "revision": 7, "digest": "8e8e44e4f764f322", "topics": [topic(1, 1), topic(2, 7)],
        });
        let list = serde_json::from_value(list).expect("a snapshot");
        let mut copy = BoardCopy::default();
        copy.replace(list, Some("e-7".to_owned()))
            .expect("the digest of the contract");
        copy
    }

    /// Returns a patch that deletes the first topic.
    fn patch(from: u64, to: u64, digest: &str) -> PatchEvent {
        let ops = json!([{"op": "delete", "id": 1}]);
        let patch = json!({"from": from, "revision": to, "digest": digest, "ops": ops});
        serde_json::from_value(patch).expect("a patch")
    }

    #[test]
    fn a_patch_leads_to_the_next_list() {
        let mut copy = copy();
        let digest = Digest::of_pairs([(2, 7)].into_iter()).to_string();
        let ops = copy.patch(patch(7, 8, &digest), Some("e-8".to_owned()));
        assert_eq!(ops.expect("the right digest").map(|ops| ops.len()), Some(1));
        assert_eq!((copy.revision(), copy.cursor()), (8, Some("e-8")));
        assert_eq!(copy.topics().count(), 1);
    }

    #[test]
    fn a_patch_that_the_copy_has_is_skipped() {
        let mut copy = copy();
        assert_eq!(copy.patch(patch(5, 7, "?"), None).expect("old"), None);
        assert_eq!(copy.topics().count(), 2);
    }

    #[test]
    fn a_patch_over_a_gap_is_an_error() {
        let error = copy().patch(patch(8, 9, "?"), None).expect_err("a gap");
        assert!(matches!(error, ClientError::Protocol(_)), "{error:?}");
    }

    #[test]
    fn a_wrong_digest_is_an_error() {
        let error = copy().patch(patch(7, 8, "0000000000000000"), None);
        assert!(matches!(error, Err(ClientError::Differs { revision: 8 })));
    }
}
