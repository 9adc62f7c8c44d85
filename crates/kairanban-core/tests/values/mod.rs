//! Short constructors of boards, revisions and topics for tests.

use std::{collections::BTreeMap, sync::Arc};

use kairanban_core::{BoardName, Cursor, Op, Revision, Snapshot, Topic, TopicId};

pub(crate) fn board() -> BoardName {
    "main".parse().expect("a name")
}

pub(crate) fn revision(number: u64) -> Revision {
    Revision::new(number).expect("a revision")
}

pub(crate) fn cursor(number: u64) -> Cursor {
    Cursor {
        epoch: "e".parse().expect("an epoch"),
        revision: revision(number),
    }
}

pub(crate) fn topic(id: i64, at: u64) -> Arc<Topic> {
    let now = chrono::DateTime::UNIX_EPOCH;
    let (comment, author) = (String::new(), String::new());
    Arc::new(Topic {
        id: TopicId(id),
        comment,
        author,
        created_at: now,
        updated_at: now,
        edited_at: None,
        revision: revision(at),
    })
}

/// Returns the ids and revisions of the topics in a snapshot.
pub(crate) fn listed(snapshot: &Snapshot) -> BTreeMap<i64, u64> {
    snapshot
        .topics()
        .iter()
        .map(|topic| (topic.id.0, topic.revision.get()))
        .collect()
}

/// Applies the steps of a patch to a list.
pub(crate) fn apply(list: &mut BTreeMap<i64, u64>, ops: &[Op]) {
    for op in ops {
        match op {
            Op::Set(topic) => drop(list.insert(topic.id.0, topic.revision.get())),
            Op::Delete { id, .. } => drop(list.remove(&id.0)),
        }
    }
}
