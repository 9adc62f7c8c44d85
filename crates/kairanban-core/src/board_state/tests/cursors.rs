//! A reader who comes back with any cursor ends up with what the database shows.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::{Change, ChangeKind, fixtures::topic};

/// Ids and revisions of the topics on a list.
type List = BTreeMap<i64, u64>;

/// What one transaction does, to a topic where it needs one.
#[derive(Clone, Copy, Debug)]
enum Commit {
    Set(i64),
    Delete(i64),
    /// Archives the topics that a full board no longer shows.
    Archive,
}

fn commits() -> impl Strategy<Value = Vec<Commit>> {
    let commit = prop_oneof![
        6 => (1_i64..12).prop_map(Commit::Set),
        3 => (1_i64..12).prop_map(Commit::Delete),
        2 => Just(Commit::Archive),
    ];
    proptest::collection::vec(commit, 1..40)
}

/// What the database has after each number of commits: all topics that are not archived, and the
/// topics that the last commit archived.
struct Tables {
    topics: List,
    archived: Vec<i64>,
}

impl Tables {
    fn list(&self, topics_max: usize) -> List {
        let newest = self.topics.iter().rev().take(topics_max);
        newest.map(|(id, at)| (*id, *at)).collect()
    }
}

fn tables_of(commits: &[Commit], topics_max: usize) -> Vec<Tables> {
    let (mut topics, mut gone) = (List::new(), Vec::new());
    let mut tables = vec![Tables {
        topics: List::new(),
        archived: Vec::new(),
    }];
    for (revision, commit) in (1..).zip(commits) {
        let mut archived = Vec::new();
        match commit {
            // What was archived never comes back.
            Commit::Set(id) if !gone.contains(id) => drop(topics.insert(*id, revision)),
            Commit::Set(_) => {}
            Commit::Delete(id) => drop(topics.remove(id)),
            Commit::Archive => {
                let kept = topics.keys().rev().take(topics_max).min().copied();
                archived = topics
                    .keys()
                    .copied()
                    .filter(|id| Some(*id) < kept)
                    .collect();
                topics.retain(|id, _| !archived.contains(id));
                gone.extend(&archived);
            }
        }
        tables.push(Tables {
            topics: topics.clone(),
            archived,
        });
    }
    tables
}

/// Returns the rows of the log from the commit at index `from` to before `upto`, each with its
/// topic as it is at the end.
fn rows_of(commits: &[Commit], tables: &[Tables], from: usize, upto: usize) -> BoardChanges {
    let now = &tables[upto].topics;
    let mut changes = BoardChanges::default();
    for at in from..upto {
        let (kind, ids) = match commits[at] {
            Commit::Set(id) => (ChangeKind::Set, vec![id]),
            Commit::Delete(id) => (ChangeKind::Delete, vec![id]),
            Commit::Archive => (ChangeKind::Archive, tables[at + 1].archived.clone()),
        };
        for id in ids {
            changes.push(&Change {
                revision: Revision::new(at as u64 + 1).expect("a revision"),
                kind,
                board_id: BoardId(1),
                board: None,
                names_board: false,
                topic_id: Some(TopicId(id)),
                topic: now.get(&id).map(|at| topic(id, *at)),
            });
        }
    }
    changes
}

/// Returns what a reader shows who held `list` at `revision`, once it has been sent its opening.
fn opened(board: &BoardState, revision: u64, mut list: List) -> List {
    match opening(board, revision) {
        Opening::Nothing => {}
        Opening::SnapshotSince(_) | Opening::Snapshot { .. } => {
            let topics = board.last_known().expect("ready").topics();
            let listed = topics
                .iter()
                .map(|topic| (topic.id.0, topic.revision.get()));
            list = listed.collect();
        }
        Opening::Patch(patch) => {
            for op in patch.ops {
                match op {
                    Op::Set(topic) => drop(list.insert(topic.id.0, topic.revision.get())),
                    Op::Delete { id, .. } => drop(list.remove(&id.0)),
                }
            }
        }
    }
    list
}

proptest! {
    /// However this node's readings cut the commits into pieces, and whichever node the reader
    /// comes from.
    #[test]
    fn any_cursor_leads_to_the_list(
        commits in commits(),
        cuts in proptest::collection::vec(1_usize..6, 1..40),
        topics_max in 2_usize..8,
    ) {
        let tables = tables_of(&commits, topics_max);
        let lists: Vec<_> = tables.iter().map(|tables| tables.list(topics_max)).collect();
        let (mut board, now) = ready(0, &[]);
        let mut at = 0;
        for cut in cuts {
            let upto = (at + cut).min(commits.len());
            if upto == at {
                break;
            }
            let changes = rows_of(&commits, &tables, at, upto);
            if matches!(board.apply(&changes, true, topics_max), StateChange::Reload) {
                let topics: Vec<_> = lists[upto].clone().into_iter().collect();
                let load = loaded(changes.revision().get(), &topics);
                board.install(load, now, topics_max).expect("nothing missed");
            }
            at = upto;
            let shown = board.last_known().expect("ready").revision().get() as usize;
            for (revision, list) in lists.iter().enumerate().take(shown + 1) {
                let shown = opened(&board, revision as u64, list.clone());
                prop_assert_eq!(&shown, &lists[at], "from {} to {}", revision, at);
            }
        }
    }
}
