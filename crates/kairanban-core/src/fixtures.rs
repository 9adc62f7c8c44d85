//! Topics, snapshots and changes for unit tests.

use std::sync::Arc;

use crate::{BoardChanges, BoardId, Change, ChangeKind, Revision, Snapshot, Topic, TopicId};

pub(crate) fn topic(id: i64, revision: u64) -> Arc<Topic> {
    let at = chrono::DateTime::UNIX_EPOCH;
    let revision = Revision::new(revision).expect("a revision");
    Arc::new(Topic {
        id: TopicId(id),
        comment: format!("r{revision}"),
        author: String::new(),
        created_at: at,
        updated_at: at,
        edited_at: None,
        revision,
    })
}

pub(crate) fn snapshot(revision: u64, topics: &[(i64, u64)]) -> Snapshot {
    let cursor = format!("e-{revision}").parse().expect("a cursor");
    Snapshot::new(
        "main".parse().expect("a name"),
        cursor,
        topics
            .iter()
            .map(|(id, revision)| topic(*id, *revision))
            .collect(),
    )
}

/// Makes changes from `(revision, id, shown)`: shown topics have that revision; id 0 is a truncate.
pub(crate) fn changes(rows: &[(u64, i64, bool)]) -> BoardChanges {
    let mut changes = BoardChanges::default();
    for &(revision, id, shown) in rows {
        let kind = match (id, shown) {
            (0, _) => ChangeKind::Clear,
            (_, true) => ChangeKind::Set,
            (_, false) => ChangeKind::Delete,
        };
        changes.push(&Change {
            revision: Revision::new(revision).expect("a revision"),
            kind,
            board_id: BoardId(1),
            board: None,
            names_board: false,
            topic_id: (id != 0).then_some(TopicId(id)),
            topic: shown.then(|| topic(id, revision)),
        });
    }
    changes
}
